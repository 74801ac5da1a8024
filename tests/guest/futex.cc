// futex(2), operation by operation, private and shared, through raw calls.
#include <linux/futex.h>
#include <pthread.h>
#include <sys/time.h>

#include <atomic>

#include "tests/guest/check.h"

namespace {

long futex(void* word, int op, uint32_t value, const void* timeout = nullptr, void* second = nullptr,
           uint32_t v3 = 0) {
  return syscall(SYS_futex, word, op, value, timeout, second, v3);
}

struct Waiter {
  uint32_t* word;
  int op;
  uint32_t value;
  uint32_t bits;
  std::atomic<pid_t> tid{0};
  std::atomic<long> result{-100};
  pthread_t thread;
};

// A thread that waits on the word; gives once it sleeps.
void begin(Waiter& w) {
  NEED(pthread_create(
           &w.thread, nullptr,
           [](void* p) -> void* {
             auto& me = *static_cast<Waiter*>(p);
             me.tid = gettid();
             long r = futex(me.word, me.op, me.value, nullptr, nullptr, me.bits);
             me.result = r < 0 ? -errno : r;
             return nullptr;
           },
           &w) == 0);
  NEED(check::eventually([&] { return w.tid != 0; }));
  NEED(check::until_asleep(getpid(), w.tid));
}

bool done(Waiter& w) {
  return w.result != -100;
}

void* shared_page() {
  return mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

}  // namespace

TEST(wait_value_differs) {
  uint32_t word = 3;
  CHECK_ERR(futex(&word, FUTEX_WAIT, 4), EAGAIN);
  CHECK_ERR(futex(&word, FUTEX_WAIT_PRIVATE, 4), EAGAIN);
  CHECK_ERR(futex(&word, FUTEX_WAIT_BITSET, 4, nullptr, nullptr, 1), EAGAIN);
}

TEST(wait_times_out) {
  uint32_t word = 3;
  timespec t{0, 20000000}, zero{0, 0}, bad{0, 1000000000}, negative{-1, 0};
  int64_t start = check::now_ns();
  CHECK_ERR(futex(&word, FUTEX_WAIT_PRIVATE, 3, &t), ETIMEDOUT);
  CHECK(check::now_ns() - start >= 20000000);
  CHECK_ERR(futex(&word, FUTEX_WAIT, 3, &zero), ETIMEDOUT);
  CHECK_ERR(futex(&word, FUTEX_WAIT, 3, &bad), EINVAL);
  CHECK_ERR(futex(&word, FUTEX_WAIT, 3, &negative), EINVAL);
}

TEST(wait_bitset_absolute) {
  uint32_t word = 1;
  timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_nsec += 20000000;
  if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
  CHECK_ERR(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &at, nullptr, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
  CHECK_ERR(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &at, nullptr, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
  clock_gettime(CLOCK_REALTIME, &at);
  at.tv_sec -= 5;
  CHECK_ERR(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &at, nullptr, 1), ETIMEDOUT);
  CHECK_ERR(futex(&word, FUTEX_WAIT_BITSET, 1, nullptr, nullptr, 0), EINVAL);
  CHECK_ERR(futex(&word, FUTEX_WAKE_BITSET, 1, nullptr, nullptr, 0), EINVAL);
}

TEST(errors) {
  uint32_t words[2] = {0, 0};
  auto odd = reinterpret_cast<char*>(words) + 1;
  CHECK_ERR(futex(odd, FUTEX_WAIT, 0), EINVAL);
  CHECK_ERR(futex(odd, FUTEX_WAKE, 1), EINVAL);
  CHECK_ERR(futex(nullptr, FUTEX_WAIT, 0), EFAULT);
  CHECK_ERR(futex(reinterpret_cast<void*>(0x600000000000), FUTEX_WAIT, 0), EFAULT);
  CHECK_ERR(futex(reinterpret_cast<void*>(0xffff800000000000), FUTEX_WAKE, 1), EFAULT);
  CHECK_ERR(futex(words, 99, 0), ENOSYS);
  CHECK_ERR(futex(words, FUTEX_CMP_REQUEUE_PRIVATE, 1, nullptr, words + 1, 7), EAGAIN);
  CHECK_EQ(futex(words, FUTEX_WAKE_PRIVATE, 100), 0);
}

TEST(wake_counts) {
  static uint32_t word;
  Waiter w[3];
  for (auto& each : w) {
    each.word = &word;
    each.op = FUTEX_WAIT_PRIVATE;
    each.value = 0;
    begin(each);
  }
  CHECK_EQ(futex(&word, FUTEX_WAKE, 10), 0);  // shared key: not the private waiters
  CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1), 1);
  CHECK(check::eventually([&] { return done(w[0]) + done(w[1]) + done(w[2]) == 1; }));
  CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10), 2);
  for (auto& each : w) {
    pthread_join(each.thread, nullptr);
    CHECK_EQ(each.result.load(), 0);
  }
}

