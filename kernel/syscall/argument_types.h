// Parameter types of handlers that --trace shows in a way of their own. To a handler they are what they are
// made of: an integer type converts to its integer, a pointer type is its pointer.
#pragma once

#include "kernel/abi/fs.h"
#include "kernel/abi/net.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

namespace abi {
struct CloneArgs;  // process_calls.h
}

struct Printer;  // show.h

template <typename Integer, const Printer& printer>
class ShownInteger {
 public:
  using Base = Integer;
  static constexpr const Printer* kPrinter = &printer;

  constexpr ShownInteger(Integer value) : value_(value) {}
  constexpr operator Integer() const { return value_; }
  constexpr ShownInteger& operator&=(Integer bits) {
    value_ &= bits;
    return *this;
  }
  constexpr ShownInteger& operator|=(Integer bits) {
    value_ |= bits;
    return *this;
  }

 private:
  Integer value_;
};

template <typename Pointer, const Printer& printer>
struct ShownPointer : Pointer {
  using Base = Pointer;
  static constexpr const Printer* kPrinter = &printer;

  ShownPointer() = default;
  ShownPointer(Pointer pointer) : Pointer(pointer) {}
  explicit ShownPointer(u64 address) : Pointer{address} {}
};

namespace show {

extern const Printer open_flags, open_mode, file_mode_bits, node_mode, node_device, at_flags, unlink_flags,
    access_mode, access_flags, statx_flags, statx_mask, rename_flags, xattr_flags, user_id, file_times,
    file_timevals, working_directory, whence, file_advice, fallocate_mode, flock_operation, descriptor_flags,
    close_range_flags, splice_flags, offset_in_out, fcntl_command, fcntl_argument, ioctl_command,
    ioctl_argument, iovecs_out, directory_entries, descriptor_pair, memfd_flags, eventfd_flags, inotify_mask,
    inotify_flags, signalfd_flags, pidfd_flags;
extern const Printer protection, map_flags, file_offset, mremap_flags, mremap_target, memory_advice,
    msync_flags, mlockall_flags;
extern const Printer clone_flags, clone_hidden, clone_parent_tid, clone_args, clone_child_tid, unshare_flags,
    string_array, environment, wait_status_out, wait_options, wait_kind, prctl_option, prctl_argument,
    prctl_rest, arch_prctl_code, arch_prctl_argument, random_bytes, random_flags, resource, usage_of_whom,
    scheduler, priority_of, cpu_set_in, cpu_set_out, number_out, futex_operation, futex_value, futex_timeout,
    futex_target, futex_value3;
extern const Printer signal_number, signal_set_in, signal_set_out, mask_how, signal_frame;
extern const Printer clock_id, timer_flags, itimer_kind, remaining, timer_id_out, timerfd_flags,
    timerfd_set_flags;
extern const Printer poll_files, descriptor_set, select_timeout, pselect_timeout, epoll_flags,
    epoll_operation, epoll_events;
extern const Printer socket_family, socket_type, socket_protocol, socket_flags, socket_address,
    socket_address_out, socket_length, shutdown_how, message_flags, message_out, socket_level, socket_option,
    option_in, option_out;
extern const Printer ipc_key, ipc_flags, ipc_command;

}  // namespace show

