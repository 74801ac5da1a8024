// Walking the stack out of signal handlers, and leaving them by other ways than their return: backtraces,
// exceptions, cancellation, jumps, contexts. All of it follows program counters that a signal frame holds.
//
// What a walk finds is compared with what it finds without a signal, from the same function; and the helper
// @print shows it as offsets in this program, for a comparison with the same binary's run on Linux.
#include <execinfo.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unwind.h>

#include <atomic>
#include <vector>

#include "tests/guest/check.h"

// long unwind_call(long number, long a, long b, long c, long d): a system call whose end is known.
extern "C" long unwind_call(long number, long a, long b, long c, long d);
extern "C" const char unwind_call_end[], unwind_call_end_of_function[];
// long unwind_load_call(const int* p): loads *p between the call's number and the call, getpid.
extern "C" long unwind_load_call(const int* p);
extern "C" const char unwind_load[];
// Counts until words[0] is set; sets words[1] meanwhile.
extern "C" long unwind_spin(volatile int* words);
extern "C" const char unwind_spin_end[];
asm(R"(
        .text
        .p2align 5
        .globl unwind_call, unwind_call_end, unwind_call_end_of_function
        .type unwind_call, @function
unwind_call:
        .cfi_startproc
        push %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        mov %rdi, %rax
        mov %rsi, %rdi
        mov %rdx, %rsi
        mov %rcx, %rdx
        mov %r8, %r10
        syscall
unwind_call_end:
        mov %rax, %rbx
        mov %rbx, %rax
        pop %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        ret
        .cfi_endproc
unwind_call_end_of_function:
        .size unwind_call, .-unwind_call
        .p2align 5
        .globl unwind_load_call, unwind_load
        .type unwind_load_call, @function
unwind_load_call:
        .cfi_startproc
        mov $39, %eax
unwind_load:
        mov (%rdi), %edx
        syscall
        ret
        .cfi_endproc
        .size unwind_load_call, .-unwind_load_call
        .p2align 5
        .globl unwind_spin, unwind_spin_end
        .type unwind_spin, @function
unwind_spin:
        .cfi_startproc
        xor %eax, %eax
1:      inc %rax
        movl $1, 4(%rdi)
        cmpl $0, (%rdi)
        je 1b
        ret
        .cfi_endproc
        .size unwind_spin, .-unwind_spin
unwind_spin_end:
)");

