// The first half of execve(2): what can fail before anything is lost.
#include <algorithm>

#include "kernel/base/memory.h"
#include "kernel/mm/elf_layout.h"
#include "loader/arguments.h"
#include "loader/elf.h"

namespace teacup {

namespace {

constexpr int kMaxScripts = 5;            // #! lines followed, as Linux since 2.6.28
constexpr size_t kScriptLine = 256;       // BINPRM_BUF_SIZE
constexpr u64 kMinArguments = 128 * KiB;  // ARG_MAX: whatever the stack limit
constexpr u64 kMaxArguments = 6 * MiB;    // three quarters of the default stack

struct ScriptLine {
  char text[kScriptLine];
  std::string_view interpreter;
  std::string_view argument;  // empty: none
};

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// `size` bytes of the file's start are in line.text. False: not a script. ENOEXEC: no interpreter is named,
// or its name is cut off.
Result<bool> parse_script(ScriptLine& line, size_t size) {
  std::string_view text(line.text, size);
  if (!text.starts_with("#!")) return false;
  text.remove_prefix(2);
  size_t end = text.find('\n');
  bool is_whole = end != text.npos || size < kScriptLine;
  text = text.substr(0, end);
  text = text.substr(0, text.find('\0'));
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  if (text.empty()) return Errno::NOEXEC;
  size_t name_end = text.find_first_of(" \t");
  if (name_end == text.npos && !is_whole) return Errno::NOEXEC;
  line.interpreter = text.substr(0, name_end);
  line.argument = name_end == text.npos ? std::string_view() : text.substr(name_end);
  while (!line.argument.empty() && is_blank(line.argument.front())) line.argument.remove_prefix(1);
  return true;
}

// Up to `size` bytes; what the file has of them.
Result<size_t> read_start(fs::File& file, char* into, size_t size) {
  IoDest dest(std::span(reinterpret_cast<std::byte*>(into), size));
  while (dest.remaining() > 0) {
    if (TRY(file.read(dest, dest.done())) == 0) break;
  }
  return dest.done();
}

// Follows #! lines: `file` becomes the last interpreter, and `arguments` what it is called with.
Result<void> follow_scripts(Ref<fs::File>& file, std::string_view path, StringBlock& arguments,
                            ProgramOpener& opener) {
  // The path of the script at hand; each line's interpreter is the next one's.
  auto path_block = TRY(HeapArray<char>::create(kScriptLine));
  auto line_block = TRY(HeapArray<ScriptLine>::create(1));
  ScriptLine& line = line_block[0];
  for (int depth = 0;; depth++) {
    size_t size = TRY(read_start(*file, line.text, kScriptLine));
    if (!TRY(parse_script(line, size))) return {};
    if (depth == kMaxScripts) return Errno::LOOP;
    std::string_view strings[3] = {line.interpreter};
    size_t count = 1;
    if (!line.argument.empty()) strings[count++] = line.argument;
    strings[count++] = path;
    TRY(arguments.replace_first({strings, count}));
    memcpy(path_block.data(), line.interpreter.data(), line.interpreter.size());
    path = {path_block.data(), line.interpreter.size()};
    file = TRY(opener.open(path));
  }
}

// An interpreter that is no program is the program's fault: ELIBBAD.
Result<void> read_interpreter(ProgramRequest& request, std::string_view path, ProgramOpener& opener) {
  request.interpreter = TRY(opener.open(path));
  auto read = read_elf(*request.interpreter, request.interpreter_image, {});
  if (read.is(Errno::NOEXEC) || read.is(Errno::INVAL)) return Errno::LIBBAD;
  return read;
}

void set_name(ProgramRequest& request, std::string_view path) {
  if (size_t slash = path.rfind('/'); slash != path.npos) path.remove_prefix(slash + 1);
  path = path.substr(0, sizeof(request.name) - 1);
  std::copy(path.begin(), path.end(), request.name);
}

Result<void> join_strings(ProgramRequest& request, const StringBlock& arguments,
                          const StringBlock& environment, std::string_view path) {
  request.strings = TRY(HeapArray<char>::create(arguments.size() + environment.size() + path.size() + 1));
  char* at = request.strings.data();
  memcpy(at, arguments.data(), arguments.size());
  memcpy(at + arguments.size(), environment.data(), environment.size());
  char* name = at + arguments.size() + environment.size();
  memcpy(name, path.data(), path.size());
  request.strings_size = request.strings.size();
  request.arguments_size = arguments.size();
  request.argument_count = arguments.count();
  request.environment_size = environment.size();
  request.environment_count = environment.count();
  request.execfn = {name, path.size()};
  return {};
}

}  // namespace

Result<Ref<ProgramRequest>> prepare_program(const ProgramArguments& program, ProgramOpener& opener) {
  Ref<ProgramRequest> request = TRY(make_ref<ProgramRequest>());
  request->stack_limit = program.stack_limit;
  request->executable = program.file;
  set_name(*request, program.path);

  u64 limit = std::clamp(program.stack_limit / 4, kMinArguments, kMaxArguments);
  StringBlock environment(limit);
  TRY(environment.add_all(program.environment));
  u64 taken = environment.charged() + program.path.size();
  StringBlock arguments(limit > taken ? limit - taken : 0);
  TRY(arguments.add_all(program.arguments));
  if (arguments.count() == 0) TRY(arguments.add(""));  // as Linux since 5.18: argv[0] is always there
  TRY(follow_scripts(request->executable, program.path, arguments, opener));
  TRY(join_strings(*request, arguments, environment, program.path));

  auto path = TRY(HeapArray<char>::create(kMaxInterpreterPath));
  TRY(read_elf(*request->executable, request->image, {path.data(), path.size()}));
  if (path[0] != '\0') TRY(read_interpreter(*request, path.data(), opener));
  return request;
}

}  // namespace teacup
