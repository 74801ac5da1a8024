// FileSystem: one instance of a file system, mounted in one place or several; and the registry of types,
// character devices and hooks by which kernel/pseudo and net take part in the file tree.
//
// The registry is filled at start, before fs_start(), and only read later. What is registered are static
// constant objects and functions of the runtime, which lies at the same address in every process.
#pragma once

#include <string_view>

#include "fs/inode.h"

namespace teacup::fs {

class Path;

class FileSystem : public RefCounted<FileSystem> {
 public:
  // `type` as in /proc/mounts, a static string; `magic` as in statfs(2).
  FileSystem(const char* type, u32 magic);
  virtual ~FileSystem() = default;
  static void destroy(FileSystem* file_system) { delete file_system; }
  static void operator delete(void* block) { heap_free(block); }

  const char* type() const { return type_; }
  u32 magic() const { return magic_; }
  u64 device() const { return device_; }  // st_dev

  virtual Result<Ref<Inode>> root() = 0;
  virtual Result<void> statfs(abi::Statfs& statfs);
  virtual Result<void> sync() { return {}; }
  // Nothing mounts it any more: it lets go of what holds on to it.
  virtual void unmounted() {}
  // Of volumes: as whose the caller's own files are shown is known now (set_volume_owner).
  virtual void volume_owner_known() {}
  std::atomic<u32> mounts{0};
  // Whether names found may be kept in the cache of names. Not where they come and go by themselves (/proc).
  virtual bool caches_names() const { return true; }
  // How long a cached name is believed, ns; 0: until the file system itself changes it. That there is none of
  // a name, a tenth as long: what is missing is what somebody waits for.
  virtual u64 name_lifetime() const { return 0; }
  // Whether an inode's atime is ours to keep; else nobody does, or the host.
  virtual bool keeps_access_times() const { return false; }
  // An unused inode number, for file systems that just count.
  u64 next_ino() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }

  // What /proc/mounts shows as the source; set by who mounts.
  char source[64] = "none";

 protected:
  std::atomic<u64> next_ino_{2};

 private:
  const char* type_;
  u32 magic_;
  u64 device_;
};

// --- Registry.
struct FileSystemType {
  const char* name;
  // `data`: the options of mount(2), or of the machine's start.
  Result<Ref<FileSystem>> (*mount)(std::string_view source, std::string_view data);
  bool needs_device = false;  // shown without "nodev" in /proc/filesystems
};
void register_file_system(const FileSystemType& type);
const FileSystemType* find_file_system(std::string_view name);
const FileSystemType* file_system_at(size_t index);  // null behind the last

using DeviceOpen = Result<Ref<File>> (*)(const Path& path, u32 flags, u32 minor);
// Character devices `major`:[first, first + count).
void register_char_device(u32 major, u32 first, u32 count, DeviceOpen open);

struct FsHooks {
  // A FIFO was opened (flags as in open(2)). A File whose finish_open() says EAGAIN until the other side
  // came.
  Result<Ref<File>> (*open_fifo)(const Path& path, u32 flags) = nullptr;
  // inotify. `inode` has a watch for `mask`, or its parent has (then `name` is the child's).
  void (*notify)(Inode& watched, u32 mask, u32 cookie, std::string_view name) = nullptr;
};
void set_fs_hooks(const FsHooks& hooks);
const FsHooks& fs_hooks();

constexpr u64 make_device(u32 major, u32 minor) {
  return (u64{minor} & 0xff) | (u64{major} & 0xfff) << 8 | (u64{minor} & ~u64{0xff}) << 12 |
         (u64{major} & ~u64{0xfff}) << 32;
}
constexpr u32 device_major(u64 device) {
  return static_cast<u32>((device >> 8 & 0xfff) | (device >> 32 & ~u64{0xfff}));
}
constexpr u32 device_minor(u64 device) {
  return static_cast<u32>((device & 0xff) | (device >> 12 & ~u64{0xff}));
}

}  // namespace teacup::fs
