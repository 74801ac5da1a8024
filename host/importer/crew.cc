#include "host/importer/crew.h"

#include <malloc.h>
#include <pthread.h>

#include <algorithm>
#include <thread>

namespace teacup::importer {

namespace {
constexpr unsigned kMost = 4;
constexpr size_t kStack = 256 * KiB;  // the codecs' tables are on the heap
}  // namespace

Crew::Crew() {
  // One heap for all: to make another, glibc asks how many processors there are, which the filter forbids.
  ::mallopt(M_ARENA_MAX, 1);
  const unsigned wanted = std::clamp(std::thread::hardware_concurrency(), 1U, kMost) - 1;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStack);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  for (; helpers_ < wanted; ++helpers_) {
    pthread_t thread;
    if (::pthread_create(&thread, &attributes, help, this) != 0) break;
  }
  ::pthread_attr_destroy(&attributes);
  // What a thread calls at its start is not what the filter lets pass.
  std::unique_lock guard(mutex_);
  done_.wait(guard, [this] { return ready_ == helpers_; });
}

void* Crew::help(void* crew) {
  Crew& self = *static_cast<Crew*>(crew);
  std::unique_lock guard(self.mutex_);
  const unsigned hand = ++self.ready_;
  self.done_.notify_one();
  for (;;) {
    self.news_.wait(guard, [&self] { return self.next_ < self.count_; });
    self.take_part(hand, guard);
  }
}

void Crew::take_part(unsigned hand, std::unique_lock<std::mutex>& guard) {
  while (next_ < count_) {
    const size_t index = next_++;
    ++busy_;
    guard.unlock();
    (*work_)(hand, index);
    guard.lock();
    --busy_;
  }
  if (busy_ == 0) done_.notify_one();
}

void Crew::share(size_t count, const std::function<void(unsigned, size_t)>& work) {
  if (count <= 1 || helpers_ == 0) {
    for (size_t i = 0; i < count; ++i) work(0, i);
    return;
  }
  std::unique_lock guard(mutex_);
  work_ = &work;
  next_ = 0;
  count_ = count;
  if (count == 2) {
    news_.notify_one();
  } else {
    news_.notify_all();
  }
  take_part(0, guard);
  done_.wait(guard, [this] { return busy_ == 0; });
  next_ = count_ = 0;
}

}  // namespace teacup::importer
