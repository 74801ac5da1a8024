// Several processes read the same large files at the same time, in order, here and there, and through mappings, while one
// cuts, punches and writes other such files, which all of them read too.
//
//     together [-S SEED] [-N OPERATIONS] [-P PROCESSES] DIRECTORY
//     together -m SIZE FILE          makes such a file
//
// For content that is brought into memory when it is wanted, and before: what is read is what the file's place says, or, in
// the files that are changed, that, or zeros, or what was written. DIRECTORY has files still* and changed*, made with -m.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "random.h"

enum { PAGE = 4096, LARGEST = 256 * 1024, MOST_FILES = 64 };

static char* files[MOST_FILES];
static int file_count;
static unsigned long seed = 1, operations = 2000;
static int processes = 4;

static void die(const char* what, const char* path) {
  printf("%s: %s: %s (seed %lu)\n", path, what, strerror(errno), seed);
  exit(1);
}

// One word for each 32 bytes, so that it compresses, by half or so, as words differ.
static uint64_t word_at(uint64_t offset) {
  struct random r = {offset / 32 * 7919};
  return random_next(&r);
}

static void fill(unsigned char* into, uint64_t offset, size_t length) {
  for (size_t i = 0; i < length; i += 8) {
    uint64_t word = word_at(offset + i);
    memcpy(into + i, &word, 8);
  }
}

static const uint64_t written = 0x6e657474697277;

// `offset` and `length` are multiples of 8.
static void check(const unsigned char* data, uint64_t offset, size_t length, const char* path) {
  int changes = strstr(path, "/changed") != NULL;
  for (size_t i = 0; i < length; i += 8) {
    uint64_t word;
    memcpy(&word, data + i, 8);
    if (word == word_at(offset + i) || (changes && (word == 0 || word == written))) continue;
    printf("%s: at %ju is %016jx instead of %016jx (seed %lu)\n", path, (uintmax_t)(offset + i), (uintmax_t)word,
           (uintmax_t)word_at(offset + i), seed);
    exit(1);
  }
}

static uint64_t size_of(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) die("fstat", "?");
  return (uint64_t)st.st_size;
}

static void read_some(int fd, const char* path, uint64_t offset, size_t length) {
  static unsigned char data[LARGEST];
  ssize_t n = pread(fd, data, length, (off_t)offset);
  if (n < 0) die("pread", path);
  check(data, offset, (size_t)n & ~(size_t)7, path);
}

static void read_in_order(int fd, const char* path, struct random* r) {
  uint64_t size = size_of(fd);
  uint64_t at = size == 0 ? 0 : random_below(r, size) & ~(uint64_t)(PAGE - 1);
  if (random_below(r, 2) == 0) at = 0;
  uint64_t stop = at + (random_below(r, 24) << 18);
  size_t piece = (size_t)PAGE << random_below(r, 7);
  for (; at < stop && at < size; at += piece) read_some(fd, path, at, piece);
}

static void read_mapping(int fd, const char* path, struct random* r) {
  // Files that are cut fault behind their end.
  if (strstr(path, "/changed") != NULL) return;
  uint64_t size = size_of(fd);
  uint64_t at = random_below(r, size) & ~(uint64_t)(PAGE - 1);
  size_t length = size - at < (1 << 20) ? size - at : 1 << 20;
  unsigned char* data = mmap(NULL, length, PROT_READ, random_below(r, 2) != 0 ? MAP_SHARED : MAP_PRIVATE, fd, (off_t)at);
  if (data == MAP_FAILED) die("mmap", path);
  check(data, at, length & ~(size_t)7, path);
  munmap(data, length);
}

static void read_all_ways(int number) {
  struct random r = {seed * 1000 + (unsigned)number};
  for (unsigned long i = 0; i < operations; i++) {
    const char* path = files[random_below(&r, (uint64_t)file_count)];
    int fd = open(path, O_RDONLY);
    if (fd < 0) die("open", path);
    switch (random_below(&r, 4)) {
      case 0:
        read_in_order(fd, path, &r);
        break;
      case 1:
        read_mapping(fd, path, &r);
        break;
      default:
        for (int j = 0; j < 8; j++) {
          uint64_t size = size_of(fd);
          if (size > 0) read_some(fd, path, random_below(&r, size) & ~(uint64_t)7, PAGE);
        }
    }
    close(fd);
  }
}

static void change(struct random* r) {
  const char* path = files[random_below(r, (uint64_t)file_count)];
  if (strstr(path, "/changed") == NULL) return;
  int fd = open(path, O_RDWR);
  if (fd < 0) die("open", path);
  uint64_t size = size_of(fd);
  uint64_t at = size == 0 ? 0 : random_below(r, size) & ~(uint64_t)7;
  uint64_t length = random_below(r, 1 << 20) & ~(uint64_t)7;
  switch (random_below(r, 5)) {
    case 0:
      if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)length + 8) != 0) die("punch", path);
      break;
    case 1:
      if (fallocate(fd, FALLOC_FL_ZERO_RANGE, (off_t)at, (off_t)length + 8) != 0) die("zero", path);
      break;
    case 2:  // now and then, and what was behind is zeros for good
      if (random_below(r, 4) == 0 && ftruncate(fd, (off_t)(size - size / 16) & ~7) != 0) die("cut", path);
      if (ftruncate(fd, (off_t)size) != 0) die("grow", path);
      break;
    default: {
      uint64_t words[512];
      for (int i = 0; i < 512; i++) words[i] = written;
      size_t bytes = (random_below(r, 512) + 1) * 8;
      if (pwrite(fd, words, bytes, (off_t)at) != (ssize_t)bytes) die("write", path);
    }
  }
  close(fd);
}

static int make_file(const char* path, uint64_t size) {
  static unsigned char data[LARGEST];
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) die("create", path);
  for (uint64_t at = 0; at < size; at += LARGEST) {
    fill(data, at, LARGEST);
    size_t length = size - at < LARGEST ? (size_t)(size - at) : LARGEST;
    if (write(fd, data, length) != (ssize_t)length) die("write", path);
  }
  return close(fd);
}

int main(int argc, char** argv) {
  for (int option; (option = getopt(argc, argv, "S:N:P:m:")) != -1;) {
    if (option == 'S') seed = strtoul(optarg, NULL, 0);
    if (option == 'N') operations = strtoul(optarg, NULL, 0);
    if (option == 'P') processes = atoi(optarg);
    if (option == 'm') return make_file(argv[optind], strtoul(optarg, NULL, 0));
    if (option == '?') return 2;
  }
  if (optind + 1 != argc) return 2;
  struct dirent** entries;
  int count = scandir(argv[optind], &entries, NULL, alphasort);
  if (count < 0) die("list", argv[optind]);
  for (int i = 0; i < count && file_count < MOST_FILES; i++) {
    if (entries[i]->d_name[0] == '.') continue;
    if (asprintf(&files[file_count++], "%s/%s", argv[optind], entries[i]->d_name) < 0) return 1;
  }
  for (int i = 0; i < processes; i++) {
    if (fork() == 0) {
      read_all_ways(i);
      _exit(0);
    }
  }
  struct random r = {seed};
  for (unsigned long i = 0; i < operations; i++) change(&r);
  int failed = 0;
  for (int status; wait(&status) > 0;) failed |= status != 0;
  if (!failed) printf("all right\n");
  return failed;
}
