// mmap, munmap, mprotect, mremap, brk, madvise, mincore, mlock, and /proc/self/maps telling the truth.
#include <sys/resource.h>
#include <sys/uio.h>

#include <algorithm>
#include <vector>

#include "tests/guest/check.h"

namespace {

constexpr size_t kPage = 4096;

char* anonymous(size_t size, int prot = PROT_READ | PROT_WRITE, int flags = 0, void* at = nullptr) {
  void* p = mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (p == MAP_FAILED) check::fail(__FILE__, __LINE__, "mmap: " + check::errno_text(errno));
  NEED(p != MAP_FAILED);
  return static_cast<char*>(p);
}

bool mapped(const void* p) {
  unsigned char v;
  return mincore(reinterpret_cast<void*>(uint64_t(p) & ~(kPage - 1)), kPage, &v) == 0;
}

// May one byte be read/written there? Asked without faulting, through the kernel.
bool can_read(const void* p) {
  static int fds[2] = {-1, -1};
  if (fds[0] < 0) NEED_OK(pipe(fds));
  if (write(fds[1], p, 1) != 1) return false;
  char c;
  return read(fds[0], &c, 1) == 1;
}

struct Line {
  uint64_t start, end;
  char prot[5];
  uint64_t offset;
  std::string path;
};

std::vector<Line> maps() {
  std::vector<Line> lines;
  std::string text = check::read_file("/proc/self/maps");
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    std::string one = text.substr(at, end - at);
    Line l{};
    int path_at = 0;
    unsigned major, minor;
    unsigned long inode;
    if (sscanf(one.c_str(), "%lx-%lx %4s %lx %x:%x %lu %n", &l.start, &l.end, l.prot, &l.offset, &major,
               &minor, &inode, &path_at) < 7)
      check::fail(__FILE__, __LINE__, "odd line: " + one);
    l.path = one.substr(size_t(path_at));
    lines.push_back(l);
    at = end + 1;
  }
  return lines;
}

const Line* find(const std::vector<Line>& lines, const void* p) {
  for (auto& l : lines) {
    if (l.start <= uint64_t(p) && uint64_t(p) < l.end) return &l;
  }
  return nullptr;
}

}  // namespace

TEST(anonymous_is_zero_and_aligned) {
  char* p = anonymous(10 * kPage);
  CHECK_EQ(uint64_t(p) % kPage, 0);
  for (size_t i = 0; i < 10 * kPage; i += 512) CHECK_EQ(p[i], 0);
  p[9 * kPage] = 1;
  CHECK_OK(munmap(p, 10 * kPage));
  CHECK(!mapped(p));
}

