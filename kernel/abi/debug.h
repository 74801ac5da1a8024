// RingOp::kDebug: what a guest process looks like, for people with debuggers (--gdb, --perf-map,
// --crash-report).
//   a: arena offset of a DebugReport    b: size in bytes of what follows from there
// Sent when a process has begun a program, has mapped a library or was forked, and when it dies of a signal
// that Linux would dump core for. The answer is 0, given when the broker has copied what it wants.
#pragma once

#include "kernel/abi/prepare.h"
#include "kernel/abi/signal.h"
#include "kernel/base/types.h"

namespace teacup::abi {

// BootConfig::debug: which reports are wanted.
enum DebugFlags : u32 {
  kDebugMaps = 1,
  kDebugCrashes = 2,
  kDebugAnonymousText = 4,  // executable mappings are anonymous memory
};

enum class DebugReason : u32 { kMaps = 1, kCrash };

inline constexpr u32 kNoDebugFile = ~u32{0};

// A mapping as in /proc/PID/maps. Of kMaps only those of executable files' text.
struct DebugMapping {
  u64 start, end;
  u64 offset;       // in the file
  u64 object_base;  // where object offset 0 is (abi/prepared.h) if patched, else 0
  u32 file;         // index of a DebugFile, or kNoDebugFile
  u32 prot;         // PROT_*
  u32 name;         // in the strings: the file's path, "[stack]", …, or empty
  u32 is_trampolines;
  u32 is_shared;
  u32 pad_;
};

// A mapped file's content, as pieces in the order of the file. An executable that is mapped.
struct DebugFile {
  u64 key;   // differs for different files, and when one changes
  u64 size;  // bytes
  u32 name;  // in the strings: its path
  u32 first_piece, piece_count;
  u32 pad_;
};

struct DebugTable {
  u32 offset;  // from the report's start
  u32 count;
};

struct DebugReport {
  DebugReason reason;
  u32 host_pid;
  s32 pid, tid;
  char name[16];  // comm
  DebugTable mappings, files, pieces;
  DebugTable strings;  // of char, each NUL-terminated
  // kCrash only:
  DebugTable stack;   // of bytes, from the red zone below rsp on
  u64 stack_address;  // of the first of them
  SigInfo info;
  SigContext registers;  // as a handler would see them
};

}  // namespace teacup::abi
