#include "kernel/pseudo/console.h"

#include "fs/filesystem.h"
#include "kernel/pseudo/state.h"
#include "kernel/task/processes.h"

namespace teacup::pseudo {

namespace {
constexpr u64 kReadAhead = LineDiscipline::kBufferSize;
}

Console::Console(HostStream* input, HostStream* output, const abi::WinSize& window)
    : input_(input), output_(output) {
  window_ = window;
  if (input == nullptr) {
    // The host's terminal is not ours to set: it processes output itself.
    abi::Termios termios = discipline_.termios();
    termios.oflag &= ~abi::kOPOST;
    discipline_.set_termios(termios);
  }
}

u64 Console::device() const {
  return fs::make_device(kTtyAuxMajor, 1);
}

size_t Console::output_room() {
  // Without a line, output goes nowhere; it must not stop anybody.
  return output_ != nullptr ? abi::kStreamRing - output_->queued() : abi::kStreamRing;
}

void Console::output(const u8* data, size_t size) {
  if (output_ == nullptr) return;
  output_->put(data, size);
  ring_.store(true, std::memory_order_relaxed);
}

void Console::input_room_locked() {
  if (input_ == nullptr) return;
  for (;;) {
    std::span<const u8> bytes = input_->front();
    if (bytes.empty()) break;
    size_t taken = receive_locked(bytes);
    input_->drop(taken);
    if (taken < bytes.size()) break;
  }
  ask_.store(true, std::memory_order_relaxed);
}

void Console::after_unlock() {
  if (ring_.exchange(false, std::memory_order_relaxed)) output_->ring();
  if (ask_.exchange(false, std::memory_order_relaxed)) input_->ask(kReadAhead);
}

void Console::begin() {
  with_lock([&] {
    input_room_locked();
    return 0;
  });
}

void Console::stream_event() {
  with_lock([&] {
    input_room_locked();
    discipline_.output_drained();
    wake_later(abi::kPOLLOUT | abi::kPOLLWRNORM);
    return 0;
  });
  if (input_ != nullptr && input_->ended()) hang_up();
}

Console* console() {
  return static_cast<Console*>(state().console);
}

void console_start() {
  const abi::BootConfig& config = abi::boot_config();
  auto is_terminal = [&](u32 i) { return config.streams[i].kind == abi::StreamKind::kTerminal; };
  HostStream* output = nullptr;
  for (u32 i : {1U, 2U, 0U}) {
    if (output == nullptr && is_terminal(i) && config.streams[i].writable != 0) output = &host_stream(i);
  }
  HostStream* input = is_terminal(0) && config.streams[0].readable != 0 ? &host_stream(0) : nullptr;
  if (input == nullptr && output == nullptr) return;
  abi::WinSize window{config.window_rows, config.window_columns, 0, 0};
  auto created = make_ref<Console>(input, output, window);
  KERNEL_ASSERT(created.ok());
  state().console = std::move(created).value().leak();
  console()->begin();
}

namespace {

Result<Ref<fs::File>> open_tty(Ref<Tty> tty, const fs::Path& path, u32 flags) {
  Ref<fs::File> file = TRY(make_tty_file(tty, path, flags));
  if ((flags & abi::kO_NOCTTY) == 0) tty->opened_by(current_task());
  return file;
}

// /dev/tty: the caller's own; /dev/console: the machine's.
Result<Ref<fs::File>> open_auxiliary(const fs::Path& path, u32 flags, u32 minor) {
  if (minor == 1) {
    if (state().console == nullptr) return Errno::NXIO;
    return open_tty(Ref<Tty>::share(state().console), path, flags);
  }
  Ref<ControllingTerminal> terminal;
  {
    LockGuard guard(processes().lock);
    ProcessGroup* group = current_task().process->group.get();
    if (group != nullptr) terminal = group->session->terminal;
  }
  if (!terminal) return Errno::NXIO;
  return make_tty_file(Ref<Tty>::adopt(static_cast<Tty*>(terminal.leak())), path, flags);
}

}  // namespace

void register_console_devices() {
  fs::register_char_device(kTtyAuxMajor, 0, 2, &open_auxiliary);
}

}  // namespace teacup::pseudo
