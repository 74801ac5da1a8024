// Synchronous faults, the ucontext a handler sees and may edit, sigreturn, backtraces, SIGSYS as the guest's
// own.
#include <sys/time.h>
#include <ucontext.h>

#include "tests/guest/check.h"

namespace {

siginfo_t info;
greg_t regs[23];
int number;
sigjmp_buf out;

void note_and_leave(int signal, siginfo_t* si, void* context) {
  number = signal;
  info = *si;
  memcpy(regs, static_cast<ucontext_t*>(context)->uc_mcontext.gregs, sizeof regs);
  siglongjmp(out, 1);
}

void handle(int signal, void (*f)(int, siginfo_t*, void*), int flags = 0) {
  struct sigaction sa {};
  sa.sa_sigaction = f;
  sa.sa_flags = SA_SIGINFO | flags;
  NEED_OK(sigaction(signal, &sa, nullptr));
}

// Runs `f` and expects the fault; gives false if none came.
template <typename F>
bool faults(int signal, F f) {
  number = 0;
  handle(signal, note_and_leave);
  if (sigsetjmp(out, 1) == 0) {
    f();
    return false;
  }
  return number == signal;
}

volatile int sink;

}  // namespace

TEST(segv_unmapped) {
  CHECK(faults(SIGSEGV, [] { sink = *reinterpret_cast<volatile int*>(0x10); }));
  CHECK_EQ(info.si_code, SEGV_MAPERR);
  CHECK_EQ(uint64_t(info.si_addr), 0x10);
  CHECK_EQ(regs[REG_TRAPNO], 14);
  CHECK_EQ(regs[REG_CR2], 0x10);
  CHECK_EQ(regs[REG_ERR], 4);  // user, read, not present
  CHECK(faults(SIGSEGV, [] { *reinterpret_cast<volatile int*>(0x20) = 1; }));
  CHECK_EQ(regs[REG_ERR], 6);
}

