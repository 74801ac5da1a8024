// Sockets in flight: unix sockets that were sent over unix sockets and not received yet (unix(7),
// SCM_RIGHTS).
//
// A socket whose only references lie in queues, and those queues in sockets of which the same is true, is
// garbage that counting references does not find: sockets that hold one another. So each endpoint counts in
// how many queued messages its file is, and when a socket is closed while others are in flight, those that no
// queue outside of the set and no descriptor refers to have their queues emptied, which ends them.
//
// What makes that safe is that nothing comes into flight or out of it meanwhile: both happen under the lock
// here, and whoever is not among the messages holds a count that is not explained by them.
//
// Messages that carry sockets are destroyed one after the other, by one task at a time, for their ends
// would nest: a socket in the queue of a socket in the queue of a socket…
//
// Locks: its own (kSocketRights), before an endpoint's.
#pragma once

#include "net/unix_endpoint.h"

namespace teacup::net {

class UnixRights {
 public:
  Mutex& lock() { return lock_; }
  // With the lock held: the sockets among its files come into flight, or out of it.
  void depart_locked(Ancillary& ancillary);
  void arrive_locked(Ancillary& ancillary);
  // Destroys what an endpoint has dropped. Called without locks.
  void drop(Message* chain);
  // A socket was closed. Called without locks.
  void collect_if_due();

 private:
  using Flying = List<Endpoint, &Endpoint::flight_node>;

  bool find_garbage_locked();
  template <typename Visit>
  void visit_queue_locked(Endpoint& endpoint, Visit visit);
  Message* empty_garbage_locked();

  Mutex lock_{LockRank::kSocketRights};
  Flying flying_;
  u32 count_ = 0;               // of flying_
  u32 closes_ = 0;              // since the last collection
  Message* dropped_ = nullptr;  // to be destroyed
  bool dropping_ = false;
};

UnixRights& unix_rights();
void unix_rights_start();

bool carries_sockets(const Message& message);

}  // namespace teacup::net
