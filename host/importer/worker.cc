#include "host/importer/worker.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>

#include "host/importer/crew.h"
#include "host/importer/imported_image.h"
#include "host/importer/response.h"

namespace teacup::importer {

namespace {

constexpr unsigned kMaxSeconds = 10;  // that one call may take

class Worker {
 public:
  // Whoever is to parse images without being able to open a file has their libraries loaded before.
  Worker(int socket, Channel* channel, const std::vector<int>& images)
      : socket_(socket), channel_(channel), images_(images.size()) {
    for (size_t i = 0; i < images.size(); ++i) {
      images_[i].fd = images[i];
      ImportedImage::load_library(images[i], images_[i].problem);
    }
  }

  // Threads can be started before the filter is there, not behind it.
  void hire() {
    for (const Image& image : images_) {
      if (crew_ == nullptr && ImportedImage::wants_crew(image.fd)) crew_ = std::make_unique<Crew>();
    }
  }

  [[noreturn]] void run() {
    for (;;) {
      Call call;
      const ssize_t length = ::read(socket_, &call, sizeof(call));
      if (length < 0 && errno == EINTR) continue;
      if (length <= 0) ::_exit(0);  // the broker is gone
      ::alarm(kMaxSeconds);
      const Reply reply{call.sequence, serve(call)};
      ::alarm(0);
      if (::write(socket_, &reply, sizeof(reply)) != sizeof(reply)) ::_exit(0);
    }
  }

 private:
  struct Image {
    int fd;
    bool opened = false;
    std::string problem;
    std::unique_ptr<ImportedImage> parsed;
  };

  // Opened when first asked for, so that a worker killed by the opening is a call that failed.
  Image& image(u32 number) {
    Image& image = images_[number];
    if (!image.opened) {
      if (image.problem.empty()) image.parsed = ImportedImage::open(image.fd, image.problem, crew_.get());
      image.opened = true;
    }
    return image;
  }

  s64 serve(const Call& call) {
    if (call.request.image >= images_.size()) return -ENOENT;
    Image& at = image(call.request.image);
    const std::span<std::byte> response(channel_->response, call.capacity);
    if (call.request.op == kProblem) {
      const size_t length = std::min<size_t>(at.problem.size(), response.size());
      std::memcpy(response.data(), at.problem.data(), length);
      return static_cast<s64>(length);
    }
    if (at.parsed == nullptr) return -EUCLEAN;
    return at.parsed->serve(call.request, {call.name, call.request.name_length}, response);
  }

  int socket_;
  Channel* channel_;
  std::unique_ptr<Crew> crew_;
  std::vector<Image> images_;
};

// Only `keep` and the standard streams, which lead nowhere, stay open.
void close_others(std::vector<int> keep) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) ::dup2(null, fd);
  std::sort(keep.begin(), keep.end());
  unsigned from = 3;
  for (const int fd : keep) {
    if (static_cast<unsigned>(fd) > from) ::close_range(from, static_cast<unsigned>(fd) - 1, 0);
    from = static_cast<unsigned>(fd) + 1;
  }
  ::close_range(from, ~0U, 0);
}

void die_with(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
}

void set_default_signals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

void supervise(int socket, Channel* channel, const std::vector<int>& images) {
  ::prctl(PR_SET_NAME, "teacup-importer");
  set_default_signals();
  std::vector<int> keep = images;
  keep.push_back(socket);
  close_others(keep);
  ::setsid();  // the terminal's signals are the broker's business
  Worker worker(socket, channel, images);
  for (;;) {
    const pid_t self = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) {
      die_with(self);
      worker.hire();
      if (!enter_sandbox(socket)) ::_exit(1);
      worker.run();
    }
    int status = 0;
    while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (child < 0 || WIFEXITED(status)) ::_exit(0);
    const Reply reply{kWorkerDied, -EIO};
    if (::write(socket, &reply, sizeof(reply)) != sizeof(reply)) ::_exit(0);
  }
}

}  // namespace teacup::importer
