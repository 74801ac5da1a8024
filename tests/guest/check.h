// A test library in one header, for programs that run natively and as guests.
//
// A program is a list of TESTs. Each runs in a forked child (so a crash, a changed signal mask or a leaked
// descriptor is that case's alone) in a fresh directory of its own, and prints one line:
//
//     PASS name  |  FAIL name: file:line: what  |  SKIP name: why
//
// with a `RUN name` line before it, so that whoever reads the output knows which case a hang belongs to.
// Exit status: 0 if no case failed, else 1.
//
//     prog [--list] [--inline] [--from NAME] [NAME…]
//
// --inline runs the cases without fork, in order, in this process; --from starts at NAME. `prog @helper ARG…`
// runs a HELPER, for tests that exec. Linux's behaviour is the expectation: a case that fails natively is a
// wrong test.
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <type_traits>

namespace check {

struct Case {
  const char* name;
  void (*body)();
  Case* next = nullptr;

  Case(const char* n, void (*b)());
};

struct Helper {
  const char* name;
  int (*body)(int, char**);
  Helper* next = nullptr;

  Helper(const char* n, int (*b)(int, char**));
};

// One program is one translation unit plus this header, so plain inline globals do.
inline Case* first_case;
inline Case** last_case = &first_case;
inline Helper* first_helper;
inline const char* self = "";      // path of this program, for exec
inline const char* now = "";       // the running case
inline volatile int failures = 0;  // of the running case, in this process
inline bool run_inline = false;
inline jmp_buf abandon;
inline pid_t case_pid;

inline Case::Case(const char* n, void (*b)()) : name(n), body(b) {
  *last_case = this;
  last_case = &next;
}

inline Helper::Helper(const char* n, int (*b)(int, char**)) : name(n), body(b), next(first_helper) {
  first_helper = this;
}

// One write(2) a line: children and threads print too, and stdio's buffers would be flushed twice after fork.
__attribute__((format(printf, 1, 2))) inline void say(const char* format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  if (n > int(sizeof line) - 2) n = sizeof line - 2;
  line[n++] = '\n';
  if (write(1, line, size_t(n)) < 0) _exit(99);
}

inline void fail(const char* file, int line, const std::string& what) {
  int saved = errno;
  const char* base = strrchr(file, '/');
  say("FAIL %s: %s:%d: %s", now, base ? base + 1 : file, line, what.c_str());
  failures = failures + 1;
  errno = saved;
}

[[noreturn]] inline void give_up() {
  if (run_inline && getpid() == case_pid) longjmp(abandon, 1);
  _exit(1);
}

template <typename T>
std::string text(const T& value) {
  if constexpr (std::is_convertible_v<T, const char*>) {
    const char* s = value;
    return s ? "\"" + std::string(s) + "\"" : "null";
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    return "\"" + std::string(std::string_view(value)) + "\"";
  } else if constexpr (std::is_pointer_v<T>) {
    char buffer[32];
    snprintf(buffer, sizeof buffer, "%p", reinterpret_cast<const void*>(value));
    return buffer;
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_floating_point_v<T>) {
    char buffer[40];
    snprintf(buffer, sizeof buffer, "%g", double(value));
    return buffer;
  } else {
    char buffer[48];
    long long v = static_cast<long long>(value);
    if (v >= -4096 && v <= 1 << 20)
      snprintf(buffer, sizeof buffer, "%lld", v);
    else
      snprintf(buffer, sizeof buffer, "%lld (0x%llx)", v, static_cast<unsigned long long>(v));
    return buffer;
  }
}

// A null pointer is equal to no text.
template <typename T>
bool is_null(const T& value) {
  if constexpr (std::is_pointer_v<T>) return !value;
  return false;
}

template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (std::is_convertible_v<A, std::string_view> && std::is_convertible_v<B, std::string_view>) {
    return !is_null(a) && !is_null(b) && std::string_view(a) == std::string_view(b);
  } else if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
    return static_cast<long long>(a) == static_cast<long long>(b);
  } else {
    return a == b;
  }
}

inline std::string errno_text(int e) {
  const char* name = strerrorname_np(e);
  return name ? name : text(e);
}

template <typename A, typename B>
bool check_eq(const A& a, const B& b, const char* expression, const char* file, int line) {
  if (equal(a, b)) return true;
  int saved = errno;
  fail(file, line,
       std::string(expression) + ": got " + text(a) + ", expected " + text(b) + " (errno " +
           errno_text(saved) + ")");
  return false;
}

inline bool check_err(long result, int expected, const char* expression, const char* file, int line) {
  if (result == -1 && errno == expected) return true;
  std::string got = result == -1 ? errno_text(errno) : "result " + text(result);
  fail(file, line, std::string(expression) + ": expected " + errno_text(expected) + ", got " + got);
  return false;
}

