// Open regular files and directories of any file system: File over an Inode's functions. Other open files of
// something with a name (devices, FIFOs) derive from NodeFile too, for path, inode and stat.
#pragma once

#include "fs/file.h"
#include "fs/path.h"

namespace teacup::fs {

class NodeFile : public File {
 public:
  NodeFile(const Path& path, u32 flags) : File(flags), path_(path) {}
  ~NodeFile() override;

  Result<void> stat(abi::Stat& stat) override { return path_.inode().stat(stat); }
  Inode* inode() override { return path_ ? &path_.inode() : nullptr; }
  const Path* path() override { return &path_; }
  // What this file has added to the inode's writers (ETXTBSY), taken back when it goes: 1 for one that is
  // open for writing, -1 for a program that is being executed.
  void set_writer_share(s32 share) { writer_share_ = share; }
  void forget_writer() {
    path_.inode().writers.fetch_sub(writer_share_);
    writer_share_ = 0;
  }

 private:
  Path path_;
  s32 writer_share_ = 0;
};

// Whether its seals let the file have this size. EPERM.
Result<void> check_seals_for_size(const Inode& inode, u64 size);

// Also for O_PATH, whatever the inode's type.
Result<Ref<File>> make_node_file(const Path& path, u32 flags);

}  // namespace teacup::fs
