// Identities, limits, prctl, capabilities, and what the system says of itself.
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "tests/guest/check.h"

namespace {
void need_root() {
  if (geteuid() != 0) check::skip("needs root");
}

std::string ids() {
  uid_t r, e, s;
  getresuid(&r, &e, &s);
  return std::to_string(r) + " " + std::to_string(e) + " " + std::to_string(s);
}
}  // namespace

TEST(user_ids) {
  need_root();
  CHECK_EQ(ids(), "0 0 0");
  CHECK_EXIT(check::in_child([] {
               CHECK_OK(setresuid(1000, 1000, 0));
               CHECK_EQ(ids(), "1000 1000 0");
               CHECK_OK(seteuid(0));
               CHECK_EQ(ids(), "1000 0 0");
               CHECK_OK(setresuid(uid_t(-1), 1000, 1000));
               CHECK_ERR(seteuid(0), EPERM);
               CHECK_ERR(setuid(0), EPERM);
               CHECK_ERR(setresuid(0, 0, 0), EPERM);
               CHECK_OK(setreuid(1000, 1000));
               CHECK_OK(setuid(1000));
             }),
             0);
  CHECK_EXIT(check::in_child([] {
               CHECK_OK(setuid(1234));  // from root: all three
               CHECK_EQ(ids(), "1234 1234 1234");
               CHECK_ERR(setuid(0), EPERM);
             }),
             0);
  CHECK_EXIT(check::in_child([] {
               CHECK_OK(setreuid(5, 6));
               CHECK_EQ(ids(), "5 6 6");
               CHECK_OK(setreuid(6, 5));
               CHECK_EQ(ids(), "6 5 5");
             }),
             0);
}

TEST(group_ids) {
  need_root();
  CHECK_EXIT(check::in_child([] {
               gid_t list[3] = {10, 20, 30}, got[10];
               CHECK_OK(setgroups(3, list));
               CHECK_EQ(getgroups(0, nullptr), 3);
               CHECK_EQ(getgroups(10, got), 3);
               CHECK_EQ(got[2], 30);
               CHECK_ERR(getgroups(2, got), EINVAL);
               CHECK_OK(setresgid(7, 8, 9));
               gid_t r, e, s;
               CHECK_OK(getresgid(&r, &e, &s));
               CHECK_EQ(r * 100 + e * 10 + s, 789);
               CHECK_EQ(getegid(), 8);
               CHECK_OK(setuid(1000));
               CHECK_ERR(setgroups(0, nullptr), EPERM);
               CHECK_ERR(setgid(0), EPERM);
               CHECK_OK(setgid(9));
             }),
             0);
}

TEST(file_system_ids) {
  need_root();
  CHECK_EXIT(check::in_child([] {
               CHECK_EQ(setfsuid(500), 0);
               CHECK_EQ(setfsuid(uid_t(-1)), 500);
               CHECK_EQ(setfsgid(600), 0);
               CHECK_EQ(setfsgid(gid_t(-1)), 600);
             }),
             0);
}

TEST(kill_permissions) {
  need_root();
  CHECK_EXIT(check::in_child([] {
               pid_t root_owned = getpid();
               CHECK_EXIT(check::in_child([=] {
                            NEED_OK(setuid(1000));
                            CHECK_ERR(kill(root_owned, SIGTERM), EPERM);
                            CHECK_ERR(kill(root_owned, 0), EPERM);
                            CHECK_OK(kill(getpid(), 0));
                          }),
                          0);
             }),
             0);
}

TEST(set_uid_program) {
  need_root();
  std::string image = check::read_file(check::self);
  NEED(check::write_file("suid", image, 0755));
  NEED_OK(chown("suid", 77, 88));
  NEED_OK(chmod("suid", 06755));
  chmod(".", 0755);
  CHECK_EXIT(check::in_child([] {
               NEED_OK(setgid(1000));
               NEED_OK(setuid(1000));
               execl("./suid", "suid", "@who", nullptr);
               _exit(errno);
             }),
             0);
}
HELPER(who) {
  CHECK_EQ(getuid(), 1000);
  CHECK_EQ(geteuid(), 77);
  CHECK_EQ(getegid(), 88);
  CHECK_EQ(ids(), "1000 77 77");
  CHECK_EQ(getauxval(AT_SECURE), 1);
  return check::failures;
}

