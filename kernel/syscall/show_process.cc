// --trace: processes, their limits, and futexes.
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"

namespace teacup::show {

namespace {

#define N TEACUP_NAME
constexpr Name kCloneBits[] = {N(CLONE_VM),
                               N(CLONE_FS),
                               N(CLONE_FILES),
                               N(CLONE_SIGHAND),
                               N(CLONE_PIDFD),
                               N(CLONE_PTRACE),
                               N(CLONE_VFORK),
                               N(CLONE_PARENT),
                               N(CLONE_THREAD),
                               N(CLONE_NEWNS),
                               N(CLONE_SYSVSEM),
                               N(CLONE_SETTLS),
                               N(CLONE_PARENT_SETTID),
                               N(CLONE_CHILD_CLEARTID),
                               N(CLONE_DETACHED),
                               N(CLONE_UNTRACED),
                               N(CLONE_CHILD_SETTID),
                               N(CLONE_NEWCGROUP),
                               N(CLONE_NEWUTS),
                               N(CLONE_NEWIPC),
                               N(CLONE_NEWUSER),
                               N(CLONE_NEWPID),
                               N(CLONE_NEWNET),
                               N(CLONE_IO),
                               N(CLONE_CLEAR_SIGHAND),
                               N(CLONE_INTO_CGROUP)};
constexpr Names kClone{{}, 0, kCloneBits, "CLONE_???"};
constexpr Name kWaitBits[] = {N(WNOHANG), N(WSTOPPED), N(WEXITED), N(WCONTINUED),
                              N(WNOWAIT), N(__WCLONE), N(__WALL),  N(__WNOTHREAD)};
constexpr Names kWaitOptions{{}, 0, kWaitBits, "W???"};
constexpr Name kWaitKinds[] = {N(P_ALL), N(P_PID), N(P_PGID), N(P_PIDFD)};
constexpr Names kWaitKind{kWaitKinds, ~u64{0}, {}, "P_???"};
constexpr Name kPrctls[] = {N(PR_SET_PDEATHSIG),
                            N(PR_GET_PDEATHSIG),
                            N(PR_GET_DUMPABLE),
                            N(PR_SET_DUMPABLE),
                            N(PR_GET_KEEPCAPS),
                            N(PR_SET_KEEPCAPS),
                            N(PR_GET_TIMING),
                            N(PR_SET_TIMING),
                            N(PR_SET_NAME),
                            N(PR_GET_NAME),
                            N(PR_GET_SECCOMP),
                            N(PR_SET_SECCOMP),
                            N(PR_CAPBSET_READ),
                            N(PR_CAPBSET_DROP),
                            N(PR_GET_TSC),
                            N(PR_SET_TSC),
                            N(PR_GET_SECUREBITS),
                            N(PR_SET_SECUREBITS),
                            N(PR_SET_TIMERSLACK),
                            N(PR_GET_TIMERSLACK),
                            N(PR_SET_MM),
                            N(PR_SET_CHILD_SUBREAPER),
                            N(PR_GET_CHILD_SUBREAPER),
                            N(PR_SET_NO_NEW_PRIVS),
                            N(PR_GET_NO_NEW_PRIVS),
                            N(PR_GET_TID_ADDRESS),
                            N(PR_SET_THP_DISABLE),
                            N(PR_GET_THP_DISABLE),
                            N(PR_CAP_AMBIENT),
                            N(PR_SET_PTRACER),
                            N(PR_SET_VMA)};
constexpr Names kPrctl{kPrctls, ~u64{0}, {}, "PR_???"};
constexpr Name kArchPrctls[] = {N(ARCH_SET_GS),         N(ARCH_SET_FS),         N(ARCH_GET_FS),
                                N(ARCH_GET_GS),         N(ARCH_GET_CPUID),      N(ARCH_SET_CPUID),
                                N(ARCH_GET_XCOMP_SUPP), N(ARCH_GET_XCOMP_PERM), N(ARCH_REQ_XCOMP_PERM)};
constexpr Names kArchPrctl{kArchPrctls, ~u64{0}, {}, "ARCH_???"};
constexpr Name kRandomBits[] = {N(GRND_NONBLOCK), N(GRND_RANDOM), N(GRND_INSECURE)};
constexpr Names kRandom{{}, 0, kRandomBits, "GRND_???"};
constexpr Name kResources[] = {N(RLIMIT_CPU),      N(RLIMIT_FSIZE), N(RLIMIT_DATA),   N(RLIMIT_STACK),
                               N(RLIMIT_CORE),     N(RLIMIT_RSS),   N(RLIMIT_NPROC),  N(RLIMIT_NOFILE),
                               N(RLIMIT_MEMLOCK),  N(RLIMIT_AS),    N(RLIMIT_LOCKS),  N(RLIMIT_SIGPENDING),
                               N(RLIMIT_MSGQUEUE), N(RLIMIT_NICE),  N(RLIMIT_RTPRIO), N(RLIMIT_RTTIME)};
constexpr Names kResource{kResources, ~u64{0}, {}, "RLIMIT_???"};
constexpr Name kUsages[] = {
    N(RUSAGE_SELF), N(RUSAGE_THREAD), {static_cast<u32>(abi::kRUSAGE_CHILDREN), "RUSAGE_CHILDREN"}};
constexpr Names kUsage{kUsages, ~u64{0}, {}, "RUSAGE_???"};
constexpr Name kPolicies[] = {{abi::kSCHED_NORMAL, "SCHED_OTHER"},
                              N(SCHED_FIFO),
                              N(SCHED_RR),
                              N(SCHED_BATCH),
                              N(SCHED_IDLE),
                              N(SCHED_DEADLINE)};
constexpr Name kPolicyBits[] = {N(SCHED_RESET_ON_FORK)};
constexpr Names kPolicy{kPolicies, 0xffff, kPolicyBits, "SCHED_???"};
constexpr Name kPriorities[] = {{0, "PRIO_PROCESS"}, {1, "PRIO_PGRP"}, {2, "PRIO_USER"}};
constexpr Names kPriority{kPriorities, ~u64{0}, {}, "PRIO_???"};

constexpr Name kFutexes[] = {N(FUTEX_WAIT),           N(FUTEX_WAKE),        N(FUTEX_FD),
                             N(FUTEX_REQUEUE),        N(FUTEX_CMP_REQUEUE), N(FUTEX_WAKE_OP),
                             N(FUTEX_LOCK_PI),        N(FUTEX_UNLOCK_PI),   N(FUTEX_TRYLOCK_PI),
                             N(FUTEX_WAIT_BITSET),    N(FUTEX_WAKE_BITSET), N(FUTEX_WAIT_REQUEUE_PI),
                             N(FUTEX_CMP_REQUEUE_PI), N(FUTEX_LOCK_PI2)};
constexpr Names kFutex{kFutexes, ~u64{0}};
#undef N

u32 low(const CallText& call, u32 index) {
  return static_cast<u32>(call.registers[index]);
}

// --- clone(2): in strace's order, stack first.
void clone_flag_names(TextBuffer& text, u64 flags, u64 signal_bits) {
  u64 signal_number = flags & signal_bits;
  u64 bits = flags & ~signal_bits;
  if (bits != 0 || signal_number == 0) names(text, kClone, bits);
  if (signal_number == 0) return;
  if (bits != 0) text.add('|');
  signal(text, static_cast<s32>(signal_number));
}
void print_clone_flags(CallText& call, u32 index, const Printer&) {
  call.text.add("child_stack=");
  pointer(call.text, call.registers[1]);
  call.text.add(", flags=");
  clone_flag_names(call.text, call.registers[index] & 0xffffffff, 0xff);
}
// The thread's number, which was also written there; by now the thread may have ended and cleared it.
void new_tid(CallText& call) {
  call.text.add('[').dec(call.result).add(']');
}
void print_clone_parent_tid(CallText& call, u32 index, const Printer&) {
  u64 flags = call.registers[0];
  if ((flags & (abi::kCLONE_PARENT_SETTID | abi::kCLONE_PIDFD)) == 0) return;
  bool is_pidfd = (flags & abi::kCLONE_PARENT_SETTID) == 0;
  call.text.add(is_pidfd ? "pidfd=" : "parent_tid=");
  s32 pidfd = -1;
  if (call.failed()) {
    pointer(call.text, call.registers[index]);
  } else if (!is_pidfd) {
    new_tid(call);
  } else if (read_or_pointer(call.text, call.registers[index], &pidfd, sizeof pidfd)) {
    call.text.add('[').dec(pidfd).add(']');
  }
}
void print_clone_child_tid(CallText& call, u32 index, const Printer&) {
  u64 flags = call.registers[0];
  bool has_tls = (flags & abi::kCLONE_SETTLS) != 0;
  if (has_tls) {
    call.text.add("tls=");
    pointer(call.text, call.registers[index + 1]);
  }
  if ((flags & (abi::kCLONE_CHILD_SETTID | abi::kCLONE_CHILD_CLEARTID)) == 0) return;
  call.text.add(has_tls ? ", child_tidptr=" : "child_tidptr=");
  pointer(call.text, call.registers[index]);
}
void show_clone_args(TextBuffer& text, const abi::CloneArgs& value) {
  text.add("{flags=");
  names(text, kClone, value.flags);
  auto address_field = [&](u64 flag, std::string_view name, u64 address) {
    if ((value.flags & flag) == 0) return;
    text.add(name);
    pointer(text, address);
  };
  address_field(abi::kCLONE_PIDFD, ", pidfd=", value.pidfd);
  address_field(abi::kCLONE_CHILD_SETTID | abi::kCLONE_CHILD_CLEARTID, ", child_tid=", value.child_tid);
  address_field(abi::kCLONE_PARENT_SETTID, ", parent_tid=", value.parent_tid);
  text.add(", exit_signal=");
  signal(text, static_cast<s32>(value.exit_signal));
  text.add(", stack=");
  pointer(text, value.stack);
  text.add(", stack_size=").add(value.stack_size == 0 ? "" : "0x").hex(value.stack_size);
  address_field(abi::kCLONE_SETTLS, ", tls=", value.tls);
  text.add('}');
}
void print_clone_args(CallText& call, u32 index, const Printer&) {
  abi::CloneArgs value{};
  u64 size = call.registers[index + 1] < sizeof value ? call.registers[index + 1] : sizeof value;
  if (!read_or_pointer(call.text, call.registers[index], &value, size)) return;
  show_clone_args(call.text, value);
  if (call.failed() || (value.flags & abi::kCLONE_PARENT_SETTID) == 0) return;
  call.text.add(" => {parent_tid=");
  new_tid(call);
  call.text.add('}');
}
void print_unshare_flags(CallText& call, u32 index, const Printer&) {
  names(call.text, kClone, call.registers[index]);
}

// --- execve(2)
void print_string_array(CallText& call, u32 index, const Printer&) {
  u64 address = call.registers[index];
  u64 at = 0;
  if (address == 0 || !copy_from_guest(&at, address, sizeof at).ok()) return pointer(call.text, address);
  call.text.add('[');
  for (u64 i = 0; copy_from_guest(&at, address + i * sizeof at, sizeof at).ok() && at != 0; i++) {
    if (i > 0) call.text.add(", ");
    if (i == kLongestShown) {
      call.text.add("...");
      break;
    }
    string(call.text, at);
  }
  call.text.add(']');
}
void print_environment(CallText& call, u32 index, const Printer&) {
  u64 address = call.registers[index];
  pointer(call.text, address);
  if (address == 0) return;
  constexpr u64 kMost = 100'000;
  u64 count = 0;
  for (u64 at = 0; count < kMost; count++) {
    if (!copy_from_guest(&at, address + count * sizeof at, sizeof at).ok()) return;
    if (at == 0) break;
  }
  call.text.add(" /* ").udec(count).add(count == 1 ? " var */" : " vars */");
}

void print_wait_status(CallText& call, u32 index, const Printer&) {
  u32 status = 0;
  if (call.result <= 0) return pointer(call.text, call.registers[index]);
  if (!read_or_pointer(call.text, call.registers[index], &status, sizeof status)) return;
  call.text.add('[');
  wait_status(call.text, status);
  call.text.add(']');
}

// --- prctl(2), arch_prctl(2): the option is the register before.
void print_prctl_argument(CallText& call, u32 index, const Printer&) {
  u64 value = call.registers[index];
  switch (low(call, index - 1)) {
    case abi::kPR_GET_DUMPABLE:
    case abi::kPR_GET_KEEPCAPS:
    case abi::kPR_GET_SECCOMP:
    case abi::kPR_GET_TIMERSLACK:
    case abi::kPR_GET_TIMING:
    case abi::kPR_GET_SECUREBITS:
      return;
    case abi::kPR_SET_NAME:
      return string(call.text, value);
    case abi::kPR_GET_NAME:
      return call.failed() ? pointer(call.text, value) : string(call.text, value);
    case abi::kPR_SET_PDEATHSIG:
      return signal(call.text, static_cast<s32>(value));
    case abi::kPR_GET_PDEATHSIG:
    case abi::kPR_GET_CHILD_SUBREAPER: {
      s32 number = 0;
      if (!filled_or_pointer(call, index, &number, sizeof number)) return;
      call.text.add('[');
      if (low(call, index - 1) == abi::kPR_GET_PDEATHSIG) {
        signal(call.text, number);
      } else {
        call.text.dec(number);
      }
      call.text.add(']');
      return;
    }
    default:
      if (value > 0xffff) {
        call.text.add("0x").hex(value);
      } else {
        call.text.udec(value);
      }
  }
}
void print_prctl_rest(CallText& call, u32 index, const Printer&) {
  switch (low(call, 0)) {
    case abi::kPR_SET_NO_NEW_PRIVS:
    case abi::kPR_GET_NO_NEW_PRIVS:
    case abi::kPR_SET_THP_DISABLE:
    case abi::kPR_GET_THP_DISABLE:
    case abi::kPR_CAP_AMBIENT:
    case abi::kPR_SET_MM:
    case abi::kPR_SET_VMA:
      call.text.add(call.registers[index] == 0 ? "" : "0x").hex(call.registers[index]);
      return;
    default:
      return;
  }
}
void print_arch_prctl_argument(CallText& call, u32 index, const Printer&) {
  u32 code = low(call, index - 1);
  bool fills = code == abi::kARCH_GET_FS || code == abi::kARCH_GET_GS;
  u64 value = 0;
  if (!fills) {
    pointer(call.text, call.registers[index]);
  } else if (filled_or_pointer(call, index, &value, sizeof value)) {
    call.text.add("[0x").hex(value).add(']');
  }
}

void print_random_bytes(CallText& call, u32 index, const Printer&) {
  if (call.failed()) return pointer(call.text, call.registers[index]);
  bytes(call.text, call.registers[index], static_cast<u64>(call.result), true);
}

// --- Sets of processors: the size is the register before.
void processors(CallText& call, u32 index, u64 size) {
  u64 set = 0;
  if (size > sizeof set) size = sizeof set;
  if (!read_or_pointer(call.text, call.registers[index], &set, size)) return;
  call.text.add('[');
  for (bool first = true; set != 0; set &= set - 1, first = false) {
    call.text.add(first ? "" : " ").dec(__builtin_ctzll(set));
  }
  call.text.add(']');
}
void print_cpu_set_in(CallText& call, u32 index, const Printer&) {
  processors(call, index, low(call, index - 1));
}
void print_cpu_set_out(CallText& call, u32 index, const Printer&) {
  if (call.failed()) return pointer(call.text, call.registers[index]);
  processors(call, index, static_cast<u64>(call.result));
}
void print_number_out(CallText& call, u32 index, const Printer&) {
  u32 number = 0;
  if (filled_or_pointer(call, index, &number, sizeof number)) call.text.add('[').udec(number).add(']');
}

// --- futex(2): what the later arguments are depends on the operation.
u32 futex_command(const CallText& call) {
  return low(call, 1) & static_cast<u32>(abi::kFUTEX_CMD_MASK);
}
void print_futex_operation(CallText& call, u32 index, const Printer&) {
  u32 operation = low(call, index);
  std::string_view name = choice(kFutex, futex_command(call));
  if (name.empty()) {
    call.text.add("0x").hex(operation).add(" /* FUTEX_??? */");
    return;
  }
  call.text.add(name);
  if ((operation & abi::kFUTEX_PRIVATE_FLAG) != 0) call.text.add("_PRIVATE");
  if ((operation & abi::kFUTEX_CLOCK_REALTIME) != 0) call.text.add("|FUTEX_CLOCK_REALTIME");
}
void print_futex_value(CallText& call, u32 index, const Printer&) {
  switch (futex_command(call)) {
    case abi::kFUTEX_LOCK_PI:
    case abi::kFUTEX_LOCK_PI2:
    case abi::kFUTEX_UNLOCK_PI:
    case abi::kFUTEX_TRYLOCK_PI:
      return;
    default:
      call.text.udec(low(call, index));
  }
}
void print_futex_timeout(CallText& call, u32 index, const Printer&) {
  abi::Timespec time;
  switch (futex_command(call)) {
    case abi::kFUTEX_WAIT:
    case abi::kFUTEX_WAIT_BITSET:
    case abi::kFUTEX_LOCK_PI:
    case abi::kFUTEX_LOCK_PI2:
    case abi::kFUTEX_WAIT_REQUEUE_PI:
      if (read_or_pointer(call.text, call.registers[index], &time, sizeof time)) structure(call.text, time);
      return;
    case abi::kFUTEX_REQUEUE:
    case abi::kFUTEX_CMP_REQUEUE:
    case abi::kFUTEX_CMP_REQUEUE_PI:
    case abi::kFUTEX_WAKE_OP:
      call.text.udec(low(call, index));  // a second count
      return;
    default:
      return;
  }
}
void print_futex_target(CallText& call, u32 index, const Printer&) {
  switch (futex_command(call)) {
    case abi::kFUTEX_REQUEUE:
    case abi::kFUTEX_CMP_REQUEUE:
    case abi::kFUTEX_CMP_REQUEUE_PI:
    case abi::kFUTEX_WAIT_REQUEUE_PI:
    case abi::kFUTEX_WAKE_OP:
      return pointer(call.text, call.registers[index]);
    default:
      return;
  }
}
void print_futex_value3(CallText& call, u32 index, const Printer&) {
  u32 value = low(call, index);
  switch (futex_command(call)) {
    case abi::kFUTEX_WAIT_BITSET:
    case abi::kFUTEX_WAKE_BITSET:
      if (value == abi::kFUTEX_BITSET_MATCH_ANY) {
        call.text.add("FUTEX_BITSET_MATCH_ANY");
      } else {
        call.text.add("0x").hex(value);
      }
      return;
    case abi::kFUTEX_CMP_REQUEUE:
    case abi::kFUTEX_CMP_REQUEUE_PI:
      call.text.udec(value);
      return;
    case abi::kFUTEX_WAKE_OP:
      call.text.add("0x").hex(value);
      return;
    default:
      return;
  }
}

void limit_value(TextBuffer& text, u64 value) {
  if (value == ~u64{0}) {
    text.add("RLIM64_INFINITY");
  } else if (value > 1024 && value % 1024 == 0) {
    text.udec(value / 1024).add("*1024");
  } else {
    text.udec(value);
  }
}

void text_field(TextBuffer& text, std::string_view name, const char (&value)[65]) {
  text.add(name).add('=');
  std::string_view whole(value, sizeof value);
  quoted(text, whole.substr(0, whole.find('\0')));
}

}  // namespace

void wait_status(TextBuffer& text, u32 status) {
  if (status == 0xffff) {
    text.add("{WIFCONTINUED(s)}");
  } else if ((status & 0xff) == 0x7f) {
    text.add("{WIFSTOPPED(s) && WSTOPSIG(s) == ");
    signal(text, static_cast<s32>(status >> 8 & 0xff));
    text.add('}');
  } else if ((status & 0x7f) == 0) {
    text.add("{WIFEXITED(s) && WEXITSTATUS(s) == ").udec(status >> 8 & 0xff).add('}');
  } else {
    text.add("{WIFSIGNALED(s) && WTERMSIG(s) == ");
    signal(text, static_cast<s32>(status & 0x7f));
    text.add((status & 0x80) != 0 ? " && WCOREDUMP(s)}" : "}");
  }
}

void structure(TextBuffer& text, const abi::Rlimit& value) {
  text.add("{rlim_cur=");
  limit_value(text, value.soft);
  text.add(", rlim_max=");
  limit_value(text, value.hard);
  text.add('}');
}

void structure(TextBuffer& text, const abi::Rusage& value) {
  text.add("{ru_utime=");
  structure(text, value.user);
  text.add(", ru_stime=");
  structure(text, value.system);
  text.add(", ...}");
}

void structure(TextBuffer& text, const abi::Tms& value) {
  text.add("{tms_utime=").dec(value.utime).add(", tms_stime=").dec(value.stime).add(", tms_cutime=");
  text.dec(value.cutime).add(", tms_cstime=").dec(value.cstime).add('}');
}

void structure(TextBuffer& text, const abi::Utsname& value) {
  text_field(text, "{sysname", value.sysname);
  text_field(text, ", nodename", value.nodename);
  text.add(", ...}");
}

void structure(TextBuffer& text, const abi::Sysinfo& value) {
  text.add("{uptime=").dec(value.uptime).add(", totalram=").udec(value.totalram).add(", freeram=");
  text.udec(value.freeram).add(", procs=").udec(value.procs).add(", mem_unit=").udec(value.mem_unit);
  text.add(", ...}");
}

void structure(TextBuffer& text, const abi::SchedParam& value) {
  text.add('[').dec(value.priority).add(']');
}

constinit const Printer clone_flags{&print_clone_flags};
constinit const Printer clone_hidden{&print_nothing};
constinit const Printer clone_parent_tid{&print_clone_parent_tid, nullptr, true};
constinit const Printer clone_child_tid{&print_clone_child_tid};
constinit const Printer clone_args{&print_clone_args, nullptr, true};
constinit const Printer unshare_flags{&print_unshare_flags};
constinit const Printer string_array{&print_string_array};
constinit const Printer environment{&print_environment};
constinit const Printer wait_status_out{&print_wait_status, nullptr, true};
constinit const Printer wait_options = named(kWaitOptions);
constinit const Printer wait_kind = named(kWaitKind);
constinit const Printer prctl_option = named(kPrctl);
constinit const Printer prctl_argument{&print_prctl_argument, nullptr, true};
constinit const Printer prctl_rest{&print_prctl_rest};
constinit const Printer arch_prctl_code = named(kArchPrctl);
constinit const Printer arch_prctl_argument{&print_arch_prctl_argument, nullptr, true};
constinit const Printer random_bytes{&print_random_bytes, nullptr, true};
constinit const Printer random_flags = named(kRandom);
constinit const Printer resource = named(kResource);
constinit const Printer usage_of_whom = named(kUsage);
constinit const Printer scheduler = named(kPolicy);
constinit const Printer priority_of = named(kPriority);
constinit const Printer cpu_set_in{&print_cpu_set_in};
constinit const Printer cpu_set_out{&print_cpu_set_out, nullptr, true};
constinit const Printer number_out{&print_number_out, nullptr, true};
constinit const Printer futex_operation{&print_futex_operation};
constinit const Printer futex_value{&print_futex_value};
constinit const Printer futex_timeout{&print_futex_timeout};
constinit const Printer futex_target{&print_futex_target};
constinit const Printer futex_value3{&print_futex_value3};

}  // namespace teacup::show
