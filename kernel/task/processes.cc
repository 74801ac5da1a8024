// The pid table: an array indexed by number, 1 MiB of sparse arena. Numbers are given out in turn, as Linux
// does, so that one is not used again soon; after the first round those below 300 are left to early
// processes.
//
// Lock order: Processes::lock, then a Process's lock.
#include "kernel/task/processes.h"

#include "kernel/base/memory.h"
#include "kernel/task/futex.h"
#include "kernel/task/processor.h"
#include "kernel/task/random.h"
#include "kernel/task/zygote.h"

namespace teacup {

void ControllingTerminal::destroy(ControllingTerminal* terminal) {
  teacup::destroy(terminal);
}
void Session::destroy(Session* session) {
  teacup::destroy(session);
}
void ProcessGroup::destroy(ProcessGroup* group) {
  teacup::destroy(group);
}

namespace {

void describe_xstate(Processes& processes) {
  constexpr u64 kTiles = u64{3} << 17;
  u64 mask = arena().xsave_mask & ~kTiles;
  processes.xstate_mask = mask;
  processes.xstate_size = arena().xsave_size;
#ifndef TEACUP_HOSTED
  if (mask == 0 || mask == arena().xsave_mask) return;
  u64 size = 576;
  for (u32 component = 2; component < 63; component++) {
    if ((mask >> component & 1) == 0) continue;
    u32 eax = 0xd, ebx, ecx = component, edx;
    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (u64{eax} + ebx > size) size = u64{eax} + ebx;
  }
  processes.xstate_size = size;
#endif
}

}  // namespace

void processes_start() {
  auto table = HeapArray<Processes::Slot>::create(kPidMax);
  Processes* processes = make<Processes>().value_or(nullptr);
  if (processes == nullptr || !table.ok()) panic("no memory for the process table");
  processes->slots_ = std::move(table).value();
  const abi::BootConfig& config = abi::boot_config();
  size_t length = config.hostname.length < 64 ? config.hostname.length : 64;
  memcpy(processes->host_name, &arena_at<char>(config.hostname.offset), length);
  memcpy(processes->domain_name, "(none)", 7);
  describe_xstate(*processes);
  set_root(Root::kProcesses, processes);
  random_start(config.random_seed);
  // Unit tests have no configuration.
  auto model = arena().config_offset != 0 ? static_cast<abi::CpuModel>(abi::boot_config().cpu_model)
                                          : abi::CpuModel::kHost;
  processor_start(model);
  futexes_start();
  zygotes_start();
}

Ref<Task> Processes::find_task(s32 tid) {
  LockGuard guard(lock);
  return Ref<Task>::share(task_locked(tid));
}

Ref<Process> Processes::find_process(s32 pid) {
  LockGuard guard(lock);
  return Ref<Process>::share(process_locked(pid));
}

Ref<ProcessGroup> Processes::find_group(s32 id) {
  LockGuard guard(lock);
  return Ref<ProcessGroup>::share(group_locked(id));
}

Ref<Process> Processes::next_process(s32 after) {
  LockGuard guard(lock);
  for (s32 pid = after < 0 ? 1 : after + 1; pid < kPidMax && pid <= highest_; pid++) {
    if (slot(pid).process != nullptr) return Ref<Process>::share(slot(pid).process);
  }
  return nullptr;
}

Ref<Task> Processes::next_task(Process& process, s32 after) {
  LockGuard guard(process.lock);
  Task* best = nullptr;
  for (Task& task : process.tasks) {
    if (task.tid > after && (best == nullptr || task.tid < best->tid)) best = &task;
  }
  return Ref<Task>::share(best);
}

Result<s32> Processes::allocate_pid_locked() {
  constexpr s32 kReserved = 300;
  for (s32 tries = 0; tries < kPidMax; tries++) {
    s32 pid = last_pid + 1;
    if (pid >= kPidMax) pid = kReserved;
    last_pid = pid;
    if (slot(pid).in_use()) continue;
    if (pid > highest_) highest_ = pid;
    return pid;
  }
  return Errno::AGAIN;
}

void Processes::join_group_locked(Process& process, Ref<ProcessGroup> group) {
  group->members.push_back(process);
  if (group->members.front() == group->members.back()) {
    set_group_locked(group->id, group.get());
    set_session_locked(group->session->id, group->session.get());
    group->session->group_count++;
  }
  process.group = std::move(group);
}

void Processes::leave_group_locked(Process& process) {
  if (!process.group) return;
  ProcessGroup& group = *process.group;
  group.members.remove(process);
  if (group.members.empty()) {
    set_group_locked(group.id, nullptr);
    if (--group.session->group_count == 0) set_session_locked(group.session->id, nullptr);
  }
}

bool Processes::is_orphaned_locked(ProcessGroup& group, const Process* without) {
  for (Process& member : group.members) {
    if (&member == without || member.zombie || member.parent == nullptr) continue;
    Process& parent = *member.parent;
    if (parent.group && parent.group.get() != &group && parent.group->session == group.session) return false;
  }
  return true;
}

// --- What others may see of a task.

Ref<fs::FdTable> files_of(Task& task) {
  LockGuard guard(task.process->lock);
  return task.files;
}
Ref<fs::FsContext> fs_of(Task& task) {
  LockGuard guard(task.process->lock);
  return task.fs;
}
Ref<mm::AddressSpace> memory_of(Task& task) {
  LockGuard guard(task.process->lock);
  return task.memory;
}
Ref<ProgramRequest> program_of(Process& process) {
  LockGuard guard(process.lock);
  return process.program;
}
Credentials credentials_of(Task& task) {
  LockGuard guard(task.process->lock);
  return task.credentials;
}

char state_letter(Task& task) {
  if (task.in_stop) return 'T';
  switch (task.mode.load(std::memory_order_relaxed)) {
    case Mode::kDead:
      return 'Z';
    case Mode::kParked:
      return task.lend_state.load(std::memory_order_relaxed) != 0 ? 'D' : 'S';
    default:
      return 'R';
  }
}

char state_letter(Process& process) {
  if (process.zombie) return 'Z';
  LockGuard guard(process.lock);
  if (process.stopped) return 'T';
  Task* leader = process.leader();
  return leader != nullptr ? state_letter(*leader) : 'Z';
}

void dump_tasks(void (*line)(void* context, std::string_view text), void* context) {
  Processes& all = processes();
  bool locked = all.lock.try_lock();
  if (!locked) line(context, "teacup: the process table is locked; what follows may be out of date");
  u64 now = gate::monotonic_now();
  char buffer[256];
  for (s32 tid = 1; tid < kPidMax; tid++) {
    Task* task = all.task_locked(tid);
    if (task == nullptr) continue;
    TextBuffer text(buffer);
    const char* what = task->waiting_for.load(std::memory_order_relaxed);
    u64 since = task->waiting_since.load(std::memory_order_relaxed);
    text.add("teacup: task ").dec(tid).add(" of ").dec(task->pid()).add(" (").add(task->name).add(") ");
    text.add(state_letter(*task));
    text.add(" pending ").hex(task->pending.load(std::memory_order_relaxed)).add(" blocked ");
    text.hex(task->signals.blocked, 16).add(" host ").udec(task->host_tid.load(std::memory_order_relaxed));
    if (what != nullptr) {
      text.add(" waits for ").add(what);
      if (since != 0) text.add(" for ").udec((now - since) / 1'000'000).add(" ms");
    }
    line(context, text.text());
  }
  for (s32 pid = 1; pid < kPidMax; pid++) {
    Process* process = all.process_locked(pid);
    if (process == nullptr || !process->zombie) continue;
    TextBuffer text(buffer);
    text.add("teacup: process ").dec(pid).add(" is a zombie, status ").hex(process->wait_status);
    line(context, text.text());
  }
  if (locked) all.lock.unlock();
}

}  // namespace teacup
