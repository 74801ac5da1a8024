// A message that comes to a queue where somebody waits is handed to the one who waited longest, and the
// message of a sender who waits goes in as soon as there is room: so the queue is never seen in a state that
// mq_notify(2) and poll(2) must not see, and nobody who comes later takes what another was woken for. Those
// who wait have a record in the heap each, on a list of the queue; whoever serves one takes it off the list.
#include "kernel/pseudo/mqueue.h"

#include <algorithm>

#include "fs/filesystem.h"
#include "fs/node_file.h"
#include "fs/vfs.h"
#include "kernel/base/memory.h"
#include "kernel/pseudo/state.h"
#include "kernel/task/send_signal.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kMagic = 0x19800202;
constexpr u64 kRootIno = 1;
constexpr s64 kShownSize = 80;  // st_size, whatever is in it
// What a user with CAP_SYS_RESOURCE may ask for.
constexpr s64 kMostMessages = 65536, kLongestMessage = 16 * 1024 * 1024;
// What Linux's own records count for in RLIMIT_MSGQUEUE: one for each message, one for each priority in use.
constexpr u64 kMessageOverhead = 48, kPriorityOverhead = 48;

// Somebody who waits, on a queue's list (which holds a reference).
struct Waiter : RefCounted<Waiter> {
  explicit Waiter(Task& waiting) : task(Ref<Task>::share(&waiting)) {}
  static void destroy(Waiter* waiter) { teacup::destroy(waiter); }

  ListNode node;
  Ref<Task> task;
  MqueueMessage* message = nullptr;  // a sender's, until it is done; a receiver's, once it is
  std::atomic<bool> done{false};
  WaitQueue queue;

  // Its host process was killed from outside: it never takes itself off.
  bool is_stale() {
    LockGuard guard(task->process->lock);
    return !task->process_node.linked();
  }
};
using Waiters = List<Waiter, &Waiter::node>;

// Whom mq_notify(2) registered.
struct Notification {
  Ref<Process> process;  // null: nobody
  const fs::FdTable* owner = nullptr;
  int how = 0;
  int signal = 0;
  abi::SigVal value{};
};

class MqueueDirectory;

class Mqueue final : public fs::Inode {
 public:
  Mqueue(fs::FileSystem& file_system, u32 mode, u64 messages, u64 size);
  ~Mqueue() override;

  Result<void> stat(abi::Stat& stat) override {
    TRY(Inode::stat(stat));
    stat.size = kShownSize;
    return {};
  }
  Result<void> truncate(u64) override { return {}; }
  Result<Ref<fs::File>> open(const fs::Path& path, u32 flags) override;

  Result<void> send(MqueueMessage* message, bool may_wait, u64 deadline);
  Result<MqueueMessage*> receive(bool may_wait, u64 deadline);
  abi::MqAttr attributes();
  Result<void> notify(Task& task, int how, int signal, abi::SigVal value);
  void forget_notification(const fs::FdTable& owner);
  void show(TextBuffer& text);
  u32 poll();

  const u64 max_messages, message_size;
  WaitQueue queue;  // poll(2)

  // --- The directory's, under its lock.
  ListNode all_node;
  bool has_name = false;
  u32 charged_to = 0;  // a real user
  char name[abi::kNAME_MAX + 1] = {};
  std::string_view name_text() const { return name; }
  u64 charge() const;

 private:
  void insert_locked(MqueueMessage& message);
  static Waiter* first_locked(Waiters& waiters);
  static void serve_locked(Waiter& waiter, MqueueMessage* message) {
    Waiters::remove(waiter);
    waiter.message = message;
    waiter.done.store(true, std::memory_order_seq_cst);
  }
  Result<void> wait(Waiter& waiter, const char* what, u64 deadline);
  static void clear(Waiters& waiters) {
    while (Waiter* waiter = waiters.pop_front()) waiter->unref();
  }

  // --- Under `lock`.
  List<MqueueMessage, &MqueueMessage::node> messages_;  // in the order they are received in
  u64 count_ = 0, bytes_ = 0;
  Waiters senders_, receivers_;
  Notification notification_;
};

class MqueueDirectory final : public fs::Inode {
 public:
  explicit MqueueDirectory(fs::FileSystem& file_system)
      : Inode(file_system, kRootIno, abi::kS_IFDIR | abi::kS_ISVTX | 0777) {
    nlink = 2;
    atime = mtime = ctime = btime = fs::timestamp_now();
  }

