#include "kernel/frame/heap.h"
#include "kernel/pseudo/event_files.h"
#include "kernel/task/send_signal.h"

namespace teacup::pseudo {

namespace {

abi::SignalfdInfo as_signalfd_info(const abi::SigInfo& info) {
  abi::SignalfdInfo out{};
  out.signo = static_cast<u32>(info.signo);
  out.error = info.error;
  out.code = info.code;
  bool is_fault = info.code > 0 && info.code < abi::kSI_KERNEL;
  if (info.signo == abi::kSIGCHLD && is_fault) {
    out.pid = static_cast<u32>(info.child.pid);
    out.uid = info.child.uid;
    out.status = info.child.status;
    out.utime = static_cast<u64>(info.child.utime);
    out.stime = static_cast<u64>(info.child.stime);
  } else if (is_fault) {
    out.address = info.fault.address;
    out.address_lsb = static_cast<u16>(info.fault.address_lsb);
  } else if (info.code == abi::kSI_TIMER) {
    out.timer_id = static_cast<u32>(info.timer.timer_id);
    out.overrun = static_cast<u32>(info.timer.overrun);
    out.int_value = info.timer.value.int_value;
    out.pointer = info.timer.value.pointer;
  } else {
    out.pid = static_cast<u32>(info.rt.pid);
    out.uid = info.rt.uid;
    out.int_value = info.rt.value.int_value;
    out.pointer = info.rt.value.pointer;
  }
  return out;
}

class SignalFile final : public fs::File {
 public:
  SignalFile(abi::SigSet mask, Ref<Process> owner, u32 flags)
      : File(flags), mask_(mask), owner_(std::move(owner)) {}

  fs::FileKind kind() const override { return fs::FileKind::kSignalFd; }
  void set_mask(abi::SigSet mask) {
    mask_.store(mask, std::memory_order_relaxed);
    owner_->signal_queue.wake(abi::kPOLLIN);
  }

  Result<size_t> read(IoDest& to, u64) override {
    if (to.remaining() < sizeof(abi::SignalfdInfo)) return Errno::INVAL;
    size_t done = 0;
    while (to.remaining() >= sizeof(abi::SignalfdInfo)) {
      abi::SigInfo info;
      if (take_signal(current_task(), mask(), &info) == 0) break;
      abi::SignalfdInfo out = as_signalfd_info(info);
      done += TRY(to.put(&out, sizeof out));
    }
    if (done == 0) return Errno::AGAIN;
    return done;
  }
  Result<size_t> write(IoSource&, u64) override { return Errno::INVAL; }
  u32 poll() override {
    return (pending_signals(current_task()) & mask()) != 0 ? u32{abi::kPOLLIN | abi::kPOLLRDNORM} : 0;
  }
  WaitQueue* wait_queue() override { return &owner_->signal_queue; }
  void describe(TextBuffer& text) override { text.add("anon_inode:[signalfd]"); }

 private:
  abi::SigSet mask() const { return mask_.load(std::memory_order_relaxed); }

  std::atomic<abi::SigSet> mask_;
  Ref<Process> owner_;  // whose queue is waited on
};

abi::SigSet allowed(abi::SigSet mask) {
  return mask & ~kUnblockable;
}

}  // namespace

Result<Ref<fs::File>> make_signalfd(abi::SigSet mask, u32 flags) {
  if ((flags & ~(abi::kSFD_NONBLOCK | abi::kSFD_CLOEXEC)) != 0) return Errno::INVAL;
  u32 file_flags = abi::kO_RDWR | (flags & abi::kSFD_NONBLOCK);
  return Ref<fs::File>(TRY(make_ref<SignalFile>(allowed(mask), current_task().process, file_flags)));
}

Result<void> signalfd_set_mask(fs::File& file, abi::SigSet mask) {
  if (file.kind() != fs::FileKind::kSignalFd) return Errno::INVAL;
  static_cast<SignalFile&>(file).set_mask(allowed(mask));
  return {};
}

// --- pidfd_open(2).

namespace {

class PidFile final : public fs::File {
 public:
  PidFile(Ref<Process> process, u32 flags) : File(flags), process_(std::move(process)) {}
  fs::FileKind kind() const override { return fs::FileKind::kPidFd; }
  u32 poll() override {
    return process_->zombie || process_->reaped ? u32{abi::kPOLLIN | abi::kPOLLRDNORM} : 0;
  }
  WaitQueue* wait_queue() override { return &process_->exit_queue; }
  Result<size_t> read(IoDest&, u64) override { return Errno::INVAL; }
  Result<size_t> write(IoSource&, u64) override { return Errno::INVAL; }
  void describe(TextBuffer& text) override { text.add("anon_inode:[pidfd]"); }
  Process& process() { return *process_; }

 private:
  Ref<Process> process_;
};

}  // namespace

Result<Ref<fs::File>> make_pidfd(Ref<Process> process, u32 flags) {
  u32 file_flags = abi::kO_RDWR | (flags & abi::kPIDFD_NONBLOCK);
  return Ref<fs::File>(TRY(make_ref<PidFile>(std::move(process), file_flags)));
}

Process* process_of_pidfd(fs::File& file) {
  return file.kind() == fs::FileKind::kPidFd ? &static_cast<PidFile&>(file).process() : nullptr;
}

}  // namespace teacup::pseudo
