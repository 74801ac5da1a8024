#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "tests/model/socket_world.h"

namespace model {

namespace {

constexpr int kFirstPort = 20001, kPorts = 4, kPaths = 4;
constexpr time_t kFreight = 1000;  // SO_SNDTIMEO of what is there to be sent
constexpr char kData[] =
    "The quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. 0123456789";

const char* kind_name(int family, int type) {
  static char text[32];
  const char* families = family == AF_UNIX ? "unix" : family == AF_INET ? "v4" : "v6";
  const char* types = type == SOCK_STREAM ? "stream" : type == SOCK_DGRAM ? "dgram" : "seqpacket";
  snprintf(text, sizeof text, "%s.%s", families, types);
  return text;
}

int tcp_state(int fd) {
  tcp_info info{};
  socklen_t length = 1;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return -1;
  // When a FIN is acknowledged is a matter of time.
  return info.tcpi_state == TCP_FIN_WAIT1 ? int{TCP_FIN_WAIT2} : info.tcpi_state;
}

// What poll(2) will say once all that is on its way has arrived. Of a connection that is closed it is not
// compared whether an urgent byte is still to be had: on Linux one is that came too late to be received.
int settled(int fd, int events) {
  if ((events & POLLHUP) != 0) events &= ~POLLPRI;
  int state = (events & POLLRDHUP) != 0 ? tcp_state(fd) : -1;
  return state == TCP_LAST_ACK || state == TCP_CLOSING || state == TCP_FIN_WAIT2 ? events | POLLHUP : events;
}

bool is_tcp(int family, int type) {
  return family != AF_UNIX && type == SOCK_STREAM;
}

in_port_t port_of(const SocketName& name) {
  return ntohs(name.plain.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

void set_port(SocketName& name, int port) {
  (name.plain.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port) =
      htons(static_cast<in_port_t>(port));
}

int get_number(int fd, int level, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, option, &value, &length) == 0 ? value : -1;
}

// Addresses of the machine, those that mean it, and one that nobody has.
socklen_t put_address(SocketName& name, int family, int which) {
  memset(&name, 0, sizeof name);
  name.plain.sa_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    const char* all[] = {"127.0.0.1", "127.0.0.1", "0.0.0.0", "127.0.0.2", "127.9.8.7"};
    inet_pton(AF_INET, all[which % 5], &name.v4.sin_addr);
    return sizeof name.v4;
  }
  const char* all[] = {"::1", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"};
  inet_pton(AF_INET6, all[which % 5], &name.v6.sin6_addr);
  return sizeof name.v6;
}

}  // namespace

// --- What is printed.

void Player::say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  size_t room = sizeof(Baton::text) - used_;
  int written = vsnprintf(out_ + used_, room, format, arguments);
  va_end(arguments);
  used_ += std::min(static_cast<size_t>(written), room - 1);
}

void Player::outcome(long result) {
  if (result >= 0) return say(" = %ld", result);
  say(" = %s", strerrorname_np(errno));
}

void Player::show_name(const SocketName& name, socklen_t length, int type, bool fresh) {
  if (length < sizeof(sa_family_t)) return say(" (%u)", length);
  if (name.plain.sa_family == AF_UNIX) {
    size_t size = length - offsetof(sockaddr_un, sun_path);
    if (size == 0) return say(" unnamed");
    if (name.local.sun_path[0] != 0)
      return say(" '%.*s'/%zu", static_cast<int>(size), name.local.sun_path, size);
    if (size == 6) return say(" @auto");
    return say(" @'%.*s'/%zu", static_cast<int>(size - 1), name.local.sun_path + 1, size);
  }
  char text[64] = "?";
  if (name.plain.sa_family == AF_INET) inet_ntop(AF_INET, &name.v4.sin_addr, text, sizeof text);
  if (name.plain.sa_family == AF_INET6) inet_ntop(AF_INET6, &name.v6.sin6_addr, text, sizeof text);
  int port = port_of(name);
  if (port == 0 || port < 30000) return say(" %s:%d/%u", text, port, length);
  say(" %s:%c%c%d/%u", text, fresh ? 1 : 2, type == SOCK_STREAM ? 's' : 'd', port, length);
}

// After what may have given the socket a port.
void Player::note_name(Slot& slot) {
  SocketName name{};
  socklen_t length = sizeof name;
  if (slot.fd < 0 || getsockname(slot.fd, &name.plain, &length) != 0) return;
  bool is_unix = slot.family == AF_UNIX;
  bool has_one = is_unix ? length > sizeof(sa_family_t) && !slot.named : port_of(name) != slot.port;
  if (!has_one) return;
  slot.named = true;
  if (!is_unix) slot.port = port_of(name);
  say(" now");
  show_name(name, length, slot.type, true);
  world->known[world->known_count++ % kNames] = {name, length, slot.type};
}

// --- Descriptors.

int Player::free_slot() {
  for (int i = 0; i < kSlots; i++) {
    if (slots_[i].fd < 0) return i;
  }
  return -1;
}

Player::Slot* Player::any_of(Random& random, bool (*wanted)(const Slot&)) {
  int start = static_cast<int>(random.below(kSlots));
  for (int i = 0; i < kSlots; i++) {
    Slot& slot = slots_[(start + i) % kSlots];
    if (slot.fd >= 0 && wanted(slot)) {
      say(" #%d %s", (start + i) % kSlots, kind_name(slot.family, slot.type));
      return &slot;
    }
  }
  say(" none");
  return nullptr;
}

Player::Slot* Player::any(Random& random) {
  return any_of(random, [](const Slot&) { return true; });
}

// A descriptor that was got just now gets a slot; if there is none, it is closed.
Player::Slot& Player::take(int fd) {
  static Slot gone;
  int at = free_slot();
  gone = Slot();
  Slot& slot = at < 0 ? gone : slots_[at];
  slot.fd = fd;
  slot.family = get_number(fd, SOL_SOCKET, SO_DOMAIN);
  slot.type = get_number(fd, SOL_SOCKET, SO_TYPE);
  slot.protocol = get_number(fd, SOL_SOCKET, SO_PROTOCOL);
  slot.named = slot.tried = true;
  SocketName name{};
  socklen_t length = sizeof name;
  if (slot.family != AF_UNIX && getsockname(fd, &name.plain, &length) == 0) slot.port = port_of(name);
  // Else what is sent waits for the answer to what was sent before.
  int on = 1;
  if (is_tcp(slot.family, slot.type)) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  say(" #%d", at);
  if (at < 0) close(fd);
  return slot;
}

bool Player::is_due(const Slot& slot, short events) {
  pollfd one{slot.fd, events, 0};
  return poll(&one, 1, 0) == 1 && (one.revents & events) != 0;
}

void Player::close_slot(Slot& slot) {
  if (slot.in_epoll) epoll_ctl(epoll_, EPOLL_CTL_DEL, slot.fd, nullptr);
  close(slot.fd);
  slot = Slot();
}

void Player::read_out(Slot& slot) {
  char data[4096];
  int empty = 0;
  for (int i = 0; i < 2000; i++) {
    ssize_t got = recv(slot.fd, data, sizeof data, MSG_DONTWAIT);
    if (got < 0 || (got == 0 && slot.type == SOCK_STREAM)) {
      say(got < 0 ? " %s" : " end", strerrorname_np(errno));
      return;
    }
    say(" %zd", got);
    // The end, of sequenced packets, looks like an empty one.
    empty = got == 0 ? empty + 1 : 0;
    if (empty == 4 && slot.type == SOCK_SEQPACKET) return;
  }
}

void Player::drain() {
  say("drain");
  for (int i = 0; i < kSlots; i++) {
    Slot& slot = slots_[i];
    if (slot.fd < 0) continue;
    say(" #%d:", i);
    if (get_number(slot.fd, SOL_SOCKET, SO_ACCEPTCONN) == 1) {
      for (int fd; (fd = accept(slot.fd, nullptr, nullptr)) >= 0; close(fd)) say(" accepted");
      say(" %s", strerrorname_np(errno));
    } else {
      read_out(slot);
    }
  }
}

// Whether `sent` may go through `slot`. Unix sockets that hold one another in their queues are garbage, which
// Linux looks for in its own time: a peer of such a one hears of its end somewhat later than here. So none
// are made: what is sent through a socket that may itself be sent comes from pairs that carry nothing, or is
// of a kind that comes before its own.
bool Player::may_carry(const Slot& slot, const Slot& sent) {
  if (sent.family != AF_UNIX) return true;
  auto order = [](int type) { return type == SOCK_STREAM ? 0 : type == SOCK_DGRAM ? 1 : 2; };
  return !is_freight(slot) && (is_freight(sent) || order(sent.type) < order(slot.type));
}

// Such pairs are marked by an option that nothing here depends on.
bool Player::is_freight(const Slot& slot) {
  timeval limit{};
  socklen_t length = sizeof limit;
  return getsockopt(slot.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &length) == 0 && limit.tv_sec == kFreight;
}

// A TCP socket that connects to its own name: on Linux that makes a connection.
bool Player::is_own(const Slot& slot, const SocketName& name) {
  if (!is_tcp(slot.family, slot.type) || port_of(name) == 0) return false;
  SocketName own{};
  socklen_t length = sizeof own;
  return getsockname(slot.fd, &own.plain, &length) == 0 && port_of(own) == port_of(name);
}

// Whether it may be a TCP socket that could not connect. Which port such a one is left with, and what it can
// still do, depends on how it failed and on the kernel's version.
bool Player::has_failed(const Slot& slot) {
  SocketName name{};
  socklen_t length = sizeof name;
  if (!is_tcp(slot.family, slot.type) || !slot.tried) return false;
  if (get_number(slot.fd, SOL_SOCKET, SO_ACCEPTCONN) == 1) return false;
  return getpeername(slot.fd, &name.plain, &length) != 0;
}

// --- Operations.

void Player::make(Random& random) {
  say("socket");
  if (free_slot() < 0) return say(" full");
  int families[] = {AF_UNIX, AF_INET, AF_INET, AF_INET6};
  int family = families[random.below(4)];
  int types[] = {SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  int type = types[random.below(4)];
  int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  say(" %s", kind_name(family, type));
  if (fd < 0) return outcome(fd);
  Slot& made = take(fd);
  made.named = made.tried = false;
}

void Player::make_pair(Random& random) {
  say("socketpair");
  int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  int type = types[random.below(3)], fds[2];
  int result = socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds);
  say(" %s", kind_name(AF_UNIX, type));
  if (result < 0) return outcome(result);
  if (random.one_in(2)) {
    timeval limit{kFreight, 0};
    for (int fd : fds) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    say(" freight");
  }
  take(fds[0]);
  take(fds[1]);
}

// A name to bind `slot` to.
SocketName Player::own_name(Random& random, const Slot& slot, socklen_t& length) {
  SocketName name{};
  if (slot.family != AF_UNIX) {
    length = put_address(name, slot.family, static_cast<int>(random.below(5)));
    // Connections of one port to another are not made: who can be found has a port that was asked for.
    if (random.one_in(2)) set_port(name, kFirstPort + static_cast<int>(random.below(kPorts)));
    return name;
  }
  name.local.sun_family = AF_UNIX;
  int number = static_cast<int>(random.below(kPaths));
  bool abstract = random.one_in(2);
  if (random.one_in(6)) {
    length = sizeof(sa_family_t);
    return name;
  }
  snprintf(name.local.sun_path + abstract, 20, "names%d", number);
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + abstract + 6 +
                                  (random.one_in(2) && !abstract));
  return name;
}

