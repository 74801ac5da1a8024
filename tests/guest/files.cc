// Opening, reading, writing, seeking, sizes, descriptors: every error that a program can meet.
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <vector>

#include "tests/guest/check.h"

namespace {

int make(const char* name, std::string_view data = "") {
  NEED(check::write_file(name, data));
  return NEED_OK(open(name, O_RDWR));
}

off_t size_of(int fd) {
  struct stat st;
  return fstat(fd, &st) < 0 ? -1 : st.st_size;
}

}  // namespace

TEST(open_flags_and_errors) {
  CHECK_ERR(open("none", O_RDONLY), ENOENT);
  CHECK_ERR(open("", O_RDONLY), ENOENT);
  CHECK_ERR(open("none/below", O_RDONLY | O_CREAT, 0600), ENOENT);
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT | O_EXCL, 0640));
  CHECK_ERR(open("f", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
  CHECK_ERR(open("f/x", O_RDONLY), ENOTDIR);
  CHECK_ERR(open("f/", O_RDONLY), ENOTDIR);
  CHECK_ERR(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
  CHECK_ERR(open(".", O_WRONLY), EISDIR);
  CHECK_ERR(open(".", O_RDONLY | O_CREAT, 0600), EISDIR);
  CHECK_ERR(open("new/", O_RDONLY | O_CREAT, 0600), EISDIR);
  NEED_OK(symlink("nowhere", "dangling"));
  CHECK_ERR(open("dangling", O_RDONLY), ENOENT);
  CHECK_ERR(open("dangling", O_RDONLY | O_NOFOLLOW), ELOOP);
  CHECK_ERR(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
  CHECK_OK(open("dangling", O_RDWR | O_CREAT, 0600));  // creates the target
  CHECK_OK(access("nowhere", F_OK));
  char c;
  int ro = NEED_OK(open("f", O_RDONLY)), wo = NEED_OK(open("f", O_WRONLY));
  CHECK_ERR(write(ro, "x", 1), EBADF);
  CHECK_ERR(read(wo, &c, 1), EBADF);
  CHECK_ERR(ftruncate(ro, 0), EINVAL);
  CHECK_ERR(read(NEED_OK(open(".", O_RDONLY)), &c, 1), EISDIR);
  CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
  CHECK_EQ(fcntl(wo, F_GETFL) & (O_ACCMODE | O_APPEND | O_CREAT), O_WRONLY);
  CHECK_EQ(write(fd, "data", 4), 4);
  CHECK_OK(open("f", O_RDWR | O_TRUNC));
  CHECK_EQ(size_of(fd), 0);
}

TEST(symlink_loops_and_name_lengths) {
  NEED_OK(symlink("b", "a"));
  NEED_OK(symlink("a", "b"));
  CHECK_ERR(open("a", O_RDONLY), ELOOP);
  struct stat st;
  CHECK_ERR(stat("a", &st), ELOOP);
  CHECK_OK(lstat("a", &st));
  // 40 links in a row are allowed, 41 are not.
  NEED(check::write_file("l0", "end"));
  for (int i = 1; i <= 41; i++) {
    NEED_OK(symlink(("l" + std::to_string(i - 1)).c_str(), ("l" + std::to_string(i)).c_str()));
  }
  CHECK_OK(open("l40", O_RDONLY));
  CHECK_ERR(open("l41", O_RDONLY), ELOOP);
  std::string longest(255, 'n'), over(256, 'n');
  CHECK_OK(open(longest.c_str(), O_RDWR | O_CREAT, 0600));
  CHECK_OK(stat(longest.c_str(), &st));
  CHECK_ERR(open(over.c_str(), O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
  std::string path;
  while (path.size() < 4090) path += "./";
  path += "l0";
  CHECK_OK(open(path.c_str(), O_RDONLY));
  while (path.size() < 4096) path = "./" + path;
  CHECK_ERR(open(path.c_str(), O_RDONLY), ENAMETOOLONG);
  CHECK_ERR(symlink(std::string(4096, 't').c_str(), "big"), ENAMETOOLONG);
  CHECK_OK(symlink(std::string(4095, 't').c_str(), "big"));
  char target[4100];
  CHECK_EQ(readlink("big", target, sizeof target), 4095);
}

TEST(deep_directories_beyond_path_max) {
  std::string name(250, 'd');
  for (int i = 0; i < 20; i++) {
    NEED_OK(mkdir(name.c_str(), 0755));
    NEED_OK(chdir(name.c_str()));
  }
  char cwd[4096];
  CHECK(syscall(SYS_getcwd, cwd, sizeof cwd) < 0 && errno == ENAMETOOLONG);
  NEED(check::write_file("leaf", "x"));
  CHECK_EQ(check::read_file("leaf"), "x");
}

TEST(read_write_seek) {
  int fd = make("f", "0123456789");
  char b[20] = "";
  CHECK_EQ(read(fd, b, 4), 4);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 4);
  CHECK_EQ(lseek(fd, -2, SEEK_END), 8);
  CHECK_EQ(read(fd, b, 20), 2);
  CHECK_EQ(read(fd, b, 20), 0);
  CHECK_EQ(lseek(fd, 20, SEEK_SET), 20);
  CHECK_EQ(read(fd, b, 1), 0);
  CHECK_EQ(write(fd, "Z", 1), 1);
  CHECK_EQ(size_of(fd), 21);
  CHECK_EQ(pread(fd, b, 20, 10), 11);
  CHECK_EQ(b[0], 0);
  CHECK_EQ(b[10], 'Z');
  CHECK_ERR(lseek(fd, -1, SEEK_SET), EINVAL);
  CHECK_ERR(lseek(fd, -100, SEEK_CUR), EINVAL);
  CHECK_ERR(lseek(fd, 0, 99), EINVAL);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 21);
  CHECK_ERR(pread(fd, b, 1, -1), EINVAL);
  CHECK_ERR(pwrite(fd, b, 1, -1), EINVAL);
  CHECK_EQ(read(fd, b, 0), 0);
  CHECK_EQ(pwrite(fd, "", 0, 0), 0);
  int fds[2];
  NEED_OK(pipe(fds));
  CHECK_ERR(lseek(fds[0], 0, SEEK_CUR), ESPIPE);
  CHECK_ERR(pread(fds[0], b, 1, 0), ESPIPE);
}

TEST(append) {
  int fd = make("f", "start");
  int app = NEED_OK(open("f", O_RDWR | O_APPEND));
  CHECK_EQ(lseek(app, 0, SEEK_SET), 0);
  CHECK_EQ(write(app, "+1", 2), 2);
  CHECK_EQ(write(fd, "S", 1), 1);
  CHECK_EQ(write(app, "+2", 2), 2);
  CHECK_EQ(check::read_file("f"), "Start+1+2");
  CHECK_EQ(pwrite(app, "!", 1, 0), 1);  // Linux appends here too
  CHECK_EQ(check::read_file("f"), "Start+1+2!");
  CHECK_OK(fcntl(app, F_SETFL, 0));
  CHECK_EQ(pwrite(app, "#", 1, 0), 1);
  CHECK_EQ(check::read_file("f"), "#tart+1+2!");
}

TEST(vectors) {
  int fd = make("f");
  iovec out[] = {{const_cast<char*>("abc"), 3}, {nullptr, 0}, {const_cast<char*>("defg"), 4}};
  CHECK_EQ(writev(fd, out, 3), 7);
  char a[2], b[10];
  iovec in[] = {{a, 2}, {b, 10}};
  CHECK_EQ(preadv(fd, in, 2, 1), 6);
  CHECK_EQ(std::string_view(a, 2), "bc");
  CHECK_EQ(std::string_view(b, 4), "defg");
  CHECK_EQ(pwritev(fd, out, 3, 100), 7);
  CHECK_EQ(size_of(fd), 107);
  lseek(fd, 0, SEEK_SET);
  CHECK_EQ(readv(fd, in, 2), 12);
  CHECK_EQ(preadv2(fd, in, 2, -1, 0), 12);
  CHECK_ERR(preadv2(fd, in, 2, 0, 0x4000), EOPNOTSUPP);
  CHECK_EQ(readv(fd, in, 0), 0);
  CHECK_ERR(syscall(SYS_readv, fd, in, -1), EINVAL);
  std::vector<iovec> many(1025, iovec{a, 1});
  CHECK_ERR(readv(fd, many.data(), 1025), EINVAL);
  CHECK_OK(readv(fd, many.data(), 1024));
  iovec negative[] = {{a, size_t(-1)}};
  CHECK_ERR(readv(fd, negative, 1), EINVAL);
  // A bad part in the middle: what came before counts.
  iovec bad[] = {{const_cast<char*>("ok"), 2}, {reinterpret_cast<void*>(8), 2}};
  CHECK_EQ(pwritev(fd, bad, 2, 0), 2);
  CHECK_ERR(pwritev(fd, bad + 1, 1, 0), EFAULT);
}

TEST(truncate_sizes) {
  int fd = make("f", "0123456789");
  CHECK_OK(ftruncate(fd, 4));
  CHECK_OK(ftruncate(fd, 8));
  char b[8];
  CHECK_EQ(pread(fd, b, 8, 0), 8);
  CHECK(memcmp(b, "0123\0\0\0\0", 8) == 0);
  CHECK_OK(truncate("f", 2));
  CHECK_EQ(size_of(fd), 2);
  CHECK_ERR(ftruncate(fd, -1), EINVAL);
  CHECK_ERR(truncate("none", 0), ENOENT);
  CHECK_ERR(truncate(".", 0), EISDIR);
  CHECK_ERR(ftruncate(999, 0), EBADF);
  rlimit limit{1000, RLIM_INFINITY};
  CHECK_EXIT(check::in_child([&] {
               setrlimit(RLIMIT_FSIZE, &limit);
               signal(SIGXFSZ, SIG_IGN);
               CHECK_ERR(ftruncate(fd, 2000), EFBIG);
               CHECK_EQ(pwrite(fd, std::string(50, 'x').data(), 50, 980), 20);
               CHECK_ERR(pwrite(fd, "x", 1, 1000), EFBIG);
             }),
             0);
  CHECK_KILLED(check::in_child([&] {
                 setrlimit(RLIMIT_FSIZE, &limit);
                 if (pwrite(fd, "x", 1, 1000) < 0) _exit(1);
               }),
               SIGXFSZ);
}

TEST(sparse_beyond_4g) {
  int fd = make("f");
  const off_t kFar = (5ll << 30) + 123;
  CHECK_EQ(pwrite(fd, "far", 3, kFar), 3);
  CHECK_EQ(size_of(fd), kFar + 3);
  struct stat st;
  fstat(fd, &st);
  CHECK(st.st_blocks * 512 < 1 << 20);
  char b[3];
  CHECK_EQ(pread(fd, b, 3, 1ll << 32), 3);
  CHECK_EQ(b[0], 0);
  CHECK_EQ(pread(fd, b, 3, kFar), 3);
  CHECK_EQ(b[2], 'r');
  CHECK_EQ(lseek(fd, 0, SEEK_END), kFar + 3);
  CHECK_EQ(lseek(fd, 0, SEEK_DATA), kFar / 4096 * 4096);
  CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 0);
  CHECK_EQ(lseek(fd, kFar, SEEK_HOLE), kFar + 3);
  CHECK_ERR(lseek(fd, kFar + 3, SEEK_DATA), ENXIO);
  CHECK_OK(ftruncate(fd, 6ll << 30));
  void* p = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 5ll << 30);
  NEED(p != MAP_FAILED);
  CHECK_EQ(static_cast<char*>(p)[123], 'f');
  CHECK_OK(ftruncate(fd, 0));
}

// As far as Linux's file systems that have no limit of their own go.
TEST(sparse_to_the_end) {
  int fd = NEED_OK(memfd_create("far", 0));
  const off_t kFar = (1ll << 62) + 12345;
  CHECK_OK(fallocate(fd, 0, kFar, 1));
  CHECK_EQ(pwrite(fd, "far", 3, kFar), 3);
  CHECK_EQ(pwrite(fd, "mid", 3, 1ll << 45), 3);
  CHECK_EQ(lseek(fd, 0, SEEK_DATA), 1ll << 45);
  CHECK_EQ(lseek(fd, (1ll << 45) + 4096, SEEK_DATA), kFar / 4096 * 4096);
  char b[3] = {1, 1, 1};
  CHECK_EQ(pread(fd, b, 3, 1ll << 50), 3);
  CHECK_EQ(b[2], 0);
  CHECK_EQ(pread(fd, b, 3, kFar), 3);
  CHECK_EQ(b[2], 'r');
  CHECK_OK(ftruncate(fd, 1ll << 50));
  CHECK_EQ(pread(fd, b, 3, 1ll << 45), 3);
  CHECK_EQ(b[0], 'm');
  CHECK_OK(ftruncate(fd, 1ll << 62));
  CHECK_ERR(lseek(fd, (1ll << 45) + 4096, SEEK_DATA), ENXIO);
  CHECK_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1ll << 61));
  CHECK_ERR(lseek(fd, 0, SEEK_DATA), ENXIO);
  for (off_t at = 1; at < 1ll << 61; at = at << 1 | 1) CHECK_OK(fallocate(fd, 0, at, 1));
}

