// The host's files that the user gave to the machine: serves kernel/abi/host_file.h. Reads requests from the
// arena, trusts nothing in them: names are one component, paths are resolved beneath their root without
// following any link, and a node is checked to be the one it was each time it is opened.
#pragma once

#include <sys/stat.h>

#include <array>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernel/abi/host_file.h"

namespace teacup::host {

class HostFiles {
 public:
  HostFiles() = default;
  ~HostFiles();
  HostFiles(const HostFiles&) = delete;
  HostFiles& operator=(const HostFiles&) = delete;

  // A directory or file of the host's; the number by which the guest side knows it. Throws std::system_error.
  u32 add_root(const std::string& path, bool writable);
  // args: request offset, size, response offset, size. The answer: -errno, or the response's length (kRead,
  // kWrite: bytes). Any thread.
  s64 serve(const u64 (&args)[6]);

 private:
  struct Root {
    int fd;
    bool writable;
  };
  struct Node {
    u32 root;
    u64 parent;  // 0: a root
    std::string name;
    dev_t device;
    ino_t inode;
    int held_fd = -1;  // keeps what has lost its name
  };
  struct OpenFile {
    u64 node = 0;
    bool writable = false;
    int fd = -1;
  };
  class Answer;
  struct Request;

  s64 dispatch(const Request& request, Answer& answer);
  s64 read_directory(const Request& request, Answer& answer);
  s64 lookup(const Request& request, Answer& answer);
  s64 create(const Request& request, Answer& answer);
  s64 change_entry(const Request& request, Answer& answer);
  s64 rename(const Request& request);
  s64 transfer(const Request& request, Answer& answer);
  s64 set_attributes(const Request& request, Answer& answer);

  // Descriptors are the caller's to close; -errno.
  int open_node(u64 id, int flags);
  int open_parent(const Request& request);  // of a writable root
  // A cached descriptor of a regular file, for reading and writing content; not the caller's to close.
  int content_fd(u64 id, bool writable);
  void forget_content(u64 id);
  bool writable(u64 id) const;
  u64 id_of(u32 root, u64 parent, const std::string& name, const struct stat& status);
  s64 add_entry(Answer& answer, u64 directory, int fd, const std::string& name, u64 cursor, bool required);

  std::mutex lock_;
  std::vector<Root> roots_;
  std::unordered_map<u64, Node> nodes_;
  std::map<std::tuple<u32, dev_t, ino_t>, u64> ids_;
  u64 next_id_ = 1024;
  std::array<OpenFile, 64> open_files_;
  std::size_t next_open_file_ = 0;
};

}  // namespace teacup::host
