// fork, vfork, posix_spawn, wait in all its forms, exit codes, orphans and zombies.
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <vector>

#include "tests/guest/check.h"

extern char** environ;

HELPER(exit) {
  return argc > 1 ? atoi(argv[1]) : 0;
}
HELPER(say_fd) {
  // Writes its argument to fd 10 if open, else gives 9.
  return write(10, argv[1], strlen(argv[1])) < 0 ? 9 : 0;
}
HELPER(mask) {
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  struct sigaction sa;
  sigaction(SIGUSR2, nullptr, &sa);
  return sigismember(&now, SIGUSR1) * 2 + (sa.sa_handler == SIG_IGN);
}
HELPER(pgrp) {
  return getpgrp() == getpid() ? 1 : 0;
}
HELPER(cwd) {
  char b[256];
  return strcmp(getcwd(b, sizeof b) ? b : "", argv[1]) == 0 ? 0 : 1;
}

TEST(fork_copies_memory) {
  static int data = 1;
  int on_stack = 2;
  int* on_heap = new int(3);
  CHECK_EXIT(check::in_child([&] {
               data = 10;
               on_stack = 20;
               *on_heap = 30;
             }),
             0);
  CHECK_EQ(data + on_stack + *on_heap, 6);
}

TEST(fork_ids) {
  pid_t me = getpid();
  CHECK_EXIT(check::in_child([=] {
               CHECK_EQ(getppid(), me);
               CHECK(getpid() != me);
               CHECK_EQ(getpid(), gettid());
               CHECK_EQ(getpid(), syscall(SYS_getpid));
             }),
             0);
}

TEST(fork_many) {
  for (int i = 0; i < 60; i++) CHECK_EXIT(check::in_child([=] { _exit(i); }), i);
}

TEST(fork_concurrent) {
  std::vector<pid_t> pids;
  for (int i = 0; i < 20; i++) {
    pid_t p = fork();
    if (p == 0) {
      for (volatile int j = 0; j < 100000;) j = j + 1;
      _exit(i);
    }
    NEED(p > 0);
    pids.push_back(p);
  }
  for (int i = 0; i < 20; i++) {
    int status;
    CHECK_EQ(waitpid(pids[size_t(i)], &status, 0), pids[size_t(i)]);
    CHECK_EXIT(status, i);
  }
}

TEST(fork_nested) {
  CHECK_EXIT(check::in_child([] {
               CHECK_EXIT(check::in_child([] { CHECK_EXIT(check::in_child([] { _exit(3); }), 3); }), 0);
             }),
             0);
}

TEST(fork_big_memory) {
  const size_t kSize = 64 << 20;
  char* p =
      static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  NEED(p != MAP_FAILED);
  for (size_t i = 0; i < kSize; i += 4096) p[i] = char(i >> 12);
  CHECK_EXIT(check::in_child([=] {
               for (size_t i = 0; i < kSize; i += 4096) {
                 if (p[i] != char(i >> 12)) _exit(2);
                 p[i] = 0;
               }
             }),
             0);
  CHECK_EQ(p[4096], 1);
}

TEST(fork_shares_file_offset) {
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  NEED(write(fd, "0123456789", 10) == 10);
  lseek(fd, 2, SEEK_SET);
  CHECK_EXIT(check::in_child([=] {
               char b[3];
               CHECK_EQ(read(fd, b, 3), 3);
             }),
             0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5);
}

TEST(exit_handlers_run_once) {
  int fds[2];
  NEED_OK(pipe(fds));
  static int out;
  out = fds[1];
  CHECK_EXIT(check::in_child([] {
               atexit([] {
                 if (write(out, "a", 1) != 1) _exit(9);
               });
               exit(5);
             }),
             5);
  close(fds[1]);
  char b[4];
  CHECK_EQ(read(fds[0], b, 4), 1);
}

TEST(vfork_shares_until_exit) {
  static volatile int shared = 0;
  pid_t p = vfork();
  if (p == 0) {
    shared = 42;
    _exit(3);
  }
  CHECK_EQ(shared, 42);
  int status;
  CHECK_EQ(waitpid(p, &status, 0), p);
  CHECK_EXIT(status, 3);
}

TEST(vfork_exec) {
  for (int i = 0; i < 10; i++) {
    char code[8];
    snprintf(code, sizeof code, "%d", i);
    const char* argv[] = {check::self, "@exit", code, nullptr};
    pid_t p = vfork();
    if (p == 0) {
      execv(check::self, const_cast<char**>(argv));
      _exit(126);
    }
    int status;
    CHECK_EQ(waitpid(p, &status, 0), p);
    CHECK_EXIT(status, i);
  }
}

