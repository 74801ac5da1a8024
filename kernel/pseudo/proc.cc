// The root of /proc, and what of it speaks of the machine (proc(5)).
#include <algorithm>

#include "fs/pipe.h"
#include "fs/vfs.h"
#include "host/gate/gate.h"
#include "kernel/abi/boot.h"
#include "kernel/pseudo/cpu_info.h"
#include "kernel/pseudo/proc_net.h"
#include "kernel/pseudo/proc_process.h"
#include "kernel/pseudo/proc_settings.h"
#include "kernel/pseudo/state.h"
#include "kernel/task/processes.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kProcMagic = 0x9fa0;
constexpr u64 kTick = 10'000'000;
constexpr u64 kSecond = 1'000'000'000;

u64 uptime() {
  return gate::monotonic_now() - state().boot;
}

// CPU time of all that has run, ns; the rest was idle.
u64 busy_time() {
  u64 busy = 0;
  s32 pid = 0;
  while (Ref<Process> process = processes().next_process(pid)) {
    pid = process->pid;
    CpuTimes times = cpu_times(*process);
    busy += times.user + times.system;
    LockGuard guard(processes().lock);
    busy += process->children_times.user + process->children_times.system;
  }
  return busy;
}

void hundredths(TextBuffer& out, u64 ns) {
  out.udec(ns / kSecond).add('.').udec(ns % kSecond / kTick, 2, '0');
}

Result<void> show_uptime(TextBuffer& out, const Subject&) {
  u64 up = uptime();
  u64 all = up * arena().cpu_count;
  hundredths(out, up);
  out.add(' ');
  hundredths(out, all - std::min(all, busy_time()));
  out.add('\n');
  return {};
}

Result<void> show_loadavg(TextBuffer& out, const Subject&) {
  u32 running = 0, tasks;
  s32 last;
  s32 pid = 0;
  while (Ref<Process> process = processes().next_process(pid)) {
    pid = process->pid;
    if (state_letter(*process) == 'R') running++;
  }
  {
    LockGuard guard(processes().lock);
    tasks = processes().task_count;
    last = processes().last_pid;
  }
  out.add("0.00 0.00 0.00 ").udec(std::max(running, 1U)).add('/').udec(tasks).add(' ').dec(last).add('\n');
  return {};
}

Result<void> show_machine_stat(TextBuffer& out, const Subject&) {
  u32 cpus = arena().cpu_count;
  u64 busy = busy_time() / kTick;
  u64 all = uptime() / kTick;
  auto line = [&](u64 user, u64 total) {
    out.udec(user).add(" 0 0 ").udec(total - std::min(total, user)).add(" 0 0 0 0 0 0\n");
  };
  out.add("cpu  ");
  line(busy, all * cpus);
  for (u32 i = 0; i < cpus; i++) {
    out.add("cpu").udec(i).add(' ');
    line(busy / cpus, all);
  }
  u64 forks = processes().forks.load(std::memory_order_relaxed);
  out.add("intr 0\nctxt 0\nbtime ").udec(abi::boot_config().boot_realtime / kSecond);
  out.add("\nprocesses ").udec(forks + 1).add("\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n");
  return {};
}

Result<void> show_meminfo(TextBuffer& out, const Subject&) {
  auto line = [&](std::string_view name, u64 kib) {
    size_t start = out.length();
    out.add(name).add(':');
    while (out.length() < start + 15 && !out.full()) out.add(' ');
    out.udec(kib, 9).add(" kB\n");
  };
  u64 total = limit_pages() * kPageSize / KiB;
  u64 used = std::min(total, committed_pages() * kPageSize / KiB + heap_in_use() / KiB);
  line("MemTotal", total);
  line("MemFree", total - used);
  line("MemAvailable", total - used);
  line("Buffers", 0);
  line("Cached", used);
  line("SwapCached", 0);
  line("Active", used / 2);
  line("Inactive", used - used / 2);
  line("SwapTotal", 0);
  line("SwapFree", 0);
  line("Dirty", 0);
  line("Writeback", 0);
  line("AnonPages", 0);
  line("Mapped", 0);
  line("Shmem", used);
  line("Slab", heap_in_use() / KiB);
  line("CommitLimit", total);
  line("Committed_AS", used);
  line("VmallocTotal", 0);
  line("VmallocUsed", 0);
  line("HugePages_Total", 0);
  line("HugePages_Free", 0);
  line("Hugepagesize", 2048);
  return {};
}

