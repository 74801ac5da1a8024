// A machine for unit tests: the arena where it belongs, heap and pages started, nobody behind the ring.
//
//   class MapTest : public testing::Test { TestMachine machine_; … };
//
// One at a time. Addresses are the real ones, so guest memory can be mapped and touched as in a machine.
#pragma once

#include "kernel/base/types.h"

namespace teacup {

class TestMachine {
 public:
  explicit TestMachine(u64 memory_limit = 1 << 30);
  ~TestMachine();
  TestMachine(const TestMachine&) = delete;
  TestMachine& operator=(const TestMachine&) = delete;

  int arena_fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace teacup
