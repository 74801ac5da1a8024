// A request is answered while it is sent: the answer lies in the socket's queue when send returns. There is
// nothing that anybody can change, so there is nothing to announce to groups.
//
// Locks: the socket's own (kSocket).
#include "net/netlink.h"

#include <algorithm>

#include "net/rtnetlink.h"
#include "net/sock_diag.h"

namespace teacup::net {

namespace {

constexpr size_t kLargestRequest = 4096;  // the rest of a longer one is not looked at
constexpr u32 kMostAnswers = 4096;

class NetlinkSocket final : public Socket, public AnswerSink {
 public:
  NetlinkSocket(int type, int protocol, u32 pid, u32 flags)
      : Socket(abi::kAF_NETLINK, type, protocol, own_options_, flags), pid_(pid) {}
  ~NetlinkSocket() override {
    while (Answer* answer = answers_.pop_front()) drop(answer);
  }

  u32 poll() override {
    return kWriteEvents | (count_.load(std::memory_order_seq_cst) > 0 ? kReadEvents : 0);
  }
  WaitQueue* wait_queue() override { return &queue_; }
  Result<size_t> write(IoSource& from, u64) override { return request(from); }
  Result<void> bind(const Caller& caller, const Address& address) override;
  Result<void> listen(const Caller&, int) override { return Errno::NOTSUP; }
  Result<void> connect(const Caller&, const Address& address, bool) override {
    if (address.length < sizeof(u16)) return Errno::INVAL;
    return address.family() == abi::kAF_NETLINK || address.family() == abi::kAF_UNSPEC ? Errno::OK
                                                                                       : Errno::INVAL;
  }
  Result<Ref<Socket>> accept(u32) override { return Errno::NOTSUP; }
  Result<void> shutdown(int) override { return Errno::NOTSUP; }
  Result<size_t> send(const Caller&, SendRequest& request) override { return this->request(*request.data); }
  Result<size_t> receive(ReceiveRequest& request) override;
  Result<Address> local_address() override { return address_of(port_, groups_); }
  Result<Address> peer_address() override { return address_of(0, 0); }

 protected:
  Errno take_error() override { return Errno::OK; }
  Result<size_t> get_own_option(int level, int name, std::span<std::byte> value) override {
    if (level != abi::kSOL_NETLINK || name < 0) return Errno::NOPROTOOPT;
    return give_option(value, s32{0});
  }
  // NETLINK_EXT_ACK and the like are wishes.
  Result<void> set_own_option(const Caller&, int level, int, std::span<const std::byte>) override {
    return level == abi::kSOL_NETLINK ? Errno::OK : Errno::NOPROTOOPT;
  }

 private:
  static Address address_of(u32 port, u32 groups) {
    abi::SockAddrNl name{abi::kAF_NETLINK, 0, port, groups};
    Address address;
    address.length = sizeof name;
    memcpy(address.bytes, &name, sizeof name);
    return address;
  }
  void bind_automatically() {
    if (port_ == 0) port_ = pid_ != 0 ? pid_ : 1;
  }
  Result<size_t> request(IoSource& from);
  Result<void> handle(const abi::NlMsgHdr& header, std::span<const std::byte> body);
  Result<Answer*> new_answer() override;
  void push(Answer* answer) override;
  void drop(Answer* answer) override { teacup::destroy(answer); }