void Player::bind_one(Random& random) {
  say("bind");
  Slot* slot = random.one_in(3) ? any(random) : any_of(random, [](const Slot& one) { return !one.named; });
  if (slot == nullptr) return;
  socklen_t length;
  SocketName name = own_name(random, *slot, length);
  show_name(name, length, slot->type);
  if (has_failed(*slot)) return say(" failed before");
  if (is_freight(*slot)) return say(" freight");
  outcome(bind(slot->fd, &name.plain, length));
  note_name(*slot);
}

void Player::listen_one(Random& random) {
  say("listen");
  Slot* slot = random.one_in(6)
                   ? any(random)
                   : any_of(random, [](const Slot& one) { return one.type != SOCK_DGRAM && one.named; });
  if (slot == nullptr) return;
  int backlog = slot->family == AF_UNIX ? static_cast<int>(random.below(4)) : 100;
  say(" %d", backlog);
  if (has_failed(*slot)) return say(" failed before");
  outcome(listen(slot->fd, backlog));
  note_name(*slot);
}

// A name that may be somebody's; false: none is known.
bool Player::target(Random& random, const Slot& slot, SocketName& name, socklen_t& length, int& type) {
  type = slot.type;
  unsigned count = std::min<unsigned>(world->known_count, kNames);
  if (random.one_in(8) || count == 0) {
    name = own_name(random, slot, length);
    return true;
  }
  unsigned start = static_cast<unsigned>(random.below(count));
  for (unsigned i = 0; i < count; i++) {
    const Known& known = world->known[(start + i) % count];
    bool same = known.name.plain.sa_family == slot.family && (known.type == slot.type || random.one_in(8));
    bool mapped = known.name.plain.sa_family == AF_INET && slot.family == AF_INET6 && known.type == slot.type;
    if (!same && !mapped) continue;
    name = known.name;
    length = known.length;
    type = known.type;
    if (mapped) {
      SocketName six{};
      six.v6.sin6_family = AF_INET6;
      six.v6.sin6_addr.s6_addr[10] = six.v6.sin6_addr.s6_addr[11] = 0xff;
      memcpy(six.v6.sin6_addr.s6_addr + 12, &known.name.v4.sin_addr, 4);
      six.v6.sin6_port = known.name.v4.sin_port;
      name = six;
      length = sizeof six.v6;
    }
    return true;
  }
  return false;
}

