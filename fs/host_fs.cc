// Problem: guest-side processes cannot hold descriptors of host files, the host changes its files at any
// time, and a trip to the broker costs as much as 300 system calls here. Choice: attributes are taken with
// each name that is looked up and believed for a second (that it is missing: a tenth), but asked again at
// each open; content is kept in pages until an open finds another size or time of change; writes go to the
// host before the call returns. So what one opens after a change is the change (close-to-open, as NFS has
// it), and a compiler that stats a header a hundred times asks once.
//
// Locks: kInode for pages and attributes, kInodeChild for the table of inodes; none while asking. (A rename
// of a directory is asked for under the tree's rename lock: nothing that the broker does waits for it.)
#include "fs/host_fs.h"

#include <algorithm>

#include "fs/read_pages.h"
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "host/gate/gate.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {
constexpr u64 kWindow = 256 * KiB;  // read at once
constexpr u64 kMagic = 0x00c0ffee;  // Linux: HOSTFS_SUPER_MAGIC

Result<ImageNode> shown(const abi::ImporterInode& attributes) {
  return node_of(attributes, vfs_state().volume_uid.load(), vfs_state().volume_gid.load());
}
}  // namespace

HostFs::HostFs(u32 host_root, bool writable)
    : FileSystem("hostfs", kMagic), host_root_(host_root), writable_(writable) {}

Result<Ref<HostFs>> HostFs::create(u32 host_root, bool writable) {
  Ref<HostFs> made = TRY(make_ref<HostFs>(host_root, writable));
  PageRun run = TRY(allocate_run(kBuckets * sizeof(HostInode*) / kPageSize));
  made->nodes_ = reinterpret_cast<HostInode**>(run.address());
  abi::HostFileRequest request{};
  request.op = abi::HostFileOp::kNode;
  request.node = u64{host_root} + 1;
  Trip trip;
  TRY(trip.ask_host(request, {}, {}, Trip::kSmall));
  auto attributes = TRY(trip.structure<abi::ImporterInode>());
  made->root_ = TRY(made->inode_of(attributes));
  // Asked again by set_volume_owner(): who the guest's user is, is not known yet.
  static_cast<HostInode&>(*made->root_).expire();
  return made;
}

HostFs::~HostFs() {
  if (nodes_ == nullptr) return;
  release_run(PageRun{reinterpret_cast<u64>(nodes_) - kArenaBase, kBuckets * sizeof(HostInode*) / kPageSize});
}

Result<void> HostFs::statfs(abi::Statfs& statfs) {
  abi::HostFileRequest request{};
  request.op = abi::HostFileOp::kStatfs;
  request.node = u64{host_root_} + 1;
  Trip trip;
  TRY(trip.ask_host(request, {}, {}, Trip::kSmall));
  statfs = TRY(trip.structure<abi::Statfs>());
  statfs.type = magic();
  return {};
}

Result<Ref<Inode>> HostFs::inode_of(const abi::ImporterInode& attributes) {
  ImageNode info = TRY(shown(attributes));
  HostInode*& bucket = nodes_[info.id * 0x9e3779b97f4a7c15 >> 53 & (kBuckets - 1)];
  auto find_locked = [&]() -> HostInode* {
    for (HostInode* at = bucket; at != nullptr; at = at->next_) {
      // A number that stands for something of another type now is another file.
      if (at->node_ == info.id && at->type() == (info.mode & abi::kS_IFMT) && at->try_ref()) return at;
    }
    return nullptr;
  };
  HostInode* found;
  {
    LockGuard guard(nodes_lock_);
    found = find_locked();
  }
  if (found == nullptr) {
    Ref<HostInode> fresh = TRY(make_ref<HostInode>(*this, info));
    LockGuard guard(nodes_lock_);
    found = find_locked();
    if (found == nullptr) {
      fresh->next_ = bucket;
      bucket = fresh.get();
      found = fresh.leak();
    }
  }
  Ref<Inode> inode = Ref<Inode>::adopt(found);
  found->update(attributes);
  return inode;
}

void HostFs::forget(HostInode& inode) {
  HostInode*& bucket = nodes_[inode.node_ * 0x9e3779b97f4a7c15 >> 53 & (kBuckets - 1)];
  LockGuard guard(nodes_lock_);
  for (HostInode** link = &bucket; *link != nullptr; link = &(*link)->next_) {
    if (*link != &inode) continue;
    *link = inode.next_;
    return;
  }
}

