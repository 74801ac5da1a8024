#include "host/broker/machine_news.h"

#include <algorithm>

#include "host/broker/arena_bounds.h"
#include "host/broker/events.h"
#include "kernel/abi/events.h"

namespace teacup::host {

namespace {

// True: it takes the news, before it sleeps again.
bool wake_reader(u64 reader) {
  if (reader == 0 || reader % alignof(abi::ParkWords) != 0 || !in_arena(reader, sizeof(abi::ParkWords)))
    return false;
  auto& words = arena_at<abi::ParkWords>(reader);
  if (words.watching.load(std::memory_order_seq_cst) != 0) return true;
  return words.sleeping.load(std::memory_order_seq_cst) != 0 && wake_word(&words.sleeping, 1) > 0;
}

}  // namespace

void MachineNews::post(u32 index, u64 reader) {
  if (!abi::gateway().to_guest.post(index)) return;
  count_++;
  if (std::find(readers_, readers_ + reader_count_, reader) != readers_ + reader_count_) return;
  if (reader_count_ == kMostReaders) {
    for_kernel_task_ = true;
  } else {
    readers_[reader_count_++] = reader;
  }
}

void MachineNews::post_slot(u32 index) {
  post(index, abi::gateway().slots[index].reader.load(std::memory_order_relaxed));
}

void MachineNews::tell() {
  for (u32 i = 0; i < reader_count_ && !for_kernel_task_; i++) for_kernel_task_ = !wake_reader(readers_[i]);
  if (for_kernel_task_) raise_event(abi::kEventGateway);
  *this = MachineNews();
}

}  // namespace teacup::host
