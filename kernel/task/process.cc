#include "kernel/task/process.h"

#include "fs/path.h"
#include "kernel/base/panic.h"
#include "kernel/task/host_process.h"
#include "kernel/task/process_timers.h"

namespace teacup {

Task::Task() = default;
Task::~Task() {
  KERNEL_ASSERT(!process_node.linked());
}

void Task::destroy(Task* task) {
  teacup::destroy(task);
}

fs::Caller Task::caller() const {
  return fs::Caller{*fs, credentials};
}

Process::Process(s32 pid) : pid(pid) {
  // docker's defaults, but for the core size: no core is ever written.
  limits.fill({kUnlimited, kUnlimited});
  auto set = [&](int resource, u64 soft, u64 hard) { limits[static_cast<size_t>(resource)] = {soft, hard}; };
  set(abi::kRLIMIT_STACK, 8 * MiB, kUnlimited);
  set(abi::kRLIMIT_CORE, 0, kUnlimited);
  set(abi::kRLIMIT_NOFILE, 1024, 1048576);
  set(abi::kRLIMIT_NPROC, kUnlimited, kUnlimited);
  set(abi::kRLIMIT_MEMLOCK, 8 * MiB, 8 * MiB);
  set(abi::kRLIMIT_SIGPENDING, 31000, 31000);
  set(abi::kRLIMIT_MSGQUEUE, 819200, 819200);
  set(abi::kRLIMIT_NICE, 0, 0);
  set(abi::kRLIMIT_RTPRIO, 0, 0);
}

Process::~Process() {
  free_timers(timers);
}

void Process::destroy(Process* process) {
  teacup::destroy(process);
}

Task* Process::leader() {
  for (Task& task : tasks) {
    if (task.tid == pid) return &task;
  }
  return nullptr;
}

void Process::add_task_locked(Task& task) {
  tasks.push_back(task);
  task.ref();
  live_tasks++;
}

void Process::remove_task_locked(Task& task) {
  tasks.remove(task);
  live_tasks--;
  task.unref();
}

}  // namespace teacup
