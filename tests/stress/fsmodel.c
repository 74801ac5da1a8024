// Random operations on a file tree, and what each of them gives, a line each: to be compared with what
// another file system gives for the same ones.
//
//     fsmodel [-S SEED] [-N OPERATIONS] [-o FEATURES] [-C CAPABILITIES] TOP
//
// CAPABILITIES, a hexadecimal mask as in /proc/PID/status, are all that root keeps. TOP holds a tree to start
// from, the same one on both sides; it need not be empty, and had better not be. Whoever compares the two
// outputs line by line (tests/cli/stress_test.py) has a model test whose model is the host's tmpfs. The
// operations are the same only as long as the results are, so all after the first difference means nothing.
//
// FEATURES, letters: what the two sides have in common, and so is compared.
//   c  credentials: as root, also what other users may do; TOP is made the root, so that paths may hold ".."
//   a  access times
//   d  devices, FIFOs, sockets can be made
//   x  extended attributes
//   o  O_TMPFILE, RENAME_WHITEOUT
//   h  holes and st_blocks, of files that are not from the tree it started with
//   n  st_nlink of directories
//   k  what a kernel does without asking the file system that FUSE makes: times of FIFOs, chown to nothing
//   new
//
// What is printed holds no inode numbers (but whether two names have the same), no sizes of directories, and
// of times only those that were set, and whether they changed.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

enum { kSlots = 6, kLargest = 256 << 10, kRecent = 48, kPath = 600 };

static struct random rng;
static int features[128];
static int fds[kSlots];
static char recent[kRecent][kPath];  // paths that were made, renamed to, or were there
static int recent_count, first_count;
static char (*first)[kPath];  // the paths of the tree it started with
static ino_t* first_inodes;
static int first_inode_count;
static unsigned char data[kLargest + 1];
static int user;
static int proc_fds;  // /proc/self/fd
static long operation;

// ---- printing ----

static void show(const char* format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
}

static void show_name(const char* text) {
  size_t length = strlen(text);
  putchar(' ');
  if (!length) printf("\"\"");
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (i == 100 && length > 120) {
      printf("[%zu]", length);
      i = length - 10;
    }
    if (c > 32 && c < 127)
      putchar(c);
    else
      printf("\\%02x", c);
  }
}

static void show_result(long result) {
  if (result < 0)
    printf(" = %s", strerrorname_np(errno));
  else
    printf(" = %ld", result);
}

static uint32_t digest(const void* from, size_t length) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < length; i++) h = (h ^ ((const unsigned char*)from)[i]) * 1099511628211u;
  return (uint32_t)(h ^ (h >> 32));
}

// ---- choosing ----

static int any(int bound) {
  return (int)random_below(&rng, (uint64_t)bound);
}

static const char* component(void) {
  static char longest[256], too_long[257];
  static const char* const kNames[] = {"a",  "b",  "c",  "d0", "d1",       "d2",     "f0",
                                       "f1", "f2", "l0", "l1", "\xff\xfe", "a name", "hard"};
  int n = any(200);
  if (n == 0) {
    memset(too_long, 'n', 256);
    return too_long;
  }
  if (n == 1) {
    memset(longest, 'm', 255);
    return longest;
  }
  if (n == 2 && features['c']) return "..";
  if (n == 3) return ".";
  return kNames[any(sizeof kNames / sizeof *kNames)];
}

static void add(char* path, const char* more) {
  if (strlen(path) + strlen(more) + 2 >= kPath) return;
  if (*path && path[strlen(path) - 1] != '/') strcat(path, "/");
  strcat(path, more);
}

static const char* choose_path(void) {
  static char paths[4][kPath];
  static int next;
  char* path = paths[next++ % 4];
  *path = 0;
  int how = any(20);
  if (how < 9 && recent_count) {
    strcpy(path, recent[any(recent_count)]);
  } else if (how < 15 && first_count) {
    strcpy(path, first[any(first_count)]);
  } else {
    add(path, component());
  }
  for (int i = any(6); i == 0; i = any(4)) add(path, component());
  int end = any(60);
  if (end == 0) strcat(path, "/");
  if (end == 1) add(path, ".");
  if (end == 2) *path = 0;
  // Now and then the directory of what was chosen.
  if (end >= 3 && end < 9) {
    char* slash = strrchr(path, '/');
    if (slash) *slash = 0;
  }
  return path;
}

static void remember(const char* path) {
  if (strlen(path) > 200) return;
  int at = recent_count < kRecent ? recent_count++ : any(kRecent);
  strcpy(recent[at], path);
}

static off_t choose_offset(void) {
  switch (any(12)) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return 4095;
    case 3:
      return 4096;
    case 4:
      return 65536;
    case 5:
      return any(20) ? any(64) * 4096 : (off_t)1 << 40;
    case 6:
      return any(10) ? any(40) * 4096 + 4095 : -1;
    default:
      return any(any(2) ? 10000 : 250000);
  }
}

static size_t choose_length(void) {
  switch (any(6)) {
    case 0:
      return 1;
    case 1:
      return 4096;
    case 2:
      return (size_t)any(3) * 4096;
    case 3:
      return (size_t)any(100000);
    default:
      return (size_t)any(5000);
  }
}

static unsigned choose_mode(void) {
  static const unsigned kModes[] = {0644, 0755, 0600,  0700,  0777,  0770,  0711,  0640,
                                    0444, 0000, 04755, 02755, 02775, 01770, 02644, 0222};
  return kModes[any(sizeof kModes / sizeof *kModes)];
}

