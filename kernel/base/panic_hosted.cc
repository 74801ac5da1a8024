// Unit tests: a panic is the test's end.
#ifdef TEACUP_HOSTED
#include <cstdio>
#include <cstdlib>

#include "kernel/base/panic.h"

namespace teacup {

void panic(const char* message) {
  std::fprintf(stderr, "kernel panic: %s\n", message);
  std::abort();
}
void panic_at(const char* message, const char* file, int line) {
  std::fprintf(stderr, "kernel panic: %s:%d: %s\n", file, line, message);
  std::abort();
}

}  // namespace teacup
#endif