// For calls that return the error instead of setting errno (pthread_*, posix_spawn).
inline bool check_ret(int result, int expected, const char* expression, const char* file, int line) {
  if (result == expected) return true;
  fail(file, line,
       std::string(expression) + ": expected " + (expected ? errno_text(expected) : "0") + ", got " +
           (result ? errno_text(result) : "0"));
  return false;
}

inline bool check_ok(long result, const char* expression, const char* file, int line) {
  if (result != -1) return true;
  fail(file, line, std::string(expression) + ": " + errno_text(errno));
  return false;
}

template <typename T>
T need_ok(T value, const char* expression, const char* file, int line) {
  if (!check_ok(long(value), expression, file, line)) give_up();
  return value;
}

// A case that cannot be run here (natively: no privilege, no such CPU feature). In a guest a skip that the
// native run did not make counts as a failure; tests/run_guest.py sees to that.
[[noreturn]] inline void skip(const char* why) {
  say("SKIP %s: %s", now, why);
  if (run_inline && getpid() == case_pid) longjmp(abandon, 2);
  _exit(77);
}

// ---- what many tests need ----

// Runs `f` in a fork; gives the wait status. A CHECK that fails in it makes the child exit with 1.
template <typename F>
int in_child(F f) {
  pid_t pid = fork();
  if (pid < 0) {
    fail(__FILE__, __LINE__, "fork: " + errno_text(errno));
    give_up();
  }
  if (pid == 0) {
    failures = 0;
    f();
    _exit(failures ? 1 : 0);
  }
  int status = -1;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}

inline std::string status_text(int status) {
  if (status == -1) return "no status";
  if (WIFEXITED(status)) return "exit " + std::to_string(WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status));
  if (WIFSTOPPED(status)) return "stopped by signal " + std::to_string(WSTOPSIG(status));
  return "status " + std::to_string(status);
}

inline bool check_exit(int status, int expected, const char* expression, const char* file, int line) {
  if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == expected) return true;
  fail(file, line,
       std::string(expression) + ": expected exit " + std::to_string(expected) + ", got " +
           status_text(status));
  return false;
}

inline bool check_killed(int status, int signal, const char* expression, const char* file, int line) {
  if (status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == signal) return true;
  fail(file, line,
       std::string(expression) + ": expected death by signal " + std::to_string(signal) + ", got " +
           status_text(status));
  return false;
}

inline int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

inline void sleep_ms(long ms) {
  timespec t{ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&t, &t) < 0 && errno == EINTR) {
  }
}

// How long a test waits for what must come. Only what hangs takes so long: on a busy machine a task may well
// not run for seconds.
constexpr int kPatience = 60'000;  // ms

// True once `f()` is, asked every millisecond for up to `ms`. For what the kernel promises to do soon, never
// to paper over a race of the test's own.
template <typename F>
bool eventually(F f, long ms = kPatience) {
  int64_t end = now_ns() + ms * 1000000;
  while (!f()) {
    if (now_ns() > end) return false;
    sleep_ms(1);
  }
  return true;
}

inline std::string read_file(const char* path) {
  std::string out;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "<" + errno_text(errno) + ">";
  char buffer[4096];
  for (;;) {
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    out.append(buffer, size_t(n));
  }
  close(fd);
  return out;
}

inline bool write_file(const char* path, std::string_view data, mode_t mode = 0644) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return false;
  bool ok = write(fd, data.data(), data.size()) == ssize_t(data.size());
  return close(fd) == 0 && ok;
}

// The state letter of a task in /proc ('S' sleeping, 'R' running, 'T' stopped, 'Z' zombie), 0 if there is
// none.
inline char task_state(pid_t pid, pid_t tid = 0) {
  char path[64];
  if (tid)
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
  else
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
  std::string stat = read_file(path);
  size_t at = stat.rfind(") ");
  return at == std::string::npos || at + 2 >= stat.size() ? 0 : stat[at + 2];
}

// Waits until `tid` sleeps in a call; false if it ends instead.
inline bool until_asleep(pid_t pid, pid_t tid = 0) {
  char state = 0;
  bool known = eventually([&] {
    state = task_state(pid, tid);
    return state == 'S' || state == 'Z' || state == 0;
  });
  return known && state == 'S';
}

inline void remove_tree_at(int dir, const char* name) {
  if (unlinkat(dir, name, 0) == 0) return;
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  DIR* d = fdopendir(fd);
  while (dirent* e = readdir(d)) {
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) remove_tree_at(fd, e->d_name);
  }
  closedir(d);
  unlinkat(dir, name, AT_REMOVEDIR);
}

