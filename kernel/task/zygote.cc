// A zygote's life: the template clones it; it readies its first stack and queues itself; whoever takes it
// writes its orders (HostProcess::program, assigned) and notifies its ghost; it becomes that task. When the
// program has ended, it unmaps all that was the guest's and queues itself again, in front: its page tables
// for the arena are there already, which saves the next program as many faults, and the host a clone and an
// exit.
//
// Lock order: kExec (the queue), alone.
#include "kernel/task/zygote.h"

#include "kernel/abi/boot.h"
#include "kernel/abi/debug.h"
#include "kernel/task/exec.h"
#include "kernel/task/frame.h"
#include "kernel/task/processes.h"
#include "kernel/task/stack_switch.h"

namespace teacup {

namespace {

constexpr u32 kWanted = 2;  // one is taken while the next is being made
constexpr u32 kKept = 4;    // with those whose program has ended

struct Zygotes {
  Mutex lock{LockRank::kExec};
  List<HostProcess, &HostProcess::idle_node> idle;  // a reference each
  u32 idle_count = 0;
  u32 starting = 0;
  bool failed = false;           // the host refused the last one: nobody asks until somebody needs one
  std::atomic<u32> word{0};      // the template sleeps on it
  std::atomic<u32> arrivals{0};  // takers sleep on it
  std::atomic<u32> takers{0};
  std::atomic<u32> programs{0};  // and forks: processes that have begun
};

Zygotes& zygotes() {
  return *root<Zygotes>(Root::kZygotes);
}

void bump(std::atomic<u32>& word) {
  word.fetch_add(1, std::memory_order_seq_cst);
  gate::futex_wake(word, ~u32{0} >> 1);
}

// How many the template should make.
u32 wanted_locked(const Zygotes& queue) {
  u32 there = queue.idle_count + queue.starting;
  // The first program may well stay the only one.
  u32 wanted = queue.programs.load(std::memory_order_relaxed) < 2 ? 1 : kWanted;
  return queue.failed || there >= wanted ? 0 : wanted - there;
}

// Puts a zygote into the queue, where it is the next to be taken.
void offer(Ref<HostProcess> zygote) {
  Zygotes& queue = zygotes();
  {
    LockGuard guard(queue.lock);
    queue.idle.push_front(*zygote.leak());
    queue.idle_count++;
  }
  queue.arrivals.fetch_add(1, std::memory_order_seq_cst);
  if (queue.takers.load(std::memory_order_seq_cst) != 0) gate::futex_wake(queue.arrivals, 1);
}

void wait_for_program(void* argument) {
  HostProcess& host = *static_cast<HostProcess*>(argument);
  HostThread& thread = *host.threads.front();
  offer(Ref<HostProcess>::share(&host));
  while (host.assigned.load(std::memory_order_acquire) == nullptr) park("a program", kNoDeadline, false);
  Task* task = host.assigned.load(std::memory_order_acquire);
  gate::set_task(task);
  count_asleep(thread.ghost);
  thread.task = Ref<Task>::adopt(task);
  run_program(*task, std::move(host.program));
}

[[noreturn]] void zygote_main(HostProcess& host) {
  HostThread& thread = *host.threads.front();
  thread.ghost.host_pid.store(host.host_pid.load(), std::memory_order_relaxed);
  thread.ghost.host_tid.store(host.host_pid.load(), std::memory_order_relaxed);
  thread.tid.store(host.host_pid.load(), std::memory_order_relaxed);
  gate::set_task(&thread.ghost);
  gate::die_with_broker();
  Result<u32> slot = host.memory->allocate_stack_slot();
  if (!slot.ok()) {
    {
      LockGuard guard(zygotes().lock);
      zygotes().starting--;
      zygotes().failed = true;
    }
    bump(zygotes().arrivals);
    retire(thread.ghost);
    gate::exit_process(0);
  }
  thread.stack_slot = slot.value();
  gate::set_signal_stack(mm::AddressSpace::signal_stack(thread.stack_slot), kSignalStackSize);
  {
    LockGuard guard(zygotes().lock);
    zygotes().starting--;
  }
  continue_on_stack(mm::AddressSpace::stack_top(thread.stack_slot) - sizeof(Frame), &wait_for_program, &host);
}

}  // namespace

void zygotes_start() {
  auto* queue = make<Zygotes>().value_or(nullptr);
  if (queue == nullptr) panic("no memory for the zygotes");
  set_root(Root::kZygotes, queue);
}

std::atomic<u32>& zygotes_word() {
  return zygotes().word;
}

void wake_template() {
  bump(zygotes().word);
}

void count_process() {
  if (zygotes().programs.fetch_add(1, std::memory_order_relaxed) + 1 == kManyProcesses) bump(zygotes().word);
}

bool are_processes_many() {
  return zygotes().programs.load(std::memory_order_relaxed) >= kManyProcesses;
}

u32 zygotes_wanted() {
  LockGuard guard(zygotes().lock);
  return wanted_locked(zygotes());
}

Result<void> spawn_zygote() {
  Zygotes& queue = zygotes();
  Ref<mm::AddressSpace> memory = TRY(mm::AddressSpace::create());
  Ref<HostProcess> host = TRY(HostProcess::create(std::move(memory)));
  if (!host->add_thread().ok()) {
    forget_host(*host);
    return Errno::NOMEM;
  }
  {
    LockGuard guard(queue.lock);
    queue.starting++;
  }
  Result<u32> pid = gate::spawn_process(&host->host_pid);
  if (pid.ok() && pid.value() == 0) zygote_main(*host);
  if (!pid.ok()) {
    {
      LockGuard guard(queue.lock);
      queue.starting--;
      queue.failed = true;
    }
    forget_host(*host);
    bump(queue.arrivals);
    return Errno::AGAIN;
  }
  host->memory->host_pid.store(pid.value(), std::memory_order_relaxed);
  return {};
}

void return_zygote(Ref<HostProcess> zygote) {
  offer(std::move(zygote));
}

void become_zygote(Task& dead) {
  HostProcess& host = *dead.host;  // the list of hosts keeps it
  HostThread& thread = *dead.host_thread;
  // What is known to a debugger or profiler by a host process's number is one program.
  constexpr u32 kReports = abi::kDebugMaps | abi::kDebugAnonymousText;
  if ((abi::boot_config().debug & kReports) != 0) return;
  {
    LockGuard guard(zygotes().lock);
    if (zygotes().idle_count + zygotes().starting >= kKept) return;
  }
  host.collect_gone();
  {
    // Other threads may not have left the host yet. And where the first one has ended, the process has no
    // thread that its number names.
    LockGuard guard(host.lock);
    bool alone = host.threads.front() == &thread && host.threads.back() == &thread;
    if (!alone || thread.tid.load(std::memory_order_relaxed) != host.host_pid.load(std::memory_order_relaxed))
      return;
  }
  host.memory->set_slot_task(thread.stack_slot, nullptr);
  host.residents.store(0, std::memory_order_seq_cst);
  thread.ghost.host_pid.store(host.host_pid.load(std::memory_order_relaxed), std::memory_order_relaxed);
  thread.ghost.host_tid.store(host.host_pid.load(std::memory_order_relaxed), std::memory_order_relaxed);
  gate::set_task(&thread.ghost);
  thread.task = nullptr;
  host.assigned.store(nullptr, std::memory_order_relaxed);
  host.memory->start_again();
  continue_on_stack(mm::AddressSpace::stack_top(thread.stack_slot) - sizeof(Frame), &wait_for_program, &host);
}

void forget_zygote(HostProcess& host) {
  Zygotes& queue = zygotes();
  {
    LockGuard guard(queue.lock);
    if (!host.idle_node.linked()) return;
    queue.idle.remove(host);
    queue.idle_count--;
  }
  host.unref();
  bump(queue.word);
}

Result<Ref<HostProcess>> take_zygote() {
  Zygotes& queue = zygotes();
  bool asked = false;
  for (;;) {
    u32 seen = queue.arrivals.load(std::memory_order_seq_cst);
    Ref<HostProcess> zygote;
    bool is_wanted = false;
    {
      LockGuard guard(queue.lock);
      if (HostProcess* host = queue.idle.pop_front()) {
        zygote = Ref<HostProcess>::adopt(host);
        queue.idle_count--;
      } else if (queue.failed && asked) {
        queue.failed = false;
        return Errno::AGAIN;
      }
      queue.failed = false;
      is_wanted = wanted_locked(queue) > 0;
    }
    if (zygote) count_process();
    // Mostly one whose program has ended is there for the next, and the template can sleep.
    if (is_wanted) bump(queue.word);
    if (zygote) return zygote;
    asked = true;
    TaskCore& core = current_core();
    core.waiting_for.store("a zygote", std::memory_order_relaxed);
    queue.takers.fetch_add(1, std::memory_order_seq_cst);
    gate::futex_wait(queue.arrivals, seen, gate::kNoDeadline);
    queue.takers.fetch_sub(1, std::memory_order_seq_cst);
    core.waiting_for.store(nullptr, std::memory_order_relaxed);
  }
}

void start_in_zygote(Ref<HostProcess> zygote, Ref<Task> task, Ref<ProgramRequest> program) {
  HostThread* thread = nullptr;
  {
    LockGuard guard(zygote->lock);
    thread = zygote->threads.front();
  }
  zygote->program = std::move(program);
  zygote->residents.store(1, std::memory_order_relaxed);
  bind_task(*task, *thread);
  {
    LockGuard guard(task->process->lock);
    Ref<mm::AddressSpace> old = std::exchange(task->memory, zygote->memory);
    guard.unlock();
  }
  zygote->assigned.store(task.leak(), std::memory_order_seq_cst);
  notify(thread->ghost);
}

}  // namespace teacup
