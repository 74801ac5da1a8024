/* One program that is linked in every form an executable can have (tests/guest/CMakeLists.txt): each start of it must
 * find its data, zeroes, thread-local data, constructors, arguments and system calls in order. Gives the number of the
 * first thing that is not. `form stack` runs code on the stack, which only an executable stack allows. */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int data[1000] = {1, 2, 3};
static char zeroes[1 << 20];
static __thread int local = 42;
static __thread char local_zeroes[5000];
static int constructed;
static const char *const table[] = {"one", "two"};

__attribute__((constructor)) static void construct(void) { constructed = data[1]; }

static long raw_getpid(void) {
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(SYS_getpid) : "rcx", "r11", "memory");
  return r;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "stack") == 0) {
    volatile unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};
    return ((int (*)(void))code)() == 42 ? 0 : 1;
  }
  if (argc != 3 || strcmp(argv[2], "argument") != 0) return 1;
  if (data[2] != 3 || data[999] != 0) return 2;
  for (unsigned i = 0; i < sizeof zeroes; i += 100)
    if (zeroes[i]) return 3;
  memset(zeroes, 1, sizeof zeroes);
  if (local != 42 || local_zeroes[4999] != 0) return 4;
  if (constructed != 2) return 5;
  if (raw_getpid() != getpid()) return 6;
  if (strcmp(table[1], "two") != 0) return 7;
  char line[64];
  if (snprintf(line, sizeof line, "%s %g", "printed", 1.5) != 11) return 8;
  return 0;
}
