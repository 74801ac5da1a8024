#include "net/unix.h"

#include <algorithm>

#include "fs/pipe.h"
#include "fs/vfs.h"
#include "kernel/abi/tty.h"
#include "kernel/base/memory.h"
#include "net/unix_endpoint.h"

namespace teacup::net {

namespace {

constexpr u32 kPathOffset = 2;  // of sun_path
constexpr u32 kLongestAddress = sizeof(abi::SockAddrUnix);
constexpr u64 kSocketDevice = 8;  // st_dev of sockets

// --- Names.

// An abstract name in use.
struct AbstractName {
  ListNode node;
  Ref<Name> name;
  Ref<Endpoint> endpoint;
};

struct NetState {
  Mutex lock{LockRank::kSocketNames};
  List<AbstractName, &AbstractName::node> names;
  u32 next_automatic = 0;
};

NetState& net() {
  return *root<NetState>(Root::kNet);
}

// On a bound socket's inode.
struct BoundSocket final : fs::Attachment {
  Ref<Endpoint> endpoint;
};

bool is_abstract(const Address& address) {
  return address.length > kPathOffset && address.bytes[kPathOffset] == 0;
}

std::string_view path_in(const Address& address) {
  std::string_view path(reinterpret_cast<const char*>(address.bytes) + kPathOffset,
                        address.length - kPathOffset);
  return path.substr(0, path.find('\0'));
}

bool same_address(const Address& a, const Address& b) {
  return a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

AbstractName* find_abstract_locked(const Address& address) {
  for (AbstractName& entry : net().names) {
    if (same_address(entry.name->address, address)) return &entry;
  }
  return nullptr;
}

Result<void> check_address(const Address& address) {
  if (address.length <= kPathOffset || address.length > kLongestAddress) return Errno::INVAL;
  if (address.family() != abi::kAF_UNIX) return Errno::INVAL;
  return {};
}

Result<void> claim_abstract(Ref<Name> name, Endpoint& endpoint) {
  AbstractName* entry = TRY(make<AbstractName>());
  entry->name = std::move(name);
  entry->endpoint = Ref<Endpoint>::share(&endpoint);
  {
    LockGuard guard(net().lock);
    if (find_abstract_locked(entry->name->address) == nullptr) {
      net().names.push_back(*entry);
      return {};
    }
  }
  destroy(entry);
  return Errno::ADDRINUSE;
}

void forget_abstract(const Address& address) {
  AbstractName* entry;
  {
    LockGuard guard(net().lock);
    entry = find_abstract_locked(address);
    if (entry != nullptr) List<AbstractName, &AbstractName::node>::remove(*entry);
  }
  destroy(entry);
}

Result<Ref<Endpoint>> find_endpoint(const Caller& caller, const Address& address) {
  TRY(check_address(address));
  if (is_abstract(address)) {
    LockGuard guard(net().lock);
    AbstractName* entry = find_abstract_locked(address);
    if (entry == nullptr) return Errno::CONNREFUSED;
    return entry->endpoint;
  }
  fs::Path path = TRY(fs::resolve(caller.names, nullptr, path_in(address), fs::kFollow));
  fs::Inode& inode = path.inode();
  TRY(fs::check_access(inode, caller.names.credentials, fs::kMayWrite));
  if (inode.type() != abi::kS_IFSOCK) return Errno::CONNREFUSED;
  LockGuard guard(inode.lock);
  if (!inode.attachment) return Errno::CONNREFUSED;
  return static_cast<BoundSocket*>(inode.attachment.get())->endpoint;
}

// --- The file.

class UnixSocket final : public Socket {
 public:
  UnixSocket(Ref<Endpoint> endpoint, u32 flags)
      : Socket(abi::kO_RDWR | (flags & abi::kO_NONBLOCK)),
        endpoint_(std::move(endpoint)),
        number_(fs::next_anonymous_number()) {}
  ~UnixSocket() override {
    Ref<Name> name = endpoint_->name();
    endpoint_->close();
    if (name && is_abstract(name->address)) forget_abstract(name->address);
  }

  Endpoint& endpoint() { return *endpoint_; }

  fs::FileKind kind() const override { return fs::FileKind::kSocket; }
  u32 poll() override { return endpoint_->poll(); }
  WaitQueue* wait_queue() override { return &endpoint_->queue; }
  Result<size_t> read(IoDest& to, u64) override {
    ReceiveRequest request;
    request.data = &to;
    return receive(request);
  }
  // Without a caller to take an identity from.
  Result<size_t> write(IoSource& from, u64) override {
    SendRequest request;
    request.data = &from;
    return send_as(request, endpoint_->own_identity, nullptr);
  }
  Result<s64> ioctl(u32 command, GuestAddress argument) override {
    u64 count;
    if (command == abi::kFIONREAD) {
      if (endpoint_->state() == Endpoint::State::kListening) return Errno::INVAL;
      count = endpoint_->queued_bytes();
    } else if (command == abi::kTIOCOUTQ) {
      count = endpoint_->outgoing_bytes();
    } else {
      return Errno::NOTTY;
    }
    TRY(GuestOut<s32>(argument.value).write(static_cast<s32>(count)));
    return 0;
  }
  Result<void> stat(abi::Stat& stat) override {
    stat = {};
    stat.dev = kSocketDevice;
    stat.ino = number_;
    stat.nlink = 1;
    stat.mode = abi::kS_IFSOCK | 0777;
    stat.blksize = kPageSize;
    return {};
  }
  void describe(TextBuffer& text) override { text.add("socket:[").udec(number_).add(']'); }

  Result<void> bind(const Caller& caller, const Address& address) override;
  Result<void> listen(const Caller& caller, int backlog) override {
    return endpoint_->listen(backlog, caller.identity);
  }
  Result<void> connect(const Caller& caller, const Address& address) override;
  Result<Ref<Socket>> accept(u32 flags) override {
    Ref<Endpoint> accepted = TRY(endpoint_->accept());
    return Ref<Socket>(TRY(make_ref<UnixSocket>(std::move(accepted), flags)));
  }
  Result<void> shutdown(int how) override { return endpoint_->shutdown(how); }
  Result<size_t> send(const Caller& caller, SendRequest& request) override;
  Result<size_t> receive(ReceiveRequest& request) override { return endpoint_->receive(request); }
  Result<Address> local_address() override { return address_of(endpoint_->name()); }
  Result<Address> peer_address() override;
  Result<size_t> get_option(int level, int name, std::span<std::byte> value) override;
  Result<void> set_option(int level, int name, std::span<const std::byte> value) override;
  bool pass_credentials() const override { return endpoint_->pass_credentials.load(); }
  int type() const override { return endpoint_->type; }

 private:
  static Address address_of(const Ref<Name>& name) {
    if (name) return name->address;
    Address none;
    none.length = kPathOffset;
    none.bytes[0] = abi::kAF_UNIX;
    return none;
  }
  Result<size_t> send_as(SendRequest& request, const abi::UCred& sender, Endpoint* target) {
    if (request.has_sender) return transmit(request, request.sender, target);
    return transmit(request, sender, target);
  }
  Result<size_t> transmit(SendRequest& request, const abi::UCred& sender, Endpoint* target) {
    if (endpoint_->is_stream()) return endpoint_->send_stream(request, sender);
    return endpoint_->send_message(request, sender, target);
  }
  Result<void> bind_path(const Caller& caller, Ref<Name> name);
  Result<void> bind_automatically();

  Ref<Endpoint> endpoint_;
  u64 number_;
};

}  // namespace

void net_start() {
  auto created = make<NetState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kNet, created.value());
}

Ancillary::~Ancillary() {
  for (size_t i = 0; i < files.size(); i++) {
    if (files[i] != nullptr) files[i]->unref();
  }
}

void Ancillary::destroy(Ancillary* ancillary) {
  teacup::destroy(ancillary);
}

Socket* socket_of(fs::File& file) {
  return file.kind() == fs::FileKind::kSocket ? &static_cast<Socket&>(file) : nullptr;
}

namespace {

Result<void> UnixSocket::bind_path(const Caller& caller, Ref<Name> name) {
  auto made = fs::make_node(caller.names, nullptr, path_in(name->address),
                            abi::kS_IFSOCK | (0777 & ~caller.names.context.umask()), 0);
  if (made.is(Errno::EXIST)) return Errno::ADDRINUSE;
  fs::Path path = TRY(std::move(made));
  auto bound = Ref<BoundSocket>::adopt(TRY(make<BoundSocket>()));
  bound->endpoint = endpoint_;
  // With its NUL, as Linux gives it back.
  u32 length = kPathOffset + static_cast<u32>(path_in(name->address).size()) + 1;
  name->address.length = std::min(length, kLongestAddress);
  name->path = path;
  TRY(endpoint_->bind(std::move(name)));
  LockGuard guard(path.inode().lock);
  path.inode().attachment = std::move(bound);
  return {};
}

// A name of five hexadecimal digits that nobody uses.
Result<void> UnixSocket::bind_automatically() {
  for (int attempt = 0; attempt < 1 << 20; attempt++) {
    u32 number;
    {
      LockGuard guard(net().lock);
      number = net().next_automatic++ & 0xfffff;
    }
    Ref<Name> name = TRY(make_ref<Name>());
    name->address.bytes[0] = abi::kAF_UNIX;
    name->address.length = kPathOffset + 6;
    char digits[8];
    TextBuffer(digits).hex(number, 5);
    memcpy(name->address.bytes + kPathOffset + 1, digits, 5);
    auto claimed = claim_abstract(name, *endpoint_);
    if (claimed.is(Errno::ADDRINUSE)) continue;
    TRY(std::move(claimed));
    return endpoint_->bind(std::move(name));
  }
  return Errno::NOSPC;
}

Result<void> UnixSocket::bind(const Caller& caller, const Address& address) {
  if (address.length == kPathOffset && address.family() == abi::kAF_UNIX) {
    if (endpoint_->name()) return {};
    return bind_automatically();
  }
  TRY(check_address(address));
  if (endpoint_->name()) return Errno::INVAL;
  Ref<Name> name = TRY(make_ref<Name>());
  name->address = address;
  if (!is_abstract(address)) return bind_path(caller, std::move(name));
  TRY(claim_abstract(name, *endpoint_));
  return endpoint_->bind(std::move(name));
}

Result<void> UnixSocket::connect(const Caller& caller, const Address& address) {
  if (endpoint_->is_datagram() && address.family() == abi::kAF_UNSPEC) {
    endpoint_->set_peer(nullptr);
    return {};
  }
  Ref<Endpoint> target = TRY(find_endpoint(caller, address));
  if (target->type != endpoint_->type) return Errno::PROTOTYPE;
  endpoint_->own_identity = caller.identity;
  if (!endpoint_->is_datagram()) return endpoint_->connect(*target, caller.identity);
  Ref<Endpoint> theirs = target->peer();
  if (theirs && theirs.get() != endpoint_.get()) return Errno::PERM;
  endpoint_->set_peer(std::move(target));
  return {};
}

Result<size_t> UnixSocket::send(const Caller& caller, SendRequest& request) {
  bool addressed = request.to != nullptr && request.to->length > 0;
  if (addressed && endpoint_->is_datagram()) {
    Ref<Endpoint> target = TRY(find_endpoint(caller, *request.to));
    if (target->type != endpoint_->type) return Errno::PROTOTYPE;
    return send_as(request, caller.identity, target.get());
  }
  return send_as(request, caller.identity, nullptr);
}

Result<Address> UnixSocket::peer_address() {
  Ref<Endpoint> peer = endpoint_->peer();
  if (!peer) return Errno::NOTCONN;
  return address_of(peer->name());
}

// --- Options (socket(7)).

Result<size_t> UnixSocket::get_option(int level, int name, std::span<std::byte> value) {
  if (level != abi::kSOL_SOCKET) return Errno::NOTSUP;
  auto give = [&](const auto& option) -> size_t {
    memcpy(value.data(), &option, std::min(value.size(), sizeof option));
    return sizeof option;
  };
  switch (name) {
    case abi::kSO_TYPE:
      return give(s32{endpoint_->type});
    case abi::kSO_DOMAIN:
      return give(s32{abi::kAF_UNIX});
    case abi::kSO_PROTOCOL:
      return give(s32{0});
    case abi::kSO_ERROR:
      return give(static_cast<s32>(endpoint_->take_error()));
    case abi::kSO_ACCEPTCONN:
      return give(s32{endpoint_->state() == Endpoint::State::kListening ? 1 : 0});
    case abi::kSO_SNDBUF:
      return give(static_cast<s32>(endpoint_->send_buffer.load()));
    case abi::kSO_RCVBUF:
      return give(static_cast<s32>(endpoint_->receive_buffer.load()));
    case abi::kSO_PASSCRED:
      return give(s32{pass_credentials() ? 1 : 0});
    case abi::kSO_PEERCRED:
      return give(endpoint_->peer_identity);
    case abi::kSO_RCVLOWAT:
    case abi::kSO_SNDLOWAT:
      return give(s32{1});
    case abi::kSO_LINGER:
      return give(abi::Linger{});
    case abi::kSO_REUSEADDR:
    case abi::kSO_REUSEPORT:
    case abi::kSO_KEEPALIVE:
    case abi::kSO_BROADCAST:
    case abi::kSO_OOBINLINE:
    case abi::kSO_DONTROUTE:
    case abi::kSO_DEBUG:
    case abi::kSO_PRIORITY:
    case abi::kSO_TIMESTAMP:
      return give(s32{0});
  }
  return Errno::NOPROTOOPT;
}

Result<void> UnixSocket::set_option(int level, int name, std::span<const std::byte> value) {
  if (level != abi::kSOL_SOCKET) return Errno::NOTSUP;
  s32 number;
  if (value.size() < sizeof number) return Errno::INVAL;
  memcpy(&number, value.data(), sizeof number);
  // The kernel doubles what was asked for, and says so.
  u64 buffer = std::clamp<u64>(static_cast<u64>(std::max(number, 0)) * 2, kSmallestBuffer, kLargestBuffer);
  switch (name) {
    case abi::kSO_SNDBUF:
    case abi::kSO_SNDBUFFORCE:
      endpoint_->send_buffer.store(buffer);
      return {};
    case abi::kSO_RCVBUF:
    case abi::kSO_RCVBUFFORCE:
      endpoint_->receive_buffer.store(buffer);
      return {};
    case abi::kSO_PASSCRED:
      endpoint_->pass_credentials.store(number != 0);
      return {};
    case abi::kSO_REUSEADDR:
    case abi::kSO_REUSEPORT:
    case abi::kSO_KEEPALIVE:
    case abi::kSO_BROADCAST:
    case abi::kSO_OOBINLINE:
    case abi::kSO_DONTROUTE:
    case abi::kSO_LINGER:
    case abi::kSO_PRIORITY:
    case abi::kSO_RCVLOWAT:
    case abi::kSO_TIMESTAMP:
      return {};
  }
  return Errno::NOPROTOOPT;
}

Result<void> check_kind(int type, int protocol) {
  if (protocol != 0 && protocol != abi::kAF_UNIX) return Errno::PROTONOSUPPORT;
  if (type != abi::kSOCK_STREAM && type != abi::kSOCK_DGRAM && type != abi::kSOCK_SEQPACKET)
    return Errno::SOCKTNOSUPPORT;
  return {};
}

}  // namespace

Result<Ref<Socket>> make_unix_socket(int type, int protocol, u32 flags) {
  if (type == abi::kSOCK_RAW) type = abi::kSOCK_DGRAM;  // as unix(7) has it
  TRY(check_kind(type, protocol));
  return Ref<Socket>(TRY(make_ref<UnixSocket>(TRY(Endpoint::create(type)), flags)));
}

Result<SocketPair> make_unix_pair(const Caller& caller, int type, int protocol, u32 flags) {
  if (type == abi::kSOCK_RAW) type = abi::kSOCK_DGRAM;
  TRY(check_kind(type, protocol));
  auto first = TRY(make_ref<UnixSocket>(TRY(Endpoint::create(type)), flags));
  auto second = TRY(make_ref<UnixSocket>(TRY(Endpoint::create(type)), flags));
  Endpoint::make_pair(first->endpoint(), second->endpoint(), caller.identity);
  return SocketPair{std::move(first), std::move(second)};
}

}  // namespace teacup::net