// ---- running ----

inline void run_body(Case* c) {
  now = c->name;
  failures = 0;
  case_pid = getpid();
  c->body();
  if (getpid() != case_pid) _exit(failures ? 1 : 0);  // a body that forked and fell off the end
}

// Gives 0 passed, 1 failed, 2 skipped; has printed all but PASS.
inline int run_case(Case* c) {
  now = c->name;
  failures = 0;
  if (run_inline) {
    int how = setjmp(abandon);
    if (how == 0) run_body(c);
    return how == 2 ? 2 : failures ? 1 : 0;
  }
  pid_t pid = fork();
  if (pid < 0) {
    fail(__FILE__, __LINE__, "fork: " + errno_text(errno));
    return 1;
  }
  if (pid == 0) {
    run_body(c);
    _exit(failures ? 1 : 0);
  }
  int status = -1;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno == EINTR) continue;
    fail(__FILE__, __LINE__, "waitpid: " + errno_text(errno));
    return 1;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) <= 1) return WEXITSTATUS(status);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) return 2;
  fail(__FILE__, __LINE__, "the case ended with " + status_text(status));
  return 1;
}

inline int run(int argc, char** argv) {
  static char path[4096];
  const char* executed = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  if (!executed) executed = argv[0];
  self = realpath(executed, path) ? path : executed;
  if (argc > 1 && argv[1][0] == '@') {
    now = argv[1];
    for (Helper* h = first_helper; h; h = h->next) {
      if (strcmp(h->name, argv[1] + 1) == 0) return h->body(argc - 1, argv + 1);
    }
    return 98;
  }
  const char* from = nullptr;
  int names = argc;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--list") == 0) {
      for (Case* c = first_case; c; c = c->next) say("%s", c->name);
      return 0;
    }
    if (strcmp(argv[i], "--inline") == 0) {
      run_inline = true;
    } else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc) {
      from = argv[++i];
    } else {
      names = i;
      break;
    }
  }
  const char* tmp = getenv("TMPDIR");
  std::string base = std::string(tmp ? tmp : "/tmp") + "/check." + std::to_string(getpid());
  int failed = 0;
  int ran = 0;
  for (Case* c = first_case; c; c = c->next) {
    if (from && strcmp(from, c->name) != 0) continue;
    from = nullptr;
    bool wanted = names >= argc;
    for (int i = names; i < argc; i++) wanted |= strcmp(argv[i], c->name) == 0;
    if (!wanted) continue;
    ran++;
    say("RUN %s", c->name);
    std::string dir = base + "." + c->name;
    mkdir(dir.c_str(), 0755);
    if (chdir(dir.c_str()) < 0) {
    }
    int outcome = run_case(c);
    if (outcome == 0) say("PASS %s", c->name);
    if (outcome == 1) {
      failed++;
      if (!failures) say("FAIL %s", c->name);
    }
    if (chdir("/") < 0) {
    }
    remove_tree_at(AT_FDCWD, dir.c_str());
  }
  if (ran == 0) say("no such case");
  return failed || ran == 0 ? 1 : 0;
}

}  // namespace check

#define TEST(id)                                \
  static void test_##id();                      \
  static check::Case case_##id(#id, test_##id); \
  static void test_##id()

#define HELPER(id)                                         \
  static int helper_##id(int argc, char** argv);           \
  static check::Helper helper_case_##id(#id, helper_##id); \
  static int helper_##id([[maybe_unused]] int argc, [[maybe_unused]] char** argv)

// CHECK* notes a failure and goes on; NEED* gives the case up.
#define CHECK(x) \
  ((x) ? (void)0 : check::fail(__FILE__, __LINE__, #x " is false (errno " + check::errno_text(errno) + ")"))
#define CHECK_EQ(a, b) check::check_eq((a), (b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_OK(x) check::check_ok(long(x), #x, __FILE__, __LINE__)
#define CHECK_ERR(x, e) (errno = 0, check::check_err(long(x), (e), #x, __FILE__, __LINE__))
#define CHECK_RET(x, e) check::check_ret((x), (e), #x, __FILE__, __LINE__)
#define CHECK_EXIT(status, code) check::check_exit((status), (code), #status, __FILE__, __LINE__)
#define CHECK_KILLED(status, sig) check::check_killed((status), (sig), #status, __FILE__, __LINE__)
#define NEED(x)                                                                                     \
  ((x) ? (void)0                                                                                    \
       : (check::fail(__FILE__, __LINE__, #x " is false (errno " + check::errno_text(errno) + ")"), \
          check::give_up()))
#define NEED_OK(x) check::need_ok((x), #x, __FILE__, __LINE__)

int main(int argc, char** argv) {
  return check::run(argc, argv);
}
