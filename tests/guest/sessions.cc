// Process groups, sessions and their controlling terminals: who may read, write and hear signals.
#include "tests/guest/ptys.h"

using namespace tty;

TEST(process_groups) {
  CHECK_EXIT(check::in_child([] {
               pid_t old = getpgrp();
               CHECK_EQ(getpgid(0), old);
               CHECK_OK(setpgid(0, 0));
               CHECK_EQ(getpgrp(), getpid());
               pid_t child = fork();
               if (child == 0) {
                 for (;;) pause();
               }
               CHECK_EQ(getpgid(child), getpid());
               CHECK_OK(setpgid(child, child));
               CHECK_EQ(getpgid(child), child);
               CHECK_OK(setpgid(child, getpid()));
               CHECK_ERR(setpgid(child, 999999), EPERM);
               CHECK_ERR(setpgid(999999, 0), ESRCH);
               CHECK_ERR(setpgid(0, -1), EINVAL);
               CHECK_ERR(getpgid(999999), ESRCH);
               kill(child, SIGKILL);
               waitpid(child, nullptr, 0);
             }),
             0);
}

TEST(setpgid_after_exec_of_child) {
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t child = fork();
  if (child == 0) {
    dup2(fds[1], 10);
    execl(check::self, "x", "@ready_and_wait", nullptr);
    _exit(1);
  }
  char c;
  NEED(read(fds[0], &c, 1) == 1);
  CHECK_ERR(setpgid(child, child), EACCES);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}
HELPER(ready_and_wait) {
  if (write(10, "r", 1) != 1) return 1;
  for (;;) pause();
}

TEST(sessions) {
  CHECK_EXIT(check::in_child([] {
               CHECK_EQ(setsid(), getpid());
               CHECK_EQ(getsid(0), getpid());
               CHECK_EQ(getpgrp(), getpid());
               CHECK_ERR(setsid(), EPERM);
               CHECK_ERR(setpgid(0, 0), EPERM);  // a session leader stays
               CHECK_ERR(getsid(999999), ESRCH);
               CHECK_ERR(open("/dev/tty", O_RDWR), ENXIO);
             }),
             0);
}

TEST(window_change_signals_foreground) {
  Pty p;
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t s = session_on(p, [&] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    if (write(ready[1], "r", 1) != 1) _exit(1);
    timespec t{5, 0};
    _exit(sigtimedwait(&set, nullptr, &t) == SIGWINCH ? 0 : 1);
  });
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  winsize w{10, 20, 0, 0};
  CHECK_OK(ioctl(p.master, TIOCSWINSZ, &w));
  CHECK_EXIT(status_of(s), 0);
}

TEST(controlling_terminal) {
  Pty p;
  CHECK_EXIT(status_of(session_on(p,
                                  [&] {
                                    int tty = open("/dev/tty", O_RDWR);
                                    CHECK_OK(tty);
                                    CHECK_EQ(tcgetsid(p.slave), getpid());
                                    CHECK_EQ(tcgetpgrp(p.slave), getpid());
                                    pid_t child = fork();
                                    if (child == 0) {
                                      for (;;) pause();
                                    }
                                    setpgid(child, child);
                                    CHECK_OK(tcsetpgrp(tty, child));
                                    // Now in the background itself, and its group an orphaned one: the
                                    // refusal is ENOTTY, no signal.
                                    CHECK_ERR(tcsetpgrp(tty, getpid()), ENOTTY);
                                    signal(SIGTTOU, SIG_IGN);
                                    CHECK_EQ(tcgetpgrp(tty), child);
                                    CHECK_ERR(tcsetpgrp(tty, 999999), ESRCH);
                                    CHECK_ERR(tcsetpgrp(tty, -3), EINVAL);
                                    kill(child, SIGKILL);
                                    waitpid(child, nullptr, 0);
                                    signal(SIGTTOU, SIG_IGN);
                                    CHECK_OK(tcsetpgrp(tty, getpid()));
                                    signal(SIGHUP, SIG_IGN);
                                    CHECK_OK(ioctl(tty, TIOCNOTTY));
                                    CHECK_ERR(open("/dev/tty", O_RDWR), ENXIO);
                                  })),
             0);
  CHECK_ERR(tcgetpgrp(p.slave), ENOTTY);
}

TEST(opening_takes_the_terminal_unless_noctty) {
  Pty p;
  char name[64];
  ptsname_r(p.master, name, sizeof name);
  CHECK_EXIT(check::in_child([&] {
               setsid();
               int a = open(name, O_RDWR | O_NOCTTY);
               CHECK_OK(a);
               CHECK_ERR(open("/dev/tty", O_RDWR), ENXIO);
               int b = open(name, O_RDWR);
               CHECK_OK(b);
               CHECK_OK(open("/dev/tty", O_RDWR));
             }),
             0);
}

