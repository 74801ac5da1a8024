// SIGIO and SIGURG (fcntl(2): F_SETOWN, F_SETSIG, O_ASYNC; socket(7)).
//
// Differs from Linux: only sockets, pipes and FIFOs tell; and of what came at about the same time one signal
// may tell for all.
//
// Locks: an owner's own (kFileOwner). Signals are sent without it; a group's members are found under
// kProcessTree, so queues of sockets and pipes are woken with no lock above that.
#pragma once

#include "fs/file_owner.h"
#include "kernel/task/process.h"

namespace teacup {

class IoOwner final : public fs::FileOwner {
 public:
  // The file's, made if it has none. EINVAL: the file never tells of anything. ENOMEM.
  static Result<IoOwner*> of(fs::File& file);
  // Null: it has none.
  static IoOwner* find(fs::File& file);

  // F_SETOWN_EX: `type` is F_OWNER_*; 0: nobody. ESRCH.
  Result<void> set_target(const Task& by, int type, s32 id);
  abi::FOwnerEx target();
  // F_SETSIG; 0: SIGIO without particulars.
  std::atomic<s32> signal{0};
  // O_ASYNC, and by which descriptor.
  void set_async(bool on, Fd fd);

 protected:
  void tell(u32 events) override;

 private:
  struct Target {
    Ref<Process> process;
    Ref<Task> task;
    Ref<ProcessGroup> group;
    u32 uid = 0, euid = 0;  // who set it: the one who is told must be theirs
    bool may_tell(const Process& to) const;
    Result<void> send(const abi::SigInfo& info) const;
  };
  Target copy_target();

  Mutex lock_{LockRank::kFileOwner};
  int type_ = 0;
  Target target_;
  std::atomic<s32> async_fd_{-1};
};

}  // namespace teacup
