// SIGIO and SIGURG: who is told of what a file has to tell (fcntl(2), F_SETOWN, F_SETSIG, O_ASYNC).
#include "tests/guest/check.h"
#include "tests/guest/ip_names.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <thread>

namespace {

constexpr int kNoSignal = -1;

// Blocks the signals that are looked for.
void expect(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  NEED_OK(sigprocmask(SIG_BLOCK, &set, nullptr));
}

// The next of them, of those that come within a second if there are to be any.
siginfo_t next(int signal, bool comes = true) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  siginfo_t info{};
  timespec limit{comes ? 5 : 0, 0};
  if (sigtimedwait(&set, &info, &limit) < 0) info.si_signo = kNoSignal;
  return info;
}

struct Streams {
  int client, server;
  Streams() {
    int listening = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    NEED_OK(bind_to(listening, v4(0)));
    NEED_OK(listen(listening, 1));
    client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    NEED_OK(connect_to(client, v4(port_of(listening))));
    server = NEED_OK(accept(listening, nullptr, nullptr));
    close(listening);
  }
};

void add_flag(int fd, int flag) {
  NEED_OK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | flag));
}

}  // namespace

TEST(owners) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_EQ(fcntl(fd, F_GETOWN), 0);
  CHECK_OK(fcntl(fd, F_SETOWN, getpid()));
  CHECK_EQ(fcntl(fd, F_GETOWN), getpid());
  int value = 0;
  CHECK_OK(ioctl(fd, SIOCGPGRP, &value));
  CHECK_EQ(value, getpid());
  CHECK_ERR(fcntl(fd, F_SETOWN, 4000000), ESRCH);
  CHECK_EQ(fcntl(fd, F_GETOWN), getpid());
  value = -getpgrp();
  CHECK_OK(ioctl(fd, FIOSETOWN, &value));
  f_owner_ex owner{};
  CHECK_OK(fcntl(fd, F_GETOWN_EX, &owner));
  CHECK_EQ(owner.type, F_OWNER_PGRP);
  CHECK_EQ(owner.pid, getpgrp());
  owner = {F_OWNER_TID, static_cast<pid_t>(syscall(SYS_gettid))};
  CHECK_OK(fcntl(fd, F_SETOWN_EX, &owner));
  CHECK_EQ(fcntl(fd, F_GETOWN), owner.pid);
  CHECK_OK(fcntl(fd, F_SETOWN, 0));
  CHECK_EQ(fcntl(fd, F_GETOWN), 0);
  CHECK_EQ(fcntl(fd, F_GETSIG), 0);
  CHECK_OK(fcntl(fd, F_SETSIG, SIGRTMIN));
  CHECK_EQ(fcntl(fd, F_GETSIG), SIGRTMIN);
  CHECK_ERR(fcntl(fd, F_SETSIG, 100), EINVAL);
}

TEST(urgent_data) {
  expect({SIGURG, SIGIO});
  Streams streams;
  CHECK_OK(fcntl(streams.server, F_SETOWN, getpid()));
  CHECK_EQ(send(streams.client, "a", 1, 0), 1);
  CHECK_EQ(next(SIGURG, false).si_signo, kNoSignal);
  CHECK_EQ(send(streams.client, "!", 1, MSG_OOB), 1);
  siginfo_t info = next(SIGURG);
  CHECK_EQ(info.si_signo, SIGURG);
  CHECK_EQ(info.si_code, SI_KERNEL);
  // Without O_ASYNC that is all.
  CHECK_EQ(next(SIGIO, false).si_signo, kNoSignal);
}

TEST(data_on_any_kind) {
  expect({SIGIO});
  Streams streams;
  int udp = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0)), from = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  NEED_OK(bind_to(udp, v4(0)));
  NEED_OK(connect_to(from, v4(port_of(udp))));
  int local[2], ends[2];
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, local));
  NEED_OK(pipe(ends));
  int readers[] = {streams.server, udp, local[0], ends[0]};
  int writers[] = {streams.client, from, local[1], ends[1]};
  for (int i = 0; i < 4; i++) {
    CHECK_OK(fcntl(readers[i], F_SETOWN, getpid()));
    CHECK_EQ(write(writers[i], "x", 1), 1);
    CHECK_EQ(next(SIGIO, false).si_signo, kNoSignal);
    add_flag(readers[i], O_ASYNC);
    CHECK((fcntl(readers[i], F_GETFL) & O_ASYNC) != 0);
    CHECK_EQ(write(writers[i], "x", 1), 1);
    CHECK_EQ(next(SIGIO).si_signo, SIGIO);
    int off = 0;
    CHECK_OK(ioctl(readers[i], FIOASYNC, &off));
    CHECK((fcntl(readers[i], F_GETFL) & O_ASYNC) == 0);
    CHECK_EQ(write(writers[i], "x", 1), 1);
    CHECK_EQ(next(SIGIO, false).si_signo, kNoSignal);
  }
}

TEST(chosen_signal_tells_more) {
  int signal = SIGRTMIN + 3;
  expect({signal, SIGIO, SIGURG});
  Streams streams;
  CHECK_OK(fcntl(streams.server, F_SETOWN, getpid()));
  CHECK_OK(fcntl(streams.server, F_SETSIG, signal));
  add_flag(streams.server, O_ASYNC);
  CHECK_EQ(write(streams.client, "x", 1), 1);
  siginfo_t info = next(signal);
  CHECK_EQ(info.si_signo, signal);
  CHECK_EQ(info.si_code, POLL_IN);
  CHECK_EQ(info.si_band, POLLIN | POLLRDNORM);
  CHECK_EQ(info.si_fd, streams.server);
  while (next(signal, false).si_signo != kNoSignal) {
  }
  close(streams.client);
  CHECK_EQ(next(signal).si_fd, streams.server);
}

TEST(a_connection_comes) {
  expect({SIGIO});
  NEED_OK(setpgid(0, 0));
  int listening = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(bind_to(listening, v4(0)));
  NEED_OK(listen(listening, 4));
  CHECK_OK(fcntl(listening, F_SETOWN, -getpgrp()));
  int on = 1;
  CHECK_OK(ioctl(listening, FIOASYNC, &on));
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(connect_to(client, v4(port_of(listening))));
  CHECK_EQ(next(SIGIO).si_signo, SIGIO);
}

TEST(a_thread_of_its_own) {
  expect({SIGIO});
  Streams streams;
  std::thread([&] {
    f_owner_ex owner{F_OWNER_TID, static_cast<pid_t>(syscall(SYS_gettid))};
    CHECK_OK(fcntl(streams.server, F_SETOWN_EX, &owner));
    add_flag(streams.server, O_ASYNC);
    CHECK_EQ(write(streams.client, "x", 1), 1);
    CHECK_EQ(next(SIGIO).si_signo, SIGIO);
  }).join();
  // Nobody is there any more, and nobody else is told.
  CHECK_EQ(write(streams.client, "x", 1), 1);
  CHECK_EQ(next(SIGIO, false).si_signo, kNoSignal);
}

TEST(another_process) {
  Streams streams;
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t child = fork();
  if (child == 0) {
    expect({SIGURG});
    if (write(ready[1], "r", 1) != 1) _exit(3);
    _exit(next(SIGURG).si_signo == SIGURG ? 0 : 2);
  }
  char byte;
  CHECK_EQ(read(ready[0], &byte, 1), 1);
  CHECK_OK(fcntl(streams.server, F_SETOWN, child));
  CHECK_EQ(send(streams.client, "!", 1, MSG_OOB), 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}
