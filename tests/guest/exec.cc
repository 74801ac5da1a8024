// execve: what it keeps and resets, its errors, scripts, threads, the auxiliary vector, hostile ELF files.
#include <elf.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <vector>

#include "tests/guest/check.h"

extern char** environ;

namespace {

// Runs a file with arguments and gives the wait status; an exec that fails exits with 200 + errno.
int run(const char* file, std::vector<const char*> argv, const char* const* env = environ) {
  argv.push_back(nullptr);
  return check::in_child([&] {
    execve(file, const_cast<char**>(argv.data()), const_cast<char**>(env));
    _exit(100 + errno);
  });
}

int exec_errno(const char* file) {
  const char* argv[] = {"x", nullptr};
  return check::in_child([&] {
    execve(file, const_cast<char**>(argv), environ);
    _exit(errno);
  });
}

std::string own_image() {
  return check::read_file(check::self);
}

}  // namespace

HELPER(exit) {
  return atoi(argv[1]);
}

TEST(arguments_and_environment) {
  const char* env[] = {"A=1", "B=", nullptr};
  int status = run(check::self, {"zero", "@check_args", "one", "", "with space"}, env);
  CHECK_EXIT(status, 0);
}
HELPER(check_args) {
  CHECK_EQ(argc, 4);
  CHECK_EQ(argv[1], "one");
  CHECK_EQ(argv[2], "");
  CHECK_EQ(argv[3], "with space");
  CHECK(argv[4] == nullptr);
  CHECK_EQ(environ[0], "A=1");
  CHECK_EQ(environ[1], "B=");
  CHECK(environ[2] == nullptr);
  return check::failures;
}

// Lists of every length, whose strings lie across pages and across whatever the kernel copies them in.
TEST(long_lists_arrive_whole) {
  for (int count = 1; count < 300; count += 7) {
    std::vector<std::string> strings;
    for (int i = 0; i < count; i++) {
      size_t length = static_cast<size_t>(i) * 37 % 90;
      strings.push_back(std::to_string(i) + ":" + std::string(length, static_cast<char>('a' + i % 26)));
    }
    std::string total = std::to_string(count);
    std::vector<const char*> list{"x", "@check_long_list", total.c_str()};
    for (const std::string& string : strings) list.push_back(string.c_str());
    CHECK_EXIT(run(check::self, list), 0);
  }
}
HELPER(check_long_list) {
  int count = atoi(argv[1]);
  CHECK_EQ(argc, count + 2);
  for (int i = 0; i < count; i++) {
    size_t length = static_cast<size_t>(i) * 37 % 90;
    CHECK_EQ(std::string(argv[i + 2]),
             std::to_string(i) + ":" + std::string(length, static_cast<char>('a' + i % 26)));
  }
  return check::failures ? 1 : 0;
}

TEST(errnos) {
  CHECK_EXIT(exec_errno("/no/such/file"), ENOENT);
  CHECK_EXIT(exec_errno(""), ENOENT);
  CHECK_EXIT(exec_errno("/"), EACCES);
  CHECK_EXIT(exec_errno("/dev/null"), EACCES);
  NEED(check::write_file("plain", "x", 0644));
  CHECK_EXIT(exec_errno("plain"), EACCES);
  NEED(check::write_file("empty", "", 0755));
  CHECK_EXIT(exec_errno("empty"), ENOEXEC);
  NEED(check::write_file("text", "hello there, no magic\n", 0755));
  CHECK_EXIT(exec_errno("text"), ENOEXEC);
  NEED(check::write_file("zeros", std::string(8192, '\0'), 0755));
  CHECK_EXIT(exec_errno("zeros"), ENOEXEC);
  CHECK_EXIT(exec_errno("plain/below"), ENOTDIR);
  NEED_OK(symlink("loop", "loop"));
  CHECK_EXIT(exec_errno("loop"), ELOOP);
  CHECK_EXIT(exec_errno(std::string(300, 'n').c_str()), ENAMETOOLONG);
  CHECK_EXIT(exec_errno(std::string(5000, 'n').c_str()), ENAMETOOLONG);
  CHECK_EXIT(exec_errno(reinterpret_cast<const char*>(8)), EFAULT);
  const char* bad[] = {"x", reinterpret_cast<const char*>(8), nullptr};
  CHECK_ERR(execve(check::self, const_cast<char**>(bad), environ), EFAULT);
  CHECK_ERR(execve(check::self, reinterpret_cast<char**>(0x600000000000), environ), EFAULT);
  mkfifo("fifo", 0777);
  CHECK_EXIT(exec_errno("fifo"), EACCES);
}

