// Data are a list of messages in the heap, streams' too: a stream's reader runs over the borders, except
// where descriptors or credentials came along, which belong to the bytes they were sent with. A sender's room
// is measured by what waits at the receiver. A stream has one sender, whose queue is woken when bytes are
// taken; others that found no room leave a Waiter at the receiver.
#include "net/unix_endpoint.h"

#include "net/unix.h"
#include "net/unix_rights.h"

#include <algorithm>
#include <optional>

namespace teacup::net {

namespace {

constexpr u32 kNobody = 65534;  // the overflow ids
constexpr size_t kStreamPiece = 32 * KiB - sizeof(Message);

// Messages that were taken off a queue under its lock, and go once it is dropped.
void chain(Message*& first, Message& message) {
  message.chain = first;
  first = &message;
}
void drop_chain(Message* message) {
  if (message != nullptr) unix_rights().drop(message);
}

bool same_sender(const abi::UCred& a, const abi::UCred& b) {
  return a.pid == b.pid && a.uid == b.uid && a.gid == b.gid;
}

}  // namespace

Result<Message*> Message::create(size_t size) {
  void* block = heap_allocate(sizeof(Message) + size);
  if (block == nullptr) return Errno::NOMEM;
  auto* message = new (block) Message;
  message->size = static_cast<u32>(size);
  message->taken = 0;
  message->chain = nullptr;
  return message;
}

void Message::destroy(Message* message) {
  teacup::destroy(message);
}

Result<Ref<Endpoint>> Endpoint::create(int type) {
  return make_ref<Endpoint>(type);
}

Endpoint::~Endpoint() {
  while (Message* message = messages_.pop_front()) Message::destroy(message);
}

Ref<Endpoint> Endpoint::peer() {
  LockGuard guard(lock_);
  return peer_;
}

Ref<Name> Endpoint::name() {
  LockGuard guard(lock_);
  return name_;
}

Address Endpoint::address() {
  LockGuard guard(lock_);
  return name_ ? name_->address : Address{};
}

bool Endpoint::is_closed() {
  LockGuard guard(lock_);
  return closed_;
}

Errno Endpoint::take_error() {
  LockGuard guard(lock_);
  return std::exchange(error_, Errno::OK);
}

u64 Endpoint::queued_bytes() {
  LockGuard guard(lock_);
  if (!is_datagram()) return bytes_;
  Message* first = messages_.front();
  return first != nullptr ? first->size : 0;
}

u64 Endpoint::outgoing_bytes() {
  Ref<Endpoint> target = peer();
  if (!target) return 0;
  LockGuard guard(target->lock_);
  return target->bytes_;
}

void Endpoint::describe(UnixInfo& info) {
  if (Ref<Endpoint> other = peer()) info.peer = other->file_number.load(std::memory_order_relaxed);
  LockGuard guard(lock_);
  info.waiting = info.listening ? pending_count_ : bytes_;
  info.outgoing = info.listening ? backlog_ : 0;
  info.shut_ways = static_cast<u8>((receive_shut_ ? 1 : 0) | (send_shut_ ? 2 : 0));
  info.send_buffer = options.send_buffer;
  info.receive_buffer = options.receive_buffer;
}

// --- Connections.

void Endpoint::unload_locked(Message& message) {
  if (!carries_sockets(message)) return;
  carrying_.fetch_sub(1, std::memory_order_relaxed);
  unix_rights().arrive_locked(*message.ancillary);
}

void Endpoint::close() {
  Message* dropped = nullptr;
  Ref<Endpoint> peer;
  Ref<Name> name = this->name();
  // Peers may still ask for it; but the inode, whose attachment refers to this endpoint, is let go.
  Ref<Name> left;
  if (name) {
    left = make_ref<Name>().value_or(nullptr);
    if (left) left->address = name->address;
  }
  Endpoint* pending;
  bool unread;
  {
    LockGuard rights(unix_rights().lock());
    LockGuard guard(lock_);
    closed_ = receive_shut_ = send_shut_ = true;
    // An empty packet at the front is nothing that the other side should hear of.
    Message* first = messages_.front();
    unread = first != nullptr && (first->left() > 0 || messages_.after(*first) != nullptr);
    while (Message* message = messages_.pop_front()) {
      unload_locked(*message);
      chain(dropped, *message);
    }
    bytes_ = count_ = 0;
    peer = std::move(peer_);
    name = std::exchange(name_, std::move(left));
    pending = std::exchange(pending_first_, nullptr);
    pending_last_ = nullptr;
    pending_count_ = 0;
  }
  // What was never accepted is reset.
  while (pending != nullptr) {
    Ref<Endpoint> one = Ref<Endpoint>::adopt(pending);
    pending = std::exchange(one->pending_next_, nullptr);
    Ref<Endpoint> client = one->peer();
    one->close();
    if (client) client->peer_closed(true);
  }
  if (peer && !is_datagram()) peer->peer_closed(unread);
  wake_waiters();
  queue.wake_all();
  drop_chain(dropped);
}

void Endpoint::peer_closed(bool reset) {
  {
    LockGuard guard(lock_);
    receive_shut_ = send_shut_ = true;
    if (reset) error_ = Errno::CONNRESET;
  }
  queue.wake_all();
}

void Endpoint::peer_shut(bool reading, bool writing) {
  {
    LockGuard guard(lock_);
    if (reading) send_shut_ = true;
    if (writing) receive_shut_ = true;
  }
  queue.wake_all();
}

Result<void> Endpoint::bind(Ref<Name> name) {
  LockGuard guard(lock_);
  if (name_) return Errno::INVAL;
  name_ = std::move(name);
  return {};
}

Result<void> Endpoint::listen(int backlog, const abi::UCred& identity) {
  if (is_datagram()) return Errno::NOTSUP;
  LockGuard guard(lock_);
  if (!name_ || state() == State::kConnected) return Errno::INVAL;
  backlog_ = static_cast<u32>(std::clamp(backlog, 0, abi::kSOMAXCONN));
  identity_ = peer_identity = identity;
  state_.store(State::kListening, std::memory_order_release);
  return {};
}

// Why nobody can connect here now; EAGAIN: `who` will be told when it may try again.
Errno Endpoint::refusal_locked(Endpoint& who) {
  if (closed_ || receive_shut_ || state() != State::kListening) return Errno::CONNREFUSED;
  if (pending_count_ <= backlog_) return Errno::OK;
  wait_for_room_locked(who);
  return Errno::AGAIN;
}

Result<void> Endpoint::connect(Endpoint& listener, const abi::UCred& identity) {
  // What the listener says comes before what this one is.
  {
    LockGuard guard(listener.lock_);
    if (Errno error = listener.refusal_locked(*this); error != Errno::OK) return error;
  }
  Ref<Endpoint> accepted = TRY(create(type));
  accepted->peer_ = Ref<Endpoint>::share(this);
  accepted->peer_identity = identity;
  accepted->options.pass_credentials = listener.options.pass_credentials;
  accepted->state_.store(State::kConnected, std::memory_order_release);
  {
    LockGuard guard(lock_);
    if (state() == State::kConnected) return Errno::ISCONN;
    if (state() == State::kListening) return Errno::INVAL;
    // Before the other side can be accepted and send.
    peer_ = accepted;
    state_.store(State::kConnected, std::memory_order_release);
  }
  Errno error = Errno::OK;
  {
    LockGuard guard(listener.lock_);
    error = listener.refusal_locked(*this);
    if (error == Errno::OK) {
      accepted->name_ = listener.name_;
      peer_identity = listener.identity_;
      accepted->own_identity = listener.identity_;
      accepted->ref();  // the queue's
      Endpoint*& place =
          listener.pending_last_ != nullptr ? listener.pending_last_->pending_next_ : listener.pending_first_;
      place = accepted.get();
      listener.pending_last_ = accepted.get();
      listener.pending_count_++;
    }
  }
  if (error == Errno::OK) {
    listener.queue.wake(kReadEvents);
    return {};
  }
  Ref<Endpoint> undone;
  LockGuard guard(lock_);
  undone = std::move(peer_);
  state_.store(State::kUnconnected, std::memory_order_release);
  guard.unlock();
  Ref<Endpoint> back = std::move(accepted->peer_);
  return error;
}

Result<Ref<Endpoint>> Endpoint::accept(bool waits) {
  if (is_datagram()) return Errno::NOTSUP;
  Ref<Endpoint> accepted;
  {
    // The queue of connections is walked with that lock.
    LockGuard rights(unix_rights().lock());
    LockGuard guard(lock_);
    if (state() != State::kListening) return Errno::INVAL;
    if (pending_first_ == nullptr) return receive_shut_ && waits ? Errno::INVAL : Errno::AGAIN;
    accepted = Ref<Endpoint>::adopt(pending_first_);
    pending_first_ = std::exchange(accepted->pending_next_, nullptr);
    if (pending_first_ == nullptr) pending_last_ = nullptr;
    pending_count_--;
  }
  wake_waiters();
  return accepted;
}

// What came from an earlier peer is lost, and that peer is told if it was connected to this one.
void Endpoint::set_peer(Ref<Endpoint> target) {
  Ref<Endpoint> earlier;
  Message* dropped = nullptr;
  {
    LockGuard rights(unix_rights().lock());
    LockGuard guard(lock_);
    state_.store(target ? State::kConnected : State::kUnconnected, std::memory_order_release);
    bool same = target.get() == peer_.get();
    earlier = std::exchange(peer_, std::move(target));
    if (same) earlier = nullptr;
    if (earlier) {
      while (Message* message = messages_.pop_front()) {
        unload_locked(*message);
        chain(dropped, *message);
      }
      bytes_ = count_ = 0;
    }
  }
  queue.wake_all();
  if (!earlier) return;
  if (dropped != nullptr) earlier->lose(*this);
  wake_waiters();
  drop_chain(dropped);
}

// What it has sent to its peer was thrown away.
void Endpoint::lose(const Endpoint& by) {
  {
    LockGuard guard(lock_);
    if (closed_ || peer_.get() != &by) return;
    error_ = Errno::CONNRESET;
  }
  queue.wake_all();
}

void Endpoint::make_pair(Endpoint& a, Endpoint& b, const abi::UCred& identity) {
  a.peer_ = Ref<Endpoint>::share(&b);
  b.peer_ = Ref<Endpoint>::share(&a);
  a.peer_identity = b.peer_identity = a.own_identity = b.own_identity = identity;
  a.state_.store(State::kConnected);
  b.state_.store(State::kConnected);
}

Result<void> Endpoint::shutdown(int how) {
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return Errno::INVAL;
  bool reading = how != abi::kSHUT_WR, writing = how != abi::kSHUT_RD;
  Ref<Endpoint> other;
  {
    LockGuard guard(lock_);
    receive_shut_ = receive_shut_ || reading;
    send_shut_ = send_shut_ || writing;
    if (!is_datagram()) other = peer_;
  }
  if (other) other->peer_shut(reading, writing);
  queue.wake_all();
  return {};
}

// --- Sending.

bool Endpoint::full_locked() const {
  return count_ >= kMostDatagrams || bytes_ >= kLargestBuffer;
}

void Endpoint::wait_for_room_locked(Endpoint& who) {
  for (Waiter& waiter : waiters_) {
    if (waiter.endpoint == &who) return;
  }
  auto waiter = make<Waiter>();
  if (!waiter.ok()) return;  // it polls again at the next event of its own
  who.ref();
  waiter.value()->endpoint = &who;
  waiters_.push_back(*waiter.value());
}

void Endpoint::wake_waiters() {
  for (;;) {
    Waiter* waiter;
    {
      LockGuard guard(lock_);
      waiter = waiters_.pop_front();
    }
    if (waiter == nullptr) return;
    waiter->endpoint->queue.wake(kWriteEvents);
    waiter->endpoint->unref();
    teacup::destroy(waiter);
  }
}

Result<void> Endpoint::check_send() {
  LockGuard guard(lock_);
  if (error_ != Errno::OK && !is_stream()) return std::exchange(error_, Errno::OK);
  if (send_shut_) return Errno::PIPE;
  return {};
}

// Who sends is noted when one of the two wants it (SO_PASSCRED), or says so; of a connection that was not
// accepted yet nobody knows.
bool Endpoint::notes_sender(const SendRequest& request, const Endpoint& target) const {
  return request.has_sender || options.pass_credentials || target.options.pass_credentials ||
         target.file_number.load(std::memory_order_relaxed) == 0;
}

Result<Message*> Endpoint::build(SendRequest& request, size_t size, const abi::UCred& sender,
                                 const Endpoint& target) {
  Message* message = TRY(Message::create(size));
  auto copied = request.data->take(message->data(), size);
  if (!copied.ok()) {
    Message::destroy(message);
    return copied.error();
  }
  message->size = static_cast<u32>(copied.value());
  message->sender = notes_sender(request, target) ? sender : abi::UCred{0, kNobody, kNobody};
  message->from = Ref<Endpoint>::share(this);
  message->ancillary = std::move(request.ancillary);
  return message;
}

Result<size_t> Endpoint::send_stream(SendRequest& request, const abi::UCred& sender) {
  if ((request.flags & abi::kMSG_OOB) != 0) return Errno::NOTSUP;
  if (request.to != nullptr && request.to->length > 0)
    return state() == State::kConnected ? Errno::ISCONN : Errno::NOTSUP;
  if (state() != State::kConnected) return Errno::NOTCONN;
  TRY(check_send());
  Ref<Endpoint> target = peer();
  if (!target) return Errno::PIPE;
  size_t done = 0;
  while (request.data->remaining() > 0) {
    u64 room;
    {
      LockGuard guard(target->lock_);
      if (target->closed_ || target->receive_shut_) {
        if (done > 0) break;
        return Errno::PIPE;
      }
      u64 limit = options.send_buffer;
      room = limit > target->bytes_ ? limit - target->bytes_ : 0;
    }
    if (room == 0) break;
    size_t size = std::min<u64>({request.data->remaining(), room, kStreamPiece});
    auto message = build(request, size, sender, *target);
    if (!message.ok()) {
      if (done > 0) break;
      return message.error();
    }
    size_t built = message.value()->size;
    auto delivered = deliver(message.value(), *target);
    if (!delivered.ok()) {
      if (done > 0) break;
      return delivered.error();
    }
    done += built;
    if (built < size) break;
  }
  if (done == 0 && request.data->remaining() > 0) return Errno::AGAIN;
  return done;
}

Result<void> Endpoint::deliver(Message* message, Endpoint& target) {
  bool carries = carries_sockets(*message);
  {
    std::optional<LockGuard> rights;
    if (carries) rights.emplace(unix_rights().lock());
    LockGuard guard(target.lock_);
    if (!target.closed_ && !target.receive_shut_) {
      if (carries) {
        target.carrying_.fetch_add(1, std::memory_order_relaxed);
        unix_rights().depart_locked(*message->ancillary);
      }
      target.messages_.push_back(*message);
      target.bytes_ += message->size;
      target.count_++;
      message = nullptr;
    }
  }
  if (message != nullptr) {
    Message::destroy(message);
    return Errno::PIPE;
  }
  if (!target.queue.empty()) target.queue.wake(kReadEvents);
  return {};
}

// Datagrams and sequenced packets: whole or not at all. `target`: null for the peer.
Result<size_t> Endpoint::send_message(SendRequest& request, const abi::UCred& sender, Endpoint* target) {
  if ((request.flags & abi::kMSG_OOB) != 0) return Errno::NOTSUP;
  if (!is_datagram() && state() != State::kConnected) return Errno::NOTCONN;
  TRY(check_send());
  Ref<Endpoint> to = target != nullptr ? Ref<Endpoint>::share(target) : peer();
  if (!to) return is_datagram() ? Errno::NOTCONN : Errno::PIPE;
  size_t size = request.data->remaining();
  if (size > options.send_buffer - 32) return Errno::MSGSIZE;
  {
    LockGuard guard(to->lock_);
    if (is_datagram() && to->peer_ && to->peer_.get() != this) return Errno::PERM;
    if (to->closed_) {
      guard.unlock();
      if (is_datagram() && target == nullptr) set_peer(nullptr);
      return is_datagram() ? Errno::CONNREFUSED : Errno::PIPE;
    }
    if (to->receive_shut_) return Errno::PIPE;
    bool room = !to->full_locked() && (to->bytes_ == 0 || to->bytes_ + size <= options.send_buffer);
    if (!room) {
      to->wait_for_room_locked(*this);
      return Errno::AGAIN;
    }
  }
  Message* message = TRY(build(request, size, sender, *to));
  TRY(deliver(message, *to));
  return size;
}

// --- Receiving.

void Endpoint::describe_message(Message& message, ReceiveRequest& request, Ref<Endpoint>& from) {
  from = message.from;
  request.has_sender = true;
  bool has_files = message.ancillary && message.ancillary->files.size() > 0;
  request.sender = message.sender;
  if (has_files) request.ancillary = message.ancillary;
}

// Why an empty queue gives nothing: an error, the end (OK), or EAGAIN.
Result<void> Endpoint::check_empty_locked() {
  if (error_ != Errno::OK) return std::exchange(error_, Errno::OK);
  if (receive_shut_) return {};
  return Errno::AGAIN;
}

Result<size_t> Endpoint::receive_stream_locked(ReceiveRequest& request, Message*& done, Ref<Endpoint>& from) {
  bool peek = (request.flags & abi::kMSG_PEEK) != 0;
  size_t copied = 0;
  Message* message = messages_.front();
  bool described = request.goes_on;
  // Who wants no bytes has what comes with the first ones all the same. And who peeks goes on, with no room
  // left, to the next message that files come with: those are in the answer, as on Linux.
  while (message != nullptr && (request.data->remaining() > 0 || !described || peek)) {
    bool has_files = message->ancillary && message->ancillary->files.size() > 0;
    if (described && options.pass_credentials && !same_sender(request.sender, message->sender)) break;
    if (!described) describe_message(*message, request, from);
    if (has_files) request.ancillary = message->ancillary;
    described = true;
    auto put = request.data->put(message->data() + message->taken, message->left());
    if (!put.ok() && copied == 0) return put.error();
    if (!put.ok()) break;
    copied += put.value();
    Message* next = messages_.after(*message);
    bool whole = put.value() == message->left();
    if (!peek) {
      message->taken += static_cast<u32>(put.value());
      bytes_ -= put.value();
      // The descriptors go with the first bytes.
      if (has_files) {
        unload_locked(*message);
        message->ancillary = nullptr;
      }
      if (whole) {
        MessageList::remove(*message);
        count_--;
        chain(done, *message);
      }
    }
    if ((!whole && !peek) || has_files) break;
    message = next;
  }
  return copied;
}

Result<size_t> Endpoint::receive_message_locked(ReceiveRequest& request, Message*& done,
                                                Ref<Endpoint>& from) {
  Message* message = messages_.front();
  describe_message(*message, request, from);
  size_t copied =
      TRY(request.data->put(message->data(), std::min<size_t>(message->size, request.data->remaining())));
  if (copied < message->size) request.out_flags |= abi::kMSG_TRUNC;
  if ((request.flags & abi::kMSG_PEEK) == 0) {
    unload_locked(*message);
    MessageList::remove(*message);
    bytes_ -= message->size;
    count_--;
    chain(done, *message);
  }
  return (request.flags & abi::kMSG_TRUNC) != 0 ? message->size : copied;
}

Result<size_t> Endpoint::receive(ReceiveRequest& request) {
  if (!is_datagram() && state() != State::kConnected) return is_stream() ? Errno::INVAL : Errno::NOTCONN;
  if ((request.flags & abi::kMSG_OOB) != 0) return is_stream() ? Errno::INVAL : Errno::NOTSUP;
  Message* done = nullptr;
  Ref<Endpoint> sender, from;
  Result<size_t> result = [&]() -> Result<size_t> {
    std::optional<LockGuard> rights;
    if (carrying_.load(std::memory_order_relaxed) > 0) rights.emplace(unix_rights().lock());
    std::optional<LockGuard> guard;
    guard.emplace(lock_);
    // One that carries sockets has come in between: its lock is taken before this one.
    while (!rights && carrying_.load(std::memory_order_relaxed) > 0) {
      guard.reset();
      rights.emplace(unix_rights().lock());
      guard.emplace(lock_);
    }
    if (error_ != Errno::OK && !is_stream()) return std::exchange(error_, Errno::OK);
    if (messages_.empty()) {
      TRY(check_empty_locked());
      // Of a stream's end nobody is told to be the sender, but what came before it has one.
      if (!request.goes_on) {
        request.has_sender = is_stream();
        request.sender = {};
      }
      // Who would not wait anyway is not told of the end.
      if (is_datagram() && (request.flags & abi::kMSG_DONTWAIT) != 0) return Errno::AGAIN;
      return size_t{0};
    }
    if (is_stream()) sender = peer_;
    return is_stream() ? receive_stream_locked(request, done, from)
                       : receive_message_locked(request, done, from);
  }();
  if (from) request.from = from->address();
  if (done != nullptr || (result.ok() && is_stream())) {
    if (sender && !sender->queue.empty()) sender->queue.wake(kWriteEvents);
    if (!is_stream()) wake_waiters();
  }
  drop_chain(done);
  return result;
}

u32 Endpoint::poll() {
  u32 events = 0;
  Ref<Endpoint> target;
  {
    LockGuard guard(lock_);
    if (error_ != Errno::OK) events |= abi::kPOLLERR;
    if (receive_shut_ && send_shut_) events |= abi::kPOLLHUP;
    if (receive_shut_) events |= abi::kPOLLRDHUP | kReadEvents;
    if (!messages_.empty() || pending_first_ != nullptr) events |= kReadEvents;
    if (state() == State::kListening) return events;
    if (!is_datagram() && state() == State::kUnconnected) events |= abi::kPOLLHUP;
    target = peer_;
  }
  bool room = true;
  if (target) {
    LockGuard guard(target->lock_);
    u64 limit = options.send_buffer;
    // As on Linux, "writable" means that a good part of the buffer is free.
    room = target->bytes_ * 4 <= limit && (is_stream() || !target->full_locked());
    if (!room && !is_stream()) target->wait_for_room_locked(*this);
  }
  if (room) events |= kDatagramWriteEvents;
  return events;
}

}  // namespace teacup::net
