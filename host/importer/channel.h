// What the broker and the importer's processes share: a SOCK_SEQPACKET pair for calls and replies, and this
// memory, inherited over fork, for what is too long for them.
#pragma once

#include <cstddef>

#include "kernel/abi/importer.h"

namespace teacup::importer {

struct Channel {
  alignas(4096) std::byte response[abi::kImporterMaxResponse];
};

// Asks for the text of Importer::problem(); not an operation the guest side may ask for.
inline constexpr auto kProblem = static_cast<abi::ImporterOp>(0x70726f62);

struct Call {
  u64 sequence;
  u64 capacity;  // of the response, at most kImporterMaxResponse
  abi::ImporterRequest request;
  char name[255];  // as many as request.name_length are sent
  char pad[1];
};

inline constexpr u64 kWorkerDied = 0;  // a reply's sequence, from the supervisor

struct Reply {
  u64 sequence;  // the call's
  s64 result;
};

}  // namespace teacup::importer
