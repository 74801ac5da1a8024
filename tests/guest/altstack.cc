// Alternate signal stacks, and running out of stack.
#include <pthread.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "tests/guest/signals.h"

using namespace sig;

TEST(altstack) {
  static char stack[64 * 1024];
  static char* at;
  static stack_t seen;
  stack_t ss{}, old{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  CHECK_OK(sigaltstack(&ss, &old));
  CHECK_EQ(old.ss_flags, SS_DISABLE);
  set_handler(
      SIGUSR1,
      [](int) {
        char local = 0;
        at = &local;
        sigaltstack(nullptr, &seen);
        stack_t other{};
        other.ss_sp = stack;
        other.ss_size = sizeof stack / 2;
        CHECK_ERR(sigaltstack(&other, nullptr), EPERM);
      },
      SA_ONSTACK);
  raise(SIGUSR1);
  CHECK(at >= stack && at < stack + sizeof stack);
  CHECK_EQ(seen.ss_flags, SS_ONSTACK);
  CHECK_OK(sigaltstack(nullptr, &old));
  CHECK_EQ(old.ss_flags, 0);
  CHECK(old.ss_sp == stack && old.ss_size == sizeof stack);
  set_handler(SIGUSR1, [](int) {
    char local = 0;
    at = &local;
  });
  raise(SIGUSR1);  // no SA_ONSTACK: the usual stack
  CHECK(at < stack || at >= stack + sizeof stack);
  ss.ss_size = 512;
  CHECK_ERR(sigaltstack(&ss, nullptr), ENOMEM);
  ss.ss_size = sizeof stack;
  ss.ss_flags = 0x70;
  CHECK_ERR(sigaltstack(&ss, nullptr), EINVAL);
  ss.ss_flags = SS_DISABLE;
  CHECK_OK(sigaltstack(&ss, nullptr));
}

TEST(altstack_nested_stays) {
  static char stack[128 * 1024];
  static char *outer, *inner;
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  NEED_OK(sigaltstack(&ss, nullptr));
  set_handler(
      SIGUSR1,
      [](int) {
        char local = 0;
        outer = &local;
        raise(SIGUSR2);
      },
      SA_ONSTACK);
  set_handler(
      SIGUSR2,
      [](int) {
        char local = 0;
        inner = &local;
      },
      SA_ONSTACK);
  raise(SIGUSR1);
  CHECK(inner < outer && inner >= stack);
}

TEST(altstack_autodisarm) {
  static char stack[64 * 1024];
  static stack_t seen;
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  ss.ss_flags = int(1u << 31);
  NEED_OK(sigaltstack(&ss, nullptr));
  set_handler(
      SIGUSR1, [](int) { sigaltstack(nullptr, &seen); }, SA_ONSTACK);
  raise(SIGUSR1);
  CHECK_EQ(seen.ss_flags, SS_DISABLE);
  stack_t after{};
  sigaltstack(nullptr, &after);
  CHECK(after.ss_sp == stack);
}

TEST(stack_overflow_on_altstack) {
  int status = check::in_child([] {
    static char stack[64 * 1024];
    stack_t ss{};
    ss.ss_sp = stack;
    ss.ss_size = sizeof stack;
    sigaltstack(&ss, nullptr);
    set_handler(
        SIGSEGV, [](int) { _exit(42); }, SA_ONSTACK);
    rlimit small{1 << 20, 1 << 20};
    setrlimit(RLIMIT_STACK, &small);
    struct Recurse {
      static int go(volatile char* p) {
        volatile char big[4096];
        big[0] = p ? p[0] : 0;
        return go(big) + big[0];
      }
    };
    _exit(Recurse::go(nullptr));
  });
  CHECK_EXIT(status, 42);
}

TEST(stack_overflow_kills_without_altstack) {
  CHECK_KILLED(check::in_child([] {
                 set_handler(SIGSEGV, counting);
                 struct Recurse {
                   static int go(volatile char* p) {
                     volatile char big[4096];
                     big[0] = p ? p[0] : 0;
                     return go(big) + big[0];
                   }
                 };
                 _exit(Recurse::go(nullptr));
               }),
               SIGSEGV);
}

TEST(bad_altstack_kills) {
  CHECK_KILLED(check::in_child([] {
                 stack_t ss{};
                 ss.ss_sp = reinterpret_cast<void*>(0x10000);
                 ss.ss_size = 65536;
                 sigaltstack(&ss, nullptr);
                 set_handler(SIGUSR1, counting, SA_ONSTACK);
                 raise(SIGUSR1);
               }),
               SIGSEGV);
}