// A slot, mostly one with something in it.
static int choose_slot(void) {
  int slot = any(kSlots);
  for (int i = 0; i < 3 && fds[slot] < 0; i++) slot = any(kSlots);
  return slot;
}

// Most calls that take a directory get none; some get whatever lies in a slot.
static int choose_base(void) {
  if (any(8)) return AT_FDCWD;
  int slot = any(kSlots);
  show(" @%d", slot);
  return fds[slot];
}

static void become(int who) {
  if (!features['c']) return;
  static const gid_t kMore[] = {1001};
  if (seteuid(0) != 0 || setegid(0) != 0) abort();
  if (setgroups(who == 1 ? 1 : 0, kMore) != 0) abort();
  static const uid_t kIds[] = {0, 1000, 1001};
  if (who && (setegid(kIds[who]) != 0 || seteuid(kIds[who]) != 0)) abort();
}

// ---- looking ----

static int is_first(const struct stat* st) {
  for (int i = 0; i < first_inode_count; i++) {
    if (first_inodes[i] == st->st_ino) return 1;
  }
  return 0;
}

// A time that somebody set is before 2017 or after 2065.
static void show_time(const char* name, struct timespec t) {
  if (t.tv_sec > 1500000000 && t.tv_sec < 3000000000)
    show(" %s now", name);
  else
    show(" %s %ld.%09ld", name, (long)t.tv_sec, t.tv_nsec);
}

static void show_stat(const struct stat* st) {
  show(" %o %u:%u", st->st_mode, st->st_uid, st->st_gid);
  if (!S_ISDIR(st->st_mode) || features['n']) show(" n%ju", (uintmax_t)st->st_nlink);
  if (!S_ISDIR(st->st_mode)) show(" s%jd", (intmax_t)st->st_size);
  if (S_ISREG(st->st_mode) && features['h'] && !is_first(st)) show(" b%jd", (intmax_t)st->st_blocks);
  if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) show(" %u:%u", major(st->st_rdev), minor(st->st_rdev));
  show_time("m", st->st_mtim);
  if (features['a']) show_time("a", st->st_atim);
}

// The times of a path's inode over an operation: set to old or to future ones before, looked at after.
struct watch {
  int fd, waited;
  struct timespec set[2], changed;
};

// What changes within one tick of a clock may get the time that it had. Seldom, since it takes long.
static void wait_a_tick(struct watch* w, const struct stat* st) {
  if (w->fd < 0 || any(50)) return;
  w->changed = st->st_ctim;
  w->waited = 1;
  nanosleep(&(struct timespec){.tv_nsec = 12000000}, NULL);
}

static struct watch watch(const char* path) {
  struct watch w = {.fd = -1};
  if (any(4) || !*path) return w;
  become(0);
  w.fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  time_t base = any(2) ? 1000000000 : 4000000000;
  w.set[0].tv_sec = base + 10;
  w.set[1].tv_sec = base;
  w.set[1].tv_nsec = 123456789;
  struct stat st;
  if (w.fd >= 0 && (utimensat(w.fd, "", w.set, AT_EMPTY_PATH) != 0 || fstat(w.fd, &st) != 0)) {
    close(w.fd);
    w.fd = -1;
  }
  wait_a_tick(&w, &st);
  become(user);
  return w;
}

static int differ(struct timespec a, struct timespec b) {
  return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec;
}

static void watched(struct watch* w, const char* what) {
  if (w->fd < 0) return;
  int error = errno;
  struct stat st;
  if (fstat(w->fd, &st) == 0) {
    show(" %s:%s", what, differ(st.st_mtim, w->set[1]) ? "m" : "");
    if (features['a'] && differ(st.st_atim, w->set[0])) show("a");
    if (w->waited && differ(st.st_ctim, w->changed)) show("c");
  }
  close(w->fd);
  errno = error;
}

static void directory_of(const char* path, char* to) {
  strcpy(to, path);
  char* slash = strrchr(to, '/');
  if (slash)
    *slash = 0;
  else
    strcpy(to, ".");
}

// Both the path and its directory.
struct watches {
  struct watch own, above;
};

static struct watches watch_both(const char* path) {
  char above[kPath];
  directory_of(path, above);
  struct watches w;
  w.above = watch(above);
  w.own = watch(path);
  return w;
}

static void watched_both(struct watches* w) {
  watched(&w->own, "own");
  watched(&w->above, "above");
}

// ---- operations: files ----

static void do_open(void) {
  int slot = any(kSlots);
  static const int kAccess[] = {O_RDONLY, O_RDWR, O_RDWR, O_WRONLY};
  static const int kMore[] = {0,
                              0,
                              0,
                              O_CREAT,
                              O_CREAT,
                              O_CREAT | O_EXCL,
                              O_TRUNC,
                              O_CREAT | O_TRUNC,
                              O_APPEND,
                              O_NOFOLLOW,
                              O_DIRECTORY,
                              O_PATH,
                              O_PATH | O_NOFOLLOW,
                              O_CREAT | O_NOFOLLOW,
                              O_NOATIME};
  int flags = kAccess[any(4)] | kMore[any(sizeof kMore / sizeof *kMore)];
  unsigned mode = choose_mode() & 0777;
  const char* path = choose_path();
  show("open %d", slot);
  int base = choose_base();
  show_name(path);
  show(" %#x %o", flags, mode);
  if (fds[slot] >= 0) close(fds[slot]);
  struct watches w = watch_both(path);
  fds[slot] = openat(base == fds[slot] && base >= 0 ? -1 : base, path, flags | O_NONBLOCK | O_CLOEXEC, mode);
  show_result(fds[slot] < 0 ? -1 : 0);
  watched_both(&w);
  if (fds[slot] >= 0 && (flags & O_CREAT)) remember(path);
}

