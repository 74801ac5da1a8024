// System V message queues (msgget(2), msgop(2), msgctl(2)).
#include <algorithm>

#include "kernel/pseudo/sysv.h"
#include "kernel/syscall/ipc_calls.h"
#include "kernel/task/process.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

using pseudo::IpcObject;
using pseudo::sysv;

constexpr size_t kLongestMessage = 8192;  // kernel.msgmax
constexpr u64 kQueueBytes = 16384;        // kernel.msgmnb

struct QueuedMessage {
  ListNode node;
  s64 type;
  u64 size;
  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
};

class MessageQueue final : public IpcObject {
 public:
  ~MessageQueue() override {
    while (QueuedMessage* message = messages.pop_front()) heap_free(message);
  }
  List<QueuedMessage, &QueuedMessage::node> messages;  // under lock, as what follows
  u64 bytes = 0, count = 0, limit = kQueueBytes;
  s64 stime = 0, rtime = 0, ctime = 0;
  s32 last_sender = 0, last_receiver = 0;

  // Takes `message` over, unless it fails.
  Result<void> put(QueuedMessage* message, s32 pid) {
    if (removed.load(std::memory_order_seq_cst)) return Errno::IDRM;
    {
      LockGuard guard(lock);
      if (bytes + message->size > limit || count >= limit) return Errno::AGAIN;
      messages.push_back(*message);
      bytes += message->size;
      count++;
      stime = pseudo::ipc_time();
      last_sender = pid;
    }
    queue.wake_all();
    return {};
  }

  // ENOMSG: none of that type; E2BIG: it is longer than `room`.
  Result<QueuedMessage*> take(s64 type, u32 flags, u64 room, s32 pid) {
    if (removed.load(std::memory_order_seq_cst)) return Errno::IDRM;
    QueuedMessage* best = nullptr;
    {
      LockGuard guard(lock);
      for (QueuedMessage& message : messages) {
        bool except = (flags & abi::kMSG_EXCEPT) != 0;
        bool fits = type == 0  ? true
                    : type > 0 ? (message.type == type) != except
                               : message.type <= -type && (best == nullptr || message.type < best->type);
        if (!fits) continue;
        best = &message;
        if (type >= 0) break;
      }
      if (best == nullptr) return Errno::AGAIN;
      if (best->size > room && (flags & abi::kMSG_NOERROR) == 0) return Errno::TOO_BIG;
      List<QueuedMessage, &QueuedMessage::node>::remove(*best);
      bytes -= best->size;
      count--;
      rtime = pseudo::ipc_time();
      last_receiver = pid;
    }
    queue.wake_all();
    return best;
  }
};

MessageQueue& queue_of(const Ref<IpcObject>& object) {
  return static_cast<MessageQueue&>(*object);
}

}  // namespace

Result<s32> sys_msgget(Task& task, IpcKey key, IpcFlags flags) {
  return sysv().messages.get(
      key, flags, task.credentials,
      []() -> Result<Ref<IpcObject>> {
        auto queue = TRY(make_ref<MessageQueue>());
        static_cast<MessageQueue&>(*queue).ctime = pseudo::ipc_time();
        return Ref<IpcObject>(std::move(queue));
      },
      [](IpcObject&) -> Result<void> { return {}; });
}

Result<void> sys_msgsnd(Task& task, s32 id, GuestIn<s64> message, size_t size, u32 flags) {
  if (size > kLongestMessage) return Errno::INVAL;
  s64 type = TRY(message.read());
  if (type < 1) return Errno::INVAL;
  Ref<IpcObject> object = TRY(sysv().messages.find(id));
  MessageQueue& queue = queue_of(object);
  TRY(pseudo::check_ipc_access(queue, task.credentials, 2));
  auto* queued = static_cast<QueuedMessage*>(heap_allocate(sizeof(QueuedMessage) + size));
  if (queued == nullptr) return Errno::NOMEM;
  new (queued) QueuedMessage{{}, type, size};
  auto copied = copy_from_guest(queued->data(), message.address() + sizeof(s64), size);
  auto attempt = [&] { return queue.put(queued, task.pid()); };
  Errno error = copied.error();
  if (error == Errno::OK) {
    bool wait = (flags & abi::kIPC_NOWAIT) == 0;
    error = wait ? block_on(queue.queue, ~u32{0}, "msgsnd", attempt).error() : attempt().error();
  }
  if (error == Errno::OK) return {};
  heap_free(queued);
  return error == Errno::RESTARTSYS ? Errno::INTR : error;  // not restarted (signal(7))
}

