// prctl(2) and what a program asks about the machine.
#include "host/gate/gate.h"
#include "kernel/base/memory.h"
#include "kernel/frame/heap.h"
#include "kernel/frame/pages.h"
#include "kernel/syscall/process_calls.h"
#include "kernel/task/processes.h"
#include "kernel/task/random.h"
#include "kernel/time/clock.h"

namespace teacup {

namespace {

constexpr int kCapSysAdmin = 21;
constexpr int kLastCapability = 40;

void change_credentials(Task& task, const Credentials& next) {
  LockGuard guard(task.process->lock);
  task.credentials = next;
}

Result<s64> set_name(Task& task, u64 address) {
  char name[16] = {};
  // Up to 15 bytes of a string that may end just before unmapped memory.
  for (size_t i = 0; i < 15; i++) {
    TRY(copy_from_guest(&name[i], address + i, 1));
    if (name[i] == '\0') break;
  }
  memcpy(task.name, name, sizeof name);
  return 0;
}

Result<s64> drop_bounding(Task& task, u64 capability) {
  constexpr int kCapSetpcap = 8;
  if (!task.credentials.has(kCapSetpcap)) return Errno::PERM;
  if (capability > kLastCapability) return Errno::INVAL;
  Credentials next = task.credentials;
  next.bounding &= ~(u64{1} << capability);
  change_credentials(task, next);
  return 0;
}

Result<s64> ambient(Task& task, u64 operation, u64 capability) {
  constexpr u64 kIsSet = 1, kRaise = 2, kLower = 3, kClearAll = 4;
  Credentials next = task.credentials;
  if (operation == kClearAll) {
    next.ambient = 0;
    change_credentials(task, next);
    return 0;
  }
  if (capability > kLastCapability) return Errno::INVAL;
  u64 bit = u64{1} << capability;
  switch (operation) {
    case kIsSet:
      return (next.ambient & bit) != 0 ? 1 : 0;
    case kRaise:
      if ((next.permitted & next.inheritable & bit) == 0) return Errno::PERM;
      next.ambient |= bit;
      break;
    case kLower:
      next.ambient &= ~bit;
      break;
    default:
      return Errno::INVAL;
  }
  change_credentials(task, next);
  return 0;
}

Result<s64> set_securebits(Task& task, u64 bits) {
  constexpr int kCapSetpcap = 8;
  if (!task.credentials.has(kCapSetpcap)) return Errno::PERM;
  Credentials next = task.credentials;
  next.securebits = static_cast<u32>(bits);
  change_credentials(task, next);
  return 0;
}

Result<s64> set_keep_capabilities(Task& task, u64 keep) {
  constexpr u32 kKeepCaps = 16;
  if (keep > 1) return Errno::INVAL;
  Credentials next = task.credentials;
  next.securebits = keep != 0 ? next.securebits | kKeepCaps : next.securebits & ~kKeepCaps;
  change_credentials(task, next);
  return 0;
}

Result<s64> get_capability_bits(Task& task, int option, u64 a) {
  switch (option) {
    case abi::kPR_CAPBSET_READ:
      if (a > kLastCapability) return Errno::INVAL;
      return (task.credentials.bounding >> a & 1) != 0 ? 1 : 0;
    case abi::kPR_GET_SECUREBITS:
      return task.credentials.securebits;
    case abi::kPR_GET_KEEPCAPS:
      return (task.credentials.securebits & 16) != 0 ? 1 : 0;
    default:
      return Errno::INVAL;
  }
}

Result<s64> put_int(u64 address, s32 value) {
  TRY(copy_to_guest(address, &value, sizeof value));
  return 0;
}

}  // namespace

// prctl(2). Options that change what the processor or the host does are refused.
Result<s64> sys_prctl(Task& task, PrctlOption option, PrctlArgument a, PrctlRest b, PrctlRest c,
                      PrctlRest d) {
  Process& process = *task.process;
  switch (option) {
    case abi::kPR_SET_PDEATHSIG:
      if (a > abi::kNSIG) return Errno::INVAL;
      task.parent_death_signal = static_cast<int>(a);
      return 0;
    case abi::kPR_GET_PDEATHSIG:
      return put_int(a, task.parent_death_signal);
    case abi::kPR_GET_DUMPABLE:
      return process.dumpable ? 1 : 0;
    case abi::kPR_SET_DUMPABLE:
      if (a > 1) return Errno::INVAL;
      process.dumpable = a != 0;
      return 0;
    case abi::kPR_SET_NAME:
      return set_name(task, a);
    case abi::kPR_GET_NAME:
      TRY(copy_to_guest(a, task.name, sizeof task.name));
      return 0;
    case abi::kPR_SET_NO_NEW_PRIVS:
      if (a != 1 || b != 0 || c != 0 || d != 0) return Errno::INVAL;
      task.no_new_privileges = true;
      return 0;
    case abi::kPR_GET_NO_NEW_PRIVS:
      return task.no_new_privileges ? 1 : 0;
    case abi::kPR_SET_CHILD_SUBREAPER: {
      LockGuard tree(processes().lock);
      process.child_subreaper = a != 0;
      if (a != 0) processes().had_subreaper.store(true, std::memory_order_relaxed);
      return 0;
    }
    case abi::kPR_GET_CHILD_SUBREAPER:
      return put_int(a, process.child_subreaper ? 1 : 0);
    case abi::kPR_CAPBSET_READ:
    case abi::kPR_GET_SECUREBITS:
    case abi::kPR_GET_KEEPCAPS:
      return get_capability_bits(task, option, a);
    case abi::kPR_CAPBSET_DROP:
      return drop_bounding(task, a);
    case abi::kPR_CAP_AMBIENT:
      return ambient(task, a, b);
    case abi::kPR_SET_SECUREBITS:
      return set_securebits(task, a);
    case abi::kPR_SET_KEEPCAPS:
      return set_keep_capabilities(task, a);
    case abi::kPR_SET_TIMERSLACK:
      task.timer_slack = a == 0 ? 50'000 : u64{a};
      return 0;
    case abi::kPR_GET_TIMERSLACK:
      return static_cast<s64>(task.timer_slack);
    case abi::kPR_GET_SECCOMP:
      return 0;
    case abi::kPR_SET_SECCOMP:
      return Errno::INVAL;  // as a kernel without CONFIG_SECCOMP
    case abi::kPR_GET_TSC:
      return put_int(a, abi::kPR_TSC_ENABLE);
    case abi::kPR_SET_TSC:
      if (a != abi::kPR_TSC_ENABLE) return Errno::INVAL;
      return 0;
    case abi::kPR_SET_PTRACER:
    case abi::kPR_SET_VMA:  // names of anonymous memory: accepted, not shown
      return 0;
    case abi::kPR_GET_TID_ADDRESS:
      TRY(copy_to_guest(a, &task.clear_child_tid, sizeof task.clear_child_tid));
      return 0;
    case abi::kPR_SET_THP_DISABLE:
      if (b != 0 || c != 0 || d != 0) return Errno::INVAL;
      task.memory->allow_huge_pages(a == 0);
      return 0;
    case abi::kPR_GET_THP_DISABLE:
      if (a != 0 || b != 0 || c != 0 || d != 0) return Errno::INVAL;
      return task.memory->allows_huge_pages() ? 0 : 1;
    default:
      return Errno::INVAL;
  }
}

// arch_prctl(2). The GS base is the kernel's own: programs that want it (Wine) cannot run here.
Result<s64> sys_arch_prctl(Task&, ArchPrctlCode code, ArchPrctlArgument address) {
  switch (code) {
    case abi::kARCH_SET_FS:
      if (!is_guest_range(address.value, 0)) return Errno::PERM;
      gate::set_fs_base(address.value);
      return 0;
    case abi::kARCH_GET_FS: {
      u64 base = gate::fs_base();
      TRY(copy_to_guest(address.value, &base, sizeof base));
      return 0;
    }
    case abi::kARCH_GET_GS: {
      u64 none = 0;
      TRY(copy_to_guest(address.value, &none, sizeof none));
      return 0;
    }
    case abi::kARCH_SET_GS:
      if (address.value == 0) return 0;
      return Errno::PERM;
    case abi::kARCH_GET_CPUID:
      return 1;
    default:
      return Errno::INVAL;
  }
}

// personality(2). Only what changes nothing else is remembered: ADDR_NO_RANDOMIZE and the like.
Result<u64> sys_personality(Task& task, u32 persona) {
  u64 old = task.personality;
  if (persona != 0xffffffff) {
    if ((persona & 0xff) != 0 && (persona & 0xff) != 8) return Errno::INVAL;  // PER_LINUX, PER_LINUX32
    task.personality = persona;
  }
  return old;
}

namespace {

template <size_t size>
void put_text(char (&field)[size], const char* text) {
  memcpy(field, text, strlen(text) + 1);
}

Result<void> set_machine_name(Task& task, GuestIn<char> name, s32 length, char (&field)[65]) {
  if (!task.credentials.has(kCapSysAdmin)) return Errno::PERM;
  if (length < 0 || length > 64) return Errno::INVAL;
  char text[65] = {};
  TRY(name.read_all({text, static_cast<size_t>(length)}));
  LockGuard tree(processes().lock);
  memcpy(field, text, sizeof text);
  return {};
}

}  // namespace

// uname(2), sethostname(2).
Result<void> sys_uname(Task& task, GuestOut<abi::Utsname> name) {
  abi::Utsname value{};
  put_text(value.sysname, "Linux");
  put_text(value.release, "6.1.0-teacup");
  put_text(value.version, "#1 SMP PREEMPT_DYNAMIC teacup");
  put_text(value.machine, (task.personality & 0xff) == 8 ? "i686" : "x86_64");
  {
    LockGuard tree(processes().lock);
    memcpy(value.nodename, processes().host_name, sizeof value.nodename);
    memcpy(value.domainname, processes().domain_name, sizeof value.domainname);
  }
  return name.write(value);
}

Result<void> sys_sethostname(Task& task, GuestIn<char> name, s32 length) {
  return set_machine_name(task, name, length, processes().host_name);
}
Result<void> sys_setdomainname(Task& task, GuestIn<char> name, s32 length) {
  return set_machine_name(task, name, length, processes().domain_name);
}

// sysinfo(2). Differs from Linux: loads are 0.
Result<void> sys_sysinfo(Task&, GuestOut<abi::Sysinfo> info) {
  abi::Sysinfo value{};
  u64 started = processes().init->start_time;
  value.uptime = static_cast<s64>((gate::monotonic_now() - started + kSecond - 1) / kSecond);
  u64 used = committed_pages() * kPageSize + heap_in_use();
  value.totalram = limit_pages() * kPageSize;
  value.freeram = value.totalram > used ? value.totalram - used : 0;
  {
    LockGuard tree(processes().lock);
    value.procs = static_cast<u16>(processes().task_count);
  }
  value.mem_unit = 1;
  return info.write(value);
}

// getrandom(2). Never blocks: the generator is seeded at the machine's start.
Result<size_t> sys_getrandom(Task&, RandomBytes buffer, size_t size, RandomFlags flags) {
  constexpr u32 kNonblock = 1, kRandom = 2, kInsecure = 4;
  if ((flags & ~(kNonblock | kRandom | kInsecure)) != 0 ||
      (flags & (kRandom | kInsecure)) == (kRandom | kInsecure))
    return Errno::INVAL;
  constexpr size_t kMost = 0x7ffff000;
  if (size > kMost) size = kMost;
  u8 piece[512];
  size_t done = 0;
  while (done < size) {
    size_t count = size - done < sizeof piece ? size - done : sizeof piece;
    random_fill({piece, count});
    Result<void> copied = copy_to_guest(buffer.address() + done, piece, count);
    if (!copied.ok()) {
      if (done == 0) return copied.error();
      break;
    }
    done += count;
  }
  return done;
}

// membarrier(2). No command is offered: the host call behind it is not on the host surface.
Result<s32> sys_membarrier(Task&, int command, u32 flags, int) {
  if (command == 0 && flags == 0) return 0;  // MEMBARRIER_CMD_QUERY: none
  return Errno::INVAL;
}

// unshare(2). What a thread shares with its siblings can be made its own; namespaces are refused.
Result<void> sys_unshare(Task& task, UnshareFlags flags) {
  constexpr u64 kHarmless = abi::kCLONE_FS | abi::kCLONE_FILES | abi::kCLONE_SYSVSEM;
  constexpr u64 kWhenAlone = abi::kCLONE_THREAD | abi::kCLONE_SIGHAND | abi::kCLONE_VM;
  constexpr u64 kNamespaces = abi::kCLONE_NEWNS | abi::kCLONE_NEWCGROUP | abi::kCLONE_NEWUTS |
                              abi::kCLONE_NEWIPC | abi::kCLONE_NEWUSER | abi::kCLONE_NEWPID |
                              u64{abi::kCLONE_NEWNET} | abi::kCLONE_NEWTIME;
  if ((flags & ~(kHarmless | kWhenAlone | kNamespaces)) != 0) return Errno::INVAL;
  if ((flags & kNamespaces) != 0) return Errno::PERM;
  if ((flags & kWhenAlone) != 0 && task.process->live_tasks > 1) return Errno::INVAL;
  if ((flags & abi::kCLONE_FS) != 0) {
    Ref<fs::FsContext> own = TRY(task.fs->clone());
    LockGuard guard(task.process->lock);
    std::swap(task.fs, own);
    guard.unlock();
  }
  if ((flags & abi::kCLONE_FILES) != 0) {
    Ref<fs::FdTable> own = TRY(task.files->clone());
    LockGuard guard(task.process->lock);
    std::swap(task.files, own);
    guard.unlock();
  }
  return {};
}

// seccomp(2): as a kernel that was built without it. Programs that sandbox themselves go on without.
Result<s64> sys_seccomp(Task&, u32, u32, GuestAddress) {
  return Errno::NOSYS;
}

}  // namespace teacup
