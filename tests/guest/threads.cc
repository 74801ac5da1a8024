// Threads by pthread and by raw clone: join, thread-local data, limits, ids, exits in every order.
#include <linux/sched.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/prctl.h>

#include <atomic>
#include <vector>

#include "tests/guest/check.h"

namespace {
template <typename F>
pthread_t start(F* f) {
  pthread_t t;
  int r = pthread_create(
      &t, nullptr,
      [](void* p) -> void* {
        (*static_cast<F*>(p))();
        return nullptr;
      },
      f);
  if (r) check::fail(__FILE__, __LINE__, "pthread_create: " + check::errno_text(r));
  NEED(r == 0);
  return t;
}
}  // namespace

TEST(create_join_value) {
  pthread_t t;
  NEED(pthread_create(
           &t, nullptr, [](void* p) -> void* { return static_cast<char*>(p) + 1; },
           reinterpret_cast<void*>(41)) == 0);
  void* value;
  CHECK_RET(pthread_join(t, &value), 0);
  CHECK_EQ(uint64_t(value), 42);
}

TEST(many_threads) {
  static std::atomic<int> sum;
  for (int round = 0; round < 10; round++) {
    auto body = [] { sum++; };
    std::vector<pthread_t> threads;
    for (int i = 0; i < 30; i++) threads.push_back(start(&body));
    for (pthread_t t : threads) pthread_join(t, nullptr);
  }
  CHECK_EQ(sum.load(), 300);
}

TEST(ids) {
  static pid_t tid, pid;
  auto body = [] {
    tid = gettid();
    pid = getpid();
  };
  pthread_join(start(&body), nullptr);
  CHECK_EQ(pid, getpid());
  CHECK(tid != getpid());
  CHECK(tid > 0);
}

TEST(thread_local_data) {
  static thread_local int mine = 5;
  static int seen;
  mine = 6;
  auto body = [] { seen = mine++; };
  pthread_join(start(&body), nullptr);
  CHECK_EQ(seen, 5);
  CHECK_EQ(mine, 6);
}

TEST(mutex_contention) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static long counter;
  auto body = [] {
    for (int i = 0; i < 50000; i++) {
      pthread_mutex_lock(&mutex);
      counter = counter + 1;
      pthread_mutex_unlock(&mutex);
    }
  };
  std::vector<pthread_t> threads;
  for (int i = 0; i < 4; i++) threads.push_back(start(&body));
  for (pthread_t t : threads) pthread_join(t, nullptr);
  CHECK_EQ(counter, 200000);
}

TEST(condition_variables) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
  static int turn;
  auto body = [] {
    for (int i = 0; i < 500; i++) {
      pthread_mutex_lock(&mutex);
      while (turn != 1) pthread_cond_wait(&cond, &mutex);
      turn = 0;
      pthread_cond_broadcast(&cond);
      pthread_mutex_unlock(&mutex);
    }
  };
  pthread_t t = start(&body);
  for (int i = 0; i < 500; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != 0) pthread_cond_wait(&cond, &mutex);
    turn = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
  }
  pthread_join(t, nullptr);
  timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec -= 1;
  pthread_mutex_lock(&mutex);
  CHECK_RET(pthread_cond_timedwait(&cond, &mutex, &soon), ETIMEDOUT);
  clock_gettime(CLOCK_MONOTONIC, &soon);
  soon.tv_nsec += 10000000;
  if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
  CHECK_RET(pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &soon), ETIMEDOUT);
  pthread_mutex_unlock(&mutex);
}

TEST(barriers_rwlocks_semaphores) {
  static pthread_barrier_t barrier;
  static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
  static sem_t sem;
  static std::atomic<int> inside, most;
  pthread_barrier_init(&barrier, nullptr, 4);
  sem_init(&sem, 0, 0);
  auto body = [] {
    for (int i = 0; i < 50; i++) {
      pthread_barrier_wait(&barrier);
      pthread_rwlock_rdlock(&rwlock);
      int n = ++inside;
      if (n > most) most = n;
      pthread_barrier_wait(&barrier);  // all four readers at once, or this never ends
      inside--;
      pthread_rwlock_unlock(&rwlock);
      pthread_rwlock_wrlock(&rwlock);
      pthread_rwlock_unlock(&rwlock);
    }
    sem_post(&sem);
  };
  std::vector<pthread_t> threads;
  for (int i = 0; i < 4; i++) threads.push_back(start(&body));
  for (int i = 0; i < 4; i++) CHECK_OK(sem_wait(&sem));
  for (pthread_t t : threads) pthread_join(t, nullptr);
  CHECK_EQ(most.load(), 4);
}

