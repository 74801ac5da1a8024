// News for the machine about its connections (kernel/abi/gateway.h), and who is to be told: the task that
// waits for it, where that is known and asleep or looks out for it by itself; else the kernel task, which
// finds out.
//
// Who waits is what the guest says: an offset in the arena, of words that are looked at and woken, never
// written.
#pragma once

#include "kernel/abi/gateway.h"

namespace teacup::host {

class MachineNews {
 public:
  // Puts `index` on the machine's board; `reader`: as GatewaySlot::reader.
  void post(u32 index, u64 reader);
  void post_slot(u32 index);
  // How much was posted since the last tell().
  u32 count() const { return count_; }
  // Tells of it. After the work of a batch: the machine then finds all at once.
  void tell();

 private:
  static constexpr u32 kMostReaders = 4;  // beyond that one wake-up, the kernel task's, is less
  u32 count_ = 0;
  u32 reader_count_ = 0;
  u64 readers_[kMostReaders] = {};
  bool for_kernel_task_ = false;
};

}  // namespace teacup::host
