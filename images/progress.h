// A line that shows how far long work is: on a terminal only, and only when the work turns out to be long.
#pragma once

#include <chrono>
#include <string>

#include "kernel/base/types.h"

namespace teacup::images {

class Progress {
 public:
  // Lines go to standard error when it is a terminal; `enabled` false: never.
  explicit Progress(bool enabled);
  // Takes the line off the terminal.
  ~Progress();
  Progress(const Progress&) = delete;

  // "reading 123 MB", or, when the total is known, "writing 123 of 456 MB, 27 %".
  void update(const char* verb, u64 bytes, u64 total = 0);

 private:
  using Clock = std::chrono::steady_clock;

  bool enabled_;
  bool shown_ = false;
  Clock::time_point next_;
};

}  // namespace teacup::images
