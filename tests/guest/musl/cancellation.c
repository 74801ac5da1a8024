// Thread cancellation with musl, which looks at the program counter that its signal interrupted: inside its own
// system-call sequence, before the call, it cancels; elsewhere the signal waits. Prints what went wrong.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;
#define CHECK(x) ((x) ? (void)0 : (failures++, (void)printf("%s:%d: %s is false\n", __FILE__, __LINE__, #x)))

enum { kThreads = 50 };
static atomic_int cleaned, entered;
static int fds[2];
static sem_t never;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void clean(void* unlock) {
  if (unlock) pthread_mutex_unlock(unlock);
  cleaned++;
}

static void* wait_for_ever(void* argument) {
  long i = (long)argument;
  char c;
  struct pollfd p = {fds[0], POLLIN, 0};
  pthread_mutex_t* held = i % 8 == 7 ? &mutex : NULL;
  if (held) pthread_mutex_lock(held);
  pthread_cleanup_push(clean, held);
  entered++;
  switch (i % 8) {
    case 0:
      for (;;)
        if (read(fds[0], &c, 1)) break;
      break;
    case 1:
      pause();
      break;
    case 2:
      poll(&p, 1, -1);
      break;
    case 3:
      sleep(1000);
      break;
    case 4:
      recv(fds[0], &c, 1, 0);
      break;
    case 5:
      sem_wait(&never);
      break;
    case 6:
      waitpid(-1, NULL, 0);
      break;
    default:
      for (;;) pthread_cond_wait(&cond, &mutex);
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void* compute(void* unused) {
  (void)unused;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  pthread_cleanup_push(clean, NULL);
  entered++;
  for (;;) __asm__ volatile("" ::: "memory");
  pthread_cleanup_pop(0);
  return NULL;
}

// Makes calls that do not wait, so that the signal comes at any moment of them.
static void* call_and_call(void* unused) {
  (void)unused;
  pthread_cleanup_push(clean, NULL);
  entered++;
  for (;;) {
    if (write(fds[1], "x", 1) != 1) break;
    char c;
    if (read(fds[0], &c, 1) != 1) break;
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancel_all(void* (*body)(void*), int count, int settle_ms) {
  pthread_t threads[kThreads];
  cleaned = entered = 0;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
  for (long i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, body, (void*)i) == 0);
  while (entered < count) sched_yield();
  struct timespec settle = {0, settle_ms * 1000000L};
  nanosleep(&settle, NULL);
  for (int i = 0; i < count; i++) CHECK(pthread_cancel(threads[i]) == 0);
  for (int i = 0; i < count; i++) {
    void* value = NULL;
    CHECK(pthread_join(threads[i], &value) == 0);
    CHECK(value == PTHREAD_CANCELED);
  }
  CHECK(cleaned == count);
  close(fds[0]);
  close(fds[1]);
}

static void* held_back(void* unused) {
  (void)unused;
  char c;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  entered++;
  long got = read(fds[0], &c, 1);
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  if (got == 1) cleaned++;
  pthread_testcancel();
  return NULL;
}

static void disabled(void) {
  pthread_t t;
  void* value;
  cleaned = entered = 0;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
  CHECK(pthread_create(&t, NULL, held_back, NULL) == 0);
  while (!entered) sched_yield();
  CHECK(pthread_cancel(t) == 0);
  CHECK(write(fds[1], "x", 1) == 1);
  CHECK(pthread_join(t, &value) == 0);
  CHECK(value == PTHREAD_CANCELED);
  CHECK(cleaned == 1);
  close(fds[0]);
  close(fds[1]);
}

static sigjmp_buf out;
static void leave(int n) {
  siglongjmp(out, n);
}

static void jumps(void) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = leave;
  CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
  static int i;
  for (i = 0; i < 100; i++) {
    if (sigsetjmp(out, 1) == 0) {
      raise(SIGUSR1);
      CHECK(!"raise returned");
    }
  }
}

int main(void) {
  sem_init(&never, 0, 0);
  pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  cancel_all(wait_for_ever, kThreads, 50);
  cancel_all(wait_for_ever, kThreads, 0);
  cancel_all(compute, 4, 0);
  for (int i = 0; i < 20; i++) cancel_all(call_and_call, 2, i % 3);
  disabled();
  jumps();
  kill(child, SIGKILL);
  CHECK(waitpid(child, NULL, 0) == child);
  if (!failures) printf("all as it should be\n");
  fflush(stdout);
  return failures ? 1 : 0;
}
