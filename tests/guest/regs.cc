// All registers but rax, rcx and r11, the flags, the red zone and all vector state survive every system call:
// through a rewritten site, through the SIGSYS net (the instruction run from a page of its own, as a JIT
// would), and with a signal, whose handler soils everything, on the way.
#include <cpuid.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/time.h>

#include "tests/guest/check.h"

namespace {

struct State {
  uint64_t gpr[15];  // rax rbx rcx rdx rsi rdi rbp r8..r15, without rsp
  uint64_t flags;
  uint64_t red_zone[16];
  uint32_t mxcsr;
  uint16_t x87_control;
  uint16_t pad;
  alignas(16) uint8_t x87[8][16];
  alignas(64) uint8_t zmm[32][64];
  uint64_t k[8];
};

enum Level : uint32_t { kSse, kAvx, kAvx512 };

uint32_t level() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) return kAvx512;
  if (__builtin_cpu_supports("avx")) return kAvx;
  return kSse;
}

}  // namespace

// void call_with_state(State* in, State* out, uint32_t level, void* site): loads everything from `in`, calls
// `site` (or executes a syscall instruction here if it is null), stores everything to `out`.
extern "C" void call_with_state(const State* in, State* out, uint32_t level, void* site);

// Offsets in State: gpr 0, flags 120, red_zone 128, mxcsr 256, x87_control 260, x87 272, zmm 448, k 2496.
static_assert(offsetof(State, flags) == 120 && offsetof(State, red_zone) == 128 &&
              offsetof(State, mxcsr) == 256);
static_assert(offsetof(State, x87) == 272 && offsetof(State, zmm) == 448 && offsetof(State, k) == 2496);

asm(R"(
        .text
        .globl call_with_state
        .type call_with_state, @function
call_with_state:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        push %rsi               # out
        push %rdx               # level
        push %rcx               # site
        sub $136, %rsp          # the red zone of the call below is live data: keep the pushes out of it
        mov %rdi, %rbx
        # red zone
        xor %eax, %eax
1:      mov 128(%rbx,%rax,8), %rcx
        mov %rcx, -128(%rsp,%rax,8)
        inc %eax
        cmp $15, %eax           # the topmost word stays free: `call` writes there
        jne 1b
        ldmxcsr 256(%rbx)
        fninit
        .irp i,7,6,5,4,3,2,1,0
        fldt 272+16*\i(%rbx)
        .endr
        fldcw 260(%rbx)
        cmpl $1, 144(%rsp)
        jb 2f
        je 3f
        .irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        vmovdqu64 448+64*\i(%rbx), %zmm\i
        .endr
        .irp i,0,1,2,3,4,5,6,7
        kmovq 2496+8*\i(%rbx), %k\i
        .endr
        jmp 4f
3:      .irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu 448+64*\i(%rbx), %ymm\i
        .endr
        jmp 4f
2:      .irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movdqu 448+64*\i(%rbx), %xmm\i
        .endr
4:
        mov 0(%rbx), %rax
        mov 16(%rbx), %rcx
        mov 24(%rbx), %rdx
        mov 32(%rbx), %rsi
        mov 40(%rbx), %rdi
        mov 48(%rbx), %rbp
        mov 56(%rbx), %r8
        mov 64(%rbx), %r9
        mov 72(%rbx), %r10
        mov 80(%rbx), %r11
        mov 88(%rbx), %r12
        mov 96(%rbx), %r13
        mov 104(%rbx), %r14
        mov 112(%rbx), %r15
        # flags last but rbx: popf through the stack just above the red zone (136 bytes were left)
        push 120(%rbx)
        mov 8(%rbx), %rbx
        cmpq $0, 144(%rsp)      # site
        jne 5f
        popf
        syscall
        jmp 6f
5:      popf
        call *136(%rsp)
6:      pushf                   # writes one word below rsp: the topmost of the red zone
        push %rbx               # and the next: neither is checked
        mov 168(%rsp), %rbx     # out: 16 + 136 + 16
        cld
        mov %rax, 0(%rbx)
        mov %rcx, 16(%rbx)
        pop %rcx
        mov %rcx, 8(%rbx)
        pop %rcx
        mov %rcx, 120(%rbx)
        mov %rdx, 24(%rbx)
        mov %rsi, 32(%rbx)
        mov %rdi, 40(%rbx)
        mov %rbp, 48(%rbx)
        mov %r8, 56(%rbx)
        mov %r9, 64(%rbx)
        mov %r10, 72(%rbx)
        mov %r11, 80(%rbx)
        mov %r12, 88(%rbx)
        mov %r13, 96(%rbx)
        mov %r14, 104(%rbx)
        mov %r15, 112(%rbx)
        xor %eax, %eax
7:      mov -128(%rsp,%rax,8), %rcx
        mov %rcx, 128(%rbx,%rax,8)
        inc %eax
        cmp $14, %eax
        jne 7b
        stmxcsr 256(%rbx)
        fnstcw 260(%rbx)
        .irp i,0,1,2,3,4,5,6,7
        fstpt 272+16*\i(%rbx)
        .endr
        cmpl $1, 144(%rsp)
        jb 8f
        je 9f
        .irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        vmovdqu64 %zmm\i, 448+64*\i(%rbx)
        .endr
        .irp i,0,1,2,3,4,5,6,7
        kmovq %k\i, 2496+8*\i(%rbx)
        .endr
        vzeroupper
        jmp 10f
9:      .irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu %ymm\i, 448+64*\i(%rbx)
        .endr
        vzeroupper
        jmp 10f
8:      .irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movdqu %xmm\i, 448+64*\i(%rbx)
        .endr
10:     movl $0x1f80, -4(%rsp)
        ldmxcsr -4(%rsp)
        fninit
        add $160, %rsp          # 136 + site + level + out
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret
        .size call_with_state, .-call_with_state
)");

