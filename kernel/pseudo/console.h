// The console: the terminal that teacup was started on, as the machine's own. The host's terminal is in raw
// mode, so the line discipline here does all the work; its line are the machine's host streams.
#pragma once

#include "kernel/pseudo/host_stream.h"
#include "kernel/pseudo/tty.h"

namespace teacup::pseudo {

class Console final : public Tty {
 public:
  // Null streams: no input, no output.
  Console(HostStream* input, HostStream* output, const abi::WinSize& window);

  u64 device() const override;
  // One of its streams has news: by the kernel task.
  void stream_event();
  // Lets the broker read from the host's terminal.
  void begin();

 private:
  size_t output_room() override;
  void output(const u8* data, size_t size) override;
  void flush_output() override {}  // what is out is out
  u64 output_queued_locked() override { return output_ != nullptr ? output_->queued() : 0; }
  void input_room_locked() override;
  void after_unlock() override;

  HostStream* input_;
  HostStream* output_;
  std::atomic<bool> ring_{false};
  std::atomic<bool> ask_{false};
};

// Creates the console if a stream is a terminal. Once, at start.
void console_start();
Console* console();  // null: none
void register_console_devices();

}  // namespace teacup::pseudo
