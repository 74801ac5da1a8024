// AF_UNIX: pairs, streams by name and abstract name, datagrams, seqpacket, descriptors and credentials in
// flight.
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "tests/guest/check.h"

namespace {

struct Pair {
  int a, b;
  explicit Pair(int type = SOCK_STREAM) {
    int fds[2];
    NEED_OK(socketpair(AF_UNIX, type, 0, fds));
    a = fds[0];
    b = fds[1];
  }
};

std::string get(int fd, size_t max = 65536, int flags = 0) {
  std::string s(max, 0);
  ssize_t n = recv(fd, s.data(), max, flags);
  s.resize(n < 0 ? 0 : size_t(n));
  return s;
}

sockaddr_un address(const char* name, socklen_t* length, bool abstract = false) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  strcpy(a.sun_path + abstract, name);
  *length = socklen_t(offsetof(sockaddr_un, sun_path) + strlen(name) + 1);
  return a;
}

int bind_to(int fd, const char* name, bool abstract = false) {
  socklen_t n;
  sockaddr_un a = address(name, &n, abstract);
  return bind(fd, reinterpret_cast<sockaddr*>(&a), n);
}

int connect_to(int fd, const char* name, bool abstract = false) {
  socklen_t n;
  sockaddr_un a = address(name, &n, abstract);
  return connect(fd, reinterpret_cast<sockaddr*>(&a), n);
}

// Sends one byte with descriptors.
ssize_t send_fds(int socket, std::initializer_list<int> fds, const char* text = "F") {
  char control[256] = {};
  iovec v{const_cast<char*>(text), strlen(text)};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  memcpy(CMSG_DATA(c), fds.begin(), fds.size() * sizeof(int));
  return sendmsg(socket, &m, 0);
}

// Receives one message; the descriptors in it go to `fds`, their number is given.
int receive_fds(int socket, int* fds, int most, int flags = 0, int* message_flags = nullptr) {
  char control[256], byte[16];
  iovec v{byte, sizeof byte};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = most ? CMSG_SPACE(size_t(most) * sizeof(int)) : 0;
  if (recvmsg(socket, &m, flags) < 0) return -1;
  if (message_flags) *message_flags = m.msg_flags;
  int n = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_type != SCM_RIGHTS) continue;
    n = int((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(c), size_t(n) * sizeof(int));
  }
  return n;
}

}  // namespace

TEST(pair_both_ways) {
  Pair p;
  CHECK_EQ(write(p.a, "ping", 4), 4);
  CHECK_EQ(get(p.b), "ping");
  CHECK_EQ(send(p.b, "pong", 4, 0), 4);
  CHECK_EQ(get(p.a, 2), "po");
  CHECK_EQ(get(p.a), "ng");
  int n = 0;
  CHECK_EQ(write(p.a, "12345", 5), 5);
  CHECK_OK(ioctl(p.b, FIONREAD, &n));
  CHECK_EQ(n, 5);
  CHECK_EQ(get(p.b, 3, MSG_PEEK), "123");
  CHECK_EQ(get(p.b), "12345");
  CHECK_ERR(recv(p.b, &n, 1, MSG_DONTWAIT), EAGAIN);
  struct stat st;
  CHECK_OK(fstat(p.a, &st));
  CHECK(S_ISSOCK(st.st_mode));
  CHECK_ERR(lseek(p.a, 0, SEEK_SET), ESPIPE);
}

TEST(socket_errors) {
  int fds[2];
  CHECK_ERR(socket(AF_UNIX, 77, 0), EINVAL);
  CHECK_ERR(socket(AF_UNIX, SOCK_STREAM, 99), EPROTONOSUPPORT);
  CHECK_ERR(socket(12345, SOCK_STREAM, 0), EAFNOSUPPORT);
  CHECK_ERR(socketpair(AF_INET, SOCK_STREAM, 0, fds), EOPNOTSUPP);
  CHECK_ERR(send(0 + open("/dev/null", O_RDWR), "x", 1, 0), ENOTSOCK);
  int s = NEED_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  CHECK_EQ(fcntl(s, F_GETFD), FD_CLOEXEC);
  CHECK(fcntl(s, F_GETFL) & O_NONBLOCK);
  CHECK_ERR(recv(s, fds, 1, 0), EINVAL);
  CHECK_ERR(send(s, "x", 1, MSG_NOSIGNAL), ENOTCONN);
  CHECK_ERR(listen(s, 5), EINVAL);
  CHECK_ERR(accept(s, nullptr, nullptr), EINVAL);
  CHECK_ERR(connect_to(s, "none"), ENOENT);
  NEED(check::write_file("file", ""));
  CHECK_ERR(connect_to(s, "file"), ECONNREFUSED);
  CHECK_ERR(bind_to(s, "file"), EADDRINUSE);
  CHECK_ERR(bind_to(s, "no/dir"), ENOENT);
}