// --- Attributes.

HostInode::HostInode(HostFs& file_system, const ImageNode& node)
    : Inode(file_system, node.id, node.mode), node_(node.id), pages_(file_system.budget()) {
  uid = node.uid;
  gid = node.gid;
  nlink = node.nlink;
  rdev = static_cast<u32>(node.rdev);
  size.store(node.size);
  mtime = node.mtime;
}

HostFs& HostInode::host() const {
  return static_cast<HostFs&>(file_system());
}

void HostInode::last_reference() {
  end_stream();
  host().forget(*this);
  if (nlink == 0) {
    // The broker holds on to what has lost its name, for us.
    static_cast<void>(simple(request(abi::HostFileOp::kForget)));
  }
  delete this;
}

abi::HostFileRequest HostInode::request(abi::HostFileOp op) const {
  abi::HostFileRequest request{};
  request.op = op;
  request.node = node_;
  return request;
}

Result<s64> HostInode::simple(const abi::HostFileRequest& request, std::string_view name,
                              std::string_view name2) const {
  Trip trip;
  return trip.ask_host(request, name, name2, Trip::kSmall);
}

void HostInode::update(const abi::ImporterInode& attributes) {
  auto checked = shown(attributes);
  if (!checked.ok() || (checked.value().mode & abi::kS_IFMT) != type()) return;
  const ImageNode& node = checked.value();
  LockGuard guard(lock);
  bool is_changed = is_regular() && (node.size != size.load() || node.mtime.tv_sec != mtime.tv_sec ||
                                     node.mtime.tv_nsec != mtime.tv_nsec);
  if (is_changed && writing_ != 0) {
    valid_until_.store(0);  // our own write is on its way: which change it was, the next question tells
    return;
  }
  if (is_changed) {
    // Somebody else's change. Pages that are mapped for writing are the guest's own, and newer.
    if (!mapped_writable_) pages_.remove(0, ~u64{0} >> kPageShift);
    u64 changed = std::max(page_up(size.load()), page_up(node.size));
    version.fetch_add(1, std::memory_order_release);
    size.store(node.size, std::memory_order_release);
    if (has_observers()) notify_observers(0, changed);
  }
  mode = node.mode;
  uid = node.uid;
  gid = node.gid;
  nlink = attributes.links;
  rdev = static_cast<u32>(node.rdev);
  mtime = node.mtime;
  atime = abi::Timespec{attributes.accessed.seconds, attributes.accessed.nanoseconds};
  ctime = abi::Timespec{attributes.changed.seconds, attributes.changed.nanoseconds};
  if (!is_regular()) size.store(node.size);
  blocks_.store(attributes.blocks);
  valid_until_.store(gate::monotonic_now() + host().name_lifetime());
}

Result<void> HostInode::refresh() {
  Trip trip;
  TRY(trip.ask_host(request(abi::HostFileOp::kNode), {}, {}, Trip::kSmall));
  update(TRY(trip.structure<abi::ImporterInode>()));
  return {};
}

Result<void> HostInode::stat(abi::Stat& stat) {
  if (gate::monotonic_now() > valid_until_.load()) {
    if (auto refreshed = refresh(); !refreshed.ok() && !refreshed.is(Errno::STALE)) return refreshed;
  }
  TRY(Inode::stat(stat));
  stat.blocks = static_cast<s64>(blocks_.load());
  return {};
}

// chown is the host's user's alone: EPERM, unless it changes nothing.
Result<void> HostInode::set_attributes(const AttributeChange& change) {
  if (((change.mask & kSetUid) != 0 && change.uid != uid) ||
      ((change.mask & kSetGid) != 0 && change.gid != gid)) {
    return Errno::PERM;
  }
  if ((change.mask & kSetMode) != 0) {
    abi::HostFileRequest asked = request(abi::HostFileOp::kSetMode);
    asked.mode = change.mode;
    TRY(change_there(asked));
  }
  if ((change.mask & (kSetAtime | kSetMtime)) != 0) {
    abi::HostFileRequest asked = request(abi::HostFileOp::kSetTimes);
    asked.flags = ((change.mask & kSetAtime) != 0 ? 1u : 0u) | ((change.mask & kSetMtime) != 0 ? 2u : 0u);
    asked.times[0] = {change.atime.tv_sec, static_cast<u32>(change.atime.tv_nsec), 0};
    asked.times[1] = {change.mtime.tv_sec, static_cast<u32>(change.mtime.tv_nsec), 0};
    TRY(change_there(asked));
  }
  return {};
}

