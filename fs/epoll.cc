// How an event travels: a file's wait queue calls on_event() with its lock held; that links the item into the
// epoll's ready list and hands the epoll's own queue out as a DeferredWake, to be woken when the file's queue
// is unlocked again. So queues' locks never nest, however deeply epolls watch epolls, and an epoll that is
// closed meanwhile lives on (Core is counted) until the wake-up is over.
//
// The ready list says what may be ready; collect() asks the file. What turns out ready and is
// level-triggered goes back to the list's end, so that the next wait looks at it again.
#include "fs/epoll.h"

#include <algorithm>

#include "kernel/abi/ipc.h"
#include "kernel/base/arena_header.h"

namespace teacup::fs {

namespace {

constexpr u32 kPrivateBits = abi::kEPOLLET | abi::kEPOLLONESHOT | abi::kEPOLLWAKEUP | abi::kEPOLLEXCLUSIVE;
constexpr u32 kAlways = abi::kEPOLLERR | abi::kEPOLLHUP;
constexpr u32 kExclusiveAllowed = abi::kEPOLLIN | abi::kEPOLLOUT | abi::kEPOLLERR | abi::kEPOLLHUP |
                                  abi::kEPOLLWAKEUP | abi::kEPOLLET | abi::kEPOLLEXCLUSIVE;
constexpr int kDeepest = 5;  // epolls in a chain (epoll_ctl(2), ELOOP)

struct EpollState {
  Mutex tree{LockRank::kEpollTree};
};

Mutex& tree_lock() {
  return root<EpollState>(Root::kEpolls)->tree;
}

class Core;

struct Item : RefCounted<Item> {
  static void destroy(Item* item) { teacup::destroy(item); }
  bool disabled() const { return (events & ~kPrivateBits) == 0; }

  WaitEntry entry;
  Epoll* owner = nullptr;  // both alive while registered
  Core* core = nullptr;
  File* file = nullptr;  // not counted: see epoll_forget()
  s32 fd = -1;
  ListNode file_node;     // tree lock; the file's epoll_items is the head, null the end
  Item* chain = nullptr;  // tree lock; in the epoll's table
  // Under the core's ready lock. EPOLLERR and EPOLLHUP are always in, until EPOLLONESHOT has struck.
  u32 events = 0;
  u64 data = 0;
  bool removed = false;
  ListNode ready_node;
};

// What an epoll's wake-ups may outlive it in.
class Core : public RefCounted<Core> {
 public:
  Core() { wake_later_.run = &Core::run_wake; }
  static void destroy(Core* core) { teacup::destroy(core); }

  Mutex ready_lock{LockRank::kEpollReady};
  List<Item, &Item::ready_node> ready;
  u32 ready_count = 0;
  WaitQueue queue;

  void push_locked(Item& item) {
    if (item.removed || item.ready_node.linked()) return;
    ready.push_back(item);
    ready_count++;
  }
  void unlink_locked(Item& item) {
    if (!item.ready_node.linked()) return;
    List<Item, &Item::ready_node>::remove(item);
    ready_count--;
  }

  // The wake-up to hand out, or null if somebody is about to do it anyway.
  DeferredWake* wake_later() {
    if (wake_pending_.exchange(1, std::memory_order_seq_cst) != 0) return nullptr;
    ref();
    return &wake_later_;
  }

 private:
  static void run_wake(DeferredWake& wake);

  DeferredWake wake_later_;
  std::atomic<u32> wake_pending_{0};
};

void Core::run_wake(DeferredWake& wake) {
  auto offset = reinterpret_cast<std::uintptr_t>(&static_cast<Core*>(nullptr)->wake_later_);
  auto* core = reinterpret_cast<Core*>(reinterpret_cast<std::uintptr_t>(&wake) - offset);
  core->wake_pending_.store(0, std::memory_order_seq_cst);
  core->queue.wake(abi::kPOLLIN | abi::kPOLLRDNORM);
  core->unref();
}

DeferredWake* on_event(WaitEntry& entry, u32 events) {
  Item& item = *static_cast<Item*>(entry.context);
  Core& core = *item.core;
  {
    LockGuard guard(core.ready_lock);
    // On the list already: whoever waits was woken for it. An exclusive event goes on to the next epoll.
    if (item.disabled() || (item.events & events) == 0 || item.ready_node.linked()) return nullptr;
    core.push_locked(item);
  }
  return core.wake_later();
}

}  // namespace

class Epoll final : public File {
 public:
  Epoll(Ref<Core> core) : File(abi::kO_RDWR), core_(std::move(core)) {}
  ~Epoll() override;

  FileKind kind() const override { return FileKind::kEpoll; }
  u32 poll() override;
  WaitQueue* wait_queue() override { return &core_->queue; }
  Result<size_t> read(IoDest&, u64) override { return Errno::INVAL; }
  Result<size_t> write(IoSource&, u64) override { return Errno::INVAL; }
  void describe(TextBuffer& text) override { text.add("anon_inode:[eventpoll]"); }

