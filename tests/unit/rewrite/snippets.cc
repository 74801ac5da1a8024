#include "tests/unit/rewrite/snippets.h"

#include <asm/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace teacup::test {
namespace {

// Writes instructions, with labels that are bound later.
class Generator {
 public:
  explicit Generator(std::mt19937& random) : random_(random) {}

  // Nothing if a short branch did not reach.
  bool generate(Snippet& snippet) {
    unsigned items = 5 + pick(22);
    for (unsigned i = 0; i < items; i++) {
      for (size_t label = 0; label < labels_.size(); label++) {
        if (labels_[label] == kUnbound && pick(3) == 0) bind(label);
      }
      pick(5) == 0 ? call() : item();
    }
    if (sites_.empty()) call();
    if (pick(3) == 0) item();
    for (size_t label = 0; label < labels_.size(); label++) {
      if (labels_[label] == kUnbound) bind(label);
    }
    begin();
    emit({0xc3});
    u64 end = here();
    unsigned padding = pick(16);
    while (padding > 0) {
      unsigned length = std::min(padding, 1 + pick(9));
      nop(length);
      padding -= length;
    }
    u64 next = here();
    emit({0xc3});
    if (here() > kText + kPageSize || !resolve()) return false;
    ElfBuilder elf;
    elf.text = code_;
    elf.function("snippet", kText, end);
    elf.function("next", next, next + 1);
    elf.data = data_;
    snippet = {elf.build(), instructions_, sites_, elf.data_address()};
    return true;
  }

 private:
  static constexpr u64 kUnbound = ~u64{0};
  static constexpr u64 kData = kText + kPageSize;
  struct Fixup {
    size_t at;
    unsigned width;
    size_t label;
  };

  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }
  u64 here() const { return kText + code_.size(); }
  void emit(std::initializer_list<unsigned> bytes) {
    for (unsigned byte : bytes) code_.push_back(static_cast<u8>(byte));
  }
  void emit32(u32 value) { emit({value & 0xff, value >> 8 & 0xff, value >> 16 & 0xff, value >> 24}); }
  void begin() { instructions_.push_back(here()); }
  void bind(size_t label) { labels_[label] = here(); }

  // Registers by number, without rsp; rax is the number of a call, so ordinary instructions do not write it,
  // and rcx and r11 are not the same after a call.
  unsigned writable() {
    constexpr unsigned kRegisters[] = {2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 1, 11};
    return kRegisters[pick(sites_.empty() ? 14 : 12)];
  }
  unsigned readable() {
    constexpr unsigned kRegisters[] = {0, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 1, 11};
    return kRegisters[pick(sites_.empty() ? 15 : 13)];
  }

