#include "host/mount/fuse_calls.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace teacup::mount {

namespace {

FuseContext& context_of(fuse_req_t request) {
  return *static_cast<FuseContext*>(fuse_req_userdata(request));
}
MountedTree& tree_of(fuse_req_t request) {
  return context_of(request).tree;
}

User user_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  User user{context->uid, context->gid};
  gid_t groups[32];
  const int count = fuse_req_getgroups(request, 32, groups);
  for (int i = 0; i < std::min(count, 32); i++) user.groups.push_back(groups[i]);
  return user;
}

struct stat host_stat(const abi::Stat& from) {
  struct stat to {};
  static_assert(sizeof to == sizeof from);
  std::memcpy(&to, &from, sizeof to);  // both are struct stat of x86-64
  return to;
}

// Every call ends with one of these.
void fail(fuse_req_t request, Errno error) {
  fuse_reply_err(request, static_cast<int>(error));
}
void reply(fuse_req_t request, const Result<void>& result) {
  fuse_reply_err(request, result.ok() ? 0 : static_cast<int>(result.error()));
}

fuse_entry_param entry_of(fuse_req_t request, const Entry& entry) {
  fuse_entry_param parameter{};
  parameter.ino = entry.node;
  parameter.attr = host_stat(entry.stat);
  parameter.attr_timeout = parameter.entry_timeout = context_of(request).cache_seconds;
  return parameter;
}

void reply(fuse_req_t request, const Result<Entry>& result) {
  if (!result.ok()) return fail(request, result.error());
  const fuse_entry_param parameter = entry_of(request, result.value());
  // Nobody took it.
  if (fuse_reply_entry(request, &parameter) != 0) tree_of(request).forget(result.value().node, 1);
}

void reply(fuse_req_t request, const Result<abi::Stat>& result) {
  if (!result.ok()) return fail(request, result.error());
  const struct stat stat = host_stat(result.value());
  fuse_reply_attr(request, &stat, context_of(request).cache_seconds);
}

// --- Names.

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const auto found = tree_of(request).lookup(user_of(request), parent, name);
  if (!found.is(Errno::NOENT)) return reply(request, found);
  // That there is no such name may be kept, too.
  fuse_entry_param none{};
  none.entry_timeout = context_of(request).cache_seconds;
  fuse_reply_entry(request, &none);
}

void forget(fuse_req_t request, fuse_ino_t node, uint64_t count) {
  tree_of(request).forget(node, count);
  fuse_reply_none(request);
}

void forget_multi(fuse_req_t request, size_t count, fuse_forget_data* all) {
  for (size_t i = 0; i < count; i++) tree_of(request).forget(all[i].ino, all[i].nlookup);
  fuse_reply_none(request);
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  reply(request, tree_of(request).make_node(user_of(request), parent, name, mode, device));
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  reply(request, tree_of(request).make_directory(user_of(request), parent, name, mode));
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  reply(request, tree_of(request).make_symlink(user_of(request), target, parent, name));
}

void link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  reply(request, tree_of(request).link(user_of(request), node, parent, name));
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  reply(request, tree_of(request).unlink(user_of(request), parent, name));
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  reply(request, tree_of(request).remove_directory(user_of(request), parent, name));
}

void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  reply(request, tree_of(request).rename(user_of(request), parent, name, new_parent, new_name, flags));
}

void readlink(fuse_req_t request, fuse_ino_t node) {
  const auto target = tree_of(request).read_link(node);
  if (!target.ok()) return fail(request, target.error());
  fuse_reply_readlink(request, target.value().c_str());
}

// --- Attributes.

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  reply(request, tree_of(request).stat(node));
}

fs::TimeChange time_change(int set, int bit, int now_bit, const timespec& time) {
  if ((set & now_bit) != 0) return {fs::TimeChange::kNow, {}};
  if ((set & bit) != 0) return {fs::TimeChange::kSet, {time.tv_sec, time.tv_nsec}};
  return {fs::TimeChange::kOmit, {}};
}

void setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int set, fuse_file_info* file) {
  Changes changes;
  const auto wants = [&](int bit, Changes::Mask mask) { changes.mask |= (set & bit) != 0 ? u32{mask} : 0; };
  wants(FUSE_SET_ATTR_MODE, Changes::kMode);
  wants(FUSE_SET_ATTR_UID, Changes::kUid);
  wants(FUSE_SET_ATTR_GID, Changes::kGid);
  wants(FUSE_SET_ATTR_SIZE, Changes::kSize);
  wants(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW, Changes::kAtime);
  wants(FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW, Changes::kMtime);
  changes.mode = wanted->st_mode & 07777;
  changes.uid = wanted->st_uid;
  changes.gid = wanted->st_gid;
  changes.size = static_cast<u64>(wanted->st_size);
  changes.atime = time_change(set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, wanted->st_atim);
  changes.mtime = time_change(set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, wanted->st_mtim);
  reply(request, tree_of(request).change(user_of(request), node, changes, file != nullptr ? file->fh : 0));
}

void access(fuse_req_t request, fuse_ino_t node, int mask) {
  reply(request, tree_of(request).check_access(user_of(request), node, static_cast<u32>(mask) & 7));
}

void statfs(fuse_req_t request, fuse_ino_t) {
  const auto found = tree_of(request).statfs();
  if (!found.ok()) return fail(request, found.error());
  const abi::Statfs& from = found.value();
  struct statvfs to {};
  to.f_bsize = static_cast<unsigned long>(from.bsize);
  to.f_frsize = static_cast<unsigned long>(from.frsize);
  to.f_blocks = from.blocks;
  to.f_bfree = from.bfree;
  to.f_bavail = from.bavail;
  to.f_files = from.files;
  to.f_ffree = to.f_favail = from.ffree;
  to.f_namemax = static_cast<unsigned long>(from.namelen);
  fuse_reply_statfs(request, &to);
}

// `size` 0 asks how much there is.
void reply_value(fuse_req_t request, const Result<std::string>& value, size_t size) {
  if (!value.ok()) return fail(request, value.error());
  const std::string& bytes = value.value();
  if (size == 0) {
    fuse_reply_xattr(request, bytes.size());
  } else if (bytes.size() > size) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, bytes.data(), bytes.size());
  }
}

void getxattr(fuse_req_t request, fuse_ino_t node, const char* name, size_t size) {
  reply_value(request, tree_of(request).get_xattr(user_of(request), node, name), size);
}

void listxattr(fuse_req_t request, fuse_ino_t node, size_t size) {
  reply_value(request, tree_of(request).list_xattrs(user_of(request), node), size);
}

void setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value, size_t size,
              int flags) {
  const std::span<const char> bytes(value, size);
  reply(request, tree_of(request).set_xattr(user_of(request), node, name, std::as_bytes(bytes),
                                            static_cast<u32>(flags)));
}

void removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
  reply(request, tree_of(request).remove_xattr(user_of(request), node, name));
}

// --- Files. All changes come through the host's kernel, so what it has cached of them stays right.

void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  const auto opened = tree_of(request).open(user_of(request), node, static_cast<u32>(file->flags));
  if (!opened.ok()) return fail(request, opened.error());
  file->fh = opened.value();
  file->keep_cache = 1;
  if (fuse_reply_open(request, file) != 0) tree_of(request).close(file->fh);
}

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
  const auto made =
      tree_of(request).create_file(user_of(request), parent, name, mode, static_cast<u32>(file->flags));
  if (!made.ok()) return fail(request, made.error());
  const auto& [entry, opened] = made.value();
  file->fh = opened;
  const fuse_entry_param parameter = entry_of(request, entry);
  if (fuse_reply_create(request, &parameter, file) == 0) return;
  tree_of(request).close(opened);
  tree_of(request).forget(entry.node, 1);
}

void read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  std::vector<std::byte> bytes(size);
  const auto count = tree_of(request).read(file->fh, static_cast<u64>(offset), bytes);
  if (!count.ok()) return fail(request, count.error());
  fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), count.value());
}

void write(fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
           fuse_file_info* file) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto count = tree_of(request).write(user_of(request), file->fh, static_cast<u64>(offset), bytes);
  if (!count.ok()) return fail(request, count.error());
  fuse_reply_write(request, count.value());
}

void release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  tree_of(request).close(file->fh);
  fuse_reply_err(request, 0);
}

void fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* file) {
  reply(request, tree_of(request).sync(file->fh));
}

void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info* file) {
  reply(request,
        tree_of(request).allocate(file->fh, mode, static_cast<u64>(offset), static_cast<u64>(length)));
}

void lseek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* file) {
  const auto found = tree_of(request).seek(file->fh, static_cast<u64>(offset), whence);
  if (!found.ok()) return fail(request, found.error());
  fuse_reply_lseek(request, static_cast<off_t>(found.value()));
}

