#include "kernel/sync/doorbell.h"

#include "kernel/abi/events.h"

#include "host/gate/gate.h"

namespace teacup {

namespace {

abi::RingSlot* claim_slot() {
  abi::Ring& ring = abi::ring();
  u32 start = ring.hint.fetch_add(1, std::memory_order_relaxed);
  for (u32 i = 0; i < abi::kRingSlots; i++) {
    abi::RingSlot& slot = ring.slots[(start + i) % abi::kRingSlots];
    u32 free = abi::kSlotFree;
    if (slot.state.compare_exchange_strong(free, abi::kSlotClaimed, std::memory_order_acquire)) return &slot;
  }
  return nullptr;
}

abi::RingSlot& wait_for_slot() {
  abi::Ring& ring = abi::ring();
  for (;;) {
    if (abi::RingSlot* slot = claim_slot()) return *slot;
    ring.free_waiters.fetch_add(1, std::memory_order_seq_cst);
    u32 seen = ring.free_word.load(std::memory_order_seq_cst);
    abi::RingSlot* slot = claim_slot();
    if (slot == nullptr) gate::futex_wait(ring.free_word, seen, gate::kNoDeadline);
    ring.free_waiters.fetch_sub(1, std::memory_order_seq_cst);
    if (slot != nullptr) return *slot;
  }
}

void submit(abi::RingSlot& slot) {
  abi::Ring& ring = abi::ring();
  slot.state.store(abi::kSlotSubmitted, std::memory_order_seq_cst);
  ring.doorbell.fetch_add(1, std::memory_order_seq_cst);
  if (ring.broker_sleeping.load(std::memory_order_seq_cst) != 0) gate::futex_wake(ring.doorbell, 1);
}

void fill(abi::RingSlot& slot, abi::RingOp op, const u64 (&args)[6], bool no_answer) {
  slot.op = op;
  for (u32 i = 0; i < 6; i++) slot.args[i] = args[i];
  slot.result = 0;
  slot.no_answer = no_answer ? 1 : 0;
}

#ifdef TEACUP_HOSTED
s64 (*hosted_answer)(void* context, abi::RingOp op, const u64 (&args)[6]) = nullptr;
void* hosted_context = nullptr;
#endif

}  // namespace

#ifdef TEACUP_HOSTED
void hosted_answer_ring(s64 (*answer)(void* context, abi::RingOp op, const u64 (&args)[6]), void* context) {
  hosted_answer = answer;
  hosted_context = context;
}
#endif

void ring_kick(TaskCore& task) {
  abi::RingSlot& slot = wait_for_slot();
  u32 pid = task.host_pid.load(std::memory_order_relaxed);
  u32 tid = task.host_tid.load(std::memory_order_relaxed);
  fill(slot, abi::RingOp::kKick, {pid, tid, 0, 0, 0, 0}, true);
  submit(slot);
}

s64 ring_call(abi::RingOp op, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
#ifdef TEACUP_HOSTED
  if (hosted_answer != nullptr) return hosted_answer(hosted_context, op, {a, b, c, d, e, f});
#endif
  abi::RingSlot& slot = wait_for_slot();
  fill(slot, op, {a, b, c, d, e, f}, false);
  TaskCore& task = current_core();
  task.waiting_for.store("the broker", std::memory_order_relaxed);
  slot.sleeping.store(1, std::memory_order_seq_cst);
  submit(slot);
  for (u32 state; (state = slot.state.load(std::memory_order_seq_cst)) != abi::kSlotDone;) {
    gate::futex_wait(slot.state, state, gate::kNoDeadline);
  }
  task.waiting_for.store(nullptr, std::memory_order_relaxed);
  s64 result = slot.result;
  abi::Ring& ring = abi::ring();
  slot.sleeping.store(0, std::memory_order_relaxed);
  slot.state.store(abi::kSlotFree, std::memory_order_seq_cst);
  if (ring.free_waiters.load(std::memory_order_seq_cst) != 0) {
    ring.free_word.fetch_add(1, std::memory_order_seq_cst);
    gate::futex_wake(ring.free_word, 1);
  }
  return result;
}

Result<void> ring_post(abi::RingOp op, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  abi::RingSlot* slot = claim_slot();
  if (slot == nullptr) return Errno::AGAIN;
  fill(*slot, op, {a, b, c, d, e, f}, true);
  submit(*slot);
  return {};
}

void raise_kernel_event(u32 flag) {
  auto& events = arena_at<abi::Events>(arena().events_offset);
  events.flags.fetch_or(flag, std::memory_order_seq_cst);
  events.word.fetch_add(1, std::memory_order_seq_cst);
  gate::futex_wake(events.word, 1);
}

}  // namespace teacup
