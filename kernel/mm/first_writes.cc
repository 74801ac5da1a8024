#include "kernel/mm/first_writes.h"

#include <algorithm>

#include "fs/inode.h"
#include "host/gate/gate.h"

namespace teacup::mm {

namespace {

// Faults that are tried again although the host should allow the access: more is a loop.
constexpr u32 kMaxRetries = 1000;

}  // namespace

// The state once nobody is changing it.
FirstWrites::State FirstWrites::settle(const Entry& entry) {
  for (;;) {
    u32 state = entry.state.load();
    if (state != kChanging) return static_cast<State>(state);
    gate::yield();
  }
}

// The same, and nobody else changes a read-only one from now on.
FirstWrites::State FirstWrites::claim(Entry& entry) {
  for (;;) {
    State state = settle(entry);
    if (state != kReadOnly) return state;
    u32 expected = kReadOnly;
    if (entry.state.compare_exchange_strong(expected, kChanging)) return kReadOnly;
  }
}

// Of a claimed entry. False: the host has no memory for it, all is as before.
bool FirstWrites::make_writable(Entry& entry) {
  u64 start = entry.start.load();
  bool done = gate::protect(start, entry.end.load() - start, static_cast<int>(entry.prot.load())).ok();
  entry.state.store(done ? kWritable : kReadOnly);
  return done;
}

bool FirstWrites::add_entry(u64 start, u64 end, u32 prot, fs::Inode* inode, State state) {
  for (Entry& entry : entries_) {
    if (entry.state.load() != kFree) continue;
    entry.start.store(start);
    entry.end.store(end);
    entry.prot.store(prot);
    entry.retries.store(0);
    entry.inode.store(inode);
    entry.state.store(state);
    used_.fetch_add(1);
    return true;
  }
  return false;
}

bool FirstWrites::add(u64 start, u64 end, u32 prot, fs::Inode& inode) {
  return inode.extras() != nullptr && add_entry(start, end, prot, &inode, kReadOnly);
}

bool FirstWrites::written(u64 address) {
  if (empty()) return false;
  for (Entry& entry : entries_) {
    if (entry.state.load() == kFree || !entry.holds(address)) continue;
    State state = claim(entry);
    if (state == kReadOnly) {
      // Between the look and the claim it may have become another range's.
      if (!entry.holds(address)) {
        entry.state.store(kReadOnly);
        continue;
      }
      entry.inode.load()->extras()->written_unseen.store(true);
      return make_writable(entry);
    }
    if (state == kWritable && entry.holds(address)) return entry.retries.fetch_add(1) < kMaxRetries;
  }
  return false;
}

void FirstWrites::cut(u64 start, u64 end) {
  if (empty()) return;
  for (Entry& entry : entries_) {
    if (entry.state.load() == kFree) continue;
    u64 low = entry.start.load(), high = entry.end.load();
    if (low >= end || start >= high) continue;
    State state = claim(entry);
    // The part behind the cut, while nobody can find it missing.
    if (low < start && end < high && !add_entry(end, high, entry.prot.load(), entry.inode.load(), state)) {
      if (state == kReadOnly && make_writable(entry)) state = kWritable;
    }
    if (low < start) {
      entry.end.store(start);
    } else if (end < high) {
      entry.start.store(end);
    } else {
      state = kFree;
      used_.fetch_sub(1);
    }
    entry.state.store(state);
  }
}

void FirstWrites::allow(u64 start, u64 end) {
  if (empty()) return;
  for (Entry& entry : entries_) {
    if (entry.state.load() == kFree || entry.start.load() >= end || start >= entry.end.load()) continue;
    if (claim(entry) == kReadOnly) make_writable(entry);
  }
}

bool FirstWrites::is_untouched(u64 start, u64 end) const {
  if (empty()) return start >= end;
  while (start < end) {
    u64 from = start;
    for (const Entry& entry : entries_) {
      if (entry.state.load() == kFree || !entry.holds(start)) continue;
      if (settle(entry) == kReadOnly) start = entry.end.load();
      break;
    }
    if (start == from) return false;
  }
  return true;
}

FirstWrites::Hold::Hold(FirstWrites& writes, u64 address) {
  if (writes.empty()) return;
  for (Entry& entry : writes.entries_) {
    if (entry.state.load() == kFree) continue;
    if (entry.holds(address)) {
      end_ = entry.end.load();
      if (claim(entry) == kReadOnly) entry_ = &entry;
      return;
    }
    if (entry.start.load() > address) end_ = std::min(end_, entry.start.load());
  }
}

FirstWrites::Hold::~Hold() {
  if (entry_ != nullptr) entry_->state.store(kReadOnly);
}

void FirstWrites::copy(const FirstWrites& parent) {
  for (const Entry& entry : parent.entries_) {
    u32 state = entry.state.load();
    if (state == kFree) continue;
    // One that is being changed: read-only is what the host may have copied.
    add_entry(entry.start.load(), entry.end.load(), entry.prot.load(), entry.inode.load(),
              state == kWritable ? kWritable : kReadOnly);
  }
}

}  // namespace teacup::mm
