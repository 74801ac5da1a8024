#include "host/broker/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

namespace teacup::host {

namespace {

constexpr std::size_t kHeader = 12;
constexpr u16 kTypeA = 1, kClassIn = 1;
constexpr u8 kResponse = 0x80, kTruncated = 0x02, kRecursionDesired = 0x01, kRecursionAvailable = 0x80;
constexpr u32 kTtl = 60;
constexpr int kMostThreads = 64;

enum Code : u8 { kOk = 0, kFormat = 1, kFailed = 2, kNoName = 3, kNotImplemented = 4 };

u16 number_at(std::span<const u8> bytes, std::size_t at) {
  return static_cast<u16>(bytes[at] << 8 | bytes[at + 1]);
}

void add_number(DnsMessage& message, u32 number, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    message.push_back(static_cast<u8>(number >> shift));
}

// A thread that nobody waits for.
template <typename Body>
void start_thread(Body body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(std::move(body)).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool read_all(int fd, u8* into, std::size_t size) {
  while (size > 0) {
    ssize_t got = recv(fd, into, size, MSG_WAITALL);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    into += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

struct Resolver::Question {
  DnsMessage head;  // the header and the question, as asked
  std::string name;
  u16 type = 0;

  // False: it is none. `code` says what is wrong with it.
  bool parse(std::span<const u8> query, Code& code);
  DnsMessage answer(Code code, const std::vector<SocketAddress>& addresses, std::size_t most) const;
  bool wants(const SocketAddress& address) const {
    return address.family() == (type == kTypeA ? AF_INET : AF_INET6);
  }
};

bool Resolver::Question::parse(std::span<const u8> query, Code& code) {
  code = kFormat;
  if (query.size() < kHeader || (query[2] & kResponse) != 0) return false;
  head.assign(query.begin(), query.begin() + kHeader);
  bool is_query = (query[2] & 0x78) == 0;
  if (number_at(query, 4) != 1) return true;
  std::size_t at = kHeader;
  while (at < query.size() && query[at] != 0) {
    std::size_t length = query[at];
    if (length > 63 || at + 1 + length >= query.size() || name.size() + length > 254) return true;
    if (!name.empty()) name += '.';
    for (std::size_t i = 0; i < length; i++) name += static_cast<char>(std::tolower(query[at + 1 + i]));
    at += 1 + length;
  }
  if (at + 5 > query.size()) return true;
  type = number_at(query, at + 1);
  head.assign(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(at + 5));
  code = is_query && number_at(query, at + 3) == kClassIn ? kOk : kNotImplemented;
  return true;
}

DnsMessage Resolver::Question::answer(Code code, const std::vector<SocketAddress>& addresses,
                                      std::size_t most) const {
  DnsMessage message = head;
  bool with_question = head.size() > kHeader;
  message[2] = static_cast<u8>(kResponse | (head[2] & (0x78 | kRecursionDesired)));
  message[3] = static_cast<u8>(kRecursionAvailable | code);
  std::fill(message.begin() + 4, message.begin() + kHeader, u8{0});
  message[5] = with_question ? 1 : 0;
  u32 count = 0;
  for (const SocketAddress& address : addresses) {
    if (!wants(address)) continue;
    abi::GatewayName name = address.name();
    std::size_t size = type == kTypeA ? 4 : 16;
    if (message.size() + 12 + size > most) {
      message[2] |= kTruncated;
      break;
    }
    add_number(message, 0xc000 | kHeader, 2);  // the name of the question
    add_number(message, type, 2);
    add_number(message, kClassIn, 2);
    add_number(message, kTtl, 4);
    add_number(message, static_cast<u32>(size), 2);
    message.insert(message.end(), name.address + 16 - size, name.address + 16);
    count++;
  }
  message[6] = static_cast<u8>(count >> 8);
  message[7] = static_cast<u8>(count);
  return message;
}

bool Resolver::take_turn() {
  if (threads_.fetch_add(1) < kMostThreads) return true;
  threads_.fetch_sub(1);
  return false;
}

void Resolver::ask(std::span<const u8> query, std::size_t most,
                   std::function<void(const DnsMessage&)> reply) {
  Question question;
  Code code;
  if (!question.parse(query, code)) return;
  if (code != kOk) return reply(question.answer(code, {}, most));
  std::vector<SocketAddress> addresses;
  for (const std::string& digits : policy_.known(question.name)) {
    addresses.push_back(*SocketAddress::parse(digits, 0));
  }
  if (question.name == "localhost")
    addresses = {*SocketAddress::parse("127.0.0.1", 0), *SocketAddress::parse("::1", 0)};
  if (!addresses.empty()) return reply(question.answer(kOk, addresses, most));
  if (!policy_.allows_name(question.name)) return reply(question.answer(kNoName, {}, most));
  if (!take_turn()) return reply(question.answer(kFailed, {}, most));
  start_thread([this, question = std::move(question), most, reply = std::move(reply)] {
    look_up(question, most, reply);
    threads_.fetch_sub(1);
  });
}

// Both families are looked up whatever is asked: a name of which there is only the other kind exists.
void Resolver::look_up(const Question& question, std::size_t most,
                       const std::function<void(const DnsMessage&)>& reply) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  // With the last dot: the host's search list is not the machine's.
  int error = getaddrinfo((question.name + ".").c_str(), nullptr, &hints, &found);
  if (error == EAI_NONAME) error = getaddrinfo(question.name.c_str(), nullptr, &hints, &found);
  std::vector<SocketAddress> addresses;
  for (addrinfo* one = found; error == 0 && one != nullptr; one = one->ai_next) {
    SocketAddress address;
    address.length = one->ai_addrlen;
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.set_port(0);
    policy_.learn(question.name, address);
    addresses.push_back(address);
  }
  if (found != nullptr) freeaddrinfo(found);
  Code code = error == 0 || error == EAI_NODATA ? kOk : kFailed;
  if (error == EAI_NONAME) code = kNoName;
  reply(question.answer(code, addresses, most));
}

// --- Over TCP: each message has its length in front.

int Resolver::open_stream() {
  int ends[2];
  if (!take_turn()) {
    errno = ECONNREFUSED;
    return -1;
  }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    threads_.fetch_sub(1);
    return -1;
  }
  start_thread([this, fd = ends[1]] {
    serve_stream(fd);
    threads_.fetch_sub(1);
  });
  return ends[0];
}

void Resolver::serve_stream(int fd) {
  // Replies may come when the stream is closed already.
  struct Stream {
    std::mutex mutex;
    int fd;
    explicit Stream(int open_fd) : fd(open_fd) {}
    ~Stream() { close(fd); }
  };
  auto stream = std::make_shared<Stream>(fd);
  for (;;) {
    u8 length[2];
    if (!read_all(fd, length, sizeof length)) return;
    DnsMessage query(static_cast<std::size_t>(length[0] << 8 | length[1]));
    if (!read_all(fd, query.data(), query.size())) return;
    ask(query, 65535, [stream](const DnsMessage& answer) {
      DnsMessage framed;
      add_number(framed, static_cast<u32>(answer.size()), 2);
      framed.insert(framed.end(), answer.begin(), answer.end());
      std::lock_guard guard(stream->mutex);
      // Small and local: it goes whole, or the machine has gone.
      if (send(stream->fd, framed.data(), framed.size(), MSG_NOSIGNAL) < 0) return;
    });
  }
}

}  // namespace teacup::host
