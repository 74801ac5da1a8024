// Handlers, masks, flags, queues, nesting, alternate stacks, waiting for signals, default actions.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <ucontext.h>

#include "tests/guest/check.h"

namespace {

volatile sig_atomic_t count;
volatile sig_atomic_t last;
siginfo_t last_info;
char order[64];
volatile int order_length;

void counting(int signal) {
  count = count + 1;
  last = signal;
}

void with_info(int signal, siginfo_t* info, void*) {
  count = count + 1;
  last = signal;
  last_info = *info;
}

void set_handler(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction sa {};
  sa.sa_handler = handler;
  sa.sa_flags = flags;
  NEED_OK(sigaction(signal, &sa, nullptr));
}

void set_info_handler(int signal, int flags = 0) {
  struct sigaction sa {};
  sa.sa_sigaction = with_info;
  sa.sa_flags = SA_SIGINFO | flags;
  NEED_OK(sigaction(signal, &sa, nullptr));
}

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int s : signals) sigaddset(&set, s);
  return set;
}

sigset_t block(std::initializer_list<int> signals) {
  sigset_t set = set_of(signals), old;
  sigprocmask(SIG_BLOCK, &set, &old);
  return old;
}

void unblock(std::initializer_list<int> signals) {
  sigset_t set = set_of(signals);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

bool pending(int signal) {
  sigset_t set;
  sigpending(&set);
  return sigismember(&set, signal) == 1;
}

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
  child = fork();
  if (child == 0) {
    raise(SIGSTOP);
    _exit(0);
  }
  sigsuspend(&wait_for);
  CHECK_EQ(last_info.si_code, CLD_STOPPED);
  kill(child, SIGCONT);
  sigsuspend(&wait_for);
  if (last_info.si_code == CLD_CONTINUED) sigsuspend(&wait_for);
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

TEST(pause_returns_eintr) {
  set_handler(SIGALRM, counting, SA_RESTART);
  itimerval soon{{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
  CHECK_ERR(pause(), EINTR);
  CHECK_EQ(count, 1);
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
  itimerval soon{{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
  timespec second{5, 0};
  siginfo_t info;
  CHECK_ERR(sigtimedwait(&set, &info, &second), EINTR);
}

TEST(altstack) {
  static char stack[64 * 1024];
  static char* at;
  static stack_t seen;
  stack_t ss{}, old{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  CHECK_OK(sigaltstack(&ss, &old));
  CHECK_EQ(old.ss_flags, SS_DISABLE);
  set_handler(
      SIGUSR1,
      [](int) {
        char local = 0;
        at = &local;
        sigaltstack(nullptr, &seen);
        stack_t other{};
        other.ss_sp = stack;
        other.ss_size = sizeof stack / 2;
        CHECK_ERR(sigaltstack(&other, nullptr), EPERM);
      },
      SA_ONSTACK);
  raise(SIGUSR1);
  CHECK(at >= stack && at < stack + sizeof stack);
  CHECK_EQ(seen.ss_flags, SS_ONSTACK);
  CHECK_OK(sigaltstack(nullptr, &old));
  CHECK_EQ(old.ss_flags, 0);
  CHECK(old.ss_sp == stack && old.ss_size == sizeof stack);
  set_handler(SIGUSR1, [](int) {
    char local = 0;
    at = &local;
  });
  raise(SIGUSR1);  // no SA_ONSTACK: the usual stack
  CHECK(at < stack || at >= stack + sizeof stack);
  ss.ss_size = 512;
  CHECK_ERR(sigaltstack(&ss, nullptr), ENOMEM);
  ss.ss_size = sizeof stack;
  ss.ss_flags = 0x70;
  CHECK_ERR(sigaltstack(&ss, nullptr), EINVAL);
  ss.ss_flags = SS_DISABLE;
  CHECK_OK(sigaltstack(&ss, nullptr));
}

TEST(altstack_nested_stays) {
  static char stack[128 * 1024];
  static char *outer, *inner;
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  NEED_OK(sigaltstack(&ss, nullptr));
  set_handler(
      SIGUSR1,
      [](int) {
        char local = 0;
        outer = &local;
        raise(SIGUSR2);
      },
      SA_ONSTACK);
  set_handler(
      SIGUSR2,
      [](int) {
        char local = 0;
        inner = &local;
      },
      SA_ONSTACK);
  raise(SIGUSR1);
  CHECK(inner < outer && inner >= stack);
}

TEST(altstack_autodisarm) {
  static char stack[64 * 1024];
  static stack_t seen;
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  ss.ss_flags = int(1u << 31);
  NEED_OK(sigaltstack(&ss, nullptr));
  set_handler(
      SIGUSR1, [](int) { sigaltstack(nullptr, &seen); }, SA_ONSTACK);
  raise(SIGUSR1);
  CHECK_EQ(seen.ss_flags, SS_DISABLE);
  stack_t after{};
  sigaltstack(nullptr, &after);
  CHECK(after.ss_sp == stack);
}

TEST(stack_overflow_on_altstack) {
  int status = check::in_child([] {
    static char stack[64 * 1024];
    stack_t ss{};
    ss.ss_sp = stack;
    ss.ss_size = sizeof stack;
    sigaltstack(&ss, nullptr);
    set_handler(
        SIGSEGV, [](int) { _exit(42); }, SA_ONSTACK);
    rlimit small{1 << 20, 1 << 20};
    setrlimit(RLIMIT_STACK, &small);
    struct Recurse {
      static int go(volatile char* p) {
        volatile char big[4096];
        big[0] = p ? p[0] : 0;
        return go(big) + big[0];
      }
    };
    _exit(Recurse::go(nullptr));
  });
  CHECK_EXIT(status, 42);
}

TEST(stack_overflow_kills_without_altstack) {
  CHECK_KILLED(check::in_child([] {
                 set_handler(SIGSEGV, counting);
                 struct Recurse {
                   static int go(volatile char* p) {
                     volatile char big[4096];
                     big[0] = p ? p[0] : 0;
                     return go(big) + big[0];
                   }
                 };
                 _exit(Recurse::go(nullptr));
               }),
               SIGSEGV);
}

TEST(bad_altstack_kills) {
  CHECK_KILLED(check::in_child([] {
                 stack_t ss{};
                 ss.ss_sp = reinterpret_cast<void*>(0x10000);
                 ss.ss_size = 65536;
                 sigaltstack(&ss, nullptr);
                 set_handler(SIGUSR1, counting, SA_ONSTACK);
                 raise(SIGUSR1);
               }),
               SIGSEGV);
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
