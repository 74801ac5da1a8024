// Several processes that change a file tree at once; each knows what its own part of it must hold.
//
//     fsstress [-p PROCESSES] [-N OPERATIONS] [-S SEED] DIRECTORY
//
// Each process has a subtree of its own below DIRECTORY and keeps in memory what is in it: names, the files
// behind them (with hard links, content, attributes), directories, symlinks. Operations there must give the
// result that this model gives. Between them it works in DIRECTORY/shared, where all create, link, rename,
// exchange, list and delete the same few names: there any error that the situation allows is right, but names
// that nobody touches must be listed exactly once, whatever changes around them, and a counter that is only
// changed under a lock must add up. In the end each process compares its whole tree with its model, and the
// first one takes all away.
//
// The seed is printed; the same one gives each process the same operations, in whatever order the processes
// run. OPERATIONS (default 2000) are for each process. Exit status: 0, or 1 with what was wrong.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

enum { kNames = 12, kDepth = 3, kContent = 40000, kStable = 40, kOpen = 4, kNodes = 4096 };

struct node {
  char kind;  // 'f' file, 'd' directory, 'l' symlink; 0 is free
  int links;  // names and, for files, descriptors held by this process
  int names;
  int child[kNames];  // of a directory: 0 or a node
  unsigned mode;
  int attribute;  // the value of user.x, -1 if there is none
  off_t size;
  unsigned char* content;
  char target[32];
};

static struct node nodes[kNodes];  // [0] is nothing, [1] the top
static struct { int node, fd; } held[kOpen];
static struct random rng;
static int self;
static long done, errors_seen;
static uint64_t seed;
static char why[512];
static const char* top;

static void fail(const char* file, int line, const char* what) {
  fprintf(stderr, "fsstress: process %d, operation %ld, %s:%d: %s (errno %s) %s\n", self, done, file, line,
          what, strerrorname_np(errno), why);
  _exit(1);
}

#define CHECK(x) ((x) ? (void)0 : fail("fsstress.c", __LINE__, #x))

static int any(int bound) {
  return (int)random_below(&rng, (uint64_t)bound);
}

// ---- the model ----

static int new_node(char kind, unsigned mode) {
  for (int i = 2; i < kNodes; i++) {
    if (nodes[i].kind) continue;
    memset(&nodes[i], 0, sizeof nodes[i]);
    nodes[i].kind = kind;
    nodes[i].mode = mode;
    nodes[i].attribute = -1;
    return i;
  }
  return 0;
}

static void drop(int n) {
  if (--nodes[n].links > 0) return;
  free(nodes[n].content);
  nodes[n].content = NULL;
  nodes[n].kind = 0;
}

static int is_empty(int n) {
  for (int i = 0; i < kNames; i++) {
    if (nodes[n].child[i]) return 0;
  }
  return 1;
}

static void set_child(int directory, int slot, int n) {
  nodes[directory].child[slot] = n;
  nodes[n].links++;
  nodes[n].names++;
}

static void clear_child(int directory, int slot) {
  int n = nodes[directory].child[slot];
  nodes[directory].child[slot] = 0;
  nodes[n].names--;
  drop(n);
}

// A name in the tree: the directory, the slot in it, and its path from the top.
struct place {
  int directory, slot, node;
  int above[kDepth];  // the directories on the way
  int depth;
  char path[128];
};

static void name_of(int slot, char* to) {
  // One is as long as a name may be in what holds it, one has bytes that are no UTF-8.
  if (slot == 0)
    strcpy(to, "\xff\xfe");
  else
    sprintf(to, "name%d", slot);
}

static struct place somewhere(void) {
  struct place p = {.directory = 1, .depth = 0};
  char name[16];
  for (;;) {
    p.slot = any(kNames);
    p.node = nodes[p.directory].child[p.slot];
    name_of(p.slot, name);
    strcat(p.path, name);
    if (!p.node || nodes[p.node].kind != 'd' || p.depth == kDepth - 1 || any(3) == 0) return p;
    p.above[p.depth++] = p.directory;
    p.directory = p.node;
    strcat(p.path, "/");
  }
}

static int lies_in(const struct place* p, int directory) {
  for (int i = 0; i < p->depth; i++) {
    if (p->above[i] == directory) return 1;
  }
  return p->directory == directory;
}

