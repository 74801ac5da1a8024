// A program that looks at itself: its text by pointer, by /proc/self/mem and by process_vm_readv(2), and its
// mappings.
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <vector>

#include "tests/guest/check.h"

namespace {

struct Range {
  uint64_t start, end, offset;
  bool read, write, execute;
  std::string path;
};

std::vector<Range> ranges() {
  std::vector<Range> all;
  std::string text = check::read_file("/proc/self/maps");
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    at = end + 1;
    Range r{};
    char mode[8], path[512] = "";
    unsigned long inode;
    char device[16];
    int n = sscanf(line.c_str(), "%lx-%lx %7s %lx %15s %lu %511[^\n]", &r.start, &r.end, mode, &r.offset,
                   device, &inode, path);
    NEED(n >= 6);
    r.read = mode[0] == 'r';
    r.write = mode[1] == 'w';
    r.execute = mode[2] == 'x';
    const char* name = path;
    while (*name == ' ') name++;
    r.path = name;
    all.push_back(r);
  }
  return all;
}

// Executable mappings of files.
std::vector<Range> text_ranges() {
  std::vector<Range> text;
  for (const Range& r : ranges())
    if (r.execute && r.read && !r.path.empty() && r.path[0] == '/') text.push_back(r);
  return text;
}

bool has_call_near(const std::string& bytes, size_t at) {
  constexpr size_t kReach = 160;  // a short jump, and the instructions around it
  size_t low = at < kReach ? 0 : at - kReach, high = at + kReach;
  for (size_t i = low; i + 1 < bytes.size() && i < high; i++) {
    if (bytes[i] == 0x0f && (bytes[i + 1] == 0x05 || uint8_t(bytes[i + 1]) == 0xa2)) return true;
  }
  return false;
}

// A child that waits until its parent has looked at it, and what the parent does meanwhile.
template <typename Look>
void look_at_child(Look look, char* title = nullptr, const std::string& text = "title") {
  int gate[2], ready[2];
  NEED_OK(pipe(gate));
  NEED_OK(pipe(ready));
  pid_t child = NEED_OK(fork());
  if (child == 0) {
    if (title) memcpy(title, text.c_str(), text.size() + 1);
    char byte = 0;
    (void)!write(ready[1], &byte, 1);
    (void)!read(gate[0], &byte, 1);
    _exit(0);
  }
  char byte = 0;
  NEED_OK(read(ready[0], &byte, 1));
  look(child);
  CHECK_OK(write(gate[1], &byte, 1));
  CHECK_OK(waitpid(child, nullptr, 0));
  for (int fd : {gate[0], gate[1], ready[0], ready[1]}) close(fd);
}

char shared_place[3 << 20] = "both have this";

TEST(memory_of_another_process) {
  look_at_child([](pid_t child) {
    strcpy(shared_place, "parent");  // the child has a copy of its own
    shared_place[sizeof shared_place - 1] = 7;
    std::string got(sizeof shared_place, 'x');
    iovec local{got.data(), got.size()}, remote{shared_place, got.size()};
    CHECK_EQ(process_vm_readv(child, &local, 1, &remote, 1, 0), ssize_t(got.size()));
    CHECK_EQ(std::string(got.c_str()), "both have this");
    CHECK_EQ(got.back(), 0);
    char text[] = "written from outside";
    iovec from{text, sizeof text}, to{shared_place + 100, sizeof text};
    CHECK_EQ(process_vm_writev(child, &from, 1, &to, 1, 0), ssize_t(sizeof text));
    CHECK_EQ(shared_place[100], 0);
    std::string path = "/proc/" + std::to_string(child) + "/mem";
    int mem = NEED_OK(open(path.c_str(), O_RDWR));
    char back[sizeof text] = "";
    CHECK_EQ(pread(mem, back, sizeof back, off_t(shared_place + 100)), ssize_t(sizeof back));
    CHECK_EQ(std::string(back), text);
    CHECK_EQ(pread(mem, back, sizeof back, 4096), -1);
    CHECK_EQ(errno, EIO);
    // From several pieces into several, until one is not there.
    char a[3], b[8];
    iovec parts[] = {{a, sizeof a}, {b, sizeof b}};
    iovec theirs[] = {{shared_place, 4}, {shared_place + 100, 4}, {reinterpret_cast<void*>(4096), 4}};
    CHECK_EQ(process_vm_readv(child, parts, 2, theirs, 3, 0), 8);
    CHECK(memcmp(a, "bot", 3) == 0 && memcmp(b, "hwrit", 5) == 0);
    CHECK_ERR(process_vm_readv(child, &local, 1, &theirs[2], 1, 0), EFAULT);
    CHECK_ERR(process_vm_readv(child, &local, 1, &remote, 1, 1), EINVAL);
    close(mem);
  });
  iovec none{}, one{shared_place, 1};
  CHECK_ERR(process_vm_readv(999999, &one, 1, &one, 1, 0), ESRCH);
  CHECK_EQ(process_vm_readv(999999, &none, 1, &one, 1, 0), 0);
}

