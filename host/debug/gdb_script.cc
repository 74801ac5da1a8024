#include "host/debug/gdb_script.h"

#include <cstdio>

#include "kernel/base/layout.h"

namespace teacup::host {

namespace {

// The unwinder. A thread in a system call has the guest's registers in its Frame (kernel/task/frame.h), below
// the top of its kernel stack, which the task at %gs:0 knows; in a trampoline only the program counter is
// another.
constexpr const char kUnwinder[] = R"(
import bisect
import struct
import gdb
import gdb.unwinder

KERNEL = (0x%llx, 0x%llx)
STACK_TOP = 40  # of the task: where its kernel stack ends, below which its Frame is
FRAME = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi number kind rip cs rflags rsp ss".split()
SAVED = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi rsp".split()

def guest_pc(pc):
    i = bisect.bisect_right(STARTS, pc) - 1
    return PCS[i][2] if i >= 0 and pc < PCS[i][0] + PCS[i][1] else pc

class Place:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc

def guest_registers(frame):
    task = int(frame.read_register("gs_base"))
    if not KERNEL[0] <= task < KERNEL[1]:
        return None
    memory = gdb.selected_inferior()
    top = struct.unpack("<Q", memory.read_memory(task + STACK_TOP, 8))[0]
    size = 8 * len(FRAME)
    values = dict(zip(FRAME, struct.unpack("<%%dQ" %% len(FRAME), memory.read_memory(top - size, size))))
    return values if values["cs"] == 0x33 else None

class TeacupUnwinder(gdb.unwinder.Unwinder):
    """From the kernel's code and from trampolines to the guest's."""

    def __init__(self):
        super().__init__("teacup")

    def __call__(self, frame):
        pc = int(frame.read_register("rip"))
        word = gdb.lookup_type("unsigned long")
        if KERNEL[0] <= pc < KERNEL[1]:
            try:
                values = guest_registers(frame)
            except gdb.MemoryError:
                return None
            if values is None:
                return None
            sp = int(frame.read_register("rsp"))
            info = frame.create_unwind_info(Place(gdb.Value(sp).cast(word), gdb.Value(pc).cast(word)))
            for name in SAVED:
                info.add_saved_register(name, gdb.Value(values[name]).cast(word))
            info.add_saved_register("rip", gdb.Value(guest_pc(values["rip"])).cast(word))
            return info
        to = guest_pc(pc)
        if to == pc:
            return None
        sp = int(frame.read_register("rsp"))
        info = frame.create_unwind_info(Place(gdb.Value(sp).cast(word), gdb.Value(pc).cast(word)))
        for name in SAVED:
            info.add_saved_register(name, frame.read_register(name))
        info.add_saved_register("rip", gdb.Value(to).cast(word))
        return info

gdb.unwinder.register_unwinder(None, TeacupUnwinder(), replace=True)
)";

std::string hex(u64 value) {
  char text[24];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

// (address, length, what the guest has there), by address.
std::string program_counters(const Program& program, u32 prepare_flags) {
  std::string text = "PCS = sorted([\n";
  for (const ProgramMapping& mapping : program.mappings) {
    if (!mapping.is_trampolines || !mapping.file) continue;
    for (const abi::PreparedPc& pc : mapping.file->prepared(prepare_flags).to_guest) {
      text += "(" + hex(mapping.object_base + pc.actual) + "," + std::to_string(pc.length) + "," +
              hex(mapping.object_base + pc.guest) + "),\n";
    }
  }
  return text + "])\nSTARTS = [pc[0] for pc in PCS]\n";
}

}  // namespace

std::string gdb_script(const Program& program, u32 prepare_flags,
                       const std::function<std::string(const ProgramFile&)>& file_path) {
  std::string text = "# gdb -p " + std::to_string(program.head.host_pid) + " -x THIS: process " +
                     std::to_string(program.head.pid) + " (" + program.name + ") of a teacup machine.\n";
  text +=
      "# Read it again (source THIS) when the program has loaded another library.\n"
      "# These are the machine's own: calls of unpatched code, and one task interrupting another.\n"
      "handle SIGSYS nostop noprint pass\n"
      "handle SIG40 nostop noprint pass\n";
  const ProgramFile* last = nullptr;
  for (const ProgramMapping& mapping : program.mappings) {
    if (!mapping.is_text() || mapping.file.get() == last) continue;
    last = mapping.file.get();
    std::string path = file_path(*mapping.file);
    if (!path.empty()) text += "add-symbol-file " + path + " -o " + hex(mapping.bias) + "\n";
  }
  char unwinder[sizeof kUnwinder + 64];
  std::snprintf(unwinder, sizeof unwinder, kUnwinder, static_cast<unsigned long long>(kGuestLowEnd),
                static_cast<unsigned long long>(kGuestHighStart));
  text += "python\n" + program_counters(program, prepare_flags) + unwinder + "end\n";
  return text;
}

}  // namespace teacup::host
