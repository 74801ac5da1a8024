// /proc/PID as a tree: its table, and the directories fd, fdinfo and task.
#include <algorithm>

#include "kernel/pseudo/proc_process.h"
#include "kernel/task/process_memory.h"
#include "kernel/task/processes.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kFile = abi::kS_IFREG | 0444;
constexpr u32 kSecretFile = abi::kS_IFREG | 0400;
constexpr u32 kWritable = abi::kS_IFREG | 0644;
constexpr u32 kLink = abi::kS_IFLNK | 0777;
constexpr u32 kDirectory = abi::kS_IFDIR | 0555;
constexpr u32 kSecretDirectory = abi::kS_IFDIR | 0500;

// --- fd and fdinfo.

Result<Ref<fs::File>> file_at(const Subject& subject, s32 fd) {
  Ref<Task> task = TRY(task_of(subject));
  Ref<fs::FdTable> files = files_of(*task);
  if (!files) return Errno::NOENT;
  auto file = files->get(Fd{fd});
  if (!file.ok()) return Errno::NOENT;
  return file;
}

constexpr Node kFdNode = {"", abi::kS_IFLNK | 0700};
constexpr Node kFdInfoNode = {"", kSecretFile};

// One descriptor's link. Opening it opens what it refers to anew.
class FdLink final : public PseudoInode {
 public:
  FdLink(fs::FileSystem& file_system, const Subject& subject, s32 fd, const fs::File& file)
      : PseudoInode(file_system, kFdNode, subject), fd_(fd) {
    ino += static_cast<u64>(fd) * 4096;
    mode = abi::kS_IFLNK | (file.readable() ? 0500 : 0) | (file.writable() ? 0300 : 0);
  }
  bool is_magic_link() const override { return true; }
  Result<size_t> readlink(std::span<char> into) override {
    Ref<fs::File> file = TRY(file_at(subject_, fd_));
    char storage[4096];
    TextBuffer text(storage);
    show_file_name(text, *file);
    size_t size = std::min(text.length(), into.size());
    std::copy_n(storage, size, into.data());
    return size;
  }
  Result<fs::Path> follow(const fs::Caller&) override {
    Ref<fs::File> file = TRY(file_at(subject_, fd_));
    return fs::path_of(*file);
  }

 private:
  const s32 fd_;
};

Result<void> show_fdinfo(TextBuffer& out, const Subject& subject, s32 fd) {
  Ref<Task> task = TRY(task_of(subject));
  Ref<fs::FdTable> files = files_of(*task);
  if (!files) return Errno::NOENT;
  Ref<fs::File> file = TRY(files->get(Fd{fd}));
  u32 flags = file->flags();
  if (auto cloexec = files->cloexec(Fd{fd}); cloexec.ok() && cloexec.value()) flags |= abi::kO_CLOEXEC;
  abi::Stat stat{};
  (void)file->stat(stat);
  out.add("pos:\t").udec(file->position).add("\nflags:\t0").oct(flags).add("\nmnt_id:\t");
  const fs::Path* path = file->path();
  out.udec(path != nullptr && *path ? path->mount().id() : 15).add("\nino:\t").udec(stat.ino).add('\n');
  return {};
}

// The text is that of a node with a descriptor: a file of its own, written when it is opened.
class FdInfoFile final : public fs::File {
 public:
  FdInfoFile(const fs::Path& path, u32 flags) : File(flags), path_(path) {}
  Result<void> fill(const Subject& subject, s32 fd) {
    TextBuffer out(text_);
    TRY(show_fdinfo(out, subject, fd));
    length_ = out.length();
    return {};
  }
  fs::Inode* inode() override { return &path_.inode(); }
  const fs::Path* path() override { return &path_; }
  bool seekable() const override { return true; }
  Result<size_t> read(IoDest& to, u64 offset) override {
    if (offset >= length_) return size_t{0};
    return to.put(text_ + offset, length_ - offset);
  }

 private:
  fs::Path path_;
  char text_[256] = {};
  size_t length_ = 0;
};

class FdInfo final : public PseudoInode {
 public:
  FdInfo(fs::FileSystem& file_system, const Subject& subject, s32 fd)
      : PseudoInode(file_system, kFdInfoNode, subject), fd_(fd) {
    ino += static_cast<u64>(fd) * 4096;
  }
  Result<Ref<fs::File>> open(const fs::Path& path, u32 flags) override {
    auto file = TRY(make_ref<FdInfoFile>(path, flags));
    TRY(file->fill(subject_, fd_));
    return Ref<fs::File>(std::move(file));
  }

