// What the teacup command says when it cannot do what was asked: one line on what was wrong, one on what to
// do.
#pragma once

#include <string>
#include <string_view>

namespace teacup::cli {

// Exit codes of `teacup run` besides the guest's own, the same as docker's. A guest ended by signal N gives
// 128+N.
inline constexpr int kExitTeacupFailed = 125;
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

struct CliError {
  std::string what;     // what was wrong, naming the argument at fault; no trailing period or newline
  std::string to_do{};  // what to do about it, as a sentence; may be empty
};

// Prints `error` on standard error, prefixed by "teacup COMMAND: " ("teacup: " for an empty `command`),
// coloured if standard error takes colour. Returns kExitTeacupFailed, so that callers can `return fail(...)`.
int fail(std::string_view command, const CliError& error);

}  // namespace teacup::cli
