// Random operations on sockets, by several processes with two threads each, one after the other, in an order
// that follows from a seed. What each gave is printed, a line an operation; the same seed gives the same text
// on Linux and in teacup (tests/socket_model.py compares).
//
//     socket_model SEED OPERATIONS [own-network]
//
// Nothing here waits: descriptors are nonblocking but for calls that poll(2) says are due. What is the host's
// to choose, ephemeral ports and automatic names, is printed as a number of its own; and little is kept in
// queues, because how much fits into one is the kernel's to say.
//
// Natively it takes a network namespace of its own (status 4: there is none to be had) without TIME_WAIT, and
// whose routes say that nothing is acknowledged late: the ports of connections that end are free at once
// there, as they are in teacup.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "tests/model/socket_world.h"

namespace model {

World* world;

namespace {

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

void await(std::atomic<uint32_t>& word, uint32_t value) {
  for (uint32_t now; (now = word.load()) != value;) futex(word, FUTEX_WAIT, now);
}

// False: what was asked for waits, which it must not.
bool await_result(Baton& baton, uint32_t turn) {
  timespec limit{20, 0};
  for (uint32_t now; (now = baton.done.load()) != turn;) {
    if (syscall(SYS_futex, &baton.done, FUTEX_WAIT, now, &limit, nullptr, 0) != 0 && errno == ETIMEDOUT)
      return false;
  }
  return true;
}

void announce(std::atomic<uint32_t>& word, uint32_t value) {
  word.store(value);
  futex(word, FUTEX_WAKE, 1);
}

[[noreturn]] void run_task(Player& player, int number) {
  Baton& baton = world->batons[number];
  for (uint32_t turn = 1;; turn++) {
    await(baton.turn, turn);
    player.perform(baton);
    announce(baton.done, turn);
  }
}

struct Start {
  Player* player;
  int number;
};

void run_process(int number) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  auto* player = new Player(number);
  auto* start = new Start{player, number * 2 + 1};
  pthread_t thread;
  auto body = [](void* of) -> void* {
    run_task(*static_cast<Start*>(of)->player, static_cast<Start*>(of)->number);
  };
  if (pthread_create(&thread, nullptr, body, start) != 0) exit(3);
  run_task(*player, number * 2);
}

void write_file(const char* path, const char* text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, text, strlen(text)) < 0) perror(path);
  close(fd);
}

// One request about the route to an own address: RTM_DELROUTE, or RTM_NEWROUTE with RTAX_QUICKACK.
class RouteRequest {
 public:
  RouteRequest(uint16_t type, uint16_t flags, int family, const char* address, unsigned bits) {
    unsigned char to[16];
    inet_pton(family, address, to);
    int lo = 1;
    bool makes = type == RTM_NEWROUTE, v4 = family == AF_INET;
    auto scope = static_cast<unsigned char>(v4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE);
    message_.header = {0, type, static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags), 1, 0};
    message_.route = {static_cast<unsigned char>(family),
                      static_cast<unsigned char>(bits),
                      0,
                      0,
                      RT_TABLE_LOCAL,
                      RTPROT_KERNEL,
                      scope,
                      RTN_LOCAL,
                      0};
    add(RTA_DST, to, v4 ? 4 : 16);
    add(RTA_OIF, &lo, sizeof lo);
    const unsigned char own[] = {127, 0, 0, 1};
    if (makes && v4) add(RTA_PREFSRC, own, sizeof own);
    struct {
      rtattr head;
      int on;
    } metric{{sizeof metric, RTAX_QUICKACK}, 1};
    if (makes) add(RTA_METRICS, &metric, sizeof metric);
    message_.header.nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(sizeof message_.route) + size_);
  }
  void ask(int fd) {
    struct {
      nlmsghdr header;
      nlmsgerr error;
      char rest[256];
    } answer;
    if (send(fd, &message_, message_.header.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0)
      perror("route");
    else if (answer.error.error != 0)
      fprintf(stderr, "route: %s\n", strerror(-answer.error.error));
  }

 private:
  void add(int type, const void* data, size_t size) {
    rtattr head{static_cast<uint16_t>(RTA_LENGTH(size)), static_cast<uint16_t>(type)};
    memcpy(message_.attributes + size_, &head, sizeof head);
    memcpy(message_.attributes + size_ + RTA_LENGTH(0), data, size);
    size_ += RTA_SPACE(size);
  }
  struct {
    nlmsghdr header;
    rtmsg route;
    char attributes[200];
  } message_{};
  size_t size_ = 0;
};

