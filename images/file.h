// A host file descriptor with an owner, whole reads and writes, and an output file that appears under its
// name only when it is complete.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel/base/types.h"

namespace teacup::images {

class File {
 public:
  File() = default;
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(other.release()) {}
  File& operator=(File&& other) noexcept;
  ~File();

  static File open_read(const std::string& path);
  // A file without a name, in $TMPDIR or /var/tmp, gone when closed.
  static File temporary();

  int fd() const { return fd_; }
  int release();
  explicit operator bool() const { return fd_ >= 0; }

  // All of `bytes`, or Error (an end of file inside is one); `name` is for the message.
  void read_at(std::span<std::byte> bytes, u64 offset, const std::string& name) const;
  void write_at(std::span<const std::byte> bytes, u64 offset, const std::string& name) const;

 private:
  int fd_ = -1;
};

// Copies `length` bytes between files; large ones share the host's blocks where its file system can.
void copy_range(const File& from, u64 from_offset, const File& to, u64 to_offset, u64 length,
                const std::string& from_name, const std::string& to_name);

// Writes that follow one another, put together to large aligned ones: the host then keeps the file in pieces
// of its page cache that are as large as a huge page, and maps each by one fault (kernel/entry/boot.cc): 16
// MiB in reads of 4 KiB cost 0.60 ms then, 0.67 in pieces that are mapped page by page, 1.9 when the cache
// has single pages.
class GatheredWrites {
 public:
  static constexpr u64 kPiece = 2 << 20;

  GatheredWrites(const File& file, std::string name) : file_(file), name_(std::move(name)) {}
  GatheredWrites(const GatheredWrites&) = delete;

  void write(std::span<const std::byte> bytes, u64 offset);
  // Room for up to `wanted` bytes at `offset`, which the caller fills before the next call.
  std::span<std::byte> room(u64 offset, u64 wanted);
  // Writes what has not been written. Destruction does not: then the output is not wanted.
  void flush();

 private:
  static constexpr u64 kLargestGap = 4096;  // that is filled with zeros

  const File& file_;
  std::string name_;
  std::vector<std::byte> buffer_;
  u64 start_ = 0;  // in the file, of the buffer
  u64 first_ = 0;  // in the buffer
  u64 end_ = 0;
};

// Throws if something is at `path` that a file must not take the name of: a device, a pipe, a socket, or a
// link to one, as /dev/stdout. Who may rename in /dev would lose them.
void check_replaceable(const std::string& path);

// An output file under a temporary name beside `path`; commit() renames it, destruction without commit()
// removes it.
class OutputFile {
 public:
  explicit OutputFile(std::string path);
  OutputFile(const OutputFile&) = delete;
  ~OutputFile();

  const File& file() const { return file_; }
  const std::string& path() const { return path_; }
  const std::string& temporary_path() const { return temporary_; }
  void set_size(u64 size);
  void commit();

 private:
  std::string path_;
  std::string temporary_;
  File file_;
  bool committed_ = false;
};

}  // namespace teacup::images
