#include "net/unix_rights.h"

#include <optional>

#include "kernel/base/arena_header.h"

namespace teacup::net {

namespace {

// Fewer are looked at on each close; more, the more seldom the more there are.
constexpr u32 kFew = 16;

Endpoint* endpoint_of(fs::File* file) {
  Socket* socket = file != nullptr ? socket_of(*file) : nullptr;
  return socket != nullptr ? socket->unix_endpoint() : nullptr;
}

template <typename Visit>
void visit_sockets(const Ancillary& ancillary, Visit visit) {
  for (size_t i = 0; i < ancillary.files.size(); i++) {
    if (Endpoint* endpoint = endpoint_of(ancillary.files[i]); endpoint != nullptr) visit(*endpoint);
  }
}

}  // namespace

UnixRights& unix_rights() {
  return *root<UnixRights>(Root::kUnixRights);
}

void unix_rights_start() {
  auto created = make<UnixRights>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kUnixRights, created.value());
}

bool carries_sockets(const Message& message) {
  bool any = false;
  if (message.ancillary) visit_sockets(*message.ancillary, [&](Endpoint&) { any = true; });
  return any;
}

void UnixRights::depart_locked(Ancillary& ancillary) {
  visit_sockets(ancillary, [&](Endpoint& endpoint) {
    if (endpoint.flights++ > 0) return;
    flying_.push_back(endpoint);
    count_++;
  });
}

void UnixRights::arrive_locked(Ancillary& ancillary) {
  visit_sockets(ancillary, [&](Endpoint& endpoint) {
    if (--endpoint.flights > 0) return;
    Flying::remove(endpoint);
    count_--;
  });
}

void UnixRights::drop(Message* chain) {
  Message* carrying = nullptr;
  while (chain != nullptr) {
    Message* next = std::exchange(chain->chain, nullptr);
    if (carries_sockets(*chain)) {
      chain->chain = carrying;
      carrying = chain;
    } else {
      Message::destroy(chain);
    }
    chain = next;
  }
  if (carrying == nullptr) return;
  {
    LockGuard guard(lock_);
    while (carrying != nullptr) {
      Message* next = std::exchange(carrying->chain, dropped_);
      dropped_ = carrying;
      carrying = next;
    }
    if (dropping_) return;
    dropping_ = true;
  }
  for (;;) {
    Message* message = nullptr;
    {
      LockGuard guard(lock_);
      dropping_ = dropped_ != nullptr;
      if (!dropping_) return;
      message = std::exchange(dropped_, dropped_->chain);
    }
    Message::destroy(message);
  }
}

// What lies in a socket's queue, and in those of connections that it has not accepted.
template <typename Visit>
void UnixRights::visit_queue_locked(Endpoint& endpoint, Visit visit) {
  std::optional<LockGuard> guard;
  guard.emplace(endpoint.lock_);
  for (Message& message : endpoint.messages_) {
    if (message.ancillary) visit_sockets(*message.ancillary, visit);
  }
  for (Endpoint* one = endpoint.pending_first_; one != nullptr; one = one->pending_next_) {
    guard.reset();  // no two endpoints' locks are held together; who is in this list leaves it under ours
    {
      LockGuard inner(one->lock_);
      for (Message& message : one->messages_) {
        if (message.ancillary) visit_sockets(*message.ancillary, visit);
      }
    }
    guard.emplace(endpoint.lock_);
  }
}

// Marks as `reached` whatever a descriptor leads to; false if that is all.
bool UnixRights::find_garbage_locked() {
  // Who has references beside those of messages is held by somebody.
  for (Endpoint& endpoint : flying_) {
    endpoint.reached = endpoint.file->ref_count() > endpoint.flights;
    endpoint.unexplained = endpoint.flights;
  }
  // Messages in queues of those that are not held do not count, unless what they are in is found to be
  // reached.
  for (Endpoint& holder : flying_) {
    if (holder.reached) continue;
    visit_queue_locked(holder, [](Endpoint& held) { held.unexplained--; });
  }
  for (Endpoint& endpoint : flying_) endpoint.reached = endpoint.reached || endpoint.unexplained > 0;
  for (bool more = true; more;) {
    more = false;
    for (Endpoint& holder : flying_) {
      if (!holder.reached || holder.followed) continue;
      holder.followed = true;
      visit_queue_locked(holder, [&](Endpoint& held) {
        more = more || !held.reached;
        held.reached = true;
      });
    }
  }
  bool garbage = false;
  for (Endpoint& endpoint : flying_) {
    endpoint.followed = false;
    garbage = garbage || !endpoint.reached;
  }
  return garbage;
}

Message* UnixRights::empty_garbage_locked() {
  Message* chain = nullptr;
  auto empty = [&](Endpoint& endpoint) {
    LockGuard guard(endpoint.lock_);
    while (Message* message = endpoint.messages_.pop_front()) {
      if (message->ancillary) arrive_locked(*message->ancillary);
      message->chain = std::exchange(chain, message);
    }
    endpoint.bytes_ = endpoint.count_ = 0;
    endpoint.carrying_.store(0, std::memory_order_relaxed);
  };
  for (bool more = true; more;) {
    more = false;
    for (Endpoint& endpoint : flying_) {
      if (endpoint.reached) continue;
      endpoint.reached = more = true;
      // Its messages keep it, and this list's order changes as they arrive.
      for (Endpoint* one = endpoint.pending_first_; one != nullptr; one = one->pending_next_) empty(*one);
      empty(endpoint);
      break;
    }
  }
  return chain;
}

void UnixRights::collect_if_due() {
  Message* chain = nullptr;
  {
    LockGuard guard(lock_);
    if (count_ == 0 || ++closes_ + kFew < count_) return;
    closes_ = 0;
    if (find_garbage_locked()) chain = empty_garbage_locked();
  }
  drop(chain);
}

}  // namespace teacup::net
