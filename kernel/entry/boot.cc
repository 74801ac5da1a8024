// The template's start: from the host's exec to a machine that runs. Before the filter is in place this is
// the only code that calls the host directly; afterwards the template makes the first process, the kernel
// task and zygotes, by cloning itself.
#include "kernel/abi/boot.h"
#include "host/gate/gate.h"
#include "host/gate/host_call.h"
#include "kernel/abi/mm.h"
#include "kernel/abi/nr.h"
#include "kernel/abi/process.h"
#include "kernel/abi/signal.h"
#include "kernel/entry/panic.h"
#include "kernel/entry/start.h"
#include "kernel/frame/heap.h"
#include "kernel/frame/pages.h"
#include "kernel/syscall/trace.h"
#include "kernel/task/machine.h"

namespace teacup {

extern "C" const u8 runtime_text_end[];  // runtime.ld
extern "C" void host_signal_handler(int signal, abi::SigInfo* info, abi::UContext* ucontext);

namespace {

s64 call(u64 number, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0, u64 f = 0) {
  return host_call(number, a, b, c, d, e, f);
}
u64 address_of(const void* pointer) {
  return reinterpret_cast<u64>(pointer);
}

// --- What the host's exec left on the stack.

struct HostVectors {
  u64 hwcap2 = 0;
  u64 vdso = 0;
};

HostVectors read_vectors(const u64* stack) {
  constexpr u64 kAtHwcap2 = 26, kAtSysinfoEhdr = 33;
  const u64* at = stack + 1 + stack[0] + 1;  // argc, argv, null
  while (*at != 0) at++;                     // envp, null
  HostVectors vectors;
  for (at++; at[0] != 0; at += 2) {
    if (at[0] == kAtHwcap2) vectors.hwcap2 = at[1];
    if (at[0] == kAtSysinfoEhdr) vectors.vdso = at[1];
  }
  return vectors;
}

// --- The host's vDSO: where its clock_gettime is (elf(5); the image is mapped whole and was made by the
// host's kernel).

struct ElfHeader {
  u8 ident[16];
  u16 type, machine;
  u32 version;
  u64 entry, phoff, shoff;
  u32 flags;
  u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct ProgramHeader {
  u32 type, flags;
  u64 offset, vaddr, paddr, filesz, memsz, align;
};
struct DynamicEntry {
  u64 tag, value;
};
struct Symbol {
  u32 name;
  u8 info, other;
  u16 section;
  u64 value, size;
};

u64 find_vdso_symbol(u64 vdso, std::string_view wanted) {
  if (vdso == 0) return 0;
  constexpr u32 kPtLoad = 1, kPtDynamic = 2;
  constexpr u64 kDtHash = 4, kDtStrtab = 5, kDtSymtab = 6, kDtGnuHash = 0x6ffffef5;
  const auto& header = *reinterpret_cast<const ElfHeader*>(vdso);
  const auto* segments = reinterpret_cast<const ProgramHeader*>(vdso + header.phoff);
  u64 bias = vdso;
  const DynamicEntry* dynamic = nullptr;
  for (u16 i = 0; i < header.phnum; i++) {
    if (segments[i].type == kPtLoad) bias = vdso + segments[i].offset - segments[i].vaddr;
    if (segments[i].type == kPtDynamic)
      dynamic = reinterpret_cast<const DynamicEntry*>(vdso + segments[i].offset);
  }
  if (dynamic == nullptr) return 0;
  const u32* hash = nullptr;
  const u32* gnu_hash = nullptr;
  const char* strings = nullptr;
  const Symbol* symbols = nullptr;
  for (; dynamic->tag != 0; dynamic++) {
    u64 address = bias + dynamic->value;
    if (dynamic->tag == kDtHash) hash = reinterpret_cast<const u32*>(address);
    if (dynamic->tag == kDtGnuHash) gnu_hash = reinterpret_cast<const u32*>(address);
    if (dynamic->tag == kDtStrtab) strings = reinterpret_cast<const char*>(address);
    if (dynamic->tag == kDtSymtab) symbols = reinterpret_cast<const Symbol*>(address);
  }
  if (strings == nullptr || symbols == nullptr) return 0;
  u32 count = 0;
  if (hash != nullptr) {
    count = hash[1];
  } else if (gnu_hash != nullptr) {
    // The last symbol is the end of the chain that the highest bucket starts.
    u32 buckets = gnu_hash[0], first = gnu_hash[1], bloom = gnu_hash[2];
    const u32* bucket = gnu_hash + 4 + bloom * 2;
    for (u32 i = 0; i < buckets; i++) count = bucket[i] > count ? bucket[i] : count;
    if (count >= first) {
      const u32* chain = bucket + buckets - first;
      while ((chain[count] & 1) == 0) count++;
      count++;
    }
  }
  for (u32 i = 0; i < count; i++) {
    if (symbols[i].section != 0 && wanted == strings + symbols[i].name) return bias + symbols[i].value;
  }
  return 0;
}

// --- The host process.

void map_arena() {
  u64 flags = abi::kMAP_SHARED | abi::kMAP_FIXED | abi::kMAP_NORESERVE;
  u64 prot = abi::kPROT_READ | abi::kPROT_WRITE;
  // The header first: it says how large the arena is.
  if (call(abi::kNR_mmap, kArenaBase, kArenaHeaderSize, prot, flags, kArenaFd, 0) < 0)
    gate::exit_process(125);
  u64 size = arena().arena_size;
  if (arena().magic != kArenaMagic || call(abi::kNR_mmap, kArenaBase, size, prot, flags, kArenaFd, 0) < 0) {
    gate::exit_process(125);
  }
}

void map_images() {
  for (u32 i = 0; i < arena().image_count; i++) {
    const ImageSlot& image = arena().images[i];
    if (image.address == 0) continue;
    s64 result = call(abi::kNR_mmap, image.address, page_up(image.size), abi::kPROT_READ,
                      abi::kMAP_SHARED | abi::kMAP_FIXED | abi::kMAP_NORESERVE, image.fd, 0);
    if (result < 0)
      machine_refuse(125,
                     "cannot map the image: the host's address-space limit (ulimit -v) may be too small");
    // What the page cache does not hold is then read in pieces of 2 MiB, and mapped so by one fault: 16 MiB
    // that the host had dropped and read again cost 0.9 ms in reads of 4 KiB, where pages that came singly
    // cost 1.9.
    call(abi::kNR_madvise, image.address, page_up(image.size), abi::kMADV_HUGEPAGE);
  }
  // It grows while it is mapped.
  if (arena().text_store_fd == 0) return;
  s64 result = call(abi::kNR_mmap, kTextStoreBase, kTextStoreSize, abi::kPROT_READ,
                    abi::kMAP_SHARED | abi::kMAP_FIXED | abi::kMAP_NORESERVE, arena().text_store_fd, 0);
  if (result < 0)
    machine_refuse(
        125, "cannot map the store of texts: the host's address-space limit (ulimit -v) may be too small");
}

// Clones of a process find its file mappings empty, and map them again by a fault for 64 KiB: 15 of the 65
// faults that a fork cost. But a mapping that has a page of the process's own is copied with all that is
// mapped. So one page of the runtime becomes the template's own, by writing to it what it holds, and the
// others are mapped. A host that forbids that (SELinux: execmod) has the faults.
void map_runtime_for_clones() {
  u64 first = kRuntimeBase, length = page_up(address_of(runtime_text_end)) - first;
  constexpr u64 kReadExecute = abi::kPROT_READ | abi::kPROT_EXEC;
  // The whole of it: the host would not join again what was made writable with what was not.
  if (call(abi::kNR_mprotect, first, length, kReadExecute | abi::kPROT_WRITE) == 0) {
    auto& byte = *reinterpret_cast<volatile u8*>(first);
    byte = byte;
    call(abi::kNR_mprotect, first, length, kReadExecute);
  }
  call(abi::kNR_madvise, first, length, abi::kMADV_POPULATE_READ);
}

void describe_processor(const HostVectors& vectors) {
  ArenaHeader& header = arena();
  header.has_fsgsbase = (vectors.hwcap2 & 2) != 0;
  // A vDSO among the guest's addresses would be unmapped or overwritten by it: clocks are host calls then.
  bool vdso_is_safe = vectors.vdso >= kGuestHighEnd;
  header.vdso_clock_gettime = vdso_is_safe ? find_vdso_symbol(vectors.vdso, "__vdso_clock_gettime") : 0;
  u32 eax = 1, ebx, ecx = 0, edx;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  header.processor[0] = eax;
  header.processor[1] = ecx;
  header.processor[2] = edx;
  if ((ecx >> 27 & 1) == 0) return;  // no OSXSAVE: FXSAVE it is
  u32 low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  header.xsave_mask = static_cast<u64>(high) << 32 | low;
  eax = 0xd;
  ecx = 0;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  header.xsave_size = ebx;
}

void set_action(int signal, u64 handler) {
  abi::SigAction action{handler, abi::kSA_SIGINFO | abi::kSA_ONSTACK | 0x04000000 /* SA_RESTORER */,
                        reinterpret_cast<u64>(&host_sigreturn), ~u64{0}};
  call(abi::kNR_rt_sigaction, static_cast<u64>(signal), address_of(&action), 0, sizeof(abi::SigSet));
}

// Synchronous signals and the kick are the kernel's; whatever else the host sends reaches the broker alone.
void take_signals() {
  for (int signal = 1; signal <= abi::kNSIG; signal++) {
    switch (signal) {
      case abi::kSIGSEGV:
      case abi::kSIGBUS:
      case abi::kSIGFPE:
      case abi::kSIGILL:
      case abi::kSIGTRAP:
      case abi::kSIGSYS:
      case kKickSignal:
        set_action(signal, reinterpret_cast<u64>(&host_signal_handler));
        break;
      case abi::kSIGKILL:
      case abi::kSIGSTOP:
      case abi::kSIGCONT:
        break;
      default:
        set_action(signal, abi::kSIG_IGN);
    }
  }
}

void confine() {
  constexpr u64 kPrSetNoNewPrivs = 38;
  constexpr u64 kSeccompSetModeFilter = 1, kSpecAllow = 4;
  struct {
    u16 length;
    const u64* filter;
  } program{static_cast<u16>(arena().filter_length), arena().filter};
  call(abi::kNR_setsid);
  gate::die_with_broker();
  call(abi::kNR_prctl, kPrSetNoNewPrivs, 1);
  // SPEC_ALLOW: hosts before 5.16 otherwise turn speculation off for the whole process, which slows it down.
  if (call(abi::kNR_seccomp, kSeccompSetModeFilter, kSpecAllow, address_of(&program)) != 0) {
    machine_refuse(125, "the host refused the seccomp filter");
  }
}

}  // namespace

extern "C" [[noreturn]] void template_main(const u64* stack) {
  HostVectors vectors = read_vectors(stack);
  map_arena();
  // FSGSBASE is the first thing that anything else needs.
  describe_processor(vectors);
  auto* core = new (&arena_at<TaskCore>(kTemplateCoreOffset)) TaskCore;
  gate::set_task(core);
  take_signals();
  map_runtime_for_clones();
  map_images();
  heap_start();
  pages_start();
  confine();
  trace_start();
  machine_start();
  serve_as_template();
}

}  // namespace teacup