TEST(segv_protection) {
  char* p = static_cast<char*>(mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  CHECK(faults(SIGSEGV, [=] { *static_cast<volatile char*>(p + 5000) = 1; }));
  CHECK_EQ(info.si_code, SEGV_ACCERR);
  CHECK(info.si_addr == p + 5000);
  mprotect(p, 8192, PROT_NONE);
  CHECK(faults(SIGSEGV, [=] { sink = *static_cast<volatile char*>(p); }));
  CHECK_EQ(info.si_code, SEGV_ACCERR);
}

TEST(segv_execute) {
  static char data[] = "\xc3";
  CHECK(faults(SIGSEGV, [] { reinterpret_cast<void (*)()>(data)(); }));
  CHECK_EQ(info.si_code, SEGV_ACCERR);
  CHECK(info.si_addr == data);
  CHECK_EQ(uint64_t(regs[REG_RIP]), uint64_t(data));
}

TEST(segv_non_canonical) {
  CHECK(faults(SIGSEGV, [] { sink = *reinterpret_cast<volatile int*>(0x8000000000000000ull); }));
  CHECK_EQ(info.si_code, SI_KERNEL);
  CHECK(info.si_addr == nullptr);
  CHECK_EQ(regs[REG_TRAPNO], 13);
}

// Flags that a kernel must not run with (NT makes its iretq fault) stay the program's, over a call and over a
// signal.
TEST(unusual_flags_survive) {
  constexpr uint64_t kNT = 0x4000, kAC = 0x40000, kDF = 0x400;
  for (uint64_t flag : {kNT, kAC, kDF, kNT | kAC | kDF}) {
    for (int signals = 0; signals < 2; signals++) {
      uint64_t before, after;
      number = 0;
      handle(SIGUSR1, [](int n, siginfo_t*, void*) { number = n; });
      pid_t self = getpid();
      asm volatile(
          "pushfq\n\tpop %0\n\t"
          "mov %0, %1\n\tor %3, %1\n\tpush %1\n\tpopfq\n\t"
          "syscall\n\t"
          "pushfq\n\tpop %1\n\t"
          "push %0\n\tpopfq"
          : "=&r"(before), "=&r"(after)
          : "a"(signals ? SYS_kill : SYS_getppid), "r"(flag), "D"(self), "S"(SIGUSR1)
          : "rcx", "r11", "memory", "cc");
      CHECK_EQ(after & (kNT | kAC | kDF), flag);
      CHECK_EQ(number, signals ? SIGUSR1 : 0);
    }
  }
}

// Addresses that on a usual machine have nothing. Another kernel may have itself there; it must not mind.
TEST(jump_to_nowhere) {
  for (uint64_t where :
       {0x5fff'ffff'f000ull, 0x6000'0000'1000ull, 0x6fff'0000'0000ull, 0x7ef0'0000'1000ull}) {
    static volatile uint64_t target;
    target = where;
    CHECK(faults(SIGSEGV, [] { reinterpret_cast<void (*)()>(target)(); }));
    CHECK_EQ(uint64_t(info.si_addr), where);
    CHECK_EQ(uint64_t(regs[REG_RIP]), where);
  }
}

TEST(fpe) {
  static volatile int zero = 0;
  CHECK(faults(SIGFPE, [] { sink = 1000 / zero; }));
  CHECK_EQ(info.si_code, FPE_INTDIV);
  CHECK_EQ(uint64_t(info.si_addr), uint64_t(regs[REG_RIP]));
  CHECK_EQ(regs[REG_TRAPNO], 0);
}

TEST(fpe_float) {
  CHECK(faults(SIGFPE, [] {
    uint32_t mxcsr = 0x1f80 & ~0x200u;  // division by zero unmasked
    asm volatile("ldmxcsr %0" ::"m"(mxcsr));
    volatile float zero = 0, one = 1;
    sink = int(one / zero);
  }));
  CHECK_EQ(info.si_code, FPE_FLTDIV);
}

TEST(ill) {
  CHECK(faults(SIGILL, [] { asm volatile("ud2"); }));
  CHECK_EQ(info.si_code, ILL_ILLOPN);
  CHECK_EQ(uint64_t(info.si_addr), uint64_t(regs[REG_RIP]));
  CHECK_EQ(regs[REG_TRAPNO], 6);
}

TEST(privileged_instruction) {
  CHECK(faults(SIGSEGV, [] { asm volatile("hlt"); }));
  CHECK_EQ(info.si_code, SI_KERNEL);
}

TEST(trap) {
  static volatile bool here;
  handle(SIGTRAP, [](int, siginfo_t* si, void* context) {
    info = *si;
    here = true;
    memcpy(regs, static_cast<ucontext_t*>(context)->uc_mcontext.gregs, sizeof regs);
  });
  uint64_t after;
  asm volatile("int3; 1: lea 1b(%%rip), %0" : "=r"(after));
  CHECK(here);
  CHECK_EQ(info.si_code, SI_KERNEL);
  CHECK_EQ(uint64_t(regs[REG_RIP]), after);
  CHECK_EQ(regs[REG_TRAPNO], 3);
}

TEST(single_step) {
  static volatile int steps;
  handle(SIGTRAP, [](int, siginfo_t* si, void*) {
    if (si->si_code == TRAP_TRACE) steps = steps + 1;
  });
  asm volatile(
      "sub $128, %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n nop\n nop\n nop\n pushfq\n andq $~0x100, "
      "(%%rsp)\n popfq\n add $128, %%rsp" ::
          : "memory", "cc");
  CHECK(steps >= 3);
}

TEST(bus_past_eof) {
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  NEED_OK(ftruncate(fd, 4096));
  char* p = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  NEED(p != MAP_FAILED);
  p[4095] = 1;
  CHECK(faults(SIGBUS, [=] { sink = *static_cast<volatile char*>(p + 4096); }));
  CHECK_EQ(info.si_code, BUS_ADRERR);
  CHECK(info.si_addr == p + 4096);
  NEED_OK(ftruncate(fd, 0));
  CHECK(faults(SIGBUS, [=] { sink = *static_cast<volatile char*>(p); }));
}

TEST(blocked_fault_kills) {
  CHECK_KILLED(check::in_child([] {
                 handle(SIGSEGV, [](int, siginfo_t*, void*) { _exit(5); });
                 sigset_t set;
                 sigemptyset(&set);
                 sigaddset(&set, SIGSEGV);
                 sigprocmask(SIG_BLOCK, &set, nullptr);
                 sink = *reinterpret_cast<volatile int*>(8);
               }),
               SIGSEGV);
  CHECK_KILLED(check::in_child([] {
                 signal(SIGSEGV, SIG_IGN);
                 sink = *reinterpret_cast<volatile int*>(8);
               }),
               SIGSEGV);
  CHECK_KILLED(check::in_child([] {
                 signal(SIGFPE, SIG_IGN);
                 volatile int zero = 0;
                 sink = 1000 / zero;
               }),
               SIGFPE);
}

TEST(fault_in_handler_kills) {
  CHECK_KILLED(check::in_child([] {
                 handle(SIGSEGV, [](int, siginfo_t*, void*) { sink = *reinterpret_cast<volatile int*>(16); });
                 sink = *reinterpret_cast<volatile int*>(8);
               }),
               SIGSEGV);
}

TEST(handler_repairs_the_mapping) {
  static char* p = static_cast<char*>(mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  handle(SIGSEGV, [](int, siginfo_t*, void*) { mprotect(p, 4096, PROT_READ | PROT_WRITE); });
  *static_cast<volatile char*>(p) = 7;
  CHECK_EQ(*p, 7);
}

TEST(handler_edits_registers) {
  handle(SIGILL, [](int, siginfo_t*, void* context) {
    auto& m = static_cast<ucontext_t*>(context)->uc_mcontext;
    m.gregs[REG_RIP] += 2;  // over ud2
    m.gregs[REG_RBX] = 0x1234;
    m.gregs[REG_R15] = 0x5678;
    m.gregs[REG_EFL] |= 1;
    m.fpregs->_xmm[3].element[0] = 0xabcdef01;
  });
  uint64_t rbx, r15;
  uint8_t carry;
  uint32_t xmm;
  asm volatile(
      "xor %%ebx, %%ebx; xor %%r15d, %%r15d; pxor %%xmm3, %%xmm3; clc; ud2; setc %2; mov %%rbx, %0; mov "
      "%%r15, %1; movd %%xmm3, %3"
      : "=&r"(rbx), "=&r"(r15), "=&r"(carry), "=&r"(xmm)::"rbx", "r15", "xmm3");
  CHECK_EQ(rbx, 0x1234);
  CHECK_EQ(r15, 0x5678);
  CHECK_EQ(carry, 1);
  CHECK_EQ(xmm, 0xabcdef01u);
}

TEST(handler_moves_execution) {
  static uint64_t target;
  handle(SIGSEGV, [](int, siginfo_t*, void* context) {
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] = greg_t(target);
  });
  uint64_t reached = 0;
  asm volatile(
      "lea 1f(%%rip), %%rax; mov %%rax, %1; xor %%eax, %%eax; mov (%%rax), %%rax; mov $1, %0; 1: add $2, %0"
      : "+r"(reached), "=m"(target)::"rax", "memory");
  CHECK_EQ(reached, 2);
}

TEST(handler_edits_mask) {
  handle(SIGUSR1, [](int, siginfo_t*, void* context) {
    sigaddset(&static_cast<ucontext_t*>(context)->uc_sigmask, SIGUSR2);
  });
  raise(SIGUSR1);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  CHECK(sigismember(&now, SIGUSR2));
  CHECK(!sigismember(&now, SIGUSR1));
}

TEST(context_of_interrupted_call) {
  // The program counter a handler sees for a signal that interrupted a call is the instruction after
  // `syscall`.
  static uint64_t rip;
  static greg_t rax;
  handle(SIGUSR1, [](int, siginfo_t*, void* context) {
    rip = uint64_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
    rax = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX];
  });
  uint64_t after;
  long result;
  long pid = getpid();
  asm volatile("lea 1f(%%rip), %1; syscall; 1:"
               : "=a"(result), "=&r"(after)
               : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1)
               : "rcx", "r11", "memory");
  CHECK_EQ(result, 0);
  CHECK_EQ(rip, after);
  CHECK_EQ(rax, 0);
}

