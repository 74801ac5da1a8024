#include "images/progress.h"

#include <unistd.h>

#include <cstdio>

namespace teacup::images {

namespace {

constexpr auto kPatience = std::chrono::milliseconds(500);  // before the first line
constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr u64 kMegabyte = 1'000'000;

}  // namespace

Progress::Progress(bool enabled)
    : enabled_(enabled && ::isatty(STDERR_FILENO) == 1), next_(Clock::now() + kPatience) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::update(const char* verb, u64 bytes, u64 total) {
  if (!enabled_ || Clock::now() < next_) return;
  next_ = Clock::now() + kInterval;
  shown_ = true;
  std::fprintf(stderr, "\r%s %llu", verb, static_cast<unsigned long long>(bytes / kMegabyte));
  if (total > 0) {
    std::fprintf(stderr, " of %llu MB, %llu %%", static_cast<unsigned long long>(total / kMegabyte),
                 static_cast<unsigned long long>(bytes * 100 / total));
  } else {
    std::fputs(" MB", stderr);
  }
  std::fputs("\033[K", stderr);
}

}  // namespace teacup::images