static void do_openat2(void) {
  int slot = any(kSlots);
  static const uint64_t kResolve[] = {RESOLVE_NO_XDEV,
                                      RESOLVE_NO_MAGICLINKS,
                                      RESOLVE_NO_SYMLINKS,
                                      RESOLVE_BENEATH,
                                      RESOLVE_IN_ROOT,
                                      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
                                      RESOLVE_IN_ROOT | RESOLVE_NO_XDEV,
                                      RESOLVE_BENEATH | RESOLVE_IN_ROOT};
  struct open_how how = {.flags = O_NONBLOCK | O_CLOEXEC | (any(2) ? O_RDONLY : O_RDWR),
                         .resolve = kResolve[any(8)]};
  if (any(3) == 0) {
    how.flags |= O_CREAT;
    how.mode = 0644;
  }
  const char* path = choose_path();
  show("openat2 %d", slot);
  int base = choose_base();
  show_name(path);
  show(" %#jx %#jx", (uintmax_t)how.flags, (uintmax_t)how.resolve);
  int fd = (int)syscall(SYS_openat2, base, path, &how, sizeof how);
  show_result(fd < 0 ? -1 : 0);
  if (fd < 0) return;
  if (fds[slot] >= 0) close(fds[slot]);
  fds[slot] = fd;
}

static void do_tmpfile(void) {
  int slot = any(kSlots);
  const char* path = choose_path();
  int flags = any(4) ? O_RDWR : any(2) ? O_RDONLY : O_RDWR | O_EXCL;
  show("tmpfile %d", slot);
  show_name(path);
  show(" %#x", flags);
  if (fds[slot] >= 0) close(fds[slot]);
  struct watch w = watch(path);
  fds[slot] = open(path, O_TMPFILE | flags | O_CLOEXEC | O_NONBLOCK, 0640);
  show_result(fds[slot] < 0 ? -1 : 0);
  watched(&w, "own");
}

static void do_close(void) {
  int slot = any(kSlots);
  show("close %d", slot);
  if (fds[slot] < 0) return;
  show_result(close(fds[slot]));
  fds[slot] = -1;
}

// An operation on a slot, with its file's times.
static struct watch watch_slot(int slot) {
  char path[32];
  struct watch w = {.fd = -1};
  if (fds[slot] < 0 || any(4)) return w;
  // As the slot's own descriptor: what it leads to may have no name.
  become(0);
  w.fd = dup(fds[slot]);
  (void)path;
  time_t base = any(2) ? 1000000000 : 4000000000;
  w.set[0].tv_sec = base + 10;
  w.set[1].tv_sec = base;
  struct stat st;
  if (w.fd >= 0 && (utimensat(w.fd, "", w.set, AT_EMPTY_PATH) != 0 || fstat(w.fd, &st) != 0)) {
    close(w.fd);
    w.fd = -1;
  }
  wait_a_tick(&w, &st);
  become(user);
  return w;
}

static void do_read(void) {
  int slot = choose_slot(), how = any(3);
  off_t at = choose_offset();
  size_t length = choose_length();
  show("read %d %jd %zu %d", slot, (intmax_t)at, length, how);
  struct watch w = watch_slot(slot);
  ssize_t n = how ? pread(fds[slot], data, length, at) : read(fds[slot], data, length);
  show_result(n);
  if (n > 0) show(" %08x", digest(data, (size_t)n));
  watched(&w, "own");
}

static void do_write(void) {
  int slot = choose_slot(), how = any(3);
  off_t at = choose_offset();
  size_t length = choose_length();
  unsigned char value = (unsigned char)random_next(&rng);
  for (size_t i = 0; i < length; i++) data[i] = (unsigned char)(value + i * 5 + (i >> 8));
  show("write %d %jd %zu %d", slot, (intmax_t)at, length, how);
  struct stat st;
  if (!features['k'] && fds[slot] >= 0 && fstat(fds[slot], &st) == 0 && S_ISFIFO(st.st_mode)) return;
  struct watch w = watch_slot(slot);
  show_result(how ? pwrite(fds[slot], data, length, at) : write(fds[slot], data, length));
  watched(&w, "own");
}

static void do_seek(void) {
  int slot = choose_slot(), how = any(3);
  off_t at = choose_offset();
  struct stat st;
  show("lseek %d %jd %d", slot, (intmax_t)at, how);
  // Where a directory stands is its own matter.
  if (fds[slot] >= 0 && fstat(fds[slot], &st) == 0 && S_ISDIR(st.st_mode)) return;
  show_result(lseek(fds[slot], at, how));
}

static void do_holes(void) {
  int slot = choose_slot();
  off_t at = choose_offset();
  struct stat st;
  show("holes %d %jd", slot, (intmax_t)at);
  if (fds[slot] < 0 || fstat(fds[slot], &st) != 0 || !S_ISREG(st.st_mode) || is_first(&st)) return;
  off_t was = lseek(fds[slot], 0, SEEK_CUR);
  show_result(lseek(fds[slot], at, SEEK_DATA));
  show_result(lseek(fds[slot], at, SEEK_HOLE));
  lseek(fds[slot], was, SEEK_SET);
}

