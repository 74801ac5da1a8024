// What raw and UDP sockets share: the queue of what has come, of which receiving, polling and errors are, and
// calls that only connections have.
#pragma once

#include <utility>

#include "net/families.h"
#include "net/udp_endpoint.h"

namespace teacup::net {

class DatagramSocket : public Socket {
 public:
  u32 poll() override { return endpoint_->poll(); }
  WaitQueue* wait_queue() override { return &endpoint_->queue; }
  Result<size_t> write(IoSource& from, u64) override {
    SendRequest request;
    request.data = &from;
    return transmit(request);
  }
  Result<void> listen(const Caller&, int) override { return Errno::NOTSUP; }
  Result<Ref<Socket>> accept(u32) override { return Errno::NOTSUP; }
  Result<size_t> send(const Caller&, SendRequest& request) override { return transmit(request); }
  Result<size_t> receive(ReceiveRequest& request) override {
    if ((request.flags & abi::kMSG_OOB) != 0) return Errno::NOTSUP;
    return endpoint_->receive(request, family());
  }

 protected:
  DatagramSocket(int family, int type, int protocol, Ref<UdpEndpoint> endpoint, u32 flags)
      : Socket(family, type, protocol, endpoint->options, flags), endpoint_(std::move(endpoint)) {}

  virtual Result<size_t> transmit(SendRequest& request) = 0;
  Errno take_error() override { return endpoint_->take_error(); }
  Result<u64> waiting_bytes() override { return endpoint_->first_size(); }
  Result<u64> outgoing_bytes() override { return u64{0}; }

  const Ref<UdpEndpoint> endpoint_;
};

}  // namespace teacup::net
