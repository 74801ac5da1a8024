#include "kernel/syscall/trace.h"

#include "kernel/abi/stats.h"
#include "kernel/frame/heap.h"
#include "kernel/syscall/show.h"
#include "kernel/syscall/signature.h"
#include "kernel/task/machine.h"
#include "kernel/task/task.h"
#include "kernel/task/tracer.h"

namespace teacup {

namespace {

// The last calls of the machine, written without a lock: a report may show a torn entry, never a wrong
// address.
struct TraceRing {
  static constexpr u32 kEntries = 64;
  std::atomic<u64> next{0};
  std::atomic<u64> entries[kEntries] = {};  // tid << 32 | number
};

}  // namespace

// A line on its way: made when the call starts, sent when it is known how it ended. The broker reads the text
// from the heap. It belongs to the task, not to the stack, because a call may end elsewhere: exec in another
// host process, exit nowhere.
struct TraceLine {
  static constexpr size_t kLongest = 4096;

  TraceLine(const SyscallEntry& call_entry, u64 call_number, const std::array<u64, 6>& registers)
      : entry(call_entry), number(call_number), text({storage, kLongest}), call{text, registers} {}

  char storage[kLongest];
  const SyscallEntry& entry;
  u64 number;
  TextBuffer text;
  CallText call;
  u32 shown = 0;  // arguments
};

namespace {

// Shows arguments until one that waits for the call's end.
void show_arguments(TraceLine& line, bool returned) {
  const ArgumentPrinters& printers = *line.entry.printers;
  for (; line.shown < printers.size() && printers[line.shown] != nullptr; line.shown++) {
    const Printer& printer = *printers[line.shown];
    if (printer.after && !returned) return;
    size_t before = line.text.length();
    bool first = line.text.text().back() == '(';
    if (!first) line.text.add(", ");
    size_t start = line.text.length();
    printer.print(line.call, line.shown, printer);
    if (line.text.length() == start) line.text.cut(before);
  }
}

void show_result(TraceLine& line) {
  TextBuffer& text = line.text;
  s64 result = line.call.result;
  text.add(" = ");
  line.call.result_at = text.length();
  if (line.call.failed()) {
    text.add(-result >= 512 ? "? " : "-1 ");
    show::error(text, static_cast<Errno>(-result));
  } else if (line.entry.form == ResultForm::kAddress) {
    if (result == 0) {
      text.add('0');
    } else {
      text.add("0x").hex(static_cast<u64>(result));
    }
  } else if (line.entry.form == ResultForm::kMode) {
    show::mode(text, static_cast<u32>(result));
  } else {
    text.dec(result);
  }
  const ArgumentPrinters& printers = *line.entry.printers;
  for (u32 i = 0; i < printers.size() && printers[i] != nullptr; i++) {
    if (auto note = printers[i]->note) note(line.call, i);
  }
  if (!line.entry.is_listed) text.add(" (not implemented)");
}

void begin(TextBuffer& text, const Task& task) {
  text.add('[').dec(task.tid).add("] ");
}

void begin_call(Task& task, const SyscallEntry& entry, u64 number, const std::array<u64, 6>& registers) {
  TraceLine* line = make<TraceLine>(entry, number, registers).value_or(nullptr);
  task.trace_line = line;
  if (line == nullptr) return;
  begin(line->text, task);
  if (entry.name != nullptr) {
    line->text.add(entry.name);
  } else {
    line->text.add("syscall_").udec(number);
  }
  line->text.add('(');
  const ArgumentPrinters& printers = *entry.printers;
  for (u32 i = 0; i < printers.size() && printers[i] != nullptr; i++) {
    if (auto before = printers[i]->before) before(line->call, i);
  }
  show_arguments(*line, false);
}

void send(TextBuffer& text) {
  if (text.full()) {
    text.cut(text.length() - 4);
    text.add("...");
  }
  machine_message(text.text().data(), text.length());
}

// `result` null: the call never returns.
void end_call(Task& task, const s64* result) {
  TraceLine* line = std::exchange(task.trace_line, nullptr);
  if (line == nullptr) return;
  if (result != nullptr) {
    line->call.result = *result;
    line->call.returned = true;
    show_arguments(*line, true);
    line->text.add(')');
    show_result(*line);
  } else {
    line->text.add(") = ?");
  }
  send(line->text);
  destroy(line);
}

// A line that is no call's. The broker reads it from the heap.
template <typename Show>
void send_event(const Task& task, Show show_event) {
  constexpr size_t kLongest = 512;
  auto* storage = static_cast<char*>(heap_allocate(kLongest));
  if (storage == nullptr) return;
  TextBuffer text({storage, kLongest});
  begin(text, task);
  show_event(text);
  send(text);
  heap_free(storage);
}

// rt_sigreturn(2) has no argument but the frame on the stack, of which the mask is in force by now.
void print_signal_frame(CallText& call, u32, const Printer&) {
  call.text.add("{mask=");
  show::signal_set(call.text, current_task().signals.blocked);
  call.text.add('}');
}

class CallTracer final : public Tracer {
 public:
  void call_succeeded(Task& task) override {
    s64 result = 0;
    end_call(task, &result);
  }

  void signal_taken(Task& task, const abi::SigInfo& info) override {
    if (info.signo == abi::kSIGKILL) return;  // as with strace: its end says it
    send_event(task, [&](TextBuffer& text) {
      text.add("--- ");
      show::signal(text, info.signo);
      text.add(' ');
      show::signal_info(text, info);
      text.add(" ---");
    });
  }

  void stopped(Task& task, int signal) override {
    send_event(task, [&](TextBuffer& text) {
      text.add("--- stopped by ");
      show::signal(text, signal);
      text.add(" ---");
    });
  }

  void ended(Task& task, u32 status) override {
    end_call(task, nullptr);
    send_event(task, [&](TextBuffer& text) {
      if ((status & 0x7f) == 0) {
        text.add("+++ exited with ").udec(status >> 8 & 0xff).add(" +++");
        return;
      }
      text.add("+++ killed by ");
      show::signal(text, static_cast<s32>(status & 0x7f));
      text.add((status & 0x80) != 0 ? " (core dumped) +++" : " +++");
    });
  }
};

}  // namespace

namespace show {
constinit const Printer signal_frame{&print_signal_frame, nullptr, true};
}

void trace_start() {
  auto ring = make<TraceRing>();
  KERNEL_ASSERT(ring.ok());
  set_root(Root::kTrace, ring.value());
  if (abi::boot_config().trace == 0) return;
  auto lines = make<CallTracer>();
  KERNEL_ASSERT(lines.ok());
  set_root<Tracer>(Root::kTracer, lines.value());
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
  if (config.trace != 0) begin_call(task, entry, number, registers);
  s64 result = entry.handler(task, frame);
  if (!entry.is_control || result != 0) frame.rax = static_cast<u64>(result);
  if (config.trace != 0) {
    s64 shown = static_cast<s64>(frame.rax);
    end_call(task, &shown);
  }
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

}  // namespace teacup