TEST(capabilities) {
  need_root();
  __user_cap_header_struct h{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct d[2]{};
  CHECK_OK(syscall(SYS_capget, &h, d));
  CHECK(d[0].effective & (1u << CAP_CHOWN));
  CHECK_EXIT(check::in_child([] {
               __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
               __user_cap_data_struct data[2]{};
               NEED_OK(setuid(1000));
               CHECK_OK(syscall(SYS_capget, &head, data));
               CHECK_EQ(data[0].effective, 0);
               CHECK_EQ(data[0].permitted, 0);
               data[0].permitted = data[0].effective = 1;
               CHECK_ERR(syscall(SYS_capset, &head, data), EPERM);
             }),
             0);
  h.version = 0x12345;
  CHECK_ERR(syscall(SYS_capget, &h, d), EINVAL);
  CHECK_EQ(h.version, _LINUX_CAPABILITY_VERSION_3);
}

TEST(keepcaps) {
  need_root();
  CHECK_EXIT(check::in_child([] {
               CHECK_OK(prctl(PR_SET_KEEPCAPS, 1));
               NEED_OK(setuid(1000));
               __user_cap_header_struct h{_LINUX_CAPABILITY_VERSION_3, 0};
               __user_cap_data_struct d[2]{};
               CHECK_OK(syscall(SYS_capget, &h, d));
               CHECK(d[0].permitted != 0);
               CHECK_EQ(d[0].effective, 0);
             }),
             0);
}

// ---- limits ----

TEST(rlimits) {
  rlimit r{}, old{};
  for (int which : {RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS,
                    RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING,
                    RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO})
    CHECK_OK(getrlimit(__rlimit_resource(which), &r));
  CHECK_ERR(syscall(SYS_getrlimit, 16, &r), EINVAL);
  NEED_OK(getrlimit(RLIMIT_NOFILE, &old));
  r = {50, old.rlim_max};
  CHECK_OK(prlimit(0, RLIMIT_NOFILE, &r, &old));
  CHECK_OK(prlimit(getpid(), RLIMIT_NOFILE, nullptr, &r));
  CHECK_EQ(r.rlim_cur, 50);
  r = {60, 50};
  CHECK_ERR(setrlimit(RLIMIT_NOFILE, &r), EINVAL);
  CHECK_ERR(prlimit(999999, RLIMIT_NOFILE, nullptr, &r), ESRCH);
  CHECK_ERR(prlimit(-1, RLIMIT_NOFILE, nullptr, &r), ESRCH);
  CHECK_EXIT(check::in_child([] {
               if (geteuid() == 0) NEED_OK(setuid(1000));
               rlimit lower{30, 40}, raise{30, 50};
               CHECK_OK(setrlimit(RLIMIT_NOFILE, &lower));
               CHECK_ERR(setrlimit(RLIMIT_NOFILE, &raise), EPERM);
               CHECK_EQ(sysconf(_SC_OPEN_MAX), 30);
             }),
             0);
  NEED_OK(getrlimit(RLIMIT_STACK, &r));
  CHECK_EQ(r.rlim_cur, 8 << 20);
}

TEST(cpu_limit) {
  CHECK_KILLED(check::in_child([] {
                 rlimit r{1, 1};
                 setrlimit(RLIMIT_CPU, &r);
                 for (;;) asm volatile("" ::: "memory");
               }),
               SIGKILL);
}

TEST(nproc_limit) {
  need_root();
  CHECK_EXIT(check::in_child([] {
               rlimit r{1, 1};
               NEED_OK(setrlimit(RLIMIT_NPROC, &r));
               NEED_OK(setuid(54321));
               pid_t p = fork();
               if (p == 0) _exit(0);
               CHECK(p == -1 && errno == EAGAIN);
             }),
             0);
}

TEST(priorities) {
  errno = 0;
  int start = getpriority(PRIO_PROCESS, 0);  // natively whatever the tests were started with
  CHECK_EQ(errno, 0);
  CHECK_EXIT(check::in_child([&] {
               int lower = start < 10 ? start + 5 : 15;
               CHECK_OK(setpriority(PRIO_PROCESS, 0, lower));
               CHECK_EQ(getpriority(PRIO_PROCESS, 0), lower);
               CHECK_EQ(nice(3), lower + 3);
             }),
             0);
  CHECK_ERR(getpriority(PRIO_PROCESS, 999999), ESRCH);
  CHECK_ERR(getpriority(__priority_which(9), 0), EINVAL);
}

// ---- prctl and the like ----

TEST(prctl_basics) {
  char name[16] = "";
  CHECK_OK(prctl(PR_SET_NAME, "a-name-longer-than-fifteen"));
  CHECK_OK(prctl(PR_GET_NAME, name));
  CHECK_EQ(name, "a-name-longer-t");
  int signal = -1;
  CHECK_OK(prctl(PR_SET_PDEATHSIG, SIGUSR1));
  CHECK_OK(prctl(PR_GET_PDEATHSIG, &signal));
  CHECK_EQ(signal, SIGUSR1);
  CHECK_ERR(prctl(PR_SET_PDEATHSIG, 999), EINVAL);
  CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
  CHECK_OK(prctl(PR_SET_DUMPABLE, 0));
  CHECK_EQ(prctl(PR_GET_DUMPABLE), 0);
  CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
  CHECK_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
  CHECK_ERR(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
  CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
  int reaper = 0;
  CHECK_OK(prctl(PR_GET_CHILD_SUBREAPER, &reaper));
  CHECK_EQ(reaper, 1);
  CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN) >= 0);
  CHECK_ERR(prctl(PR_CAPBSET_READ, 999), EINVAL);
  CHECK_ERR(prctl(99999), EINVAL);
}

