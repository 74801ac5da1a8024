// Making, ending, waiting for and arranging processes.
//
// Lock order: kProcessTree, then kSignal.
#include "kernel/syscall/process_calls.h"

#include "kernel/frame/heap.h"
#include "kernel/pseudo/event_files.h"
#include "kernel/task/clone.h"
#include "kernel/task/exec.h"
#include "kernel/task/exit.h"
#include "kernel/task/processes.h"
#include "kernel/task/wait_child.h"
#include "kernel/time/clock.h"

namespace teacup {

namespace {

// The child of clone(2), with its pidfd if one was asked for.
Result<s32> clone_task(Task& task, const CloneArguments& arguments) {
  Ref<Task> child = TRY(prepare_child(task, arguments));
  if ((arguments.flags & abi::kCLONE_PIDFD) != 0) {
    auto make_fd = [&]() -> Result<void> {
      Ref<fs::File> file = TRY(pseudo::make_pidfd(child->process, 0));
      Fd fd = TRY(task.files->install(std::move(file), true, task.process->limit(abi::kRLIMIT_NOFILE)));
      return copy_to_guest(arguments.pidfd, &fd.value, sizeof fd.value);
    };
    if (Result<void> made = make_fd(); !made.ok()) {
      discard_child(*child);
      return made.error();
    }
  }
  return start_child(task, std::move(child), arguments);
}

abi::Rusage usage_of(const CpuTimes& times, u64 max_rss) {
  abi::Rusage usage{};
  usage.user = to_timeval(times.user);
  usage.system = to_timeval(times.system);
  usage.maxrss = static_cast<s64>(max_rss);
  return usage;
}

constexpr size_t kPathMax = 4096;

// A path argument in the heap: it is too long for the kernel stack.
struct PathBuffer {
  HeapArray<char> storage;
  std::string_view text;