// Else the answer to a FIN may take 40 ms, and who closed first lives on till then.
void acknowledge_at_once() {
  int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  for (unsigned bits : {8u, 32u})
    RouteRequest(RTM_NEWROUTE, NLM_F_REPLACE, AF_INET, bits == 8 ? "127.0.0.0" : "127.0.0.1", bits).ask(fd);
  RouteRequest(RTM_DELROUTE, 0, AF_INET6, "::1", 128).ask(fd);
  RouteRequest(RTM_NEWROUTE, NLM_F_CREATE, AF_INET6, "::1", 128).ask(fd);
  close(fd);
}

bool enter_network() {
  if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;
  if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) perror("lo");
  close(fd);
  acknowledge_at_once();
  write_file("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0");
  write_file("/proc/sys/net/unix/max_dgram_qlen", "512");
  return true;
}

// The capabilities that root has in a machine.
void drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return;
  for (__user_cap_data_struct& half : data) {
    half.effective &= &half == data ? 0xa80425fbu : 0;
    half.permitted &= half.effective;
  }
  if (syscall(SYS_capset, &header, data) != 0) perror("capset");
}

// Turns what differs from run to run into numbers in order of appearance: "\1sPORT" is a port that a stream
// socket was given just now, "\2dPORT" one that a datagram socket was given before.
class Names {
 public:
  std::string translate(const char* text) {
    std::string out;
    for (; *text; text++) {
      if (*text != 1 && *text != 2) {
        out += *text;
        continue;
      }
      bool fresh = *text == 1;
      char* end;
      long port = strtol(text + 2, &end, 10) * (text[1] == 's' ? 1 : -1);
      text = end - 1;
      if (fresh) ports_[port] = ++count_;
      auto known = ports_.find(port);
      out += known == ports_.end() ? "?" : "P" + std::to_string(known->second);
    }
    return out;
  }

 private:
  std::map<long, int> ports_;
  int count_ = 0;
};

int play(uint64_t seed, long operations, bool own_network) {
  if (own_network && !enter_network()) return 4;
  drop_capabilities();
  char folder[] = "/tmp/sockets-XXXXXX";
  if (mkdtemp(folder) == nullptr || chdir(folder) != 0) return 3;
  umask(022);
  world = static_cast<World*>(
      mmap(nullptr, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (world == MAP_FAILED) return 3;
  pid_t children[kProcesses];
  for (int i = 0; i < kProcesses; i++) {
    if ((children[i] = fork()) == 0) run_process(i);
    world->pids[i] = children[i];
  }
  Random random(seed);
  Names names;
  uint32_t turns[kProcesses * 2] = {};
  setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
  for (long i = 0; i < operations; i++) {
    int task = static_cast<int>(random.below(kProcesses * 2));
    Baton& baton = world->batons[task];
    baton.random = random.next();
    // Now and then all that is in flight is taken out.
    if (i % kDrainEvery >= kDrainEvery - kProcesses) {
      task = static_cast<int>(i % kProcesses) * 2;
      world->batons[task].random = kDrain;
    }
    Baton& chosen = world->batons[task];
    announce(chosen.turn, ++turns[task]);
    if (!await_result(chosen, turns[task])) {
      printf("%ld t%d waits: %s\n", i, task, names.translate(chosen.text).c_str());
      break;
    }
    printf("%ld t%d %s\n", i, task, names.translate(chosen.text).c_str());
  }
  for (pid_t child : children) kill(child, SIGKILL);
  for (pid_t child : children) waitpid(child, nullptr, 0);
  if (chdir("/") != 0) return 3;
  std::string remove = std::string("rm -rf ") + folder;
  return system(remove.c_str()) == 0 ? 0 : 3;
}

}  // namespace
}  // namespace model

int main(int count, char** words) {
  if (count < 3) {
    fprintf(stderr, "socket_model SEED OPERATIONS [own-network]\n");
    return 2;
  }
  return model::play(strtoull(words[1], nullptr, 0), atol(words[2]), count > 3);
}
