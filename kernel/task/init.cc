// The first process: who it is and what it runs, from the boot configuration.
#include <algorithm>

#include "fs/vfs.h"
#include "kernel/abi/events.h"
#include "kernel/base/memory.h"
#include "kernel/sync/doorbell.h"
#include "kernel/task/enter.h"
#include "kernel/task/exec.h"
#include "kernel/task/machine.h"
#include "kernel/task/processes.h"
#include "kernel/task/random.h"
#include "kernel/task/user_names.h"
#include "kernel/task/zygote.h"

namespace teacup {

namespace {

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// docker's defaults: no CAP_SYS_ADMIN and the like, so programs do not try what cannot work here.
constexpr u64 kDockerCapabilities = 0xa80425fb;
constexpr size_t kMaxEnvironment = 512;
constexpr size_t kMaxArguments = 4096;

std::string_view view(const abi::BootString& string) {
  return {&arena_at<char>(string.offset), string.length};
}
std::string_view item(const abi::BootStrings& strings, u64 index) {
  return view((&arena_at<abi::BootString>(strings.offset))[index]);
}

template <typename... Pieces>
[[noreturn]] void refuse(u32 exit_code, Pieces... pieces) {
  char buffer[512];
  TextBuffer text(buffer);
  (text.add(pieces), ...);
  machine_refuse(exit_code, buffer);
}

// The environment: defaults, each unless -e gives it.
class Environment {
 public:
  explicit Environment(const abi::BootConfig& config) {
    for (u64 i = 0; i < config.environment.count; i++) set(item(config.environment, i));
  }
  void set(std::string_view assignment) {
    std::string_view key = key_of(assignment);
    for (size_t i = 0; i < count_; i++) {
      if (key_of(strings_[i]) != key) continue;
      strings_[i] = assignment;
      return;
    }
    if (count_ < kMaxEnvironment) strings_[count_++] = assignment;
  }
  // Builds K=V in memory that lasts as long as the machine: a few short strings.
  void set_default(std::string_view key, std::string_view value) {
    if (!get(key).empty() || has(key)) return;
    size_t size = key.size() + value.size() + 2;
    auto* text = static_cast<char*>(heap_allocate(size));
    if (text == nullptr) return;
    TextBuffer({text, size}).add(key).add('=').add(value);
    set({text, size - 1});
  }
  bool has(std::string_view key) const {
    for (size_t i = 0; i < count_; i++) {
      if (key_of(strings_[i]) == key) return true;
    }
    return false;
  }
  std::string_view get(std::string_view key) const {
    for (size_t i = 0; i < count_; i++) {
      if (key_of(strings_[i]) == key && strings_[i].size() > key.size())
        return strings_[i].substr(key.size() + 1);
    }
    return {};
  }
  // K=V each; a bare K stood only for "not even the default".
  std::span<const std::string_view> strings() {
    auto bare = [](std::string_view string) { return string.find('=') == std::string_view::npos; };
    count_ = static_cast<size_t>(std::remove_if(strings_, strings_ + count_, bare) - strings_);
    return {strings_, count_};
  }

 private:
  static std::string_view key_of(std::string_view assignment) {
    return assignment.substr(0, assignment.find('='));
  }
  std::string_view strings_[kMaxEnvironment];
  size_t count_ = 0;
};

class InitOpener : public ProgramOpener {
 public:
  explicit InitOpener(const fs::Caller& caller) : caller_(caller) {}
  Result<Ref<fs::File>> open(std::string_view path) override {
    return fs::open_program(caller_, nullptr, path);
  }