namespace {

State in_state;
State out_state;

void fill(State& s) {
  memset(&s, 0, sizeof s);
  for (int i = 0; i < 15; i++) s.gpr[i] = 0x1111111111111111ull * uint64_t(i + 1) ^ 0xa5a5;
  s.flags = 0x202 | 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800;  // CF PF AF ZF SF DF OF
  for (int i = 0; i < 16; i++) s.red_zone[i] = 0xfeed000000000000ull + uint64_t(i);
  s.mxcsr = 0x1f80 | 0x6000 | 0x8000;  // round to zero, flush to zero
  s.x87_control = 0x0c7f;              // round to zero, double precision
  for (int i = 0; i < 8; i++) {
    long double v = 1.25L * (i + 3);
    memcpy(s.x87[i], &v, 10);
  }
  for (int i = 0; i < 32; i++)
    for (int j = 0; j < 64; j++) s.zmm[i][j] = uint8_t(i * 7 + j + 1);
  for (int i = 0; i < 8; i++) s.k[i] = 0x0123456789abcdefull << i;
}

// Everything but what the call may change: rax, rcx, r11.
void compare(const char* what) {
  static const char* const kNames[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
                                       "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  for (int i = 0; i < 15; i++) {
    if (i == 0 || i == 2 || i == 10) continue;
    if (in_state.gpr[i] != out_state.gpr[i])
      check::fail(__FILE__, __LINE__,
                  std::string(what) + ": " + kNames[i] + " is " + check::text(out_state.gpr[i]));
  }
  const uint64_t kFlags = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800;
  if ((in_state.flags ^ out_state.flags) & kFlags)
    check::fail(__FILE__, __LINE__, std::string(what) + ": flags are " + check::text(out_state.flags));
  for (int i = 0; i < 14; i++) {
    if (in_state.red_zone[i] != out_state.red_zone[i])
      check::fail(__FILE__, __LINE__,
                  std::string(what) + ": red zone word " + std::to_string(i) + " changed");
  }
  if ((in_state.mxcsr ^ out_state.mxcsr) & ~0x3fu)
    check::fail(__FILE__, __LINE__, std::string(what) + ": mxcsr is " + check::text(out_state.mxcsr));
  if (in_state.x87_control != out_state.x87_control)
    check::fail(__FILE__, __LINE__,
                std::string(what) + ": x87 control is " + check::text(out_state.x87_control));
  for (int i = 0; i < 8; i++) {
    if (memcmp(in_state.x87[i], out_state.x87[i], 10) != 0)
      check::fail(__FILE__, __LINE__, std::string(what) + ": st" + std::to_string(i) + " changed");
  }
  uint32_t l = level();
  int registers = l == kAvx512 ? 32 : 16;
  size_t width = l == kAvx512 ? 64 : l == kAvx ? 32 : 16;
  for (int i = 0; i < registers; i++) {
    if (memcmp(in_state.zmm[i], out_state.zmm[i], width) != 0)
      check::fail(__FILE__, __LINE__,
                  std::string(what) + ": vector register " + std::to_string(i) + " changed");
  }
  if (l == kAvx512 && memcmp(in_state.k, out_state.k, sizeof in_state.k) != 0)
    check::fail(__FILE__, __LINE__, std::string(what) + ": mask registers changed");
}

enum { kRax, kRbx, kRcx, kRdx, kRsi, kRdi, kRbp, kR8, kR9, kR10 };

// A page that the rewriter never saw as a file: its syscall goes through the net.
void* jit_site() {
  static void* page;
  if (!page) {
    page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(page != MAP_FAILED);
    memcpy(page, "\x0f\x05\xc3", 3);  // syscall; ret
  }
  return page;
}

struct Call {
  const char* name;
  long nr;
  uint64_t a = 0, b = 0, c = 0, d = 0;
};

long make(const Call& call, void* site) {
  fill(in_state);
  in_state.gpr[kRax] = uint64_t(call.nr);
  in_state.gpr[kRdi] = call.a;
  in_state.gpr[kRsi] = call.b;
  in_state.gpr[kRdx] = call.c;
  in_state.gpr[kR10] = call.d;
  memset(&out_state, 0xee, sizeof out_state);
  call_with_state(&in_state, &out_state, level(), site);
  compare(call.name);
  return long(out_state.gpr[kRax]);
}

void soil(int) {
  // Handlers run with clean state and may use all of it.
  for (int i = 0; i < 8; i++) asm volatile("fld1" ::: "memory");
  asm volatile("fninit; pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm15, %%xmm15" ::: "xmm0", "xmm15");
  if (level() == kAvx512)
    asm volatile(
        "vpternlogd $255, %%zmm1, %%zmm1, %%zmm1; vpternlogd $255, %%zmm31, %%zmm31, %%zmm31; kxnorq %%k1, "
        "%%k1, %%k1" ::
            : "memory");
  else if (level() == kAvx)
    asm volatile("vpxor %%ymm1, %%ymm1, %%ymm1" ::: "memory");
  uint32_t mxcsr = 0x1fa0;
  asm volatile("ldmxcsr %0" ::"m"(mxcsr));
}

void several_calls(void* site) {
  static char buffer[256];
  int pipe_fds[2];
  NEED_OK(pipe(pipe_fds));
  NEED_OK(write(pipe_fds[1], "hello", 5));
  timespec brief{0, 2000000};
  CHECK_EQ(make({"getpid", SYS_getpid}, site), getpid());
  CHECK_EQ(make({"read", SYS_read, uint64_t(pipe_fds[0]), uint64_t(buffer), 5}, site), 5);
  CHECK_EQ(make({"write", SYS_write, uint64_t(pipe_fds[1]), uint64_t(buffer), 5}, site), 5);
  CHECK_EQ(make({"nanosleep", SYS_nanosleep, uint64_t(&brief)}, site), 0);
  CHECK_EQ(make({"sched_yield", SYS_sched_yield}, site), 0);
  CHECK_EQ(make({"bad pointer", SYS_read, uint64_t(pipe_fds[0]), 8, 5}, site), -EFAULT);
  CHECK_EQ(make({"no such call", 1023}, site), -ENOSYS);
  // r8, the descriptor, is junk: MAP_ANONYMOUS ignores it. r9, the offset, must be page aligned.
  CHECK_EQ(make({"mmap", SYS_mmap, 0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS}, site), -EINVAL);
}

}  // namespace