TEST(arch_prctl) {
  unsigned long fs = 0;
  CHECK_OK(syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &fs));
  CHECK(fs != 0);
  uint64_t self;
  asm("mov %%fs:0, %0" : "=r"(self));
  CHECK_EQ(fs, self);
  CHECK_ERR(syscall(SYS_arch_prctl, 0x9999, &fs), EINVAL);
  CHECK_ERR(syscall(SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, 0xffff800000000000), EPERM);
}

TEST(personality_is_linux) {
  CHECK_EQ(personality(0xffffffff), PER_LINUX);
}

TEST(getrandom_flags) {
  char a[300] = {}, b[300] = {};
  CHECK_EQ(getrandom(a, 300, 0), 300);
  CHECK_EQ(getrandom(b, 300, GRND_RANDOM | GRND_NONBLOCK), 300);
  CHECK(memcmp(a, b, 300) != 0);
  CHECK_ERR(getrandom(a, 10, 0x100), EINVAL);
  CHECK_EXIT(check::in_child([&] {
               char mine[16];
               getrandom(mine, 16, 0);
             }),
             0);
}

TEST(sysinfo_and_uname) {
  struct sysinfo s;
  CHECK_OK(sysinfo(&s));
  CHECK(s.totalram > 0 && s.mem_unit >= 1 && s.procs > 0 && s.uptime >= 0);
  CHECK(s.freeram <= s.totalram);
  utsname u;
  CHECK_OK(uname(&u));
  CHECK(strlen(u.nodename) > 0);
  char host[65];
  CHECK_OK(gethostname(host, sizeof host));
  CHECK_EQ(host, u.nodename);
  CHECK_EQ(sysconf(_SC_PAGESIZE), 4096);
  CHECK(get_nprocs() >= 1);
}

TEST(getcpu_call) {
  unsigned cpu = 9999, node = 9999;
  CHECK_OK(syscall(SYS_getcpu, &cpu, &node, nullptr));
  CHECK(cpu < 1024 && node < 64);
  CHECK(sched_getcpu() >= 0);
}

