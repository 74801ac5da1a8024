#include "host/debug/crash_report.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "host/debug/call_frame.h"
#include "kernel/abi/mm.h"

namespace teacup::host {

namespace {

constexpr size_t kMostFrames = 128;

__attribute__((format(printf, 2, 3))) void add(std::string& text, const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  text += line;
}

unsigned long long wide(u64 value) {
  return value;
}

Registers by_dwarf_number(const abi::SigContext& c) {
  return {c.rax, c.rdx, c.rcx, c.rbx, c.rsi, c.rdi, c.rbp, c.rsp, c.r8,
          c.r9,  c.r10, c.r11, c.r12, c.r13, c.r14, c.r15, c.rip};
}

struct Named {
  int number;
  const char* name;
};

constexpr Named kSignals[] = {{abi::kSIGSEGV, "SIGSEGV"}, {abi::kSIGBUS, "SIGBUS"},
                              {abi::kSIGFPE, "SIGFPE"},   {abi::kSIGILL, "SIGILL"},
                              {abi::kSIGABRT, "SIGABRT"}, {abi::kSIGTRAP, "SIGTRAP"},
                              {abi::kSIGSYS, "SIGSYS"},   {abi::kSIGQUIT, "SIGQUIT"},
                              {abi::kSIGXCPU, "SIGXCPU"}, {abi::kSIGXFSZ, "SIGXFSZ"}};

std::string signal_name(int signal) {
  for (const Named& known : kSignals) {
    if (known.number == signal) return known.name;
  }
  return "signal " + std::to_string(signal);
}

// Why, in words, where the processor had a part in it.
std::string cause(const abi::SigInfo& info) {
  if (info.code <= 0) return " (sent by process " + std::to_string(info.rt.pid) + ")";
  if (info.code == abi::kSI_KERNEL) return "";
  char address[64];
  std::snprintf(address, sizeof address, "address %#llx", wide(info.fault.address));
  std::string where = address;
  switch (info.signo) {
    case abi::kSIGSEGV:
      return info.code == abi::kSEGV_MAPERR ? " (nothing is mapped at " + where + ")"
                                            : " (no permission for " + where + ")";
    case abi::kSIGBUS:
      return " (beyond the end of a file, at " + where + ")";
    case abi::kSIGFPE:
    case abi::kSIGILL:
    case abi::kSIGTRAP:
      return " (at " + where + ")";
    default:
      return "";
  }
}

void add_registers(std::string& text, const abi::SigContext& c) {
  const struct {
    const char* name;
    u64 value;
  } registers[] = {{"rip", c.rip}, {"rsp", c.rsp}, {"rbp", c.rbp}, {"rflags", c.rflags}, {"rax", c.rax},
                   {"rbx", c.rbx}, {"rcx", c.rcx}, {"rdx", c.rdx}, {"rsi", c.rsi},       {"rdi", c.rdi},
                   {"r8", c.r8},   {"r9", c.r9},   {"r10", c.r10}, {"r11", c.r11},       {"r12", c.r12},
                   {"r13", c.r13}, {"r14", c.r14}, {"r15", c.r15}};
  size_t column = 0;
  for (const auto& one : registers) {
    add(text, "  %6s %016llx", one.name, wide(one.value));
    if (++column % 4 == 0) text += '\n';
  }
  if (column % 4 != 0) text += '\n';
}

void add_mappings(std::string& text, const Program& program) {
  for (const ProgramMapping& m : program.mappings) {
    if (m.is_trampolines) continue;
    add(text, "  %012llx-%012llx %c%c%c%c %08llx %s\n", wide(m.start), wide(m.end),
        m.prot & abi::kPROT_READ ? 'r' : '-', m.prot & abi::kPROT_WRITE ? 'w' : '-',
        m.prot & abi::kPROT_EXEC ? 'x' : '-', m.is_shared ? 's' : 'p', wide(m.offset), m.name.c_str());
  }
}

}  // namespace

std::vector<CallFrame> call_stack(const Program& program) {
  ReadMemory read = [&](u64 address) -> std::optional<u64> {
    u64 at = address - program.head.stack_address, value;
    if (at > program.stack.size() || program.stack.size() - at < sizeof value) return std::nullopt;
    std::memcpy(&value, program.stack.data() + at, sizeof value);
    return value;
  };
  std::vector<CallFrame> frames;
  Registers registers = by_dwarf_number(program.head.registers);
  bool is_return = false;
  while (frames.size() < kMostFrames && (registers[kRegisterPc] != 0 || frames.empty())) {
    u64 pc = registers[kRegisterPc];
    frames.push_back({pc, is_return});
    u64 inside = pc - is_return;
    const ProgramMapping* text = program.at(inside);
    std::optional<rewrite::Frame> frame;
    if (text && text->is_text()) frame = text->file->functions().unwind().find(inside - text->bias);
    std::optional<Registers> caller;
    if (frame) {
      caller = caller_registers(text->file->object(), *frame, inside - text->bias, registers, read);
    } else if (frames.size() == 1 && !(text && text->is_text())) {
      // A call of something that is no function: where it was called from is on top of the stack.
      caller = registers;
      auto back = read(registers[kRegisterRsp]);
      if (!back) break;
      (*caller)[kRegisterPc] = *back;
      (*caller)[kRegisterRsp] += 8;
    } else if (auto back = read(registers[kRegisterRbp] + 8)) {
      // No unwind tables: code that keeps frame pointers.
      caller = registers;
      (*caller)[kRegisterPc] = *back;
      (*caller)[kRegisterRsp] = registers[kRegisterRbp] + 16;
      (*caller)[kRegisterRbp] = read(registers[kRegisterRbp]).value_or(0);
    }
    if (!caller || (*caller)[kRegisterRsp] <= registers[kRegisterRsp]) {
      // A signal's frame may lead to a stack below: an alternate one lies anywhere.
      if (!caller || !frame || !frame->signal_frame) break;
    }
    is_return = !(frame && frame->signal_frame);
    registers = *caller;
  }
  return frames;
}

std::string crash_report(const Program& program) {
  const abi::DebugReport& head = program.head;
  std::string text = "teacup: process " + std::to_string(head.pid) + " (" + program.name + ")";
  if (head.tid != head.pid) text += ", thread " + std::to_string(head.tid) + ",";
  text += " died of " + signal_name(head.info.signo) + cause(head.info) + "\n";
  add(text, " backtrace:\n");
  size_t number = 0;
  for (const CallFrame& frame : call_stack(program)) {
    add(text, "  #%-2zu 0x%016llx in ", number++, wide(frame.pc));
    text += program.where(frame.pc, frame.is_return) + "\n";
  }
  text += " registers:\n";
  add_registers(text, head.registers);
  text += " mappings:\n";
  add_mappings(text, program);
  return text;
}

}  // namespace teacup::host
