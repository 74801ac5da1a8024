// Handlers, masks, flags, queues, nesting, waiting for signals, and to whom they go.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <ucontext.h>

#include "tests/guest/signals.h"

using namespace sig;

namespace {
char order[64];
volatile int order_length;
}  // namespace

TEST(handler_runs_before_kill_returns) {
  set_handler(SIGUSR1, counting);
  CHECK_OK(kill(getpid(), SIGUSR1));
  CHECK_EQ(count, 1);
  CHECK_OK(raise(SIGUSR1));
  CHECK_EQ(count, 2);
}

TEST(sigaction_reports_old) {
  struct sigaction sa {
  }, old{};
  sa.sa_handler = counting;
  sa.sa_flags = SA_RESTART | SA_NODEFER;
  sigaddset(&sa.sa_mask, SIGHUP);
  NEED_OK(sigaction(SIGUSR2, &sa, &old));
  CHECK(old.sa_handler == SIG_DFL);
  NEED_OK(sigaction(SIGUSR2, nullptr, &old));
  CHECK(old.sa_handler == counting);
  CHECK_EQ(old.sa_flags & (SA_RESTART | SA_NODEFER | SA_SIGINFO), SA_RESTART | SA_NODEFER);
  CHECK_EQ(sigismember(&old.sa_mask, SIGHUP), 1);
  CHECK_EQ(sigismember(&old.sa_mask, SIGUSR2), 0);
}

TEST(sigaction_errors) {
  struct sigaction sa {};
  sa.sa_handler = counting;
  CHECK_ERR(sigaction(SIGKILL, &sa, nullptr), EINVAL);
  CHECK_ERR(sigaction(SIGSTOP, &sa, nullptr), EINVAL);
  CHECK_ERR(syscall(SYS_rt_sigaction, 0, &sa, nullptr, 8), EINVAL);
  CHECK_ERR(syscall(SYS_rt_sigaction, 65, &sa, nullptr, 8), EINVAL);
  CHECK_ERR(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, nullptr, 4), EINVAL);
  CHECK_OK(sigaction(SIGKILL, nullptr, &sa));
}

TEST(kill_errors) {
  CHECK_ERR(kill(getpid(), 65), EINVAL);
  CHECK_ERR(kill(getpid(), -1), EINVAL);
  CHECK_ERR(kill(999999, 0), ESRCH);
  CHECK_OK(kill(getpid(), 0));
  CHECK_ERR(syscall(SYS_tgkill, getpid(), 0, SIGUSR1), EINVAL);
  CHECK_ERR(syscall(SYS_tgkill, getpid(), 999999, SIGUSR1), ESRCH);
  CHECK_ERR(syscall(SYS_tkill, 999999, SIGUSR1), ESRCH);
}

TEST(siginfo_of_kill) {
  set_info_handler(SIGUSR1);
  kill(getpid(), SIGUSR1);
  CHECK_EQ(last_info.si_signo, SIGUSR1);
  CHECK_EQ(last_info.si_code, SI_USER);
  CHECK_EQ(last_info.si_pid, getpid());
  CHECK_EQ(last_info.si_uid, getuid());
  syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
  CHECK_EQ(last_info.si_code, SI_TKILL);
}

TEST(sigqueue_carries_value) {
  set_info_handler(SIGRTMIN + 3);
  union sigval value;
  value.sival_ptr = reinterpret_cast<void*>(0x123456789abcull);
  CHECK_OK(sigqueue(getpid(), SIGRTMIN + 3, value));
  CHECK_EQ(last_info.si_code, SI_QUEUE);
  CHECK(last_info.si_value.sival_ptr == value.sival_ptr);
  CHECK_EQ(last_info.si_pid, getpid());
}

TEST(standard_signals_coalesce_realtime_queue) {
  set_info_handler(SIGUSR1);
  set_info_handler(SIGRTMIN);
  block({SIGUSR1, SIGRTMIN});
  for (int i = 0; i < 5; i++) {
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGRTMIN);
  }
  CHECK(pending(SIGUSR1) && pending(SIGRTMIN));
  CHECK_EQ(count, 0);
  unblock({SIGUSR1});
  CHECK_EQ(count, 1);
  unblock({SIGRTMIN});
  CHECK_EQ(count, 6);
}

namespace {
void note(int signal, siginfo_t* info, void*) {
  order[order_length] =
      char(signal == SIGUSR1 ? 'u' : 'a' + (signal - SIGRTMIN) * 3 + info->si_value.sival_int);
  order_length = order_length + 1;
}
}  // namespace

TEST(realtime_order) {
  struct sigaction sa {};
  sa.sa_sigaction = note;
  sa.sa_flags = SA_SIGINFO;
  sigfillset(&sa.sa_mask);
  for (int s : {SIGRTMIN, SIGRTMIN + 1, SIGUSR1}) sigaction(s, &sa, nullptr);
  block({SIGRTMIN, SIGRTMIN + 1, SIGUSR1});
  union sigval v;
  for (int i = 0; i < 3; i++) {
    v.sival_int = i;
    sigqueue(getpid(), SIGRTMIN + 1, v);
    sigqueue(getpid(), SIGRTMIN, v);
  }
  unblock({SIGRTMIN, SIGRTMIN + 1});
  // The lowest number first, in order within a number. The frames are pushed in that order, so with all
  // blocked in each handler they also run in it.
  CHECK_EQ(std::string(order, size_t(order_length)), "abcdef");
}