TEST(end_of_file_and_epipe) {
  Pair p;
  signal(SIGPIPE, SIG_IGN);
  CHECK_EQ(write(p.a, "last", 4), 4);
  close(p.a);
  CHECK_EQ(get(p.b), "last");
  char c;
  CHECK_EQ(read(p.b, &c, 1), 0);
  CHECK_ERR(write(p.b, "x", 1), EPIPE);
  Pair q;
  CHECK_EQ(write(q.a, "unread", 6), 6);
  close(q.b);  // with unread data the other end is reset
  CHECK_ERR(read(q.a, &c, 1), ECONNRESET);
  CHECK_EQ(read(q.a, &c, 1), 0);
}

TEST(sigpipe_and_nosignal) {
  CHECK_KILLED(check::in_child([] {
                 Pair p;
                 close(p.b);
                 if (send(p.a, "x", 1, 0) < 0) _exit(1);
               }),
               SIGPIPE);
  Pair p;
  close(p.b);
  CHECK_ERR(send(p.a, "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(shutdown_directions) {
  Pair p;
  signal(SIGPIPE, SIG_IGN);
  CHECK_OK(shutdown(p.a, SHUT_WR));
  char c;
  CHECK_EQ(read(p.b, &c, 1), 0);
  CHECK_ERR(write(p.a, "x", 1), EPIPE);
  CHECK_EQ(write(p.b, "y", 1), 1);
  CHECK_EQ(get(p.a), "y");
  pollfd poll_fd{p.b, POLLIN | POLLRDHUP, 0};
  CHECK_EQ(poll(&poll_fd, 1, 0), 1);
  CHECK_EQ(poll_fd.revents, POLLIN | POLLRDHUP);
  CHECK_OK(shutdown(p.b, SHUT_RDWR));
  poll_fd.fd = p.a;
  poll_fd.events = POLLIN;
  CHECK_EQ(poll(&poll_fd, 1, 0), 1);
  CHECK(poll_fd.revents & POLLHUP);
  CHECK_ERR(shutdown(p.a, 9), EINVAL);
}

TEST(named_stream) {
  int server = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  NEED_OK(bind_to(server, "sock"));
  struct stat st;
  CHECK_OK(stat("sock", &st));
  CHECK(S_ISSOCK(st.st_mode));
  int client = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK_ERR(connect_to(client, "sock"), ECONNREFUSED);
  NEED_OK(listen(server, 4));
  CHECK_OK(connect_to(client, "sock"));
  CHECK_EQ(write(client, "early", 5), 5);  // before the accept
  sockaddr_un peer{};
  socklen_t n = sizeof peer;
  int conn = NEED_OK(accept4(server, reinterpret_cast<sockaddr*>(&peer), &n, SOCK_CLOEXEC));
  CHECK_EQ(n, 2);  // an unnamed client
  CHECK_EQ(get(conn), "early");
  n = sizeof peer;
  CHECK_OK(getpeername(client, reinterpret_cast<sockaddr*>(&peer), &n));
  CHECK_EQ(peer.sun_path, "sock");
  CHECK_EQ(n, 7);
  n = sizeof peer;
  CHECK_OK(getsockname(conn, reinterpret_cast<sockaddr*>(&peer), &n));
  CHECK_EQ(peer.sun_path, "sock");
  CHECK_ERR(connect_to(client, "sock"), EISCONN);
  int second = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(second, "sock"), EADDRINUSE);
  close(server);
  CHECK_ERR(connect_to(second, "sock"), ECONNREFUSED);
  CHECK_OK(unlink("sock"));
  CHECK_EQ(write(conn, "still", 5), 5);
  CHECK_EQ(get(client), "still");
  CHECK_ERR(getpeername(second, reinterpret_cast<sockaddr*>(&peer), &n), ENOTCONN);
}

// What a listener accepts is called as it is, but to end does not take the name away.
TEST(abstract_names_stay_with_the_listener) {
  std::string name = "stays-" + std::to_string(getpid());
  int listener = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  NEED_OK(bind_to(listener, name.c_str(), true));
  NEED_OK(listen(listener, 5));
  for (int i = 0; i < 3; i++) {
    int client = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_OK(connect_to(client, name.c_str(), true));
    close(NEED_OK(accept(listener, nullptr, nullptr)));
    close(client);
  }
  int client = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK_OK(connect_to(client, name.c_str(), true));
  int accepted = NEED_OK(accept(listener, nullptr, nullptr));
  close(listener);
  int next = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK_OK(bind_to(next, name.c_str(), true));  // free, though the connection lives on
  CHECK_EQ(write(client, "x", 1), 1);
  CHECK_EQ(get(accepted), "x");
}

TEST(abstract_names_are_a_types_own) {
  std::string name = "types-" + std::to_string(getpid());
  int stream = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0)), datagrams = NEED_OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  CHECK_OK(bind_to(stream, name.c_str(), true));
  CHECK_OK(bind_to(datagrams, name.c_str(), true));
  int second = NEED_OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  CHECK_ERR(bind_to(second, name.c_str(), true), EADDRINUSE);
  CHECK_OK(connect_to(second, name.c_str(), true));
  CHECK_EQ(write(second, "x", 1), 1);
  CHECK_EQ(get(datagrams), "x");
  int packets = NEED_OK(socket(AF_UNIX, SOCK_SEQPACKET, 0));
  CHECK_ERR(connect_to(packets, name.c_str(), true), ECONNREFUSED);
}

