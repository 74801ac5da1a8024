#include "net/unix.h"

#include <algorithm>

#include "fs/vfs.h"
#include "kernel/base/memory.h"
#include "net/unix_endpoint.h"
#include "net/unix_rights.h"

namespace teacup::net {

namespace {

constexpr u32 kPathOffset = 2;  // of sun_path
constexpr u32 kLongestAddress = sizeof(abi::SockAddrUnix);

// --- Names.

// An abstract name in use.
struct AbstractName {
  ListNode node;
  Ref<Name> name;
  Ref<Endpoint> endpoint;
};

// Every socket, for /proc/net/unix.
class Listed {
 public:
  virtual UnixInfo info() = 0;
  ListNode all_node;

 protected:
  ~Listed() = default;
};

struct NetState {
  Mutex lock{LockRank::kSocketNames};
  List<Listed, &Listed::all_node> sockets;
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

// Each type of socket has names of its own.
AbstractName* find_abstract_locked(const Address& address, int type) {
  for (AbstractName& entry : net().names) {
    if (entry.endpoint->type == type && same_address(entry.name->address, address)) return &entry;
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
    if (find_abstract_locked(entry->name->address, endpoint.type) == nullptr) {
      net().names.push_back(*entry);
      return {};
    }
  }
  destroy(entry);
  return Errno::ADDRINUSE;
}

// If it is this endpoint's: those that a listener accepted are called as it is, but the name is not theirs.
void forget_abstract(const Address& address, const Endpoint& endpoint) {
  AbstractName* entry;
  {
    LockGuard guard(net().lock);
    entry = find_abstract_locked(address, endpoint.type);
    if (entry == nullptr || entry->endpoint.get() != &endpoint) return;
    List<AbstractName, &AbstractName::node>::remove(*entry);
  }
  destroy(entry);
}

Result<Ref<Endpoint>> find_endpoint(const Caller& caller, const Address& address, int type) {
  TRY(check_address(address));
  if (is_abstract(address)) {
    LockGuard guard(net().lock);
    AbstractName* entry = find_abstract_locked(address, type);
    if (entry == nullptr) return Errno::CONNREFUSED;
    return entry->endpoint;
  }
  fs::Path path = TRY(fs::resolve(caller.names, nullptr, path_in(address), fs::kFollow));
  fs::Inode& inode = path.inode();
  TRY(fs::check_access(inode, caller.names.credentials, fs::kMayWrite));
  if (inode.type() != abi::kS_IFSOCK) return Errno::CONNREFUSED;
  Ref<Endpoint> found;
  {
    LockGuard guard(inode.lock);
    fs::InodeExtras* extras = inode.extras();
    if (extras == nullptr || !extras->attachment) return Errno::CONNREFUSED;
    found = static_cast<BoundSocket*>(extras->attachment.get())->endpoint;
  }
  if (found->is_closed()) return Errno::CONNREFUSED;
  return found;
}

// --- The file.

class UnixSocket final : public Socket, public Listed {
 public:
  UnixSocket(Ref<Endpoint> endpoint, u32 flags)
      : Socket(abi::kAF_UNIX, endpoint->type, 0, endpoint->options, flags), endpoint_(std::move(endpoint)) {
    endpoint_->file = this;
    endpoint_->file_number.store(number(), std::memory_order_relaxed);
    LockGuard guard(net().lock);
    net().sockets.push_back(*this);
  }
  ~UnixSocket() override {
    {
      LockGuard guard(net().lock);
      List<Listed, &Listed::all_node>::remove(*this);
    }
    Ref<Name> name = endpoint_->name();
    endpoint_->file_number.store(0, std::memory_order_relaxed);
    endpoint_->close();
    if (name && is_abstract(name->address)) forget_abstract(name->address, *endpoint_);
    unix_rights().collect_if_due();
  }

  Endpoint& endpoint() { return *endpoint_; }
  Endpoint* unix_endpoint() override { return endpoint_.get(); }
  UnixInfo info() override {
    UnixInfo info{};
    info.type = type();
    info.listening = is_listening();
    info.connected = endpoint_->state() == Endpoint::State::kConnected;
    info.inode = number();
    endpoint_->describe(info);
    Address name = endpoint_->address();
    info.name_length = name.length > kPathOffset ? name.length - kPathOffset : 0;
    memcpy(info.name, name.bytes + kPathOffset, info.name_length);
    return info;
  }

  u32 poll() override { return endpoint_->poll(); }
  WaitQueue* wait_queue() override { return &endpoint_->queue; }
  // sendfile(2) and its kin, without a caller to take an identity from.
  Result<size_t> write(IoSource& from, u64) override {
    SendRequest request;
    request.data = &from;
    return send_as(request, endpoint_->own_identity, nullptr);
  }
  Result<void> bind(const Caller& caller, const Address& address) override;
  Result<void> listen(const Caller& caller, int backlog) override {
    return endpoint_->listen(backlog, caller.identity);
  }
  Result<void> connect(const Caller& caller, const Address& address, bool wait) override;
  Errno connect_timeout() const override { return Errno::AGAIN; }
  Result<Ref<Socket>> accept(u32 flags) override {
    Ref<Endpoint> accepted = TRY(endpoint_->accept(!nonblocking()));
    return Ref<Socket>(TRY(make_ref<UnixSocket>(std::move(accepted), flags)));
  }
  Result<void> shutdown(int how) override { return endpoint_->shutdown(how); }
  Result<size_t> send(const Caller& caller, SendRequest& request) override;
  Result<size_t> receive(ReceiveRequest& request) override { return endpoint_->receive(request); }
  Result<Address> local_address() override { return address_of(endpoint_->name()); }
  Result<Address> peer_address() override;
  bool is_listening() const override { return endpoint_->state() == Endpoint::State::kListening; }

