#include "kernel/task/io_signal.h"

#include "kernel/abi/fs.h"
#include "kernel/abi/ipc.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"

namespace teacup {

namespace {

// What a signal of F_SETSIG says of the event (si_code, si_band).
struct Reason {
  int code;
  s64 band;
};

Reason reason_of(u32 events) {
  constexpr Reason kIn{abi::kPOLL_IN, abi::kPOLLIN | abi::kPOLLRDNORM};
  constexpr Reason kOut{abi::kPOLL_OUT, abi::kPOLLOUT | abi::kPOLLWRNORM | abi::kPOLLWRBAND};
  constexpr Reason kUrgent{abi::kPOLL_PRI, abi::kPOLLPRI | abi::kPOLLRDBAND};
  constexpr Reason kEnd{abi::kPOLL_HUP, abi::kPOLLHUP | abi::kPOLLERR};
  if (events == ~u32{0}) return kIn;
  if ((events & abi::kPOLLPRI) != 0) return kUrgent;
  if ((events & abi::kPOLLIN) != 0) return kIn;
  return (events & abi::kPOLLOUT) != 0 ? kOut : kEnd;
}

}  // namespace

IoOwner* IoOwner::find(fs::File& file) {
  return static_cast<IoOwner*>(file.owner.load(std::memory_order_acquire));
}

Result<IoOwner*> IoOwner::of(fs::File& file) {
  if (IoOwner* owner = find(file); owner != nullptr) return owner;
  auto made = TRY(make_ref<IoOwner>());
  fs::FileOwner* none = nullptr;
  IoOwner* owner = made.get();
  if (!file.owner.compare_exchange_strong(none, owner, std::memory_order_acq_rel))
    return static_cast<IoOwner*>(none);
  // Nothing else can be told of anything.
  bool tells = file.kind() == fs::FileKind::kSocket || file.kind() == fs::FileKind::kPipe;
  if (tells && file.wait_queue() != nullptr) owner->watch(*file.wait_queue());
  return made.leak();
}

Result<void> IoOwner::set_target(const Task& by, int type, s32 id) {
  Target target;
  target.uid = by.credentials.uid;
  target.euid = by.credentials.euid;
  if (id != 0) {
    if (type == abi::kF_OWNER_TID) target.task = processes().find_task(id);
    if (type == abi::kF_OWNER_PID) target.process = processes().find_process(id);
    if (type == abi::kF_OWNER_PGRP) target.group = processes().find_group(id);
    if (!target.task && !target.process && !target.group) return Errno::SRCH;
  }
  LockGuard guard(lock_);
  std::swap(target_, target);  // what it was goes when the lock is dropped
  type_ = type;
  guard.unlock();
  return {};
}

IoOwner::Target IoOwner::copy_target() {
  LockGuard guard(lock_);
  return target_;
}

abi::FOwnerEx IoOwner::target() {
  Target target = copy_target();
  LockGuard guard(lock_);
  if (target.task) return {type_, target.task->tid};
  if (target.process) return {type_, target.process->pid};
  return {type_, target.group ? target.group->id : 0};
}

void IoOwner::set_async(bool on, Fd fd) {
  async_fd_.store(on ? fd.value : -1, std::memory_order_release);
}

bool IoOwner::Target::may_tell(const Process& to) const {
  auto& process = const_cast<Process&>(to);
  LockGuard guard(process.lock);
  const Task* first = process.tasks.front();
  if (euid == 0 || first == nullptr) return true;
  const Credentials& theirs = first->credentials;
  return euid == theirs.suid || euid == theirs.uid || uid == theirs.suid || uid == theirs.uid;
}

// EAGAIN: one that is queued found no room.
Result<void> IoOwner::Target::send(const abi::SigInfo& info) const {
  if (task) return may_tell(*task->process) ? send_signal(*task, info) : Result<void>{};
  if (process) return may_tell(*process) ? send_signal(*process, info) : Result<void>{};
  if (!group) return {};
  Result<void> result;
  SignalBatch batch;
  LockGuard tree(processes().lock);
  for (Process& member : group->members) {
    if (!may_tell(member)) continue;
    if (auto queued = queue_signal(member, info, batch); !queued.ok()) result = queued;
  }
  return result;
}

void IoOwner::tell(u32 events) {
  s32 fd = async_fd_.load(std::memory_order_acquire);
  bool urgent = events != ~u32{0} && (events & abi::kPOLLPRI) != 0;
  if (fd < 0 && !urgent) return;
  Target target = copy_target();
  if (urgent) (void)target.send(kernel_signal(abi::kSIGURG));
  if (fd < 0) return;
  if (int chosen = signal.load(std::memory_order_relaxed); chosen != 0) {
    Reason reason = reason_of(events);
    abi::SigInfo info{};
    info.signo = chosen;
    info.code = reason.code;
    info.poll.band = reason.band;
    info.poll.fd = fd;
    if (target.send(info).ok()) return;
  }
  (void)target.send(kernel_signal(abi::kSIGIO));
}

}  // namespace teacup