  Result<Ref<fs::Inode>> lookup(std::string_view name) override {
    LockGuard guard(lock);
    Mqueue* found = find_locked(name);
    if (found == nullptr) return Errno::NOENT;
    return Ref<fs::Inode>::share(found);
  }
  Result<Ref<fs::Inode>> create(std::string_view name, const fs::NewNode& node,
                                fs::NameChange& change) override {
    if ((node.mode & abi::kS_IFMT) != abi::kS_IFREG) return Errno::PERM;
    return create_queue(name, node, nullptr, change);
  }
  Result<void> unlink(std::string_view name, fs::Inode& victim, fs::NameChange& change) override;
  Result<void> read_directory(fs::DirSink& sink, u64& position) override;

  Result<Ref<fs::Inode>> create_queue(std::string_view name, const fs::NewNode& node,
                                      const abi::MqAttr* attributes, fs::NameChange& change);
  void gone(Mqueue& queue) {
    LockGuard guard(lock);
    if (!queue.all_node.linked()) return;
    Queues::remove(queue);
    count_--;
  }

 private:
  using Queues = List<Mqueue, &Mqueue::all_node>;
  Mqueue* find_locked(std::string_view name) {
    for (Mqueue& queue : queues_) {
      if (queue.has_name && queue.name_text() == name) return &queue;
    }
    return nullptr;
  }

  // Rising ino. Those that have a name are counted; the others are there as long as they are open.
  Queues queues_;
  u64 count_ = 0;
};

class MqueueFs final : public fs::FileSystem {
 public:
  MqueueFs() : FileSystem("mqueue", kMagic) {}
  Result<Ref<fs::Inode>> root() override { return Ref<fs::Inode>::share(directory); }
  bool caches_names() const override { return false; }
  MqueueDirectory* directory = nullptr;  // counted
  fs::Path internal;                     // where the calls find it
};

MqueueFs& mqueue_fs() {
  return static_cast<MqueueFs&>(*state().mqueues);
}
MqueueDirectory& directory() {
  return *mqueue_fs().directory;
}

class MqueueFile final : public fs::NodeFile {
 public:
  using NodeFile::NodeFile;

  fs::FileKind kind() const override { return fs::FileKind::kMqueue; }
  Mqueue& queue() { return static_cast<Mqueue&>(*inode()); }

  // What mq_overview(7) shows: bytes, and who is to be notified.
  Result<size_t> read(IoDest& to, u64 offset) override {
    char buffer[kShownSize];
    TextBuffer text(buffer);
    queue().show(text);
    std::string_view shown = text.text();
    if (offset >= shown.size()) return size_t{0};
    shown.remove_prefix(offset);
    return to.put(shown.data(), std::min(shown.size(), to.remaining()));
  }
  Result<size_t> write(IoSource&, u64) override { return Errno::INVAL; }
  Result<size_t> append(IoSource&, u64&) override { return Errno::INVAL; }
  Result<void> truncate(u64) override { return {}; }
  bool seekable() const override { return true; }
  Result<u64> seek(s64 offset, int whence) override {
    if (whence == abi::kSEEK_CUR) offset += static_cast<s64>(position);
    if (whence == abi::kSEEK_END) offset += kShownSize;
    if (offset < 0 || whence < abi::kSEEK_SET || whence > abi::kSEEK_END) return Errno::INVAL;
    position = static_cast<u64>(offset);
    return position;
  }
  u32 poll() override { return queue().poll(); }
  WaitQueue* wait_queue() override { return &queue().queue; }
  Result<void> flush(const void* owner) override {
    queue().forget_notification(*static_cast<const fs::FdTable*>(owner));
    return NodeFile::flush(owner);
  }
};

// --- Queues.

Mqueue::Mqueue(fs::FileSystem& file_system, u32 mode, u64 messages, u64 size)
    : Inode(file_system, file_system.next_ino(), mode), max_messages(messages), message_size(size) {
  atime = mtime = ctime = btime = fs::timestamp_now();
}

Mqueue::~Mqueue() {
  directory().gone(*this);
  while (MqueueMessage* message = messages_.pop_front()) heap_free(message);
  clear(senders_);
  clear(receivers_);
}

u64 Mqueue::charge() const {
  u64 priorities = std::min<u64>(max_messages, kMqueuePriorities);
  return max_messages * (message_size + kMessageOverhead) + priorities * kPriorityOverhead;
}

Result<Ref<fs::File>> Mqueue::open(const fs::Path& path, u32 flags) {
  return Ref<fs::File>(TRY(make_ref<MqueueFile>(path, flags & (abi::kO_ACCMODE | abi::kO_NONBLOCK))));
}

