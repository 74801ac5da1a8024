// A bad pointer is EFAULT, everywhere: null, unmapped, read-only, half mapped, in the range a library kernel
// uses for itself, not canonical. And it changes nothing: the machine goes on.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include <algorithm>
#include <vector>

#include "tests/guest/check.h"

namespace {

constexpr size_t kPage = 4096;

struct Bad {
  const char* name;
  uint64_t at;
};

// Addresses that no call may read or write.
std::vector<Bad> bad_addresses() {
  char* p = static_cast<char*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(p, kPage);
  mprotect(p + kPage, kPage, PROT_NONE);
  return {{"low", 8},
          {"unmapped", uint64_t(p)},
          {"PROT_NONE", uint64_t(p + kPage)},
          {"kernel range start", 0x600000000000},
          {"kernel range", 0x612345678000},
          {"kernel range end", 0x6ffffffff000},
          {"top of user space", 0x7ffffffff000},
          {"not canonical", 0x8000000000000000},
          {"host kernel", 0xffff800000000000},
          {"-1", ~0ull}};
}

// The last bytes before an unmapped page: objects that begin there do not fit.
char* edge() {
  static char* p;
  if (!p) {
    p = static_cast<char*>(
        mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    munmap(p + kPage, kPage);
  }
  return p + kPage;
}

int pipe_r, pipe_w, file, socket_a, socket_b, epoll_fd;

void prepare() {
  int fds[2];
  NEED_OK(pipe(fds));
  pipe_r = fds[0];
  pipe_w = fds[1];
  NEED_OK(write(pipe_w, "0123456789", 10));
  NEED(check::write_file("f", std::string(100, 'x')));
  file = NEED_OK(open("f", O_RDWR));
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  socket_a = fds[0];
  socket_b = fds[1];
  NEED_OK(write(socket_b, "0123456789", 10));
  epoll_fd = NEED_OK(epoll_create1(0));
  epoll_event e{};
  e.events = EPOLLIN;
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_r, &e);
}

void expect_fault(const char* call, const char* where, long result) {
  int e = errno;
  if (result == -1 && e == EFAULT) return;
  check::fail(__FILE__, __LINE__,
              std::string(call) + " at " + where + ": expected EFAULT, got " +
                  (result == -1 ? check::errno_text(e) : "result " + check::text(result)));
}

}  // namespace

#define FAULTS(...) (errno = 0, expect_fault(#__VA_ARGS__, bad.name, syscall(__VA_ARGS__)))

TEST(output_buffers) {
  prepare();
  for (const Bad& bad : bad_addresses()) {
    uint64_t p = bad.at;
    FAULTS(SYS_read, pipe_r, p, 5);
    FAULTS(SYS_read, file, p, 5);
    FAULTS(SYS_pread64, file, p, 5, 0);
    FAULTS(SYS_recvfrom, socket_a, p, 5, 0, 0, 0);
    FAULTS(SYS_stat, "/", p);
    FAULTS(SYS_fstat, file, p);
    FAULTS(SYS_newfstatat, AT_FDCWD, "/", p, 0);
    FAULTS(SYS_statx, AT_FDCWD, "/", 0, STATX_ALL, p);
    FAULTS(SYS_statfs, "/", p);
    FAULTS(SYS_getcwd, p, 100);
    FAULTS(SYS_uname, p);
    FAULTS(SYS_pipe2, p, 0);
    FAULTS(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, p);
    FAULTS(SYS_clock_gettime, CLOCK_MONOTONIC, p);
    FAULTS(SYS_gettimeofday, p, 0);
    FAULTS(SYS_getrlimit, RLIMIT_NOFILE, p);
    FAULTS(SYS_getrusage, RUSAGE_SELF, p);
    FAULTS(SYS_sysinfo, p);
    FAULTS(SYS_times, p);
    FAULTS(SYS_getrandom, p, 16, 0);
    FAULTS(SYS_getdents64, NEED_OK(dup(NEED_OK(open("/", O_RDONLY)))), p, 1000);
    FAULTS(SYS_readlink, "/proc/self/exe", p, 100);
    FAULTS(SYS_sched_getaffinity, 0, 128, p);
    FAULTS(SYS_getitimer, ITIMER_REAL, p);
    FAULTS(SYS_rt_sigpending, p, 8);
    FAULTS(SYS_rt_sigaction, SIGUSR1, 0, p, 8);
    FAULTS(SYS_sigaltstack, 0, p);
    FAULTS(SYS_epoll_wait, epoll_fd, p, 1, 0);
    FAULTS(SYS_getresuid, p, p, p);
    for (int fd = 20; fd < 64; fd++) close(fd);
  }
}