static int depth_below(int n) {
  int most = 0;
  for (int i = 0; i < kNames; i++) {
    int c = nodes[n].child[i];
    if (c && nodes[c].kind == 'd') {
      int d = 1 + depth_below(c);
      if (d > most) most = d;
    } else if (c && most < 1) {
      most = 1;
    }
  }
  return most;
}

// ---- what is done in the own tree; result 0 or an errno, expected the same ----

static void expect(long result, int error) {
  errors_seen += error != 0;
  if (error) {
    CHECK(result == -1);
    CHECK(errno == error);
  } else {
    CHECK(result >= 0);
  }
}

static int create_error(const struct place* p) {
  return p->node ? EEXIST : 0;
}

static void own_mkdir(void) {
  struct place p = somewhere();
  if (p.depth == kDepth - 1) return;
  int error = create_error(&p);
  sprintf(why, "mkdir %s", p.path);
  expect(mkdir(p.path, 0755), error);
  if (!error) set_child(p.directory, p.slot, new_node('d', 0755));
}

static void own_symlink(void) {
  struct place p = somewhere();
  int error = create_error(&p);
  sprintf(why, "symlink %s", p.path);
  char target[32];
  sprintf(target, "to/%d", any(1000000));
  expect(symlink(target, p.path), error);
  if (error) return;
  int n = new_node('l', 0777);
  strcpy(nodes[n].target, target);
  set_child(p.directory, p.slot, n);
}

static void hold(int n, int fd) {
  int slot = any(kOpen);
  if (held[slot].node) {
    CHECK(close(held[slot].fd) == 0);
    drop(held[slot].node);
  }
  held[slot].node = n;
  held[slot].fd = fd;
  nodes[n].links++;
}

static void own_create(void) {
  struct place p = somewhere();
  int error = create_error(&p);
  sprintf(why, "create %s", p.path);
  int fd = open(p.path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0640);
  expect(fd, error);
  if (error) return;
  int n = new_node('f', 0640);
  nodes[n].content = calloc(1, kContent);
  set_child(p.directory, p.slot, n);
  hold(n, fd);
}

// A file without a name, which may get one, or not.
static void own_tmpfile(void) {
  struct place p = somewhere();
  sprintf(why, "tmpfile for %s", p.path);
  int fd = open(".", O_TMPFILE | O_RDWR, 0640);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) return;  // through FUSE
  CHECK(fd >= 0);
  int n = new_node('f', 0640);
  nodes[n].content = calloc(1, kContent);
  hold(n, fd);
  if (any(2)) return;
  int error = create_error(&p);
  char proc[32];
  sprintf(proc, "/proc/self/fd/%d", fd);
  expect(linkat(AT_FDCWD, proc, AT_FDCWD, p.path, AT_SYMLINK_FOLLOW), error);
  if (!error) set_child(p.directory, p.slot, n);
}

static void own_open(void) {
  struct place p = somewhere();
  sprintf(why, "open %s", p.path);
  int fd = open(p.path, O_RDWR | O_NOFOLLOW);
  char kind = p.node ? nodes[p.node].kind : 0;
  expect(fd, !kind ? ENOENT : kind == 'd' ? EISDIR : kind == 'l' ? ELOOP : 0);
  if (kind == 'f') hold(p.node, fd);
}

static void own_unlink(void) {
  struct place p = somewhere();
  sprintf(why, "unlink %s", p.path);
  int error = !p.node ? ENOENT : nodes[p.node].kind == 'd' ? EISDIR : 0;
  expect(unlink(p.path), error);
  if (!error) clear_child(p.directory, p.slot);
}

static void own_rmdir(void) {
  struct place p = somewhere();
  sprintf(why, "rmdir %s", p.path);
  int error = !p.node ? ENOENT : nodes[p.node].kind != 'd' ? ENOTDIR : !is_empty(p.node) ? ENOTEMPTY : 0;
  expect(rmdir(p.path), error);
  if (!error) clear_child(p.directory, p.slot);
}

static void own_link(void) {
  struct place from = somewhere(), to = somewhere();
  sprintf(why, "link %s %s", from.path, to.path);
  // Linux looks at the new name first, but for a directory at that what is to be linked is one.
  int error = !from.node ? ENOENT : to.node ? EEXIST : nodes[from.node].kind == 'd' ? EPERM : 0;
  expect(linkat(AT_FDCWD, from.path, AT_FDCWD, to.path, 0), error);
  if (!error) set_child(to.directory, to.slot, from.node);
}