TEST(fallocate_modes) {
  int fd = make("f", std::string(16384, 'a'));
  struct stat st;
  CHECK_OK(fallocate(fd, 0, 0, 65536));
  CHECK_EQ(size_of(fd), 65536);
  CHECK_OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 65536, 65536));
  CHECK_EQ(size_of(fd), 65536);
  CHECK_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
  char c;
  pread(fd, &c, 1, 4096);
  CHECK_EQ(c, 0);
  pread(fd, &c, 1, 8192);
  CHECK_EQ(c, 'a');
  CHECK_OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 8192 + 10, 100));
  pread(fd, &c, 1, 8192 + 50);
  CHECK_EQ(c, 0);
  pread(fd, &c, 1, 8192 + 5);
  CHECK_EQ(c, 'a');
  CHECK_ERR(fallocate(fd, 0, 0, 0), EINVAL);
  CHECK_ERR(fallocate(fd, 0, -1, 5), EINVAL);
  CHECK_ERR(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 5), EOPNOTSUPP);
  CHECK_ERR(fallocate(NEED_OK(open("f", O_RDONLY)), 0, 0, 5), EBADF);
  CHECK_RET(posix_fallocate(fd, 0, 100000), 0);
  CHECK_EQ(size_of(fd), 100000);
  (void)st;
  CHECK_RET(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
  CHECK_RET(posix_fadvise(fd, 0, 0, 99), EINVAL);
  CHECK_OK(readahead(fd, 0, 4096));
  CHECK_OK(fsync(fd));
  CHECK_OK(fdatasync(fd));
  CHECK_ERR(fsync(999), EBADF);
  sync();
  CHECK_OK(syncfs(fd));
  CHECK_OK(sync_file_range(fd, 0, 4096, 0));
}

