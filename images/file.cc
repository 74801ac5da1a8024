#include "images/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "images/error.h"

namespace teacup::images {

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

int File::release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

File File::open_read(const std::string& path) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) throw_errno("cannot open " + path);
  return file;
}

File File::temporary() {
  const char* where = std::getenv("TMPDIR");
  std::string directory = where != nullptr && *where != '\0' ? where : "/var/tmp";
  File file(::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (file) return file;
  // Not every file system has O_TMPFILE.
  std::string name = directory + "/teacup.XXXXXX";
  file = File(::mkostemp(name.data(), O_CLOEXEC));
  if (!file)
    throw_errno("cannot make a temporary file in " + directory + " (TMPDIR names another directory)");
  ::unlink(name.c_str());
  return file;
}

void File::read_at(std::span<std::byte> bytes, u64 offset, const std::string& name) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("cannot read " + name);
    if (got == 0) throw Error(name + " is shorter than it was: it changed while it was read; try again");
    bytes = bytes.subspan(static_cast<size_t>(got));
    offset += static_cast<u64>(got);
  }
}

void File::write_at(std::span<const std::byte> bytes, u64 offset, const std::string& name) const {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno("cannot write " + name);
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<u64>(put);
  }
}

void copy_range(const File& from, u64 from_offset, const File& to, u64 to_offset, u64 length,
                const std::string& from_name, const std::string& to_name) {
  constexpr u64 kBlock = 4096;
  constexpr u64 kWorthSharing = 64 * KiB;
  // copy_file_range(2) would do that too, but copies by pages where it cannot, which the page cache then
  // has one by one (GatheredWrites).
  if (length >= kWorthSharing && from_offset % kBlock == 0 && to_offset % kBlock == 0) {
    struct file_clone_range range {};
    range.src_fd = from.fd();
    range.src_offset = from_offset;
    range.src_length = length / kBlock * kBlock;
    range.dest_offset = to_offset;
    if (::ioctl(to.fd(), FICLONERANGE, &range) == 0) {
      from_offset += range.src_length;
      to_offset += range.src_length;
      length -= range.src_length;
    }
  }
  if (length == 0) return;
  GatheredWrites writes(to, to_name);
  while (length > 0) {
    const std::span<std::byte> piece = writes.room(to_offset, length);
    from.read_at(piece, from_offset, from_name);
    from_offset += piece.size();
    to_offset += piece.size();
    length -= piece.size();
  }
  writes.flush();
}

std::span<std::byte> GatheredWrites::room(u64 offset, u64 wanted) {
  const u64 behind = start_ + end_;
  const bool follows = offset >= behind && offset - behind < kLargestGap && offset < start_ + kPiece;
  if (end_ == first_ || !follows) {
    flush();
    start_ = offset / kPiece * kPiece;
    first_ = end_ = offset - start_;
  }
  const u64 at = offset - start_;
  const u64 length = std::min(wanted, kPiece - at);
  if (buffer_.size() < at + length)
    buffer_.resize(std::min(kPiece, std::max(2 * buffer_.size(), at + length)));
  std::fill(buffer_.begin() + static_cast<std::ptrdiff_t>(end_),
            buffer_.begin() + static_cast<std::ptrdiff_t>(at), std::byte{0});
  end_ = at + length;
  return {buffer_.data() + at, length};
}

void GatheredWrites::write(std::span<const std::byte> bytes, u64 offset) {
  while (!bytes.empty()) {
    const std::span<std::byte> to = room(offset, bytes.size());
    std::copy_n(bytes.begin(), to.size(), to.begin());
    bytes = bytes.subspan(to.size());
    offset += to.size();
  }
}

void GatheredWrites::flush() {
  if (end_ > first_) file_.write_at({buffer_.data() + first_, end_ - first_}, start_ + first_, name_);
  first_ = end_;
}

void check_replaceable(const std::string& path) {
  const auto is_special = [](const struct stat& status) {
    return !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode) && !S_ISLNK(status.st_mode);
  };
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) return;
  bool refused = is_special(status);
  if (S_ISLNK(status.st_mode)) {
    char target[8] = {};
    const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
    // What is open as a file may be anywhere.
    const bool leads_to_descriptor = length > 6 && std::string_view(target, 6) == "/proc/";
    refused = leads_to_descriptor || (::stat(path.c_str(), &status) == 0 && is_special(status));
  }
  if (refused) throw Error("cannot write " + path + ": it is there and no file; nothing is put in its place");
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".XXXXXX") {
  check_replaceable(path_);
  file_ = File(::mkostemp(temporary_.data(), O_CLOEXEC));
  if (!file_) throw_errno("cannot write " + path_);
}

OutputFile::~OutputFile() {
  if (!committed_) ::unlink(temporary_.c_str());
}

void OutputFile::set_size(u64 size) {
  if (::ftruncate(file_.fd(), static_cast<off_t>(size)) != 0) throw_errno("cannot write " + path_);
}

void OutputFile::commit() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(file_.fd(), 0666 & ~mask) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    throw_errno("cannot write " + path_);
  }
  committed_ = true;
}

}  // namespace teacup::images