TEST(interrupt_quit_suspend_keys) {
  struct {
    const char* key;
    int signal;
    const char* echo;
  } rows[] = {{"\x03", SIGINT, "^C"}, {"\x1c", SIGQUIT, "^\\"}};
  for (auto& row : rows) {
    Pty p;
    int ready[2];
    NEED_OK(pipe(ready));
    pid_t s = session_on(p, [&] {
      if (write(ready[1], "r", 1) != 1) _exit(1);
      for (;;) pause();
    });
    char c;
    NEED(read(ready[0], &c, 1) == 1);
    type(p.master, row.key);
    CHECK_KILLED(status_of(s), row.signal);
    CHECK_EQ(drain(p.master, strlen(row.echo)), row.echo);
  }
  Pty p;
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t s = session_on(p, [&] {
    pid_t job = fork();  // an orphaned group would not stop: the job has a parent in the session
    if (job == 0) {
      setpgid(0, 0);
      signal(SIGTTOU, SIG_IGN);
      tcsetpgrp(p.slave, getpid());
      if (write(ready[1], "r", 1) != 1) _exit(1);
      for (;;) pause();
    }
    int status;
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTSTP)
      _exit(2);
    kill(job, SIGKILL);
    waitpid(job, nullptr, 0);
    _exit(0);
  });
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  type(p.master, "\x1a");
  CHECK_EXIT(status_of(s), 0);
}

TEST(interrupt_flushes_input) {
  Pty p;
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t s = session_on(p, [&] {
    static volatile sig_atomic_t got;
    struct sigaction sa {};
    sa.sa_handler = [](int) { got = 1; };
    sigaction(SIGINT, &sa, nullptr);
    if (write(ready[1], "r", 1) != 1) _exit(1);
    char b[32];
    ssize_t n = read(0 + p.slave, b, sizeof b);
    if (n < 0 && errno == EINTR) n = read(p.slave, b, sizeof b);
    if (!got) _exit(2);
    _exit(std::string_view(b, size_t(n)) == "after\n" ? 0 : 3);
  });
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  type(p.master, "before\x03");
  check::sleep_ms(20);
  type(p.master, "after\n");
  CHECK_EXIT(status_of(s), 0);
}

TEST(isig_off_is_data) {
  Pty p;
  raw(p.slave);
  type(p.master, "\x03\x1a\x1c");
  CHECK_EQ(drain(p.slave, 3), "\x03\x1a\x1c");
}

TEST(background_reads_and_writes) {
  Pty p;
  CHECK_EXIT(status_of(session_on(p,
                                  [&] {
                                    pid_t job = fork();
                                    if (job == 0) {
                                      setpgid(0, 0);
                                      char c;
                                      if (read(p.slave, &c, 1)) {
                                      }
                                      _exit(0);
                                    }
                                    int status;
                                    waitpid(job, &status, WUNTRACED);
                                    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
                                    kill(job, SIGKILL);
                                    waitpid(job, nullptr, 0);
                                    // Writing in the background stops only under TOSTOP.
                                    job = fork();
                                    if (job == 0) {
                                      setpgid(0, 0);
                                      _exit(write(p.slave, "x", 1) == 1 ? 0 : 1);
                                    }
                                    waitpid(job, &status, WUNTRACED);
                                    CHECK_EXIT(status, 0);
                                    termios t = attributes(p.slave);
                                    t.c_lflag |= TOSTOP;
                                    tcsetattr(p.slave, TCSANOW, &t);
                                    job = fork();
                                    if (job == 0) {
                                      setpgid(0, 0);
                                      _exit(write(p.slave, "x", 1) == 1 ? 0 : 1);
                                    }
                                    waitpid(job, &status, WUNTRACED);
                                    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU);
                                    kill(job, SIGKILL);
                                    waitpid(job, nullptr, 0);
                                    // With SIGTTIN ignored a background read is EIO.
                                    job = fork();
                                    if (job == 0) {
                                      setpgid(0, 0);
                                      signal(SIGTTIN, SIG_IGN);
                                      char c;
                                      _exit(read(p.slave, &c, 1) < 0 && errno == EIO ? 0 : 1);
                                    }
                                    waitpid(job, &status, WUNTRACED);
                                    CHECK_EXIT(status, 0);
                                  })),
             0);
}

TEST(hangup_when_master_closes) {
  Pty p;
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t s = session_on(p, [&] {
    if (write(ready[1], "r", 1) != 1) _exit(1);
    for (;;) pause();
  });
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  close(p.master);
  CHECK_KILLED(status_of(s), SIGHUP);
  CHECK_EQ(read(p.slave, &c, 1), 0);
  CHECK_ERR(write(p.slave, "x", 1), EIO);
  pollfd poll_fd{p.slave, POLLIN, 0};
  CHECK_EQ(poll(&poll_fd, 1, 0), 1);
  CHECK(poll_fd.revents & POLLHUP);
  p.master = -1;
}

