// The broker's threads, which begin when there is something for them to do.
#pragma once

#include <stdio.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <system_error>
#include <thread>

namespace teacup::host {

// For what the host refuses while the machine runs and somebody waits for: for ever, were it not ended. Its
// processes die with this one.
[[noreturn]] inline void end_machine(const char* what, const std::string& why, const char* limit) {
  fprintf(stderr, "teacup run: %s: %s (%s)\n", what, why.c_str(), limit);
  _exit(125);
}

// Starts a thread that ends with the process, from any thread; it blocks the signals that its starter blocks.
// A host that has no more threads ends the machine.
inline void start_thread(std::function<void()> body) {
  try {
    std::thread(std::move(body)).detach();
  } catch (const std::system_error& error) {
    end_machine("cannot start a thread", error.code().message(), "ulimit -u, or the cgroup's pids.max");
  }
}

}  // namespace teacup::host
