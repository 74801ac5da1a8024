#include "fs/inotify.h"

#include <algorithm>

#include "fs/path.h"
#include "kernel/abi/ipc.h"
#include "kernel/abi/tty.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {

constexpr u32 kEventBits = abi::kIN_ALL_EVENTS;
constexpr size_t kMostEvents = 16384;  // fs.inotify.max_queued_events
constexpr u64 kNameUnit = sizeof(abi::InotifyEvent);

class Inotify;

struct InotifyState {
  Mutex lock{LockRank::kFileLocks};
};
Mutex& watches_lock() {
  return root<InotifyState>(Root::kInotify)->lock;
}

struct Watch {
  ListNode inode_node;
  ListNode owner_node;
  Watch* chain = nullptr;  // among those about to be freed
  Inotify* owner = nullptr;
  Ref<Inode> inode;
  s32 number = 0;
  u32 mask = 0;
};

// Inode::marks. Its list is under the watches' lock.
struct Marks final : Attachment {
  List<Watch, &Watch::inode_node> watches;
};

struct Event {
  ListNode node;
  abi::InotifyEvent head;
  char* name() { return reinterpret_cast<char*>(this + 1); }
  u64 size() const { return sizeof head + head.length; }
};

void drop_chain(Watch* watch) {
  while (watch != nullptr) {
    Watch* next = watch->chain;
    teacup::destroy(watch);
    watch = next;
  }
}

class Inotify final : public File {
 public:
  using File::File;
  ~Inotify() override;

  FileKind kind() const override { return FileKind::kInotify; }
  Result<size_t> read(IoDest& to, u64) override;
  Result<size_t> write(IoSource&, u64) override { return Errno::BADF; }
  u32 poll() override {
    LockGuard guard(watches_lock());
    return events_.empty() ? 0 : u32{abi::kPOLLIN | abi::kPOLLRDNORM};
  }
  WaitQueue* wait_queue() override { return &queue_; }
  Result<s64> ioctl(u32 command, GuestAddress argument) override;
  void describe(TextBuffer& text) override { text.add("anon_inode:inotify"); }

  Result<s32> add(const Path& path, u32 mask);
  Result<void> remove(s32 number);

  // Under the watches' lock.
  void queue_locked(s32 watch, u32 mask, u32 cookie, std::string_view name);
  void remove_locked(Watch& watch, Watch*& dropped);
  void wake() { queue_.wake(abi::kPOLLIN | abi::kPOLLRDNORM); }

 private:
  WaitQueue queue_;
  List<Event, &Event::node> events_;
  size_t event_count_ = 0;
  List<Watch, &Watch::owner_node> watches_;
  s32 next_number_ = 1;
};

Marks* marks_of(Inode& inode) {
  InodeExtras* extras = inode.extras();
  return extras != nullptr ? static_cast<Marks*>(extras->marks.get()) : nullptr;
}

void update_mask_locked(Inode& inode) {
  u32 all = 0;
  for (Watch& watch : marks_of(inode)->watches) all |= watch.mask & kEventBits;
  inode.watch_mask.store(all, std::memory_order_seq_cst);
}

Inotify::~Inotify() {
  Watch* dropped = nullptr;
  {
    LockGuard guard(watches_lock());
    while (Watch* watch = watches_.front()) remove_locked(*watch, dropped);
    while (Event* event = events_.pop_front()) heap_free(event);
  }
  drop_chain(dropped);
}

void Inotify::remove_locked(Watch& watch, Watch*& dropped) {
  List<Watch, &Watch::owner_node>::remove(watch);
  List<Watch, &Watch::inode_node>::remove(watch);
  update_mask_locked(*watch.inode);
  watch.chain = dropped;
  dropped = &watch;
}

void Inotify::queue_locked(s32 watch, u32 mask, u32 cookie, std::string_view name) {
  u32 length = name.empty() ? 0 : static_cast<u32>(align_up(name.size() + 1, kNameUnit));
  if (event_count_ == kMostEvents) return;
  if (event_count_ == kMostEvents - 1) {
    watch = -1;
    mask = abi::kIN_Q_OVERFLOW;
    length = 0;
  }
  // The same once more, before it was read, says nothing new.
  if (Event* last = events_.back(); last != nullptr && last->head.watch == watch && last->head.mask == mask &&
                                    last->head.cookie == cookie && last->head.length == length &&
                                    memcmp(last->name(), name.data(), length == 0 ? 0 : name.size()) == 0 &&
                                    (length == 0 || last->name()[name.size()] == '\0')) {
    return;
  }
  auto* event = static_cast<Event*>(heap_allocate(sizeof(Event) + length));
  if (event == nullptr) return;
  new (event) Event;
  event->head = {watch, mask, cookie, length};
  if (length > 0) memcpy(event->name(), name.data(), name.size());
  events_.push_back(*event);
  event_count_++;
}

