// A machine with a file tree, for tests: an EROFS image made from a directory of the host's by mkfs.erofs,
// under the memory layer. Calls are the VFS's, by a caller who may do anything.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fs/vfs.h"
#include "tests/unit/support/machine.h"

namespace teacup {

// A scratch directory on the host, removed at the end.
class HostDirectory {
 public:
  HostDirectory();
  ~HostDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// mkfs.erofs over `tree`; the image's bytes.
std::vector<char> make_erofs(const std::string& tree, const std::string& options = "");

class FsMachine {
 public:
  // Boots from the image (mapped where a machine has it), changes to which show.
  explicit FsMachine(const std::vector<char>& image);
  ~FsMachine();

  fs::Caller caller() { return {*context, credentials}; }
  Result<abi::Stat> stat(const std::string& path, bool follow = true);
  Result<std::string> read(const std::string& path);
  // Creates or overwrites.
  Result<void> write(const std::string& path, const std::string& text);
  Result<Ref<fs::File>> open(const std::string& path, u32 flags, u32 mode = 0644);
  Result<std::string> readlink(const std::string& path);
  Result<std::vector<std::string>> list(const std::string& path);  // sorted, without . and ..

  TestMachine machine;
  char* image_memory = nullptr;
  u64 image_size = 0;
  bool started = false;
  Result<void> start_result;
  Ref<fs::FsContext> context;
  Credentials credentials;
};

// The value of what must succeed; otherwise the test fails with the error's name.
template <typename T>
T checked(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(errno_name(result.error()));
  return std::move(result).value();
}

std::string read_all(fs::File& file, u64 offset, size_t size);
Result<size_t> write_all(fs::File& file, u64 offset, const std::string& data);

}  // namespace teacup
