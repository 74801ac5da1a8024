// /proc/PID/{maps,smaps,cmdline,environ,exe,cwd,root,mounts,mountinfo}: memory and names.
#include <algorithm>

#include "fs/vfs.h"
#include "kernel/abi/mm.h"
#include "kernel/base/memory.h"
#include "kernel/pseudo/proc_process.h"
#include "kernel/task/process_memory.h"
#include "kernel/task/processes.h"

namespace teacup::pseudo {

namespace {

constexpr size_t kNameColumn = 73;

fs::Path root_of_caller() {
  return current_task().fs->root();
}

// The path as the caller sees it.
Result<void> show_path(TextBuffer& out, const fs::Path& path) {
  char storage[4096 + 32];
  TextBuffer text(storage);
  TRY(fs::path_text(path, root_of_caller(), text));
  out.add(text.text());
  return {};
}

}  // namespace

void show_file_name(TextBuffer& out, fs::File& file) {
  const fs::Path* path = file.path();
  if (path != nullptr && *path && show_path(out, *path).ok()) return;
  file.describe(out);
}

// --- Memory.

namespace {

void show_mapping(TextBuffer& out, const mm::MappingInfo& mapping) {
  size_t start = out.length();
  out.hex(mapping.start, 8).add('-').hex(mapping.end, 8).add(' ');
  out.add((mapping.prot & abi::kPROT_READ) != 0 ? 'r' : '-');
  out.add((mapping.prot & abi::kPROT_WRITE) != 0 ? 'w' : '-');
  out.add((mapping.prot & abi::kPROT_EXEC) != 0 ? 'x' : '-');
  out.add(mapping.shared ? 's' : 'p').add(' ').hex(mapping.offset, 8).add(' ');
  abi::Stat stat{};
  if (mapping.file) (void)mapping.file->stat(stat);
  out.hex(fs::device_major(stat.dev), 2).add(':').hex(fs::device_minor(stat.dev), 2).add(' ').udec(stat.ino);
  if (mapping.name == nullptr && !mapping.file) {
    out.add(" \n");
    return;
  }
  out.add(' ');
  while (out.length() < start + kNameColumn && !out.full()) out.add(' ');
  if (mapping.name != nullptr) {
    out.add(mapping.name);
  } else {
    show_file_name(out, *mapping.file);
  }
  out.add('\n');
}

template <typename Visit>
Result<void> for_each_mapping(const Subject& subject, TextBuffer& out, Visit visit) {
  Ref<Task> task = TRY(task_of(subject));
  Ref<mm::AddressSpace> memory = memory_of(*task);
  if (!memory) return {};
  u64 address = 0;
  while (!out.full()) {
    auto mapping = memory->next_mapping(address);
    if (!mapping.ok()) break;
    visit(mapping.value());
    address = mapping.value().end;
  }
  return {};
}

}  // namespace

Result<void> show_maps(TextBuffer& out, const Subject& subject) {
  return for_each_mapping(subject, out, [&](const mm::MappingInfo& mapping) { show_mapping(out, mapping); });
}

namespace {

// What smaps says of a mapping, or of all together. Which pages are resident is the host's secret: all are
// shown as if.
struct Amounts {
  u64 size = 0, private_bytes = 0, anonymous = 0, locked = 0;

