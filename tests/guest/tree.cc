// Directories and names: mkdir, rmdir, link, rename in all its forms, readdir, permissions, times, cwd and
// chroot.
#include <dirent.h>
#include <linux/fs.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

#include <map>
#include <set>

#include "tests/guest/check.h"

namespace {

void make(const char* name, std::string_view data = "") {
  NEED(check::write_file(name, data));
}

std::set<std::string> names(const char* dir) {
  std::set<std::string> out;
  DIR* d = opendir(dir);
  NEED(d);
  while (dirent* e = readdir(d)) {
    if (!out.insert(e->d_name).second) check::fail(__FILE__, __LINE__, std::string("twice: ") + e->d_name);
  }
  closedir(d);
  return out;
}

struct stat stat_of(const char* path) {
  struct stat st {};
  NEED_OK(lstat(path, &st));
  return st;
}

bool exists(const char* path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

template <typename F>
void as_user(uid_t uid, gid_t gid, F f) {
  CHECK_EXIT(check::in_child([&] {
               if (geteuid() != 0) check::skip("needs root");
               NEED_OK(setgid(gid));
               NEED_OK(setuid(uid));
               f();
             }),
             0);
}

}  // namespace

TEST(mkdir_rmdir) {
  CHECK_OK(mkdir("d", 0755));
  CHECK_ERR(mkdir("d", 0755), EEXIST);
  CHECK_ERR(mkdir("none/x", 0755), ENOENT);
  make("f");
  CHECK_ERR(mkdir("f", 0755), EEXIST);
  CHECK_ERR(mkdir("f/x", 0755), ENOTDIR);
  CHECK_OK(mkdir("d/e/", 0755));
  CHECK_EQ(stat_of("d").st_nlink, 3);
  CHECK_ERR(rmdir("d"), ENOTEMPTY);
  CHECK_ERR(rmdir("f"), ENOTDIR);
  CHECK_ERR(rmdir("none"), ENOENT);
  CHECK_ERR(rmdir("d/."), EINVAL);
  CHECK_ERR(rmdir("d/e/.."), ENOTEMPTY);
  CHECK_ERR(rmdir("/"), EBUSY);
  CHECK_ERR(unlink("d"), EISDIR);
  CHECK_OK(rmdir("d/e"));
  CHECK_EQ(stat_of("d").st_nlink, 2);
  CHECK_OK(rmdir("d/"));
  CHECK_ERR(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR), ENOTDIR);
  CHECK_ERR(unlinkat(AT_FDCWD, "f", 0x1000), EINVAL);
  CHECK_OK(unlinkat(AT_FDCWD, "f", 0));
  CHECK_ERR(unlink("f"), ENOENT);
}

TEST(removed_directory) {
  NEED_OK(mkdir("d", 0755));
  int fd = NEED_OK(open("d", O_RDONLY | O_DIRECTORY));
  NEED_OK(chdir("d"));
  NEED_OK(rmdir("../d"));
  CHECK_ERR(open("x", O_RDWR | O_CREAT, 0600), ENOENT);
  CHECK_ERR(mkdirat(fd, "x", 0755), ENOENT);
  char b[256];
  CHECK(getcwd(b, sizeof b) == nullptr && errno == ENOENT);
  CHECK_OK(chdir(".."));
}

TEST(hard_links) {
  make("a", "same");
  CHECK_OK(link("a", "b"));
  CHECK_EQ(stat_of("a").st_nlink, 2);
  CHECK_EQ(stat_of("a").st_ino, stat_of("b").st_ino);
  make("b", "changed");
  CHECK_EQ(check::read_file("a"), "changed");
  CHECK_ERR(link("a", "b"), EEXIST);
  CHECK_ERR(link("none", "c"), ENOENT);
  NEED_OK(mkdir("d", 0755));
  CHECK_ERR(link("d", "e"), EPERM);
  NEED_OK(symlink("a", "s"));
  CHECK_OK(link("s", "s2"));  // links the symlink itself
  CHECK(S_ISLNK(stat_of("s2").st_mode));
  CHECK_OK(linkat(AT_FDCWD, "s", AT_FDCWD, "a3", AT_SYMLINK_FOLLOW));
  CHECK_EQ(stat_of("a3").st_ino, stat_of("a").st_ino);
  CHECK_OK(unlink("a"));
  CHECK_EQ(stat_of("b").st_nlink, 2);
  CHECK_ERR(link("b", "/dev/shm/x"), EXDEV);
}

