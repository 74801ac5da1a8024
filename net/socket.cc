#include "net/socket.h"

#include <algorithm>

#include "fs/pipe.h"
#include "kernel/abi/process.h"
#include "kernel/abi/time.h"
#include "kernel/abi/tty.h"
#include "kernel/base/memory.h"
#include "net/interfaces.h"

namespace teacup::net {

namespace {

constexpr u64 kSocketDevice = 8;  // st_dev of sockets
constexpr s64 kSecond = 1'000'000'000;
constexpr u64 kLargestForced = 0x3fffffff;
constexpr s32 kHugeNumber = 0x7fffffff;

Result<u64> timeout_from(std::span<const std::byte> value) {
  abi::Timeval time;
  if (value.size() < sizeof time) return Errno::INVAL;
  memcpy(&time, value.data(), sizeof time);
  if (time.tv_usec < 0 || time.tv_usec >= 1'000'000) return Errno::DOM;
  if (time.tv_sec < 0) return u64{1};  // over before it begins
  // From about a century on it is for ever.
  if (time.tv_sec > 1'000'000'000 * s64{3}) return u64{0};
  return static_cast<u64>(time.tv_sec * kSecond + time.tv_usec * 1000);
}

abi::Timeval timeout_as_time(u64 timeout) {
  return {static_cast<s64>(timeout / kSecond), static_cast<s64>(timeout % kSecond / 1000)};
}

}  // namespace

Ancillary::~Ancillary() {
  for (size_t i = 0; i < files.size(); i++) {
    if (files[i] != nullptr) files[i]->unref();
  }
}

void Ancillary::destroy(Ancillary* ancillary) {
  teacup::destroy(ancillary);
}

void ControlRecords::add(int level, int type, const void* data, u32 size) {
  if (count_ == std::size(records_) || size > sizeof records_[0].data) return;
  Record& record = records_[count_++];
  record.level = level;
  record.type = type;
  record.size = size;
  memcpy(record.data, data, size);
}

Socket* socket_of(fs::File& file) {
  return file.kind() == fs::FileKind::kSocket ? &static_cast<Socket&>(file) : nullptr;
}

Socket::Socket(int family, int type, int protocol, SocketOptions& options, u32 flags)
    : File(abi::kO_RDWR | (flags & abi::kO_NONBLOCK)),
      family_(static_cast<s16>(family)),
      type_(static_cast<s16>(type)),
      protocol_(static_cast<s16>(protocol)),
      options_(options),
      number_(fs::next_anonymous_number()) {}

// --- The file.

Result<size_t> Socket::read(IoDest& to, u64) {
  ReceiveRequest request;
  request.data = &to;
  if (to.remaining() == 0) return size_t{0};
  if (nonblocking()) request.flags |= abi::kMSG_DONTWAIT;
  return receive(request);
}

Result<void> Socket::stat(abi::Stat& stat) {
  stat = {};
  stat.dev = kSocketDevice;
  stat.ino = number_;
  stat.nlink = 1;
  stat.mode = abi::kS_IFSOCK | 0777;
  stat.blksize = kPageSize;
  return {};
}

void Socket::describe(TextBuffer& text) {
  text.add("socket:[").udec(number_).add(']');
}

Result<s64> Socket::ioctl(u32 command, GuestAddress argument) {
  u64 count;
  if (command == abi::kFIONREAD) {
    count = TRY(waiting_bytes());
  } else if (command == abi::kTIOCOUTQ) {
    count = TRY(outgoing_bytes());
  } else {
    return interface_ioctl(command, argument, family_);
  }
  TRY(GuestOut<s32>(argument.value).write(static_cast<s32>(count)));
  return 0;
}

// --- Options (socket(7)).

namespace {

// Those that are on or off and mean nothing more to this file.
Setting<bool>* flag_of(SocketOptions& options, int name) {
  switch (name) {
    case abi::kSO_PASSCRED:
      return &options.pass_credentials;
    case abi::kSO_REUSEADDR:
      return &options.reuse_address;
    case abi::kSO_REUSEPORT:
      return &options.reuse_port;
    case abi::kSO_KEEPALIVE:
      return &options.keep_alive;
    case abi::kSO_BROADCAST:
      return &options.broadcast;
    case abi::kSO_OOBINLINE:
      return &options.out_of_band_inline;
    case abi::kSO_DONTROUTE:
      return &options.dont_route;
    case abi::kSO_DEBUG:
      return &options.debug;
    case abi::kSO_NO_CHECK:
      return &options.no_check;
    case abi::kSO_BUSY_POLL:
      return &options.busy_poll;
    case abi::kSO_RXQ_OVFL:
      return &options.overflow_count;
  }
  return nullptr;
}

bool is_timestamp(int name) {
  return name == abi::kSO_TIMESTAMP || name == abi::kSO_TIMESTAMPNS || name == abi::kSO_TIMESTAMP_NEW ||
         name == abi::kSO_TIMESTAMPNS_NEW;
}

}  // namespace

Result<s32> take_option(std::span<const std::byte> value) {
  s32 number;
  if (value.size() < sizeof number) return Errno::INVAL;
  memcpy(&number, value.data(), sizeof number);
  return number;
}

Result<size_t> Socket::get_own_option(int, int, std::span<std::byte>) {
  return Errno::NOPROTOOPT;
}

Result<void> Socket::set_own_option(const Caller&, int, int, std::span<const std::byte>) {
  return Errno::NOPROTOOPT;
}

Result<s64> Socket::number_option(int name) {
  if (Setting<bool>* flag = flag_of(options_, name)) return flag->get() ? 1 : 0;
  if (is_timestamp(name)) return options_.timestamp == name;
  switch (name) {
    case abi::kSO_TYPE:
      return type_;
    case abi::kSO_DOMAIN:
      return family_;
    case abi::kSO_PROTOCOL:
      return protocol_;
    case abi::kSO_ERROR:
      return static_cast<s32>(take_error());
    case abi::kSO_ACCEPTCONN:
      return is_listening();
    case abi::kSO_SNDBUF:
      return static_cast<s64>(options_.send_buffer);
    case abi::kSO_RCVBUF:
      return static_cast<s64>(options_.receive_buffer);
    case abi::kSO_BINDTOIFINDEX:
      return options_.bound_interface.get();
    case abi::kSO_PRIORITY:
      return options_.priority.get();
    case abi::kSO_MARK:
      return options_.mark.get();
    case abi::kSO_RCVLOWAT:
      return options_.receive_low_water.get();
    case abi::kSO_SNDLOWAT:
      return 1;
    case abi::kSO_TIMESTAMPING:
    case abi::kSO_BSDCOMPAT:
    case abi::kSO_LOCK_FILTER:
    case abi::kSO_PASSSEC:
    case abi::kSO_NOFCS:
    case abi::kSO_ZEROCOPY:
      return 0;
    case abi::kSO_INCOMING_CPU:
      return options_.incoming_cpu.get();
    case abi::kSO_PEEK_OFF:
      if (family_ != abi::kAF_UNIX) return Errno::NOTSUP;
      return options_.peek_offset.get();
  }
  return Errno::NOPROTOOPT;
}

Result<size_t> Socket::get_option(int level, int name, std::span<std::byte> value) {
  if (level != abi::kSOL_SOCKET) return get_own_option(level, name, value);
  switch (name) {
    case abi::kSO_LINGER:
      return give_option(value, abi::Linger{options_.linger, options_.linger_seconds});
    case abi::kSO_RCVTIMEO:
    case abi::kSO_RCVTIMEO_NEW:
      return give_option(value, timeout_as_time(options_.receive_timeout));
    case abi::kSO_SNDTIMEO:
    case abi::kSO_SNDTIMEO_NEW:
      return give_option(value, timeout_as_time(options_.send_timeout));
    case abi::kSO_COOKIE:
      if (value.size() < sizeof number_) return Errno::INVAL;
      return give_option(value, number_);
    case abi::kSO_BINDTODEVICE:
      return give_device(value);
    case abi::kSO_MAX_PACING_RATE:
      return give_option(value, ~u32{0});
  }
  auto number = number_option(name);
  if (number.is(Errno::NOPROTOOPT)) return get_own_option(level, name, value);
  return give_option(value, static_cast<s32>(TRY(std::move(number))));
}

// The kernel doubles what was asked for, and says so. A negative number counts as a huge one.
Result<void> Socket::set_buffer(const Caller& caller, int name, u32 wanted) {
  bool force = name == abi::kSO_SNDBUFFORCE || name == abi::kSO_RCVBUFFORCE;
  if (force && !caller.has(abi::kCAP_NET_ADMIN)) return Errno::PERM;
  u64 size = std::min<u64>(wanted, force ? kLargestForced : kLargestBuffer / 2) * 2;
  if (name == abi::kSO_SNDBUF || name == abi::kSO_SNDBUFFORCE) {
    options_.send_buffer = std::max(size, kSmallestSendBuffer);
    options_.send_buffer_fixed = true;
  } else {
    options_.receive_buffer = std::max(size, kSmallestReceiveBuffer);
    options_.receive_buffer_fixed = true;
  }
  buffers_changed();
  return {};
}

// socket(7): who is bound to a device already may change it only with the capability.
Result<void> Socket::bind_to_device(const Caller& caller, s32 index) {
  if (options_.bound_interface != 0 && !caller.has(abi::kCAP_NET_RAW)) return Errno::PERM;
  options_.bound_interface = index;
  return {};
}

Result<size_t> Socket::give_device(std::span<std::byte> value) const {
  const Interface* device = find_interface(options_.bound_interface);
  if (device == nullptr) return size_t{0};
  constexpr size_t kLongest = 16;  // IFNAMSIZ
  if (value.size() < kLongest) return Errno::INVAL;
  memcpy(value.data(), device->name.data(), device->name.size());
  value[device->name.size()] = std::byte{0};
  return device->name.size() + 1;
}

Result<void> Socket::set_linger(std::span<const std::byte> value) {
  abi::Linger linger;
  if (value.size() < sizeof linger) return Errno::INVAL;
  memcpy(&linger, value.data(), sizeof linger);
  if (linger.on != 0) options_.linger_seconds = linger.seconds;
  options_.linger = linger.on != 0;
  return {};
}

Result<void> Socket::set_option(const Caller& caller, int level, int name, std::span<const std::byte> value) {
  if (level != abi::kSOL_SOCKET) return set_own_option(caller, level, name, value);
  if (name == abi::kSO_BINDTODEVICE) {
    std::string_view device(reinterpret_cast<const char*>(value.data()), value.size());
    device = device.substr(0, device.find('\0'));
    const Interface* found = find_interface(device);
    if (!device.empty() && found == nullptr) return Errno::NODEV;
    return bind_to_device(caller, device.empty() ? 0 : found->index);
  }
  s32 number = TRY(take_option(value));
  if (name == abi::kSO_BINDTOIFINDEX) {
    if (number != 0 && find_interface(number) == nullptr) return Errno::NODEV;
    return bind_to_device(caller, number);
  }
  bool administrator = caller.has(abi::kCAP_NET_ADMIN);
  if (Setting<bool>* flag = flag_of(options_, name)) {
    if (name == abi::kSO_DEBUG && number != 0 && !administrator) return Errno::ACCES;
    *flag = number != 0;
    return {};
  }
  if (is_timestamp(name)) {
    options_.timestamp = number != 0 ? name : 0;
    return {};
  }
  switch (name) {
    case abi::kSO_SNDBUFFORCE:
    case abi::kSO_RCVBUFFORCE:
    case abi::kSO_SNDBUF:
    case abi::kSO_RCVBUF:
      return set_buffer(caller, name, static_cast<u32>(number));
    case abi::kSO_RCVTIMEO:
    case abi::kSO_RCVTIMEO_NEW:
      options_.receive_timeout = TRY(timeout_from(value));
      return {};
    case abi::kSO_SNDTIMEO:
    case abi::kSO_SNDTIMEO_NEW:
      options_.send_timeout = TRY(timeout_from(value));
      return {};
    case abi::kSO_LINGER:
      return set_linger(value);
    case abi::kSO_PRIORITY:
      if ((number < 0 || number > 6) && !administrator) return Errno::PERM;
      options_.priority = number;
      return {};
    case abi::kSO_MARK:
      if (!administrator) return Errno::PERM;
      options_.mark = number;
      return {};
    case abi::kSO_RCVLOWAT:
      options_.receive_low_water = number < 0 ? kHugeNumber : std::max(number, 1);
      return {};
    case abi::kSO_BSDCOMPAT:
    case abi::kSO_TIMESTAMPING:
    case abi::kSO_PASSSEC:
    case abi::kSO_MAX_PACING_RATE:
      return {};
    case abi::kSO_INCOMING_CPU:
      options_.incoming_cpu = number;
      return {};
    case abi::kSO_PEEK_OFF:
      if (family_ != abi::kAF_UNIX) return Errno::NOTSUP;
      options_.peek_offset = number;
      return {};
  }
  return set_own_option(caller, level, name, value);
}

}  // namespace teacup::net
