// alarm, setitimer, POSIX timers, timerfd, clocks, sleeps, the vDSO.
#include <elf.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>

#include <atomic>
#include <thread>

#include "tests/guest/check.h"

namespace {
volatile sig_atomic_t fired;
siginfo_t info;

void catching(int signal) {
  struct sigaction sa {};
  sa.sa_sigaction = [](int, siginfo_t* si, void*) {
    fired = fired + 1;
    info = *si;
  };
  sa.sa_flags = SA_SIGINFO;
  NEED_OK(sigaction(signal, &sa, nullptr));
}

// Uses `ms` of CPU time, however long that takes on a busy machine.
void burn(int64_t ms) {
  int64_t end = check::now_ns(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000000;
  while (check::now_ns(CLOCK_PROCESS_CPUTIME_ID) < end) {
  }
}
}  // namespace

TEST(alarm_rounds_and_cancels) {
  catching(SIGALRM);
  CHECK_EQ(alarm(100), 0);
  unsigned left = alarm(0);
  CHECK(left > 0 && left <= 100);
  CHECK_EQ(alarm(0), 0);
}

TEST(setitimer_real_repeats) {
  catching(SIGALRM);
  itimerval every{{0, 10000}, {0, 5000}}, old{};
  NEED_OK(setitimer(ITIMER_REAL, &every, nullptr));
  while (fired < 4) pause();
  NEED_OK(getitimer(ITIMER_REAL, &old));
  CHECK_EQ(old.it_interval.tv_usec, 10000);
  CHECK(old.it_value.tv_usec > 0 && old.it_value.tv_usec <= 10000);
  CHECK_EQ(info.si_code, SI_KERNEL);
  itimerval off{};
  NEED_OK(setitimer(ITIMER_REAL, &off, &old));
  int n = fired;
  check::sleep_ms(30);
  CHECK_EQ(fired, n);
}

TEST(setitimer_errors) {
  itimerval bad{{0, 0}, {0, 1000000}};
  CHECK_ERR(setitimer(ITIMER_REAL, &bad, nullptr), EINVAL);
  CHECK_ERR(syscall(SYS_setitimer, 3, &bad, nullptr), EINVAL);
  CHECK_ERR(syscall(SYS_getitimer, 9, &bad), EINVAL);
}

TEST(setitimer_is_not_inherited_by_fork) {
  catching(SIGALRM);
  itimerval later{{0, 0}, {100, 0}};
  setitimer(ITIMER_REAL, &later, nullptr);
  CHECK_EXIT(check::in_child([] {
               itimerval now{};
               getitimer(ITIMER_REAL, &now);
               CHECK_EQ(now.it_value.tv_sec, 0);
             }),
             0);
}

TEST(itimer_virtual_and_prof) {
  catching(SIGVTALRM);
  itimerval t{{0, 0}, {0, 20000}};
  NEED_OK(setitimer(ITIMER_VIRTUAL, &t, nullptr));
  check::sleep_ms(60);
  CHECK_EQ(fired, 0);  // sleeping is not running
  CHECK(check::eventually([] {
    for (volatile int i = 0; i < 100000;) i = i + 1;
    return fired != 0;
  }));
  CHECK_EQ(fired, 1);
  catching(SIGPROF);
  fired = 0;
  NEED_OK(setitimer(ITIMER_PROF, &t, nullptr));
  int64_t end = check::now_ns() + check::kPatience * 1'000'000LL;
  while (!fired && check::now_ns() < end) {
  }
  CHECK_EQ(fired, 1);
}

// A profiler's signal comes to the thread that uses the time, not to one that sleeps.
TEST(profile_signals_go_where_the_time_goes) {
  static std::atomic<int> in_busy, elsewhere;
  static std::atomic<pid_t> busy_tid;
  static std::atomic<bool> done;
  struct sigaction action {};
  action.sa_handler = [](int) { (gettid() == busy_tid ? in_busy : elsewhere)++; };
  NEED_OK(sigaction(SIGPROF, &action, nullptr));
  pthread_t busy;
  auto spin = [](void*) -> void* {
    busy_tid = gettid();
    while (!done) {
    }
    return nullptr;
  };
  NEED(pthread_create(&busy, nullptr, spin, nullptr) == 0);
  itimerval every{{0, 2000}, {0, 2000}};
  NEED_OK(setitimer(ITIMER_PROF, &every, nullptr));
  for (int i = 0; i < 30000 && in_busy + elsewhere < 40; i++) usleep(2000);
  itimerval off{};
  setitimer(ITIMER_PROF, &off, nullptr);
  done = true;
  CHECK_RET(pthread_join(busy, nullptr), 0);
  CHECK(in_busy + elsewhere >= 40);
  CHECK(in_busy > elsewhere * 3);
}

TEST(posix_timer_signal_and_value) {
  catching(SIGRTMIN + 1);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN + 1;
  event.sigev_value.sival_int = 4242;
  timer_t timer;
  NEED_OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
  itimerspec soon{{0, 0}, {0, 200000000}}, now{};
  NEED_OK(timer_settime(timer, 0, &soon, nullptr));
  NEED_OK(timer_gettime(timer, &now));
  CHECK((now.it_value.tv_nsec > 0 || fired) && now.it_value.tv_nsec <= 200000000);
  CHECK(check::eventually([] { return fired != 0; }));
  CHECK_EQ(info.si_code, SI_TIMER);
  CHECK_EQ(info.si_value.sival_int, 4242);
  NEED_OK(timer_gettime(timer, &now));
  CHECK_EQ(now.it_value.tv_nsec, 0);
  CHECK_OK(timer_delete(timer));
  CHECK_ERR(syscall(SYS_timer_delete, 12345), EINVAL);
}

TEST(posix_timer_overrun) {
  catching(SIGRTMIN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  timer_t timer;
  NEED_OK(timer_create(CLOCK_REALTIME, &event, &timer));
  itimerspec every{{0, 2000000}, {0, 2000000}};
  NEED_OK(timer_settime(timer, 0, &every, nullptr));
  check::sleep_ms(50);
  siginfo_t si;
  CHECK_EQ(sigwaitinfo(&set, &si), SIGRTMIN);
  CHECK(si.si_overrun >= 10);
  CHECK(timer_getoverrun(timer) >= 10);
  timer_delete(timer);
}

TEST(posix_timer_absolute_and_none) {
  sigevent none{};
  none.sigev_notify = SIGEV_NONE;
  timer_t timer;
  NEED_OK(timer_create(CLOCK_MONOTONIC, &none, &timer));
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  itimerspec at{{0, 0}, {now.tv_sec + 100, 0}}, left{};
  NEED_OK(timer_settime(timer, TIMER_ABSTIME, &at, nullptr));
  NEED_OK(timer_gettime(timer, &left));
  CHECK(left.it_value.tv_sec >= 40 && left.it_value.tv_sec <= 100);
  timer_delete(timer);
}

TEST(posix_timer_thread_id) {
  catching(SIGUSR1);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGUSR1;
  event._sigev_un._tid = gettid();
  timer_t timer;
  NEED_OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
  itimerspec soon{{0, 0}, {0, 5000000}};
  NEED_OK(timer_settime(timer, 0, &soon, nullptr));
  CHECK(check::eventually([] { return fired != 0; }));
  timer_delete(timer);
}

// Uses `ms` of the calling thread's own CPU time.
void use_time(long ms) {
  timespec start{}, now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
  do {
    for (int i = 0; i < 10000; i++) {
      asm volatile("");
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

timer_t every_10_ms_of(clockid_t clock, int signal) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signal;
  event._sigev_un._tid = gettid();
  timer_t timer;
  NEED_OK(timer_create(clock, &event, &timer));
  itimerspec period{{0, 10000000}, {0, 10000000}};
  NEED_OK(timer_settime(timer, 0, &period, nullptr));
  return timer;
}

TEST(timers_on_a_threads_cpu_time) {
  // The main thread's counts what it uses, not what the other does; nor does one that sleeps use any.
  std::atomic<bool> done{false};
  std::thread busy([&] {
    while (!done) use_time(1);
  });
  // How often it has expired: on a machine that stands still now and then one signal tells of several.
  static volatile sig_atomic_t expired;
  struct sigaction action {};
  action.sa_sigaction = [](int, siginfo_t* si, void*) {
    expired = expired + 1 + si->si_overrun;
    info = *si;
  };
  action.sa_flags = SA_SIGINFO;
  NEED_OK(sigaction(SIGUSR1, &action, nullptr));
  auto used = [] { return check::now_ns(CLOCK_THREAD_CPUTIME_ID); };
  int64_t start = used();
  timer_t timer = every_10_ms_of(CLOCK_THREAD_CPUTIME_ID, SIGUSR1);
  check::sleep_ms(100);
  int64_t most = (used() - start) / 10000000 + 1;
  CHECK(expired <= most);
  use_time(200);
  most = (used() - start) / 10000000 + 1;
  CHECK(expired >= 10 && expired <= most);
  CHECK_EQ(info.si_code, SI_TIMER);
  timer_delete(timer);
  // Another thread's clock, by its number.
  clockid_t clock;
  CHECK_EQ(pthread_getcpuclockid(busy.native_handle(), &clock), 0);
  timer = every_10_ms_of(clock, SIGUSR1);
  expired = 0;
  CHECK(check::eventually([] { return expired >= 5; }));
  timer_delete(timer);
  done = true;
  busy.join();
  timer_t refused;
  CHECK_ERR(timer_create(~999999 << 3 | 6, nullptr, &refused), EINVAL);
  CHECK_ERR(timer_create(~999999 << 3 | 2, nullptr, &refused), EINVAL);
  NEED_OK(clock_getcpuclockid(getpid(), &clock));
  CHECK_OK(timer_create(clock, nullptr, &refused));
}

TEST(timerfd_basics) {
  int fd = NEED_OK(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  uint64_t n;
  CHECK_ERR(read(fd, &n, 8), EAGAIN);
  itimerspec every{{0, 5000000}, {0, 5000000}}, now{};
  NEED_OK(timerfd_settime(fd, 0, &every, nullptr));
  NEED_OK(timerfd_gettime(fd, &now));
  CHECK_EQ(now.it_interval.tv_nsec, 5000000);
  pollfd p{fd, POLLIN, 0};
  CHECK_EQ(poll(&p, 1, check::kPatience), 1);
  CHECK_EQ(p.revents, POLLIN);
  CHECK_EQ(read(fd, &n, 8), 8);
  CHECK(n >= 1);
  check::sleep_ms(40);
  CHECK_EQ(read(fd, &n, 8), 8);
  CHECK(n >= 6);
  CHECK_ERR(read(fd, &n, 4), EINVAL);
  itimerspec off{};
  NEED_OK(timerfd_settime(fd, 0, &off, nullptr));
  CHECK_ERR(read(fd, &n, 8), EAGAIN);
  CHECK_ERR(timerfd_create(77, 0), EINVAL);
  CHECK_ERR(timerfd_settime(0, 0, &every, nullptr), EINVAL);
}

TEST(timerfd_blocking_absolute) {
  int fd = NEED_OK(timerfd_create(CLOCK_REALTIME, 0));
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  itimerspec at{{0, 0}, now};
  at.it_value.tv_nsec += 30000000;
  if (at.it_value.tv_nsec >= 1000000000) {
    at.it_value.tv_sec++;
    at.it_value.tv_nsec -= 1000000000;
  }
  NEED_OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, nullptr));
  uint64_t n = 0;
  CHECK_EQ(read(fd, &n, 8), 8);
  CHECK_EQ(n, 1);
  timespec then;
  clock_gettime(CLOCK_REALTIME, &then);
  CHECK(then.tv_sec > at.it_value.tv_sec ||
        (then.tv_sec == at.it_value.tv_sec && then.tv_nsec >= at.it_value.tv_nsec));
}

TEST(clocks_agree_and_advance) {
  for (clockid_t clock :
       {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
        CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME}) {
    timespec a, b;
    CHECK_OK(clock_gettime(clock, &a));
    CHECK(a.tv_nsec >= 0 && a.tv_nsec < 1000000000);
    CHECK_OK(syscall(SYS_clock_gettime, clock, &b));
    CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
  }
  int64_t last = 0;
  for (int i = 0; i < 100000; i++) {
    int64_t t = check::now_ns();
    CHECK(t >= last);
    last = t;
  }
  timeval tv;
  timespec ts;
  gettimeofday(&tv, nullptr);
  clock_gettime(CLOCK_REALTIME, &ts);
  CHECK(ts.tv_sec >= tv.tv_sec && ts.tv_sec - tv.tv_sec <= 60);
  CHECK(time(nullptr) - tv.tv_sec <= 60);
  CHECK(ts.tv_sec > 1600000000);
  CHECK_ERR(syscall(SYS_clock_gettime, 99, &ts), EINVAL);
}

TEST(clock_resolution) {
  timespec r{};
  for (clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_BOOTTIME}) {
    CHECK_OK(clock_getres(clock, &r));
    CHECK_EQ(r.tv_sec, 0);
    CHECK_EQ(r.tv_nsec, 1);
  }
  for (clockid_t clock : {CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE}) {
    CHECK_OK(clock_getres(clock, &r));
    CHECK(r.tv_nsec >= 1000000 && r.tv_nsec <= 10000000);
  }
  CHECK_OK(clock_getres(CLOCK_MONOTONIC, nullptr));
  CHECK_ERR(clock_getres(99, &r), EINVAL);
}

TEST(cpu_clocks_count_cpu) {
  int64_t a = check::now_ns(CLOCK_PROCESS_CPUTIME_ID);
  check::sleep_ms(30);
  int64_t b = check::now_ns(CLOCK_PROCESS_CPUTIME_ID);
  CHECK(b - a < 20000000);
  // On a busy machine 30 ms may pass with next to no CPU.
  int64_t c = b;
  CHECK(check::eventually([&] {
    int64_t end = check::now_ns() + 30000000;
    while (check::now_ns() < end) {
    }
    c = check::now_ns(CLOCK_PROCESS_CPUTIME_ID);
    return c - b > 3000000;
  }));
  clockid_t mine;
  CHECK_RET(clock_getcpuclockid(getpid(), &mine), 0);
  CHECK(check::now_ns(mine) >= c);
}

TEST(clock_settime_is_refused_or_privileged) {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  CHECK_ERR(clock_settime(CLOCK_MONOTONIC, &t), EINVAL);
  CHECK_ERR(clock_settime(99, &t), EINVAL);
}

TEST(nanosleep_sleeps_and_checks) {
  int64_t start = check::now_ns();
  timespec t{0, 20000000}, bad{0, 1000000000}, negative{-1, 0};
  CHECK_OK(nanosleep(&t, nullptr));
  int64_t took = check::now_ns() - start;
  CHECK(took >= 20000000);
  CHECK_ERR(nanosleep(&bad, nullptr), EINVAL);
  CHECK_ERR(nanosleep(&negative, nullptr), EINVAL);
  timespec past{0, 0};
  CHECK_RET(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, nullptr), 0);
  timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += until.tv_nsec > 979999999;
  until.tv_nsec = (until.tv_nsec + 20000000) % 1000000000;
  CHECK_RET(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr), 0);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  CHECK(now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
  CHECK_RET(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, nullptr), EINVAL);
}

