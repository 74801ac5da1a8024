// Path walk, path_resolution(7). Two ways:
//   walk_uncounted(): follows cached dentries without locks or references and counts only where it ends; what
//     it saw holds if the cache's sequence did not change meanwhile. It gives up (undecided) at anything that
//     is not cached or has to be asked, e.g. a link's text behind a magic link.
//   walk(): with a reference at each step; asks the file system for what is not cached. It starts at a name
//     that the other did not find, so the way there, which is cached for all but the first, is not gone
//     again.
//
// Locks: none across the whole; each step takes what it needs.
#include "fs/walk.h"

#include <utility>

#include "fs/access.h"
#include "fs/vfs.h"
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "host/gate/gate.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {

bool is_dot(std::string_view name) {
  return name.size() == 1 && name[0] == '.';
}
bool is_dot_dot(std::string_view name) {
  return name.size() == 2 && name[0] == '.' && name[1] == '.';
}

}  // namespace

static void believe_for_now(Dentry& dentry, u64 lifetime) {
  dentry.believe_until(gate::monotonic_now() + (dentry.inode() != nullptr ? lifetime : lifetime / 10));
}

// Asks the file system whether what is cached of a name whose time has come still is so.
static Result<bool> still_names(Inode& directory, std::string_view name, Dentry& dentry) {
  auto looked_up = directory.lookup(name);
  if (!looked_up.ok() && !looked_up.is(Errno::NOENT)) return looked_up.error();
  Inode* now = looked_up.ok() ? looked_up.value().get() : nullptr;
  if (now != dentry.inode()) return false;
  believe_for_now(dentry, directory.file_system().name_lifetime());
  return true;
}

Result<Ref<Dentry>> lookup_dentry(Dentry& directory, std::string_view name, bool is_news) {
  Dcache& cache = dcache();
  if (name.size() > abi::kNAME_MAX) return Errno::NAMETOOLONG;
  for (;;) {
    Inode& inode = *directory.inode();
    if (Ref<Dentry> found = is_news ? nullptr : cache.find(directory, name); found) {
      if (!found->expires() || found->is_believed(gate::monotonic_now())) return found;
      if (TRY(still_names(inode, name, *found))) return found;
      cache.remove(*found);
      continue;
    }
    is_news = false;
    u64 version = inode.entries_version.load(std::memory_order_seq_cst);
    auto looked_up = inode.lookup(name);
    if (!looked_up.ok() && !looked_up.is(Errno::NOENT)) return looked_up.error();
    Ref<Inode> child = looked_up.ok() ? std::move(looked_up).value() : Ref<Inode>();
    if (!child && !inode.file_system().caches_names()) return Errno::NOENT;
    auto added = cache_entry(directory, name, std::move(child), version);
    if (added.is(Errno::AGAIN)) continue;
    if (added.ok()) name_found(*added.value());
    return added;
  }
}

Result<Ref<Dentry>> cache_entry(Dentry& directory, std::string_view name, Ref<Inode> inode, u64 version) {
  FileSystem& file_system = directory.inode()->file_system();
  if (!file_system.caches_names()) return dcache().make_uncached(directory, name, std::move(inode));
  auto added = dcache().add(directory, name, std::move(inode), version);
  if (u64 lifetime = file_system.name_lifetime(); lifetime != 0 && added.ok())
    believe_for_now(*added.value(), lifetime);
  return added;
}

void enter_mounts(Path& path) {
  while (path.dentry().is_mountpoint()) {
    Ref<Mount> mount = vfs_state().mounts.child(path.mount(), path.dentry());
    if (!mount) return;
    auto root = Ref<Dentry>::share(&mount->root());
    path = Path(std::move(mount), std::move(root));
  }
}

// Takes the next component off rest_ (empty: there is none). `last`: no other follows.
std::string_view Walker::next_component(bool& last) {
  size_t start = 0;
  while (start < rest_.size() && rest_[start] == '/') start++;
  size_t end = start;
  while (end < rest_.size() && rest_[end] != '/') end++;
  size_t after = end;
  while (after < rest_.size() && rest_[after] == '/') after++;
  std::string_view component = rest_.substr(start, end - start);
  last = after == rest_.size();
  // Text that is still the caller's is handed out as the caller's: it outlives the walker.
  size_t from_end = rest_.size() - start;
  if (from_end <= original_.size() && rest_.data() + rest_.size() != original_.data() + original_.size() &&
      original_.substr(original_.size() - from_end) == rest_.substr(start)) {
    component = original_.substr(original_.size() - from_end, component.size());
  }
  trailing_slash_ = last && after > end;
  rest_ = rest_.substr(after);
  return component;
}