void Mqueue::insert_locked(MqueueMessage& message) {
  // Behind those of its own priority and above; from the end, where most go.
  MqueueMessage* before = messages_.back();
  if (before == nullptr || before->priority >= message.priority) {
    messages_.push_back(message);
  } else {
    ListNode* after = &before->node;
    for (MqueueMessage& other : messages_) {
      if (other.priority >= message.priority) continue;
      after = &other.node;
      break;
    }
    message.node.next = after;
    message.node.previous = after->previous;
    after->previous->next = &message.node;
    after->previous = &message.node;
  }
  count_++;
  bytes_ += message.size;
  atime = mtime = ctime = fs::timestamp_now();
}

Waiter* Mqueue::first_locked(Waiters& waiters) {
  for (Waiter& waiter : waiters) {
    if (!waiter.is_stale()) return &waiter;
  }
  return nullptr;
}

Result<void> Mqueue::wait(Waiter& waiter, const char* what, u64 deadline) {
  auto attempt = [&]() -> Result<void> {
    if (waiter.done.load(std::memory_order_seq_cst)) return {};
    return Errno::AGAIN;
  };
  auto result = block_on(waiter.queue, ~u32{0}, what, attempt, deadline, Errno::TIMEDOUT);
  if (result.ok()) return {};
  LockGuard guard(lock);
  if (waiter.done.load(std::memory_order_seq_cst)) return {};
  Waiters::remove(waiter);
  guard.unlock();
  waiter.unref();
  return result;
}

Result<void> Mqueue::send(MqueueMessage* message, bool may_wait, u64 deadline) {
  Notification notification;
  Ref<Waiter> waiter;
  bool full = false;
  {
    LockGuard guard(lock);
    full = count_ == max_messages;
    if (!full) {
      if (Waiter* receiver = first_locked(receivers_); receiver != nullptr) {
        serve_locked(*receiver, message);
        waiter = Ref<Waiter>::adopt(receiver);
        atime = mtime = ctime = fs::timestamp_now();
      } else {
        insert_locked(*message);
        if (count_ == 1) std::swap(notification, notification_);
      }
    }
  }
  if (full) {
    if (!may_wait) return Errno::AGAIN;
    waiter = TRY(make_ref<Waiter>(current_task()));
    waiter->message = message;
    {
      LockGuard guard(lock);
      full = count_ == max_messages;
      if (full) {
        senders_.push_back(*waiter);
        waiter->ref();
      }
    }
    if (!full) return send(message, may_wait, deadline);
    return wait(*waiter, "mq_send", deadline);
  }
  if (waiter) {
    waiter->queue.wake_all();
    return {};
  }
  queue.wake(abi::kPOLLIN | abi::kPOLLRDNORM);
  if (notification.process && notification.how == abi::kSIGEV_SIGNAL && notification.signal != 0) {
    abi::SigInfo info = user_signal(notification.signal, abi::kSI_MESGQ);
    info.rt.value = notification.value;
    (void)send_signal(*notification.process, info);
  }
  return {};
}

Result<MqueueMessage*> Mqueue::receive(bool may_wait, u64 deadline) {
  MqueueMessage* message = nullptr;
  Ref<Waiter> waiter;
  if (may_wait) waiter = TRY(make_ref<Waiter>(current_task()));
  Ref<Waiter> sender;
  {
    LockGuard guard(lock);
    message = messages_.pop_front();
    if (message != nullptr) {
      count_--;
      bytes_ -= message->size;
      atime = mtime = ctime = fs::timestamp_now();
      if (Waiter* first = first_locked(senders_); first != nullptr) {
        insert_locked(*first->message);
        serve_locked(*first, nullptr);
        sender = Ref<Waiter>::adopt(first);
      }
    } else if (may_wait) {
      receivers_.push_back(*waiter);
      waiter->ref();
    }
  }
  if (message != nullptr) {
    if (sender) {
      sender->queue.wake_all();
    } else {
      queue.wake(abi::kPOLLOUT | abi::kPOLLWRNORM);
    }
    return message;
  }
  if (!may_wait) return Errno::AGAIN;
  TRY(wait(*waiter, "mq_receive", deadline));
  return waiter->message;
}

u32 Mqueue::poll() {
  LockGuard guard(lock);
  u32 events = 0;
  if (count_ > 0) events |= abi::kPOLLIN | abi::kPOLLRDNORM;
  if (count_ < max_messages) events |= abi::kPOLLOUT | abi::kPOLLWRNORM;
  return events;
}

abi::MqAttr Mqueue::attributes() {
  LockGuard guard(lock);
  return {0, static_cast<s64>(max_messages), static_cast<s64>(message_size), static_cast<s64>(count_), {}};
}