TEST(memory_of_a_stopped_process) {
  look_at_child([](pid_t child) {
    CHECK_OK(kill(child, SIGSTOP));
    CHECK_OK(waitpid(child, nullptr, WUNTRACED));
    char got[5] = "";
    iovec local{got, 4}, remote{shared_place, 4};
    CHECK_EQ(process_vm_readv(child, &local, 1, &remote, 1, 0), 4);
    CHECK_OK(kill(child, SIGCONT));
  });
}

TEST(memory_of_another_users_process) {
  if (geteuid() != 0) return;
  look_at_child([](pid_t child) {
    CHECK_EXIT(check::in_child([=] {
                 CHECK_OK(setgid(1000));
                 CHECK_OK(setuid(1000));
                 char got[4];
                 iovec local{got, 4}, remote{shared_place, 4};
                 CHECK_ERR(process_vm_readv(child, &local, 1, &remote, 1, 0), EPERM);
               }),
               0);
  });
}

TEST(a_title_is_seen_by_others) {
  std::string own = check::read_file("/proc/self/cmdline");
  // The arguments lie where /proc/self/stat says: fields 48 and 49.
  std::string stat = check::read_file("/proc/self/stat");
  unsigned long start = 0;
  const char* at = strrchr(stat.c_str(), ')');
  for (int field = 2; field < 48 && at != nullptr; field++) at = strchr(at + 1, ' ');
  NEED(at != nullptr && sscanf(at, "%lu", &start) == 1 && start != 0);
  NEED(own.size() > 6);
  look_at_child(
      [&](pid_t child) {
        std::string theirs = check::read_file(("/proc/" + std::to_string(child) + "/cmdline").c_str());
        CHECK_EQ(std::string(theirs.c_str()), "title");
        CHECK_EQ(check::read_file("/proc/self/cmdline"), own);
      },
      reinterpret_cast<char*>(start));
  // One that is longer goes on where the environment was, and ends with its text.
  NEED(check::read_file("/proc/self/environ").size() > 10);
  const std::string title(own.size() + 5, 't');
  look_at_child(
      [&](pid_t child) {
        std::string theirs = check::read_file(("/proc/" + std::to_string(child) + "/cmdline").c_str());
        CHECK_EQ(theirs, title + '\0');
      },
      reinterpret_cast<char*>(start), title);
}

TEST(oom_score_adj_is_kept) {
  look_at_child([](pid_t child) {
    const std::string path = "/proc/" + std::to_string(child) + "/oom_score_adj";
    const std::string before = check::read_file(path.c_str());
    int fd = NEED_OK(open(path.c_str(), O_RDWR));
    CHECK_EQ(write(fd, "123\n", 4), 4);
    CHECK_EQ(check::read_file(path.c_str()), "123\n");
    CHECK_EQ(check::read_file("/proc/self/oom_score_adj"), before);
    CHECK_ERR(write(fd, "1001", 4), EINVAL);
    CHECK_ERR(write(fd, "-1001", 5), EINVAL);
    CHECK_ERR(write(fd, "none", 4), EINVAL);
    CHECK_EQ(check::read_file(("/proc/" + std::to_string(child) + "/oom_adj").c_str()), "2\n");
    close(fd);
    fd = NEED_OK(open("/proc/self/oom_score_adj", O_WRONLY));
    CHECK_EQ(write(fd, "77", 2), 2);
    look_at_child([](pid_t other) {
      CHECK_EQ(check::read_file(("/proc/" + std::to_string(other) + "/oom_score_adj").c_str()), "77\n");
    });
    close(fd);
  });
}