  SocketOptions own_options_;
  const u32 pid_;
  u32 port_ = 0, groups_ = 0;
  WaitQueue queue_;
  Mutex lock_{LockRank::kSocket};
  List<Answer, &Answer::node> answers_;
  std::atomic<u32> count_{0};
};

Result<void> NetlinkSocket::bind(const Caller&, const Address& address) {
  abi::SockAddrNl name;
  if (address.length < sizeof name || address.family() != abi::kAF_NETLINK) return Errno::INVAL;
  memcpy(&name, address.bytes, sizeof name);
  if (port_ != 0 && name.pid != 0 && name.pid != port_) return Errno::INVAL;
  if (name.pid != 0) port_ = name.pid;
  groups_ = name.groups;
  bind_automatically();
  return {};
}

Result<Answer*> NetlinkSocket::new_answer() {
  if (count_.load(std::memory_order_relaxed) >= kMostAnswers) return Errno::NOBUFS;
  return make<Answer>();
}

void NetlinkSocket::push(Answer* answer) {
  {
    LockGuard guard(lock_);
    answers_.push_back(*answer);
    count_.fetch_add(1, std::memory_order_seq_cst);
  }
  queue_.wake(kReadEvents);
}

Result<size_t> NetlinkSocket::request(IoSource& from) {
  bind_automatically();
  alignas(8) std::byte bytes[kLargestRequest];
  size_t whole = from.remaining();
  size_t size = TRY(from.take(bytes, std::min(whole, sizeof bytes)));
  size_t at = 0;
  while (at + sizeof(abi::NlMsgHdr) <= size) {
    abi::NlMsgHdr header;
    memcpy(&header, bytes + at, sizeof header);
    if (header.length < sizeof header || header.length > size - at) break;
    TRY(handle(header, {bytes + at + sizeof header, header.length - sizeof header}));
    at += align_up(u64{header.length}, u64{4});
  }
  return whole;
}

// Each dump is two datagrams, as on Linux: what there is, and that this was all.
Result<void> NetlinkSocket::handle(const abi::NlMsgHdr& header, std::span<const std::byte> body) {
  bool dump = (header.flags & abi::kNLM_F_DUMP) == abi::kNLM_F_DUMP;
  bool is_get = header.type >= abi::kRTM_NEWLINK && (header.type & 3) == 2;
  u8 family = body.empty() ? u8{0} : static_cast<u8>(body[0]);
  if (protocol() == abi::kNETLINK_SOCK_DIAG && header.type >= abi::kRTM_NEWLINK)
    return answer_sock_diag(header, body, port_, *this);
  Answer* answer = TRY(new_answer());
  Writer out(*answer, header.sequence, port_);
  s32 error = 0;
  bool answered = false;
  u16 flags = dump ? abi::kNLM_F_MULTI : u16{0};
  if (header.type < abi::kRTM_NEWLINK) {
    if ((header.flags & abi::kNLM_F_ACK) == 0) {
      drop(answer);
      return {};
    }
  } else if (!is_get) {
    error = -static_cast<s32>(Errno::PERM);
  } else if (header.type == abi::kRTM_GETLINK) {
    if (dump) {
      for (const Interface& link : interfaces()) write_link(out, link, flags);
      answered = true;
    } else if (auto link = find_link(body); link.ok()) {
      write_link(out, *link.value(), flags);
      answered = true;
    } else {
      error = -static_cast<s32>(link.error());
    }
  } else if (dump) {
    if (header.type == abi::kRTM_GETADDR && is_network_up()) write_addresses(out, family, flags);
    if (header.type == abi::kRTM_GETROUTE && is_network_up()) write_routes(out, family, flags);
    if (header.type == abi::kRTM_GETRULE) write_rules(out, family, flags);
    answered = true;
  } else if (header.type == abi::kRTM_GETROUTE) {
    if (Result<void> found = write_route_to(out, body); found.ok()) {
      answered = true;
    } else {
      error = -static_cast<s32>(found.error());
    }
  } else {
    error = -static_cast<s32>(Errno::NOTSUP);
  }
  if (answered && answer->size > 0) {
    push(answer);
    if (!dump) return {};
    answer = TRY(new_answer());
  }
  Writer last(*answer, header.sequence, port_);
  if (answered) {
    last.begin(abi::kNLMSG_DONE, abi::kNLM_F_MULTI, s32{0});
  } else {
    last.begin(abi::kNLMSG_ERROR, 0, abi::NlMsgErr{error, header});
  }
  last.end();
  push(answer);
  return {};
}

Result<size_t> NetlinkSocket::receive(ReceiveRequest& request) {
  Answer* done = nullptr;
  Result<size_t> result = [&]() -> Result<size_t> {
    LockGuard guard(lock_);
    Answer* first = answers_.front();
    if (first == nullptr) return Errno::AGAIN;
    size_t copied =
        TRY(request.data->put(first->bytes, std::min<size_t>(first->size, request.data->remaining())));
    if (copied < first->size) request.out_flags |= abi::kMSG_TRUNC;
    request.from = address_of(0, 0);
    size_t full = first->size;
    if ((request.flags & abi::kMSG_PEEK) == 0) {
      done = answers_.pop_front();
      count_.fetch_sub(1, std::memory_order_relaxed);
    }
    return (request.flags & abi::kMSG_TRUNC) != 0 ? full : copied;
  }();
  if (done != nullptr) drop(done);
  return result;
}

}  // namespace

Result<Ref<Socket>> make_netlink_socket(const Caller& caller, int type, int protocol, u32 flags) {
  if (type != abi::kSOCK_RAW && type != abi::kSOCK_DGRAM) return Errno::SOCKTNOSUPPORT;
  if (protocol != abi::kNETLINK_ROUTE && protocol != abi::kNETLINK_SOCK_DIAG &&
      protocol != abi::kNETLINK_KOBJECT_UEVENT)
    return Errno::PROTONOSUPPORT;
  auto pid = static_cast<u32>(caller.identity.pid);
  return Ref<Socket>(TRY(make_ref<NetlinkSocket>(type, protocol, pid, flags)));
}

}  // namespace teacup::net
