// /dev/pts and the multiplexer. One instance per machine, however often it is mounted.
#include "fs/filesystem.h"
#include "fs/vfs_state.h"
#include "kernel/abi/tty.h"
#include "kernel/pseudo/pty.h"
#include "kernel/pseudo/state.h"
#include "kernel/task/processes.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kMostPtys = 4096;
constexpr u32 kDevptsMagic = 0x1cd1;
constexpr u32 kTtyGroup = 5;
constexpr u64 kRootIno = 1, kPtmxIno = 2, kFirstPtsIno = 3;

}  // namespace

class PtsNode;

class Ptys {
 public:
  // Under `lock`; counted.
  struct Slot {
    Pty* pty;
    PtsNode* node;
  };
  Mutex lock{LockRank::kFdTable};
  HeapArray<Slot> slots;
};

// A node whose attributes may be changed, and live as long as it does.
class DeviceNode : public fs::Inode {
 public:
  DeviceNode(fs::FileSystem& file_system, u64 ino, u32 mode, u64 device) : Inode(file_system, ino, mode) {
    rdev = static_cast<u32>(device);
    atime = mtime = ctime = btime = fs::timestamp_now();
  }
  Result<void> set_attributes(const fs::AttributeChange& change) override {
    LockGuard guard(lock);
    if ((change.mask & fs::kSetMode) != 0) mode = (mode & abi::kS_IFMT) | (change.mode & 07777);
    if ((change.mask & fs::kSetUid) != 0) uid = change.uid;
    if ((change.mask & fs::kSetGid) != 0) gid = change.gid;
    if ((change.mask & fs::kSetAtime) != 0) atime = change.atime;
    if ((change.mask & fs::kSetMtime) != 0) mtime = change.mtime;
    touch_ctime();
    return {};
  }
};

class PtsNode final : public DeviceNode {
 public:
  using DeviceNode::DeviceNode;
};

namespace {

Ptys& ptys() {
  return *state().ptys;
}

class PtsDirectory final : public fs::Inode {
 public:
  explicit PtsDirectory(fs::FileSystem& file_system) : Inode(file_system, kRootIno, abi::kS_IFDIR | 0755) {
    nlink = 2;
    atime = mtime = ctime = btime = fs::timestamp_now();
  }

  Result<Ref<fs::Inode>> lookup(std::string_view name) override {
    if (name == "ptmx") return ptmx_node();
    if (name.empty() || name.size() > 4 || (name.size() > 1 && name[0] == '0')) return Errno::NOENT;
    u32 index = 0;
    for (char c : name) {
      if (c < '0' || c > '9') return Errno::NOENT;
      index = index * 10 + static_cast<u32>(c - '0');
    }
    LockGuard guard(ptys().lock);
    if (index >= ptys().slots.size() || ptys().slots[index].node == nullptr) return Errno::NOENT;
    return Ref<fs::Inode>::share(ptys().slots[index].node);
  }

  Result<void> read_directory(fs::DirSink& sink, u64& position) override {
    if (position <= kPtmxIno) {
      if (!sink.add("ptmx", kPtmxIno, abi::kS_IFCHR >> 12, kFirstPtsIno)) return {};
      position = kFirstPtsIno;
    }
    for (; position - kFirstPtsIno < kMostPtys; position++) {
      u64 index = position - kFirstPtsIno;
      {
        LockGuard guard(ptys().lock);
        if (index >= ptys().slots.size()) return {};
        if (ptys().slots[index].node == nullptr) continue;
      }
      char buffer[8];
      TextBuffer name(buffer);
      name.udec(index);
      if (!sink.add(name.text(), position, abi::kS_IFCHR >> 12, position + 1)) return {};
    }
    return {};
  }

 private:
  Result<Ref<fs::Inode>> ptmx_node() {
    {
      LockGuard guard(lock);
      if (ptmx_) return ptmx_;
    }
    u64 device = fs::make_device(kTtyAuxMajor, 2);
    Ref<fs::Inode> node = TRY(make_ref<DeviceNode>(file_system(), kPtmxIno, abi::kS_IFCHR | 0666, device));
    LockGuard guard(lock);
    if (!ptmx_) ptmx_ = node;
    return ptmx_;
  }