static void do_truncate(void) {
  off_t to = choose_offset();
  if (any(2)) {
    int slot = choose_slot();
    show("ftruncate %d %jd", slot, (intmax_t)to);
    struct watch w = watch_slot(slot);
    show_result(ftruncate(fds[slot], to));
    watched(&w, "own");
  } else {
    const char* path = choose_path();
    show("truncate");
    show_name(path);
    show(" %jd", (intmax_t)to);
    struct watch w = watch(path);
    // To the size it has: whether that is a change depends on the file system, and on whether there are
    // pages.
    struct stat st;
    if (stat(path, &st) == 0 && st.st_size == to && to > 0) to++;
    show_result(truncate(path, to));
    watched(&w, "own");
  }
}

static void do_allocate(void) {
  static const int kModes[] = {0,
                               FALLOC_FL_KEEP_SIZE,
                               FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               FALLOC_FL_PUNCH_HOLE,
                               FALLOC_FL_COLLAPSE_RANGE,
                               FALLOC_FL_INSERT_RANGE,
                               0x4000};
  int slot = choose_slot(), mode = kModes[any(8)];
  off_t at = choose_offset(), length = (off_t)choose_length();
  if (at > 1 << 30) at = 1 << 19;
  // What it does behind the end is not to be seen but in st_blocks, and may be nothing.
  struct stat st;
  if (mode == FALLOC_FL_KEEP_SIZE && fds[slot] >= 0 && fstat(fds[slot], &st) == 0 && S_ISREG(st.st_mode) &&
      at + length > st.st_size)
    mode = 0;
  if ((mode & ~FALLOC_FL_KEEP_SIZE) == 0 && fds[slot] >= 0 && (fcntl(fds[slot], F_GETFL) & O_APPEND))
    mode = 0x4000;
  show("fallocate %d %#x %jd %jd", slot, mode, (intmax_t)at, (intmax_t)length);
  struct watch w = watch_slot(slot);
  int result = fallocate(fds[slot], mode, at, length);
  show_result(result);
  // Whether what was only reserved is data is the file system's affair, and seen in SEEK_DATA.
  if (result == 0 && (mode & ~FALLOC_FL_KEEP_SIZE) == 0) {
    for (off_t byte = at; byte < at + length; byte = (byte & ~4095) + 4096)
      show(" %zd", pwrite(fds[slot], "", 1, byte));
  }
  watched(&w, "own");
}

static void do_copy(void) {
  int from = choose_slot(), to = choose_slot(), by_sendfile = any(3) == 0;
  loff_t in = choose_offset(), out = choose_offset();
  size_t length = choose_length();
  if (out > 1 << 30) out = 12345;
  if (by_sendfile && length == 0) length = 1;
  show("copy %d %jd %d %jd %zu %d", from, (intmax_t)in, to, (intmax_t)out, length, by_sendfile);
  struct stat st;
  // From or to what is no regular file it is another matter: pipes.
  if (fds[from] >= 0 && fstat(fds[from], &st) == 0 && !S_ISREG(st.st_mode)) return;
  if (fds[to] >= 0 && fstat(fds[to], &st) == 0 && !S_ISREG(st.st_mode)) return;
  struct stat other;
  // Within one file sendfile(2) may read what it has just written.
  if (by_sendfile && fds[from] >= 0 && fds[to] >= 0 && fstat(fds[to], &st) == 0 &&
      fstat(fds[from], &other) == 0 && st.st_ino == other.st_ino)
    return;
  show_result(by_sendfile ? sendfile(fds[to], fds[from], &in, length)
                          : copy_file_range(fds[from], &in, fds[to], &out, length, 0));
}

static void do_map(void) {
  int slot = choose_slot(), write = any(2), private = any(4) == 0;
  off_t at = any(40) * 4096;
  size_t length = choose_length();
  show("map %d %jd %zu %d%d", slot, (intmax_t)at, length, write, private);
  // Whether looking at a hole makes a page of it is the file system's affair, but seen in st_blocks.
  struct stat file;
  if (features['h'] && fds[slot] >= 0 && fstat(fds[slot], &file) == 0 && !is_first(&file) &&
      at < file.st_size) {
    off_t was = lseek(fds[slot], 0, SEEK_CUR), hole = lseek(fds[slot], at, SEEK_HOLE);
    lseek(fds[slot], was, SEEK_SET);
    if (hole >= 0 && hole < file.st_size && hole < at + (off_t)length) return;
  }
  void* map = mmap(NULL, length, write ? PROT_READ | PROT_WRITE : PROT_READ,
                   private ? MAP_PRIVATE : MAP_SHARED, fds[slot], at);
  show_result(map == MAP_FAILED ? -1 : 0);
  if (map == MAP_FAILED) return;
  struct stat st;
  size_t there = 0;
  if (fstat(fds[slot], &st) == 0 && st.st_size > at)
    there = st.st_size - at < (off_t)length ? (size_t)(st.st_size - at) : length;
  show(" %08x", digest(map, there));
  if (write) {
    unsigned char value = (unsigned char)random_next(&rng);
    for (size_t i = 0; i < there; i += 1 + (size_t)any(4000)) ((unsigned char*)map)[i] = value++;
    if (there) show(" %d", msync(map, length, MS_SYNC));
    // When exactly the times of a written mapping change is the kernel's affair.
    become(0);
    if (!private) futimens(fds[slot], NULL);
    become(user);
  }
  munmap(map, length);
}

