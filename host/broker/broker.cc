#include "host/broker/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <climits>

#include "host/broker/arena_bounds.h"
#include "host/broker/events.h"
#include "host/broker/prepare.h"
#include "host/broker/stats.h"
#include "host/launch/error.h"
#include "kernel/abi/stats.h"

namespace teacup::host {

namespace {

constexpr int kKickSignal = 40;  // kernel/entry/panic.h

// Signals that teacup takes for itself or hands to the guest. SIGTSTP is not among them: ^Z in a raw terminal
// is a byte.
const int kTaken[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGUSR1, SIGUSR2};

sigset_t taken_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : kTaken) sigaddset(&set, signal);
  return set;
}

u64 monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

int open_output(const std::string& path, const char* option) {
  if (path.empty()) return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    throw LaunchError(std::string("cannot write ") + option + " file " + path + ": " + errno_text(errno));
  return fd;
}

// 0, or the errno of what was not written.
int write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    ssize_t count = write(fd, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? errno : EIO;
    data += count;
    size -= static_cast<std::size_t>(count);
  }
  return 0;
}

}  // namespace

Broker::Broker(const MachineOptions& options, HostFiles& host_files, Gateway& gateway,
               const std::vector<Image>& images, TextStore* texts, Foreseen& foreseen,
               importer::Importer* importer, UpperFile* upper)
    : options_(options),
      host_files_(host_files),
      gateway_(gateway),
      images_(images),
      texts_(texts),
      foreseen_(foreseen),
      importer_(importer),
      upper_(upper) {}

void Broker::prepare(int arena_fd) {
  started_at_ = monotonic_now();
  remember_arena(arena_fd);
  if (options_.trace) trace_fd_ = open_output(*options_.trace, "--trace");
  if (options_.trace_files) trace_files_fd_ = open_output(*options_.trace_files, "--trace-files");
  if (options_.stats) stats_fd_ = open_output(*options_.stats, "--stats");
  if (options_.crash_report) crash_fd_ = open_output(*options_.crash_report, "--crash-report");
  make_debugger();
  sigset_t set = taken_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);  // reported to the guest by its next write
  if (abi::boot_config().streams[0].kind == abi::StreamKind::kTerminal) terminal_.take();
}

void Broker::serve(pid_t machine) {
  machine_ = machine;
  streams_.start();
  std::function<void(const std::string&)> say;
  if (trace_fd_ >= 0) say = [this](const std::string& line) { print(trace_fd_, line + "\n"); };
  gateway_.start(std::move(say));
  ring_thread_ = std::thread([this] { ring_loop(); });
  sigset_t set = taken_signals();
  reap();
  while (!machine_gone_.load()) {
    siginfo_t info{};
    int signal = sigwaitinfo(&set, &info);
    if (signal < 0) continue;
    on_signal(signal);
  }
  finish();
}

void Broker::on_signal(int signal) {
  switch (signal) {
    case SIGCHLD:
      reap();
      break;
    case SIGUSR1:
      raise_event(abi::kEventDump);
      break;
    case SIGTSTP:
      stand_still();
      break;
    case SIGUSR2:
      break;  // from the ring thread: the machine has ended
    case SIGWINCH:
      refresh_window();
      break;
    default:
      abi::events().signals.fetch_or(u64{1} << (signal - 1), std::memory_order_seq_cst);
      raise_event(abi::kEventSignals);
  }
  if (arena().ended.load() != 0) machine_gone_.store(true);
}

// ^Z where the terminal is not the guest's (a pipeline): the whole machine stops with teacup, and goes on
// with it.
void Broker::stand_still() {
  terminal_.pause();
  ::kill(-machine_, SIGSTOP);
  ::kill(getpid(), SIGSTOP);
  ::kill(-machine_, SIGCONT);
  terminal_.resume();
}

// Children that ended are news for the kernel task, which cleans up after them. The template's end is the
// machine's.
void Broker::reap() {
  for (;;) {
    int status = 0;
    pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
    if (pid <= 0) return;
    if (importer_ != nullptr && pid == importer_->pid()) continue;
    if (pid == machine_) {
      machine_gone_.store(true);
      continue;
    }
    abi::Events& events = abi::events();
    u32 head = events.dead_head.load();
    events.dead[head % abi::kDeadRing] = {static_cast<u32>(pid), static_cast<u32>(status)};
    events.dead_head.store(head + 1, std::memory_order_seq_cst);
    raise_event(abi::kEventDied);
  }
}

// --- The ring.

void Broker::ring_loop() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  abi::Ring& ring = abi::ring();
  for (;;) {
    u32 seen = ring.doorbell.load(std::memory_order_seq_cst);
    if (serve_pending_slots()) continue;
    ring.broker_sleeping.store(1, std::memory_order_seq_cst);
    if (ring.doorbell.load(std::memory_order_seq_cst) == seen) wait_word(&ring.doorbell, seen, -1);
    ring.broker_sleeping.store(0, std::memory_order_seq_cst);
  }
}