TEST(text_busy) {
  NEED(check::write_file("prog", own_image(), 0755));
  int fd = NEED_OK(open("prog", O_WRONLY));
  CHECK_EXIT(exec_errno("prog"), ETXTBSY);
  close(fd);
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t p = fork();
  if (p == 0) {
    dup2(fds[0], 0);
    close(fds[0]);
    close(fds[1]);
    execl("./prog", "prog", "@block", nullptr);
    _exit(1);
  }
  close(fds[0]);
  CHECK(check::eventually(
      [=] { return check::read_file(("/proc/" + std::to_string(p) + "/comm").c_str()) == "prog\n"; }));
  CHECK_ERR(open("prog", O_WRONLY), ETXTBSY);
  CHECK_ERR(truncate("prog", 0), ETXTBSY);
  close(fds[1]);
  int status;
  waitpid(p, &status, 0);
  CHECK_EXIT(status, 0);
  CHECK_OK(open("prog", O_WRONLY));
}
HELPER(block) {
  char c;
  return read(0, &c, 1) != 0;
}

TEST(too_big) {
  std::string huge(200 << 10, 'a');  // one string over MAX_ARG_STRLEN (128 KiB)
  CHECK_EXIT(run(check::self, {"x", "@exit", huge.c_str()}), 100 + E2BIG);
  std::string fits(120 << 10, 'a');
  CHECK_EXIT(run(check::self, {"x", "@exit", "4", fits.c_str()}), 4);
  std::vector<const char*> many{"x", "@exit", "5"};
  std::string kilo(1000, 'k');
  for (int i = 0; i < 1500; i++) many.push_back(kilo.c_str());
  CHECK_EXIT(run(check::self, many), 5);
  for (int i = 0; i < 5000; i++) many.push_back(kilo.c_str());
  CHECK_EXIT(run(check::self, many), 100 + E2BIG);
}

// ---- scripts ----

namespace {
void script(const char* name, const std::string& text) {
  NEED(check::write_file(name, text, 0755));
}
}  // namespace

// Everything after the interpreter is one argument, blanks inside kept.
TEST(script_whole_rest_is_one_argument) {
  script("s", "#! " + std::string(check::self) + "   @no such helper \nignored\n");
  CHECK_EXIT(run("./s", {"zero"}), 98);  // "no such helper" was looked up as a whole
}

TEST(script_one_argument) {
  script("s", "#! " + std::string(check::self) + "\t@script_one  \n");
  CHECK_EXIT(run("./s", {"zero", "one", "two"}), 0);
}
HELPER(script_one) {
  CHECK_EQ(argc, 4);
  CHECK_EQ(argv[1], "./s");  // the path as given, not argv[0]
  CHECK_EQ(argv[2], "one");
  CHECK_EQ(argv[3], "two");
  return check::failures;
}

