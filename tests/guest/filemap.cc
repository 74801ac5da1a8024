// Files as memory: private and shared mappings, coherent with read and write, over truncate, fork and unlink.
#include <linux/falloc.h>
#include <setjmp.h>
#include <sys/sendfile.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/guest/check.h"

namespace {

constexpr size_t kPage = 4096;

int make(const char* name, size_t size, char fill = 'a') {
  NEED(check::write_file(name, std::string(size, fill)));
  return NEED_OK(open(name, O_RDWR));
}

char* map(int fd, size_t size, int flags, int prot = PROT_READ | PROT_WRITE, off_t offset = 0) {
  void* p = mmap(nullptr, size, prot, flags, fd, offset);
  if (p == MAP_FAILED) check::fail(__FILE__, __LINE__, "mmap: " + check::errno_text(errno));
  NEED(p != MAP_FAILED);
  return static_cast<char*>(p);
}

char byte_at(int fd, off_t at) {
  char c = '?';
  return pread(fd, &c, 1, at) == 1 ? c : '-';
}

sigjmp_buf out;
bool bus(const char* p) {
  signal(SIGBUS, [](int) { siglongjmp(out, 1); });
  if (sigsetjmp(out, 1)) return true;
  char c = *const_cast<volatile const char*>(p);
  (void)c;
  return false;
}

}  // namespace

TEST(private_reads_file_and_keeps_writes) {
  int fd = make("f", 2 * kPage);
  char* p = map(fd, 2 * kPage, MAP_PRIVATE);
  CHECK_EQ(p[100], 'a');
  p[100] = 'X';
  CHECK_EQ(byte_at(fd, 100), 'a');
  CHECK_EQ(pwrite(fd, "Y", 1, kPage + 5), 1);
  CHECK_EQ(p[kPage + 5], 'Y');  // the untouched page still shows the file
  CHECK_EQ(p[100], 'X');
}

TEST(shared_is_coherent) {
  int fd = make("f", 2 * kPage);
  char* p = map(fd, 2 * kPage, MAP_SHARED);
  p[10] = 'M';
  CHECK_EQ(byte_at(fd, 10), 'M');
  CHECK_EQ(pwrite(fd, "W", 1, 11), 1);
  CHECK_EQ(p[11], 'W');
  char* q = map(fd, kPage, MAP_SHARED, PROT_READ);
  p[12] = 'Q';
  CHECK_EQ(q[12], 'Q');
  int other = NEED_OK(open("f", O_RDONLY));
  CHECK_EQ(byte_at(other, 12), 'Q');
  CHECK_OK(msync(p, 2 * kPage, MS_SYNC));
}