bool Walker::may_search() const {
  return may_access(at_.inode(), caller_.credentials, kMayExecute);
}

const Path& Walker::root() {
  if (!root_) root_ = caller_.context.root();
  return root_;
}

Result<void> Walker::begin() {
  begun_ = true;
  links_ = 0;  // the walk without references may have counted
  if ((flags_ & (kInRoot | kBeneath)) != 0)
    root_ = start_ != nullptr ? *start_ : caller_.context.working_directory();
  if (!rest_.empty() && rest_[0] == '/') {
    if ((flags_ & kBeneath) != 0) return Errno::XDEV;
    at_ = root();
  } else if (start_ != nullptr) {
    at_ = *start_;
  } else {
    at_ = caller_.context.working_directory();
  }
  return {};
}

Result<void> Walker::step_up() {
  if (at_root()) {
    if ((flags_ & kBeneath) != 0) return Errno::XDEV;
    return {};
  }
  Path from = at_;
  while (&from.dentry() == &from.mount().root()) {
    Ref<Mount> parent;
    Ref<Dentry> mountpoint;
    if (!vfs_state().mounts.above(from.mount(), parent, mountpoint)) return {};  // the machine's root
    if ((flags_ & kNoXdev) != 0) return Errno::XDEV;
    from = Path(std::move(parent), std::move(mountpoint));
    if (from == root()) {
      at_ = from;
      return {};
    }
  }
  Ref<Dentry> parent;
  char name[256];
  size_t length;
  if (!dcache().parent_and_name(from.dentry(), parent, name, length)) {
    at_ = from;
    return {};
  }
  at_ = Path(from.mount_ref(), std::move(parent));
  // A mount may lie on the parent too (a directory moved below one cannot; but mounts on mounts can).
  Path below = at_;
  enter_mounts(below);
  if (!(below == at_)) at_ = below;
  return {};
}

// rest_ becomes the link's text and what followed the link.
Result<void> Walker::substitute(Inode& link) {
  char* buffer = text_[text_used_ ^ 1];
  size_t capacity = kInlineText;
  HeapArray<char> longer;
  for (;;) {
    size_t length = TRY(link.readlink({buffer, capacity}));
    bool cut = length == capacity;
    if (!cut && length + 1 + rest_.size() <= capacity) {
      if (length == 0) return Errno::NOENT;
      bool slash = !rest_.empty() || trailing_slash_;
      size_t total = length;
      if (slash) buffer[total++] = '/';
      if (total + rest_.size() > capacity) return Errno::NAMETOOLONG;
      memmove(buffer + total, rest_.data(), rest_.size());
      rest_ = std::string_view(buffer, total + rest_.size());
      break;
    }
    if (longer.size() != 0) return Errno::NAMETOOLONG;
    longer = TRY(HeapArray<char>::create(2 * abi::kPATH_MAX));
    buffer = longer.data();
    capacity = longer.size();
  }
  if (longer.size() != 0) {
    long_text_ = std::move(longer);
  } else {
    text_used_ ^= 1;
  }
  if (rest_[0] == '/') {
    if ((flags_ & kBeneath) != 0) return Errno::XDEV;
    if ((flags_ & kNoXdev) != 0 && &root().mount() != &at_.mount()) return Errno::XDEV;
    at_ = root();
  }
  return {};
}

Result<bool> Walker::follow(Path link) {
  if ((flags_ & kNoSymlinks) != 0 || ++links_ > kMaxLinks) return Errno::LOOP;
  Inode& inode = link.inode();
  if (inode.is_magic_link()) {
    if ((flags_ & kNoMagicLinks) != 0) return Errno::LOOP;
    if ((flags_ & (kBeneath | kInRoot)) != 0) return Errno::XDEV;
    Path target = TRY(inode.follow(caller_));
    if ((flags_ & kNoXdev) != 0 && &target.mount() != &at_.mount()) return Errno::XDEV;
    at_ = std::move(target);
    return true;
  }
  TRY(substitute(inode));
  touch_access_time(link, false);
  return false;
}

