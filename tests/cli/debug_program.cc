// Crashes, waits or computes as its argument says, some calls deep, for debug_test.py.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <thread>

volatile int counter;

__attribute__((noinline)) void write_to(int* p) {
  *p = 1;
  counter = counter + 1;
}

struct Walker {
  __attribute__((noinline)) void descend(int depth, int* p) {
    if (depth > 0) {
      descend(depth - 1, p);
    } else {
      write_to(p);
    }
    counter = counter + 1;
  }
};

__attribute__((noinline)) void abort_in_handler(int) {
  abort();
}

__attribute__((noinline)) void wait_for_input() {
  char c;
  if (read(0, &c, 1) != 1) counter = 2;
  counter = counter + 1;
}

__attribute__((noinline)) void wait_for_signal() {
  pause();
  counter = counter + 1;
}

__attribute__((noinline)) void count_calls(long n) {
  for (long i = 0; i < n; i++) counter = counter + (getppid() > 0);
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "abort") == 0) {
    signal(SIGUSR1, abort_in_handler);
    raise(SIGUSR1);
  } else if (strcmp(what, "null") == 0) {
    reinterpret_cast<void (*)()>(counter)();
  } else if (strcmp(what, "wait") == 0) {
    wait_for_input();
    puts("waited");
  } else if (strcmp(what, "thread") == 0) {
    std::thread other(wait_for_signal);
    wait_for_input();
    _exit(0);
  } else if (strcmp(what, "count") == 0) {
    count_calls(strtol(argv[2], nullptr, 10));
    puts("counted");
  } else {
    Walker().descend(3, reinterpret_cast<int*>(0x10));
  }
  counter = counter + 1;
}
