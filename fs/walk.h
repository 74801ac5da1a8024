// Walker: follows a path component by component. resolve() and resolve_parent() are one use each; open(2)
// with O_CREAT stops before the last component, looks, and goes on if it is a link. Internal to fs/.
#pragma once

#include "fs/path.h"

namespace teacup::fs {

// The cached or fresh dentry of a name; negative if there is none and the file system lets that be cached,
// else ENOENT. `is_news`: it was not in the cache a moment ago.
Result<Ref<Dentry>> lookup_dentry(Dentry& directory, std::string_view name, bool is_news = false);
// Goes down through mounts on `path`, if there are any.
void enter_mounts(Path& path);

class Walker {
 public:
  Walker(const Caller& caller, const Path* start, std::string_view path, u32 flags)
      : caller_(caller), start_(start), original_(path), rest_(path), flags_(flags) {}
  Walker(const Walker&) = delete;
  Walker& operator=(const Walker&) = delete;

  Result<Path> to_end();
  Result<void> stat_end(FileStatus& status);
  // Up to the directory of the last component; name() and trailing_slash() are then the component's.
  Result<void> to_parent();
  const Path& at() const { return at_; }
  std::string_view name() const { return name_; }
  bool trailing_slash() const { return trailing_slash_; }
  // After to_parent(): the component was found to be this link; the walk goes on with what it holds.
  // `jumped`: it was a magic link, and at() is where it leads.
  Result<bool> follow(Path link);

 private:
  enum class Fast { kDecided, kUndecided };
  Fast walk_uncounted(Path& found, Errno& error);
  // As walk_uncounted(), where that serves.
  Fast try_uncounted(Path& found, Errno& error);
  Result<Path> to_end_counted();
  bool peek(FileStatus& status);
  Result<void> begin();
  Result<void> walk(bool stop_before_last);
  Result<void> step_up();
  Result<void> substitute(Inode& link);
  std::string_view next_component(bool& last);
  bool at_root() { return at_ == root(); }
  const Path& root();
  bool may_search() const;

  static constexpr size_t kInlineText = 256;
  static constexpr int kMaxLinks = 40;

  const Caller& caller_;
  const Path* start_;
  std::string_view original_;
  std::string_view rest_;
  std::string_view name_;
  u32 flags_;
  int links_ = 0;
  bool begun_ = false;
  bool is_news_ = false;  // rest_ begins with a name that was not in the cache
  bool trailing_slash_ = false;
  Path at_;
  Path root_;  // empty: not asked for yet
  // What is left of the path after links were put in: alternates between two buffers, or lies in the heap.
  char text_[2][kInlineText];
  int text_used_ = 0;
  HeapArray<char> long_text_;
};

}  // namespace teacup::fs