TEST(script_errors_and_nesting) {
  script("none", "#!/no/such/interpreter\n");
  CHECK_EXIT(exec_errno("none"), ENOENT);
  script("bare", "#!\n");
  CHECK_EXIT(exec_errno("bare"), ENOEXEC);
  script("blank", "#!   \n");
  CHECK_EXIT(exec_errno("blank"), ENOEXEC);
  script("dir", "#!/\n");
  CHECK_EXIT(exec_errno("dir"), EACCES);
  script("a", "#!" + std::string(check::self) + " @exit0\n");
  script("b", "#!./a\n");
  script("c", "#!./b\n");
  script("d", "#!./c\n");
  CHECK_EXIT(run("./d", {"x"}), 0);
  script("e", "#!./d\n");
  script("f", "#!./e\n");
  CHECK_EXIT(exec_errno("f"), ELOOP);
  script("no_newline", "#!" + std::string(check::self) + " @exit0");
  CHECK_EXIT(run("./no_newline", {"x"}), 0);
  script("long", "#!/" + std::string(300, 'x') + "\n");
  CHECK_EXIT(exec_errno("long"), ENOEXEC);
  script("crlf", "#!" + std::string(check::self) + "\r\n");
  CHECK_EXIT(exec_errno("crlf"), ENOENT);
}
HELPER(exit0) {
  return 0;
}

// ---- what survives ----

TEST(cloexec) {
  int keep = NEED_OK(open("/dev/null", O_RDONLY));
  int drop = NEED_OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
  int set = NEED_OK(dup(keep));
  fcntl(set, F_SETFD, FD_CLOEXEC);
  int dup_drop = NEED_OK(dup(drop));  // dup clears the flag
  int cloexec_dup = NEED_OK(fcntl(keep, F_DUPFD_CLOEXEC, 50));
  int third = NEED_OK(dup3(keep, 60, O_CLOEXEC));
  std::string list = std::to_string(keep) + "+" + std::to_string(drop) + "-" + std::to_string(set) + "-" +
                     std::to_string(dup_drop) + "+" + std::to_string(cloexec_dup) + "-" +
                     std::to_string(third) + "-";
  CHECK_EXIT(run(check::self, {"x", "@open_fds", list.c_str()}), 0);
}
HELPER(open_fds) {
  char* p = argv[1];
  while (*p) {
    int fd = int(strtol(p, &p, 10));
    bool open = fcntl(fd, F_GETFD) >= 0;
    if (open != (*p++ == '+'))
      check::fail(__FILE__, __LINE__, "fd " + std::to_string(fd) + (open ? " open" : " closed"));
  }
  return check::failures;
}

TEST(signals_over_exec) {
  signal(SIGUSR1, SIG_IGN);
  signal(SIGUSR2, [](int) {});
  static char stack[65536];
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  sigaltstack(&ss, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  raise(SIGHUP);
  // In this process, not a fork of it: pending signals do not survive fork.
  execl(check::self, "x", "@signals_after", nullptr);
  CHECK(false);
}
HELPER(signals_after) {
  struct sigaction sa;
  sigaction(SIGUSR1, nullptr, &sa);
  CHECK(sa.sa_handler == SIG_IGN);
  sigaction(SIGUSR2, nullptr, &sa);
  CHECK(sa.sa_handler == SIG_DFL);
  CHECK_EQ(sa.sa_flags, 0);
  stack_t ss;
  sigaltstack(nullptr, &ss);
  CHECK_EQ(ss.ss_flags, SS_DISABLE);
  sigset_t set;
  sigprocmask(SIG_BLOCK, nullptr, &set);
  CHECK(sigismember(&set, SIGHUP));
  sigpending(&set);
  CHECK(sigismember(&set, SIGHUP));
  return check::failures;
}

TEST(kept_ids_cwd_umask_timers_limits) {
  umask(0137);
  NEED_OK(mkdir("here", 0777));
  NEED_OK(chdir("here"));
  itimerval later{{0, 0}, {100, 0}};
  setitimer(ITIMER_REAL, &later, nullptr);
  rlimit r{100, 200};
  NEED_OK(setrlimit(RLIMIT_NOFILE, &r));
  char pid[16], cwd[256];
  snprintf(pid, sizeof pid, "%d", getpid());
  NEED(getcwd(cwd, sizeof cwd));
  execl(check::self, "x", "@kept", pid, cwd, nullptr);
  CHECK(false);
}
HELPER(kept) {
  CHECK_EQ(getpid(), atoi(argv[1]));
  char cwd[256];
  CHECK_EQ(getcwd(cwd, sizeof cwd), argv[2]);
  CHECK_EQ(umask(0), 0137);
  itimerval now{};
  getitimer(ITIMER_REAL, &now);
  CHECK(now.it_value.tv_sec >= 98);
  rlimit r{};
  getrlimit(RLIMIT_NOFILE, &r);
  CHECK_EQ(r.rlim_cur, 100);
  return check::failures;
}

TEST(memory_is_new) {
  void* at = reinterpret_cast<void*>(0x123450000000);
  void* p = mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  NEED(p == at);
  execl(check::self, "x", "@unmapped", nullptr);
  CHECK(false);
}
HELPER(unmapped) {
  unsigned char v;
  CHECK_ERR(mincore(reinterpret_cast<void*>(0x123450000000), 4096, &v), ENOMEM);
  return check::failures;
}

TEST(proc_after_exec) {
  NEED(check::write_file("a_long_program_name", own_image(), 0755));
  CHECK_EXIT(run("./a_long_program_name", {"zero", "@proc_self", "second"}), 0);
}
HELPER(proc_self) {
  char exe[4096];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe);
  CHECK(n > 0 && std::string(exe, size_t(n)).ends_with("/a_long_program_name"));
  CHECK_EQ(check::read_file("/proc/self/cmdline"), std::string("zero\0@proc_self\0second\0", 23));
  CHECK_EQ(check::read_file("/proc/self/comm"), "a_long_program_\n");
  return check::failures;
}

