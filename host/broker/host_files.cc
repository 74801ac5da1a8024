// Locks: lock_, for the whole of a request: the table of nodes and its descriptors change together.
#include "host/broker/host_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "host/broker/arena_bounds.h"
#include "kernel/abi/fs.h"
#include "kernel/base/arena_header.h"

namespace teacup::host {

namespace {

constexpr u64 kLongestNames = 255 + 4096;

bool is_component(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

int open_beneath(int directory, const std::string& path, int flags) {
  struct open_how how {};
  how.flags = static_cast<u64>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long fd = syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

int reopen(int fd, int flags) {
  int opened = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), (flags & ~O_NOFOLLOW) | O_CLOEXEC);
  return opened < 0 ? -errno : opened;
}

s64 result_of(int result) {
  return result < 0 ? -errno : 0;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

abi::ImporterTime time_of(const timespec& time) {
  return {time.tv_sec, static_cast<u32>(time.tv_nsec), 0};
}

abi::ImporterInode describe(u64 id, const struct stat& status) {
  abi::ImporterInode inode{};
  inode.number = id;
  inode.size = static_cast<u64>(status.st_size);
  inode.blocks = static_cast<u64>(status.st_blocks);
  inode.mode = status.st_mode;
  inode.links = static_cast<u32>(status.st_nlink);
  inode.uid = status.st_uid;
  inode.gid = status.st_gid;
  inode.flags = abi::kDataByRead | (status.st_uid == geteuid() ? abi::kOwnedByCaller : 0);
  inode.device_major = static_cast<u32>(status.st_rdev >> 8 & 0xfff);
  inode.device_minor = static_cast<u32>((status.st_rdev & 0xff) | (status.st_rdev >> 12 & 0xfff00));
  inode.accessed = time_of(status.st_atim);
  inode.modified = time_of(status.st_mtim);
  inode.changed = time_of(status.st_ctim);
  return inode;
}

}  // namespace

struct HostFiles::Request : abi::HostFileRequest {
  std::string name;
  std::string name2;
};

// The response, in the asker's buffer.
class HostFiles::Answer {
 public:
  Answer(u64 offset, u64 size) : memory_(&arena_at<std::byte>(offset)), size_(size) {}

  bool add(const void* data, std::size_t size) {
    if (size > size_ - std::min(size_, used_)) return false;
    std::memcpy(memory_ + used_, data, size);
    used_ += size;
    return true;
  }
  bool add_record(const abi::ImporterEntry& entry, const std::string& name) {
    std::size_t padded = align_up(sizeof entry + name.size(), 8);
    if (used_ > size_ || padded > size_ - used_) return false;
    abi::ImporterEntry record = entry;
    record.size = static_cast<u32>(padded);
    record.name_length = static_cast<u16>(name.size());
    add(&record, sizeof record);
    std::memcpy(memory_ + used_, name.data(), name.size());
    used_ += padded - sizeof record;
    count++;
    return true;
  }
  s64 finish() {
    if (size_ < sizeof(abi::ImporterResponse)) return -ERANGE;
    abi::ImporterResponse head{count, 0, next};
    std::memcpy(memory_, &head, sizeof head);
    return static_cast<s64>(used_);
  }

  // Beside a result of the operation's own.
  void add_attributes(u64 node, int fd) {
    struct stat status {};
    if (fstat(fd, &status) != 0) return;
    abi::ImporterInode inode = describe(node, status);
    if (!add(&inode, sizeof inode)) return;
    count = 1;
    finish();
  }

  u32 count = 0;
  u64 next = 0;