static void own_rename(void) {
  static const unsigned kFlags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
  struct place from = somewhere(), to = somewhere();
  unsigned flags = kFlags[any(4)];
  int a = from.node, b = to.node;
  int a_is_dir = a && nodes[a].kind == 'd', b_is_dir = b && nodes[b].kind == 'd';
  // The tree stays as deep as paths here may be.
  if (a_is_dir && to.depth + depth_below(a) >= kDepth) return;
  if (flags == RENAME_EXCHANGE && b_is_dir && from.depth + depth_below(b) >= kDepth) return;
  sprintf(why, "rename %s %s flags %u", from.path, to.path, flags);
  int error = 0;
  if (!a)
    error = ENOENT;
  else if (flags == RENAME_NOREPLACE && b)
    error = EEXIST;
  else if (flags == RENAME_EXCHANGE && !b)
    error = ENOENT;
  else if (a_is_dir && lies_in(&to, a))
    error = EINVAL;
  else if (b_is_dir && lies_in(&from, b))
    error = flags == RENAME_EXCHANGE ? EINVAL : ENOTEMPTY;
  else if (a == b)
    error = 0;
  else if (flags != RENAME_EXCHANGE && b && a_is_dir && !b_is_dir)
    error = ENOTDIR;
  else if (flags != RENAME_EXCHANGE && b && !a_is_dir && b_is_dir)
    error = EISDIR;
  else if (flags != RENAME_EXCHANGE && b_is_dir && !is_empty(b))
    error = ENOTEMPTY;
  expect(renameat2(AT_FDCWD, from.path, AT_FDCWD, to.path, flags), error);
  if (error || a == b) return;
  if (flags == RENAME_EXCHANGE) {
    nodes[from.directory].child[from.slot] = b;
    nodes[to.directory].child[to.slot] = a;
    return;
  }
  if (b) clear_child(to.directory, to.slot);
  nodes[from.directory].child[from.slot] = 0;
  nodes[to.directory].child[to.slot] = a;
}

static void own_write(void) {
  int i = any(kOpen);
  if (!held[i].node) return;
  struct node* n = &nodes[held[i].node];
  off_t at = any(kContent - 1), length = 1 + any(kContent - (int)at - 1);
  if (any(2) && length > 300) length = 300;
  sprintf(why, "write %jd %jd", (intmax_t)at, (intmax_t)length);
  unsigned char data[kContent];
  unsigned char value = (unsigned char)random_next(&rng);
  for (off_t k = 0; k < length; k++) data[k] = (unsigned char)(value + k * 3);
  CHECK(pwrite(held[i].fd, data, (size_t)length, at) == length);
  memcpy(n->content + at, data, (size_t)length);
  if (at + length > n->size) n->size = at + length;
}

static void check_content(int fd, const struct node* n) {
  unsigned char data[kContent + 1];
  struct stat st;
  CHECK(fstat(fd, &st) == 0);
  CHECK(st.st_size == n->size);
  CHECK(st.st_nlink == (nlink_t)n->names);
  CHECK((st.st_mode & 07777) == n->mode);
  CHECK(pread(fd, data, sizeof data, 0) == n->size);
  CHECK(memcmp(data, n->content, (size_t)n->size) == 0);
  char value[16];
  ssize_t length = fgetxattr(fd, "user.x", value, sizeof value);
  if (n->attribute < 0 || length < 0) {
    CHECK(length == -1 && (errno == ENODATA || errno == EOPNOTSUPP));
  } else {
    CHECK(length > 0 && length < 15);
    value[length] = 0;
    CHECK(atoi(value) == n->attribute);
  }
}

static void own_read(void) {
  int i = any(kOpen);
  sprintf(why, "read held %d", i);
  if (held[i].node) check_content(held[i].fd, &nodes[held[i].node]);
}

static void own_truncate(void) {
  int i = any(kOpen);
  if (!held[i].node) return;
  struct node* n = &nodes[held[i].node];
  off_t to = any(kContent);
  sprintf(why, "truncate %jd", (intmax_t)to);
  CHECK(ftruncate(held[i].fd, to) == 0);
  if (to < n->size) memset(n->content + to, 0, (size_t)(n->size - to));
  n->size = to;
}