TEST(context_of_restarted_call) {
  // With SA_RESTART the frame points at the syscall instruction itself, with the number back in rax.
  static uint64_t rip;
  static greg_t rax;
  int fds[2];
  NEED_OK(pipe(fds));
  static int write_end;
  write_end = fds[1];
  handle(
      SIGALRM,
      [](int, siginfo_t*, void* context) {
        rip = uint64_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
        rax = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX];
        CHECK_EQ(write(write_end, "x", 1), 1);
      },
      SA_RESTART);
  pid_t reader = getpid(), child = fork();
  if (child == 0) {
    check::until_asleep(reader);
    kill(reader, SIGALRM);
    _exit(0);
  }
  uint64_t after;
  long result;
  char c;
  asm volatile("lea 1f(%%rip), %1; syscall; 1:"
               : "=a"(result), "=&r"(after)
               : "a"(SYS_read), "D"(fds[0]), "S"(&c), "d"(1)
               : "rcx", "r11", "memory");
  CHECK_EQ(result, 1);
  CHECK_EQ(rip, after - 2);
  CHECK_EQ(rax, SYS_read);
  waitpid(child, nullptr, 0);
}

TEST(context_rip_is_in_the_program) {
  // Signals at any moment of a loop of calls: the program counter is always one of the loop's own
  // instructions, which is what profilers, unwinders and thread cancellation rely on.
  extern char loop_start[] asm("loop_start"), loop_end[] asm("loop_end");
  static volatile int bad, seen;
  static uint64_t bad_rip;
  handle(SIGALRM, [](int, siginfo_t*, void* context) {
    uint64_t rip = uint64_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
    seen = seen + 1;
    if (rip < uint64_t(loop_start) || rip > uint64_t(loop_end)) {
      bad = bad + 1;
      bad_rip = rip;
    }
  });
  itimerval every{{0, 500}, {0, 500}};
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  sigprocmask(SIG_BLOCK, &alarm_only, nullptr);
  setitimer(ITIMER_REAL, &every, nullptr);
  long how = SIG_UNBLOCK;
  long r;
  // Unblocks, makes calls, blocks again: only the loop runs with the signal open. On a busy machine one round
  // may see hardly any.
  for (int round = 0; round < 200 && seen <= 3; round++)
    asm volatile(
        "mov $200000, %%r12\n"
        "loop_start:\n"
        "mov $14, %%eax; mov %[how], %%rdi; mov %[set], %%rsi; xor %%edx, %%edx; mov $8, %%r10d; syscall\n"
        "2: mov $39, %%eax; syscall\n"
        "nop; mov $39, %%eax; xor %%edi, %%edi; syscall; test %%eax, %%eax\n"
        "dec %%r12; jnz 2b\n"
        "mov $14, %%eax; xor %%edi, %%edi; mov %[set], %%rsi; xor %%edx, %%edx; mov $8, %%r10d; syscall\n"
        "loop_end:\n"
        : "=&a"(r)
        : [how] "r"(how), [set] "r"(&alarm_only)
        : "rcx", "r11", "r12", "rdi", "rsi", "rdx", "r10", "memory");
  itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  CHECK(seen > 3);
  if (bad) check::say("# bad rip %lx, loop %p-%p, %d of %d", bad_rip, loop_start, loop_end, bad, seen);
  CHECK_EQ(bad, 0);
}