// An operation that gives the attributes as they are afterwards. A time of change that is our own doing is no
// reason to drop content.
Result<s64> HostInode::change_there(const abi::HostFileRequest& asked) {
  Trip trip;
  s64 result = TRY(trip.ask_host(asked, {}, {}, Trip::kSmall));
  if (auto attributes = trip.attributes(); attributes.ok()) {
    {
      LockGuard guard(lock);
      mtime = abi::Timespec{attributes.value().modified.seconds, attributes.value().modified.nanoseconds};
    }
    if (!is_regular() || attributes.value().size == size.load()) {
      update(attributes.value());
    } else {
      valid_until_.store(0);
    }
  }
  return result;
}

Result<Ref<File>> HostInode::open(const Path& path, u32 flags) {
  // What has just been made needs no second look.
  if ((is_regular() || is_directory()) && (flags & kOpenCreated) == 0) TRY(refresh());
  return Inode::open(path, flags & ~kOpenCreated);
}

Result<size_t> HostInode::readlink(std::span<char> into) {
  Trip trip;
  TRY(trip.ask_host(request(abi::HostFileOp::kReadLink), {}, {}, Trip::kSmall));
  auto text = trip.bytes();
  size_t length = std::min(into.size(), text.size());
  memcpy(into.data(), text.data(), length);
  return length;
}

// --- Content.

Result<void> HostInode::prefetch(u64 offset, u64 length) {
  u64 end = std::min(size.load(), offset + std::min(length, (u64{1} << 60) - offset));
  while (offset < end) {
    u64 last = (end + kPageSize - 1) >> kPageShift;
    u64 page = pages_.next(offset >> kPageShift, last, false);
    if (page >= last) return {};
    // Read ahead, but not over pages that are there.
    u64 window_end = (std::min(size.load(), page * kPageSize + kWindow) + kPageSize - 1) >> kPageShift;
    u64 count = pages_.stretch(page, std::max(window_end, page + 1) - page).pages;
    make_room(count);
    PageRun scratch = TRY(allocate_run(count));
    abi::HostFileRequest asked = request(abi::HostFileOp::kRead);
    asked.cursor = page * kPageSize;
    asked.length = scratch.bytes();
    asked.data_offset = scratch.offset;
    auto fetched = simple(asked);
    Result<void> stored;
    if (fetched.ok()) {
      u64 valid = std::min<u64>(static_cast<u64>(fetched.value()), scratch.bytes());
      LockGuard guard(lock);
      for (u64 i = 0; i < count; i++) {
        if (pages_.find(page + i) != nullptr) continue;
        auto memory = make_page_locked(page + i, page);
        if (!memory.ok()) {
          stored = memory.error();
          break;
        }
        u64 start = i * kPageSize;
        if (start < valid) {
          memcpy(memory.value(), reinterpret_cast<void*>(scratch.address() + start),
                 std::min(kPageSize, valid - start));
        }
        pages_.publish(page + i);
      }
    }
    release_run(scratch);
    TRY(fetched);
    TRY(stored);
    offset = (page + count) * kPageSize;
  }
  return {};
}

