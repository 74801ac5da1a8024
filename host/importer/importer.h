// The broker's side of the importer: starts the process, carries requests to it, and survives its death.
//
// Two processes: a supervisor, which parses nothing and only forks and waits, and the worker it forks, which
// closes every descriptor but the images and its channel, drops all rights, and installs a filter that leaves
// it pread(2) of what is open, its channel, and anonymous memory. When a malformed image kills the worker, or
// keeps it busy for 10 seconds, the request fails with EIO and a new worker takes its place.
#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "kernel/abi/importer.h"

namespace teacup::importer {

struct Channel;

class Importer {
 public:
  // `images` are descriptors of image files, above 2, in the order of ImporterRequest::image; they may be
  // closed afterwards. To be called from the main thread, before there are others, and before the arena is
  // mapped: the process inherits the memory, and is told to die with the thread. Null, with the reason in
  // `error`, when the host does not let us.
  static std::unique_ptr<Importer> start(std::span<const int> images, std::string& error);
  ~Importer();
  Importer(const Importer&) = delete;

  // Why an image cannot be used, for the user, without its name: "it is truncated: …". Empty: it can.
  std::string problem(u32 image);

  // Serves one request (abi/importer.h), an ImporterRequest and its name, which may come from the guest side:
  // it is checked here. What the result says is in `response`, which may be of any size. Any thread; one at a
  // time.
  // What is read goes to data_offset by `put`, if the request names one, which the caller has checked.
  using Put = void (*)(u64 offset, std::span<const std::byte> bytes);
  s64 serve(std::span<const std::byte> request, std::span<std::byte> response, Put put = nullptr);

  // Of the supervisor, whose death the broker may see as a child's.
  pid_t pid() const { return pid_; }

 private:
  Importer(pid_t pid, int socket, Channel* channel, size_t images)
      : pid_(pid), socket_(socket), channel_(channel), images_(images) {}
  s64 call(const abi::ImporterRequest& request, std::string_view name, std::span<std::byte> response,
           Put put = nullptr);

  pid_t pid_;
  int socket_;
  Channel* channel_;
  size_t images_;
  std::mutex mutex_;
  u64 sequence_ = 0;
};

}  // namespace teacup::importer
