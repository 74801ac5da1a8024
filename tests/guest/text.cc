// Code that comes from elsewhere than a program's own file as it was packaged: programs written by a program,
// programs in memory, files that become executable only after they were mapped.
#include <elf.h>

#include "check.h"

#include <algorithm>

// A function with a system call of its own, that works wherever its bytes are: calls it `count` times.
extern "C" long own_getpid(long count);
asm(R"(
  .text
  .p2align 4
own_getpid:
  push %rbx
  mov %rdi, %rbx
1:
  mov $39, %eax
  syscall
  dec %rbx
  jnz 1b
  nop
  nop
  pop %rbx
  ret
)");

namespace {

constexpr long kCalls = 1000;

// This program's file mapped once more, private, as a loader of its own would: the whole object at once, with
// this protection, to make the text executable later.
struct Object {
  char* memory = nullptr;
  size_t size = 0;  // of all
  char* text = nullptr;
  size_t text_size = 0;
  char* function = nullptr;  // own_getpid in it

  explicit Object(int protection) {
    auto* headers = reinterpret_cast<const Elf64_Phdr*>(getauxval(AT_PHDR));
    auto own = reinterpret_cast<uint64_t>(&own_getpid);
    uint64_t base = 0, first = ~uint64_t{0}, end = 0;
    for (unsigned i = 0; i < getauxval(AT_PHNUM); i++) {
      if (headers[i].p_type == PT_PHDR) base = reinterpret_cast<uint64_t>(headers) - headers[i].p_vaddr;
    }
    for (unsigned i = 0; i < getauxval(AT_PHNUM); i++) {
      if (headers[i].p_type != PT_LOAD) continue;
      first = std::min(first, headers[i].p_vaddr & ~uint64_t{4095});
      end = std::max(end, headers[i].p_vaddr + headers[i].p_memsz);
    }
    size = (end - first + 4095) & ~uint64_t{4095};
    int fd = NEED_OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    memory = static_cast<char*>(mmap(nullptr, size, protection, MAP_PRIVATE, fd, 0));
    NEED(memory != MAP_FAILED);
    close(fd);
    for (unsigned i = 0; i < getauxval(AT_PHNUM); i++) {
      uint64_t start = base + headers[i].p_vaddr;
      if (headers[i].p_type != PT_LOAD || own < start || own >= start + headers[i].p_filesz) continue;
      function = memory + headers[i].p_offset + (own - start);
      text = memory + (headers[i].p_offset & ~uint64_t{4095});
      text_size = (memory + headers[i].p_offset + headers[i].p_filesz - text + 4095) & ~uint64_t{4095};
    }
    NEED(function != nullptr);
  }
  ~Object() { CHECK_OK(munmap(memory, size)); }
  void make_executable() const { CHECK_OK(mprotect(text, text_size, PROT_READ | PROT_EXEC)); }
};

long call(char* function, long count) {
  return reinterpret_cast<long (*)(long)>(function)(count);
}

bool copy_program(const char* to, const char* from = "/proc/self/exe") {
  return check::write_file(to, check::read_file(from), 0755);
}

int run(const char* program, const char* helper) {
  return check::in_child([&] {
    execl(program, program, helper, nullptr);
    CHECK_OK(-1);
  });
}

}  // namespace

HELPER(calls) {
  return own_getpid(kCalls) == getpid() ? 23 : 1;
}
HELPER(other) {
  return own_getpid(1) == getpid() ? 24 : 1;
}

TEST(becomes_executable_by_mprotect) {
  Object object(PROT_READ | PROT_WRITE);
  object.make_executable();
  CHECK_EQ(call(object.function, kCalls), getpid());
  // And in a child, which has the mapping too.
  CHECK_EXIT(check::in_child([&] { CHECK_EQ(call(object.function, kCalls), getpid()); }), 0);
}

TEST(becomes_executable_in_parts) {
  Object object(PROT_READ);
  auto page = reinterpret_cast<char*>(reinterpret_cast<uint64_t>(object.function) & ~uint64_t{4095});
  size_t length = size_t(object.function + 64 - page + 4095) & ~size_t{4095};
  CHECK_OK(mprotect(page, length, PROT_READ | PROT_EXEC));
  CHECK_EQ(call(object.function, kCalls), getpid());
  CHECK_OK(mprotect(page, length, PROT_READ));
  object.make_executable();
  CHECK_EQ(call(object.function, kCalls), getpid());
}