static void do_flags(void) {
  int slot = choose_slot();
  show("flags %d", slot);
  int flags = fcntl(fds[slot], F_GETFL);
  show_result(flags < 0 ? -1 : flags & ~O_NONBLOCK);
  if (flags >= 0 && any(2)) show_result(fcntl(fds[slot], F_SETFL, flags ^ O_APPEND));
}

static void do_sync(void) {
  int slot = choose_slot();
  show("sync %d", slot);
  show_result(any(2) ? fsync(fds[slot]) : fdatasync(fds[slot]));
}

static void do_lock(void) {
  int slot = choose_slot(), how = any(3);
  struct flock lock = {.l_type = (short)any(3), .l_whence = SEEK_SET, .l_start = any(20), .l_len = any(20)};
  show("lock %d %d %d %jd %jd", slot, how, lock.l_type, (intmax_t)lock.l_start, (intmax_t)lock.l_len);
  static const int kFlock[] = {LOCK_SH, LOCK_EX, LOCK_UN};
  if (how == 0) {
    show_result(flock(fds[slot], kFlock[lock.l_type] | LOCK_NB));
  } else if (how == 1) {
    show_result(fcntl(fds[slot], F_OFD_SETLK, &lock));
  } else {
    if (lock.l_type == F_UNLCK) lock.l_type = F_WRLCK;
    int result = fcntl(fds[slot], F_OFD_GETLK, &lock);
    show_result(result);
    if (result == 0) show(" %d %jd %jd", lock.l_type, (intmax_t)lock.l_start, (intmax_t)lock.l_len);
  }
}

// ---- operations: names ----

static void do_mkdir(void) {
  const char* path = choose_path();
  unsigned mode = choose_mode();
  show("mkdir");
  int base = choose_base();
  show_name(path);
  show(" %o", mode);
  struct watches w = watch_both(path);
  int result = mkdirat(base, path, mode);
  show_result(result);
  watched_both(&w);
  if (result == 0) remember(path);
}

static void do_mknod(void) {
  static const unsigned kKinds[] = {S_IFREG, S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR, S_IFLNK};
  const char* path = choose_path();
  unsigned mode = kKinds[any(8)] | choose_mode();
  show("mknod");
  show_name(path);
  show(" %o", mode);
  struct watches w = watch_both(path);
  int result = mknod(path, mode, makedev(240, 77));
  show_result(result);
  watched_both(&w);
  if (result == 0) remember(path);
}

static void do_unlink(void) {
  const char* path = choose_path();
  int flags = any(3) ? 0 : any(8) ? AT_REMOVEDIR : 0x8000;
  show("unlink");
  int base = choose_base();
  show_name(path);
  show(" %#x", flags);
  struct watches w = watch_both(path);
  show_result(unlinkat(base, path, flags));
  watched_both(&w);
}

static void do_rename(void) {
  static const unsigned kFlags[] = {
      0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE | RENAME_NOREPLACE, 8};
  const char *from = choose_path(), *to = choose_path();
  unsigned flags = kFlags[any(8)];
  show("rename");
  show_name(from);
  show_name(to);
  show(" %u", flags);
  struct watches a = watch_both(from), b = watch_both(to);
  int result = renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
  show_result(result);
  watched_both(&a);
  watched_both(&b);
  if (result == 0) remember(to);
}

