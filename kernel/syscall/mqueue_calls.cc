// POSIX message queues (mq_overview(7)). What a queue is: kernel/pseudo/mqueue.h.
#include "kernel/pseudo/mqueue.h"
#include "kernel/syscall/ipc_calls.h"
#include "kernel/task/task.h"
#include "kernel/time/clock.h"

namespace teacup {

namespace {

constexpr size_t kCookieSize = 32;  // NOTIFY_COOKIE_LEN

Result<Ref<fs::File>> queue_file(Task& task, Fd fd) {
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  if (file->kind() != fs::FileKind::kMqueue) return Errno::BADF;
  return file;
}

// EFAULT, EINVAL: before anything else is looked at, whether it will be waited or not.
Result<u64> deadline_of(GuestIn<abi::Timespec> timeout) {
  if (!timeout) return kNoDeadline;
  return deadline_on(abi::kCLOCK_REALTIME, TRY(from_timespec(TRY(timeout.read()))));
}

}  // namespace

// mq_open(2). The descriptor is close-on-exec, always.
Result<Fd> sys_mq_open(Task& task, GuestString name, OpenFlags flags, OpenMode mode,
                       GuestIn<abi::MqAttr> attributes) {
  abi::MqAttr wanted{};
  if (attributes) wanted = TRY(attributes.read());
  char storage[abi::kPATH_MAX];
  std::string_view text = TRY(name.read(storage));
  flags &= abi::kO_ACCMODE | abi::kO_CREAT | abi::kO_EXCL | abi::kO_NONBLOCK;
  Ref<fs::File> file =
      TRY(pseudo::open_mqueue(task.caller(), text, flags, mode, attributes ? &wanted : nullptr));
  return task.files->install(std::move(file), true, task.process->limit(abi::kRLIMIT_NOFILE));
}

Result<void> sys_mq_unlink(Task& task, GuestString name) {
  char storage[abi::kPATH_MAX];
  return pseudo::unlink_mqueue(task.caller(), TRY(name.read(storage)));
}

// mq_send(3). A handler with SA_RESTART restarts it (signal(7)).
Result<void> sys_mq_timedsend(Task& task, Fd fd, GuestIn<std::byte> message, size_t size, u32 priority,
                              GuestIn<abi::Timespec> timeout) {
  u64 deadline = TRY(deadline_of(timeout));
  if (priority >= pseudo::kMqueuePriorities) return Errno::INVAL;
  Ref<fs::File> file = TRY(queue_file(task, fd));
  if (!file->writable()) return Errno::BADF;
  if (size > static_cast<u64>(pseudo::mqueue_attributes(*file).message_size)) return Errno::MSGSIZE;
  void* block = heap_allocate(sizeof(pseudo::MqueueMessage) + size);
  if (block == nullptr) return Errno::NOMEM;
  auto* made = new (block) pseudo::MqueueMessage{{}, priority, size};
  auto sent = copy_from_guest(made->data(), message.address(), size);
  if (sent.ok()) sent = pseudo::mqueue_send(*file, made, deadline);
  if (!sent.ok()) heap_free(made);
  return sent;
}

// mq_receive(3). A message that cannot be stored is lost.
Result<size_t> sys_mq_timedreceive(Task& task, Fd fd, GuestOut<std::byte> message, size_t size,
                                   GuestOut<u32> priority, GuestIn<abi::Timespec> timeout) {
  u64 deadline = TRY(deadline_of(timeout));
  Ref<fs::File> file = TRY(queue_file(task, fd));
  if (!file->readable()) return Errno::BADF;
  if (size < static_cast<u64>(pseudo::mqueue_attributes(*file).message_size)) return Errno::MSGSIZE;
  pseudo::MqueueMessage* got = TRY(pseudo::mqueue_receive(*file, deadline));
  size_t length = got->size;
  auto stored = copy_to_guest(message.address(), got->data(), length);
  if (stored.ok() && priority) stored = priority.write(got->priority);
  heap_free(got);
  TRY(std::move(stored));
  return length;
}

// mq_notify(3). Differs from Linux: SIGEV_THREAD, which is a message to a netlink socket that the C library
// made for it, has no socket that it could go to in a machine without netlink.
Result<void> sys_mq_notify(Task& task, Fd fd, GuestIn<TimerEvent> event) {
  TimerEvent wanted{};
  if (event) {
    wanted = TRY(event.read());
    switch (wanted.notify) {
      case abi::kSIGEV_NONE:
        break;
      case abi::kSIGEV_SIGNAL:
        if (wanted.signal < 0 || wanted.signal > abi::kNSIG) return Errno::INVAL;
        break;
      case abi::kSIGEV_THREAD: {
        std::byte cookie[kCookieSize];
        TRY(copy_from_guest(cookie, wanted.value.pointer, sizeof cookie));
        Ref<fs::File> socket = TRY(task.files->get_io(Fd{wanted.signal}));
        return socket->kind() == fs::FileKind::kSocket ? Errno::INVAL : Errno::NOTSOCK;
      }
      default:
        return Errno::INVAL;
    }
  }
  Ref<fs::File> file = TRY(queue_file(task, fd));
  if (event) return pseudo::mqueue_notify(*file, task, wanted.notify, wanted.signal, wanted.value);
  pseudo::mqueue_forget_notification(*file, *task.files);
  return {};
}

// mq_getattr(3), mq_setattr(3): of what can be set, there is O_NONBLOCK.
Result<void> sys_mq_getsetattr(Task& task, Fd fd, GuestIn<abi::MqAttr> next, GuestOut<abi::MqAttr> old) {
  abi::MqAttr wanted{};
  if (next) {
    wanted = TRY(next.read());
    if ((wanted.flags & ~s64{abi::kO_NONBLOCK}) != 0) return Errno::INVAL;
  }
  Ref<fs::File> file = TRY(queue_file(task, fd));
  abi::MqAttr before = pseudo::mqueue_attributes(*file);
  if (next) file->set_flags((file->flags() & ~u32{abi::kO_NONBLOCK}) | static_cast<u32>(wanted.flags));
  if (old) return old.write(before);
  return {};
}

}  // namespace teacup