TEST(symlinks) {
  CHECK_OK(symlink("target", "s"));
  CHECK_ERR(symlink("other", "s"), EEXIST);
  CHECK_ERR(symlink("", "t"), ENOENT);
  char b[16];
  CHECK_EQ(readlink("s", b, sizeof b), 6);
  CHECK_EQ(readlink("s", b, 3), 3);
  CHECK_ERR(readlink("s", b, 0), EINVAL);
  CHECK_ERR(readlink(".", b, 16), EINVAL);
  CHECK_ERR(readlink("none", b, 16), ENOENT);
  NEED_OK(mkdir("target", 0755));
  make("target/f", "through");
  CHECK_EQ(check::read_file("s/f"), "through");
  CHECK_EQ(check::read_file("s/../s/f"), "through");
  struct stat st;
  CHECK_OK(lstat("s/", &st));
  CHECK(S_ISDIR(st.st_mode));
  CHECK_ERR(rmdir("s"), ENOTDIR);
  CHECK_ERR(mkdir("s", 0755), EEXIST);
  NEED_OK(symlink("f", "target/inner"));
  CHECK_EQ(check::read_file("s/inner"), "through");
}

TEST(rename_files) {
  make("a", "A");
  make("b", "B");
  CHECK_OK(rename("a", "b"));
  CHECK_EQ(check::read_file("b"), "A");
  CHECK(!exists("a"));
  CHECK_ERR(rename("a", "c"), ENOENT);
  CHECK_OK(rename("b", "b"));
  CHECK_OK(link("b", "b2"));
  CHECK_OK(rename("b", "b2"));  // same inode: nothing happens, both stay
  CHECK(exists("b") && exists("b2"));
  NEED_OK(mkdir("d", 0755));
  CHECK_ERR(rename("b", "d"), EISDIR);
  CHECK_ERR(rename("d", "b"), ENOTDIR);
  CHECK_OK(rename("b", "d/moved"));
  CHECK_ERR(rename("d/moved", "none/x"), ENOENT);
  CHECK_ERR(rename("d/moved/", "x"), ENOTDIR);
  CHECK_ERR(rename("d/.", "x"), EBUSY);
  CHECK_ERR(rename("b2", "/proc/x"), EXDEV);
  int fd = NEED_OK(open("b2", O_RDONLY));
  NEED_OK(rename("d/moved", "b2"));
  struct stat st;
  fstat(fd, &st);
  CHECK_EQ(st.st_nlink, 2);  // same inode as d/moved: nothing was removed
}

TEST(rename_directories) {
  NEED_OK(mkdir("a", 0755));
  NEED_OK(mkdir("a/sub", 0755));
  make("a/sub/f", "x");
  CHECK_ERR(rename("a", "a/sub/b"), EINVAL);
  CHECK_ERR(rename("a", "a/b"), EINVAL);
  NEED_OK(mkdir("empty", 0755));
  CHECK_OK(rename("a", "empty"));
  CHECK_EQ(check::read_file("empty/sub/f"), "x");
  NEED_OK(mkdir("b", 0755));
  CHECK_ERR(rename("b", "empty"), ENOTEMPTY);
  CHECK_OK(rename("empty/sub", "b/sub2"));
  CHECK_EQ(stat_of("empty").st_nlink, 2);
  CHECK_EQ(stat_of("b").st_nlink, 3);
  NEED_OK(chdir("b/sub2"));
  NEED_OK(rename("../../b", "../../c"));
  char cwd[300];
  NEED(getcwd(cwd, sizeof cwd));
  CHECK(std::string_view(cwd).ends_with("/c/sub2"));
  CHECK_EQ(check::read_file("../sub2/f"), "x");
}