namespace {

constexpr int kMost = 64;

struct Walk {
  int count = 0;
  uint64_t pc[kMost];
  bool before[kMost];  // the program counter has not been executed yet: a signal's
};

_Unwind_Reason_Code step(_Unwind_Context* context, void* argument) {
  auto* walk = static_cast<Walk*>(argument);
  if (walk->count == kMost) return _URC_END_OF_STACK;
  int before = 0;
  uint64_t pc = _Unwind_GetIPInfo(context, &before);
  if (pc == 0) return _URC_END_OF_STACK;
  walk->before[walk->count] = before != 0;
  walk->pc[walk->count++] = pc;
  return _URC_NO_REASON;
}

__attribute__((noinline)) void walk_stack(Walk& walk) {
  walk.count = 0;
  _Unwind_Backtrace(step, &walk);
  asm volatile("" ::: "memory");
}

Walk in_handler;
void* traced[kMost];
int traced_count;
volatile int* spinning;  // unwind_spin's words, which a child sees too
std::atomic<int> handled;

#if defined(__GLIBC__)
// backtrace(3) loads libgcc_s when it is first called, which a handler must not be the first to do.
void load_backtrace() {
  void* some[2];
  backtrace(some, 2);
}
#endif

bool linked_statically() {
  return getauxval(AT_BASE) == 0;
}

void walking_handler(int) {
  walk_stack(in_handler);
  if (!linked_statically()) traced_count = backtrace(traced, kMost);
  if (spinning) spinning[0] = 1;
  handled++;
}

void handle(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction sa {};
  sa.sa_handler = handler;
  sa.sa_flags = flags;
  NEED_OK(sigaction(signal, &sa, nullptr));
}

// Calls f at a depth of `depth` frames of its own.
template <typename F>
__attribute__((noinline)) long deeper(int depth, F& f) {
  long r = depth == 0 ? f() : deeper(depth - 1, f);
  asm volatile("" ::: "memory");
  return r;
}

// Where the walks of two functions' callers are the same: the number of frames in `a` before those it has in
// common with `b`.
int frames_of_its_own(const Walk& a, const Walk& b) {
  int common = 0;
  while (common < a.count && common < b.count && a.pc[a.count - 1 - common] == b.pc[b.count - 1 - common])
    common++;
  return a.count - common;
}

// Runs `interrupted` with and without a walk in its place, at the same depth. The handler's walk must be that
// of the caller, with the handler, the signal frame and the function that was interrupted (and `more` of
// libc's below that) on top.
template <typename F>
void expect_walk(F interrupted, uint64_t low, uint64_t high, int more = 0) {
  for (int depth : {0, 1, 20}) {
    Walk plain;
    bool just_walk = true;
    handled = 0;
    auto either = [&]() -> long {
      if (just_walk) {
        walk_stack(plain);
        return 0;
      }
      return interrupted();
    };
    // One place that calls, so that return addresses are the same.
    for (int i = 0; i < 2; i++, just_walk = false) {
      asm volatile("" : "+r"(i), "+m"(just_walk));
      deeper(depth, either);
    }
    CHECK_EQ(handled.load(), 1);
    NEED(in_handler.count > 4);
    // plain: walk_stack, the lambda, then the common callers; the handler: walk_stack, itself, the frame,
    // what was interrupted and its libc callers, the lambda.
    CHECK_EQ(frames_of_its_own(plain, in_handler), 2);
    CHECK_EQ(frames_of_its_own(in_handler, plain), 5 + more);
    CHECK(plain.count >= depth + 4);
    CHECK_EQ(in_handler.count, plain.count + 3 + more);
    uint64_t pc = in_handler.pc[3 + more];
    if (low && (pc < low || pc > high))
      check::fail(
          __FILE__, __LINE__,
          "interrupted at " + check::text(pc) + " of " + check::text(low) + " to " + check::text(high));
    CHECK(in_handler.before[3 + more]);  // a signal frame is known for what it is
    CHECK(!in_handler.before[4 + more]);
    if (linked_statically()) continue;
    // backtrace(3) leaves out the walk's own function.
    CHECK_EQ(traced_count, in_handler.count - 1);
    for (int i = 1; i < traced_count && i < in_handler.count - 1; i++)
      CHECK_EQ(uint64_t(traced[i]), in_handler.pc[i + 1]);
  }
}

uint64_t at(const void* p) {
  return uint64_t(p);
}

// A child that sends a signal once the caller is where it says.
template <typename F>
void signal_when(F there, int signal) {
  pid_t parent = getpid(), child = fork();
  NEED_OK(child);
  if (child != 0) return;
  if (there(parent)) kill(parent, signal);
  _exit(0);
}
void signal_when_asleep(int signal) {
  signal_when([](pid_t parent) { return check::until_asleep(parent); }, signal);
}

void signal_when_spinning(int signal) {
  for (int i : {0, 1}) spinning[i] = 0;
  signal_when([](pid_t) { return check::eventually([] { return spinning[1] != 0; }); }, signal);
}
void prepare_to_spin() {
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  NEED(shared != MAP_FAILED);
  spinning = static_cast<volatile int*>(shared);
}

int fds[2];

}  // namespace

// ---- walks ----

TEST(walk_from_a_call_that_signals) {
  load_backtrace();
  handle(SIGUSR1, walking_handler);
  expect_walk([] { return unwind_call(SYS_kill, getpid(), SIGUSR1, 0, 0); }, at(unwind_call_end),
              at(unwind_call_end));
}