TEST(input_buffers) {
  prepare();
  for (const Bad& bad : bad_addresses()) {
    uint64_t p = bad.at;
    FAULTS(SYS_write, pipe_w, p, 5);
    FAULTS(SYS_write, file, p, 5);
    FAULTS(SYS_pwrite64, file, p, 5, 0);
    FAULTS(SYS_sendto, socket_a, p, 5, 0, 0, 0);
    FAULTS(SYS_readv, file, p, 1);
    FAULTS(SYS_writev, file, p, 1);
    FAULTS(SYS_sendmsg, socket_a, p, 0);
    FAULTS(SYS_recvmsg, socket_a, p, 0);
    FAULTS(SYS_poll, p, 1, 0);
    FAULTS(SYS_select, 5, p, 0, 0, 0);
    FAULTS(SYS_nanosleep, p, 0);
    FAULTS(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, p, 0);
    FAULTS(SYS_setitimer, ITIMER_REAL, p, 0);
    FAULTS(SYS_rt_sigaction, SIGUSR1, p, 0, 8);
    FAULTS(SYS_rt_sigprocmask, SIG_BLOCK, p, 0, 8);
    FAULTS(SYS_rt_sigsuspend, p, 8);
    FAULTS(SYS_rt_sigtimedwait, p, 0, 0, 8);
    FAULTS(SYS_sigaltstack, p, 0);
    FAULTS(SYS_setrlimit, RLIMIT_CORE, p);
    FAULTS(SYS_epoll_ctl, epoll_fd, EPOLL_CTL_ADD, socket_a, p);
    FAULTS(SYS_futex, p & ~3ull, 0, 0, 0, 0, 0);
    FAULTS(SYS_utimensat, AT_FDCWD, "f", p, 0);
    FAULTS(SYS_connect, socket_a, p, 16);
    FAULTS(SYS_prlimit64, 0, RLIMIT_CORE, p, 0);
    FAULTS(SYS_clone3, p, 64);
    FAULTS(SYS_openat2, AT_FDCWD, "f", p, 24);
    FAULTS(SYS_execve, "/proc/self/exe", p, 0);
  }
}

TEST(paths) {
  prepare();
  for (const Bad& bad : bad_addresses()) {
    uint64_t p = bad.at;
    FAULTS(SYS_open, p, O_RDONLY);
    FAULTS(SYS_openat, AT_FDCWD, p, O_RDONLY);
    struct stat st;
    FAULTS(SYS_stat, p, &st);
    FAULTS(SYS_lstat, p, &st);
    FAULTS(SYS_access, p, F_OK);
    FAULTS(SYS_mkdir, p, 0700);
    FAULTS(SYS_rmdir, p);
    FAULTS(SYS_unlink, p);
    FAULTS(SYS_rename, p, "x");
    FAULTS(SYS_rename, "f", p);
    FAULTS(SYS_link, "f", p);
    FAULTS(SYS_symlink, p, "x");
    FAULTS(SYS_symlink, "x", p);
    FAULTS(SYS_chmod, p, 0600);
    FAULTS(SYS_chown, p, 0, 0);
    FAULTS(SYS_truncate, p, 0);
    FAULTS(SYS_chdir, p);
    FAULTS(SYS_chroot, p);
    FAULTS(SYS_execve, p, 0, 0);
    FAULTS(SYS_memfd_create, p, 0);
    FAULTS(SYS_readlink, p, &st, 10);
    FAULTS(SYS_statfs, p, &st);
    FAULTS(SYS_mknod, p, S_IFIFO | 0600, 0);
  }
}

TEST(read_only_target) {
  prepare();
  const Bad bad{"read-only", uint64_t(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))};
  FAULTS(SYS_read, pipe_r, bad.at, 5);
  FAULTS(SYS_read, file, bad.at, 5);
  FAULTS(SYS_uname, bad.at);
  FAULTS(SYS_fstat, file, bad.at);
  FAULTS(SYS_clock_gettime, CLOCK_REALTIME, bad.at);
  const Bad text{"text", uint64_t(&prepare)};
  (void)text;
  errno = 0;
  expect_fault("read into text", "text", syscall(SYS_read, file, text.at, 5));
}

TEST(half_mapped_objects) {
  prepare();
  char* e = edge();
  const Bad bad{"edge", uint64_t(e - 8)};
  struct stat st;
  FAULTS(SYS_fstat, file, e - 8);
  FAULTS(SYS_uname, e - 8);
  FAULTS(SYS_clock_gettime, CLOCK_MONOTONIC, e - 8);
  FAULTS(SYS_nanosleep, e - 8, 0);
  memset(e - 8, 'p', 8);
  FAULTS(SYS_stat, e - 8, &st);  // a path without an end
  CHECK_OK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, e - sizeof(timespec)));
  strcpy(e - 2, "/");
  CHECK_OK(syscall(SYS_stat, e - 2, &st));
}

