#include "net/interfaces.h"

#include <algorithm>

#include "kernel/abi/boot.h"
#include "kernel/base/memory.h"

namespace teacup::net {

namespace {

constexpr u32 kUp = abi::kIFF_UP | abi::kIFF_RUNNING;

constexpr Interface kLoopback = {"lo",
                                 1,
                                 abi::kIFF_UP | abi::kIFF_LOOPBACK | abi::kIFF_RUNNING,
                                 abi::kARPHRD_LOOPBACK,
                                 65536,
                                 1000,
                                 {127, 0, 0, 1},
                                 8};

constexpr Interface kDownLoopback = [] {
  Interface down = kLoopback;
  down.flags &= ~kUp;
  return down;
}();

struct InterfaceRequest {  // struct ifreq
  char name[16];
  union {
    u8 bytes[24];
    s32 number;
    s16 flags;
    abi::SockAddrIn address;
  };
};
static_assert(sizeof(InterfaceRequest) == 40);

struct InterfaceList {  // struct ifconf
  s32 size;
  u32 pad_;
  u64 buffer;
};

void set_address(InterfaceRequest& request, const u8* address) {
  request.address = {};
  request.address.family = abi::kAF_INET;
  memcpy(request.address.address, address, sizeof request.address.address);
}

Result<s64> list_interfaces(GuestAddress argument) {
  GuestInOut<InterfaceList> at(argument.value);
  InterfaceList list = TRY(at.read());
  InterfaceRequest one{};
  memcpy(one.name, kLoopback.name.data(), kLoopback.name.size());
  set_address(one, kLoopback.v4);
  // It lists those that have an address.
  if (!is_loopback_up()) {
    list.size = 0;
  } else if (list.buffer == 0) {
    list.size = sizeof one;
  } else if (list.size >= static_cast<s32>(sizeof one)) {
    TRY(copy_to_guest(list.buffer, &one, sizeof one));
    list.size = sizeof one;
  } else {
    list.size = 0;
  }
  TRY(at.write(list));
  return 0;
}

}  // namespace

const Interface& loopback_interface() {
  return is_loopback_up() ? kLoopback : kDownLoopback;
}

bool is_loopback_up() {
  return abi::boot_config().network != abi::NetworkMode::kNone;
}

Result<s64> interface_ioctl(u32 command, GuestAddress argument, int family) {
  if (command < abi::kSIOCGIFNAME || command > abi::kSIOCGIFMAP) return Errno::NOTTY;
  if (command == abi::kSIOCGIFCONF) return list_interfaces(argument);
  GuestInOut<InterfaceRequest> at(argument.value);
  InterfaceRequest request = TRY(at.read());
  if (command == abi::kSIOCGIFNAME) {
    if (request.number != kLoopback.index) return Errno::NODEV;
    memset(request.name, 0, sizeof request.name);
    memcpy(request.name, kLoopback.name.data(), kLoopback.name.size());
    TRY(at.write(request));
    return 0;
  }
  std::string_view name(request.name, sizeof request.name);
  if (name.substr(0, name.find('\0')) != kLoopback.name) return Errno::NODEV;
  bool inet_only = command == abi::kSIOCGIFADDR || command == abi::kSIOCGIFDSTADDR ||
                   command == abi::kSIOCGIFBRDADDR || command == abi::kSIOCGIFNETMASK;
  if (inet_only && family != abi::kAF_INET) return Errno::NOTTY;
  if (inet_only && !is_loopback_up()) return Errno::ADDRNOTAVAIL;
  memset(request.bytes, 0, sizeof request.bytes);
  constexpr u8 kNone[4] = {0, 0, 0, 0}, kMask[4] = {255, 0, 0, 0};
  switch (command) {
    case abi::kSIOCGIFFLAGS:
      request.flags = static_cast<s16>(loopback_interface().flags);
      break;
    case abi::kSIOCGIFADDR:
    case abi::kSIOCGIFDSTADDR:
      set_address(request, kLoopback.v4);
      break;
    case abi::kSIOCGIFBRDADDR:
      set_address(request, kNone);
      break;
    case abi::kSIOCGIFNETMASK:
      set_address(request, kMask);
      break;
    case abi::kSIOCGIFMETRIC:
      request.number = 0;
      break;
    case abi::kSIOCGIFMTU:
      request.number = static_cast<s32>(kLoopback.mtu);
      break;
    case abi::kSIOCGIFHWADDR:
      request.address.family = kLoopback.type;
      break;
    case abi::kSIOCGIFINDEX:
      request.number = kLoopback.index;
      break;
    case abi::kSIOCGIFTXQLEN:
      request.number = static_cast<s32>(kLoopback.queue_length);
      break;
    case abi::kSIOCGIFMAP:
      break;
    case abi::kSIOCETHTOOL:
      return Errno::NOTSUP;
    default:
      // Those that set something.
      return Errno::PERM;
  }
  TRY(at.write(request));
  return 0;
}

}  // namespace teacup::net
