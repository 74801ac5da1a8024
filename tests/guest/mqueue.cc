// POSIX message queues (mq_overview(7)): names and permissions, order, limits, waiting, notification.
#include <mqueue.h>
#include <poll.h>
#include <sys/resource.h>

#include "tests/guest/check.h"

namespace {

// A queue of this case's own, whose name goes with it.
struct Queue {
  std::string name;
  mqd_t fd = -1;

  explicit Queue(long messages = 10, long size = 64, int flags = O_RDWR, mode_t mode = 0600)
      : name("/check." + std::to_string(getpid())) {
    mq_attr attr{};
    attr.mq_maxmsg = messages;
    attr.mq_msgsize = size;
    fd = mq_open(name.c_str(), flags | O_CREAT | O_EXCL, mode, &attr);
    NEED(fd >= 0);
  }
  ~Queue() {
    mq_unlink(name.c_str());
    mq_close(fd);
  }
  const char* c_str() const { return name.c_str(); }
  int send(std::string_view text, unsigned priority = 0) {
    return mq_send(fd, text.data(), text.size(), priority);
  }
  // "PRIORITY text", or the name of the error.
  std::string receive() {
    char buffer[8192];
    unsigned priority = 99;
    ssize_t n = mq_receive(fd, buffer, sizeof buffer, &priority);
    if (n < 0) return check::errno_text(errno);
    return std::to_string(priority) + " " + std::string(buffer, size_t(n));
  }
  mq_attr attr() {
    mq_attr a{};
    CHECK_OK(mq_getattr(fd, &a));
    return a;
  }
  void set_flags(long flags) {
    mq_attr a{};
    a.mq_flags = flags;
    CHECK_OK(mq_setattr(fd, &a, nullptr));
  }
};

int status_of(pid_t p) {
  int status = -1;
  while (waitpid(p, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

timespec in_ms(long ms) {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  t.tv_sec += ms / 1000;
  t.tv_nsec += ms % 1000 * 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  return t;
}

// In a child that is nobody special.
template <typename F>
void as_nobody(F f) {
  if (geteuid() != 0) return;
  pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(99);
    f();
    _exit(check::failures ? 1 : 0);
  }
  CHECK_EXIT(status_of(child), 0);
}

volatile sig_atomic_t signals;
siginfo_t last_signal;
void on_signal(int, siginfo_t* info, void*) {
  last_signal = *info;
  signals = signals + 1;
}

void handle(int signal, int flags = 0) {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | flags;
  CHECK_OK(sigaction(signal, &action, nullptr));
}

int notify(mqd_t fd, int how, int signal = 0, int value = 0) {
  sigevent event{};
  event.sigev_notify = how;
  event.sigev_signo = signal;
  event.sigev_value.sival_int = value;
  return mq_notify(fd, &event);
}

}  // namespace

TEST(order_by_priority) {
  Queue q;
  CHECK_OK(q.send("a", 1));
  CHECK_OK(q.send("b", 5));
  CHECK_OK(q.send("c", 1));
  CHECK_OK(q.send("", 32767));
  CHECK_OK(q.send("d", 5));
  CHECK_EQ(q.attr().mq_curmsgs, 5);
  CHECK_EQ(q.receive(), "32767 ");
  CHECK_EQ(q.receive(), "5 b");
  CHECK_EQ(q.receive(), "5 d");
  CHECK_EQ(q.receive(), "1 a");
  CHECK_EQ(q.receive(), "1 c");
  CHECK_EQ(q.attr().mq_curmsgs, 0);
}

TEST(names) {
  Queue q;
  CHECK_ERR(mq_open(q.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr), EEXIST);
  CHECK_ERR(mq_open("/check.nowhere", O_RDWR), ENOENT);
  CHECK_ERR(mq_unlink("/check.nowhere"), ENOENT);
  CHECK_ERR(mq_open("/check/slash", O_RDWR | O_CREAT, 0600, nullptr), EACCES);
  CHECK_ERR(mq_open("/.", O_RDWR | O_CREAT, 0600, nullptr), EACCES);
  CHECK_ERR(mq_open("/..", O_RDWR), EACCES);
  CHECK_ERR(mq_open("/", O_RDWR), ENOENT);
  CHECK_ERR(syscall(SYS_mq_open, "/check", O_RDWR, 0, nullptr), EACCES);
  CHECK_ERR(syscall(SYS_mq_open, "", O_RDWR, 0, nullptr), ENOENT);
  CHECK_ERR(syscall(SYS_mq_open, nullptr, O_RDWR, 0, nullptr), EFAULT);
  CHECK_ERR(syscall(SYS_mq_open, "check", O_RDWR | O_CREAT, 0600, 16), EFAULT);
  std::string longest = "/" + std::string(255, 'x');
  mqd_t fd = mq_open(longest.c_str(), O_RDWR | O_CREAT, 0600, nullptr);
  NEED(fd >= 0);
  CHECK_OK(mq_close(fd));
  CHECK_OK(mq_unlink(longest.c_str()));
  longest += "x";
  CHECK_ERR(mq_open(longest.c_str(), O_RDWR | O_CREAT, 0600, nullptr), ENAMETOOLONG);
  CHECK_ERR(mq_unlink(longest.c_str()), ENAMETOOLONG);
}

TEST(two_openings_are_one_queue) {
  Queue q;
  mqd_t reader = mq_open(q.c_str(), O_RDONLY | O_NONBLOCK);
  mqd_t writer = mq_open(q.c_str(), O_WRONLY);
  NEED(reader >= 0 && writer >= 0);
  char buffer[64];
  CHECK_ERR(mq_receive(reader, buffer, sizeof buffer, nullptr), EAGAIN);
  CHECK_ERR(mq_send(reader, "x", 1, 0), EBADF);
  CHECK_ERR(mq_receive(writer, buffer, sizeof buffer, nullptr), EBADF);
  CHECK_OK(mq_send(writer, "xyz", 3, 7));
  unsigned priority = 0;
  CHECK_RET(mq_receive(reader, buffer, sizeof buffer, &priority), 3);
  CHECK_EQ(priority, 7u);
  // One description's flag is not another's.
  mq_attr a{};
  CHECK_OK(mq_getattr(reader, &a));
  CHECK_EQ(a.mq_flags, O_NONBLOCK);
  CHECK_EQ(q.attr().mq_flags, 0);
  mq_close(reader);
  mq_close(writer);
}

TEST(lives_on_unlinked) {
  Queue q;
  CHECK_OK(mq_unlink(q.c_str()));
  CHECK_ERR(mq_open(q.c_str(), O_RDWR), ENOENT);
  CHECK_OK(q.send("still"));
  CHECK_EQ(q.receive(), "0 still");
  mqd_t other = mq_open(q.c_str(), O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL, 0600, nullptr);
  NEED(other >= 0);
  CHECK_OK(q.send("not there"));
  char buffer[8192];
  CHECK_ERR(mq_receive(other, buffer, sizeof buffer, nullptr), EAGAIN);
  mq_close(other);
}

TEST(messages_outlive_openings) {
  Queue q;
  CHECK_OK(q.send("kept", 3));
  mq_close(q.fd);
  q.fd = mq_open(q.c_str(), O_RDWR);
  NEED(q.fd >= 0);
  CHECK_EQ(q.receive(), "3 kept");
}

TEST(descriptor) {
  Queue q;
  CHECK_EQ(fcntl(q.fd, F_GETFD), FD_CLOEXEC);
  struct stat st {};
  CHECK_OK(fstat(q.fd, &st));
  CHECK_EQ(st.st_mode, S_IFREG | 0600u);
  CHECK_EQ(st.st_nlink, 1u);
  CHECK_EQ(st.st_size, 80);
  CHECK_OK(mq_unlink(q.c_str()));
  CHECK_OK(fstat(q.fd, &st));
  CHECK_EQ(st.st_nlink, 0u);
  CHECK_OK(q.send("five!"));
  char text[128];
  ssize_t n = read(q.fd, text, sizeof text);
  NEED(n > 0);
  CHECK_EQ(std::string(text, size_t(n)), "QSIZE:5          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
  CHECK_RET(read(q.fd, text, sizeof text), 0);
  CHECK_ERR(write(q.fd, "x", 1), EINVAL);
  // Other files are no queues.
  int null = open("/dev/null", O_RDWR);
  mq_attr a;
  CHECK_ERR(mq_getattr(null, &a), EBADF);
  CHECK_ERR(mq_send(null, "x", 1, 0), EBADF);
  CHECK_ERR(mq_receive(null, text, sizeof text, nullptr), EBADF);
  CHECK_ERR(notify(null, SIGEV_NONE), EBADF);
  CHECK_ERR(mq_getattr(-1, &a), EBADF);
  CHECK_ERR(mq_send(-1, "x", 1, 0), EBADF);
  close(null);
}

TEST(sizes) {
  Queue q(2, 16);
  char buffer[17] = {};
  CHECK_ERR(mq_send(q.fd, buffer, 17, 0), EMSGSIZE);
  CHECK_ERR(mq_send(q.fd, buffer, 1, 32768), EINVAL);
  CHECK_ERR(mq_receive(q.fd, buffer, 15, nullptr), EMSGSIZE);
  CHECK_ERR(syscall(SYS_mq_timedsend, q.fd, 16, 4, 0, nullptr), EFAULT);
  CHECK_OK(mq_send(q.fd, buffer, 16, 0));
  CHECK_RET(mq_receive(q.fd, buffer, 17, nullptr), 16);
  mq_attr a = q.attr();
  CHECK_EQ(a.mq_maxmsg, 2);
  CHECK_EQ(a.mq_msgsize, 16);
  a.mq_flags = O_APPEND;
  CHECK_ERR(mq_setattr(q.fd, &a, nullptr), EINVAL);
  // Only the flag can be changed.
  a.mq_flags = O_NONBLOCK;
  a.mq_maxmsg = 5;
  mq_attr old{};
  CHECK_OK(mq_setattr(q.fd, &a, &old));
  CHECK_EQ(old.mq_flags, 0);
  CHECK_EQ(q.attr().mq_maxmsg, 2);
  CHECK_EQ(q.attr().mq_flags, O_NONBLOCK);
  CHECK(fcntl(q.fd, F_GETFL) & O_NONBLOCK);
  CHECK_OK(q.send("1"));
  CHECK_OK(q.send("2"));
  CHECK_ERR(q.send("3"), EAGAIN);
  q.receive();
  q.receive();
  CHECK_EQ(q.receive(), "EAGAIN");
}

TEST(default_attributes) {
  std::string name = "/check." + std::to_string(getpid());
  mqd_t fd = mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, nullptr);
  NEED(fd >= 0);
  mq_attr a{};
  CHECK_OK(mq_getattr(fd, &a));
  CHECK_EQ(a.mq_maxmsg, 10);
  CHECK_EQ(a.mq_msgsize, 8192);
  CHECK_EQ(a.mq_curmsgs, 0);
  mq_unlink(name.c_str());
}

TEST(limits) {
  CHECK_EQ(check::read_file("/proc/sys/fs/mqueue/msg_max"), "10\n");
  CHECK_EQ(check::read_file("/proc/sys/fs/mqueue/msgsize_max"), "8192\n");
  CHECK_EQ(check::read_file("/proc/sys/fs/mqueue/queues_max"), "256\n");
  as_nobody([] {
    std::string name = "/check." + std::to_string(getpid());
    auto with = [&](long messages, long size) {
      mq_attr a{};
      a.mq_maxmsg = messages;
      a.mq_msgsize = size;
      return mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &a);
    };
    CHECK_ERR(with(11, 8192), EINVAL);
    CHECK_ERR(with(10, 8193), EINVAL);
    CHECK_ERR(with(0, 10), EINVAL);
    CHECK_ERR(with(10, 0), EINVAL);
    CHECK_ERR(with(-1, 10), EINVAL);
    // What all queues of a user may hold: messages and, for each, some bytes of the kernel's own.
    rlimit limit{20000, 20000};
    CHECK_OK(setrlimit(RLIMIT_MSGQUEUE, &limit));
    CHECK_ERR(with(10, 8192), EMFILE);
    mqd_t one = with(2, 8000);
    CHECK(one >= 0);
    mqd_t again = with(2, 8000);  // the same
    CHECK(again >= 0);
    std::string first = name;
    name += ".second";
    CHECK_ERR(with(2, 4000), EMFILE);
    CHECK_OK(mq_unlink(first.c_str()));
    CHECK_ERR(with(2, 4000), EMFILE);  // still open
    mq_close(one);
    mq_close(again);
    one = with(2, 4000);
    CHECK(one >= 0);
    CHECK_OK(mq_unlink(name.c_str()));
  });
}

TEST(permissions) {
  umask(027);
  Queue q(10, 64, O_RDWR, 0666);
  struct stat st {};
  CHECK_OK(fstat(q.fd, &st));
  CHECK_EQ(st.st_mode & 07777, 0640u);
  umask(0);
  std::string open_name = q.name + ".open", closed_name = q.name + ".closed";
  mqd_t open_queue = mq_open(open_name.c_str(), O_RDWR | O_CREAT, 0644, nullptr);
  // What its mode forbids its maker may do with what the making gave.
  mqd_t closed = mq_open(closed_name.c_str(), O_RDWR | O_CREAT, 0, nullptr);
  NEED(open_queue >= 0 && closed >= 0);
  CHECK_OK(mq_send(closed, "x", 1, 0));
  as_nobody([&] {
    CHECK_ERR(mq_open(q.c_str(), O_RDONLY), EACCES);
    mqd_t fd = mq_open(open_name.c_str(), O_RDONLY);
    CHECK(fd >= 0);
    CHECK_ERR(mq_open(open_name.c_str(), O_RDWR), EACCES);
    CHECK_ERR(mq_open(open_name.c_str(), O_WRONLY | O_CREAT, 0666, nullptr), EACCES);
    CHECK_ERR(mq_unlink(open_name.c_str()), EACCES);  // EPERM by the sticky bit, which glibc turns over
    CHECK_ERR(syscall(SYS_mq_unlink, open_name.c_str() + 1), EPERM);
  });
  mq_unlink(open_name.c_str());
  mq_unlink(closed_name.c_str());
}

TEST(timeouts) {
  Queue q(1, 16);
  char buffer[16];
  timespec soon = in_ms(30), past = in_ms(-1000);
  int64_t before = check::now_ns();
  CHECK_ERR(mq_timedreceive(q.fd, buffer, sizeof buffer, nullptr, &soon), ETIMEDOUT);
  CHECK(check::now_ns() - before >= 25000000);
  CHECK_ERR(mq_timedreceive(q.fd, buffer, sizeof buffer, nullptr, &past), ETIMEDOUT);
  timespec wrong{0, 1000000000};
  CHECK_ERR(mq_timedreceive(q.fd, buffer, sizeof buffer, nullptr, &wrong), EINVAL);
  wrong = {-1, 0};
  CHECK_ERR(mq_timedsend(q.fd, "a", 1, 0, &wrong), EINVAL);
  CHECK_OK(mq_timedsend(q.fd, "a", 1, 0, &past));  // there is room: no wait
  CHECK_ERR(mq_timedsend(q.fd, "a", 1, 0, &past), ETIMEDOUT);
  soon = in_ms(30);
  before = check::now_ns();
  CHECK_ERR(mq_timedsend(q.fd, "a", 1, 0, &soon), ETIMEDOUT);
  CHECK(check::now_ns() - before >= 25000000);
  CHECK_RET(mq_timedreceive(q.fd, buffer, sizeof buffer, nullptr, &past), 1);
  // Nobody waits there any more.
  CHECK_EQ(q.attr().mq_curmsgs, 0);
  CHECK_OK(q.send("b"));
  CHECK_EQ(q.attr().mq_curmsgs, 1);
}

TEST(interrupted) {
  Queue q(1, 16);
  handle(SIGUSR1);
  auto poked = [&](auto call) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
      check::until_asleep(parent);
      kill(parent, SIGUSR1);
      _exit(0);
    }
    int n = signals;
    CHECK_ERR(call(), EINTR);
    CHECK_EQ(signals, n + 1);
    CHECK_EXIT(status_of(child), 0);
  };
  char buffer[16];
  poked([&] { return mq_receive(q.fd, buffer, sizeof buffer, nullptr); });
  CHECK_OK(q.send("1"));
  poked([&] { return q.send("2"); });
  timespec late = in_ms(60000);
  poked([&] { return mq_timedsend(q.fd, "3", 1, 0, &late); });
  CHECK_EQ(q.receive(), "0 1");
  poked([&] { return mq_timedreceive(q.fd, buffer, sizeof buffer, nullptr, &late); });
  CHECK_EQ(q.attr().mq_curmsgs, 0);
}

