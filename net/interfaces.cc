#include "net/interfaces.h"

#include <algorithm>

#include "kernel/abi/boot.h"
#include "kernel/base/memory.h"

namespace teacup::net {

namespace {

constexpr u32 kUp = abi::kIFF_UP | abi::kIFF_RUNNING;
constexpr u8 kHostScope = 254;

constexpr Interface kLoopback = {"lo",
                                 kLoopbackIndex,
                                 kUp | abi::kIFF_LOOPBACK,
                                 abi::kARPHRD_LOOPBACK,
                                 65536,
                                 1000,
                                 {},
                                 {},
                                 {127, 0, 0, 1},
                                 8,
                                 {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
                                 128,
                                 kHostScope};

// That of IPv6 is a unique local one whose number says whose it is. The hardware's is made of IPv4's, as
// containers have it.
constexpr Interface kEthernet = {
    "eth0",
    kEthernetIndex,
    kUp | abi::kIFF_BROADCAST | abi::kIFF_MULTICAST,
    abi::kARPHRD_ETHER,
    1500,
    1000,
    {0x02, 0x42, abi::kOwnAddress[0], abi::kOwnAddress[1], abi::kOwnAddress[2], abi::kOwnAddress[3]},
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
    {abi::kOwnAddress[0], abi::kOwnAddress[1], abi::kOwnAddress[2], abi::kOwnAddress[3]},
    24,
    {0xfd, 't', 'e', 'a', 'c', 'u', 'p', 0, 0, 0, 0, 0, 0, 0, 0, 2},
    64,
    0};

constexpr Interface kDownLoopback = [] {
  Interface down = kLoopback;
  down.flags &= ~kUp;
  return down;
}();

constexpr Interface kInterfaces[] = {kLoopback, kEthernet};

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

void set_name(InterfaceRequest& request, std::string_view name) {
  memset(request.name, 0, sizeof request.name);
  memcpy(request.name, name.data(), name.size());
}

void set_address(InterfaceRequest& request, const u8* address) {
  request.address = {};
  request.address.family = abi::kAF_INET;
  memcpy(request.address.address, address, sizeof request.address.address);
}

// Those that have an address, as many as there is room for.
Result<s64> list_interfaces(GuestAddress argument) {
  GuestInOut<InterfaceList> at(argument.value);
  InterfaceList list = TRY(at.read());
  size_t room = list.size > 0 ? static_cast<size_t>(list.size) / sizeof(InterfaceRequest) : 0;
  size_t count = 0;
  for (const Interface& interface : interfaces()) {
    if (!interface.is_up() || (list.buffer != 0 && count == room)) continue;
    InterfaceRequest one{};
    set_name(one, interface.name);
    set_address(one, interface.v4);
    if (list.buffer != 0) TRY(copy_to_guest(list.buffer + count * sizeof one, &one, sizeof one));
    count++;
  }
  list.size = static_cast<s32>(count * sizeof(InterfaceRequest));
  TRY(at.write(list));
  return 0;
}

// What an ioctl that takes an interface's name answers.
Result<void> describe(const Interface& interface, u32 command, InterfaceRequest& request) {
  constexpr u8 kNone[4] = {};
  u8 mask[4], broadcast[4];
  interface.v4_mask(mask);
  interface.v4_broadcast(broadcast);
  memset(request.bytes, 0, sizeof request.bytes);
  switch (command) {
    case abi::kSIOCGIFFLAGS:
      request.flags = static_cast<s16>(interface.flags);
      return {};
    case abi::kSIOCGIFADDR:
    case abi::kSIOCGIFDSTADDR:
      set_address(request, interface.v4);
      return {};
    case abi::kSIOCGIFBRDADDR:
      set_address(request, interface.is_loopback() ? kNone : broadcast);
      return {};
    case abi::kSIOCGIFNETMASK:
      set_address(request, mask);
      return {};
    case abi::kSIOCGIFMETRIC:
    case abi::kSIOCGIFMAP:
      return {};
    case abi::kSIOCGIFMTU:
      request.number = static_cast<s32>(interface.mtu);
      return {};
    case abi::kSIOCGIFHWADDR:
      request.address.family = interface.type;
      memcpy(request.bytes + sizeof(u16), interface.hardware, sizeof interface.hardware);
      return {};
    case abi::kSIOCGIFINDEX:
      request.number = interface.index;
      return {};
    case abi::kSIOCGIFTXQLEN:
      request.number = static_cast<s32>(interface.queue_length);
      return {};
    case abi::kSIOCETHTOOL:
      return Errno::NOTSUP;
  }
  return Errno::PERM;  // those that set something
}

}  // namespace

void Interface::v4_mask(u8 mask[4]) const {
  for (u32 i = 0; i < 4; i++) {
    u32 bits = std::min(8u, v4_bits - std::min<u32>(v4_bits, 8 * i));
    mask[i] = static_cast<u8>(0xff00 >> bits);
  }
}

void Interface::v4_broadcast(u8 address[4]) const {
  u8 mask[4];
  v4_mask(mask);
  for (u32 i = 0; i < 4; i++) address[i] = static_cast<u8>(v4[i] | ~mask[i]);
}

IpAddress Interface::address(int family) const {
  return family == abi::kAF_INET ? IpAddress::v4(v4) : IpAddress::v6(v6);
}

bool Interface::is_near(const IpAddress& to) const {
  if (!to.is_v4()) return memcmp(to.bytes, v6, v6_bits / 8) == 0;
  u8 mask[4];
  v4_mask(mask);
  for (u32 i = 0; i < 4; i++) {
    if (((to.v4_bytes()[i] ^ v4[i]) & mask[i]) != 0) return false;
  }
  return true;
}

std::span<const Interface> interfaces() {
  return is_network_up() ? std::span<const Interface>(kInterfaces) : std::span(&kDownLoopback, 1);
}

const Interface* find_interface(s32 index) {
  for (const Interface& interface : interfaces()) {
    if (interface.index == index) return &interface;
  }
  return nullptr;
}

const Interface* find_interface(std::string_view name) {
  for (const Interface& interface : interfaces()) {
    if (interface.name == name) return &interface;
  }
  return nullptr;
}

bool is_network_up() {
  return abi::boot_config().network != abi::NetworkMode::kNone;
}

IpAddress neighbour(int family) {
  IpAddress address = kEthernet.address(family);
  address.bytes[15] = 1;
  return address;
}

Result<s64> interface_ioctl(u32 command, GuestAddress argument, int family) {
  if (command < abi::kSIOCGIFNAME || command > abi::kSIOCGIFMAP) return Errno::NOTTY;
  if (command == abi::kSIOCGIFCONF) return list_interfaces(argument);
  GuestInOut<InterfaceRequest> at(argument.value);
  InterfaceRequest request = TRY(at.read());
  if (command == abi::kSIOCGIFNAME) {
    const Interface* found = find_interface(request.number);
    if (found == nullptr) return Errno::NODEV;
    set_name(request, found->name);
    TRY(at.write(request));
    return 0;
  }
  std::string_view name(request.name, sizeof request.name);
  const Interface* found = find_interface(name.substr(0, name.find('\0')));
  if (found == nullptr) return Errno::NODEV;
  bool inet_only = command == abi::kSIOCGIFADDR || command == abi::kSIOCGIFDSTADDR ||
                   command == abi::kSIOCGIFBRDADDR || command == abi::kSIOCGIFNETMASK;
  if (inet_only && family != abi::kAF_INET) return Errno::NOTTY;
  if (inet_only && !found->is_up()) return Errno::ADDRNOTAVAIL;
  TRY(describe(*found, command, request));
  TRY(at.write(request));
  return 0;
}

}  // namespace teacup::net
