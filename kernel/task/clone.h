// New tasks: clone(2) and its kin, in two steps, so that the caller can make what depends on the child (a
// pidfd) before it runs.
//
//   a thread       CLONE_THREAD: a host thread of its own
//   a fork         no CLONE_VM: a host clone; the shared arena stays shared
//   a borrower     CLONE_VM without CLONE_THREAD: with CLONE_VFORK on the parent's host thread (borrow.h),
//   else
//                  on one of its own, in the parent's address space
#pragma once

#include "kernel/task/process.h"

namespace teacup {

struct CloneArguments {
  u64 flags = 0;  // CLONE_*, without the exit signal
  u64 pidfd = 0, child_tid = 0, parent_tid = 0;
  s32 exit_signal = 0;
  u64 stack = 0;  // the child's stack pointer; 0: as the parent's
  u64 tls = 0;
};

// EINVAL, EPERM (namespaces), EAGAIN, ENOMEM; ERESTARTNOINTR while the process is ending.
Result<Ref<Task>> prepare_child(Task& parent, const CloneArguments& arguments);
// Starts it; for vfork returns when it has execed or ended. The child's tid. On an error the child is undone.
Result<s32> start_child(Task& parent, Ref<Task> child, const CloneArguments& arguments);
// Undoes prepare_child().
void discard_child(Task& child);

}  // namespace teacup