Result<size_t> Inotify::read(IoDest& to, u64) {
  size_t done = 0;
  LockGuard guard(watches_lock());
  if (events_.empty()) return Errno::AGAIN;
  while (Event* event = events_.front()) {
    if (event->size() > to.remaining()) {
      if (done == 0) return Errno::INVAL;
      break;
    }
    done += TRY(to.put(&event->head, sizeof event->head));
    if (event->head.length > 0) done += TRY(to.put(event->name(), event->head.length));
    events_.pop_front();
    event_count_--;
    heap_free(event);
  }
  return done;
}

Result<s64> Inotify::ioctl(u32 command, GuestAddress argument) {
  if (command != abi::kFIONREAD) return Errno::NOTTY;
  u64 size = 0;
  {
    LockGuard guard(watches_lock());
    for (Event& event : events_) size += event.size();
  }
  TRY(GuestOut<s32>(argument.value).write(static_cast<s32>(size)));
  return 0;
}

Result<s32> Inotify::add(const Path& path, u32 mask) {
  Inode& inode = path.inode();
  InodeExtras* extras = TRY(inode.make_extras());
  {
    LockGuard guard(inode.lock);
    if (!extras->marks) extras->marks = Ref<Attachment>::adopt(TRY(make<Marks>()));
  }
  Watch* fresh = TRY(make<Watch>());
  s32 number = 0;
  {
    LockGuard guard(watches_lock());
    for (Watch& watch : marks_of(inode)->watches) {
      if (watch.owner != this) continue;
      number = (mask & abi::kIN_MASK_CREATE) != 0 ? -1 : watch.number;
      if (number > 0) watch.mask = (mask & abi::kIN_MASK_ADD) != 0 ? watch.mask | mask : mask;
    }
    if (number == 0) {
      number = fresh->number = next_number_++;
      fresh->owner = this;
      fresh->mask = mask;
      fresh->inode = Ref<Inode>::share(&inode);
      watches_.push_back(*fresh);
      marks_of(inode)->watches.push_back(*fresh);
      fresh = nullptr;
    }
    update_mask_locked(inode);
  }
  teacup::destroy(fresh);
  if (number < 0) return Errno::EXIST;
  return number;
}

Result<void> Inotify::remove(s32 number) {
  Watch* dropped = nullptr;
  {
    LockGuard guard(watches_lock());
    for (Watch& watch : watches_) {
      if (watch.number != number) continue;
      queue_locked(number, abi::kIN_IGNORED, 0, {});
      remove_locked(watch, dropped);
      break;
    }
  }
  if (dropped == nullptr) return Errno::INVAL;
  wake();
  drop_chain(dropped);
  return {};
}

Inotify* inotify_of(File& file) {
  return file.kind() == FileKind::kInotify ? &static_cast<Inotify&>(file) : nullptr;
}

}  // namespace

void inotify_start() {
  auto created = make<InotifyState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kInotify, created.value());
}

Result<Ref<File>> make_inotify(u32 flags) {
  return Ref<File>(TRY(make_ref<Inotify>(abi::kO_RDONLY | (flags & abi::kIN_NONBLOCK))));
}

Result<s32> inotify_add(File& file, const Path& path, u32 mask) {
  Inotify* inotify = inotify_of(file);
  if (inotify == nullptr || (mask & kEventBits) == 0) return Errno::INVAL;
  if ((mask & abi::kIN_MASK_ADD) != 0 && (mask & abi::kIN_MASK_CREATE) != 0) return Errno::INVAL;
  return inotify->add(path, mask);
}

Result<void> inotify_remove(File& file, s32 watch) {
  Inotify* inotify = inotify_of(file);
  if (inotify == nullptr) return Errno::INVAL;
  return inotify->remove(watch);
}

void notify_watchers(Inode& watched, u32 mask, u32 cookie, std::string_view name) {
  // Of its own end and move a directory tells as if it were a file, as on Linux.
  if ((mask & (abi::kIN_DELETE_SELF | abi::kIN_MOVE_SELF)) != 0) mask &= ~u32{abi::kIN_ISDIR};
  constexpr size_t kBatch = 8;
  Inotify* woken[kBatch];
  size_t count = 0;
  Watch* dropped = nullptr;
  {
    LockGuard guard(watches_lock());
    Marks* marks = marks_of(watched);
    if (marks == nullptr) return;
    for (Watch* watch = marks->watches.front(); watch != nullptr;) {
      Watch* next = marks->watches.after(*watch);
      bool goes = (mask & abi::kIN_DELETE_SELF) != 0;
      if ((mask & watch->mask & kEventBits) != 0) {
        watch->owner->queue_locked(watch->number, mask, cookie, name);
        goes = goes || (watch->mask & abi::kIN_ONESHOT) != 0;
      } else if (!goes) {
        watch = next;
        continue;
      }
      if (goes) watch->owner->queue_locked(watch->number, abi::kIN_IGNORED, 0, {});
      if (count < kBatch && watch->owner->try_ref()) {
        woken[count++] = watch->owner;
      } else {
        watch->owner->wake();  // more than a batch: under the lock rather than not at all
      }
      if (goes) watch->owner->remove_locked(*watch, dropped);
      watch = next;
    }
  }
  for (size_t i = 0; i < count; i++) {
    woken[i]->wake();
    woken[i]->unref();
  }
  drop_chain(dropped);
}

}  // namespace teacup::fs