 protected:
  Errno take_error() override { return endpoint_->take_error(); }
  Result<u64> waiting_bytes() override {
    if (is_listening()) return Errno::INVAL;
    return endpoint_->queued_bytes();
  }
  Result<u64> outgoing_bytes() override {
    if (is_listening()) return Errno::INVAL;
    return endpoint_->outgoing_bytes();
  }
  Result<size_t> get_own_option(int level, int name, std::span<std::byte> value) override;
  Result<void> set_own_option(const Caller&, int level, int, std::span<const std::byte>) override {
    return level == abi::kSOL_SOCKET ? Errno::NOPROTOOPT : Errno::NOTSUP;
  }

 private:
  static Address address_of(const Ref<Name>& name) {
    if (name) return name->address;
    Address none;
    none.length = kPathOffset;
    none.bytes[0] = abi::kAF_UNIX;
    return none;
  }
  Result<size_t> send_as(SendRequest& request, const abi::UCred& sender, Endpoint* target) {
    bool sends = endpoint_->is_datagram() || endpoint_->state() == Endpoint::State::kConnected;
    if (!endpoint_->is_stream() && sends) TRY(name_for_credentials());
    if (request.has_sender) return transmit(request, request.sender, target);
    return transmit(request, sender, target);
  }
  Result<size_t> transmit(SendRequest& request, const abi::UCred& sender, Endpoint* target) {
    if (endpoint_->is_stream()) return endpoint_->send_stream(request, sender);
    return endpoint_->send_message(request, sender, target);
  }
  Result<void> bind_path(const Caller& caller, Ref<Name> name);
  Result<void> bind_automatically();
  // unix(7), SO_PASSCRED: who wants to know senders has a name, too.
  Result<void> name_for_credentials() {
    if (!options().pass_credentials || endpoint_->name()) return {};
    return bind_automatically();
  }

  Ref<Endpoint> endpoint_;
};

}  // namespace

void unix_start() {
  auto created = make<NetState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kNet, created.value());
}

namespace {

Result<void> UnixSocket::bind_path(const Caller& caller, Ref<Name> name) {
  auto made = fs::make_node(caller.names, nullptr, path_in(name->address),
                            abi::kS_IFSOCK | (0777 & ~caller.names.context.umask()), 0);
  if (made.is(Errno::EXIST)) return Errno::ADDRINUSE;
  fs::Path path = TRY(std::move(made));
  auto bound = Ref<BoundSocket>::adopt(TRY(make<BoundSocket>()));
  bound->endpoint = endpoint_;
  fs::InodeExtras* extras = TRY(path.inode().make_extras());
  // With its NUL, as Linux gives it back.
  u32 length = kPathOffset + static_cast<u32>(path_in(name->address).size()) + 1;
  name->address.length = std::min(length, kLongestAddress);
  name->path = path;
  TRY(endpoint_->bind(std::move(name)));
  LockGuard guard(path.inode().lock);
  extras->attachment = std::move(bound);
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
  if (endpoint_->name()) {
    bool taken = !is_abstract(address) && fs::resolve(caller.names, nullptr, path_in(address), 0).ok();
    return taken ? Errno::ADDRINUSE : Errno::INVAL;
  }
  Ref<Name> name = TRY(make_ref<Name>());
  name->address = address;
  if (!is_abstract(address)) return bind_path(caller, std::move(name));
  TRY(claim_abstract(name, *endpoint_));
  return endpoint_->bind(std::move(name));
}

Result<void> UnixSocket::connect(const Caller& caller, const Address& address, bool) {
  if (endpoint_->is_datagram() && address.family() == abi::kAF_UNSPEC) {
    endpoint_->set_peer(nullptr);
    return {};
  }
  TRY(check_address(address));
  TRY(name_for_credentials());
  Ref<Endpoint> target = TRY(find_endpoint(caller, address, type()));
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
  if (addressed && endpoint_->is_datagram()) TRY(check_address(*request.to));
  if (addressed && endpoint_->is_datagram()) {
    TRY(name_for_credentials());
    TRY(endpoint_->check_send());
    Ref<Endpoint> target = TRY(find_endpoint(caller, *request.to, type()));
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

// --- Options (unix(7)).

Result<size_t> UnixSocket::get_own_option(int level, int name, std::span<std::byte> value) {
  if (level != abi::kSOL_SOCKET) return Errno::NOTSUP;
  if (name == abi::kSO_PEERCRED) return give_option(value, endpoint_->peer_identity);
  return Errno::NOPROTOOPT;
}

Result<void> check_kind(int type, int protocol) {
  if (protocol != 0 && protocol != abi::kAF_UNIX) return Errno::PROTONOSUPPORT;
  if (type != abi::kSOCK_STREAM && type != abi::kSOCK_DGRAM && type != abi::kSOCK_SEQPACKET)
    return Errno::SOCKTNOSUPPORT;
  return {};
}

}  // namespace

void visit_unix_sockets(void (*visit)(void* context, const UnixInfo& info), void* context) {
  LockGuard guard(net().lock);
  for (Listed& socket : net().sockets) visit(context, socket.info());
}

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
