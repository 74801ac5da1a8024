// Waiting for children: wait4(2), waitid(2).
#pragma once

#include "kernel/task/process.h"

namespace teacup {

struct WaitRequest {
  int kind = abi::kP_ALL;  // P_ALL, P_PID, P_PGID
  s32 id = 0;
  u32 options = 0;             // WNOHANG, WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, __WALL, __WCLONE
  Process* process = nullptr;  // instead of an id: P_PIDFD
};

struct WaitAnswer {
  s32 pid = 0;  // 0: WNOHANG, and nothing to report
  u32 status = 0;
  abi::SigInfo info{};
  CpuTimes times;
  u64 max_rss = 0;
};

// ECHILD, ERESTARTSYS, EINVAL.
Result<WaitAnswer> wait_for_child(Task& task, const WaitRequest& request);

}  // namespace teacup