static void own_allocate(void) {
  int i = any(kOpen);
  if (!held[i].node) return;
  struct node* n = &nodes[held[i].node];
  off_t at = any(kContent - 1), length = 1 + any(kContent - (int)at - 1);
  sprintf(why, "fallocate %jd %jd", (intmax_t)at, (intmax_t)length);
  if (any(2)) {
    if (fallocate(held[i].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length) < 0) {
      CHECK(errno == EOPNOTSUPP);
      return;
    }
    if (at < n->size) memset(n->content + at, 0, (size_t)(at + length < n->size ? length : n->size - at));
  } else {
    if (fallocate(held[i].fd, 0, at, length) < 0) {
      CHECK(errno == EOPNOTSUPP);
      return;
    }
    if (at + length > n->size) n->size = at + length;
  }
}

static void own_attributes(void) {
  int i = any(kOpen);
  if (!held[i].node) return;
  struct node* n = &nodes[held[i].node];
  if (any(2)) {
    n->mode = 0600 | (unsigned)any(0200);
    sprintf(why, "chmod %o", n->mode);
    CHECK(fchmod(held[i].fd, n->mode) == 0);
    return;
  }
  int value = any(100000);
  char text[16];
  sprintf(text, "%d", value);
  sprintf(why, "setxattr %s", text);
  if (fsetxattr(held[i].fd, "user.x", text, strlen(text), 0) == 0)
    n->attribute = value;
  else
    CHECK(errno == EOPNOTSUPP);
}

// A directory must list what the model has there, each name once.
static void check_directory(const char* path, int n) {
  DIR* d = opendir(path);
  CHECK(d);
  int seen[kNames] = {0}, dots = 0;
  for (struct dirent* e; (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
      dots++;
      continue;
    }
    char name[16];
    int slot = 0;
    for (; slot < kNames; slot++) {
      name_of(slot, name);
      if (strcmp(name, e->d_name) == 0) break;
    }
    CHECK(slot < kNames);
    CHECK(nodes[n].child[slot]);
    char kind = nodes[nodes[n].child[slot]].kind;
    CHECK(e->d_type == DT_UNKNOWN || e->d_type == (kind == 'd' ? DT_DIR : kind == 'l' ? DT_LNK : DT_REG));
    seen[slot]++;
  }
  closedir(d);
  CHECK(dots == 2);
  int below = 0;
  for (int i = 0; i < kNames; i++) {
    CHECK(seen[i] == (nodes[n].child[i] ? 1 : 0));
    below += nodes[n].child[i] && nodes[nodes[n].child[i]].kind == 'd';
  }
  struct stat st;
  CHECK(stat(path, &st) == 0);
  CHECK(st.st_nlink == (nlink_t)(2 + below) || st.st_nlink == 1);  // 1: a file system that does not count
}

static void own_list(void) {
  struct place p = somewhere();
  if (!p.node || nodes[p.node].kind != 'd') return;
  sprintf(why, "list %s", p.path);
  check_directory(p.path, p.node);
}

static void check_tree(const char* path, int n) {
  snprintf(why, sizeof why, "in the end %.200s", path);
  check_directory(path, n);
  for (int i = 0; i < kNames; i++) {
    int c = nodes[n].child[i];
    if (!c) continue;
    char name[16], below[256];
    name_of(i, name);
    snprintf(below, sizeof below, "%s/%s", path, name);
    snprintf(why, sizeof why, "in the end %.200s", below);
    if (nodes[c].kind == 'd') {
      check_tree(below, c);
    } else if (nodes[c].kind == 'l') {
      char target[64];
      CHECK(readlink(below, target, sizeof target) == (ssize_t)strlen(nodes[c].target));
      CHECK(memcmp(target, nodes[c].target, strlen(nodes[c].target)) == 0);
    } else {
      int fd = open(below, O_RDONLY);
      CHECK(fd >= 0);
      check_content(fd, &nodes[c]);
      close(fd);
    }
  }
}

// ---- what all do in the same directory ----

static int may_be(long result, int a, int b, int c, int d) {
  return result >= 0 || errno == ENOENT || errno == a || errno == b || errno == c || errno == d;
}

static void list_shared(void) {
  strcpy(why, "list ../shared");
  DIR* d = opendir("../shared");
  CHECK(d);
  int seen[kStable] = {0}, dots = 0, number;
  for (struct dirent* e; (e = readdir(d));) {
    if (sscanf(e->d_name, "stable%d", &number) == 1) {
      CHECK(number >= 0 && number < kStable);
      seen[number]++;
    }
    dots += strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    // Listing takes a while: others go on meanwhile.
    if (any(10) == 0) sched_yield();
  }
  closedir(d);
  CHECK(dots == 2);
  for (int i = 0; i < kStable; i++) {
    sprintf(why, "stable%d is listed %d times", i, seen[i]);
    CHECK(seen[i] == 1);
  }
}

