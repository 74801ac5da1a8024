// Sockets: what the socket calls want of any address family. Only AF_UNIX so far (net/unix.h).
//
// As with every File nothing here sleeps: EAGAIN means "wait on wait_queue() and call again".
#pragma once

#include "fs/file.h"
#include "fs/path.h"
#include "kernel/abi/net.h"
#include "kernel/frame/heap.h"

namespace teacup::net {

// Who calls: paths are resolved for, and credentials recorded from.
struct Caller {
  const fs::Caller& names;
  abi::UCred identity;  // the thread group's pid, effective ids
};

// A socket address as the guest passes it.
struct Address {
  u32 length = 0;  // bytes that count, with the family; 0: none
  alignas(8) u8 bytes[128] = {};
  u16 family() const { return length < 2 ? u16{0} : static_cast<u16>(bytes[0] | bytes[1] << 8); }
};

// Files that travel with data (unix(7), SCM_RIGHTS). Credentials are in the requests.
class Ancillary : public RefCounted<Ancillary> {
 public:
  static void destroy(Ancillary* ancillary);
  HeapArray<fs::File*> files;  // counted references
  ~Ancillary();
};

struct SendRequest {
  IoSource* data = nullptr;
  u32 flags = 0;  // MSG_*
  const Address* to = nullptr;
  Ref<Ancillary> ancillary;  // may be null
  bool has_sender = false;   // SCM_CREDENTIALS was given (and checked): `sender` counts
  abi::UCred sender{};
};
struct ReceiveRequest {
  IoDest* data = nullptr;
  u32 flags = 0;             // MSG_* asked for
  u32 out_flags = 0;         // MSG_TRUNC, MSG_EOR
  Address from;              // sender's address, length 0 if it has none
  abi::UCred sender{};       // who sent it
  Ref<Ancillary> ancillary;  // what came with the data
  size_t full_length = 0;    // a datagram's length before truncation
};

class Socket : public fs::File {
 public:
  using File::File;

  virtual Result<void> bind(const Caller& caller, const Address& address) = 0;
  virtual Result<void> listen(const Caller& caller, int backlog) = 0;
  virtual Result<void> connect(const Caller& caller, const Address& address) = 0;
  virtual Result<Ref<Socket>> accept(u32 flags) = 0;  // O_NONBLOCK
  virtual Result<void> shutdown(int how) = 0;
  virtual Result<size_t> send(const Caller& caller, SendRequest& request) = 0;
  virtual Result<size_t> receive(ReceiveRequest& request) = 0;
  virtual Result<Address> local_address() = 0;
  virtual Result<Address> peer_address() = 0;
  // Copies at most value.size() bytes, returns how many the option has.
  virtual Result<size_t> get_option(int level, int name, std::span<std::byte> value) = 0;
  virtual Result<void> set_option(int level, int name, std::span<const std::byte> value) = 0;

  // SO_RCVTIMEO, SO_SNDTIMEO in ns; 0: none.
  u64 receive_timeout = 0;
  u64 send_timeout = 0;
  virtual bool pass_credentials() const { return false; }
  virtual int type() const = 0;  // SOCK_STREAM…
};

Socket* socket_of(fs::File& file);  // null for other files

}  // namespace teacup::net
