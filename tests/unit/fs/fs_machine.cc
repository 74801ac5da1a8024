#include "tests/unit/fs/fs_machine.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "kernel/base/arena_header.h"

namespace teacup {

HostDirectory::HostDirectory() {
  char name[] = "/tmp/teacup-fs-test-XXXXXX";
  if (mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = name;
}
HostDirectory::~HostDirectory() {
  if (system(("rm -rf " + path_).c_str()) != 0) perror("rm");
}

std::vector<char> make_erofs(const std::string& tree, const std::string& options) {
  HostDirectory scratch;
  std::string image = scratch.path() + "/image";
  std::string command = "mkfs.erofs -T 1000000000 " + options + " " + image + " " + tree + " >/dev/null 2>&1";
  if (system(command.c_str()) != 0) throw std::runtime_error(command);
  std::ifstream in(image, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

FsMachine::FsMachine(const std::vector<char>& image) {
  image_size = image.size();
  u64 mapped = page_up(image_size + 1);
  void* memory = mmap(reinterpret_cast<void*>(kImageBase), mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap of the image");
  image_memory = static_cast<char*>(memory);
  std::memcpy(image_memory, image.data(), image.size());
  arena().image_count = 1;
  arena().images[0] = {kImageBase, image_size, kFirstImageFd, static_cast<u32>(abi::ImageKind::kErofs)};
  fs::vfs_start();
  abi::BootConfig config{};
  abi::BootLayer& layer = *make<abi::BootLayer>().value();
  layer.kind = static_cast<u32>(abi::ImageKind::kErofs);
  config.layers = {reinterpret_cast<u64>(&layer) - kArenaBase, 1};
  credentials.effective = credentials.permitted = ~u64{0};
  auto result = fs::fs_start(config);
  started = result.ok();
  start_result = result;
  if (started) context = fs::FsContext::create().value();
}

FsMachine::~FsMachine() {
  context = nullptr;
  munmap(image_memory, page_up(image_size + 1));
}

Result<abi::Stat> FsMachine::stat(const std::string& path, bool follow) {
  fs::FileStatus status;
  TRY(fs::stat_path(caller(), nullptr, path, follow ? u32{fs::kFollow} : 0u, status));
  return status.stat;
}

Result<Ref<fs::File>> FsMachine::open(const std::string& path, u32 flags, u32 mode) {
  return fs::open_path(caller(), nullptr, path, flags, mode);
}

std::string read_all(fs::File& file, u64 offset, size_t size) {
  std::string text(size, '\0');
  auto count = fs::read_at(file, offset, std::as_writable_bytes(std::span(text.data(), text.size())));
  if (!count.ok()) return std::string("error ") + errno_name(count.error());
  text.resize(count.value());
  return text;
}

Result<size_t> write_all(fs::File& file, u64 offset, const std::string& data) {
  IoSource from(std::as_bytes(std::span(data.data(), data.size())));
  return file.write(from, offset);
}

Result<std::string> FsMachine::read(const std::string& path) {
  Ref<fs::File> file = TRY(open(path, abi::kO_RDONLY));
  abi::Stat stat;
  TRY(file->stat(stat));
  return read_all(*file, 0, static_cast<size_t>(stat.size) + 10);
}

Result<void> FsMachine::write(const std::string& path, const std::string& text) {
  Ref<fs::File> file = TRY(open(path, abi::kO_WRONLY | abi::kO_CREAT | abi::kO_TRUNC));
  TRY(write_all(*file, 0, text));
  return {};
}

Result<std::string> FsMachine::readlink(const std::string& path) {
  fs::Path found = TRY(fs::resolve(caller(), nullptr, path, 0));
  char text[4096];
  size_t length = TRY(found.inode().readlink(text));
  return std::string(text, length);
}

Result<std::vector<std::string>> FsMachine::list(const std::string& path) {
  struct Sink final : fs::DirSink {
    bool add(std::string_view name, u64, u8, u64 next) override {
      if (taken == 3) return false;  // small batches, so that positions are used
      taken++;
      last = next;
      if (name != "." && name != "..") names.emplace_back(name);
      return true;
    }
    int taken = 0;
    u64 last = 0;
    std::vector<std::string> names;
  } sink;
  Ref<fs::File> file = TRY(open(path, abi::kO_RDONLY | abi::kO_DIRECTORY));
  do {
    sink.taken = 0;
    TRY(file->read_directory(sink));
    TRY(file->seek(static_cast<s64>(sink.last), abi::kSEEK_SET));  // as seekdir(3) would
  } while (sink.taken > 0);
  std::sort(sink.names.begin(), sink.names.end());
  return sink.names;
}

}  // namespace teacup
