// One file under random changes, against a copy in memory.
//
//     fsx [-N OPERATIONS] [-S SEED] [-l LENGTH] [-k] [-m] [-v] FILE
//
// Reads and writes, appends, truncations, holes, zeroed and allocated ranges, copies within the file, reads
// and writes through mappings (shared, private), closing and opening again, in a random order. After each the
// size must be right, what is read must be what was written, and the whole file is compared every hundred
// operations and at the end. The seed is printed: the same one does the same again. LENGTH (default 256 KiB)
// is as long as the file gets; -k starts from what FILE holds, as of a file in an image; -m leaves out writes
// through mappings; -v tells each operation.
//
// What a file system need not support must be refused cleanly: EOPNOTSUPP and no change (collapse, insert,
// and on tmpfs zeroed ranges). Exit status: 0, or 1 with what differs.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

static const char* path;
static int fd;
static unsigned char *model, *scratch;  // what the file should hold; what was read
static off_t size, limit = 256 << 10;
static long done, operations = 10000;
static int verbose, keep, map_writes = 1;
static struct random rng;
static long refused;

#define FAIL(...) \
  (fprintf(stderr, "fsx: operation %ld: ", done), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define TELL(...) (verbose ? (printf("%ld ", done), printf(__VA_ARGS__), putchar('\n'), (void)0) : (void)0)
#define NEED(x) ((x) < 0 ? (FAIL("%s: %s", #x, strerror(errno)), 0) : 0)

static void compare(const unsigned char* got, off_t at, off_t length, const char* how) {
  for (off_t i = 0; i < length; i++) {
    if (got[i] != model[at + i])
      FAIL("%s at %#jx (size %#jx): %#x, not %#x", how, (intmax_t)(at + i), (intmax_t)size, got[i],
           model[at + i]);
  }
}

static void check_size(void) {
  struct stat st;
  NEED(fstat(fd, &st));
  if (st.st_size != size) FAIL("the size is %#jx, not %#jx", (intmax_t)st.st_size, (intmax_t)size);
}

static void check_all(void) {
  check_size();
  off_t at = 0;
  while (at < size) {
    ssize_t n = pread(fd, scratch, (size_t)(size - at), at);
    if (n <= 0) FAIL("read of all at %#jx: %zd, %s", (intmax_t)at, n, strerror(errno));
    compare(scratch, at, n, "all");
    at += n;
  }
}

// The model's side of a file that is `end` long at least: what lies between is zeros.
static void extend(off_t end) {
  if (end > size) {
    memset(model + size, 0, (size_t)(end - size));
    size = end;
  }
}

static void fill(unsigned char* to, off_t length) {
  uint64_t value = random_next(&rng);
  for (off_t i = 0; i < length; i++) to[i] = (unsigned char)(value + (uint64_t)i * 7 + (uint64_t)(i >> 8));
}

static void do_read(off_t at, off_t length) {
  TELL("read %#jx %#jx", (intmax_t)at, (intmax_t)length);
  off_t expected = at >= size ? 0 : length < size - at ? length : size - at;
  ssize_t n;
  int how = (int)random_below(&rng, 3);
  if (how == 0) {
    n = pread(fd, scratch, (size_t)length, at);
  } else if (how == 1) {
    off_t cut = length / 3;
    struct iovec parts[2] = {{scratch, (size_t)cut}, {scratch + cut, (size_t)(length - cut)}};
    n = preadv(fd, parts, 2, at);
  } else {
    NEED(lseek(fd, at, SEEK_SET));
    n = read(fd, scratch, (size_t)length);
  }
  if (n != expected)
    FAIL("read of %#jx at %#jx: %zd, not %jd", (intmax_t)length, (intmax_t)at, n, (intmax_t)expected);
  compare(scratch, at, n, "read");
}

static void do_write(off_t at, off_t length) {
  int how = (int)random_below(&rng, 4);
  if (how == 3) at = size;
  if (at + length > limit) length = limit - at;
  if (length <= 0) return;
  TELL("write %#jx %#jx (%d)", (intmax_t)at, (intmax_t)length, how);
  extend(at);
  fill(scratch, length);
  ssize_t n;
  if (how == 0) {
    n = pwrite(fd, scratch, (size_t)length, at);
  } else if (how == 1) {
    off_t cut = length / 2;
    struct iovec parts[2] = {{scratch, (size_t)cut}, {scratch + cut, (size_t)(length - cut)}};
    n = pwritev(fd, parts, 2, at);
  } else if (how == 2) {
    NEED(lseek(fd, at, SEEK_SET));
    n = write(fd, scratch, (size_t)length);
  } else {
    int other = open(path, O_WRONLY | O_APPEND);
    NEED(other);
    n = write(other, scratch, (size_t)length);
    close(other);
  }
  if (n != length) FAIL("write of %#jx at %#jx: %zd, %s", (intmax_t)length, (intmax_t)at, n, strerror(errno));
  extend(at + length);
  memcpy(model + at, scratch, (size_t)length);
}

static void do_truncate(off_t to) {
  TELL("truncate %#jx", (intmax_t)to);
  if (random_below(&rng, 2))
    NEED(ftruncate(fd, to));
  else
    NEED(truncate(path, to));
  extend(to);
  size = to;
}

static void do_map(off_t at, off_t length, int write) {
  if (at >= size) return;
  if (length > size - at) length = size - at;
  off_t page = at & ~4095;
  int private = random_below(&rng, 4) == 0;
  TELL("map%s %#jx %#jx", write ? (private ? "write private" : "write") : "read", (intmax_t)at,
       (intmax_t)length);
  size_t whole = (size_t)(at + length - page);
  unsigned char* map = mmap(NULL, whole, write ? PROT_READ | PROT_WRITE : PROT_READ,
                            private ? MAP_PRIVATE : MAP_SHARED, fd, page);
  if (map == MAP_FAILED) FAIL("mmap: %s", strerror(errno));
  unsigned char* there = map + (at - page);
  compare(there, at, length, "mapping");
  // Behind the end of the file its last page is zeros, for as long as nobody writes there.
  if (at + length == size && !write) {
    unsigned char* end = map + ((whole + 4095) & ~(size_t)4095);
    for (unsigned char* p = map + whole; p < end; p++) {
      if (*p) FAIL("the page behind the end holds %#x", *p);
    }
  }
  if (write) {
    fill(there, length);
    if (private) {
      if (pread(fd, scratch, (size_t)length, at) != length) FAIL("read under a private mapping");
      compare(scratch, at, length, "under a private mapping");
    } else {
      memcpy(model + at, there, (size_t)length);
      if (random_below(&rng, 2)) NEED(msync(map, whole, random_below(&rng, 2) ? MS_SYNC : MS_ASYNC));
    }
  }
  NEED(munmap(map, whole));
}

// True if it was done; else it was refused as it may be.
static int allocate(int mode, off_t at, off_t length, const char* name) {
  TELL("%s %#jx %#jx", name, (intmax_t)at, (intmax_t)length);
  if (fallocate(fd, mode, at, length) == 0) return 1;
  if (errno != EOPNOTSUPP) FAIL("%s: %s", name, strerror(errno));
  refused++;
  return 0;
}

static void zero(off_t at, off_t length) {
  if (at < size) memset(model + at, 0, (size_t)(length < size - at ? length : size - at));
}

static void do_allocate(off_t at, off_t length) {
  if (at + length > limit) length = limit - at;
  if (length <= 0) return;
  switch (random_below(&rng, 6)) {
    case 0:
    case 1:
      if (allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length, "punch")) zero(at, length);
      break;
    case 2: {
      int stay = (int)random_below(&rng, 2);
      if (allocate(FALLOC_FL_ZERO_RANGE | (stay ? FALLOC_FL_KEEP_SIZE : 0), at, length, "zero")) {
        zero(at, length);
        if (!stay) extend(at + length);
      }
      break;
    }
    case 3:
      if (allocate(0, at, length, "allocate")) extend(at + length);
      break;
    case 4:
      allocate(FALLOC_FL_KEEP_SIZE, at, length, "allocate beyond the end");
      break;
    default: {
      int mode = random_below(&rng, 2) ? FALLOC_FL_COLLAPSE_RANGE : FALLOC_FL_INSERT_RANGE;
      at &= ~4095;
      if (size <= 8192 || at + 4096 >= size || size + 4096 > limit) break;
      if (!allocate(mode, at, 4096, "collapse or insert")) break;
      if (mode == FALLOC_FL_COLLAPSE_RANGE) {
        memmove(model + at, model + at + 4096, (size_t)(size - at - 4096));
        size -= 4096;
      } else {
        memmove(model + at + 4096, model + at, (size_t)(size - at));
        memset(model + at, 0, 4096);
        size += 4096;
      }
    }
  }
}