Result<void> Mqueue::notify(Task& task, int how, int signal, abi::SigVal value) {
  Notification fresh{task.process, task.files.get(), how, signal, value};
  LockGuard guard(lock);
  // One whose process ended while another keeps its descriptors (CLONE_FILES) is nobody's any more.
  if (notification_.process && !notification_.process->zombie && !notification_.process->reaped)
    return Errno::BUSY;
  std::swap(notification_, fresh);
  atime = ctime = fs::timestamp_now();
  guard.unlock();  // before the old one goes
  return {};
}

void Mqueue::forget_notification(const fs::FdTable& owner) {
  Notification gone;
  LockGuard guard(lock);
  if (notification_.process && notification_.owner == &owner) std::swap(gone, notification_);
  guard.unlock();
}

void Mqueue::show(TextBuffer& text) {
  LockGuard guard(lock);
  bool by_signal = notification_.process && notification_.how == abi::kSIGEV_SIGNAL;
  text.add("QSIZE:").udec(bytes_).pad_to(17).add("NOTIFY:");
  text.dec(notification_.process ? notification_.how : 0).pad_to(30).add("SIGNO:");
  text.dec(by_signal ? notification_.signal : 0).pad_to(42).add("NOTIFY_PID:");
  text.dec(notification_.process ? notification_.process->pid : 0).pad_to(59).add('\n');
}

// --- The directory.

Result<Ref<fs::Inode>> MqueueDirectory::create_queue(std::string_view name, const fs::NewNode& node,
                                                     const abi::MqAttr* attributes, fs::NameChange& change) {
  Task& task = current_task();
  bool privileged = task.credentials.has(abi::kCAP_SYS_RESOURCE);
  u64 messages = kMqueueMessages, size = kMqueueMessageSize;
  if (attributes != nullptr) {
    s64 most = privileged ? kMostMessages : s64{kMqueueMessages};
    s64 longest = privileged ? kLongestMessage : s64{kMqueueMessageSize};
    if (attributes->max_messages <= 0 || attributes->max_messages > most) return Errno::INVAL;
    if (attributes->message_size <= 0 || attributes->message_size > longest) return Errno::INVAL;
    messages = static_cast<u64>(attributes->max_messages);
    size = static_cast<u64>(attributes->message_size);
  }
  u64 limit = task.process->limit(abi::kRLIMIT_MSGQUEUE);
  Ref<Mqueue> queue = TRY(make_ref<Mqueue>(file_system(), node.mode, messages, size));
  queue->uid = node.uid;
  queue->gid = node.gid;
  queue->charged_to = task.credentials.uid;
  memcpy(queue->name, name.data(), name.size());
  LockGuard guard(lock);
  if (find_locked(name) != nullptr) return Errno::EXIST;
  if (count_ >= kMqueuesMax && !privileged) return Errno::NOSPC;
  u64 charged = queue->charge();
  for (Mqueue& other : queues_) {
    if (other.charged_to == queue->charged_to) charged += other.charge();
  }
  if (charged > limit) return Errno::MFILE;
  queue->ref();  // the name's
  queue->has_name = true;
  queues_.push_back(*queue);
  count_++;
  touch_mtime();
  entries_version.fetch_add(1, std::memory_order_seq_cst);
  change.changed();
  return Ref<fs::Inode>(queue);
}

Result<void> MqueueDirectory::unlink(std::string_view name, fs::Inode& victim, fs::NameChange& change) {
  Ref<Mqueue> queue;
  LockGuard guard(lock);
  Mqueue* found = find_locked(name);
  if (found != &victim) return Errno::OVERTAKEN;
  queue = Ref<Mqueue>::adopt(found);  // the name's
  queue->has_name = false;
  queue->nlink = 0;
  queue->touch_ctime();
  touch_mtime();
  entries_version.fetch_add(1, std::memory_order_seq_cst);
  change.changed();
  guard.unlock();
  return {};
}

Result<void> MqueueDirectory::read_directory(fs::DirSink& sink, u64& position) {
  for (;;) {
    char name[abi::kNAME_MAX + 1];
    u64 ino = 0;
    {
      LockGuard guard(lock);
      for (Mqueue& queue : queues_) {
        if (!queue.has_name || queue.ino < position) continue;
        ino = queue.ino;
        memcpy(name, queue.name, sizeof name);
        break;
      }
    }
    if (ino == 0 || !sink.add(name, ino, abi::kDT_REG, ino + 1)) return {};
    position = ino + 1;
  }
}