 private:
  const fs::Caller& caller_;
};

// Finds the command in PATH as execvp(3) does: the first that may be executed; EACCES if only others were
// found.
Result<Ref<fs::File>> find_program(ProgramOpener& opener, std::string_view command, std::string_view path,
                                   std::span<char> found, std::string_view* found_path) {
  if (command.empty()) return Errno::NOENT;
  if (command.find('/') != std::string_view::npos) {
    *found_path = command;
    return opener.open(command);
  }
  Errno error = Errno::NOENT;
  while (true) {
    size_t end = path.find(':');
    std::string_view directory = path.substr(0, end);
    TextBuffer text(found);
    if (!directory.empty()) text.add(directory).add('/');
    text.add(command);
    if (!text.full()) {
      auto file = opener.open(text.text());
      if (file.ok()) {
        *found_path = text.text();
        return file;
      }
      if (file.is(Errno::ACCES)) error = Errno::ACCES;
    }
    if (end == std::string_view::npos) return error;
    path.remove_prefix(end + 1);
  }
}

[[noreturn]] void refuse_program(std::string_view command, Errno error) {
  bool missing = error == Errno::NOENT || error == Errno::NOTDIR || error == Errno::NAMETOOLONG;
  const char* reason = missing                   ? "not found in the image"
                       : error == Errno::ACCES   ? "permission denied (is it executable?)"
                       : error == Errno::NOEXEC  ? "not a program for this machine, and not a #! script"
                       : error == Errno::TOO_BIG ? "the arguments and environment are too long"
                       : error == Errno::LIBBAD  ? "its interpreter is damaged"
                                                 : errno_name(error);
  refuse(missing ? 127 : 126, "cannot run '", command, "': ", reason);
}

void enter_working_directory(Task& task, std::string_view path) {
  if (path.empty()) return;
  fs::Caller caller = task.caller();
  // As docker does: a working directory that is not there is made.
  for (size_t end = 1; end != std::string_view::npos && end <= path.size();) {
    end = path.find('/', end);
    (void)fs::make_directory(caller, nullptr, path.substr(0, end), 0755);
    if (end != std::string_view::npos) end++;
  }
  auto place = fs::resolve(caller, nullptr, path, fs::kFollow | fs::kDirectory);
  if (!place.ok()) {
    refuse(125, "cannot use '", path, "' as the working directory: ", errno_name(place.error()));
  }
  task.fs->set_working_directory(place.value());
}

void must(Result<void> result) {
  if (!result.ok()) refuse(125, "cannot start the first process: ", errno_name(result.error()));
}

Result<void> make_first_task(Ref<Task>* result) {
  Ref<Task> task = TRY(make_ref<Task>());
  Ref<Process> process = TRY(make_ref<Process>(1));
  Ref<Session> session = TRY(make_ref<Session>(1));
  Ref<ProcessGroup> group = TRY(make_ref<ProcessGroup>(1, session));
  task->files = TRY(fs::FdTable::create());
  task->fs = TRY(fs::FsContext::create());
  task->start_time = process->start_time = gate::monotonic_now();
  set_entries(*task);
  process->exit_signal = abi::kSIGCHLD;
  Processes& all = processes();
  LockGuard tree(all.lock);
  task->tid = TRY(all.allocate_pid_locked());
  all.join_group_locked(*process, group);
  all.set_process_locked(1, process.get());
  all.set_task_locked(1, task.get());
  all.process_count = all.task_count = 1;
  all.init = process.get();
  process->ref();  // the tree's
  process->add_task_locked(*task);
  task->process = std::move(process);
  *result = std::move(task);
  return {};
}

// -u: names and numbers, from the image's passwd and group.
UserIdentity find_identity(Task& task, std::string_view wanted) {
  auto passwd = fs::read_whole(task.caller(), "/etc/passwd", MiB);
  auto group = fs::read_whole(task.caller(), "/etc/group", MiB);
  auto text = [](Result<HeapArray<char>>& file) {
    return file.ok() ? std::string_view(file.value().data(), file.value().size()) : std::string_view();
  };
  auto identity = find_user(wanted, text(passwd), text(group));
  if (!identity.ok()) {
    refuse(125, "no such user or group in the image: '", wanted,
           "' (-u takes UID[:GID], or names that are in its /etc/passwd and /etc/group)");
  }
  return std::move(identity).value();
}

void set_identity(Task& task, const UserIdentity& identity) {
  Credentials& credentials = task.credentials;
  credentials.uid = credentials.euid = credentials.suid = credentials.fsuid = identity.uid;
  credentials.gid = credentials.egid = credentials.sgid = credentials.fsgid = identity.gid;
  credentials.group_count = identity.group_count;
  credentials.groups = identity.groups;
  credentials.bounding = kDockerCapabilities;
  if (identity.uid == 0) credentials.effective = credentials.permitted = kDockerCapabilities;
}

}  // namespace

void start_init(const abi::BootConfig& config, OpenStandardStreams open_standard_streams) {
  Ref<Task> task;
  must(make_first_task(&task));
  task->credentials.effective = ~u64{0};  // to look around in the image
  UserIdentity identity = find_identity(*task, view(config.user));
  auto* environment = make<Environment>(config).value_or(nullptr);
  if (environment == nullptr) must(Errno::NOMEM);
  environment->set_default("PATH", kDefaultPath);
  environment->set_default("HOSTNAME", processes().host_name);
  if (config.streams[0].kind == abi::StreamKind::kTerminal ||
      config.streams[1].kind == abi::StreamKind::kTerminal)
    environment->set_default("TERM", "xterm");
  environment->set_default("HOME", identity.home_text());
  enter_working_directory(*task, view(config.working_directory));
  set_identity(*task, identity);
  fs::set_volume_owner(task->credentials.uid, task->credentials.gid);

  auto arguments = HeapArray<std::string_view>::create(
      config.arguments.count < kMaxArguments ? config.arguments.count : kMaxArguments);
  if (!arguments.ok()) must(arguments.error());
  for (size_t i = 0; i < arguments.value().size(); i++) arguments.value()[i] = item(config.arguments, i);
  std::string_view command = arguments.value().size() > 0 ? arguments.value()[0] : std::string_view();

  fs::Caller caller = task->caller();
  InitOpener opener(caller);
  char found[4096];
  std::string_view path;
  auto file = find_program(opener, command, environment->get("PATH"), found, &path);
  if (!file.ok()) refuse_program(command, file.error());
  ProgramArguments wanted;
  wanted.file = std::move(file).value();
  wanted.path = path;
  wanted.arguments = StringSource::kernel({arguments.value().data(), arguments.value().size()});
  wanted.environment = StringSource::kernel(environment->strings());
  wanted.stack_limit = task->process->limit(abi::kRLIMIT_STACK);
  auto program = prepare_program(wanted, opener);
  if (!program.ok()) refuse_program(command, program.error());
  destroy(environment);
  ProgramRequest& request = *program.value();
  bool secure = exec_credentials(task->credentials, request.executable->inode(), false);
  const Credentials& ids = task->credentials;
  request.ids = ProgramIds{ids.uid, ids.euid, ids.gid, ids.egid, secure};
  random_fill(request.random);
  memcpy(task->name, request.name, sizeof task->name);
  task->process->program = program.value();

  must(open_standard_streams(*task->files));
  auto zygote = take_zygote();
  if (!zygote.ok()) refuse(125, "cannot start a host process: ", errno_name(zygote.error()));
  start_in_zygote(std::move(zygote).value(), std::move(task), std::move(program).value());
  raise_kernel_event(abi::kEventSignals);  // those that came before there was a process to have them
}

}  // namespace teacup
