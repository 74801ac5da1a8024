// Host streams, the broker's end: threads that carry bytes between the host's stdin, stdout and stderr and
// the rings in the arena (kernel/abi/stream.h).
//
// A thread starts when its stream first has news: most programs use one of the five, and a thread is 0.1 ms
// of a short run. It ends with the process: it may be waiting for input that never comes.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "kernel/abi/boot.h"
#include "kernel/abi/stream.h"

namespace teacup::host {

class Streams {
 public:
  void start();
  // The guest side has news for a stream (RingOp::kStream, kNews).
  void news(u64 stream);
  // kSeek, kSize, kTruncate on regular files.
  s64 control(abi::StreamOp op, u64 stream, u64 a, u64 b);
  // The guest side has ended: output that it left is written still, and each carrier that is through with its
  // own sends this process SIGCHLD.
  void begin_drain();
  // All accepted output is written, or could not be.
  bool is_drained();

  // Output that the guest thinks is written, and a later write was not told of the host's error.
  struct Loss {
    const char* stream;
    int error;  // errno
    u64 bytes;
  };
  // When all is drained. A reader that is gone is not missed.
  std::vector<Loss> losses();

 private:
  struct Carrier {
    int fd = -1;        // -1: the host's stream is not there, or not for this direction
    int doorbell = -1;  // eventfd: news, or the end; -1 until there were any
    std::atomic<bool> done{false};
    u64 lost = 0;  // bytes since the last error that the guest was told of; the carrier's until it is done
  };

  void carry_in(u32 index);
  void carry_out(u32 index);
  void ring(Carrier& carrier, void (Streams::*body)(u32));
  static void clear(Carrier& carrier);

  std::mutex starting_;
  std::atomic<bool> stopping_{false};
  Carrier in_[abi::kStreams];
  Carrier out_[abi::kStreams];
};

}  // namespace teacup::host
