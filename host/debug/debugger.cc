#include "host/debug/debugger.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "host/debug/crash_report.h"
#include "host/debug/gdb_script.h"
#include "host/debug/perf_map.h"

namespace teacup::host {

namespace {

// Whole or not at all, and never through a link that somebody has laid: another name first, then a rename.
bool write_file(const std::string& path, const void* data, std::size_t size) {
  std::string draft = path + ".XXXXXX";
  int fd = mkostemp(draft.data(), O_CLOEXEC);
  if (fd < 0) return false;
  const char* at = static_cast<const char*>(data);
  bool good = fchmod(fd, 0644) == 0;
  while (good && size > 0) {
    ssize_t count = write(fd, at, size);
    if (count < 0 && errno == EINTR) continue;
    good = count > 0;
    if (good) at += count, size -= static_cast<std::size_t>(count);
  }
  close(fd);
  if (good && rename(draft.c_str(), path.c_str()) == 0) return true;
  int error = errno;
  unlink(draft.c_str());
  errno = error;
  return false;
}

}  // namespace

Debugger::Debugger(DebuggerOptions options, ReadPieces read_pieces,
                   std::function<void(const std::string&)> say,
                   std::function<void(const std::string&)> report)
    : options_(std::move(options)),
      reader_(std::move(read_pieces)),
      say_(std::move(say)),
      report_(std::move(report)) {
  if (!options_.gdb_folder) return;
  folder_ = *options_.gdb_folder;
  if (folder_.empty()) {
    folder_ = "/tmp/teacup-gdb.XXXXXX";
    if (mkdtemp(folder_.data()) == nullptr) {
      throw std::runtime_error(std::string("cannot make a folder in /tmp for --gdb: ") +
                               std::strerror(errno));
    }
    folder_is_ours_ = true;
  } else {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error)
      throw std::runtime_error("cannot make the folder of --gdb, " + folder_ + ": " + error.message());
    folder_ = std::filesystem::absolute(folder_).lexically_normal().string();
  }
}

s64 Debugger::serve(std::span<const std::byte> report) {
  auto program = reader_.read(report);
  if (!program) return -EINVAL;
  if (program->head.reason == abi::DebugReason::kCrash) {
    if (options_.crash_report) report_(crash_report(*program));
    return 0;
  }
  if (options_.gdb_folder) write_gdb_script(*program);
  if (options_.perf_map) write_perf_map(*program);
  return 0;
}

void Debugger::finish() {
  std::error_code ignored;
  if (folder_is_ours_) std::filesystem::remove_all(folder_, ignored);
}

void Debugger::complain(const std::string& what) {
  if (!complained_) say_("teacup run: cannot write " + what + ": " + std::strerror(errno));
  complained_ = true;
}

// One for each file and version, beside the scripts.
std::string Debugger::file_copy(const ProgramFile& file) {
  auto [known, is_new] = copies_.try_emplace(&file);
  if (!is_new) return known->second;
  std::string name = std::filesystem::path(file.path()).filename().string();
  // gdb splits its commands at blanks.
  for (char& c : name) {
    if (std::strchr(" \t\n\"'\\", c) != nullptr) c = '_';
  }
  std::string path = folder_ + "/" + std::to_string(copies_.size()) + "-" + name;
  if (write_file(path, file.bytes().data(), file.bytes().size())) {
    known->second = path;
  } else {
    complain(path);
  }
  return known->second;
}

void Debugger::write_gdb_script(const Program& program) {
  std::string pid = std::to_string(program.head.host_pid);
  std::string path = folder_ + "/" + pid + ".gdb";
  std::string text = gdb_script(program, options_.prepare_flags,
                                [this](const ProgramFile& file) { return file_copy(file); });
  if (!write_file(path, text.data(), text.size())) return complain(path);
  std::string who = "process " + std::to_string(program.head.pid) + " (" + program.name + ")";
  if (announced_.insert(pid + who).second) say_("teacup: " + who + ": gdb -p " + pid + " -x " + path);
}

void Debugger::write_perf_map(const Program& program) {
  std::string path = "/tmp/perf-" + std::to_string(program.head.host_pid) + ".map";
  std::string text = perf_map(program, options_.prepare_flags);
  if (!write_file(path, text.data(), text.size())) complain(path);
}

}  // namespace teacup::host