static void do_link(void) {
  const char *from = choose_path(), *to = choose_path();
  int flags = any(4) == 0 ? AT_SYMLINK_FOLLOW : 0, slot = any(4) ? -1 : choose_slot();
  show("link %d", slot);
  if (slot < 0) show_name(from);
  show_name(to);
  show(" %#x", flags);
  struct watches a = {{.fd = -1}, {.fd = -1}}, b = watch_both(to);
  if (slot < 0) a = watch_both(from);
  // Whether users may link what is not theirs is a setting (fs.protected_hardlinks).
  become(0);
  int result;
  if (slot < 0) {
    result = linkat(AT_FDCWD, from, AT_FDCWD, to, flags);
  } else {
    char number[16];
    snprintf(number, sizeof number, "%d", fds[slot]);
    result = linkat(proc_fds, number, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
  }
  show_result(result);
  become(user);
  watched_both(&a);
  watched_both(&b);
  if (result == 0) remember(to);
}

static void do_symlink(void) {
  const char* path = choose_path();
  char target[kPath];
  // Targets have no "..": where they lead depends on nothing but the tree.
  static const char* const kTargets[] = {"a",  "b",  "d0", "d1/a",        "l0",
                                         "l1", "f0", ".",  "none/at/all", "d0/d1"};
  if (any(2) && first_count)
    strcpy(target, first[any(first_count)]);
  else
    strcpy(target, kTargets[any(10)]);
  if (any(50) == 0) *target = 0;
  show("symlink");
  show_name(target);
  show_name(path);
  struct watches w = watch_both(path);
  int result = symlink(target, path);
  show_result(result);
  watched_both(&w);
  if (result == 0) remember(path);
}

static void do_readlink(void) {
  char target[kPath];
  const char* path = choose_path();
  size_t room = any(8) ? sizeof target : (size_t)any(6);
  show("readlink");
  show_name(path);
  struct watch w = watch(path);
  ssize_t n = readlink(path, target, room);
  show_result(n);
  if (n > 0) show(" %08x", digest(target, (size_t)n));
  watched(&w, "own");
}

// ---- operations: attributes ----

static void do_stat(void) {
  static const int kFlags[] = {0, AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH, 0x80000};
  struct stat st;
  int slot = choose_slot(), flags = kFlags[any(20) ? any(2) : any(5)], result;
  if (any(4) == 0) {
    show("fstat %d", slot);
    result = fstat(fds[slot], &st);
  } else {
    const char* path = choose_path();
    show("stat");
    int base = choose_base();
    show_name(path);
    show(" %#x", flags);
    result = fstatat(base, path, &st, flags);
    if (result == 0 && any(3) == 0) remember(path);
  }
  show_result(result);
  if (result == 0) show_stat(&st);
}

static void do_statx(void) {
  struct statx sx;
  const char* path = choose_path();
  unsigned mask = any(2) ? STATX_BASIC_STATS : STATX_ALL;
  int flags = any(2) ? 0 : AT_SYMLINK_NOFOLLOW;
  show("statx");
  show_name(path);
  show(" %#x %#x", flags, mask);
  int result = statx(AT_FDCWD, path, flags, mask, &sx);
  show_result(result);
  if (result == 0)
    show(" %#x %o %u:%u", sx.stx_mask & STATX_BASIC_STATS, sx.stx_mode, sx.stx_uid, sx.stx_gid);
}

static void do_same(void) {
  const char *a = choose_path(), *b = choose_path();
  struct stat one, other;
  show("same");
  show_name(a);
  show_name(b);
  if (stat(a, &one) == 0 && stat(b, &other) == 0)
    show(" = %d", one.st_ino == other.st_ino && one.st_dev == other.st_dev);
}

static void do_access(void) {
  const char* path = choose_path();
  int mode = any(8), flags = any(2) ? 0 : any(2) ? AT_EACCESS : AT_SYMLINK_NOFOLLOW;
  show("access");
  show_name(path);
  show(" %d %#x", mode, flags);
  show_result(syscall(SYS_faccessat2, AT_FDCWD, path, mode, flags));
}

static void do_chmod(void) {
  unsigned mode = choose_mode();
  if (any(3) == 0) {
    int slot = choose_slot();
    show("fchmod %d %o", slot, mode);
    struct watch w = watch_slot(slot);
    show_result(fchmod(fds[slot], mode));
    watched(&w, "own");
  } else {
    const char* path = choose_path();
    show("chmod");
    show_name(path);
    show(" %o", mode);
    struct watch w = watch(path);
    show_result(chmod(path, mode));
    watched(&w, "own");
  }
}

static void do_chown(void) {
  static const unsigned kIds[] = {0, 1000, 1001, -1u};
  unsigned uid = kIds[any(4)], gid = kIds[any(4)];
  if (!features['k'] && uid == -1u && gid == -1u) uid = 0;
  int slot = choose_slot(), how = any(3);
  const char* path = choose_path();
  show("chown %d", how);
  if (how == 0)
    show(" %d", slot);
  else
    show_name(path);
  show(" %d:%d", (int)uid, (int)gid);
  struct watch w = how == 0 ? watch_slot(slot) : watch(path);
  show_result(how == 0 ? fchown(fds[slot], uid, gid)
                       : fchownat(AT_FDCWD, path, uid, gid, how == 1 ? 0 : AT_SYMLINK_NOFOLLOW));
  watched(&w, "own");
}

static void do_times(void) {
  struct timespec times[2];
  for (int i = 0; i < 2; i++) {
    int how = any(6);
    times[i].tv_sec = any(1400000000);
    times[i].tv_nsec = how == 0               ? UTIME_NOW
                       : how == 1             ? UTIME_OMIT
                       : how == 2 && !any(10) ? 1000000000
                                              : any(1000000000);
    if (how == 3) times[i].tv_sec = -times[i].tv_sec;
  }
  int now = any(8) == 0, flags = any(2) ? 0 : AT_SYMLINK_NOFOLLOW;
  const char* path = choose_path();
  show("utimensat");
  show_name(path);
  if (!now)
    show(" %ld.%ld %ld.%ld", (long)times[0].tv_sec, times[0].tv_nsec, (long)times[1].tv_sec,
         times[1].tv_nsec);
  show_result(utimensat(AT_FDCWD, path, now ? NULL : times, flags));
}

static const char* choose_attribute(void) {
  static const char* const kNames[] = {"user.a",     "user.b", "user.c",  "user.of the tree", "trusted.a",
                                       "security.a", "user.",  "nothing", "system.none"};
  return kNames[any(any(4) ? 4 : 9)];
}

static void do_setxattr(void) {
  const char *path = choose_path(), *name = choose_attribute();
  size_t length = any(20) ? (size_t)any(100) : any(2) ? 65537 : 3000;
  int flags = any(2) ? 0 : 1 + any(3), slot = any(4) ? -1 : choose_slot();
  unsigned char value = (unsigned char)random_next(&rng);
  for (size_t i = 0; i < length; i++) data[i] = (unsigned char)(value + i);
  show("setxattr %d", slot);
  show_name(path);
  show_name(name);
  show(" %zu %d", length, flags);
  struct watch w = watch(path);
  show_result(slot < 0 ? lsetxattr(path, name, data, length, flags)
                       : fsetxattr(fds[slot], name, data, length, flags));
  watched(&w, "own");
}

static void do_getxattr(void) {
  const char *path = choose_path(), *name = choose_attribute();
  size_t room = any(3) ? kLargest : (size_t)any(60);
  int slot = any(4) ? -1 : choose_slot();
  show("getxattr %d", slot);
  show_name(path);
  show_name(name);
  show(" %zu", room);
  ssize_t n = slot < 0 ? lgetxattr(path, name, data, room) : fgetxattr(fds[slot], name, data, room);
  show_result(n);
  if (n > 0 && room) show(" %08x", digest(data, (size_t)n));
}

static int compare_names(const void* a, const void* b) {
  return strcmp(*(const char* const*)a, *(const char* const*)b);
}

static void show_attributes(const char* path) {
  static char names[65536];
  ssize_t n = llistxattr(path, names, sizeof names);
  show_result(n < 0 ? -1 : 0);
  if (n <= 0) return;
  const char* sorted[200];
  int count = 0;
  for (char* at = names; at < names + n && count < 200; at += strlen(at) + 1) {
    // A kernel that labels files does so on its own account.
    if (strcmp(at, "security.selinux") != 0) sorted[count++] = at;
  }
  qsort(sorted, (size_t)count, sizeof *sorted, compare_names);
  for (int i = 0; i < count; i++) show_name(sorted[i]);
}

static void do_listxattr(void) {
  const char* path = choose_path();
  show("listxattr");
  show_name(path);
  show_attributes(path);
}

static void do_removexattr(void) {
  const char *path = choose_path(), *name = choose_attribute();
  show("removexattr");
  show_name(path);
  show_name(name);
  struct watch w = watch(path);
  show_result(lremovexattr(path, name));
  watched(&w, "own");
}

// ---- operations: directories ----

struct entry {
  char name[257];
  unsigned char type;
};

static int compare_entries(const void* a, const void* b) {
  return strcmp(((const struct entry*)a)->name, ((const struct entry*)b)->name);
}

// All entries, sorted; -1 if it cannot be read. The caller frees it.
static int list_directory(int fd, struct entry** out) {
  static char buffer[32768];
  int count = 0, room = 0;
  size_t piece =
      any(2) ? sizeof buffer : 600;  // once: how often it takes to read all is not the same everywhere
  *out = NULL;
  for (;;) {
    long n = syscall(SYS_getdents64, fd, buffer, piece);
    if (n < 0) return -1;
    if (n == 0) break;
    for (long at = 0; at < n;) {
      struct dirent64* e = (struct dirent64*)(buffer + at);
      if (count == room) {
        room = room ? room * 2 : 64;
        *out = realloc(*out, (size_t)room * sizeof **out);
      }
      strcpy((*out)[count].name, e->d_name);
      (*out)[count++].type = e->d_type;
      at += e->d_reclen;
    }
  }
  qsort(*out, (size_t)count, sizeof **out, compare_entries);
  return count;
}

static void do_list(void) {
  const char* path = choose_path();
  int slot = any(6) ? -1 : choose_slot();
  show("list %d", slot);
  if (slot < 0) show_name(path);
  struct watch w = slot < 0 ? watch(path) : watch_slot(slot);
  int fd = slot < 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : fds[slot];
  if (fd < 0) {
    show_result(-1);
    return watched(&w, "own");
  }
  if (slot >= 0) lseek(fd, 0, SEEK_SET);
  struct entry* entries;
  int count = list_directory(fd, &entries);
  show_result(count);
  if (count > 0) {
    uint32_t sum = 0;
    for (int i = 0; i < count; i++)
      sum = sum * 31 + digest(entries[i].name, strlen(entries[i].name)) + entries[i].type;
    show(" %08x", sum);
    if (count < 20) {
      for (int i = 0; i < count; i++) show_name(entries[i].name);
    }
  }
  free(entries);
  watched(&w, "own");
  if (slot < 0) close(fd);
}

static void do_become(void) {
  if (!features['c']) return;
  user = any(3) ? 0 : any(3);
  show("become %d", user);
  become(user);
}

static void do_umask(void) {
  static const unsigned kMasks[] = {022, 022, 022, 002, 077, 000};
  unsigned mask = kMasks[any(6)];
  show("umask %o = %o", mask, umask(mask));
}

// ---- running ----

// The whole tree, a line for each name.
static void show_tree(int at, const char* name, char* path, int print) {
  size_t length = strlen(path);
  if (length + strlen(name) + 2 >= 3 * kPath) return;
  if (*name) sprintf(path + length, "%s%s", length ? "/" : "", name);
  struct stat st;
  if (fstatat(at, *name ? name : ".", &st, AT_SYMLINK_NOFOLLOW) != 0) {
    show("tree");
    show_name(path);
    show_result(-1);
    putchar('\n');
    path[length] = 0;
    return;
  }
  if (!print && *name && strlen(path) < kPath) {
    first = realloc(first, (size_t)(first_count + 1) * sizeof *first);
    strcpy(first[first_count++], path);
    first_inodes = realloc(first_inodes, (size_t)(first_inode_count + 1) * sizeof *first_inodes);
    first_inodes[first_inode_count++] = st.st_ino;
  }
  show("tree");
  show_name(path);
  show_stat(&st);
  if (S_ISREG(st.st_mode)) {
    int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOATIME);
    uint32_t sum = 0;
    for (ssize_t n; fd >= 0 && (n = read(fd, data, kLargest)) > 0;) {
      // Holes may be large: what is zeros all over does not count but by where the rest is.
      if (data[0] || memcmp(data, data + 1, (size_t)n - 1) != 0)
        sum = sum * 31 + digest(data, (size_t)n) + (uint32_t)lseek(fd, 0, SEEK_CUR);
      off_t next = lseek(fd, lseek(fd, 0, SEEK_CUR), SEEK_DATA);
      if (next < 0) break;
      lseek(fd, next & ~(off_t)(kLargest - 1), SEEK_SET);
    }
    if (fd >= 0) close(fd);
    show(" %08x", sum);
  } else if (S_ISLNK(st.st_mode)) {
    char target[4097];
    ssize_t n = readlinkat(at, name, target, 4096);
    target[n < 0 ? 0 : n] = 0;
    show_name(target);
  }
  if (features['x'] && length + strlen(name) < 1000) show_attributes(*path ? path : ".");
  putchar('\n');
  if (S_ISDIR(st.st_mode)) {
    int fd = openat(at, *name ? name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct entry* entries = NULL;
    int count = fd < 0 ? 0 : list_directory(fd, &entries);
    for (int i = 0; i < count; i++) {
      if (strcmp(entries[i].name, ".") != 0 && strcmp(entries[i].name, "..") != 0)
        show_tree(fd, entries[i].name, path, print);
    }
    free(entries);
    if (fd >= 0) close(fd);
  }
  path[length] = 0;
}

static const struct {
  void (*call)(void);
  int weight;
  char feature;  // that both sides have to have
} kOperations[] = {
    {do_open, 12, 0},         {do_openat2, 2, 0},    {do_tmpfile, 2, 'o'},  {do_close, 2, 0},
    {do_read, 8, 0},          {do_write, 8, 0},      {do_seek, 2, 0},       {do_holes, 2, 'h'},
    {do_truncate, 3, 0},      {do_allocate, 3, 0},   {do_copy, 3, 0},       {do_map, 3, 0},
    {do_flags, 1, 0},         {do_sync, 1, 0},       {do_lock, 2, 0},       {do_mkdir, 5, 0},
    {do_mknod, 2, 'd'},       {do_unlink, 8, 0},     {do_rename, 8, 0},     {do_link, 4, 0},
    {do_symlink, 3, 0},       {do_readlink, 2, 0},   {do_stat, 12, 0},      {do_statx, 2, 0},
    {do_same, 2, 0},          {do_access, 2, 0},     {do_chmod, 4, 0},      {do_chown, 3, 0},
    {do_times, 2, 0},         {do_setxattr, 3, 'x'}, {do_getxattr, 3, 'x'}, {do_listxattr, 1, 'x'},
    {do_removexattr, 1, 'x'}, {do_list, 5, 0},       {do_become, 4, 'c'},   {do_umask, 1, 0},
};

static void one_operation(void) {
  int total = 0;
  for (size_t i = 0; i < sizeof kOperations / sizeof *kOperations; i++) total += kOperations[i].weight;
  for (;;) {
    int at = any(total);
    size_t i = 0;
    while (at >= kOperations[i].weight) at -= kOperations[i++].weight;
    if (kOperations[i].feature && !features[(unsigned char)kOperations[i].feature]) continue;
    show("%ld ", operation);
    kOperations[i].call();
    putchar('\n');
    return;
  }
}

static void keep_capabilities(uint64_t mask) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[2] = {{(uint32_t)mask, (uint32_t)mask, 0},
                                           {(uint32_t)(mask >> 32), (uint32_t)(mask >> 32), 0}};
  if (syscall(SYS_capset, &header, sets) != 0) abort();
}

