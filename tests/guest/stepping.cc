// The trap flag: a program that steps through itself, as some debuggers, tracers and protections do. SIGTRAP
// comes after each instruction; a system call runs in one step together with the instruction behind it, since
// the way back sets the flag one instruction late.
#include <sys/mman.h>
#include <ucontext.h>

#include <vector>

#include "tests/guest/check.h"

// The labels of the tests below.
extern "C" const char step_plain_a[], step_plain_b[], step_plain_c[], step_plain_d[], step_plain_e[],
    step_plain_f[], step_call_number[], step_call_site[], step_call_behind[], step_call_next[],
    step_call_last[], step_moved_a[], step_moved_b[], step_moved_site[], step_moved_next[], step_after_site[],
    step_after_a[], step_after_b[], step_after_c[], step_after_jump[], step_cpuid_load[], step_cpuid[],
    step_cpuid_a[], step_cpuid_b[];

namespace {

constexpr int kMost = 256;
uint64_t steps[kMost];
int step_count;
int wrong_code;

void note_step(int, siginfo_t* info, void* context) {
  uint64_t pc = uint64_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  if (info->si_code != TRAP_TRACE || uint64_t(info->si_addr) != pc) wrong_code++;
  if (step_count < kMost) steps[step_count] = pc;
  step_count++;
}

void start_noting() {
  step_count = wrong_code = 0;
  struct sigaction sa {};
  sa.sa_sigaction = note_step;
  sa.sa_flags = SA_SIGINFO;
  NEED_OK(sigaction(SIGTRAP, &sa, nullptr));
}

uint64_t at(const void* p) {
  return uint64_t(p);
}

// The steps must be these labels', in order.
void expect_steps(const std::vector<const char*>& labels, const char* file, int line) {
  std::string got, wanted;
  for (int i = 0; i < step_count && i < kMost; i++) {
    size_t label = 0;
    while (label < labels.size() && at(labels[label]) != steps[i]) label++;
    got += label < labels.size() ? " " + std::to_string(label) : " " + check::text(steps[i]);
  }
  for (size_t i = 0; i < labels.size(); i++) wanted += " " + std::to_string(i);
  if (got != wanted) check::fail(file, line, "steps" + got + ", expected" + wanted);
  CHECK_EQ(wrong_code, 0);
}
#define EXPECT_STEPS(...) expect_steps({__VA_ARGS__}, __FILE__, __LINE__)

}  // namespace

// Turns the flag on and off around some instructions, the stack pointer away from the red zone.
#define STEP_ON "sub $128, %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n"
#define STEP_OFF "pushfq\n andq $~0x100, (%%rsp)\n popfq\n add $128, %%rsp\n"

TEST(over_plain_code) {
  start_noting();
  asm volatile(STEP_ON
               "nop\n step_plain_a: nop\n step_plain_b: nop\n step_plain_c: pushfq\n"
               "step_plain_d: andq $~0x100, (%%rsp)\n step_plain_e: popfq\n step_plain_f: add $128, %%rsp" ::
                   : "memory", "cc");
  EXPECT_STEPS(step_plain_a, step_plain_b, step_plain_c, step_plain_d, step_plain_e, step_plain_f);
}

// The window before the site: the load of the number moves with it.
TEST(over_a_call) {
  for (int round = 0; round < 3; round++) {
    start_noting();
    long result, flags;
    asm volatile(STEP_ON
                 "nop\n"
                 "step_call_number: mov $39, %%eax\n"
                 "step_call_site: syscall\n"
                 "step_call_behind: nop\n"
                 "step_call_next: mov %%rax, %0\n"
                 "step_call_last: pushfq\n mov (%%rsp), %1\n andq $~0x100, (%%rsp)\n popfq\n add $128, %%rsp"
                 : "=&r"(result), "=&r"(flags)::"rax", "rcx", "r11", "memory", "cc");
    CHECK_EQ(result, getpid());
    CHECK_EQ(flags & 0x100, 0x100);
    NEED(step_count >= 4);
    step_count = 4;
    EXPECT_STEPS(step_call_number, step_call_site, step_call_next, step_call_last);
  }
}

// What stands before the call is moved with it, instruction by instruction.
TEST(over_moved_instructions) {
  start_noting();
  long result;
  asm volatile(STEP_ON
               "mov $39, %%eax\n"
               "step_moved_a: mov %%rdi, %%rdi\n"
               "step_moved_b: xor %%edx, %%edx\n"
               "step_moved_site: syscall\n"
               "mov %%rax, %%rdx\n"
               "step_moved_next: mov %%rdx, %0\n" STEP_OFF
               : "=&r"(result)::"rax", "rcx", "rdx", "r11", "memory", "cc");
  CHECK_EQ(result, getpid());
  NEED(step_count >= 4);
  step_count = 4;
  EXPECT_STEPS(step_moved_a, step_moved_b, step_moved_site, step_moved_next);
}