TEST(abstract_names) {
  int server = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  std::string name = "abstract-" + std::to_string(getpid());
  NEED_OK(bind_to(server, name.c_str(), true));
  NEED_OK(listen(server, 4));
  int client = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK_OK(connect_to(client, name.c_str(), true));
  int second = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(second, name.c_str(), true), EADDRINUSE);
  close(server);
  CHECK_OK(bind_to(second, name.c_str(), true));
  int autobound = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  CHECK_OK(bind(autobound, reinterpret_cast<sockaddr*>(&a), sizeof(sa_family_t)));
  socklen_t n = sizeof a;
  CHECK_OK(getsockname(autobound, reinterpret_cast<sockaddr*>(&a), &n));
  CHECK_EQ(n, 8);
  CHECK_EQ(a.sun_path[0], 0);
}

TEST(server_with_forked_clients) {
  int server = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  NEED_OK(bind_to(server, "sock"));
  NEED_OK(listen(server, 2));
  for (int i = 0; i < 6; i++) {
    if (fork() == 0) {
      int s = socket(AF_UNIX, SOCK_STREAM, 0);
      if (connect_to(s, "sock") < 0) _exit(1);
      char c = char('0' + i);
      if (write(s, &c, 1) != 1 || read(s, &c, 1) != 1) _exit(2);
      _exit(c == char('0' + i) + 1 ? 0 : 3);
    }
  }
  for (int i = 0; i < 6; i++) {
    int conn = NEED_OK(accept(server, nullptr, nullptr));
    char c;
    CHECK_EQ(read(conn, &c, 1), 1);
    c++;
    CHECK_EQ(write(conn, &c, 1), 1);
    close(conn);
  }
  for (int i = 0; i < 6; i++) {
    int status;
    wait(&status);
    CHECK_EXIT(status, 0);
  }
}

TEST(accept_blocks_and_nonblocks) {
  int server = NEED_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  NEED_OK(bind_to(server, "sock"));
  NEED_OK(listen(server, 1));
  CHECK_ERR(accept(server, nullptr, nullptr), EAGAIN);
  fcntl(server, F_SETFL, 0);
  pid_t me = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(me);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    _exit(connect_to(s, "sock") == 0 ? 0 : 1);
  }
  pollfd p{server, POLLIN, 0};
  CHECK_EQ(poll(&p, 1, check::kPatience), 1);
  int conn = accept(server, nullptr, nullptr);
  CHECK_OK(conn);
  CHECK_EQ(fcntl(conn, F_GETFL) & O_NONBLOCK, 0);
  waitpid(child, nullptr, 0);
  // A full backlog refuses a nonblocking connect for now.
  int clients[8];
  int refused = 0;
  for (int& c : clients) {
    c = NEED_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (connect_to(c, "sock") < 0) {
      CHECK_EQ(errno, EAGAIN);
      refused++;
    }
  }
  CHECK_EQ(refused, 6);
}

