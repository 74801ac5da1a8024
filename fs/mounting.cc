// Mounting, and what the machine's tree is at its start.
#include "fs/anonymous.h"
#include "fs/asked_image.h"
#include "fs/erofs.h"
#include "fs/host_fs.h"
#include "fs/image_stack.h"
#include "fs/layer_fs.h"
#include "fs/node_file.h"
#include "fs/tmpfs.h"
#include "fs/vfs.h"
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "fs/walk.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

Path root_path() {
  VfsState& state = vfs_state();
  return Path(state.root, Ref<Dentry>::share(&state.root->root()));
}

Result<void> mount_file_system(Ref<FileSystem> file_system, const Path& where, u32 flags) {
  Ref<Inode> inode = TRY(file_system->root());
  if (inode->is_directory() != where.inode().is_directory()) return Errno::NOTDIR;
  Ref<Dentry> root = TRY(dcache().make_root(std::move(inode)));
  MountTable& mounts = vfs_state().mounts;
  Ref<Mount> mount = TRY(mounts.create(std::move(file_system), std::move(root), flags));
  mounts.attach(std::move(mount), where);
  return {};
}

Result<Path> internal_root(Ref<FileSystem> file_system) {
  Ref<Dentry> root = TRY(dcache().make_root(TRY(file_system->root())));
  Ref<Mount> mount = TRY(vfs_state().mounts.create(std::move(file_system), root, 0));
  return Path(std::move(mount), std::move(root));
}

Result<Path> path_in(const Path& directory, std::string_view name, Ref<Inode> inode) {
  Ref<Dentry> dentry = TRY(dcache().make_uncached(directory.dentry(), name, std::move(inode)));
  return Path(directory.mount_ref(), std::move(dentry));
}

Result<void> bind_mount(const Path& what, const Path& where, u32 flags) {
  if (what.inode().is_directory() != where.inode().is_directory()) return Errno::NOTDIR;
  MountTable& mounts = vfs_state().mounts;
  Ref<Mount> mount = TRY(mounts.create(Ref<FileSystem>::share(&what.mount().file_system()), what.dentry_ref(),
                                       flags | what.mount().flags.load()));
  mounts.attach(std::move(mount), where);
  return {};
}

Result<void> unmount(const Path& where, u32 flags) {
  constexpr u32 kMntDetach = 2;
  if (&where.dentry() != &where.mount().root()) return Errno::INVAL;
  // The caller's path is a second user besides the table.
  return vfs_state().mounts.detach(where.mount(), (flags & kMntDetach) != 0);
}

void for_each_mount(void (*visit)(void* context, Mount& mount), void* context) {
  vfs_state().mounts.visit(visit, context);
}

Result<Ref<File>> open_unnamed(std::string_view name, u32 flags) {
  Ref<Mount> mount = vfs_state().unnamed;
  NewNode node;
  node.mode = abi::kS_IFREG | 0777;
  Ref<Inode> inode = TRY(mount->root().inode()->create_unnamed(node));
  Ref<Dentry> dentry = TRY(dcache().make_uncached(mount->root(), name, std::move(inode)));
  dcache().remove(*dentry);  // shown as "/memfd:name (deleted)"
  Ref<File> file = TRY(make_node_file(Path(std::move(mount), std::move(dentry)), flags));
  // As on Linux, who made it does not count as a writer: it can be executed while it is open (fexecve(3)).
  static_cast<NodeFile&>(*file).forget_writer();
  return file;
}

void vfs_start() {
  auto state = make<VfsState>();
  KERNEL_ASSERT(state.ok());
  set_root(Root::kVfs, state.value());
  KERNEL_ASSERT(vfs_state().dcache.start().ok());
  KERNEL_ASSERT(anonymous_start().ok());
  register_tmpfs();
}

