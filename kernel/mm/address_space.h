// AddressSpace: the guest memory of one host process: the kernel's own map of it, kept equal to the host's.
// mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2) and their kin, program break, stack, patched
// text and its trampolines, and the kernel stacks of the tasks that run here.
//
// All that changes the map is called on a host thread of the process it belongs to; what only reads (the
// visitor, totals, layout) may be called from anywhere in the machine.
//
// Locks: its own (kAddressSpace), taken inside unless said otherwise; host memory calls, and inode locks
// below File::map_pieces, are made under it. Nothing here touches guest memory but remap()'s fallback and
// sync().
#pragma once

#include <atomic>
#include <span>

#include "kernel/abi/prepared.h"
#include "kernel/frame/heap.h"
#include "kernel/mm/mapping.h"
#include "kernel/sync/lock.h"

namespace teacup::mm {

// At most this many mappings: below the host's own limit (65 530), which also holds what one mapping becomes
// there.
inline constexpr size_t kMaxMappings = 65000;

// The caller's resource limits, bytes (getrlimit(2)).
struct Limits {
  u64 address_space = ~u64{0};  // RLIMIT_AS
  u64 data = ~u64{0};           // RLIMIT_DATA
  u64 locked = ~u64{0};         // RLIMIT_MEMLOCK; ~0 for a task with CAP_IPC_LOCK
};

// Where the program's parts are, for /proc/PID/stat and prctl(PR_SET_MM_*). Addresses.
struct ProgramLayout {
  u64 code_start = 0, code_end = 0;
  u64 data_start = 0, data_end = 0;
  u64 brk_start = 0;
  u64 stack_start = 0;  // the initial stack pointer
  u64 arguments_start = 0, arguments_end = 0;
  u64 environment_start = 0, environment_end = 0;
  u64 vdso = 0;
  u64 entry = 0;
};

// Pages (4 KiB).
struct Totals {
  u64 size = 0;  // all
  u64 data = 0;  // private, writable, not the stack
  u64 stack = 0;
  u64 text = 0;  // executable files
  u64 shared = 0;
  u64 locked = 0;
  u64 peak = 0;  // of size
  size_t mappings = 0;
};

// One line of /proc/PID/maps.
struct MappingInfo {
  u64 start;
  u64 end;
  u32 prot;
  bool shared;
  bool locked;
  u64 offset;
  Ref<fs::File> file;
  const char* name;  // "[heap]", "[stack]", "[vdso]"; null: the file's path, or nothing
};

// What a fault that the host reported was, in the guest's terms.
struct FaultKind {
  int signal;  // SIGSEGV or SIGBUS; 0: the map allows the access and now the host does too: try again
  int code;    // SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR
};

// What a futex word is known by: the same word gives the same key in every process that maps it.
struct WordKey {
  u64 object;  // an inode or file for shared memory, the address space for private memory
  u64 offset;  // in the file; the address
  bool operator==(const WordKey&) const = default;
};

class AddressSpace : public RefCounted<AddressSpace> {
 public:
  // Without any mapping. ENOMEM.
  static Result<Ref<AddressSpace>> create();
  static void destroy(AddressSpace* space);
  AddressSpace() = default;

  // --- The calls. Addresses and lengths as the guest gave them; errors as in the man pages.
  // mmap(2). `file` is null for anonymous memory. Not checked here: a mount without exec.
  Result<u64> map(u64 hint, u64 length, int prot, int flags, Ref<fs::File> file, u64 offset,
                  const Limits& limits = {});
  Result<void> unmap(u64 address, u64 length);
  Result<void> protect(u64 address, u64 length, int prot);
  Result<u64> remap(u64 old_address, u64 old_length, u64 new_length, int flags, u64 new_address,
                    const Limits& limits = {});
  // brk(2): the break afterwards, which is the old one when it cannot be moved.
  u64 brk(u64 address, const Limits& limits = {});
  Result<void> advise(u64 address, u64 length, int advice);
  Result<void> sync(u64 address, u64 length, int flags);
  // mincore(2): one byte a page, 1 for what is mapped (differs from Linux: residency is the host's secret).
  Result<void> resident(u64 address, std::span<u8> pages);
  Result<void> lock_memory(u64 address, u64 length, bool lock, const Limits& limits);
  Result<void> lock_all(int flags, const Limits& limits);
  Result<void> unlock_all();

  // --- Fork and exec.
  // The kernel-side copy, which the child gets; the host clone copies the memory. Between lock_for_fork() and
  // unlock_for_fork() in the parent, around gate::spawn_process(). The child's only stack slot in use is
  // `stack_slot`, the forking task's.
  void lock_for_fork() { lock_.lock(); }
  void unlock_for_fork() { lock_.unlock(); }
  Result<Ref<AddressSpace>> fork_copy_locked(u32 stack_slot);
  // For exec in place: unmaps all guest memory and forgets it. Stack slots stay.
  void clear();