TEST(walk_from_an_interrupted_call) {
  load_backtrace();
  NEED_OK(pipe(fds));
  handle(SIGUSR1, walking_handler);
  expect_walk(
      [] {
        signal_when_asleep(SIGUSR1);
        char c;
        return unwind_call(SYS_read, fds[0], long(&c), 1, 0);
      },
      at(unwind_call_end), at(unwind_call_end));
}

TEST(walk_from_a_restarted_call) {
  load_backtrace();
  NEED_OK(pipe(fds));
  handle(
      SIGUSR1,
      [](int n) {
        walking_handler(n);
        if (write(fds[1], "x", 1) != 1) _exit(9);
      },
      SA_RESTART);
  // The walk has one frame more: the handler's own.
  expect_walk(
      [] {
        signal_when_asleep(SIGUSR1);
        char c;
        return unwind_call(SYS_read, fds[0], long(&c), 1, 0);
      },
      0, 0, 1);
}

TEST(walk_from_plain_code) {
  load_backtrace();
  prepare_to_spin();
  handle(SIGUSR1, walking_handler);
  expect_walk(
      [] {
        signal_when_spinning(SIGUSR1);
        return unwind_spin(spinning);
      },
      at(reinterpret_cast<const void*>(unwind_spin)), at(unwind_spin_end));
}

TEST(walk_from_libcs_calls) {
  load_backtrace();
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  handle(SIGUSR1, walking_handler);
  auto expect = [](auto call) {
    expect_walk(
        [&] {
          signal_when_asleep(SIGUSR1);
          return call();
        },
        0, 0);
  };
  // All of them are one function with the system call in it.
  expect([] {
    char c;
    return long(read(fds[0], &c, 1));
  });
  expect([] {
    char c;
    return long(recv(fds[0], &c, 1, 0));
  });
  expect([] {
    pollfd p{fds[0], POLLIN, 0};
    return long(poll(&p, 1, -1));
  });
  expect([] { return long(pause()); });
}