Result<size_t> sys_msgrcv(Task& task, s32 id, GuestOut<s64> message, size_t size, s64 type, u32 flags) {
  if (static_cast<s64>(size) < 0) return Errno::INVAL;
  if ((flags & abi::kMSG_COPY) != 0) return Errno::NOSYS;
  Ref<IpcObject> object = TRY(sysv().messages.find(id));
  MessageQueue& queue = queue_of(object);
  TRY(pseudo::check_ipc_access(queue, task.credentials, 4));
  auto attempt = [&] { return queue.take(type, flags, size, task.pid()); };
  bool wait = (flags & abi::kIPC_NOWAIT) == 0;
  auto taken = wait ? block_on(queue.queue, ~u32{0}, "msgrcv", attempt) : attempt();
  if (taken.is(Errno::AGAIN)) return Errno::NOMSG;
  if (taken.is(Errno::RESTARTSYS)) return Errno::INTR;
  QueuedMessage* got = TRY(std::move(taken));
  size_t length = std::min<size_t>(size, got->size);
  auto written = message.write(got->type);
  if (written.ok()) written = copy_to_guest(message.address() + sizeof(s64), got->data(), length);
  heap_free(got);
  TRY(std::move(written));
  return length;
}

namespace {

struct MsgInfo {  // struct msginfo
  s32 pool, map, max, per_queue, queues, segment, total;
  u16 segments;
};

}  // namespace

Result<s32> sys_msgctl(Task& task, s32 id, IpcCommand command, GuestInOut<abi::MsqidDs> data) {
  if (command == abi::kIPC_INFO || command == abi::kMSG_INFO) {
    MsgInfo info{0, 0, kLongestMessage, kQueueBytes, pseudo::IpcTable::kMost, 16, 0, 0xffff};
    if (command == abi::kMSG_INFO) info.pool = static_cast<s32>(sysv().messages.count());
    TRY(GuestOut<MsgInfo>(data.address()).write(info));
    return static_cast<s32>(sysv().messages.highest());
  }
  bool by_index = command == abi::kMSG_STAT || command == abi::kMSG_STAT_ANY;
  Ref<IpcObject> object =
      by_index ? TRY(sysv().messages.at(static_cast<u32>(id))) : TRY(sysv().messages.find(id));
  MessageQueue& queue = queue_of(object);
  switch (command) {
    case abi::kIPC_STAT:
    case abi::kMSG_STAT:
      TRY(pseudo::check_ipc_access(queue, task.credentials, 4));
      [[fallthrough]];
    case abi::kMSG_STAT_ANY: {
      abi::MsqidDs out{};
      {
        LockGuard guard(queue.lock);
        out = {queue.perm,  queue.stime, queue.rtime,       queue.ctime,         queue.bytes,
               queue.count, queue.limit, queue.last_sender, queue.last_receiver, {}};
      }
      TRY(data.write(out));
      return by_index ? queue.id : 0;
    }
    case abi::kIPC_SET: {
      TRY(pseudo::check_ipc_owner(queue, task.credentials));
      abi::MsqidDs wanted = TRY(data.read());
      if (wanted.limit > kQueueBytes && !task.credentials.has(abi::kCAP_SYS_RESOURCE)) return Errno::PERM;
      LockGuard guard(queue.lock);
      queue.perm.uid = wanted.perm.uid;
      queue.perm.gid = wanted.perm.gid;
      queue.perm.mode = wanted.perm.mode & 0777;
      queue.limit = wanted.limit;
      queue.ctime = pseudo::ipc_time();
      guard.unlock();
      queue.queue.wake_all();
      return 0;
    }
    case abi::kIPC_RMID:
      TRY(pseudo::check_ipc_owner(queue, task.credentials));
      sysv().messages.remove(queue);
      return 0;
  }
  return Errno::INVAL;
}

}  // namespace teacup