TEST(blocking_and_buffers) {
  Pair p;
  pid_t child = fork();
  if (child == 0) {
    close(p.a);
    size_t total = 0;
    char b[7000];
    ssize_t n;
    while ((n = read(p.b, b, sizeof b)) > 0) total += size_t(n);
    _exit(total == 3000000 ? 0 : 1);
  }
  close(p.b);
  std::string data(300000, 'd');
  for (int i = 0; i < 10; i++) CHECK_EQ(write(p.a, data.data(), data.size()), ssize_t(data.size()));
  close(p.a);
  int status;
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
  Pair q;
  fcntl(q.a, F_SETFL, O_NONBLOCK);
  size_t total = 0;
  ssize_t n;
  while ((n = write(q.a, data.data(), 4096)) > 0) total += size_t(n);
  CHECK_EQ(errno, EAGAIN);
  CHECK(total > 30000);
  pollfd pw{q.a, POLLOUT, 0};
  CHECK_EQ(poll(&pw, 1, 0), 0);
  while (recv(q.b, data.data(), data.size(), MSG_DONTWAIT) > 0) {
  }
  CHECK_EQ(poll(&pw, 1, 0), 1);
}

TEST(waitall_and_timeouts) {
  Pair p;
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 4; i++) {
      check::sleep_ms(2);
      if (write(p.b, "ab", 2) != 2) _exit(1);
    }
    _exit(0);
  }
  CHECK_EQ(get(p.a, 8, MSG_WAITALL), "abababab");
  waitpid(child, nullptr, 0);
  timeval t{0, 20000};
  CHECK_OK(setsockopt(p.a, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
  char c;
  int64_t start = check::now_ns();
  CHECK_ERR(recv(p.a, &c, 1, 0), EAGAIN);
  CHECK(check::now_ns() - start >= 19000000);
}

TEST(options) {
  Pair p;
  int v = 0;
  socklen_t n = sizeof v;
  CHECK_OK(getsockopt(p.a, SOL_SOCKET, SO_TYPE, &v, &n));
  CHECK_EQ(v, SOCK_STREAM);
  CHECK_OK(getsockopt(p.a, SOL_SOCKET, SO_DOMAIN, &v, &n));
  CHECK_EQ(v, AF_UNIX);
  CHECK_OK(getsockopt(p.a, SOL_SOCKET, SO_ERROR, &v, &n));
  CHECK_EQ(v, 0);
  CHECK_OK(getsockopt(p.a, SOL_SOCKET, SO_ACCEPTCONN, &v, &n));
  CHECK_EQ(v, 0);
  CHECK_OK(getsockopt(p.a, SOL_SOCKET, SO_SNDBUF, &v, &n));
  CHECK(v > 4096);
  ucred cred{};
  n = sizeof cred;
  CHECK_OK(getsockopt(p.a, SOL_SOCKET, SO_PEERCRED, &cred, &n));
  CHECK_EQ(cred.pid, getpid());
  CHECK_EQ(cred.uid, geteuid());
  CHECK_ERR(getsockopt(p.a, SOL_SOCKET, 9999, &v, &n), ENOPROTOOPT);
  CHECK_ERR(setsockopt(p.a, SOL_SOCKET, SO_RCVBUF, &v, 1), EINVAL);
}

TEST(pass_descriptors) {
  Pair p;
  int fds[2];
  NEED_OK(pipe(fds));
  CHECK_EQ(send_fds(p.a, {fds[0], fds[1]}), 1);
  close(fds[0]);
  close(fds[1]);
  int got[4];
  CHECK_EQ(receive_fds(p.b, got, 4), 2);
  CHECK_EQ(write(got[1], "through", 7), 7);
  char b[8];
  CHECK_EQ(read(got[0], b, 8), 7);
  CHECK_EQ(fcntl(got[0], F_GETFD), 0);
  CHECK_EQ(send_fds(p.a, {got[0]}), 1);
  CHECK_EQ(receive_fds(p.b, got + 2, 2, MSG_CMSG_CLOEXEC), 1);
  CHECK_EQ(fcntl(got[2], F_GETFD), FD_CLOEXEC);
  CHECK_ERR(send_fds(p.a, {999}), EBADF);
}

TEST(pass_descriptors_between_processes) {
  Pair p;
  pid_t child = fork();
  if (child == 0) {
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    if (write(fd, "from child", 10) != 10) _exit(1);
    lseek(fd, 5, SEEK_SET);
    _exit(send_fds(p.a, {fd}) == 1 ? 0 : 2);
  }
  int fd = -1;
  CHECK_EQ(receive_fds(p.b, &fd, 1), 1);
  char b[16] = "";
  CHECK_EQ(read(fd, b, 15), 5);  // the offset is shared
  CHECK_EQ(b, "child");
  int status;
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(descriptors_truncated_and_dropped) {
  Pair p;
  int fds[2];
  NEED_OK(pipe(fds));
  CHECK_EQ(send_fds(p.a, {fds[0], fds[1]}), 1);
  int got[4], flags = 0;
  CHECK_EQ(receive_fds(p.b, got, 0, 0, &flags), 0);  // no room: closed
  CHECK(flags & MSG_CTRUNC);
  CHECK_EQ(send_fds(p.a, {fds[1]}), 1);
  close(fds[1]);
  close(p.a);
  close(p.b);  // the descriptor in flight goes with the queue
  char c;
  CHECK_EQ(read(fds[0], &c, 1), 0);
}

// A read goes on into the data that came with descriptors, and stops after it.
TEST(stream_stops_after_descriptors) {
  Pair p;
  int fd = NEED_OK(open("/dev/null", O_RDONLY));
  CHECK_EQ(write(p.a, "before", 6), 6);
  CHECK_EQ(send_fds(p.a, {fd}, "with"), 4);
  CHECK_EQ(write(p.a, "after", 5), 5);
  int got = -1;
  CHECK_EQ(receive_fds(p.b, &got, 1), 1);
  CHECK_OK(fcntl(got, F_GETFD));
  CHECK_EQ(get(p.b), "after");
}

TEST(accepted_have_options_of_their_own) {
  int listening = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0)), on = 1, value = -1;
  CHECK_OK(bind_to(listening, "options", true));
  CHECK_OK(setsockopt(listening, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
  CHECK_OK(setsockopt(listening, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  CHECK_OK(listen(listening, 1));
  int client = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK_OK(connect_to(client, "options", true));
  int fd = NEED_OK(accept(listening, nullptr, nullptr));
  socklen_t length = sizeof value;
  CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length));
  CHECK_EQ(value, 0);
  CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_PASSCRED, &value, &length));
  CHECK_EQ(value, 1);
}