// --- Files
using OpenFlags = ShownInteger<u32, show::open_flags>;
using OpenMode = ShownInteger<u32, show::open_mode>;
using FileMode = ShownInteger<u32, show::file_mode_bits>;
using NodeMode = ShownInteger<u32, show::node_mode>;
using NodeDevice = ShownInteger<u32, show::node_device>;
using AtFlags = ShownInteger<u32, show::at_flags>;
using UnlinkFlags = ShownInteger<u32, show::unlink_flags>;
using AccessMode = ShownInteger<u32, show::access_mode>;
using AccessFlags = ShownInteger<u32, show::access_flags>;
using StatxFlags = ShownInteger<u32, show::statx_flags>;
using StatxMask = ShownInteger<u32, show::statx_mask>;
using RenameFlags = ShownInteger<u32, show::rename_flags>;
using XattrFlags = ShownInteger<u32, show::xattr_flags>;
using UserId = ShownInteger<u32, show::user_id>;
using FileTimes = ShownPointer<GuestIn<abi::Timespec>, show::file_times>;
using FileTimevals = ShownPointer<GuestIn<abi::Timeval>, show::file_timevals>;
using DirectoryOut = ShownPointer<GuestOut<char>, show::working_directory>;
using Whence = ShownInteger<int, show::whence>;
using FileAdvice = ShownInteger<int, show::file_advice>;
using FallocateMode = ShownInteger<int, show::fallocate_mode>;
using FlockOperation = ShownInteger<int, show::flock_operation>;
using DescriptorFlags = ShownInteger<u32, show::descriptor_flags>;
using CloseRangeFlags = ShownInteger<u32, show::close_range_flags>;
using SpliceFlags = ShownInteger<u32, show::splice_flags>;
using OptionalOffset = ShownPointer<GuestInOut<s64>, show::offset_in_out>;
using FcntlCommand = ShownInteger<int, show::fcntl_command>;
using FcntlArgument = ShownInteger<u64, show::fcntl_argument>;
using IoctlCommand = ShownInteger<u32, show::ioctl_command>;
using IoctlArgument = ShownPointer<GuestAddress, show::ioctl_argument>;
using IovecsOut = ShownPointer<GuestIn<abi::IoVec>, show::iovecs_out>;
using DirectoryEntries = ShownPointer<GuestOut<std::byte>, show::directory_entries>;
using DescriptorPair = ShownPointer<GuestOut<s32>, show::descriptor_pair>;
using MemfdFlags = ShownInteger<u32, show::memfd_flags>;
using EventfdFlags = ShownInteger<u32, show::eventfd_flags>;
using InotifyFlags = ShownInteger<u32, show::inotify_flags>;
using SignalfdFlags = ShownInteger<u32, show::signalfd_flags>;
using InotifyMask = ShownInteger<u32, show::inotify_mask>;
using PidfdFlags = ShownInteger<u32, show::pidfd_flags>;

// --- Memory
using Protection = ShownInteger<int, show::protection>;
using MapFlags = ShownInteger<int, show::map_flags>;
using FileOffset = ShownInteger<u64, show::file_offset>;
using MremapFlags = ShownInteger<int, show::mremap_flags>;
using MremapTarget = ShownPointer<GuestAddress, show::mremap_target>;
using MemoryAdvice = ShownInteger<int, show::memory_advice>;
using MsyncFlags = ShownInteger<int, show::msync_flags>;
using MlockallFlags = ShownInteger<int, show::mlockall_flags>;

// --- Processes
using CloneFlags = ShownInteger<u64, show::clone_flags>;
using CloneStack = ShownInteger<u64, show::clone_hidden>;
using CloneParentTid = ShownPointer<GuestAddress, show::clone_parent_tid>;
using CloneTls = ShownInteger<u64, show::clone_hidden>;
using CloneChildTid = ShownPointer<GuestAddress, show::clone_child_tid>;
using CloneArgsIn = ShownPointer<GuestIn<abi::CloneArgs>, show::clone_args>;
using UnshareFlags = ShownInteger<u64, show::unshare_flags>;
using StringArray = ShownPointer<GuestAddress, show::string_array>;
using Environment = ShownPointer<GuestAddress, show::environment>;
using WaitStatus = ShownPointer<GuestOut<s32>, show::wait_status_out>;
using WaitOptions = ShownInteger<u32, show::wait_options>;
using WaitKind = ShownInteger<int, show::wait_kind>;
using PrctlOption = ShownInteger<int, show::prctl_option>;
using PrctlArgument = ShownInteger<u64, show::prctl_argument>;
using PrctlRest = ShownInteger<u64, show::prctl_rest>;
using ArchPrctlCode = ShownInteger<int, show::arch_prctl_code>;
using ArchPrctlArgument = ShownPointer<GuestAddress, show::arch_prctl_argument>;
using RandomBytes = ShownPointer<GuestOut<std::byte>, show::random_bytes>;
using RandomFlags = ShownInteger<u32, show::random_flags>;
using Resource = ShownInteger<u32, show::resource>;
using UsageOf = ShownInteger<int, show::usage_of_whom>;
using Scheduler = ShownInteger<int, show::scheduler>;
using PriorityOf = ShownInteger<int, show::priority_of>;
using CpuSetIn = ShownPointer<GuestIn<u8>, show::cpu_set_in>;
using CpuSetOut = ShownPointer<GuestOut<u8>, show::cpu_set_out>;
using NumberOut = ShownPointer<GuestOut<u32>, show::number_out>;
using FutexOperation = ShownInteger<int, show::futex_operation>;
using FutexValue = ShownInteger<u32, show::futex_value>;
using FutexTimeout = ShownPointer<GuestAddress, show::futex_timeout>;
using FutexTarget = ShownPointer<GuestAddress, show::futex_target>;
using FutexValue3 = ShownInteger<u32, show::futex_value3>;