TEST(wake_first_in_first_out) {
  static uint32_t word;
  Waiter w[3];
  for (auto& each : w) {
    each.word = &word;
    each.op = FUTEX_WAIT_PRIVATE;
    each.value = 0;
    begin(each);
  }
  for (auto& each : w) {
    CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1), 1);
    CHECK(check::eventually([&] { return done(each); }));
  }
  for (auto& each : w) pthread_join(each.thread, nullptr);
}

TEST(bitset_selects) {
  static uint32_t word;
  Waiter w[2];
  for (int i = 0; i < 2; i++) {
    w[i].word = &word;
    w[i].op = FUTEX_WAIT_BITSET_PRIVATE;
    w[i].value = 0;
    w[i].bits = 1u << i;
    begin(w[i]);
  }
  CHECK_EQ(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, nullptr, nullptr, 4), 0);
  CHECK_EQ(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, nullptr, nullptr, 2), 1);
  CHECK(check::eventually([&] { return done(w[1]); }));
  CHECK(!done(w[0]));
  CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10), 1);
  for (auto& each : w) pthread_join(each.thread, nullptr);
}

TEST(requeue_moves) {
  static uint32_t from, to;
  Waiter w[3];
  for (auto& each : w) {
    each.word = &from;
    each.op = FUTEX_WAIT_PRIVATE;
    each.value = 0;
    begin(each);
  }
  // Wakes one, moves one: gives 2 for CMP_REQUEUE (woken + moved), the woken only for REQUEUE.
  CHECK_EQ(futex(&from, FUTEX_CMP_REQUEUE_PRIVATE, 1, reinterpret_cast<void*>(1), &to, 0), 2);
  CHECK_EQ(futex(&to, FUTEX_WAKE_PRIVATE, 10), 1);
  CHECK_EQ(futex(&from, FUTEX_REQUEUE_PRIVATE, 0, reinterpret_cast<void*>(10), &to), 1);
  CHECK_EQ(futex(&from, FUTEX_WAKE_PRIVATE, 10), 0);
  CHECK_EQ(futex(&to, FUTEX_WAKE_PRIVATE, 10), 1);
  for (auto& each : w) {
    pthread_join(each.thread, nullptr);
    CHECK_EQ(each.result.load(), 0);
  }
}

TEST(requeue_private_to_shared_page) {
  static uint32_t from;
  auto* to = static_cast<uint32_t*>(shared_page());
  Waiter w;
  w.word = &from;
  w.op = FUTEX_WAIT;
  w.value = 0;
  begin(w);
  CHECK_EQ(futex(&from, FUTEX_REQUEUE, 0, reinterpret_cast<void*>(1), to), 1);
  CHECK_EQ(futex(to, FUTEX_WAKE, 1), 1);
  pthread_join(w.thread, nullptr);
}

TEST(wake_op) {
  static uint32_t a, b;
  b = 5;
  Waiter w[2];
  w[0].word = &a;
  w[1].word = &b;
  w[1].value = 5;
  w[0].value = 0;
  for (auto& each : w) {
    each.op = FUTEX_WAIT_PRIVATE;
    begin(each);
  }
  // b += 3; wake a; wake b if the old b was > 4
  CHECK_EQ(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, reinterpret_cast<void*>(1), &b,
                 uint32_t(FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 4))),
           2);
  CHECK_EQ(b, 8);
  for (auto& each : w) pthread_join(each.thread, nullptr);
  struct {
    int op;
    uint32_t arg, before, after;
  } rows[] = {{FUTEX_OP_SET, 9, 1, 9},
              {FUTEX_OP_OR, 6, 1, 7},
              {FUTEX_OP_ANDN, 1, 7, 6},
              {FUTEX_OP_XOR, 5, 3, 6},
              {FUTEX_OP_ADD | FUTEX_OP_OPARG_SHIFT, 4, 1, 17}};
  for (auto& r : rows) {
    b = r.before;
    CHECK_EQ(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, reinterpret_cast<void*>(1), &b,
                   uint32_t(FUTEX_OP(r.op, r.arg, FUTEX_OP_CMP_EQ, 0))),
             0);
    CHECK_EQ(b, r.after);
  }
}

