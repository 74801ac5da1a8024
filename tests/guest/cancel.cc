// pthread_cancel in every kind of blocking call: the signal interrupts the call, the unwinder walks through
// the frame that the signal made, and C++ destructors run. It works only if the guest sees the original
// program counter.
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <atomic>
#include <vector>

#include "tests/guest/check.h"

namespace {

std::atomic<int> destroyed;
std::atomic<pid_t> tid;

struct Guard {
  ~Guard() { destroyed++; }
};

template <typename F>
__attribute__((noinline)) void guarded(F& f) {
  Guard g;
  f();
  asm volatile("" ::: "memory");
}

template <typename F>
void cancelled_in(F f, bool sleeps = true) {
  destroyed = 0;
  tid = 0;
  pthread_t t;
  NEED(pthread_create(
           &t, nullptr,
           [](void* p) -> void* {
             Guard outer;
             tid = gettid();
             guarded(*static_cast<F*>(p));
             return nullptr;
           },
           &f) == 0);
  NEED(check::eventually([] { return tid != 0; }));
  if (sleeps) NEED(check::until_asleep(getpid(), tid));
  CHECK_RET(pthread_cancel(t), 0);
  void* value = nullptr;
  CHECK_RET(pthread_join(t, &value), 0);
  CHECK(value == PTHREAD_CANCELED);
  CHECK_EQ(destroyed.load(), 2);
}

int fds[2];

}  // namespace

TEST(in_read) {
  NEED_OK(pipe(fds));
  cancelled_in([] {
    char c;
    if (read(fds[0], &c, 1)) {
    }
  });
}

TEST(in_write) {
  NEED_OK(pipe(fds));
  static char buffer[65536];
  NEED(write(fds[1], buffer, sizeof buffer) > 0);
  cancelled_in([] {
    if (write(fds[1], "x", 1)) {
    }
  });
}

TEST(in_nanosleep) {
  cancelled_in([] { sleep(100); });
}

TEST(in_pause) {
  cancelled_in([] { pause(); });
}

TEST(in_poll_and_select) {
  NEED_OK(pipe(fds));
  cancelled_in([] {
    pollfd p{fds[0], POLLIN, 0};
    poll(&p, 1, -1);
  });
  cancelled_in([] {
    fd_set s;
    FD_ZERO(&s);
    FD_SET(fds[0], &s);
    select(fds[0] + 1, &s, nullptr, nullptr, nullptr);
  });
  cancelled_in([] {
    int ep = epoll_create1(0);
    epoll_event e;
    epoll_wait(ep, &e, 1, -1);
  });
}

TEST(in_recv) {
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  cancelled_in([] {
    char c;
    recv(fds[0], &c, 1, 0);
  });
}

TEST(in_waitpid) {
  static pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  cancelled_in([] { waitpid(child, nullptr, 0); });
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(in_cond_wait) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
  cancelled_in([] {
    struct Unlock {
      ~Unlock() { pthread_mutex_unlock(&mutex); }
    };
    pthread_mutex_lock(&mutex);
    Unlock u;
    pthread_cond_wait(&cond, &mutex);
  });
  CHECK_RET(pthread_mutex_trylock(&mutex), 0);
}

TEST(in_sem_wait) {
  static sem_t sem;
  sem_init(&sem, 0, 0);
  cancelled_in([] { sem_wait(&sem); });
}

TEST(in_sigwait) {
  cancelled_in([] {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    int got;
    sigwait(&s, &got);
  });
}

TEST(in_fcntl_lock) {
  int fd = NEED_OK(open("lock", O_RDWR | O_CREAT, 0600));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t holder = fork();
  if (holder == 0) {
    fcntl(fd, F_SETLK, &whole);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  cancelled_in([&] { fcntl(fd, F_SETLKW, &whole); });
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
}

// Without destructors: the compiler gives no landing pad to an instruction that cannot throw.
TEST(asynchronous_in_user_code) {
  tid = 0;
  pthread_t t;
  NEED(pthread_create(
           &t, nullptr,
           [](void*) -> void* {
             pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
             tid = gettid();
             for (;;) asm volatile("" ::: "memory");
           },
           nullptr) == 0);
  NEED(check::eventually([] { return tid != 0; }));
  CHECK_RET(pthread_cancel(t), 0);
  void* value = nullptr;
  CHECK_RET(pthread_join(t, &value), 0);
  CHECK(value == PTHREAD_CANCELED);
}

TEST(pending_until_the_call) {
  static std::atomic<bool> go;
  cancelled_in(
      [] {
        while (!go) {
          go = true;  // cancelled while running: acts at the next cancellation point
          check::sleep_ms(1);
        }
        for (;;) check::sleep_ms(1);
      },
      false);
}

TEST(disabled_is_held_back) {
  NEED_OK(pipe(fds));
  static std::atomic<bool> reached;
  reached = false;
  pthread_t t;
  NEED(pthread_create(
           &t, nullptr,
           [](void*) -> void* {
             pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
             char c;
             if (read(fds[0], &c, 1) == 1) reached = true;
             pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
             pthread_testcancel();
             return nullptr;
           },
           nullptr) == 0);
  check::sleep_ms(5);
  pthread_cancel(t);
  NEED(write(fds[1], "x", 1) == 1);
  void* value;
  pthread_join(t, &value);
  CHECK(reached);
  CHECK(value == PTHREAD_CANCELED);
}

TEST(many_rounds) {
  NEED_OK(pipe(fds));
  for (int i = 0; i < 100 && !check::failures; i++) {
    cancelled_in(
        [] {
          char c;
          for (;;) {
            if (read(fds[0], &c, 1)) {
            }
          }
        },
        i % 2 == 0);
  }
}

TEST(exceptions_cross_frames) {
  int caught = 0;
  for (int i = 0; i < 100; i++) {
    try {
      if (getppid() >= 0) throw i;
    } catch (int e) {
      caught += e == i;
    }
  }
  CHECK_EQ(caught, 100);
}
