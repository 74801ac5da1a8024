// The machine's end of the gateway (kernel/abi/gateway.h): connections whose other side is the broker, which
// has the host sockets. A connection that comes in (-p) is offered to whoever listens on its port, and is
// accepted as any other.
//
// News from the broker is taken by whoever waits (kernel/sync/wait.h), or by the kernel task.
//
// Locks: the table's own (kGateway).
#pragma once

#include "kernel/abi/boot.h"
#include "net/ports.h"

namespace teacup::net {

class TcpConnection;
class TcpHub;
struct Datagram;

// Creates the table of connections, if the machine has a gateway. Once.
void gateway_start();
// Whether anything at all goes to the broker.
bool gateway_leads_out();
// Whether packets to an address go to the broker, which lets them out or not.
bool gateway_leads_to(const IpAddress& to);
// The nameserver that the broker is, while nobody in the machine serves there.
bool gateway_is_resolver(const IpName& to);
// A connection in SYN_SENT whose other side is outside. ENOBUFS: there are too many.
Result<Ref<TcpConnection>> gateway_connect(Ref<TcpHub> client, const IpName& from, const IpName& to);
// Takes the datagram over; lost if there is no room. `wants_errors`: its sender is told what became of it.
void gateway_send(Datagram* datagram, bool wants_errors);
// Takes the broker's news. By any task; with no lock held.
void gateway_news();
// The machine's side of `connection` has done something that the broker should see.
void gateway_tell(TcpConnection& connection);
// The calling task reads from this connection: the broker wakes it when there is more.
void gateway_note_reader(const TcpConnection& connection);
// It has accepted the connection, and accepts the next one.
void gateway_note_acceptor(const TcpConnection& connection);
// What the rings of a slot keep when their connection is over counts against the memory limit until the next
// one takes it over. In pages.
void gateway_keep(u32 slot, bool out, u64 pages);
u64 gateway_take_kept(u32 slot, bool out);
// Whether somebody in the machine listens on a port, with a lock of the ports held: the broker listens for
// those that it publishes while this is so.
void gateway_set_listening(u16 port, bool listening);
// Returns when the host has followed: whoever was told that listen(2) is done can connect. No lock held.
void gateway_settle_listening(u16 port);

}  // namespace teacup::net
