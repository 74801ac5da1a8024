// Starting a program: execve(2)'s work in two halves.
//
// prepare_program() does all that may fail with an errno for the caller, before anything is lost: follows #!
// lines, reads and checks the ELF headers of the program and its interpreter, copies and counts arguments and
// environment. What it returns lives in the arena, so that another host process can take it.
// load_program() builds the new image in an empty address space of the host process that calls it; if that
// fails the process cannot go on and is killed (SIGKILL), as on Linux.
//
// Between the two the caller decides about credentials (set-user-ID of request->executable) and fills
// request->ids.
#pragma once

#include <array>
#include <string_view>

#include "fs/file.h"
#include "kernel/frame/heap.h"
#include "kernel/mm/address_space.h"

namespace teacup {

// Opens files for execution on behalf of the caller of execve: path walk with its credentials, root and
// working directory; execute permission and kind of file are checked (EACCES), and nobody writes to it
// (ETXTBSY).
class ProgramOpener {
 public:
  virtual Result<Ref<fs::File>> open(std::string_view path) = 0;

 protected:
  ~ProgramOpener() = default;
};

// Strings of argv or envp: in guest memory (a vector of pointers, ended by null), or the kernel's own.
class StringSource {
 public:
  StringSource() = default;  // none
  static StringSource guest(u64 vector) {
    StringSource source;
    source.vector_ = vector;
    return source;
  }
  static StringSource kernel(std::span<const std::string_view> strings) {
    StringSource source;
    source.strings_ = strings;
    return source;
  }

 private:
  friend class ArgumentCopier;
  u64 vector_ = 0;
  std::span<const std::string_view> strings_;
};

struct ProgramIds {
  u32 uid = 0, euid = 0, gid = 0, egid = 0;
  bool secure = false;  // AT_SECURE
};

// What the ELF headers of a file said, checked.
struct ElfImage {
  struct Segment {
    u64 address, file_offset, file_size, memory_size;  // as in the program header
    u32 prot;
  };
  static constexpr u32 kMaxSegments = 64;

  bool is_pie = false;
  u64 entry = 0;
  u64 headers_address = 0;  // of the program headers, unbiased; 0: not in any segment
  u16 header_size = 0;
  u16 header_count = 0;
  u64 low = 0, high = 0;  // page-aligned span of all segments, unbiased
  u64 align = 0;
  bool executable_stack = false;
  u32 segment_count = 0;
  std::array<Segment, kMaxSegments> segments;
};

struct ProgramRequest : RefCounted<ProgramRequest> {
  static void destroy(ProgramRequest* request) { teacup::destroy(request); }

  Ref<fs::File> executable;   // what /proc/PID/exe names: for a script, its interpreter
  Ref<fs::File> interpreter;  // PT_INTERP's; null: static
  ElfImage image;
  ElfImage interpreter_image;

  // NUL-ended strings one after another: first argument_count arguments, then environment_count of the
  // environment; after them the path for AT_EXECFN.
  HeapArray<char> strings;
  u64 strings_size = 0;
  u32 argument_count = 0;
  u32 environment_count = 0;
  u64 arguments_size = 0;    // bytes of the first group
  u64 environment_size = 0;  // of the second
  std::string_view execfn;   // in `strings`
  char name[16] = {};        // the task's new comm: the last component of the path that was executed

  u64 stack_limit = 8 * MiB;  // RLIMIT_STACK
  bool huge_pages = true;     // not PR_SET_THP_DISABLE
  ProgramIds ids;
  std::array<u8, 32> random{};  // 16 for AT_RANDOM, 16 for the placement of the image: by the caller

  // For /proc/PID/cmdline and environ.
  std::string_view arguments() const { return {strings.data(), arguments_size}; }
  std::string_view environment() const { return {strings.data() + arguments_size, environment_size}; }
};

struct ProgramArguments {
  Ref<fs::File> file;  // opened by ProgramOpener::open
  std::string_view
      path;  // as /dev/fd or the caller names it: AT_EXECFN, and what a script's interpreter gets
  StringSource arguments;
  StringSource environment;
  u64 stack_limit = 8 * MiB;
};

// Errors: E2BIG, ENOEXEC, ELIBBAD, ELOOP, EFAULT, ENOMEM, EINVAL, EIO, and those of opening the interpreter
// (execve(2)). No lock held.
Result<Ref<ProgramRequest>> prepare_program(const ProgramArguments& arguments, ProgramOpener& opener);

// Makes the vDSO's pages. Once, by the template. ENOMEM.
Result<void> loader_start();

struct LoadedProgram {
  u64 entry;
  u64 stack_pointer;
};

// `space` is empty, and that of the calling host process.
Result<LoadedProgram> load_program(mm::AddressSpace& space, ProgramRequest& request);

}  // namespace teacup
