// Lock order: kProcessTree alone. A reaped child's reference is dropped after it.
#include "kernel/task/wait_child.h"

#include "kernel/task/exit.h"
#include "kernel/task/processes.h"

namespace teacup {

namespace {

bool matches(Process& child, const Task& task, const WaitRequest& request) {
  switch (request.kind) {
    case abi::kP_PID:
      if (child.pid != request.id) return false;
      break;
    case abi::kP_PGID: {
      s32 group = request.id != 0 ? request.id : task.process->group->id;
      if (!child.group || child.group->id != group) return false;
      break;
    }
    case abi::kP_PIDFD:
      if (&child != request.process) return false;
      break;
    default:
      break;
  }
  if ((request.options & abi::k__WALL) != 0) return true;
  bool is_clone = child.exit_signal != abi::kSIGCHLD;
  return is_clone == ((request.options & abi::k__WCLONE) != 0);
}

void fill(WaitAnswer& answer, Process& child, u32 status, s32 code, s32 detail) {
  answer.pid = child.pid;
  answer.status = status;
  answer.info.signo = abi::kSIGCHLD;
  answer.info.code = code;
  answer.info.child.pid = child.pid;
  answer.info.child.uid = child.last_uid;
  answer.info.child.status = detail;
  answer.times.user = child.own_times.user + child.children_times.user;
  answer.times.system = child.own_times.system + child.children_times.system;
  answer.max_rss = child.max_rss;
}

// What `child` has to report, taken unless WNOWAIT. *reaped: the tree's reference is the caller's.
bool take_report_locked(Process& child, const WaitRequest& request, WaitAnswer& answer, bool* reaped) {
  bool keep = (request.options & abi::kWNOWAIT) != 0;
  if (child.zombie) {
    if ((request.options & abi::kWEXITED) == 0) return false;
    u32 status = child.wait_status;
    if ((status & 0x7f) == 0) {
      fill(answer, child, status, abi::kCLD_EXITED, static_cast<s32>(status >> 8));
    } else {
      int code = (status & 0x80) != 0 ? abi::kCLD_DUMPED : abi::kCLD_KILLED;
      fill(answer, child, status, code, static_cast<s32>(status & 0x7f));
    }
    if (!keep) {
      reap_locked(child);
      *reaped = true;
    }
    return true;
  }
  if ((request.options & abi::kWSTOPPED) != 0 && child.stop_report != 0) {
    s32 signal = child.stop_report;
    fill(answer, child, static_cast<u32>(signal) << 8 | 0x7f, abi::kCLD_STOPPED, signal);
    if (!keep) child.stop_report = 0;
    return true;
  }
  if ((request.options & abi::kWCONTINUED) != 0 && child.continue_report) {
    fill(answer, child, 0xffff, abi::kCLD_CONTINUED, abi::kSIGCONT);
    if (!keep) child.continue_report = false;
    return true;
  }
  return false;
}

// EAGAIN: there are such children, and none has news.
Result<WaitAnswer> look(Task& task, const WaitRequest& request) {
  WaitAnswer answer;
  Process* reaped_child = nullptr;
  bool any = false;
  {
    LockGuard tree(processes().lock);
    for (Process& child : task.process->children) {
      if (!matches(child, task, request)) continue;
      any = true;
      bool reaped = false;
      if (!take_report_locked(child, request, answer, &reaped)) continue;
      if (reaped) reaped_child = &child;
      break;
    }
  }
  if (reaped_child != nullptr) reaped_child->unref();
  if (answer.pid != 0) return answer;
  if (!any) return Errno::CHILD;
  if ((request.options & abi::kWNOHANG) != 0) return answer;
  return Errno::AGAIN;
}

}  // namespace

Result<WaitAnswer> wait_for_child(Task& task, const WaitRequest& request) {
  {
    Result<WaitAnswer> first = look(task, request);
    if (!first.is(Errno::AGAIN)) return first;
  }
  WaitEntry& entry = task.wait_entries[0];
  WaitQueue& events = task.process->child_events;
  for (;;) {
    events.add(entry, ~u32{0});
    Result<WaitAnswer> result = look(task, request);
    Woken woken = Woken::kNews;
    if (result.is(Errno::AGAIN)) woken = park("a child", kNoDeadline);
    WaitQueue::remove(entry);
    if (!result.is(Errno::AGAIN)) return result;
    if (woken != Woken::kInterrupted) continue;
    // A child's end and its SIGCHLD come together: the child is what is told.
    Result<WaitAnswer> last = look(task, request);
    if (!last.is(Errno::AGAIN)) return last;
    return Errno::RESTARTSYS;
  }
}

}  // namespace teacup
