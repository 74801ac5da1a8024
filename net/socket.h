// Sockets: what the socket calls want of any address family, and what all families share: the options of
// SOL_SOCKET, the file's face (read, write, stat, its name), requests to send and receive. A family derives
// Socket once per kind of socket (net/unix.cc, net/tcp_socket.h, net/udp_socket.h…); net/families.h makes
// them.
//
// As with every File nothing here sleeps: EAGAIN means "wait on wait_queue() and call again".
#pragma once

#include <algorithm>

#include "fs/file.h"
#include "fs/path.h"
#include "kernel/abi/net.h"
#include "kernel/base/memory.h"
#include "kernel/frame/heap.h"
#include "net/socket_options.h"

namespace teacup::net {

inline constexpr u32 kReadEvents = abi::kPOLLIN | abi::kPOLLRDNORM;
inline constexpr u32 kWriteEvents = abi::kPOLLOUT | abi::kPOLLWRNORM;
inline constexpr u32 kDatagramWriteEvents = kWriteEvents | abi::kPOLLWRBAND;  // and of all unix sockets

// Who calls: paths are resolved for, and credentials recorded from.
struct Caller {
  const fs::Caller& names;
  abi::UCred identity;  // the thread group's pid, effective ids
  bool has(int capability) const { return names.credentials.has(capability); }
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

// Control messages of other kinds (cmsg(3)), on their way in or out: records of level, type and data. What
// finds no room is left out.
class ControlRecords {
 public:
  struct Record {
    s32 level, type;
    u32 size;
    std::byte data[44];
  };
  void add(int level, int type, const void* data, u32 size);
  std::span<const Record> records() const { return {records_, count_}; }

 private:
  u32 count_ = 0;
  Record records_[6];
};

struct SendRequest {
  IoSource* data = nullptr;
  u32 flags = 0;  // MSG_*
  const Address* to = nullptr;
  Ref<Ancillary> ancillary;  // may be null
  bool has_sender = false;   // SCM_CREDENTIALS was given (and checked): `sender` counts
  abi::UCred sender{};
  ControlRecords control;
};
struct ReceiveRequest {
  IoDest* data = nullptr;
  u32 flags = 0;         // MSG_* asked for
  bool goes_on = false;  // has got some: an error is left for the next call, and ends this one (0)
  u32 out_flags = 0;     // MSG_TRUNC, MSG_EOR
  Address from;          // sender's address, length 0 if it has none
  bool has_sender = false;
  abi::UCred sender{};       // who sent it
  Ref<Ancillary> ancillary;  // what came with the data
  ControlRecords control;
};

class Endpoint;  // of unix sockets

class Socket : public fs::File {
 public:
  // `options`: must outlive the socket (it is in what the derived class refers to).
  Socket(int family, int type, int protocol, SocketOptions& options, u32 flags);

  int family() const { return family_; }
  int type() const { return type_; }  // SOCK_STREAM…
  int protocol() const { return protocol_; }
  SocketOptions& options() { return options_; }
  const SocketOptions& options() const { return options_; }
  u64 number() const { return number_; }

  virtual Result<void> bind(const Caller& caller, const Address& address) = 0;
  virtual Result<void> listen(const Caller& caller, int backlog) = 0;
  // `wait`: the caller will come again after EAGAIN; else a connection that takes time is EINPROGRESS.
  virtual Result<void> connect(const Caller& caller, const Address& address, bool wait) = 0;
  virtual Result<Ref<Socket>> accept(u32 flags) = 0;  // O_NONBLOCK
  virtual Result<void> shutdown(int how) = 0;
  virtual Result<size_t> send(const Caller& caller, SendRequest& request) = 0;
  virtual Result<size_t> receive(ReceiveRequest& request) = 0;
  virtual Result<Address> local_address() = 0;
  virtual Result<Address> peer_address() = 0;
  // What accept(2) says of who has come, who may have gone by now.
  virtual Result<Address> accepted_from() { return peer_address(); }

  // Copies at most value.size() bytes, returns how many the option has.
  Result<size_t> get_option(int level, int name, std::span<std::byte> value);
  Result<void> set_option(const Caller& caller, int level, int name, std::span<const std::byte> value);

  // What connect(2) says when SO_SNDTIMEO is over.
  virtual Errno connect_timeout() const { return Errno::INPROGRESS; }
  virtual bool is_listening() const { return false; }
  virtual Endpoint* unix_endpoint() { return nullptr; }  // null for other families

  fs::FileKind kind() const override { return fs::FileKind::kSocket; }
  Result<size_t> read(IoDest& to, u64) override;
  Result<void> stat(abi::Stat& stat) override;
  void describe(TextBuffer& text) override;
  Result<s64> ioctl(u32 command, GuestAddress argument) override;
  u64 wait_limit(bool writing) const override {
    return writing ? options_.send_timeout : options_.receive_timeout;
  }

 protected:
  // SO_ERROR: gives and clears it.
  virtual Errno take_error() = 0;
  // FIONREAD and TIOCOUTQ: EINVAL where there is no such thing.
  virtual Result<u64> waiting_bytes() { return Errno::INVAL; }
  virtual Result<u64> outgoing_bytes() { return Errno::INVAL; }
  // Options of other levels, and those of SOL_SOCKET that only this family has. ENOPROTOOPT.
  virtual Result<size_t> get_own_option(int level, int name, std::span<std::byte> value);
  virtual Result<void> set_own_option(const Caller& caller, int level, int name,
                                      std::span<const std::byte> value);
  // SO_SNDBUF or SO_RCVBUF changed.
  virtual void buffers_changed() {}

 private:
  Result<s64> number_option(int name);
  Result<void> set_buffer(const Caller& caller, int name, u32 wanted);
  Result<void> set_linger(std::span<const std::byte> value);
  Result<void> bind_to_device(const Caller& caller, s32 index);
  Result<size_t> give_device(std::span<std::byte> value) const;

  const s16 family_, type_, protocol_;
  SocketOptions& options_;
  const u64 number_;
};

Socket* socket_of(fs::File& file);  // null for other files

// For get_option: the value, cut to the room there is.
template <typename T>
size_t give_option(std::span<std::byte> into, const T& value) {
  memcpy(into.data(), &value, std::min(into.size(), sizeof value));
  return sizeof value;
}
// For set_option: EINVAL if it is too short.
Result<s32> take_option(std::span<const std::byte> value);

}  // namespace teacup::net