TEST(over_rewritten_call) {
  several_calls(nullptr);
}

TEST(over_trapped_call) {
  several_calls(jit_site());
}

TEST(result_registers_trapped) {
  // rcx and r11 are the return address and the flags, as the instruction defines: only the net can show the
  // guest.
  make({"getpid", SYS_getpid}, jit_site());
  CHECK_EQ(out_state.gpr[kRcx], uint64_t(jit_site()) + 2);
}

namespace {
void over_blocking_read(void* site) {
  int fds[2];
  static char c;
  NEED_OK(pipe(fds));
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(parent);
    if (write(fds[1], "x", 1) != 1) _exit(1);
    _exit(0);
  }
  CHECK_EQ(make({"blocking read", SYS_read, uint64_t(fds[0]), uint64_t(&c), 1}, site), 1);
  waitpid(child, nullptr, 0);
}

void over_interrupted_call(void* site, int flags, long expected) {
  struct sigaction sa {};
  sa.sa_handler = soil;
  sa.sa_flags = flags;
  NEED_OK(sigaction(SIGALRM, &sa, nullptr));
  int fds[2];
  static char c;
  NEED_OK(pipe(fds));
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 20; i++) {
      check::until_asleep(parent);
      kill(parent, SIGALRM);
      if (!(flags & SA_RESTART)) _exit(0);
      check::sleep_ms(1);
    }
    if (write(fds[1], "x", 1) != 1) _exit(1);
    _exit(0);
  }
  CHECK_EQ(make({"interrupted read", SYS_read, uint64_t(fds[0]), uint64_t(&c), 1}, site), expected);
  waitpid(child, nullptr, 0);
}
}  // namespace