Result<Ref<fs::FileSystem>> mount_mqueue(std::string_view, std::string_view) {
  return Ref<fs::FileSystem>::share(state().mqueues);
}

constexpr fs::FileSystemType kMqueueType = {"mqueue", &mount_mqueue};

// A name as mq_open(2) and mq_unlink(2) take it.
Result<void> check_name(std::string_view name) {
  if (name.empty()) return Errno::NOENT;
  if (name == "." || name == ".." || name.find('/') != name.npos) return Errno::ACCES;
  if (name.size() > abi::kNAME_MAX) return Errno::NAMETOOLONG;
  return {};
}

Result<Ref<fs::File>> open_or_create(const fs::Caller& caller, const fs::Path& root, std::string_view name,
                                     u32 flags, u32 mode, const abi::MqAttr* attributes) {
  auto found = fs::resolve_child(root, name);
  if (found.ok()) {
    if ((flags & abi::kO_CREAT) != 0 && (flags & abi::kO_EXCL) != 0) return Errno::EXIST;
    if ((flags & abi::kO_ACCMODE) == abi::kO_ACCMODE) return Errno::INVAL;
    return fs::open_existing(caller, found.value(), flags & ~u32{abi::kO_EXCL});
  }
  if (!found.is(Errno::NOENT) || (flags & abi::kO_CREAT) == 0) return found.error();
  TRY(fs::check_access(root, caller.credentials, fs::kMayWrite | fs::kMayExecute));
  fs::NewNode node;
  node.mode = abi::kS_IFREG | (mode & 07777 & ~caller.context.umask());
  node.uid = caller.credentials.fsuid;
  node.gid = caller.credentials.fsgid;
  fs::NothingCached change;
  auto made = directory().create_queue(name, node, attributes, change);
  if (made.is(Errno::EXIST) && (flags & abi::kO_EXCL) == 0) return Errno::OVERTAKEN;
  Ref<fs::Inode> inode = TRY(std::move(made));
  fs::notify_entry(root.inode(), name, abi::kIN_CREATE);
  // By now the name may be another's.
  fs::Path path = TRY(fs::path_in(root, name, inode));
  return inode->open(path, flags);
}

}  // namespace

void register_mqueue() {
  auto file_system = make<MqueueFs>();
  KERNEL_ASSERT(file_system.ok());
  auto root = make<MqueueDirectory>(*file_system.value());
  KERNEL_ASSERT(root.ok());
  file_system.value()->directory = root.value();
  state().mqueues = file_system.value();
  auto internal = fs::internal_root(Ref<fs::FileSystem>::share(state().mqueues));
  KERNEL_ASSERT(internal.ok());
  mqueue_fs().internal = std::move(internal).value();
  fs::register_file_system(kMqueueType);
}

Result<Ref<fs::File>> open_mqueue(const fs::Caller& caller, std::string_view name, u32 flags, u32 mode,
                                  const abi::MqAttr* attributes) {
  TRY(check_name(name));
  const fs::Path& root = mqueue_fs().internal;
  for (;;) {
    auto file = open_or_create(caller, root, name, flags, mode, attributes);
    if (file.is(Errno::OVERTAKEN)) continue;
    if (file.ok()) file.value()->set_flags(flags & (abi::kO_ACCMODE | abi::kO_NONBLOCK));
    return file;
  }
}

Result<void> unlink_mqueue(const fs::Caller& caller, std::string_view name) {
  TRY(check_name(name));
  const fs::Path& root = mqueue_fs().internal;
  return fs::remove_name(caller, &root, name);
}

namespace {
Mqueue& queue_of(fs::File& file) {
  return static_cast<MqueueFile&>(file).queue();
}
}  // namespace

Result<void> mqueue_send(fs::File& file, MqueueMessage* message, u64 deadline) {
  return queue_of(file).send(message, !file.nonblocking(), deadline);
}
Result<MqueueMessage*> mqueue_receive(fs::File& file, u64 deadline) {
  return queue_of(file).receive(!file.nonblocking(), deadline);
}
abi::MqAttr mqueue_attributes(fs::File& file) {
  abi::MqAttr attributes = queue_of(file).attributes();
  attributes.flags = file.flags() & abi::kO_NONBLOCK;
  return attributes;
}
Result<void> mqueue_notify(fs::File& file, Task& task, int how, int signal, abi::SigVal value) {
  return queue_of(file).notify(task, how, signal, value);
}
void mqueue_forget_notification(fs::File& file, const fs::FdTable& owner) {
  queue_of(file).forget_notification(owner);
}

}  // namespace teacup::pseudo
