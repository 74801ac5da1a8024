// Vector state: a call preserves all of it, and the child is free to change it, so the parent's is kept on
// its standing stack meanwhile (about 140 ns).
//
// The host signal stack stays the lender's: it belongs to the host thread, and no frame is left on it.
#include "kernel/task/borrow.h"

#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "kernel/task/frame.h"
#include "kernel/task/host_process.h"
#include "kernel/task/stack_switch.h"

namespace teacup {

namespace {

constexpr u64 kXsaveHeader = 512;

}  // namespace

void lend_thread(Task& parent, Ref<Task> child, void (*start)(void*)) {
  u64 mask = arena().xsave_mask;
  u64 size = mask != 0 ? arena().xsave_size : 512;
  auto* area = static_cast<u8*>(__builtin_alloca_with_align(size, 64 * 8));
  memset(area, 0, size < kXsaveHeader + 64 ? size : kXsaveHeader + 64);
  xstate_save(area, mask);
  parent.fs_base = gate::fs_base();

  HostThread& thread = *parent.host_thread;
  u32 slot = child->stack_slot;
  u64 top = child->kernel_stack_top - sizeof(Frame);
  Task* borrower = child.get();
  borrower->lender = std::exchange(thread.task, std::move(child));
  parent.lend_state.store(kLent, std::memory_order_seq_cst);
  parent.waiting_for.store("its vfork child", std::memory_order_relaxed);
  parent.mode.store(Mode::kParked, std::memory_order_seq_cst);
  count_asleep(parent);
  switch_stack(&parent.suspended_stack, top, start, borrower);

  // return_thread() made this task current and its mode kKernel again.
  parent.waiting_for.store(nullptr, std::memory_order_relaxed);
  parent.lend_state.store(kNotLent, std::memory_order_seq_cst);
  gate::set_fs_base(parent.fs_base);
  xstate_load(area, mask);
  parent.memory->release_stack_slot(slot);
}

bool return_thread(Task& borrower) {
  Task& lender = *borrower.lender;
  u32 lent = kLent;
  if (!lender.lend_state.compare_exchange_strong(lent, kReturned, std::memory_order_seq_cst)) return false;
  lender.mode.store(Mode::kKernel, std::memory_order_seq_cst);
  count_awake(lender);
  HostThread& thread = *borrower.host_thread;
  gate::set_task(&lender);
  thread.task = std::move(borrower.lender);
  return true;
}

void resume_lender(Task& lender) {
  resume_stack(lender.suspended_stack);
}

bool abandon_if_lent(Task& task) {
  u32 lent = kLent;
  return task.lend_state.compare_exchange_strong(lent, kAbandoned, std::memory_order_seq_cst);
}

}  // namespace teacup
