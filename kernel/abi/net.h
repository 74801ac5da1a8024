// Sockets (linux/socket.h, asm-generic/socket.h, linux/un.h, linux/in.h, linux/in6.h, linux/tcp.h,
// linux/udp.h).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr int kAF_UNSPEC = 0, kAF_UNIX = 1, kAF_INET = 2, kAF_INET6 = 10, kAF_NETLINK = 16;
inline constexpr int kAF_MAX = 46;
inline constexpr int kSOCK_STREAM = 1, kSOCK_DGRAM = 2, kSOCK_RAW = 3, kSOCK_SEQPACKET = 5, kSOCK_MAX = 11;
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
inline constexpr int kSO_NO_CHECK = 11, kSO_BSDCOMPAT = 14, kSO_BINDTODEVICE = 25, kSO_ATTACH_FILTER = 26;
inline constexpr int kSO_BINDTOIFINDEX = 62;
inline constexpr int kSO_DETACH_FILTER = 27, kSO_TIMESTAMPNS = 35, kSO_MARK = 36, kSO_TIMESTAMPING = 37;
inline constexpr int kSO_RXQ_OVFL = 40, kSO_NOFCS = 43, kSO_LOCK_FILTER = 44, kSO_BUSY_POLL = 46;
inline constexpr int kSO_MAX_PACING_RATE = 47, kSO_INCOMING_CPU = 49, kSO_MEMINFO = 55, kSO_COOKIE = 57;
inline constexpr int kSO_ZEROCOPY = 60, kSO_RCVTIMEO_NEW = 66, kSO_SNDTIMEO_NEW = 67;
inline constexpr int kSO_TIMESTAMP_NEW = 63, kSO_TIMESTAMPNS_NEW = 64;

inline constexpr int kIPPROTO_IP = 0, kIPPROTO_ICMP = 1, kIPPROTO_TCP = 6, kIPPROTO_UDP = 17;
inline constexpr int kIPPROTO_IPV6 = 41, kIPPROTO_ICMPV6 = 58, kIPPROTO_UDPLITE = 136, kIPPROTO_RAW = 255;

inline constexpr int kIP_TOS = 1, kIP_TTL = 2, kIP_HDRINCL = 3, kIP_OPTIONS = 4, kIP_RECVOPTS = 6;
inline constexpr int kIP_RETOPTS = 7, kIP_PKTINFO = 8, kIP_MTU_DISCOVER = 10, kIP_RECVERR = 11;
inline constexpr int kIP_RECVTTL = 12, kIP_RECVTOS = 13, kIP_MTU = 14, kIP_FREEBIND = 15;
inline constexpr int kIP_TRANSPARENT = 19, kIP_RECVORIGDSTADDR = 20, kIP_MINTTL = 21, kIP_NODEFRAG = 22;
inline constexpr int kIP_BIND_ADDRESS_NO_PORT = 24, kIP_RECVFRAGSIZE = 25, kIP_MULTICAST_IF = 32;
inline constexpr int kIP_MULTICAST_TTL = 33, kIP_MULTICAST_LOOP = 34, kIP_ADD_MEMBERSHIP = 35;
inline constexpr int kIP_DROP_MEMBERSHIP = 36, kIP_MULTICAST_ALL = 49, kIP_UNICAST_IF = 50;
inline constexpr int kMCAST_JOIN_GROUP = 42, kMCAST_LEAVE_GROUP = 45;

inline constexpr int kIPV6_2292PKTINFO = 2, kIPV6_CHECKSUM = 7, kIPV6_UNICAST_HOPS = 16;
inline constexpr int kIPV6_MULTICAST_IF = 17, kIPV6_MULTICAST_HOPS = 18, kIPV6_MULTICAST_LOOP = 19;
inline constexpr int kIPV6_ADD_MEMBERSHIP = 20, kIPV6_DROP_MEMBERSHIP = 21, kIPV6_MTU_DISCOVER = 23;
inline constexpr int kIPV6_MTU = 24, kIPV6_RECVERR = 25, kIPV6_V6ONLY = 26, kIPV6_MULTICAST_ALL = 29;
inline constexpr int kIPV6_AUTOFLOWLABEL = 70, kIPV6_ADDR_PREFERENCES = 72, kIPV6_MINHOPCOUNT = 73;
inline constexpr int kIPV6_RECVPKTINFO = 49, kIPV6_PKTINFO = 50, kIPV6_RECVHOPLIMIT = 51, kIPV6_HOPLIMIT = 52;
inline constexpr int kIPV6_DONTFRAG = 62, kIPV6_RECVTCLASS = 66, kIPV6_TCLASS = 67, kIPV6_FREEBIND = 78;

