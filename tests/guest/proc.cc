// /proc, /dev, /sys and what they hold.
#include <linux/random.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#include <set>

#include "tests/guest/check.h"

namespace {

std::string link_of(const std::string& path) {
  char b[4096];
  ssize_t n = readlink(path.c_str(), b, sizeof b);
  return n < 0 ? "<" + check::errno_text(errno) + ">" : std::string(b, size_t(n));
}

// The value after "Name:" in a file of such lines, without blanks around; "" if there is none.
std::string field(const std::string& text, const std::string& name) {
  size_t at = text.find("\n" + name + ":");
  if (text.compare(0, name.size() + 1, name + ":") == 0)
    at = 0;
  else if (at == std::string::npos)
    return "";
  else
    at++;
  size_t begin = text.find_first_not_of(" \t", at + name.size() + 1), end = text.find('\n', at);
  return begin == std::string::npos || begin >= end ? "" : text.substr(begin, end - begin);
}

std::set<std::string> names(const char* dir) {
  std::set<std::string> out;
  DIR* d = opendir(dir);
  if (!d) return out;
  while (dirent* e = readdir(d)) out.insert(e->d_name);
  closedir(d);
  return out;
}

std::string proc(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

dev_t device(const char* path) {
  struct stat st {};
  if (stat(path, &st) < 0 || !S_ISCHR(st.st_mode)) return 0;
  return st.st_rdev;
}

}  // namespace

TEST(self_links) {
  CHECK_EQ(link_of("/proc/self"), std::to_string(getpid()));
  CHECK_EQ(link_of("/proc/thread-self"), std::to_string(getpid()) + "/task/" + std::to_string(gettid()));
  CHECK_EQ(link_of("/proc/self/exe"), check::self);
  char cwd[4096];
  NEED(getcwd(cwd, sizeof cwd));
  CHECK_EQ(link_of("/proc/self/cwd"), cwd);
  CHECK_EQ(link_of("/proc/self/root"), "/");
  CHECK_EQ(link_of("/proc/mounts"), "self/mounts");
  std::string path = "/proc/" + std::to_string(getpid()) + "/exe";
  CHECK(access(path.c_str(), X_OK) == 0);
}

TEST(pids_are_listed) {
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  CHECK_EQ(names("/proc").count(std::to_string(getpid())), 1);
  CHECK_EQ(names("/proc").count(std::to_string(child)), 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK_EQ(names("/proc").count(std::to_string(child)), 0);
  CHECK_ERR(open(proc(child, "stat").c_str(), O_RDONLY), ENOENT);
}

TEST(stat_line) {
  std::string s = check::read_file("/proc/self/stat");
  int pid, ppid, pgrp, session, tty;
  char comm[64], state;
  CHECK_EQ(sscanf(s.c_str(), "%d (%63[^)]) %c %d %d %d %d", &pid, comm, &state, &ppid, &pgrp, &session, &tty),
           7);
  CHECK_EQ(pid, getpid());
  CHECK_EQ(ppid, getppid());
  CHECK_EQ(pgrp, getpgrp());
  CHECK_EQ(session, getsid(0));
  CHECK_EQ(state, 'R');
  int fields = 1;
  for (char c : s.substr(s.rfind(')'))) fields += c == ' ';
  CHECK_EQ(fields + 1, 52);
  CHECK(s.back() == '\n');
}

TEST(status_fields) {
  std::string s = check::read_file("/proc/self/status");
  CHECK_EQ(field(s, "Pid"), std::to_string(getpid()));
  CHECK_EQ(field(s, "Tgid"), std::to_string(getpid()));
  CHECK_EQ(field(s, "PPid"), std::to_string(getppid()));
  CHECK(field(s, "State").starts_with("R (running)"));
  CHECK_EQ(field(s, "Threads"), "1");
  CHECK_EQ(field(s, "Uid"), "0\t0\t0\t0");
  CHECK(field(s, "VmRSS").ends_with(" kB"));
  CHECK(field(s, "VmSize").ends_with(" kB"));
  signal(SIGUSR1, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  raise(SIGHUP);
  s = check::read_file("/proc/self/status");
  CHECK_EQ(field(s, "SigBlk"), "0000000000000001");
  CHECK_EQ(strtoull(field(s, "SigIgn").c_str(), nullptr, 16) & 0x200, 0x200);
  CHECK_EQ(
      strtoull(field(s, "SigPnd").c_str(), nullptr, 16) | strtoull(field(s, "ShdPnd").c_str(), nullptr, 16),
      1);
}

TEST(cmdline_environ_comm) {
  CHECK(check::read_file("/proc/self/cmdline").find(check::now) != std::string::npos ||
        !check::read_file("/proc/self/cmdline").empty());
  CHECK(check::read_file("/proc/self/environ").find("PATH=") != std::string::npos);
  CHECK(check::write_file("/proc/self/comm", "renamed"));
  CHECK_EQ(check::read_file("/proc/self/comm"), "renamed\n");
  pid_t child = fork();
  if (child == 0) _exit(0);
  check::eventually([=] { return check::task_state(child) == 'Z'; });
  CHECK_EQ(check::read_file(proc(child, "cmdline").c_str()), "");
  waitpid(child, nullptr, 0);
}

TEST(fd_directory) {
  int fd = NEED_OK(open("/dev/null", O_RDWR));
  int fds[2];
  NEED_OK(pipe(fds));
  CHECK_EQ(link_of("/proc/self/fd/" + std::to_string(fd)), "/dev/null");
  CHECK(link_of("/proc/self/fd/" + std::to_string(fds[0])).starts_with("pipe:["));
  CHECK_EQ(names("/proc/self/fd").count(std::to_string(fd)), 1);
  NEED_OK(dup2(fd, 99));
  CHECK_EQ(names("/proc/self/fd").count("99"), 1);
  close(99);
  CHECK_EQ(names("/proc/self/fd").count("99"), 0);
  close(fd);
  CHECK_ERR(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY), ENOENT);
  NEED(check::write_file("f", "0123456789"));
  int file = NEED_OK(open("f", O_RDONLY));
  lseek(file, 4, SEEK_SET);
  std::string info = check::read_file(("/proc/self/fdinfo/" + std::to_string(file)).c_str());
  CHECK_EQ(field(info, "pos"), "4");
  CHECK_EQ(strtoul(field(info, "flags").c_str(), nullptr, 8) & O_ACCMODE, O_RDONLY);
  int again = NEED_OK(open(("/proc/self/fd/" + std::to_string(file)).c_str(), O_RDONLY));
  CHECK_EQ(lseek(again, 0, SEEK_CUR), 0);  // a new open file
  struct stat a, b;
  CHECK_OK(stat(("/proc/self/fd/" + std::to_string(file)).c_str(), &a));
  fstat(file, &b);
  CHECK_EQ(a.st_ino, b.st_ino);
  CHECK_EQ(link_of("/dev/fd"), "/proc/self/fd");
  CHECK_EQ(link_of("/dev/stdin"), "/proc/self/fd/0");
}

TEST(other_process) {
  NEED_OK(mkdir("there", 0755));
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t child = fork();
  if (child == 0) {
    if (chdir("there") < 0 || write(ready[1], "r", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  CHECK(link_of(proc(child, "cwd")).ends_with("/there"));
  CHECK_EQ(link_of(proc(child, "exe")), check::self);
  CHECK(check::read_file(proc(child, "maps").c_str()).find("[stack]") != std::string::npos);
  CHECK(check::until_asleep(child));
  CHECK(field(check::read_file(proc(child, "status").c_str()), "State").starts_with("S (sleeping)"));
  CHECK_EQ(field(check::read_file(proc(child, "status").c_str()), "PPid"), std::to_string(getpid()));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(memory_files) {
  std::string m = check::read_file("/proc/meminfo");
  CHECK(field(m, "MemTotal").ends_with(" kB"));
  CHECK(atol(field(m, "MemTotal").c_str()) >= atol(field(m, "MemFree").c_str()));
  CHECK(!field(m, "MemAvailable").empty());
  CHECK(!field(m, "SwapTotal").empty());
  long size, resident;
  CHECK_EQ(sscanf(check::read_file("/proc/self/statm").c_str(), "%ld %ld", &size, &resident), 2);
  CHECK(size >= resident && resident > 0);
  std::string smaps = check::read_file("/proc/self/smaps");
  CHECK(smaps.find("Rss:") != std::string::npos || smaps[0] == '<');
}

TEST(proc_self_mem) {
  static volatile int value = 1234;
  int fd = open("/proc/self/mem", O_RDWR);
  NEED_OK(fd);
  int got = 0;
  CHECK_EQ(pread(fd, &got, sizeof got, off_t(uint64_t(&value))), 4);
  CHECK_EQ(got, 1234);
  CHECK_ERR(pread(fd, &got, sizeof got, 0x1000), EIO);
  CHECK_ERR(pread(fd, &got, sizeof got, 0x600000000000), EIO);
}

TEST(seek_in_generated_text) {
  // As stdio's rewind() does, and programs that keep a file open to look at it again.
  std::string self_fd = "/proc/self/fdinfo/1";
  for (std::string name : {std::string("/proc/stat"), std::string("/proc/cpuinfo"), self_fd}) {
    int fd = open(name.c_str(), O_RDONLY);
    NEED_OK(fd);
    char first[12], again[12];
    CHECK_EQ(read(fd, first, sizeof first), 12);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 12);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(read(fd, again, sizeof again), 12);
    CHECK_EQ(memcmp(first, again, 3), 0);  // of the rest, some counts
    CHECK_EQ(lseek(fd, -10, SEEK_CUR), 2);
    CHECK_EQ(read(fd, again, 1), 1);
    CHECK_EQ(again[0], first[2]);
    CHECK_ERR(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 3);
    CHECK_ERR(lseek(fd, 0, SEEK_END), EINVAL);
    close(fd);
  }
  FILE* appending = fopen("/proc/self/oom_score_adj", "a");
  CHECK(appending != nullptr);
  if (appending != nullptr) fclose(appending);
  static volatile int value = 4321;
  int fd = open("/proc/self/mem", O_RDONLY), got = 0;
  NEED_OK(fd);
  CHECK_EQ(lseek(fd, off_t(uint64_t(&value)), SEEK_SET), off_t(uint64_t(&value)));
  CHECK_EQ(read(fd, &got, sizeof got), 4);
  CHECK_EQ(got, 4321);
}

TEST(system_files) {
  std::string cpu = check::read_file("/proc/cpuinfo");
  int processors = 0;
  for (size_t at = 0; (at = cpu.find("processor\t:", at)) != std::string::npos; at++) processors++;
  CHECK_EQ(processors, sysconf(_SC_NPROCESSORS_ONLN));
  CHECK(cpu.find("flags\t\t:") != std::string::npos);
  std::string stat = check::read_file("/proc/stat");
  CHECK(stat.starts_with("cpu "));
  CHECK(stat.find("btime ") != std::string::npos);
  double up, idle, l1, l2, l3;
  int running, total, last;
  CHECK_EQ(sscanf(check::read_file("/proc/uptime").c_str(), "%lf %lf", &up, &idle), 2);
  CHECK_EQ(sscanf(check::read_file("/proc/loadavg").c_str(), "%lf %lf %lf %d/%d %d", &l1, &l2, &l3, &running,
                  &total, &last),
           6);
  CHECK(check::read_file("/proc/version").starts_with("Linux version "));
  CHECK(check::read_file("/proc/filesystems").find("nodev\tproc\n") != std::string::npos);
  CHECK(check::read_file("/proc/mounts").find(" /proc proc ") != std::string::npos);
  CHECK(check::read_file("/proc/self/mountinfo").find(" /proc ") != std::string::npos);
  CHECK(!check::read_file("/proc/cmdline").starts_with("<"));
}

TEST(sysctl_files) {
  CHECK_EQ(check::read_file("/proc/sys/kernel/ostype"), "Linux\n");
  CHECK(atoi(check::read_file("/proc/sys/kernel/osrelease").c_str()) >= 5);
  CHECK(atoi(check::read_file("/proc/sys/kernel/pid_max").c_str()) >= 4096);
  CHECK(!check::read_file("/proc/sys/kernel/hostname").empty());
  CHECK(atol(check::read_file("/proc/sys/fs/file-max").c_str()) > 1000);
  CHECK_EQ(check::read_file("/proc/sys/fs/pipe-max-size"), "1048576\n");
  CHECK(atoi(check::read_file("/proc/sys/vm/overcommit_memory").c_str()) >= 0);
  CHECK_EQ(check::read_file("/proc/sys/kernel/random/boot_id").size(), 37);
  CHECK_EQ(check::read_file("/proc/sys/kernel/random/uuid").size(), 37);
  CHECK(check::read_file("/proc/sys/kernel/random/uuid") != check::read_file("/proc/sys/kernel/random/uuid"));
  CHECK(atoi(check::read_file("/proc/sys/kernel/ngroups_max").c_str()) == 65536);
  CHECK(!check::read_file("/proc/sys/kernel/cap_last_cap").empty());
}

TEST(limits_file) {
  rlimit r{77, 99};
  NEED_OK(setrlimit(RLIMIT_NOFILE, &r));
  std::string l = check::read_file("/proc/self/limits");
  CHECK(l.find("Max open files            77                   99                   files") !=
        std::string::npos);
}

TEST(proc_is_read_only_tree) {
  CHECK_ERR(open("/proc/newfile", O_RDWR | O_CREAT, 0600), ENOENT);
  CHECK_ERR(mkdir("/proc/dir", 0755), ENOENT);
  CHECK(unlink("/proc/self/stat") < 0);
  CHECK_ERR(open("/proc/self/nothing", O_RDONLY), ENOENT);
  CHECK_ERR(open("/proc/99999999/stat", O_RDONLY), ENOENT);
  CHECK_ERR(open("/proc/0123", O_RDONLY), ENOENT);
}

TEST(gone_process_file) {
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  int fd = NEED_OK(open(proc(child, "status").c_str(), O_RDONLY));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  char b[16];
  CHECK_ERR(read(fd, b, sizeof b), ESRCH);
}

// ---- devices ----

TEST(null_zero_full) {
  CHECK_EQ(device("/dev/null"), makedev(1, 3));
  CHECK_EQ(device("/dev/zero"), makedev(1, 5));
  CHECK_EQ(device("/dev/full"), makedev(1, 7));
  CHECK_EQ(device("/dev/random"), makedev(1, 8));
  CHECK_EQ(device("/dev/urandom"), makedev(1, 9));
  CHECK_EQ(device("/dev/tty"), makedev(5, 0));
  CHECK_EQ(device("/dev/ptmx"), makedev(5, 2));
  char b[64];
  memset(b, 'x', sizeof b);
  int null = NEED_OK(open("/dev/null", O_RDWR));
  CHECK_EQ(write(null, b, 64), 64);
  CHECK_EQ(read(null, b, 64), 0);
  CHECK_EQ(lseek(null, 100, SEEK_SET), 0);
  int zero = NEED_OK(open("/dev/zero", O_RDWR));
  CHECK_EQ(read(zero, b, 64), 64);
  CHECK_EQ(b[63], 0);
  CHECK_EQ(write(zero, b, 64), 64);
  void* p = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
  CHECK(p != MAP_FAILED);
  if (p != MAP_FAILED) CHECK_EQ(static_cast<char*>(p)[5000], 0);
  int full = NEED_OK(open("/dev/full", O_RDWR));
  CHECK_ERR(write(full, b, 1), ENOSPC);
  CHECK_EQ(read(full, b, 64), 64);
  CHECK_EQ(pread(full, b, 64, 1ll << 40), 64);
  CHECK_EQ(pread(zero, b, 64, 5), 64);
  CHECK_EQ(pwrite(null, b, 64, 5), 64);
  CHECK_EQ(pread(null, b, 64, 5), 0);
  CHECK_ERR(ioctl(null, TCGETS, b), ENOTTY);
}

TEST(random_devices) {
  char a[32], b[32];
  for (const char* name : {"/dev/random", "/dev/urandom"}) {
    int fd = NEED_OK(open(name, O_RDWR));
    CHECK_EQ(read(fd, a, 32), 32);
    CHECK_EQ(read(fd, b, 32), 32);
    CHECK(memcmp(a, b, 32) != 0);
    CHECK_EQ(write(fd, a, 32), 32);
    int bits = 0;
    CHECK_OK(ioctl(fd, RNDGETENTCNT, &bits));
    CHECK(bits > 0 && bits <= 4096);
    CHECK_ERR(ioctl(fd, RNDGETENTCNT, nullptr), EFAULT);
    CHECK_ERR(ioctl(fd, _IO('R', 0x7f), 0), EINVAL);
    std::string big(1 << 20, 0);
    CHECK_EQ(read(fd, big.data(), big.size()), ssize_t(big.size()));
  }
}

TEST(dev_directory) {
  auto n = names("/dev");
  for (const char* name : {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "fd", "stdin",
                           "stdout", "stderr", "shm"})
    if (!n.count(name)) check::fail(__FILE__, __LINE__, std::string("no /dev/") + name);
  struct statfs s;
  CHECK_OK(statfs("/dev/shm", &s));
  CHECK_EQ(s.f_type, 0x01021994);
  CHECK_OK(statfs("/dev/pts", &s));
  CHECK_EQ(s.f_type, 0x1cd1);
  struct stat st;
  CHECK_OK(stat("/dev/shm", &st));
  CHECK_EQ(st.st_mode & 07777, 01777);
  CHECK_OK(stat("/tmp", &st));
  CHECK_EQ(st.st_mode & 07777, 01777);
}

TEST(dev_stdio_opens) {
  int fds[2];
  NEED_OK(pipe(fds));
  CHECK_EXIT(check::in_child([&] {
               dup2(fds[1], 1);
               int out = open("/dev/stdout", O_WRONLY);
               CHECK_OK(out);
               CHECK_EQ(write(out, "via", 3), 3);
               check::failures ? _exit(1) : _exit(0);
             }),
             0);
  char b[8];
  CHECK_EQ(read(fds[0], b, 8), 3);
}

TEST(smaps_rollup) {
  std::string all = check::read_file("/proc/self/smaps_rollup");
  unsigned long start, end, rss, sum = 0, one;
  NEED(sscanf(all.c_str(), "%lx-%lx ---p 00000000 00:00 0", &start, &end) == 2);
  CHECK(start <= uint64_t(&all) && uint64_t(&all) < end);
  CHECK(all.find("[rollup]\n") != std::string::npos);
  NEED(sscanf(all.c_str() + all.find("\nRss:"), "\nRss: %lu kB", &rss) == 1);
  std::string each = check::read_file("/proc/self/smaps");
  for (size_t at = 0; (at = each.find("\nRss:", at)) != std::string::npos; at++) {
    NEED(sscanf(each.c_str() + at, "\nRss: %lu kB", &one) == 1);
    sum += one;
  }
  CHECK(rss > 0);
  CHECK(sum > 0);
}

// As vmstat, lscpu and libnuma read them.
TEST(machine_counts) {
  std::string counts = check::read_file("/proc/vmstat");
  for (const char* name : {"nr_free_pages ", "\npgpgin ", "\npswpin ", "\npgfault "})
    CHECK(counts.find(name) != std::string::npos);
  CHECK(!check::read_file("/proc/diskstats").starts_with("<"));
  CHECK(check::read_file("/proc/cgroups").starts_with("#subsys_name\t"));
  CHECK_EQ(check::read_file("/proc/self/cpuset").substr(0, 1), "/");
}

// A set of processors as /sys has it, "3" or "ffffffff,ffffffff"; how many are in it.
int processors_in(const std::string& path) {
  int count = 0;
  for (char c : check::read_file(path.c_str())) {
    if (isxdigit(c)) count += __builtin_popcount(unsigned(strtol(std::string(1, c).c_str(), nullptr, 16)));
  }
  return count;
}

TEST(processors_and_their_memory) {
  const std::string cpu = "/sys/devices/system/cpu/cpu", node = "/sys/devices/system/node/node0/";
  int online = int(sysconf(_SC_NPROCESSORS_ONLN));
  CHECK(atoi(check::read_file("/sys/devices/system/cpu/kernel_max").c_str()) >= online - 1);
  for (int i = 0; i < online; i++) {
    std::string topology = cpu + std::to_string(i) + "/topology/";
    int siblings = processors_in(topology + "thread_siblings");
    CHECK(siblings >= 1 && siblings <= online);
    CHECK(processors_in(topology + "core_siblings") >= siblings);
    CHECK(!check::read_file((topology + "thread_siblings_list").c_str()).starts_with("<"));
    CHECK(isdigit(check::read_file((topology + "core_id").c_str())[0]));
  }
  if (access(node.c_str(), F_OK) != 0) check::skip("no nodes of memory here");
  CHECK(processors_in(node + "cpumap") >= 1);
  CHECK(check::read_file((node + "distance").c_str()).starts_with("10"));
  CHECK(check::read_file((node + "meminfo").c_str()).starts_with("Node 0 MemTotal:"));
}

TEST(sys_minimal) {
  CHECK(!check::read_file("/sys/devices/system/cpu/online").starts_with("<"));
  CHECK(!check::read_file("/sys/devices/system/cpu/possible").starts_with("<"));
  CHECK(names("/sys").size() > 2);
}