TEST(vfork_exec_failure_and_retry) {
  const char* argv[] = {check::self, "@exit", "6", nullptr};
  static volatile int first_errno;
  pid_t p = vfork();
  if (p == 0) {
    execv("/no/such/file", const_cast<char**>(argv));
    first_errno = errno;
    execv(check::self, const_cast<char**>(argv));
    _exit(126);
  }
  int status;
  waitpid(p, &status, 0);
  CHECK_EXIT(status, 6);
  CHECK_EQ(first_errno, ENOENT);
}

TEST(vfork_child_killed) {
  pid_t p = vfork();
  if (p == 0) {
    kill(getpid(), SIGKILL);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(p, &status, 0), p);
  CHECK_KILLED(status, SIGKILL);
}

TEST(vfork_child_makes_calls) {
  // What shells and make do between vfork and exec: descriptors, signals, process group. All are the child's
  // own.
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t me = getpid();
  static volatile pid_t child_pid, child_ppid;
  const char* argv[] = {check::self, "@say_fd", "hi", nullptr};
  pid_t p = vfork();
  if (p == 0) {
    child_pid = getpid();
    child_ppid = getppid();
    dup2(fds[1], 10);
    close(fds[0]);
    setpgid(0, 0);
    signal(SIGUSR2, SIG_IGN);
    if (chdir("/") < 0) _exit(1);
    execv(check::self, const_cast<char**>(argv));
    _exit(126);
  }
  int status;
  CHECK_EQ(waitpid(p, &status, 0), p);
  CHECK_EXIT(status, 0);
  CHECK_EQ(child_pid, p);
  CHECK_EQ(child_ppid, me);
  char b[8];
  CHECK_EQ(read(fds[0], b, sizeof b), 2);
  struct sigaction sa;
  sigaction(SIGUSR2, nullptr, &sa);
  CHECK(sa.sa_handler == SIG_DFL);
  char cwd[256];
  CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") != 0);
  CHECK(getpgrp() != p);
}

TEST(vfork_while_threads_run) {
  static volatile bool stop;
  static volatile long work;
  pthread_t t;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        while (!stop) {
          work = work + 1;
          getppid();
        }
        return nullptr;
      },
      nullptr);
  const char* argv[] = {check::self, "@exit", "4", nullptr};
  for (int i = 0; i < 10; i++) {
    pid_t p = vfork();
    if (p == 0) {
      execv(check::self, const_cast<char**>(argv));
      _exit(126);
    }
    int status;
    waitpid(p, &status, 0);
    CHECK_EXIT(status, 4);
  }
  stop = true;
  pthread_join(t, nullptr);
}

TEST(spawn_basic_and_errors) {
  pid_t p;
  const char* argv[] = {check::self, "@exit", "12", nullptr};
  NEED(posix_spawn(&p, check::self, nullptr, nullptr, const_cast<char**>(argv), environ) == 0);
  int status;
  CHECK_EQ(waitpid(p, &status, 0), p);
  CHECK_EXIT(status, 12);
  CHECK_RET(posix_spawn(&p, "/no/such", nullptr, nullptr, const_cast<char**>(argv), environ), ENOENT);
  CHECK_RET(posix_spawn(&p, "/", nullptr, nullptr, const_cast<char**>(argv), environ), EACCES);
  CHECK_ERR(waitpid(-1, &status, 0), ECHILD);
}

TEST(spawn_file_actions_and_attributes) {
  int fds[2];
  NEED_OK(pipe(fds));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fds[1], 10);
  posix_spawn_file_actions_addopen(&actions, 5, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addclose(&actions, fds[0]);
  pid_t p;
  const char* say[] = {check::self, "@say_fd", "spawned", nullptr};
  NEED(posix_spawn(&p, check::self, &actions, nullptr, const_cast<char**>(say), environ) == 0);
  int status;
  waitpid(p, &status, 0);
  CHECK_EXIT(status, 0);
  char b[16] = "";
  CHECK_EQ(read(fds[0], b, sizeof b), 7);
  posix_spawnattr_t attr;
  posix_spawnattr_init(&attr);
  sigset_t mask, defaults;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGUSR2);
  signal(SIGUSR2, SIG_IGN);
  posix_spawnattr_setsigmask(&attr, &mask);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
  const char* show[] = {check::self, "@mask", nullptr};
  NEED(posix_spawn(&p, check::self, nullptr, &attr, const_cast<char**>(show), environ) == 0);
  waitpid(p, &status, 0);
  CHECK_EXIT(status, 3);
  posix_spawnattr_setsigdefault(&attr, &defaults);
  posix_spawnattr_setpgroup(&attr, 0);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  NEED(posix_spawn(&p, check::self, nullptr, &attr, const_cast<char**>(show), environ) == 0);
  waitpid(p, &status, 0);
  CHECK_EXIT(status, 2);
  const char* pgrp[] = {check::self, "@pgrp", nullptr};
  NEED(posix_spawn(&p, check::self, nullptr, &attr, const_cast<char**>(pgrp), environ) == 0);
  waitpid(p, &status, 0);
  CHECK_EXIT(status, 1);
}

