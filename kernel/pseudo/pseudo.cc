#include "kernel/pseudo/pseudo.h"

#include "fs/epoll.h"
#include "fs/filesystem.h"
#include "fs/inotify.h"
#include "fs/pipe.h"
#include "fs/vfs.h"
#include "kernel/pseudo/console.h"
#include "kernel/pseudo/devices.h"
#include "kernel/pseudo/host_stream.h"
#include "kernel/pseudo/mqueue.h"
#include "kernel/pseudo/pseudo_inode.h"
#include "kernel/pseudo/pty.h"
#include "kernel/pseudo/state.h"
#include "kernel/pseudo/sysv.h"
#include "kernel/task/processes.h"
#include "net/families.h"

namespace teacup::pseudo {

void pseudo_start() {
  auto created = make<PseudoState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kPseudo, created.value());
  fs::pipes_start();
  fs::epoll_start();
  fs::inotify_start();
  net::net_start();
  sysv_start();
  fs::FsHooks hooks = fs::fs_hooks();
  hooks.open_fifo = &fs::open_fifo;
  hooks.notify = &fs::notify_watchers;
  fs::set_fs_hooks(hooks);
  register_memory_devices();
  register_devtmpfs();
  register_console_devices();
  register_ptys();
  register_mqueue();
  register_proc();
  register_sysfs();
  console_start();
}

namespace {

constexpr u64 kStandardLimit = 1024;  // of descriptors: more than three

// The console's file, with the path /dev/console where the image's /dev has it.
Result<Ref<fs::File>> open_console() {
  auto context = fs::FsContext::create();
  Credentials root;
  fs::Path path;
  if (context.ok()) {
    auto found = fs::resolve({*context.value(), root}, nullptr, "/dev/console", 0);
    if (found.ok()) path = std::move(found).value();
  }
  return make_tty_file(Ref<Tty>::share(console()), path, abi::kO_RDWR);
}

}  // namespace

Result<void> open_standard_streams(fs::FdTable& files) {
  const abi::BootConfig& config = abi::boot_config();
  Ref<fs::File> terminal;
  for (u32 i = 0; i < abi::kStreams; i++) {
    const abi::BootStream& stream = config.streams[i];
    if (stream.kind == abi::StreamKind::kClosed) continue;
    Ref<fs::File> file;
    if (stream.kind == abi::StreamKind::kTerminal && console() != nullptr) {
      if (!terminal) terminal = TRY(open_console());
      file = terminal;
    } else if (stream.same_as < i) {
      auto same = files.get(Fd{static_cast<s32>(stream.same_as)});
      if (same.ok()) file = std::move(same).value();
    }
    if (!file) file = TRY(make_stream_file(i, stream));
    TRY(files.install_at(Fd{static_cast<s32>(i)}, std::move(file), false, kStandardLimit));
  }
  // The first process leads the session that the console belongs to.
  if (terminal && processes().init != nullptr) {
    LockGuard guard(processes().lock);
    ProcessGroup* group = processes().init->group.get();
    if (group != nullptr) console()->attach_locked(*group->session, group->id);
  }
  return {};
}

void stream_event(u32 stream) {
  if (stream >= abi::kStreams) return;
  host_stream(stream).event();
  if (console() != nullptr) console()->stream_event();
}

void window_event(u32 rows, u32 columns) {
  if (console() == nullptr) return;
  console()->set_window({static_cast<u16>(rows), static_cast<u16>(columns), 0, 0});
}

}  // namespace teacup::pseudo