  // --- Program counters (DESIGN 5: the guest never sees a trampoline). Identity for all others.
  u64 guest_pc(u64 pc) const;   // in a trampoline: the instruction it stands for
  u64 kernel_pc(u64 pc) const;  // inside a patched window: its copy in the trampoline
  bool in_trampoline(u64 pc) const;

  // --- Faults and futexes.
  // For a fault of guest code at `address`. Brings mappings up to date with a file that has grown.
  FaultKind classify_fault(u64 address, bool is_write, bool is_execute);
  // EFAULT if nothing is mapped there. `is_private`: the caller says that no other process uses it
  // (FUTEX_PRIVATE_FLAG): no look-up then.
  Result<WordKey> word_key(u64 address, bool is_private);

  // --- Files that change under their mappings (kPendingRemap, on the way out of the kernel): maps again what
  // is out of date.
  void bring_up_to_date();

  // --- Kernel stacks. Slot i's stack and host signal stack are private memory of this host process.
  // A freed slot stays mapped for the next thread. EAGAIN when there are too many.
  Result<u32> allocate_stack_slot();
  void release_stack_slot(u32 slot);
  static u64 stack_top(u32 slot);     // 16-byte aligned
  static u64 signal_stack(u32 slot);  // kSignalStackSize bytes from here

  // --- For /proc and accounting, from any process.
  // The first mapping that ends above `address`. ENOENT: none.
  Result<MappingInfo> next_mapping(u64 address) const;
  Totals totals() const;
  ProgramLayout layout() const;
  void set_layout(const ProgramLayout& layout);
  u64 current_brk() const;
  // Writable and mapped for certain is not promised: a hint for /proc/PID/mem and friends.
  bool is_mapped(u64 address, u64 length) const;

  // --- For the loader.
  // Maps the main stack of `size` bytes that ends at `top`, without reserving memory.
  Result<void> map_stack(u64 top, u64 size, bool executable);
  // Maps the machine's vDSO where room is, near the stack. Returns its address.
  Result<u64> map_vdso();
  // Sets where the break starts: behind the program and its trampolines, page aligned.
  void set_brk_start(u64 address);
  // Where the next mapping without a hint goes, at the highest: below the stack. And a bottom for it.
  void set_map_top(u64 address) { map_top_ = address; }
  // Bytes behind an object of `file` that its trampolines take (0: it is not patched), as a distance from
  // object offset 0: [*offset, *offset + result). Prepares the file's text if need be. No lock held.
  u64 trampoline_room(fs::File& file, u64* offset);

  // --- Owned by kernel/task.
  std::atomic<u32> host_pid{0};
  std::atomic<u32> users{0};      // tasks whose memory this is
  std::atomic<u32> borrowers{0};  // of these, guest processes that run here until they exec (vfork)

 private:
  friend class MapOperation;

  struct Request;

  Result<u64> map_locked(Request& request);
  Result<u64> place_locked(const Request& request) const;
  Result<u64> find_gap_locked(u64 length, u64 align, u64 bottom, u64 top) const;
  Result<void> host_map_locked(Mapping& mapping, int prot, bool populate);
  Result<void> attach_text_locked(Mapping& mapping, int prot, bool* done);
  void remove_locked(u64 start, u64 end, bool host_too);
  void drop_object_locked(const Mapping& trampolines);
  void detach_texts_locked(u64 start, u64 end);
  void drop_unused_trampolines_locked(u64 start, u64 end);
  Result<void> check_limits_locked(u64 new_bytes, const Mapping& like, const Limits& limits) const;
  Result<u64> move_locked(size_t index, u64 old_address, u64 old_length, u64 new_length, u64 target,
                          bool keep);
  Result<void> copy_pages_locked(const Mapping& from, const Mapping& to);
  void account_locked(const Mapping& mapping, s64 sign);
  u64 size_bytes_locked() const { return total_bytes_; }

  mutable Mutex lock_{LockRank::kAddressSpace};
  MappingList mappings_;
  u64 map_top_ = kGuestHighEnd - 16 * GiB;
  u64 brk_start_ = 0;
  u64 brk_ = 0;
  u64 total_bytes_ = 0;  // of guest mappings
  u64 peak_bytes_ = 0;
  u64 data_bytes_ = 0;
  u64 locked_bytes_ = 0;
  bool lock_future_ = false;
  ProgramLayout layout_;

  enum SlotState : u8 { kSlotUnmapped, kSlotFree, kSlotUsed };
  HeapArray<u8> slots_;
};

// Creates what all address spaces share (the text cache, the vDSO's pages). Once, by the template.
Result<void> mm_start();

}  // namespace teacup::mm