  Core& core() { return *core_; }

  // Under the tree lock.
  Item* find_locked(File& file, s32 fd);
  Result<void> insert_locked(Item& item);
  void remove_locked(Item& item);
  // Epolls in the longest chain from here down, this one included; more than kDeepest if `target` is met.
  int height_locked(const Epoll* target, int depth);

 private:
  size_t slot(s32 fd) const { return static_cast<u32>(fd) & (table_.size() - 1); }

  Ref<Core> core_;
  HeapArray<Item*> table_;  // by descriptor; a power of two
  u32 count_ = 0;
};

namespace {

Item* item_of(ListNode* link) {
  auto offset = reinterpret_cast<std::uintptr_t>(&static_cast<Item*>(nullptr)->file_node);
  return reinterpret_cast<Item*>(reinterpret_cast<std::uintptr_t>(link) - offset);
}

// Asks the item's file. The reference keeps it from ending meanwhile.
u32 ask(File& file, u32 wanted) {
  return file.poll() & wanted & ~kPrivateBits;
}

// The front of the ready list, taken off it, with references to the item and its file. Null: none left
// among the first `*budget`.
Item* take_ready(Core& core, u32* budget, u32* events, u64* data) {
  LockGuard guard(core.ready_lock);
  while (*budget > 0) {
    --*budget;
    Item* item = core.ready.front();
    if (item == nullptr) return nullptr;
    core.unlink_locked(*item);
    // The file's memory is there while the item is not `removed`: epoll_forget() takes this lock.
    if (item->disabled() || !item->file->try_ref()) continue;
    item->ref();
    *events = item->events;
    *data = item->data;
    return item;
  }
  return nullptr;
}

u32 ready_count(Core& core) {
  LockGuard guard(core.ready_lock);
  return core.ready_count;
}

}  // namespace

void epoll_start() {
  auto created = make<EpollState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kEpolls, created.value());
}

Result<Ref<File>> make_epoll() {
  Ref<Core> core = TRY(make_ref<Core>());
  return Ref<File>(TRY(make_ref<Epoll>(std::move(core))));
}

Epoll* epoll_of(File& file) {
  return file.kind() == FileKind::kEpoll ? &static_cast<Epoll&>(file) : nullptr;
}

// --- The table of items, under the tree lock.

Item* Epoll::find_locked(File& file, s32 fd) {
  if (table_.size() == 0) return nullptr;
  for (Item* item = table_[slot(fd)]; item != nullptr; item = item->chain) {
    if (item->fd == fd && item->file == &file) return item;
  }
  return nullptr;
}

Result<void> Epoll::insert_locked(Item& item) {
  if (count_ >= table_.size()) {
    auto larger = TRY(HeapArray<Item*>::create(table_.size() == 0 ? 8 : table_.size() * 2));
    std::swap(table_, larger);
    for (Item* chain : larger) {
      while (chain != nullptr) {
        Item* next = chain->chain;
        Item*& place = table_[slot(chain->fd)];
        chain->chain = place;
        place = chain;
        chain = next;
      }
    }
  }
  Item*& place = table_[slot(item.fd)];
  item.chain = place;
  place = &item;
  count_++;
  ListNode& head = item.file->epoll_items;
  item.file_node.next = head.next;
  item.file_node.previous = &head;
  if (head.next != nullptr) head.next->previous = &item.file_node;
  head.next = &item.file_node;
  return {};
}

// Takes the item out of everything and drops the table's reference.
void Epoll::remove_locked(Item& item) {
  for (Item** at = &table_[slot(item.fd)]; *at != nullptr; at = &(*at)->chain) {
    if (*at != &item) continue;
    *at = item.chain;
    break;
  }
  count_--;
  item.file_node.previous->next = item.file_node.next;
  if (item.file_node.next != nullptr) item.file_node.next->previous = item.file_node.previous;
  WaitQueue::remove(item.entry);
  {
    LockGuard guard(core_->ready_lock);
    core_->unlink_locked(item);
    item.removed = true;
  }
  item.unref();
}

Epoll::~Epoll() {
  LockGuard guard(tree_lock());
  for (size_t i = 0; i < table_.size(); i++) {
    while (table_[i] != nullptr) remove_locked(*table_[i]);
  }
}

void epoll_forget(File& file) {
  LockGuard guard(tree_lock());
  while (file.epoll_items.next != nullptr) {
    Item* item = item_of(file.epoll_items.next);
    item->owner->remove_locked(*item);
  }
}

// --- The loop check.

int Epoll::height_locked(const Epoll* target, int depth) {
  if (this == target || depth > kDeepest) return kDeepest + 1;
  int below = 0;
  for (size_t i = 0; i < table_.size() && below <= kDeepest; i++) {
    for (Item* item = table_[i]; item != nullptr; item = item->chain) {
      Epoll* watched = epoll_of(*item->file);
      if (watched != nullptr) below = std::max(below, watched->height_locked(target, depth + 1));
    }
  }
  return below + 1;
}