bool Broker::serve_pending_slots() {
  bool any = false;
  for (u32 i = 0; i < abi::kRingSlots; i++) {
    abi::RingSlot& slot = abi::ring().slots[i];
    u32 submitted = abi::kSlotSubmitted;
    if (!slot.state.compare_exchange_strong(submitted, abi::kSlotTaken, std::memory_order_acquire)) continue;
    any = true;
    Request request{slot.op, {}};
    for (int j = 0; j < 6; j++) request.args[j] = slot.args[j];
    handle(i, request);
  }
  return any;
}

void Broker::handle(u32 slot, const Request& request) {
  const u64(&args)[6] = request.args;
  switch (request.op) {
    case abi::RingOp::kKick:
      free_slot(slot);
      kick(args[0], args[1]);
      break;
    case abi::RingOp::kMachineEnded:
      free_slot(slot);
      machine_gone_.store(true);
      ::kill(getpid(), SIGUSR2);
      break;
    case abi::RingOp::kMessage:
      message(args[0], args[1], args[2]);
      answer(slot, 0);
      break;
    case abi::RingOp::kStream:
      if (static_cast<abi::StreamOp>(args[0]) == abi::StreamOp::kNews) {
        free_slot(slot);
        streams_.news(args[1]);
      } else {
        answer(slot, streams_.control(static_cast<abi::StreamOp>(args[0]), args[1], args[2], args[3]));
      }
      break;
    case abi::RingOp::kPrepare:
      // Known plans at once: the way to the worker and back would cost more.
      if (s64 size = serve_prepared(images_, texts_, foreseen_, request.args); size > 0) {
        answer(slot, size);
        break;
      }
      workers_.add(
          [this, slot, request] { answer(slot, serve_prepare(images_, texts_, foreseen_, request.args)); });
      break;
    case abi::RingOp::kImporter:
      if (importer_ == nullptr) {
        answer(slot, -ENOSYS);
      } else if (request.args[4] != 0) {
        free_slot(slot);
        importer_queue_.add([this, request] { land(request.args[4], [&] { return import(request.args); }); });
      } else {
        importer_queue_.add([this, slot, request] { answer(slot, import(request.args)); });
      }
      break;
    case abi::RingOp::kGateway:
      answer(slot, gateway_.listening_changed());
      break;
    case abi::RingOp::kDebug:
      workers_.add([this, slot, request] { answer(slot, debug(request.args[0], request.args[1])); });
      break;
    case abi::RingOp::kGuestMemory:
      answer(slot, guest_memory(args));
      break;
    case abi::RingOp::kUpper:
      if (upper_ == nullptr) {
        answer(slot, -ENOSYS);
        break;
      }
      upper_queue_.add([this, slot, request] { answer(slot, keep(request.args)); });
      break;
    case abi::RingOp::kHostFile:
      if (request.args[4] != 0) {
        free_slot(slot);
        workers_.add(
            [this, request] { land(request.args[4], [&] { return host_files_.serve(request.args); }); });
      } else {
        workers_.add([this, slot, request] { answer(slot, host_files_.serve(request.args)); });
      }
      break;
    default:
      answer(slot, -ENOSYS);
  }
}

void Broker::answer(u32 index, s64 result) {
  abi::RingSlot& slot = abi::ring().slots[index];
  if (slot.no_answer != 0) {
    free_slot(index);
    return;
  }
  slot.result = result;
  slot.state.store(abi::kSlotDone, std::memory_order_seq_cst);
  wake_word(&slot.state, 1);
}

void Broker::free_slot(u32 index) {
  abi::Ring& ring = abi::ring();
  ring.slots[index].state.store(abi::kSlotFree, std::memory_order_seq_cst);
  if (ring.free_waiters.load(std::memory_order_seq_cst) != 0) {
    ring.free_word.fetch_add(1, std::memory_order_seq_cst);
    wake_word(&ring.free_word, 1);
  }
}

s64 Broker::keep(const u64 (&args)[6]) {
  try {
    return upper_->serve(args[0], args[1], args[2]);
  } catch (const std::exception&) {
    return -ENOMEM;
  }
}

