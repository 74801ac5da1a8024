// Who hears by signal of what a file has to tell (fcntl(2), F_SETOWN and O_ASYNC): hangs in the file's wait
// queue from the first such call on, until the file goes. What is sent, and to whom, is of
// kernel/task/io_signal.h.
//
// Locks: none of its own. tell() is called without the queue's lock, and by whoever woke the queue: see
// there.
#pragma once

#include "fs/file.h"
#include "kernel/sync/wait.h"

namespace teacup::fs {

class FileOwner : public RefCounted<FileOwner> {
 public:
  static void destroy(FileOwner* owner) { teacup::destroy(owner); }
  virtual ~FileOwner() = default;

  // Begins to hear of the file's events. Once, before anybody else sees it.
  void watch(WaitQueue& queue);

 protected:
  FileOwner() = default;
  // Events that came since it was called last: POLL* bits; all of them: nobody says which.
  virtual void tell(u32 events) = 0;

 private:
  friend void owner_forget(File& file);
  static DeferredWake* on_event(WaitEntry& entry, u32 events);
  static void run(DeferredWake& later);

  // First, so that it is found by it.
  struct Later : DeferredWake {
    FileOwner* owner = nullptr;
  };
  WaitEntry entry_;
  Later later_;
  std::atomic<u32> events_{0};
};

}  // namespace teacup::fs