void Player::connect_one(Random& random) {
  say("connect");
  Slot* slot = any_of(random, [](const Slot& one) { return one.type != SOCK_DGRAM; });
  if (random.one_in(3)) slot = any(random);
  if (slot == nullptr) return;
  SocketName name{};
  socklen_t length = 0;
  int type = 0;
  if (!target(random, *slot, name, length, type)) return say(" nowhere");
  // One of IPv6 that had a peer goes on to hear from nobody but that peer's address on Linux, which takes it
  // for connected and not in turns.
  if (slot->type == SOCK_DGRAM && slot->family != AF_INET6 && random.one_in(6)) {
    name = SocketName{};
    length = sizeof(sockaddr_in);
    say(" nobody");
  }
  show_name(name, length, type);
  if (is_own(*slot, name)) return say(" itself");
  if (is_freight(*slot)) return say(" freight");
  if (has_failed(*slot)) return say(" failed before");
  // Its own address would stay one of the first peer's family.
  bool again = slot->family == AF_INET6 && slot->type == SOCK_DGRAM && name.plain.sa_family == AF_INET6;
  SocketName peer{};
  socklen_t peer_length = sizeof peer;
  if (again && getpeername(slot->fd, &peer.plain, &peer_length) == 0) return say(" again");
  // What becomes of a connection to port 0 depends on the family.
  if (slot->family != AF_UNIX && name.plain.sa_family != AF_UNSPEC && port_of(name) == 0)
    return say(" port 0");
  bool waits = is_tcp(slot->family, slot->type) && random.one_in(3);
  if (waits) fcntl(slot->fd, F_SETFL, 0);
  slot->tried = true;
  int result = connect(slot->fd, &name.plain, length);
  outcome(result);
  if (waits) fcntl(slot->fd, F_SETFL, O_NONBLOCK);
  note_name(*slot);
}