TEST(shared_between_processes) {
  auto* word = static_cast<uint32_t*>(shared_page());
  pid_t child = fork();
  if (child == 0) {
    long r = futex(word, FUTEX_WAIT, 0);
    _exit(r == 0 ? 0 : 1);
  }
  NEED(check::until_asleep(child));
  CHECK_EQ(futex(word, FUTEX_WAKE_PRIVATE, 1), 0);
  CHECK_EQ(futex(word, FUTEX_WAKE, 1), 1);
  int status;
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(shared_by_file_at_different_addresses) {
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  NEED_OK(ftruncate(fd, 8192));
  auto* a = static_cast<uint32_t*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  auto* b = static_cast<uint32_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096));
  NEED(a != MAP_FAILED && b != MAP_FAILED);
  pid_t child = fork();
  if (child == 0) _exit(futex(a + 1024, FUTEX_WAIT, 0) == 0 ? 0 : 1);
  NEED(check::until_asleep(child));
  CHECK_EQ(futex(b, FUTEX_WAKE, 1), 1);
  int status;
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(private_memory_is_not_shared_after_fork) {
  static uint32_t word;
  pid_t child = fork();
  if (child == 0) {
    futex(&word, FUTEX_WAIT, 0);
    _exit(1);
  }
  NEED(check::until_asleep(child));
  CHECK_EQ(futex(&word, FUTEX_WAKE, 1), 0);
  kill(child, SIGKILL);
  int status;
  waitpid(child, &status, 0);
  CHECK_KILLED(status, SIGKILL);
}

TEST(robust_list_raw) {
  CHECK_ERR(syscall(SYS_set_robust_list, nullptr, 5), EINVAL);
  robust_list_head* head = nullptr;
  size_t size = 0;
  CHECK_OK(syscall(SYS_get_robust_list, 0, &head, &size));
  CHECK_EQ(size, sizeof(robust_list_head));
  CHECK(head != nullptr);  // glibc registered one
  CHECK_ERR(syscall(SYS_get_robust_list, 999999, &head, &size), ESRCH);
}

TEST(robust_list_at_exit) {
  struct Lock {
    robust_list list;
    uint32_t word;
  };
  struct Page {
    robust_list_head head;
    Lock lock;
  };
  auto* page = static_cast<Page*>(shared_page());
  page->head.list.next = &page->lock.list;
  page->lock.list.next = &page->head.list;
  page->head.futex_offset = offsetof(Lock, word) - offsetof(Lock, list);
  pid_t child = fork();
  if (child == 0) {
    page->lock.word = uint32_t(gettid()) | FUTEX_WAITERS;
    syscall(SYS_set_robust_list, &page->head, sizeof page->head);
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  CHECK_EQ(page->lock.word & FUTEX_OWNER_DIED, FUTEX_OWNER_DIED);
  CHECK_EQ(page->lock.word & uint32_t(FUTEX_TID_MASK), 0);
}

TEST(hostile_robust_list) {
  CHECK_EXIT(check::in_child([] {
               static robust_list_head head;
               static robust_list loop;
               head.list.next = &loop;
               loop.next = &loop;  // never ends: the kernel gives up
               head.futex_offset = 8;
               syscall(SYS_set_robust_list, &head, sizeof head);
             }),
             0);
  CHECK_EXIT(check::in_child([] { syscall(SYS_set_robust_list, 0x600000000000, sizeof(robust_list_head)); }),
             0);
}

TEST(ping_pong) {
  static std::atomic<uint32_t> word{0};
  pthread_t t;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        for (uint32_t i = 0; i < 2000; i++) {
          while (word != 2 * i + 1) futex(&word, FUTEX_WAIT_PRIVATE, 2 * i);
          word = 2 * i + 2;
          futex(&word, FUTEX_WAKE_PRIVATE, 1);
        }
        return nullptr;
      },
      nullptr);
  for (uint32_t i = 0; i < 2000; i++) {
    word = 2 * i + 1;
    futex(&word, FUTEX_WAKE_PRIVATE, 1);
    while (word != 2 * i + 2) futex(&word, FUTEX_WAIT_PRIVATE, 2 * i + 1);
  }
  pthread_join(t, nullptr);
  CHECK_EQ(word.load(), 4000);
}

TEST(pi_lock_raw) {
  static uint32_t word;
  CHECK_OK(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0));
  CHECK_EQ(word & uint32_t(FUTEX_TID_MASK), gettid());
  CHECK_ERR(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0), EDEADLK);
  CHECK_OK(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0));
  CHECK_EQ(word, 0);
  CHECK_ERR(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0), EPERM);
  CHECK_OK(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0));
}

