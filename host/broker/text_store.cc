#include "host/broker/text_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "host/broker/cpuid_table.h"
#include "kernel/abi/stored_text.h"
#include "kernel/base/layout.h"

namespace teacup::host {

namespace {

constexpr u64 kMaxSize = kTextStoreSize / 2;  // what is appended last may be large
constexpr time_t kKept = 86400;               // seconds, for stores of other boots (other hosts' homes)

std::string boot_id() {
  char text[37] = {};
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  ssize_t size = read(fd, text, 36);
  close(fd);
  return size == 36 ? text : "";
}

bool write_at(int fd, const void* from, std::size_t size, u64 offset) {
  const auto* at = static_cast<const char*>(from);
  while (size > 0) {
    ssize_t count = pwrite(fd, at, size, static_cast<off_t>(offset));
    if (count <= 0) return false;
    at += count;
    offset += static_cast<u64>(count);
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

// Those of other boots, once nobody has added to them for a day.
void remove_others(int folder, const std::string& name) {
  DIR* entries = fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (entries == nullptr) return;
  while (dirent* entry = readdir(entries)) {
    struct stat status {};
    if (name == entry->d_name || fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(status.st_mode) && time(nullptr) - status.st_mtime > kKept)
      unlinkat(folder, entry->d_name, 0);
  }
  closedir(entries);
}

bool is_executable(int fd) {
  void* page = mmap(nullptr, kPageSize, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  if (page == MAP_FAILED) return false;
  munmap(page, kPageSize);
  return true;
}

// The first page of a store says its name: that of a file that took another's place is another.
std::string id_of(int fd) {
  u8 id[sizeof abi::StoreHeader::id];
  if (pread(fd, id, sizeof id, 0) != sizeof id) return {};
  char text[33];
  for (std::size_t i = 0; i < sizeof id; i++)
    std::snprintf(text + 2 * i, 3, "%02x", static_cast<unsigned>(id[i]));
  return text;
}

struct Files {
  int readable = -1;
  int writable = -1;
};

void close_files(Files& files) {
  if (files.readable >= 0) close(files.readable);
  if (files.writable >= 0) close(files.writable);
  files = {};
}

// False: there is none that can be used.
bool open_files(int folder, const std::string& name, Files& files) {
  files.writable = openat(folder, name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  files.readable = openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat status {
  }, same{};
  if (files.writable >= 0 && files.readable >= 0 && fstat(files.writable, &status) == 0 &&
      fstat(files.readable, &same) == 0 && same.st_ino == status.st_ino && S_ISREG(status.st_mode) &&
      status.st_uid == geteuid() && (status.st_mode & 022) == 0 &&
      static_cast<u64>(status.st_size) <= kMaxSize && is_executable(files.readable)) {
    return true;
  }
  close_files(files);
  return false;
}

bool write_store(int folder, const std::string& name) {
  constexpr const char* kTemporary = "new";
  int fd = openat(folder, kTemporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  abi::StoreHeader header{};
  header.cpuid_count = read_cpuid(header.cpuid);
  bool written = getrandom(header.id, sizeof header.id, 0) == sizeof header.id &&
                 write_at(fd, &header, sizeof header, 0) && ftruncate(fd, kPageSize) == 0 &&
                 renameat(folder, kTemporary, folder, name.c_str()) == 0;
  if (!written) unlinkat(folder, kTemporary, 0);
  close(fd);
  return written;
}

// In place of the one that cannot be used, unless another machine has done that meanwhile.
bool begin_store(int folder, const std::string& name, Files& files) {
  if (flock(folder, LOCK_EX) != 0) return false;
  bool begun = open_files(folder, name, files);
  if (!begun && write_store(folder, name)) {
    remove_others(folder, name);
    begun = open_files(folder, name, files);
  }
  flock(folder, LOCK_UN);
  return begun;
}

// Open, and the caller's own.
int open_folder(const std::string& path) {
  if (path.empty()) return -1;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  mkdir(path.c_str(), 0700);
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat status {};
  if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 022) == 0)
    return fd;
  if (fd >= 0) close(fd);
  return -1;
}

}  // namespace

std::unique_ptr<TextStore> TextStore::open(const std::string& folder, const PreparedCache& places) {
  int directory = open_folder(folder);
  if (directory < 0) return nullptr;
  std::unique_ptr<TextStore> store;
  if (std::string name = boot_id(); !name.empty()) {
    Files files;
    bool opened = open_files(directory, name, files) || begin_store(directory, name, files);
    std::string id = opened ? id_of(files.readable) : "";
    if (id.empty()) {
      close_files(files);
    } else {
      store.reset(new TextStore(files.readable, files.writable, name + " " + id, places));
    }
  }
  close(directory);
  return store;
}

TextStore::~TextStore() {
  close(readable_);
  close(writable_);
}

std::optional<u64> TextStore::find(const std::string& key) const {
  if (key.empty()) return std::nullopt;
  auto entry = places_.load(place_key(key));
  u64 place = 0;
  if (!entry || entry->size() != sizeof place) return std::nullopt;
  std::memcpy(&place, entry->data(), sizeof place);
  return place;
}

std::optional<u64> TextStore::add(const std::string& key, std::span<const std::byte> file,
                                  std::span<const std::byte> plan) {
  if (key.empty()) return std::nullopt;
  std::vector<std::byte> text = lay_text(file, plan);
  if (text.empty()) return std::nullopt;
  std::lock_guard guard(appending_);
  if (flock(writable_, LOCK_EX) != 0) return std::nullopt;
  std::optional<u64> place = find(key);  // another machine may have been faster
  struct stat status {};
  if (!place && fstat(writable_, &status) == 0) {
    u64 end = page_up(static_cast<u64>(status.st_size));
    if (end + text.size() <= kTextStoreSize && write_at(writable_, text.data(), text.size(), end)) {
      place = end;
      std::vector<std::byte> entry(sizeof end);
      std::memcpy(entry.data(), &end, sizeof end);
      places_.store(place_key(key), entry);
    } else {
      // What a full disk took of it is nobody's.
      static_cast<void>(ftruncate(writable_, status.st_size));
    }
  }
  flock(writable_, LOCK_UN);
  return place;
}

std::vector<std::byte> lay_text(std::span<const std::byte> file, std::span<const std::byte> plan) {
  auto view = abi::PreparedView::create(plan);
  if (!view) return {};
  const abi::TextRanges ranges = abi::TextRanges::choose(*view, file.size());
  if (ranges.all().empty()) return {};
  abi::StoredText head{};
  head.magic = abi::kStoredTextMagic;
  head.blob = align_up(sizeof head, u64{8});
  head.blob_size = plan.size();
  head.originals = page_up(head.blob + plan.size());
  head.trampolines = head.originals + page_up(view->header().bytes.count);
  head.size = head.trampolines + page_up(view->header().trampoline_size);
  for (const abi::TextRange& range : ranges.all()) {
    head.ranges[head.range_count] = range;
    head.text[head.range_count++] = head.size;
    head.size += range.high - range.low;
  }
  std::vector<std::byte> text(head.size);
  std::memcpy(text.data(), &head, sizeof head);
  std::memcpy(text.data() + head.blob, plan.data(), plan.size());
  auto trampolines = view->trampolines();
  std::memcpy(text.data() + head.trampolines, trampolines.data(), trampolines.size());
  for (u32 i = 0; i < head.range_count; i++) {
    const abi::TextRange& range = head.ranges[i];
    std::byte* at = text.data() + head.text[i];
    std::memcpy(at, file.data() + range.low, std::min<u64>(file.size(), range.high) - range.low);
    for (const abi::PreparedPatch& patch : view->patches()) {
      if (!abi::holds(range, patch)) continue;
      std::byte* there = at + (patch.file_offset - range.low);
      std::memcpy(text.data() + head.originals + patch.bytes, there, patch.length);
      std::memcpy(there, view->bytes_of(patch).data(), patch.length);
    }
  }
  return text;
}

}  // namespace teacup::host
