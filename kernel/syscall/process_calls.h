// Processes: making, ending, waiting for and arranging them; identity; limits and scheduling; what the
// machine is. Handlers are in process_calls.cc, identity_calls.cc, control_calls.cc and schedule_calls.cc.
#pragma once

#include "kernel/abi/process.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/table.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

namespace abi {

struct CloneArgs {  // struct clone_args
  u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  u64 set_tid, set_tid_size, cgroup;
};
struct Rusage {
  Timeval user, system;
  s64 maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock, msgsnd, msgrcv, nsignals, nvcsw,
      nivcsw;
};
struct Rlimit {
  u64 soft, hard;
};
struct Tms {
  s64 utime, stime, cutime, cstime;
};
struct Utsname {
  char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
};
struct Sysinfo {
  s64 uptime;
  u64 loads[3];
  u64 totalram, freeram, sharedram, bufferram, totalswap, freeswap;
  u16 procs, pad;
  u64 totalhigh, freehigh;
  u32 mem_unit;
  u32 pad2_;
};
struct CapHeader {
  u32 version;
  s32 pid;
};
struct CapData {
  u32 effective, permitted, inheritable;
};
struct SchedParam {
  s32 priority;
};
struct SchedAttr {
  u32 size, policy;
  u64 flags;
  s32 nice;
  u32 priority;
  u64 runtime, deadline, period;
};

}  // namespace abi

// --- process_calls.cc
Result<s32> sys_fork(Task& task);
Result<s32> sys_vfork(Task& task);
Result<s32> sys_clone(Task& task, CloneFlags flags, CloneStack stack, CloneParentTid parent_tid,
                      CloneChildTid child_tid, CloneTls tls);
Result<s32> sys_clone3(Task& task, CloneArgsIn arguments, size_t size);
Result<Control> sys_execve(Task& task, GuestString path, StringArray arguments, Environment environment);
Result<Control> sys_execveat(Task& task, Fd directory, GuestString path, StringArray arguments,
                             Environment environment, AtFlags flags);
Result<void> sys_exit(Task& task, int code);
Result<void> sys_exit_group(Task& task, int code);
Result<s32> sys_wait4(Task& task, s32 pid, WaitStatus status, WaitOptions options,
                      GuestOut<abi::Rusage> usage);
Result<void> sys_waitid(Task& task, WaitKind kind, s32 id, GuestOut<abi::SigInfo> info, WaitOptions options,
                        GuestOut<abi::Rusage> usage);
Result<s32> sys_getpid(Task& task);
Result<s32> sys_getppid(Task& task);
Result<s32> sys_gettid(Task& task);
Result<s32> sys_getpgrp(Task& task);
Result<s32> sys_getpgid(Task& task, s32 pid);
Result<s32> sys_getsid(Task& task, s32 pid);
Result<void> sys_setpgid(Task& task, s32 pid, s32 group);
Result<s32> sys_setsid(Task& task);
Result<s32> sys_set_tid_address(Task& task, GuestAddress address);

// --- identity_calls.cc
Result<u32> sys_getuid(Task& task);
Result<u32> sys_geteuid(Task& task);
Result<u32> sys_getgid(Task& task);
Result<u32> sys_getegid(Task& task);
Result<void> sys_getresuid(Task& task, NumberOut real, NumberOut effective, NumberOut saved);
Result<void> sys_getresgid(Task& task, NumberOut real, NumberOut effective, NumberOut saved);
Result<void> sys_setuid(Task& task, u32 id);
Result<void> sys_setgid(Task& task, u32 id);
Result<void> sys_setreuid(Task& task, UserId real, UserId effective);
Result<void> sys_setregid(Task& task, UserId real, UserId effective);
Result<void> sys_setresuid(Task& task, UserId real, UserId effective, UserId saved);
Result<void> sys_setresgid(Task& task, UserId real, UserId effective, UserId saved);
Result<u32> sys_setfsuid(Task& task, u32 id);
Result<u32> sys_setfsgid(Task& task, u32 id);
Result<u32> sys_getgroups(Task& task, s32 size, GuestOut<u32> groups);
Result<void> sys_setgroups(Task& task, s32 count, GuestIn<u32> groups);
Result<void> sys_capget(Task& task, GuestInOut<abi::CapHeader> header, GuestOut<abi::CapData> data);
Result<void> sys_capset(Task& task, GuestInOut<abi::CapHeader> header, GuestIn<abi::CapData> data);