// What a mapping wrote has changed the times when msync is done, at the latest.
TEST(msync_and_times) {
  for (int flags : {MS_SYNC, MS_ASYNC, 0}) {
    int fd = make("f", 2 * kPage);
    char* p = map(fd, 2 * kPage, MAP_SHARED);
    const struct timespec old[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
    CHECK_OK(futimens(fd, old));
    p[5] = 'x';
    CHECK_OK(msync(p, 2 * kPage, flags));
    struct stat st;
    CHECK_OK(fstat(fd, &st));
    CHECK(st.st_mtim.tv_sec > 1'000'000'000);
    CHECK(st.st_ctim.tv_sec >= st.st_mtim.tv_sec);
    // Not by one that is only read.
    CHECK_OK(munmap(p, 2 * kPage));
    CHECK_OK(futimens(fd, old));
    void* q = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(q != MAP_FAILED && *static_cast<char*>(q) == 'a');
    CHECK_OK(msync(q, kPage, flags));
    CHECK_OK(munmap(q, kPage));
    CHECK_OK(fstat(fd, &st));
    CHECK_EQ(st.st_mtim.tv_sec, 1'000'000'000);
    CHECK_OK(unlink("f"));
    close(fd);
  }
}

// The first write through a mapping has changed the times by itself: no msync is needed, nor that it ends.
TEST(first_write_and_times) {
  constexpr size_t kSize = 4 * kPage;
  constexpr time_t kOld = 1'000'000'000;
  const struct timespec old[2] = {{kOld, 0}, {kOld, 0}};
  int fd = make("f", kSize);
  auto changed = [&] {
    struct stat st;
    CHECK_OK(fstat(fd, &st));
    return st.st_mtim.tv_sec != kOld;
  };
  // Only read: not at msync, munmap or exit either.
  CHECK_OK(futimens(fd, old));
  char* p = map(fd, kSize, MAP_SHARED);
  CHECK_EQ(p[kPage], 'a');
  CHECK_OK(msync(p, kSize, MS_SYNC));
  CHECK_OK(munmap(p, kSize));
  CHECK_EXIT(check::in_child([&] { CHECK_EQ(map(fd, kSize, MAP_SHARED)[0], 'a'); }), 0);
  CHECK(!changed());
  // By an instruction, a call, and another process.
  p = map(fd, kSize, MAP_SHARED);
  p[3] = 'x';
  CHECK(changed());
  CHECK_OK(futimens(fd, old));
  CHECK_OK(munmap(p, kSize));
  CHECK(!changed());  // set since
  p = map(fd, kSize, MAP_SHARED);
  int ends[2];
  NEED_OK(pipe(ends));
  CHECK_EQ(write(ends[1], "hello", 5), 5);
  CHECK_EQ(read(ends[0], p + kPage - 2, 5), 5);
  CHECK(changed());
  CHECK_EQ(std::string(p + kPage - 2, 5), "hello");
  CHECK_OK(munmap(p, kSize));
  CHECK_OK(futimens(fd, old));
  p = map(fd, kSize, MAP_SHARED);
  CHECK_EXIT(check::in_child([&] { p[2 * kPage] = 'c'; }), 0);
  CHECK(changed());
  CHECK_EQ(p[2 * kPage], 'c');
  CHECK_OK(munmap(p, kSize));
  CHECK_OK(futimens(fd, old));
  CHECK_EXIT(check::in_child([&] {
               char* q = map(fd, kSize, MAP_SHARED);
               q[1] = 'e';
               _exit(0);
             }),
             0);
  CHECK(changed());
}

// Parts of a mapping that has not been written go, are protected and come back; the rest stays what it was.
TEST(first_write_after_changes_of_the_map) {
  constexpr size_t kSize = 8 * kPage;
  int fd = make("f", kSize);
  char* p = map(fd, kSize, MAP_SHARED);
  CHECK_OK(munmap(p + 2 * kPage, kPage));
  CHECK_OK(mprotect(p + 4 * kPage, kPage, PROT_READ));
  p[kPage] = '1';
  p[3 * kPage] = '3';
  p[5 * kPage] = '5';
  CHECK_OK(mprotect(p + 4 * kPage, kPage, PROT_READ | PROT_WRITE));
  p[4 * kPage] = '4';
  CHECK_OK(ftruncate(fd, 7 * kPage));
  p[6 * kPage] = '6';
  CHECK_OK(ftruncate(fd, kSize));
  p[7 * kPage] = '7';
  for (int i : {1, 3, 4, 5, 6, 7}) CHECK_EQ(byte_at(fd, i * kPage), static_cast<char>('0' + i));
  char* q = map(fd, kSize, MAP_SHARED);
  CHECK_OK(ftruncate(fd, 2 * kPage));
  CHECK_OK(ftruncate(fd, kSize));
  int zero = NEED_OK(open("/dev/zero", O_RDONLY));
  CHECK_EQ(read(zero, q, kSize), ssize_t(kSize));
  q = static_cast<char*>(mremap(q, kSize, 2 * kSize, MREMAP_MAYMOVE));
  CHECK(q != MAP_FAILED);
  CHECK_OK(ftruncate(fd, 2 * kSize));
  q[5] = '5';
  q[kSize + 6] = '6';
  CHECK_EQ(byte_at(fd, 5), '5');
  CHECK_EQ(byte_at(fd, kSize + 6), '6');
  // More of them than are kept account of.
  std::vector<char*> many;
  for (int i = 0; i < 60; i++) many.push_back(map(fd, kPage, MAP_SHARED));
  for (char* one : many) {
    CHECK_EQ(read(zero, one, 9), 9);
    one[1] = 'm';
    CHECK_OK(munmap(one, kPage));
  }
  CHECK_EQ(byte_at(fd, 1), 'm');
}

// Threads whose instructions and calls come to a mapping at once.
TEST(first_writes_at_once) {
  constexpr size_t kSize = 4 * kPage;
  int fd = make("f", kSize);
  int zero = NEED_OK(open("/dev/zero", O_RDONLY));
  for (int round = 0; round < 100; round++) {
    char* p = map(fd, kSize, MAP_SHARED);
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int i = 0; i < 4; i++) {
      threads.emplace_back([&, i] {
        ready++;
        while (ready < 4) sched_yield();
        if (i % 2 == 0) {
          p[i * kPage] = 'w';
          good++;
        } else if (read(zero, p + i * kPage, kPage) == ssize_t(kPage)) {
          good++;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_EQ(good.load(), 4);
    CHECK_OK(munmap(p, kSize));
  }
}

TEST(shared_between_processes) {
  int fd = make("f", kPage);
  char* p = map(fd, kPage, MAP_SHARED);
  CHECK_EXIT(check::in_child([&] {
               int mine = open("f", O_RDWR);
               char* q = map(mine, kPage, MAP_SHARED);
               q[7] = 'C';
               p[8] = 'D';
             }),
             0);
  CHECK_EQ(p[7], 'C');
  CHECK_EQ(p[8], 'D');
}

TEST(private_over_fork) {
  int fd = make("f", kPage);
  char* p = map(fd, kPage, MAP_PRIVATE);
  p[0] = 'P';
  CHECK_EXIT(check::in_child([=] {
               CHECK_EQ(p[0], 'P');
               p[0] = 'C';
             }),
             0);
  CHECK_EQ(p[0], 'P');
}

TEST(mapping_outlives_close_and_unlink) {
  int fd = make("f", kPage);
  char* p = map(fd, kPage, MAP_SHARED);
  close(fd);
  CHECK_OK(unlink("f"));
  CHECK_EQ(p[5], 'a');
  p[5] = 'z';
  CHECK_EXIT(check::in_child([=] { CHECK_EQ(p[5], 'z'); }), 0);
}

TEST(tail_of_last_page_is_zero) {
  int fd = make("f", 100);
  char* p = map(fd, kPage, MAP_SHARED);
  CHECK_EQ(p[99], 'a');
  CHECK_EQ(p[100], 0);
  CHECK_EQ(p[4095], 0);
  p[200] = 'x';  // past EOF: not in the file
  CHECK_EQ(byte_at(fd, 200), '-');
  struct stat st;
  fstat(fd, &st);
  CHECK_EQ(st.st_size, 100);
  char* q = map(fd, kPage, MAP_PRIVATE);
  CHECK_EQ(q[150], 0);
}

TEST(growing_file_appears) {
  int fd = make("f", 10);
  char* p = map(fd, 3 * kPage, MAP_SHARED);
  CHECK(bus(p + kPage));
  CHECK_EQ(pwrite(fd, "tail", 4, kPage), 4);
  CHECK(!bus(p + kPage));
  CHECK_EQ(p[kPage + 3], 'l');
  CHECK(bus(p + 2 * kPage));
  NEED_OK(ftruncate(fd, 3 * kPage));
  CHECK_EQ(p[2 * kPage], 0);
}

TEST(truncate_under_a_mapping) {
  int fd = make("f", 3 * kPage);
  char* p = map(fd, 3 * kPage, MAP_SHARED);
  char* priv = map(fd, 3 * kPage, MAP_PRIVATE);
  CHECK_EQ(p[2 * kPage], 'a');
  priv[2 * kPage] = 'm';
  NEED_OK(ftruncate(fd, kPage + 100));
  CHECK_EQ(p[kPage + 99], 'a');
  CHECK_EQ(p[kPage + 100], 0);
  CHECK(bus(p + 2 * kPage));
  CHECK(bus(priv + 2 * kPage));  // private copies past EOF go too
  NEED_OK(ftruncate(fd, 3 * kPage));
  CHECK_EQ(p[2 * kPage], 0);
  CHECK_EQ(p[kPage + 100], 0);
}

TEST(truncate_reaches_other_process) {
  int fd = make("f", 2 * kPage);
  int go[2], ready[2];
  NEED_OK(pipe(go));
  NEED_OK(pipe(ready));
  pid_t child = fork();
  if (child == 0) {
    char* p = map(fd, 2 * kPage, MAP_SHARED);
    char c = p[kPage];
    if (c != 'a' || write(ready[1], "r", 1) != 1 || read(go[0], &c, 1) != 1) _exit(2);
    _exit(bus(p + kPage) ? 0 : 1);
  }
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  NEED_OK(ftruncate(fd, 0));
  NEED(write(go[1], "g", 1) == 1);
  int status;
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(o_trunc_reaches_mappings) {
  int fd = make("f", kPage);
  char* p = map(fd, kPage, MAP_SHARED, PROT_READ);
  CHECK_EQ(p[0], 'a');
  int other = NEED_OK(open("f", O_WRONLY | O_TRUNC));
  CHECK(bus(p));
  CHECK_EQ(write(other, "bb", 2), 2);
  CHECK_EQ(p[0], 'b');
}

TEST(hole_punch_under_a_mapping) {
  int fd = make("f", 4 * kPage);
  char* p = map(fd, 4 * kPage, MAP_SHARED);
  CHECK_EQ(p[kPage], 'a');
  CHECK_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPage, 2 * kPage));
  CHECK_EQ(p[kPage], 0);
  CHECK_EQ(p[2 * kPage + 5], 0);
  CHECK_EQ(p[3 * kPage], 'a');
  CHECK_EQ(byte_at(fd, kPage), 0);
  p[kPage] = 'n';
  CHECK_EQ(byte_at(fd, kPage), 'n');
}

TEST(offset_mapping) {
  NEED(check::write_file("f", std::string(kPage, '0') + std::string(kPage, '1') + std::string(kPage, '2')));
  int fd = NEED_OK(open("f", O_RDWR));
  char* p = map(fd, kPage, MAP_SHARED, PROT_READ | PROT_WRITE, 2 * kPage);
  CHECK_EQ(p[0], '2');
  p[0] = 'x';
  CHECK_EQ(byte_at(fd, 2 * kPage), 'x');
}

TEST(read_into_own_mapping) {
  int fd = make("f", 2 * kPage);
  char* p = map(fd, 2 * kPage, MAP_SHARED);
  pwrite(fd, "hello", 5, kPage);
  // A read of a file into a mapping of the same page, and a write from it.
  CHECK_EQ(pread(fd, p + kPage + 100, 5, kPage), 5);
  CHECK_EQ(byte_at(fd, kPage + 100), 'h');
  CHECK_EQ(pwrite(fd, p + kPage, 5, kPage + 200), 5);
  CHECK_EQ(p[kPage + 204], 'o');
  CHECK_EQ(pwrite(fd, p, 2 * kPage, 10), ssize_t(2 * kPage));
}

TEST(first_touch_inside_a_call) {
  // Pages never touched: the kernel itself faults them in, for reading and for writing.
  int fd = make("f", 16 * kPage);
  char* from = map(fd, 16 * kPage, MAP_PRIVATE, PROT_READ);
  int outfd = NEED_OK(open("g", O_RDWR | O_CREAT, 0600));
  CHECK_EQ(write(outfd, from, 16 * kPage), ssize_t(16 * kPage));
  char* to = map(-1, 16 * kPage, MAP_PRIVATE | MAP_ANONYMOUS);
  CHECK_EQ(pread(outfd, to, 16 * kPage, 0), ssize_t(16 * kPage));
  CHECK_EQ(to[15 * kPage], 'a');
  char* past = map(fd, 32 * kPage, MAP_SHARED, PROT_READ);
  CHECK_ERR(write(outfd, past + 20 * kPage, 10), EFAULT);  // past EOF: no SIGBUS, EFAULT
}

TEST(copy_up_under_a_mapping) {
  // A file of the image (or of the host) mapped before it is first written: all see the new text.
  std::string text = check::read_file("/etc/passwd");
  if (text[0] == '<') text = "x";
  NEED(check::write_file("g", text));
  int ro = NEED_OK(open("g", O_RDONLY));
  char* p = map(ro, kPage, MAP_SHARED, PROT_READ);
  char first = p[0];
  int rw = NEED_OK(open("g", O_RDWR));
  CHECK_EQ(pwrite(rw, "#", 1, 0), 1);
  CHECK(first != '#');
  CHECK_EQ(p[0], '#');
  CHECK_EQ(byte_at(ro, 0), '#');
}

TEST(mmap_exec_from_file) {
  std::string code("\xb8\x4d\x00\x00\x00\xc3", 6);
  NEED(check::write_file("code", code, 0755));
  int fd = NEED_OK(open("code", O_RDWR));
  void* p = mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  NEED(p != MAP_FAILED);
  CHECK_EQ(reinterpret_cast<int (*)()>(p)(), 77);
}

TEST(mmap_exec_from_file_with_syscall) {
  // An object that is no ELF file, mapped executable and shared: its call works and its bytes stay as they
  // were.
  std::string code("\xb8\x27\x00\x00\x00\x0f\x05\xc3", 8);
  NEED(check::write_file("code", code, 0755));
  int fd = NEED_OK(open("code", O_RDWR));
  char* p = map(fd, kPage, MAP_SHARED, PROT_READ | PROT_EXEC);
  CHECK_EQ(reinterpret_cast<int (*)()>(p)(), getpid());
  CHECK_EQ(check::read_file("code"), code);
  CHECK_EQ(byte_at(fd, 5), '\x0f');
}

TEST(own_text_reads_as_in_the_file) {
  // What read(2) gives of the program file is never patched; a write to a copy is independent of the running
  // one.
  std::string image = check::read_file(check::self);
  CHECK(image.size() > 1000);
  CHECK(image.find("\x0f\x05", 0, 2) != std::string::npos);
  NEED(check::write_file("copy", image, 0755));
  CHECK_EQ(check::read_file("copy") == image, true);
}

TEST(mprotect_file_exec_later) {
  // Mapped for reading first, made executable after: the order that some loaders use.
  std::string code("\xb8\x27\x00\x00\x00\x0f\x05\xc3", 8);
  NEED(check::write_file("code", code, 0755));
  int fd = NEED_OK(open("code", O_RDONLY));
  char* p = map(fd, kPage, MAP_PRIVATE, PROT_READ);
  CHECK_EQ(p[5], '\x0f');
  CHECK_OK(mprotect(p, kPage, PROT_READ | PROT_EXEC));
  CHECK_EQ(reinterpret_cast<int (*)()>(p)(), getpid());
}

TEST(memfd) {
  int fd = NEED_OK(memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  NEED_OK(ftruncate(fd, kPage));
  char* p = map(fd, kPage, MAP_SHARED);
  p[0] = 'm';
  CHECK_EQ(byte_at(fd, 0), 'm');
  char link[64] = "";
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  CHECK(readlink(path, link, sizeof link - 1) > 0);
  CHECK_EQ(link, "/memfd:name (deleted)");
  int again = open(path, O_RDWR);
  CHECK_OK(again);
  CHECK_EQ(byte_at(again, 0), 'm');
  CHECK_ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
  munmap(p, kPage);
  CHECK_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
  CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  CHECK_ERR(pwrite(fd, "x", 1, 0), EPERM);
  CHECK_ERR(ftruncate(fd, 0), EPERM);
  CHECK_ERR(ftruncate(fd, 2 * kPage), EPERM);
  CHECK(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
  CHECK_ERR(memfd_create("x", 0x4000), EINVAL);
  CHECK_ERR(memfd_create(std::string(300, 'x').c_str(), 0), EINVAL);
  int plain = NEED_OK(memfd_create("y", 0));
  CHECK_ERR(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
}

TEST(shm_open_style) {
  int fd = NEED_OK(open("/dev/shm/teacup_test", O_RDWR | O_CREAT | O_EXCL, 0600));
  CHECK_OK(unlink("/dev/shm/teacup_test"));
  NEED_OK(ftruncate(fd, 8 * kPage));
  char* p = map(fd, 8 * kPage, MAP_SHARED);
  p[7 * kPage] = 1;
  CHECK_EXIT(check::in_child([=] { p[0] = 4; }), 0);
  CHECK_EQ(p[0], 4);
}

TEST(stress_of_small_mappings) {
  int fd = make("f", 64 * kPage);
  for (int i = 0; i < 64; i++) {
    char* p = map(fd, kPage, MAP_SHARED, PROT_READ | PROT_WRITE, off_t(i) * off_t(kPage));
    p[0] = char(i);
    munmap(p, kPage);
  }
  for (int i = 0; i < 64; i++) CHECK_EQ(byte_at(fd, off_t(i) * off_t(kPage)), char(i));
}