  explicit Amounts(const mm::MappingInfo& mapping) : size(mapping.end - mapping.start) {
    if (!mapping.shared) private_bytes = size;
    if (!mapping.file) anonymous = size;
    if (mapping.locked) locked = size;
  }
  Amounts() = default;
  void operator+=(const Amounts& other) {
    size += other.size;
    private_bytes += other.private_bytes;
    anonymous += other.anonymous;
    locked += other.locked;
  }
};

void show_kib(TextBuffer& out, std::string_view name, u64 bytes) {
  size_t start = out.length();
  out.add(name).add(':');
  while (out.length() < start + 16 && !out.full()) out.add(' ');
  out.udec(bytes / KiB, 8).add(" kB\n");
}

void show_amounts(TextBuffer& out, const Amounts& amounts) {
  show_kib(out, "Rss", amounts.size);
  show_kib(out, "Pss", amounts.size);
  show_kib(out, "Shared_Clean", 0);
  show_kib(out, "Shared_Dirty", amounts.size - amounts.private_bytes);
  show_kib(out, "Private_Clean", 0);
  show_kib(out, "Private_Dirty", amounts.private_bytes);
  show_kib(out, "Referenced", amounts.size);
  show_kib(out, "Anonymous", amounts.anonymous);
  show_kib(out, "Swap", 0);
  show_kib(out, "Locked", amounts.locked);
}

}  // namespace

Result<void> show_smaps(TextBuffer& out, const Subject& subject) {
  return for_each_mapping(subject, out, [&](const mm::MappingInfo& mapping) {
    show_mapping(out, mapping);
    show_kib(out, "Size", mapping.end - mapping.start);
    show_kib(out, "KernelPageSize", kPageSize);
    show_kib(out, "MMUPageSize", kPageSize);
    show_amounts(out, Amounts(mapping));
  });
}

Result<void> show_smaps_rollup(TextBuffer& out, const Subject& subject) {
  Amounts all;
  u64 start = ~u64{0}, end = 0;
  TRY(for_each_mapping(subject, out, [&](const mm::MappingInfo& mapping) {
    all += Amounts(mapping);
    start = std::min(start, mapping.start);
    end = mapping.end;
  }));
  if (end == 0) return {};
  out.hex(start, 8).add('-').hex(end, 8).add(" ---p 00000000 00:00 0 ");
  while (out.length() < kNameColumn && !out.full()) out.add(' ');
  out.add("[rollup]\n");
  show_amounts(out, all);
  return {};
}

namespace {

// What lies in [start, end) of a process's memory; false if it cannot be read.
bool show_memory_of(TextBuffer& out, Task& task, u64 start, u64 end) {
  for (u64 at = start; at < end && !out.full();) {
    std::byte piece[512];
    size_t size = std::min<u64>(sizeof piece, end - at);
    auto read = read_process_memory(task, at, {piece, size});
    if (!read.ok() || read.value() < size) return false;
    out.add({reinterpret_cast<const char*>(piece), size});
    at += size;
  }
  return true;
}

// A program that overwrote the end of its arguments has written a title, which may go on where the
// environment was: it is as long as its text, and a page at most (Linux's fs/proc/base.c). False: there is
// none.
bool show_title(TextBuffer& out, Task& task, const mm::ProgramLayout& layout) {
  std::byte last{};
  auto read = read_process_memory(task, layout.arguments_end - 1, {&last, 1});
  if (!read.ok() || read.value() != 1 || last == std::byte{0}) return false;
  u64 end = layout.environment_start == layout.arguments_end ? layout.environment_end : layout.arguments_end;
  end = std::min(end, layout.arguments_start + kPageSize);
  for (u64 at = layout.arguments_start; at < end;) {
    std::byte piece[512];
    size_t size = std::min<u64>(sizeof piece, end - at);
    auto more = read_process_memory(task, at, {piece, size});
    if (!more.ok() || more.value() < size) return false;
    std::string_view text(reinterpret_cast<const char*>(piece), size);
    size_t length = text.find('\0');
    out.add(text.substr(0, length == std::string_view::npos ? size : length + 1));
    if (length != std::string_view::npos) break;
    at += size;
  }
  return true;
}

}  // namespace

// What the process's memory says (programs overwrite their title there); as it was started where that cannot
// be read.
Result<void> show_cmdline(TextBuffer& out, const Subject& subject) {
  Ref<Process> process = TRY(process_of(subject));
  if (process->zombie) return {};
  auto task = task_of(subject);
  if (task.ok()) {
    Ref<mm::AddressSpace> memory = memory_of(*task.value());
    mm::ProgramLayout layout = memory ? memory->layout() : mm::ProgramLayout{};
    if (layout.arguments_end > layout.arguments_start) {
      if (show_title(out, *task.value(), layout)) return {};
      out.clear();
      if (show_memory_of(out, *task.value(), layout.arguments_start, layout.arguments_end)) return {};
    }
    out.clear();
  }
  if (Ref<ProgramRequest> program = program_of(*process); program) out.add(program->arguments());
  return {};
}

// Where the loader put it. A zombie has none.
Result<void> show_auxv(TextBuffer& out, const Subject& subject) {
  Ref<Task> task = TRY(task_of(subject));
  Ref<mm::AddressSpace> memory = memory_of(*task);
  if (!memory) return {};
  mm::ProgramLayout layout = memory->layout();
  if (!show_memory_of(out, *task, layout.auxv_start, layout.auxv_end)) out.clear();
  return {};
}

Result<void> show_environ(TextBuffer& out, const Subject& subject) {
  Ref<Process> process = TRY(process_of(subject));
  if (process->zombie) return {};
  if (Ref<ProgramRequest> program = program_of(*process); program) out.add(program->environment());
  return {};
}

// --- Links.

Result<fs::Path> follow_exe(const Subject& subject) {
  Ref<Process> process = TRY(process_of(subject));
  Ref<ProgramRequest> program = program_of(*process);
  if (!program || process->zombie) return Errno::NOENT;
  return fs::path_of(*program->executable);
}
Result<void> show_exe(TextBuffer& out, const Subject& subject) {
  return show_path(out, TRY(follow_exe(subject)));
}

Result<fs::Path> follow_cwd(const Subject& subject) {
  Ref<Task> task = TRY(task_of(subject));
  Ref<fs::FsContext> context = fs_of(*task);
  if (!context) return Errno::NOENT;
  return context->working_directory();
}
Result<void> show_cwd(TextBuffer& out, const Subject& subject) {
  return show_path(out, TRY(follow_cwd(subject)));
}

Result<fs::Path> follow_root(const Subject& subject) {
  Ref<Task> task = TRY(task_of(subject));
  Ref<fs::FsContext> context = fs_of(*task);
  if (!context) return Errno::NOENT;
  return context->root();
}
Result<void> show_root(TextBuffer& out, const Subject& subject) {
  return show_path(out, TRY(follow_root(subject)));
}

// --- Mounts.

namespace {

// Spaces and the like as octal escapes (fstab(5)).
void show_escaped(TextBuffer& out, std::string_view text) {
  for (char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\') {
      out.add('\\').oct(static_cast<u8>(c), 3);
    } else {
      out.add(c);
    }
  }
}

struct MountWriter {
  TextBuffer& out;
  fs::Path root;
};

bool show_mountpoint(MountWriter& writer, fs::Mount& mount) {
  char storage[4096 + 32];
  TextBuffer text(storage);
  fs::Path path(Ref<fs::Mount>::share(&mount), Ref<fs::Dentry>::share(&mount.root()));
  if (!fs::path_text(path, writer.root, text).ok()) return false;
  if (text.text().starts_with("(unreachable)")) return false;
  show_escaped(writer.out, text.text());
  return true;
}

void show_flags(TextBuffer& out, fs::Mount& mount) {
  u32 flags = mount.flags.load(std::memory_order_relaxed);
  out.add((flags & fs::kMountReadOnly) != 0 ? "ro" : "rw");
  if ((flags & fs::kMountNoSuid) != 0) out.add(",nosuid");
  if ((flags & fs::kMountNoDev) != 0) out.add(",nodev");
  if ((flags & fs::kMountNoExec) != 0) out.add(",noexec");
  out.add((flags & fs::kMountNoAtime) != 0 ? ",noatime" : ",relatime");
}

void show_mount_line(void* context, fs::Mount& mount) {
  auto& writer = *static_cast<MountWriter*>(context);
  size_t before = writer.out.length();
  show_escaped(writer.out, mount.file_system().source);
  writer.out.add(' ');
  if (!show_mountpoint(writer, mount)) {
    writer.out.cut(before);
    return;
  }
  writer.out.add(' ').add(mount.file_system().type()).add(' ');
  show_flags(writer.out, mount);
  writer.out.add(" 0 0\n");
}

void show_mountinfo_line(void* context, fs::Mount& mount) {
  auto& writer = *static_cast<MountWriter*>(context);
  TextBuffer& out = writer.out;
  size_t before = out.length();
  u64 device = mount.file_system().device();
  u32 parent = mount.parent() != nullptr ? mount.parent()->id() : mount.id();
  out.udec(mount.id()).add(' ').udec(parent).add(' ');
  out.udec(fs::device_major(device)).add(':').udec(fs::device_minor(device)).add(" / ");
  if (!show_mountpoint(writer, mount)) {
    out.cut(before);
    return;
  }
  out.add(' ');
  show_flags(out, mount);
  out.add(" - ").add(mount.file_system().type()).add(' ');
  show_escaped(out, mount.file_system().source);
  out.add(mount.read_only() ? " ro\n" : " rw\n");
}

Result<void> show_all_mounts(TextBuffer& out, const Subject& subject,
                             void (*line)(void* context, fs::Mount& mount)) {
  MountWriter writer{out, TRY(follow_root(subject))};
  fs::for_each_mount(line, &writer);
  return {};
}

}  // namespace

Result<void> show_mounts(TextBuffer& out, const Subject& subject) {
  return show_all_mounts(out, subject, &show_mount_line);
}
Result<void> show_mountinfo(TextBuffer& out, const Subject& subject) {
  return show_all_mounts(out, subject, &show_mountinfo_line);
}

}  // namespace teacup::pseudo