 private:
  const s32 fd_;
};

class FdDirectory final : public PseudoInode {
 public:
  FdDirectory(fs::FileSystem& file_system, const Node& node, const Subject& subject, bool info)
      : PseudoInode(file_system, node, subject), info_(info) {}

  Result<Ref<fs::Inode>> lookup(std::string_view name) override {
    u64 fd;
    if (!parse_number(name, &fd) || fd > 0x7fffffff) return Errno::NOENT;
    s32 number = static_cast<s32>(fd);
    Ref<fs::File> file = TRY(file_at(subject_, number));
    if (info_) return Ref<fs::Inode>(TRY(make_ref<FdInfo>(file_system(), subject_, number)));
    return Ref<fs::Inode>(TRY(make_ref<FdLink>(file_system(), subject_, number, *file)));
  }

  Result<void> read_directory(fs::DirSink& sink, u64& position) override {
    constexpr u64 kFirst = 2;
    Ref<Task> task = TRY(task_of(subject_));
    Ref<fs::FdTable> files = files_of(*task);
    if (!files) return {};
    for (;;) {
      auto next = files->next_used(static_cast<s32>(position - kFirst));
      if (!next.ok()) return {};
      u64 fd = static_cast<u64>(next.value().value);
      char storage[16];
      TextBuffer name(storage);
      name.udec(fd);
      u8 type = static_cast<u8>((info_ ? abi::kS_IFREG : abi::kS_IFLNK) >> 12);
      if (!sink.add(name.text(), ino + (fd + 1) * 4096, type, fd + kFirst + 1)) return {};
      position = fd + kFirst + 1;
    }
  }

 private:
  const bool info_;
};

Result<Ref<fs::Inode>> make_fdinfo_directory(fs::FileSystem& file_system, const Node& node,
                                             const Subject& subject) {
  return Ref<fs::Inode>(TRY(make_ref<FdDirectory>(file_system, node, subject, true)));
}

// --- Small texts.

template <const char* text>
Result<void> show_constant(TextBuffer& out, const Subject&) {
  out.add(text);
  return {};
}
constexpr char kCgroup[] = "0::/\n";
constexpr char kZeroLine[] = "0\n";
constexpr char kCpuset[] = "/\n";
constexpr char kCoredumpFilter[] = "00000033\n";  // Linux's default; there are no core files
constexpr char kZero[] = "0";
constexpr char kNothing[] = "";
constexpr char kLoginUid[] = "4294967295";
constexpr char kPersonality[] = "00000000\n";
constexpr char kIdMap[] = "         0          0 4294967295\n";
constexpr char kSetgroups[] = "allow\n";

// Kept for who reads them: there is no killer for want of memory here. proc(5): -1000 to 1000, once -17 to
// 15; less than nothing takes CAP_SYS_RESOURCE. Differs from Linux: who has it sets no new least value for
// others.
constexpr s64 kOomMost = 1000, kOldOomMost = 15, kOldOomNever = -17;

Result<s16> oom_score_adj_of(const Subject& subject) {
  Ref<Process> process = TRY(process_of(subject));
  LockGuard guard(process->lock);
  return process->oom_score_adj;
}
Result<void> show_oom_score_adj(TextBuffer& out, const Subject& subject) {
  out.dec(TRY(oom_score_adj_of(subject))).add('\n');
  return {};
}
Result<void> show_oom_adj(TextBuffer& out, const Subject& subject) {
  s16 value = TRY(oom_score_adj_of(subject));
  out.dec(value == kOomMost ? kOldOomMost : value * -kOldOomNever / kOomMost).add('\n');
  return {};
}

Result<s64> parse_signed(std::string_view text) {
  bool negative = !text.empty() && text[0] == '-';
  u64 value = TRY(parse_setting(text.substr(negative ? 1 : 0)));
  if (value > kOomMost) return Errno::INVAL;
  return negative ? -static_cast<s64>(value) : static_cast<s64>(value);
}
Result<void> set_oom_score_adj(const Subject& subject, s64 value) {
  Ref<Process> process = TRY(process_of(subject));
  bool may = current_task().credentials.has(abi::kCAP_SYS_RESOURCE);
  LockGuard guard(process->lock);
  if (value < 0 && !may) return Errno::ACCES;
  process->oom_score_adj = static_cast<s16>(value);
  return {};
}
Result<void> store_oom_score_adj(std::string_view text, const Subject& subject) {
  return set_oom_score_adj(subject, TRY(parse_signed(text)));
}
Result<void> store_oom_adj(std::string_view text, const Subject& subject) {
  s64 value = TRY(parse_signed(text));
  if (value < kOldOomNever || value > kOldOomMost) return Errno::INVAL;
  return set_oom_score_adj(subject, value == kOldOomMost ? kOomMost : value * kOomMost / -kOldOomNever);
}