  void rex(bool wide, unsigned reg, unsigned rm) {
    unsigned byte = 0x40 | (wide ? 8 : 0) | (reg >> 3) << 2 | rm >> 3;
    if (byte != 0x40) emit({byte});
  }
  void registers(unsigned opcode, unsigned reg, unsigned rm) {
    rex(pick(2), reg, rm);
    emit({opcode, 0xc0 | (reg & 7) << 3 | (rm & 7)});
  }
  // A PC-relative operand with `behind` bytes of immediate.
  void pc_relative(unsigned reg, unsigned behind = 0) {
    emit({(reg & 7) << 3 | 5});
    u64 target = kData + 8 * pick(64);
    emit32(static_cast<u32>(target - (here() + 4 + behind)));
  }
  void nop(unsigned length) {
    static constexpr u8 kNops[9][9] = {{0x90},
                                       {0x66, 0x90},
                                       {0x0f, 0x1f, 0x00},
                                       {0x0f, 0x1f, 0x40, 0x00},
                                       {0x0f, 0x1f, 0x44, 0x00, 0x00},
                                       {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
                                       {0x0f, 0x1f, 0x80, 0, 0, 0, 0},
                                       {0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0},
                                       {0x66, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0}};
    code_.insert(code_.end(), kNops[length - 1], kNops[length - 1] + length);
  }

  void branch(bool conditional) {
    size_t label = labels_.size();
    labels_.push_back(kUnbound);
    bool wide = pick(3) == 0;
    unsigned condition = pick(16);
    if (conditional) {
      wide ? emit({0x0f, 0x80 | condition}) : emit({0x70 | condition});
    } else {
      emit({wide ? 0xe9u : 0xebu});
    }
    fixups_.push_back({code_.size(), wide ? 4u : 1u, label});
    code_.resize(code_.size() + (wide ? 4 : 1));
  }

  // A switch: lea table, %r8; movslq (%r8,%r9,4), %r9; add %r8, %r9; jmp *%r9, with r9 = flags' choice.
  void jump_table() {
    u64 table = kData + 1024 + data_tables_;
    emit({0x41, 0x89, 0xf1});  // mov %esi, %r9d
    begin();
    emit({0x41, 0x83, 0xe1, 0x03});  // and $3, %r9d
    begin();
    emit({0x4c, 0x8d, 0x05});  // lea table(%rip), %r8
    emit32(static_cast<u32>(table - (here() + 4)));
    begin();
    emit({0x4f, 0x63, 0x0c, 0x88});
    begin();
    emit({0x4d, 0x01, 0xc1});
    begin();
    emit({0x41, 0xff, 0xe1});
    for (unsigned i = 0; i < 4; i++) {
      tables_.push_back({table, labels_.size()});
      labels_.push_back(kUnbound);
    }
    data_tables_ += 16;
  }

  void item() {
    begin();
    switch (pick(24)) {
      case 0:
        rex(false, 0, last_ = writable()), emit({0xb8 | (last_ & 7)}), emit32(random_());
        break;
      case 1:
        registers(0x89, readable(), writable());
        break;
      case 2:
        registers(0x01, readable(), writable());
        break;
      case 3:
        registers(0x29, readable(), writable());
        break;
      case 4:
        registers(0x39, readable(), readable());
        break;
      case 5:
        registers(0x85, readable(), readable());
        break;
      case 6:
        emit({0xff, 0x05}), emit_target(0);
        break;  // incl x
      case 7:
        rex(true, last_ = writable(), 0), emit({0x8b}), pc_relative(last_);
        break;
      case 8:
        rex(true, last_ = readable(), 0), emit({0x89}), pc_relative(last_);
        break;
      case 9:
        emit({0x83, 0x3d}), emit_target(1), emit({pick(256)});
        break;  // cmpl $imm8, x
      case 10:
        emit({0xc7, 0x05}), emit_target(4), emit32(random_());
        break;  // movl $imm32, x
      case 11:
        rex(true, last_ = readable(), 0), emit({0x01}), pc_relative(last_);
        break;
      case 12:
        nop(1 + pick(9));
        break;
      case 13:
        rex(true, last_ = readable(), 0), emit({0x89, 0x44 | (last_ & 7) << 3, 0x24, 0xf8});
        break;  // red zone
      case 14:
        rex(true, 3, 0), emit({0x83, 0xfb, pick(128)});
        break;  // cmp $imm8, %rbx
      case 15:
        emit({0x48, 0x3d}), emit32(0xfffff000);
        break;  // cmp $-4096, %rax
      case 16:
        emit({0x0f, 0x90 | pick(16), 0xc3});
        break;  // setcc %bl
      case 17:
        emit({0x48, 0x0f, 0x40 | pick(16), 0xf2});
        break;  // cmovcc %rdx, %rsi
      case 18:
        emit({0xff, 0xc2});
        break;  // inc %edx
      case 19:
        emit({0x66, 0x0f, 0x6f, 0x05}), emit_target(0, true);
        break;  // movdqa x, %xmm0
      case 20:
        pick(4) ? branch(true) : branch(false);
        break;
      case 21:
        branch(true);
        break;
      case 22:
        pick(3) || data_tables_ >= 256 ? branch(true) : jump_table();
        break;
      default:
        emit({0x31, 0xd2});
        break;  // xor %edx, %edx
    }
  }
  void emit_target(unsigned behind, bool aligned = false) {
    u64 target = kData + (aligned ? 16 * pick(32) : 8 * pick(64));
    emit32(static_cast<u32>(target - (here() + 4 + behind)));
  }

  // A call whose number does not exist, and whose result is no number either.
  void call() {
    unsigned between = pick(3);
    if (pick(5)) {
      begin();
      emit({0xb8}), emit32(100000 + pick(100000));
    }
    while (between-- > 0) item();
    if (pick(4) == 0 && !labels_.empty() && labels_.back() == kUnbound) bind(labels_.size() - 1);
    begin();
    sites_.push_back(here());
    emit({0x0f, 0x05});
  }

  bool resolve() {
    data_.resize(2048);
    for (size_t i = 0; i < 1024; i++) data_[i] = static_cast<u8>(random_());
    for (const Fixup& fixup : fixups_) {
      s64 distance = static_cast<s64>(labels_[fixup.label] - (kText + fixup.at + fixup.width));
      if (fixup.width == 1 && distance > 127) return false;
      for (unsigned i = 0; i < fixup.width; i++) code_[fixup.at + i] = static_cast<u8>(distance >> (8 * i));
    }
    for (size_t i = 0; i < tables_.size(); i++) {
      s32 distance = static_cast<s32>(labels_[tables_[i].second] - tables_[i].first);
      std::memcpy(data_.data() + (tables_[i].first - kData) + 4 * (i % 4), &distance, 4);
    }
    return true;
  }

  std::mt19937& random_;
  std::vector<u8> code_;
  std::vector<u8> data_;
  std::vector<u64> instructions_;
  std::vector<u64> sites_;
  std::vector<u64> labels_;
  std::vector<Fixup> fixups_;
  std::vector<std::pair<u64, size_t>> tables_;
  u64 data_tables_ = 0;
  unsigned last_ = 0;
};

// What %gs points to while snippets run. The assembly below knows the offsets.
struct Block {
  u64 self = 0;
  u64 enter = 0;  // 8
  u64 unused[6] = {};
  u64 back = 0;        // 64
  u64 second = 0;      // 72: what `enter` becomes after a restart
  u64 restart_at = 0;  // 80
  u64 target = 0;      // 88
  u64 scratch = 0;     // 96
};
thread_local Block g_block;

std::vector<u64>* g_trace;
u64 g_trace_begin, g_trace_end;

void on_step(int, siginfo_t*, void* context) {
  u64 pc = static_cast<u64>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  if (pc >= g_trace_begin && pc < g_trace_end) g_trace->push_back(pc - g_trace_begin);
}

}  // namespace