TEST(over_blocking_rewritten) {
  over_blocking_read(nullptr);
}
TEST(over_blocking_trapped) {
  over_blocking_read(jit_site());
}
TEST(over_restarted_rewritten) {
  over_interrupted_call(nullptr, SA_RESTART, 1);
}
TEST(over_restarted_trapped) {
  over_interrupted_call(jit_site(), SA_RESTART, 1);
}
TEST(over_interrupted_rewritten) {
  over_interrupted_call(nullptr, 0, -EINTR);
}
TEST(over_interrupted_trapped) {
  over_interrupted_call(jit_site(), 0, -EINTR);
}

// A signal that the call itself sends is delivered before it returns to the program.
TEST(over_signal_to_self_rewritten) {
  signal(SIGUSR1, soil);
  CHECK_EQ(make({"kill", SYS_kill, uint64_t(getpid()), SIGUSR1}, nullptr), 0);
}

TEST(over_signal_to_self_trapped) {
  signal(SIGUSR1, soil);
  CHECK_EQ(make({"kill", SYS_kill, uint64_t(getpid()), SIGUSR1}, jit_site()), 0);
}

namespace {
void under_timer(void* site) {
  signal(SIGALRM, soil);
  itimerval every{{0, 700}, {0, 700}};
  NEED_OK(setitimer(ITIMER_REAL, &every, nullptr));
  int64_t end = check::now_ns() + 400000000;
  int rounds = 0;
  while ((check::now_ns() < end || rounds <= 100) && !check::failures) {
    make({"getpid under a timer", SYS_getpid}, site);
    rounds++;
  }
  itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  CHECK(rounds > 100);
}
}  // namespace

TEST(under_timer_rewritten) {
  under_timer(nullptr);
}
TEST(under_timer_trapped) {
  under_timer(jit_site());
}

// Signals that arrive in a loop without any call: the program's own state is what the frame must save and
// restore.
namespace {
void* spin_page;

void build_spin() {
  // mov $N, %ecx; 1: dec %rcx; jnz 1b; ret
  static const uint8_t kCode[] = {0xb9, 0x00, 0x00, 0x00, 0x03, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0xc3};
  spin_page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  NEED(spin_page != MAP_FAILED);
  memcpy(spin_page, kCode, sizeof kCode);
}

volatile sig_atomic_t soiled;
void soil_and_count(int signal) {
  soil(signal);
  soiled = soiled + 1;
}
}  // namespace

TEST(signal_in_user_code) {
  build_spin();
  signal(SIGALRM, soil_and_count);
  itimerval every{{0, 900}, {0, 900}};
  NEED_OK(setitimer(ITIMER_REAL, &every, nullptr));
  for (int i = 0; i < 10 || soiled <= 5; i++) {
    fill(in_state);
    in_state.flags &= ~uint64_t(0x400 | 0x800 | 0x80 | 0x10 | 0x4 | 0x40 | 1);
    call_with_state(&in_state, &out_state, level(), spin_page);
    out_state.flags = in_state.flags;  // the loop counts with them
    compare("spin");
  }
  itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  CHECK(soiled > 5);
}

