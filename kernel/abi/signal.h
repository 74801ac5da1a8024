// Signals: numbers, flags and the structures of sigaction(2), sigaltstack(2) and the x86-64 signal frame
// (asm/signal.h, asm-generic/siginfo.h, asm/sigcontext.h, asm/ucontext.h).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr int kSI_ASYNCNL = -60;
inline constexpr int kSI_DETHREAD = -7;
inline constexpr int kSI_TKILL = -6;
inline constexpr int kSI_SIGIO = -5;
inline constexpr int kSI_ASYNCIO = -4;
inline constexpr int kSI_MESGQ = -3;
inline constexpr int kSI_TIMER = -2;
inline constexpr int kSI_QUEUE = -1;
inline constexpr int kSIGEV_SIGNAL = 0;
inline constexpr int kSIG_BLOCK = 0;
inline constexpr int kSI_USER = 0;
inline constexpr int kBUS_ADRALN = 1;
inline constexpr int kCLD_EXITED = 1;
inline constexpr int kFPE_INTDIV = 1;
inline constexpr int kILL_ILLOPC = 1;
inline constexpr int kPOLL_IN = 1;
inline constexpr int kSA_NOCLDSTOP = 1;
inline constexpr int kSEGV_MAPERR = 1;
inline constexpr int kSIGEV_NONE = 1;
inline constexpr int kSIGHUP = 1;
inline constexpr int kSIG_UNBLOCK = 1;
inline constexpr int kSS_ONSTACK = 1;
inline constexpr int kTRAP_BRKPT = 1;
inline constexpr int kTRAP_PERF_FLAG_ASYNC = 1;
inline constexpr int kBUS_ADRERR = 2;
inline constexpr int kCLD_KILLED = 2;
inline constexpr int kFPE_INTOVF = 2;
inline constexpr int kILL_ILLOPN = 2;
inline constexpr int kPOLL_OUT = 2;
inline constexpr int kSA_NOCLDWAIT = 2;
inline constexpr int kSEGV_ACCERR = 2;
inline constexpr int kSIGEV_THREAD = 2;
inline constexpr int kSIGINT = 2;
inline constexpr int kSIG_SETMASK = 2;
inline constexpr int kSS_DISABLE = 2;
inline constexpr int kTRAP_TRACE = 2;
inline constexpr int kBUS_OBJERR = 3;
inline constexpr int kCLD_DUMPED = 3;
inline constexpr int kFPE_FLTDIV = 3;
inline constexpr int kILL_ILLADR = 3;
inline constexpr int kPOLL_MSG = 3;
inline constexpr int kSEGV_BNDERR = 3;
inline constexpr int kSIGQUIT = 3;
inline constexpr int kTRAP_BRANCH = 3;
inline constexpr int kBUS_MCEERR_AR = 4;
inline constexpr int kCLD_TRAPPED = 4;
inline constexpr int kFPE_FLTOVF = 4;
inline constexpr int kILL_ILLTRP = 4;
inline constexpr int kPOLL_ERR = 4;
inline constexpr int kSA_SIGINFO = 4;
inline constexpr int kSEGV_PKUERR = 4;
inline constexpr int kSIGEV_THREAD_ID = 4;
inline constexpr int kSIGILL = 4;
inline constexpr int kTRAP_HWBKPT = 4;
inline constexpr int kBUS_MCEERR_AO = 5;
inline constexpr int kCLD_STOPPED = 5;
inline constexpr int kFPE_FLTUND = 5;
inline constexpr int kILL_PRVOPC = 5;
inline constexpr int kPOLL_PRI = 5;
inline constexpr int kSEGV_ACCADI = 5;
inline constexpr int kSIGTRAP = 5;
inline constexpr int kTRAP_UNK = 5;
inline constexpr int kCLD_CONTINUED = 6;
inline constexpr int kFPE_FLTRES = 6;
inline constexpr int kILL_PRVREG = 6;
inline constexpr int kPOLL_HUP = 6;
inline constexpr int kSEGV_ADIDERR = 6;
inline constexpr int kSIGABRT = 6;
inline constexpr int kTRAP_PERF = 6;
inline constexpr int kFPE_FLTINV = 7;
inline constexpr int kILL_COPROC = 7;
inline constexpr int kSEGV_ADIPERR = 7;
inline constexpr int kSIGBUS = 7;
inline constexpr int kFPE_FLTSUB = 8;
inline constexpr int kILL_BADSTK = 8;
inline constexpr int kSEGV_MTEAERR = 8;
inline constexpr int kSIGFPE = 8;
inline constexpr int kILL_BADIADDR = 9;
inline constexpr int kSEGV_MTESERR = 9;
inline constexpr int kSIGKILL = 9;
inline constexpr int kSIGUSR1 = 10;
inline constexpr int kSIGSEGV = 11;
inline constexpr int kSIGEV_PAD_SIZE = 12;
inline constexpr int kSIGUSR2 = 12;
inline constexpr int kSIGPIPE = 13;
inline constexpr int kFPE_FLTUNK = 14;
inline constexpr int kSIGALRM = 14;
inline constexpr int kFPE_CONDTRAP = 15;
inline constexpr int kSIGTERM = 15;
inline constexpr int kSIGSTKFLT = 16;
inline constexpr int kSIGCHLD = 17;
inline constexpr int kSIGCONT = 18;
inline constexpr int kSIGSTOP = 19;
inline constexpr int kSIGTSTP = 20;
inline constexpr int kSIGTTIN = 21;
inline constexpr int kSIGTTOU = 22;
inline constexpr int kSIGURG = 23;
inline constexpr int kSIGXCPU = 24;
inline constexpr int kSIGXFSZ = 25;
inline constexpr int kSIGVTALRM = 26;
inline constexpr int kSIGPROF = 27;
inline constexpr int kSIGWINCH = 28;
inline constexpr int kSIGIO = 29;
inline constexpr int kSIGPWR = 30;
inline constexpr int kSIGSYS = 31;
inline constexpr int kSIGEV_MAX_SIZE = 64;
inline constexpr int kSI_KERNEL = 128;
inline constexpr int kSI_MAX_SIZE = 128;
inline constexpr int kSA_UNSUPPORTED = 0x400;
inline constexpr int kMINSIGSTKSZ = 2048;
inline constexpr int kSA_EXPOSE_TAGBITS = 0x800;
inline constexpr int kSA_RESTORER = 0x4000000;
inline constexpr int kSA_ONSTACK = 0x8000000;
inline constexpr int kSA_RESTART = 0x10000000;
inline constexpr int kSA_NODEFER = 0x40000000;
inline constexpr int kSA_NOMASK = 0x40000000;
inline constexpr u32 kSA_ONESHOT = 0x80000000;
inline constexpr u32 kSA_RESETHAND = 0x80000000;

