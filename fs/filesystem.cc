#include "fs/filesystem.h"

#include "fs/vfs_state.h"

namespace teacup::fs {

FileSystem::FileSystem(const char* type, u32 magic)
    : type_(type), magic_(magic), device_(vfs_state().next_device.fetch_add(1)) {}

Result<void> FileSystem::statfs(abi::Statfs& statfs) {
  statfs = {};
  statfs.type = magic_;
  statfs.bsize = kPageSize;
  statfs.frsize = kPageSize;
  statfs.namelen = abi::kNAME_MAX;
  statfs.fsid[0] = static_cast<s32>(device_);
  return {};
}

void register_file_system(const FileSystemType& type) {
  Registry& registry = vfs_state().registry;
  KERNEL_ASSERT(registry.type_count < Registry::kMaxTypes);
  registry.types[registry.type_count++] = &type;
}

const FileSystemType* find_file_system(std::string_view name) {
  Registry& registry = vfs_state().registry;
  for (size_t i = 0; i < registry.type_count; i++) {
    if (name == registry.types[i]->name) return registry.types[i];
  }
  return nullptr;
}

const FileSystemType* file_system_at(size_t index) {
  Registry& registry = vfs_state().registry;
  return index < registry.type_count ? registry.types[index] : nullptr;
}

void register_char_device(u32 major, u32 first, u32 count, DeviceOpen open) {
  Registry& registry = vfs_state().registry;
  KERNEL_ASSERT(registry.device_count < Registry::kMaxDevices);
  registry.devices[registry.device_count++] = {major, first, count, open};
}

void set_fs_hooks(const FsHooks& hooks) {
  vfs_state().registry.hooks = hooks;
}
const FsHooks& fs_hooks() {
  return vfs_state().registry.hooks;
}

}  // namespace teacup::fs