TEST(mask_during_handler) {
  static bool blocked_self, blocked_other, blocked_third;
  struct sigaction sa {};
  sa.sa_handler = [](int) {
    sigset_t now;
    sigprocmask(SIG_BLOCK, nullptr, &now);
    blocked_self = sigismember(&now, SIGUSR1);
    blocked_other = sigismember(&now, SIGUSR2);
    blocked_third = sigismember(&now, SIGHUP);
  };
  sigaddset(&sa.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &sa, nullptr);
  raise(SIGUSR1);
  CHECK(blocked_self && blocked_other && !blocked_third);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  CHECK(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2));
}

TEST(nodefer_nests) {
  static int depth, deepest;
  set_handler(
      SIGUSR1,
      [](int) {
        depth++;
        if (depth > deepest) deepest = depth;
        if (deepest < 5) raise(SIGUSR1);
        depth--;
      },
      SA_NODEFER);
  raise(SIGUSR1);
  CHECK_EQ(deepest, 5);
  CHECK_EQ(depth, 0);
}

TEST(without_nodefer_waits) {
  static int depth, deepest, runs;
  set_handler(SIGUSR1, [](int) {
    depth++;
    runs++;
    if (depth > deepest) deepest = depth;
    if (runs < 5) raise(SIGUSR1);
    depth--;
  });
  raise(SIGUSR1);
  CHECK_EQ(deepest, 1);
  CHECK_EQ(runs, 5);
}

TEST(resethand) {
  set_handler(SIGUSR1, counting, SA_RESETHAND);
  raise(SIGUSR1);
  CHECK_EQ(count, 1);
  struct sigaction old;
  sigaction(SIGUSR1, nullptr, &old);
  CHECK(old.sa_handler == SIG_DFL);
  CHECK_KILLED(check::in_child([] { raise(SIGUSR1); }), SIGUSR1);
}

TEST(different_signals_nest) {
  static char trace[16];
  static int at;
  set_handler(SIGUSR1, [](int) {
    trace[at++] = '1';
    raise(SIGUSR2);
    trace[at++] = '3';
  });
  set_handler(SIGUSR2, [](int) { trace[at++] = '2'; });
  raise(SIGUSR1);
  CHECK_EQ(trace, "123");
}

TEST(sigprocmask_errors_and_hows) {
  sigset_t set = set_of({SIGUSR1, SIGKILL, SIGSTOP}), old;
  CHECK_OK(sigprocmask(SIG_SETMASK, &set, nullptr));
  sigprocmask(SIG_BLOCK, nullptr, &old);
  CHECK(sigismember(&old, SIGUSR1));
  CHECK(!sigismember(&old, SIGKILL) && !sigismember(&old, SIGSTOP));
  CHECK_ERR(syscall(SYS_rt_sigprocmask, 7, &set, nullptr, 8), EINVAL);
  CHECK_ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, nullptr, 16), EINVAL);
  CHECK_OK(syscall(SYS_rt_sigprocmask, 7, nullptr, &old, 8));  // `how` counts only with a set
}

TEST(pause_returns_eintr) {
  set_handler(SIGALRM, counting, SA_RESTART);
  // Again and again: the first may come before the call.
  itimerval every{{0, 20000}, {0, 20000}};
  setitimer(ITIMER_REAL, &every, nullptr);
  CHECK_ERR(pause(), EINTR);
  CHECK(count >= 1);
}

TEST(sigsuspend_swaps_mask) {
  set_handler(SIGUSR1, counting);
  set_handler(SIGUSR2, counting);
  block({SIGUSR1, SIGUSR2});
  raise(SIGUSR1);
  raise(SIGUSR2);
  sigset_t mask = set_of({SIGUSR2});
  CHECK_ERR(sigsuspend(&mask), EINTR);
  CHECK_EQ(count, 1);
  CHECK_EQ(last, SIGUSR1);
  CHECK(pending(SIGUSR2));
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGUSR2));
}

TEST(sigwaitinfo_takes_pending) {
  block({SIGUSR1, SIGRTMIN});
  union sigval v;
  v.sival_int = 77;
  sigqueue(getpid(), SIGRTMIN, v);
  raise(SIGUSR1);
  sigset_t set = set_of({SIGUSR1, SIGRTMIN});
  siginfo_t info;
  CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
  CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN);
  CHECK_EQ(info.si_value.sival_int, 77);
  timespec brief{0, 20000000}, none{0, 0}, bad{0, 2000000000};
  CHECK_ERR(sigtimedwait(&set, &info, &brief), EAGAIN);
  CHECK_ERR(sigtimedwait(&set, &info, &none), EAGAIN);
  CHECK_ERR(sigtimedwait(&set, &info, &bad), EINVAL);
}