// args: request offset, size, response offset, size. The request is copied out first: its asker may change it
// meanwhile.
s64 Broker::import(const u64 (&args)[6]) {
  constexpr u64 kLongestRequest = sizeof(abi::ImporterRequest) + 4096;
  if (args[1] > kLongestRequest || !in_arena(args[0], args[1]) || !in_arena(args[2], args[3])) return -EINVAL;
  const std::byte* asked = &arena_at<std::byte>(args[0]);
  std::vector<std::byte> request(asked, asked + args[1]);
  if (abi::ImporterRequest copy; request.size() >= sizeof copy) {
    std::memcpy(&copy, request.data(), sizeof copy);
    if (!in_arena(copy.data_offset, std::min(copy.length, abi::kImporterMaxRead))) return -EINVAL;
  }
  return importer_->serve(request, {&arena_at<std::byte>(args[2]), args[3]}, put_in_arena);
}

// For who goes on meanwhile: what `serve` says is put there.
void Broker::land(u64 at, const std::function<s64()>& serve) {
  if (!in_arena(at, sizeof(abi::RingLanding)) || at % alignof(abi::RingLanding) != 0) return;
  auto& landing = arena_at<abi::RingLanding>(at);
  landing.result = serve();
  landing.done.store(1, std::memory_order_seq_cst);
  wake_word(&landing.done, 1);
}

// A process's number that comes from the arena: only a live child of ours is meant.
bool Broker::is_live_child(u64 pid) {
  if (pid == 0 || pid > INT_MAX) return false;
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) return false;
  return info.si_pid == 0;  // else dead, not reaped yet
}

// Not so the terminal's watcher and the importer, which are children too, and whom no filter of the guest's
// confines: a process of the machine is one that runs the runtime.
bool Broker::is_guest_process(u64 pid) {
  if (!is_live_child(pid)) return false;
  constexpr std::string_view kRuntime = "/memfd:teacup-runtime";  // host/launch/template.cc
  char link[kRuntime.size()];
  ssize_t length = readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), link, sizeof link);
  return length == static_cast<ssize_t>(sizeof link) && std::string_view(link, sizeof link) == kRuntime;
}

// args: pid, address there, offset of a buffer, bytes, 1 to write.
s64 Broker::guest_memory(const u64 (&args)[6]) {
  if (!is_guest_process(args[0]) || !in_arena(args[2], args[3])) return -ESRCH;
  iovec here{&arena_at<std::byte>(args[2]), args[3]};
  iovec there{reinterpret_cast<void*>(args[1]), args[3]};
  auto pid = static_cast<pid_t>(args[0]);
  ssize_t moved = args[4] == 1 ? process_vm_writev(pid, &here, 1, &there, 1, 0)
                               : process_vm_readv(pid, &here, 1, &there, 1, 0);
  return moved < 0 ? -errno : moved;
}

void Broker::kick(u64 pid, u64 tid) {
  if (tid > INT_MAX || !is_guest_process(pid)) return;
  syscall(SYS_tgkill, static_cast<int>(pid), static_cast<int>(tid), kKickSignal);
}

// A name may have any byte but 0: one line, for whoever reads it back.
std::string escaped(const std::string& name) {
  std::string text;
  for (const char c : name) {
    if (c >= 0 && (c < 32 || c == 127 || c == '\\')) {
      char octal[8];
      snprintf(octal, sizeof octal, "\\%03o", static_cast<unsigned>(c));
      text += octal;
    } else {
      text += c;
    }
  }
  return text;
}

void Broker::message(u64 offset, u64 length, u64 kind) {
  constexpr u64 kLongest = 64 * 1024;
  if (length > kLongest || !in_arena(offset, length)) return;
  if (kind == abi::kFileMessage) {
    if (trace_files_fd_ < 0) return;
    std::string line = escaped(std::string(&arena_at<char>(offset), length)) + "\n";
    int error = write_all(trace_files_fd_, line.data(), line.size());
    if (trace_files_error_ == 0) trace_files_error_ = error;
    return;
  }
  print(trace_fd_ >= 0 ? trace_fd_ : STDERR_FILENO, std::string(&arena_at<char>(offset), length) + "\n");
}

// Whole lines.
void Broker::print(int fd, std::string text) const {
  // A terminal in raw mode does not return its carriage by itself.
  if (terminal_.taken() && isatty(fd)) {
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2) text.insert(at, "\r");
  }
  write_all(fd, text.data(), text.size());
}

// --- For people with debuggers.

void Broker::make_debugger() {
  u32 wanted = abi::boot_config().debug;
  if (wanted == 0) return;
  DebuggerOptions debugger{options_.gdb_folder, options_.perf_map, options_.crash_report.has_value(),
                           abi::boot_config().prepare_flags};
  auto read = [this](std::span<const abi::PreparePiece> pieces, std::span<std::byte> into) {
    return read_pieces(images_, pieces, into) == 0;
  };
  try {
    debugger_ = std::make_unique<Debugger>(
        debugger, read, [this](const std::string& line) { print(STDERR_FILENO, line + "\n"); },
        [this](const std::string& text) { print(crash_fd_, text); });
  } catch (const std::exception& error) {
    throw LaunchError(error.what());
  }
}

