// Code that was in no file when it was mapped: generated, changed, on the stack, mapped twice, or copied out
// of this program's own text. Its system calls are the machine's like any others.
#include <link.h>
#include <pthread.h>
#include <sys/time.h>
#include <ucontext.h>

#include <atomic>

#include "tests/guest/check.h"

extern "C" {
// long copied_call(long number): a system call without arguments, with code around it.
long copied_call(long number);
extern const uint8_t copied_call_end[];
// The shortest there is: getpid.
long short_call();
extern const uint8_t short_call_end[];
// Three calls in a row, summed: getpid, getppid, getpid.
long several_calls();
extern const uint8_t several_calls_end[];
}
asm(R"(
        .section .text.copied, "ax", @progbits
        .p2align 5
        .globl copied_call, copied_call_end, short_call, short_call_end, several_calls, several_calls_end
        .type copied_call, @function
copied_call:
        .cfi_startproc
        mov %rdi, %rax
        xor %edi, %edi
        xor %esi, %esi
        syscall
        cmp $-4095, %rax
        jae 1f
        ret
1:      mov $-1, %rax
        ret
        .cfi_endproc
        .size copied_call, .-copied_call
copied_call_end:
        .p2align 5
        .type short_call, @function
short_call:
        .cfi_startproc
        mov $39, %eax
        syscall
        ret
        .cfi_endproc
        .size short_call, .-short_call
short_call_end:
        .p2align 5
        .type several_calls, @function
several_calls:
        .cfi_startproc
        push %rbx
        .cfi_adjust_cfa_offset 8
        mov $39, %eax
        syscall
        mov %rax, %rbx
        mov $110, %eax
        syscall
        add %rax, %rbx
        mov $39, %eax
        syscall
        add %rbx, %rax
        pop %rbx
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size several_calls, .-several_calls
several_calls_end:
        .text
)");

namespace {

using Function = long (*)();
using Function1 = long (*)(long);

// mov $number, %eax; syscall; ret
size_t write_call(void* to, uint32_t number) {
  uint8_t code[8] = {0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xc3};
  memcpy(code + 1, &number, 4);
  memcpy(to, code, sizeof code);
  return sizeof code;
}

constexpr size_t kPage = 4096;

uint8_t* pages(size_t count, int prot, int flags = MAP_PRIVATE | MAP_ANONYMOUS) {
  void* at = mmap(nullptr, count * kPage, prot, flags, -1, 0);
  NEED(at != MAP_FAILED);
  return static_cast<uint8_t*>(at);
}

long run(const void* code) {
  return reinterpret_cast<Function>(const_cast<void*>(code))();
}

template <typename F>
size_t copy(void* to, F* function, const uint8_t* end) {
  auto* from = reinterpret_cast<const uint8_t*>(function);
  // volatile: byte by byte, as it stands in memory now.
  for (const volatile uint8_t* at = from; at < end; at++) static_cast<uint8_t*>(to)[at - from] = *at;
  return size_t(end - from);
}

}  // namespace

TEST(written_then_executable) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE);
  write_call(page, SYS_getpid);
  for (uint32_t number : {SYS_getpid, SYS_getppid, SYS_getpid}) {
    NEED_OK(mprotect(page, kPage, PROT_READ | PROT_WRITE));
    write_call(page, number);
    NEED_OK(mprotect(page, kPage, PROT_READ | PROT_EXEC));
    for (int i = 0; i < 3; i++) CHECK_EQ(run(page), number == SYS_getpid ? getpid() : getppid());
  }
}

TEST(writable_and_executable) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  for (int i = 0; i < 100; i++) {
    write_call(page + i * 16, i % 2 ? SYS_getpid : SYS_getppid);
    CHECK_EQ(run(page + i * 16), i % 2 ? getpid() : getppid());
  }
}

TEST(executable_only) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE);
  write_call(page, SYS_getpid);
  NEED_OK(mprotect(page, kPage, PROT_EXEC));
  CHECK_EQ(run(page), getpid());
}

TEST(mapped_twice) {
  int fd = NEED_OK(memfd_create("code", 0));
  NEED_OK(ftruncate(fd, 2 * kPage));
  auto* writable = static_cast<uint8_t*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  auto* executable =
      static_cast<uint8_t*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
  NEED(writable != MAP_FAILED && executable != MAP_FAILED);
  for (int i = 0; i < 20; i++) {
    size_t at = size_t(i) * 300;
    write_call(writable + at, i % 2 ? SYS_getpid : SYS_getppid);
    CHECK_EQ(run(executable + at), i % 2 ? getpid() : getppid());
  }
  // A copy of text, seen through the other mapping.
  copy(writable + 7000, copied_call, copied_call_end);
  CHECK_EQ(reinterpret_cast<Function1>(executable + 7000)(SYS_getpid), getpid());
}