TEST(auxv_is_what_the_program_was_given) {
  std::string bytes = check::read_file("/proc/self/auxv");
  NEED(bytes.size() >= 32 && bytes.size() % 16 == 0);
  size_t known = 0;
  for (size_t i = 0; i < bytes.size(); i += 16) {
    unsigned long pair[2];
    memcpy(pair, bytes.data() + i, sizeof pair);
    for (unsigned long type : {AT_PAGESZ, AT_ENTRY, AT_RANDOM, AT_UID}) {
      if (pair[0] == type) known++, CHECK_EQ(pair[1], getauxval(type));
    }
  }
  CHECK_EQ(known, 4u);
}

}  // namespace

TEST(three_ways_to_read_text_agree) {
  int mem = NEED_OK(open("/proc/self/mem", O_RDONLY));
  NEED(!text_ranges().empty());
  for (const Range& r : text_ranges()) {
    size_t size = r.end - r.start;
    std::string by_file(size, 0), by_call(size, 0);
    size_t got = 0;
    while (got < size) {
      ssize_t n = pread(mem, by_file.data() + got, size - got, off_t(r.start + got));
      if (n <= 0) break;
      got += size_t(n);
    }
    CHECK_EQ(got, size);
    iovec local{by_call.data(), size}, remote{reinterpret_cast<void*>(r.start), size};
    CHECK_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), ssize_t(size));
    CHECK(memcmp(by_file.data(), reinterpret_cast<void*>(r.start), size) == 0);
    CHECK(memcmp(by_call.data(), reinterpret_cast<void*>(r.start), size) == 0);
  }
}

// Text in memory is the file's, but for what a rewriter has put where system calls and cpuid are.
TEST(text_is_the_files_but_around_calls) {
  for (const Range& r : text_ranges()) {
    int fd = open(r.path.c_str(), O_RDONLY);
    if (fd < 0) continue;
    std::string file(r.end - r.start, 0);
    ssize_t n = pread(fd, file.data(), file.size(), off_t(r.offset));
    CHECK(n > 0);
    close(fd);
    const char* memory = reinterpret_cast<const char*>(r.start);
    size_t different = 0, elsewhere = 0;
    for (size_t i = 0; i < size_t(n); i++) {
      if (file[i] == memory[i]) continue;
      different++;
      elsewhere += !has_call_near(file, i);
    }
    CHECK_EQ(elsewhere, 0);
    CHECK(different < size_t(n) / 100 + 64);
  }
}

TEST(maps_are_in_order_and_true) {
  uint64_t last = 0;
  bool has_stack = false, has_self = false, has_data = false;
  int here = 0;
  static int data = 1;
  for (const Range& r : ranges()) {
    CHECK(r.start >= last && r.start < r.end);
    last = r.end;
    has_stack |= r.path == "[stack]" && uint64_t(&here) >= r.start && uint64_t(&here) < r.end;
    uint64_t code = uint64_t(&text_ranges);
    has_self |= code >= r.start && code < r.end && r.execute && !r.write;
    has_data |= uint64_t(&data) >= r.start && uint64_t(&data) < r.end && r.write && !r.execute;
    if (r.path.substr(0, 1) == "[" && r.path != "[stack]" && r.path != "[heap]") continue;
    // What it says can be read can be read.
    char byte;
    iovec local{&byte, 1}, remote{reinterpret_cast<void*>(r.start), 1};
    if (r.read && r.path != "[stack]") CHECK_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), 1);
  }
  CHECK(has_stack);
  CHECK(has_self);
  CHECK(has_data);
}

// What lies behind an object's last page is nobody's, as far as the program can tell.
TEST(nothing_is_listed_twice_or_unmapped) {
  std::vector<Range> all = ranges();
  unsigned char state[1];
  for (const Range& r : all) {
    if (r.path.substr(0, 1) == "[") continue;
    CHECK_OK(mincore(reinterpret_cast<void*>(r.start), 4096, state));
  }
  for (size_t i = 0; i + 1 < all.size(); i++) {
    if (all[i].end == all[i + 1].start) continue;
    CHECK_ERR(mincore(reinterpret_cast<void*>(all[i].end), 4096, state), ENOMEM);
  }
}
