// Calls of many kinds, for trace_test.py: it runs this natively under strace and in a machine under --trace, and
// the lines between the two markers are to be the same. Works in the directory that it is started in.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static char data[4096];
static void marker(const char* name) {
  syscall(SYS_write, -1, name, strlen(name));
}
static void handler(int signal) {
  (void)signal;
}

static void files(void) {
  int fd = syscall(SYS_openat, AT_FDCWD, "file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  syscall(SYS_open, "absent", O_WRONLY | O_APPEND | O_NONBLOCK);
  syscall(SYS_open, "file", O_RDONLY | O_NOFOLLOW | 0x8000000);
  close(4);
  write(fd, "a \"line\"\n\t\1\0012\377 and more than thirty-two bytes", 46);
  lseek(fd, -4, SEEK_END);
  lseek(fd, 0, SEEK_SET);
  read(fd, data, 8);
  read(fd, data, sizeof data);
  read(fd, data, sizeof data);
  pread(fd, data, 4, 2);
  pwrite(fd, "xyz", 3, 5);
  struct iovec pieces[2] = {{"one", 3}, {"two\n", 4}};
  writev(fd, pieces, 2);
  lseek(fd, 0, SEEK_SET);
  struct iovec space[2] = {{data, 4}, {data + 100, 100}};
  readv(fd, space, 2);
  struct stat status;
  syscall(SYS_fstat, fd, &status);
  syscall(SYS_stat, "/dev/null", &status);
  syscall(SYS_newfstatat, AT_FDCWD, "file", &status, AT_SYMLINK_NOFOLLOW);
  syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH);
  syscall(SYS_lstat, "absent", &status);
  syscall(SYS_access, "file", R_OK | W_OK);
  syscall(SYS_access, "file", F_OK);
  syscall(SYS_faccessat2, AT_FDCWD, "file", X_OK, AT_EACCESS);
  syscall(SYS_mkdir, "folder", 0755);
  syscall(SYS_chmod, "folder", 01700);
  syscall(SYS_stat, "/dev/tty", &status);
  syscall(SYS_umask, 027);
  syscall(SYS_umask, 022);
  syscall(SYS_mknod, "fifo", S_IFIFO | 0600, 0);
  syscall(SYS_symlink, "file", "link");
  syscall(SYS_readlink, "link", data, sizeof data);
  syscall(SYS_rename, "link", "other");
  syscall(SYS_renameat2, AT_FDCWD, "other", AT_FDCWD, "file", RENAME_NOREPLACE);
  syscall(SYS_unlinkat, AT_FDCWD, "folder", AT_REMOVEDIR);
  syscall(SYS_unlink, "fifo");
  syscall(SYS_unlink, "other");
  struct timespec times[2] = {{1, 2}, {0, UTIME_OMIT}};
  syscall(SYS_utimensat, AT_FDCWD, "file", times, 0);
  syscall(SYS_chown, "file", -1, -1);
  syscall(SYS_fallocate, fd, FALLOC_FL_KEEP_SIZE, 0, 8192);
  syscall(SYS_fadvise64, fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  syscall(SYS_flock, fd, LOCK_EX | LOCK_NB);
  syscall(SYS_ftruncate, fd, 100);
  syscall(SYS_fcntl, fd, F_GETFL);
  syscall(SYS_fcntl, fd, F_SETFL, O_APPEND | O_NONBLOCK);
  syscall(SYS_fcntl, fd, F_GETFD);
  syscall(SYS_fcntl, fd, F_SETFD, 0);
  syscall(SYS_fcntl, fd, F_GETFD);
  syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 20);
  syscall(SYS_dup3, fd, 21, O_CLOEXEC);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 2};
  syscall(SYS_fcntl, fd, F_SETLK, &lock);
  lock.l_type = F_UNLCK;
  syscall(SYS_fcntl, fd, F_SETLK, &lock);
  syscall(SYS_ioctl, fd, TCGETS, data);
  syscall(SYS_ioctl, fd, FIOCLEX);
  syscall(SYS_ioctl, fd, 0x40047a01, 16);
  int folder = syscall(SYS_openat, AT_FDCWD, ".", O_RDONLY | O_DIRECTORY);
  syscall(SYS_getdents64, folder, data, sizeof data);
  off_t offset = 1;
  int to = syscall(SYS_memfd_create, "copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  syscall(SYS_sendfile, to, fd, &offset, 10);
  syscall(SYS_fcntl, to, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
  syscall(SYS_fcntl, to, F_GET_SEALS);
  close_range(fd, ~0U, 0);
  close(fd);
}

static void memory(void) {
  char* map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(map, 4096, PROT_NONE);
  mprotect(map, 4096, PROT_READ | PROT_EXEC);
  madvise(map, 8192, MADV_DONTNEED);
  msync(map, 4096, MS_SYNC);
  map = mremap(map, 8192, 16384, MREMAP_MAYMOVE);
  munmap(map, 16384);
  mmap(NULL, 4096, PROT_READ, MAP_SHARED, 77, 0x2000);
  syscall(SYS_brk, 0);
  syscall(SYS_write, 1, (void*)1, 10);
  syscall(SYS_open, (void*)16, O_RDONLY);
  syscall(SYS_open, NULL, O_RDONLY);
}

static void signals(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGINT);
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGUSR1, NULL, &action);
  action.sa_handler = SIG_IGN;
  action.sa_flags = 0;
  sigaction(SIGPIPE, &action, NULL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  kill(getpid(), SIGUSR1);
  syscall(SYS_rt_sigpending, &set, 8);
  sigfillset(&set);
  sigprocmask(SIG_SETMASK, NULL, &set);
  sigfillset(&set);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  kill(getpid(), SIGRTMIN + 70);
  // A call that is interrupted: blocked until it waits for it.
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGALRM, handler);
  struct itimerval soon = {{0, 0}, {0, 1000}};
  syscall(SYS_setitimer, ITIMER_REAL, &soon, NULL);
  sigemptyset(&set);
  syscall(SYS_rt_sigsuspend, &set, 8);
  stack_t stack = {.ss_sp = data, .ss_flags = 0, .ss_size = sizeof data};
  sigaltstack(&stack, NULL);
  stack.ss_flags = SS_DISABLE;
  sigaltstack(&stack, NULL);
}

