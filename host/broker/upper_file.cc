// Problem: what was fsynced must be there after the machine, or the host, was stopped at any point; and a
// file that was damaged must not be believed. Choice: a head that says over which images it was made, then
// records, each with a number and a CRC-32C over all of it, only ever appended. A commit is a record too. At
// the start the file is read up to the last commit before the first record that is not as it should be: what
// is behind is of a write that was not completed, or damaged. The first is cut off; the second too, but kept
// in FILE.dropped before, since records behind the damage may be all that somebody has left.
//
// A file that is written anew (kRewrite) grows as FILE.rewrite, and takes the old one's name when it is
// complete and on the disk. Whoever dies before leaves the old one as it was.
//
// The lock is flock(2)'s on the file itself. The new file is locked before it gets the name, and who has got
// a lock looks whether the name still means the file it locked.
#include "host/broker/upper_file.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <sstream>
#include <utility>

#include "host/broker/arena_bounds.h"
#include "host/launch/error.h"
#include "kernel/base/arena_header.h"

namespace teacup::host {

namespace {

constexpr char kMagic[8] = {'t', 'e', 'a', 'c', 'u', 'p', 'U', 'P'};
constexpr u32 kVersion = 1;
constexpr u32 kRecordMagic = 0x43455255;  // "UREC"
constexpr u32 kCommit = 1;
constexpr u64 kLongestHead = 1 * MiB;

struct FileHead {
  char magic[8];
  u32 version;
  u32 text_length;
  u32 checksum;  // of all of the head, with this 0
  u32 reserved;
};

// CRC-32C (Castagnoli). A file is read twice at the start, so this counts: by the processor's instruction,
// or, where it has none, by eight tables, a gigabyte a second.
using CrcTables = std::array<std::array<u32, 256>, 8>;
CrcTables make_tables() {
  CrcTables tables{};
  for (u32 i = 0; i < 256; i++) {
    u32 crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    tables[0][i] = crc;
  }
  for (u32 i = 0; i < 256; i++) {
    for (std::size_t t = 1; t < 8; t++)
      tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
  }
  return tables;
}

[[gnu::target("sse4.2")]] u32 crc32c_by_instruction(u32 crc, const void* data, std::size_t size) {
  const auto* at = static_cast<const unsigned char*>(data);
  u64 wide = static_cast<u32>(~crc);
  for (; size >= 8; size -= 8, at += 8) {
    u64 word;
    std::memcpy(&word, at, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = static_cast<u32>(wide);
  for (; size > 0; size--, at++) crc = __builtin_ia32_crc32qi(crc, *at);
  return ~crc;
}

// Not by __builtin_cpu_supports(): rewrite/x86_64/scan.cc says why.
bool has_crc32c() {
  static const bool has = [] {
    constexpr unsigned kSse42 = 1u << 20;
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kSse42) != 0;
  }();
  return has;
}

u32 crc32c(u32 crc, const void* data, std::size_t size) {
  if (has_crc32c()) return crc32c_by_instruction(crc, data, size);
  static const CrcTables tables = make_tables();
  const auto* at = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; size >= 8; size -= 8, at += 8) {
    u64 word;
    std::memcpy(&word, at, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; i++) crc ^= tables[7 - i][word >> (8 * i) & 255];
  }
  for (; size > 0; size--, at++) crc = crc >> 8 ^ tables[0][(crc ^ *at) & 255];
  return ~crc;
}

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw LaunchError("cannot use --upper " + path + ": " + what);
}

// All of it, or -errno. A short read is the file's end: how much there was.
s64 read_at(int fd, void* into, std::size_t size, u64 offset) {
  std::size_t done = 0;
  while (done < size) {
    ssize_t count =
        pread(fd, static_cast<char*>(into) + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -errno;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return static_cast<s64>(done);
}

s64 write_at(int fd, const void* from, std::size_t size, u64 offset) {
  std::size_t done = 0;
  while (done < size) {
    ssize_t count =
        pwrite(fd, static_cast<const char*>(from) + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? -errno : -EIO;
    done += static_cast<std::size_t>(count);
  }
  return 0;
}

u64 size_of(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 ? static_cast<u64>(status.st_size) : 0;
}

// A name that was given to a file is on the disk only when its directory is.
int sync_directory(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int result = fsync(fd) == 0 ? 0 : -errno;
  ::close(fd);
  return result;
}

bool is_zero(int fd, u64 from, u64 size) {
  std::vector<char> block(256 * KiB);
  while (from < size) {
    s64 count = read_at(fd, block.data(), std::min<u64>(block.size(), size - from), from);
    if (count <= 0) return false;
    for (s64 i = 0; i < count; i++) {
      if (block[static_cast<std::size_t>(i)] != 0) return false;
    }
    from += static_cast<u64>(count);
  }
  return true;
}

}  // namespace

struct UpperFile::Record {
  u32 magic;
  u32 checksum;  // of what follows it
  u64 number;
  u32 length;
  u32 flags;

  u32 sum(const void* payload) const {
    u32 crc = crc32c(0, &number, sizeof(Record) - offsetof(Record, number));
    return crc32c(crc, payload, length);
  }
};

UpperFile::~UpperFile() {
  close();
}

void UpperFile::close() {
  if (new_fd_ >= 0) {
    if (!nameless_) unlink((path_ + ".rewrite").c_str());
    ::close(std::exchange(new_fd_, -1));
  }
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

// --- Opening.

std::string UpperFile::head() const {
  std::string text;
  for (const UpperLayer& layer : layers_) text += layer.digest + " " + layer.path + "\n";
  while (text.size() % 8 != 0) text += '\n';
  FileHead head{};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  head.version = kVersion;
  head.text_length = static_cast<u32>(text.size());
  head.checksum = crc32c(crc32c(0, &head, sizeof head), text.data(), text.size());
  return std::string(reinterpret_cast<const char*>(&head), sizeof head) + text;
}

void UpperFile::lock(int fd) const {
  if (flock(fd, (writable_ ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return;
  if (errno == EWOULDBLOCK) fail(path_, "another machine has it; a machine's changes are its own");
  fail(path_, "it cannot be locked: " + errno_text(errno));
}

// Not all file systems have O_TMPFILE.
static int make_nameless(const std::string& directory) {
  int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  std::string name = directory + "/teacup-XXXXXX";
  fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return -errno;
  unlink(name.c_str());
  return fd;
}

// A new file beside it, locked, with a head in it. -errno.
int UpperFile::make_beside(const std::string& name) const {
  if (nameless_) {
    int fd = make_nameless(path_);
    const std::string bytes = head();
    s64 result = fd < 0 ? fd : write_at(fd, bytes.data(), bytes.size(), 0);
    if (result == 0) return fd;
    if (fd >= 0) ::close(fd);
    return static_cast<int>(result);
  }
  unlink(name.c_str());  // of a machine that was killed
  int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  const std::string bytes = head();
  s64 result = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
  if (result == 0) result = write_at(fd, bytes.data(), bytes.size(), 0);
  if (result == 0) return fd;
  ::close(fd);
  unlink(name.c_str());
  return static_cast<int>(result);
}

// Complete from the start: a file is never found with half a head. An empty file that is there is ours
// already, by its lock; else the name is given to the new one only if nobody else was faster.
void UpperFile::create() {
  const bool empty = fd_ >= 0;
  const std::string name = path_ + (empty ? ".rewrite" : ".new-" + std::to_string(getpid()));
  int fd = make_beside(name);
  if (fd < 0) fail(path_, "it cannot be made: " + errno_text(-fd));
  int result = fsync(fd) == 0 ? 0 : -errno;
  if (result == 0) {
    int given = empty ? rename(name.c_str(), path_.c_str()) : link(name.c_str(), path_.c_str());
    result = given == 0 ? 0 : -errno;
  }
  if (!empty || result != 0) unlink(name.c_str());
  if (result == 0) result = sync_directory(path_);
  struct stat mine {
  }, named{};
  if (result == 0 &&
      (fstat(fd, &mine) != 0 || stat(path_.c_str(), &named) != 0 || mine.st_ino != named.st_ino)) {
    result = -EEXIST;
  }
  if (result != 0) {
    ::close(fd);
    if (result == -EEXIST) fail(path_, "another machine is making it");
    fail(path_, "it cannot be made: " + errno_text(-result));
  }
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

std::unique_ptr<UpperFile> UpperFile::open(const std::string& path, const std::vector<UpperLayer>& layers) {
  std::unique_ptr<UpperFile> file(new UpperFile(path, true));
  for (;;) {
    file->fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file->fd_ < 0 && errno != ENOENT) fail(path, errno_text(errno));
    if (file->fd_ < 0) break;
    struct stat mine {
    }, named{};
    if (fstat(file->fd_, &mine) != 0 || !S_ISREG(mine.st_mode)) fail(path, "it is not a file");
    file->lock(file->fd_);
    if (stat(path.c_str(), &named) == 0 && named.st_ino == mine.st_ino && named.st_dev == mine.st_dev) break;
    ::close(std::exchange(file->fd_, -1));  // somebody put another in its place; look again
  }
  file->layers_ = layers;
  if (file->fd_ < 0 || size_of(file->fd_) == 0) file->create();
  file->read_head();
  bool same = file->layers_.size() == layers.size();
  for (std::size_t i = 0; same && i < layers.size(); i++) same = file->layers_[i].digest == layers[i].digest;
  if (!same) {
    std::string names;
    for (const UpperLayer& layer : file->layers_) names += (names.empty() ? "" : ", ") + layer.path;
    fail(path, "it was made over other images (" + names + "); what it says means nothing over these");
  }
  file->scan();
  if (file->counts_end_ < size_of(file->fd_) &&
      ftruncate(file->fd_, static_cast<off_t>(file->counts_end_)) != 0) {
    fail(path, "what does not count cannot be cut off: " + errno_text(errno));
  }
  unlink((path + ".rewrite").c_str());
  return file;
}

std::unique_ptr<UpperFile> UpperFile::open_nameless(const std::string& directory,
                                                    const std::vector<UpperLayer>& layers) {
  std::unique_ptr<UpperFile> file(new UpperFile(directory, true));
  file->nameless_ = true;
  file->layers_ = layers;
  file->fd_ = file->make_beside({});
  if (file->fd_ < 0) {
    throw LaunchError("--export: no temporary file can be made in " + directory + ": " +
                      errno_text(-file->fd_) + "\n  Set TMPDIR to where one can.");
  }
  file->read_head();
  file->scan();
  return file;
}

std::unique_ptr<UpperFile> UpperFile::open_read(const std::string& path) {
  std::unique_ptr<UpperFile> file(new UpperFile(path, false));
  file->fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO would wait for a writer
  if (file->fd_ < 0) fail(path, errno_text(errno));
  struct stat mine {};
  if (fstat(file->fd_, &mine) != 0 || !S_ISREG(mine.st_mode)) fail(path, "it is not a file");
  file->lock(file->fd_);
  file->read_head();
  file->scan();
  return file;
}

void UpperFile::read_head() {
  FileHead head{};
  const char* const other = "it is not a file that --upper has made; nothing is written to it";
  s64 count = read_at(fd_, &head, sizeof head, 0);
  if (count < 0) fail(path_, errno_text(static_cast<int>(-count)));
  if (count != sizeof head || std::memcmp(head.magic, kMagic, sizeof kMagic) != 0) fail(path_, other);
  if (head.version != kVersion) fail(path_, "another version of teacup has made it");
  std::string text(std::min<u64>(head.text_length, kLongestHead), '\0');
  count = read_at(fd_, text.data(), text.size(), sizeof head);
  u32 said = std::exchange(head.checksum, 0);
  if (count != static_cast<s64>(head.text_length) ||
      crc32c(crc32c(0, &head, sizeof head), text.data(), text.size()) != said) {
    fail(path_, "its head is damaged, which says what it was made over");
  }
  layers_.clear();
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > 65) layers_.push_back({line.substr(0, 64), line.substr(65)});
  }
  first_ = sizeof head + text.size();
}

// Whether a whole record, as it was written, is at `at`.
bool UpperFile::load(u64 at, u64 size, Record& record, std::vector<std::byte>& payload) const {
  if (size - at < sizeof record || read_at(fd_, &record, sizeof record, at) != sizeof record) return false;
  if (record.magic != kRecordMagic || record.length > abi::kUpperRecordSize) return false;
  if (record.length > size - at - sizeof record) return false;
  payload.resize(record.length);
  if (read_at(fd_, payload.data(), payload.size(), at + sizeof record) != static_cast<s64>(payload.size()))
    return false;
  return record.sum(payload.data()) == record.checksum;
}

void UpperFile::scan() {
  const u64 size = size_of(fd_);
  u64 at = first_;
  u64 next = 0;
  u64 uncommitted = 0;
  counts_end_ = first_;
  Record record{};
  std::vector<std::byte> payload;
  while (at < size && load(at, size, record, payload) && record.number == next) {
    at += sizeof record + record.length;
    next++;
    uncommitted++;
    if ((record.flags & kCommit) == 0) continue;
    counts_end_ = at;
    counts_next_ = next;
    uncommitted = 0;
  }
  write_at_ = counts_end_;
  next_ = counts_next_;
  read_at_ = first_;
  if (counts_end_ == size) return;
  const std::string behind = std::to_string(size - counts_end_) + " bytes";
  // Cut off in a record, or where one would begin: it was being written.
  Record begun{};
  const u64 left = size - at;
  s64 got = read_at(fd_, &begun, sizeof begun, at);
  const bool cut =
      left < sizeof begun || (got == sizeof begun && begun.magic == kRecordMagic && begun.number == next &&
                              begun.length > left - sizeof begun && begun.length <= abi::kUpperRecordSize);
  if (cut || is_zero(fd_, at, size)) {
    dropped_ = path_ + ": the last " + behind + " (" + std::to_string(uncommitted + (left > 0 ? 1 : 0)) +
               " records) are of a write that was not completed; dropped";
    return;
  }
  dropped_ = path_ + ": the record at byte " + std::to_string(at) + " is damaged; " + behind + " from byte " +
             std::to_string(counts_end_) + " on are dropped";
  if (!writable_) return;
  keep_dropped(counts_end_, size);
  dropped_ += ", and kept in " + path_ + ".dropped";
}

void UpperFile::keep_dropped(u64 from, u64 size) const {
  const std::string name = path_ + ".dropped";
  unlink(name.c_str());
  int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    fail(path_, "it is damaged, and what is damaged cannot be kept in " + name + ": " + errno_text(errno));
  std::vector<char> block(256 * KiB);
  s64 result = 0;
  for (u64 at = from; at < size && result >= 0;) {
    result = read_at(fd_, block.data(), std::min<u64>(block.size(), size - at), at);
    if (result <= 0) break;
    const auto count = static_cast<std::size_t>(result);
    if (s64 written = write_at(fd, block.data(), count, at - from); written < 0) result = written;
    at += count;
  }
  if (result >= 0 && fsync(fd) != 0) result = -errno;
  ::close(fd);
  if (result < 0) {
    fail(path_, "it is damaged, and what is damaged cannot be kept in " + name + ": " +
                    errno_text(static_cast<int>(-result)));
  }
}

// --- Requests.

s64 UpperFile::serve(u64 op, u64 offset, u64 length) {
  const bool has_bytes =
      op == static_cast<u64>(abi::UpperOp::kRead) || op == static_cast<u64>(abi::UpperOp::kAppend);
  if (has_bytes && (length > abi::kUpperRecordSize || !in_arena(offset, length))) return -EINVAL;
  if (fd_ < 0) return -EBADF;
  if (!writable_ && op != static_cast<u64>(abi::UpperOp::kRead)) return -EROFS;
  switch (static_cast<abi::UpperOp>(op)) {
    case abi::UpperOp::kRead:
      return read({&arena_at<std::byte>(offset), length});
    case abi::UpperOp::kAppend: {
      // Copied out first: the guest may change it meanwhile.
      const auto* bytes = &arena_at<std::byte>(offset);
      const std::vector<std::byte> payload(bytes, bytes + length);
      return append(payload, 0);
    }
    case abi::UpperOp::kCommit:
      return commit(length != 0);
    case abi::UpperOp::kAbort:
      return abort();
    case abi::UpperOp::kRewrite:
      return rewrite();
  }
  return -EINVAL;
}

s64 UpperFile::read(std::span<std::byte> into) {
  Record record{};
  std::vector<std::byte> payload;
  while (read_at_ < counts_end_) {
    if (!load(read_at_, counts_end_, record, payload)) return -EIO;
    if (payload.size() > into.size()) return -EINVAL;
    read_at_ += sizeof record + payload.size();
    if (payload.empty()) continue;
    std::memcpy(into.data(), payload.data(), payload.size());
    return static_cast<s64>(payload.size());
  }
  return 0;
}

s64 UpperFile::append(std::span<const std::byte> payload, u32 flags) {
  Record record{kRecordMagic, 0, next_, static_cast<u32>(payload.size()), flags};
  record.checksum = record.sum(payload.data());
  std::vector<std::byte> bytes(sizeof record + payload.size());
  std::memcpy(bytes.data(), &record, sizeof record);
  if (!payload.empty()) std::memcpy(bytes.data() + sizeof record, payload.data(), payload.size());
  if (s64 result = write_at(new_fd_ >= 0 ? new_fd_ : fd_, bytes.data(), bytes.size(), write_at_); result < 0)
    return result;
  write_at_ += bytes.size();
  next_++;
  return 0;
}

s64 UpperFile::commit(bool durable) {
  if (s64 result = append({}, kCommit); result < 0) return result;
  if (new_fd_ >= 0) {
    if (s64 result = put_in_place(); result < 0) return result;
  } else if (durable && !nameless_ && fdatasync(fd_) != 0) {
    return -errno;
  }
  counts_end_ = write_at_;
  counts_next_ = next_;
  return static_cast<s64>(counts_end_);
}

s64 UpperFile::put_in_place() {
  if (!nameless_ && fsync(new_fd_) != 0) return -errno;
  if (!nameless_ && ::rename((path_ + ".rewrite").c_str(), path_.c_str()) != 0) return -errno;
  ::close(fd_);
  fd_ = std::exchange(new_fd_, -1);
  // From here on this is the file, whatever else fails.
  counts_end_ = write_at_;
  counts_next_ = next_;
  return nameless_ ? 0 : sync_directory(path_);
}

s64 UpperFile::abort() {
  if (new_fd_ >= 0) {
    if (!nameless_) unlink((path_ + ".rewrite").c_str());
    ::close(std::exchange(new_fd_, -1));
  } else if (ftruncate(fd_, static_cast<off_t>(counts_end_)) != 0) {
    return -errno;
  }
  write_at_ = counts_end_;
  next_ = counts_next_;
  return 0;
}

s64 UpperFile::rewrite() {
  if (new_fd_ >= 0) return -EINVAL;
  int fd = make_beside(path_ + ".rewrite");
  if (fd < 0) return fd;
  new_fd_ = fd;
  write_at_ = first_;
  next_ = 0;
  return 0;
}

}  // namespace teacup::host