TEST(leader_exit_hangs_up_foreground) {
  Pty p;
  int out[2];
  NEED_OK(pipe(out));
  pid_t s = session_on(p, [&] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    if (fork() == 0) {
      timespec t{5, 0};
      int got = sigtimedwait(&set, nullptr, &t);
      if (write(out[1], got == SIGHUP ? "y" : "n", 1) != 1) _exit(1);
      _exit(0);
    }
    _exit(0);
  });
  CHECK_EXIT(status_of(s), 0);
  char c = 0;
  CHECK_EQ(read(out[0], &c, 1), 1);
  CHECK_EQ(c, 'y');
}

TEST(master_sees_eio_after_last_slave_closes) {
  Pty p;
  CHECK_EQ(write(p.slave, "bye", 3), 3);
  close(p.slave);
  char b[8];
  CHECK_EQ(read(p.master, b, 8), 3);
  CHECK_ERR(read(p.master, b, 8), EIO);
  pollfd poll_fd{p.master, POLLIN, 0};
  CHECK_EQ(poll(&poll_fd, 1, 0), 1);
  CHECK(poll_fd.revents & POLLHUP);
  p.slave = -1;
}

// Only the end of who kept it from being one makes a group orphaned: what ends in it later is no news.
TEST(orphans_of_old_hear_nothing) {
  CHECK_EXIT(check::in_child([] {
               NEED_OK(setsid());  // a group without a parent in the session
               signal(SIGHUP, SIG_DFL);
               pid_t stopped = fork();
               if (stopped == 0) {
                 for (;;) pause();
               }
               kill(stopped, SIGSTOP);
               int status = 0;
               CHECK_EQ(waitpid(stopped, &status, WUNTRACED), stopped);
               CHECK(WIFSTOPPED(status));
               pid_t other = fork();
               if (other == 0) {
                 if (fork() == 0) _exit(0);  // and one that is handed on
                 _exit(0);
               }
               CHECK_EQ(waitpid(other, &status, 0), other);
               CHECK_EQ(waitpid(stopped, &status, WNOHANG | WCONTINUED), 0);
               kill(stopped, SIGKILL);
               waitpid(stopped, nullptr, 0);
             }),
             0);
}

TEST(orphaned_group_gets_hup_and_cont) {
  int out[2];
  NEED_OK(pipe(out));
  pid_t session = fork();
  if (session == 0) {
    setsid();
    pid_t parent = fork();
    if (parent == 0) {
      setpgid(0, 0);
      pid_t stopped = fork();
      if (stopped == 0) {
        static int out_fd;
        out_fd = out[1];
        signal(SIGHUP, [](int) {
          if (write(out_fd, "h", 1) != 1) _exit(1);
        });
        raise(SIGSTOP);
        if (write(out_fd, "c", 1) != 1) _exit(1);
        _exit(0);
      }
      waitpid(stopped, nullptr, WUNTRACED);
      _exit(0);  // its group becomes orphaned with a stopped member
    }
    int status;
    waitpid(parent, &status, 0);
    check::sleep_ms(100);
    _exit(0);
  }
  char b[4] = "";
  size_t n = 0;
  pollfd p{out[0], POLLIN, 0};
  while (n < 2 && poll(&p, 1, check::kPatience) == 1) {
    ssize_t r = read(out[0], b + n, 2 - n);
    if (r <= 0) break;
    n += size_t(r);
  }
  CHECK_EQ(std::string_view(b, n), "hc");
  status_of(session);
}

TEST(forkpty_shell_like) {
  int master;
  pid_t p = forkpty(&master, nullptr, nullptr, nullptr);
  NEED_OK(p);
  if (p == 0) {
    if (!isatty(0)) _exit(1);
    if (tcgetpgrp(0) != getpid()) _exit(2);
    char line[64];
    ssize_t n = read(0, line, sizeof line);
    if (n <= 0 || write(1, "got ", 4) != 4 || write(1, line, size_t(n)) != n) _exit(3);
    _exit(0);
  }
  type(master, "hi\n");
  CHECK_EQ(drain(master, 12), "hi\r\ngot hi\r\n");
  CHECK_EXIT(status_of(p), 0);
}

TEST(sigttou_on_tcsetattr_from_background) {
  Pty p;
  CHECK_EXIT(status_of(session_on(p,
                                  [&] {
                                    pid_t job = fork();
                                    if (job == 0) {
                                      setpgid(0, 0);
                                      termios t = attributes(p.slave);
                                      tcsetattr(p.slave, TCSANOW, &t);
                                      _exit(0);
                                    }
                                    int status;
                                    waitpid(job, &status, WUNTRACED);
                                    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU);
                                    kill(job, SIGKILL);
                                    waitpid(job, nullptr, 0);
                                  })),
             0);
}