Result<void> Walker::walk(bool stop_before_last) {
  if (!begun_) TRY(begin());
  for (;;) {
    bool last;
    std::string_view component = next_component(last);
    if (component.empty()) {
      name_ = {};
      return {};
    }
    if (!at_.inode().is_directory()) return Errno::NOTDIR;
    if (!may_search()) return Errno::ACCES;
    if (stop_before_last && last) {
      name_ = component;
      return {};
    }
    if (is_dot(component)) continue;
    if (is_dot_dot(component)) {
      TRY(step_up());
      continue;
    }
    bool slash_behind = trailing_slash_;
    Ref<Dentry> dentry = TRY(lookup_dentry(at_.dentry(), component, std::exchange(is_news_, false)));
    if (dentry->negative()) return Errno::NOENT;
    Path next(at_.mount_ref(), std::move(dentry));
    if (next.dentry().is_mountpoint()) {
      enter_mounts(next);
      if ((flags_ & kNoXdev) != 0 && &next.mount() != &at_.mount()) return Errno::XDEV;
    }
    if (next.inode().is_symlink() && (!last || slash_behind || (flags_ & kFollow) != 0)) {
      TRY(follow(std::move(next)));
      continue;
    }
    at_ = std::move(next);
    if (last) {
      if ((slash_behind || (flags_ & kDirectory) != 0) && !at_.inode().is_directory()) return Errno::NOTDIR;
      name_ = {};
      return {};
    }
  }
}

Walker::Fast Walker::try_uncounted(Path& found, Errno& error) {
  constexpr u32 kNeedsCounts = kNoXdev | kBeneath | kInRoot | kNoSymlinks | kNoMagicLinks;
  if (rest_.empty() || (flags_ & kNeedsCounts) != 0) return Fast::kUndecided;
  return walk_uncounted(found, error);
}

Result<Path> Walker::to_end() {
  Path found;
  Errno error = Errno::OK;
  if (try_uncounted(found, error) == Fast::kUndecided) return to_end_counted();
  if (error != Errno::OK) return error;
  return found;
}

// Where the walk without references came to a last name that is not cached: whether that is told without it.
bool Walker::peek(FileStatus& status) {
  if (!begun_ || rest_.empty() || rest_.find('/') != std::string_view::npos || (flags_ & kDirectory) != 0 ||
      vfs_state().tells_names.load(std::memory_order_relaxed) || !may_search() ||
      !at_.inode().peek(rest_, status)) {
    return false;
  }
  if ((status.stat.mode & abi::kS_IFMT) == abi::kS_IFLNK && (flags_ & kFollow) != 0) return false;
  status.mount = at_.mount().id();
  status.is_mount_root = false;
  return true;
}

Result<void> Walker::stat_end(FileStatus& status) {
  Path found;
  Errno error = Errno::OK;
  if (try_uncounted(found, error) == Fast::kUndecided) {
    if (peek(status)) return {};
    found = TRY(to_end_counted());
  } else if (error != Errno::OK) {
    return error;
  }
  stat_place(found, status);
  return found.inode().stat(status.stat);
}

Result<Path> Walker::to_end_counted() {
  if (rest_.empty()) {
    if ((flags_ & kEmptyPath) == 0) return Errno::NOENT;
    TRY(begin());
    if ((flags_ & kDirectory) != 0 && !at_.inode().is_directory()) return Errno::NOTDIR;
    return at_;
  }
  TRY(walk(false));
  // A link at the end may have led to something, or a path may end in "." or "..".
  if ((flags_ & kDirectory) != 0 && !at_.inode().is_directory()) return Errno::NOTDIR;
  return std::move(at_);
}

Result<void> Walker::to_parent() {
  if (original_.empty()) return Errno::NOENT;
  TRY(walk(true));
  return {};
}