inline constexpr int kTCP_NODELAY = 1, kTCP_MAXSEG = 2, kTCP_CORK = 3, kTCP_KEEPIDLE = 4, kTCP_KEEPINTVL = 5;
inline constexpr int kTCP_KEEPCNT = 6, kTCP_SYNCNT = 7, kTCP_LINGER2 = 8, kTCP_DEFER_ACCEPT = 9;
inline constexpr int kTCP_WINDOW_CLAMP = 10, kTCP_INFO = 11, kTCP_QUICKACK = 12, kTCP_CONGESTION = 13;
inline constexpr int kTCP_THIN_LINEAR_TIMEOUTS = 16, kTCP_THIN_DUPACK = 17, kTCP_USER_TIMEOUT = 18;
inline constexpr int kTCP_FASTOPEN = 23, kTCP_TIMESTAMP = 24, kTCP_NOTSENT_LOWAT = 25;
inline constexpr int kTCP_FASTOPEN_CONNECT = 30, kTCP_INQ = 36, kTCP_TX_DELAY = 37;
inline constexpr int kSOL_RAW = 255, kICMP_FILTER = 1, kICMPV6_FILTER = 1;
inline constexpr int kUDP_CORK = 1, kUDP_SEGMENT = 103, kUDP_GRO = 104;
inline constexpr int kUDPLITE_SEND_CSCOV = 10, kUDPLITE_RECV_CSCOV = 11;

// tcp_info's and /proc/net/tcp's states (net/tcp_states.h).
inline constexpr u8 kTCP_ESTABLISHED = 1, kTCP_SYN_SENT = 2, kTCP_SYN_RECV = 3, kTCP_FIN_WAIT1 = 4;
inline constexpr u8 kTCP_FIN_WAIT2 = 5, kTCP_TIME_WAIT = 6, kTCP_CLOSE = 7, kTCP_CLOSE_WAIT = 8;
inline constexpr u8 kTCP_LAST_ACK = 9, kTCP_LISTEN = 10, kTCP_CLOSING = 11;

inline constexpr u32 kSIOCATMARK = 0x8905;
inline constexpr u32 kFIOSETOWN = 0x8901, kSIOCSPGRP = 0x8902, kFIOGETOWN = 0x8903, kSIOCGPGRP = 0x8904;
inline constexpr u32 kSIOCGIFNAME = 0x8910, kSIOCGIFCONF = 0x8912, kSIOCGIFFLAGS = 0x8913;
inline constexpr u32 kSIOCGIFADDR = 0x8915, kSIOCGIFDSTADDR = 0x8917, kSIOCGIFBRDADDR = 0x8919;
inline constexpr u32 kSIOCGIFNETMASK = 0x891b, kSIOCGIFMETRIC = 0x891d, kSIOCGIFMTU = 0x8921;
inline constexpr u32 kSIOCGIFHWADDR = 0x8927, kSIOCGIFINDEX = 0x8933, kSIOCGIFTXQLEN = 0x8942;
inline constexpr u32 kSIOCETHTOOL = 0x8946, kSIOCGIFMAP = 0x8970;
inline constexpr u32 kIFF_UP = 1, kIFF_BROADCAST = 2, kIFF_LOOPBACK = 8, kIFF_RUNNING = 0x40;
inline constexpr u32 kIFF_MULTICAST = 0x1000, kIFF_LOWER_UP = 0x10000;
inline constexpr u16 kARPHRD_ETHER = 1, kARPHRD_LOOPBACK = 772;

inline constexpr int kSCM_RIGHTS = 1, kSCM_CREDENTIALS = 2;
inline constexpr u32 kSCM_MAX_FD = 253;
inline constexpr int kSOMAXCONN = 4096;

inline constexpr u32 kMSG_OOB = 1, kMSG_PEEK = 2, kMSG_DONTROUTE = 4, kMSG_CTRUNC = 8, kMSG_TRUNC = 0x20;
inline constexpr u32 kMSG_DONTWAIT = 0x40, kMSG_EOR = 0x80, kMSG_WAITALL = 0x100, kMSG_NOSIGNAL = 0x4000;
inline constexpr u32 kMSG_MORE = 0x8000, kMSG_WAITFORONE = 0x10000, kMSG_CMSG_CLOEXEC = 0x40000000;
inline constexpr u32 kMSG_CONFIRM = 0x800, kMSG_ERRQUEUE = 0x2000, kMSG_ZEROCOPY = 0x4000000;
inline constexpr u32 kMSG_FASTOPEN = 0x20000000;

// linux/errqueue.h, linux/icmp.h, linux/icmpv6.h
inline constexpr u8 kSO_EE_ORIGIN_ICMP = 2, kSO_EE_ORIGIN_ICMP6 = 3;
inline constexpr u8 kICMP_DEST_UNREACH = 3, kICMP_PORT_UNREACH = 3;
inline constexpr u8 kICMPV6_DEST_UNREACH = 1, kICMPV6_PORT_UNREACH = 4;
struct SockExtendedErr {
  u32 error;
  u8 origin, type, code, pad_;
  u32 info, data;
};
static_assert(sizeof(SockExtendedErr) == 16);

struct SockAddrIn {
  u16 family;
  u8 port[2];  // network order
  u8 address[4];
  u8 zero[8];
};
static_assert(sizeof(SockAddrIn) == 16);

struct SockAddrIn6 {
  u16 family;
  u8 port[2];
  u32 flow;
  u8 address[16];
  u32 scope;
};
static_assert(sizeof(SockAddrIn6) == 28);

struct InPktInfo {
  s32 interface;
  u8 local[4];
  u8 destination[4];
};
struct In6PktInfo {
  u8 address[16];
  s32 interface;
};

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
