// The file of --upper: what the machine's memory layer tells of its changes (kernel/abi/upper.h), as records
// with checksums that are only ever appended. Essay in upper_file.cc.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernel/abi/upper.h"

namespace teacup::host {

// An image below the layer.
struct UpperLayer {
  std::string digest;  // sha256 of the file, in hex
  std::string path;    // absolute; where it was when the file was made
};

class UpperFile {
 public:
  // The file is made if there is none, and locked: LaunchError if another machine has it, if it is something
  // else, or was made over other images. `layers`: the lowest first.
  static std::unique_ptr<UpperFile> open(const std::string& path, const std::vector<UpperLayer>& layers);
  // The same to be read only; what does not count is left where it is.
  static std::unique_ptr<UpperFile> open_read(const std::string& path);
  // One without a name, in `directory`: for as long as this process and those it gives fd() to live, however
  // they end.
  static std::unique_ptr<UpperFile> open_nameless(const std::string& directory,
                                                  const std::vector<UpperLayer>& layers);
  ~UpperFile();
  UpperFile(const UpperFile&) = delete;
  UpperFile& operator=(const UpperFile&) = delete;

  const std::vector<UpperLayer>& layers() const { return layers_; }
  // What was found and does not count, for the user; empty: nothing.
  const std::string& dropped() const { return dropped_; }

  // Lets others have it; nothing is served any more.
  void close();
  int fd() const { return fd_; }
  // RingOp::kUpper's arguments, which are checked here. One at a time.
  s64 serve(u64 op, u64 offset, u64 length);

 private:
  UpperFile(std::string path, bool writable) : path_(std::move(path)), writable_(writable) {}
  struct Record;

  void lock(int fd) const;
  void create();
  void read_head();
  void scan();
  void keep_dropped(u64 from, u64 size) const;
  bool load(u64 at, u64 size, Record& record, std::vector<std::byte>& payload) const;
  std::string head() const;
  int make_beside(const std::string& name) const;
  s64 read(std::span<std::byte> into);
  s64 append(std::span<const std::byte> payload, u32 flags);
  s64 commit(bool durable);
  s64 put_in_place();
  s64 abort();
  s64 rewrite();

  std::string path_;  // of the directory, if it has no name
  bool writable_;
  bool nameless_ = false;
  std::vector<UpperLayer> layers_;
  std::string dropped_;
  int fd_ = -1;
  int new_fd_ = -1;      // what is to replace it
  u64 first_ = 0;        // offset of the first record
  u64 counts_end_ = 0;   // offset behind the last commit
  u64 counts_next_ = 0;  // number of the record behind it
  u64 write_at_ = 0;
  u64 next_ = 0;  // number of the record that is written next
  u64 read_at_ = 0;
};

}  // namespace teacup::host
