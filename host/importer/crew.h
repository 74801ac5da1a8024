// Crew: threads that help the importer's worker decompress. They are there before its filter is, which lets
// nobody start one, and sleep until there is something to share.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

#include "kernel/base/types.h"

namespace teacup::importer {

class Crew {
 public:
  // As many as the host has processors, the caller's thread counted, and four at most. They end with the
  // process: a crew is never destroyed while there is one.
  Crew();
  Crew(const Crew&) = delete;

  // The caller's thread and its helpers.
  unsigned hands() const { return helpers_ + 1; }
  // Calls work(hand, index) for each index below `count`, several at the same time, each by another hand
  // (< hands()), and returns when all are done.
  void share(size_t count, const std::function<void(unsigned, size_t)>& work);

 private:
  static void* help(void* crew);
  void take_part(unsigned hand, std::unique_lock<std::mutex>& guard);

  std::mutex mutex_;
  std::condition_variable news_;
  std::condition_variable done_;
  unsigned helpers_ = 0;
  unsigned ready_ = 0;
  const std::function<void(unsigned, size_t)>* work_ = nullptr;
  size_t next_ = 0;
  size_t count_ = 0;
  size_t busy_ = 0;
};

}  // namespace teacup::importer
