#include "kernel/syscall/trace.h"

#include "kernel/abi/stats.h"
#include "kernel/frame/heap.h"
#include "kernel/syscall/signature.h"
#include "kernel/task/machine.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

// The last calls of the machine, written without a lock: a report may show a torn entry, never a wrong
// address.
struct TraceRing {
  static constexpr u32 kEntries = 64;
  std::atomic<u64> next{0};
  std::atomic<u64> entries[kEntries] = {};  // tid << 32 | number
};

void print_result(TextBuffer& text, const SyscallEntry& entry, s64 result) {
  text.add(" = ");
  if (result < 0 && result >= -4095) {
    Errno error = static_cast<Errno>(-result);
    text.add(-result >= 512 ? "? " : "-1 ").add(errno_name(error));
  } else if (result > 0xffffff || result < 0) {
    text.add("0x").hex(static_cast<u64>(result));
  } else {
    text.dec(result);
  }
  if (!entry.is_listed) text.add(" (not implemented)");
}

void send_line(Task& task, const SyscallEntry& entry, u64 number, const std::array<u64, 6>& registers,
               const s64* result) {
  // The line is built in the heap: the broker reads it from the arena.
  constexpr size_t kLine = 1024;
  auto* line = static_cast<char*>(heap_allocate(kLine));
  if (line == nullptr) return;
  TextBuffer text({line, kLine});
  text.add('[').dec(task.tid).add("] ");
  if (entry.name != nullptr) {
    text.add(entry.name);
  } else {
    text.add("syscall_").udec(number);
  }
  text.add('(');
  entry.print(text, registers);
  text.add(')');
  if (result != nullptr) {
    print_result(text, entry, *result);
  } else {
    text.add(" = ?");
  }
  machine_message(line, text.length());
  heap_free(line);
}

// Calls that may not come back to traced_call in this task: shown before they run.
bool may_not_return(const SyscallEntry& entry) {
  if (entry.is_control) return true;
  std::string_view name = entry.name != nullptr ? entry.name : "";
  return name == "exit" || name == "exit_group" || name == "vfork" || name == "fork" || name == "clone" ||
         name == "clone3";
}

}  // namespace

void trace_start() {
  auto ring = make<TraceRing>();
  KERNEL_ASSERT(ring.ok());
  set_root(Root::kTrace, ring.value());
}

void traced_call(Task& task, Frame& frame, const SyscallEntry& entry) {
  const abi::BootConfig& config = abi::boot_config();
  auto registers = call_registers(frame);
  u64 number = frame.call_number;
  if (TraceRing* ring = root<TraceRing>(Root::kTrace)) {
    u64 at = ring->next.fetch_add(1, std::memory_order_relaxed);
    ring->entries[at % TraceRing::kEntries].store(static_cast<u64>(task.tid) << 32 | number,
                                                  std::memory_order_relaxed);
  }
  u64 index = number < kSyscallCount ? number : kSyscallCount;
  abi::machine_stats().calls[index].fetch_add(1, std::memory_order_relaxed);
  if (!entry.is_listed) abi::machine_stats().unimplemented[index].fetch_add(1, std::memory_order_relaxed);
  bool before = config.trace != 0 && may_not_return(entry);
  if (before) send_line(task, entry, number, registers, nullptr);
  s64 result = entry.handler(task, frame);
  if (config.trace != 0 && !before) send_line(task, entry, number, registers, &result);
  if (!entry.is_control || result != 0) frame.rax = static_cast<u64>(result);
}

void count_trapped() {
  abi::machine_stats().trapped.fetch_add(1, std::memory_order_relaxed);
}

void trace_tail(TextBuffer& text) {
  TraceRing* ring = root<TraceRing>(Root::kTrace);
  if (ring == nullptr) return;
  u64 next = ring->next.load(std::memory_order_relaxed);
  if (next == 0) {
    text.add("last calls: not recorded (run with --trace or --stats)\n");
    return;
  }
  text.add("last calls:");
  for (u64 at = next > 16 ? next - 16 : 0; at < next; at++) {
    u64 entry = ring->entries[at % TraceRing::kEntries].load(std::memory_order_relaxed);
    const char* name = syscall_entry_of(entry & 0xffffffff).name;
    text.add(' ').udec(entry >> 32).add(':').add(name != nullptr ? name : "?");
  }
  text.add('\n');
}

void print_string(TextBuffer& text, GuestString string) {
  if (string.address() == 0) {
    text.add("NULL");
    return;
  }
  char buffer[128];
  auto read = string.read(buffer);
  if (!read.ok() && !read.is(Errno::NAMETOOLONG)) {
    text.add("0x").hex(string.address());
    return;
  }
  std::string_view shown = read.ok() ? read.value() : std::string_view(buffer, sizeof buffer);
  text.add('"').add(shown).add(read.ok() ? "\"" : "\"...");
}

void print_bytes(TextBuffer& text, u64 address, u64 size) {
  constexpr u64 kShown = 32;
  unsigned char bytes[kShown];
  u64 count = size < kShown ? size : kShown;
  if (!copy_from_guest(bytes, address, count).ok()) {
    text.add("0x").hex(address);
    return;
  }
  text.add('"');
  for (u64 i = 0; i < count; i++) {
    unsigned char c = bytes[i];
    if (c == '\n') {
      text.add("\\n");
    } else if (c == '"' || c == '\\') {
      text.add('\\').add(static_cast<char>(c));
    } else if (c < 0x20 || c >= 0x7f) {
      text.add("\\x").hex(c, 2);
    } else {
      text.add(static_cast<char>(c));
    }
  }
  text.add(size > kShown ? "\"..." : "\"");
}

}  // namespace teacup
