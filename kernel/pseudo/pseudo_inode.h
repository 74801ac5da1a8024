// Trees of generated files, as /proc and /sys are made of: constant tables of nodes say what there is, and
// functions write the text. A node is shown for a subject: the machine, or one of its tasks.
//
// Nothing is kept: an inode is made at each look-up, a text when it is read from its beginning.
#pragma once

#include "fs/filesystem.h"
#include "fs/path.h"
#include "kernel/task/process.h"

namespace teacup::pseudo {

// Whom a node speaks of. 0: the machine.
struct Subject {
  s32 pid = 0;
  s32 tid = 0;        // under /proc/PID/task; else the leader's
  u32 processor = 0;  // under /sys/devices/system/cpu/cpuN
};

struct Node {
  const char* name;  // null: the end of a table
  u32 mode;          // type and permissions
  // One of these, by type. Writes the text of a file or of a symbolic link.
  Result<void> (*show)(TextBuffer& out, const Subject& subject) = nullptr;
  const Node* children = nullptr;
  // Directories that are not tables, and other inodes of their own.
  Result<Ref<fs::Inode>> (*make)(fs::FileSystem& file_system, const Node& node,
                                 const Subject& subject) = nullptr;
  // For files that can be written (at most a page at a time).
  Result<void> (*store)(std::string_view text, const Subject& subject) = nullptr;
  // For links that lead where they lead whatever their text says.
  Result<fs::Path> (*follow)(const Subject& subject) = nullptr;
};

// An inode for `node`; the owner is the subject's.
Result<Ref<fs::Inode>> make_node_inode(fs::FileSystem& file_system, const Node& node, const Subject& subject);

class PseudoInode : public fs::Inode {
 public:
  PseudoInode(fs::FileSystem& file_system, const Node& node, const Subject& subject);
  const Node& node() const { return node_; }
  const Subject& subject() const { return subject_; }

  Result<Ref<fs::File>> open(const fs::Path& path, u32 flags) override;
  Result<size_t> readlink(std::span<char> into) override;
  bool is_magic_link() const override { return node_.follow != nullptr; }
  Result<fs::Path> follow(const fs::Caller& caller) override;
  Result<void> truncate(u64) override { return {}; }
  Result<Ref<fs::Inode>> create(std::string_view, const fs::NewNode&, fs::NameChange&) override {
    return Errno::NOENT;
  }

 protected:
  const Node& node_;
  const Subject subject_;
};

// A directory by its node's table; derived ones add entries of their own.
class PseudoDirectory : public PseudoInode {
 public:
  using PseudoInode::PseudoInode;
  Result<Ref<fs::Inode>> lookup(std::string_view name) override;
  Result<void> read_directory(fs::DirSink& sink, u64& position) override;

 protected:
  // Positions from here on are for derived directories.
  static constexpr u64 kFirstOwn = 1000;
};

// The subject's process and task; ESRCH when they are gone.
Result<Ref<Process>> process_of(const Subject& subject);
Result<Ref<Task>> task_of(const Subject& subject);

// Decimal without sign or leading zeros; false if it is something else.
bool parse_number(std::string_view text, u64* value);
// The first word of what was written to a sysctl file.
Result<u64> parse_setting(std::string_view text);

void register_proc();
void register_sysfs();

}  // namespace teacup::pseudo
