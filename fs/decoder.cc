// Problem: who reads a compressed EROFS file in order had each window decoded by his own task, with the next
// one begun when he came to it: one core worked, the other looked on, and 64 MiB took squashfuse half the
// time. What is decoded by a library has the importer's processes for that; the kernel's own decoder had
// nobody.
//
// Alternatives for who does it:
//   1. the broker or the importer, by a trip: the broker is to parse nothing that may be hostile, and the
//      importer's pages have to be copied into the file's; that copy costs half of what decoding LZ4 does.
//   2. a thread in the reader's process: fork, exec, exit and kicks would have to know of it.
//   3. the kernel task: a timer then waits for a window's decoding, half a millisecond.
//   4. a process of its own, like the kernel task: it has the arena and the images mapped, runs no guest
//   code.
//
// 4 it is, made when somebody first reads on for long; few programs ever do. It need not be there, nor be
// quick: a reader who comes to a window that nobody has begun decodes it himself, and while he would wait for
// one that was begun he does the next. So both cores decode, and where there is one, or the host is busy,
// nothing waits that did not before.
//
// Trust: as in erofs.cc; it is behind the guest's filter as all guest processes are.
#include "fs/decoder.h"

#include "fs/image.h"
#include "fs/vfs_state.h"
#include "host/gate/gate.h"

namespace teacup::fs {

Decoder* decoder() {
  VfsState* state = root<VfsState>(Root::kVfs);
  return state != nullptr ? &state->decoder : nullptr;
}

void decoder_start(void (*ask)()) {
  decoder()->start(ask);
}

bool Decoder::is_useful() {
  if (ask_ == nullptr || arena().usable_cpus < 2) return false;
  u32 asked = kNot;
  if (asked_.load(std::memory_order_relaxed) == kNot && asked_.compare_exchange_strong(asked, kAsked)) {
    ask_();
    return true;
  }
  return asked_.load(std::memory_order_relaxed) == kAsked || host_pid_.load(std::memory_order_relaxed) != 0;
}

bool Decoder::wanted() {
  u32 asked = kAsked;
  return asked_.compare_exchange_strong(asked, kAnswered);
}

void Decoder::post(DecodeJob& job) {
  {
    LockGuard guard(lock_);
    jobs_.push_back(job);
  }
  news_.fetch_add(1, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst)) gate::futex_wake(news_, 1);
}

bool Decoder::claim(DecodeJob& job) {
  LockGuard guard(lock_);
  if (!job.node.linked()) return false;
  jobs_.remove(job);
  job.state.store(DecodeJob::kTaken, std::memory_order_relaxed);
  return true;
}

// The oldest job of the same file as `like`'s, or of any.
DecodeJob* Decoder::claim_next(const DecodeJob* like) {
  LockGuard guard(lock_);
  for (DecodeJob& job : jobs_) {
    if (like != nullptr && (job.image != like->image || job.inode != like->inode)) continue;
    jobs_.remove(job);
    job.state.store(DecodeJob::kTaken, std::memory_order_relaxed);
    return &job;
  }
  return nullptr;
}

void Decoder::run(DecodeJob& job) {
  auto done = job.image->fetch(job.inode, job.offset, job.into);
  job.error = done.ok() ? Errno::OK : done.error();
  // From here on it may be gone: what is woken is an address.
  std::atomic<u32>& state = job.state;
  if (state.exchange(DecodeJob::kDone, std::memory_order_seq_cst) == DecodeJob::kAwaited)
    gate::futex_wake(state, ~u32{0} >> 1);
}

void Decoder::wait(DecodeJob& job) {
  u32 taken = DecodeJob::kTaken;
  job.state.compare_exchange_strong(taken, DecodeJob::kAwaited, std::memory_order_seq_cst);
  while (job.state.load(std::memory_order_seq_cst) != DecodeJob::kDone)
    gate::futex_wait(job.state, DecodeJob::kAwaited, gate::kNoDeadline);
}

Result<void> Decoder::finish(DecodeJob& job) {
  if (claim(job)) run(job);
  while (job.state.load(std::memory_order_acquire) != DecodeJob::kDone) {
    DecodeJob* next = claim_next(&job);
    if (next == nullptr) {
      wait(job);
    } else {
      run(*next);
    }
  }
  if (job.error != Errno::OK) return job.error;
  return {};
}

void Decoder::give_up(DecodeJob& job) {
  if (!claim(job)) wait(job);
}

bool Decoder::serve_one() {
  at_work_.store(true, std::memory_order_seq_cst);
  DecodeJob* job = claim_next(nullptr);
  if (job != nullptr) run(*job);
  at_work_.store(false, std::memory_order_seq_cst);
  return job != nullptr;
}

void Decoder::serve() {
  for (;;) {
    u32 seen = news_.load(std::memory_order_seq_cst);
    if (serve_one()) continue;
    asleep_.store(true, std::memory_order_seq_cst);
    gate::futex_wait(news_, seen, gate::kNoDeadline);
    asleep_.store(false, std::memory_order_seq_cst);
  }
}

bool Decoder::host_process_ended(u32 host_pid) {
  if (host_pid != host_pid_.load(std::memory_order_relaxed)) return true;
  if (at_work_.load(std::memory_order_seq_cst)) return false;
  host_pid_.store(0, std::memory_order_relaxed);
  asleep_.store(false, std::memory_order_seq_cst);
  asked_.store(kNot, std::memory_order_release);  // the next reader may have another
  return true;
}

}  // namespace teacup::fs
