#include "net/tcp_connection.h"

#include <algorithm>

#include "net/gateway.h"

namespace teacup::net {

namespace {

constexpr size_t kPiece = 64 * KiB;        // is sent before the receiver is woken
constexpr u64 kTunedSendBuffer = 2626560;  // what Linux tunes a connection over lo to

// Sending to one that is gone: the bytes are taken all the same, as many as a buffer holds.
size_t swallow(IoSource& from, size_t most) {
  std::byte nowhere[512];
  size_t done = 0;
  while (from.remaining() > 0 && done < most) {
    auto taken = from.take(nowhere, std::min({from.remaining(), most - done, sizeof nowhere}));
    if (!taken.ok() || taken.value() == 0) break;
    done += taken.value();
  }
  return done;
}

}  // namespace

Result<Ref<TcpConnection>> TcpConnection::create(Ref<TcpHub> client, const IpName& from, Ref<TcpHub> server,
                                                 Ref<Binding> server_binding, const IpName& to) {
  auto connection = TRY(make_ref<TcpConnection>());
  Side& first = connection->sides_[kClient];
  first.hub = std::move(client);
  first.name = from;
  first.state.store(abi::kTCP_SYN_SENT, std::memory_order_relaxed);
  Side& second = connection->sides_[kServer];
  second.hub = std::move(server);
  second.name = to;
  second.binding = std::move(server_binding);
  second.state.store(abi::kTCP_SYN_RECV, std::memory_order_relaxed);
  return connection;
}

void TcpConnection::lead_outside(int side, u32 slot) {
  outside_ = side;
  slot_ = slot;
  abi::GatewaySlot& shared = gateway_slot();
  sides_[1 - side].incoming.share(shared.in.at, abi::gateway_in_ring(slot), abi::kGatewayRingSize,
                                  gateway_take_kept(slot, false));
  sides_[side].incoming.share(shared.out.at, abi::gateway_out_ring(slot), abi::kGatewayRingSize,
                              gateway_take_kept(slot, true));
}

TcpConnection::~TcpConnection() {
  if (outside_ < 0) return;
  constexpr u64 kKept = abi::kGatewayKept / kPageSize;
  gateway_keep(slot_, false, sides_[1 - outside_].incoming.leave_committed(kKept));
  gateway_keep(slot_, true, sides_[outside_].incoming.leave_committed(kKept));
}

bool TcpConnection::establish() {
  LockGuard guard(lock_);
  if (sides_[kClient].has(kClosed)) return false;
  for (Side& side : sides_) {
    SocketOptions& options = side.hub->options;
    if (!options.send_buffer_fixed) options.send_buffer = kTunedSendBuffer;
    side.state.store(abi::kTCP_ESTABLISHED, std::memory_order_release);
  }
  return true;
}

void TcpConnection::refuse(Errno error) {
  {
    LockGuard guard(lock_);
    Side& client = sides_[kClient];
    client.error.store(static_cast<u32>(error), std::memory_order_release);
    client.add(kReceiveShut | kSendShut);
    client.state.store(abi::kTCP_CLOSE, std::memory_order_release);
    sides_[kServer].state.store(abi::kTCP_CLOSE, std::memory_order_release);
  }
  wake_all(kClient);
}

// --- Room. What a side may send before the other reads is its own buffer and the other's.

u64 TcpConnection::limit(int me) const {
  const SocketOptions& mine = sides_[me].hub->options;
  const SocketOptions& theirs = sides_[1 - me].hub->options;
  u64 both = mine.send_buffer + theirs.receive_buffer / 2;
  return outside_ < 0 ? both : std::min<u64>(both, abi::kGatewayRingSize);
}

// As on Linux, writable means that a third of the buffer is free.
bool TcpConnection::has_room(int me) const {
  return sides_[1 - me].incoming.used() <= limit(me) / 3 * 2;
}

u64 TcpConnection::unacknowledged(int me) {
  u64 waiting = sides_[1 - me].incoming.used();
  u64 window = sides_[1 - me].hub->options.receive_buffer / 2;
  return waiting > window ? waiting - window : 0;
}

// Side `me` has read: the other may have waited for that.
void TcpConnection::made_room(int me) {
  if (!wants_room(1 - me) || !has_room(1 - me)) return;
  if (take_room_wish(1 - me)) wake(1 - me, kWriteEvents);
}

// Side `me` is to be told when there is room.
void TcpConnection::want_room(int me) {
  sides_[me].wants_room.store(true, std::memory_order_seq_cst);
  if (me == 1 - outside_) gateway_slot().out.waits_for_room.store(1, std::memory_order_seq_cst);
}

bool TcpConnection::wants_room(int side) const {
  if (side == outside_) return gateway_slot().in.waits_for_room.load(std::memory_order_seq_cst) != 0;
  return sides_[side].wants_room.load(std::memory_order_seq_cst);
}

// The broker takes its own wish back when it has seen the room.
bool TcpConnection::take_room_wish(int side) {
  if (side == outside_) return true;
  if (side == 1 - outside_) gateway_slot().out.waits_for_room.store(0, std::memory_order_seq_cst);
  return sides_[side].wants_room.exchange(false, std::memory_order_seq_cst);
}

// --- Sending.

Result<void> TcpConnection::check_send(int me) {
  Side& side = sides_[me];
  if (Errno error = take_error(me); error != Errno::OK) return error;
  if (side.has(kSendShut)) return Errno::PIPE;
  u8 state = side.state.load(std::memory_order_acquire);
  if (state == abi::kTCP_SYN_SENT) return Errno::AGAIN;
  return {};
}

// The other side's socket is closed and has answered with a reset.
void TcpConnection::peer_gone(int me) {
  {
    LockGuard guard(lock_);
    reset_locked(me);
  }
  release_ended();
  wake_all(me);
}

// Its socket is there, but has shut both directions: what comes now is answered with a reset (RFC 1122,
// 4.2.2.13), which ends both sides.
bool TcpConnection::is_deaf(int side) const {
  return outside_ < 0 && sides_[side].has(kReceiveShut) && !sides_[side].has(kFinCame | kClosed) &&
         sides_[side].state.load(std::memory_order_acquire) == abi::kTCP_FIN_WAIT2;
}

void TcpConnection::reset_both() {
  {
    LockGuard guard(lock_);
    // What came before can still be read.
    for (int side : {kClient, kServer}) reset_locked(side);
  }
  release_ended();
  wake_all(kClient);
  wake_all(kServer);
}

Result<size_t> TcpConnection::send(int me, IoSource& from, u32 flags) {
  TRY(check_send(me));
  if (from.remaining() > 0 && is_deaf(1 - me)) {
    size_t taken = swallow(from, limit(me));
    reset_both();
    return taken;
  }
  ByteQueue& queue = sides_[1 - me].incoming;
  // Out of the machine the byte is one like others.
  bool urgent = (flags & abi::kMSG_OOB) != 0 && from.remaining() > 0 && outside_ < 0;
  size_t done = 0;
  while (from.remaining() > (urgent ? 1 : 0)) {
    size_t piece = std::min(kPiece, from.remaining() - (urgent ? 1 : 0));
    auto sent = queue.write(from, piece, limit(me));
    if (sent.is(Errno::PIPE)) {
      done += swallow(from, limit(me));
      peer_gone(me);
      return done;
    }
    if (!sent.ok()) {
      if (done > 0) return done;
      return sent.error();
    }
    if (sent.value() > 0) {
      done += sent.value();
      wake(1 - me, kReadEvents);
      continue;
    }
    // Full. The other side may read just now: look again once it is known that we wait.
    bool waited = sides_[me].wants_room.load(std::memory_order_seq_cst);
    want_room(me);
    if (waited || queue.used() >= limit(me)) break;
  }
  if (urgent && from.remaining() == 1) {
    auto sent = send_urgent(me, from);
    if (sent.ok()) return done + 1;
    if (done == 0) return sent.error();
  }
  if (done == 0 && from.remaining() > 0) return Errno::AGAIN;
  return done;
}

Result<size_t> TcpConnection::send_urgent(int me, IoSource& from) {
  Side& other = sides_[1 - me];
  auto sent = other.incoming.write_urgent(from, limit(me), other.hub->options.out_of_band_inline);
  if (sent.is(Errno::PIPE)) {
    swallow(from, 1);
    peer_gone(me);
    return size_t{1};
  }
  if (sent.is(Errno::AGAIN)) want_room(me);
  TRY(std::move(sent));
  wake(1 - me, kReadEvents | abi::kPOLLPRI);
  return size_t{1};
}

// --- Receiving.

Result<size_t> TcpConnection::receive(int me, IoDest& to, u32 flags, u32* out_flags, bool goes_on) {
  Side& side = sides_[me];
  if (outside_ >= 0) gateway_note_reader(*this);
  bool inline_urgent = side.hub->options.out_of_band_inline;
  if ((flags & abi::kMSG_OOB) != 0) {
    if (inline_urgent) return Errno::INVAL;
    bool reset = state(me) == abi::kTCP_CLOSE && !side.has(kFinCame);
    if (reset && side.incoming.has_urgent()) return Errno::NOTCONN;
    u8 byte = TRY(side.incoming.read_urgent((flags & abi::kMSG_PEEK) != 0));
    *out_flags |= abi::kMSG_OOB;
    if (to.remaining() > 0) return (flags & abi::kMSG_TRUNC) != 0 ? size_t{1} : to.put(&byte, 1);
    *out_flags |= abi::kMSG_TRUNC;
    return size_t{0};
  }
  // Before the queue is looked at: what was sent before the end is in it then.
  u32 known = side.flags.load(std::memory_order_acquire);
  u8 state = side.state.load(std::memory_order_acquire);
  if (goes_on && side.incoming.at_mark()) return size_t{0};  // MSG_WAITALL does not pass it over
  ByteQueue::ReadMode mode{(flags & abi::kMSG_PEEK) != 0, (flags & abi::kMSG_TRUNC) != 0, inline_urgent};
  size_t got = TRY(side.incoming.read(to, mode));
  if (got > 0) {
    if (!mode.peek) made_room(me);
    return got;
  }
  if (to.remaining() == 0 && side.incoming.used() > 0) return size_t{0};
  if ((known & kFinCame) != 0 || (goes_on && has_error(me))) return size_t{0};
  if (Errno error = take_error(me); error != Errno::OK) return error;
  if ((known & kReceiveShut) != 0) return size_t{0};
  if (state == abi::kTCP_CLOSE) return Errno::NOTCONN;
  return Errno::AGAIN;
}

// --- The end.

// The name of one that was accepted is free when the connection is closed, whether or not the descriptor is.
void TcpConnection::release_ended() {
  Side& server = sides_[kServer];
  if (server.binding && server.state.load(std::memory_order_acquire) == abi::kTCP_CLOSE)
    server.binding->release();
}

// Side `me` sends no more.
void TcpConnection::fin_locked(int me) {
  Side& side = sides_[me];
  Side& other = sides_[1 - me];
  if (side.has(kSendShut)) return;
  side.add(kSendShut);
  bool both = side.has(kFinCame);
  u8 mine = both ? abi::kTCP_CLOSE : abi::kTCP_FIN_WAIT2;
  u8 theirs = both ? abi::kTCP_CLOSE : abi::kTCP_CLOSE_WAIT;
  side.state.store(mine, std::memory_order_release);
  other.add(kReceiveShut | kFinCame);
  other.state.store(theirs, std::memory_order_release);
  if (both) {
    side.add(kReceiveShut);
    other.add(kSendShut);
  }
}

// A reset comes to side `me`.
void TcpConnection::reset_locked(int me) {
  Side& side = sides_[me];
  u8 state = side.state.load(std::memory_order_relaxed);
  if (state == abi::kTCP_CLOSE) return;
  Errno error = state == abi::kTCP_CLOSE_WAIT ? Errno::PIPE : Errno::CONNRESET;
  side.error.store(static_cast<u32>(error), std::memory_order_release);
  side.add(kReceiveShut | kSendShut);
  side.state.store(abi::kTCP_CLOSE, std::memory_order_release);
}

Result<void> TcpConnection::shutdown(int me, bool reading, bool writing) {
  Side& side = sides_[me];
  {
    LockGuard guard(lock_);
    if (side.state.load(std::memory_order_relaxed) == abi::kTCP_CLOSE) return Errno::NOTCONN;
    if (reading) side.add(kReceiveShut);
    if (writing) fin_locked(me);
  }
  if (writing) release_ended();
  wake_all(me);
  if (writing) wake(1 - me, kReadEvents | abi::kPOLLRDHUP | abi::kPOLLHUP);
  return {};
}

void TcpConnection::close(int me, bool reset) {
  Side& side = sides_[me];
  {
    LockGuard guard(lock_);
    side.add(kClosed);
    // What was not read will never be: the other side is told.
    bool unread = side.incoming.seal();
    u8 state = side.state.load(std::memory_order_relaxed);
    if (state != abi::kTCP_CLOSE && (reset || unread)) {
      reset_locked(1 - me);
    } else if (state == abi::kTCP_ESTABLISHED || state == abi::kTCP_CLOSE_WAIT) {
      fin_locked(me);
    }
    side.add(kReceiveShut | kSendShut);
    if (state == abi::kTCP_SYN_SENT) side.state.store(abi::kTCP_CLOSE, std::memory_order_release);
  }
  if (side.binding) side.binding->release();
  release_ended();
  wake_all(1 - me);
}

// --- The side outside.

void TcpConnection::outside_moved() {
  int me = 1 - outside_;
  made_room(outside_);
  if (sides_[me].incoming.used() > 0) wake(me, kReadEvents);
}

bool TcpConnection::count_outside() {
  u64 furthest = gateway_slot().in.furthest.load(std::memory_order_relaxed);
  return sides_[1 - outside_].incoming.count_used(furthest);
}

void TcpConnection::outside_reset_both() {
  int me = 1 - outside_;
  {
    LockGuard guard(lock_);
    reset_locked(me);
    reset_locked(outside_);
  }
  release_ended();
  wake_all(me);
  wake_all(outside_);
}

void TcpConnection::outside_finished() {
  (void)shutdown(outside_, false, true);
}

// More than once is fine.
void TcpConnection::outside_answered() {
  if (state(kClient) == abi::kTCP_SYN_SENT && establish()) wake_all(kClient);
}

void TcpConnection::outside_refused(Errno error) {
  if (state(kClient) == abi::kTCP_SYN_SENT) refuse(error);
}

void TcpConnection::tell_outside() {
  gateway_tell(*this);
}

// --- Readiness (tcp_poll).

u32 TcpConnection::poll(int me) {
  Side& side = sides_[me];
  u32 known = side.flags.load(std::memory_order_seq_cst);
  u8 state = side.state.load(std::memory_order_seq_cst);
  u32 events = 0;
  if ((known & (kReceiveShut | kSendShut)) == (kReceiveShut | kSendShut) || state == abi::kTCP_CLOSE)
    events |= abi::kPOLLHUP;
  if ((known & kReceiveShut) != 0) events |= kReadEvents | abi::kPOLLRDHUP;
  if (state != abi::kTCP_SYN_SENT) {
    const SocketOptions& options = side.hub->options;
    u64 waiting = side.incoming.readable(options.out_of_band_inline);
    u64 wanted = static_cast<u64>(options.receive_low_water.get());
    if (waiting > 0 && (waiting >= wanted || waiting * 4 >= limit(1 - me) * 3)) events |= kReadEvents;
    if ((known & kSendShut) != 0 || has_room(me)) {
      events |= kWriteEvents;
    } else {
      want_room(me);
      if (has_room(me)) events |= kWriteEvents;
    }
    if (side.incoming.has_urgent()) events |= abi::kPOLLPRI;
  }
  if (side.error.load(std::memory_order_seq_cst) != 0) events |= abi::kPOLLERR;
  return events;
}

}  // namespace teacup::net
