// Pipes' and event files' flags; System V IPC and POSIX message queues (linux/eventfd.h, linux/splice.h,
// linux/signalfd.h, linux/inotify.h, linux/ipc.h, linux/shm.h, linux/sem.h, linux/msg.h, linux/mqueue.h).
#pragma once

#include "kernel/abi/time.h"
#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr u32 kEFD_SEMAPHORE = 1, kEFD_NONBLOCK = 04000, kEFD_CLOEXEC = 02000000;
inline constexpr u32 kSFD_NONBLOCK = 04000, kSFD_CLOEXEC = 02000000;
inline constexpr u32 kEPOLL_CLOEXEC = 02000000;
inline constexpr int kEPOLL_CTL_ADD = 1, kEPOLL_CTL_DEL = 2, kEPOLL_CTL_MOD = 3;
inline constexpr u32 kSPLICE_F_MOVE = 1, kSPLICE_F_NONBLOCK = 2, kSPLICE_F_MORE = 4, kSPLICE_F_GIFT = 8;
inline constexpr u32 kPIDFD_NONBLOCK = 04000;

struct SignalfdInfo {
  u32 signo;
  s32 error;
  s32 code;
  u32 pid;
  u32 uid;
  s32 fd;
  u32 timer_id;
  u32 band;
  u32 overrun;
  u32 trapno;
  s32 status;
  s32 int_value;
  u64 pointer;
  u64 utime;
  u64 stime;
  u64 address;
  u16 address_lsb;
  u16 pad2_;
  s32 syscall;
  u64 call_address;
  u32 arch;
  u8 pad_[28];
};
static_assert(sizeof(SignalfdInfo) == 128);

struct InotifyEvent {  // followed by `length` bytes of name
  s32 watch;
  u32 mask;
  u32 cookie;
  u32 length;
};

// --- System V IPC
inline constexpr int kIPC_PRIVATE = 0;
inline constexpr int kIPC_CREAT = 01000, kIPC_EXCL = 02000, kIPC_NOWAIT = 04000;
inline constexpr int kIPC_RMID = 0, kIPC_SET = 1, kIPC_STAT = 2, kIPC_INFO = 3;
inline constexpr int kSHM_RDONLY = 010000, kSHM_RND = 020000, kSHM_REMAP = 040000, kSHM_EXEC = 0100000;
inline constexpr int kSHM_LOCK = 11, kSHM_UNLOCK = 12, kSHM_STAT = 13, kSHM_INFO = 14, kSHM_STAT_ANY = 15;
inline constexpr int kSHM_DEST = 01000;
inline constexpr int kGETPID = 11, kGETVAL = 12, kGETALL = 13, kGETNCNT = 14, kGETZCNT = 15, kSETVAL = 16;
inline constexpr int kSETALL = 17, kSEM_STAT = 18, kSEM_INFO = 19, kSEM_STAT_ANY = 20;
inline constexpr int kSEM_UNDO = 0x1000;
inline constexpr int kMSG_NOERROR = 010000, kMSG_EXCEPT = 020000, kMSG_COPY = 040000;
inline constexpr int kMSG_STAT = 11, kMSG_INFO = 12, kMSG_STAT_ANY = 13;

struct IpcPerm {  // struct ipc64_perm
  s32 key;
  u32 uid, gid, cuid, cgid;
  u32 mode;
  u16 sequence;
  u16 pad0_;
  u32 pad1_;
  u64 unused_[2];
};
static_assert(sizeof(IpcPerm) == 48);

struct ShmidDs {  // struct shmid64_ds
  IpcPerm perm;
  u64 size;
  s64 atime, dtime, ctime;
  s32 cpid, lpid;
  u64 attaches;
  u64 unused_[2];
};
static_assert(sizeof(ShmidDs) == 112);

struct SemidDs {  // struct semid64_ds, x86
  IpcPerm perm;
  s64 otime;
  u64 unused1_;
  s64 ctime;
  u64 unused2_;
  u64 count;
  u64 unused_[2];
};
static_assert(sizeof(SemidDs) == 104);

struct MsqidDs {  // struct msqid64_ds
  IpcPerm perm;
  s64 stime, rtime, ctime;
  u64 bytes;
  u64 count;
  u64 limit;
  s32 lspid, lrpid;
  u64 unused_[2];
};
static_assert(sizeof(MsqidDs) == 120);

struct SemBuf {
  u16 number;
  s16 op;
  s16 flags;
};

struct MqAttr {
  s64 flags;
  s64 max_messages;
  s64 message_size;
  s64 messages;
  s64 reserved_[4];
};

}  // namespace teacup::abi
