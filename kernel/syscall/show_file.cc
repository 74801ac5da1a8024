// --trace: files. Flags in the order of strace(1), which is the order a reader of its traces expects.
#include "kernel/abi/ipc.h"
#include "kernel/abi/mm.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"

namespace teacup::show {

namespace {

#define N TEACUP_NAME
constexpr Name kAccessModes[] = {N(O_RDONLY), N(O_WRONLY), N(O_RDWR), N(O_ACCMODE)};
constexpr Name kOpenBits[] = {N(O_CREAT),     N(O_EXCL),     N(O_NOCTTY),  N(O_TRUNC),   N(O_APPEND),
                              N(O_NONBLOCK),  N(O_SYNC),     N(O_DSYNC),   N(O_ASYNC),   N(O_DIRECT),
                              N(O_LARGEFILE), N(O_NOFOLLOW), N(O_NOATIME), N(O_CLOEXEC), N(O_PATH),
                              N(O_TMPFILE),   N(O_DIRECTORY)};
constexpr Names kOpenFlags{kAccessModes, abi::kO_ACCMODE, kOpenBits, "O_???"};
constexpr Names kDescriptorFlags{{}, 0, kOpenBits, "O_???"};

constexpr Name kAtBits[] = {N(AT_SYMLINK_NOFOLLOW), N(AT_SYMLINK_FOLLOW), N(AT_NO_AUTOMOUNT),
                            N(AT_EMPTY_PATH), N(AT_RECURSIVE)};
constexpr Names kAtFlags{{}, 0, kAtBits, "AT_???"};
constexpr Name kUnlinkBits[] = {N(AT_REMOVEDIR)};
constexpr Names kUnlinkFlags{{}, 0, kUnlinkBits, "AT_???"};
constexpr Name kAccessBits[] = {N(AT_SYMLINK_NOFOLLOW), N(AT_EACCESS), N(AT_EMPTY_PATH)};
constexpr Names kAccessFlags{{}, 0, kAccessBits, "AT_???"};
constexpr Name kAccessModeBits[] = {N(F_OK), N(R_OK), N(W_OK), N(X_OK)};
constexpr Names kAccessMode{{}, 0, kAccessModeBits, "?_OK"};

constexpr Name kStatxSync[] = {N(AT_STATX_SYNC_AS_STAT), N(AT_STATX_FORCE_SYNC), N(AT_STATX_DONT_SYNC)};
constexpr Names kStatxFlags{kStatxSync, abi::kAT_STATX_SYNC_TYPE, kAtBits, "AT_STATX_???"};
constexpr Name kStatxBits[] = {N(STATX_ALL),    N(STATX_BASIC_STATS), N(STATX_TYPE),   N(STATX_MODE),
                               N(STATX_NLINK),  N(STATX_UID),         N(STATX_GID),    N(STATX_ATIME),
                               N(STATX_MTIME),  N(STATX_CTIME),       N(STATX_INO),    N(STATX_SIZE),
                               N(STATX_BLOCKS), N(STATX_BTIME),       N(STATX_MNT_ID), N(STATX_DIOALIGN)};
constexpr Names kStatxMask{{}, 0, kStatxBits, "STATX_???"};

constexpr Name kRenameBits[] = {N(RENAME_NOREPLACE), N(RENAME_EXCHANGE), N(RENAME_WHITEOUT)};
constexpr Names kRenameFlags{{}, 0, kRenameBits, "RENAME_??"};
constexpr Name kXattrBits[] = {N(XATTR_CREATE), N(XATTR_REPLACE)};
constexpr Names kXattrFlags{{}, 0, kXattrBits, "XATTR_???"};

constexpr Name kWhences[] = {N(SEEK_SET), N(SEEK_CUR), N(SEEK_END), N(SEEK_DATA), N(SEEK_HOLE)};
constexpr Names kWhence{kWhences, ~u64{0}, {}, "SEEK_???"};
constexpr Name kAdvices[] = {N(POSIX_FADV_NORMAL),   N(POSIX_FADV_RANDOM),   N(POSIX_FADV_SEQUENTIAL),
                             N(POSIX_FADV_WILLNEED), N(POSIX_FADV_DONTNEED), N(POSIX_FADV_NOREUSE)};
constexpr Names kFileAdvice{kAdvices, ~u64{0}, {}, "POSIX_FADV_???"};
constexpr Name kFallocateBits[] = {N(FALLOC_FL_KEEP_SIZE),     N(FALLOC_FL_PUNCH_HOLE),
                                   N(FALLOC_FL_NO_HIDE_STALE), N(FALLOC_FL_COLLAPSE_RANGE),
                                   N(FALLOC_FL_ZERO_RANGE),    N(FALLOC_FL_INSERT_RANGE),
                                   N(FALLOC_FL_UNSHARE_RANGE)};
constexpr Names kFallocateMode{{}, 0, kFallocateBits, "FALLOC_FL_???"};
constexpr Name kFlockBits[] = {N(LOCK_SH), N(LOCK_EX), N(LOCK_UN), N(LOCK_NB)};
constexpr Names kFlock{{}, 0, kFlockBits, "LOCK_???"};
constexpr Name kCloseRangeBits[] = {{2, "CLOSE_RANGE_UNSHARE"}, {4, "CLOSE_RANGE_CLOEXEC"}};
constexpr Names kCloseRange{{}, 0, kCloseRangeBits, "CLOSE_RANGE_???"};
constexpr Name kSpliceBits[] = {N(SPLICE_F_MOVE), N(SPLICE_F_NONBLOCK), N(SPLICE_F_MORE), N(SPLICE_F_GIFT)};
constexpr Names kSplice{{}, 0, kSpliceBits, "SPLICE_F_???"};
constexpr Name kMemfdBits[] = {N(MFD_CLOEXEC), N(MFD_ALLOW_SEALING), N(MFD_HUGETLB)};
constexpr Names kMemfd{{}, 0, kMemfdBits, "MFD_???"};
constexpr Name kEventfdBits[] = {N(EFD_SEMAPHORE), N(EFD_CLOEXEC), N(EFD_NONBLOCK)};
constexpr Names kEventfd{{}, 0, kEventfdBits, "EFD_???"};
constexpr Name kPidfdBits[] = {N(PIDFD_NONBLOCK)};
constexpr Names kPidfd{{}, 0, kPidfdBits, "PIDFD_???"};
constexpr Name kInotifyFlagBits[] = {N(IN_CLOEXEC), N(IN_NONBLOCK)};
constexpr Names kInotifyFlags{{}, 0, kInotifyFlagBits, "IN_???"};
constexpr Name kSignalfdBits[] = {N(SFD_CLOEXEC), N(SFD_NONBLOCK)};
constexpr Names kSignalfd{{}, 0, kSignalfdBits, "SFD_???"};
constexpr Name kInotifyBits[] = {N(IN_ACCESS),        N(IN_MODIFY),      N(IN_ATTRIB),      N(IN_CLOSE_WRITE),
                                 N(IN_CLOSE_NOWRITE), N(IN_OPEN),        N(IN_MOVED_FROM),  N(IN_MOVED_TO),
                                 N(IN_CREATE),        N(IN_DELETE),      N(IN_DELETE_SELF), N(IN_MOVE_SELF),
                                 N(IN_UNMOUNT),       N(IN_Q_OVERFLOW),  N(IN_IGNORED),     N(IN_ONLYDIR),
                                 N(IN_DONT_FOLLOW),   N(IN_EXCL_UNLINK), N(IN_MASK_CREATE), N(IN_MASK_ADD),
                                 N(IN_ISDIR),         N(IN_ONESHOT)};
constexpr Names kInotify{{}, 0, kInotifyBits, "IN_???"};

constexpr Name kFileTypes[] = {N(S_IFIFO), N(S_IFCHR), N(S_IFDIR), N(S_IFBLK),
                               N(S_IFREG), N(S_IFLNK), N(S_IFSOCK)};
constexpr Name kModeBits[] = {N(S_ISUID), N(S_ISGID), N(S_ISVTX)};
constexpr Names kModeNames{kFileTypes, abi::kS_IFMT, kModeBits, {}};
constexpr Name kFileSystems[] = {N(EXT4_SUPER_MAGIC),      N(TMPFS_MAGIC),         N(PROC_SUPER_MAGIC),
                                 N(SYSFS_MAGIC),           N(PIPEFS_MAGIC),        N(SOCKFS_MAGIC),
                                 N(DEVPTS_SUPER_MAGIC),    N(RAMFS_MAGIC),         N(ANON_INODE_FS_MAGIC),
                                 N(OVERLAYFS_SUPER_MAGIC), N(EROFS_SUPER_MAGIC_V1)};
constexpr Names kFileSystem{kFileSystems, ~u64{0}, {}, {}};
#undef N

u32 low(const CallText& call, u32 index) {
  return static_cast<u32>(call.registers[index]);
}

void print_mode(CallText& call, u32 index, const Printer&) {
  mode(call.text, low(call, index));
}
// open(2)'s mode counts when a file may be made. The flags are the register before.
void print_open_mode(CallText& call, u32 index, const Printer& self) {
  u32 flags = low(call, index - 1);
  bool makes = (flags & abi::kO_CREAT) != 0 || (flags & abi::kO_TMPFILE) == abi::kO_TMPFILE;
  if (makes) print_mode(call, index, self);
}
void print_node_mode(CallText& call, u32 index, const Printer&) {
  file_mode(call.text, low(call, index));
}
void print_node_device(CallText& call, u32 index, const Printer&) {
  u32 type = low(call, index - 1) & abi::kS_IFMT;
  if (type == abi::kS_IFCHR || type == abi::kS_IFBLK) device(call.text, low(call, index));
}
void print_user_id(CallText& call, u32 index, const Printer&) {
  u32 id = low(call, index);
  if (id == ~u32{0}) {
    call.text.add("-1");
  } else {
    call.text.udec(id);
  }
}

void time_to_set(TextBuffer& text, const abi::Timespec& time) {
  if (time.tv_nsec == abi::kUTIME_NOW) {
    text.add("UTIME_NOW");
  } else if (time.tv_nsec == abi::kUTIME_OMIT) {
    text.add("UTIME_OMIT");
  } else {
    structure(text, time);
  }
}
void print_file_times(CallText& call, u32 index, const Printer&) {
  array<abi::Timespec>(call.text, call.registers[index], 2, time_to_set);
}
void print_file_timevals(CallText& call, u32 index, const Printer&) {
  array<abi::Timeval>(call.text, call.registers[index], 2,
                      [](TextBuffer& text, const abi::Timeval& time) { structure(text, time); });
}

void print_working_directory(CallText& call, u32 index, const Printer&) {
  if (call.failed()) {
    pointer(call.text, call.registers[index]);
  } else {
    path(call.text, call.registers[index]);
  }
}

// An offset that the call moves on: [0] => [100] when it did.
void remember_offset(CallText& call, u32 index) {
  s64 offset = 0;
  if (call.registers[index] != 0) (void)copy_from_guest(&offset, call.registers[index], sizeof offset);
  if (index != 3) call.remembered = static_cast<u64>(offset);  // only the first of two is compared
}
void print_offset(CallText& call, u32 index, const Printer&) {
  s64 offset = 0;
  if (!read_or_pointer(call.text, call.registers[index], &offset, sizeof offset)) return;
  call.text.add('[');
  if (index != 3 && offset != static_cast<s64>(call.remembered) && !call.failed()) {
    call.text.dec(static_cast<s64>(call.remembered)).add("] => [");
  }
  call.text.dec(offset).add(']');
}

void print_pair(CallText& call, u32 index, const Printer&) {
  s32 pair[2];
  if (!filled_or_pointer(call, index, pair, sizeof pair)) return;
  call.text.add('[').dec(pair[0]).add(", ").dec(pair[1]).add(']');
}

// Records are counted, not shown. Both calls' have their length at the same place.
void print_entries(CallText& call, u32 index, const Printer&) {
  u64 address = call.registers[index];
  pointer(call.text, address);
  if (call.failed() || address == 0) return;
  u64 size = static_cast<u64>(call.result);
  u32 count = 0;
  for (u64 at = 0; at < size; count++) {
    u16 length = 0;
    if (!copy_from_guest(&length, address + at + 16, sizeof length).ok() || length == 0) break;
    at += length;
  }
  call.text.add(" /* ").udec(count).add(" entries */");
}

// `limit`: bytes in all pieces together that the call has filled; ~0: all count.
void pieces(TextBuffer& text, u64 address, u64 count, u64 limit) {
  array<abi::IoVec>(text, address, count, [&](TextBuffer& out, const abi::IoVec& piece) {
    u64 size = piece.length < limit ? piece.length : limit;
    if (limit != ~u64{0}) limit -= size;
    out.add("{iov_base=");
    bytes(out, piece.base, size);
    out.add(", iov_len=").udec(piece.length).add('}');
  });
}
void print_iovecs_in(CallText& call, u32 index, const Printer&) {
  pieces(call.text, call.registers[index], call.registers[index + 1], ~u64{0});
}
void print_iovecs_out(CallText& call, u32 index, const Printer&) {
  if (call.failed()) return pointer(call.text, call.registers[index]);
  pieces(call.text, call.registers[index], call.registers[index + 1], static_cast<u64>(call.result));
}

}  // namespace

void message_pieces(TextBuffer& text, u64 address, u64 count, u64 limit) {
  pieces(text, address, count, limit);
}
void open_flag_names(TextBuffer& text, u32 flags) {
  names(text, kOpenFlags, flags);
}

void file_mode(TextBuffer& text, u32 mode_bits) {
  u32 permissions = mode_bits & 0777;
  if (mode_bits != permissions) {
    names(text, kModeNames, mode_bits - permissions);
    text.add('|');
  }
  mode(text, permissions);
}

void device(TextBuffer& text, u64 number) {
  u64 major = (number >> 8 & 0xfff) | (number >> 32 & ~u64{0xfff});
  u64 minor = (number & 0xff) | (number >> 12 & 0xffffff00);
  text.add(major == 0 ? "makedev(" : "makedev(0x").hex(major);
  text.add(minor == 0 ? ", " : ", 0x").hex(minor).add(')');
}

void structure(TextBuffer& text, const abi::Stat& value) {
  text.add("{st_mode=");
  file_mode(text, value.mode);
  u32 type = value.mode & abi::kS_IFMT;
  if (type == abi::kS_IFCHR || type == abi::kS_IFBLK) {
    text.add(", st_rdev=");
    device(text, value.rdev);
  } else {
    text.add(", st_size=").dec(value.size);
  }
  text.add(", ...}");
}

void structure(TextBuffer& text, const abi::Statx& value) {
  text.add("{stx_mask=");
  names(text, kStatxMask, value.mask);
  text.add(", stx_attributes=");
  if (value.attributes == 0) {
    text.add('0');
  } else {
    text.add("0x").hex(value.attributes);
  }
  text.add(", stx_mode=");
  file_mode(text, value.mode);
  text.add(", stx_size=").udec(value.size).add(", ...}");
}

void structure(TextBuffer& text, const abi::Statfs& value) {
  text.add("{f_type=");
  names(text, kFileSystem, static_cast<u64>(value.type));
  text.add(", f_bsize=").dec(value.bsize).add(", f_blocks=").udec(value.blocks).add(", f_bfree=");
  text.udec(value.bfree).add(", f_bavail=").udec(value.bavail).add(", f_files=").udec(value.files);
  text.add(", f_ffree=").udec(value.ffree).add(", f_namelen=").dec(value.namelen).add(", ...}");
}

void structure(TextBuffer& text, const abi::OpenHow& value) {
  text.add("{flags=");
  names(text, kOpenFlags, value.flags);
  if ((value.flags & abi::kO_CREAT) != 0) {
    text.add(", mode=");
    mode(text, static_cast<u32>(value.mode));
  }
  text.add(", resolve=");
  if (value.resolve == 0) {
    text.add('0');
  } else {
    text.add("0x").hex(value.resolve);
  }
  text.add('}');
}

constinit const Printer open_flags = named(kOpenFlags);
constinit const Printer open_mode{&print_open_mode};
constinit const Printer file_mode_bits{&print_mode};
constinit const Printer node_mode{&print_node_mode};
constinit const Printer node_device{&print_node_device};
constinit const Printer at_flags = named(kAtFlags);
constinit const Printer unlink_flags = named(kUnlinkFlags);
constinit const Printer access_mode = named(kAccessMode);
constinit const Printer access_flags = named(kAccessFlags);
constinit const Printer statx_flags = named(kStatxFlags);
constinit const Printer statx_mask = named(kStatxMask);
constinit const Printer rename_flags = named(kRenameFlags);
constinit const Printer xattr_flags = named(kXattrFlags);
constinit const Printer user_id{&print_user_id};
constinit const Printer file_times{&print_file_times};
constinit const Printer file_timevals{&print_file_timevals};
constinit const Printer working_directory{&print_working_directory, nullptr, true};
constinit const Printer whence = named(kWhence);
constinit const Printer file_advice = named(kFileAdvice);
constinit const Printer fallocate_mode = named(kFallocateMode);
constinit const Printer flock_operation = named(kFlock);
constinit const Printer descriptor_flags = named(kDescriptorFlags);
constinit const Printer close_range_flags = named(kCloseRange);
constinit const Printer splice_flags = named(kSplice);
constinit const Printer offset_in_out{&print_offset, nullptr, true, &remember_offset};
constinit const Printer iovecs_in{&print_iovecs_in};
constinit const Printer iovecs_out{&print_iovecs_out, nullptr, true};
constinit const Printer directory_entries{&print_entries, nullptr, true};
constinit const Printer descriptor_pair{&print_pair, nullptr, true};
constinit const Printer memfd_flags = named(kMemfd);
constinit const Printer eventfd_flags = named(kEventfd);
constinit const Printer inotify_flags = named(kInotifyFlags);
constinit const Printer signalfd_flags = named(kSignalfd);
constinit const Printer inotify_mask = named(kInotify);
constinit const Printer pidfd_flags = named(kPidfd);

}  // namespace teacup::show
