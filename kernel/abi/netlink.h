// Netlink and interfaces (linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if.h).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr int kNETLINK_ROUTE = 0, kNETLINK_SOCK_DIAG = 4, kNETLINK_KOBJECT_UEVENT = 15,
                     kSOL_NETLINK = 270;
inline constexpr u16 kNLM_F_MULTI = 2, kNLM_F_ACK = 4, kNLM_F_DUMP = 0x300;
inline constexpr u16 kNLMSG_ERROR = 2, kNLMSG_DONE = 3;
inline constexpr u16 kRTM_NEWLINK = 16, kRTM_GETLINK = 18, kRTM_NEWADDR = 20, kRTM_GETADDR = 22;
inline constexpr u16 kRTM_NEWROUTE = 24, kRTM_GETROUTE = 26;
inline constexpr u16 kRTM_NEWRULE = 32, kRTM_GETRULE = 34;
inline constexpr u16 kIFLA_ADDRESS = 1, kIFLA_BROADCAST = 2, kIFLA_IFNAME = 3, kIFLA_MTU = 4, kIFLA_QDISC = 6;
inline constexpr u16 kIFLA_TXQLEN = 13, kIFLA_OPERSTATE = 16, kIFLA_LINKMODE = 17, kIFLA_STATS64 = 23;
inline constexpr u16 kIFLA_GROUP = 27, kIFLA_PROMISCUITY = 30, kIFLA_NUM_TX_QUEUES = 31;
inline constexpr u16 kIFLA_NUM_RX_QUEUES = 32, kIFLA_ALT_IFNAME = 53;
inline constexpr u16 kIFA_ADDRESS = 1, kIFA_LOCAL = 2, kIFA_LABEL = 3, kIFA_BROADCAST = 4;
inline constexpr u16 kIFA_CACHEINFO = 6, kIFA_FLAGS = 8;
inline constexpr u16 kRTA_DST = 1, kRTA_OIF = 4, kRTA_GATEWAY = 5, kRTA_PREFSRC = 7, kRTA_TABLE = 15;
inline constexpr u16 kRTA_PRIORITY = 6, kRTA_PREF = 20, kRTA_CACHEINFO = 12, kRTA_UID = 25;
inline constexpr u16 kFRA_PRIORITY = 6, kFRA_SUPPRESS_PREFIXLEN = 14, kFRA_TABLE = 15, kFRA_PROTOCOL = 21;
inline constexpr u8 kRT_TABLE_DEFAULT = 253, kRT_TABLE_MAIN = 254, kRT_TABLE_LOCAL = 255;

// linux/sock_diag.h, linux/inet_diag.h, linux/unix_diag.h
inline constexpr u16 kTCPDIAG_GETSOCK = 18, kDCCPDIAG_GETSOCK = 19, kSOCK_DIAG_BY_FAMILY = 20;
inline constexpr u16 kINET_DIAG_MEMINFO = 1, kINET_DIAG_INFO = 2, kINET_DIAG_CONG = 4, kINET_DIAG_TOS = 5;
inline constexpr u16 kINET_DIAG_TCLASS = 6, kINET_DIAG_SKMEMINFO = 7, kINET_DIAG_SHUTDOWN = 8;
inline constexpr u16 kINET_DIAG_PROTOCOL = 10, kINET_DIAG_SKV6ONLY = 11, kINET_DIAG_REQ_PROTOCOL = 3;
inline constexpr u16 kUNIX_DIAG_NAME = 0, kUNIX_DIAG_PEER = 2, kUNIX_DIAG_RQLEN = 4;
inline constexpr u16 kUNIX_DIAG_MEMINFO = 5, kUNIX_DIAG_SHUTDOWN = 6;
inline constexpr u32 kUDIAG_SHOW_NAME = 1, kUDIAG_SHOW_PEER = 4, kUDIAG_SHOW_RQLEN = 16,
                     kUDIAG_SHOW_MEMINFO = 32;

struct SockAddrNl {
  u16 family;
  u16 pad_;
  u32 pid;
  u32 groups;
};
struct NlMsgHdr {
  u32 length;
  u16 type;
  u16 flags;
  u32 sequence;
  u32 pid;
};
struct NlMsgErr {
  s32 error;
  NlMsgHdr message;
};
struct RtAttr {
  u16 length;
  u16 type;
};
struct IfInfoMsg {
  u8 family;
  u8 pad_;
  u16 type;
  s32 index;
  u32 flags;
  u32 change;
};
struct IfAddrMsg {
  u8 family, prefix_length, flags, scope;
  u32 index;
};
struct RtMsg {
  u8 family, destination_length, source_length, tos;
  u8 table, protocol, scope, type;
  u32 flags;
};

struct InetDiagSockId {
  u8 source_port[2], destination_port[2];  // network order
  u8 source[16], destination[16];
  u32 interface;
  u32 cookie[2];
};
struct InetDiagReqV2 {
  u8 family, protocol, extensions, pad_;
  u32 states;
  InetDiagSockId id;
};
static_assert(sizeof(InetDiagReqV2) == 56);
struct InetDiagMsg {
  u8 family, state, timer, retransmits;
  InetDiagSockId id;
  u32 expires, receive_queue, send_queue, uid, inode;
};
static_assert(sizeof(InetDiagMsg) == 72);
struct UnixDiagReq {
  u8 family, protocol;
  u16 pad_;
  u32 states, inode, show, cookie[2];
};
static_assert(sizeof(UnixDiagReq) == 24);
struct UnixDiagMsg {
  u8 family, type, state, pad_;
  u32 inode, cookie[2];
};
static_assert(sizeof(UnixDiagMsg) == 16);

}  // namespace teacup::abi
