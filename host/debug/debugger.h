// What the broker does for people with debuggers: serves the kernel's reports (kernel/abi/debug.h) by writing
// gdb scripts, perf's maps and crash reports. One thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "host/debug/program.h"

namespace teacup::host {

struct DebuggerOptions {
  std::optional<std::string> gdb_folder;  // "": a new one in /tmp, removed at the end
  bool perf_map = false;
  bool crash_report = false;
  u32 prepare_flags = 0;  // abi::PrepareFlags of the machine
};

class Debugger {
 public:
  // `say` prints a line for the user, `report` a crash report. Throws std::runtime_error where the folder
  // cannot be made.
  Debugger(DebuggerOptions options, ReadPieces read_pieces, std::function<void(const std::string&)> say,
           std::function<void(const std::string&)> report);

  // 0, or EINVAL for a report that contradicts itself.
  s64 serve(std::span<const std::byte> report);
  // Removes what nobody can use any more.
  void finish();

 private:
  void write_gdb_script(const Program& program);
  void write_perf_map(const Program& program);
  std::string file_copy(const ProgramFile& file);
  void complain(const std::string& what);

  DebuggerOptions options_;
  ProgramReader reader_;
  std::function<void(const std::string&)> say_, report_;
  std::string folder_;
  bool folder_is_ours_ = false;
  std::map<const ProgramFile*, std::string> copies_;
  std::set<std::string> announced_;
  bool complained_ = false;
};

}  // namespace teacup::host