TEST(restarted) {
  Queue q(1, 16);
  handle(SIGUSR1, SA_RESTART);
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(parent);
    kill(parent, SIGUSR1);
    check::until_asleep(parent);
    q.send("after");
    _exit(0);
  }
  CHECK_EQ(q.receive(), "0 after");
  CHECK_EQ(signals, 1);
  CHECK_EXIT(status_of(child), 0);
}

TEST(waiting_receiver_is_woken) {
  Queue q;
  pid_t child = fork();
  if (child == 0) _exit(q.receive() == "4 news" ? 0 : 1);
  CHECK(check::until_asleep(child));
  CHECK_OK(q.send("news", 4));
  CHECK_EXIT(status_of(child), 0);
}

TEST(waiting_sender_is_woken) {
  Queue q(1, 16);
  CHECK_OK(q.send("first"));
  pid_t child = fork();
  if (child == 0) _exit(q.send("second", 1) == 0 ? 0 : 1);
  CHECK(check::until_asleep(child));
  CHECK_EQ(q.receive(), "0 first");
  CHECK_EXIT(status_of(child), 0);
  CHECK_EQ(q.receive(), "1 second");
}

TEST(killed_waiters_take_nothing_along) {
  Queue q(1, 16);
  pid_t child = fork();
  if (child == 0) _exit(q.receive() == "" ? 0 : 1);
  CHECK(check::until_asleep(child));
  kill(child, SIGKILL);
  CHECK_KILLED(status_of(child), SIGKILL);
  CHECK_OK(q.send("mine"));
  CHECK_EQ(q.attr().mq_curmsgs, 1);
  child = fork();
  if (child == 0) _exit(q.send("yours") == 0 ? 0 : 1);
  CHECK(check::until_asleep(child));
  kill(child, SIGKILL);
  CHECK_KILLED(status_of(child), SIGKILL);
  CHECK_EQ(q.receive(), "0 mine");
  CHECK_EQ(q.attr().mq_curmsgs, 0);
}