int main(int argc, char** argv) {
  uint64_t capabilities = 0;
  long operations = 10000;
  uint64_t seed = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
  const char* letters = "cadxohnk";
  for (int c; (c = getopt(argc, argv, "N:S:o:C:")) != -1;) {
    switch (c) {
      case 'N':
        operations = atol(optarg);
        break;
      case 'S':
        seed = strtoull(optarg, NULL, 0);
        break;
      case 'o':
        letters = optarg;
        break;
      case 'C':
        capabilities = strtoull(optarg, NULL, 16);
        break;
      default:
        return 2;
    }
  }
  if (optind != argc - 1) {
    fprintf(stderr, "usage: fsmodel [-S SEED] [-N OPERATIONS] [-o FEATURES] [-C CAPABILITIES] TOP\n");
    return 2;
  }
  for (; *letters; letters++) features[(unsigned char)*letters] = 1;
  printf("seed %ju\n", (uintmax_t)seed);
  rng.state = seed;
  signal(SIGPIPE, SIG_IGN);
  umask(022);
  proc_fds = open("/proc/self/fd", O_PATH | O_CLOEXEC);
  if (chdir(argv[optind]) != 0 || (features['c'] && chroot(".") != 0)) {
    perror(argv[optind]);
    return 2;
  }
  if (capabilities) keep_capabilities(capabilities);
  for (int i = 0; i < kSlots; i++) fds[i] = -1;
  static char path[4 * kPath];
  show_tree(AT_FDCWD, "", path, 0);
  for (operation = 0; operation < operations; operation++) one_operation();
  become(0);
  // Who has no rights in it sees less in the end, but the same.
  show_tree(AT_FDCWD, "", path, 1);
  return 0;
}