// What stands behind it as well: there is no room before.
TEST(over_a_call_that_is_jumped_to) {
  start_noting();
  long result;
  asm volatile("mov $39, %%eax\n" STEP_ON
               "nop\n"
               "step_after_jump: jmp step_after_site\n"
               "ud2\n"
               "step_after_site: syscall\n"
               "mov %%rax, %%rdx\n"
               "step_after_a: mov %%rdx, %%rsi\n"
               "step_after_b: mov %%rsi, %0\n"
               "step_after_c: nop\n" STEP_OFF
               : "=&r"(result)::"rax", "rcx", "rdx", "rsi", "r11", "memory", "cc");
  CHECK_EQ(result, getpid());
  NEED(step_count >= 5);
  step_count = 5;
  EXPECT_STEPS(step_after_jump, step_after_site, step_after_a, step_after_b, step_after_c);
}

TEST(over_a_generated_call) {
  auto* page = static_cast<char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  NEED(page != MAP_FAILED);
  memcpy(page, "\xb8\x27\x00\x00\x00\x0f\x05\x90\xc3", 9);  // mov $39,%eax; syscall; nop; ret
  start_noting();
  long result;
  asm volatile(STEP_ON "call *%1\n" STEP_OFF : "=a"(result) : "r"(page) : "rcx", "r11", "memory", "cc");
  CHECK_EQ(result, getpid());
  NEED(step_count >= 4);
  step_count = 3;
  EXPECT_STEPS(page, page + 5, page + 8);
}

// cpuid is an instruction like others.
TEST(over_cpuid) {
  start_noting();
  uint32_t result, direct;
  asm volatile("xor %%eax, %%eax; cpuid" : "=a"(direct)::"rbx", "rcx", "rdx");
  asm volatile(STEP_ON
               "nop\n"
               "step_cpuid_load: mov $0, %%eax\n"
               "step_cpuid: cpuid\n"
               "step_cpuid_a: nop\n"
               "step_cpuid_b: nop\n" STEP_OFF
               : "=a"(result)::"rbx", "rcx", "rdx", "memory", "cc");
  CHECK_EQ(result, direct);
  NEED(step_count >= 4);
  step_count = 4;
  EXPECT_STEPS(step_cpuid_load, step_cpuid, step_cpuid_a, step_cpuid_b);
}

// Every instruction of whole library functions, their calls included.
TEST(over_libc) {
  start_noting();
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t (*volatile parent)() = getppid;
  ssize_t (*volatile put)(int, const void*, size_t) = write;
  ssize_t (*volatile get)(int, void*, size_t) = read;
  asm volatile("pushfq\n orq $0x100, (%%rsp)\n popfq" ::: "memory", "cc");
  pid_t p = parent();
  ssize_t written = put(fds[1], "stepped", 7);
  char buffer[8] = {};
  ssize_t got = get(fds[0], buffer, 7);
  asm volatile("pushfq\n andq $~0x100, (%%rsp)\n popfq" ::: "memory", "cc");
  CHECK_EQ(p, getppid());
  CHECK_EQ(written, 7);
  CHECK_EQ(got, 7);
  CHECK_EQ(std::string(buffer), "stepped");
  CHECK(step_count > 20);
  CHECK_EQ(wrong_code, 0);
}

// Without a handler the first step is the end.
TEST(default_action) {
  CHECK_KILLED(check::in_child([] {
                 asm volatile(STEP_ON "nop\n nop\n" STEP_OFF ::: "memory", "cc");
               }),
               SIGTRAP);
  CHECK_KILLED(check::in_child([] {
                 asm volatile("mov $39, %%eax\n" STEP_ON "syscall\n nop\n" STEP_OFF ::
                                  : "rax", "rcx", "r11", "memory", "cc");
               }),
               SIGTRAP);
}

// A call that a signal interrupts, with the flag set: the handler runs without it, and it is back afterwards.
TEST(signal_in_a_stepped_call) {
  static volatile int handled;
  static volatile uint64_t handler_flags;
  signal(SIGUSR1, [](int) {
    handled = handled + 1;
    handler_flags = __builtin_ia32_readeflags_u64();
  });
  start_noting();
  long result, flags;
  asm volatile(STEP_ON
               "syscall\n nop\n"
               "pushfq\n mov (%%rsp), %1\n andq $~0x100, (%%rsp)\n popfq\n add $128, %%rsp"
               : "=a"(result), "=&r"(flags)
               : "a"(SYS_kill), "D"(getpid()), "S"(SIGUSR1)
               : "rcx", "r11", "memory", "cc");
  CHECK_EQ(result, 0);
  CHECK_EQ(handled, 1);
  CHECK_EQ(handler_flags & 0x100, 0);
  CHECK_EQ(flags & 0x100, 0x100);
  CHECK(step_count >= 2);
}

// A child starts without the flag's traps being lost or anybody dying of them.
TEST(fork_while_stepping) {
  start_noting();
  asm volatile("pushfq\n orq $0x100, (%%rsp)\n popfq" ::: "memory", "cc");
  pid_t child = fork();
  asm volatile("pushfq\n andq $~0x100, (%%rsp)\n popfq" ::: "memory", "cc");
  if (child == 0) _exit(step_count > 10 ? 3 : 4);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EXIT(status, 3);
  CHECK(step_count > 10);
}