// A peek that is full goes on to the descriptors of a later message.
TEST(peek_finds_later_descriptors) {
  Pair p;
  CHECK_EQ(write(p.a, "one", 3), 3);
  CHECK_EQ(send_fds(p.a, {p.a}), 1);
  int got[2], flags;
  char text[2];
  iovec piece{text, 2};
  msghdr message{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof got)];
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(p.b, &message, MSG_PEEK), 2);
  CHECK(CMSG_FIRSTHDR(&message) != nullptr && CMSG_FIRSTHDR(&message)->cmsg_type == SCM_RIGHTS);
  message.msg_controllen = CMSG_LEN(0) / 2;
  CHECK_EQ(recvmsg(p.b, &message, MSG_PEEK), 2);
  CHECK_EQ(message.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
  CHECK_EQ(read(p.b, text, 2), 2);
  CHECK_EQ(read(p.b, text, 1), 1);
  CHECK_EQ(receive_fds(p.b, got, 2, 0, &flags), 1);
}

TEST(cycle_of_descriptors) {
  // A socket sent through itself and closed: nothing may hang or leak for ever.
  for (int i = 0; i < 50; i++) {
    Pair p;
    CHECK_EQ(send_fds(p.a, {p.a, p.b}), 1);
    close(p.a);
    close(p.b);
  }
}