TEST(polled) {
  Queue q(2, 16);
  pollfd p{q.fd, POLLIN | POLLOUT, 0};
  CHECK_RET(poll(&p, 1, 0), 1);
  CHECK_EQ(p.revents, POLLOUT);
  CHECK_OK(q.send("1"));
  CHECK_RET(poll(&p, 1, 0), 1);
  CHECK_EQ(p.revents, POLLIN | POLLOUT);
  CHECK_OK(q.send("2"));
  CHECK_RET(poll(&p, 1, 0), 1);
  CHECK_EQ(p.revents, POLLIN);
  // And waits for either.
  pid_t child = fork();
  if (child == 0) {
    p.events = POLLOUT;
    _exit(poll(&p, 1, check::kPatience) == 1 && p.revents == POLLOUT ? 0 : 1);
  }
  CHECK(check::until_asleep(child));
  CHECK_EQ(q.receive(), "0 1");
  CHECK_EXIT(status_of(child), 0);
  CHECK_EQ(q.receive(), "0 2");
  child = fork();
  if (child == 0) {
    p.events = POLLIN;
    _exit(poll(&p, 1, check::kPatience) == 1 && p.revents == POLLIN ? 0 : 1);
  }
  CHECK(check::until_asleep(child));
  CHECK_OK(q.send("3"));
  CHECK_EXIT(status_of(child), 0);
}