static void do_copy(off_t from, off_t length, off_t to) {
  if (from >= size) return;
  if (length > size - from) length = size - from;
  if (to + length > limit) length = limit - to;
  if (from < to + length && to < from + length) length = from < to ? to - from : from - to;
  if (length <= 0) return;
  TELL("copy %#jx %#jx to %#jx", (intmax_t)from, (intmax_t)length, (intmax_t)to);
  loff_t in = from, out = to;
  off_t left = length;
  int by_sendfile = random_below(&rng, 3) == 0;
  int other = by_sendfile ? open(path, O_WRONLY) : -1;
  if (by_sendfile) NEED(lseek(other, to, SEEK_SET));
  while (left > 0) {
    ssize_t n = by_sendfile ? sendfile(other, fd, &in, (size_t)left)
                            : copy_file_range(fd, &in, fd, &out, (size_t)left, 0);
    if (n <= 0) FAIL("copy: %zd, %s", n, strerror(errno));
    left -= n;
  }
  if (by_sendfile) close(other);
  if (in != from + length || (!by_sendfile && out != to + length)) FAIL("copy moved the offsets elsewhere");
  extend(to + length);
  memmove(model + to, model + from, (size_t)length);
}

// Where there is said to be a hole there are zeros, and the two ways of asking agree.
static void do_seek(off_t at) {
  TELL("seek %#jx", (intmax_t)at);
  off_t data = lseek(fd, at, SEEK_DATA), hole = lseek(fd, at, SEEK_HOLE);
  if (at >= size) {
    if (data != -1 || hole != -1)
      FAIL("a place behind the end of %#jx: data %jd, hole %jd", (intmax_t)size, (intmax_t)data,
           (intmax_t)hole);
    return;
  }
  if (data < 0 && errno != ENXIO) FAIL("SEEK_DATA: %s", strerror(errno));
  off_t end = data < 0 ? size : data;
  for (off_t i = at; i < end; i++) {
    if (model[i]) FAIL("%#jx is said to be in a hole", (intmax_t)i);
  }
  if (hole < at || hole > size) FAIL("SEEK_HOLE of %#jx is %#jx", (intmax_t)at, (intmax_t)hole);
  if (data == at && hole == at) FAIL("%#jx is both", (intmax_t)at);
}

