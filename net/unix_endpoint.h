// The core of a Unix domain socket (unix(7)): the queue of what was sent to it, its peer, its name. Apart
// from the File, because peers, names and connections that wait to be accepted refer to endpoints whatever
// becomes of the descriptors; closing the file cuts these ties.
//
// Locks: each endpoint's own (kSocket); no two are held together. Messages and references are dropped, and
// wake-ups made, after it.
#pragma once

#include "fs/path.h"
#include "net/socket.h"

namespace teacup::net {

inline constexpr u32 kMostDatagrams = 512;  // net.unix.max_dgram_qlen

// What an endpoint is bound to.
class Name : public RefCounted<Name> {
 public:
  static void destroy(Name* name) { teacup::destroy(name); }
  Address address;
  fs::Path path;  // keeps the inode, which finds the endpoint; empty for abstract names
};

// Bytes in the queue, with what travels with them.
class Endpoint;
struct Message {
  ListNode node;
  Ref<Ancillary> ancillary;
  abi::UCred sender;
  Ref<Endpoint> from;
  u32 size;
  u32 taken;       // stream: bytes at the front that were read already
  Message* chain;  // among messages that are about to be dropped
  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }

  static Result<Message*> create(size_t size);
  static void destroy(Message* message);
  u32 left() const { return size - taken; }
};
using MessageList = List<Message, &Message::node>;

struct UnixInfo;

class Endpoint : public RefCounted<Endpoint> {
 public:
  enum class State { kUnconnected, kListening, kConnected };

  static Result<Ref<Endpoint>> create(int type);
  static void destroy(Endpoint* endpoint) { teacup::destroy(endpoint); }
  explicit Endpoint(int type) : type(type) {}
  ~Endpoint();

  bool is_stream() const { return type == abi::kSOCK_STREAM; }
  bool is_datagram() const { return type == abi::kSOCK_DGRAM; }

  // The file is closed.
  void close();

  // --- Connections.
  Result<void> bind(Ref<Name> name);  // EINVAL: has one
  Result<void> listen(int backlog, const abi::UCred& identity);
  // Streams: puts a new endpoint in `listener`'s queue. EAGAIN: that is full.
  Result<void> connect(Endpoint& listener, const abi::UCred& identity);
  // Datagrams: where send() goes from now on; null: nowhere.
  void set_peer(Ref<Endpoint> target);
  // Whether anything can be sent at all: EPIPE, or an error that is due.
  Result<void> check_send();
  Result<Ref<Endpoint>> accept(bool waits = true);
  static void make_pair(Endpoint& a, Endpoint& b, const abi::UCred& identity);
  Result<void> shutdown(int how);

  // --- Data.
  Result<size_t> send_stream(SendRequest& request, const abi::UCred& sender);
  Result<size_t> send_message(SendRequest& request, const abi::UCred& sender, Endpoint* target);
  Result<size_t> receive(ReceiveRequest& request);
  u32 poll();

  Ref<Endpoint> peer();
  Ref<Name> name();
  Address address();     // its name's; length 0: none
  u64 queued_bytes();    // FIONREAD
  u64 outgoing_bytes();  // SIOCOUTQ
  Errno take_error();
  bool is_closed();
  // Its peer and queues, for sock_diag(7).
  void describe(UnixInfo& info);
  std::atomic<u64> file_number{0};  // of the socket that it belongs to
  // --- Of UnixRights, under its lock: whether the socket is in flight.
  ListNode flight_node;
  fs::File* file = nullptr;  // the socket that it belongs to, while there is one
  u32 flights = 0;           // files in queued messages that are it
  u32 unexplained = 0;       // of those, the ones that are not in a queue of the same kind
  bool reached = false, followed = false;

  const int type;
  WaitQueue queue;
  SocketOptions options;
  abi::UCred peer_identity{0, ~u32{0}, ~u32{0}};  // set before it is connected
  abi::UCred own_identity{0, ~u32{0}, ~u32{0}};   // likewise: who sends by plain write(2)
  State state() const { return state_.load(std::memory_order_acquire); }

 private:
  friend class UnixRights;
  // Somebody who could not send here, or connect: woken when there is room.
  struct Waiter {
    ListNode node;
    Endpoint* endpoint;  // counted
  };
  using WaiterList = List<Waiter, &Waiter::node>;

  bool full_locked() const;
  Errno refusal_locked(Endpoint& who);
  Result<void> deliver(Message* message, Endpoint& target);
  bool notes_sender(const SendRequest& request, const Endpoint& target) const;
  Result<Message*> build(SendRequest& request, size_t size, const abi::UCred& sender, const Endpoint& target);
  void wait_for_room_locked(Endpoint& who);
  void wake_waiters();
  Result<size_t> receive_stream_locked(ReceiveRequest& request, Message*& done, Ref<Endpoint>& from);
  Result<size_t> receive_message_locked(ReceiveRequest& request, Message*& done, Ref<Endpoint>& from);
  Result<void> check_empty_locked();
  void describe_message(Message& message, ReceiveRequest& request, Ref<Endpoint>& from);
  // A message leaves the queue, or what it carries does. With UnixRights' lock held, if it carries sockets.
  void unload_locked(Message& message);
  // It stays the peer: getpeername(2) tells its name.
  void peer_closed(bool reset);
  void lose(const Endpoint& by);
  void peer_shut(bool reading, bool writing);

  Mutex lock_{LockRank::kSocket};
  std::atomic<State> state_{State::kUnconnected};
  bool closed_ = false;
  bool receive_shut_ = false;  // nothing will come any more
  bool send_shut_ = false;
  Errno error_ = Errno::OK;
  MessageList messages_;
  u64 bytes_ = 0;
  u32 count_ = 0;
  std::atomic<u32> carrying_{0};  // messages that carry sockets; changed with UnixRights' lock held, too
  Ref<Endpoint> peer_;
  Ref<Name> name_;
  WaiterList waiters_;
  // Listening: endpoints of the accepting side, linked by pending_next_; counted.
  Endpoint* pending_first_ = nullptr;
  Endpoint* pending_last_ = nullptr;
  Endpoint* pending_next_ = nullptr;
  u32 pending_count_ = 0;
  u32 backlog_ = 0;
  abi::UCred identity_{};  // who listens
};

}  // namespace teacup::net