// --- Directories.

void opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  const auto opened = tree_of(request).open(user_of(request), node, abi::kO_RDONLY | abi::kO_DIRECTORY);
  if (!opened.ok()) return fail(request, opened.error());
  file->fh = opened.value();
  if (fuse_reply_open(request, file) != 0) tree_of(request).close(file->fh);
}

struct Listed {
  std::string name;
  u64 inode;
  u8 type;
  u64 next;
};

// As many as surely fit, taken before any is looked up: a directory is not read while others change it.
Result<std::vector<Listed>> list(fuse_req_t request, u64 directory, off_t position, size_t room, bool plus) {
  std::vector<Listed> entries;
  TRY(tree_of(request).read_directory(
      directory, static_cast<u64>(position), [&](std::string_view name, u64 inode, u8 type, u64 next) {
        const std::string text(name);
        const size_t size = plus ? fuse_add_direntry_plus(request, nullptr, 0, text.c_str(), nullptr, 0)
                                 : fuse_add_direntry(request, nullptr, 0, text.c_str(), nullptr, 0);
        if (size > room) return false;
        room -= size;
        entries.push_back({text, inode, type, next});
        return true;
      }));
  return entries;
}

void readdir(fuse_req_t request, fuse_ino_t, size_t size, off_t position, fuse_file_info* file) {
  const auto entries = list(request, file->fh, position, size, false);
  if (!entries.ok()) return fail(request, entries.error());
  std::vector<char> buffer(size);
  size_t used = 0;
  for (const Listed& entry : entries.value()) {
    struct stat stat {};
    stat.st_ino = entry.inode;
    stat.st_mode = static_cast<mode_t>(entry.type) << 12;
    used += fuse_add_direntry(request, buffer.data() + used, size - used, entry.name.c_str(), &stat,
                              static_cast<off_t>(entry.next));
  }
  fuse_reply_buf(request, buffer.data(), used);
}

void readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t position, fuse_file_info* file) {
  const auto entries = list(request, file->fh, position, size, true);
  if (!entries.ok()) return fail(request, entries.error());
  const User user = user_of(request);
  std::vector<char> buffer(size);
  std::vector<NodeId> given;
  size_t used = 0;
  for (const Listed& entry : entries.value()) {
    fuse_entry_param parameter{};
    parameter.attr.st_ino = entry.inode;
    parameter.attr.st_mode = static_cast<mode_t>(entry.type) << 12;
    // Node 0 says: no more than the name and its type are told here.
    if (entry.name != "." && entry.name != "..") {
      if (const auto found = tree_of(request).lookup(user, node, entry.name); found.ok()) {
        parameter = entry_of(request, found.value());
        given.push_back(found.value().node);
      }
    }
    used += fuse_add_direntry_plus(request, buffer.data() + used, size - used, entry.name.c_str(), &parameter,
                                   static_cast<off_t>(entry.next));
  }
  if (fuse_reply_buf(request, buffer.data(), used) == 0) return;
  for (const NodeId id : given) tree_of(request).forget(id, 1);
}

fuse_lowlevel_ops make_calls() {
  fuse_lowlevel_ops calls{};
  calls.lookup = lookup;
  calls.forget = forget;
  calls.forget_multi = forget_multi;
  calls.getattr = getattr;
  calls.setattr = setattr;
  calls.readlink = readlink;
  calls.mknod = mknod;
  calls.mkdir = mkdir;
  calls.unlink = unlink;
  calls.rmdir = rmdir;
  calls.symlink = symlink;
  calls.rename = rename;
  calls.link = link;
  calls.open = open;
  calls.create = create;
  calls.read = read;
  calls.write = write;
  calls.release = release;
  calls.fsync = fsync;
  calls.opendir = opendir;
  calls.readdir = readdir;
  calls.readdirplus = readdirplus;
  calls.releasedir = release;
  calls.fsyncdir = fsync;
  calls.statfs = statfs;
  calls.setxattr = setxattr;
  calls.getxattr = getxattr;
  calls.listxattr = listxattr;
  calls.removexattr = removexattr;
  calls.access = access;
  calls.fallocate = fallocate;
  calls.lseek = lseek;
  return calls;
}

}  // namespace

const fuse_lowlevel_ops& fuse_calls() {
  static const fuse_lowlevel_ops calls = make_calls();
  return calls;
}

}  // namespace teacup::mount