TEST(process_shared_mutex_and_semaphore) {
  struct Shared {
    pthread_mutex_t mutex;
    sem_t sem;
    long counter;
  };
  auto* s =
      static_cast<Shared*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&s->mutex, &attr);
  sem_init(&s->sem, 1, 0);
  pid_t child = fork();
  for (int i = 0; i < 20000; i++) {
    pthread_mutex_lock(&s->mutex);
    s->counter = s->counter + 1;
    pthread_mutex_unlock(&s->mutex);
  }
  if (child == 0) {
    sem_post(&s->sem);
    _exit(0);
  }
  CHECK_OK(sem_wait(&s->sem));
  waitpid(child, nullptr, 0);
  CHECK_EQ(s->counter, 40000);
}

TEST(robust_mutex_owner_dies) {
  static pthread_mutex_t mutex;
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex, &attr);
  auto body = [] { pthread_mutex_lock(&mutex); };
  pthread_join(start(&body), nullptr);
  CHECK_RET(pthread_mutex_lock(&mutex), EOWNERDEAD);
  CHECK_RET(pthread_mutex_consistent(&mutex), 0);
  CHECK_RET(pthread_mutex_unlock(&mutex), 0);
  CHECK_RET(pthread_mutex_lock(&mutex), 0);
}

TEST(robust_mutex_process_killed) {
  auto* mutex = static_cast<pthread_mutex_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(mutex, &attr);
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t child = fork();
  if (child == 0) {
    pthread_mutex_lock(mutex);
    if (write(fds[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char c;
  NEED(read(fds[0], &c, 1) == 1);
  CHECK_RET(pthread_mutex_trylock(mutex), EBUSY);
  pid_t killer = fork();
  if (killer == 0) {
    check::sleep_ms(20);
    kill(child, SIGKILL);
    _exit(0);
  }
  CHECK_RET(pthread_mutex_lock(mutex), EOWNERDEAD);  // waits for the death
  waitpid(child, nullptr, 0);
  waitpid(killer, nullptr, 0);
}

TEST(priority_inheritance_mutex) {
  static pthread_mutex_t mutex;
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&mutex, &attr);
  static long counter;
  auto body = [] {
    for (int i = 0; i < 5000; i++) {
      pthread_mutex_lock(&mutex);
      counter = counter + 1;
      pthread_mutex_unlock(&mutex);
    }
  };
  pthread_t a = start(&body), b = start(&body);
  pthread_join(a, nullptr);
  pthread_join(b, nullptr);
  CHECK_EQ(counter, 10000);
}

TEST(leader_exits_first) {
  int status = check::in_child([] {
    static pthread_t leader;
    leader = pthread_self();
    static auto body = [] {
      pthread_join(leader, nullptr);
      check::sleep_ms(10);
      _exit(7);
    };
    start(&body);
    pthread_exit(nullptr);
  });
  CHECK_EXIT(status, 7);
}

TEST(last_thread_exit_ends_process_with_zero) {
  CHECK_EXIT(check::in_child([] {
               static auto body = [] { check::sleep_ms(10); };
               start(&body);
               pthread_exit(nullptr);
             }),
             0);
}

TEST(exit_group_while_others_block) {
  for (int i = 0; i < 20; i++) {
    CHECK_EXIT(check::in_child([] {
                 static int fds[2];
                 NEED_OK(pipe(fds));
                 static auto reader = [] {
                   char c;
                   if (read(fds[0], &c, 1)) {
                   }
                 };
                 static auto spinner = [] {
                   for (;;) asm volatile("" ::: "memory");
                 };
                 static auto caller = [] {
                   for (;;) getppid();
                 };
                 start(&reader);
                 start(&spinner);
                 start(&caller);
                 exit(21);
               }),
               21);
  }
}

TEST(exit_from_other_thread) {
  CHECK_EXIT(check::in_child([] {
               static auto body = [] { exit(23); };
               start(&body);
               for (;;) pause();
             }),
             23);
}

TEST(raw_clone_clears_tid) {
  static char stack[65536];
  static int tid_word = 1, parent_tid;
  static volatile int ran;
  constexpr int kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                         CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_PARENT_SETTID;
  // The child uses no libc state: it shares the parent's thread pointer.
  int r = clone(
      [](void*) -> int {
        ran = 1;
        asm volatile("syscall" ::"a"(SYS_exit), "D"(0) : "rcx", "r11", "memory");
        return 0;
      },
      stack + sizeof stack, kFlags, nullptr, &parent_tid, nullptr, &tid_word);
  NEED_OK(r);
  CHECK(check::eventually([] { return __atomic_load_n(&tid_word, __ATOMIC_SEQ_CST) == 0; }));
  CHECK_EQ(ran, 1);
  CHECK_EQ(parent_tid, r);
}

TEST(clone3_and_errors) {
  clone_args args{};
  args.flags = CLONE_THREAD;  // without CLONE_SIGHAND
  CHECK_ERR(syscall(SYS_clone3, &args, sizeof args), EINVAL);
  args.flags = CLONE_SIGHAND;  // without CLONE_VM
  CHECK_ERR(syscall(SYS_clone3, &args, sizeof args), EINVAL);
  CHECK_ERR(syscall(SYS_clone3, &args, 8), EINVAL);
  CHECK_ERR(syscall(SYS_clone3, nullptr, sizeof args), EFAULT);
  args = {};
  args.exit_signal = SIGCHLD;
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(17);
  NEED_OK(pid);
  int status;
  CHECK_EQ(waitpid(pid_t(pid), &status, 0), pid);
  CHECK_EXIT(status, 17);
  CHECK_ERR(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0), EINVAL);
  CHECK_ERR(syscall(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0), EINVAL);
  CHECK_ERR(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0), EINVAL);
}

TEST(thread_names_and_proc_task) {
  static std::atomic<pid_t> tid;
  static std::atomic<bool> stop;
  static auto body = [] {
    prctl(PR_SET_NAME, "worker-thread");
    tid = gettid();
    while (!stop) check::sleep_ms(1);
  };
  pthread_t t = start(&body);
  CHECK(check::eventually([] { return tid != 0; }));
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/comm", tid.load());
  CHECK_EQ(check::read_file(path), "worker-thread\n");
  int entries = 0;
  DIR* d = opendir("/proc/self/task");
  NEED(d);
  while (dirent* e = readdir(d)) entries += e->d_name[0] != '.';
  closedir(d);
  CHECK_EQ(entries, 2);
  stop = true;
  pthread_join(t, nullptr);
}

TEST(fork_in_threaded_program) {
  static std::atomic<bool> stop;
  static auto body = [] {
    while (!stop) {
      free(malloc(1000));
      getppid();
    }
  };
  pthread_t a = start(&body), b = start(&body);
  for (int i = 0; i < 20; i++) {
    CHECK_EXIT(check::in_child([] {
                 // Only the caller is in the child.
                 void* p = malloc(100000);
                 free(p);
                 auto nothing = [] {};
                 pthread_join(start(&nothing), nullptr);
               }),
               0);
  }
  stop = true;
  pthread_join(a, nullptr);
  pthread_join(b, nullptr);
}

TEST(affinity) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CHECK_OK(sched_getaffinity(0, sizeof set, &set));
  CHECK(CPU_COUNT(&set) >= 1);
  CHECK_OK(sched_setaffinity(0, sizeof set, &set));
  CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= CPU_COUNT(&set));  // some may be kept for others
  CPU_ZERO(&set);
  CHECK_ERR(sched_setaffinity(0, sizeof set, &set), EINVAL);
  CHECK_ERR(sched_getaffinity(0, 1, &set), EINVAL);
  CHECK_ERR(sched_getaffinity(999999, sizeof set, &set), ESRCH);
  CHECK_OK(sched_yield());
  CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
  sched_param p{};
  CHECK_OK(sched_getparam(0, &p));
  CHECK_EQ(p.sched_priority, 0);
  CHECK_EQ(sched_get_priority_max(SCHED_FIFO), 99);
}

