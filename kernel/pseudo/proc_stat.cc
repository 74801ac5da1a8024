// /proc/PID/{stat,statm,status,comm,io,limits}: figures.
#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/base/memory.h"
#include "kernel/pseudo/proc_process.h"
#include "kernel/pseudo/state.h"
#include "kernel/task/processes.h"

namespace teacup::pseudo {

namespace {

constexpr u64 kTick = 10'000'000;  // ns: 100 a second (sysconf(_SC_CLK_TCK))

struct Figures {
  s32 parent = 0, group = 0, session = 0, foreground = -1;
  u64 terminal = 0;
  char state = 'R';
  u32 threads = 0;
  CpuTimes own, children;
  u64 start = 0;
  abi::SigSet pending = 0, shared_pending = 0, blocked = 0, ignored = 0, caught = 0;
  mm::Totals totals;
  mm::ProgramLayout layout;
  u64 brk = 0;
  char name[16] = {};
  Credentials credentials;
  s32 nice = 0;
  s32 tid = 0;
};

void read_tree(Process& process, Figures& figures) {
  LockGuard guard(processes().lock);
  if (process.parent != nullptr) figures.parent = process.parent->pid;
  figures.children = process.children_times;
  if (process.zombie) figures.own = process.own_times;
  ProcessGroup* group = process.group.get();
  if (group == nullptr) return;
  figures.group = group->id;
  figures.session = group->session->id;
  if (ControllingTerminal* terminal = group->session->terminal.get(); terminal != nullptr) {
    figures.terminal = terminal->device();
    figures.foreground = terminal->foreground_group();
  }
}

void read_signals(Process& process, Task* task, Figures& figures) {
  LockGuard guard(process.lock);
  figures.shared_pending = process.queue.pending();
  figures.threads = process.live_tasks;
  for (size_t i = 0; i < process.handlers.size(); i++) {
    u64 handler = process.handlers[i].handler;
    if (handler == abi::kSIG_IGN) figures.ignored |= abi::SigSet{1} << i;
    if (handler != abi::kSIG_IGN && handler != abi::kSIG_DFL) figures.caught |= abi::SigSet{1} << i;
  }
  if (task == nullptr) return;
  figures.pending = task->signals.queue.pending();
  figures.blocked = task->signals.blocked;
  figures.credentials = task->credentials;
  figures.nice = task->nice;
  figures.tid = task->tid;
  memcpy(figures.name, task->name, sizeof figures.name);
}

Result<Figures> figures_of(const Subject& subject) {
  Ref<Process> process = TRY(process_of(subject));
  auto found = task_of(subject);
  Ref<Task> task = found.ok() ? std::move(found).value() : Ref<Task>();
  Figures figures;
  read_tree(*process, figures);
  read_signals(*process, task.get(), figures);
  figures.start = process->start_time;
  figures.state = state_letter(*process);
  if (!task) {
    figures.tid = subject.pid;
    if (Ref<ProgramRequest> program = program_of(*process); program)
      memcpy(figures.name, program->name, sizeof figures.name);
    return figures;
  }
  figures.own = subject.tid != 0 ? cpu_times(*task) : cpu_times(*process);
  if (subject.tid != 0) {
    figures.state = state_letter(*task);
    figures.start = task->start_time;
  }
  if (Ref<mm::AddressSpace> memory = memory_of(*task); memory) {
    figures.totals = memory->totals();
    figures.layout = memory->layout();
    figures.brk = memory->current_brk();
  }
  return figures;
}

// Resident memory is the host's secret; what is mapped, up to what the machine has used, is shown for it.
u64 resident_pages(const Figures& figures) {
  const mm::Totals& totals = figures.totals;
  u64 stack = std::min<u64>(totals.stack, 33);  // mapped to its limit up front
  u64 rest = totals.size > totals.stack ? totals.size - totals.stack : 0;
  return std::min(rest + stack, committed_pages() + totals.text + totals.data);
}

std::string_view name_of(const Figures& figures) {
  std::string_view all(figures.name, sizeof figures.name);
  return all.substr(0, std::min(all.find('\0'), all.size()));
}

}  // namespace

Result<void> show_stat(TextBuffer& out, const Subject& subject) {
  Figures f = TRY(figures_of(subject));
  out.dec(f.tid).add(" (").add(name_of(f)).add(") ").add(f.state);
  auto field = [&](u64 value) { out.add(' ').udec(value); };
  auto signed_field = [&](s64 value) { out.add(' ').dec(value); };
  signed_field(f.parent);
  signed_field(f.group);
  signed_field(f.session);
  signed_field(static_cast<s64>(f.terminal));
  signed_field(f.terminal != 0 ? f.foreground : -1);
  field(0x400000);                       // flags: PF_RANDOMIZE
  for (int i = 0; i < 4; i++) field(0);  // faults
  field(f.own.user / kTick);
  field(f.own.system / kTick);
  field(f.children.user / kTick);
  field(f.children.system / kTick);
  signed_field(20 + f.nice);
  signed_field(f.nice);
  field(f.threads);
  field(0);
  field((f.start - std::min(f.start, state().boot)) / kTick);
  field(f.totals.size * kPageSize);
  field(resident_pages(f));
  field(f.totals.size != 0 ? ~u64{0} : 0);  // rsslim
  field(f.layout.code_start);
  field(f.layout.code_end);
  field(f.layout.stack_start);
  field(0);  // kstkesp
  field(0);  // kstkeip
  field(f.pending & 0x7fffffff);
  field(f.blocked & 0x7fffffff);
  field(f.ignored & 0x7fffffff);
  field(f.caught & 0x7fffffff);
  for (int i = 0; i < 3; i++) field(0);  // wchan, nswap, cnswap
  signed_field(abi::kSIGCHLD);
  for (int i = 0; i < 6; i++) field(0);  // processor, rt_priority, policy, delays, guest times
  field(f.layout.data_start);
  field(f.layout.data_end);
  field(f.layout.brk_start);
  field(f.layout.arguments_start);
  field(f.layout.arguments_end);
  field(f.layout.environment_start);
  field(f.layout.environment_end);
  field(0);  // exit code
  out.add('\n');
  return {};
}

Result<void> show_statm(TextBuffer& out, const Subject& subject) {
  Figures f = TRY(figures_of(subject));
  u64 resident = resident_pages(f);
  out.udec(f.totals.size).add(' ').udec(resident).add(' ').udec(std::min(resident, f.totals.shared));
  out.add(' ').udec(f.totals.text).add(" 0 ").udec(f.totals.data + f.totals.stack).add(" 0\n");
  return {};
}

namespace {

constexpr std::string_view kStateNames[] = {"R (running)", "S (sleeping)",     "D (disk sleep)",
                                            "T (stopped)", "t (tracing stop)", "Z (zombie)",
                                            "X (dead)"};

std::string_view state_name(char letter) {
  for (std::string_view name : kStateNames) {
    if (name[0] == letter) return name;
  }
  return kStateNames[0];
}

void show_ids(TextBuffer& out, const Credentials& c) {
  out.add("Uid:\t").udec(c.uid).add('\t').udec(c.euid).add('\t').udec(c.suid).add('\t').udec(c.fsuid);
  out.add("\nGid:\t").udec(c.gid).add('\t').udec(c.egid).add('\t').udec(c.sgid).add('\t').udec(c.fsgid);
}

void show_memory(TextBuffer& out, const Figures& f) {
  auto kib = [&](std::string_view name, u64 pages) {
    out.add(name).add(":\t").udec(pages * kPageSize / KiB, 8).add(" kB\n");
  };
  u64 resident = resident_pages(f);
  kib("VmPeak", std::max(f.totals.peak, f.totals.size));
  kib("VmSize", f.totals.size);
  kib("VmLck", f.totals.locked);
  kib("VmPin", 0);
  kib("VmHWM", resident);
  kib("VmRSS", resident);
  kib("RssAnon", std::min(resident, f.totals.data));
  kib("RssFile", resident - std::min(resident, f.totals.data));
  kib("RssShmem", 0);
  kib("VmData", f.totals.data);
  kib("VmStk", f.totals.stack);
  kib("VmExe", f.totals.text);
  kib("VmLib", 0);
  kib("VmPTE", (f.totals.size + 511) / 512);
  kib("VmSwap", 0);
}

}  // namespace

Result<void> show_status(TextBuffer& out, const Subject& subject) {
  Figures f = TRY(figures_of(subject));
  const Credentials& c = f.credentials;
  out.add("Name:\t").add(name_of(f)).add('\n');
  if (f.state != 'Z') {
    auto task = task_of(subject);
    if (task.ok()) {
      Ref<fs::FsContext> context = fs_of(*task.value());
      if (context) out.add("Umask:\t").oct(context->umask(), 4).add('\n');
    }
  }
  out.add("State:\t")
      .add(state_name(f.state))
      .add("\nTgid:\t")
      .dec(subject.pid)
      .add("\nNgid:\t0\nPid:\t")
      .dec(f.tid);
  out.add("\nPPid:\t").dec(f.parent).add("\nTracerPid:\t0\n");
  show_ids(out, c);
  out.add("\nFDSize:\t64\nGroups:\t");
  for (u32 i = 0; i < c.group_count; i++) out.udec(c.groups[i]).add(' ');
  out.add("\nNStgid:\t").dec(subject.pid).add("\nNSpid:\t").dec(f.tid).add("\nNSpgid:\t").dec(f.group);
  out.add("\nNSsid:\t").dec(f.session).add('\n');
  if (f.totals.size != 0) show_memory(out, f);
  if (f.totals.size != 0) out.add("CoreDumping:\t0\nTHP_enabled:\t1\n");
  out.add("Threads:\t").udec(f.threads).add("\nSigQ:\t0/31337");
  out.add("\nSigPnd:\t").hex(f.pending, 16).add("\nShdPnd:\t").hex(f.shared_pending, 16);
  out.add("\nSigBlk:\t").hex(f.blocked, 16).add("\nSigIgn:\t").hex(f.ignored, 16);
  out.add("\nSigCgt:\t").hex(f.caught, 16);
  constexpr u64 kAllCapabilities = (u64{1} << (abi::kCAP_LAST_CAP + 1)) - 1;
  out.add("\nCapInh:\t").hex(c.inheritable, 16).add("\nCapPrm:\t").hex(c.permitted, 16);
  out.add("\nCapEff:\t").hex(c.effective, 16).add("\nCapBnd:\t").hex(c.bounding & kAllCapabilities, 16);
  out.add("\nCapAmb:\t").hex(c.ambient, 16);
  out.add("\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\nSpeculation_Store_Bypass:\tvulnerable\n");
  u64 all_cpus = arena().cpu_count >= 64 ? ~u64{0} : (u64{1} << arena().cpu_count) - 1;
  out.add("Cpus_allowed:\t").hex(all_cpus).add("\nCpus_allowed_list:\t0");
  if (arena().cpu_count > 1) out.add('-').udec(arena().cpu_count - 1);
  out.add("\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
  out.add("voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n");
  return {};
}

Result<void> show_comm(TextBuffer& out, const Subject& subject) {
  Figures f = TRY(figures_of(subject));
  out.add(name_of(f)).add('\n');
  return {};
}

// Only of the caller's own process, as prctl(PR_SET_NAME).
Result<void> store_comm(std::string_view text, const Subject& subject) {
  Ref<Task> task = TRY(task_of(subject));
  if (task->pid() != current_task().pid()) return Errno::INVAL;
  text = text.substr(0, text.find('\n'));
  text = text.substr(0, sizeof task->name - 1);
  LockGuard guard(task->process->lock);
  memset(task->name, 0, sizeof task->name);
  memcpy(task->name, text.data(), text.size());
  return {};
}

Result<void> show_limits(TextBuffer& out, const Subject& subject) {
  struct Row {
    const char* name;
    int resource;
    const char* unit;
  };
  static constexpr Row kRows[] = {{"Max cpu time", abi::kRLIMIT_CPU, "seconds"},
                                  {"Max file size", abi::kRLIMIT_FSIZE, "bytes"},
                                  {"Max data size", abi::kRLIMIT_DATA, "bytes"},
                                  {"Max stack size", abi::kRLIMIT_STACK, "bytes"},
                                  {"Max core file size", abi::kRLIMIT_CORE, "bytes"},
                                  {"Max resident set", abi::kRLIMIT_RSS, "bytes"},
                                  {"Max processes", abi::kRLIMIT_NPROC, "processes"},
                                  {"Max open files", abi::kRLIMIT_NOFILE, "files"},
                                  {"Max locked memory", abi::kRLIMIT_MEMLOCK, "bytes"},
                                  {"Max address space", abi::kRLIMIT_AS, "bytes"},
                                  {"Max file locks", abi::kRLIMIT_LOCKS, "locks"},
                                  {"Max pending signals", abi::kRLIMIT_SIGPENDING, "signals"},
                                  {"Max msgqueue size", abi::kRLIMIT_MSGQUEUE, "bytes"},
                                  {"Max nice priority", abi::kRLIMIT_NICE, ""},
                                  {"Max realtime priority", abi::kRLIMIT_RTPRIO, ""},
                                  {"Max realtime timeout", abi::kRLIMIT_RTTIME, "us"}};
  Ref<Process> process = TRY(process_of(subject));
  out.add("Limit                     Soft Limit           Hard Limit           Units     \n");
  for (const Row& row : kRows) {
    ResourceLimit limit = process->limits[static_cast<size_t>(row.resource)];
    size_t start = out.length();
    auto value = [&](u64 number) {
      if (number == kUnlimited) {
        out.add("unlimited");
      } else {
        out.udec(number);
      }
    };
    out.add(row.name);
    while (out.length() < start + 26 && !out.full()) out.add(' ');
    value(limit.soft);
    while (out.length() < start + 47 && !out.full()) out.add(' ');
    value(limit.hard);
    while (out.length() < start + 68 && !out.full()) out.add(' ');
    out.add(row.unit);
    while (out.length() < start + 78 && !out.full()) out.add(' ');
    out.add('\n');
  }
  return {};
}

Result<void> show_io(TextBuffer& out, const Subject& subject) {
  TRY(process_of(subject));
  out.add(
      "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n");
  return {};
}

Result<void> show_schedstat(TextBuffer& out, const Subject& subject) {
  Figures f = TRY(figures_of(subject));
  out.udec(f.own.user + f.own.system).add(" 0 0\n");
  return {};
}

}  // namespace teacup::pseudo
