// stopwatch FD [--chroot DIR] CMD [ARG...]: runs CMD once and writes "NANOSECONDS STATUS\n" to descriptor FD,
// from just before the fork to the end of CMD, with the same small parent whatever is timed. STATUS is as in
// a shell: 128+N for signal N, 126 and 127 if CMD could not be started.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

long long now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

[[noreturn]] void start(const char* directory, char** command) {
  if (directory != nullptr && (chroot(directory) != 0 || chdir("/") != 0)) {
    std::fprintf(stderr, "stopwatch: chroot %s: %s\n", directory, std::strerror(errno));
    _exit(126);
  }
  execvp(command[0], command);
  const int status = errno == ENOENT ? 127 : 126;
  std::fprintf(stderr, "stopwatch: %s: %s\n", command[0], std::strerror(errno));
  _exit(status);
}

}  // namespace

int main(int argc, char** argv) {
  char** command = argv + 2;
  const char* directory = nullptr;
  if (argc > 4 && std::strcmp(argv[2], "--chroot") == 0) {
    directory = argv[3];
    command = argv + 4;
  }
  if (argc < 3 || *command == nullptr) {
    std::fputs("usage: stopwatch FD [--chroot DIR] CMD [ARG...]\n", stderr);
    return 2;
  }

  const long long begin = now();
  const pid_t child = fork();
  if (child < 0) {
    std::perror("stopwatch: fork");
    return 2;
  }
  if (child == 0) {
    close(std::atoi(argv[1]));
    start(directory, command);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) {
    std::perror("stopwatch: waitpid");
    return 2;
  }
  const long long end = now();
  dprintf(std::atoi(argv[1]), "%lld %d\n", end - begin,
          WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  return 0;
}