TEST(denied_or_unknown) {
  // Never a crash, never a surprise: a refusal that programs know.
  CHECK(syscall(SYS_kexec_load, 0, 0, 0, 0) == -1);
  CHECK(syscall(SYS_init_module, 0, 0, "") == -1);
  CHECK(syscall(SYS_reboot, 0, 0, 0, 0) == -1);
  CHECK(syscall(SYS_swapon, "/none", 0) == -1);
  CHECK(syscall(SYS_iopl, 3) == -1 || true);
  CHECK_ERR(syscall(SYS_uselib, "x"), ENOSYS);
  CHECK_ERR(syscall(500), ENOSYS);
}

TEST(int80_is_no_way_in) {
  // 32-bit entry: Linux serves or refuses it; here it must not reach the host. Either way getpid by it is not
  // the host's.
  int status = check::in_child([] {
    long r;
    asm volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    if (r != -ENOSYS && r != getpid()) _exit(7);
  });
  CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

// ---- notifications ----

namespace {
// The masks of the waiting events, one after the other, as text.
std::string masks(int fd) {
  alignas(inotify_event) char b[4096];
  std::string out;
  ssize_t n = read(fd, b, sizeof b);
  for (ssize_t at = 0; at < n;) {
    auto* e = reinterpret_cast<inotify_event*>(b + at);
    char one[64];
    snprintf(one, sizeof one, "%x%s%s ", e->mask, e->len ? ":" : "", e->len ? e->name : "");
    out += one;
    at += ssize_t(sizeof *e + e->len);
  }
  return out;
}
}  // namespace

TEST(inotify_of_truncating_open) {
  NEED(check::write_file("f", "data"));
  int in = NEED_OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  NEED_OK(inotify_add_watch(in, "f", IN_MODIFY | IN_OPEN | IN_CLOSE_WRITE));
  close(NEED_OK(open("f", O_WRONLY | O_TRUNC)));
  // Which of the two comes first has changed over Linux's versions.
  std::string seen = masks(in);
  CHECK(seen == "20 2 8 " || seen == "2 20 8 ");
  CHECK_EQ(masks(in), "");
}

TEST(inotify_directory) {
  int in = NEED_OK(inotify_init1(IN_NONBLOCK));
  int watch = NEED_OK(inotify_add_watch(in, ".", IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO));
  NEED(check::write_file("a", ""));
  NEED_OK(rename("a", "b"));
  NEED_OK(unlink("b"));
  CHECK_EQ(masks(in), "100:a 40:a 80:b 200:b ");
  CHECK_OK(inotify_rm_watch(in, watch));
  CHECK_EQ(masks(in), "8000 ");
  CHECK_ERR(inotify_rm_watch(in, watch), EINVAL);
}

// A file's end is that of its last name, and that lives while the file is open by it.
TEST(inotify_of_ends_and_moves) {
  NEED_OK(mkdir("d", 0755));
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0644));
  int in = NEED_OK(inotify_init1(IN_NONBLOCK));
  constexpr uint32_t kEnds = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
  NEED_OK(inotify_add_watch(in, "d", kEnds));
  NEED_OK(inotify_add_watch(in, "f", kEnds));
  NEED_OK(rename("d", "e"));
  CHECK_EQ(masks(in), "800 ");
  NEED_OK(rename("f", "g"));
  CHECK_EQ(masks(in), "800 ");
  NEED_OK(rmdir("e"));
  CHECK_EQ(masks(in), "400 8000 ");
  NEED_OK(link("g", "h"));
  CHECK_EQ(masks(in), "4 ");
  NEED_OK(unlink("h"));
  CHECK_EQ(masks(in), "4 ");
  NEED_OK(unlink("g"));
  CHECK_EQ(masks(in), "4 ");
  close(fd);
  CHECK_EQ(masks(in), "400 8000 ");
}

TEST(inotify_of_replaced_file) {
  NEED(check::write_file("old", "o"));
  NEED(check::write_file("new", "n"));
  int in = NEED_OK(inotify_init1(IN_NONBLOCK));
  NEED_OK(inotify_add_watch(in, "old", IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF));
  NEED_OK(rename("new", "old"));
  CHECK_EQ(masks(in), "4 400 8000 ");
}
