// Order: first the process of its own, if there is to be one, since what follows does not survive a fork (the
// arena is not inherited, and the importer dies with the thread that started it); then the images; then the
// mount. What goes wrong until then the caller is told through a pipe.
#include "host/mount/fuse_mount.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <optional>

#include "fs/image_stack.h"
#include "host/hosted/hosted_kernel.h"
#include "host/mount/fuse_calls.h"
#include "images/error.h"
#include "images/opened_image.h"

namespace teacup::mount {

namespace {

using images::Error;
using images::throw_errno;

constexpr double kReadOnlyCacheSeconds = 24 * 60 * 60;
constexpr double kWritableCacheSeconds = 60;  // names and attributes change by the host's kernel alone

void check_host(const MountOptions& options) {
  struct stat status {};
  if (::stat(options.directory.c_str(), &status) != 0) throw_errno("cannot use " + options.directory);
  if (!S_ISDIR(status.st_mode)) throw Error(options.directory + " is not a directory: make one to mount at");
  if (options.images.size() > kMaxImages) {
    throw Error("there are more than " + std::to_string(kMaxImages) +
                " images\n  Pack some of them into one: teacup pack IMAGE... OUT");
  }
  const int fuse = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fuse >= 0) {
    ::close(fuse);
  } else if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
    throw Error(
        "this host has no FUSE (/dev/fuse)\n  Load it (modprobe fuse), or give the container the device "
        "(--device "
        "/dev/fuse); without it, look into images by 'teacup ls' and 'teacup cat'.");
  } else {
    throw Error(std::string("/dev/fuse cannot be opened: ") + std::strerror(errno) +
                "\n  In a container, give it the device (--device /dev/fuse --cap-add SYS_ADMIN).");
  }
  if (::geteuid() != 0 && ::system("command -v fusermount3 >/dev/null 2>&1") != 0) {
    throw Error(
        "users who are not root mount by fusermount3, which is not there\n  Install it: apt install fuse3");
  }
}

// What libfuse has to say becomes the error's text.
std::string fuse_text;
void keep_fuse_text(fuse_log_level, const char* format, va_list arguments) {
  char line[1024];
  std::vsnprintf(line, sizeof line, format, arguments);
  fuse_text += line;
}

[[noreturn]] void throw_fuse(const std::string& what) {
  std::string text = what;
  while (fuse_text.ends_with('\n')) fuse_text.pop_back();
  if (!fuse_text.empty()) text += ": " + fuse_text;
  throw Error(text);
}

// The pipe on which a process in the background says how its start went.
class Starter {
 public:
  // In the caller: waits, and returns the exit status. In the new process: nothing.
  std::optional<int> enter_background() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("cannot make a pipe");
    const pid_t child = ::fork();
    if (child < 0) throw_errno("cannot start a process");
    if (child == 0) {
      ::close(ends[0]);
      pipe_ = ends[1];
      ::setsid();
      return std::nullopt;
    }
    ::close(ends[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) != 0;) {
      if (got > 0) text.append(buffer, static_cast<size_t>(got));
      if (got < 0 && errno != EINTR) break;
    }
    ::close(ends[0]);
    if (text == kMounted) return 0;
    ::waitpid(child, nullptr, 0);
    if (text.empty()) text = "the process that was to show the images died";
    throw Error(text);
  }

  bool in_background() const { return pipe_ >= 0; }

  // Mounted: nothing of the caller's is held any longer.
  void started() {
    if (pipe_ < 0) return;
    tell(kMounted);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++) ::dup2(null, fd);
    ::close(null);
    if (::chdir("/") != 0) ::_exit(1);
  }

  void failed(const std::string& text) { tell(text); }

 private:
  static constexpr const char* kMounted = "mounted";

  void tell(const std::string& text) {
    for (size_t at = 0; at < text.size();) {
      const ssize_t written = ::write(pipe_, text.data() + at, text.size() - at);
      if (written < 0 && errno != EINTR) break;
      if (written > 0) at += static_cast<size_t>(written);
    }
    ::close(pipe_);
    pipe_ = -1;
  }

  int pipe_ = -1;
};

struct EndSession {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};

std::unique_ptr<fuse_session, EndSession> make_session(const MountOptions& options, FuseContext& context) {
  std::string settings = std::string("fsname=teacup,subtype=teacup,") + (options.writable ? "rw" : "ro");
  // With several users the host's kernel must ask for each of them: it walks names that it remembers by
  // itself.
  if (options.allow_other) settings += ",allow_other,default_permissions";
  const char* words[] = {"teacup", "-o", settings.c_str()};
  fuse_args arguments = FUSE_ARGS_INIT(3, const_cast<char**>(words));
  fuse_set_log_func(keep_fuse_text);
  const fuse_lowlevel_ops& calls = fuse_calls();
  std::unique_ptr<fuse_session, EndSession> session(
      fuse_session_new(&arguments, &calls, sizeof calls, &context));
  fuse_opt_free_args(&arguments);
  if (session == nullptr) throw_fuse("cannot start FUSE");
  return session;
}

// What `teacup run --layer` makes of them.
Ref<fs::Image> open_images(const std::vector<std::string>& names) {
  // They live as long as the process: the tree refers to them.
  static std::vector<std::unique_ptr<images::OpenedImage>> opened;
  std::vector<Ref<fs::Image>> layers;
  for (const std::string& name : names) {
    opened.push_back(layers.empty() ? images::OpenedImage::open(name)
                                    : images::OpenedImage::open_layer(name));
    layers.push_back(opened.back()->image());
  }
  if (layers.size() == 1) return layers.front();
  auto stack = fs::ImageStack::create(layers);
  if (!stack.ok()) throw Error("an image is damaged: its root directory cannot be read");
  return std::move(stack).value();
}

void serve(const MountOptions& options, Starter& starter) {
  Ref<fs::Image> image = open_images(options.images);
  if (options.memory != 0) host::HostedKernel::get().set_memory_limit(options.memory);
  if (!fs::fs_start_tree(std::move(image), !options.writable).ok()) {
    throw Error("cannot read the root directory of " + options.images.front());
  }
  auto tree = MountedTree::create(::geteuid() != 0);
  if (!tree.ok()) throw Error("out of memory");
  FuseContext context{*tree.value(), options.writable ? kWritableCacheSeconds : kReadOnlyCacheSeconds};
  const auto session = make_session(options, context);
  if (fuse_session_mount(session.get(), options.directory.c_str()) != 0) {
    throw_fuse("cannot mount at " + options.directory);
  }
  if (fuse_set_signal_handlers(session.get()) != 0) throw_fuse("cannot take signals");
  starter.started();
  fuse_session_loop(session.get());
  fuse_remove_signal_handlers(session.get());
  fuse_session_unmount(session.get());
}

}  // namespace

int run_mount(const MountOptions& options) {
  check_host(options);
  MountOptions own = options;
  if (char* path = ::realpath(options.directory.c_str(), nullptr); path != nullptr) {
    own.directory = path;
    ::free(path);
  }
  Starter starter;
  if (!options.foreground) {
    if (const auto status = starter.enter_background()) return *status;
  }
  try {
    serve(own, starter);
    if (!options.foreground) ::_exit(0);
    return 0;
  } catch (const Error& error) {
    if (!starter.in_background()) throw;
    starter.failed(error.what());
    ::_exit(1);
  }
}

}  // namespace teacup::mount