  Ref<fs::Inode> ptmx_;
};

class Devpts final : public fs::FileSystem {
 public:
  Devpts() : FileSystem("devpts", kDevptsMagic) {}
  Result<Ref<fs::Inode>> root() override { return Ref<fs::Inode>(TRY(make_ref<PtsDirectory>(*this))); }
  bool caches_names() const override { return false; }
};

Result<Ref<fs::FileSystem>> mount_devpts(std::string_view, std::string_view) {
  return Ref<fs::FileSystem>(TRY(make_ref<Devpts>()));
}

// --- Opening.

// Where the slave of a multiplexer opened as `ptmx` lies: beside it, or in the `pts` beside it. ENOENT.
Result<fs::Path> slave_path(const fs::Path& ptmx, u32 index) {
  Ref<fs::Dentry> parent;
  char name[256];
  size_t length = 0;
  if (!fs::dcache().parent_and_name(ptmx.dentry(), parent, name, length)) return Errno::NOENT;
  fs::Path folder(ptmx.mount_ref(), std::move(parent));
  if (folder.inode().file_system().magic() != kDevptsMagic) folder = TRY(fs::resolve_child(folder, "pts"));
  TextBuffer number(name);
  number.udec(index);
  return fs::resolve_child(folder, number.text());
}

class MasterFile final : public DeviceFile {
 public:
  MasterFile(Ref<Pty> pty, const fs::Path& path, u32 flags) : DeviceFile(path, flags), pty_(std::move(pty)) {}
  ~MasterFile() override;

  fs::FileKind kind() const override { return fs::FileKind::kTty; }
  Result<size_t> read(IoDest& to, u64) override { return pty_->master_read(to); }
  Result<size_t> write(IoSource& from, u64) override { return pty_->master_write(from); }
  u32 poll() override { return pty_->master_poll(); }
  WaitQueue* wait_queue() override { return &pty_->master_queue(); }
  Result<s64> ioctl(u32 command, GuestAddress argument) override {
    if (command == abi::kTIOCGPTPEER) return open_peer(static_cast<u32>(argument.value));
    return pty_->master_ioctl(command, argument);
  }

 private:
  Result<s64> open_peer(u32 flags) {
    Task& task = current_task();
    u32 kept = flags & (abi::kO_ACCMODE | abi::kO_NONBLOCK);
    fs::Path slave = TRY(slave_path(*path(), pty_->index()));
    Ref<fs::File> file = TRY(make_tty_file(pty_, slave, kept));
    if ((flags & abi::kO_NOCTTY) == 0) pty_->opened_by(task);
    Fd fd = TRY(task.files->install(std::move(file), (flags & abi::kO_CLOEXEC) != 0,
                                    task.process->limit(abi::kRLIMIT_NOFILE)));
    return fd.value;
  }

  Ref<Pty> pty_;
};

MasterFile::~MasterFile() {
  pty_->master_closed();
  Ptys::Slot gone{};
  {
    LockGuard guard(ptys().lock);
    std::swap(gone, ptys().slots[pty_->index()]);
  }
  if (gone.node != nullptr) gone.node->unref();
  if (gone.pty != nullptr) gone.pty->unref();
}

Result<Ref<fs::File>> open_multiplexer(const fs::Path& path, u32 flags, u32) {
  LockGuard guard(ptys().lock);
  u32 index = 0;
  while (index < kMostPtys && ptys().slots[index].pty != nullptr) index++;
  if (index == kMostPtys) return Errno::NOSPC;
  Ref<Pty> pty = TRY(make_ref<Pty>(index));
  TRY(pty->create_rings());
  auto node = TRY(make_ref<PtsNode>(path.inode().file_system(), kFirstPtsIno + index, abi::kS_IFCHR | 0620,
                                    pty->device()));
  node->uid = current_task().credentials.fsuid;
  node->gid = kTtyGroup;
  Ref<fs::File> file = TRY(make_ref<MasterFile>(pty, path, flags));
  ptys().slots[index] = {pty.leak(), static_cast<PtsNode*>(node.leak())};
  return file;
}

Result<Ref<fs::File>> open_slave(const fs::Path& path, u32 flags, u32 minor) {
  Ref<Pty> pty;
  {
    LockGuard guard(ptys().lock);
    if (minor < kMostPtys && ptys().slots[minor].pty != nullptr)
      pty = Ref<Pty>::share(ptys().slots[minor].pty);
  }
  if (!pty || pty->locked() || pty->hung_up()) return Errno::IO;
  Ref<fs::File> file = TRY(make_tty_file(pty, path, flags));
  if ((flags & abi::kO_NOCTTY) == 0) pty->opened_by(current_task());
  return file;
}

constexpr fs::FileSystemType kDevptsType = {"devpts", &mount_devpts};

}  // namespace

void register_ptys() {
  auto created = make<Ptys>();
  KERNEL_ASSERT(created.ok());
  auto slots = HeapArray<Ptys::Slot>::create(kMostPtys);
  KERNEL_ASSERT(slots.ok());
  created.value()->slots = std::move(slots).value();
  state().ptys = created.value();
  fs::register_file_system(kDevptsType);
  fs::register_char_device(kTtyAuxMajor, 2, 1, &open_multiplexer);
  fs::register_char_device(kPtsMajor, 0, kMostPtys, &open_slave);
}

}  // namespace teacup::pseudo
