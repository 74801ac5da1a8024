// Reads all of a tree and says what it got: for each name its type, size and a digest of its content, or the
// error.
//
//     readall TOP
//
// For images that are damaged: what can be read must be what was there, and all else an error.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t add(uint64_t digest, const void* from, size_t length) {
  for (size_t i = 0; i < length; i++) digest = (digest ^ ((const unsigned char*)from)[i]) * 1099511628211u;
  return digest;
}

static void failed(const char* path, const char* what) {
  printf("%s: %s: %s\n", path, what, strerrorname_np(errno));
}

// Pages of zeros are looked at and left out, so that holes of gigabytes take seconds; where the others are counts.
static uint64_t add_page(uint64_t digest, uint64_t place, const char* page, size_t length) {
  uint64_t any = 0;
  for (size_t i = 0; i + 8 <= length; i += 8) {
    uint64_t word;
    memcpy(&word, page + i, 8);
    any |= word;
  }
  for (size_t i = length & ~(size_t)7; i < length; i++) any |= (unsigned char)page[i];
  return any == 0 ? digest : add(add(digest, &place, sizeof place), page, length);
}

// As much as there is room for, unless the file ends.
static ssize_t read_all(int fd, char* into, size_t room) {
  size_t done = 0;
  for (ssize_t n; done < room && (n = read(fd, into + done, room - done)) != 0; done += (size_t)n) {
    if (n < 0) return -1;
  }
  return (ssize_t)done;
}

static void read_file(const char* path) {
  static char data[1 << 20];
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return failed(path, "open");
  uint64_t digest = 14695981039346656037u;
  uint64_t place = 0;
  for (ssize_t n; (n = read_all(fd, data, sizeof data)) != 0;) {
    if (n < 0) {
      failed(path, "read");
      close(fd);
      return;
    }
    for (ssize_t at = 0; at < n; at += 4096, place += 4096) {
      digest = add_page(digest, place, data + at, (size_t)(n - at < 4096 ? n - at : 4096));
    }
  }
  close(fd);
  printf("%s: content %016jx\n", path, (uintmax_t)digest);
}

static void walk(const char* path) {
  struct stat st;
  if (lstat(path, &st) != 0) return failed(path, "stat");
  printf("%s: %o %u:%u %jd\n", path, st.st_mode, st.st_uid, st.st_gid,
         S_ISDIR(st.st_mode) ? 0 : (intmax_t)st.st_size);
  if (S_ISREG(st.st_mode)) return read_file(path);
  if (S_ISLNK(st.st_mode)) {
    char target[4097];
    ssize_t n = readlink(path, target, sizeof target);
    if (n < 0) return failed(path, "readlink");
    printf("%s: target %016jx\n", path, (uintmax_t)add(1, target, (size_t)n));
  }
  if (!S_ISDIR(st.st_mode)) return;
  struct dirent** entries;
  int count = scandir(path, &entries, NULL, alphasort);
  if (count < 0) return failed(path, "list");
  printf("%s: entries %d\n", path, count);
  for (int i = 0; i < count; i++) {
    char below[4200];
    snprintf(below, sizeof below, "%s/%.255s", path, entries[i]->d_name);
    if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0) walk(below);
    free(entries[i]);
  }
  free(entries);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: readall TOP\n");
    return 2;
  }
  if (chdir(argv[1]) != 0) {
    printf(".: chdir: %s\n", strerrorname_np(errno));
    return 0;
  }
  walk(".");
  return 0;
}
