// From the top down:
//     eight bytes of zero
//     execfn, environment strings, argument strings    (one block, as prepare_program made it)
//     platform, random bytes
//     auxiliary vector, envp, argv, argc               <- stack pointer, 16-byte aligned
#include "loader/stack.h"

#include "kernel/abi/elf.h"
#include "kernel/base/arena_header.h"

namespace teacup {

namespace {

constexpr char kPlatform[] = "x86_64";
constexpr u64 kClockTicks = 100;
constexpr size_t kRandomSize = 16;
constexpr u64 kMaxAux = 24;  // pairs

// A signal frame at its largest: its fixed part, and the state that XSAVE writes, aligned, with its trailing
// magic.
u64 min_signal_stack() {
  constexpr u64 kFixed = 440 + 128 + 64 + 16 + 4;
  u64 state = arena().xsave_size != 0 ? arena().xsave_size : 512;
  return align_up(kFixed + state, 16);
}

// The words of the vectors, growing.
class Words {
 public:
  explicit Words(HeapArray<u64>& storage) : storage_(storage) {}
  void add(u64 word) { storage_[count_++] = word; }
  void add_aux(u64 type, u64 value) {
    add(type);
    add(value);
  }
  // The addresses of `count` strings that follow one another from `at` on (in the kernel) and `address` (on
  // the stack).
  void add_strings(const char* at, u64 address, u32 count) {
    for (u32 i = 0; i < count; i++) {
      add(address);
      u64 size = std::string_view(at).size() + 1;
      at += size;
      address += size;
    }
    add(0);
  }
  size_t count() const { return count_; }

 private:
  HeapArray<u64>& storage_;
  size_t count_ = 0;
};

}  // namespace

Result<u64> build_stack(u64 top, const ProgramRequest& request, const AuxValues& values,
                        mm::ProgramLayout& layout) {
  u64 strings = top - sizeof(u64) - request.strings_size;
  u64 platform = strings - sizeof(kPlatform);
  u64 random = align_down(platform - kRandomSize, 16);
  TRY(copy_to_guest(strings, request.strings.data(), request.strings_size));
  TRY(copy_to_guest(platform, kPlatform, sizeof(kPlatform)));
  TRY(copy_to_guest(random, request.random.data(), kRandomSize));

  size_t room = 3 + u64{request.argument_count} + request.environment_count + 2 * kMaxAux;
  auto storage = TRY(HeapArray<u64>::create(room));
  Words words(storage);
  u64 environment = strings + request.arguments_size;
  u64 execfn = environment + request.environment_size;
  words.add(request.argument_count);
  words.add_strings(request.strings.data(), strings, request.argument_count);
  words.add_strings(request.strings.data() + request.arguments_size, environment, request.environment_count);
  size_t first_aux = words.count();
  words.add_aux(abi::kAT_SYSINFO_EHDR, values.vdso);
  words.add_aux(abi::kAT_MINSIGSTKSZ, min_signal_stack());
  words.add_aux(abi::kAT_HWCAP, values.hwcap);
  words.add_aux(abi::kAT_PAGESZ, kPageSize);
  words.add_aux(abi::kAT_CLKTCK, kClockTicks);
  words.add_aux(abi::kAT_PHDR, values.program_headers);
  words.add_aux(abi::kAT_PHENT, request.image.header_size);
  words.add_aux(abi::kAT_PHNUM, request.image.header_count);
  words.add_aux(abi::kAT_BASE, values.interpreter_base);
  words.add_aux(abi::kAT_FLAGS, 0);
  words.add_aux(abi::kAT_ENTRY, values.entry);
  words.add_aux(abi::kAT_UID, request.ids.uid);
  words.add_aux(abi::kAT_EUID, request.ids.euid);
  words.add_aux(abi::kAT_GID, request.ids.gid);
  words.add_aux(abi::kAT_EGID, request.ids.egid);
  words.add_aux(abi::kAT_SECURE, request.ids.secure ? 1 : 0);
  words.add_aux(abi::kAT_RANDOM, random);
  constexpr u64 kFsgsbase = 2;  // HWCAP2_FSGSBASE: %fs is the guest's; %gs is refused by the kernel's docs
  words.add_aux(abi::kAT_HWCAP2, arena().has_fsgsbase ? kFsgsbase : 0);
  words.add_aux(abi::kAT_EXECFN, execfn);
  words.add_aux(abi::kAT_PLATFORM, platform);
  words.add_aux(abi::kAT_NULL, 0);
  KERNEL_ASSERT(words.count() <= room);

  u64 size = words.count() * sizeof(u64);
  u64 stack_pointer = align_down(random - size, 16);
  TRY(copy_to_guest(stack_pointer, storage.data(), size));
  layout.stack_start = stack_pointer;
  layout.arguments_start = strings;
  layout.arguments_end = layout.environment_start = environment;
  layout.environment_end = execfn;
  layout.auxv_start = stack_pointer + first_aux * sizeof(u64);
  layout.auxv_end = stack_pointer + size;
  return stack_pointer;
}

}  // namespace teacup
