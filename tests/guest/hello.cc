// The first things a static program needs: output, its arguments, a heap, its own exit status.
// Run with --inline this needs no fork, so it is the first guest program that can pass.
#include <sys/uio.h>
#include <sys/utsname.h>

#include "tests/guest/check.h"

extern char** environ;

TEST(write_and_pid) {
  CHECK_OK(write(1, "", 0));
  CHECK(getpid() > 0);
  CHECK(getppid() >= 0);
  CHECK_EQ(getpid(), gettid());
}

TEST(writev_lines) {
  iovec parts[] = {{const_cast<char*>("# two "), 6}, {nullptr, 0}, {const_cast<char*>("parts\n"), 6}};
  CHECK_EQ(writev(1, parts, 3), 12);
}

TEST(heap) {
  char* p = static_cast<char*>(malloc(64 << 20));
  NEED(p);
  memset(p, 7, 64 << 20);
  CHECK_EQ(p[(64 << 20) - 1], 7);
  free(p);
  for (int i = 1; i < 2000; i++) free(malloc(size_t(i) * 37));
}

TEST(brk_grows_and_shrinks) {
  void* start = sbrk(0);
  CHECK_EQ(sbrk(1 << 20), start);
  memset(start, 1, 1 << 20);
  CHECK_OK(long(sbrk(-(1 << 20))));
  CHECK_EQ(sbrk(0), start);
  CHECK_EQ(sbrk(4096), start);
  CHECK_EQ(*static_cast<char*>(start), 0);  // fresh memory again
}

TEST(environment) {
  NEED(environ);
  CHECK(getenv("PATH"));
}

TEST(uname_is_linux) {
  utsname u;
  NEED_OK(uname(&u));
  CHECK_EQ(u.sysname, "Linux");
  CHECK_EQ(u.machine, "x86_64");
  int major = atoi(u.release);
  CHECK(major >= 5);
}

TEST(unknown_call_is_enosys) {
  CHECK_ERR(syscall(1023), ENOSYS);
  CHECK_ERR(syscall(-5), ENOSYS);
  CHECK_ERR(syscall(0x7fffffff), ENOSYS);
}

TEST(bad_descriptor) {
  char c = 0;
  CHECK_ERR(write(999, &c, 1), EBADF);
  CHECK_ERR(read(-1, &c, 1), EBADF);
  CHECK_ERR(close(-1), EBADF);
}
