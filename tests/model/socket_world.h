// What socket_model's tasks share, and who performs operations.
#pragma once

#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <string>

namespace model {

inline constexpr int kProcesses = 3;
inline constexpr int kSlots = 14;  // descriptors a process has at most
inline constexpr int kNames = 24;  // names to connect to that are remembered
inline constexpr long kDrainEvery = 120;
inline constexpr uint64_t kDrain = ~uint64_t{0};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1d >> 8;
  }
  uint64_t below(uint64_t end) { return next() % end; }
  bool one_in(uint64_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

union SocketName {
  sockaddr plain;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un local;
  char bytes[128];
};

// A name that a socket was bound to.
struct Known {
  SocketName name;
  socklen_t length;
  int type;
};

// One task's place: its turn, and what came of it.
struct Baton {
  std::atomic<uint32_t> turn, done;
  uint64_t random;
  char text[4000];
};

struct World {
  Baton batons[kProcesses * 2];
  int pids[kProcesses];
  Known known[kNames];
  unsigned known_count;
};
extern World* world;

// A process's descriptors, and what can be done with them. Its two threads take turns.
class Player {
 public:
  explicit Player(int number) : number_(number) {}
  // Writes what was done and what came of it into the baton of the task whose turn it is.
  void perform(Baton& baton);

 private:
  struct Slot {
    int fd = -1;
    int family = 0, type = 0, protocol = 0;
    bool named = false;  // has a name, or did not get it here
    in_port_t port = 0;  // that it was last seen to have
    bool in_epoll = false;
    bool tried = false;  // TCP: has connected, or tried to, or is not of this process's making
  };

  void say(const char* format, ...) __attribute__((format(printf, 2, 3)));
  // "= 3" or "= EAGAIN".
  void outcome(long result);
  // `type`: whose ports are meant.
  void show_name(const SocketName& name, socklen_t length, int type, bool fresh = false);
  void note_name(Slot& slot);
  int free_slot();
  Slot* any(Random& random);
  Slot* any_of(Random& random, bool (*wanted)(const Slot&));
  Slot& take(int fd);
  static bool may_carry(const Slot& slot, const Slot& sent);
  static bool is_freight(const Slot& slot);
  static bool has_failed(const Slot& slot);
  static bool is_own(const Slot& slot, const SocketName& name);
  bool is_due(const Slot& slot, short events);
  void close_slot(Slot& slot);
  void drain();
  void read_out(Slot& slot);

  SocketName own_name(Random& random, const Slot& slot, socklen_t& length);
  // With the type of socket that the name is of.
  bool target(Random& random, const Slot& slot, SocketName& name, socklen_t& length, int& type);

  void make(Random& random);
  void make_pair(Random& random);
  void bind_one(Random& random);
  void listen_one(Random& random);
  void connect_one(Random& random);
  void accept_one(Random& random);
  void send_one(Random& random);
  void receive_one(Random& random);
  void shut_one(Random& random);
  void set_one(Random& random);
  void get_one(Random& random);
  void poll_one(Random& random);
  void watch_one(Random& random);
  void wait_watched(Random& random);
  void tell_names(Random& random);
  void duplicate(Random& random);
  void count_bytes(Random& random);
  void unlink_one(Random& random);
  void send_many(Random& random);
  void read_one(Random& random);

  const int number_;
  Slot slots_[kSlots];
  int epoll_ = -1;
  char* out_ = nullptr;
  size_t used_ = 0;
};

}  // namespace model