TEST(walk_from_a_faulting_instruction_beside_a_call) {
  // The load stands where a rewriter would move it together with the call.
  load_backtrace();
  static long page = sysconf(_SC_PAGESIZE);
  static int* p =
      static_cast<int*>(mmap(nullptr, size_t(page), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  handle(SIGSEGV, [](int n) {
    walking_handler(n);
    mprotect(p, size_t(page), PROT_READ);
  });
  auto faulting = [] {
    mprotect(p, size_t(page), PROT_NONE);
    long pid = unwind_load_call(p);
    CHECK_EQ(pid, getpid());
    return pid;
  };
  expect_walk(faulting, 0, 0, 1);
  CHECK_EQ(in_handler.pc[4], at(unwind_load));
}

TEST(walk_from_a_nested_handler) {
  load_backtrace();
  handle(SIGUSR1, [](int) { unwind_call(SYS_kill, getpid(), SIGUSR2, 0, 0); });
  handle(SIGUSR2, walking_handler);
  auto call = [] { return unwind_call(SYS_kill, getpid(), SIGUSR1, 0, 0); };
  deeper(5, call);
  // walk_stack, handler, frame, unwind_call, handler, frame, unwind_call, the lambda, …
  NEED(in_handler.count > 12);
  CHECK_EQ(in_handler.pc[3], at(unwind_call_end));
  CHECK_EQ(in_handler.pc[6], at(unwind_call_end));
  CHECK(in_handler.before[3] && in_handler.before[6]);
}

// The walks as text, one line each: offsets from this program's start, other objects as such.
HELPER(print) {
  prepare_to_spin();
  handle(SIGUSR1, walking_handler);
  NEED_OK(pipe(fds));
  extern const char start_of_program[] asm("__executable_start"), end_of_program[] asm("etext");
  auto print = [&](const char* name, auto interrupted) {
    deeper(3, interrupted);
    std::string line = name;
    for (int i = 0; i < in_handler.count; i++) {
      uint64_t pc = in_handler.pc[i];
      char text[40] = " elsewhere";
      bool spinning = pc >= at(reinterpret_cast<const void*>(unwind_spin)) && pc < at(unwind_spin_end);
      if (spinning)
        snprintf(text, sizeof text, " spin");
      else if (pc >= at(start_of_program) && pc < at(end_of_program))
        snprintf(text, sizeof text, " %lx%s", pc - at(start_of_program), in_handler.before[i] ? "!" : "");
      line += text;
    }
    check::say("%s", line.c_str());
  };
  print("raised", [] { return unwind_call(SYS_kill, getpid(), SIGUSR1, 0, 0); });
  print("libc's kill", [] { return long(kill(getpid(), SIGUSR1)); });
  print("libc's raise", [] { return long(raise(SIGUSR1)); });
  print("libc's read", [] {
    signal_when_asleep(SIGUSR1);
    char c;
    return long(read(fds[0], &c, 1));
  });
  print("libc's nanosleep", [] {
    signal_when_asleep(SIGUSR1);
    return long(sleep(100));
  });
  print("libc's sigsuspend", [] {
    signal_when_asleep(SIGUSR1);
    sigset_t none;
    sigemptyset(&none);
    return long(sigsuspend(&none));
  });
  print("plain code", [] {
    signal_when_spinning(SIGUSR1);
    return unwind_spin(spinning);
  });
  return 0;
}

// ---- exceptions ----

namespace {

std::atomic<int> destroyed;
struct Guard {
  ~Guard() { destroyed++; }
};

struct Thrown {
  int signal;
};

void throwing_handler(int signal) {
  Guard g;
  throw Thrown{signal};
}

template <typename F>
__attribute__((noinline)) void guarded(F& f) {
  Guard g;
  f();
  asm volatile("" ::: "memory");
}

// The signal that f's exception brings, 0 if none came; with the destructors on its way.
template <typename F>
int caught_from(F f) {
  destroyed = 0;
  try {
    guarded(f);
  } catch (const Thrown& thrown) {
    CHECK_EQ(destroyed.load(), 2);
    return thrown.signal;
  }
  return 0;
}

// Through pointers, so that the compiler does not know that they cannot throw.
int (*volatile call_kill)(pid_t, int) = kill;
long (*volatile call_asm)(long, long, long, long, long) = unwind_call;
ssize_t (*volatile call_read)(int, void*, size_t) = read;
long (*volatile call_load)(const int*) = unwind_load_call;

}  // namespace

TEST(thrown_out_of_a_call) {
  handle(SIGUSR1, throwing_handler, SA_NODEFER);
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(caught_from([] { call_asm(SYS_kill, getpid(), SIGUSR1, 0, 0); }), SIGUSR1);
    CHECK_EQ(caught_from([] { call_kill(getpid(), SIGUSR1); }), SIGUSR1);
  }
}

TEST(thrown_out_of_an_interrupted_call) {
  NEED_OK(pipe(fds));
  for (int flags : {SA_NODEFER, SA_NODEFER | SA_RESTART}) {
    handle(SIGUSR1, throwing_handler, flags);
    for (int i = 0; i < 5; i++) {
      CHECK_EQ(caught_from([] {
                 signal_when_asleep(SIGUSR1);
                 char c;
                 call_read(fds[0], &c, 1);
               }),
               SIGUSR1);
    }
  }
}

TEST(thrown_by_a_fault) {
  handle(SIGSEGV, throwing_handler, SA_NODEFER);
  handle(SIGFPE, throwing_handler, SA_NODEFER);
  static int* volatile nothing = nullptr;
  static volatile int zero = 0;
  static volatile int sink [[maybe_unused]];
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(caught_from([] { sink = *nothing; }), SIGSEGV);
    CHECK_EQ(caught_from([] { sink = 1000 / zero; }), SIGFPE);
    CHECK_EQ(caught_from([] { call_load(nothing); }), SIGSEGV);  // of an instruction moved with a call
  }
}