TEST(stack_size_and_guard) {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 16 << 20);
  pthread_t t;
  NEED(pthread_create(
           &t, &attr,
           [](void*) -> void* {
             volatile char big[12 << 20];
             for (size_t i = 0; i < sizeof big; i += 4096) big[i] = 1;
             return nullptr;
           },
           nullptr) == 0);
  CHECK_RET(pthread_join(t, nullptr), 0);
}

// A thread that makes threads while another ends the process: pthread_create has a result that it may have,
// or none.
TEST(clone_while_the_process_ends) {
  int result[2];
  NEED(pipe(result) == 0);
  for (int i = 0; i < 60; i++) {
    int status = check::in_child([&] {
      static int report;
      report = result[1];
      auto make = [](void*) -> void* {
        for (;;) {
          pthread_t thread;
          int error = pthread_create(
              &thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr);
          if (error == 0) pthread_join(thread, nullptr);
          if (error != 0 && error != EAGAIN && write(report, &error, sizeof error) < 0) _exit(1);
        }
        return nullptr;
      };
      pthread_t makers[4];
      for (pthread_t& maker : makers) pthread_create(&maker, nullptr, make, nullptr);
      usleep(static_cast<useconds_t>(500 + i * 37));
      _exit(0);
    });
    CHECK_EXIT(status, 0);
  }
  close(result[1]);
  int error = 0;
  CHECK_EQ(read(result[0], &error, sizeof error), 0);
  CHECK_EQ(error, 0);
  close(result[0]);
}

TEST(set_tid_address) {
  static int word = 0;
  CHECK_EQ(syscall(SYS_set_tid_address, &word), gettid());
}

TEST(rseq_is_consistent) {
  // A kernel may refuse rseq altogether (glibc copes); what it may not do is take a registration and forget
  // it.
  struct alignas(32) {
    uint32_t cpu_id_start, cpu_id;
    uint64_t cs;
    uint32_t flags, pad[3];
  } area{};
  long r = syscall(SYS_rseq, &area, 7, 0, 0);
  CHECK(r == -1);
  CHECK(errno == ENOSYS || errno == EINVAL || errno == EBUSY || errno == EPERM);
}
