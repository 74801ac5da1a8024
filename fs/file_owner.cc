#include "fs/file_owner.h"

namespace teacup::fs {

void FileOwner::watch(WaitQueue& queue) {
  later_.run = &FileOwner::run;
  later_.owner = this;
  entry_.on_wake = &FileOwner::on_event;
  entry_.context = this;
  queue.add(entry_, ~u32{0});
}

// The file goes.
void owner_forget(File& file) {
  FileOwner* owner = file.owner.load(std::memory_order_acquire);
  WaitQueue::remove(owner->entry_);
  owner->unref();
}

// The first event since the last telling has it told; others are told with it.
DeferredWake* FileOwner::on_event(WaitEntry& entry, u32 events) {
  auto* self = static_cast<FileOwner*>(entry.context);
  if (self->events_.fetch_or(events, std::memory_order_acq_rel) != 0) return nullptr;
  self->ref();
  return &self->later_;
}

void FileOwner::run(DeferredWake& later) {
  FileOwner* self = static_cast<Later&>(later).owner;
  self->tell(self->events_.exchange(0, std::memory_order_acq_rel));
  self->unref();
}

}  // namespace teacup::fs
