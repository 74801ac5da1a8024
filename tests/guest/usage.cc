// CPU time and memory used, by a process and by the children it has waited for: getrusage(2), times(2),
// wait4(2).
#include <pthread.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/times.h>

#include "tests/guest/check.h"

extern char** environ;

namespace {

int64_t ns(const timeval& t) {
  return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL;
}
int64_t cpu(const rusage& usage) {
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}
int64_t cpu(int who) {
  rusage usage{};
  CHECK_OK(getrusage(who, &usage));
  return cpu(usage);
}

// Uses `ms` of the process's CPU time.
void burn(int64_t ms) {
  int64_t start = check::now_ns(CLOCK_PROCESS_CPUTIME_ID);
  while (check::now_ns(CLOCK_PROCESS_CPUTIME_ID) - start < ms * 1000000) {
  }
}
// The same of the thread's.
void burn_thread(int64_t ms) {
  int64_t start = check::now_ns(CLOCK_THREAD_CPUTIME_ID);
  while (check::now_ns(CLOCK_THREAD_CPUTIME_ID) - start < ms * 1000000) {
  }
}

constexpr int64_t kMs = 1000000;

pid_t spawn_burner(const char* ms) {
  const char* argv[] = {check::self, "@burner", ms, nullptr};
  pid_t child = -1;
  CHECK_RET(posix_spawn(&child, check::self, nullptr, nullptr, const_cast<char**>(argv), environ), 0);
  return child;
}

// What the child is said to have used.
int64_t reap(pid_t child) {
  rusage usage{};
  int status = -1;
  CHECK_EQ(wait4(child, &status, 0, &usage), child);
  CHECK_EXIT(status, 0);
  return cpu(usage);
}

// Starting a program costs CPU time too, more where `burn` is slow to notice.
void check_about(int64_t got, int64_t ms) {
  CHECK(got >= (ms - 1) * kMs);
  CHECK(got <= (ms + 150) * kMs);
}

}  // namespace

HELPER(burner) {
  burn(atoi(argv[1]));
  return 0;
}

// Spawns one that burns, and burns itself.
HELPER(spawner) {
  burn(20);
  reap(spawn_burner("30"));
  return check::failures ? 1 : 0;
}

TEST(forked_children) {
  int64_t before = cpu(RUSAGE_CHILDREN), self = cpu(RUSAGE_SELF);
  pid_t child = fork();
  if (child == 0) {
    burn(40);
    _exit(0);
  }
  check_about(reap(child), 40);
  check_about(cpu(RUSAGE_CHILDREN) - before, 40);
  CHECK(cpu(RUSAGE_SELF) - self < 30 * kMs);
}

TEST(vforked_children) {
  int64_t before = cpu(RUSAGE_CHILDREN), self = cpu(RUSAGE_SELF);
  for (int i = 0; i < 3; i++) {
    pid_t child = vfork();
    if (child == 0) {
      burn(20);
      _exit(0);
    }
    check_about(reap(child), 20);
  }
  check_about(cpu(RUSAGE_CHILDREN) - before, 60);
  CHECK(cpu(RUSAGE_SELF) - self < 30 * kMs);
}

TEST(spawned_children) {
  int64_t before = cpu(RUSAGE_CHILDREN), self = cpu(RUSAGE_SELF);
  for (int i = 0; i < 3; i++) check_about(reap(spawn_burner("20")), 20);
  int64_t children = cpu(RUSAGE_CHILDREN) - before;
  CHECK(children >= 59 * kMs && children <= 400 * kMs);
  CHECK(cpu(RUSAGE_SELF) - self < 30 * kMs);
}

TEST(only_children_waited_for_count) {
  int64_t before = cpu(RUSAGE_CHILDREN);
  pid_t child = fork();
  if (child == 0) {
    burn(30);
    _exit(0);
  }
  siginfo_t info;
  CHECK_OK(waitid(P_PID, id_t(child), &info, WEXITED | WNOWAIT));
  CHECK_EQ(cpu(RUSAGE_CHILDREN), before);
  check_about(reap(child), 30);
  check_about(cpu(RUSAGE_CHILDREN) - before, 30);
}