TEST(sigtimedwait_woken) {
  block({SIGUSR1});
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(parent);
    kill(parent, SIGUSR1);
    _exit(0);
  }
  sigset_t set = set_of({SIGUSR1});
  siginfo_t info;
  CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
  CHECK_EQ(info.si_pid, child);
  waitpid(child, nullptr, 0);
}

TEST(sigtimedwait_interrupted_by_other) {
  set_handler(SIGALRM, counting);
  block({SIGUSR1});
  sigset_t set = set_of({SIGUSR1});
  itimerval every{{0, 20000}, {0, 20000}};
  setitimer(ITIMER_REAL, &every, nullptr);
  timespec minute{60, 0};
  siginfo_t info;
  CHECK_ERR(sigtimedwait(&set, &info, &minute), EINTR);
}

TEST(longjmp_out_of_handler) {
  static sigjmp_buf env;
  set_handler(SIGUSR1, [](int) { siglongjmp(env, 5); });
  static int i;
  for (i = 0; i < 3; i++) {
    int r = sigsetjmp(env, 1);
    if (r == 0) {
      raise(SIGUSR1);
      CHECK(false);
    }
    CHECK_EQ(r, 5);
  }
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  CHECK(!sigismember(&now, SIGUSR1));
}

TEST(mask_is_inherited_pending_is_not) {
  block({SIGUSR1});
  raise(SIGUSR1);
  int status = check::in_child([] {
    sigset_t now;
    sigprocmask(SIG_BLOCK, nullptr, &now);
    CHECK(sigismember(&now, SIGUSR1));
    CHECK(!pending(SIGUSR1));
  });
  CHECK_EXIT(status, 0);
  CHECK(pending(SIGUSR1));
}

namespace {
volatile pid_t handled_by;
void by_whom(int) {
  handled_by = gettid();
}
}  // namespace

TEST(directed_and_process_wide) {
  set_handler(SIGUSR1, by_whom);
  static volatile pid_t other;
  static volatile bool stop;
  pthread_t t;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        other = gettid();
        while (!stop) sched_yield();
        return nullptr;
      },
      nullptr);
  NEED(check::eventually([] { return other != 0; }));
  syscall(SYS_tgkill, getpid(), other, SIGUSR1);
  CHECK(check::eventually([] { return handled_by == other; }));
  block({SIGUSR1});  // only this thread: the process-wide signal goes to the other one
  handled_by = 0;
  kill(getpid(), SIGUSR1);
  CHECK(check::eventually([] { return handled_by == other; }));
  stop = true;
  pthread_join(t, nullptr);
}

TEST(fatal_signal_ends_all_threads) {
  CHECK_KILLED(check::in_child([] {
                 pthread_t t;
                 for (int i = 0; i < 4; i++) {
                   pthread_create(
                       &t, nullptr,
                       [](void*) -> void* {
                         for (;;) pause();
                       },
                       nullptr);
                 }
                 pthread_create(
                     &t, nullptr,
                     [](void*) -> void* {
                       for (;;) asm volatile("" ::: "memory");
                     },
                     nullptr);
                 syscall(SYS_tgkill, getpid(), gettid(), SIGTERM);
                 for (;;) pause();
               }),
               SIGTERM);
}

TEST(sigpipe) {
  int fds[2];
  NEED_OK(pipe(fds));
  close(fds[0]);
  CHECK_KILLED(check::in_child([&] {
                 if (write(fds[1], "x", 1) < 0) _exit(3);
               }),
               SIGPIPE);
  set_handler(SIGPIPE, counting);
  CHECK_ERR(write(fds[1], "x", 1), EPIPE);
  CHECK_EQ(count, 1);
  signal(SIGPIPE, SIG_IGN);
  CHECK_ERR(write(fds[1], "x", 1), EPIPE);
}

TEST(abort_and_exit_codes) {
  CHECK_KILLED(check::in_child([] { abort(); }), SIGABRT);
  CHECK_KILLED(check::in_child([] {
                 signal(SIGABRT, SIG_IGN);
                 abort();
               }),
               SIGABRT);
  CHECK_EXIT(check::in_child([] { _exit(300); }), 300 & 255);
}

TEST(kill_process_group) {
  set_handler(SIGUSR1, counting);
  setpgid(0, 0);
  pid_t child = fork();
  if (child == 0) {
    while (!count) pause();
    _exit(9);
  }
  check::until_asleep(child);
  kill(0, SIGUSR1);
  CHECK_EQ(count, 1);
  int status;
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 9);
  child = fork();
  if (child == 0) {
    setpgid(0, 0);
    for (;;) pause();
  }
  CHECK(check::eventually([=] { return kill(-child, 0) == 0; }));
  CHECK_OK(kill(-child, SIGKILL));
  waitpid(child, &status, 0);
  CHECK_KILLED(status, SIGKILL);
  CHECK_ERR(kill(-child, 0), ESRCH);
}
