/* Uses an image whose file is cut off when it says so (tests/cli/files_test.py): needs nothing of it itself.
   Prints what each way of using it gives; its last act is to touch a page that is gone. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char* what, int failed) {
  printf("%s %s\n", what, failed ? strerrorname_np(errno) : "ok");
}

/* Everything below `path`, whatever happens. */
static void walk(const char* path) {
  struct stat status;
  char inside[4096];
  if (lstat(path, &status) || status.st_dev != (lstat("/", &status), status.st_dev)) return;
  if (lstat(path, &status)) return;
  if (S_ISLNK(status.st_mode)) {
    if (readlink(path, inside, sizeof inside) < 0) return;
  } else if (S_ISREG(status.st_mode)) {
    int fd = open(path, O_RDONLY);
    static char buffer[65536];
    while (fd >= 0 && read(fd, buffer, sizeof buffer) > 0) {
    }
    if (fd >= 0) close(fd);
  } else if (S_ISDIR(status.st_mode)) {
    DIR* directory = opendir(path);
    if (!directory) return;
    for (struct dirent* entry; (entry = readdir(directory));) {
      if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
      snprintf(inside, sizeof inside, "%s/%s", strcmp(path, "/") ? path : "", entry->d_name);
      if (strcmp(inside, "/proc") && strcmp(inside, "/t") && strcmp(inside, "/dev")) walk(inside);
    }
    closedir(directory);
  }
}

int main(void) {
  char buffer[4096];
  int fd = open("/usr/bin/perl", O_RDONLY);
  int other = open("/usr/bin/perl", O_RDONLY);
  if (fd < 0 || other < 0 || read(fd, buffer, 10) != 10) return 1;
  char* mapped = mmap(0, 1 << 20, PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapped == MAP_FAILED) return 2;
  setvbuf(stdout, 0, _IONBF, 0);
  printf("ready\n");
  if (read(0, buffer, 3) != 3) return 3;
  say("read", read(fd, buffer, sizeof buffer) < 0);
  say("pread", pread(other, buffer, sizeof buffer, 1 << 20) < 0);
  struct stat status;
  say("stat", stat("/usr/share/doc/bash", &status));
  errno = 0;
  DIR* directory = opendir("/usr/lib");
  say("readdir", !directory || (readdir(directory) && readdir(directory) && !readdir(directory) && errno));
  if (fork() == 0) {
    execl("/usr/bin/find", "find", "/bin", "-maxdepth", "0", NULL);
    _exit(errno);
  }
  int result;
  wait(&result);
  say("exec", WIFSIGNALED(result) ? (errno = 0, WTERMSIG(result) != SIGBUS) : (errno = WEXITSTATUS(result)));
  walk("/");
  printf("on\n");
  return mapped[1 << 19] == 1;
}