// The handler starts with DF clear and the x87 state and MXCSR of a fresh thread.
namespace {
volatile uint64_t handler_flags;
volatile uint32_t handler_mxcsr;
volatile uint16_t handler_control;
void look(int) {
  handler_flags = __builtin_ia32_readeflags_u64();
  handler_mxcsr = __builtin_ia32_stmxcsr();
  uint16_t control;
  asm volatile("fnstcw %0" : "=m"(control));
  handler_control = control;
}
}  // namespace

TEST(handler_state_is_clean) {
  signal(SIGUSR1, look);
  make({"kill", SYS_kill, uint64_t(getpid()), SIGUSR1}, nullptr);
  CHECK_EQ(handler_flags & 0x400, 0);
  CHECK_EQ(handler_control, 0x37f);
}

TEST(stack_alignment_in_handler) {
  static volatile uint64_t sp;
  signal(SIGUSR1, [](int) { sp = uint64_t(__builtin_frame_address(0)); });
  raise(SIGUSR1);
  CHECK_EQ(sp % 16, 0);  // the frame address is rsp + 8 + push rbp at entry: 16-aligned
}

// Two threads with different state trade blocking calls.
namespace {
void* other_thread(void* arg) {
  int* fds = static_cast<int*>(arg);
  char c;
  while (read(fds[0], &c, 1) == 1) {
    soil(0);
    if (write(fds[1], &c, 1) != 1) break;
  }
  return nullptr;
}
}  // namespace

TEST(between_threads) {
  int to[2], from[2];
  NEED_OK(pipe(to));
  NEED_OK(pipe(from));
  int fds[2] = {to[0], from[1]};
  pthread_t t;
  NEED(pthread_create(&t, nullptr, other_thread, fds) == 0);
  static char c;
  for (int i = 0; i < 200; i++) {
    CHECK_EQ(make({"write", SYS_write, uint64_t(to[1]), uint64_t(&c), 1}, i % 2 ? jit_site() : nullptr), 1);
    CHECK_EQ(make({"read", SYS_read, uint64_t(from[0]), uint64_t(&c), 1}, nullptr), 1);
  }
  close(to[1]);
  pthread_join(t, nullptr);
}

TEST(fork_child_keeps_state) {
  fill(in_state);
  in_state.gpr[kRax] = SYS_fork;
  call_with_state(&in_state, &out_state, level(), nullptr);
  compare("fork");
  long pid = long(out_state.gpr[kRax]);
  if (pid == 0) _exit(check::failures ? 1 : 0);
  int status = 0;
  CHECK_EQ(waitpid(pid_t(pid), &status, 0), pid);
  CHECK_EXIT(status, 0);
  fill(in_state);
  in_state.gpr[kRax] = SYS_fork;
  call_with_state(&in_state, &out_state, level(), jit_site());
  compare("trapped fork");
  pid = long(out_state.gpr[kRax]);
  if (pid == 0) _exit(check::failures ? 1 : 0);
  CHECK_EQ(waitpid(pid_t(pid), &status, 0), pid);
  CHECK_EXIT(status, 0);
}

// cpuid writes rax, rbx, rcx and rdx and nothing else, and answers the same everywhere. The sites: two that
// are patched in different ways, and one in a page of its own.
extern "C" {
void cpuid_window();
void cpuid_alone();
void rdtsc_site();
void rdtscp_site();
}
asm(R"(
        .text
        .p2align 4
        .globl cpuid_window, cpuid_alone
        .type cpuid_window, @function
cpuid_window:
        .cfi_startproc
        cpuid
        lea 0(%rax), %rax
        ret
        .cfi_endproc
        .size cpuid_window, .-cpuid_window
        .p2align 4
        .type cpuid_alone, @function
cpuid_alone:
        .cfi_startproc
        mov %eax, %eax
        mov %ecx, %ecx
        cpuid
        ret
        .cfi_endproc
        .size cpuid_alone, .-cpuid_alone
        .p2align 4
        .globl rdtsc_site, rdtscp_site
        .type rdtsc_site, @function
rdtsc_site:
        .cfi_startproc
        rdtsc
        lea 0(%rsi), %rsi
        ret
        .cfi_endproc
        .size rdtsc_site, .-rdtsc_site
        .type rdtscp_site, @function
rdtscp_site:
        .cfi_startproc
        rdtscp
        lea 0(%rsi), %rsi
        ret
        .cfi_endproc
        .size rdtscp_site, .-rdtscp_site
)");