s64 Broker::debug(u64 offset, u64 size) {
  constexpr u64 kLongest = 16 * MiB;
  if (debugger_ == nullptr) return -ENOSYS;
  if (size > kLongest || !in_arena(offset, size)) return -EINVAL;
  const std::byte* bytes = &arena_at<std::byte>(offset);
  std::vector<std::byte> report(bytes, bytes + size);
  try {
    return debugger_->serve(report);
  } catch (const std::exception&) {
    return -ENOMEM;
  }
}

// --- The end.

// Until its output is written or nobody reads it. Whoever does not want to wait for a reader that does not
// read sends a signal, as to any program that is stuck in write(2). 0, or that signal.
int Broker::drain_output() {
  sigset_t set = taken_signals();
  streams_.begin_drain();
  while (!streams_.is_drained()) {
    int signal = sigwaitinfo(&set, nullptr);
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT) return signal;
  }
  return 0;
}

// A program that wrote and ended could not be told that the host's disk is full; its user is. False: there is
// something to tell.
bool Broker::report_lost_output() {
  const auto losses = streams_.losses();
  for (const Streams::Loss& loss : losses) {
    fprintf(stderr,
            "teacup run: cannot write %s: %s: the last %llu bytes that the program wrote there are lost\n",
            loss.stream, strerror(loss.error), static_cast<unsigned long long>(loss.bytes));
  }
  return losses.empty();
}

void Broker::finish() {
  int gave_up = drain_output();
  bool complete = gave_up != 0 || report_lost_output();
  // Every guest-side process is in the template's session and process group.
  ::kill(-machine_, SIGKILL);
  gateway_.finish();
  terminal_.restore();
  upper_queue_.finish();
  workers_.finish();  // what a host file is being told is finished
  foreseen_.keep();
  write_stats();
  if (debugger_) debugger_->finish();
  int status = gave_up != 0 ? 128 + gave_up : exit_status();
  complete &= export_results();
  // A list that lacks files would make an image that lacks them.
  if (trace_files_error_ != 0) {
    fprintf(stderr, "teacup run: cannot write --trace-files: %s: the list is incomplete\n",
            strerror(trace_files_error_));
    complete = false;
  }
  if (!complete && status == 0) status = 125;
  fflush(nullptr);
  _exit(status);
}

// By `teacup export` in a process of its own: it reads the file by fs/, in an arena that lies where the
// machine's does here. Of a machine that did not end by itself nothing is exported.
bool Broker::export_results() {
  bool ok = true;
  if (upper_ != nullptr && !options_.exports.empty() && !options_.upper_is_temporary) upper_->close();
  for (const MachineExport& one : options_.exports) {
    if (arena().ended.load() != 1) return false;
    // "./" so that no name is taken for an option.
    const std::string host = one.host.starts_with('/') ? one.host : "./" + one.host;
    sigset_t none;
    sigemptyset(&none);
    pid_t pid = fork();
    if (pid == 0) {
      sigprocmask(SIG_SETMASK, &none, nullptr);
      signal(SIGPIPE, SIG_DFL);
      std::string upper = options_.upper;
      if (options_.upper_is_temporary) upper = "/proc/self/fd/" + std::to_string(dup(upper_->fd()));
      execl("/proc/self/exe", "teacup", "export", "--directory", "--upper", upper.c_str(), "--path",
            one.guest.c_str(), host.c_str(), nullptr);
      _exit(125);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    fprintf(stderr, "teacup run: --export %s:%s: nothing was written\n", one.guest.c_str(), one.host.c_str());
    ok = false;
  }
  return ok;
}

// What the shell is told, with a message where the end was not the guest's.
int Broker::exit_status() const {
  const ArenaHeader& header = arena();
  u32 ended = header.ended.load();
  u32 status = header.exit_status.load();
  std::string text(header.panic_text, strnlen(header.panic_text, sizeof header.panic_text));
  switch (ended) {
    case 1:
      return WIFSIGNALED(static_cast<int>(status)) ? 128 + WTERMSIG(static_cast<int>(status))
                                                   : WEXITSTATUS(status);
    case 2:
      fprintf(stderr, "teacup run: the machine's kernel failed; this is a bug in teacup.\n%s", text.c_str());
      return 125;
    case 3:
      fprintf(stderr, "teacup run: %s\n", text.c_str());
      return WEXITSTATUS(status);
    default:
      fprintf(stderr,
              "teacup run: the machine was killed from outside, or by the host's memory limit (see dmesg)\n");
      return 125;
  }
}

void Broker::write_stats() const {
  if (stats_fd_ < 0) return;
  std::string text = stats_json(started_at_);
  write_all(stats_fd_, text.data(), text.size());
}

}  // namespace teacup::host