TEST(notified_by_signal) {
  Queue q;
  handle(SIGUSR1);
  CHECK_OK(notify(q.fd, SIGEV_SIGNAL, SIGUSR1, 42));
  CHECK_ERR(notify(q.fd, SIGEV_SIGNAL, SIGUSR1), EBUSY);
  char text[128];
  ssize_t n = pread(q.fd, text, sizeof text, 0);
  char expected[128];
  snprintf(expected, sizeof expected, "QSIZE:0          NOTIFY:0     SIGNO:10    NOTIFY_PID:%-6d\n",
           getpid());
  CHECK_EQ(std::string(text, size_t(n)), expected);
  pid_t child = fork();
  if (child == 0) {
    bool busy = notify(q.fd, SIGEV_NONE) < 0 && errno == EBUSY;
    mq_notify(q.fd, nullptr);  // not its own: nothing
    _exit(busy && q.send("hello") == 0 ? 0 : 1);
  }
  CHECK_EXIT(status_of(child), 0);
  CHECK(check::eventually([] { return signals == 1; }));
  CHECK_EQ(last_signal.si_signo, SIGUSR1);
  CHECK_EQ(last_signal.si_code, SI_MESGQ);
  CHECK_EQ(last_signal.si_value.sival_int, 42);
  CHECK_EQ(last_signal.si_pid, child);
  CHECK_EQ(last_signal.si_uid, getuid());
  // Once; and only when a message comes to an empty queue.
  CHECK_OK(notify(q.fd, SIGEV_SIGNAL, SIGUSR1, 43));
  CHECK_OK(q.send("second"));
  CHECK_EQ(signals, 1);
  q.receive();
  q.receive();
  CHECK_OK(q.send("third"));
  CHECK_EQ(signals, 2);
  CHECK_EQ(last_signal.si_value.sival_int, 43);
  q.receive();
  CHECK_OK(q.send("fourth"));
  CHECK_EQ(signals, 2);
}

