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

#include "kernel/abi/mm.h"
#include "kernel/abi/prepared.h"
#include "kernel/frame/heap.h"
#include "kernel/mm/first_writes.h"
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
  u64 auxv_start = 0, auxv_end = 0;
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
  u64 object_base;   // of patched text and of trampolines: where object offset 0 is; else 0
  bool is_trampolines;
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
  // prctl(PR_SET_THP_DISABLE), for what is mapped from now on. A fork's child and the next program inherit
  // it.
  void allow_huge_pages(bool allow);
  bool allows_huge_pages() const;

  // --- Fork and exec.
  // The kernel-side copy, which the child gets; the host clone copies the memory. Between lock_for_fork() and
  // unlock_for_fork() in the parent, around gate::spawn_process(). The child's only stack slot in use is
  // `stack_slot`, the forking task's.
  void lock_for_fork() { lock_.lock(); }
  void unlock_for_fork() { lock_.unlock(); }
  Result<Ref<AddressSpace>> fork_copy_locked(u32 stack_slot);
  // For exec in place: unmaps all guest memory and forgets it. Stack slots stay.
  void clear();
  // For another program of another process: as clear(), and the accounts begin anew.
  void start_again();
  // For the end of the host process: no guest code runs in it any more. Lets go of the files, without
  // unmapping anything: that is the host's.
  void forget();

  // --- Program counters (DESIGN 5: the guest never sees a trampoline). Identity for all others.
  u64 guest_pc(u64 pc) const;   // in a trampoline: the instruction it stands for
  u64 kernel_pc(u64 pc) const;  // inside a patched window: its copy in the trampoline
  bool in_trampoline(u64 pc) const;
  // Whether a single step that stops at `pc` has ended an instruction of the guest's: not before or behind
  // a jump of a patch's, nor within what stands for a system call.
  bool ends_step(u64 pc) const;

  // --- Faults and futexes.
  // For a fault of guest code at `address` that the host reported as SIGSEGV (its SIGBUS is the guest's as it
  // is). Brings mappings up to date with a file that has grown.
  FaultKind classify_fault(u64 address, bool is_write, bool is_execute);
  // The same for a write of the kernel's own, in the handler of the host's signal: takes no lock. True: it
  // can be tried again.
  bool serve_first_write(u64 address) { return first_writes_.written(address); }
  // The guest jumped to `target`, which cannot be executed. If that was a jump in a copy of patched text, the
  // copy is repaired: returns where the jump was, to go on from. Else 0.
  u64 take_back_jump(u64 target);
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
  // Says which task runs on the slot: it is interrupted (kPendingRemap) when a mapped file changes.
  void set_slot_task(u32 slot, TaskCore* task);
  static u64 stack_top(u32 slot);     // 16-byte aligned
  static u64 signal_stack(u32 slot);  // kSignalStackSize bytes from here

  // --- For /proc and accounting, from any process.
  // The first mapping that ends above `address`. ENOENT: none. `with_trampolines`: also those, which to the
  // guest are free addresses.
  Result<MappingInfo> next_mapping(u64 address, bool with_trampolines = false) const;
  Totals totals() const;
  ProgramLayout layout() const;
  void set_layout(const ProgramLayout& layout);
  u64 current_brk() const;
  // Writable and mapped for certain is not promised: a hint for /proc/PID/mem and friends.
  bool is_mapped(u64 address, u64 length) const;

  // --- For the loader.
  // Maps the main stack of `size` bytes that ends at `top`, without reserving memory.
  Result<void> map_stack(u64 top, u64 size, bool executable);
  // Maps the vDSO's pages where room is, near the stack. Returns their address.
  Result<u64> map_vdso(const PageRun& pages);
  // Sets where the break starts: behind the program and its trampolines, which end at `end`. Returns it, page
  // aligned.
  u64 set_brk_start(u64 end);
  // Where the next mapping without a hint goes, at the highest: below the stack. And a bottom for it.
  void set_map_top(u64 address);
  // Where `length` bytes are free in the area of mappings, at the highest; the low one if that is full.
  // ENOMEM.
  Result<u64> find_free(u64 length, u64 align);
  bool is_free(u64 address, u64 length) const;

  // --- Owned by kernel/task.
  std::atomic<u32> host_pid{0};
  std::atomic<u32> users{0};      // tasks whose memory this is
  std::atomic<u32> borrowers{0};  // of these, guest processes that run here until they exec (vfork)

 private:
  class FileObserver;
  // What of new anonymous memory may lie in a block of huge pages, and where it goes on: huge_blocks.cc.
  enum class Growth : u8 { kNone, kUp, kDown, kWhole };
  // Mapped on the host, without rights, and free to the guest.
  struct ReadyRange {
    u64 start = 0;
    u64 end = 0;
    u64 used_end = 0;  // below it may be what the program left there
    u64 length() const { return end - start; }
  };
  struct Request {
    u64 hint = 0;    // page aligned; with `fixed` the address
    u64 length = 0;  // page aligned
    bool fixed = false;
    bool no_replace = false;
    bool low_2g = false;  // MAP_32BIT
    bool populate = false;
    bool is_stack = false;          // MAP_STACK
    Growth growth = Growth::kNone;  // which place_locked() found
    Mapping mapping;                // all but its place
    u64 room = 0;                   // to leave free from the address on: the object with its trampolines
    u64 room_align = 0;
    Limits limits;
  };
  struct Slot {
    TaskCore* task;
    u32 state;
  };

  // --- map.cc
  Result<void> check_request(Request& request, u64 hint, u64 length, int prot, int flags) const;
  void find_text(Request& request) const;
  Result<u64> map_locked(Request& request);
  Result<u64> place_locked(Request& request);
  Result<u64> find_gap_locked(u64 length, u64 align, u64 bottom, u64 top);
  Result<u64> find_unready_gap_locked(u64 length, u64 align, u64 bottom, u64 top);
  Result<void> check_limits_locked(u64 new_bytes, bool is_data, const Limits& limits) const;
  Result<void> insert_file_locked(Mapping mapping, bool populate);
  Result<void> insert_anonymous_locked(Mapping mapping, bool populate, Growth growth = Growth::kNone);
  Result<void> host_map_file_locked(Mapping& mapping, bool read_only = false);
  static bool awaits_write(const Mapping& mapping, bool populate);
  // --- huge_blocks.cc
  bool may_be_huge_locked(const Mapping& mapping) const;
  bool deserves_block_locked(u64 length) const;
  u64 place_huge_locked(Request& request);
  Result<void> back_anonymous_locked(u64 start, u64 end, int prot, Growth growth);
  Result<void> map_block_locked(u64 block, u64 rest, u64 rest_end, ReadyRange& ready);
  void cut_ready_locked(ReadyRange& ready, u64 from, u64 to);
  static void give_back_ready_locked(ReadyRange& ready);
  void forget_ready_locked(u64 start, u64 end);
  Result<void> give_ready_locked(const ReadyRange& ready, u64 from, u64 to, int prot);
  bool keep_ready_locked(u64 start, u64 end);
  static u64 break_start(u64 end);
  // --- unmap.cc
  Result<void> make_room_locked(u64 start, u64 end, bool keep_ready = false);
  void erase_locked(u64 start, u64 end);
  Result<void> remove_locked(u64 start, u64 end);
  Result<void> protect_locked(u64 start, u64 end, u32 prot);
  void write_back_range(u64 start, u64 end, bool synced = false);
  void account_locked(const Mapping& mapping, s64 sign);
  // --- object.cc
  bool attach_text_locked(Mapping& mapping);
  Result<void> map_text_locked(const Mapping& mapping);
  void detach_text_locked(const Text& text, u64 object_base);
  void clear_trampolines_locked(u64 start, u64 end);
  void drop_unused_trampolines_locked();
  // --- late_text.cc
  Ref<fs::File> find_late_text(u64 start, u64 end) const;
  void attach_late_text_locked(u64 start, u64 end, fs::File& file, const Ref<Text>& text);
  // --- anonymous_text.cc
  void make_anonymous_locked(const Mapping& mapping);
  // --- copied_text.cc
  void remember_text_locked(Text& text);
  void forget_texts_locked();
  bool awaits_search_locked(const Mapping& mapping, u32 prot) const;
  // What the host is told of a mapping whose protection is, or is to be, `prot`.
  int host_prot_locked(const Mapping& mapping, u32 prot) const {
    return static_cast<int>(awaits_search_locked(mapping, prot) ? prot & ~u32{abi::kPROT_EXEC} : prot);
  }
  int host_prot_locked(const Mapping& mapping) const { return host_prot_locked(mapping, mapping.prot); }
  void search_locked(Mapping& mapping, u64 address);
  // --- remap.cc
  Result<void> grow_locked(u64 address, u64 end, u64 growth);
  Result<u64> move_locked(u64 address, u64 old_length, u64 new_length, u64 target, bool keep_old);
  Result<void> move_pages_locked(const Mapping& from, const Mapping& to);
  // --- advise.cc
  Result<void> advise_one_locked(Mapping& mapping, u64 start, u64 end, int advice);
  // --- observe.cc
  void observe_locked(fs::File& file);
  void release_observer_locked(fs::File& file);
  void drop_unused_observers_locked();
  void refresh_locked(Mapping& mapping);
  bool grow_to_file_locked(Mapping& mapping);
  void interrupt_tasks();

  mutable Mutex lock_{LockRank::kAddressSpace};
  MappingList mappings_;
  FirstWrites first_writes_;
  u64 map_top_ = kGuestHighEnd - 16 * GiB;
  // Every gap between searched_to_ and map_top_ is smaller than searched_size_: where the next search may
  // start.
  u64 searched_to_ = 0;
  u64 searched_size_ = 0;
  u64 brk_start_ = 0;
  u64 brk_ = 0;
  u64 total_bytes_ = 0;  // of guest mappings
  u64 peak_bytes_ = 0;
  u64 data_bytes_ = 0;  // of them private, writable and not the stack
  u64 locked_bytes_ = 0;
  bool lock_future_ = false;
  enum : u8 { kAboveBreak, kBelowMappings };
  ReadyRange ready_[2];
  u64 block_bytes_ = 0;  // of blocks that were made for this program
  u64 small_bytes_ = 0;  // of anonymous memory that it asked for among its mappings, where no block was
  bool huge_pages_ = true;
  // Patched texts that have been mapped here: what a copy of text may have been copied from.
  static constexpr u32 kMaxTexts = 64;
  Ref<Text> texts_[kMaxTexts];
  u32 text_count_ = 0;
  ProgramLayout layout_;
  FileObserver* observers_ = nullptr;
  std::atomic<bool> stale_{false};
  u64 retried_address_ = 0;  // of faults in a row that the map had no explanation for
  u32 retries_ = 0;

  Mutex slots_lock_{LockRank::kStackSlots};
  HeapArray<Slot> slots_;
};

// Creates what all address spaces share. Once, by the template, which has read the boot configuration.
// ENOMEM.
Result<void> mm_start();

}  // namespace teacup::mm