Result<size_t> HostInode::read(IoDest& to, u64 offset) {
  u64 end = size.load(std::memory_order_acquire);
  if (offset >= end) end_read_stream();
  if (offset >= end || to.remaining() == 0) return size_t{0};
  u64 wanted = std::min<u64>(to.remaining(), end - offset);
  // A window at a time: a file larger than the machine's memory is read too. Under the lock, for pages that
  // nobody maps may be dropped again to make room for others.
  u64 done = 0;
  while (done < wanted) {
    u64 at = offset + done;
    u64 length = std::min(wanted - done, kWindow);
    auto streamed = read_stream(to, at, length);
    if (!streamed.ok() && done == 0) return streamed;
    if (!streamed.ok()) break;
    if (streamed.value() > 0) {
      done += streamed.value();
      if (to.remaining() == 0) break;
      continue;
    }
    if (auto fetched = prefetch(at, length); !fetched.ok()) {
      if (done > 0) break;
      return fetched.error();
    }
    LockGuard guard(lock);
    auto copied =
        read_pages(pages_, to, at, length, [](IoDest&, u64, size_t) -> Result<size_t> { return size_t{0}; });
    if (!copied.ok()) {
      if (done > 0) break;
      return copied.error();
    }
    // Nothing: gone again already. Else the guest's buffer may end here.
    done += copied.value();
    if (copied.value() < length && (copied.value() != 0 || at >= size.load())) break;
  }
  return static_cast<size_t>(done);
}

// A page for what the host has. Near the machine's limit the ones before `first` make room, which can be read
// again, if nobody maps them or writes. ENOMEM.
Result<std::byte*> HostInode::make_page_locked(u64 page, u64 first) {
  u64 hint = (size.load() + kPageSize - 1) >> kPageShift;
  auto memory = pages_.make(page, hint, true);
  if (memory.ok()) return memory;
  if (mapped_writable_ || has_observers() || writing_ != 0) return Errno::NOMEM;
  pages_.remove(0, first);
  auto again = pages_.make(page, hint, true);
  if (!again.ok()) return Errno::NOMEM;
  return again;
}

// Guest bytes into pages, under the lock.
Result<size_t> HostInode::copy_in(IoSource& from, u64 offset) {
  size_t done = 0;
  u64 last = (offset + from.remaining() + kPageSize - 1) >> kPageShift;
  while (from.remaining() > 0) {
    u64 at = offset + done;
    u64 page = at >> kPageShift;
    u64 inside = at & (kPageSize - 1);
    size_t length = std::min<size_t>(from.remaining(), kPageSize - inside);
    std::byte* memory = pages_.find(page);
    bool fresh = memory == nullptr;
    if (fresh) {
      auto made = pages_.make(page, last);
      if (!made.ok()) {
        if (done > 0) return done;
        return made.error();
      }
      memory = made.value();
    }
    auto copied = from.take(memory + inside, length);
    if (fresh && copied.ok() && copied.value() == length) pages_.publish(page);
    if (!copied.ok()) {
      if (done > 0) return done;
      return copied.error();
    }
    done += copied.value();
    if (copied.value() < length) break;
  }
  return done;
}

// Pages of [offset, end) to the host: how many bytes it took.
Result<size_t> HostInode::send_pages(u64 offset, u64 end) {
  u64 start = offset;
  while (offset < end) {
    u64 page = offset >> kPageShift;
    u64 inside = offset & (kPageSize - 1);
    PageStore::Stretch stretch = pages_.stretch(page, ((end - 1) >> kPageShift) - page + 1);
    u64 length = std::min(end - offset, stretch.pages * kPageSize - inside);
    if (stretch.data != nullptr) {
      abi::HostFileRequest asked = request(abi::HostFileOp::kWrite);
      asked.cursor = offset;
      asked.length = length;
      asked.data_offset = reinterpret_cast<u64>(stretch.data) + inside - kArenaBase;
      auto sent = change_there(asked);
      u64 count = sent.ok() ? static_cast<u64>(sent.value()) : 0;
      if (count < length) {
        if (offset + count > start) return static_cast<size_t>(offset + count - start);
        return sent.ok() ? Errno::IO : sent.error();
      }
    }
    offset += length;
  }
  return static_cast<size_t>(end - start);
}

// While it lives, no page is dropped: not the edges' other bytes, nor what is on its way to the host.
class HostInode::Writing {
 public:
  explicit Writing(HostInode& inode) : inode_(inode) {
    LockGuard guard(inode_.lock);
    inode_.writing_++;
  }
  ~Writing() {
    LockGuard guard(inode_.lock);
    inode_.writing_--;
  }

 private:
  HostInode& inode_;
};