TEST(notification_given_up) {
  Queue q;
  handle(SIGUSR1);
  CHECK_OK(notify(q.fd, SIGEV_SIGNAL, SIGUSR1));
  CHECK_OK(mq_notify(q.fd, nullptr));
  CHECK_OK(mq_notify(q.fd, nullptr));
  CHECK_OK(q.send("1"));
  q.receive();
  // Closing any descriptor of the queue gives it up too, and so does the end of the process.
  CHECK_OK(notify(q.fd, SIGEV_SIGNAL, SIGUSR1));
  close(dup(q.fd));
  CHECK_OK(notify(q.fd, SIGEV_NONE));
  CHECK_OK(mq_notify(q.fd, nullptr));
  pid_t child = fork();
  if (child == 0) _exit(notify(q.fd, SIGEV_SIGNAL, SIGUSR1) == 0 ? 0 : 1);
  CHECK_EXIT(status_of(child), 0);
  CHECK_OK(notify(q.fd, SIGEV_NONE));
  CHECK_OK(q.send("2"));
  q.receive();
  CHECK_OK(notify(q.fd, SIGEV_NONE));  // used up by that message
  CHECK_EQ(signals, 0);
}

TEST(no_notification_past_a_waiting_receiver) {
  Queue q;
  handle(SIGUSR1);
  CHECK_OK(notify(q.fd, SIGEV_SIGNAL, SIGUSR1));
  pid_t child = fork();
  if (child == 0) _exit(q.receive() == "0 for the child" ? 0 : 1);
  CHECK(check::until_asleep(child));
  CHECK_OK(q.send("for the child"));
  CHECK_EXIT(status_of(child), 0);
  CHECK_EQ(signals, 0);
  CHECK_OK(q.send("for the queue"));
  CHECK_EQ(signals, 1);
}