static void times(void) {
  struct timespec time = {0, 1000};
  syscall(SYS_nanosleep, &time, NULL);
  syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
  syscall(SYS_clock_getres, CLOCK_REALTIME_COARSE + 90, &time);
  struct itimerval next = {{0, 0}, {1000, 5}};
  struct itimerval zero = {{0, 0}, {0, 0}};
  syscall(SYS_setitimer, ITIMER_VIRTUAL, &next, NULL);
  syscall(SYS_setitimer, ITIMER_VIRTUAL, &zero, NULL);
  syscall(SYS_getitimer, ITIMER_REAL, &zero);
  int fd = syscall(SYS_timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  struct itimerspec spec = {{0, 0}, {1000, 7}};
  syscall(SYS_timerfd_settime, fd, 0, &spec, NULL);
  close(fd);
}

static void waiting(void) {
  int ends[2];
  syscall(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK);
  read(ends[0], data, 10);
  struct pollfd files[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT | POLLHUP, 0}};
  syscall(SYS_poll, files, 1, 0);
  write(ends[1], "x", 1);
  syscall(SYS_poll, files, 2, -1);
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(ends[0], &in);
  FD_SET(ends[1], &out);
  syscall(SYS_select, ends[1] + 1, &in, &out, NULL, NULL);
  struct timeval none = {0, 0};
  FD_ZERO(&out);
  syscall(SYS_read, ends[0], data, 1);
  syscall(SYS_select, ends[1] + 1, &in, NULL, NULL, &none);
  int available;
  ioctl(ends[0], FIONREAD, &available);
  int epoll = syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 5};
  syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, ends[0], &event);
  syscall(SYS_epoll_wait, epoll, &event, 1, 0);
  write(ends[1], "y", 1);
  syscall(SYS_epoll_wait, epoll, &event, 1, -1);
  syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL, ends[0], NULL);
  int counter = syscall(SYS_eventfd2, 3, EFD_SEMAPHORE | EFD_NONBLOCK);
  int watch = syscall(SYS_inotify_init1, IN_NONBLOCK);
  syscall(SYS_inotify_add_watch, watch, ".", IN_CREATE | IN_DELETE | IN_ONLYDIR);
  close(counter);
  close(watch);
  close(epoll);
  close(ends[0]);
  signal(SIGPIPE, handler);
  write(ends[1], "z", 1);
  close(ends[1]);
}