// ---- threads ----

TEST(exec_from_other_thread) {
  static char pid[16];
  snprintf(pid, sizeof pid, "%d", getpid());
  pthread_t t;
  for (int i = 0; i < 3; i++) {
    pthread_create(
        &t, nullptr,
        [](void*) -> void* {
          for (;;) getppid();
        },
        nullptr);
  }
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        execl(check::self, "x", "@after_thread_exec", pid, nullptr);
        _exit(1);
      },
      nullptr);
  for (;;) pause();
}
HELPER(after_thread_exec) {
  CHECK_EQ(getpid(), atoi(argv[1]));
  CHECK_EQ(gettid(), getpid());
  int threads = 0;
  DIR* d = opendir("/proc/self/task");
  while (dirent* e = d ? readdir(d) : nullptr) threads += e->d_name[0] != '.';
  CHECK_EQ(threads, 1);
  return check::failures;
}

TEST(exec_from_leader_kills_others) {
  static int fds[2];
  NEED_OK(pipe(fds));
  pthread_t t;
  for (int i = 0; i < 4; i++) {
    pthread_create(
        &t, nullptr,
        [](void*) -> void* {
          char c;
          if (read(fds[0], &c, 1)) {
          }
          _exit(1);
        },
        nullptr);
  }
  check::sleep_ms(5);
  char pid[16];
  snprintf(pid, sizeof pid, "%d", getpid());
  execl(check::self, "x", "@after_thread_exec", pid, nullptr);
  CHECK(false);
}

TEST(exec_race_of_two_threads) {
  CHECK_EXIT(check::in_child([] {
               static auto body = [](void*) -> void* {
                 execl(check::self, "x", "@exit", "31", nullptr);
                 return nullptr;
               };
               pthread_t a, b;
               pthread_create(&a, nullptr, body, nullptr);
               pthread_create(&b, nullptr, body, nullptr);
               for (;;) pause();
             }),
             31);
}

TEST(exec_in_a_loop) {
  CHECK_EXIT(run(check::self, {"x", "@again", "15"}), 0);
}
HELPER(again) {
  int n = atoi(argv[1]);
  if (n == 0) return 0;
  char left[16];
  snprintf(left, sizeof left, "%d", n - 1);
  execl(check::self, "x", "@again", left, nullptr);
  return 1;
}

