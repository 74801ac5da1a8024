#include "images/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
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
  // Small pieces are cheaper by read and write; a file system that cannot copy says so on the first call.
  while (length >= 64 * KiB) {
    auto source = static_cast<off_t>(from_offset);
    auto target = static_cast<off_t>(to_offset);
    const ssize_t done = ::copy_file_range(from.fd(), &source, to.fd(), &target, length, 0);
    if (done <= 0) break;
    from_offset += static_cast<u64>(done);
    to_offset += static_cast<u64>(done);
    length -= static_cast<u64>(done);
  }
  std::vector<std::byte> buffer(std::min<u64>(length, 256 * KiB));
  while (length > 0) {
    const std::span<std::byte> piece(buffer.data(), std::min<u64>(length, buffer.size()));
    from.read_at(piece, from_offset, from_name);
    to.write_at(piece, to_offset, to_name);
    from_offset += piece.size();
    to_offset += piece.size();
    length -= piece.size();
  }
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".XXXXXX") {
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