TEST(errors) {
  CHECK(mmap(nullptr, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
  CHECK(mmap(reinterpret_cast<void*>(0x10001), kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) == MAP_FAILED &&
        errno == EINVAL);
  CHECK_EQ(syscall(SYS_mmap, 0, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 5), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK(mmap(nullptr, ~0ull - kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
        errno == ENOMEM);
  CHECK(mmap(nullptr, 1ull << 47, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) ==
            MAP_FAILED &&
        errno == ENOMEM);
  CHECK(mmap(reinterpret_cast<void*>(0x7ffffffff000), 2 * kPage, PROT_READ,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED &&
        errno == ENOMEM);
  CHECK_ERR(munmap(reinterpret_cast<void*>(0x10001), kPage), EINVAL);
  CHECK_ERR(munmap(reinterpret_cast<void*>(0x10000), 0), EINVAL);
  CHECK_OK(munmap(reinterpret_cast<void*>(0x10000), kPage));  // nothing there: no error
  int fd = NEED_OK(open("f", O_WRONLY | O_CREAT, 0600));
  CHECK(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
  close(fd);
  fd = NEED_OK(open("f", O_RDONLY));
  CHECK(mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
  void* p = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(p != MAP_FAILED);
  p = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(p != MAP_FAILED);
  CHECK_ERR(mprotect(p, kPage, PROT_READ | PROT_WRITE), EACCES);
  int dir = NEED_OK(open(".", O_RDONLY));
  CHECK(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, dir, 0) == MAP_FAILED && errno == ENODEV);
  int fds[2];
  NEED_OK(pipe(fds));
  CHECK(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fds[0], 0) == MAP_FAILED && errno == ENODEV);
}

TEST(fixed_replaces) {
  char* p = anonymous(3 * kPage);
  memset(p, 'x', 3 * kPage);
  CHECK(anonymous(kPage, PROT_READ | PROT_WRITE, MAP_FIXED, p + kPage) == p + kPage);
  CHECK_EQ(p[0], 'x');
  CHECK_EQ(p[kPage], 0);
  CHECK_EQ(p[2 * kPage], 'x');
}

TEST(fixed_noreplace) {
  char* p = anonymous(2 * kPage);
  CHECK(mmap(p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED &&
        errno == EEXIST);
  munmap(p, kPage);
  CHECK(mmap(p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == p);
}

TEST(hint_is_taken_when_free) {
  void* hint = reinterpret_cast<void*>(0x210000000000);
  CHECK(mmap(hint, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == hint);
  void* second = mmap(hint, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(second != MAP_FAILED && second != hint);
}

TEST(partial_unmap_splits) {
  char* p = anonymous(5 * kPage);
  memset(p, 7, 5 * kPage);
  CHECK_OK(munmap(p + 2 * kPage, kPage));
  CHECK(mapped(p + kPage) && !mapped(p + 2 * kPage) && mapped(p + 3 * kPage));
  CHECK_EQ(p[3 * kPage], 7);
  CHECK_OK(munmap(p, 5 * kPage));  // over the hole
  CHECK(!mapped(p) && !mapped(p + 4 * kPage));
}

TEST(mprotect_and_split) {
  char* p = anonymous(4 * kPage);
  CHECK_OK(mprotect(p + kPage, 2 * kPage, PROT_NONE));
  CHECK(can_read(p) && !can_read(p + kPage) && !can_read(p + 2 * kPage) && can_read(p + 3 * kPage));
  CHECK_OK(mprotect(p, 4 * kPage, PROT_READ));
  CHECK(can_read(p + kPage));
  CHECK_ERR(read(0, p, 0) < 0 ? -1 : syscall(SYS_uname, p), EFAULT);
  munmap(p + kPage, kPage);
  CHECK_ERR(mprotect(p, 4 * kPage, PROT_READ | PROT_WRITE), ENOMEM);  // a hole
  CHECK_ERR(mprotect(p + 1, kPage, PROT_READ), EINVAL);
  CHECK_OK(mprotect(p, 0, PROT_READ));
}

TEST(exec_permission_run_code) {
  auto* p = reinterpret_cast<unsigned char*>(anonymous(kPage));
  memcpy(p, "\xb8\x2a\x00\x00\x00\xc3", 6);
  CHECK_OK(mprotect(p, kPage, PROT_READ | PROT_EXEC));
  CHECK_EQ(reinterpret_cast<int (*)()>(p)(), 42);
  CHECK_OK(mprotect(p, kPage, PROT_READ | PROT_WRITE));
  p[1] = 43;
  CHECK_OK(mprotect(p, kPage, PROT_READ | PROT_EXEC));
  CHECK_EQ(reinterpret_cast<int (*)()>(p)(), 43);
}

TEST(mremap_grow_shrink_move) {
  char* p = anonymous(8 * kPage);
  memset(p, 5, 8 * kPage);
  CHECK(mremap(p, 8 * kPage, 4 * kPage, 0) == p);
  CHECK(!mapped(p + 4 * kPage));
  CHECK(mremap(p, 4 * kPage, 8 * kPage, 0) == p);  // room behind is free again
  CHECK_EQ(p[3 * kPage], 5);
  CHECK_EQ(p[4 * kPage], 0);
  char* block = anonymous(kPage, PROT_NONE, MAP_FIXED, p + 4 * kPage);
  (void)block;
  CHECK(mremap(p, 4 * kPage, 6 * kPage, 0) == MAP_FAILED && errno == ENOMEM);
  char* q = static_cast<char*>(mremap(p, 4 * kPage, 6 * kPage, MREMAP_MAYMOVE));
  NEED(q != MAP_FAILED);
  CHECK(q != p && !mapped(p));
  CHECK_EQ(q[4 * kPage - 1], 5);
  CHECK_EQ(q[6 * kPage - 1], 0);
  char* target = anonymous(6 * kPage);
  CHECK(mremap(q, 6 * kPage, 6 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
  CHECK_EQ(target[0], 5);
  CHECK(!mapped(q));
  CHECK(mremap(q, kPage, kPage, 0) == MAP_FAILED && errno == EFAULT);
  CHECK(mremap(target + 1, kPage, kPage, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mremap(target, kPage, 0, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mremap(target, kPage, kPage, MREMAP_FIXED, target) == MAP_FAILED && errno == EINVAL);
}

TEST(mremap_dontunmap) {
  char* p = anonymous(2 * kPage);
  p[0] = 9;
  char* q =
      reinterpret_cast<char*>(syscall(SYS_mremap, p, 2 * kPage, 2 * kPage, 5 /* MAYMOVE, DONTUNMAP */, 0));
  NEED(q != MAP_FAILED);
  CHECK_EQ(q[0], 9);
  CHECK_EQ(p[0], 0);
}

TEST(shared_anonymous_over_fork) {
  auto* p = static_cast<volatile int*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  CHECK_EXIT(check::in_child([=] { *p = 5; }), 0);
  CHECK_EQ(*p, 5);
}

TEST(shared_anonymous_mremap_over_fork) {
  char* p =
      static_cast<char*>(mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  NEED(p != MAP_FAILED);
  p[3 * kPage] = 3;
  char* q = static_cast<char*>(
      mremap(p, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, anonymous(4 * kPage)));
  NEED(q != MAP_FAILED);
  CHECK_EXIT(check::in_child([=] {
               CHECK_EQ(q[3 * kPage], 3);
               q[0] = 1;
             }),
             0);
  CHECK_EQ(q[0], 1);
}

TEST(brk_limits) {
  char* start = static_cast<char*>(sbrk(0));
  CHECK_OK(brk(start + 3 * kPage));
  memset(start, 1, 3 * kPage);
  CHECK_OK(brk(start + kPage));
  CHECK_OK(brk(start + 3 * kPage));
  CHECK_EQ(start[2 * kPage], 0);
  // A refused brk gives the old end.
  CHECK_EQ(syscall(SYS_brk, 8), long(start + 3 * kPage));
  CHECK_EQ(syscall(SYS_brk, 0), long(start + 3 * kPage));
  CHECK_EXIT(check::in_child([=] { CHECK_EQ(sbrk(0), start + 3 * kPage); }), 0);
}

// Whether [p, p + size) holds zeros; nothing is allocated meanwhile.
bool is_clear(const char* p, size_t size) {
  while (size > 0 && *p == 0) p++, size--;
  return size == 0;
}

// What the break went down over is gone: nothing is there, and what comes there again holds zeros, however it
// comes.
TEST(brk_down_and_up) {
  constexpr size_t kSize = 100 * kPage;
  char* start = static_cast<char*>(sbrk(0));
  for (size_t down : {1, 33, 66, 100}) {
    CHECK_OK(brk(start + kSize));
    CHECK(is_clear(start + kSize - 66 * kPage, 66 * kPage));
    memset(start, 1, kSize);
    CHECK_OK(brk(start + kSize - down * kPage));
    CHECK(!can_read(start + kSize - kPage) && !can_read(start + kSize - down * kPage));
    // In pieces, and in a child too.
    CHECK_OK(brk(start + kSize - down * kPage + down / 2 * kPage));
    CHECK_EXIT(check::in_child([=] {
                 CHECK_OK(brk(start + kSize));
                 CHECK(is_clear(start + kSize - down * kPage, down * kPage));
               }),
               0);
    CHECK_OK(brk(start + kSize));
    CHECK(is_clear(start + kSize - down * kPage, down * kPage));
    if (down < 100) CHECK_EQ(start[kSize - down * kPage - 1], 1);
    memset(start, 2, kSize);
    CHECK_OK(brk(start));
    // Somebody else's mapping there, which cannot be written.
    char* other = start + 10 * kPage;
    CHECK_EQ(mmap(other, 20 * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
             other);
    CHECK(is_clear(other, 20 * kPage));
    CHECK_OK(munmap(other, 20 * kPage));
    // Large steps.
    CHECK_OK(brk(start + 10 * kSize));
    memset(start, 3, 10 * kSize);
    CHECK_OK(brk(start + 5 * kSize));
    CHECK_OK(brk(start));
    CHECK_OK(brk(start + 10 * kSize));
    CHECK(is_clear(start, 10 * kSize));
    CHECK_OK(brk(start));
  }
}

TEST(brk_down_over_what_was_changed) {
  constexpr size_t kSize = 40 * kPage;
  char* start = static_cast<char*>(sbrk(0));
  auto down_and_up = [&] {
    CHECK_OK(brk(start));
    CHECK(!can_read(start));
    CHECK_OK(brk(start + kSize));
    CHECK(is_clear(start, kSize));
    memset(start, 4, kSize);
  };
  CHECK_OK(brk(start + kSize));
  memset(start, 4, kSize);
  CHECK_OK(mprotect(start + 10 * kPage, kPage, PROT_READ));
  down_and_up();
  CHECK_OK(munmap(start + 20 * kPage, 5 * kPage));
  down_and_up();
  CHECK_OK(madvise(start, kSize, MADV_DONTFORK));
  down_and_up();
  CHECK_EXIT(check::in_child([=] { CHECK_EQ(start[kPage], 4); }), 0);
  CHECK_OK(madvise(start, kSize, MADV_WIPEONFORK));
  down_and_up();
  CHECK_EXIT(check::in_child([=] { CHECK_EQ(start[kPage], 4); }), 0);
  CHECK_OK(madvise(start + kPage, 30 * kPage, MADV_DONTNEED));
  down_and_up();
  CHECK_OK(brk(start));
}

TEST(madvise_dontneed) {
  char* p = anonymous(4 * kPage);
  memset(p, 1, 4 * kPage);
  CHECK_OK(madvise(p + kPage, 2 * kPage, MADV_DONTNEED));
  CHECK_EQ(p[0], 1);
  CHECK_EQ(p[kPage], 0);
  CHECK_EQ(p[3 * kPage], 1);
  for (int advice : {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_FREE, MADV_HUGEPAGE,
                     MADV_NOHUGEPAGE, MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP})
    CHECK_OK(madvise(p, 4 * kPage, advice));
  CHECK_ERR(madvise(p, kPage, 7777), EINVAL);
  CHECK_ERR(madvise(p + 1, kPage, MADV_DONTNEED), EINVAL);
  munmap(p + kPage, kPage);
  CHECK_ERR(madvise(p, 4 * kPage, MADV_DONTNEED), ENOMEM);
}

TEST(madvise_dontfork_and_wipeonfork) {
  char* p = anonymous(kPage);
  char* q = anonymous(kPage);
  *q = 1;
  CHECK_OK(madvise(p, kPage, MADV_DONTFORK));
  CHECK_OK(madvise(q, kPage, MADV_WIPEONFORK));
  CHECK_EXIT(check::in_child([=] {
               CHECK(!mapped(p));
               CHECK_EQ(*q, 0);
             }),
             0);
  CHECK_EQ(*q, 1);
}

TEST(memory_policies) {
  char* p = anonymous(2 * kPage);
  int mode = -1;
  CHECK_OK(syscall(SYS_get_mempolicy, &mode, nullptr, 0, nullptr, 0));
  CHECK_EQ(mode, 0);
  CHECK_OK(syscall(SYS_mbind, p, 2 * kPage, 0, nullptr, 0, 0));
  CHECK_ERR(syscall(SYS_mbind, p, 2 * kPage, 0, nullptr, 0, 0x100), EINVAL);
  CHECK_ERR(syscall(SYS_mbind, p, 2 * kPage, 99, nullptr, 0, 0), EINVAL);
  CHECK_ERR(syscall(SYS_mbind, p + 1, 2 * kPage, 0, nullptr, 0, 0), EINVAL);
  if (geteuid() == 0 && syscall(SYS_setuid, 1000) != 0) return;
  CHECK_ERR(syscall(SYS_mbind, p, 2 * kPage, 0, nullptr, 0, 4), EPERM);  // MPOL_MF_MOVE_ALL
}

TEST(mincore_mlock_msync) {
  char* p = anonymous(2 * kPage);
  p[0] = 1;
  unsigned char v[2] = {};
  CHECK_OK(mincore(p, 2 * kPage, v));
  CHECK_EQ(v[0] & 1, 1);
  CHECK_OK(mlock(p, kPage));
  CHECK_OK(munlock(p, kPage));
  CHECK_OK(msync(p, 2 * kPage, MS_SYNC));
  CHECK_ERR(msync(p, kPage, MS_SYNC | MS_ASYNC), EINVAL);
  CHECK_ERR(msync(p + 1, kPage, MS_SYNC), EINVAL);
  munmap(p, 2 * kPage);
  CHECK_ERR(msync(p, kPage, MS_SYNC), ENOMEM);
  CHECK_ERR(mincore(p, kPage, v), ENOMEM);
  CHECK_ERR(mlock(p, kPage), ENOMEM);
}

TEST(maps_tells_the_truth) {
  char* p = anonymous(3 * kPage, PROT_READ);
  mprotect(p + kPage, kPage, PROT_READ | PROT_WRITE);
  char* s =
      static_cast<char*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  NEED(check::write_file("file", std::string(3 * kPage, 'f')));
  int fd = NEED_OK(open("file", O_RDONLY));
  char* f = static_cast<char*>(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd, kPage));
  NEED(f != MAP_FAILED);
  auto lines = maps();
  NEED(find(lines, p) && find(lines, p + kPage) && find(lines, f) && find(lines, s));
  CHECK_EQ(find(lines, p)->prot, "r--p");
  CHECK_EQ(find(lines, p + kPage)->prot, "rw-p");
  CHECK_EQ(find(lines, p + kPage)->start, uint64_t(p + kPage));
  CHECK_EQ(find(lines, p + kPage)->end, uint64_t(p + 2 * kPage));
  CHECK_EQ(find(lines, s)->prot, "rw-s");
  CHECK_EQ(find(lines, f)->offset, kPage);
  CHECK(find(lines, f)->path.ends_with("/file"));
  int local;
  NEED(find(lines, &local));
  CHECK_EQ(find(lines, &local)->path, "[stack]");
  NEED(find(lines, reinterpret_cast<void*>(&maps)));
  CHECK_EQ(find(lines, reinterpret_cast<void*>(&maps))->prot, "r-xp");
  CHECK_EQ(find(lines, reinterpret_cast<void*>(&maps))->path, check::self);
  void* heap = sbrk(kPage);
  auto again = maps();
  NEED(find(again, heap));
  CHECK_EQ(find(again, heap)->path, "[heap]");
  for (size_t i = 1; i < again.size(); i++) CHECK(again[i].start >= again[i - 1].end);
  bool vdso = false;
  for (auto& l : again) vdso |= l.path == "[vdso]";
  CHECK(vdso);
  // Every line can be trusted: what it calls readable can be read.
  for (auto& l : again) {
    if (l.prot[0] == 'r' && l.path != "[vvar]" && l.path != "[vsyscall]" && l.path != "[vvar_vclock]")
      if (!can_read(reinterpret_cast<void*>(l.start)))
        check::fail(__FILE__, __LINE__, "cannot read " + l.path);
  }
}

TEST(maps_is_readable_in_pieces) {
  std::string whole = check::read_file("/proc/self/maps");
  int fd = NEED_OK(open("/proc/self/maps", O_RDONLY));
  std::string pieces;
  char b[200];
  ssize_t n;
  while ((n = read(fd, b, sizeof b)) > 0) pieces.append(b, size_t(n));
  CHECK_EQ(std::count(pieces.begin(), pieces.end(), '\n') > 5, true);
  CHECK_EQ(pieces.substr(0, 100), whole.substr(0, 100));
}

TEST(many_mappings) {
  std::vector<char*> all;
  for (int i = 0; i < 2000; i++) {
    char* p = anonymous(2 * kPage, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE);
    all.push_back(p);
  }
  for (char* p : all) CHECK_OK(munmap(p + kPage, kPage));
  CHECK_EXIT(check::in_child([] {}), 0);
  for (char* p : all) CHECK_OK(munmap(p, kPage));
}

TEST(address_space_limit) {
  CHECK_EXIT(check::in_child([] {
               rlimit r{256 << 20, 256 << 20};
               NEED_OK(setrlimit(RLIMIT_AS, &r));
               CHECK(mmap(nullptr, 512 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                     MAP_FAILED);
               CHECK_EQ(errno, ENOMEM);
               CHECK(mmap(nullptr, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                     MAP_FAILED);
             }),
             0);
}

TEST(big_reservation) {
  char* p = static_cast<char*>(
      mmap(nullptr, 64ull << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  NEED(p != MAP_FAILED);
  CHECK_OK(mprotect(p + (40ull << 30), 1 << 20, PROT_READ | PROT_WRITE));
  p[(40ull << 30) + 5] = 1;
  CHECK_EXIT(check::in_child([=] { CHECK_EQ(p[(40ull << 30) + 5], 1); }), 0);
  CHECK_OK(munmap(p, 64ull << 30));
}

TEST(process_vm_readv_self) {
  char from[] = "peek", to[5] = "";
  iovec local{to, 4}, remote{from, 4};
  ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
  CHECK(n == 4 || (n == -1 && (errno == ENOSYS || errno == EPERM)));
  if (n == 4) CHECK_EQ(to, "peek");
}

TEST(grows_down_stack_is_usable_to_its_limit) {
  volatile char deep[6 << 20];
  deep[0] = 1;
  deep[sizeof deep - 1] = 2;
  CHECK_EQ(deep[0] + deep[sizeof deep - 1], 3);
}
