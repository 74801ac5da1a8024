// What the tests of signals share: handlers that note what they saw, and sets of signals.
#pragma once

#include <initializer_list>

#include "tests/guest/check.h"

namespace sig {

inline volatile sig_atomic_t count;
inline volatile sig_atomic_t last;
inline siginfo_t last_info;

inline void counting(int signal) {
  count = count + 1;
  last = signal;
}

inline void with_info(int signal, siginfo_t* info, void*) {
  count = count + 1;
  last = signal;
  last_info = *info;
}

inline void set_handler(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction sa {};
  sa.sa_handler = handler;
  sa.sa_flags = flags;
  NEED_OK(sigaction(signal, &sa, nullptr));
}

inline void set_info_handler(int signal, int flags = 0) {
  struct sigaction sa {};
  sa.sa_sigaction = with_info;
  sa.sa_flags = SA_SIGINFO | flags;
  NEED_OK(sigaction(signal, &sa, nullptr));
}

inline sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int s : signals) sigaddset(&set, s);
  return set;
}

inline sigset_t block(std::initializer_list<int> signals) {
  sigset_t set = set_of(signals), old;
  sigprocmask(SIG_BLOCK, &set, &old);
  return old;
}

inline void unblock(std::initializer_list<int> signals) {
  sigset_t set = set_of(signals);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

inline bool pending(int signal) {
  sigset_t set;
  sigpending(&set);
  return sigismember(&set, signal) == 1;
}

}  // namespace sig