extern "C" void teacup_test_call(Registers* registers);
extern "C" void teacup_test_enter();
extern "C" void teacup_test_restart();
asm(R"(
.text
teacup_test_enter:
  mov %rcx, %gs:64
  syscall
  jmp *%gs:64
teacup_test_restart:
  mov %gs:72, %r11
  mov %r11, %gs:8
  jmp *%gs:80
teacup_test_call:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  push %rdi
  pushq 120(%rdi)
  mov 0(%rdi), %rax
  mov 8(%rdi), %rbx
  mov 16(%rdi), %rcx
  mov 24(%rdi), %rdx
  mov 32(%rdi), %rsi
  mov 48(%rdi), %rbp
  mov 56(%rdi), %r8
  mov 64(%rdi), %r9
  mov 72(%rdi), %r10
  mov 80(%rdi), %r11
  mov 88(%rdi), %r12
  mov 96(%rdi), %r13
  mov 104(%rdi), %r14
  mov 112(%rdi), %r15
  mov 40(%rdi), %rdi
  popfq
  call *%gs:88
  mov %rdi, %gs:96
  pop %rdi
  pushfq
  popq 120(%rdi)
  pushfq
  andq $-257, (%rsp)
  popfq
  mov %rax, 0(%rdi)
  mov %rbx, 8(%rdi)
  mov %rcx, 16(%rdi)
  mov %rdx, 24(%rdi)
  mov %rsi, 32(%rdi)
  mov %gs:96, %rax
  mov %rax, 40(%rdi)
  mov %rbp, 48(%rdi)
  mov %r8, 56(%rdi)
  mov %r9, 64(%rdi)
  mov %r10, 72(%rdi)
  mov %r11, 80(%rdi)
  mov %r12, 88(%rdi)
  mov %r13, 96(%rdi)
  mov %r14, 104(%rdi)
  mov %r15, 112(%rdi)
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
)");

Snippet random_snippet(std::mt19937& random) {
  Snippet snippet;
  while (!Generator(random).generate(snippet)) {
  }
  return snippet;
}

Memory::Memory(const std::vector<std::byte>& file) : file_(file) {
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  base_ = static_cast<u8*>(memory);
  restore();
}

Memory::~Memory() {
  munmap(base_, kSize);
}

void Memory::restore() {
  // ElfBuilder's files have everything at the same place in the file and in memory.
  std::memcpy(base_, file_.data(), std::min(file_.size(), kSize));
}

Outcome run(Memory& memory, u64 entry, const Registers& registers, u64 data, bool trace, u64 restart_at) {
  constexpr u64 kTrap = 0x100;
  Outcome result{.registers = registers, .data = {}, .trace = {}};
  auto address_of = [](void (*code)()) { return reinterpret_cast<u64>(code); };
  g_block.enter = address_of(restart_at ? teacup_test_restart : teacup_test_enter);
  g_block.second = address_of(teacup_test_enter);
  g_block.restart_at = reinterpret_cast<u64>(memory.at(restart_at));
  g_block.target = reinterpret_cast<u64>(memory.at(entry));
  syscall(SYS_arch_prctl, ARCH_SET_GS, &g_block);
  if (trace) {
    g_trace = &result.trace;
    result.trace.reserve(4096);
    g_trace_begin = reinterpret_cast<u64>(memory.at(0));
    g_trace_end = g_trace_begin + 16 * kPageSize;
    struct sigaction action {};
    action.sa_sigaction = on_step;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, nullptr);
    result.registers.flags |= kTrap;
  }
  teacup_test_call(&result.registers);
  if (trace) signal(SIGTRAP, SIG_DFL);
  result.registers.flags &= ~kTrap;
  result.registers.general[kRcx] = result.registers.general[kR11] = 0;
  result.data.assign(memory.at(data), memory.at(data) + 2048);
  return result;
}

}  // namespace teacup::test