Result<void> show_net_link(TextBuffer& out, const Subject&) {
  out.add("../net");
  return {};
}

// --- mem: a process's memory, at the file's offset.
class MemoryFile final : public fs::File {
 public:
  MemoryFile(const fs::Path& path, const Subject& subject, u32 flags)
      : File(flags), path_(path), subject_(subject) {}
  fs::Inode* inode() override { return &path_.inode(); }
  const fs::Path* path() override { return &path_; }
  bool seekable() const override { return true; }
  Result<u64> seek(s64 offset, int whence) override {
    // An address may be above what an offset can be.
    if (whence != abi::kSEEK_SET && whence != abi::kSEEK_CUR) return Errno::INVAL;
    position = (whence == abi::kSEEK_CUR ? position : 0) + static_cast<u64>(offset);
    return position;
  }
  Result<size_t> read(IoDest& to, u64 offset) override {
    Ref<Task> task = TRY(task_of(subject_));
    return by_pieces(to.remaining(), [&](std::byte* piece, size_t size, size_t done) -> Result<size_t> {
      size_t got = TRY(read_process_memory(*task, offset + done, {piece, size}));
      return to.put(piece, got);
    });
  }
  Result<size_t> write(IoSource& from, u64 offset) override {
    Ref<Task> task = TRY(task_of(subject_));
    return by_pieces(from.remaining(), [&](std::byte* piece, size_t size, size_t done) -> Result<size_t> {
      size_t taken = TRY(from.take(piece, size));
      return write_process_memory(*task, offset + done, {piece, taken});
    });
  }

 private:
  template <typename Move>
  Result<size_t> by_pieces(size_t total, Move move) {
    std::byte piece[1024];
    size_t done = 0;
    while (done < total) {
      auto moved = move(piece, std::min(total - done, sizeof piece), done);
      if (!moved.ok() && done == 0) return Errno::IO;
      if (!moved.ok() || moved.value() == 0) break;
      done += moved.value();
    }
    return done;
  }

  fs::Path path_;
  const Subject subject_;
};

class MemoryInode final : public PseudoInode {
 public:
  using PseudoInode::PseudoInode;
  Result<Ref<fs::File>> open(const fs::Path& path, u32 flags) override {
    return Ref<fs::File>(TRY(make_ref<MemoryFile>(path, subject_, flags)));
  }
};

Result<Ref<fs::Inode>> make_memory(fs::FileSystem& file_system, const Node& node, const Subject& subject) {
  return Ref<fs::Inode>(TRY(make_ref<MemoryInode>(file_system, node, subject)));
}

// The entries of a task, and of a process: those, and `task`.
#define TASK_NODES                                                                                       \
  {"auxv", kSecretFile, &show_auxv}, {"cgroup", kFile, &show_constant<kCgroup>},                         \
      {"cmdline", kFile, &show_cmdline}, {"comm", kWritable, &show_comm, nullptr, nullptr, &store_comm}, \
      {"coredump_filter", kFile, &show_constant<kCoredumpFilter>},                                       \
      {"cpuset", kFile, &show_constant<kCpuset>},                                                        \
      {"cwd", kLink, &show_cwd, nullptr, nullptr, nullptr, &follow_cwd},                                 \
      {"environ", kSecretFile, &show_environ},                                                           \
      {"exe", kLink, &show_exe, nullptr, nullptr, nullptr, &follow_exe},                                 \
      {"fd", kSecretDirectory, nullptr, nullptr, &make_fd_directory},                                    \
      {"fdinfo", kSecretDirectory, nullptr, nullptr, &make_fdinfo_directory},                            \
      {"gid_map", kFile, &show_constant<kIdMap>}, {"io", kSecretFile, &show_io},                         \
      {"limits", kFile, &show_limits}, {"loginuid", kFile, &show_constant<kLoginUid>},                   \
      {"maps", kFile, &show_maps}, {"mem", abi::kS_IFREG | 0600, nullptr, nullptr, &make_memory},        \
      {"mountinfo", kFile, &show_mountinfo}, {"mounts", kFile, &show_mounts},                            \
      {"net", kLink, &show_net_link},                                                                    \
      {"oom_adj", kWritable, &show_oom_adj, nullptr, nullptr, &store_oom_adj},                           \
      {"oom_score", kFile, &show_constant<kZeroLine>},                                                   \
      {"oom_score_adj", kWritable, &show_oom_score_adj, nullptr, nullptr, &store_oom_score_adj},         \
      {"personality", kSecretFile, &show_constant<kPersonality>},                                        \
      {"projid_map", kFile, &show_constant<kNothing>},                                                   \
      {"root", kLink, &show_root, nullptr, nullptr, nullptr, &follow_root},                              \
      {"schedstat", kFile, &show_schedstat}, {"sessionid", kFile, &show_constant<kLoginUid>},            \
      {"setgroups", kFile, &show_constant<kSetgroups>}, {"smaps", kFile, &show_smaps},                   \
      {"smaps_rollup", kFile, &show_smaps_rollup}, {"stat", kFile, &show_stat},                          \
      {"statm", kFile, &show_statm}, {"status", kFile, &show_status},                                    \
      {"uid_map", kFile, &show_constant<kIdMap>}, {                                                      \
    "wchan", kFile, &show_constant<kZero>                                                                \
  }