TEST(execveat_and_fexecve) {
  int fd = NEED_OK(open(check::self, O_RDONLY | O_CLOEXEC));
  CHECK_EXIT(check::in_child([=] {
               const char* argv[] = {"x", "@exit", "6", nullptr};
               syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
               _exit(1);
             }),
             6);
  CHECK_EXIT(check::in_child([=] {
               const char* argv[] = {"x", "@exit", "7", nullptr};
               fexecve(fd, const_cast<char**>(argv), environ);
               _exit(1);
             }),
             7);
  const char* argv[] = {"x", nullptr};
  CHECK_ERR(syscall(SYS_execveat, 99, "", argv, environ, AT_EMPTY_PATH), EBADF);
  CHECK_ERR(syscall(SYS_execveat, fd, "", argv, environ, 0), ENOENT);
  CHECK_ERR(syscall(SYS_execveat, AT_FDCWD, check::self, argv, environ, 0x4000000), EINVAL);
  NEED_OK(symlink(check::self, "link"));
  CHECK_ERR(syscall(SYS_execveat, AT_FDCWD, "link", argv, environ, AT_SYMLINK_NOFOLLOW), ELOOP);
}

// ---- start of a program ----

TEST(auxiliary_vector) {
  CHECK_EQ(getauxval(AT_PAGESZ), 4096);
  CHECK_EQ(getauxval(AT_CLKTCK), 100);
  CHECK_EQ(getauxval(AT_UID), getuid());
  CHECK_EQ(getauxval(AT_EGID), getegid());
  CHECK_EQ(getauxval(AT_SECURE), 0);
  CHECK_EQ(reinterpret_cast<const char*>(getauxval(AT_PLATFORM)), "x86_64");
  CHECK(getauxval(AT_RANDOM) != 0);
  CHECK(getauxval(AT_ENTRY) != 0);
  CHECK(getauxval(AT_PHDR) != 0);
  CHECK_EQ(getauxval(AT_PHENT), sizeof(Elf64_Phdr));
  CHECK(getauxval(AT_PHNUM) > 0);
  CHECK(getauxval(AT_HWCAP) != 0);
  CHECK(getauxval(AT_HWCAP2) & 2);  // FSGSBASE
  CHECK(strlen(reinterpret_cast<const char*>(getauxval(AT_EXECFN))) > 0);
}

TEST(at_random_differs) {
  int fds[2];
  NEED_OK(pipe(fds));
  dup2(fds[1], 20);
  run(check::self, {"x", "@random"});
  run(check::self, {"x", "@random"});
  char b[33];
  CHECK_EQ(read(fds[0], b, 33), 32);
  CHECK(memcmp(b, b + 16, 16) != 0);
}
HELPER(random) {
  return write(20, reinterpret_cast<void*>(getauxval(AT_RANDOM)), 16) != 16;
}

TEST(execfn) {
  NEED(check::write_file("p", own_image(), 0755));
  CHECK_EXIT(run("./p", {"zero", "@execfn"}), 0);
}
HELPER(execfn) {
  CHECK_EQ(reinterpret_cast<const char*>(getauxval(AT_EXECFN)), "./p");
  return check::failures;
}

TEST(initial_stack_is_aligned) {
  CHECK_EXIT(run(check::self, {"x", "@aligned", "odd"}), 0);
}
HELPER(aligned) {
  // argc lies on a 16-byte boundary: argv is 8 above.
  CHECK_EQ((uint64_t(argv - 1) - 8) % 16, 0);  // argv here is the program's + 1
  return check::failures;
}

// ---- hostile files ----