namespace {

// Epolls in the longest chain of watchers from `epoll` up, itself included.
int depth_locked(Epoll& epoll, int so_far) {
  if (so_far > kDeepest) return so_far;
  int above = 0;
  for (ListNode* link = epoll.epoll_items.next; link != nullptr; link = link->next)
    above = std::max(above, depth_locked(*item_of(link)->owner, so_far + 1));
  return above + 1;
}

Result<void> check_event(File& file, u32 events) {
  if ((events & abi::kEPOLLEXCLUSIVE) == 0) return {};
  if ((events & ~kExclusiveAllowed) != 0 || epoll_of(file) != nullptr) return Errno::INVAL;
  return {};
}

// Puts the item on the ready list if its file is ready as it is.
void look_now(Item& item, File& file) {
  if (ask(file, item.events) == 0) return;
  {
    LockGuard guard(item.core->ready_lock);
    item.core->push_locked(item);
  }
  item.core->queue.wake(abi::kPOLLIN | abi::kPOLLRDNORM);
}

}  // namespace

Result<void> epoll_add(Epoll& epoll, File& file, Fd fd, const abi::EpollEvent& event) {
  if (&file == &epoll) return Errno::INVAL;
  WaitQueue* queue = file.wait_queue();
  if (queue == nullptr) return Errno::PERM;
  TRY(check_event(file, event.events));
  Ref<Item> item = TRY(make_ref<Item>());
  item->owner = &epoll;
  item->core = &epoll.core();
  item->file = &file;
  item->fd = fd.value;
  item->events = event.events | kAlways;
  item->data = event.data;
  item->entry.on_wake = on_event;
  item->entry.context = item.get();

  LockGuard guard(tree_lock());
  if (epoll.find_locked(file, fd.value) != nullptr) return Errno::EXIST;
  if (Epoll* watched = epoll_of(file); watched != nullptr) {
    if (watched->height_locked(&epoll, 1) + depth_locked(epoll, 1) > kDeepest) return Errno::LOOP;
  }
  TRY(epoll.insert_locked(*item));
  item->ref();  // the table's
  queue->add(item->entry, ~u32{0}, (event.events & abi::kEPOLLEXCLUSIVE) != 0);
  look_now(*item, file);
  return {};
}

Result<void> epoll_modify(Epoll& epoll, File& file, Fd fd, const abi::EpollEvent& event) {
  LockGuard guard(tree_lock());
  Item* item = epoll.find_locked(file, fd.value);
  if (item == nullptr) return Errno::NOENT;
  if (item->entry.exclusive || (event.events & abi::kEPOLLEXCLUSIVE) != 0) return Errno::INVAL;
  {
    LockGuard ready_guard(item->core->ready_lock);
    item->events = event.events | kAlways;
    item->data = event.data;
  }
  look_now(*item, file);
  return {};
}

Result<void> epoll_remove(Epoll& epoll, File& file, Fd fd) {
  LockGuard guard(tree_lock());
  Item* item = epoll.find_locked(file, fd.value);
  if (item == nullptr) return Errno::NOENT;
  epoll.remove_locked(*item);
  return {};
}

// --- Harvest.

size_t epoll_ready(Epoll& epoll) {
  return ready_count(epoll.core());
}

Result<size_t> epoll_collect(Epoll& epoll, std::span<abi::EpollEvent> events) {
  Core& core = epoll.core();
  size_t found = 0;
  u32 budget = ready_count(core);
  while (found < events.size()) {
    u32 wanted;
    u64 data;
    Ref<Item> item = Ref<Item>::adopt(take_ready(core, &budget, &wanted, &data));
    if (!item) break;
    Ref<File> file = Ref<File>::adopt(item->file);
    u32 ready = ask(*file, wanted);
    if (ready == 0) continue;
    events[found++] = {ready, data};
    LockGuard guard(core.ready_lock);
    if ((wanted & abi::kEPOLLONESHOT) != 0) {
      if (item->events == wanted) item->events &= kPrivateBits;  // unless it was modified meanwhile
    } else if ((wanted & abi::kEPOLLET) == 0) {
      core.push_locked(*item);
    }
  }
  if (found == 0) return Errno::AGAIN;
  // What is left over, and level-triggered items, are for other waiters too.
  if (!core.queue.empty() && ready_count(core) > 0) core.queue.wake(abi::kPOLLIN | abi::kPOLLRDNORM);
  return found;
}

// Is one of the items really ready? Those that are not leave the list.
u32 Epoll::poll() {
  u32 budget = ready_count(*core_);
  for (;;) {
    u32 wanted;
    u64 data;
    Ref<Item> item = Ref<Item>::adopt(take_ready(*core_, &budget, &wanted, &data));
    if (!item) return 0;
    Ref<File> file = Ref<File>::adopt(item->file);
    if (ask(*file, wanted) == 0) continue;
    LockGuard guard(core_->ready_lock);
    core_->push_locked(*item);
    return abi::kPOLLIN | abi::kPOLLRDNORM;
  }
}

}  // namespace teacup::fs
