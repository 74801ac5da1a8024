// The order, and what may fail when:
//   1  find and check the program, copy arguments               errno to the caller
//   2  if the address space is shared: take a zygote            EAGAIN
//   3  be the only task: siblings end (exit.h), the leader's tid becomes ours
//   4  what exec resets: handlers, timers, close-on-exec…       cannot fail, or SIGKILL
//   5  in place: unmap, load                                    SIGKILL
//      moving: give the host thread back, start in the zygote   (its loading: SIGKILL)
//
// Whether the address space is shared can change until 3 is done (a sibling's vfork), so it is decided again
// after it; a zygote that turns out not to be needed goes back.
//
// Lock order: kProcessTree, then kSignal.
#include "kernel/task/exec.h"
#include "kernel/task/debug_report.h"

#include "fs/vfs.h"
#include "kernel/abi/stats.h"
#include "kernel/base/memory.h"
#include "kernel/task/borrow.h"
#include "kernel/task/enter.h"
#include "kernel/task/exit.h"
#include "kernel/task/frame.h"
#include "kernel/task/futex.h"
#include "kernel/task/process_timers.h"
#include "kernel/task/processes.h"
#include "kernel/task/random.h"
#include "kernel/task/times.h"
#include "kernel/task/tracer.h"
#include "kernel/task/zygote.h"

namespace teacup {

namespace {

class TaskOpener : public ProgramOpener {
 public:
  TaskOpener(Task& task, const fs::Path* start, u32 resolve)
      : task_(task), start_(start), resolve_(resolve) {}
  // The first is the program, the others are interpreters: by path alone.
  Result<Ref<fs::File>> open(std::string_view path) override {
    const fs::Path* start = std::exchange(start_, nullptr);
    u32 resolve = std::exchange(resolve_, 0);
    return fs::open_program(task_.caller(), start, path, resolve);
  }

