#include "kernel/frame/heap.h"
#include "kernel/task/signal_state.h"

namespace teacup {

bool SignalQueue::add(const abi::SigInfo& info, u64 limit) {
  bool real_time = info.signo >= abi::kSIGRTMIN;
  if (!real_time && has(info.signo)) return true;
  QueuedSignal* entry = length_ < limit ? make<QueuedSignal>().value_or(nullptr) : nullptr;
  if (entry == nullptr) {
    // kill(2) never fails for want of memory: the signal is pending without its details.
    bool details_matter = real_time && info.code != abi::kSI_USER && info.code != abi::kSI_TKILL;
    if (details_matter) return false;
    pending_ |= abi::signal_bit(info.signo);
    return true;
  }
  entry->info = info;
  add(*entry);
  return true;
}

void SignalQueue::add(QueuedSignal& entry) {
  pending_ |= abi::signal_bit(entry.info.signo);
  entries_.push_back(entry);
  length_++;
}

int SignalQueue::take(abi::SigSet allowed, abi::SigInfo* info) {
  abi::SigSet ready = pending_ & allowed;
  if (ready == 0) return 0;
  if ((ready & kSynchronousSignals) != 0) ready &= kSynchronousSignals;
  int signal = __builtin_ctzll(ready) + 1;
  QueuedSignal* found = nullptr;
  bool another = false;
  for (QueuedSignal& entry : entries_) {
    if (entry.info.signo != signal) continue;
    if (found != nullptr) {
      another = true;
      break;
    }
    found = &entry;
  }
  if (!another) pending_ &= ~abi::signal_bit(signal);
  if (found == nullptr) {
    *info = abi::SigInfo{};
    info->signo = signal;
    info->code = abi::kSI_USER;
    return signal;
  }
  List<QueuedSignal, &QueuedSignal::node>::remove(*found);
  length_--;
  if (found->on_taken != nullptr) {
    found->on_taken(*found);  // may complete the info: an overrun count
    *info = found->info;
  } else {
    *info = found->info;
    destroy(found);
  }
  return signal;
}

void SignalQueue::drop(QueuedSignal& entry) {
  List<QueuedSignal, &QueuedSignal::node>::remove(entry);
  length_--;
  if (entry.on_taken == nullptr) destroy(&entry);
}

void SignalQueue::discard(abi::SigSet signals) {
  pending_ &= ~signals;
  for (QueuedSignal* entry = entries_.front(); entry != nullptr;) {
    QueuedSignal* next = entries_.after(*entry);
    if ((signals & abi::signal_bit(entry->info.signo)) != 0) drop(*entry);
    entry = next;
  }
}

void SignalQueue::remove(QueuedSignal& entry) {
  if (!entry.node.linked()) return;
  int signal = entry.info.signo;
  drop(entry);
  for (QueuedSignal& other : entries_) {
    if (other.info.signo == signal) return;
  }
  pending_ &= ~abi::signal_bit(signal);
}

}  // namespace teacup