// The walk without references. Everything it reads may be going away; nothing but plain fields of dentries,
// inodes and mounts is touched (no virtual call, no pointer of an inode), and it all counts only if the
// sequence still is what it was.
Walker::Fast Walker::walk_uncounted(Path& found, Errno& error) {
  Dcache& cache = dcache();
  u64 sequence = cache.sequence();
  if ((sequence & 1) != 0) return Fast::kUndecided;
  FsContext& context = caller_.context;
  u32 version = context.version_.load(std::memory_order_acquire);
  if ((version & 1) != 0) return Fast::kUndecided;
  Mount* root_mount = context.root_.mount.load(std::memory_order_acquire);
  Dentry* root = context.root_.dentry.load(std::memory_order_acquire);
  Mount* mount;
  Dentry* at;
  std::string_view rest = rest_;
  if (rest[0] == '/') {
    mount = root_mount;
    at = root;
  } else if (start_ != nullptr) {
    mount = &start_->mount();
    at = &start_->dentry();
  } else {
    mount = context.working_directory_.mount.load(std::memory_order_acquire);
    at = context.working_directory_.dentry.load(std::memory_order_acquire);
  }
  auto still_true = [&] {
    return cache.unchanged(sequence) && context.version_.load(std::memory_order_relaxed) == version;
  };
  auto fail = [&](Errno reason) {
    if (!still_true()) return Fast::kUndecided;
    error = reason;
    return Fast::kDecided;
  };
  auto count = [&](Path& place) {
    if (!Dcache::take(*at)) return false;
    Ref<Dentry> dentry = Ref<Dentry>::adopt(at);
    if (!mount->try_ref()) return false;
    Ref<Mount> counted = Ref<Mount>::adopt(mount);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!still_true()) return false;
    place = Path(std::move(counted), std::move(dentry));
    return true;
  };
  auto go_on_at = [&](std::string_view name, bool is_news) {
    if (count(at_)) {
      rest_ = std::string_view(name.data(), name.size() + rest.size());
      begun_ = true;
      is_news_ = is_news;
    }
    return Fast::kUndecided;
  };

  u64 now = 0;
  bool must_be_directory = (flags_ & kDirectory) != 0;
  for (;;) {
    size_t start = 0;
    while (start < rest.size() && rest[start] == '/') start++;
    size_t end = start;
    while (end < rest.size() && rest[end] != '/') end++;
    if (start == end) break;
    std::string_view name = rest.substr(start, end - start);
    rest = rest.substr(end);
    Inode* inode = at->inode();
    if (inode == nullptr) return Fast::kUndecided;
    if (!inode->is_directory()) return fail(Errno::NOTDIR);
    if (!may_access(*inode, caller_.credentials, kMayExecute)) return fail(Errno::ACCES);
    if (name[0] == '.') {
      if (is_dot(name)) {
        must_be_directory = true;
        continue;
      }
      if (is_dot_dot(name)) {
        must_be_directory = true;
        if (at == root && mount == root_mount) continue;
        Dentry* parent = at->parent();
        if (at == &mount->root() || parent == nullptr || parent->is_mountpoint()) return Fast::kUndecided;
        at = parent;
        continue;
      }
    }
    if (name.size() > abi::kNAME_MAX) return fail(Errno::NAMETOOLONG);
    must_be_directory = (flags_ & kDirectory) != 0;  // what dots asked for was so
    Dentry* next = cache.find_uncounted(*at, name, name_hash(name));
    if (next == nullptr) return go_on_at(name, true);
    if (next->expires()) [[unlikely]] {
      if (now == 0) now = gate::monotonic_now();
      if (!next->is_believed(now)) return go_on_at(name, false);
    }
    Inode* child = next->inode();
    if (child == nullptr) return fail(Errno::NOENT);
    while (next->is_mountpoint()) {
      Mount* covering = vfs_state().mounts.child_uncounted(*mount, *next);
      if (covering == nullptr) break;
      mount = covering;
      next = &covering->root();
      child = next->inode();
      if (child == nullptr) return Fast::kUndecided;
    }
    if (child->is_symlink()) {
      bool follows = !rest.empty() || (flags_ & kFollow) != 0;
      if (follows) {
        // Its text needs the inode itself: count it, and read.
        if (!Dcache::take(*next)) return Fast::kUndecided;
        Ref<Dentry> link = Ref<Dentry>::adopt(next);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (!still_true()) return Fast::kUndecided;
        if (child->is_magic_link() || is_access_time_due(*mount, *child) || ++links_ > kMaxLinks) {
          links_ = 0;
          return Fast::kUndecided;
        }
        char* buffer = text_[text_used_ ^ 1];
        auto length = child->readlink({buffer, kInlineText});
        if (!length.ok() || length.value() == 0 || length.value() + rest.size() > kInlineText - 1) {
          links_ = 0;
          return Fast::kUndecided;
        }
        memcpy(buffer + length.value(), rest.data(), rest.size());
        rest = std::string_view(buffer, length.value() + rest.size());
        text_used_ ^= 1;
        if (rest[0] == '/') {
          mount = root_mount;
          at = root;
        }
        continue;
      }
    }
    at = next;
    if (!rest.empty() && rest.find_first_not_of('/') == std::string_view::npos) must_be_directory = true;
  }
  Inode* inode = at->inode();
  if (inode == nullptr) return Fast::kUndecided;
  if (must_be_directory && !inode->is_directory()) return fail(Errno::NOTDIR);
  return count(found) ? Fast::kDecided : Fast::kUndecided;
}

}  // namespace teacup::fs
