#include "host/launch/template.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <span>

#include "host/filter/filter.h"
#include "host/launch/error.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

// The runtime's ELF file, embedded by runtime_blob.S, the address its build wrote beside it, and the program
// that maps it (runtime_loader.S).
extern "C" {
extern const unsigned char teacup_runtime_start[];
extern const unsigned long teacup_gate_return;
extern const unsigned char teacup_loader_start[], teacup_loader_segments[], teacup_loader_entry[],
    teacup_loader_end[];
}

namespace teacup::host {

namespace {

// What runtime_loader.S has room for.
constexpr std::size_t kMostSegments = 4;
struct LoaderSegment {
  u64 address, length, prot, offset;
};

// Where `data` of this command lies in the command's file.
u64 offset_in_command(const unsigned char* data) {
  struct Search {
    u64 address;
    u64 offset;
    bool found;
  } search{reinterpret_cast<u64>(data), 0, false};
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* argument) {
        auto& wanted = *static_cast<Search*>(argument);
        for (const ElfW(Phdr) & segment : std::span(object->dlpi_phdr, object->dlpi_phnum)) {
          u64 start = object->dlpi_addr + segment.p_vaddr;
          if (segment.p_type != PT_LOAD || wanted.address - start >= segment.p_filesz) continue;
          wanted.offset = segment.p_offset + wanted.address - start;
          wanted.found = true;
        }
        return 1;  // the first object is the command
      },
      &search);
  if (!search.found) throw LaunchError("the runtime is not in the teacup command: it was built wrongly");
  return search.offset;
}

std::vector<LoaderSegment> runtime_segments(const Elf64_Ehdr& runtime) {
  const auto* headers = reinterpret_cast<const Elf64_Phdr*>(teacup_runtime_start + runtime.e_phoff);
  const u64 base = offset_in_command(teacup_runtime_start);
  std::vector<LoaderSegment> segments;
  for (const Elf64_Phdr& header : std::span(headers, runtime.e_phnum)) {
    if (header.p_type != PT_LOAD) continue;
    u64 prot = PROT_READ | ((header.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
    segments.push_back({header.p_vaddr, header.p_memsz, prot, base + header.p_offset});
  }
  if (segments.size() > kMostSegments)
    throw LaunchError("the runtime has too many segments: it was built wrongly");
  return segments;
}

// The loader's file. Its name is how processes of the machine are known (broker.cc).
int make_loader() {
  std::vector<unsigned char> file(teacup_loader_start, teacup_loader_end);
  auto* header = reinterpret_cast<Elf64_Ehdr*>(file.data());
  auto* segment = reinterpret_cast<Elf64_Phdr*>(file.data() + header->e_phoff);
  header->e_entry += kRuntimeLoader;
  segment->p_vaddr = segment->p_paddr = kRuntimeLoader;
  const auto& runtime = *reinterpret_cast<const Elf64_Ehdr*>(teacup_runtime_start);
  const std::vector<LoaderSegment> segments = runtime_segments(runtime);
  std::memcpy(file.data() + (teacup_loader_segments - teacup_loader_start), segments.data(),
              segments.size() * sizeof segments[0]);
  std::memcpy(file.data() + (teacup_loader_entry - teacup_loader_start), &runtime.e_entry,
              sizeof runtime.e_entry);
  int fd = static_cast<int>(syscall(SYS_memfd_create, "teacup-runtime", MFD_CLOEXEC | MFD_EXEC));
  if (fd < 0 && errno == EINVAL)
    fd = static_cast<int>(syscall(SYS_memfd_create, "teacup-runtime", MFD_CLOEXEC));
  if (fd < 0) throw LaunchError("cannot make the runtime's file (memfd_create: " + errno_text(errno) + ")");
  if (write(fd, file.data(), file.size()) != static_cast<ssize_t>(file.size()))
    throw LaunchError("cannot write the runtime's file: " + errno_text(errno));
  return fd;
}

int open_command() {
  int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw LaunchError("cannot open /proc/self/exe (" + errno_text(errno) + "): is /proc mounted?");
  return fd;
}

// In the child, between vfork and exec, on the parent's memory, while the parent, which has one thread only,
// waits. Descriptors are first moved out of the way of their targets.
[[noreturn]] void become_template(int arena_fd, const std::vector<int>& guest_fds, int loader_fd,
                                  int command_fd, int error_pipe) {
  auto fail = [&](const char* what) {
    dprintf(error_pipe, "%s: %s", what, std::strerror(errno));
    _exit(125);
  };
  int end = kFirstImageFd + static_cast<int>(guest_fds.size());
  int high = end + 16;
  error_pipe = fcntl(error_pipe, F_DUPFD_CLOEXEC, high);
  int loader = fcntl(loader_fd, F_DUPFD_CLOEXEC, high);
  int command = fcntl(command_fd, F_DUPFD_CLOEXEC, high);
  std::vector<int> sources{fcntl(arena_fd, F_DUPFD_CLOEXEC, high)};
  for (int fd : guest_fds) sources.push_back(fcntl(fd, F_DUPFD_CLOEXEC, high));
  for (std::size_t i = 0; i < sources.size(); i++) {
    if (sources[i] < 0 || dup2(sources[i], kArenaFd + static_cast<int>(i)) < 0) fail("dup2");
  }
  if (dup2(command, 0) < 0) fail("dup2");  // the loader's
  for (int fd = 1; fd < kArenaFd; fd++) close(fd);
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
  syscall(SYS_execveat, loader, "", arguments, environment, AT_EMPTY_PATH);
  fail("exec of the runtime");
  _exit(125);
}

// A function of its own: its frame alone is used by both. The child only prepares descriptors, and execs, so
// nothing of this process's memory need be copied.
[[gnu::noinline]] pid_t fork_template(int arena_fd, const std::vector<int>& guest_fds, int loader,
                                      int command, int error_pipe) {
  pid_t pid = vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (pid == 0) become_template(arena_fd, guest_fds, loader, command, error_pipe);
  return pid;
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

pid_t start_template(Arena& arena, const std::vector<int>& guest_fds) {
  ArenaHeader& header = teacup::arena();
  bool fsgsbase = (getauxval(AT_HWCAP2) & 2) != 0;
  auto filter =
      make_filter(teacup_gate_return, kFirstImageFd + static_cast<int>(guest_fds.size()), !fsgsbase);
  static_assert(sizeof(sock_filter) == sizeof(header.filter[0]));
  if (filter.size() > std::size(header.filter)) throw LaunchError("the filter is too long");
  std::memcpy(header.filter, filter.data(), filter.size() * sizeof(sock_filter));
  header.filter_length = static_cast<std::uint32_t>(filter.size());
  header.heap_brk = arena.brk();

  int loader = make_loader(), command = open_command();
  int errors[2];
  if (pipe2(errors, O_CLOEXEC) != 0) throw LaunchError("pipe: " + errno_text(errno));
  leave_mark_at_death(header.broker_life);
  pid_t pid = fork_template(arena.fd(), guest_fds, loader, command, errors[1]);
  if (pid < 0) throw LaunchError("cannot start a process: " + errno_text(errno));
  close(errors[1]);
  close(loader);
  close(command);
  char text[256];
  ssize_t count = read(errors[0], text, sizeof text - 1);
  close(errors[0]);
  if (count > 0)
    throw LaunchError("cannot start the machine: " + std::string(text, static_cast<std::size_t>(count)));
  return pid;
}

}  // namespace teacup::host
