#include "host/launch/template.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "host/filter/filter.h"
#include "host/launch/error.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

// The runtime's ELF file, embedded by runtime_blob.S, and the address its build wrote beside it.
extern "C" {
extern const unsigned char teacup_runtime_start[], teacup_runtime_end[];
extern const unsigned long teacup_gate_return;
}

namespace teacup::host {

namespace {

int runtime_memfd() {
  int fd = static_cast<int>(syscall(SYS_memfd_create, "teacup-runtime", MFD_CLOEXEC | MFD_EXEC));
  if (fd < 0 && errno == EINVAL)
    fd = static_cast<int>(syscall(SYS_memfd_create, "teacup-runtime", MFD_CLOEXEC));
  if (fd < 0) throw LaunchError("cannot make the runtime's file (memfd_create: " + errno_text(errno) + ")");
  const unsigned char* at = teacup_runtime_start;
  while (at < teacup_runtime_end) {
    ssize_t count = write(fd, at, static_cast<std::size_t>(teacup_runtime_end - at));
    if (count <= 0) throw LaunchError("cannot write the runtime's file: " + errno_text(errno));
    at += count;
  }
  return fd;
}

// In the child, between fork and exec. Descriptors are first moved out of the way of their targets.
[[noreturn]] void become_template(int arena_fd, const std::vector<int>& image_fds, int runtime_fd,
                                  int error_pipe) {
  auto fail = [&](const char* what) {
    dprintf(error_pipe, "%s: %s", what, std::strerror(errno));
    _exit(125);
  };
  int end = kFirstImageFd + static_cast<int>(image_fds.size());
  int high = end + 16;
  error_pipe = fcntl(error_pipe, F_DUPFD_CLOEXEC, high);
  int runtime = fcntl(runtime_fd, F_DUPFD_CLOEXEC, high);
  std::vector<int> sources{fcntl(arena_fd, F_DUPFD_CLOEXEC, high)};
  for (int fd : image_fds) sources.push_back(fcntl(fd, F_DUPFD_CLOEXEC, high));
  for (std::size_t i = 0; i < sources.size(); i++) {
    if (sources[i] < 0 || dup2(sources[i], kArenaFd + static_cast<int>(i)) < 0) fail("dup2");
  }
  for (int fd = 0; fd < kArenaFd; fd++) close(fd);
  // Everything else goes at exec, whatever the caller left open.
  if (syscall(SYS_close_range, static_cast<unsigned>(end), ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) != 0) {
    for (int fd = end; fd < 65536; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  // Where exec puts the runtime's stack and the vDSO (base/layout.h): at the very top. The host may refuse
  // the first.
  personality(ADDR_NO_RANDOMIZE);
  rlimit stack{8 << 20, RLIM_INFINITY};
  if (rlimit had{}; getrlimit(RLIMIT_STACK, &had) == 0) stack.rlim_max = had.rlim_max;
  setrlimit(RLIMIT_STACK, &stack);
  sigset_t empty;
  sigemptyset(&empty);
  sigprocmask(SIG_SETMASK, &empty, nullptr);
  char name[] = "teacup-machine";
  char* arguments[] = {name, nullptr};
  char* environment[] = {nullptr};
  syscall(SYS_execveat, runtime, "", arguments, environment, AT_EMPTY_PATH);
  fail("exec of the runtime");
  _exit(125);
}

// A process of the machine asks to be killed when its parent, this thread, dies (PR_SET_PDEATHSIG). If that
// has happened already nobody kills it, and to ask who its parent is would be one more call in its filter. So
// the host is told that this thread holds a robust futex (set_robust_list(2)): dying, it marks the word
// before it tells the children. The list is ours and not glibc's, whose pointers would lie in the arena; no
// other robust mutex is held by this thread.
void leave_mark_at_death(std::atomic<u32>& word) {
  static robust_list entry;
  static robust_list_head head;
  word.store(static_cast<u32>(syscall(SYS_gettid)), std::memory_order_seq_cst);
  entry.next = &head.list;
  head.list.next = &entry;
  head.futex_offset = reinterpret_cast<char*>(&word) - reinterpret_cast<char*>(&entry);
  head.list_op_pending = nullptr;
  syscall(SYS_set_robust_list, &head, sizeof head);
}

}  // namespace

pid_t start_template(Arena& arena, const std::vector<int>& image_fds) {
  ArenaHeader& header = teacup::arena();
  bool fsgsbase = (getauxval(AT_HWCAP2) & 2) != 0;
  auto filter =
      make_filter(teacup_gate_return, kFirstImageFd + static_cast<int>(image_fds.size()), !fsgsbase);
  static_assert(sizeof(sock_filter) == sizeof(header.filter[0]));
  if (filter.size() > std::size(header.filter)) throw LaunchError("the filter is too long");
  std::memcpy(header.filter, filter.data(), filter.size() * sizeof(sock_filter));
  header.filter_length = static_cast<std::uint32_t>(filter.size());
  header.heap_brk = arena.brk();

  int runtime = runtime_memfd();
  int errors[2];
  if (pipe2(errors, O_CLOEXEC) != 0) throw LaunchError("pipe: " + errno_text(errno));
  leave_mark_at_death(header.broker_life);
  pid_t pid = fork();
  if (pid < 0) throw LaunchError("cannot start a process: " + errno_text(errno));
  if (pid == 0) become_template(arena.fd(), image_fds, runtime, errors[1]);
  close(errors[1]);
  close(runtime);
  char text[256];
  ssize_t count = read(errors[0], text, sizeof text - 1);
  close(errors[0]);
  if (count > 0)
    throw LaunchError("cannot start the machine: " + std::string(text, static_cast<std::size_t>(count)));
  return pid;
}

}  // namespace teacup::host
