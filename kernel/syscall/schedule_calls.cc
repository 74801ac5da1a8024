// Limits, usage and scheduling. The host schedules: policies, priorities and affinities are checked and
// remembered, so that programs see what they set, and change nothing.
#include "kernel/base/memory.h"
#include "kernel/syscall/process_calls.h"
#include "kernel/task/process_timers.h"
#include "kernel/task/processes.h"
#include "kernel/time/clock.h"

namespace teacup {

namespace {

constexpr int kCapSysNice = 23, kCapSysResource = 24;

Result<Ref<Task>> task_or_self(Task& task, s32 tid) {
  if (tid < 0) return Errno::INVAL;
  if (tid == 0 || tid == task.tid) return Ref<Task>::share(&task);
  Ref<Task> other = processes().find_task(tid);
  if (!other) return Errno::SRCH;
  return other;
}

bool may_change(Task& task, Task& other) {
  if (&task == &other || task.credentials.has(kCapSysNice)) return true;
  Credentials theirs = credentials_of(other);
  return task.credentials.euid == theirs.uid || task.credentials.euid == theirs.euid;
}

}  // namespace

// getrlimit(2), setrlimit(2), prlimit(2).
Result<void> sys_getrlimit(Task& task, Resource resource, GuestOut<abi::Rlimit> limit) {
  if (resource >= abi::kRLIM_NLIMITS) return Errno::INVAL;
  ResourceLimit value;
  {
    LockGuard guard(task.process->lock);
    value = task.process->limits[resource];
  }
  return limit.write({value.soft, value.hard});
}

Result<void> sys_setrlimit(Task& task, Resource resource, GuestIn<abi::Rlimit> limit) {
  return sys_prlimit64(task, 0, resource, limit, {});
}

Result<void> sys_prlimit64(Task& task, s32 pid, Resource resource, GuestIn<abi::Rlimit> next,
                           GuestOut<abi::Rlimit> old) {
  if (resource >= abi::kRLIM_NLIMITS) return Errno::INVAL;
  abi::Rlimit wanted{};
  if (next) {
    wanted = TRY(next.read());
    if (wanted.soft > wanted.hard) return Errno::INVAL;
    constexpr u64 kMostFiles = 1048576;  // fs.nr_open
    if (resource == abi::kRLIMIT_NOFILE && wanted.hard > kMostFiles) return Errno::PERM;
  }
  if (pid < 0) return Errno::SRCH;
  Ref<Task> target = TRY(task_or_self(task, pid));
  if (target->process != task.process) {
    const Credentials& mine = task.credentials;
    Credentials theirs = credentials_of(*target);
    bool same = mine.uid == theirs.uid && mine.uid == theirs.euid && mine.uid == theirs.suid &&
                mine.gid == theirs.gid && mine.gid == theirs.egid && mine.gid == theirs.sgid;
    if (!same && !mine.has(kCapSysResource)) return Errno::PERM;
  }
  ResourceLimit before;
  {
    Process& process = *target->process;
    LockGuard guard(process.lock);
    before = process.limits[resource];
    if (next) {
      if (wanted.hard > before.hard && !task.credentials.has(kCapSysResource)) return Errno::PERM;
      process.limits[resource] = {wanted.soft, wanted.hard};
    }
  }
  if (next && resource == abi::kRLIMIT_CPU) watch_cpu_limit(*target->process);
  if (old) TRY(old.write({before.soft, before.hard}));
  return {};
}

// getrusage(2). Differs from Linux: all CPU time counts as user time, and most other fields are 0.
Result<void> sys_getrusage(Task& task, UsageOf who, GuestOut<abi::Rusage> usage) {
  abi::Rusage value{};
  CpuTimes times;
  switch (who) {
    case abi::kRUSAGE_SELF:
      times = cpu_times(*task.process);
      value.maxrss = static_cast<s64>(task.memory->totals().peak * (kPageSize / KiB));
      break;
    case abi::kRUSAGE_THREAD:
      times = cpu_times(task);
      value.maxrss = static_cast<s64>(task.memory->totals().peak * (kPageSize / KiB));
      break;
    case abi::kRUSAGE_CHILDREN: {
      LockGuard tree(processes().lock);
      times = task.process->children_times;
      value.maxrss = static_cast<s64>(task.process->children_max_rss);
      break;
    }
    default:
      return Errno::INVAL;
  }
  value.user = to_timeval(times.user);
  value.system = to_timeval(times.system);
  return usage.write(value);
}

// times(2).
Result<s64> sys_times(Task& task, GuestOut<abi::Tms> times) {
  constexpr u64 kTick = kSecond / 100;
  if (times) {
    CpuTimes own = cpu_times(*task.process);
    CpuTimes children;
    {
      LockGuard tree(processes().lock);
      children = task.process->children_times;
    }
    auto ticks = [](u64 ns) { return static_cast<s64>(ns / kTick); };
    TRY(times.write({ticks(own.user), ticks(own.system), ticks(children.user), ticks(children.system)}));
  }
  return static_cast<s64>(gate::monotonic_now() / kTick);
}

// sched_yield(2).
Result<void> sys_sched_yield(Task&) {
  gate::yield();
  return {};
}

// sched_setaffinity(2), sched_getaffinity(2). A negative pid is one that does not exist, unlike in the other
// calls.
Result<void> sys_sched_setaffinity(Task& task, s32 pid, u32 size, CpuSetIn mask) {
  if (pid < 0) return Errno::SRCH;
  Ref<Task> target = TRY(task_or_self(task, pid));
  u64 wanted = 0;
  TRY(copy_from_guest(&wanted, mask.address(), size < sizeof wanted ? size : sizeof wanted));
  if (!may_change(task, *target)) return Errno::PERM;
  u32 cpus = arena().cpu_count;
  u64 present = cpus >= 64 ? ~u64{0} : (u64{1} << cpus) - 1;
  if ((wanted & present) == 0) return Errno::INVAL;
  target->affinity = wanted & present;
  return {};
}

Result<u32> sys_sched_getaffinity(Task& task, s32 pid, u32 size, CpuSetOut mask) {
  u32 cpus = arena().cpu_count;
  u32 bytes = (cpus + 63) / 64 * 8;
  if (size < bytes || size % 8 != 0) return Errno::INVAL;
  if (pid < 0) return Errno::SRCH;
  Ref<Task> target = TRY(task_or_self(task, pid));
  u8 bits[128] = {};
  if (bytes > sizeof bits) bytes = sizeof bits;
  for (u32 cpu = 0; cpu < bytes * 8 && cpu < cpus; cpu++) {
    bool in = cpu >= 64 || (target->affinity >> cpu & 1) != 0;
    if (in) bits[cpu / 8] = static_cast<u8>(bits[cpu / 8] | 1 << cpu % 8);
  }
  TRY(copy_to_guest(mask.address(), bits, bytes));
  return bytes;
}

namespace {

bool is_real_time(int policy) {
  return policy == abi::kSCHED_FIFO || policy == abi::kSCHED_RR;
}

Result<void> check_policy(Task& task, Task& target, int policy, s32 priority) {
  bool known = policy == abi::kSCHED_NORMAL || policy == abi::kSCHED_BATCH || policy == abi::kSCHED_IDLE ||
               is_real_time(policy);
  if (!known) return Errno::INVAL;
  if (is_real_time(policy) ? priority < 1 || priority > 99 : priority != 0) return Errno::INVAL;
  if (!may_change(task, target)) return Errno::PERM;
  if (is_real_time(policy) && !task.credentials.has(kCapSysNice) &&
      static_cast<u64>(priority) > task.process->limit(abi::kRLIMIT_RTPRIO)) {
    return Errno::PERM;
  }
  return {};
}

}  // namespace

// sched_setscheduler(2) and its kin.
Result<void> sys_sched_setscheduler(Task& task, s32 pid, Scheduler policy,
                                    GuestIn<abi::SchedParam> parameter) {
  if (policy < 0 || !parameter) return Errno::INVAL;
  Ref<Task> target = TRY(task_or_self(task, pid));
  s32 priority = TRY(parameter.read()).priority;
  int plain = policy & ~abi::kSCHED_RESET_ON_FORK;
  TRY(check_policy(task, *target, plain, priority));
  target->scheduler_policy = plain;
  target->scheduler_priority = priority;
  return {};
}

Result<s32> sys_sched_getscheduler(Task& task, s32 pid) {
  Ref<Task> target = TRY(task_or_self(task, pid));
  return target->scheduler_policy;
}

Result<void> sys_sched_setparam(Task& task, s32 pid, GuestIn<abi::SchedParam> parameter) {
  if (!parameter) return Errno::INVAL;
  Ref<Task> target = TRY(task_or_self(task, pid));
  s32 priority = TRY(parameter.read()).priority;
  TRY(check_policy(task, *target, target->scheduler_policy, priority));
  target->scheduler_priority = priority;
  return {};
}

Result<void> sys_sched_getparam(Task& task, s32 pid, GuestOut<abi::SchedParam> parameter) {
  if (!parameter) return Errno::INVAL;
  Ref<Task> target = TRY(task_or_self(task, pid));
  return parameter.write({target->scheduler_priority});
}

Result<void> sys_sched_setattr(Task& task, s32 pid, GuestIn<abi::SchedAttr> attributes, u32 flags) {
  if (!attributes || flags != 0) return Errno::INVAL;
  abi::SchedAttr wanted = TRY(attributes.read());
  Ref<Task> target = TRY(task_or_self(task, pid));
  TRY(check_policy(task, *target, static_cast<int>(wanted.policy), static_cast<s32>(wanted.priority)));
  target->scheduler_policy = static_cast<s32>(wanted.policy);
  target->scheduler_priority = static_cast<s32>(wanted.priority);
  if (!is_real_time(target->scheduler_policy)) target->nice = wanted.nice;
  return {};
}

Result<void> sys_sched_getattr(Task& task, s32 pid, GuestOut<abi::SchedAttr> attributes, u32 size,
                               u32 flags) {
  if (!attributes || flags != 0 || size < sizeof(abi::SchedAttr)) return Errno::INVAL;
  Ref<Task> target = TRY(task_or_self(task, pid));
  abi::SchedAttr value{};
  value.size = sizeof value;
  value.policy = static_cast<u32>(target->scheduler_policy);
  value.nice = target->nice;
  value.priority = static_cast<u32>(target->scheduler_priority);
  return attributes.write(value);
}

Result<s32> sys_sched_get_priority_max(Task&, Scheduler policy) {
  if (is_real_time(policy)) return 99;
  if (policy < 0 || policy == 4 || policy > abi::kSCHED_DEADLINE) return Errno::INVAL;
  return 0;
}
Result<s32> sys_sched_get_priority_min(Task&, Scheduler policy) {
  if (is_real_time(policy)) return 1;
  if (policy < 0 || policy == 4 || policy > abi::kSCHED_DEADLINE) return Errno::INVAL;
  return 0;
}

Result<void> sys_sched_rr_get_interval(Task& task, s32 pid, GuestOut<abi::Timespec> interval) {
  Ref<Task> target = TRY(task_or_self(task, pid));
  u64 slice = target->scheduler_policy == abi::kSCHED_FIFO ? 0 : 4'000'000;
  return interval.write(to_timespec(slice));
}

namespace {

constexpr int kPrioProcess = 0, kPrioGroup = 1, kPrioUser = 2;

// Calls visit(task) for each that `which` and `who` name. ESRCH: none.
template <typename Visit>
Result<void> for_each_named(Task& task, int which, s32 who, Visit visit) {
  if (which < kPrioProcess || which > kPrioUser) return Errno::INVAL;
  if (which == kPrioProcess) {
    Ref<Task> target = who == 0 ? Ref<Task>::share(&task) : processes().find_task(who);
    if (!target) return Errno::SRCH;
    visit(*target);
    return {};
  }
  bool found = false;
  for (Ref<Process> process = processes().next_process(0); process;
       process = processes().next_process(process->pid)) {
    {
      LockGuard tree(processes().lock);
      if (which == kPrioGroup &&
          (!process->group || process->group->id != (who != 0 ? who : task.process->group->id)))
        continue;
    }
    LockGuard guard(process->lock);
    for (Task& other : process->tasks) {
      u32 uid = who != 0 ? static_cast<u32>(who) : task.credentials.uid;
      if (which == kPrioUser && other.credentials.uid != uid) continue;
      found = true;
      visit(other);
    }
  }
  if (!found) return Errno::SRCH;
  return {};
}

}  // namespace

// getpriority(2): 20 - nice, as the system call has it.
Result<s32> sys_getpriority(Task& task, PriorityOf which, s32 who) {
  s32 best = 0;
  TRY(for_each_named(task, which, who, [&](Task& other) {
    if (20 - other.nice > best) best = 20 - other.nice;
  }));
  return best;
}

Result<void> sys_setpriority(Task& task, PriorityOf which, s32 who, int nice) {
  nice = nice < -20 ? -20 : nice > 19 ? 19 : nice;
  Errno error = Errno::OK;
  TRY(for_each_named(task, which, who, [&](Task& other) {
    const Credentials& mine = task.credentials;
    bool same = mine.euid == other.credentials.uid || mine.euid == other.credentials.euid;
    if (!same && !mine.has(kCapSysNice)) {
      error = Errno::PERM;
    } else if (nice < other.nice && !mine.has(kCapSysNice)) {
      error = Errno::ACCES;
    } else {
      other.nice = nice;
    }
  }));
  if (error != Errno::OK) return error;
  return {};
}

// ioprio_get(2), ioprio_set(2): there is one class for all, best effort, 4.
Result<s32> sys_ioprio_get(Task&, int which, s32) {
  if (which < 1 || which > 3) return Errno::INVAL;
  return 2 << 13 | 4;
}
Result<void> sys_ioprio_set(Task&, int which, s32, int) {
  if (which < 1 || which > 3) return Errno::INVAL;
  return {};
}

// getcpu(2). The host may move a thread at any time, so any answer is as good: from the processor's own
// number (rdtscp's third result, which Linux hosts fill in), without a host call.
Result<void> sys_getcpu(Task&, NumberOut cpu, NumberOut node) {
  u32 low, high, number = 0;
#ifndef TEACUP_HOSTED
  asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(number));
#else
  low = high = 0;
#endif
  (void)low;
  (void)high;
  number &= 0xfff;
  if (number >= arena().cpu_count) number = 0;
  if (cpu) TRY(cpu.write(number));
  if (node) TRY(node.write(0));
  return {};
}

}  // namespace teacup
