// epoll(7).
//
// An Epoll has one Item per (file, descriptor) it watches. The item's wait entry sits in the file's wait
// queue for as long as it is registered; its callback puts the item on the epoll's ready list and wakes
// waiters. collect() asks each ready item's file again and keeps level-triggered ones on the list. Files do
// not count the references of items: when a file ends, File::destroy calls epoll_forget().
//
// Locks: kEpollTree (one per machine: registering, forgetting, the loop check), then an epoll's kEpoll
// (items), then, from wait queues' callbacks, its kEpollReady (the ready list).
#pragma once

#include "fs/file.h"
#include "kernel/frame/heap.h"

namespace teacup::fs {

class Epoll;
Result<Ref<File>> make_epoll();
Epoll* epoll_of(File& file);  // null for other files

// epoll_ctl(2): EEXIST, ENOENT, ELOOP, EINVAL (itself), EPERM (a file without readiness), ENOMEM.
Result<void> epoll_add(Epoll& epoll, File& file, Fd fd, const abi::EpollEvent& event);
Result<void> epoll_modify(Epoll& epoll, File& file, Fd fd, const abi::EpollEvent& event);
Result<void> epoll_remove(Epoll& epoll, File& file, Fd fd);

// How many events the next epoll_collect() can find at most, of what is ready by now.
size_t epoll_ready(Epoll& epoll);
// Fills `events` from the ready list; EAGAIN when nothing is ready. Waiters sleep on the Epoll's
// wait_queue() for POLLIN.
Result<size_t> epoll_collect(Epoll& epoll, std::span<abi::EpollEvent> events);

// Called by File::destroy before the destructor, with no lock of rank kEpollTree or above held.
void epoll_forget(File& file);

// Creates the machine's epoll state; once, before the first epoll file.
void epoll_start();

}  // namespace teacup::fs