TEST(thrown_through_two_handlers) {
  handle(SIGUSR1, [](int) {
    Guard g;
    call_asm(SYS_kill, getpid(), SIGUSR2, 0, 0);
  });
  handle(SIGUSR2, [](int n) { throw Thrown{n}; });
  destroyed = 0;
  CHECK_EQ(caught_from([] { call_asm(SYS_kill, getpid(), SIGUSR1, 0, 0); }), SIGUSR2);
}

TEST(thrown_on_an_alternate_stack) {
  static char stack[65536];
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  NEED_OK(sigaltstack(&ss, nullptr));
  handle(SIGUSR1, throwing_handler, SA_NODEFER | SA_ONSTACK);
  for (int i = 0; i < 100; i++)
    CHECK_EQ(caught_from([] { call_asm(SYS_kill, getpid(), SIGUSR1, 0, 0); }), SIGUSR1);
}

// ---- cancellation ----

namespace {

constexpr int kThreads = 50;
std::atomic<int> cleaned;
std::atomic<pid_t> tids[kThreads];
bool asynchronous;

void clean(void*) {
  cleaned++;
}

// One of several calls that wait for ever, by its number.
__attribute__((noinline)) void wait_for_ever(int i) {
  char c;
  switch (i % 5) {
    case 0:
      call_read(fds[0], &c, 1);
      break;
    case 1:
      pause();
      break;
    case 2: {
      pollfd p{fds[0], POLLIN, 0};
      poll(&p, 1, -1);
      break;
    }
    case 3:
      sleep(1000);
      break;
    default:
      // Not a cancellation point of libc's: it needs the asynchronous type.
      call_asm(SYS_pause, 0, 0, 0, 0);
  }
}

void* to_be_cancelled(void* argument) {
  int i = int(long(argument));
  Guard g;
  pthread_cleanup_push(clean, nullptr);
  if (asynchronous) pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
  tids[i] = gettid();
  auto wait = [=] { wait_for_ever(asynchronous ? i : i - i % 5 + i % 4); };
  guarded(wait);
  pthread_cleanup_pop(0);
  return nullptr;
}

void cancel_all(bool async) {
  asynchronous = async;
  cleaned = destroyed = 0;
  NEED_OK(pipe(fds));
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; i++) {
    tids[i] = 0;
    NEED(pthread_create(&threads[i], nullptr, to_be_cancelled, reinterpret_cast<void*>(i)) == 0);
  }
  for (auto& tid : tids) {
    NEED(check::eventually([&] { return tid != 0; }));
    NEED(check::until_asleep(getpid(), tid));
  }
  for (pthread_t t : threads) CHECK_RET(pthread_cancel(t), 0);
  for (pthread_t t : threads) {
    void* value = nullptr;
    CHECK_RET(pthread_join(t, &value), 0);
    CHECK(value == PTHREAD_CANCELED);
  }
  CHECK_EQ(cleaned.load(), kThreads);
  CHECK_EQ(destroyed.load(), 2 * kThreads);
  close(fds[0]);
  close(fds[1]);
}

}  // namespace

TEST(fifty_threads_cancelled_in_calls) {
  cancel_all(false);
}

TEST(fifty_threads_cancelled_asynchronously) {
  cancel_all(true);
}

// ---- jumps and contexts ----

TEST(siglongjmp_out_of_calls) {
  static sigjmp_buf out;
  static int round;
  handle(SIGUSR1, [](int) { siglongjmp(out, 1); });
  for (round = 0; round < 1000; round++) {
    if (sigsetjmp(out, 1) == 0) {
      if (round % 2)
        unwind_call(SYS_kill, getpid(), SIGUSR1, 0, 0);
      else
        kill(getpid(), SIGUSR1);
      check::fail(__FILE__, __LINE__, "the call returned");
    }
    sigset_t now;
    sigprocmask(SIG_BLOCK, nullptr, &now);
    if (sigismember(&now, SIGUSR1)) check::fail(__FILE__, __LINE__, "the mask was not restored");
  }
}