  static Result<PathBuffer> read(GuestString path) {
    PathBuffer buffer;
    buffer.storage = TRY(HeapArray<char>::create(kPathMax));
    buffer.text = TRY(path.read({buffer.storage.data(), buffer.storage.size()}));
    return buffer;
  }
};

}  // namespace

// clone(2), fork(2), vfork(2). Differs from Linux: CLONE_SIGHAND without CLONE_THREAD copies the handlers.
Result<s32> sys_fork(Task& task) {
  CloneArguments arguments;
  arguments.exit_signal = abi::kSIGCHLD;
  return clone_task(task, arguments);
}

Result<s32> sys_vfork(Task& task) {
  CloneArguments arguments;
  arguments.flags = abi::kCLONE_VM | abi::kCLONE_VFORK;
  arguments.exit_signal = abi::kSIGCHLD;
  return clone_task(task, arguments);
}

Result<s32> sys_clone(Task& task, CloneFlags flags, CloneStack stack, CloneParentTid parent_tid,
                      CloneChildTid child_tid, CloneTls tls) {
  constexpr u64 kSignalMask = 0xff;
  CloneArguments arguments;
  arguments.flags = flags & 0xffffffff & ~kSignalMask;
  arguments.exit_signal = static_cast<s32>(flags & kSignalMask);
  arguments.stack = stack;
  arguments.parent_tid = arguments.pidfd = parent_tid.value;
  arguments.child_tid = child_tid.value;
  arguments.tls = tls;
  if ((flags & abi::kCLONE_PIDFD) != 0 && (flags & abi::kCLONE_PARENT_SETTID) != 0) return Errno::INVAL;
  return clone_task(task, arguments);
}

Result<s32> sys_clone3(Task& task, CloneArgsIn pointer, size_t size) {
  if (size > kPageSize) return Errno::TOO_BIG;
  if (size < abi::kCLONE_ARGS_SIZE_VER0) return Errno::INVAL;
  abi::CloneArgs given{};
  size_t known = size < sizeof given ? size : sizeof given;
  TRY(copy_from_guest(&given, pointer.address(), known));
  for (size_t at = known; at < size; at++) {
    u8 byte = 0;
    TRY(copy_from_guest(&byte, pointer.address() + at, 1));
    if (byte != 0) return Errno::TOO_BIG;
  }
  constexpr u64 kKnownFlags = 0x3ffffff00 & ~u64{abi::kCLONE_DETACHED};
  if ((given.flags & ~kKnownFlags) != 0 || given.exit_signal > abi::kNSIG) return Errno::INVAL;
  bool threadlike = (given.flags & (abi::kCLONE_THREAD | abi::kCLONE_PARENT)) != 0;
  if (threadlike && given.exit_signal != 0) return Errno::INVAL;
  if ((given.stack == 0) != (given.stack_size == 0)) return Errno::INVAL;
  if (given.set_tid != 0 || given.set_tid_size != 0)
    return given.set_tid_size > 32 ? Errno::INVAL : Errno::PERM;
  CloneArguments arguments;
  arguments.flags = given.flags;
  arguments.pidfd = given.pidfd;
  arguments.child_tid = given.child_tid;
  arguments.parent_tid = given.parent_tid;
  arguments.exit_signal = static_cast<s32>(given.exit_signal);
  arguments.stack = given.stack != 0 ? given.stack + given.stack_size : 0;
  arguments.tls = given.tls;
  return clone_task(task, arguments);
}

// execve(2).
Result<Control> sys_execve(Task& task, GuestString path, StringArray arguments, Environment environment) {
  PathBuffer name = TRY(PathBuffer::read(path));
  ExecArguments wanted;
  wanted.path = wanted.shown_path = name.text;
  wanted.arguments = StringSource::guest(arguments.value);
  wanted.environment = StringSource::guest(environment.value);
  wanted.path_storage = &name.storage;
  TRY(exec(task, wanted));
  return Control{};
}

// execveat(2).
Result<Control> sys_execveat(Task& task, Fd directory, GuestString path, StringArray arguments,
                             Environment environment, AtFlags flags) {
  if ((flags & ~(abi::kAT_EMPTY_PATH | abi::kAT_SYMLINK_NOFOLLOW)) != 0) return Errno::INVAL;
  PathBuffer name = TRY(PathBuffer::read(path));
  ExecArguments wanted;
  wanted.path = name.text;
  wanted.arguments = StringSource::guest(arguments.value);
  wanted.environment = StringSource::guest(environment.value);
  if (name.text.empty()) {
    if ((flags & abi::kAT_EMPTY_PATH) == 0) return Errno::NOENT;
    wanted.resolve = fs::kEmptyPath;
  }
  bool absolute = !name.text.empty() && name.text[0] == '/';
  // What an interpreter is given to open: the path, or one through the descriptor (execveat(2), BUGS).
  auto shown = TRY(HeapArray<char>::create(kPathMax + 32));
  TextBuffer text({shown.data(), shown.size()});
  if (absolute || directory.value == abi::kAT_FDCWD) {
    text.add(name.text);
  } else {
    text.add("/dev/fd/").dec(directory.value);
    if (!name.text.empty()) text.add('/').add(name.text);
  }
  wanted.shown_path = text.text();
  fs::Path start;
  if (!absolute && directory.value != abi::kAT_FDCWD) {
    Ref<fs::File> file = TRY(task.files->get(directory));
    start = TRY(fs::path_of(*file));
    wanted.start = &start;
  }
  if ((flags & abi::kAT_SYMLINK_NOFOLLOW) != 0 && !name.text.empty()) {
    fs::Path place = TRY(fs::resolve(task.caller(), wanted.start, name.text, 0));
    if (place.inode().is_symlink()) return Errno::LOOP;
  }
  wanted.path_storage = &name.storage;
  wanted.more_storage = &shown;
  wanted.start_storage = &start;
  TRY(exec(task, wanted));
  return Control{};
}

// exit(2), exit_group(2).
Result<void> sys_exit(Task& task, int code) {
  end_task(task, static_cast<u32>(code & 0xff) << 8);
}
Result<void> sys_exit_group(Task& task, int code) {
  end_process(task, static_cast<u32>(code & 0xff) << 8);
}

// wait4(2).
Result<s32> sys_wait4(Task& task, s32 pid, WaitStatus status, WaitOptions options,
                      GuestOut<abi::Rusage> usage) {
  constexpr u32 kKnown =
      abi::kWNOHANG | abi::kWUNTRACED | abi::kWCONTINUED | abi::k__WNOTHREAD | abi::k__WCLONE | abi::k__WALL;
  if ((options & ~kKnown) != 0) return Errno::INVAL;
  if (pid == -0x7fffffff - 1) return Errno::SRCH;
  WaitRequest request;
  request.options = options | abi::kWEXITED;
  if (pid > 0) {
    request.kind = abi::kP_PID;
    request.id = pid;
  } else if (pid != -1) {
    request.kind = abi::kP_PGID;
    request.id = -pid;
  }
  WaitAnswer answer = TRY(wait_for_child(task, request));
  if (answer.pid == 0) return 0;
  if (status) TRY(status.write(static_cast<s32>(answer.status)));
  if (usage) TRY(usage.write(usage_of(answer.times, answer.max_rss)));
  return answer.pid;
}

// waitid(2).
Result<void> sys_waitid(Task& task, WaitKind kind, s32 id, GuestOut<abi::SigInfo> info, WaitOptions options,
                        GuestOut<abi::Rusage> usage) {
  constexpr u32 kStates = abi::kWEXITED | abi::kWSTOPPED | abi::kWCONTINUED;
  constexpr u32 kKnown =
      kStates | abi::kWNOHANG | abi::kWNOWAIT | abi::k__WNOTHREAD | abi::k__WCLONE | abi::k__WALL;
  if ((options & ~kKnown) != 0 || (options & kStates) == 0) return Errno::INVAL;
  WaitRequest request;
  request.kind = kind;
  request.id = id;
  request.options = options;
  Ref<fs::File> pidfd;
  switch (kind) {
    case abi::kP_ALL:
      break;
    case abi::kP_PID:
      if (id <= 0) return Errno::INVAL;
      break;
    case abi::kP_PGID:
      if (id < 0) return Errno::INVAL;
      break;
    case abi::kP_PIDFD:
      if (id < 0) return Errno::INVAL;
      pidfd = TRY(task.files->get(Fd{id}));
      request.process = pseudo::process_of_pidfd(*pidfd);
      if (request.process == nullptr) return Errno::BADF;
      if (pidfd->nonblocking()) request.options |= abi::kWNOHANG;
      break;
    default:
      return Errno::INVAL;
  }
  WaitAnswer answer = TRY(wait_for_child(task, request));
  if (answer.pid == 0 && pidfd && (options & abi::kWNOHANG) == 0) return Errno::AGAIN;
  if (info) {
    // As on Linux only these fields are written, all zero when there is nothing to report.
    struct Head {
      s32 signo, error, code, pad, pid;
      u32 uid;
      s32 status;
    } head{answer.info.signo,       0, answer.info.code, 0, answer.pid, answer.info.child.uid,
           answer.info.child.status};
    TRY(copy_to_guest(info.address(), &head, sizeof head));
  }
  if (usage && answer.pid != 0) TRY(usage.write(usage_of(answer.times, answer.max_rss)));
  return {};
}

// getpid(2), getppid(2), gettid(2).
Result<s32> sys_getpid(Task& task) {
  return task.process->pid;
}
Result<s32> sys_gettid(Task& task) {
  return task.tid;
}
Result<s32> sys_getppid(Task& task) {
  LockGuard tree(processes().lock);
  return task.process->parent != nullptr ? task.process->parent->pid : 0;
}

namespace {

Result<Process*> process_or_self_locked(Task& task, s32 pid) {
  if (pid == 0) return task.process.get();
  Process* process = processes().process_locked(pid);
  if (process == nullptr) {
    // A thread's tid will do, as on Linux.
    Task* thread = processes().task_locked(pid);
    process = thread != nullptr && thread->process ? thread->process.get() : nullptr;
  }
  if (process == nullptr) return Errno::SRCH;
  return process;
}

}  // namespace

// getpgid(2), getsid(2), setpgid(2), setsid(2).
Result<s32> sys_getpgrp(Task& task) {
  LockGuard tree(processes().lock);
  return task.process->group->id;
}
Result<s32> sys_getpgid(Task& task, s32 pid) {
  LockGuard tree(processes().lock);
  Process* process = TRY(process_or_self_locked(task, pid));
  return process->group->id;
}
Result<s32> sys_getsid(Task& task, s32 pid) {
  LockGuard tree(processes().lock);
  Process* process = TRY(process_or_self_locked(task, pid));
  return process->group->session->id;
}

Result<void> sys_setpgid(Task& task, s32 pid, s32 group) {
  if (group < 0 || pid < 0) return Errno::INVAL;
  Process& self = *task.process;
  Ref<ProcessGroup> fresh;
  Ref<ProcessGroup> old;  // dropped after the lock
  Processes& all = processes();
  LockGuard tree(all.lock);
  Process* process = pid == 0 ? &self : all.process_locked(pid);
  if (process == nullptr) return Errno::SRCH;
  if (group == 0) group = process->pid;
  const Session* session = self.group->session.get();
  if (process != &self) {
    if (process->parent != &self) return Errno::SRCH;
    if (process->group->session.get() != session) return Errno::PERM;
    if (process->has_executed) return Errno::ACCES;
  }
  if (process->zombie) return Errno::SRCH;
  if (process->group->session->id == process->pid) return Errno::PERM;  // a session's leader
  if (process->group->id == group) return {};
  if (group == process->pid && all.group_locked(group) == nullptr) {
    fresh = TRY(make_ref<ProcessGroup>(group, process->group->session));
  } else {
    fresh = Ref<ProcessGroup>::share(all.group_locked(group));
    if (!fresh || fresh->session.get() != session) return Errno::PERM;
  }
  old = process->group;
  all.leave_group_locked(*process);
  all.join_group_locked(*process, std::move(fresh));
  return {};
}

Result<s32> sys_setsid(Task& task) {
  Process& self = *task.process;
  Ref<Session> session = TRY(make_ref<Session>(self.pid));
  Ref<ProcessGroup> group = TRY(make_ref<ProcessGroup>(self.pid, session));
  Ref<ProcessGroup> old;
  LockGuard tree(processes().lock);
  if (processes().group_locked(self.pid) != nullptr) return Errno::PERM;
  old = self.group;
  processes().leave_group_locked(self);
  processes().join_group_locked(self, std::move(group));
  return self.pid;
}

// set_tid_address(2).
Result<s32> sys_set_tid_address(Task& task, GuestAddress address) {
  task.clear_child_tid = address.value;
  return task.tid;
}

}  // namespace teacup