// ---- conditions whose waiters are requeued to a lock ----

namespace {
uint32_t condition, mutex;

struct Sleeper {
  pthread_t thread;
  std::atomic<pid_t> tid{0};
  std::atomic<long> result{-100};
  std::atomic<bool> may_unlock{false};
};

// A thread that waits on the condition, and once it owns the mutex keeps it until it is told.
void begin(Sleeper& s) {
  NEED(pthread_create(
           &s.thread, nullptr,
           [](void* p) -> void* {
             auto& me = *static_cast<Sleeper*>(p);
             me.tid = gettid();
             long r = futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, nullptr, &mutex);
             me.result = r < 0 ? -errno : r;
             if (r < 0) return nullptr;
             while (!me.may_unlock) check::sleep_ms(1);
             futex(&mutex, FUTEX_UNLOCK_PI_PRIVATE, 0);
             return nullptr;
           },
           &s) == 0);
  NEED(check::eventually([&] { return s.tid != 0; }));
  NEED(check::until_asleep(getpid(), s.tid));
}

long requeue(uint32_t expected, long most = 100) {
  return futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, reinterpret_cast<void*>(most), &mutex, expected);
}
uint32_t owner() {
  return __atomic_load_n(&mutex, __ATOMIC_SEQ_CST) & uint32_t(FUTEX_TID_MASK);
}
}  // namespace

TEST(requeue_pi_to_free_lock) {
  Sleeper s;
  begin(s);
  CHECK_EQ(requeue(0), 1);
  CHECK(check::eventually([&] { return s.result == 0; }));
  CHECK_EQ(owner(), s.tid.load());
  s.may_unlock = true;
  pthread_join(s.thread, nullptr);
  CHECK_EQ(mutex, 0);
}

TEST(requeue_pi_to_held_lock) {
  Sleeper s[3];
  for (Sleeper& one : s) begin(one);
  CHECK_OK(futex(&mutex, FUTEX_LOCK_PI_PRIVATE, 0));
  CHECK_EQ(requeue(0, 1), 2);  // the first and one more
  check::sleep_ms(5);
  for (Sleeper& one : s) CHECK_EQ(one.result.load(), -100);
  CHECK_EQ(requeue(0), 1);
  CHECK_EQ(requeue(0), 0);
  CHECK_OK(futex(&mutex, FUTEX_UNLOCK_PI_PRIVATE, 0));
  // One after the other, each when the one before lets go.
  for (int left = 3; left > 0; left--) {
    Sleeper* now = nullptr;
    NEED(check::eventually([&] {
      for (Sleeper& one : s) {
        if (one.result == 0 && !one.may_unlock) now = &one;
      }
      return now != nullptr;
    }));
    CHECK_EQ(owner(), now->tid.load());
    now->may_unlock = true;
  }
  for (Sleeper& one : s) pthread_join(one.thread, nullptr);
  CHECK_EQ(mutex, 0);
}

TEST(requeue_pi_errors_and_timeouts) {
  CHECK_ERR(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, nullptr, &mutex, 0), EINVAL);
  CHECK_ERR(futex(&mutex, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, nullptr, &mutex, 0), EINVAL);
  CHECK_ERR(requeue(7), EAGAIN);
  CHECK_ERR(futex(&mutex, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, nullptr, &mutex), EINVAL);
  CHECK_ERR(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 9, nullptr, &mutex), EAGAIN);
  timespec soon;
  clock_gettime(CLOCK_MONOTONIC, &soon);
  soon.tv_nsec += 10000000;
  soon.tv_sec += soon.tv_nsec / 1000000000;
  soon.tv_nsec %= 1000000000;
  CHECK_ERR(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &soon, &mutex), ETIMEDOUT);
  CHECK_EQ(requeue(0), 0);
  // Such a waiter cannot be woken otherwise, nor moved to something else.
  Sleeper s;
  begin(s);
  static uint32_t other;
  CHECK_ERR(futex(&condition, FUTEX_WAKE_PRIVATE, 1), EINVAL);
  CHECK_ERR(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, nullptr, &other, 0), EINVAL);
  CHECK_EQ(s.result.load(), -100);
  CHECK_EQ(requeue(0), 1);
  s.may_unlock = true;
  pthread_join(s.thread, nullptr);
  CHECK_EQ(s.result.load(), 0);
}
