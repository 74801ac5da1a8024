#include "kernel/pseudo/pseudo.h"

#include "fs/epoll.h"
#include "fs/filesystem.h"
#include "fs/pipe.h"
#include "fs/vfs.h"
#include "kernel/pseudo/devices.h"
#include "kernel/pseudo/host_stream.h"
#include "kernel/pseudo/state.h"

namespace teacup::pseudo {

namespace {

constexpr u64 kStandardLimit = 1024;  // of descriptors: more than three

}  // namespace

void pseudo_start() {
  auto created = make<PseudoState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kPseudo, created.value());
  fs::pipes_start();
  fs::epoll_start();
  fs::FsHooks hooks = fs::fs_hooks();
  hooks.open_fifo = &fs::open_fifo;
  fs::set_fs_hooks(hooks);
  register_memory_devices();
  register_devtmpfs();
}

Result<void> open_standard_streams(fs::FdTable& files) {
  const abi::BootConfig& config = abi::boot_config();
  for (u32 i = 0; i < abi::kStreams; i++) {
    const abi::BootStream& stream = config.streams[i];
    if (stream.kind == abi::StreamKind::kClosed) continue;
    Ref<fs::File> file;
    if (stream.same_as < i) {
      auto same = files.get(Fd{static_cast<s32>(stream.same_as)});
      if (same.ok()) file = std::move(same).value();
    }
    if (!file) file = TRY(make_stream_file(i, stream));
    TRY(files.install_at(Fd{static_cast<s32>(i)}, std::move(file), false, kStandardLimit));
  }
  return {};
}

void stream_event(u32 stream) {
  if (stream >= abi::kStreams) return;
  host_stream(stream).event();
}

void window_event(u32, u32) {}

}  // namespace teacup::pseudo
