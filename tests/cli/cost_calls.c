// The calls whose cost cost_test.py counts. Alone: each of them a few times, between breakpoints that a
// tracer counts instructions from and to. With "spawn", "fork" or "exec" and a number: that many of them, and
// nothing else.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kTimes = 12 };

static int file;
static int word;
static char page[512];
static struct stat status;

static void do_getpid(void) {
  syscall(SYS_getpid);
}
static void do_stat(void) {
  stat("/bin/cost/file", &status);
}
static void do_open_close(void) {
  close(open("/bin/cost/file", O_RDONLY));
}
static void do_read(void) {
  pread(file, page, sizeof page, 0);
}
static void do_wake(void) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void (*const kCalls[])(void) = {do_getpid, do_stat, do_open_close, do_read, do_wake};

static void count_instructions(void) {
  char go;
  file = open("/bin/cost/file", O_RDONLY);
  if (file < 0 || write(1, "ready\n", 6) != 6 || read(0, &go, 1) != 1) exit(1);
  for (size_t i = 0; i < sizeof kCalls / sizeof *kCalls; i++) {
    for (int times = 0; times < kTimes; times++) {
      __asm__ volatile("int3" ::: "memory");
      kCalls[i]();
      __asm__ volatile("int3" ::: "memory");
    }
  }
}

static void wait_for(pid_t child) {
  int result;
  if (child <= 0 || waitpid(child, &result, 0) != child || result != 0) exit(1);
}

static void spawn(const char* self) {
  pid_t child;
  char* const arguments[] = {(char*)self, "end", NULL};
  if (posix_spawn(&child, self, NULL, NULL, arguments, NULL) != 0) exit(1);
  wait_for(child);
}

static void do_fork(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  wait_for(child);
}

int main(int argc, char** argv) {
  if (argc == 1) {
    count_instructions();
    return 0;
  }
  int times = argc > 2 ? atoi(argv[2]) : 0;
  if (strcmp(argv[1], "exec") == 0) {
    char left[16];
    snprintf(left, sizeof left, "%d", times - 1);
    if (times > 0) execl(argv[0], argv[0], "exec", left, NULL);
    return times > 0;
  }
  for (; times > 0; times--) strcmp(argv[1], "spawn") == 0 ? spawn(argv[0]) : do_fork();
  return 0;
}
