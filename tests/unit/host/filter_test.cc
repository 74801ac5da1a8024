// The seccomp filter, installed for real in a child: a call goes through only at the gate, only if a row has
// it, and only with the arguments that the row checks.
#include "host/filter/filter.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "host/gate/clone_flags.h"
#include "kernel/base/layout.h"

// A gate of the test's own: a page with `syscall; ret`, at an address that the filter is made for.
namespace teacup::host {
namespace {

using GateCall = long (*)(long number, long a, long b, long c, long d, long e, long f);

struct Gate {
  GateCall call;
  std::uint64_t gate_return;
};

// The same code twice: the second copy is "anywhere else".
Gate make_gate() {
  static const unsigned char kCode[] = {
      0x48, 0x89, 0xf8,              // mov %rdi, %rax
      0x48, 0x89, 0xf7,              // mov %rsi, %rdi
      0x48, 0x89, 0xd6,              // mov %rdx, %rsi
      0x48, 0x89, 0xca,              // mov %rcx, %rdx
      0x4d, 0x89, 0xc2,              // mov %r8, %r10
      0x4d, 0x89, 0xc8,              // mov %r9, %r8
      0x4c, 0x8b, 0x4c, 0x24, 0x08,  // mov 8(%rsp), %r9
      0x0f, 0x05,                    // syscall
      0xc3,                          // ret
  };
  auto* page = static_cast<unsigned char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::copy(std::begin(kCode), std::end(kCode), page);
  auto address = reinterpret_cast<std::uint64_t>(page);
  return {reinterpret_cast<GateCall>(page), address + sizeof kCode - 1};
}

// What became of `body` under the filter: its result's low byte, or 128 + the signal that ended it.
int under_filter(const std::function<int(GateCall gate)>& body, bool other_gate = false) {
  pid_t child = fork();
  if (child == 0) {
    Gate gate = make_gate();
    Gate elsewhere = make_gate();
    auto code = make_filter(gate.gate_return, kFirstImageFd + 1, false);
    sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) _exit(99);
    int result = body(other_gate ? elsewhere.call : gate.call);
    gate.call(SYS_exit_group, result, 0, 0, 0, 0, 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

constexpr int kRefused = 128 + SIGSYS;

int error_of(long result) {
  return result < 0 ? static_cast<int>(-result) : 0;
}

TEST(Filter, AllowsMemoryAtTheGate) {
  EXPECT_EQ(0, under_filter([](GateCall gate) {
              return error_of(gate(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) & 0x7f;
            }));
}

TEST(Filter, RefusesEverythingElsewhere) {
  EXPECT_EQ(kRefused,
            under_filter(
                [](GateCall gate) {
                  return error_of(gate(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
                },
                true));
  EXPECT_EQ(kRefused,
            under_filter([](GateCall gate) { return error_of(gate(SYS_exit, 0, 0, 0, 0, 0, 0)); }, true));
}

TEST(Filter, RefusesCallsThatNoRowHas) {
  for (long number : {SYS_open, SYS_openat, SYS_read, SYS_write, SYS_socket, SYS_kill, SYS_ptrace, SYS_execve,
                      SYS_getpid, SYS_process_vm_writev, SYS_memfd_create, SYS_ioctl, SYS_seccomp}) {
    EXPECT_EQ(kRefused,
              under_filter([number](GateCall gate) { return error_of(gate(number, 0, 0, 0, 0, 0, 0)); }))
        << "call " << number;
  }
}

TEST(Filter, MapsOnlyTheArenaAndImages) {
  auto map = [](long fd) {
    return under_filter([fd](GateCall gate) {
      return error_of(gate(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, fd, 0)) != 0 ? 1 : 0;
    });
  };
  EXPECT_EQ(kRefused, map(0));
  EXPECT_EQ(kRefused, map(kFirstImageFd + 1));
  EXPECT_EQ(kRefused, map(-1));
  EXPECT_NE(kRefused, map(kArenaFd));  // lets it through to the host, where it may not even be open
  EXPECT_NE(kRefused, map(kFirstImageFd));
}

TEST(Filter, ClonesOnlyWithTheTwoSetsOfFlags) {
  auto clone_with = [](unsigned long flags) {
    return under_filter([flags](GateCall gate) {
      int word = 0;
      long result = gate(SYS_clone, static_cast<long>(flags), 0, reinterpret_cast<long>(&word), 0, 0, 0);
      if (result == 0) gate(SYS_exit_group, 0, 0, 0, 0, 0, 0);
      return 0;
    });
  };
  EXPECT_EQ(0, clone_with(gate::kForkFlags));
  EXPECT_EQ(kRefused, clone_with(SIGCHLD));
  EXPECT_EQ(kRefused, clone_with(gate::kForkFlags | 0x10000000 /* CLONE_NEWUSER */));
  EXPECT_EQ(kRefused, clone_with(gate::kForkFlags | 0x100000000UL));
}

TEST(Filter, PrctlSetsOnlyTheParentDeathSignal) {
  auto prctl_with = [](long option, long value) {
    return under_filter([=](GateCall gate) { return error_of(gate(SYS_prctl, option, value, 0, 0, 0, 0)); });
  };
  EXPECT_EQ(0, prctl_with(PR_SET_PDEATHSIG, SIGKILL));
  EXPECT_EQ(kRefused, prctl_with(PR_SET_PDEATHSIG, SIGTERM));
  EXPECT_EQ(kRefused, prctl_with(PR_SET_DUMPABLE, 1));
}

TEST(Filter, ListsSixteenCallsWithReasons) {
  EXPECT_EQ(16U, host_surface().size());
  for (const SurfaceRow& row : host_surface()) EXPECT_NE('\0', *row.reason) << row.name;
  EXPECT_NE(std::string::npos, describe_host_surface().find("futex"));
  EXPECT_NE(std::string::npos, describe_host_surface().find("socket bind listen"));
}

}  // namespace
}  // namespace teacup::host
