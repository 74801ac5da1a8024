#include "host/broker/prepared_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "kernel/base/types.h"

namespace teacup::host {

namespace {

constexpr u64 kMagic = 0x31306e616c707474;  // "ttplan01"
constexpr u64 kMaxEntry = 64 * MiB;
constexpr u64 kMaxFolder = 256 * MiB;
constexpr time_t kDay = 86400;

// An entry: this, the key, the blob.
struct Head {
  u64 magic;
  u64 key_size;
  u64 blob_size;
  u64 checksum;  // of key and blob
};

std::string name_of(const std::string& key) {
  XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  char text[33];
  std::snprintf(text, sizeof text, "%016lx%016lx", hash.high64, hash.low64);
  return text;
}

bool read_all(int fd, void* into, std::size_t size) {
  auto* at = static_cast<char*>(into);
  while (size > 0) {
    ssize_t count = read(fd, at, size);
    if (count <= 0) return false;
    at += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

bool write_all(int fd, const void* from, std::size_t size) {
  const auto* at = static_cast<const char*>(from);
  while (size > 0) {
    ssize_t count = write(fd, at, size);
    if (count <= 0) return false;
    at += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

u64 checksum_of(const std::string& key, std::span<const std::byte> blob) {
  return XXH3_64bits_withSeed(blob.data(), blob.size(), XXH3_64bits(key.data(), key.size()));
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

}  // namespace

PreparedCache::PreparedCache(const std::string& folder) {
  if (folder.empty()) return;
  std::error_code error;
  std::filesystem::path path(folder);
  std::filesystem::create_directories(path.parent_path(), error);
  mkdir(folder.c_str(), 0700);
  int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0 || status.st_uid != geteuid() || (status.st_mode & 022) != 0) {
    if (fd >= 0) close(fd);
    return;
  }
  folder_ = fd;
}

PreparedCache::~PreparedCache() {
  if (folder_ >= 0) close(folder_);
}

std::string PreparedCache::default_folder(const char* name) {
  if (const char* off = getenv("TEACUP_NO_CACHE"); off != nullptr && *off != '\0') return {};
  if (const char* caches = getenv("XDG_CACHE_HOME"); caches != nullptr && *caches == '/') {
    return std::string(caches) + "/teacup/" + name;
  }
  if (const char* home = getenv("HOME"); home != nullptr && *home == '/') {
    return std::string(home) + "/.cache/teacup/" + name;
  }
  return {};
}

std::optional<std::vector<std::byte>> PreparedCache::load(const std::string& key) const {
  if (folder_ < 0 || key.empty()) return std::nullopt;
  Fd file(openat(folder_, name_of(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  Head head{};
  if (!file.valid() || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  if (!read_all(file.get(), &head, sizeof head)) return std::nullopt;
  if (head.magic != kMagic || head.key_size != key.size() || head.blob_size > kMaxEntry ||
      static_cast<u64>(status.st_size) != sizeof head + head.key_size + head.blob_size) {
    return std::nullopt;
  }
  std::string stored(head.key_size, '\0');
  std::vector<std::byte> blob(head.blob_size);
  if (!read_all(file.get(), stored.data(), stored.size()) || stored != key) return std::nullopt;
  if (!read_all(file.get(), blob.data(), blob.size()) || checksum_of(key, blob) != head.checksum) {
    return std::nullopt;
  }
  if (time(nullptr) - status.st_mtime > kDay)
    futimens(file.get(), nullptr);  // in use: trim() takes the oldest
  return blob;
}

void PreparedCache::store(const std::string& key, std::span<const std::byte> blob) const {
  if (folder_ < 0 || key.empty() || blob.size() > kMaxEntry) return;
  std::string name = name_of(key);
  std::string temporary = name + "." + std::to_string(syscall(SYS_gettid)) + ".new";
  bool written = false;
  {
    Fd file(openat(folder_, temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.valid()) return;
    Head head{kMagic, key.size(), blob.size(), checksum_of(key, blob)};
    written = write_all(file.get(), &head, sizeof head) && write_all(file.get(), key.data(), key.size()) &&
              write_all(file.get(), blob.data(), blob.size());
  }
  if (!written || renameat(folder_, temporary.c_str(), folder_, name.c_str()) != 0) {
    unlinkat(folder_, temporary.c_str(), 0);
  }
  // Now and then, for it reads the whole folder: 25 ms where there are 13 000 entries (150 MiB), for which
  // whoever execs next has to wait.
  if (name.starts_with("00")) trim();
}

void PreparedCache::trim() const {
  struct Entry {
    std::string name;
    u64 size;
    time_t used;
  };
  std::vector<Entry> entries;
  u64 total = 0;
  DIR* folder = fdopendir(openat(folder_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder == nullptr) return;
  while (dirent* entry = readdir(folder)) {
    struct stat status {};
    if (fstatat(folder_, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
      continue;
    entries.push_back({entry->d_name, static_cast<u64>(status.st_size), status.st_mtime});
    total += entries.back().size;
  }
  closedir(folder);
  if (total <= kMaxFolder) return;
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= kMaxFolder / 2) break;
    unlinkat(folder_, entry.name.c_str(), 0);
    total -= entry.size;
  }
}

std::string file_identity(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return {};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (now.tv_sec - std::max(status.st_mtim.tv_sec, status.st_ctim.tv_sec) < 2) return {};
  char text[160];
  int length = std::snprintf(text, sizeof text, "%lx:%lx %ld %ld.%09ld %ld.%09ld", status.st_dev,
                             status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                             status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
  return {text, static_cast<std::size_t>(length)};
}

}  // namespace teacup::host
