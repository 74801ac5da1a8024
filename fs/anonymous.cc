#include "fs/anonymous.h"

#include "fs/vfs_state.h"

namespace teacup::fs {

namespace {

class AnonymousFs final : public FileSystem {
 public:
  AnonymousFs() : FileSystem("anon_inodefs", static_cast<u32>(abi::kANON_INODE_FS_MAGIC)) {}
  Result<Ref<Inode>> root() override {
    Ref<Inode> inode = TRY(make_ref<Inode>(*this, 1, abi::kS_IFDIR | 0500u));
    return inode;
  }
};

class AnonymousInode final : public Inode {
 public:
  AnonymousInode(FileSystem& file_system, File& file, u32 mode)
      : Inode(file_system, 1, mode), file_(Ref<File>::share(&file)) {}
  Result<void> stat(abi::Stat& stat) override { return file_->stat(stat); }
  Result<Ref<File>> open(const Path&, u32 flags) override { return file_->reopen(flags); }
  File& file() { return *file_; }

 private:
  Ref<File> file_;
};

}  // namespace

Result<void> anonymous_start() {
  VfsState& state = vfs_state();
  Ref<FileSystem> file_system = TRY(make_ref<AnonymousFs>());
  Ref<Dentry> root = TRY(state.dcache.make_root(TRY(file_system->root())));
  state.anonymous = TRY(state.mounts.create(std::move(file_system), std::move(root), 0));
  return {};
}

Result<Path> anonymous_path(File& file) {
  abi::Stat stat{};
  u32 mode = abi::kS_IFREG | 0600;
  if (file.stat(stat).ok()) mode = stat.mode;
  Ref<Mount> mount = vfs_state().anonymous;
  Ref<Inode> inode = TRY(make_ref<AnonymousInode>(mount->file_system(), file, mode));
  inode->uid = stat.uid;
  inode->gid = stat.gid;
  Ref<Dentry> dentry = TRY(dcache().make_root(std::move(inode)));
  return Path(std::move(mount), std::move(dentry));
}

bool is_anonymous(const Inode& inode) {
  return &inode.file_system() == &vfs_state().anonymous->file_system();
}

void describe_anonymous(Inode& inode, TextBuffer& text) {
  static_cast<AnonymousInode&>(inode).file().describe(text);
}

}  // namespace teacup::fs
