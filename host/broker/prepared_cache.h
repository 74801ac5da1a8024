// What the rewriter planned for the files of an image, kept for later machines of the same image:
// $XDG_CACHE_HOME/teacup/prepared (or ~/.cache/…), one file per executable.
//
// A start of /bin/true took 19 ms of CPU time, 7 of them planning it, libc and ld.so; with kept plans it
// takes 9.
//
// The key says of what a plan is a function: the image file's identity (device, inode, size, times of
// change), where in it the executable's bytes lie, the options, and the command's own identity, for its
// rewriter is part of it. Hashing the bytes instead would read them all at every start, with a hash that a
// guest cannot collide. A file's tail that does not lie in the image (it shares a page there) is in the key
// as it is; plans for files that lie elsewhere (written by the guest, -v directories) are not kept.
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

  // The caller's own folder of this name, by the environment (TEACUP_NO_CACHE, XDG_CACHE_HOME, HOME); empty
  // for none.
  static std::string default_folder(const char* name);

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