void Player::accept_one(Random& random) {
  say("accept");
  Slot* slot = any_of(random, [](const Slot& one) {
    return get_number(one.fd, SOL_SOCKET, SO_ACCEPTCONN) == 1 || one.family == -1;
  });
  if (slot == nullptr && random.one_in(4)) slot = any(random);
  if (slot == nullptr) return;
  SocketName name{};
  socklen_t length = sizeof name;
  bool waits = is_due(*slot, POLLIN) && random.one_in(2);
  if (waits) fcntl(slot->fd, F_SETFL, 0);
  int fd = accept4(slot->fd, &name.plain, &length, SOCK_NONBLOCK);
  if (waits) fcntl(slot->fd, F_SETFL, O_NONBLOCK);
  if (fd < 0) return outcome(fd);
  show_name(name, length, slot->type);
  take(fd);
}

void Player::send_one(Random& random) {
  say("send");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  size_t size = random.below(sizeof kData);
  size_t split = random.below(size + 1);
  iovec pieces[2] = {{const_cast<char*>(kData), split}, {const_cast<char*>(kData) + split, size - split}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  SocketName name{};
  socklen_t length = 0;
  bool addressed = slot->type == SOCK_DGRAM ? !random.one_in(3) : random.one_in(20);
  int type = 0;
  if (addressed && target(random, *slot, name, length, type)) {
    message.msg_name = &name;
    message.msg_namelen = length;
    show_name(name, length, type);
  }
  int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (is_tcp(slot->family, slot->type) && random.one_in(10)) flags |= MSG_OOB;
  say(" %zu%s", size, (flags & MSG_OOB) != 0 ? " oob" : "");
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int)) + CMSG_SPACE(sizeof(ucred))] = {};
  if (slot->family == AF_UNIX && random.one_in(4)) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* record = CMSG_FIRSTHDR(&message);
    size_t total = 0;
    if (!random.one_in(3)) {
      size_t count = 0;
      for (uint64_t tries = 1 + random.below(2); tries > 0; tries--) {
        const Slot* sent = any(random);
        if (!may_carry(*slot, *sent)) {
          say(" not");
          continue;
        }
        memcpy(CMSG_DATA(record) + count++ * sizeof(int), &sent->fd, sizeof(int));
      }
      record->cmsg_level = SOL_SOCKET;
      record->cmsg_type = SCM_RIGHTS;
      record->cmsg_len = CMSG_LEN(count * sizeof(int));
      if (count > 0) total = CMSG_SPACE(count * sizeof(int));
      record = reinterpret_cast<cmsghdr*>(control + total);
    }
    if (total == 0 || random.one_in(3)) {
      ucred own{getpid(), getuid(), getgid()};
      if (random.one_in(8) && slot->type != SOCK_SEQPACKET) own.pid = 999999;
      record->cmsg_level = SOL_SOCKET;
      record->cmsg_type = SCM_CREDENTIALS;
      record->cmsg_len = CMSG_LEN(sizeof own);
      memcpy(CMSG_DATA(record), &own, sizeof own);
      total += CMSG_SPACE(sizeof own);
      say(" creds");
    }
    message.msg_controllen = total;
  }
  outcome(sendmsg(slot->fd, &message, flags));
  note_name(*slot);
}