TEST(partial_transfers_count) {
  prepare();
  char* e = edge();
  // A pipe or file gives what fits before the fault.
  CHECK_EQ(read(file, e - 10, 50), 10);
  CHECK_EQ(lseek(file, 0, SEEK_CUR), 10);
  memset(e - 10, 'w', 10);
  CHECK_EQ(pwrite(file, e - 10, 50, 0), 10);
}

// Of every length, to and from every distance before the fault, and at every place in a cache line.
TEST(partial_transfers_count_of_any_length) {
  std::string content;
  for (int i = 0; i < 700; i++) content += static_cast<char>('a' + i * 7 % 26 + i % 3);
  NEED(check::write_file("content", content));
  int from = NEED_OK(open("content", O_RDONLY));
  int to = NEED_OK(open("copy", O_RDWR | O_CREAT, 0600));
  char* e = edge();
  std::string back(content.size(), 0);
  for (long size = 1; size < 700; size += size < 80 ? 1 : 29) {
    for (long room = 1; room < size; room += room < 40 ? 1 : 23) {
      memset(e - room, 0, static_cast<size_t>(room));
      CHECK_EQ(pread(from, e - room, static_cast<size_t>(size), 0), room);
      CHECK(memcmp(e - room, content.data(), static_cast<size_t>(room)) == 0);
      CHECK_EQ(pwrite(to, e - room, static_cast<size_t>(size), 0), room);
      CHECK_EQ(pread(to, back.data(), static_cast<size_t>(room), 0), room);
      CHECK(memcmp(back.data(), content.data(), static_cast<size_t>(room)) == 0);
    }
    std::string aside(content.size() + 64, '.');
    for (size_t at = 0; at < 64; at += 5) {
      CHECK_EQ(pread(from, aside.data() + at, static_cast<size_t>(size), 3), std::min(size, 697L));
      CHECK(memcmp(aside.data() + at, content.data() + 3, static_cast<size_t>(std::min(size, 697L))) == 0);
      CHECK_EQ(aside[at + static_cast<size_t>(std::min(size, 697L))], '.');
      aside.assign(aside.size(), '.');
    }
  }
}

TEST(faulting_wait_and_select_outputs) {
  prepare();
  for (const Bad& bad : bad_addresses()) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    FAULTS(SYS_wait4, child, bad.at, 0, 0);
    // Linux has reaped it by then.
    CHECK_ERR(waitpid(child, nullptr, 0), ECHILD);
  }
}

TEST(null_where_allowed) {
  prepare();
  CHECK_OK(syscall(SYS_gettimeofday, nullptr, nullptr));
  CHECK_OK(syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, nullptr, 8));
  CHECK_OK(syscall(SYS_sigaltstack, nullptr, nullptr));
  CHECK_OK(syscall(SYS_prlimit64, 0, RLIMIT_CORE, nullptr, nullptr));
  CHECK_EQ(syscall(SYS_read, file, nullptr, 0), 0);
  CHECK_EQ(syscall(SYS_write, file, nullptr, 0), 0);
  CHECK_OK(syscall(SYS_getrandom, nullptr, 0, 0));
  CHECK_OK(syscall(SYS_utimensat, AT_FDCWD, "f", nullptr, 0));
  pid_t child = fork();
  if (child == 0) _exit(0);
  CHECK_EQ(syscall(SYS_wait4, child, nullptr, 0, nullptr), child);
}

TEST(huge_lengths) {
  prepare();
  static char b[16];
  CHECK_ERR(syscall(SYS_read, file, b, -1L), EINVAL < 0 ? 0 : EFAULT);
  CHECK_ERR(syscall(SYS_getrandom, 8, 100, 0), EFAULT);
  // A length over 2 GiB is cut, not refused.
  char* big = static_cast<char*>(
      mmap(nullptr, 4ull << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  NEED(big != MAP_FAILED);
  CHECK_EQ(pread(file, big, 4ull << 30, 0), 100);
}

TEST(mappings_in_the_kernel_range_are_refused) {
  for (uint64_t at : {0x600000000000ull, 0x680000000000ull}) {
    auto p = reinterpret_cast<void*>(at);
    // Natively the range is free and these succeed or not as they like; they are undone. In a library kernel
    // they are ENOMEM. Neither may break the machine.
    void* got =
        mmap(p, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED)
      CHECK(errno == ENOMEM || errno == EEXIST);
    else
      munmap(got, kPage);
  }
  CHECK(getpid() > 0);
}

TEST(munmap_of_the_kernel_range_is_refused_or_void) {
  munmap(reinterpret_cast<void*>(0x600000000000), 1ull << 40);
  mprotect(reinterpret_cast<void*>(0x600000000000), 1 << 20, PROT_NONE);
  madvise(reinterpret_cast<void*>(0x600000000000), 1 << 20, MADV_DONTNEED);
  CHECK(getpid() > 0);
  CHECK_EXIT(check::in_child([] { _exit(3); }), 3);
}
