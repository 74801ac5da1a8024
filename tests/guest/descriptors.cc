// Descriptors that threads share: one looks a descriptor up while others close it, put another file in its
// place, or open so many that the table has to grow. A call is on the file that the descriptor was at one
// moment of it, and nothing else; a file whose last descriptor is closed is closed.
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>
#include <vector>

namespace {

constexpr int kRounds = 500;

// A file whose bytes are all the same.
int file_of(char letter) {
  const char name[] = {letter, 0};
  const int fd = NEED_OK(open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  CHECK_EQ(write(fd, name, 1), 1);
  return fd;
}

// Runs `body` in `count` threads, over and over, until `act` has been done kRounds times here.
template <typename Body, typename Act>
void while_doing(int count, Act act, Body body) {
  std::atomic<bool> done{false};
  pthread_barrier_t begin;
  pthread_barrier_init(&begin, nullptr, static_cast<unsigned>(count) + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; i++) {
    threads.emplace_back([&] {
      pthread_barrier_wait(&begin);
      while (!done && check::failures == 0) body();
    });
  }
  pthread_barrier_wait(&begin);
  for (int i = 0; i < kRounds && check::failures == 0; i++) act(i);
  done = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST(replaced_while_read) {
  const int a = file_of('a');
  const int b = file_of('b');
  CHECK_OK(dup2(a, 40));
  while_doing(
      2, [&](int i) { CHECK_OK(dup2(i % 2 == 0 ? b : a, 40)); },
      [] {
        char byte = 0;
        CHECK_EQ(pread(40, &byte, 1, 0), 1);  // never closed in between
        CHECK(byte == 'a' || byte == 'b');
      });
}

// What is closed makes room for files of others, here and in another process: none of theirs is ever read.
TEST(closed_while_read) {
  const int a = file_of('a');
  close(file_of('x'));
  const pid_t other = NEED_OK(fork());
  if (other == 0) {
    for (;;) close(open("x", O_RDONLY));
  }
  while_doing(
      2,
      [&](int) {
        CHECK_OK(fcntl(a, F_DUPFD, 40));
        CHECK_OK(close(40));
        const int own = open("x", O_RDONLY | O_CLOEXEC);
        CHECK(own >= 0 && own < 40);
        CHECK_OK(close(own));
        CHECK_EQ(open("a", O_RDONLY | O_CLOEXEC), own);
        CHECK_OK(dup2(own, 40));
        CHECK_OK(close(own));
        CHECK_OK(close(40));
      },
      [] {
        char byte = 0;
        const ssize_t got = pread(40, &byte, 1, 0);
        CHECK(got == 1 ? byte == 'a' : got == -1 && errno == EBADF);
      });
  kill(other, SIGKILL);
  CHECK_EQ(waitpid(other, nullptr, 0), other);
}

TEST(table_grows_while_read) {
  const rlim_t most = 3000;
  rlimit limit{};
  CHECK_OK(getrlimit(RLIMIT_NOFILE, &limit));
  if (limit.rlim_max < most) check::skip("no more descriptors are allowed");
  limit.rlim_cur = most;
  CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
  const int a = file_of('a');
  CHECK_OK(dup2(a, 40));
  for (int round = 0; round < 10 && check::failures == 0; round++) {
    const pid_t child = NEED_OK(fork());
    if (child == 0) {
      while_doing(
          2,
          [&](int i) {
            if (i < 480) CHECK_OK(fcntl(a, F_DUPFD, 41 + 6 * i));
            if (i % 30 == 20) CHECK_OK(close(40));
            if (i % 30 == 20) CHECK_OK(dup2(a, 40));
          },
          [] {
            char byte = 0;
            const ssize_t got = pread(40, &byte, 1, 0);
            CHECK(got == 1 ? byte == 'a' : got == -1 && errno == EBADF);
          });
      _exit(check::failures == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EXIT(status, 0);
  }
}

// However the last look-ups met the close, the pipe has no writer left.
TEST(last_descriptor_of_a_pipe) {
  for (int round = 0; round < 20 && check::failures == 0; round++) {
    int ends[2];
    NEED_OK(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    pthread_barrier_t begin;
    pthread_barrier_init(&begin, nullptr, 3);
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; i++) {
      threads.emplace_back([&] {
        pthread_barrier_wait(&begin);
        const char byte = 'w';
        while (write(ends[1], &byte, 1) == 1 || errno == EAGAIN) {
        }
        CHECK_EQ(errno, EBADF);
      });
    }
    pthread_barrier_wait(&begin);
    CHECK_OK(close(ends[1]));
    for (std::thread& thread : threads) thread.join();
    char bytes[4096];
    ssize_t got;
    while ((got = read(ends[0], bytes, sizeof bytes)) > 0) {
    }
    CHECK_EQ(got, 0);
    CHECK_OK(close(ends[0]));
  }
}

// Those that one call after another finds by the same number are that many files.
TEST(opened_and_closed_by_all) {
  close(file_of('a'));
  while_doing(
      3,
      [](int) {
        const int fd = NEED_OK(open("a", O_RDONLY | O_CLOEXEC));
        char byte = 0;
        CHECK_EQ(read(fd, &byte, 1), 1);  // its own position
        CHECK_EQ(byte, 'a');
        CHECK_OK(close(fd));
      },
      [] {
        const int fd = open("a", O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0);
        char byte = 0;
        CHECK_EQ(read(fd, &byte, 1), 1);
        CHECK_OK(close(fd));
      });
}
