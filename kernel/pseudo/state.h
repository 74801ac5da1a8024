// The one object of kernel/pseudo in the arena (Root::kPseudo).
#pragma once

#include "fs/filesystem.h"
#include "kernel/base/arena_header.h"
#include "kernel/pseudo/host_stream.h"

namespace teacup::pseudo {

class Tty;
class Ptys;

struct PseudoState {
  HostStream streams[abi::kStreams] = {HostStream(0), HostStream(1), HostStream(2)};
  Tty* console = nullptr;  // counted; null: no stream is a terminal
  Ptys* ptys = nullptr;
  fs::FileSystem* mqueues = nullptr;  // counted
  u64 boot = gate::monotonic_now();   // when the machine started, ns
};

inline PseudoState& state() {
  return *root<PseudoState>(Root::kPseudo);
}

}  // namespace teacup::pseudo
