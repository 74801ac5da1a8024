// A program that looks at itself: its text by pointer, by /proc/self/mem and by process_vm_readv(2), and its
// mappings.
#include <sys/uio.h>

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
