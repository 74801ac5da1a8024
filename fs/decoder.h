// The decoder: a host process of the kernel's own that decodes what readers of compressed files will want
// next, where the kernel itself is who decodes (EROFS). Essay in decoder.cc. Internal to fs/, but for what
// the template and the kernel task call.
//
// Locks: its queue's own (kRing); posting and claiming may be done holding any other.
#pragma once

#include <atomic>
#include <span>

#include "kernel/base/list.h"
#include "kernel/base/result.h"
#include "kernel/sync/lock.h"

namespace teacup::fs {

class Image;

// Image::fetch(inode, offset, into), to be done by whoever comes first: the decoder, or who wants it.
struct DecodeJob {
  enum State : u32 { kWaiting, kTaken, kAwaited, kDone };
  ListNode node;
  Image* image = nullptr;  // stays until the job is done
  u64 inode = 0;
  u64 offset = 0;
  std::span<std::byte> into;
  Errno error = Errno::OK;  // when it is done
  std::atomic<u32> state{kWaiting};
};

class Decoder {
 public:
  // --- For readers.
  // False: it is of no use here, or has ended. Asks for it if it is not there.
  bool is_useful();
  // It need not be there yet.
  void post(DecodeJob& job);
  // Done afterwards: by the caller if nobody has begun; else the caller does other jobs of that file, and
  // then waits.
  Result<void> finish(DecodeJob& job);
  // Nobody works on it afterwards, done or not.
  void give_up(DecodeJob& job);

  // --- For the template, which makes it. `ask` wakes the template, whose wanted() then says true, once.
  void start(void (*ask)()) { ask_ = ask; }
  bool wanted();
  void spawned(u32 host_pid) { host_pid_.store(host_pid, std::memory_order_relaxed); }
  [[noreturn]] void serve();
  bool serve_one();  // false: there is nothing to do
  // --- For the kernel task: a host process of the machine has ended. False: it was this one, at work.
  bool host_process_ended(u32 host_pid);

 private:
  enum Asked : u32 { kNot, kAsked, kAnswered };
  bool claim(DecodeJob& job);
  DecodeJob* claim_next(const DecodeJob* like);
  static void run(DecodeJob& job);
  static void wait(DecodeJob& job);

  void (*ask_)() = nullptr;
  std::atomic<u32> asked_{kNot};
  std::atomic<u32> host_pid_{0};
  std::atomic<bool> at_work_{false};
  std::atomic<bool> asleep_{false};
  std::atomic<u32> news_{0};  // it sleeps on this
  Mutex lock_{LockRank::kRing};
  List<DecodeJob, &DecodeJob::node> jobs_;
};

// Of this machine; null where there is none (on the host).
Decoder* decoder();
void decoder_start(void (*ask)());

}  // namespace teacup::fs