TEST(mapped_executable_by_itself) {
  Object object(PROT_READ);
  int fd = NEED_OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  void* text =
      mmap(nullptr, object.text_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, object.text - object.memory);
  NEED(text != MAP_FAILED);
  close(fd);
  CHECK_EQ(call(static_cast<char*>(text) + (object.function - object.text), kCalls), getpid());
  CHECK_OK(munmap(text, object.text_size));
}

TEST(what_was_written_stays) {
  Object object(PROT_READ | PROT_WRITE);
  // mov $39, %eax: becomes getppid's number.
  char* number = static_cast<char*>(memmem(object.function, 16, "\xb8\x27\0\0\0", 5));
  NEED(number != nullptr);
  number[1] = 110;
  object.make_executable();
  CHECK_EQ(number[1], 110);
  CHECK_EQ(call(object.function, 3), getppid());
  CHECK_EQ(own_getpid(3), getpid());
}

TEST(written_again_while_executable) {
  Object object(PROT_READ);
  object.make_executable();
  CHECK_EQ(call(object.function, 3), getpid());
  CHECK_OK(mprotect(object.text, object.text_size, PROT_READ | PROT_WRITE));
  volatile char* byte = object.text;
  *byte = *byte;
  object.make_executable();
  CHECK_EQ(call(object.function, 3), getpid());
}

TEST(program_written_by_a_program) {
  CHECK(copy_program("copy"));
  CHECK_EXIT(run("./copy", "@calls"), 23);
  CHECK_EXIT(run("./copy", "@calls"), 23);
}

TEST(program_written_anew) {
  // As a compiler does: the same name and the same file, other content.
  CHECK(copy_program("program"));
  CHECK_EXIT(run("./program", "@calls"), 23);
  std::string old = check::read_file("/proc/self/exe");
  size_t at = old.find(std::string("\xb8\x27\0\0\0\x0f\x05", 7));
  NEED(at != std::string::npos);
  old[at + 1] = 110;  // getppid: the helper's check fails now
  CHECK(check::write_file("program", old, 0755));
  CHECK_EXIT(run("./program", "@calls"), 1);
  CHECK(copy_program("program"));
  CHECK_EXIT(run("./program", "@other"), 24);
}

TEST(one_byte_changed_in_a_program) {
  CHECK(copy_program("program"));
  CHECK_EXIT(run("./program", "@calls"), 23);
  std::string content = check::read_file("program");
  size_t at = content.find(std::string("\xb8\x27\0\0\0\x0f\x05", 7));
  NEED(at != std::string::npos);
  int fd = NEED_OK(open("program", O_WRONLY));
  CHECK_EQ(pwrite(fd, "\x6e", 1, off_t(at + 1)), 1);
  close(fd);
  CHECK_EXIT(run("./program", "@calls"), 1);
  // Through a shared mapping.
  fd = NEED_OK(open("program", O_RDWR));
  auto* bytes = static_cast<char*>(mmap(nullptr, content.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  NEED(bytes != MAP_FAILED);
  bytes[at + 1] = 39;
  CHECK_OK(msync(bytes, content.size(), MS_SYNC));
  CHECK_OK(munmap(bytes, content.size()));
  close(fd);
  CHECK_EXIT(run("./program", "@calls"), 23);
}

TEST(program_in_memory) {
  int fd = NEED_OK(memfd_create("program", 0));
  std::string content = check::read_file("/proc/self/exe");
  CHECK_EQ(write(fd, content.data(), content.size()), ssize_t(content.size()));
  int status = check::in_child([&] {
    const char* arguments[] = {"program", "@calls", nullptr};
    const char* environment[] = {nullptr};
    fexecve(fd, const_cast<char**>(arguments), const_cast<char**>(environment));
    CHECK_OK(-1);
  });
  CHECK_EXIT(status, 23);
  close(fd);
}