void set_volume_owner(u32 uid, u32 gid) {
  vfs_state().volume_uid.store(uid);
  vfs_state().volume_gid.store(gid);
  auto refresh = [](void*, Mount& mount) {
    abi::Stat stat;
    mount.file_system().volume_owner_known();
    if (mount.file_system().name_lifetime() != 0) static_cast<void>(mount.root().inode()->stat(stat));
  };
  for_each_mount(refresh, nullptr);
}

Result<void> fs_finish() {
  VfsState* state = root<VfsState>(Root::kVfs);
  if (state == nullptr || !state->root) return {};
  return state->root->file_system().sync();
}

const char* fs_start_problem() {
  return vfs_state().start_problem;
}

namespace {

std::string_view boot_string(const abi::BootString& string) {
  return {&arena_at<char>(string.offset), string.length};
}

Credentials all_powerful() {
  Credentials credentials;
  credentials.effective = credentials.permitted = ~u64{0};
  return credentials;
}

Result<void> start_internal() {
  VfsState& state = vfs_state();
  Ref<FileSystem> memory = TRY(LayerFs::create("tmpfs", static_cast<u32>(abi::kTMPFS_MAGIC), nullptr, 0700));
  Ref<Dentry> root = TRY(state.dcache.make_root(TRY(memory->root())));
  state.unnamed = TRY(state.mounts.create(std::move(memory), std::move(root), 0));
  return {};
}

Result<Ref<Image>> open_layer(const abi::BootLayer& layer) {
  VfsState& state = vfs_state();
  switch (static_cast<abi::ImageKind>(layer.kind)) {
    case abi::ImageKind::kErofs: {
      const char* feature = nullptr;
      auto image = ErofsImage::open(arena().images[layer.slot], feature);
      if (!image.ok()) {
        state.start_problem =
            feature != nullptr ? feature : "the image is damaged: its EROFS superblock makes no sense";
        return image.error();
      }
      return Ref<Image>(std::move(image).value());
    }
    case abi::ImageKind::kImporter: {
      state.start_problem = "the image cannot be read";
      return Ref<Image>(TRY(AskedImage::open_importer(layer.slot, layer.number)));
    }
    case abi::ImageKind::kHostDirectory: {
      state.start_problem = "the image directory cannot be read";
      return Ref<Image>(TRY(AskedImage::open_host(layer.number, false)));
    }
    default:
      state.start_problem = "this kind of image is not supported";
      return Errno::NOTSUP;
  }
}

// One image is what it is; several become one.
Result<Ref<Image>> open_image(const abi::BootConfig& config) {
  u64 count = config.layers.count;
  if (count == 0 || count > kMaxImages) return Errno::INVAL;
  Ref<Image> images[kMaxImages];
  for (u64 i = 0; i < count; i++) {
    images[i] = TRY(open_layer((&arena_at<abi::BootLayer>(config.layers.offset))[i]));
  }
  if (count == 1) return std::move(images[0]);
  vfs_state().start_problem = "an image is damaged: its root directory cannot be read";
  return Ref<Image>(TRY(ImageStack::create({images, count})));
}

Result<void> ensure_directory(const Caller& caller, std::string_view path, u32 mode) {
  auto made = make_directory(caller, nullptr, path, mode);
  if (made.ok() || made.is(Errno::EXIST)) return {};
  return made;
}

// Mounts a registered type; a type that nobody registered is left out.
Result<void> mount_type(const Caller& caller, const char* type, std::string_view path, u32 flags,
                        std::string_view data = {}) {
  const FileSystemType* found = find_file_system(type);
  if (found == nullptr) return {};
  TRY(ensure_directory(caller, path, 0755));
  Path where = TRY(resolve(caller, nullptr, path, kFollow | kDirectory));
  Ref<FileSystem> file_system = TRY(found->mount(type, data));
  std::string_view name = type;
  memcpy(file_system->source, name.data(), name.size() + 1);
  return mount_file_system(std::move(file_system), where, flags);
}

Result<void> write_file(const Caller& caller, std::string_view path, std::string_view text,
                        std::string_view more = {}) {
  Ref<File> file =
      TRY(open_path(caller, nullptr, path, abi::kO_WRONLY | abi::kO_CREAT | abi::kO_TRUNC, 0644));
  IoSource from(std::as_bytes(std::span(text.data(), text.size())));
  TRY(file->write(from, 0));
  if (more.empty()) return {};
  IoSource rest(std::as_bytes(std::span(more.data(), more.size())));
  TRY(file->write(rest, text.size()));
  return {};
}

Result<void> write_host_files(const Caller& caller, const abi::BootConfig& config) {
  std::string_view hostname = boot_string(config.hostname);
  TRY(ensure_directory(caller, "/etc", 0755));
  char storage[512];
  TextBuffer text(storage);
  text.add("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
  constexpr u8 kOfLoopback[4] = {127, 0, 1, 1};
  const auto& own = config.network == abi::NetworkMode::kNone ? kOfLoopback : abi::kOwnAddress;
  for (size_t i = 0; i < std::size(own); i++) text.udec(own[i]).add(i + 1 < std::size(own) ? '.' : '\t');
  text.add(hostname).add('\n');
  TRY(write_file(caller, "/etc/hosts", text.text(), boot_string(config.hosts)));
  constexpr std::string_view kResolver = "/etc/resolv.conf", kServer = "nameserver 127.0.0.53\n";
  if (!write_file(caller, kResolver, kServer).ok()) {
    // A link into a /run that is not there.
    (void)remove_name(caller, nullptr, kResolver);
    TRY(write_file(caller, kResolver, kServer));
  }
  text.clear();
  text.add(hostname).add("\n");
  return write_file(caller, "/etc/hostname", text.text());
}

// A directory that the guest does not have yet is made for it, as docker does; so is a file's place.
Result<Path> make_mount_point(const Caller& caller, std::string_view path, bool directory) {
  for (size_t at = 1; at < path.size(); at++) {
    if (path[at] == '/') TRY(ensure_directory(caller, path.substr(0, at), 0755));
  }
  if (directory) {
    TRY(ensure_directory(caller, path, 0755));
  } else {
    TRY(open_path(caller, nullptr, path, abi::kO_RDONLY | abi::kO_CREAT, 0644));
  }
  return resolve(caller, nullptr, path, kFollow);
}

Result<void> mount_volume(const Caller& caller, const abi::BootVolume& volume) {
  Path where = TRY(make_mount_point(caller, boot_string(volume.guest_path), volume.is_directory != 0));
  Ref<FileSystem> file_system;
  if (volume.mode == abi::VolumeMode::kCopyOnWrite) {
    Ref<Image> image = TRY(AskedImage::open_host(volume.host_root, true));
    file_system =
        TRY(LayerFs::create("overlay", static_cast<u32>(abi::kOVERLAYFS_SUPER_MAGIC), std::move(image)));
  } else {
    file_system = TRY(HostFs::create(volume.host_root, volume.mode == abi::VolumeMode::kWritable));
  }
  memcpy(file_system->source, "host", 5);
  return mount_file_system(
      std::move(file_system), where,
      kMountNoSuid | kMountNoDev | (volume.mode == abi::VolumeMode::kReadOnly ? u32{kMountReadOnly} : 0u));
}

Result<void> mount_volumes(const Caller& caller, const abi::BootConfig& config) {
  vfs_state().start_problem = "a volume (-v) cannot be mounted: its path in the guest cannot be made";
  for (u64 i = 0; i < config.volumes.count; i++) {
    TRY(mount_volume(caller, (&arena_at<abi::BootVolume>(config.volumes.offset))[i]));
  }
  return {};
}

Result<void> mount_memory(const Caller& caller, const abi::BootConfig& config) {
  vfs_state().start_problem =
      "a --tmpfs cannot be mounted: its path in the guest cannot be made, or its options are wrong";
  for (u64 i = 0; i < config.tmpfs.count; i++) {
    const abi::BootTmpfs& tmpfs = (&arena_at<abi::BootTmpfs>(config.tmpfs.offset))[i];
    static_cast<void>(TRY(make_mount_point(caller, boot_string(tmpfs.guest_path), true)));
    TRY(mount_type(caller, "tmpfs", boot_string(tmpfs.guest_path), tmpfs.flags, boot_string(tmpfs.data)));
  }
  return {};
}

// The tree's root: the image under the memory layer. `upper`: that is kept in --upper's file.
Result<void> start_root(Ref<Image> image, bool upper) {
  VfsState& state = vfs_state();
  auto layer = LayerFs::create("overlay", static_cast<u32>(abi::kOVERLAYFS_SUPER_MAGIC), std::move(image));
  if (!layer.ok()) {
    state.start_problem = "the image is damaged: its root directory cannot be read";
    return layer.error();
  }
  if (upper) {
    state.start_problem = "what --upper's file says makes no sense: it is damaged, or of other images";
    auto kept = layer.value()->keep_upper();
    if (kept.is(Errno::NOSPC) || kept.is(Errno::NOMEM)) {
      state.start_problem =
          "what --upper's file holds does not fit into the machine's memory; give it more: --memory";
    }
    if (kept.is(Errno::IO)) state.start_problem = "--upper's file cannot be read";
    TRY(kept);
  }
  Ref<FileSystem> root_fs = std::move(layer).value();
  if (!TRY(root_fs->root())->is_directory()) return Errno::UCLEAN;
  memcpy(root_fs->source, "overlay", 8);
  Ref<Dentry> root = TRY(state.dcache.make_root(TRY(root_fs->root())));
  state.root = TRY(state.mounts.create(std::move(root_fs), std::move(root), 0));
  state.mounts.add_root(state.root);
  return {};
}

}  // namespace

Result<void> fs_start_tree(Ref<Image> image, bool read_only) {
  TRY(start_internal());
  TRY(start_root(std::move(image), false));
  if (read_only) vfs_state().root->flags.fetch_or(kMountReadOnly);
  return {};
}

Result<void> fs_start(const abi::BootConfig& config) {
  VfsState& state = vfs_state();
  TRY(start_internal());
  state.tells_names.store(config.trace_files != 0);
  TRY(start_root(TRY(open_image(config)), config.upper != 0));

  Ref<FsContext> context = TRY(FsContext::create());
  Credentials credentials = all_powerful();
  Caller caller{*context, credentials};
  constexpr u32 kPlain = kMountNoSuid | kMountNoDev | kMountNoExec;
  state.start_problem = "the machine's own file systems could not be mounted";
  TRY(ensure_directory(caller, "/dev", 0755));
  TRY(mount_type(caller, "proc", "/proc", kPlain));
  TRY(mount_type(caller, "sysfs", "/sys", kPlain));
  TRY(mount_type(caller, "devtmpfs", "/dev", kMountNoSuid));
  TRY(mount_type(caller, "devpts", "/dev/pts", kMountNoSuid | kMountNoExec));
  TRY(mount_type(caller, "tmpfs", "/dev/shm", kMountNoSuid | kMountNoDev, "mode=1777"));
  TRY(mount_type(caller, "mqueue", "/dev/mqueue", kPlain));
  TRY(ensure_directory(caller, "/tmp", 01777));
  Path tmp = TRY(resolve(caller, nullptr, "/tmp", kFollow));
  if ((tmp.inode().mode & 07777) != 01777) TRY(change_mode(caller, tmp, 01777));
  TRY(mount_memory(caller, config));
  // Before the volumes: what the user put there stays.
  state.start_problem = "the machine's own file systems could not be mounted";
  if (!boot_string(config.hostname).empty()) TRY(write_host_files(caller, config));
  TRY(mount_volumes(caller, config));
  if (config.read_only != 0) state.root->flags.fetch_or(kMountReadOnly);
  state.start_problem = nullptr;
  return {};
}

}  // namespace teacup::fs
