// --trace: fcntl(2) and ioctl(2), whose argument is what the command makes of it, and memory's calls.
#include "kernel/abi/mm.h"
#include "kernel/abi/tty.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"

namespace teacup::show {

namespace {

#define N TEACUP_NAME
constexpr Name kCommands[] = {N(F_DUPFD),
                              N(F_GETFD),
                              N(F_SETFD),
                              N(F_GETFL),
                              N(F_SETFL),
                              N(F_GETLK),
                              N(F_SETLK),
                              N(F_SETLKW),
                              N(F_SETOWN),
                              N(F_GETOWN),
                              N(F_SETSIG),
                              N(F_GETSIG),
                              N(F_SETOWN_EX),
                              N(F_GETOWN_EX),
                              N(F_OFD_GETLK),
                              N(F_OFD_SETLK),
                              N(F_OFD_SETLKW),
                              N(F_SETLEASE),
                              N(F_GETLEASE),
                              N(F_NOTIFY),
                              N(F_CANCELLK),
                              N(F_DUPFD_CLOEXEC),
                              N(F_SETPIPE_SZ),
                              N(F_GETPIPE_SZ),
                              N(F_ADD_SEALS),
                              N(F_GET_SEALS),
                              N(F_GET_RW_HINT),
                              N(F_SET_RW_HINT),
                              N(F_GET_FILE_RW_HINT),
                              N(F_SET_FILE_RW_HINT)};
constexpr Names kFcntl{kCommands, ~u64{0}, {}, "F_???"};
constexpr Name kDescriptorBits[] = {N(FD_CLOEXEC)};
constexpr Names kDescriptor{{}, 0, kDescriptorBits, {}};
constexpr Name kLockTypes[] = {N(F_RDLCK), N(F_WRLCK), N(F_UNLCK)};
constexpr Names kLockType{kLockTypes, ~u64{0}, {}, "F_???"};
constexpr Name kWhences[] = {N(SEEK_SET), N(SEEK_CUR), N(SEEK_END)};
constexpr Names kWhence{kWhences, ~u64{0}, {}, "SEEK_???"};
constexpr Name kSealBits[] = {N(F_SEAL_SEAL), N(F_SEAL_SHRINK), N(F_SEAL_GROW), N(F_SEAL_WRITE),
                              N(F_SEAL_FUTURE_WRITE)};
constexpr Names kSeals{{}, 0, kSealBits, "F_SEAL_???"};

constexpr Name kRequests[] = {N(TCGETS),
                              N(TCSETS),
                              N(TCSETSW),
                              N(TCSETSF),
                              N(TCGETA),
                              N(TCSETA),
                              N(TCSETAW),
                              N(TCSETAF),
                              N(TCSBRK),
                              N(TCXONC),
                              N(TCFLSH),
                              N(TIOCEXCL),
                              N(TIOCNXCL),
                              N(TIOCSCTTY),
                              N(TIOCGPGRP),
                              N(TIOCSPGRP),
                              N(TIOCOUTQ),
                              N(TIOCSTI),
                              N(TIOCGWINSZ),
                              N(TIOCSWINSZ),
                              N(TIOCMGET),
                              N(FIONREAD),
                              N(TIOCCONS),
                              N(TIOCPKT),
                              N(FIONBIO),
                              N(TIOCNOTTY),
                              N(TIOCSETD),
                              N(TIOCGETD),
                              N(TCSBRKP),
                              N(TIOCSBRK),
                              N(TIOCCBRK),
                              N(TIOCGSID),
                              N(TCGETS2),
                              N(TCSETS2),
                              N(TCSETSW2),
                              N(TCSETSF2),
                              N(TIOCGPTN),
                              N(TIOCSPTLCK),
                              N(TIOCGDEV),
                              N(TIOCSIG),
                              N(TIOCVHANGUP),
                              N(TIOCGPKT),
                              N(TIOCGPTLCK),
                              N(TIOCGEXCL),
                              N(TIOCGPTPEER),
                              N(FIONCLEX),
                              N(FIOCLEX),
                              N(FIOASYNC),
                              {0x40049409, "FICLONE"},
                              {0x4020940d, "FICLONERANGE"},
                              {0x80086601, "FS_IOC_GETFLAGS"},
                              {0x40086602, "FS_IOC_SETFLAGS"},
                              {0xc020660b, "FS_IOC_FIEMAP"}};
constexpr Names kIoctl{kRequests, ~u64{0}, {}, {}};
constexpr Name kLocalModes[] = {{abi::kISIG, "isig"}, {abi::kICANON, "icanon"}, {abi::kECHO, "echo"}};

constexpr Name kProtectionBits[] = {N(PROT_NONE), N(PROT_READ),      N(PROT_WRITE),  N(PROT_EXEC),
                                    N(PROT_SEM),  N(PROT_GROWSDOWN), N(PROT_GROWSUP)};
constexpr Names kProtection{{}, 0, kProtectionBits, "PROT_???"};
constexpr Name kMapTypes[] = {N(MAP_FILE), N(MAP_SHARED), N(MAP_PRIVATE), N(MAP_SHARED_VALIDATE)};
constexpr Name kMapBits[] = {N(MAP_FIXED),      N(MAP_ANONYMOUS),      N(MAP_32BIT),     N(MAP_NORESERVE),
                             N(MAP_POPULATE),   N(MAP_NONBLOCK),       N(MAP_GROWSDOWN), N(MAP_DENYWRITE),
                             N(MAP_EXECUTABLE), N(MAP_LOCKED),         N(MAP_STACK),     N(MAP_HUGETLB),
                             N(MAP_SYNC),       N(MAP_FIXED_NOREPLACE)};
constexpr Names kMap{kMapTypes, abi::kMAP_TYPE, kMapBits, "MAP_???"};
constexpr Name kMremapBits[] = {N(MREMAP_MAYMOVE), N(MREMAP_FIXED), N(MREMAP_DONTUNMAP)};
constexpr Names kMremap{{}, 0, kMremapBits, "MREMAP_???"};
constexpr Name kMadvices[] = {N(MADV_NORMAL),          N(MADV_RANDOM),        N(MADV_SEQUENTIAL),
                              N(MADV_WILLNEED),        N(MADV_DONTNEED),      N(MADV_FREE),
                              N(MADV_REMOVE),          N(MADV_DONTFORK),      N(MADV_DOFORK),
                              N(MADV_MERGEABLE),       N(MADV_UNMERGEABLE),   N(MADV_HUGEPAGE),
                              N(MADV_NOHUGEPAGE),      N(MADV_DONTDUMP),      N(MADV_DODUMP),
                              N(MADV_WIPEONFORK),      N(MADV_KEEPONFORK),    N(MADV_COLD),
                              N(MADV_PAGEOUT),         N(MADV_POPULATE_READ), N(MADV_POPULATE_WRITE),
                              N(MADV_DONTNEED_LOCKED), N(MADV_COLLAPSE),      N(MADV_HWPOISON),
                              N(MADV_SOFT_OFFLINE)};
constexpr Names kMadvise{kMadvices, ~u64{0}, {}, "MADV_???"};
constexpr Name kMsyncBits[] = {N(MS_ASYNC), N(MS_INVALIDATE), N(MS_SYNC)};
constexpr Names kMsync{{}, 0, kMsyncBits, "MS_???"};
constexpr Name kMlockallBits[] = {N(MCL_CURRENT), N(MCL_FUTURE), N(MCL_ONFAULT)};
constexpr Names kMlockall{{}, 0, kMlockallBits, "MCL_???"};
#undef N

void lock(TextBuffer& text, u64 address, bool with_pid) {
  abi::Flock value;
  if (!read_or_pointer(text, address, &value, sizeof value)) return;
  text.add("{l_type=");
  names(text, kLockType, static_cast<u16>(value.type));
  text.add(", l_whence=");
  names(text, kWhence, static_cast<u16>(value.whence));
  text.add(", l_start=").dec(value.start).add(", l_len=").dec(value.length);
  if (with_pid) text.add(", l_pid=").dec(value.pid);
  text.add('}');
}

// --- fcntl(2). The command is the register before.
void print_fcntl_argument(CallText& call, u32 index, const Printer&) {
  TextBuffer& text = call.text;
  u64 value = call.registers[index];
  switch (static_cast<u32>(call.registers[index - 1])) {
    case abi::kF_GETFD:
    case abi::kF_GETFL:
    case abi::kF_GETOWN:
    case abi::kF_GETSIG:
    case abi::kF_GETLEASE:
    case abi::kF_GETPIPE_SZ:
    case abi::kF_GET_SEALS:
      return;
    case abi::kF_SETFD:
      return names(text, kDescriptor, static_cast<u32>(value));
    case abi::kF_SETFL:
      return open_flag_names(text, static_cast<u32>(value));
    case abi::kF_SETLK:
    case abi::kF_SETLKW:
    case abi::kF_OFD_SETLK:
    case abi::kF_OFD_SETLKW:
      return lock(text, value, false);
    case abi::kF_GETLK:
    case abi::kF_OFD_GETLK:
      if (call.failed()) return pointer(text, value);
      return lock(text, value, true);
    case abi::kF_ADD_SEALS:
      return names(text, kSeals, static_cast<u32>(value));
    case abi::kF_SETSIG:
      return signal(text, static_cast<s32>(value));
    case abi::kF_DUPFD:
    case abi::kF_DUPFD_CLOEXEC:
    case abi::kF_SETOWN:
    case abi::kF_SETPIPE_SZ:
      text.dec(static_cast<s32>(value));
      return;
    default:
      text.add("0x").hex(value);
  }
}

// Results that are flags: = 0x8002 (flags O_RDWR|O_LARGEFILE)
void note_fcntl(CallText& call, u32 index) {
  if (call.failed()) return;
  TextBuffer& text = call.text;
  u32 flags = static_cast<u32>(call.result);
  u32 command = static_cast<u32>(call.registers[index]);
  bool are_flags = command == abi::kF_GETFL || (command == abi::kF_GETFD && flags != 0) ||
                   (command == abi::kF_GET_SEALS && flags != 0);
  if (!are_flags) return;
  text.cut(call.result_at);
  text.add(flags == 0 ? "0" : "0x");
  if (flags != 0) text.hex(flags);
  text.add(command == abi::kF_GET_SEALS ? " (seals " : " (flags ");
  if (command == abi::kF_GETFL) {
    open_flag_names(text, flags);
  } else {
    names(text, command == abi::kF_GETFD ? kDescriptor : kSeals, flags);
  }
  text.add(')');
}

// --- ioctl(2). The request is the register before.
void termios(TextBuffer& text, u64 address) {
  abi::Termios value;
  if (!read_or_pointer(text, address, &value, sizeof value)) return;
  constexpr u32 kBaud38400 = 017;
  text.add('{');
  if ((value.cflag & abi::kCBAUD) == kBaud38400) {
    text.add("B38400 ");
  } else {
    text.add("c_cflag=0x").hex(value.cflag).add(' ');
  }
  text.add((value.oflag & abi::kOPOST) != 0 ? "opost" : "-opost");
  for (const Name& mode : kLocalModes) text.add((value.lflag & mode.value) != 0 ? " " : " -").add(mode.text);
  text.add(" ...}");
}

void window(TextBuffer& text, u64 address) {
  abi::WinSize value;
  if (!read_or_pointer(text, address, &value, sizeof value)) return;
  text.add("{ws_row=").udec(value.rows).add(", ws_col=").udec(value.columns).add(", ws_xpixel=");
  text.udec(value.x_pixels).add(", ws_ypixel=").udec(value.y_pixels).add('}');
}

void number(TextBuffer& text, u64 address) {
  s32 value = 0;
  if (read_or_pointer(text, address, &value, sizeof value)) text.add('[').dec(value).add(']');
}

// One without a name is taken apart: _IOC(_IOC_WRITE, 0x94, 0x9, 0x4)
void print_ioctl_command(CallText& call, u32 index, const Printer&) {
  constexpr std::string_view kDirections[] = {"_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE"};
  u32 command = static_cast<u32>(call.registers[index]);
  TextBuffer& text = call.text;
  if (std::string_view name = choice(kIoctl, command); !name.empty()) {
    text.add(name);
    return;
  }
  auto part = [&](u32 value) { text.add(value == 0 ? ", " : ", 0x").hex(value); };
  text.add("_IOC(").add(kDirections[command >> 30]);
  part(command >> 8 & 0xff);
  part(command & 0xff);
  part(command >> 16 & 0x3fff);
  text.add(')');
}

void print_ioctl_argument(CallText& call, u32 index, const Printer&) {
  TextBuffer& text = call.text;
  u64 value = call.registers[index];
  switch (static_cast<u32>(call.registers[index - 1])) {
    case abi::kTIOCEXCL:
    case abi::kTIOCNXCL:
    case abi::kTIOCNOTTY:
    case abi::kTIOCVHANGUP:
    case abi::kFIOCLEX:
    case abi::kFIONCLEX:
      return;
    case abi::kTCGETS:
    case abi::kTCGETS2:
      if (call.failed()) break;
      [[fallthrough]];
    case abi::kTCSETS:
    case abi::kTCSETSW:
    case abi::kTCSETSF:
    case abi::kTCSETS2:
    case abi::kTCSETSW2:
    case abi::kTCSETSF2:
      return termios(text, value);
    case abi::kTIOCGWINSZ:
      if (call.failed()) break;
      [[fallthrough]];
    case abi::kTIOCSWINSZ:
      return window(text, value);
    case abi::kTIOCGPGRP:
    case abi::kTIOCGSID:
    case abi::kTIOCOUTQ:
    case abi::kFIONREAD:
    case abi::kTIOCGPTN:
    case abi::kTIOCGETD:
      if (call.failed()) break;
      [[fallthrough]];
    case abi::kTIOCSPGRP:
    case abi::kTIOCSPTLCK:
    case abi::kFIONBIO:
    case abi::kFIOASYNC:
      return number(text, value);
    case abi::kTIOCSCTTY:
    case abi::kTCSBRK:
    case abi::kTCFLSH:
    case abi::kTCXONC:
      text.dec(static_cast<s32>(value));
      return;
    default:
      text.add("0x").hex(value);
      return;
  }
  pointer(text, value);
}

// --- Memory.
void print_file_offset(CallText& call, u32 index, const Printer&) {
  u64 offset = call.registers[index];
  call.text.add(offset == 0 ? "" : "0x").hex(offset);
}
void print_mremap_target(CallText& call, u32 index, const Printer&) {
  constexpr u64 kTakesTarget = abi::kMREMAP_FIXED | abi::kMREMAP_DONTUNMAP;
  if ((call.registers[index - 1] & kTakesTarget) != 0) pointer(call.text, call.registers[index]);
}

}  // namespace

constinit const Printer fcntl_command{&print_names, &kFcntl, false, nullptr, &note_fcntl};
constinit const Printer fcntl_argument{&print_fcntl_argument, nullptr, true};
constinit const Printer ioctl_command{&print_ioctl_command};
constinit const Printer ioctl_argument{&print_ioctl_argument, nullptr, true};
constinit const Printer protection = named(kProtection);
constinit const Printer map_flags = named(kMap);
constinit const Printer file_offset{&print_file_offset};
constinit const Printer mremap_flags = named(kMremap);
constinit const Printer mremap_target{&print_mremap_target};
constinit const Printer memory_advice = named(kMadvise);
constinit const Printer msync_flags = named(kMsync);
constinit const Printer mlockall_flags = named(kMlockall);

}  // namespace teacup::show
