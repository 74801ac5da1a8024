// Kernel panic: message, task, registers, trace tail. The report goes into the arena's header; the broker
// prints it and ends the machine with 125.
#include "kernel/entry/panic.h"

#include "fs/vfs.h"
#include "host/gate/gate.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/format.h"
#include "kernel/base/panic.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/doorbell.h"
#include "kernel/syscall/trace.h"
#include "kernel/task/machine.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

// The first to panic reports; others wait to be killed with the machine.
[[noreturn]] void report(const char* what, const abi::SigContext* context, u64 detail, const char* file,
                         int line) {
  if (arena().panic_lock.exchange(1, std::memory_order_seq_cst) != 0) gate::exit_thread();
  TextBuffer text(arena().panic_text);
  text.add("kernel panic: ").add(what);
  if (file != nullptr) text.add(" (").add(file).add(':').dec(line).add(')');
  text.add('\n');
  TaskCore& core = current_core();
  text.add("task ")
      .dec(core.tid)
      .add(", host pid ")
      .udec(core.host_pid.load())
      .add(" tid ")
      .udec(core.host_tid.load());
  text.add('\n');
  if (context != nullptr) {
    struct {
      const char* name;
      u64 value;
    } registers[] = {
        {"rip", context->rip}, {"rsp", context->rsp}, {"rflags", context->rflags}, {"rax", context->rax},
        {"rbx", context->rbx}, {"rcx", context->rcx}, {"rdx", context->rdx},       {"rsi", context->rsi},
        {"rdi", context->rdi}, {"rbp", context->rbp}, {"r8", context->r8},         {"r9", context->r9},
        {"r10", context->r10}, {"r11", context->r11}, {"r12", context->r12},       {"r13", context->r13},
        {"r14", context->r14}, {"r15", context->r15}, {"cr2", context->cr2},       {"detail", detail}};
    int column = 0;
    for (const auto& item : registers) {
      text.add(item.name).add('=').hex(item.value, 16).add(++column % 4 == 0 ? '\n' : ' ');
    }
  }
  // Frame pointers are kept, so the kernel's call chain can be followed (addr2line -e runtime).
  u64 frame = context != nullptr ? context->rbp : reinterpret_cast<u64>(__builtin_frame_address(0));
  text.add("call chain:");
  for (int depth = 0; depth < 24 && in_kernel_range(frame) && frame % 8 == 0; depth++) {
    const u64* words = reinterpret_cast<const u64*>(frame);
    text.add(" 0x").hex(words[1]);
    if (words[0] <= frame) break;
    frame = words[0];
  }
  text.add('\n');
  trace_tail(text);
  u32 running = 0;
  arena().ended.compare_exchange_strong(running, 2, std::memory_order_seq_cst);
  (void)ring_post(abi::RingOp::kMachineEnded);
  gate::exit_process(125);
}

}  // namespace

void panic(const char* message) {
  report(message, nullptr, 0, nullptr, 0);
}
void panic_at(const char* message, const char* file, int line) {
  report(message, nullptr, 0, file, line);
}
void panic_context(const char* what, const abi::SigContext& context, u64 detail) {
  report(what, &context, detail, nullptr, 0);
}

namespace {

// From the heap: messages are read from the arena.
void say_not_kept(Errno error) {
  constexpr size_t kRoom = 256;
  auto* buffer = static_cast<char*>(heap_allocate(kRoom));
  if (buffer == nullptr) return;
  TextBuffer text({buffer, kRoom});
  text.add("teacup run: what was written since the last fsync is not in --upper's file: ")
      .add(errno_name(error));
  machine_message(text.text().data(), text.text().size());
  heap_free(buffer);
}

}  // namespace

void machine_end(u32 wait_status) {
  if (auto kept = fs::fs_finish(); !kept.ok()) {
    say_not_kept(kept.error());
    if (wait_status == 0) wait_status = 125 << 8;
  }
  arena().exit_status.store(wait_status, std::memory_order_relaxed);
  u32 running = 0;
  if (!arena().ended.compare_exchange_strong(running, 1, std::memory_order_seq_cst)) return;
  while (!ring_post(abi::RingOp::kMachineEnded).ok()) gate::yield();
}

void machine_refuse(u32 exit_code, const char* text) {
  TextBuffer message(arena().panic_text);
  message.add(text);
  arena().exit_status.store(exit_code << 8, std::memory_order_relaxed);
  u32 running = 0;
  arena().ended.compare_exchange_strong(running, 3, std::memory_order_seq_cst);
  while (!ring_post(abi::RingOp::kMachineEnded).ok()) gate::yield();
  gate::exit_process(static_cast<int>(exit_code));
}

void machine_message(const char* text, u64 length) {
  (void)ring_call(abi::RingOp::kMessage, reinterpret_cast<u64>(text) - kArenaBase, length);
}

}  // namespace teacup

// What the compiler and libstdc++'s headers may call.
extern "C" void __cxa_pure_virtual() {
  teacup::panic("pure virtual call");
}
namespace std {
void __throw_out_of_range_fmt(const char* what, ...) {
  teacup::panic(what);
}
void __throw_length_error(const char* what) {
  teacup::panic(what);
}
void __throw_logic_error(const char* what) {
  teacup::panic(what);
}
void __glibcxx_assert_fail(const char*, int, const char*, const char* what) noexcept {
  teacup::panic(what);
}
}  // namespace std
