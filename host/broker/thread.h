// The broker's threads, which begin when there is something for them to do.
#pragma once

#include <stdio.h>
#include <unistd.h>

#include <functional>
#include <system_error>
#include <thread>

namespace teacup::host {

// Starts a thread that ends with the process, from any thread; it blocks the signals that its starter blocks.
// A host that has no more threads (ulimit -u) ends the machine, as whoever waits for the work would wait for
// ever: its processes die with this one.
inline void start_thread(std::function<void()> body) {
  try {
    std::thread(std::move(body)).detach();
  } catch (const std::system_error& error) {
    fprintf(stderr, "teacup run: cannot start a thread: %s (ulimit -u, or the cgroup's pids.max)\n",
            error.code().message().c_str());
    _exit(125);
  }
}

}  // namespace teacup::host