static void do_reopen(void) {
  TELL("reopen");
  if (random_below(&rng, 2)) NEED(random_below(&rng, 2) ? fsync(fd) : fdatasync(fd));
  NEED(close(fd));
  fd = open(path, O_RDWR);
  NEED(fd);
  check_all();
}

static void one_operation(void) {
  // Mostly anywhere, often at the edges of pages and of the file.
  off_t at = (off_t)random_below(&rng, (uint64_t)limit);
  if (random_below(&rng, 4) == 0) at &= ~4095;
  if (random_below(&rng, 8) == 0) at = size;
  if (random_below(&rng, 16) == 0 && size) at = size - 1;
  off_t length = 1 + (off_t)random_below(&rng, random_below(&rng, 3) ? 20000 : 200000);
  if (random_below(&rng, 8) == 0) length = (length + 4095) & ~4095;
  if (length > limit) length = limit;
  switch (random_below(&rng, 16)) {
    case 0:
    case 1:
    case 2:
      do_read(at, length);
      break;
    case 3:
    case 4:
    case 5:
      do_write(at, length);
      break;
    case 6:
      do_truncate(at);
      break;
    case 7:
      do_map(at, length, 0);
      break;
    case 8:
    case 9:
      do_map(at, length, map_writes);
      break;
    case 10:
    case 11:
      do_allocate(at, length);
      break;
    case 12:
    case 13:
      do_copy(at, length, (off_t)random_below(&rng, (uint64_t)limit));
      break;
    case 14:
      do_seek(at);
      break;
    default:
      if (random_below(&rng, 4) == 0) do_reopen();
  }
}

int main(int argc, char** argv) {
  uint64_t seed = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
  for (int c; (c = getopt(argc, argv, "N:S:l:kmv")) != -1;) {
    switch (c) {
      case 'N':
        operations = atol(optarg);
        break;
      case 'S':
        seed = strtoull(optarg, NULL, 0);
        break;
      case 'l':
        limit = atoll(optarg);
        break;
      case 'k':
        keep = 1;
        break;
      case 'm':
        map_writes = 0;
        break;
      case 'v':
        verbose = 1;
        break;
      default:
        return 2;
    }
  }
  if (optind != argc - 1) {
    fprintf(stderr, "usage: fsx [-N OPERATIONS] [-S SEED] [-l LENGTH] [-k] [-m] [-v] FILE\n");
    return 2;
  }
  path = argv[optind];
  printf("fsx: %s, seed %ju\n", path, (uintmax_t)seed);
  fflush(stdout);
  rng.state = seed;
  fd = open(path, O_RDWR | (keep ? 0 : O_CREAT | O_TRUNC), 0644);
  NEED(fd);
  struct stat st;
  NEED(fstat(fd, &st));
  size = st.st_size;
  if (size > limit) limit = size;
  model = calloc(1, (size_t)limit + 4096);
  scratch = malloc((size_t)limit + 4096);
  if (pread(fd, model, (size_t)size, 0) != size) FAIL("cannot read it");
  for (done = 0; done < operations; done++) {
    one_operation();
    check_size();
    if (done % 100 == 0) check_all();
  }
  do_reopen();
  printf("fsx: %ld operations, %ld refused, all right\n", done, refused);
  return 0;
}