namespace {
struct Elf {
  std::string bytes = own_image();
  Elf64_Ehdr& header() { return *reinterpret_cast<Elf64_Ehdr*>(bytes.data()); }
  Elf64_Phdr& segment(int i) { return reinterpret_cast<Elf64_Phdr*>(bytes.data() + header().e_phoff)[i]; }
  Elf64_Phdr& load() {
    for (int i = 0;; i++) {
      if (segment(i).p_type == PT_LOAD) return segment(i);
    }
  }
  // exec's errno, or the signal that ended it negated, or 0 if it ran.
  int result() {
    NEED(check::write_file("elf", bytes, 0755));
    int status = check::in_child([] {
      const char* argv[] = {"elf", "@exit", "0", nullptr};
      execve("./elf", const_cast<char**>(argv), environ);
      _exit(errno);
    });
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
};
}  // namespace

TEST(elf_copy_runs) {
  CHECK_EQ(Elf().result(), 0);
}

TEST(elf_header_fields) {
  Elf e;
  e.header().e_ident[EI_CLASS] = ELFCLASS32;
  // A 32-bit or foreign machine is not this kernel's.
  e.header().e_machine = EM_AARCH64;
  CHECK_EQ(e.result(), ENOEXEC);
  Elf type;
  type.header().e_type = ET_REL;
  CHECK_EQ(type.result(), ENOEXEC);
  Elf entry_size;
  entry_size.header().e_phentsize = 32;
  CHECK_EQ(entry_size.result(), ENOEXEC);
  Elf no_segments;
  no_segments.header().e_phnum = 0;
  CHECK(no_segments.result() != 0);
  Elf far;
  far.header().e_phoff = 1ull << 40;
  CHECK(far.result() != 0);
  Elf wraps;
  wraps.header().e_phoff = ~0ull - 64;
  CHECK(wraps.result() != 0);
}

TEST(elf_truncated) {
  for (size_t n : {4u, 16u, 52u, 63u, 64u, 100u, 500u}) {
    Elf e;
    e.bytes.resize(n);
    CHECK(e.result() != 0);
  }
  Elf half;
  half.bytes.resize(half.bytes.size() / 4);
  CHECK(half.result() != 0);
}

TEST(elf_segments) {
  Elf huge;
  huge.load().p_memsz = 1ull << 47;
  CHECK(huge.result() != 0);
  Elf wraps;
  wraps.load().p_vaddr = ~0xfffull;
  CHECK(wraps.result() != 0);
  Elf bigger_file;
  bigger_file.load().p_filesz = bigger_file.load().p_memsz + 4096 * 100;
  CHECK(bigger_file.result() != 0);
  Elf misaligned;
  misaligned.load().p_offset += 1;
  CHECK(misaligned.result() != 0);
  Elf kernel;
  kernel.load().p_vaddr = 0x600000000000;
  kernel.load().p_memsz = 0x1000;
  CHECK(kernel.result() != 0);
}

TEST(elf_interpreter) {
  for (const char* text : {"/no/such/ld.so", "", "relative"}) {
    Elf e;
    // Turn the PT_INTERP, or else the last header, into one that points at text appended to the file.
    int at = 0;
    while (at < e.header().e_phnum - 1 && e.segment(at).p_type != PT_INTERP) at++;
    Elf64_Phdr& p = e.segment(at);
    p.p_type = PT_INTERP;
    p.p_offset = e.bytes.size();
    p.p_filesz = strlen(text) + 1;
    std::string image = e.bytes + std::string(text, strlen(text) + 1);
    e.bytes = image;
    int r = e.result();
    if (r != ENOENT && r != ENOEXEC && r != ELIBBAD && r != EACCES)
      check::fail(__FILE__, __LINE__, std::string("interpreter \"") + text + "\": got " + check::text(r));
  }
}

TEST(elf_random_bytes) {
  // Deterministic noise in the headers: whatever happens to the child, the machine lives.
  uint64_t x = 88172645463325252ull;
  auto random = [&] {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
  };
  for (int round = 0; round < 60; round++) {
    Elf e;
    size_t headers = 64 + size_t(e.header().e_phnum) * 56;
    for (int i = 0; i < 3; i++) e.bytes[4 + random() % (headers - 4)] = char(random());
    NEED(check::write_file("elf", e.bytes, 0755));
    pid_t p = fork();
    if (p == 0) {
      rlimit seconds{1, 1};
      setrlimit(RLIMIT_CPU, &seconds);
      int null = open("/dev/null", O_WRONLY);
      dup2(null, 1);
      dup2(null, 2);
      alarm(2);
      execl("./elf", "elf", "@exit", "0", nullptr);
      _exit(errno);
    }
    int status;
    CHECK_EQ(waitpid(p, &status, 0), p);
  }
}