TEST(notify_arguments) {
  Queue q;
  CHECK_ERR(notify(q.fd, 77), EINVAL);
  CHECK_ERR(notify(q.fd, SIGEV_SIGNAL, 65), EINVAL);
  CHECK_ERR(notify(q.fd, SIGEV_SIGNAL, -1), EINVAL);
  CHECK_ERR(syscall(SYS_mq_notify, q.fd, 16), EFAULT);
  // What the C library does for SIGEV_THREAD: a netlink socket as the signal number, 32 bytes to be sent to
  // it.
  char cookie[32] = {};
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_value.sival_ptr = cookie;
  event.sigev_signo = -1;
  CHECK_ERR(syscall(SYS_mq_notify, q.fd, &event), EBADF);
  event.sigev_signo = open("/dev/null", O_RDWR);
  CHECK_ERR(syscall(SYS_mq_notify, q.fd, &event), ENOTSOCK);
  event.sigev_value.sival_ptr = nullptr;
  CHECK_ERR(syscall(SYS_mq_notify, q.fd, &event), EFAULT);
}

// A ping-pong, then a stream of messages through a queue that is mostly full.
TEST(two_processes) {
  Queue there(3, 64);
  std::string back_name = there.name + ".back";
  mq_attr attr{};
  attr.mq_maxmsg = 3;
  attr.mq_msgsize = 64;
  mqd_t back = mq_open(back_name.c_str(), O_RDWR | O_CREAT, 0600, &attr);
  NEED(back >= 0);
  mq_unlink(back_name.c_str());
  constexpr int kRounds = 500;
  pid_t child = fork();
  if (child == 0) {
    char buffer[64];
    int value;
    for (int i = 0; i < kRounds; i++) {
      if (mq_receive(there.fd, buffer, sizeof buffer, nullptr) != sizeof value) _exit(2);
      if (mq_send(back, buffer, sizeof value, 0) != 0) _exit(3);
    }
    for (int i = 0; i < kRounds; i++) {
      if (mq_receive(there.fd, buffer, sizeof buffer, nullptr) != sizeof value) _exit(4);
      memcpy(&value, buffer, sizeof value);
      if (value != i) _exit(5);
    }
    _exit(0);
  }
  char buffer[64];
  for (int i = 0; i < kRounds; i++) {
    NEED(mq_send(there.fd, reinterpret_cast<char*>(&i), sizeof i, 0) == 0);
    NEED(mq_receive(back, buffer, sizeof buffer, nullptr) == sizeof i);
    NEED(memcmp(buffer, &i, sizeof i) == 0);
  }
  for (int i = 0; i < kRounds; i++) NEED(mq_send(there.fd, reinterpret_cast<char*>(&i), sizeof i, 0) == 0);
  CHECK_EXIT(status_of(child), 0);
  CHECK_EQ(there.attr().mq_curmsgs, 0);
  mq_close(back);
}