TEST(sigreturn_keeps_everything_in_loop) {
  // A register-heavy computation with a timer firing gives the same sum.
  static volatile int fired;
  handle(SIGALRM, [](int, siginfo_t*, void*) { fired = fired + 1; });
  auto compute = [](uint64_t a) {
    asm volatile("" : "+r"(a));
    uint64_t b = 2, c = 3, d = 4;
    double x = 1.0, y = 0.5;
    for (int i = 0; i < 20000000; i++) {
      a = a * 6364136223846793005ull + b;
      b ^= a >> 7;
      c += b;
      d = (d << 3) | (c >> 61);
      x = x * 0.999999 + y;
      y = x * 0.25;
    }
    return a ^ b ^ c ^ d ^ uint64_t(x * 1e9) ^ uint64_t(y * 1e9);
  };
  uint64_t quiet = compute(1);
  itimerval every{{0, 500}, {0, 500}};
  setitimer(ITIMER_REAL, &every, nullptr);
  // More than once on a machine so busy that the timer rarely gets a turn.
  uint64_t noisy = quiet;
  for (int i = 0; noisy == quiet && (i == 0 || (fired <= 3 && i < 100)); i++) noisy = compute(1);
  itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  CHECK_EQ(noisy, quiet);
  CHECK(fired > 3);
}

