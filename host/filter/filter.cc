#include "host/filter/filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cstddef>

#include "host/gate/clone_flags.h"
#include "kernel/base/layout.h"

namespace teacup::host {

namespace {

enum class Check { kAny, kMapFds, kCloneFlags, kParentDeathSignal };

struct Row {
  SurfaceRow shown;
  Check check;
};

const char* describe(Check check) {
  switch (check) {
    case Check::kAny:
      return "";
    case Check::kMapFds:
      return "MAP_ANONYMOUS, or a descriptor of the arena or an image";
    case Check::kCloneFlags:
      return "exactly the flags of a thread, or of a fork (host/gate/clone_flags.h)";
    case Check::kParentDeathSignal:
      return "PR_SET_PDEATHSIG, SIGKILL";
  }
  return "";
}

const Row kRows[] = {
#define ROW(name, check, reason) {{#name, SYS_##name, describe(Check::check), reason}, Check::check},
#include "host/filter/host_surface.def"
#undef ROW
};

struct BrokerCalls {
  const char* names;
  const char* reason;
};
const BrokerCalls kBrokerSockets[] = {
#define CALLS(names, reason) {names, reason},
#include "host/filter/broker_sockets.def"
#undef CALLS
};

constexpr std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
constexpr std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

// A filter under construction: straight-line blocks, each ending in a verdict, so that no jump is longer than
// its block.
class Program {
 public:
  void load(std::size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)); }
  void load_argument(int index, bool upper) {
    load(offsetof(seccomp_data, args) + static_cast<std::size_t>(index) * 8 + (upper ? 4 : 0));
  }
  void mask(std::uint32_t bits) { add(BPF_ALU | BPF_AND | BPF_K, 0, 0, bits); }
  void verdict(std::uint32_t action) { add(BPF_RET | BPF_K, 0, 0, action); }
  // Goes on only if the accumulator equals `value`; otherwise SIGSYS.
  void require(std::uint32_t value) {
    add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
    verdict(SECCOMP_RET_TRAP);
  }
  // Runs the next `length` instructions only if the accumulator equals (does not equal) `value`.
  void if_equal(std::uint32_t value, int length) { add(BPF_JMP | BPF_JEQ | BPF_K, 0, length, value); }
  void if_any_bit(std::uint32_t bits, int length) { add(BPF_JMP | BPF_JSET | BPF_K, 0, length, bits); }
  void allow() { verdict(SECCOMP_RET_ALLOW); }

  std::size_t size() const { return code_.size(); }
  void append(const Program& other) { code_.insert(code_.end(), other.code_.begin(), other.code_.end()); }
  std::vector<sock_filter> take() { return std::move(code_); }

  void add(int code, int if_true, int if_false, std::uint32_t value) {
    code_.push_back({static_cast<std::uint16_t>(code), static_cast<std::uint8_t>(if_true),
                     static_cast<std::uint8_t>(if_false), value});
  }

 private:
  std::vector<sock_filter> code_;
};

Program check_block(Check check, int fd_end) {
  Program block;
  switch (check) {
    case Check::kAny:
      break;
    case Check::kMapFds:
      block.load_argument(3, false);
      block.if_any_bit(0x20 /* MAP_ANONYMOUS */, 1);
      block.allow();
      block.load_argument(4, true);
      block.require(0);
      block.load_argument(4, false);
      block.add(BPF_JMP | BPF_JGE | BPF_K, 1, 0, kArenaFd);
      block.verdict(SECCOMP_RET_TRAP);
      block.add(BPF_JMP | BPF_JGE | BPF_K, 0, 1, static_cast<std::uint32_t>(fd_end));
      block.verdict(SECCOMP_RET_TRAP);
      break;
    case Check::kCloneFlags:
      block.load_argument(0, true);
      block.require(0);
      block.load_argument(0, false);
      block.if_equal(low(gate::kThreadFlags), 1);
      block.allow();
      block.require(low(gate::kForkFlags));
      break;
    case Check::kParentDeathSignal:
      block.load_argument(0, false);
      block.require(PR_SET_PDEATHSIG);
      block.load_argument(1, false);
      block.require(SIGKILL);
      break;
  }
  block.allow();
  return block;
}

}  // namespace

std::span<const SurfaceRow> host_surface() {
  static const auto rows = [] {
    std::array<SurfaceRow, std::size(kRows)> result{};
    for (std::size_t i = 0; i < std::size(kRows); i++) result[i] = kRows[i].shown;
    return result;
  }();
  return rows;
}

std::string describe_host_surface() {
  std::string text =
      "What guest-side processes may ask of the host, only at the gate's one syscall instruction.\n"
      "Anything else there ends the machine; a syscall instruction anywhere else is served by teacup's "
      "kernel.\n\n";
  for (const Row& row : kRows) {
    std::string name = row.shown.name;
    name.resize(17, ' ');
    text += name + row.shown.reason + "\n";
    if (*row.shown.check != '\0') text += std::string(17, ' ') + "checked: " + row.shown.check + "\n";
  }
  text += "\n" + std::to_string(std::size(kRows)) +
          " calls; on hosts without FSGSBASE also arch_prctl (this thread's FS and GS bases).\n";
  text +=
      "\nThe broker, outside that filter, has the files, the terminal and the sockets of the host. Sockets "
      "it "
      "uses\nonly where -p, --allow-net, --connect, --hosts or --network host-proxy is given:\n\n";
  for (const BrokerCalls& calls : kBrokerSockets) {
    std::string names = calls.names;
    names.resize(39, ' ');
    text += names + calls.reason + "\n";
  }
  return text;
}

std::vector<sock_filter> make_filter(std::uint64_t gate_return, int fd_end, bool allow_arch_prctl) {
  Program program;
  program.load(offsetof(seccomp_data, arch));
  program.require(AUDIT_ARCH_X86_64);
  program.load(offsetof(seccomp_data, instruction_pointer));
  program.require(low(gate_return));
  program.load(offsetof(seccomp_data, instruction_pointer) + 4);
  program.require(high(gate_return));
  auto add_row = [&](long number, const Program& block) {
    program.load(offsetof(seccomp_data, nr));
    program.if_equal(static_cast<std::uint32_t>(number), static_cast<int>(block.size()));
    program.append(block);
  };
  for (const Row& row : kRows) add_row(row.shown.number, check_block(row.check, fd_end));
  if (allow_arch_prctl) add_row(SYS_arch_prctl, check_block(Check::kAny, fd_end));
  program.verdict(SECCOMP_RET_TRAP);
  return program.take();
}

}  // namespace teacup::host