Result<size_t> HostInode::write(IoSource& from, u64 offset, bool append, u64& end) {
  if (append) offset = size.load();
  make_room((from.remaining() >> kPageShift) + 2);
  Writing writing(*this);
  // The edges' other bytes.
  TRY(prefetch(page_down(offset), kPageSize));
  TRY(prefetch(page_down(offset + from.remaining()), kPageSize));
  size_t copied;
  u64 old_size;
  {
    LockGuard guard(lock);
    old_size = size.load();
    if (append) offset = old_size;
    copied = TRY(copy_in(from, offset));
    // Told before it is sent, so that the next append goes behind it.
    if (offset + copied > old_size) size.store(offset + copied, std::memory_order_release);
    version.fetch_add(1, std::memory_order_release);
  }
  auto sent = send_pages(offset, offset + copied);
  if (!sent.ok() || sent.value() < copied) {
    u64 good = offset + (sent.ok() ? sent.value() : 0);
    LockGuard guard(lock);
    pages_.remove(good >> kPageShift, ((offset + copied) >> kPageShift) + 1);
    if (size.load() == offset + copied) size.store(std::max(old_size, good));
  }
  size_t count = TRY(sent);
  end = offset + count;
  if (end > old_size) {
    LockGuard guard(lock);
    if (has_observers()) notify_observers(page_down(old_size), end - page_down(old_size));
  }
  return count;
}

Result<void> HostInode::truncate(u64 new_size) {
  abi::HostFileRequest asked = request(abi::HostFileOp::kTruncate);
  asked.length = new_size;
  TRY(change_there(asked));
  {
    LockGuard guard(lock);
    u64 old_size = size.load();
    size.store(new_size, std::memory_order_release);
    pages_.remove((new_size + kPageSize - 1) >> kPageShift, ~u64{0} >> kPageShift);
    u64 edge = std::min(old_size, new_size);
    if (std::byte* memory = pages_.find(edge >> kPageShift); memory != nullptr) {
      memset(memory + (edge & (kPageSize - 1)), 0, kPageSize - (edge & (kPageSize - 1)));
    }
    version.fetch_add(1, std::memory_order_release);
    if (has_observers())
      notify_observers(page_down(edge), page_up(std::max(old_size, new_size)) - page_down(edge));
  }
  return {};
}

Result<void> HostInode::allocate(int mode_, u64 offset, u64 length) {
  abi::HostFileRequest asked = request(abi::HostFileOp::kAllocate);
  asked.mode = static_cast<u32>(mode_);
  asked.cursor = offset;
  asked.length = length;
  TRY(simple(asked));
  {
    LockGuard guard(lock);
    pages_.remove(offset >> kPageShift, (offset + length + kPageSize - 1) >> kPageShift);
    version.fetch_add(1, std::memory_order_release);
    if (has_observers()) notify_observers(page_down(offset), page_up(offset + length) - page_down(offset));
  }
  return refresh();
}

Result<size_t> HostInode::map_pieces(u64 offset, u64 length, bool shared_writable,
                                     std::span<MapPiece> pieces) {
  u64 end = page_up(size.load());
  if (offset >= end) return size_t{0};
  length = std::min(length, end - offset);
  TRY(prefetch(offset, length));
  LockGuard guard(lock);
  if (shared_writable) mapped_writable_ = true;
  size_t count = 0;
  u64 page = offset >> kPageShift;
  u64 last = (offset + length) >> kPageShift;
  while (page < last && count < pieces.size()) {
    PageStore::Place place = TRY(pages_.place(page, last - page, last));
    if (count > 0 && pieces[count - 1].host_offset + pieces[count - 1].length == place.offset) {
      pieces[count - 1].length += place.pages * kPageSize;
    } else {
      pieces[count++] = MapPiece{kArenaFd, place.offset, place.pages * kPageSize};
    }
    page += place.pages;
  }
  return count;
}

Result<void> HostInode::write_back(u64 offset, u64 length) {
  if (!host().writable()) return {};
  {
    LockGuard guard(lock);
    if (!mapped_writable_) return {};
  }
  u64 end = std::min(size.load(), offset + std::min(length, (u64{1} << 60) - offset));
  if (offset >= end) return {};
  TRY(send_pages(offset, end));
  version.fetch_add(1, std::memory_order_release);
  return {};
}

Result<void> HostInode::sync() {
  if (!is_regular() || !host().writable()) return {};
  TRY(write_back(0, size.load()));
  TRY(simple(request(abi::HostFileOp::kSync)));
  return {};
}

}  // namespace teacup::fs
