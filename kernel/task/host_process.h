// HostProcess and HostThread: which host processes there are, which guest processes live in them, and what
// must stay until the host says that they are gone.
//
// A host thread that ends cannot free what it still uses: its kernel stack, and the task %gs points at. So
// each has a HostThread, which keeps the stack slot and a reference to the task until the host has cleared
// `tid` (CLONE_CHILD_CLEARTID), and then the next one to make a thread collects it. The first thread of a
// host process is collected with the process, when the kernel task hears of its death.
//
// Locks: HostProcess::lock (kExec); the list of all of them is under Processes::lock.
#pragma once

#include "kernel/mm/address_space.h"
#include "kernel/sync/lock.h"
#include "kernel/task/task.h"
#include "loader/program.h"

namespace teacup {

class HostProcess;

struct HostThread {
  explicit HostThread(HostProcess& host) : host(&host) {}

  ListNode node;
  HostProcess* host;
  // Never 0 before the host clears it: whoever saw that would take the thread for gone, and its stack for
  // free, while it is being started.
  static constexpr u32 kNotStarted = ~u32{0};
  std::atomic<u32> tid{kNotStarted};
  u32 stack_slot = 0;
  Ref<Task> task;  // the one it runs, or ran last; it keeps that alive while %gs points at it
  // Current where no task is: in a waiting zygote, and in a thread whose task has moved to another process.
  TaskCore ghost;
};

class HostProcess : public RefCounted<HostProcess> {
 public:
  static Result<Ref<HostProcess>> create(Ref<mm::AddressSpace> memory);
  static void destroy(HostProcess* host);
  ~HostProcess();

  // Its host threads, gone ones collected first. ENOMEM, EAGAIN (stack slots).
  Result<HostThread*> add_thread();
  void remove_thread(HostThread* thread);  // one that was never started
  void collect_gone();

  const Ref<mm::AddressSpace> memory;
  std::atomic<u32> host_pid{0};
  // Guest processes that live here. Taken away by the last instruction but one of their last thread: who
  // finds 1 may end the host process.
  std::atomic<u32> residents{0};

  Mutex lock{LockRank::kExec};
  List<HostThread, &HostThread::node> threads;  // lock

  ListNode node;       // Processes::lock
  ListNode idle_node;  // Zygotes

  // A zygote's orders: written before its ghost is notified.
  std::atomic<Task*> assigned{nullptr};
  Ref<ProgramRequest> program;

  explicit HostProcess(Ref<mm::AddressSpace> memory) : memory(std::move(memory)) {}
};

// The host process is gone, or never came to be: lets go of all that waited for that.
void forget_host(HostProcess& host);

// A task's mode as the host sees it: who waits for its end sleeps on it, and the last thing a task does is to
// store kDead and wake it.
inline std::atomic<u32>& mode_word(TaskCore& task) {
  std::atomic<u32>* word;
  asm("" : "=r"(word) : "0"(&task.mode));  // atomic<Mode> is the same word
  return *word;
}

// Makes `task` run on `thread`: its place in the host and its kernel stack.
void bind_task(Task& task, HostThread& thread);

// The calling thread's last step. `task` is done for: no lock is held, none is taken.
[[noreturn]] void leave_host(Task& task);

}  // namespace teacup