TEST(corrupt_sigreturn_is_segv) {
  CHECK_KILLED(check::in_child([] {
                 asm volatile("mov $0x20000, %%rsp; mov $15, %%eax; syscall" ::: "memory");
               }),
               SIGSEGV);
}

TEST(sigreturn_cannot_raise_privilege) {
  handle(SIGUSR1, [](int, siginfo_t*, void* context) {
    auto& m = static_cast<ucontext_t*>(context)->uc_mcontext;
    m.gregs[REG_EFL] |= 0x3000 | 0x20000;  // IOPL, VM
    m.gregs[REG_EFL] &= ~0x200;            // IF
  });
  raise(SIGUSR1);
  uint64_t flags = __builtin_ia32_readeflags_u64();
  CHECK_EQ(flags & 0x23200, 0x200);
}

TEST(makecontext_swapcontext) {
  static ucontext_t home, away;
  static char stack[65536];
  static int steps;
  NEED_OK(getcontext(&away));
  away.uc_stack.ss_sp = stack;
  away.uc_stack.ss_size = sizeof stack;
  away.uc_link = &home;
  makecontext(&away, reinterpret_cast<void (*)()>(+[] {
    steps = steps * 10 + 1;
    swapcontext(&away, &home);
    steps = steps * 10 + 3;
  }),
              0);
  swapcontext(&home, &away);
  steps = steps * 10 + 2;
  swapcontext(&home, &away);
  CHECK_EQ(steps, 123);
}

// ---- SIGSYS is a signal like another to the program, and no handle on the kernel's own net ----

namespace {
long trapped_getpid() {
  static void* page;
  if (!page) {
    page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, "\xb8\x27\x00\x00\x00\x0f\x05\xc3", 8);
  }
  return reinterpret_cast<long (*)()>(page)();
}
}  // namespace

TEST(sigsys_blocked) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  for (int i = 0; i < 10; i++) CHECK_EQ(trapped_getpid(), getpid());
}

TEST(sigsys_ignored) {
  signal(SIGSYS, SIG_IGN);
  CHECK_EQ(trapped_getpid(), getpid());
}

TEST(sigsys_handled) {
  static volatile int got;
  handle(SIGSYS, [](int, siginfo_t*, void*) { got = got + 1; });
  CHECK_EQ(trapped_getpid(), getpid());
  CHECK_EQ(got, 0);
  raise(SIGSYS);
  CHECK_EQ(got, 1);
  CHECK_EQ(trapped_getpid(), getpid());
}

TEST(trapped_call_in_handler_on_altstack) {
  static char stack[65536];
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  sigaltstack(&ss, nullptr);
  static long seen;
  handle(
      SIGUSR1, [](int, siginfo_t*, void*) { seen = trapped_getpid(); }, SA_ONSTACK);
  raise(SIGUSR1);
  CHECK_EQ(seen, getpid());
}

TEST(trapped_fork_exec_and_exit) {
  unsigned char* page = static_cast<unsigned char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  NEED(page != MAP_FAILED);
  memcpy(page, "\x48\x89\xf8\x48\x89\xf7\x48\x89\xd6\x48\x89\xca\x0f\x05\xc3", 15);  // syscall(nr, a, b, c)
  auto call = reinterpret_cast<long (*)(long, long, long, long)>(page);
  long pid = call(SYS_fork, 0, 0, 0);
  if (pid == 0) call(SYS_exit_group, 33, 0, 0);
  int status;
  CHECK_EQ(waitpid(pid_t(pid), &status, 0), pid);
  CHECK_EXIT(status, 33);
  pid = call(SYS_fork, 0, 0, 0);
  if (pid == 0) {
    const char* argv[] = {check::self, "@exit44", nullptr};
    call(SYS_execve, long(check::self), long(argv), 0);
    _exit(1);
  }
  CHECK_EQ(waitpid(pid_t(pid), &status, 0), pid);
  CHECK_EXIT(status, 44);
}

HELPER(exit44) {
  return 44;
}