TEST(spawn_concurrently_from_threads) {
  static auto body = [](void*) -> void* {
    for (int i = 0; i < 8; i++) {
      pid_t p;
      const char* argv[] = {check::self, "@exit", "3", nullptr};
      if (posix_spawn(&p, check::self, nullptr, nullptr, const_cast<char**>(argv), environ) != 0)
        return reinterpret_cast<void*>(1);
      int status;
      if (waitpid(p, &status, 0) != p || WEXITSTATUS(status) != 3) return reinterpret_cast<void*>(2);
    }
    return nullptr;
  };
  pthread_t t[3];
  for (auto& each : t) pthread_create(&each, nullptr, body, nullptr);
  for (auto& each : t) {
    void* value;
    pthread_join(each, &value);
    CHECK_EQ(uint64_t(value), 0);
  }
}

TEST(system_and_popen) {
  CHECK_EXIT(system("exit 5"), 5);
  FILE* f = popen("echo from sh", "r");
  NEED(f);
  char line[64] = "";
  CHECK(fgets(line, sizeof line, f));
  CHECK_EQ(line, "from sh\n");
  CHECK_EXIT(pclose(f), 0);
}

// ---- wait ----

TEST(wait_any_and_echild) {
  CHECK_ERR(wait(nullptr), ECHILD);
  CHECK_ERR(waitpid(999999, nullptr, 0), ECHILD);
  CHECK_ERR(waitpid(-1, nullptr, 0x12345678), EINVAL);
  pid_t a = fork();
  if (a == 0) _exit(1);
  pid_t b = fork();
  if (b == 0) _exit(2);
  int seen = 0, status;
  for (int i = 0; i < 2; i++) {
    pid_t p = wait(&status);
    CHECK(p == a || p == b);
    CHECK_EXIT(status, p == a ? 1 : 2);
    seen |= p == a ? 1 : 2;
  }
  CHECK_EQ(seen, 3);
}

