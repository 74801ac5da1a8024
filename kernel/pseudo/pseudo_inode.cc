#include "kernel/pseudo/pseudo_inode.h"

#include <algorithm>

#include "fs/vfs.h"
#include "kernel/base/memory.h"
#include "kernel/task/processes.h"

namespace teacup::pseudo {

namespace {

constexpr size_t kFirstText = 4096;
constexpr size_t kLongestText = 4 * MiB;
constexpr size_t kLongestStore = 4096;

u64 number_of(const Node& node, const Subject& subject) {
  constexpr u64 kNodeBits = 24;  // of the node's address in the runtime
  u64 in_table = reinterpret_cast<u64>(&node) & ((u64{1} << kNodeBits) - 1);
  u64 who = (static_cast<u64>(subject.tid) << 16) ^ static_cast<u64>(subject.pid);
  return in_table | who << kNodeBits;
}

class TextFile final : public fs::File {
 public:
  TextFile(const fs::Path& path, u32 flags) : File(flags), path_(path) {}

  fs::Inode* inode() override { return &path_.inode(); }
  const fs::Path* path() override { return &path_; }
  bool seekable() const override { return true; }

  Result<size_t> read(IoDest& to, u64 offset) override {
    // Each reading from the beginning shows the state of the moment; the rest of it belongs to that.
    LockGuard guard(lock_);
    if (offset == 0 || text_.size() == 0) TRY(generate());
    if (offset >= length_) return size_t{0};
    return to.put(text_.data() + offset, std::min<u64>(length_ - offset, to.remaining()));
  }

  Result<size_t> write(IoSource& from, u64) override {
    PseudoInode& inode = this->node_inode();
    if (inode.node().store == nullptr) return Errno::IO;
    char text[kLongestStore];
    size_t size = TRY(from.take(text, std::min(from.remaining(), sizeof text)));
    TRY(inode.node().store({text, size}, inode.subject()));
    return size;
  }

  Result<void> truncate(u64) override { return {}; }  // O_TRUNC means nothing here
  Result<u64> seek(s64 offset, int whence) override {
    // What can be written has an end, at 0 as its size says: fopen() for appending goes there.
    bool writable = node_inode().node().store != nullptr;
    return File::seek(offset, whence == abi::kSEEK_END && writable ? abi::kSEEK_SET : whence);
  }

 private:
  PseudoInode& node_inode() { return static_cast<PseudoInode&>(path_.inode()); }

  Result<void> generate() {
    PseudoInode& inode = node_inode();
    for (size_t size = std::max(kFirstText, text_.size()); size <= kLongestText; size *= 2) {
      if (text_.size() < size) text_ = TRY(HeapArray<char>::create(size));
      TextBuffer out({text_.data(), text_.size()});
      TRY(inode.node().show(out, inode.subject()));
      length_ = out.length();
      if (!out.full()) return {};
    }
    return Errno::NOMEM;
  }

  fs::Path path_;
  Mutex lock_{LockRank::kGeneratedText};
  HeapArray<char> text_;
  size_t length_ = 0;
};

}  // namespace

PseudoInode::PseudoInode(fs::FileSystem& file_system, const Node& node, const Subject& subject)
    : Inode(file_system, number_of(node, subject), node.mode), node_(node), subject_(subject) {
  atime = mtime = ctime = btime = fs::timestamp_now();
  if (is_directory()) nlink = 2;
  if (subject.pid == 0) return;
  auto task = task_of(subject);
  if (!task.ok()) return;
  Credentials credentials = credentials_of(*task.value());
  uid = credentials.euid;
  gid = credentials.egid;
}

Result<Ref<fs::Inode>> make_node_inode(fs::FileSystem& file_system, const Node& node,
                                       const Subject& subject) {
  if (node.make != nullptr) return node.make(file_system, node, subject);
  if ((node.mode & abi::kS_IFMT) == abi::kS_IFDIR)
    return Ref<fs::Inode>(TRY(make_ref<PseudoDirectory>(file_system, node, subject)));
  return Ref<fs::Inode>(TRY(make_ref<PseudoInode>(file_system, node, subject)));
}

Result<Ref<fs::File>> PseudoInode::open(const fs::Path& path, u32 flags) {
  if (is_regular()) return Ref<fs::File>(TRY(make_ref<TextFile>(path, flags)));
  return Inode::open(path, flags);
}

Result<size_t> PseudoInode::readlink(std::span<char> into) {
  if (!is_symlink()) return Errno::INVAL;
  char storage[4096];
  TextBuffer text(storage);
  TRY(node_.show(text, subject_));
  size_t size = std::min(text.length(), into.size());
  memcpy(into.data(), text.text().data(), size);
  return size;
}

Result<fs::Path> PseudoInode::follow(const fs::Caller& caller) {
  if (node_.follow == nullptr) return Inode::follow(caller);
  return node_.follow(subject_);
}

Result<Ref<fs::Inode>> PseudoDirectory::lookup(std::string_view name) {
  for (const Node* node = node_.children; node != nullptr && node->name != nullptr; node++) {
    if (name == node->name) return make_node_inode(file_system(), *node, subject_);
  }
  return Errno::NOENT;
}

Result<void> PseudoDirectory::read_directory(fs::DirSink& sink, u64& position) {
  constexpr u64 kFirst = 2;
  if (position >= kFirstOwn) return {};
  u64 at = kFirst;
  for (const Node* node = node_.children; node != nullptr && node->name != nullptr; node++, at++) {
    if (at < position) continue;
    u8 type = static_cast<u8>(node->mode >> 12);
    if (!sink.add(node->name, number_of(*node, subject_), type, at + 1)) return {};
    position = at + 1;
  }
  position = kFirstOwn;
  return {};
}

Result<Ref<Process>> process_of(const Subject& subject) {
  Ref<Process> process = processes().find_process(subject.pid);
  if (!process) return Errno::SRCH;
  return process;
}

Result<Ref<Task>> task_of(const Subject& subject) {
  Ref<Task> task = processes().find_task(subject.tid != 0 ? subject.tid : subject.pid);
  if (task) return task;
  // A leader that has ended before its other tasks: any of them will do.
  Ref<Process> process = TRY(process_of(subject));
  task = processes().next_task(*process, 0);
  if (!task) return Errno::SRCH;
  return task;
}

bool parse_number(std::string_view text, u64* value) {
  if (text.empty() || text.size() > 19 || (text.size() > 1 && text[0] == '0')) return false;
  *value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    *value = *value * 10 + static_cast<u64>(c - '0');
  }
  return true;
}

Result<u64> parse_setting(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  text = text.substr(0, text.find_first_of(" \t\n"));
  u64 value;
  if (!parse_number(text, &value)) return Errno::INVAL;
  return value;
}

}  // namespace teacup::pseudo