TEST(longjmp_out_of_a_waiting_call) {
  static jmp_buf out;
  static int round;
  NEED_OK(pipe(fds));
  handle(
      SIGUSR1, [](int) { longjmp(out, 1); }, SA_NODEFER);
  for (round = 0; round < 10; round++) {
    if (setjmp(out) == 0) {
      signal_when_asleep(SIGUSR1);
      char c;
      if (read(fds[0], &c, 1)) check::fail(__FILE__, __LINE__, "read returned");
    }
  }
  CHECK_EQ(getpid(), syscall(SYS_getpid));
}

// Coroutines that make calls, each of which a handler may leave for another.
TEST(contexts_switched_in_calls_and_handlers) {
  static ucontext_t home, away;
  static char stack[256 << 10];
  static std::vector<int> order;
  order.clear();
  handle(
      SIGUSR1,
      [](int) {
        order.push_back(10);
        swapcontext(&away, &home);  // out of the handler; it returns when away goes on
        order.push_back(11);
      },
      SA_NODEFER);
  NEED_OK(getcontext(&away));
  away.uc_stack.ss_sp = stack;
  away.uc_stack.ss_size = sizeof stack;
  away.uc_link = &home;
  makecontext(&away, reinterpret_cast<void (*)()>(+[] {
    for (int i = 0; i < 50; i++) {
      long r = unwind_call(SYS_kill, getpid(), SIGUSR1, 0, 0);
      if (r != 0) order.push_back(99);
      order.push_back(12);
    }
  }),
              0);
  for (int i = 0; i < 51; i++) {
    swapcontext(&home, &away);
    order.push_back(1);
  }
  // 10 1 (11 12 10 1)…
  std::vector<int> expected;
  for (int i = 0; i < 50; i++) {
    if (i) expected.insert(expected.end(), {11, 12});
    expected.insert(expected.end(), {10, 1});
  }
  expected.insert(expected.end(), {11, 12, 1});
  CHECK(order == expected);
}

// A handler reads where it was and sends the program elsewhere: over a call, into the middle of a sequence
// that ends with a call, and behind it.
TEST(handler_redirects_calls) {
  extern const char redirect_start[] asm("unwind_redirect_start"),
      redirect_middle[] asm("unwind_redirect_middle"), redirect_end[] asm("unwind_redirect_end");
  static uint64_t from, to;
  struct sigaction sa {};
  sa.sa_flags = SA_SIGINFO;
  sa.sa_sigaction = [](int, siginfo_t*, void* context) {
    auto& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    from = uint64_t(rip);
    rip = greg_t(to);
  };
  NEED_OK(sigaction(SIGILL, &sa, nullptr));
  auto run = [&](const char* where) __attribute__((noinline)) {
    to = at(where);
    long result = 0;
    asm volatile(
        "mov $7, %%r12d\n"
        "unwind_redirect_ill: ud2\n"
        "unwind_redirect_start: mov $1000000, %%eax\n"
        "add $10, %%r12d\n"
        "unwind_redirect_middle: mov $39, %%eax\n"
        "syscall\n"
        "add %%eax, %%r12d\n"
        "unwind_redirect_end: mov %%r12, %0"
        : "=r"(result)::"rax", "rcx", "r11", "r12", "memory");
    return result;
  };
  extern const char redirect_ill[] asm("unwind_redirect_ill");
  CHECK_EQ(run(redirect_start), 17 + getpid());
  CHECK_EQ(from, at(redirect_ill));
  CHECK_EQ(run(redirect_middle), 7 + getpid());
  CHECK_EQ(run(redirect_end), 7);
}

// ---- a profiler, and a crowd ----