 private:
  std::byte* memory_;
  u64 size_;
  u64 used_ = sizeof(abi::ImporterResponse);
};

HostFiles::~HostFiles() {
  for (const Root& root : roots_) close(root.fd);
  for (const auto& [id, node] : nodes_) {
    if (node.held_fd >= 0) close(node.held_fd);
  }
  for (const OpenFile& file : open_files_) {
    if (file.fd >= 0) close(file.fd);
  }
}

u32 HostFiles::add_root(const std::string& path, bool writable) {
  int fd = open(path.c_str(), O_PATH | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) throw std::system_error(errno, std::generic_category(), path);
  auto number = static_cast<u32>(roots_.size());
  roots_.push_back({fd, writable});
  nodes_[number + 1] = {number, 0, "", status.st_dev, status.st_ino};
  ids_[{number, status.st_dev, status.st_ino}] = number + 1;
  return number;
}

s64 HostFiles::serve(const u64 (&args)[6]) {
  if (args[1] < sizeof(abi::HostFileRequest) || args[1] > sizeof(abi::HostFileRequest) + kLongestNames ||
      !in_arena(args[0], args[1]) || !in_arena(args[2], args[3])) {
    return -EINVAL;
  }
  // Copied out first: the asker may change it meanwhile.
  std::vector<char> bytes(args[1]);
  std::memcpy(bytes.data(), &arena_at<char>(args[0]), bytes.size());
  Request request{};
  std::memcpy(static_cast<abi::HostFileRequest*>(&request), bytes.data(), sizeof(abi::HostFileRequest));
  if (u64{request.name_length} + request.name2_length != bytes.size() - sizeof(abi::HostFileRequest)) {
    return -EINVAL;
  }
  const char* names = bytes.data() + sizeof(abi::HostFileRequest);
  request.name.assign(names, request.name_length);
  request.name2.assign(names + request.name_length, request.name2_length);
  Answer answer(args[2], args[3]);
  std::lock_guard guard(lock_);
  s64 result = dispatch(request, answer);
  return result;
}

s64 HostFiles::dispatch(const Request& request, Answer& answer) {
  using Op = abi::HostFileOp;
  switch (request.op) {
    case Op::kReadDirectory:
      return read_directory(request, answer);
    case Op::kLookup:
      return lookup(request, answer);
    case Op::kNode: {
      Descriptor fd(open_node(request.node, O_PATH));
      if (!fd.ok()) return fd.get();
      struct stat status {};
      if (fstat(fd.get(), &status) != 0) return -errno;
      abi::ImporterInode inode = describe(request.node, status);
      answer.count = 1;
      return answer.add(&inode, sizeof inode) ? answer.finish() : -ERANGE;
    }
    case Op::kReadLink: {
      Descriptor fd(open_node(request.node, O_PATH));
      if (!fd.ok()) return fd.get();
      char target[4096];
      ssize_t length = readlinkat(fd.get(), "", target, sizeof target);
      if (length < 0) return -errno;
      answer.count = static_cast<u32>(length);
      return answer.add(target, static_cast<std::size_t>(length)) ? answer.finish() : -ERANGE;
    }
    case Op::kRead:
    case Op::kWrite:
    case Op::kTruncate:
    case Op::kAllocate:
    case Op::kSync:
      return transfer(request, answer);
    case Op::kCreate:
    case Op::kSymlink:
      return create(request, answer);
    case Op::kLink:
    case Op::kUnlink:
    case Op::kRemoveDirectory:
      return change_entry(request, answer);
    case Op::kRename:
      return rename(request);
    case Op::kSetMode:
    case Op::kSetTimes:
      return set_attributes(request, answer);
    case Op::kForget: {
      auto found = nodes_.find(request.node);
      if (found == nodes_.end() || found->second.parent == 0) return -EINVAL;
      forget_content(request.node);
      if (found->second.held_fd >= 0) close(found->second.held_fd);
      found->second.held_fd = -1;
      // Its number stays: the nodes below it go by its name, and the guest may meet it again.
      return 0;
    }
    case Op::kStatfs: {
      Descriptor fd(open_node(request.node, O_PATH));
      if (!fd.ok()) return fd.get();
      struct statfs status {};
      if (fstatfs(fd.get(), &status) != 0) return -errno;
      static_assert(sizeof status == sizeof(abi::Statfs));
      answer.count = sizeof status;
      return answer.add(&status, sizeof status) ? answer.finish() : -ERANGE;
    }
    default:
      return -EINVAL;
  }
}

// --- Nodes.

u64 HostFiles::id_of(u32 root, u64 parent, const std::string& name, const struct stat& status) {
  u64& id = ids_[{root, status.st_dev, status.st_ino}];
  if (id == 0) id = next_id_++;
  Node& node = nodes_[id];
  if (node.parent == 0 && id <= roots_.size()) return id;  // a root met below itself
  node.root = root;
  node.parent = parent;
  node.name = name;
  node.device = status.st_dev;
  node.inode = status.st_ino;
  return id;
}

bool HostFiles::writable(u64 id) const {
  auto found = nodes_.find(id);
  return found != nodes_.end() && roots_[found->second.root].writable;
}

int HostFiles::open_node(u64 id, int flags) {
  auto found = nodes_.find(id);
  if (found == nodes_.end()) return -ESTALE;
  const Node& node = found->second;
  int root_fd = roots_[node.root].fd;
  if (node.held_fd >= 0)
    return (flags & O_PATH) != 0 ? fcntl(node.held_fd, F_DUPFD_CLOEXEC, 3) : reopen(node.held_fd, flags);
  if (node.parent == 0)
    return (flags & O_PATH) != 0 ? fcntl(root_fd, F_DUPFD_CLOEXEC, 3) : reopen(root_fd, flags);
  std::string path = node.name;
  int depth = 0;
  for (u64 at = node.parent;; depth++) {
    auto parent = nodes_.find(at);
    if (parent == nodes_.end() || depth > 2000) return -ESTALE;
    if (parent->second.parent == 0) break;
    path = parent->second.name + "/" + path;
    at = parent->second.parent;
  }
  int fd = open_beneath(root_fd, path, flags);
  if (fd < 0) return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? -ESTALE : fd;
  struct stat status {};
  if (fstat(fd, &status) != 0 || status.st_dev != node.device || status.st_ino != node.inode) {
    close(fd);
    return -ESTALE;
  }
  return fd;
}

int HostFiles::open_parent(const Request& request) {
  if (!writable(request.node)) return -EROFS;
  return open_node(request.node, O_PATH | O_DIRECTORY);
}

int HostFiles::content_fd(u64 id, bool writable) {
  for (const OpenFile& file : open_files_) {
    if (file.fd >= 0 && file.node == id && (file.writable || !writable)) return file.fd;
  }
  // Looked at before it is opened: opening a FIFO or a device does things.
  Descriptor place(open_node(id, O_PATH));
  if (!place.ok()) return place.get();
  struct stat status {};
  if (fstat(place.get(), &status) != 0) return -errno;
  if (!S_ISREG(status.st_mode)) return -EINVAL;
  int fd = reopen(place.get(), writable ? O_RDWR : O_RDONLY);
  if (fd == -EACCES && writable) fd = reopen(place.get(), O_WRONLY);
  if (fd < 0) return fd;
  OpenFile& slot = open_files_[next_open_file_++ % open_files_.size()];
  if (slot.fd >= 0) close(slot.fd);
  slot = {id, writable, fd};
  return fd;
}

void HostFiles::forget_content(u64 id) {
  for (OpenFile& file : open_files_) {
    if (file.node != id || file.fd < 0) continue;
    close(file.fd);
    file = {};
  }
}

// --- Looking.

// Adds the entry `name` of the open directory. 0, -ERANGE, or -errno if it must be there and is not.
s64 HostFiles::add_entry(Answer& answer, u64 directory, int fd, const std::string& name, u64 cursor,
                         bool required) {
  struct stat status {};
  if (fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return required ? -errno : 0;
  abi::ImporterEntry entry{};
  entry.cursor = cursor;
  entry.inode = describe(id_of(nodes_[directory].root, directory, name, status), status);
  return answer.add_record(entry, name) ? 0 : -ERANGE;
}

s64 HostFiles::lookup(const Request& request, Answer& answer) {
  if (!is_component(request.name)) return -EINVAL;
  Descriptor fd(open_node(request.node, O_PATH | O_DIRECTORY));
  if (!fd.ok()) return fd.get();
  s64 result = add_entry(answer, request.node, fd.get(), request.name, 0, true);
  return result < 0 ? result : answer.finish();
}

s64 HostFiles::read_directory(const Request& request, Answer& answer) {
  int fd = open_node(request.node, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  DIR* directory = fdopendir(fd);
  if (directory == nullptr) {
    close(fd);
    return -ENOMEM;
  }
  if (request.cursor != 0) seekdir(directory, static_cast<long>(request.cursor));
  answer.next = request.cursor;
  s64 result = 0;
  for (;;) {
    errno = 0;
    dirent* entry = readdir(directory);
    if (entry == nullptr) {
      if (errno != 0) result = -errno;
      answer.next = 0;
      break;
    }
    std::string name = entry->d_name;
    auto after = static_cast<u64>(entry->d_off);
    if (is_component(name)) {
      result = add_entry(answer, request.node, fd, name, after, false);
      if (result == -ERANGE) {
        // Full: the rest next time.
        result = answer.count == 0 ? -ERANGE : 0;
        break;
      }
    }
    answer.next = after;
  }
  closedir(directory);
  return result < 0 ? result : answer.finish();
}

// --- Content.

s64 HostFiles::transfer(const Request& request, Answer& answer) {
  using Op = abi::HostFileOp;
  bool write = request.op != Op::kRead && request.op != Op::kSync;
  if (write && !writable(request.node)) return -EROFS;
  int fd = content_fd(request.node, write);
  if (fd < 0) return fd;
  auto offset = static_cast<off_t>(request.cursor);
  auto length = static_cast<off_t>(request.length);
  if (offset < 0 || length < 0) return -EINVAL;
  switch (request.op) {
    case Op::kSync:
      return result_of(fsync(fd));
    case Op::kTruncate:
      if (ftruncate(fd, length) != 0) return -errno;
      answer.add_attributes(request.node, fd);
      return 0;
    case Op::kAllocate:
      return result_of(fallocate(fd, static_cast<int>(request.mode), offset, length));
    default:
      break;
  }
  if (!in_arena(request.data_offset, request.length)) return -EINVAL;
  char* data = &arena_at<char>(request.data_offset);
  u64 done = 0;
  while (done < request.length) {
    std::size_t left = request.length - done;
    ssize_t count = write ? pwrite(fd, data + done, left, offset + static_cast<off_t>(done))
                          : pread(fd, data + done, left, offset + static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return done > 0 ? static_cast<s64>(done) : -errno;
    if (count == 0) break;
    done += static_cast<u64>(count);
  }
  if (write) answer.add_attributes(request.node, fd);
  return static_cast<s64>(done);
}

// --- Changing.

s64 HostFiles::create(const Request& request, Answer& answer) {
  if (!is_component(request.name)) return -EINVAL;
  Descriptor fd(open_parent(request));
  if (!fd.ok()) return fd.get();
  mode_t mode = request.mode & 07777;
  const char* name = request.name.c_str();
  int result;
  if (request.op == abi::HostFileOp::kSymlink) {
    result = symlinkat(request.name2.c_str(), fd.get(), name);
  } else if (S_ISDIR(request.mode)) {
    result = mkdirat(fd.get(), name, mode);
  } else if (S_ISFIFO(request.mode) || S_ISSOCK(request.mode)) {
    result = mknodat(fd.get(), name, (request.mode & S_IFMT) | mode, 0);
  } else if (S_ISREG(request.mode)) {
    result = openat(fd.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    // Our own umask does not count: the guest's has been applied.
    if (result >= 0) {
      if (fchmod(result, mode) != 0) result = -1;
      close(result);
    }
  } else {
    return -EPERM;
  }
  if (result < 0) return -errno;
  if (S_ISDIR(request.mode)) static_cast<void>(fchmodat(fd.get(), name, mode, 0));
  s64 added = add_entry(answer, request.node, fd.get(), request.name, 0, true);
  return added < 0 ? added : answer.finish();
}

s64 HostFiles::change_entry(const Request& request, Answer& answer) {
  if (!is_component(request.name)) return -EINVAL;
  Descriptor fd(open_parent(request));
  if (!fd.ok()) return fd.get();
  const char* name = request.name.c_str();
  if (request.op == abi::HostFileOp::kLink) {
    if (!writable(request.node2)) return -EROFS;
    if (nodes_[request.node2].root != nodes_[request.node].root) return -EXDEV;
    Descriptor existing(open_node(request.node2, O_PATH));
    if (!existing.ok()) return existing.get();
    std::string path = "/proc/self/fd/" + std::to_string(existing.get());
    if (linkat(AT_FDCWD, path.c_str(), fd.get(), name, AT_SYMLINK_FOLLOW) != 0) return -errno;
    s64 added = add_entry(answer, request.node, fd.get(), request.name, 0, true);
    return added < 0 ? added : answer.finish();
  }
  // What loses its name stays within reach as long as the guest has it open.
  int held = open_node(request.node2, O_PATH);
  bool directory = request.op == abi::HostFileOp::kRemoveDirectory;
  if (unlinkat(fd.get(), name, directory ? AT_REMOVEDIR : 0) != 0) {
    int error = errno;
    if (held >= 0) close(held);
    return -error;
  }
  if (held >= 0) {
    auto node = nodes_.find(request.node2);
    // Its identity is free for another file as soon as the last descriptor goes: forget the number.
    struct stat status {};
    if (node != nodes_.end() && fstat(held, &status) == 0) {
      if (node->second.held_fd >= 0) close(node->second.held_fd);
      node->second.held_fd = held;
      if (status.st_nlink == 0 || directory) {
        ids_.erase({node->second.root, node->second.device, node->second.inode});
      }
    } else {
      close(held);
    }
  }
  return answer.finish();
}

s64 HostFiles::rename(const Request& request) {
  if (!is_component(request.name) || !is_component(request.name2)) return -EINVAL;
  if (!writable(request.node2)) return -EROFS;
  Descriptor from(open_parent(request));
  if (!from.ok()) return from.get();
  Descriptor to(open_node(request.node2, O_PATH | O_DIRECTORY));
  if (!to.ok()) return to.get();
  struct stat moved {};
  struct stat victim {};
  if (fstatat(from.get(), request.name.c_str(), &moved, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
  bool replaces = fstatat(to.get(), request.name2.c_str(), &victim, AT_SYMLINK_NOFOLLOW) == 0;
  u32 root = nodes_[request.node].root;
  auto victim_id = ids_.find({root, victim.st_dev, victim.st_ino});
  int held = -1;
  bool exchange = (request.flags & abi::kRENAME_EXCHANGE) != 0;
  if (replaces && !exchange && victim_id != ids_.end()) held = open_node(victim_id->second, O_PATH);
  long result = syscall(SYS_renameat2, from.get(), request.name.c_str(), to.get(), request.name2.c_str(),
                        request.flags);
  if (result != 0) {
    int error = errno;
    if (held >= 0) close(held);
    return -error;
  }
  if (held >= 0) {
    Node& node = nodes_[victim_id->second];
    if (node.held_fd >= 0) close(node.held_fd);
    node.held_fd = held;
    struct stat status {};
    if (fstat(held, &status) == 0 && status.st_nlink == 0) ids_.erase(victim_id);
  }
  id_of(root, request.node2, request.name2, moved);
  if (exchange) id_of(root, request.node, request.name, victim);
  return 0;
}

s64 HostFiles::set_attributes(const Request& request, Answer& answer) {
  if (!writable(request.node)) return -EROFS;
  Descriptor fd(open_node(request.node, O_PATH));
  if (!fd.ok()) return fd.get();
  std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  if (request.op == abi::HostFileOp::kSetMode) {
    if (chmod(path.c_str(), request.mode & 07777) != 0) return -errno;
    answer.add_attributes(request.node, fd.get());
    return 0;
  }
  timespec times[2];
  for (u32 i = 0; i < 2; i++) {
    times[i].tv_sec = request.times[i].seconds;
    times[i].tv_nsec = (request.flags & (1u << i)) != 0 ? static_cast<long>(request.times[i].nanoseconds)
                                                        : static_cast<long>(UTIME_OMIT);
  }
  struct stat status {};
  if (fstat(fd.get(), &status) == 0 && S_ISLNK(status.st_mode)) return 0;
  if (utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) return -errno;
  answer.add_attributes(request.node, fd.get());
  return 0;
}

}  // namespace teacup::host