TEST(credentials_in_messages) {
  Pair p;
  int on = 1;
  NEED_OK(setsockopt(p.b, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  CHECK_EQ(write(p.a, "x", 1), 1);
  char control[128], byte;
  iovec v{&byte, 1};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(p.b, &m, 0), 1);
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  NEED(c);
  CHECK_EQ(c->cmsg_type, SCM_CREDENTIALS);
  ucred cred;
  memcpy(&cred, CMSG_DATA(c), sizeof cred);
  CHECK_EQ(cred.pid, getpid());
  CHECK_EQ(cred.uid, getuid());
}

// What is waited for together has one sender, who is known though the stream has ended since.
TEST(credentials_of_all_that_was_waited_for) {
  Pair p;
  int on = 1;
  NEED_OK(setsockopt(p.b, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  CHECK_EQ(send(p.a, "abc", 3, 0), 3);
  pid_t child = NEED_OK(fork());
  if (child == 0) _exit(send(p.a, "de", 2, 0) == 2 && write(p.a, "f", 1) == 1 ? 0 : 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(p.a);
  for (pid_t sender : {getpid(), child, 0}) {
    char control[128], text[8];
    iovec v{text, sizeof text};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    CHECK_EQ(recvmsg(p.b, &m, MSG_WAITALL), sender == 0 ? 0 : 3);
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    NEED(c);
    ucred cred;
    memcpy(&cred, CMSG_DATA(c), sizeof cred);
    CHECK_EQ(cred.pid, sender);
  }
}

TEST(datagram_pair_keeps_edges) {
  Pair p(SOCK_DGRAM);
  CHECK_EQ(send(p.a, "one", 3, 0), 3);
  CHECK_EQ(send(p.a, "", 0, 0), 0);
  CHECK_EQ(send(p.a, "three", 5, 0), 5);
  CHECK_EQ(get(p.b), "one");
  char b[2];
  CHECK_EQ(recv(p.b, b, 2, 0), 0);
  CHECK_EQ(recv(p.b, b, 2, MSG_TRUNC), 5);
  CHECK_ERR(recv(p.b, b, 2, MSG_DONTWAIT), EAGAIN);
  std::string big(5 << 20, 'b');
  CHECK_ERR(send(p.a, big.data(), big.size(), 0), EMSGSIZE);
}

TEST(datagram_named) {
  int server = NEED_OK(socket(AF_UNIX, SOCK_DGRAM, 0)), client = NEED_OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  NEED_OK(bind_to(server, "server"));
  NEED_OK(bind_to(client, "client"));
  socklen_t n;
  sockaddr_un to = address("server", &n);
  CHECK_EQ(sendto(client, "query", 5, 0, reinterpret_cast<sockaddr*>(&to), n), 5);
  sockaddr_un from{};
  socklen_t from_n = sizeof from;
  char b[16];
  CHECK_EQ(recvfrom(server, b, sizeof b, 0, reinterpret_cast<sockaddr*>(&from), &from_n), 5);
  CHECK_EQ(from.sun_path, "client");
  CHECK_EQ(sendto(server, "answer", 6, 0, reinterpret_cast<sockaddr*>(&from), from_n), 6);
  CHECK_EQ(get(client), "answer");
  close(server);
  CHECK_ERR(sendto(client, "x", 1, 0, reinterpret_cast<sockaddr*>(&to), n), ECONNREFUSED);
  CHECK_ERR(send(client, "x", 1, 0), ENOTCONN);
}

TEST(seqpacket) {
  Pair p(SOCK_SEQPACKET);
  CHECK_EQ(send(p.a, "one", 3, 0), 3);
  CHECK_EQ(send(p.a, "two", 3, 0), 3);
  CHECK_EQ(get(p.b, 2), "on");
  CHECK_EQ(get(p.b), "two");
  close(p.a);
  char c;
  CHECK_EQ(recv(p.b, &c, 1, 0), 0);
}

TEST(multiple_messages) {
  Pair p(SOCK_DGRAM);
  mmsghdr out[3] = {};
  iovec v[3];
  for (int i = 0; i < 3; i++) {
    v[i] = {const_cast<char*>("abc"), size_t(i + 1)};
    out[i].msg_hdr.msg_iov = &v[i];
    out[i].msg_hdr.msg_iovlen = 1;
  }
  CHECK_EQ(sendmmsg(p.a, out, 3, 0), 3);
  CHECK_EQ(out[2].msg_len, 3);
  mmsghdr in[5] = {};
  char buffers[5][8];
  iovec w[5];
  for (int i = 0; i < 5; i++) {
    w[i] = {buffers[i], 8};
    in[i].msg_hdr.msg_iov = &w[i];
    in[i].msg_hdr.msg_iovlen = 1;
  }
  CHECK_EQ(recvmmsg(p.b, in, 5, MSG_DONTWAIT, nullptr), 3);
  CHECK_EQ(in[1].msg_len, 2);
}

// --- Sockets in flight that only refer to one another.

namespace {

void send_files(int over, std::initializer_list<int> files) {
  char byte = 'f', control[CMSG_SPACE(sizeof(int) * 4)] = {};
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * files.size());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * files.size());
  memcpy(CMSG_DATA(header), files.begin(), sizeof(int) * files.size());
  NEED_OK(sendmsg(over, &message, 0));
}
// The writing end of a pipe goes with the garbage: its reader hears of it.
struct Witness {
  int reader, writer;
  Witness() {
    int fds[2];
    NEED_OK(pipe(fds));
    reader = fds[0];
    writer = fds[1];
  }
  bool gone() {
    for (int i = 0; i < 600; i++) {
      pollfd p{reader, POLLIN, 0};
      if (poll(&p, 1, 100) == 1) return (p.revents & POLLHUP) != 0;
      Pair unrelated;  // Linux looks for garbage when a socket is closed
      close(unrelated.a);
      close(unrelated.b);
    }
    return false;
  }
};

}  // namespace

TEST(a_socket_in_its_own_queue_goes) {
  for (int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    Witness witness;
    Pair p(type);
    send_files(p.a, {p.b, witness.writer});
    close(witness.writer);
    close(p.a);
    close(p.b);
    CHECK(witness.gone());
  }
}

TEST(sockets_in_each_others_queues_go) {
  Witness witness;
  Pair p, q;
  send_files(p.a, {q.b});
  send_files(q.a, {p.b, witness.writer});
  for (int fd : {witness.writer, p.a, p.b, q.a, q.b}) close(fd);
  CHECK(witness.gone());
}

TEST(what_a_descriptor_leads_to_stays) {
  Witness witness;
  Pair p, q;
  send_files(p.a, {q.b});
  send_files(q.a, {p.b, witness.writer});
  for (int fd : {witness.writer, p.a, q.a, q.b}) close(fd);
  pollfd poller{witness.reader, POLLIN, 0};
  CHECK_EQ(poll(&poller, 1, 200), 0);
  char byte, control[CMSG_SPACE(sizeof(int) * 4)];
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(p.b, &message, 0), 1);
  int inner;
  memcpy(&inner, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof inner);
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(inner, &message, 0), 1);
  CHECK_EQ(CMSG_FIRSTHDR(&message)->cmsg_len, CMSG_LEN(2 * sizeof(int)));
}

// A connection that was never accepted has its listener in its queue.
TEST(a_listener_in_flight_to_itself_goes) {
  Witness witness;
  std::string name = "flight-" + std::to_string(getpid());
  int listener = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0)), client = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  NEED_OK(bind_to(listener, name.c_str(), true));
  NEED_OK(listen(listener, 5));
  NEED_OK(connect_to(client, name.c_str(), true));
  send_files(client, {listener, witness.writer});
  for (int fd : {witness.writer, listener, client}) close(fd);
  CHECK(witness.gone());
}

// As many as one may: a socket in the queue of a socket in the queue…
TEST(long_chains_in_flight_end) {
  Witness witness;
  int inner = witness.writer;
  for (int i = 0; i < 3000; i++) {
    Pair p;
    char byte = 'f', control[CMSG_SPACE(sizeof(int))] = {};
    iovec piece{&byte, 1};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &inner, sizeof inner);
    ssize_t sent = sendmsg(p.a, &message, 0);
    if (sent < 0) CHECK_EQ(errno, ETOOMANYREFS);  // Linux allows few
    close(p.a);
    close(inner);
    inner = p.b;
    if (sent < 0) break;
  }
  close(inner);
  CHECK(witness.gone());
}
