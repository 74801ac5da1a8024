// Path arguments of system calls: a string in guest memory, relative to a descriptor or the working
// directory.
#pragma once

#include "fs/vfs.h"
#include "kernel/task/task.h"

namespace teacup {

// A directory descriptor and a path copied in from the guest. Lives on the stack for the length of the call.
class PathArgument {
 public:
  PathArgument() = default;
  PathArgument(const PathArgument&) = delete;
  PathArgument& operator=(const PathArgument&) = delete;

  // EFAULT, ENAMETOOLONG; EBADF, ENOTDIR for the descriptor, which only counts for relative paths. For an
  // empty path EBADF comes later, with resolve(): where it may not be empty that is ENOENT, whatever the
  // descriptor. `scoped`: for absolute paths too (openat2(2) with a root of its own).
  Result<void> read(Task& task, Fd directory, GuestString path, bool scoped = false) {
    text_ = TRY(path.read(storage_));
    if ((!text_.empty() && text_[0] == '/' && !scoped) || directory.value == abi::kAT_FDCWD) return {};
    auto file = task.files->get(directory);
    if (!file.ok()) {
      if (!text_.empty()) return file.error();
      bad_descriptor_ = true;
      return {};
    }
    file_ = Ref<fs::File>(std::move(file).value());
    start_ = file_->path();
    if (start_ == nullptr) {
      if (!text_.empty()) return Errno::NOTDIR;
      anonymous_ = TRY(fs::path_of(*file_));
      start_ = &anonymous_;
    }
    return {};
  }

  const fs::Path* start() const { return start_; }  // null: the working directory
  std::string_view text() const { return text_; }
  // The descriptor's file when the path is empty (AT_EMPTY_PATH); null otherwise.
  fs::File* file() const { return text_.empty() ? file_.get() : nullptr; }

  Result<fs::Path> resolve(Task& task, u32 flags) const { return resolve(task.caller(), flags); }
  Result<fs::Path> resolve(const fs::Caller& caller, u32 flags) const {
    if (bad_descriptor_) return (flags & fs::kEmptyPath) != 0 ? Errno::BADF : Errno::NOENT;
    return fs::resolve(caller, start_, text_, flags);
  }
  Result<void> stat(Task& task, u32 flags, fs::FileStatus& status) const {
    if (bad_descriptor_) return (flags & fs::kEmptyPath) != 0 ? Errno::BADF : Errno::NOENT;
    return fs::stat_path(task.caller(), start_, text_, flags, status);
  }

 private:
  char storage_[abi::kPATH_MAX];
  std::string_view text_;
  Ref<fs::File> file_;
  fs::Path anonymous_;
  const fs::Path* start_ = nullptr;
  bool bad_descriptor_ = false;
};

// AT_* flags of the *at() calls as ResolveFlags: links are followed unless AT_SYMLINK_NOFOLLOW says no.
inline u32 resolve_flags(u32 at_flags) {
  u32 flags = (at_flags & abi::kAT_SYMLINK_NOFOLLOW) != 0 ? 0u : u32{fs::kFollow};
  if ((at_flags & abi::kAT_EMPTY_PATH) != 0) flags |= fs::kEmptyPath;
  return flags;
}

}  // namespace teacup