static void sockets(void) {
  int pair[2];
  syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
  syscall(SYS_sendto, pair[0], "hello", 5, MSG_NOSIGNAL, NULL, 0);
  syscall(SYS_recvfrom, pair[1], data, 100, MSG_DONTWAIT, NULL, NULL);
  int value = 1;
  socklen_t length = sizeof value;
  syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_PASSCRED, &value, sizeof value);
  syscall(SYS_getsockopt, pair[0], SOL_SOCKET, SO_TYPE, &value, &length);
  syscall(SYS_getsockopt, pair[0], SOL_SOCKET, SO_ERROR, &value, &length);
  struct iovec piece = {"message", 7};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &pair[0], sizeof(int));
  syscall(SYS_sendmsg, pair[1], &message, MSG_NOSIGNAL);
  syscall(SYS_shutdown, pair[1], SHUT_WR);
  int server = syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};
  syscall(SYS_bind, server, &name, sizeof name);
  syscall(SYS_listen, server, 5);
  int client = syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  syscall(SYS_connect, client, &name, sizeof name);
  length = sizeof name;
  int accepted = syscall(SYS_accept4, server, &name, &length, SOCK_CLOEXEC);
  length = sizeof name;
  syscall(SYS_getpeername, client, &name, &length);
  syscall(SYS_connect, client, &(struct sockaddr_un){AF_UNIX, "absent"}, sizeof name);
  close(accepted);
  close(client);
  close(server);
  close(pair[0]);
  close(pair[1]);
  unlink("socket");
}

static void processes(void) {
  struct rlimit limit = {0, 0};
  syscall(SYS_setrlimit, RLIMIT_CORE, &limit);
  syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, &limit);
  limit.rlim_cur = limit.rlim_max = 1 << 20;
  syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, &limit, NULL);
  syscall(SYS_prctl, PR_SET_NAME, "renamed");
  syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGTERM);
  syscall(SYS_prctl, PR_SET_PDEATHSIG, 0);
  syscall(SYS_getpriority, PRIO_PROCESS, 0);
  int word = 0;
  syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, NULL);
  syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, ~0);
  // SIGCHLD comes when it is let, at the end.
  signal(SIGCHLD, handler);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int status;
  syscall(SYS_wait4, -1, &status, WNOHANG | WUNTRACED, NULL);
  int pid = syscall(SYS_fork);
  if (pid == 0) syscall(SYS_exit_group, 3);
  syscall(SYS_wait4, pid, &status, 0, NULL);
  pid = syscall(SYS_fork);
  if (pid == 0) {
    syscall(SYS_kill, getpid(), SIGTERM);
  }
  siginfo_t info;
  syscall(SYS_waitid, P_PID, pid, &info, WEXITED | WNOWAIT, NULL);
  syscall(SYS_wait4, pid, &status, 0, NULL);
  pid = syscall(SYS_fork);
  if (pid == 0) {
    char* arguments[] = {"program", "with \"quotes\"", "x", NULL};
    char* environment[] = {"A=1", "B=2", NULL};
    syscall(SYS_execve, "/absent/program", arguments, environment);
    syscall(SYS_execve, "./trace_calls", (char*[]){"./trace_calls", "end", NULL}, (char*[]){NULL});
  }
  syscall(SYS_wait4, pid, &status, 0, NULL);
  pid = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL);
  if (pid == 0) {
    *(volatile int*)8 = 1;
  }
  syscall(SYS_wait4, pid, &status, 0, NULL);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(int count, char** words) {
  (void)words;
  if (count > 1) {
    marker("again");
    return 7;
  }
  marker("begin");
  files();
  memory();
  signals();
  times();
  waiting();
  sockets();
  processes();
  marker("end");
  return 5;
}
