// Sockets (linux/socket.h, asm-generic/socket.h, linux/un.h).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr int kAF_UNSPEC = 0, kAF_UNIX = 1, kAF_INET = 2, kAF_INET6 = 10, kAF_NETLINK = 16;
inline constexpr int kAF_MAX = 46;
inline constexpr int kSOCK_STREAM = 1, kSOCK_DGRAM = 2, kSOCK_RAW = 3, kSOCK_SEQPACKET = 5;
inline constexpr int kSOCK_TYPE_MASK = 0xf, kSOCK_NONBLOCK = 04000, kSOCK_CLOEXEC = 02000000;

inline constexpr int kSHUT_RD = 0, kSHUT_WR = 1, kSHUT_RDWR = 2;

inline constexpr int kSOL_SOCKET = 1;
inline constexpr int kSO_DEBUG = 1, kSO_REUSEADDR = 2, kSO_TYPE = 3, kSO_ERROR = 4, kSO_DONTROUTE = 5;
inline constexpr int kSO_BROADCAST = 6, kSO_SNDBUF = 7, kSO_RCVBUF = 8, kSO_KEEPALIVE = 9, kSO_OOBINLINE = 10;
inline constexpr int kSO_PRIORITY = 12, kSO_LINGER = 13, kSO_REUSEPORT = 15, kSO_PASSCRED = 16;
inline constexpr int kSO_PEERCRED = 17, kSO_RCVLOWAT = 18, kSO_SNDLOWAT = 19, kSO_RCVTIMEO = 20;
inline constexpr int kSO_SNDTIMEO = 21, kSO_TIMESTAMP = 29, kSO_ACCEPTCONN = 30, kSO_PEERSEC = 31;
inline constexpr int kSO_SNDBUFFORCE = 32, kSO_RCVBUFFORCE = 33, kSO_PASSSEC = 34, kSO_PROTOCOL = 38;
inline constexpr int kSO_DOMAIN = 39, kSO_PEEK_OFF = 42, kSO_PEERGROUPS = 59;

inline constexpr int kSCM_RIGHTS = 1, kSCM_CREDENTIALS = 2;
inline constexpr u32 kSCM_MAX_FD = 253;
inline constexpr int kSOMAXCONN = 4096;

inline constexpr u32 kMSG_OOB = 1, kMSG_PEEK = 2, kMSG_DONTROUTE = 4, kMSG_CTRUNC = 8, kMSG_TRUNC = 0x20;
inline constexpr u32 kMSG_DONTWAIT = 0x40, kMSG_EOR = 0x80, kMSG_WAITALL = 0x100, kMSG_NOSIGNAL = 0x4000;
inline constexpr u32 kMSG_MORE = 0x8000, kMSG_WAITFORONE = 0x10000, kMSG_CMSG_CLOEXEC = 0x40000000;

struct SockAddrUnix {
  u16 family;
  char path[108];
};
static_assert(sizeof(SockAddrUnix) == 110);

struct MsgHdr {  // struct user_msghdr
  u64 name;
  s32 name_length;
  s32 pad0_;
  u64 iov;
  u64 iov_count;
  u64 control;
  u64 control_length;
  u32 flags;
  u32 pad1_;
};
static_assert(sizeof(MsgHdr) == 56);

struct MMsgHdr {
  MsgHdr header;
  u32 length;
  u32 pad_;
};

struct CMsgHdr {
  u64 length;
  s32 level;
  s32 type;
};

struct UCred {
  s32 pid;
  u32 uid;
  u32 gid;
};

struct Linger {
  s32 on;
  s32 seconds;
};

}  // namespace teacup::abi