namespace {

struct Leaf {
  uint32_t eax, ecx;
};
constexpr Leaf kLeaves[] = {{0, 0},    {1, 0},          {2, 0},          {4, 0},          {4, 1},
                            {7, 0},    {7, 1},          {0xb, 0},        {0xb, 1},        {0xd, 0},
                            {0xd, 1},  {0xd, 2},        {0x14, 0},       {0x15, 0},       {0x16, 0},
                            {0x19, 0}, {0x80000000, 0}, {0x80000001, 0}, {0x80000002, 0}, {0x80000008, 0}};

struct Answer {
  uint64_t rax, rbx, rcx, rdx;
  bool operator==(const Answer&) const = default;
};

uint64_t apic_id;

Answer ask(Leaf leaf, void (*site)()) {
  fill(in_state);
  // The instruction reads only the lower halves.
  in_state.gpr[kRax] = 0xffff'ffff'0000'0000 | leaf.eax;
  in_state.gpr[kRcx] = 0xffff'ffff'0000'0000 | leaf.ecx;
  memset(&out_state, 0xee, sizeof out_state);
  call_with_state(&in_state, &out_state, level(), reinterpret_cast<void*>(site));
  Answer answer{out_state.gpr[kRax], out_state.gpr[kRbx], out_state.gpr[kRcx], out_state.gpr[kRdx]};
  CHECK_EQ(out_state.gpr[10], in_state.gpr[10]);  // r11
  out_state.gpr[kRbx] = in_state.gpr[kRbx];
  out_state.gpr[kRdx] = in_state.gpr[kRdx];
  compare("cpuid");
  for (uint64_t part : {answer.rax, answer.rbx, answer.rcx, answer.rdx}) CHECK_EQ(part >> 32, 0u);
  // What differs from core to core, where the processor itself answers and threads are not really pinned.
  if (leaf.eax == 1) {
    apic_id = answer.rbx >> 24;
    answer.rbx &= 0xffffff;
  } else if (leaf.eax == 0xb) {
    apic_id = answer.rdx;
    answer.rdx = 0;
  }
  return answer;
}

// Does a thread really run on the processor it is pinned to?
bool pinning_moves() {
  for (int i = 0; i < 40; i++) {
    unsigned cpu = unsigned(i) & 1, really = 0;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) return true;  // there is but one
    __builtin_ia32_rdtscp(&really);
    if ((really & 0xfff) != cpu) return false;
  }
  return true;
}

// On one processor, so that APIC ids are the same natively too.
void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  NEED_OK(sched_setaffinity(0, sizeof set, &set));
}

uint64_t digest_of_leaves() {
  uint64_t digest = 0;
  for (Leaf leaf : kLeaves) {
    Answer a = ask(leaf, cpuid_window);
    for (uint64_t part : {a.rax, a.rbx, a.rcx, a.rdx}) digest = digest * 0x9e3779b97f4a7c15 + part;
  }
  return digest;
}
}  // namespace

TEST(over_cpuid) {
  pin(0);
  for (Leaf leaf : kLeaves) {
    Answer first = ask(leaf, cpuid_window);
    CHECK(first == ask(leaf, cpuid_alone));
    CHECK(first == ask(leaf, cpuid_window));
  }
}

// The processor itself says the same, but for what differs from core to core.
TEST(cpuid_is_the_processors) {
  pin(0);
  auto* page = static_cast<uint8_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  NEED(page != MAP_FAILED);
  memcpy(page, "\x0f\xa2\xc3", 3);  // cpuid; ret
  auto real = reinterpret_cast<void (*)()>(page);
  for (Leaf leaf : kLeaves) {
    Answer answer = ask(leaf, cpuid_window), truth = ask(leaf, real);
    if (!(answer == truth))
      check::fail(__FILE__, __LINE__, "leaf " + check::text(leaf.eax) + " subleaf " + check::text(leaf.ecx));
  }
}

TEST(cpuid_same_in_all_tasks) {
  pin(0);
  uint64_t mine = digest_of_leaves();
  pid_t child = fork();
  if (child == 0) _exit(digest_of_leaves() == mine ? 0 : 1);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EXIT(status, 0);
}