constexpr Node kTaskNodes[] = {TASK_NODES, {nullptr, 0}};
constexpr Node kProcessNodes[] = {
    TASK_NODES, {"task", kDirectory, nullptr, nullptr, &make_task_directory}, {nullptr, 0}};
#undef TASK_NODES

constexpr Node kTaskNode = {"", kDirectory, nullptr, kTaskNodes};
constexpr Node kProcessNode = {"", kDirectory, nullptr, kProcessNodes};

// --- /proc/PID/task.
class TaskDirectory final : public PseudoInode {
 public:
  using PseudoInode::PseudoInode;

  Result<Ref<fs::Inode>> lookup(std::string_view name) override {
    u64 tid;
    if (!parse_number(name, &tid) || tid >= kPidMax) return Errno::NOENT;
    Ref<Task> task = processes().find_task(static_cast<s32>(tid));
    if (!task || task->pid() != subject_.pid) return Errno::NOENT;
    return make_node_inode(file_system(), kTaskNode, {subject_.pid, task->tid});
  }

  Result<void> read_directory(fs::DirSink& sink, u64& position) override {
    Ref<Process> process = TRY(process_of(subject_));
    s32 after = position <= 2 ? 0 : static_cast<s32>(position - 2);
    for (;;) {
      Ref<Task> task = processes().next_task(*process, after);
      if (!task) return {};
      after = task->tid;
      char storage[16];
      TextBuffer name(storage);
      name.dec(after);
      u64 next = static_cast<u64>(after) + 2;
      if (!sink.add(name.text(), ino + next, abi::kS_IFDIR >> 12, next)) return {};
      position = next;
    }
  }
};

}  // namespace

Result<Ref<fs::Inode>> make_fd_directory(fs::FileSystem& file_system, const Node& node,
                                         const Subject& subject) {
  return Ref<fs::Inode>(TRY(make_ref<FdDirectory>(file_system, node, subject, false)));
}

Result<Ref<fs::Inode>> make_task_directory(fs::FileSystem& file_system, const Node& node,
                                           const Subject& subject) {
  return Ref<fs::Inode>(TRY(make_ref<TaskDirectory>(file_system, node, subject)));
}

Result<Ref<fs::Inode>> make_process_directory(fs::FileSystem& file_system, s32 pid) {
  s32 id = pid;
  if (!processes().find_process(pid)) {
    // A thread's id leads to its process, though no listing shows it.
    Ref<Task> task = processes().find_task(pid);
    if (!task) return Errno::NOENT;
    id = task->pid();
  }
  return make_node_inode(file_system, kProcessNode, {id, 0});
}

Result<Ref<Process>> process_of_directory(fs::File& file) {
  fs::Inode* inode = file.inode();
  if (inode == nullptr || inode->file_system().magic() != abi::kPROC_SUPER_MAGIC) return Errno::BADF;
  auto& entry = static_cast<PseudoInode&>(*inode);  // all of proc's are
  if (&entry.node() != &kProcessNode || entry.subject().tid != 0) return Errno::BADF;
  return process_of(entry.subject());
}

}  // namespace teacup::pseudo