 private:
  Task& task_;
  const fs::Path* start_;
  u32 resolve_;
};

constexpr u64 kAllCapabilities = (u64{1} << 41) - 1;  // up to CAP_CHECKPOINT_RESTORE

// What all programs start with (execve(2), "Effect on process attributes").
void reset_for_exec(Task& task, Ref<ProgramRequest> program, const Credentials& credentials, bool secure) {
  release_robust_list(task, task);
  release_child_tid(task);
  task.robust_list = task.clear_child_tid = 0;
  memcpy(task.name, program->name, sizeof task.name);
  if (secure) task.parent_death_signal = 0;
  Process& process = *task.process;
  drop_posix_timers(process);
  // Descriptors shared with another process (CLONE_FILES) are shared no longer.
  if (task.files->ref_count() > 1) {
    Result<Ref<fs::FdTable>> own = task.files->clone();
    LockGuard guard(process.lock);
    if (own.ok()) std::swap(task.files, own.value());
  }
  task.files->close_on_exec();
  {
    LockGuard guard(process.lock);
    for (abi::SigAction& action : process.handlers) {
      u64 kept = action.handler == abi::kSIG_IGN ? abi::kSIG_IGN : abi::kSIG_DFL;
      action = abi::SigAction{kept, 0, 0, 0};
    }
    task.signals.alt_stack = abi::SigAltStack{0, abi::kSS_DISABLE, 0, 0};
    task.restart = RestartBlock{};
    task.credentials = credentials;
    process.dumpable = !secure;
    std::swap(process.program, program);
  }
  LockGuard tree(processes().lock);
  process.has_executed = true;
  process.exit_signal = abi::kSIGCHLD;
}

// Moves the task to `zygote`. The calling host thread goes back to its lender, or ends.
[[noreturn]] void move_to_zygote(Task& task, Ref<HostProcess> zygote, Ref<ProgramRequest> program) {
  Ref<Task> self = Ref<Task>::share(&task);
  Ref<HostProcess> host = task.host;
  HostThread* thread = task.host_thread;
  host->memory->set_slot_task(task.stack_slot, nullptr);
  cpu_leave_host(task, task.lender.get());
  if (task.lender && return_thread(task)) {
    // Current is the lender, on the borrower's old stack.
    Task& lender = current_task();
    task.lender = nullptr;
    host->residents.fetch_sub(1, std::memory_order_seq_cst);
    host = nullptr;
    start_in_zygote(std::move(zygote), std::move(self), std::move(program));
    resume_lender(lender);
  }
  // Nobody's thread: it goes on as a ghost until it is gone.
  thread->ghost.host_pid.store(task.host_pid.load(), std::memory_order_relaxed);
  thread->ghost.host_tid.store(task.host_tid.load(), std::memory_order_relaxed);
  gate::set_task(&thread->ghost);
  task.lender = nullptr;
  start_in_zygote(std::move(zygote), std::move(self), std::move(program));
  end_ghost(*thread, std::move(host));
}

// For --stats: when the machine's first program began.
void note_start() {
  auto& first = abi::machine_stats().first_instruction_at;
  if (first.load(std::memory_order_relaxed) != 0) return;
  first.store(gate::clock_now(abi::kCLOCK_MONOTONIC).value_or(0), std::memory_order_relaxed);
}

}  // namespace

bool exec_credentials(Credentials& credentials, const fs::Inode* executable, bool no_new_privileges) {
  Credentials old = credentials;
  if (executable != nullptr && !no_new_privileges) {
    u32 mode = executable->mode;
    if ((mode & abi::kS_ISUID) != 0) credentials.euid = executable->uid;
    if ((mode & (abi::kS_ISGID | abi::kS_IXGRP)) == (abi::kS_ISGID | abi::kS_IXGRP))
      credentials.egid = executable->gid;
  }
  bool raised = credentials.euid != old.euid || credentials.egid != old.egid;
  credentials.suid = credentials.fsuid = credentials.euid;
  credentials.sgid = credentials.fsgid = credentials.egid;
  if (raised) credentials.ambient = 0;
  bool root = credentials.euid == 0 || credentials.uid == 0;
  u64 bounding = credentials.bounding & kAllCapabilities;
  credentials.permitted = root ? bounding | credentials.inheritable : credentials.ambient;
  credentials.effective = credentials.euid == 0 ? credentials.permitted : credentials.ambient;
  return raised || credentials.euid != credentials.uid || credentials.egid != credentials.gid;
}

void set_start_frame(Task& task, const LoadedProgram& program) {
  Frame& frame = frame_of(task);
  frame = Frame{};
  frame.call_number = kNoCall;
  frame.kind = FrameKind::kFull;
  frame.rip = program.entry;
  frame.rsp = program.stack_pointer;
  frame.cs = kUserCs;
  frame.ss = kUserSs;
  frame.rflags = 0x202;
}

void run_program(Task& task, Ref<ProgramRequest> program) {
  cpu_arrive_in_host(task);
  {
    Result<LoadedProgram> loaded = load_program(*task.memory, *program);
    if (!loaded.ok()) {
      program = nullptr;
      end_process(task, abi::kSIGKILL);
    }
    set_start_frame(task, loaded.value());
    program = nullptr;
  }
  report_maps(task);
  if (Tracer* trace = tracer()) trace->call_succeeded(task);
  gate::set_fs_base(0);
  reset_vector_state();
  note_start();
  enter_guest(task);
}

Result<void> exec(Task& task, const ExecArguments& arguments) {
  Process& process = *task.process;
  Ref<ProgramRequest> program;
  {
    TaskOpener opener(task, arguments.start, arguments.resolve);
    ProgramArguments wanted;
    wanted.file = TRY(opener.open(arguments.path));
    wanted.path = arguments.shown_path;
    wanted.arguments = arguments.arguments;
    wanted.environment = arguments.environment;
    wanted.stack_limit = process.limit(abi::kRLIMIT_STACK);
    program = TRY(prepare_program(wanted, opener));
  }
  Credentials credentials = task.credentials;
  fs::Inode* inode = program->executable->inode();
  bool secure = exec_credentials(credentials, inode, task.no_new_privileges);
  program->ids = ProgramIds{credentials.uid, credentials.euid, credentials.gid, credentials.egid, secure};
  random_fill(program->random);
  program->huge_pages = task.memory->allows_huge_pages();

  Ref<HostProcess> zygote;
  if (task.host->residents.load(std::memory_order_seq_cst) > 1) zygote = TRY(take_zygote());
  Result<void> alone = end_siblings_for_exec(task);
  bool shared = task.host->residents.load(std::memory_order_seq_cst) > 1;
  if (alone.ok() && shared && !zygote) {
    auto taken = take_zygote();
    if (!taken.ok()) end_process(task, abi::kSIGKILL);  // past the point of no return
    zygote = std::move(taken).value();
  }
  if (zygote && (!alone.ok() || !shared)) return_zygote(std::exchange(zygote, nullptr));
  TRY(alone);

  // Nothing of the caller's is needed any more, and it may not get the chance to let go of it.
  if (arguments.path_storage != nullptr) *arguments.path_storage = HeapArray<char>();
  if (arguments.more_storage != nullptr) *arguments.more_storage = HeapArray<char>();
  if (arguments.start_storage != nullptr) *arguments.start_storage = fs::Path();
  reset_for_exec(task, program, credentials, secure);
  let_vfork_parent_go(task);
  if (shared) move_to_zygote(task, std::move(zygote), std::move(program));
  task.memory->clear();
  Result<LoadedProgram> loaded = load_program(*task.memory, *program);
  if (!loaded.ok()) {
    program = nullptr;
    end_process(task, abi::kSIGKILL);
  }
  set_start_frame(task, loaded.value());
  report_maps(task);
  gate::set_fs_base(0);
  reset_vector_state();
  return {};
}

}  // namespace teacup