static void count_locked(void) {
  strcpy(why, "counting under a lock");
  static long counted[3];
  int how = any(3);
  char name[32];
  sprintf(name, "../count%d", how);
  int fd = open(name, O_RDWR);
  CHECK(fd >= 0);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 8};
  int got;
  do {
    got = how == 0   ? fcntl(fd, F_SETLKW, &lock)
          : how == 1 ? fcntl(fd, F_OFD_SETLKW, &lock)
                     : flock(fd, LOCK_EX);
  } while (got < 0 && errno == EINTR);
  CHECK(got == 0);
  long count = 0;
  CHECK(pread(fd, &count, sizeof count, 0) == sizeof count);
  if (any(4) == 0) sched_yield();
  count++;
  CHECK(pwrite(fd, &count, sizeof count, 0) == sizeof count);
  close(fd);
  // How often this process counted, where the first finds it.
  counted[how]++;
  sprintf(name, "counted%d", how);
  fd = open(name, O_WRONLY | O_CREAT, 0644);
  CHECK(fd >= 0 && pwrite(fd, &counted[how], sizeof(long), 0) == sizeof(long));
  close(fd);
}

static void shared_operation(void) {
  char a[32], b[32], own[32];
  sprintf(a, "../shared/s%d", any(10));
  sprintf(b, "../shared/%s%d", any(8) ? "s" : "d0/s", any(10));
  sprintf(own, "../shared/own%d-%d", self, any(4));
  snprintf(why, sizeof why, "shared %s %s", a, b);
  switch (any(14)) {
    case 0:
    case 1: {
      int fd = open(a, O_RDWR | O_CREAT | (any(2) ? O_EXCL : O_TRUNC), 0644);
      CHECK(may_be(fd, EEXIST, EISDIR, ELOOP, ENXIO));
      if (fd < 0) break;
      CHECK(write(fd, a, sizeof a) == sizeof a);
      if (any(2)) CHECK(may_be(unlink(a), EISDIR, 0, 0, 0));
      struct stat st;
      CHECK(fstat(fd, &st) == 0);
      close(fd);
      break;
    }
    case 2:
      CHECK(may_be(mkdir(any(2) ? a : "../shared/d0", 0755), EEXIST, 0, 0, 0));
      break;
    case 3:
      CHECK(may_be(rmdir(any(2) ? a : "../shared/d0"), ENOTDIR, ENOTEMPTY, EBUSY, 0));
      break;
    case 4:
      CHECK(may_be(unlink(b), EISDIR, ENOTDIR, 0, 0));
      break;
    case 5:
      CHECK(may_be(link(a, b), EEXIST, EPERM, ENOTDIR, 0));
      break;
    case 6:
      CHECK(may_be(symlink(b, a), EEXIST, 0, 0, 0));
      break;
    case 7:
      CHECK(may_be(rename(a, b), EISDIR, ENOTDIR, ENOTEMPTY, EINVAL));
      break;
    case 8:
      CHECK(may_be(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), ENOTDIR, EINVAL, 0, 0));
      break;
    case 9:
      CHECK(may_be(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE), EEXIST, ENOTDIR, EINVAL, 0));
      break;
    case 10:
      list_shared();
      break;
    case 11:
      count_locked();
      break;
    case 12: {
      struct stat st;
      CHECK(may_be(lstat(b, &st), ENOTDIR, 0, 0, 0));
      break;
    }
    default: {
      // A file of one's own, replaced by a new one: nobody ever finds it missing or short.
      char new_one[40];
      sprintf(new_one, "%s.new", own);
      int fd = open(new_one, O_WRONLY | O_CREAT | O_TRUNC, 0644);
      CHECK(fd >= 0 && write(fd, own, sizeof own) == sizeof own);
      close(fd);
      CHECK(rename(new_one, own) == 0);
      char back[sizeof own];
      fd = open(own, O_RDONLY);
      CHECK(fd >= 0 && read(fd, back, sizeof back) == sizeof back && memcmp(back, own, sizeof own) == 0);
      close(fd);
    }
  }
}

// ---- running ----

