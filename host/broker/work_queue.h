// One worker thread and its queue: for requests that take longer than the ring's other askers should wait.
// The thread begins with the first request.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "host/broker/thread.h"

namespace teacup::host {

class WorkQueue {
 public:
  void add(std::function<void()> work) {
    bool is_first = false;
    {
      std::lock_guard guard(mutex_);
      queue_.push_back(std::move(work));
      is_first = !std::exchange(started_, true);
    }
    if (is_first) {
      start_thread([this] { run(); });
    } else {
      news_.notify_one();
    }
  }
  // Drops what has not begun, and returns when nothing is being done. The thread is left asleep, for a
  // process that ends next: to wake and join it is 0.1 ms more of a short run.
  void finish() {
    std::unique_lock guard(mutex_);
    stopping_ = true;
    idle_.wait(guard, [this] { return !busy_; });
  }

 private:
  void run() {
    std::unique_lock guard(mutex_);
    for (;;) {
      news_.wait(guard, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      auto work = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
      guard.unlock();
      work();
      guard.lock();
      busy_ = false;
      if (stopping_) idle_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable news_;
  std::condition_variable idle_;
  std::deque<std::function<void()>> queue_;
  bool started_ = false;
  bool stopping_ = false;
  bool busy_ = false;
};

}  // namespace teacup::host
