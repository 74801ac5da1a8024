// The machine's nameserver (RFC 1035): answers questions for addresses from --hosts and --connect, and asks
// the host for names that may be reached. All others do not exist. Lookups on the host block, so each has a
// thread of its own; there are few at a time.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <vector>

#include "host/broker/net_policy.h"

namespace teacup::host {

using DnsMessage = std::vector<u8>;

class Resolver {
 public:
  explicit Resolver(NetPolicy& policy) : policy_(policy) {}

  // `reply` is called once, by this thread or another, or never: for what is no question. `most`: bytes of
  // the answer.
  void ask(std::span<const u8> query, std::size_t most, std::function<void(const DnsMessage&)> reply);
  // One end of a stream on whose other end questions are answered as over TCP; -1: errno.
  int open_stream();

 private:
  struct Question;
  void look_up(const Question& question, std::size_t most,
               const std::function<void(const DnsMessage&)>& reply);
  void serve_stream(int fd);
  bool take_turn();

  NetPolicy& policy_;
  std::atomic<int> threads_{0};
};

}  // namespace teacup::host