inline constexpr int kSIGRTMIN = 32;  // the kernel's; libcs keep the first two or three for themselves
inline constexpr int kNSIG = 64;
inline constexpr u64 kSIG_DFL = 0;
inline constexpr u64 kSIG_IGN = 1;

using SigSet = u64;  // bit n-1 is signal n
constexpr SigSet signal_bit(int signal) {
  return SigSet{1} << (signal - 1);
}

struct SigAction {  // struct kernel_sigaction
  u64 handler;
  u64 flags;
  u64 restorer;
  SigSet mask;
};

struct SigAltStack {  // stack_t
  u64 sp;
  s32 flags;
  s32 pad_;
  u64 size;
};

union SigVal {
  s32 int_value;
  u64 pointer;
};

struct SigInfo {  // siginfo_t, 128 bytes; which member counts follows from signo and code (sigaction(2))
  struct Rt {     // kill, tgkill, sigqueue, mq
    s32 pid;
    u32 uid;
    SigVal value;
  };
  struct Timer {
    s32 timer_id;
    s32 overrun;
    SigVal value;
    s32 sys_private;
  };
  struct Child {
    s32 pid;
    u32 uid;
    s32 status;
    s32 pad_;
    s64 utime;
    s64 stime;
  };
  struct Fault {
    u64 address;
    s16 address_lsb;
    s16 pad0_;
    u32 pad1_;
    u64 lower;
    u64 upper;
  };
  struct Poll {
    s64 band;
    s32 fd;
  };
  struct Sys {
    u64 call_address;
    s32 syscall;
    u32 arch;
  };

  s32 signo;
  s32 error;
  s32 code;
  s32 pad_;
  union {
    Rt rt;
    Timer timer;
    Child child;
    Fault fault;
    Poll poll;
    Sys sys;
    u8 bytes[112];
  };
};
static_assert(sizeof(SigInfo) == 128);

struct SigContext {  // struct sigcontext_64
  u64 r8, r9, r10, r11, r12, r13, r14, r15;
  u64 rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
  u16 cs, gs, fs, ss;
  u64 err, trapno, oldmask, cr2;
  u64 fpstate;
  u64 reserved[8];
};
static_assert(sizeof(SigContext) == 256);

struct UContext {  // struct ucontext
  u64 flags;
  u64 link;
  SigAltStack stack;
  SigContext mcontext;
  SigSet sigmask;
};
inline constexpr u64 kUC_FP_XSTATE = 1;
inline constexpr u64 kUC_SIGCONTEXT_SS = 2;
inline constexpr u64 kUC_STRICT_RESTORE_SS = 4;

}  // namespace teacup::abi