static void work(long operations) {
  static void (*const kOwn[])(void) = {
      own_mkdir, own_symlink, own_create,   own_create,   own_tmpfile,    own_open,   own_open,  own_unlink,
      own_rmdir, own_link,    own_link,     own_rename,   own_rename,     own_rename, own_write, own_write,
      own_write, own_read,    own_truncate, own_allocate, own_attributes, own_list};
  char name[32];
  sprintf(name, "p%d", self);
  CHECK(mkdir(name, 0755) == 0 && chdir(name) == 0);
  CHECK(mkdir("tree", 0755) == 0);
  nodes[1] = (struct node){.kind = 'd', .links = 1, .attribute = -1};
  rng.state = seed * 1000 + (uint64_t)self;
  for (done = 0; done < operations; done++) {
    if (any(4) == 0) {
      shared_operation();
    } else {
      CHECK(chdir("tree") == 0);
      kOwn[any(sizeof kOwn / sizeof *kOwn)]();
      strcpy(why, "back");
      CHECK(chdir("..") == 0);
    }
  }
  for (int i = 0; i < kOpen; i++) {
    if (!held[i].node) continue;
    strcpy(why, "held to the end");
    check_content(held[i].fd, &nodes[held[i].node]);
    close(held[i].fd);
  }
  check_tree("tree", 1);
}

static void remove_all(int at, const char* name) {
  if (unlinkat(at, name, 0) == 0) return;
  CHECK(errno == EISDIR);
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  CHECK(fd >= 0);
  DIR* d = fdopendir(fd);
  for (struct dirent* e; (e = readdir(d));) {
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) remove_all(fd, e->d_name);
  }
  closedir(d);
  snprintf(why, sizeof why, "removing %.200s", name);
  CHECK(unlinkat(at, name, AT_REMOVEDIR) == 0);
}

static void prepare(void) {
  CHECK(mkdir("shared", 0755) == 0);
  for (int i = 0; i < kStable; i++) {
    char name[32];
    sprintf(name, "shared/stable%d", i);
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    close(fd);
  }
  for (int i = 0; i < 3; i++) {
    char name[16];
    sprintf(name, "count%d", i);
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    long zero = 0;
    CHECK(fd >= 0 && write(fd, &zero, sizeof zero) == sizeof zero);
    close(fd);
  }
}

static void check_counts(int processes) {
  for (int how = 0; how < 3; how++) {
    char name[32];
    long sum = 0, count = 0;
    for (int i = 0; i <= processes; i++) {
      if (i < processes)
        sprintf(name, "p%d/counted%d", i, how);
      else
        sprintf(name, "count%d", how);
      int fd = open(name, O_RDONLY);
      if (fd < 0) continue;  // it never counted so
      count = 0;
      CHECK(read(fd, &count, sizeof count) == sizeof count);
      close(fd);
      if (i < processes) sum += count;
    }
    sprintf(why, "count%d is %ld, not %ld", how, count, sum);
    CHECK(sum == count);
  }
}

int main(int argc, char** argv) {
  int processes = 4;
  long operations = 2000;
  seed = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
  for (int c; (c = getopt(argc, argv, "p:N:S:")) != -1;) {
    switch (c) {
      case 'p':
        processes = atoi(optarg);
        break;
      case 'N':
        operations = atol(optarg);
        break;
      case 'S':
        seed = strtoull(optarg, NULL, 0);
        break;
      default:
        return 2;
    }
  }
  if (optind != argc - 1) {
    fprintf(stderr, "usage: fsstress [-p PROCESSES] [-N OPERATIONS] [-S SEED] DIRECTORY\n");
    return 2;
  }
  top = argv[optind];
  printf("fsstress: %s, seed %ju\n", top, (uintmax_t)seed);
  fflush(stdout);
  umask(022);
  strcpy(why, "preparing");
  CHECK(chdir(top) == 0);
  prepare();
  for (self = 0; self < processes; self++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      work(operations);
      _exit(0);
    }
  }
  int failed = 0, status;
  while (wait(&status) > 0) {
    if (status != 0) {
      fprintf(stderr, "fsstress: a process ended with status %#x\n", status);
      failed = 1;
    }
  }
  if (failed) return 1;
  check_counts(processes);
  remove_all(AT_FDCWD, "shared");
  for (int i = 0; i < processes; i++) {
    char name[16];
    sprintf(name, "p%d", i);
    remove_all(AT_FDCWD, name);
  }
  for (int i = 0; i < 3; i++) {
    char name[16];
    sprintf(name, "count%d", i);
    CHECK(unlink(name) == 0);
  }
  printf("fsstress: %d processes, %ld operations each, all right\n", processes, operations);
  return 0;
}
