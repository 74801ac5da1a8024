/* A shared library with system calls of its own, loaded by dlopen: constructor, destructor, call, callback. */
#include <sys/syscall.h>
#include <unistd.h>

int plugin_state;
static int destructor_fd = -1;

static long raw(long nr, long a, long b, long c) {
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return r;
}

__attribute__((constructor)) static void construct(void) { plugin_state = raw(SYS_getpid, 0, 0, 0) == getpid() ? 7 : -1; }
__attribute__((destructor)) static void destroy(void) {
  if (destructor_fd >= 0) raw(SYS_write, destructor_fd, (long)"d", 1);
}

long plugin_getpid(void) { return raw(SYS_getpid, 0, 0, 0); }
void plugin_report_to(int fd) { destructor_fd = fd; }