TEST(times_and_rusage) {
  burn(30);
  tms t{};
  CHECK(times(&t) != clock_t(-1));
  rusage r{};
  CHECK_OK(getrusage(RUSAGE_SELF, &r));
  CHECK(r.ru_utime.tv_sec * 1000000 + r.ru_utime.tv_usec + r.ru_stime.tv_usec > 3000);
  CHECK(r.ru_maxrss > 0);
  CHECK_OK(getrusage(RUSAGE_THREAD, &r));
  CHECK_OK(getrusage(RUSAGE_CHILDREN, &r));
  CHECK_ERR(getrusage(7, &r), EINVAL);
  int64_t before = r.ru_utime.tv_usec + r.ru_utime.tv_sec * 1000000;
  check::in_child([] { burn(40); });
  getrusage(RUSAGE_CHILDREN, &r);
  int64_t after = r.ru_utime.tv_usec + r.ru_stime.tv_usec + r.ru_utime.tv_sec * 1000000;
  CHECK(after - before > 4000);
}

// ---- the vDSO: the guest's own, found through the auxiliary vector, with the names that libcs look for ----

namespace {
void* vdso_symbol(const char* wanted) {
  auto base = reinterpret_cast<const char*>(getauxval(AT_SYSINFO_EHDR));
  if (!base) return nullptr;
  auto ehdr = reinterpret_cast<const Elf64_Ehdr*>(base);
  auto phdr = reinterpret_cast<const Elf64_Phdr*>(base + ehdr->e_phoff);
  const Elf64_Dyn* dynamic = nullptr;
  uint64_t bias = 0;
  for (int i = 0; i < ehdr->e_phnum; i++) {
    if (phdr[i].p_type == PT_LOAD) bias = uint64_t(base) - phdr[i].p_vaddr + phdr[i].p_offset;
    if (phdr[i].p_type == PT_DYNAMIC) dynamic = reinterpret_cast<const Elf64_Dyn*>(base + phdr[i].p_offset);
  }
  const Elf64_Sym* symbols = nullptr;
  const char* names = nullptr;
  const uint32_t* hash = nullptr;
  size_t count = 0;
  for (; dynamic && dynamic->d_tag; dynamic++) {
    if (dynamic->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const Elf64_Sym*>(bias + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(bias + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_HASH) hash = reinterpret_cast<const uint32_t*>(bias + dynamic->d_un.d_ptr);
  }
  if (!symbols || !names) return nullptr;
  // Symbols come right before the strings in every vDSO; DT_HASH tells it exactly where there is one.
  count = hash ? hash[1] : size_t(names - reinterpret_cast<const char*>(symbols)) / sizeof *symbols;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(names + symbols[i].st_name, wanted) == 0)
      return reinterpret_cast<void*>(bias + symbols[i].st_value);
  }
  return nullptr;
}
}  // namespace

