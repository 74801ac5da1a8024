#include "net/ports.h"

#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/base/arena_header.h"
#include "net/gateway.h"
#include "net/interfaces.h"

namespace teacup::net {

namespace {

constexpr u32 kEphemeral = kLastEphemeral - kFirstEphemeral + 1;

struct InternetState {
  PortTable tcp{true};
  PortTable udp{false};
  PortTable udplite{false};
};

InternetState& internet() {
  return *root<InternetState>(Root::kInternet);
}

// FNV-1a over both names: which of several sockets a peer is served by.
u32 mix(const IpName& to, const IpName& from) {
  u32 hash = 2166136261u;
  auto add = [&](const void* data, size_t size) {
    for (size_t i = 0; i < size; i++) hash = (hash ^ static_cast<const u8*>(data)[i]) * 16777619u;
  };
  add(to.address.bytes, sizeof to.address.bytes);
  add(from.address.bytes, sizeof from.address.bytes);
  add(&to.port, sizeof to.port);
  add(&from.port, sizeof from.port);
  return hash ^ hash >> 16;
}

}  // namespace

void ports_start() {
  auto created = make<InternetState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kInternet, created.value());
}

PortTable& tcp_ports() {
  return internet().tcp;
}
PortTable& udp_ports() {
  return internet().udp;
}
PortTable& udplite_ports() {
  return internet().udplite;
}

// --- Names.

bool Claim::takes_v4() const {
  if (family == abi::kAF_INET || name.address.is_v4()) return true;
  return name.address.is_any() && !v6_only;
}

bool Claim::takes_v6() const {
  return family == abi::kAF_INET6 && !name.address.is_v4();
}

bool Claim::covers(const IpAddress& to) const {
  if (name.address.is_any()) return to.is_v4() ? takes_v4() : takes_v6();
  return name.address == to;
}

bool Claim::overlaps(const Claim& other) const {
  // A socket of IPv6 that connecting gave its address is still thought to be in the way of IPv4's.
  if (family == abi::kAF_INET && name.address.is_any() && !other.v6_only) return true;
  if (name.address.is_any() && other.name.address.is_any())
    return (takes_v4() && other.takes_v4()) || (takes_v6() && other.takes_v6());
  if (name.address.is_any()) return covers(other.name.address);
  return other.covers(name.address);
}

void Binding::release() {
  LockGuard guard(table_.lock_);
  if (node_.linked()) PortTable::Bindings::remove(*this);
  user_ = nullptr;
  owner_ = nullptr;
}

// --- Taking names.

// As bind(2) and listen(2) see it. `any_port`: another will do as well, so nothing is shared.
bool PortTable::conflicts_locked(const Claim& claim, const Binding& self, bool any_port) {
  auto both = [&](const Setting<bool> SocketOptions::*option, const Binding& other) {
    return self.options_.*option && other.options_.*option;
  };
  auto any_conflicts = [&](Bindings& bindings) {
    for (Binding& other : bindings) {
      if (&other == &self || other.port() != claim.name.port || !claim.overlaps(other.claim_)) continue;
      s32 device = self.options_.bound_interface, others = other.options_.bound_interface;
      if (device != 0 && others != 0 && device != others) continue;
      if (any_port) return true;
      if (both(&SocketOptions::reuse_address, other) && !other.listening_) continue;
      if (both(&SocketOptions::reuse_port, other) && claim.uid == other.claim_.uid) continue;
      return true;
    }
    return false;
  };
  Bucket& at = bucket(claim.name.port);
  return any_conflicts(at.bound) || any_conflicts(at.accepted);
}

// Without a binding the port is an automatic one, which is none that connections were accepted on.
bool PortTable::tuple_taken_locked(const Claim& claim, const Binding* self) {
  auto has = [&](Bindings& bindings) {
    for (Binding& other : bindings) {
      if (&other == self || !other.claim_.has_remote) continue;
      if (other.claim_.name == claim.name && other.claim_.remote == claim.remote) return true;
    }
    return false;
  };
  Bucket& at = bucket(claim.name.port);
  return has(at.bound) || (self != nullptr && has(at.accepted));
}

template <typename Free>
Result<u16> PortTable::choose_locked(Free is_free) {
  if (next_ == 0) next_ = static_cast<u32>(gate::monotonic_now() >> 10);
  for (u32 i = 0; i < kEphemeral; i++) {
    u16 port = static_cast<u16>(kFirstEphemeral + next_++ % kEphemeral);
    if (is_free(port)) return port;
  }
  return Errno::ADDRINUSE;
}

Result<Ref<Binding>> PortTable::make_binding(const Claim& claim, const SocketOptions& options, PortUser* user,
                                             bool is_explicit) {
  Ref<Binding> binding = TRY(make_ref<Binding>(*this, options));
  binding->claim_ = claim;
  binding->explicit_ = is_explicit;
  binding->user_ = user;
  return binding;
}

Result<Ref<Binding>> PortTable::bind(const Claim& claim, const SocketOptions& options, PortUser* user) {
  Ref<Binding> binding = TRY(make_binding(claim, options, user, true));
  Claim& own = binding->claim_;
  LockGuard guard(lock_);
  if (own.name.port == 0) {
    own.name.port = TRY(choose_locked([&](u16 port) {
      own.name.port = port;
      return !conflicts_locked(own, *binding, true);
    }));
  } else if (conflicts_locked(own, *binding, false)) {
    return Errno::ADDRINUSE;
  }
  // ipv6(7): one of an address of its own has to do with that family only.
  if (!own.name.address.is_v4() && !own.name.address.is_any()) own.v6_only = true;
  binding->bound_ = own.name;
  bucket(own.name.port).bound.push_back(*binding);
  return binding;
}

