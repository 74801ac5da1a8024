#ifndef TEACUP_HOSTED
#include "host/gate/gate.h"

#include "host/gate/clone_flags.h"
#include "host/gate/host_call.h"
#include "kernel/abi/mm.h"
#include "kernel/abi/nr.h"
#include "kernel/abi/process.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/layout.h"

namespace teacup::gate {

namespace {

s64 call(u64 number, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0, u64 f = 0) {
  auto& counts = arena().host_calls;
  if (number < kHostCallNumbers) counts[number].fetch_add(1, std::memory_order_relaxed);
  return host_call(number, a, b, c, d, e, f);
}

Result<void> check(s64 result) {
  if (result < 0 && result >= -4095) return static_cast<Errno>(-result);
  return {};
}

u64 address_of(const void* pointer) {
  return reinterpret_cast<u64>(pointer);
}

// The host's vDSO lies, in every process of the machine, where the template's exec put it.
u64 vdso_now(int clock) {
  using ClockGettime = int (*)(int, abi::Timespec*);
  abi::Timespec now{};
  if (auto function = reinterpret_cast<ClockGettime>(arena().vdso_clock_gettime); function != nullptr) {
    function(clock, &now);
  } else {
    call(abi::kNR_clock_gettime, static_cast<u64>(clock), address_of(&now));
  }
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

}  // namespace

Result<void> map_anonymous(u64 address, u64 length, int prot, bool populate) {
  u64 flags = abi::kMAP_PRIVATE | abi::kMAP_ANONYMOUS | abi::kMAP_FIXED | abi::kMAP_NORESERVE;
  if (populate) flags |= abi::kMAP_POPULATE;
  return check(call(abi::kNR_mmap, address, length, static_cast<u64>(prot), flags, ~u64{0}, 0));
}

Result<void> map_file(u64 address, u64 length, int prot, bool shared, int fd, u64 offset) {
  u64 flags = (shared ? abi::kMAP_SHARED : abi::kMAP_PRIVATE) | abi::kMAP_FIXED | abi::kMAP_NORESERVE;
  return check(
      call(abi::kNR_mmap, address, length, static_cast<u64>(prot), flags, static_cast<u64>(fd), offset));
}

Result<void> unmap(u64 address, u64 length) {
  return check(call(abi::kNR_munmap, address, length));
}

Result<void> protect(u64 address, u64 length, int prot) {
  return check(call(abi::kNR_mprotect, address, length, static_cast<u64>(prot)));
}

Result<void> remap(u64 old_address, u64 old_length, u64 new_address, u64 new_length) {
  u64 flags = new_address != old_address ? abi::kMREMAP_MAYMOVE | abi::kMREMAP_FIXED : 0;
  return check(call(abi::kNR_mremap, old_address, old_length, new_length, flags, new_address));
}

Result<void> advise(u64 address, u64 length, int advice) {
  return check(call(abi::kNR_madvise, address, length, static_cast<u64>(advice)));
}

void futex_wait(std::atomic<u32>& word, u32 expected, u64 deadline) {
  abi::Timespec until{static_cast<s64>(deadline / 1'000'000'000), static_cast<s64>(deadline % 1'000'000'000)};
  call(abi::kNR_futex, address_of(&word), abi::kFUTEX_WAIT_BITSET, expected,
       deadline == kNoDeadline ? 0 : address_of(&until), 0, static_cast<u32>(abi::kFUTEX_BITSET_MATCH_ANY));
}

void futex_wake(std::atomic<u32>& word, u32 count) {
  call(abi::kNR_futex, address_of(&word), abi::kFUTEX_WAKE, count);
}

void yield() {
  call(abi::kNR_sched_yield);
}

Result<u32> spawn_process(std::atomic<u32>* pid) {
  // No stack: the child goes on with a copy of this one. CLONE_PARENT makes it a child of the broker.
  s64 result = call(abi::kNR_clone, kForkFlags, 0, address_of(pid));
  TRY(check(result));
  return static_cast<u32>(result);
}

Result<void> spawn_thread(u64 stack_top, void (*entry)(void*), void* argument, std::atomic<u32>* tid) {
  // The child returns from the gate's `ret` on its own stack: host_thread_start waits there, then what it
  // pops.
  auto* stack = reinterpret_cast<u64*>(align_down(stack_top, 16)) - 5;
  stack[0] = reinterpret_cast<u64>(&host_thread_start);
  stack[1] = reinterpret_cast<u64>(argument);
  stack[2] = reinterpret_cast<u64>(entry);
  return check(
      call(abi::kNR_clone, kThreadFlags, reinterpret_cast<u64>(stack), address_of(tid), address_of(tid)));
}

void exit_thread() {
  for (;;) call(abi::kNR_exit, 0);
}

void exit_process(int status) {
  for (;;) call(abi::kNR_exit_group, static_cast<u64>(status));
}

void set_task(void* task) {
  if (arena().has_fsgsbase) {
    asm volatile("wrgsbase %0" : : "r"(task) : "memory");
  } else {
    call(abi::kNR_arch_prctl, abi::kARCH_SET_GS, address_of(task));
  }
}

void set_fs_base(u64 base) {
  if (arena().has_fsgsbase) {
    asm volatile("wrfsbase %0" : : "r"(base) : "memory");
  } else {
    call(abi::kNR_arch_prctl, abi::kARCH_SET_FS, base);
  }
}

u64 fs_base() {
  u64 base = 0;
  if (arena().has_fsgsbase) {
    asm volatile("rdfsbase %0" : "=r"(base));
  } else {
    call(abi::kNR_arch_prctl, abi::kARCH_GET_FS, address_of(&base));
  }
  return base;
}

void set_signal_stack(u64 base, u64 size) {
  abi::SigAltStack stack{base, 0, 0, size};
  call(abi::kNR_sigaltstack, address_of(&stack), 0);
}

void die_with_broker() {
  call(abi::kNR_prctl, abi::kPR_SET_PDEATHSIG, abi::kSIGKILL);
  // It may have died before that, and then has left its mark.
  constexpr u32 kOwnerDied = 0x40000000;  // FUTEX_OWNER_DIED
  if ((arena().broker_life.load(std::memory_order_seq_cst) & kOwnerDied) != 0) exit_process(125);
}

u64 monotonic_now() {
  return vdso_now(abi::kCLOCK_MONOTONIC);
}
u64 realtime_now() {
  return vdso_now(abi::kCLOCK_REALTIME);
}

Result<u64> clock_now(int clock) {
  abi::Timespec now{};
  TRY(check(call(abi::kNR_clock_gettime, static_cast<u64>(clock), address_of(&now))));
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

}  // namespace teacup::gate
#endif
