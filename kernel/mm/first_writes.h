// FirstWrites: which shared mappings of files have not been written to yet.
//
// The problem: what is written through a shared mapping changes the times of the file (mmap(2)), and the
// pages are the host's to write: nobody tells us. Linux has each page write-protected until it is written,
// and a fault for each. What else there was: times at munmap and exit, written or not (a program that only
// reads a file it has mapped for writing would change it, and one that sets the times before it unmaps would
// find them changed); comparing the content (reading all of it twice). So: a mapping is given to the host
// read-only as a whole, and its first write makes it writable as a whole, one fault (4 us) for each mapping
// that is written to, none for those that are not.
//
// The kernel writes to guest memory too, in copies that hold locks (kernel/uaccess/guest.h) and whose faults
// must not become EFAULT here. So the fault is served in the host signal's handler, where no lock can be
// waited for: an entry says by itself what the host's protection of its range is, and who has moved it from
// kReadOnly to kChanging alone may change that, in one host call. Whoever finds kChanging waits for that
// call. Entries are added, cut and removed under the address space's lock, before the range is mapped
// otherwise.
//
// An entry stays, as kWritable, as long as its mapping: a fault that was on its way when another thread's was
// served finds that it may try again.
#pragma once

#include <atomic>

#include "kernel/base/types.h"

namespace teacup::fs {
class Inode;
}

namespace teacup::mm {

class FirstWrites {
  struct Entry;

 public:
  // The range of the inode's is mapped on the host without PROT_WRITE, and may have `prot`. It has observers,
  // and is mapped as long as the entry is there. False: no room for it.
  bool add(u64 start, u64 end, u32 prot, fs::Inode& inode);
  // A write to `address` has faulted. True: it was a first write, or came during one, and can be tried again.
  // Takes no lock: the inode is left a note that it was written.
  bool written(u64 address);
  // [start, end) is to be mapped or protected otherwise.
  void cut(u64 start, u64 end);
  // [start, end) is to be writable on the host from now on, without having been written.
  void allow(u64 start, u64 end);
  // Nothing of [start, end) has been written. An empty range has not.
  bool is_untouched(u64 start, u64 end) const;
  // For a fork's child, whose entries these become. The host has copied the protections too.
  void copy(const FirstWrites& parent);
  void clear() { cut(0, ~u64{0}); }
  // While it lives, nobody changes the protection of the entry that holds `address`, if there is one that has
  // not been written: for mapping the same file's pages there anew, in one host call.
  class Hold {
   public:
    Hold(FirstWrites& writes, u64 address);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    bool is_read_only() const { return entry_ != nullptr; }
    // Where what holds for `address` ends: the entry, or where the next one begins.
    u64 end() const { return end_; }

   private:
    Entry* entry_ = nullptr;
    u64 end_ = ~u64{0};
  };
  bool empty() const { return used_.load(std::memory_order_relaxed) == 0; }

 private:
  enum State : u32 { kFree, kReadOnly, kChanging, kWritable };
  struct Entry {
    std::atomic<u32> state{kFree};
    std::atomic<u32> retries{0};
    std::atomic<u64> start{0}, end{0};
    std::atomic<u32> prot{0};
    std::atomic<fs::Inode*> inode{nullptr};

    bool holds(u64 address) const { return address >= start.load() && address < end.load(); }
  };
  static State settle(const Entry& entry);
  static State claim(Entry& entry);
  static bool make_writable(Entry& entry);
  bool add_entry(u64 start, u64 end, u32 prot, fs::Inode* inode, State state);

  // Who has more has the rest writable from the start, and times changed by msync(2) only.
  static constexpr u32 kMax = 24;
  Entry entries_[kMax];
  std::atomic<u32> used_{0};
};

}  // namespace teacup::mm