TEST(grandchildren_count) {
  int64_t before = cpu(RUSAGE_CHILDREN);
  const char* argv[] = {check::self, "@spawner", nullptr};
  pid_t child = -1;
  NEED(posix_spawn(&child, check::self, nullptr, nullptr, const_cast<char**>(argv), environ) == 0);
  check_about(reap(child), 50);
  check_about(cpu(RUSAGE_CHILDREN) - before, 50);
}

// A vfork within a vfork: each one's time is its own.
TEST(nested_vfork) {
  int64_t before = cpu(RUSAGE_CHILDREN), self = cpu(RUSAGE_SELF);
  pid_t child = vfork();
  if (child == 0) {
    pid_t inner = vfork();
    if (inner == 0) {
      burn(30);
      _exit(0);
    }
    int status;
    waitpid(inner, &status, 0);
    burn(20);
    _exit(0);
  }
  check_about(reap(child), 50);
  check_about(cpu(RUSAGE_CHILDREN) - before, 50);
  CHECK(cpu(RUSAGE_SELF) - self < 30 * kMs);
}

// Threads that spawn at the same time; the process's own clock never goes back, nor beyond what was used.
TEST(spawning_threads) {
  int64_t children_before = cpu(RUSAGE_CHILDREN), self_before = cpu(RUSAGE_SELF);
  auto work = [](void*) -> void* {
    for (int i = 0; i < 5; i++) {
      pid_t child = vfork();
      if (child == 0) {
        burn_thread(4);
        _exit(0);
      }
      int status;
      waitpid(child, &status, 0);
      spawn_burner("2");
    }
    return nullptr;
  };
  pthread_t threads[3];
  for (pthread_t& thread : threads) NEED(pthread_create(&thread, nullptr, work, nullptr) == 0);
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  for (int i = 0; i < 15; i++) {
    int status = -1;
    CHECK(wait(&status) > 0);
    CHECK_EXIT(status, 0);
  }
  int64_t children = cpu(RUSAGE_CHILDREN) - children_before;
  CHECK(children >= 85 * kMs);
  CHECK(children <= 2000 * kMs);
  CHECK(cpu(RUSAGE_SELF) - self_before < 60 * kMs);
}

TEST(times_agrees) {
  long tick = sysconf(_SC_CLK_TCK);
  CHECK_EQ(tick, 100);
  reap(spawn_burner("60"));
  tms t{};
  CHECK(times(&t) != clock_t(-1));
  clock_t children = t.tms_cutime + t.tms_cstime;
  CHECK(children >= 5 && children < 30);
  CHECK(t.tms_utime + t.tms_stime < 10);
}

TEST(exec_keeps_the_time) {
  pid_t child = fork();
  if (child == 0) {
    burn(40);
    execl(check::self, check::self, "@burner", "20", nullptr);
    _exit(1);
  }
  check_about(reap(child), 60);
  child = vfork();
  if (child == 0) {
    burn(40);
    execl(check::self, check::self, "@burner", "20", nullptr);
    _exit(1);
  }
  check_about(reap(child), 60);
}

TEST(most_memory) {
  pid_t child = fork();
  if (child == 0) {
    constexpr size_t kSize = 64 << 20;
    auto* p =
        static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(p, 1, kSize);
    munmap(p, kSize);
    _exit(0);
  }
  rusage usage{};
  int status = -1;
  CHECK_EQ(wait4(child, &status, 0, &usage), child);
  CHECK_EXIT(status, 0);
  CHECK(usage.ru_maxrss >= 64 << 10 && usage.ru_maxrss < 128 << 10);
  CHECK_OK(getrusage(RUSAGE_CHILDREN, &usage));
  CHECK(usage.ru_maxrss >= 64 << 10 && usage.ru_maxrss < 128 << 10);
}

TEST(errors) {
  rusage usage;
  CHECK_ERR(getrusage(7, &usage), EINVAL);
  CHECK_ERR(syscall(SYS_getrusage, RUSAGE_SELF, 8), EFAULT);
}
