// What signals do without a handler: ignored, killing, stopping and continuing; SIGCHLD, which tells of it.
#include <sys/resource.h>

#include "tests/guest/signals.h"

using namespace sig;

TEST(ignored_signals_are_dropped) {
  signal(SIGUSR1, SIG_IGN);
  block({SIGUSR1});
  raise(SIGUSR1);
  CHECK(pending(SIGUSR1));  // blocked: kept, the action may change
  signal(SIGUSR1, SIG_IGN);
  CHECK(!pending(SIGUSR1));  // setting it to be ignored discards
  unblock({SIGUSR1});
  raise(SIGUSR1);
}

TEST(default_ignored) {
  for (int s : {SIGCHLD, SIGURG, SIGWINCH, SIGCONT}) {
    CHECK_EXIT(check::in_child([s] { raise(s); }), 0);
  }
}

TEST(default_kills) {
  for (int s : {SIGHUP,    SIGINT,  SIGQUIT, SIGILL,  SIGTRAP, SIGABRT,  SIGBUS,    SIGFPE,  SIGKILL,
                SIGUSR1,   SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM,  SIGSTKFLT, SIGXCPU, SIGXFSZ,
                SIGVTALRM, SIGPROF, SIGIO,   SIGPWR,  SIGSYS,  SIGRTMIN, SIGRTMAX}) {
    CHECK_KILLED(check::in_child([s] {
                   rlimit none{0, 0};
                   setrlimit(RLIMIT_CORE, &none);
                   kill(getpid(), s);
                 }),
                 s);
  }
}

TEST(stop_and_continue) {
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  for (int s : {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU}) {
    setpgid(child, child);
    kill(child, s);
    int status = 0;
    CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    CHECK_EQ(WSTOPSIG(status), s);
    CHECK_EQ(check::task_state(child), 'T');
    kill(child, SIGCONT);
    CHECK_EQ(waitpid(child, &status, WCONTINUED), child);
    CHECK(WIFCONTINUED(status));
  }
  kill(child, SIGSTOP);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
  kill(child, SIGTERM);  // stays pending while stopped
  check::sleep_ms(20);
  CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
  kill(child, SIGKILL);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_KILLED(status, SIGKILL);
}

TEST(stopped_process_does_not_run) {
  int* shared =
      static_cast<int*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pid_t child = fork();
  if (child == 0) {
    for (;;) __atomic_fetch_add(shared, 1, __ATOMIC_RELAXED);
  }
  NEED(check::eventually([=] { return __atomic_load_n(shared, __ATOMIC_RELAXED) > 0; }));
  kill(child, SIGSTOP);
  int status;
  CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
  int at = __atomic_load_n(shared, __ATOMIC_RELAXED);
  check::sleep_ms(30);
  CHECK_EQ(__atomic_load_n(shared, __ATOMIC_RELAXED), at);
  kill(child, SIGCONT);
  CHECK(check::eventually([=] { return __atomic_load_n(shared, __ATOMIC_RELAXED) != at; }));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
}

TEST(sigcont_cancels_pending_stop) {
  pid_t child = fork();
  if (child == 0) {
    block({SIGTSTP});
    raise(SIGTSTP);
    if (!pending(SIGTSTP)) _exit(2);
    raise(SIGCONT);
    _exit(pending(SIGTSTP) ? 3 : 0);
  }
  int status;
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(sigcont_handler) {
  pid_t child = fork();
  if (child == 0) {
    set_handler(SIGCONT, counting);
    raise(SIGSTOP);
    _exit(count == 1 ? 0 : 1);
  }
  int status;
  waitpid(child, &status, WUNTRACED);
  kill(child, SIGCONT);
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(sigchld_info) {
  set_info_handler(SIGCHLD);
  block({SIGCHLD});
  pid_t child = fork();
  if (child == 0) _exit(42);
  sigset_t wait_for;
  sigfillset(&wait_for);
  sigdelset(&wait_for, SIGCHLD);
  sigsuspend(&wait_for);
  CHECK_EQ(last_info.si_code, CLD_EXITED);
  CHECK_EQ(last_info.si_status, 42);
  CHECK_EQ(last_info.si_pid, child);
  waitpid(child, nullptr, 0);
  child = fork();
  if (child == 0) kill(getpid(), SIGKILL);
  sigsuspend(&wait_for);
  CHECK_EQ(last_info.si_code, CLD_KILLED);
  CHECK_EQ(last_info.si_status, SIGKILL);
  waitpid(child, nullptr, 0);
  int go[2];
  NEED_OK(pipe(go));
  child = fork();
  if (child == 0) {
    raise(SIGSTOP);
    char c;
    _exit(read(go[0], &c, 1) == 1 ? 0 : 1);  // its end is not told before the parent has heard the rest
  }
  sigsuspend(&wait_for);
  CHECK_EQ(last_info.si_code, CLD_STOPPED);
  kill(child, SIGCONT);
  sigsuspend(&wait_for);
  CHECK_EQ(last_info.si_code, CLD_CONTINUED);
  CHECK_EQ(write(go[1], "x", 1), 1);
  sigsuspend(&wait_for);
  CHECK_EQ(last_info.si_code, CLD_EXITED);
  waitpid(child, nullptr, 0);
}

TEST(nocldstop) {
  set_handler(SIGCHLD, counting, SA_NOCLDSTOP);
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  kill(child, SIGSTOP);
  waitpid(child, nullptr, WUNTRACED);
  CHECK_EQ(count, 0);
  kill(child, SIGKILL);
  CHECK(check::eventually([] { return count == 1; }));
  waitpid(child, nullptr, 0);
}

TEST(nocldwait_and_ignored_sigchld_leave_no_zombie) {
  set_handler(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
  pid_t child = fork();
  if (child == 0) _exit(0);
  CHECK_ERR(waitpid(child, nullptr, 0), ECHILD);
  set_handler(SIGCHLD, SIG_IGN);
  child = fork();
  if (child == 0) _exit(0);
  CHECK_ERR(wait(nullptr), ECHILD);
}
