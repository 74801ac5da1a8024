// Requests to the broker's host file service: directories and files of the host's that the user gave to the
// machine (-v, a host directory as the image). RingOp::kHostFile; a: request offset, b: its size, c: response
// offset, d: its size, e: offset of a RingLanding, and then no answer, or 0; all in the arena.
//
// A request is a HostFileRequest, followed by name_length bytes of name and name2_length bytes of a second
// name or link target. The slot's result is -errno or the length of the response: an ImporterResponse
// (kernel/abi/importer.h) followed by what the operation says, in the importer's records, so that one reader
// serves both. Nothing in a response is to be trusted to be consistent with another: the host may change its
// files at any time.
//
// Nodes are numbers that the service gives to (root, device, inode) as it meets them; root n's node is n + 1.
// A name is one component: it has no '/', and is not "." or "..". No operation follows a symbolic link.
// Errors common to all: ESTALE (the node is no longer where it was), EINVAL (malformed), EROFS (a read-only
// root).
#pragma once

#include "kernel/abi/importer.h"
#include "kernel/base/types.h"

namespace teacup::abi {

enum class HostFileOp : u32 {
  // As the importer's of the same name. Attributes carry kOwnedByCaller; no extents.
  kReadDirectory = static_cast<u32>(ImporterOp::kReadDirectory),
  kLookup = static_cast<u32>(ImporterOp::kLookup),
  kNode = static_cast<u32>(ImporterOp::kInode),  // → one ImporterInode
  kRead = static_cast<u32>(ImporterOp::kRead),   // straight to data_offset, length bytes; result: bytes read
  kReadLink = static_cast<u32>(ImporterOp::kReadLink),
  // Writable roots only.
  // kWrite, kTruncate, kSetMode and kSetTimes also give the attributes as they are afterwards, in the
  // response: one
  // ImporterInode behind the head, whose count is 1 if it is there. (The result is the operation's own.)
  kWrite = 16,  // length bytes from data_offset, at cursor; result: bytes written
  kTruncate,    // to length
  kAllocate,    // fallocate(2): mode, cursor, length
  kCreate,      // name in node, mode (regular file, directory, FIFO) → one ImporterEntry
  kSymlink,     // name in node, name2: target → one ImporterEntry
  kLink,        // node2 as name in node
  kUnlink,      // name in node, which is node2
  kRemoveDirectory,
  kRename,    // name in node, which becomes name2 in node2; flags: RENAME_*
  kSetMode,   // mode
  kSetTimes,  // times; flags: 1 atime, 2 mtime
  kSync,
  kForget,  // the kernel knows the node no longer. No answer.
  kStatfs,  // → count bytes: abi::Statfs
};

inline constexpr u32 kOwnedByCaller =
    1u << 16;  // ImporterInode.flags: the file is the user's who started it all

struct HostFileRequest {
  HostFileOp op;
  u32 flags;
  u64 node;
  u64 node2;
  u64 cursor;
  u64 length;
  u64 data_offset;  // arena
  u32 mode;
  u32 name_length;
  u32 name2_length;
  u32 reserved;
  ImporterTime times[2];  // atime, mtime
};
static_assert(sizeof(HostFileRequest) == 96);

}  // namespace teacup::abi