// Signals at any moment of a program that makes calls: each sees a program counter of the program's text (or
// the vDSO's), and the calls' results are right.
TEST(hundred_thousand_profile_signals) {
  constexpr int kSignals = 100'000;
  struct Range {
    uint64_t start, end;
  };
  static Range ranges[64];
  static int range_count;
  static std::atomic<int> seen, astray, torn;
  static uint64_t stray_pc;
  FILE* maps = fopen("/proc/self/maps", "r");
  NEED(maps != nullptr);
  char line[512];
  range_count = 0;
  while (fgets(line, sizeof line, maps) && range_count < 64) {
    Range r;
    char mode[8];
    if (sscanf(line, "%lx-%lx %4s", &r.start, &r.end, mode) == 3 && mode[2] == 'x') ranges[range_count++] = r;
  }
  fclose(maps);
  struct sigaction sa {};
  sa.sa_flags = SA_SIGINFO | SA_RESTART;
  sa.sa_sigaction = [](int, siginfo_t*, void* context) {
    uint64_t pc = uint64_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
    bool known = false;
    for (int i = 0; i < range_count; i++) known |= pc >= ranges[i].start && pc <= ranges[i].end;
    if (!known) {
      astray++;
      stray_pc = pc;
    }
    int n = ++seen;
    if (n % 256 == 0) {
      // A walk from anywhere ends, and at the same place.
      Walk walk;
      walk_stack(walk);
      if (walk.count < 4 || walk.count == kMost) torn++;
    }
  };
  NEED_OK(sigaction(SIGPROF, &sa, nullptr));
  // By the clock, not by CPU time: that comes no faster than the kernel's tick.
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGPROF;
  timer_t timer;
  NEED_OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
  itimerspec every{{0, 10'000}, {0, 10'000}};
  NEED_OK(timer_settime(timer, 0, &every, nullptr));
  NEED_OK(pipe(fds));
  int file = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  pid_t pid = getpid();
  uint64_t rounds = 0, wrong = 0;
  int told = 0;
  while (seen < kSignals) {
    rounds++;
    if (seen - told >= kSignals / 10) check::say("# %d signals", told = seen);
    uint64_t value = rounds * 0x9e3779b97f4a7c15ull, back = 0;
    wrong += getpid() != pid || syscall(SYS_getpid) != pid;
    wrong += write(fds[1], &value, sizeof value) != sizeof value;
    wrong += read(fds[0], &back, sizeof back) != sizeof back || back != value;
    wrong += pwrite(file, &value, sizeof value, long(rounds % 512) * 8) != sizeof value;
    wrong += pread(file, &back, sizeof back, long(rounds % 512) * 8) != sizeof back || back != value;
    wrong += lseek(file, long(rounds), SEEK_SET) != long(rounds);
    wrong += unwind_call(SYS_getpid, 0, 0, 0, 0) != pid;
    errno = 0;
    wrong += close(-1) != -1 || errno != EBADF;
  }
  timer_delete(timer);
  CHECK_EQ(wrong, 0);
  CHECK_EQ(torn.load(), 0);
  if (astray) check::fail(__FILE__, __LINE__, "a signal was seen at " + check::text(stray_pc));
}

TEST(thousand_threads) {
  constexpr int kMany = 1000;
  static std::atomic<int> alive, done;
  static pthread_barrier_t all;
  NEED(pthread_barrier_init(&all, nullptr, kMany + 1) == 0);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  std::vector<pthread_t> threads(kMany);
  for (pthread_t& t : threads) {
    int r = pthread_create(
        &t, &attributes,
        [](void*) -> void* {
          alive++;
          pthread_barrier_wait(&all);  // all of them live at once
          bool right = getpid() == syscall(SYS_getpid) && gettid() == syscall(SYS_gettid);
          done += right;
          return reinterpret_cast<void*>(long(gettid()));
        },
        nullptr);
    CHECK_RET(r, 0);
    if (r != 0) check::give_up();
  }
  pthread_barrier_wait(&all);
  CHECK_EQ(alive.load(), kMany);
  std::vector<bool> tids_seen(1 << 22);
  int same = 0;
  for (pthread_t t : threads) {
    void* value = nullptr;
    CHECK_RET(pthread_join(t, &value), 0);
    size_t tid = size_t(value);
    if (tid < tids_seen.size()) {
      same += tids_seen[tid];
      tids_seen[tid] = true;
    }
  }
  CHECK_EQ(done.load(), kMany);
  CHECK_EQ(same, 0);
}