TEST(on_the_stack) {
  alignas(kPage) uint8_t room[2 * kPage];
  auto start = reinterpret_cast<uintptr_t>(room) & ~(kPage - 1);
  NEED_OK(mprotect(reinterpret_cast<void*>(start), 3 * kPage, PROT_READ | PROT_WRITE | PROT_EXEC));
  write_call(room, SYS_getpid);
  CHECK_EQ(run(room), getpid());
  copy(room + 256, short_call, short_call_end);
  CHECK_EQ(run(room + 256), getpid());
  NEED_OK(mprotect(reinterpret_cast<void*>(start), 3 * kPage, PROT_READ | PROT_WRITE));
}

TEST(self_modifying) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  write_call(page, SYS_getpid);
  for (int i = 0; i < 1000; i++) {
    uint32_t number = i % 2 ? SYS_getpid : SYS_getppid;
    memcpy(page + 1, &number, 4);
    CHECK_EQ(run(page), i % 2 ? getpid() : getppid());
    if (i % 10 == 0) {
      memcpy(page + 5, "\x90\x90", 2);  // no call at all: the number comes back
      CHECK_EQ(run(page), number);
      memcpy(page + 5, "\x0f\x05", 2);
    }
  }
}

// The program's own text, which may have been patched.

TEST(copied_then_executable) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE);
  copy(page, short_call, short_call_end);
  copy(page + 64, copied_call, copied_call_end);
  copy(page + 512, several_calls, several_calls_end);
  NEED_OK(mprotect(page, kPage, PROT_READ | PROT_EXEC));
  CHECK_EQ(run(page), getpid());
  CHECK_EQ(reinterpret_cast<Function1>(page + 64)(SYS_getppid), getppid());
  CHECK_EQ(reinterpret_cast<Function1>(page + 64)(1023), -1);
  CHECK_EQ(run(page + 512), 2 * getpid() + getppid());
}

TEST(copied_to_writable_and_executable) {
  uint8_t* page = pages(16, PROT_READ | PROT_WRITE | PROT_EXEC);
  copy(page + 40000, several_calls, several_calls_end);
  CHECK_EQ(run(page + 40000), 2 * getpid() + getppid());
}

TEST(copied_in_a_child) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  pid_t child = fork();
  if (child == 0) {
    copy(page, short_call, short_call_end);
    _exit(run(page) == getpid() ? 0 : 1);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EXIT(status, 0);
  copy(page, short_call, short_call_end);
  CHECK_EQ(run(page), getpid());
}

TEST(copied_by_a_thread_while_others_call) {
  static std::atomic<bool> stop;
  stop = false;
  auto calls = [](void*) -> void* {
    while (!stop) CHECK_EQ(several_calls(), 2 * getpid() + getppid());
    return nullptr;
  };
  pthread_t thread;
  NEED(pthread_create(&thread, nullptr, calls, nullptr) == 0);
  for (int i = 0; i < 50; i++) {
    uint8_t* page = pages(2, PROT_READ | PROT_WRITE);
    size_t at = size_t(i) * 37 % 4090;  // some across two pages
    copy(page + at, several_calls, several_calls_end);
    NEED_OK(mprotect(page, 2 * kPage, PROT_READ | PROT_EXEC));
    CHECK_EQ(run(page + at), 2 * getpid() + getppid());
    NEED_OK(munmap(page, 2 * kPage));
  }
  stop = true;
  pthread_join(thread, nullptr);
}

// As programs do that move their text to huge pages: all of it is copied away, its addresses mapped
// anonymously, and copied back.
namespace {
struct Text {
  uint8_t* start = nullptr;
  size_t size = 0;
};

Text text_of(const char* name) {
  static const char* wanted;
  wanted = name;
  Text text;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        if ((*wanted == 0) != (info->dlpi_name[0] == 0) || !strstr(info->dlpi_name, wanted)) return 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X)) continue;
          auto& t = *static_cast<Text*>(out);
          t.start = reinterpret_cast<uint8_t*>((info->dlpi_addr + segment.p_vaddr) & ~(kPage - 1));
          uint64_t end = info->dlpi_addr + segment.p_vaddr + segment.p_memsz;
          t.size = ((end + kPage - 1) & ~(kPage - 1)) - uint64_t(t.start);
        }
        return 1;
      },
      &text);
  return text;
}
}  // namespace

