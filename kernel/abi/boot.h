// The boot configuration: what `teacup run` tells the kernel. Built by the broker in the arena
// (config_offset) before the template starts; read by the kernel at boot, never changed. Offsets are arena
// offsets; strings are NUL-terminated.
#pragma once

#include "kernel/base/arena_header.h"
#include "kernel/base/types.h"

namespace teacup::abi {

enum class ImageKind : u32 {
  kErofs = 1,      // mapped, parsed by fs/
  kImporter,       // ext2/3/4, squashfs: through the importer, data mapped or read
  kHostDirectory,  // through the broker's host file service
};

struct BootString {
  u64 offset;
  u64 length;  // without the NUL
};
struct BootStrings {  // an array of BootString
  u64 offset;
  u64 count;
};

struct BootLayer {  // IMAGE and each --layer
  u32 kind;         // ImageKind
  u32 slot;         // of images[]; not of a host directory
  u32 number;       // by which the importer, or the broker's host file service, knows it
  u32 pad_;
};

enum class VolumeMode : u32 {
  kReadOnly = 0,
  kWritable,     // changes go through to the host
  kCopyOnWrite,  // changes stay in the machine
};

struct BootVolume {  // -v
  BootString guest_path;
  u32 host_root;  // number by which the broker's host file service knows it
  VolumeMode mode;
  u32 is_directory;
  u32 pad_;
};

struct BootTmpfs {  // --tmpfs
  BootString guest_path;
  BootString data;  // as mount(2)'s
  u32 flags;        // MS_* of mount(2)
  u32 pad_;
};

enum class StreamKind : u32 { kClosed = 0, kTerminal, kPipe, kFile, kCharDevice };
struct BootStream {
  StreamKind kind;
  u32 readable;
  u32 writable;
  u32 same_as;  // lowest stream number that is the same host description (2>&1), or its own
};

enum class InterceptMode : u32 { kRewrite = 0, kTrap };

enum class NetworkMode : u32 { kLoopback = 0, kNone };
// The machine's address besides lo's, unless it is kNone: every machine's is the same (docs/network.md).
inline constexpr u8 kOwnAddress[4] = {10, 116, 99, 2};
// Whether there is a gateway (abi/gateway.h), and what passes.
enum GatewayFlags : u32 { kGatewayIn = 1, kGatewayOut = 2 };

struct BootConfig {
  BootStrings arguments;    // argv; [0] is looked up in PATH if it has no slash
  BootStrings environment;  // -e K=V only; the kernel adds the defaults
  BootString working_directory;
  BootString user;  // -u as given, empty: 0:0; names are looked up in the image's passwd and group
  BootString hostname;
  BootStrings layers;   // of BootLayer, the lowest first; never empty
  BootStrings volumes;  // of BootVolume
  BootStrings tmpfs;    // of BootTmpfs
  BootStream streams[3];
  u16 window_rows, window_columns;
  u32 host_termios_valid;
  InterceptMode mode;
  u32 prepare_flags;  // abi::PrepareFlags: what is patched besides system calls
  u32 trace;          // 1: lines to the broker (RingOp::kMessage)
  u32 trace_files;    // 1: names of the image that are found, likewise (kFileMessage)
  u32 stats;
  u32 cpu_model;  // abi::CpuModel
  u32 debug;      // abi::DebugFlags: reports for debuggers (abi/debug.h)
  u32 upper;      // --upper: the root's memory layer is kept (abi/upper.h)
  u32 read_only;  // the root file system is, once it is set up
  NetworkMode network;
  BootString hosts;    // more lines of /etc/hosts
  u32 gateway;         // GatewayFlags; 0: nothing comes in or goes out
  u8 random_seed[32];  // for AT_RANDOM, /dev/urandom, getrandom
  u64 boot_realtime;   // ns, when the machine was started
};

inline const BootConfig& boot_config() {
  return arena_at<BootConfig>(arena().config_offset);
}

}  // namespace teacup::abi
