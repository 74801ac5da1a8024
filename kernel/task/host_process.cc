// Lock order: HostProcess::lock alone; Processes::lock alone for the list.
#include "kernel/task/host_process.h"

#include "kernel/task/frame.h"
#include "kernel/task/processes.h"

namespace teacup {

Result<Ref<HostProcess>> HostProcess::create(Ref<mm::AddressSpace> memory) {
  Ref<HostProcess> host = TRY(make_ref<HostProcess>(std::move(memory)));
  LockGuard guard(processes().lock);
  processes().hosts.push_back(*host);
  host->ref();  // the list's, until the host says that it is gone
  return host;
}

void HostProcess::destroy(HostProcess* host) {
  teacup::destroy(host);
}

HostProcess::~HostProcess() {
  while (HostThread* thread = threads.pop_front()) teacup::destroy(thread);
}

Result<HostThread*> HostProcess::add_thread() {
  collect_gone();
  HostThread* thread = TRY(make<HostThread>(*this));
  LockGuard guard(lock);
  threads.push_back(*thread);
  return thread;
}

void HostProcess::remove_thread(HostThread* thread) {
  {
    LockGuard guard(lock);
    threads.remove(*thread);
  }
  teacup::destroy(thread);
}

void HostProcess::collect_gone() {
  for (;;) {
    HostThread* gone = nullptr;
    {
      LockGuard guard(lock);
      for (HostThread& thread : threads) {
        // A thread that has not been started has no task yet.
        if (thread.tid.load(std::memory_order_acquire) != 0 || !thread.task) continue;
        gone = &thread;
        break;
      }
      if (gone == nullptr) return;
      threads.remove(*gone);
    }
    memory->release_stack_slot(gone->stack_slot);
    teacup::destroy(gone);
  }
}

void forget_host(HostProcess& host) {
  for (;;) {
    HostThread* thread = nullptr;
    {
      LockGuard guard(host.lock);
      thread = host.threads.pop_front();
    }
    if (thread == nullptr) break;
    teacup::destroy(thread);
  }
  {
    LockGuard guard(processes().lock);
    processes().hosts.remove(host);
  }
  host.unref();
}

void bind_task(Task& task, HostThread& thread) {
  task.host_thread = &thread;
  task.host = Ref<HostProcess>::share(thread.host);
  task.stack_slot = thread.stack_slot;
  task.kernel_stack_top = mm::AddressSpace::stack_top(thread.stack_slot);
  thread.host->memory->set_slot_task(thread.stack_slot, &task);
  task.host_pid.store(thread.host->host_pid.load(std::memory_order_relaxed), std::memory_order_relaxed);
  u32 tid = thread.tid.load(std::memory_order_relaxed);
  task.host_tid.store(tid == HostThread::kNotStarted ? 0 : tid, std::memory_order_relaxed);
  count_awake(task);
}

void leave_host(Task& task) {
  retire(task);
  // Who ends the process may sleep on the mode itself: after this store nothing of ours is its to keep.
  gate::futex_wake(mode_word(task), 1);
  gate::exit_thread();
}

}  // namespace teacup
