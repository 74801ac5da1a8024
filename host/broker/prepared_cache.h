// What the rewriter planned for the files of an image, kept for later machines of the same image:
// $XDG_CACHE_HOME/teacup/prepared (or ~/.cache/…), one file per executable.
//
// Planning libc takes 5 ms, and a shell needs libc, ld.so and itself; reading the three plans takes 0.2 ms.
//
// The key says of what a plan is a function: the image file's identity (device, inode, size, times of
// change), where in it the executable's bytes lie, the options, and the command's own identity, for its
// rewriter is part of it. Hashing the bytes instead would cost 1 ms a megabyte at every start, for it has to
// be a hash that a guest cannot collide. Bytes that a guest could have written (arena, -v directories) are
// never kept.
//
// A plan decides what a guest executes, so the folder must be the caller's and nobody else's to write, and an
// entry is used only if it holds the whole key and its checksum is right; any other is as good as none and is
// written anew. Entries appear by rename: writers do not disturb each other or a reader.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace teacup::host {

class PreparedCache {
 public:
  // In `folder`, which is made where it is missing. Where it cannot be made or is not safe, nothing is found
  // or kept.
  explicit PreparedCache(const std::string& folder);
  ~PreparedCache();
  PreparedCache(const PreparedCache&) = delete;
  PreparedCache& operator=(const PreparedCache&) = delete;

  // The caller's own, by the environment (TEACUP_NO_CACHE, XDG_CACHE_HOME, HOME); empty for none.
  static std::string default_folder();

  // Any thread. The blob that was stored under exactly this key.
  std::optional<std::vector<std::byte>> load(const std::string& key) const;
  // Failures (a full disk) are silent: the next machine plans again.
  void store(const std::string& key, std::span<const std::byte> blob) const;

 private:
  void trim() const;

  int folder_ = -1;
};

// What stands for a file's content without reading it; empty if the file changed within the last two seconds,
// for then another change may leave the times as they are.
std::string file_identity(int fd);

}  // namespace teacup::host