// A thread that is pinned to a processor sees an APIC id that no other processor has, the same in each leaf.
TEST(cpuid_apic_ids) {
  if (ask({0, 0}, cpuid_window).rax < 0xb || ask({0xb, 0}, cpuid_window).rbx == 0) check::skip("no leaf 0xb");
  bool patched = memcmp(reinterpret_cast<const void*>(cpuid_window), "\x0f\xa2", 2) != 0;
  if (!patched && !pinning_moves())
    check::skip("the processor itself answers, and threads stay where they are");
  uint64_t seen = 0;
  for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF) && cpu < 64; cpu++) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(size_t(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) continue;
    (void)ask({0xb, 0}, cpuid_window);
    uint64_t id = apic_id;
    (void)ask({0xb, 1}, cpuid_window);
    CHECK_EQ(apic_id, id);
    (void)ask({1, 0}, cpuid_window);
    CHECK_EQ(apic_id, id & 0xff);
    CHECK(id >= 64 || (seen >> id & 1) == 0);
    if (id < 64) seen |= 1ull << id;
  }
}

TEST(cpuid_under_timer) {
  pin(0);
  signal(SIGALRM, soil_and_count);
  Answer expected = ask({7, 0}, cpuid_window);
  itimerval every{{0, 700}, {0, 700}};
  NEED_OK(setitimer(ITIMER_REAL, &every, nullptr));
  int64_t end = check::now_ns() + 400000000;
  int rounds = 0;
  while ((check::now_ns() < end || rounds <= 100 || soiled <= 5) && !check::failures) {
    CHECK(ask({7, 0}, rounds % 2 ? cpuid_window : cpuid_alone) == expected);
    rounds++;
  }
  itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  CHECK(rounds > 100);
  CHECK(soiled > 5);
}

// What the signal's frame shows of a cpuid site is the instruction or the one behind it, never another place.
extern "C" char __executable_start, __etext;

namespace {
volatile sig_atomic_t strange, looking;
void look_at_pc(int, siginfo_t*, void* context) {
  if (!looking) return;
  auto pc = uint64_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  bool ours = pc >= uint64_t(&__executable_start) && pc < uint64_t(&__etext);
  if (!ours) strange = strange + 1;
  soiled = soiled + 1;
}
}  // namespace

TEST(cpuid_pc_in_handler) {
  struct sigaction sa {};
  sa.sa_sigaction = look_at_pc;
  sa.sa_flags = SA_SIGINFO;
  NEED_OK(sigaction(SIGALRM, &sa, nullptr));
  itimerval every{{0, 300}, {0, 300}};
  NEED_OK(setitimer(ITIMER_REAL, &every, nullptr));
  // No call and no library meanwhile: all that runs is this program's text.
  looking = 1;
  for (int i = 0; i < 20000000 && soiled < 50; i++) {
    uint32_t a = 7, b, c = 0, d;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  }
  looking = 0;
  itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  CHECK(soiled > 5);
  CHECK_EQ(strange, 0);
}

namespace {
// rdtsc writes rax and rdx, rdtscp rcx as well, and nothing else.
uint64_t clock_at(void (*site)(), bool writes_rcx) {
  fill(in_state);
  memset(&out_state, 0xee, sizeof out_state);
  call_with_state(&in_state, &out_state, level(), reinterpret_cast<void*>(site));
  uint64_t low = out_state.gpr[kRax], high = out_state.gpr[kRdx];
  CHECK_EQ(low >> 32, 0u);
  CHECK_EQ(high >> 32, 0u);
  CHECK_EQ(out_state.gpr[10], in_state.gpr[10]);  // r11
  if (!writes_rcx) CHECK_EQ(out_state.gpr[kRcx], in_state.gpr[kRcx]);
  out_state.gpr[kRdx] = in_state.gpr[kRdx];
  compare("rdtsc");
  return high << 32 | low;
}
}  // namespace

TEST(over_rdtsc) {
  uint64_t last = 0;
  for (int i = 0; i < 100; i++) {
    uint64_t now = i % 2 ? clock_at(rdtsc_site, false) : clock_at(rdtscp_site, true);
    CHECK(now > last);
    last = now;
  }
}