// The code that does it must not be in the text that goes: it runs from a page of its own.
asm(R"(
        .section .text.mover, "ax", @progbits
        .globl move_text, move_text_end
        # long move_text(start, size, spare): copies to spare, maps start anew, copies back, makes it read and execute.
move_text:
        push %rbx
        push %r12
        push %r13
        mov %rdi, %rbx
        mov %rsi, %r12
        mov %rdx, %r13
        mov %rdi, %rsi
        mov %r13, %rdi
        mov %r12, %rcx
        rep movsb
        mov $9, %eax            # mmap(start, size, RW, PRIVATE|ANONYMOUS|FIXED)
        mov %rbx, %rdi
        mov %r12, %rsi
        mov $3, %edx
        mov $0x32, %r10d
        mov $-1, %r8
        xor %r9d, %r9d
        syscall
        mov %r13, %rsi
        mov %rbx, %rdi
        mov %r12, %rcx
        rep movsb
        mov $10, %eax           # mprotect(start, size, RX)
        mov %rbx, %rdi
        mov %r12, %rsi
        mov $5, %edx
        syscall
        pop %r13
        pop %r12
        pop %rbx
        ret
move_text_end:
        .text
)");
extern "C" const uint8_t move_text[], move_text_end[];

namespace {
void move(Text text) {
  NEED(text.size > 0);
  uint8_t* spare = pages(text.size / kPage, PROT_READ | PROT_WRITE);
  uint8_t* code = pages(1, PROT_READ | PROT_WRITE);
  // Assembled without unwind tables or a mark of a function: not patched, or searched for like any copy.
  memcpy(code, move_text, size_t(move_text_end - move_text));
  NEED_OK(mprotect(code, kPage, PROT_READ | PROT_EXEC));
  long result = reinterpret_cast<long (*)(void*, size_t, void*)>(code)(text.start, text.size, spare);
  CHECK_EQ(result, 0);
  NEED_OK(munmap(spare, text.size));
}
}  // namespace

TEST(own_text_moved_to_anonymous_memory) {
  long expected = 2 * getpid() + getppid();
  move(text_of(""));
  CHECK_EQ(several_calls(), expected);
  CHECK_EQ(copied_call(SYS_getpid), getpid());
  timespec brief{0, 1000000};
  CHECK_OK(nanosleep(&brief, nullptr));
  pid_t child = fork();
  if (child == 0) _exit(several_calls() > 0 ? 7 : 1);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EXIT(status, 7);
}

TEST(libcs_text_moved_to_anonymous_memory) {
  Text text = text_of("libc.so");
  if (text.size == 0) check::skip("linked statically");
  pid_t pid = getpid();
  move(text);
  CHECK_EQ(getpid(), pid);
  int fds[2];
  CHECK_OK(pipe(fds));
  CHECK_EQ(write(fds[1], "x", 1), 1);
  char c;
  CHECK_EQ(read(fds[0], &c, 1), 1);
  pid_t child = fork();
  if (child == 0) _exit(5);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EXIT(status, 5);
}

// Signals meet generated code: the frame shows its addresses, calls restart, and a handler may leave by
// longjmp.
namespace {
volatile uint64_t seen_pc;
volatile sig_atomic_t signals;
sigjmp_buf out;
}  // namespace

TEST(signal_in_a_generated_call) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  static uint64_t generated;
  generated = uint64_t(page);
  write_call(page, SYS_pause);
  struct sigaction sa {};
  sa.sa_flags = SA_SIGINFO;
  sa.sa_sigaction = [](int, siginfo_t*, void* context) {
    auto pc = uint64_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
    if (pc / 4096 == generated / 4096) seen_pc = pc;
  };
  NEED_OK(sigaction(SIGALRM, &sa, nullptr));
  // The first may come before the call.
  itimerval every{{0, 20000}, {0, 20000}};
  NEED_OK(setitimer(ITIMER_REAL, &every, nullptr));
  CHECK_EQ(run(page), -EINTR);
  CHECK_EQ(seen_pc, uint64_t(page) + 7);
}

TEST(longjmp_out_of_a_generated_call) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  write_call(page, SYS_pause);
  signal(SIGALRM, [](int) { siglongjmp(out, 1); });
  for (static int i = 0; i < 5; i++) {
    if (sigsetjmp(out, 1) == 0) {
      itimerval once{{0, 5000}, {0, 5000}};
      NEED_OK(setitimer(ITIMER_REAL, &once, nullptr));
      run(page);
      check::fail(__FILE__, __LINE__, "pause returned");
    }
    itimerval off{};
    NEED_OK(setitimer(ITIMER_REAL, &off, nullptr));
  }
}

TEST(timer_over_generated_calls) {
  uint8_t* page = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  write_call(page, SYS_getppid);
  signal(SIGPROF, [](int) { signals = signals + 1; });
  itimerval every{{0, 1000}, {0, 1000}};
  NEED_OK(setitimer(ITIMER_PROF, &every, nullptr));
  long parent = getppid();
  int64_t end = check::now_ns() + check::kPatience * 1'000'000LL;
  while (signals < 30 && check::now_ns() < end) CHECK_EQ(run(page), parent);
  itimerval off{};
  setitimer(ITIMER_PROF, &off, nullptr);
  CHECK(signals >= 10);
}