// --- control_calls.cc
Result<s64> sys_prctl(Task& task, PrctlOption option, PrctlArgument a, PrctlRest b, PrctlRest c, PrctlRest d);
Result<s64> sys_arch_prctl(Task& task, ArchPrctlCode code, ArchPrctlArgument address);
Result<u64> sys_personality(Task& task, u32 persona);
Result<void> sys_uname(Task& task, GuestOut<abi::Utsname> name);
Result<void> sys_sethostname(Task& task, GuestIn<char> name, s32 length);
Result<void> sys_setdomainname(Task& task, GuestIn<char> name, s32 length);
Result<void> sys_sysinfo(Task& task, GuestOut<abi::Sysinfo> info);
Result<size_t> sys_getrandom(Task& task, RandomBytes buffer, size_t size, RandomFlags flags);
Result<s32> sys_membarrier(Task& task, int command, u32 flags, int cpu);
Result<void> sys_unshare(Task& task, UnshareFlags flags);
Result<s64> sys_seccomp(Task& task, u32 operation, u32 flags, GuestAddress arguments);

// --- schedule_calls.cc
Result<void> sys_getrlimit(Task& task, Resource resource, GuestOut<abi::Rlimit> limit);
Result<void> sys_setrlimit(Task& task, Resource resource, GuestIn<abi::Rlimit> limit);
Result<void> sys_prlimit64(Task& task, s32 pid, Resource resource, GuestIn<abi::Rlimit> next,
                           GuestOut<abi::Rlimit> old);
Result<void> sys_getrusage(Task& task, UsageOf who, GuestOut<abi::Rusage> usage);
Result<s64> sys_times(Task& task, GuestOut<abi::Tms> times);
Result<void> sys_sched_yield(Task& task);
Result<void> sys_sched_setaffinity(Task& task, s32 pid, u32 size, CpuSetIn mask);
Result<u32> sys_sched_getaffinity(Task& task, s32 pid, u32 size, CpuSetOut mask);
Result<void> sys_sched_setscheduler(Task& task, s32 pid, Scheduler policy,
                                    GuestIn<abi::SchedParam> parameter);
Result<s32> sys_sched_getscheduler(Task& task, s32 pid);
Result<void> sys_sched_setparam(Task& task, s32 pid, GuestIn<abi::SchedParam> parameter);
Result<void> sys_sched_getparam(Task& task, s32 pid, GuestOut<abi::SchedParam> parameter);
Result<void> sys_sched_setattr(Task& task, s32 pid, GuestIn<abi::SchedAttr> attributes, u32 flags);
Result<void> sys_sched_getattr(Task& task, s32 pid, GuestOut<abi::SchedAttr> attributes, u32 size, u32 flags);
Result<s32> sys_sched_get_priority_max(Task& task, Scheduler policy);
Result<s32> sys_sched_get_priority_min(Task& task, Scheduler policy);
Result<void> sys_sched_rr_get_interval(Task& task, s32 pid, GuestOut<abi::Timespec> interval);
Result<s32> sys_getpriority(Task& task, PriorityOf which, s32 who);
Result<void> sys_setpriority(Task& task, PriorityOf which, s32 who, int nice);
Result<s32> sys_ioprio_get(Task& task, int which, s32 who);
Result<void> sys_ioprio_set(Task& task, int which, s32 who, int priority);
Result<void> sys_getcpu(Task& task, NumberOut cpu, NumberOut node);

}  // namespace teacup