TEST(wnohang) {
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t p = fork();
  if (p == 0) {
    char c;
    if (read(fds[0], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  int status = 77;
  CHECK_EQ(waitpid(p, &status, WNOHANG), 0);
  CHECK_EQ(status, 77);
  NEED(write(fds[1], "x", 1) == 1);
  CHECK(check::eventually([&] { return waitpid(p, &status, WNOHANG) == p; }));
  CHECK_EXIT(status, 0);
}

TEST(waitid_forms) {
  pid_t p = fork();
  if (p == 0) _exit(9);
  siginfo_t info{};
  CHECK_OK(waitid(P_PID, id_t(p), &info, WEXITED | WNOWAIT));
  CHECK_EQ(info.si_pid, p);
  CHECK_EQ(info.si_code, CLD_EXITED);
  CHECK_EQ(info.si_status, 9);
  CHECK_EQ(info.si_signo, SIGCHLD);
  info = {};
  CHECK_OK(waitid(P_ALL, 0, &info, WEXITED));
  CHECK_EQ(info.si_pid, p);
  CHECK_ERR(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
  CHECK_ERR(waitid(P_ALL, 0, &info, 0), EINVAL);
  CHECK_ERR(waitid(idtype_t(77), 0, &info, WEXITED), EINVAL);
  p = fork();
  if (p == 0) {
    for (;;) pause();
  }
  info.si_pid = 55;
  CHECK_OK(waitid(P_PID, id_t(p), &info, WEXITED | WNOHANG));
  CHECK_EQ(info.si_pid, 0);
  kill(p, SIGSTOP);
  CHECK_OK(waitid(P_PID, id_t(p), &info, WSTOPPED));
  CHECK_EQ(info.si_code, CLD_STOPPED);
  CHECK_EQ(info.si_status, SIGSTOP);
  kill(p, SIGCONT);
  CHECK_OK(waitid(P_PID, id_t(p), &info, WCONTINUED));
  CHECK_EQ(info.si_code, CLD_CONTINUED);
  kill(p, SIGKILL);
  CHECK_OK(waitid(P_PID, id_t(p), &info, WEXITED));
  CHECK_EQ(info.si_code, CLD_KILLED);
  CHECK_EQ(info.si_status, SIGKILL);
}

TEST(wait_by_process_group) {
  pid_t a = fork();
  if (a == 0) {
    setpgid(0, 0);
    _exit(1);
  }
  setpgid(a, a);
  pid_t b = fork();
  if (b == 0) _exit(2);
  int status;
  CHECK_EQ(waitpid(-a, &status, 0), a);
  CHECK_EXIT(status, 1);
  CHECK_EQ(waitpid(0, &status, 0), b);
  CHECK_EXIT(status, 2);
  CHECK_ERR(waitpid(-a, &status, 0), ECHILD);
}

TEST(wait4_rusage) {
  pid_t p = fork();
  if (p == 0) {
    int64_t end = check::now_ns(CLOCK_PROCESS_CPUTIME_ID) + 30000000;
    while (check::now_ns(CLOCK_PROCESS_CPUTIME_ID) < end) {
    }
    _exit(0);
  }
  rusage r{};
  int status;
  CHECK_EQ(wait4(p, &status, 0, &r), p);
  CHECK(r.ru_utime.tv_usec + r.ru_stime.tv_usec > 3000);
}

TEST(zombie_until_waited) {
  pid_t p = fork();
  if (p == 0) _exit(0);
  CHECK(check::eventually([=] { return check::task_state(p) == 'Z'; }));
  CHECK_OK(kill(p, 0));
  CHECK_OK(kill(p, SIGKILL));
  waitpid(p, nullptr, 0);
  CHECK_ERR(kill(p, 0), ESRCH);
  CHECK_EQ(check::task_state(p), 0);
}

TEST(wait_by_other_thread) {
  static pid_t p;
  p = fork();
  if (p == 0) _exit(8);
  pthread_t t;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        int status = 0;
        return reinterpret_cast<void*>(waitpid(p, &status, 0) == p ? long(WEXITSTATUS(status)) : -1L);
      },
      nullptr);
  void* value;
  pthread_join(t, &value);
  CHECK_EQ(long(value), 8);
}

TEST(pidfds) {
  pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  int fd = NEED_OK(syscall(SYS_pidfd_open, child, 0));
  int directory = NEED_OK(open(("/proc/" + std::to_string(child)).c_str(), O_DIRECTORY | O_RDONLY));
  int file = NEED_OK(open(("/proc/" + std::to_string(child) + "/stat").c_str(), O_RDONLY));
  CHECK_ERR(syscall(SYS_pidfd_send_signal, 0, 0, nullptr, 0), EBADF);
  CHECK_ERR(syscall(SYS_pidfd_send_signal, file, 0, nullptr, 0), EBADF);
  CHECK_OK(syscall(SYS_pidfd_send_signal, fd, 0, nullptr, 0));
  CHECK_OK(syscall(SYS_pidfd_send_signal, directory, 0, nullptr, 0));
  pollfd p = {fd, POLLIN, 0};
  CHECK_EQ(poll(&p, 1, 0), 0);
  CHECK_OK(syscall(SYS_pidfd_send_signal, directory, SIGTERM, nullptr, 0));
  CHECK_EQ(poll(&p, 1, check::kPatience), 1);
  siginfo_t info{};
  CHECK_OK(waitid(static_cast<idtype_t>(3 /* P_PIDFD */), id_t(fd), &info, WEXITED));
  CHECK_EQ(info.si_status, SIGTERM);
  CHECK_ERR(syscall(SYS_pidfd_send_signal, fd, 0, nullptr, 0), ESRCH);
  CHECK_ERR(syscall(SYS_pidfd_send_signal, directory, 0, nullptr, 0), ESRCH);
  CHECK_ERR(syscall(SYS_pidfd_open, child, 0), ESRCH);
  CHECK_ERR(syscall(SYS_pidfd_open, -1, 0), EINVAL);
}

TEST(wait_any_race) {
  // Two threads wait for any of many children that all end at once: each child is given out exactly once.
  static int counts[64];
  for (int i = 0; i < 24; i++) {
    pid_t p = fork();
    if (p == 0) _exit(i);
  }
  static auto body = [](void*) -> void* {
    int status;
    while (waitpid(-1, &status, 0) > 0) __atomic_fetch_add(&counts[WEXITSTATUS(status)], 1, __ATOMIC_SEQ_CST);
    return nullptr;
  };
  pthread_t t[2];
  for (auto& each : t) pthread_create(&each, nullptr, body, nullptr);
  for (auto& each : t) pthread_join(each, nullptr);
  for (int i = 0; i < 24; i++) CHECK_EQ(counts[i], 1);
}

TEST(wnothread_and_clone_exit_signal) {
  // A child made with exit signal 0 is seen only with __WALL or __WCLONE.
  long p = syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (p == 0) _exit(2);
  int status;
  CHECK_ERR(waitpid(pid_t(p), &status, 0), ECHILD);
  CHECK_EQ(waitpid(pid_t(p), &status, __WALL), p);
  CHECK_EXIT(status, 2);
  p = syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (p == 0) _exit(3);
  CHECK_EQ(waitpid(pid_t(p), &status, __WCLONE), p);
}

TEST(subreaper_gets_orphans) {
  CHECK_EXIT(check::in_child([] {
               NEED_OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
               int fds[2];
               NEED_OK(pipe(fds));
               pid_t middle = fork();
               if (middle == 0) {
                 pid_t leaf = fork();
                 if (leaf == 0) {
                   char c;
                   if (read(fds[0], &c, 1) != 1) _exit(1);
                   _exit(getppid() == 0 ? 1 : 44);
                 }
                 if (write(fds[1], &leaf, sizeof leaf) < 0) _exit(1);
                 _exit(0);
               }
               int status;
               waitpid(middle, &status, 0);
               // The leaf took one byte of the pid; whatever it read, it now ends and is ours.
               pid_t orphan = waitpid(-1, &status, 0);
               CHECK(orphan > 0);
               CHECK_EXIT(status, 44);
             }),
             0);
}

TEST(orphan_changes_parent) {
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t middle = fork();
  if (middle == 0) {
    pid_t mid = getpid();
    if (fork() == 0) {
      check::eventually([=] { return getppid() != mid; });
      int parent = getppid();
      if (write(fds[1], &parent, sizeof parent) < 0) _exit(1);
      _exit(0);
    }
    _exit(0);
  }
  waitpid(middle, nullptr, 0);
  int parent = -1;
  CHECK_EQ(read(fds[0], &parent, sizeof parent), 4);
  CHECK(parent != middle);
  CHECK_ERR(waitpid(-1, nullptr, 0), ECHILD);
}

TEST(parent_death_signal) {
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t middle = fork();
  if (middle == 0) {
    if (fork() == 0) {
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, SIGUSR1);
      sigprocmask(SIG_BLOCK, &set, nullptr);
      prctl(PR_SET_PDEATHSIG, SIGUSR1);
      if (write(fds[1], "r", 1) != 1) _exit(1);
      timespec t{5, 0};
      int got = sigtimedwait(&set, nullptr, &t);
      if (write(fds[1], got == SIGUSR1 ? "y" : "n", 1) != 1) _exit(1);
      _exit(0);
    }
    char c;
    if (read(fds[0], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  waitpid(middle, nullptr, 0);
  char c = 0;
  CHECK_EQ(read(fds[0], &c, 1), 1);
  CHECK_EQ(c, 'y');
}

TEST(pids_are_not_reused_at_once) {
  pid_t a = fork();
  if (a == 0) _exit(0);
  waitpid(a, nullptr, 0);
  pid_t b = fork();
  if (b == 0) _exit(0);
  waitpid(b, nullptr, 0);
  CHECK(a != b);
}

TEST(clone_shares_files_and_fs) {
  // CLONE_FILES and CLONE_FS without CLONE_VM: a process that shares descriptors and directory.
  NEED_OK(mkdir("sub", 0755));
  long p = syscall(SYS_clone, CLONE_FILES | CLONE_FS | SIGCHLD, 0, 0, 0, 0);
  if (p == 0) {
    if (dup2(1, 77) < 0 || chdir("sub") < 0) _exit(1);
    umask(0123);
    _exit(0);
  }
  int status;
  waitpid(pid_t(p), &status, 0);
  CHECK_EXIT(status, 0);
  CHECK_OK(fcntl(77, F_GETFD));
  char cwd[256];
  NEED(getcwd(cwd, sizeof cwd));
  CHECK(strcmp(cwd + strlen(cwd) - 4, "/sub") == 0);
  CHECK_EQ(umask(022), 0123);
}