// Events that the machine does not count are none.
Result<void> show_vmstat(TextBuffer& out, const Subject&) {
  const u64 total = limit_pages(), used = std::min(total, committed_pages());
  out.add("nr_free_pages ").udec(total - used);
  out.add("\nnr_zone_inactive_file 0\nnr_zone_active_file 0\nnr_mlock 0\nnr_file_pages ").udec(used);
  out.add("\nnr_dirty 0\nnr_writeback 0\nnr_shmem ").udec(used);
  for (const char* name : {"pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault", "oom_kill"})
    out.add('\n').add(name).add(" 0");
  out.add('\n');
  return {};
}

Result<void> show_filesystems(TextBuffer& out, const Subject&) {
  for (size_t i = 0;; i++) {
    const fs::FileSystemType* type = fs::file_system_at(i);
    if (type == nullptr) return {};
    out.add(type->needs_device ? "\t" : "nodev\t").add(type->name).add('\n');
  }
}

template <const char* text>
Result<void> show_constant(TextBuffer& out, const Subject&) {
  out.add(text);
  return {};
}
constexpr char kDevices[] =
    "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n";
constexpr char kNothing[] = "";
constexpr char kCommandLine[] = "teacup\n";
constexpr char kCgroups[] = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
constexpr char kSwaps[] = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

Result<void> show_self(TextBuffer& out, const Subject&) {
  out.dec(current_task().pid());
  return {};
}
Result<void> show_thread_self(TextBuffer& out, const Subject&) {
  out.dec(current_task().pid()).add("/task/").dec(current_task().tid);
  return {};
}
Result<void> show_mounts_link(TextBuffer& out, const Subject&) {
  out.add("self/mounts");
  return {};
}

constexpr u32 kFile = abi::kS_IFREG | 0444;
constexpr u32 kLink = abi::kS_IFLNK | 0777;
constexpr u32 kDirectory = abi::kS_IFDIR | 0555;

constexpr Node kRootNodes[] = {{"cgroups", kFile, &show_constant<kCgroups>},
                               {"cmdline", kFile, &show_constant<kCommandLine>},
                               {"cpuinfo", kFile, &show_cpuinfo},
                               {"devices", kFile, &show_constant<kDevices>},
                               {"diskstats", kFile, &show_constant<kNothing>},
                               {"filesystems", kFile, &show_filesystems},
                               {"loadavg", kFile, &show_loadavg},
                               {"meminfo", kFile, &show_meminfo},
                               {"modules", kFile, &show_constant<kNothing>},
                               {"mounts", kLink, &show_mounts_link},
                               {"net", kDirectory, nullptr, kNetNodes},
                               {"partitions", kFile, &show_constant<kNothing>},
                               {"self", kLink, &show_self},
                               {"stat", kFile, &show_machine_stat},
                               {"swaps", kFile, &show_constant<kSwaps>},
                               {"sys", kDirectory, nullptr, kSettings},
                               {"thread-self", kLink, &show_thread_self},
                               {"uptime", kFile, &show_uptime},
                               {"version", kFile, &show_version},
                               {"vmstat", kFile, &show_vmstat},
                               {nullptr, 0}};
constexpr Node kRootNode = {"", kDirectory, nullptr, kRootNodes};

class ProcRoot final : public PseudoDirectory {
 public:
  using PseudoDirectory::PseudoDirectory;

  Result<Ref<fs::Inode>> lookup(std::string_view name) override {
    u64 pid;
    if (!parse_number(name, &pid)) return PseudoDirectory::lookup(name);
    if (pid == 0 || pid >= kPidMax) return Errno::NOENT;
    return make_process_directory(file_system(), static_cast<s32>(pid));
  }

  Result<void> read_directory(fs::DirSink& sink, u64& position) override {
    TRY(PseudoDirectory::read_directory(sink, position));
    if (position < kFirstOwn) return {};
    for (;;) {
      Ref<Process> process = processes().next_process(static_cast<s32>(position - kFirstOwn));
      if (!process) return {};
      char storage[16];
      TextBuffer name(storage);
      name.dec(process->pid);
      u64 next = kFirstOwn + static_cast<u64>(process->pid);
      if (!sink.add(name.text(), (u64{1} << 40) + next, abi::kS_IFDIR >> 12, next)) return {};
      position = next;
    }
  }
};

class ProcFileSystem final : public fs::FileSystem {
 public:
  ProcFileSystem() : FileSystem("proc", kProcMagic) {}
  Result<Ref<fs::Inode>> root() override {
    return Ref<fs::Inode>(TRY(make_ref<ProcRoot>(*this, kRootNode, Subject{})));
  }
  bool caches_names() const override { return false; }
};

Result<Ref<fs::FileSystem>> mount_proc(std::string_view, std::string_view) {
  return Ref<fs::FileSystem>(TRY(make_ref<ProcFileSystem>()));
}

constexpr fs::FileSystemType kProcType = {"proc", &mount_proc};

}  // namespace

void register_proc() {
  fs::register_file_system(kProcType);
}

}  // namespace teacup::pseudo