Result<Ref<Binding>> PortTable::bind_for_connection(const Claim& claim, const SocketOptions& options,
                                                    PortUser* user) {
  Ref<Binding> binding = TRY(make_binding(claim, options, user, false));
  Claim& own = binding->claim_;
  LockGuard guard(lock_);
  auto chosen = choose_locked([&](u16 port) {
    own.name.port = port;
    if (port == own.remote.port && own.name.address == own.remote.address) return false;
    for (Binding& other : bucket(port).bound) {
      if (other.port() == port && (other.explicit_ || !streams_)) return false;
    }
    return !tuple_taken_locked(own, nullptr);
  });
  if (!chosen.ok()) return streams_ ? Errno::ADDRNOTAVAIL : Errno::AGAIN;
  binding->bound_ = own.name;
  bucket(own.name.port).bound.push_back(*binding);
  return binding;
}

Result<Ref<Binding>> PortTable::bind_accepted(const Claim& claim, const SocketOptions& options) {
  Ref<Binding> binding = TRY(make_binding(claim, options, nullptr, true));
  LockGuard guard(lock_);
  bucket(claim.name.port).accepted.push_back(*binding);
  return binding;
}

Result<void> PortTable::listen(Binding& binding, PortUser& user) {
  LockGuard guard(lock_);
  if (conflicts_locked(binding.claim_, binding, false)) return Errno::ADDRINUSE;
  binding.listening_ = true;
  binding.user_ = &user;
  tell_listening_locked(binding.port());
  return {};
}

void PortTable::stop_listening(Binding& binding) {
  LockGuard guard(lock_);
  binding.listening_ = false;
  binding.user_ = nullptr;
  tell_listening_locked(binding.port());
}

// Those who come in by a published port are for lo's own address, or eth0's.
void PortTable::tell_listening_locked(u16 port) {
  bool listening = false;
  for (Binding& binding : bucket(port).bound) {
    if (binding.port() != port || !binding.listening_) continue;
    for (const Interface& interface : interfaces()) {
      listening |= binding.claim_.covers(interface.address(abi::kAF_INET)) ||
                   binding.claim_.covers(interface.address(abi::kAF_INET6));
    }
  }
  gateway_set_listening(port, listening);
}

Result<void> PortTable::set_remote(Binding& binding, const IpName& local, const IpName& remote) {
  Claim claim = binding.claim_;
  claim.name.address = local.address;
  claim.remote = remote;
  claim.has_remote = true;
  LockGuard guard(lock_);
  if (streams_ && tuple_taken_locked(claim, &binding)) return Errno::ADDRNOTAVAIL;
  binding.claim_ = claim;
  return {};
}

void PortTable::clear_remote(Binding& binding, const IpName& local) {
  LockGuard guard(lock_);
  binding.claim_.name.address = local.address;
  binding.claim_.has_remote = false;
}

void PortTable::set_owner(Binding& binding, PortOwner* owner) {
  LockGuard guard(lock_);
  binding.owner_ = owner;
}

// --- Finding.

// The more of its name and its peer's a socket has fixed, the better it fits; negative: not at all.
int PortTable::score(const Binding& binding, const IpName& to, const IpName& from, s32 interface) const {
  const Claim& claim = binding.claim_;
  if (claim.name.port != to.port || !claim.covers(to.address)) return -1;
  s32 device = binding.options_.bound_interface;
  if (device != 0 && device != interface) return -1;
  int score = (claim.name.address.is_any() ? 0 : 2) + (device != 0 ? 2 : 0);
  if (claim.has_remote) {
    if (claim.remote.port != from.port || !(claim.remote.address == from.address)) return -1;
    score += 4;
  }
  bool same_family = to.address.is_v4() == (claim.family == abi::kAF_INET);
  return 2 * score + (same_family ? 1 : 0);
}

PortUser* PortTable::find(const IpName& to, const IpName& from, s32 interface, bool listeners) {
  LockGuard guard(lock_);
  Binding* best = nullptr;
  int best_score = -1;
  u32 equals = 0;
  for (Binding& binding : bucket(to.port).bound) {
    if (binding.user_ == nullptr || (listeners && !binding.listening_)) continue;
    int fits = score(binding, to, from, interface);
    if (fits < 0 || fits < best_score) continue;
    bool shares = best != nullptr && fits == best_score && binding.options_.reuse_port;
    if (fits == best_score && !shares) continue;
    equals = shares ? equals + 1 : 1;
    best = &binding;
    best_score = fits;
  }
  if (best == nullptr) return nullptr;
  if (equals > 1) {
    u32 wanted = mix(to, from) % equals;
    for (Binding& binding : bucket(to.port).bound) {
      if (binding.user_ == nullptr || (listeners && !binding.listening_)) continue;
      if (score(binding, to, from, interface) != best_score || !binding.options_.reuse_port) continue;
      if (wanted-- > 0) continue;
      best = &binding;
      break;
    }
  }
  best->user_->ref_user();
  return best->user_;
}

}  // namespace teacup::net