// --- Signals
using Signal = ShownInteger<int, show::signal_number>;
using SignalSetIn = ShownPointer<GuestIn<abi::SigSet>, show::signal_set_in>;
using SignalSetOut = ShownPointer<GuestOut<abi::SigSet>, show::signal_set_out>;
using MaskHow = ShownInteger<int, show::mask_how>;
using SignalFrame = ShownInteger<u64, show::signal_frame>;

// --- Times
using ClockId = ShownInteger<int, show::clock_id>;
using TimerFlags = ShownInteger<int, show::timer_flags>;
using ItimerKind = ShownInteger<int, show::itimer_kind>;
using Remaining = ShownPointer<GuestOut<abi::Timespec>, show::remaining>;
using TimerIdOut = ShownPointer<GuestOut<s32>, show::timer_id_out>;
using TimerfdFlags = ShownInteger<u32, show::timerfd_flags>;
using TimerfdSetFlags = ShownInteger<u32, show::timerfd_set_flags>;

// --- Waiting
using PollFds = ShownPointer<GuestInOut<abi::PollFd>, show::poll_files>;
using FdSet = ShownPointer<GuestInOut<u64>, show::descriptor_set>;
using SelectTimeout = ShownPointer<GuestInOut<abi::Timeval>, show::select_timeout>;
using PselectTimeout = ShownPointer<GuestInOut<abi::Timespec>, show::pselect_timeout>;
using EpollFlags = ShownInteger<u32, show::epoll_flags>;
using EpollOperation = ShownInteger<int, show::epoll_operation>;
using EpollEvents = ShownPointer<GuestOut<abi::EpollEvent>, show::epoll_events>;

// --- Sockets
using SocketFamily = ShownInteger<int, show::socket_family>;
using SocketType = ShownInteger<int, show::socket_type>;
using SocketProtocol = ShownInteger<int, show::socket_protocol>;
using SocketFlags = ShownInteger<u32, show::socket_flags>;
using SocketAddress = ShownPointer<GuestAddress, show::socket_address>;
using SocketAddressOut = ShownPointer<GuestAddress, show::socket_address_out>;
using SocketLength = ShownPointer<GuestInOut<u32>, show::socket_length>;
using ShutdownHow = ShownInteger<int, show::shutdown_how>;
using MessageFlags = ShownInteger<u32, show::message_flags>;
using MessageOut = ShownPointer<GuestInOut<abi::MsgHdr>, show::message_out>;
using SocketLevel = ShownInteger<int, show::socket_level>;
using SocketOption = ShownInteger<int, show::socket_option>;
using OptionIn = ShownPointer<GuestAddress, show::option_in>;
using OptionOut = ShownPointer<GuestAddress, show::option_out>;

// --- System V IPC
using IpcKey = ShownInteger<s32, show::ipc_key>;
using IpcFlags = ShownInteger<u32, show::ipc_flags>;
using IpcCommand = ShownInteger<int, show::ipc_command>;

}  // namespace teacup