TEST(vdso_has_the_symbols) {
  CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
  for (const char* name :
       {"__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu", "__vdso_clock_getres"})
    if (!vdso_symbol(name)) check::fail(__FILE__, __LINE__, std::string("no ") + name);
}

TEST(vdso_clocks_are_right) {
  auto vdso_clock_gettime =
      reinterpret_cast<int (*)(clockid_t, timespec*)>(vdso_symbol("__vdso_clock_gettime"));
  NEED(vdso_clock_gettime);
  for (clockid_t clock :
       {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
        CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID}) {
    timespec a, b, c;
    syscall(SYS_clock_gettime, clock, &a);
    CHECK_EQ(vdso_clock_gettime(clock, &b), 0);
    syscall(SYS_clock_gettime, clock, &c);
    auto ns = [](timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; };
    CHECK(ns(a) <= ns(b));
    CHECK(ns(b) <= ns(c));
  }
  timespec t;
  CHECK_EQ(vdso_clock_gettime(99, &t), -EINVAL);
  auto vdso_time = reinterpret_cast<time_t (*)(time_t*)>(vdso_symbol("__vdso_time"));
  NEED(vdso_time);
  time_t now = vdso_time(nullptr);
  CHECK(llabs(now - time(nullptr)) <= 1);
  auto vdso_getcpu = reinterpret_cast<int (*)(unsigned*, unsigned*, void*)>(vdso_symbol("__vdso_getcpu"));
  unsigned cpu = 12345;
  if (vdso_getcpu) CHECK_EQ(vdso_getcpu(&cpu, nullptr, nullptr), 0);
  CHECK(cpu < 4096);
}

TEST(adjtimex_reads) {
  timex t{};
  CHECK(adjtimex(&t) >= 0);
}