TEST(dup_family) {
  int fd = make("f", "0123456789");
  int d = NEED_OK(dup(fd));
  CHECK_EQ(lseek(fd, 3, SEEK_SET), 3);
  CHECK_EQ(lseek(d, 0, SEEK_CUR), 3);
  CHECK_EQ(dup2(fd, 77), 77);
  CHECK_EQ(dup2(fd, fd), fd);
  CHECK_ERR(dup2(999, 5), EBADF);
  CHECK_ERR(dup2(999, 999), EBADF);
  CHECK_ERR(dup2(fd, -1), EBADF);
  CHECK_ERR(dup3(fd, fd, 0), EINVAL);
  CHECK_ERR(dup3(fd, 80, 0x1234), EINVAL);
  CHECK_EQ(dup3(fd, 80, O_CLOEXEC), 80);
  CHECK_EQ(fcntl(80, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(fcntl(77, F_GETFD), 0);
  CHECK_EQ(fcntl(fd, F_DUPFD, 90), 90);
  CHECK_EQ(fcntl(fd, F_DUPFD, 90), 91);
  CHECK_ERR(fcntl(fd, F_DUPFD, -1), EINVAL);
  CHECK_ERR(fcntl(fd, F_DUPFD, 1 << 30), EINVAL);
  CHECK_ERR(dup(-1), EBADF);
  close(d);
  int lowest = NEED_OK(dup(fd));
  CHECK_EQ(lowest, d);  // always the lowest free one
  CHECK_ERR(fcntl(fd, 7777), EINVAL);
  CHECK_ERR(close(999), EBADF);
  CHECK_OK(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
  CHECK_EQ(fcntl(lowest, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);  // shared flags
}

TEST(close_range_calls) {
  for (int i = 0; i < 10; i++) dup2(1, 100 + i);
  CHECK_OK(syscall(SYS_close_range, 102, 104, 0));
  CHECK_ERR(fcntl(103, F_GETFD), EBADF);
  CHECK_OK(fcntl(101, F_GETFD));
  CHECK_OK(syscall(SYS_close_range, 105, ~0u, 4 /* CLOEXEC */));
  CHECK_EQ(fcntl(107, F_GETFD), FD_CLOEXEC);
  CHECK_ERR(syscall(SYS_close_range, 5, 4, 0), EINVAL);
  CHECK_ERR(syscall(SYS_close_range, 5, 6, 0x100), EINVAL);
}

TEST(emfile) {
  rlimit r{40, 40};
  CHECK_EXIT(check::in_child([&] {
               NEED_OK(setrlimit(RLIMIT_NOFILE, &r));
               int last = -1, fd;
               while ((fd = open("/dev/null", O_RDONLY)) >= 0) last = fd;
               CHECK_EQ(errno, EMFILE);
               CHECK_EQ(last, 39);
               int fds[2];
               CHECK_ERR(pipe(fds), EMFILE);
               CHECK_ERR(dup(0), EMFILE);
               CHECK_ERR(dup2(0, 40), EBADF);
               CHECK_ERR(fcntl(0, F_DUPFD, 40), EINVAL);
               close(39);
               CHECK_ERR(pipe(fds), EMFILE);
               CHECK_EQ(dup(0), 39);  // the failed pipe gave back what it took
             }),
             0);
}

TEST(many_descriptors) {
  std::vector<int> fds;
  for (int i = 0; i < 900; i++) {
    int fd = open("/dev/null", O_RDONLY);
    if (fd < 0) break;
    fds.push_back(fd);
  }
  CHECK(fds.size() >= 900);
  CHECK_EXIT(check::in_child([&] {
               CHECK_OK(fcntl(fds.back(), F_GETFD));
               close(fds.back());
             }),
             0);
  CHECK_OK(fcntl(fds.back(), F_GETFD));
}

TEST(stat_fields) {
  umask(022);
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0666));
  NEED(write(fd, "12345", 5) == 5);
  struct stat a, b, c;
  CHECK_OK(stat("f", &a));
  CHECK_OK(fstat(fd, &b));
  CHECK_EQ(a.st_mode, S_IFREG | 0644);
  CHECK_EQ(a.st_size, 5);
  CHECK_EQ(a.st_nlink, 1);
  CHECK_EQ(a.st_uid, geteuid());
  CHECK_EQ(a.st_gid, getegid());
  CHECK_EQ(a.st_ino, b.st_ino);
  CHECK_EQ(a.st_dev, b.st_dev);
  CHECK(a.st_blksize >= 512);
  CHECK(a.st_ino != 0);
  NEED_OK(symlink("f", "s"));
  CHECK_OK(lstat("s", &c));
  CHECK(S_ISLNK(c.st_mode));
  CHECK_EQ(c.st_size, 1);
  CHECK_OK(stat("s", &c));
  CHECK_EQ(c.st_ino, a.st_ino);
  CHECK_OK(fstatat(AT_FDCWD, "s", &c, AT_SYMLINK_NOFOLLOW));
  CHECK(S_ISLNK(c.st_mode));
  CHECK_OK(fstatat(fd, "", &c, AT_EMPTY_PATH));
  CHECK_EQ(c.st_ino, a.st_ino);
  CHECK_ERR(fstatat(fd, "", &c, 0), ENOENT);
  CHECK_ERR(fstatat(fd, "x", &c, 0), ENOTDIR);
  CHECK_ERR(fstatat(999, "x", &c, 0), EBADF);
  CHECK_OK(fstatat(999, "/", &c, 0));  // an absolute path needs no directory
  CHECK_ERR(fstatat(AT_FDCWD, "f", &c, 0x40000000), EINVAL);
  CHECK_ERR(fstat(999, &c), EBADF);
  NEED_OK(mkdir("d", 0777));
  CHECK_OK(stat("d", &c));
  CHECK_EQ(c.st_mode, S_IFDIR | 0755);
  CHECK_EQ(c.st_nlink, 2);
  CHECK_OK(stat("d/../d/.", &c));
}

TEST(statx_fields) {
  int fd = make("f", "123");
  struct statx x {};
  CHECK_OK(statx(AT_FDCWD, "f", 0, STATX_ALL, &x));
  CHECK_EQ(x.stx_size, 3);
  CHECK_EQ(x.stx_mode & S_IFMT, S_IFREG);
  CHECK_EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  struct stat st;
  fstat(fd, &st);
  CHECK_EQ(x.stx_ino, st.st_ino);
  CHECK_EQ(makedev(x.stx_dev_major, x.stx_dev_minor), st.st_dev);
  CHECK_EQ(x.stx_mtime.tv_sec, st.st_mtim.tv_sec);
  CHECK_OK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
  CHECK_ERR(statx(fd, "", 0, STATX_SIZE, &x), ENOENT);
  CHECK_ERR(statx(AT_FDCWD, "f", 0x6000, STATX_SIZE, &x), EINVAL);  // both SYNC flags
  CHECK_ERR(statx(AT_FDCWD, "f", 0, 0x80000000u, &x), EINVAL);
  CHECK_ERR(statx(AT_FDCWD, "none", 0, STATX_SIZE, &x), ENOENT);
}

TEST(statx_has_what_stat_has) {
  int fd = make("f", std::string(9000, 'x'));
  NEED_OK(fchmod(fd, 02750));
  NEED_OK(link("f", "g"));
  NEED_OK(mkdir("d", 0711));
  NEED_OK(symlink("f", "s"));
  timespec times[2] = {{1000000001, 111222333}, {1000000002, 444555666}};
  NEED_OK(utimensat(AT_FDCWD, "f", times, 0));
  for (const char* path : {"f", "d", "s", "/dev/null"}) {
    struct statx x {};
    struct stat st;
    NEED_OK(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_ALL, &x));
    NEED_OK(lstat(path, &st));
    CHECK_EQ(x.stx_mode, st.st_mode);
    CHECK_EQ(x.stx_nlink, st.st_nlink);
    CHECK_EQ(x.stx_uid, st.st_uid);
    CHECK_EQ(x.stx_gid, st.st_gid);
    CHECK_EQ(x.stx_ino, st.st_ino);
    CHECK_EQ(x.stx_size, st.st_size);
    CHECK_EQ(x.stx_blocks, st.st_blocks);
    CHECK_EQ(x.stx_blksize, st.st_blksize);
    CHECK_EQ(makedev(x.stx_dev_major, x.stx_dev_minor), st.st_dev);
    CHECK_EQ(makedev(x.stx_rdev_major, x.stx_rdev_minor), st.st_rdev);
    CHECK_EQ(x.stx_atime.tv_sec, st.st_atim.tv_sec);
    CHECK_EQ(x.stx_atime.tv_nsec, st.st_atim.tv_nsec);
    CHECK_EQ(x.stx_mtime.tv_sec, st.st_mtim.tv_sec);
    CHECK_EQ(x.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
    CHECK_EQ(x.stx_ctime.tv_sec, st.st_ctim.tv_sec);
    CHECK_EQ(x.stx_ctime.tv_nsec, st.st_ctim.tv_nsec);
    // What is said to be there is known to be: no attribute is set that is not supported.
    CHECK_EQ(x.stx_attributes & ~x.stx_attributes_mask & ~uint64_t{0x2000},
             0);  // MOUNT_ROOT comes with its mask
    if (x.stx_mask & STATX_BTIME) CHECK(x.stx_btime.tv_sec <= x.stx_ctime.tv_sec);
  }
  struct statx x {};
  CHECK_OK(statx(AT_FDCWD, "f", 0, STATX_BTIME | STATX_MTIME, &x));
  CHECK(x.stx_mask & STATX_MTIME);
  CHECK_EQ(x.stx_mtime.tv_nsec, 444555666);
  CHECK_OK(statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS, &x));
  if (x.stx_attributes_mask & 0x2000) CHECK(x.stx_attributes & 0x2000);
}

TEST(openat2_resolution) {
  NEED_OK(mkdir("d", 0755));
  NEED(check::write_file("d/f", "x"));
  NEED(check::write_file("out", "y"));
  NEED_OK(symlink("f", "d/s"));
  NEED_OK(symlink("/etc", "d/abs"));
  int dir = NEED_OK(open("d", O_RDONLY | O_DIRECTORY));
  auto at = [&](const char* path, uint64_t flags, uint64_t resolve, uint64_t mode = 0) {
    open_how how{flags, mode, resolve};
    return int(syscall(SYS_openat2, dir, path, &how, sizeof how));
  };
  CHECK_OK(at("f", O_RDONLY, 0));
  CHECK_OK(at("s", O_RDONLY, RESOLVE_BENEATH));
  CHECK_ERR(at("../out", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  CHECK_ERR(at("/etc", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  CHECK_ERR(at("s", O_RDONLY, RESOLVE_NO_SYMLINKS), ELOOP);
  CHECK_OK(at("/f", O_RDONLY, RESOLVE_IN_ROOT));
  CHECK_OK(at("../../f", O_RDONLY, RESOLVE_IN_ROOT));
  CHECK_ERR(at("abs", O_RDONLY, RESOLVE_IN_ROOT), ENOENT);
  CHECK_ERR(at("f", O_RDONLY, 0x8000), EINVAL);
  CHECK_ERR(at("f", O_RDONLY, 0, 0600), EINVAL);
  CHECK_ERR(at("f", 1ull << 40, 0), EINVAL);
  open_how how{};
  CHECK_ERR(syscall(SYS_openat2, dir, "f", &how, 8), EINVAL);
  struct {
    open_how how;
    uint64_t more;
  } bigger{{O_RDONLY, 0, 0}, 0};
  CHECK_OK(syscall(SYS_openat2, dir, "f", &bigger, sizeof bigger));
  bigger.more = 1;
  CHECK_ERR(syscall(SYS_openat2, dir, "f", &bigger, sizeof bigger), E2BIG);
}

TEST(openat2_every_resolve_flag) {
  NEED_OK(mkdir("d", 0755));
  NEED(check::write_file("d/f", "x"));
  NEED_OK(symlink("d", "s"));
  NEED_OK(symlink("/proc/self/exe", "magic"));
  auto at = [](const char* path, uint64_t flags, uint64_t resolve) {
    open_how how{flags, flags & O_CREAT ? 0600u : 0u, resolve};
    return int(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
  };
  CHECK_OK(at("/proc/version", O_RDONLY, 0));
  CHECK_ERR(at("/proc/version", O_RDONLY, RESOLVE_NO_XDEV), EXDEV);
  CHECK_OK(at("s/f", O_RDONLY, RESOLVE_NO_XDEV));
  CHECK_OK(at("/proc/self/exe", O_RDONLY, 0));
  CHECK_ERR(at("/proc/self/exe", O_RDONLY, RESOLVE_NO_MAGICLINKS), ELOOP);
  CHECK_ERR(at("magic", O_RDONLY, RESOLVE_NO_MAGICLINKS), ELOOP);
  CHECK_OK(at("/proc/self/exe", O_PATH | O_NOFOLLOW, RESOLVE_NO_MAGICLINKS));
  CHECK_OK(at("s/f", O_RDONLY, RESOLVE_NO_MAGICLINKS));
  CHECK_ERR(at("s/f", O_RDONLY, RESOLVE_NO_SYMLINKS), ELOOP);
  CHECK_ERR(at("s", O_RDONLY, RESOLVE_NO_SYMLINKS), ELOOP);
  CHECK_OK(at("s", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS));
  CHECK_OK(at("d/../d/f", O_RDONLY, RESOLVE_BENEATH));
  CHECK_ERR(at("d/../../x", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  CHECK_ERR(at("magic", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  CHECK_ERR(at("..", O_RDONLY | O_CREAT, RESOLVE_BENEATH), EXDEV);
  CHECK_OK(at("/d/../../d/f", O_RDONLY, RESOLVE_IN_ROOT));
  CHECK_ERR(at("magic", O_RDONLY, RESOLVE_IN_ROOT), ENOENT);
  CHECK_ERR(at("d/f", O_RDONLY, RESOLVE_IN_ROOT | RESOLVE_BENEATH), EINVAL);
  // What is not cached is EAGAIN, and so is what would change something.
  int cached = at("d/f", O_RDONLY, RESOLVE_CACHED);
  CHECK(cached >= 0 || errno == EAGAIN);
  CHECK_ERR(at("d/new", O_RDWR | O_CREAT, RESOLVE_CACHED), EAGAIN);
  CHECK_ERR(at("d/f", O_RDWR | O_TRUNC, RESOLVE_CACHED), EAGAIN);
}

// Leases and directory notifications work, or say that they do not.
TEST(leases_and_dnotify) {
  int fd = make("f", "x");
  int reader = NEED_OK(open("f", O_RDONLY));
  close(fd);
  int lease = fcntl(reader, F_SETLEASE, F_RDLCK);
  CHECK(lease == 0 || errno == EINVAL);
  if (lease == 0) {
    CHECK_EQ(fcntl(reader, F_GETLEASE), F_RDLCK);
    CHECK_OK(fcntl(reader, F_SETLEASE, F_UNLCK));
  }
  CHECK_ERR(fcntl(reader, F_SETLEASE, 77), EINVAL);
  CHECK_ERR(fcntl(999, F_SETLEASE, F_RDLCK), EBADF);
  int directory = NEED_OK(open(".", O_RDONLY | O_DIRECTORY));
  int notify = fcntl(directory, F_NOTIFY, DN_ACCESS);
  CHECK(notify == 0 || errno == EINVAL);
  if (notify == 0) CHECK_OK(fcntl(directory, F_NOTIFY, 0));
  CHECK_EQ(check::read_file("f"), "x");
}

TEST(o_path) {
  int real = make("f", "data");
  int fd = NEED_OK(open("f", O_PATH));
  char c;
  CHECK_ERR(read(fd, &c, 1), EBADF);
  CHECK_ERR(write(fd, &c, 1), EBADF);
  CHECK_ERR(fchmod(fd, 0600), EBADF);
  CHECK_ERR(ioctl(fd, FIONREAD, &c), EBADF);
  struct stat st;
  CHECK_OK(fstat(fd, &st));
  CHECK_EQ(st.st_size, 4);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  CHECK_OK(open(path, O_RDONLY));
  NEED_OK(symlink("f", "s"));
  int link = NEED_OK(open("s", O_PATH | O_NOFOLLOW));
  CHECK_OK(fstat(link, &st));
  CHECK(S_ISLNK(st.st_mode));
  char target[16];
  CHECK_EQ(readlinkat(link, "", target, sizeof target), 1);
  close(real);
}

TEST(o_tmpfile) {
  int fd = open(".", O_TMPFILE | O_RDWR, 0600);
  if (fd < 0) {
    CHECK(errno == EOPNOTSUPP || errno == EISDIR);  // allowed answer of a file system without it
    return;
  }
  CHECK_EQ(write(fd, "tmp", 3), 3);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  CHECK_OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  CHECK_EQ(check::read_file("named"), "tmp");
  CHECK_ERR(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
}

TEST(unlinked_but_open) {
  int fd = make("f", "still");
  CHECK_OK(unlink("f"));
  char b[8];
  CHECK_EQ(read(fd, b, 8), 5);
  struct stat st;
  fstat(fd, &st);
  CHECK_EQ(st.st_nlink, 0);
  int fd2 = make("f", "new");
  CHECK_EQ(pread(fd, b, 8, 0), 5);
  struct stat st2;
  fstat(fd2, &st2);
  CHECK(st.st_ino != st2.st_ino);
  char path[64], link[300] = "";
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  readlink(path, link, sizeof link - 1);
  CHECK(std::string_view(link).ends_with("/f (deleted)"));
}

TEST(statfs_calls) {
  struct statfs s;
  CHECK_OK(statfs("/", &s));
  CHECK(s.f_bsize > 0 && s.f_blocks > 0 && s.f_namelen == 255);
  CHECK_OK(fstatfs(NEED_OK(open(".", O_RDONLY)), &s));
  CHECK_OK(statfs("/proc", &s));
  CHECK_EQ(s.f_type, 0x9fa0);
  CHECK_ERR(statfs("none", &s), ENOENT);
  struct statvfs v;
  CHECK_OK(statvfs("/tmp", &v));
  CHECK(v.f_bavail > 0);
}

TEST(big_file_roundtrip) {
  int fd = make("f");
  std::string block(1 << 20, 0);
  for (size_t i = 0; i < block.size(); i++) block[i] = char(i * 2654435761u >> 13);
  for (int i = 0; i < 32; i++) {
    block[0] = char(i);
    CHECK_EQ(write(fd, block.data(), block.size()), ssize_t(block.size()));
  }
  std::string back(1 << 20, 0);
  for (int i = 31; i >= 0; i--) {
    CHECK_EQ(pread(fd, back.data(), back.size(), off_t(i) << 20), ssize_t(back.size()));
    block[0] = char(i);
    CHECK(back == block);
  }
  // Odd sizes across page edges.
  CHECK_EQ(pwrite(fd, block.data(), 12345, 4091), 12345);
  CHECK_EQ(pread(fd, back.data(), 12345, 4091), 12345);
  CHECK(memcmp(back.data(), block.data(), 12345) == 0);
}

TEST(fionread_and_fioclex) {
  int fd = make("f", "0123456789");
  int n = 0;
  lseek(fd, 4, SEEK_SET);
  CHECK_OK(ioctl(fd, FIONREAD, &n));
  CHECK_EQ(n, 6);
  CHECK_OK(ioctl(fd, FIOCLEX));
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  CHECK_OK(ioctl(fd, FIONCLEX));
  CHECK_EQ(fcntl(fd, F_GETFD), 0);
  CHECK_ERR(ioctl(fd, 0x12345678, &n), ENOTTY);
  CHECK_ERR(ioctl(999, FIONREAD, &n), EBADF);
  int on = 1, fds[2];
  NEED_OK(pipe(fds));
  CHECK_OK(ioctl(fds[0], FIONBIO, &on));
  CHECK(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
}

TEST(closed_standard_input) {
  CHECK_EXIT(check::in_child([] {
               close(0);
               char c;
               CHECK_ERR(read(0, &c, 1), EBADF);
               CHECK_EQ(open("/dev/null", O_RDONLY), 0);
               close(0);
               execl(check::self, "x", "@stdin_closed", nullptr);
               _exit(1);
             }),
             0);
}
HELPER(stdin_closed) {
  CHECK_ERR(fcntl(0, F_GETFD), EBADF);
  CHECK_EQ(open("/", O_RDONLY), 0);
  return check::failures;
}