TEST(renameat2_flags) {
  make("a", "A");
  make("b", "B");
  CHECK_ERR(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
  CHECK_OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
  CHECK_EQ(check::read_file("a"), "B");
  CHECK_EQ(check::read_file("b"), "A");
  CHECK_ERR(renameat2(AT_FDCWD, "a", AT_FDCWD, "none", RENAME_EXCHANGE), ENOENT);
  CHECK_ERR(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
  CHECK_ERR(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", 0x80), EINVAL);
  CHECK_OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
  NEED_OK(mkdir("d", 0755));
  CHECK_OK(renameat2(AT_FDCWD, "d", AT_FDCWD, "c", RENAME_EXCHANGE));
  CHECK(S_ISDIR(stat_of("c").st_mode));
  CHECK_EQ(check::read_file("d"), "B");
}

TEST(rename_leaves_whiteout) {
  NEED(check::write_file("old", "x"));
  CHECK_ERR(renameat2(AT_FDCWD, "old", AT_FDCWD, "new", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
  CHECK_OK(renameat2(AT_FDCWD, "old", AT_FDCWD, "new", RENAME_WHITEOUT | RENAME_NOREPLACE));
  struct stat left {};
  CHECK_OK(stat("old", &left));
  CHECK_EQ(left.st_mode, mode_t{S_IFCHR});
  CHECK_EQ(left.st_rdev, dev_t{0});
  CHECK_EQ(left.st_nlink, nlink_t{1});
  CHECK_EQ(check::read_file("new"), "x");
  CHECK_OK(rename("new", "old"));
  CHECK_EQ(check::read_file("old"), "x");
  CHECK_OK(mkdir("directory", 0755));
  CHECK_OK(renameat2(AT_FDCWD, "directory", AT_FDCWD, "moved", RENAME_WHITEOUT));
  CHECK_OK(stat("directory", &left));
  CHECK(S_ISCHR(left.st_mode));
  CHECK_OK(unlink("directory"));
  CHECK_OK(rmdir("moved"));
}

TEST(readdir_lists_all) {
  NEED_OK(mkdir("d", 0755));
  std::set<std::string> expected{".", ".."};
  for (int i = 0; i < 1000; i++) {
    std::string n = "file-with-a-long-enough-name-" + std::to_string(i);
    expected.insert(n);
    make(("d/" + n).c_str());
  }
  CHECK(names("d") == expected);
  for (int i = 0; i < 1000; i += 2) unlink(("d/file-with-a-long-enough-name-" + std::to_string(i)).c_str());
  CHECK_EQ(names("d").size(), 502);
}

TEST(readdir_types_and_inodes) {
  make("file");
  NEED_OK(mkdir("dir", 0755));
  NEED_OK(symlink("x", "sym"));
  NEED_OK(mkfifo("fifo", 0600));
  DIR* d = opendir(".");
  NEED(d);
  int seen = 0;
  while (dirent* e = readdir(d)) {
    std::string n = e->d_name;
    if (n == "file") CHECK_EQ(e->d_type, DT_REG), seen++;
    if (n == "dir") CHECK_EQ(e->d_type, DT_DIR), seen++;
    if (n == "sym") CHECK_EQ(e->d_type, DT_LNK), seen++;
    if (n == "fifo") CHECK_EQ(e->d_type, DT_FIFO), seen++;
    if (n[0] != '.') CHECK_EQ(e->d_ino, stat_of(e->d_name).st_ino);
    if (n == "..") CHECK_EQ(e->d_ino, stat_of("..").st_ino);
  }
  CHECK_EQ(seen, 4);
  closedir(d);
}

TEST(readdir_while_deleting) {
  NEED_OK(mkdir("d", 0755));
  for (int i = 0; i < 500; i++) make(("d/" + std::to_string(i)).c_str());
  DIR* d = opendir("d");
  NEED(d);
  int deleted = 0;
  while (dirent* e = readdir(d)) {
    if (e->d_name[0] == '.') continue;
    CHECK_OK(unlinkat(dirfd(d), e->d_name, 0));
    deleted++;
  }
  closedir(d);
  CHECK_EQ(deleted, 500);
  CHECK_OK(rmdir("d"));
}

// Names that stay are listed exactly once, whatever comes, goes and is renamed around them meanwhile.
TEST(readdir_stable_under_change) {
  NEED_OK(mkdir("d", 0755));
  auto name = [](const char* kind, int i) { return "d/" + std::string(kind) + std::to_string(i); };
  for (int i = 0; i < 200; i++) {
    make(name("stays", i).c_str());
    make(name("goes", i).c_str());
    make(name("moves", i).c_str());
  }
  int fd = NEED_OK(open("d", O_RDONLY | O_DIRECTORY));
  std::map<std::string, int> seen;
  char buffer[512];
  int round = 0;
  for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;) {
    for (long at = 0; at < n;) {
      auto* entry = reinterpret_cast<dirent64*>(buffer + at);
      seen[entry->d_name]++;
      at += entry->d_reclen;
    }
    for (int k = 0; k < 5 && round < 200; k++, round++) {
      CHECK_OK(unlink(name("goes", round).c_str()));
      CHECK_OK(rename(name("moves", round).c_str(), name("moved", 199 - round).c_str()));
      make(name("comes", round).c_str());
    }
    // One that was removed may come back, under the same name.
    if (round > 10) make(name("goes", round - 10).c_str());
  }
  for (int i = 0; i < 200; i++) CHECK_EQ(seen["stays" + std::to_string(i)], 1);
  CHECK_EQ(seen["."], 1);
  CHECK_EQ(seen[".."], 1);
}

TEST(getdents_seek_and_errors) {
  for (int i = 0; i < 50; i++) make(("n" + std::to_string(i)).c_str());
  int fd = NEED_OK(open(".", O_RDONLY | O_DIRECTORY));
  char b[1024];
  CHECK_ERR(syscall(SYS_getdents64, fd, b, 8), EINVAL);  // no entry fits
  long first = syscall(SYS_getdents64, fd, b, sizeof b);
  CHECK(first > 0);
  while (syscall(SYS_getdents64, fd, b, sizeof b) > 0) {
  }
  CHECK_EQ(syscall(SYS_getdents64, fd, b, sizeof b), 0);
  lseek(fd, 0, SEEK_SET);
  CHECK_EQ(syscall(SYS_getdents64, fd, b, sizeof b), first);
  int file = NEED_OK(open("n1", O_RDONLY));
  CHECK_ERR(syscall(SYS_getdents64, file, b, sizeof b), ENOTDIR);
  DIR* d = opendir(".");
  readdir(d);
  readdir(d);
  long at = telldir(d);
  std::string third = readdir(d)->d_name;
  while (readdir(d)) {
  }
  seekdir(d, at);
  CHECK_EQ(std::string(readdir(d)->d_name), third);
  rewinddir(d);
  make("added");
  rewinddir(d);
  bool found = false;
  while (dirent* e = readdir(d)) found |= strcmp(e->d_name, "added") == 0;
  CHECK(found);
  closedir(d);
}

TEST(chmod_family) {
  make("f");
  CHECK_OK(chmod("f", 04751));
  CHECK_EQ(stat_of("f").st_mode & 07777, 04751);
  int fd = NEED_OK(open("f", O_RDONLY));
  CHECK_OK(fchmod(fd, 0600));
  CHECK_EQ(stat_of("f").st_mode & 07777, 0600);
  CHECK_OK(fchmodat(AT_FDCWD, "f", 0640, 0));
  NEED_OK(symlink("f", "s"));
  CHECK_OK(chmod("s", 0604));
  CHECK_EQ(stat_of("f").st_mode & 07777, 0604);
  CHECK_ERR(chmod("none", 0600), ENOENT);
  NEED_OK(mkdir("d", 01777));
  CHECK_OK(chmod("d", 03777));
  CHECK_EQ(stat_of("d").st_mode & 07777, 03777);
}

TEST(chown_family) {
  if (geteuid() != 0) check::skip("needs root");
  make("f");
  NEED_OK(chmod("f", 06755));
  CHECK_OK(chown("f", 123, 456));
  CHECK_EQ(stat_of("f").st_uid, 123);
  CHECK_EQ(stat_of("f").st_gid, 456);
  CHECK_EQ(stat_of("f").st_mode & 07777, 0755);  // set-id bits go
  CHECK_OK(chown("f", uid_t(-1), 7));
  CHECK_EQ(stat_of("f").st_uid, 123);
  NEED_OK(symlink("f", "s"));
  CHECK_OK(lchown("s", 9, 9));
  CHECK_EQ(stat_of("s").st_uid, 9);
  CHECK_EQ(stat_of("f").st_uid, 123);
  CHECK_OK(fchownat(AT_FDCWD, "s", 10, 10, 0));
  CHECK_EQ(stat_of("f").st_uid, 10);
  int fd = NEED_OK(open("f", O_RDONLY));
  CHECK_OK(fchown(fd, 11, 11));
  CHECK_OK(fchownat(fd, "", 12, 12, AT_EMPTY_PATH));
  CHECK_EQ(stat_of("f").st_uid, 12);
}

TEST(permissions_of_a_user) {
  chmod(".", 0755);
  make("secret", "s");
  NEED_OK(chmod("secret", 0600));
  make("public", "p");
  NEED_OK(chmod("public", 0644));
  NEED_OK(mkdir("closed", 0700));
  make("closed/f", "x");
  NEED_OK(mkdir("sticky", 0777));
  NEED_OK(chmod("sticky", 01777));
  make("sticky/roots", "x");
  NEED_OK(mkdir("listable", 0777));
  NEED_OK(chmod("listable", 0744));
  as_user(1000, 1000, [] {
    CHECK_ERR(open("secret", O_RDONLY), EACCES);
    CHECK_OK(open("public", O_RDONLY));
    CHECK_ERR(open("public", O_WRONLY), EACCES);
    CHECK_ERR(open("closed/f", O_RDONLY), EACCES);
    CHECK_ERR(open("made", O_RDWR | O_CREAT, 0600), EACCES);
    CHECK_ERR(chmod("public", 0777), EPERM);
    CHECK_ERR(chown("public", 1000, 1000), EPERM);
    CHECK_ERR(unlink("public"), EACCES);
    CHECK_ERR(unlink("sticky/roots"), EPERM);
    CHECK_ERR(rename("sticky/roots", "sticky/mine"), EPERM);
    CHECK_OK(close(NEED_OK(open("sticky/mine", O_RDWR | O_CREAT, 0600))));
    CHECK_OK(unlink("sticky/mine"));
    CHECK_EQ(names("listable").size(), 2);
    struct stat st;
    CHECK_ERR(stat("listable/.", &st), EACCES);
    CHECK_ERR(truncate("public", 0), EACCES);
    CHECK_ERR(access("secret", R_OK), EACCES);
    CHECK_OK(access("public", R_OK));
    CHECK_ERR(access("public", W_OK), EACCES);
    CHECK_OK(access("closed", F_OK));
    CHECK_ERR(access("closed/f", F_OK), EACCES);
    CHECK_ERR(utimensat(AT_FDCWD, "public", nullptr, 0), EACCES);
    timespec times[2] = {{1, 0}, {2, 0}};
    CHECK_ERR(utimensat(AT_FDCWD, "public", times, 0), EPERM);
    CHECK_ERR(mknod("sticky/dev", S_IFCHR | 0600, makedev(1, 3)), EPERM);
    CHECK_ERR(chroot("."), EPERM);
  });
}

TEST(access_uses_real_ids) {
  if (geteuid() != 0) check::skip("needs root");
  make("mine", "x");
  NEED_OK(chmod("mine", 0600));
  chmod(".", 0755);
  CHECK_EXIT(check::in_child([] {
               NEED_OK(setresuid(1000, 0, 0));
               CHECK_ERR(access("mine", R_OK), EACCES);
               CHECK_OK(faccessat(AT_FDCWD, "mine", R_OK, AT_EACCESS));
             }),
             0);
  CHECK_OK(access("mine", R_OK | W_OK));
  CHECK_ERR(access("mine", X_OK), EACCES);  // root too needs one x bit
  CHECK_OK(syscall(SYS_faccessat2, AT_FDCWD, "mine", R_OK, 0));
  CHECK_ERR(syscall(SYS_faccessat2, AT_FDCWD, "mine", R_OK, 0x8000), EINVAL);
  CHECK_ERR(access("mine", 077), EINVAL);
}

TEST(group_and_setgid_directory) {
  if (geteuid() != 0) check::skip("needs root");
  NEED_OK(mkdir("d", 0777));
  NEED_OK(chown("d", 0, 55));
  NEED_OK(chmod("d", 02777));
  make("d/f");
  CHECK_EQ(stat_of("d/f").st_gid, 55);
  NEED_OK(mkdir("d/sub", 0755));
  CHECK_EQ(stat_of("d/sub").st_gid, 55);
  CHECK(stat_of("d/sub").st_mode & S_ISGID);
}

TEST(write_clears_setuid) {
  make("f", "x");
  NEED_OK(chmod("f", 06777));
  NEED_OK(chmod(".", 0777));
  as_user(1000, 1000, [] {
    int fd = NEED_OK(open("f", O_WRONLY));
    NEED(write(fd, "y", 1) == 1);
  });
  CHECK_EQ(stat_of("f").st_mode & 07777, 0777);
}

TEST(umask_applies) {
  CHECK_OK(umask(027));
  CHECK_EQ(umask(077), 027);
  int fd = NEED_OK(open("f", O_CREAT | O_RDWR, 0666));
  CHECK_EQ(stat_of("f").st_mode & 0777, 0600);
  CHECK_OK(mkdir("d", 0777));
  CHECK_EQ(stat_of("d").st_mode & 0777, 0700);
  CHECK_OK(mkfifo("p", 0666));
  CHECK_EQ(stat_of("p").st_mode & 0777, 0600);
  fchmod(fd, 0666);
  CHECK_EQ(stat_of("f").st_mode & 0777, 0666);
}

TEST(times_update) {
  make("f", "x");
  timespec set[2] = {{1000000, 123456789}, {2000000, 987654321}};
  CHECK_OK(utimensat(AT_FDCWD, "f", set, 0));
  auto st = stat_of("f");
  CHECK_EQ(st.st_atim.tv_sec, 1000000);
  CHECK_EQ(st.st_atim.tv_nsec, 123456789);
  CHECK_EQ(st.st_mtim.tv_nsec, 987654321);
  CHECK(st.st_ctim.tv_sec > 1600000000);
  timespec omit[2] = {{0, UTIME_OMIT}, {3000000, 0}};
  CHECK_OK(utimensat(AT_FDCWD, "f", omit, 0));
  CHECK_EQ(stat_of("f").st_atim.tv_sec, 1000000);
  CHECK_EQ(stat_of("f").st_mtim.tv_sec, 3000000);
  timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  CHECK_OK(utimensat(AT_FDCWD, "f", now, 0));
  CHECK(stat_of("f").st_atim.tv_sec > 1600000000);
  timespec bad[2] = {{0, 2000000000}, {0, 0}};
  CHECK_ERR(utimensat(AT_FDCWD, "f", bad, 0), EINVAL);
  NEED_OK(symlink("f", "s"));
  CHECK_OK(utimensat(AT_FDCWD, "s", set, AT_SYMLINK_NOFOLLOW));
  CHECK_EQ(stat_of("s").st_mtim.tv_sec, 2000000);
  CHECK_EQ(stat_of("f").st_mtim.tv_sec, 3000000);
  int fd = NEED_OK(open("f", O_RDWR));
  CHECK_OK(futimens(fd, nullptr));
  CHECK(stat_of("f").st_mtim.tv_sec > 1600000000);
  utimbuf u{5, 6};
  CHECK_OK(utime("f", &u));
  CHECK_EQ(stat_of("f").st_mtim.tv_sec, 6);
  timeval tv[2] = {{7, 8}, {9, 10}};
  CHECK_OK(utimes("f", tv));
  CHECK_EQ(stat_of("f").st_mtim.tv_nsec, 10000);
  NEED(write(fd, "y", 1) == 1);
  CHECK(stat_of("f").st_mtim.tv_sec > 1600000000);
  // A directory's time moves with its entries.
  NEED_OK(mkdir("d", 0755));
  NEED_OK(utimensat(AT_FDCWD, "d", set, 0));
  make("d/new");
  CHECK(stat_of("d").st_mtim.tv_sec > 1600000000);
}

namespace {

timespec atime_of(const char* path) {
  struct stat status {};
  CHECK_OK(lstat(path, &status));
  return status.st_atim;
}

void set_atime(const char* path, time_t seconds) {
  timespec times[2] = {{seconds, 0}, {0, UTIME_OMIT}};
  CHECK_OK(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
}

void read_some(const char* path, int flags = 0) {
  int fd = NEED_OK(open(path, O_RDONLY | O_CLOEXEC | flags));
  char byte;
  CHECK_EQ(read(fd, &byte, 1), 1);
  close(fd);
}

}  // namespace

// relatime, as file systems are mounted unless one says otherwise.
TEST(reading_updates_atime) {
  CHECK(check::write_file("file", "content"));
  time_t now = time(nullptr);
  set_atime("file", now - 1000);
  CHECK_EQ(atime_of("file").tv_sec, now - 1000);
  int fd = NEED_OK(open("file", O_RDONLY));
  CHECK_EQ(atime_of("file").tv_sec, now - 1000);
  char byte;
  CHECK_EQ(read(fd, &byte, 1), 1);
  CHECK(atime_of("file").tv_sec >= now);
  // Later than the last change, and not a day ago: left alone.
  set_atime("file", now + 1000);
  CHECK_EQ(read(fd, &byte, 1), 1);
  CHECK_EQ(atime_of("file").tv_sec, now + 1000);
  // Written since: due again.
  CHECK(check::write_file("file", "other"));
  timespec future[2] = {{now + 1000, 0}, {now + 2000, 0}};
  CHECK_OK(utimensat(AT_FDCWD, "file", future, 0));
  CHECK_EQ(pread(fd, &byte, 1, 0), 1);
  CHECK(atime_of("file").tv_sec < now + 500);
  close(fd);
}

TEST(what_is_asked_not_to_touch_atime) {
  CHECK(check::write_file("file", "content"));
  time_t now = time(nullptr);
  set_atime("file", now - 1000);
  read_some("file", O_NOATIME);
  CHECK_EQ(atime_of("file").tv_sec, now - 1000);
  struct stat status;
  CHECK_OK(stat("file", &status));
  CHECK_OK(access("file", R_OK));
  CHECK_EQ(atime_of("file").tv_sec, now - 1000);
  read_some("file");
  CHECK(atime_of("file").tv_sec >= now);
}

TEST(atime_of_other_kinds) {
  CHECK_OK(mkdir("d", 0755));
  CHECK_OK(symlink("nowhere", "link"));
  CHECK(check::write_file("mapped", "content"));
  time_t now = time(nullptr);
  set_atime("d", now - 1000);
  set_atime("link", now - 1000);
  set_atime("mapped", now - 1000);
  DIR* directory = opendir("d");
  NEED(directory != nullptr);
  while (readdir(directory) != nullptr) {
  }
  closedir(directory);
  CHECK(atime_of("d").tv_sec >= now);
  char text[16];
  CHECK_EQ(readlink("link", text, sizeof text), 7);
  CHECK(atime_of("link").tv_sec >= now);
  int fd = NEED_OK(open("mapped", O_RDONLY));
  void* memory = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(memory != MAP_FAILED);
  CHECK(atime_of("mapped").tv_sec >= now);
  close(fd);
}

TEST(truncate_updates_times) {
  make("f", "abc");
  timespec set[2] = {{1000000, 0}, {2000000, 0}};
  NEED_OK(utimensat(AT_FDCWD, "f", set, 0));
  NEED_OK(truncate("f", 1));
  CHECK(stat_of("f").st_mtim.tv_sec > 1600000000);
  NEED_OK(utimensat(AT_FDCWD, "f", set, 0));
  close(NEED_OK(open("f", O_WRONLY | O_TRUNC)));
  CHECK(stat_of("f").st_mtim.tv_sec > 1600000000);
}

TEST(mknod_kinds) {
  CHECK_OK(mknod("reg", S_IFREG | 0600, 0));
  CHECK(S_ISREG(stat_of("reg").st_mode));
  CHECK_OK(mknod("fifo", S_IFIFO | 0600, 0));
  CHECK(S_ISFIFO(stat_of("fifo").st_mode));
  CHECK_ERR(mknod("fifo", S_IFIFO | 0600, 0), EEXIST);
  CHECK_ERR(mknod("dir", S_IFDIR | 0700, 0), EPERM);
  CHECK_ERR(mknod("odd", 0170000, 0), EINVAL);
  CHECK_OK(mknod("sock", S_IFSOCK | 0600, 0));
  CHECK_ERR(open("sock", O_RDONLY), ENXIO);
}

TEST(directories_by_descriptor) {
  NEED_OK(mkdir("d", 0755));
  int dir = NEED_OK(open("d", O_RDONLY | O_DIRECTORY));
  int fd = NEED_OK(openat(dir, "f", O_RDWR | O_CREAT, 0600));
  CHECK(exists("d/f"));
  CHECK_OK(mkdirat(dir, "e", 0755));
  CHECK_OK(symlinkat("f", dir, "s"));
  CHECK_OK(linkat(dir, "f", dir, "g", 0));
  CHECK_OK(renameat(dir, "g", AT_FDCWD, "h"));
  CHECK(exists("h"));
  CHECK_OK(unlinkat(dir, "e", AT_REMOVEDIR));
  CHECK_ERR(openat(fd, "x", O_RDONLY), ENOTDIR);
  CHECK_ERR(openat(999, "x", O_RDONLY), EBADF);
  NEED_OK(rename("d", "moved"));
  CHECK_OK(openat(dir, "f", O_RDONLY));  // follows the directory, not its name
  CHECK_OK(openat(dir, "../h", O_RDONLY));
}

TEST(cwd) {
  char b[300], small[2];
  NEED_OK(mkdir("d", 0755));
  CHECK_OK(chdir("d"));
  NEED(getcwd(b, sizeof b));
  CHECK(std::string_view(b).ends_with("/d"));
  CHECK(getcwd(small, sizeof small) == nullptr && errno == ERANGE);
  CHECK_EQ(syscall(SYS_getcwd, b, sizeof b), long(strlen(b) + 1));
  int up = NEED_OK(open("..", O_RDONLY));
  CHECK_OK(fchdir(up));
  CHECK(exists("d"));
  make("f");
  CHECK_ERR(chdir("f"), ENOTDIR);
  CHECK_ERR(chdir("none"), ENOENT);
  CHECK_ERR(fchdir(NEED_OK(open("f", O_RDONLY))), ENOTDIR);
  CHECK_OK(chdir("/.."));
  CHECK_EQ(getcwd(b, sizeof b), "/");
}

TEST(chroot_confines) {
  if (geteuid() != 0) check::skip("needs root");
  NEED_OK(mkdir("jail", 0755));
  NEED_OK(mkdir("jail/in", 0755));
  make("jail/file", "inside");
  NEED_OK(symlink("/file", "jail/abs"));
  NEED_OK(symlink("../../../../file", "jail/up"));
  CHECK_EXIT(check::in_child([] {
               NEED_OK(chroot("jail"));
               NEED_OK(chdir("/"));
               CHECK_EQ(check::read_file("/file"), "inside");
               CHECK_EQ(check::read_file("/../../file"), "inside");
               CHECK_EQ(check::read_file("/abs"), "inside");
               CHECK_EQ(check::read_file("/up"), "inside");
               CHECK_ERR(open("/etc/passwd", O_RDONLY), ENOENT);
               NEED_OK(chdir("in"));
               char b[64];
               CHECK_EQ(getcwd(b, sizeof b), "/in");
             }),
             0);
  CHECK_ERR(chroot("none"), ENOENT);
  CHECK_ERR(chroot("jail/file"), ENOTDIR);
}

TEST(fifo_opens) {
  NEED_OK(mkfifo("p", 0600));
  CHECK_ERR(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
  int r = NEED_OK(open("p", O_RDONLY | O_NONBLOCK));
  char c;
  CHECK_EQ(read(r, &c, 1), 0);  // no writer yet
  int w = NEED_OK(open("p", O_WRONLY | O_NONBLOCK));
  CHECK_ERR(read(r, &c, 1), EAGAIN);
  CHECK_EQ(write(w, "x", 1), 1);
  CHECK_EQ(read(r, &c, 1), 1);
  close(w);
  CHECK_EQ(read(r, &c, 1), 0);
  close(r);
  int both = NEED_OK(open("p", O_RDWR));  // never blocks on Linux
  close(both);
  pid_t child = fork();
  if (child == 0) {
    int out = open("p", O_WRONLY);
    _exit(write(out, "hello", 5) == 5 ? 0 : 1);
  }
  int in = NEED_OK(open("p", O_RDONLY));
  char b[8];
  CHECK_EQ(read(in, b, 8), 5);
  CHECK_EQ(read(in, b, 8), 0);
  waitpid(child, nullptr, 0);
}

TEST(xattrs_work_or_are_refused) {
  make("f");
  int r = setxattr("f", "user.test", "value", 5, 0);
  if (r < 0) {
    CHECK_EQ(errno, EOPNOTSUPP);
    return;
  }
  char b[16];
  CHECK_EQ(getxattr("f", "user.test", b, sizeof b), 5);
  CHECK_EQ(getxattr("f", "user.test", nullptr, 0), 5);
  CHECK_ERR(getxattr("f", "user.test", b, 2), ERANGE);
  CHECK_ERR(getxattr("f", "user.none", b, sizeof b), ENODATA);
  CHECK_ERR(setxattr("f", "user.test", "v", 1, XATTR_CREATE), EEXIST);
  CHECK_ERR(setxattr("f", "user.none", "v", 1, XATTR_REPLACE), ENODATA);
  CHECK(listxattr("f", b, sizeof b) >= 10);
  CHECK_OK(removexattr("f", "user.test"));
  CHECK_ERR(removexattr("f", "user.test"), ENODATA);
}

TEST(two_processes_in_one_directory) {
  NEED_OK(mkdir("d", 0755));
  pid_t children[4];
  for (int k = 0; k < 4; k++) {
    children[k] = fork();
    if (children[k] == 0) {
      for (int i = 0; i < 100; i++) {
        std::string a = "d/" + std::to_string(k) + "-" + std::to_string(i), b = a + "x";
        if (!check::write_file(a.c_str(), "x") || rename(a.c_str(), b.c_str()) < 0) _exit(1);
        if (i % 2 && unlink(b.c_str()) < 0) _exit(2);
      }
      _exit(0);
    }
  }
  for (pid_t c : children) {
    int status;
    waitpid(c, &status, 0);
    CHECK_EXIT(status, 0);
  }
  CHECK_EQ(names("d").size(), 202);
}