// Several senders and receivers: nothing is lost, nothing comes twice.
TEST(many_processes) {
  Queue q(2, 64);
  constexpr int kSenders = 3, kReceivers = 2, kEach = 200;
  pid_t senders[kSenders], receivers[kReceivers];
  int results[2];
  NEED_OK(pipe(results));
  for (pid_t& receiver : receivers) {
    receiver = fork();
    if (receiver != 0) continue;
    long sum = 0, count = 0, value = 0;
    char buffer[64];
    while (mq_receive(q.fd, buffer, sizeof buffer, nullptr) == sizeof value) {
      memcpy(&value, buffer, sizeof value);
      if (value < 0) break;
      sum += value;
      count++;
    }
    long result[2] = {sum, count};
    _exit(write(results[1], result, sizeof result) == sizeof result ? 0 : 1);
  }
  for (pid_t& sender : senders) {
    sender = fork();
    if (sender != 0) continue;
    for (long i = 1; i <= kEach; i++) {
      if (mq_send(q.fd, reinterpret_cast<char*>(&i), sizeof i, unsigned(i % 3)) != 0) _exit(1);
    }
    _exit(0);
  }
  for (pid_t sender : senders) CHECK_EXIT(status_of(sender), 0);
  // The last of each: behind all others, as their priority is the lowest and they come last.
  long end = -1;
  for (int i = 0; i < kReceivers; i++) CHECK_OK(mq_send(q.fd, reinterpret_cast<char*>(&end), sizeof end, 0));
  long sum = 0, count = 0;
  for (pid_t receiver : receivers) {
    CHECK_EXIT(status_of(receiver), 0);
    long result[2] = {};
    CHECK_RET(read(results[0], result, sizeof result), long(sizeof result));
    sum += result[0];
    count += result[1];
  }
  CHECK_EQ(count, long(kSenders * kEach));
  CHECK_EQ(sum, long(kSenders * kEach * (kEach + 1) / 2));
}

// Where queues can be seen as files (mq_overview(7)).
TEST(as_files) {
  if (check::read_file("/proc/mounts").find(" /dev/mqueue mqueue ") == std::string::npos)
    check::skip("not mounted");
  Queue q;
  std::string path = "/dev/mqueue" + q.name;
  CHECK_OK(q.send("sixteen bytes ..", 2));
  CHECK_EQ(check::read_file(path.c_str()), "QSIZE:16         NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
  int fd = open(path.c_str(), O_RDONLY);
  NEED(fd >= 0);
  char buffer[64];
  CHECK_RET(mq_receive(fd, buffer, sizeof buffer, nullptr), 16);
  close(fd);
  bool seen = false;
  DIR* directory = opendir("/dev/mqueue");
  while (dirent* entry = readdir(directory)) seen = seen || q.name.substr(1) == entry->d_name;
  closedir(directory);
  CHECK(seen);
  CHECK_OK(unlink(path.c_str()));
  CHECK_ERR(mq_unlink(q.c_str()), ENOENT);
  fd = open(path.c_str(), O_RDWR | O_CREAT, 0600);
  CHECK_OK(fd);
  close(fd);
  CHECK_OK(mq_unlink(q.c_str()));
}