void Player::receive_one(Random& random) {
  say("recv");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  char data[256], control[CMSG_SPACE(4 * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  size_t size = random.one_in(4) ? random.below(10) : random.below(sizeof data);
  size_t split = random.below(size + 1);
  memset(data, '.', sizeof data);
  iovec pieces[2] = {{data, split}, {data + split, size - split}};
  SocketName name{};
  msghdr message{};
  message.msg_name = &name;
  message.msg_namelen = random.one_in(8) ? 4 : sizeof name;
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  message.msg_control = control;
  message.msg_controllen = random.one_in(6) ? random.below(sizeof control) & ~3UL : sizeof control;
  int flags = MSG_DONTWAIT;
  if (random.one_in(5)) flags |= MSG_PEEK;
  if (random.one_in(6)) flags |= MSG_TRUNC;
  if (random.one_in(6)) flags |= MSG_WAITALL;
  // Not of one that is closed: see settled().
  bool may_be_urgent = is_tcp(slot->family, slot->type) && tcp_state(slot->fd) != TCP_CLOSE;
  if (may_be_urgent && random.one_in(8)) flags |= MSG_OOB;
  if (random.one_in(6)) flags |= MSG_CMSG_CLOEXEC;
  say(" %zu %x room %zu", size, flags, static_cast<size_t>(message.msg_controllen));
  if (is_due(*slot, POLLIN) && (flags & (MSG_WAITALL | MSG_OOB)) == 0 && random.one_in(3)) {
    // Due, so it does not wait.
    flags &= ~MSG_DONTWAIT;
  }
  ssize_t got = recvmsg(slot->fd, &message, flags);
  outcome(got);
  if (got < 0) return;
  say(" '%.*s'", static_cast<int>(std::min(static_cast<size_t>(got), size)), data);
  say(" flags %x", message.msg_flags & ~MSG_CMSG_CLOEXEC);
  if (message.msg_namelen > sizeof name || message.msg_namelen == 0 || message.msg_namelen > 4)
    show_name(name, message.msg_namelen, slot->type);
  for (cmsghdr* record = CMSG_FIRSTHDR(&message); record != nullptr; record = CMSG_NXTHDR(&message, record)) {
    size_t length = record->cmsg_len - CMSG_LEN(0);
    say(" [%d.%d %zu", record->cmsg_level, record->cmsg_type, length);
    if (record->cmsg_type == SCM_RIGHTS) {
      for (size_t i = 0; i + sizeof(int) <= length; i += sizeof(int)) {
        int fd;
        memcpy(&fd, CMSG_DATA(record) + i, sizeof fd);
        Slot& slot = take(fd);
        say(" %s", kind_name(slot.family, slot.type));
        if (slot.fd >= 0 && &slot >= slots_ && &slot < slots_ + kSlots) fcntl(fd, F_SETFL, O_NONBLOCK);
      }
    } else if (record->cmsg_type == SCM_CREDENTIALS && length == sizeof(ucred)) {
      ucred who;
      memcpy(&who, CMSG_DATA(record), sizeof who);
      int process = 0;
      while (process < kProcesses && world->pids[process] != who.pid) process++;
      say(" of %d %d %d", who.pid == 0 ? -1 : process, static_cast<int>(who.uid - getuid()),
          static_cast<int>(who.gid - getgid()));
    }
    say("]");
  }
}

void Player::read_one(Random& random) {
  bool reads = random.one_in(2);
  say(reads ? "read" : "write");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  char data[64];
  if (!reads) {
    outcome(write(slot->fd, kData, random.below(40)));
    return note_name(*slot);
  }
  ssize_t got = read(slot->fd, data, random.below(sizeof data));
  outcome(got);
  if (got > 0) say(" '%.*s'", static_cast<int>(got), data);
}

void Player::send_many(Random& random) {
  bool sends = random.one_in(2);
  say(sends ? "sendmmsg" : "recvmmsg");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  char data[3][32] = {"one", "second", "the third"};
  mmsghdr all[3] = {};
  iovec pieces[3];
  for (int i = 0; i < 3; i++) {
    pieces[i] = {data[i], sends ? strlen(data[i]) : sizeof data[i]};
    all[i].msg_hdr.msg_iov = &pieces[i];
    all[i].msg_hdr.msg_iovlen = 1;
  }
  unsigned count = 1 + static_cast<unsigned>(random.below(3));
  int done = sends ? sendmmsg(slot->fd, all, count, MSG_DONTWAIT | MSG_NOSIGNAL)
                   : recvmmsg(slot->fd, all, count, MSG_DONTWAIT, nullptr);
  outcome(done);
  for (int i = 0; i < done; i++) say(" %u", all[i].msg_len);
  note_name(*slot);
}

void Player::shut_one(Random& random) {
  say("shutdown");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  int how = static_cast<int>(random.below(3));
  say(" %d", how);
  // Without a connection it is an error, and yet not without effect on the next one.
  SocketName name{};
  socklen_t length = sizeof name;
  bool listens = get_number(slot->fd, SOL_SOCKET, SO_ACCEPTCONN) == 1;
  bool tcp = is_tcp(slot->family, slot->type);
  if (tcp && !listens && getpeername(slot->fd, &name.plain, &length) != 0) return;
  // The other side of one that is closed so may be gone without a trace, for there is no TIME_WAIT.
  if (tcp && tcp_state(slot->fd) == TCP_CLOSE_WAIT) return;
  outcome(shutdown(slot->fd, how));
}

struct Option {
  int level, name;
  const char* text;
};
constexpr Option kNumbers[] = {
    {SOL_SOCKET, SO_REUSEADDR, "reuseaddr"},
    {SOL_SOCKET, SO_KEEPALIVE, "keepalive"},
    {SOL_SOCKET, SO_BROADCAST, "broadcast"},
    {SOL_SOCKET, SO_OOBINLINE, "oobinline"},
    {SOL_SOCKET, SO_PASSCRED, "passcred"},
    {SOL_SOCKET, SO_PRIORITY, "priority"},
    {SOL_SOCKET, SO_RCVLOWAT, "rcvlowat"},
    {IPPROTO_TCP, TCP_NODELAY, "nodelay"},
    {IPPROTO_TCP, TCP_KEEPIDLE, "keepidle"},
    {IPPROTO_IP, IP_TTL, "ttl"},
    {IPPROTO_IP, IP_TOS, "tos"},
    {IPPROTO_IPV6, IPV6_V6ONLY, "v6only"},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, "hops"},
};

void Player::set_one(Random& random) {
  say("setsockopt");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  if (random.one_in(6)) {
    linger wanted{static_cast<int>(random.below(2)), 0};
    say(" linger %d", wanted.l_onoff);
    return outcome(setsockopt(slot->fd, SOL_SOCKET, SO_LINGER, &wanted, sizeof wanted));
  }
  if (random.one_in(8)) {
    timeval wanted{static_cast<time_t>(random.below(3)), 500000};
    say(" rcvtimeo");
    return outcome(setsockopt(slot->fd, SOL_SOCKET, SO_RCVTIMEO, &wanted, sizeof wanted));
  }
  const Option& option = kNumbers[random.below(std::size(kNumbers))];
  int value = static_cast<int>(random.below(3));
  if (option.name == SO_PASSCRED && option.level == SOL_SOCKET && slot->family != AF_UNIX) return;
  if (option.name == IPV6_V6ONLY && option.level == IPPROTO_IPV6 && has_failed(*slot)) return;
  if (option.name == TCP_NODELAY && option.level == IPPROTO_TCP) value = 1;
  // A low-water mark of more than one has Linux say "readable" by what segments take, not by bytes.
  if (option.name == SO_RCVLOWAT && option.level == SOL_SOCKET) value = 1;
  socklen_t size = random.one_in(20) ? 2 : sizeof value;
  say(" %s %d/%u", option.text, value, size);
  outcome(setsockopt(slot->fd, option.level, option.name, &value, size));
}

void Player::get_one(Random& random) {
  say("getsockopt");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  constexpr Option kMore[] = {
      {SOL_SOCKET, SO_ERROR, "error"},           {SOL_SOCKET, SO_ERROR, "error"},
      {SOL_SOCKET, SO_ACCEPTCONN, "acceptconn"}, {SOL_SOCKET, SO_DOMAIN, "domain"},
      {SOL_SOCKET, SO_PROTOCOL, "protocol"},     {SOL_SOCKET, SO_TYPE, "type"},
  };
  if (is_tcp(slot->family, slot->type) && random.one_in(2)) {
    return say(" state %d", tcp_state(slot->fd));
  }
  if (slot->family == AF_UNIX && random.one_in(4)) {
    ucred who{};
    socklen_t length = sizeof who;
    int result = getsockopt(slot->fd, SOL_SOCKET, SO_PEERCRED, &who, &length);
    int process = 0;
    while (process < kProcesses && world->pids[process] != who.pid) process++;
    say(" peercred %d %d", who.pid == 0 ? -1 : process, static_cast<int>(who.uid));
    return outcome(result);
  }
  size_t which = random.below(std::size(kMore) + std::size(kNumbers));
  const Option& option = which < std::size(kMore) ? kMore[which] : kNumbers[which - std::size(kMore)];
  if (option.name == SO_PASSCRED && option.level == SOL_SOCKET && slot->family != AF_UNIX) return;
  int value = 0;
  socklen_t length = random.one_in(10) ? static_cast<socklen_t>(random.below(5)) : sizeof value;
  say(" %s/%u", option.text, length);
  int result = getsockopt(slot->fd, option.level, option.name, &value, &length);
  if (result == 0) say(" %d/%u", value, length);
  outcome(result);
}

void Player::poll_one(Random& random) {
  say("poll");
  if (random.one_in(2)) {
    Slot* slot = any(random);
    if (slot == nullptr) return;
    constexpr short kSome[] = {
        POLLIN, POLLOUT, POLLPRI, POLLRDHUP,
        POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND};
    pollfd one{slot->fd, kSome[random.below(std::size(kSome))], 0};
    outcome(poll(&one, 1, 0));
    return say(" %x of %x", settled(one.fd, one.revents), one.events);
  }
  std::vector<pollfd> all;
  for (Slot& slot : slots_) all.push_back({slot.fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0});
  outcome(poll(all.data(), all.size(), 0));
  for (const pollfd& one : all) say(" %x", settled(one.fd, one.revents));
}

void Player::watch_one(Random& random) {
  say("epoll_ctl");
  if (epoll_ < 0) epoll_ = epoll_create1(EPOLL_CLOEXEC);
  Slot* slot = any(random);
  if (slot == nullptr) return;
  constexpr uint32_t kSome[] = {EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI};
  epoll_event event{};
  event.events = kSome[random.below(3)];
  if (random.one_in(4)) event.events |= EPOLLONESHOT;
  event.data.u64 = static_cast<uint64_t>(slot - slots_);
  constexpr int kWhat[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
  int what = kWhat[random.below(4)];
  say(" %d %x", what, event.events);
  int result = epoll_ctl(epoll_, what, slot->fd, &event);
  outcome(result);
  if (result == 0) slot->in_epoll = what != EPOLL_CTL_DEL;
}

void Player::wait_watched(Random&) {
  say("epoll_wait");
  epoll_event events[kSlots + 2];
  int count = epoll_wait(epoll_, events, kSlots + 2, 0);
  outcome(count);
  auto before = [](const epoll_event& a, const epoll_event& b) { return a.data.u64 < b.data.u64; };
  std::sort(events, events + std::max(count, 0), before);
  for (int i = 0; i < count; i++)
    say(" #%d:%x", static_cast<int>(events[i].data.u64),
        settled(slots_[events[i].data.u64 % kSlots].fd, static_cast<int>(events[i].events)));
}

void Player::tell_names(Random& random) {
  bool own = random.one_in(2);
  say(own ? "getsockname" : "getpeername");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  SocketName name{};
  socklen_t length = sizeof name;
  int result =
      own ? getsockname(slot->fd, &name.plain, &length) : getpeername(slot->fd, &name.plain, &length);
  if (result == 0) show_name(name, length, slot->type);
  outcome(result);
}

void Player::duplicate(Random& random) {
  say("dup");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  if (free_slot() < 0) return say(" full");
  take(dup(slot->fd)).named = slot->named;
}

void Player::count_bytes(Random& random) {
  say("ioctl");
  Slot* slot = any(random);
  if (slot == nullptr) return;
  int value = 0;
  bool mark = slot->family != AF_UNIX && random.one_in(3);
  int result = ioctl(slot->fd, mark ? SIOCATMARK : FIONREAD, &value);
  say(mark ? " atmark %d" : " nread %d", value);
  outcome(result);
}

void Player::unlink_one(Random& random) {
  char name[16];
  snprintf(name, sizeof name, "names%d", static_cast<int>(random.below(kPaths)));
  say("unlink %s", name);
  outcome(unlink(name));
}

void Player::perform(Baton& baton) {
  out_ = baton.text;
  used_ = 0;
  out_[0] = 0;
  if (baton.random == kDrain) return drain();
  Random random(baton.random);
  struct Weighted {
    void (Player::*operation)(Random&);
    unsigned weight;
  };
  constexpr Weighted kAll[] = {
      {&Player::make, 10},      {&Player::make_pair, 4},    {&Player::bind_one, 9},
      {&Player::listen_one, 6}, {&Player::connect_one, 12}, {&Player::accept_one, 10},
      {&Player::send_one, 20},  {&Player::receive_one, 18}, {&Player::shut_one, 4},
      {&Player::set_one, 6},    {&Player::get_one, 8},      {&Player::poll_one, 10},
      {&Player::watch_one, 5},  {&Player::wait_watched, 6}, {&Player::tell_names, 6},
      {&Player::duplicate, 1},  {&Player::count_bytes, 4},  {&Player::unlink_one, 3},
      {&Player::send_many, 3},  {&Player::read_one, 6},
  };
  unsigned total = 0;
  for (const Weighted& one : kAll) total += one.weight;
  unsigned chosen = static_cast<unsigned>(random.below(total + 6));
  for (const Weighted& one : kAll) {
    if (chosen < one.weight) return (this->*one.operation)(random);
    chosen -= one.weight;
  }
  say("close");
  if (Slot* slot = any(random); slot != nullptr) close_slot(*slot);
}

}  // namespace model
