// Directories of the host's. See host_fs.cc.
//
// Listing: read_directory() takes a copy of all names when it starts from the beginning, and goes through
// that, so that a reader sees each name once, whatever comes and goes meanwhile (rm -r reads, removes, reads
// on). A copy that is taken anew keeps the places of the names that are still there, for readers who are in
// the middle.
#include <algorithm>

#include "fs/host_fs.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

struct HostInode::Listing {
  struct Name {
    u64 id;
    u8 type;
    u8 length;
    bool there;
    char* text() { return reinterpret_cast<char*>(this + 1); }
    std::string_view view() { return {text(), length}; }
  };

  Name** names = nullptr;
  u64 count = 0;
  u64 room = 0;

  ~Listing() {
    for (u64 i = 0; i < count; i++) heap_free(names[i]);
    heap_free(names);
  }
  Result<void> add(Name* name) {
    if (count == room) {
      u64 larger_room = room == 0 ? 32 : room * 2;
      auto* larger = static_cast<Name**>(heap_allocate(larger_room * sizeof(Name*)));
      if (larger == nullptr) return Errno::NOMEM;
      if (count > 0) memcpy(larger, names, count * sizeof(Name*));
      heap_free(names);
      names = larger;
      room = larger_room;
    }
    names[count++] = name;
    return {};
  }
  Result<void> add(std::string_view text, u64 id, u8 type) {
    auto* name = static_cast<Name*>(heap_allocate(sizeof(Name) + text.size()));
    if (name == nullptr) return Errno::NOMEM;
    *name = Name{id, type, static_cast<u8>(text.size()), true};
    memcpy(name->text(), text.data(), text.size());
    auto added = add(name);
    if (!added.ok()) heap_free(name);
    return added;
  }
};

HostInode::~HostInode() {
  if (listing_ != nullptr) teacup::destroy(listing_);
}

Result<Ref<Inode>> HostInode::lookup(std::string_view name) {
  if (!is_directory()) return Errno::NOTDIR;
  Trip trip;
  TRY(trip.ask_host(request(abi::HostFileOp::kLookup), name, {}, Trip::kSmall));
  auto entries = trip.entries();
  const abi::ImporterEntry* entry = entries.next();
  if (entry == nullptr) return Errno::UCLEAN;
  return host().inode_of(entry->inode);
}

void HostInode::entries_changed() {
  valid_until_.store(0);
  entries_version.fetch_add(1, std::memory_order_seq_cst);
}

Result<Ref<Inode>> HostInode::create(std::string_view name, const NewNode& node, NameChange& change) {
  if (!is_directory()) return Errno::NOTDIR;
  bool is_link = (node.mode & abi::kS_IFMT) == abi::kS_IFLNK;
  abi::HostFileRequest asked = request(is_link ? abi::HostFileOp::kSymlink : abi::HostFileOp::kCreate);
  asked.mode = node.mode;
  Trip trip;
  TRY(trip.ask_host(asked, name, is_link ? node.target : std::string_view(), Trip::kSmall));
  entries_changed();
  change.changed();
  auto entries = trip.entries();
  const abi::ImporterEntry* entry = entries.next();
  if (entry == nullptr) return Errno::UCLEAN;
  return host().inode_of(entry->inode);
}

Result<void> HostInode::link(std::string_view name, Inode& target, NameChange& change) {
  if (&target.file_system() != &file_system()) return Errno::XDEV;
  auto& existing = static_cast<HostInode&>(target);
  abi::HostFileRequest asked = request(abi::HostFileOp::kLink);
  asked.node2 = existing.node_;
  TRY(simple(asked, name));
  entries_changed();
  change.changed();
  return existing.refresh();
}

Result<void> HostInode::remove_entry(abi::HostFileOp op, std::string_view name, Inode& victim,
                                     NameChange& change) {
  auto& gone = static_cast<HostInode&>(victim);
  abi::HostFileRequest asked = request(op);
  asked.node2 = gone.node_;
  TRY(simple(asked, name));
  entries_changed();
  gone.entries_version.fetch_add(1, std::memory_order_seq_cst);
  change.changed();
  LockGuard guard(gone.lock);
  gone.nlink = op == abi::HostFileOp::kRemoveDirectory || gone.nlink == 0 ? 0 : gone.nlink - 1;
  gone.valid_until_.store(0);
  return {};
}

Result<void> HostInode::unlink(std::string_view name, Inode& victim, NameChange& change) {
  return remove_entry(abi::HostFileOp::kUnlink, name, victim, change);
}
Result<void> HostInode::remove_directory(std::string_view name, Inode& victim, NameChange& change) {
  return remove_entry(abi::HostFileOp::kRemoveDirectory, name, victim, change);
}

Result<void> HostInode::rename(std::string_view name, Inode&, Inode& new_parent, std::string_view new_name,
                               Inode* victim, const RenameHow& how, NameChange& change) {
  if (how.whiteout != nullptr) return Errno::INVAL;  // the host's own layers are not ours to make
  if (&new_parent.file_system() != &file_system()) return Errno::XDEV;
  auto& to = static_cast<HostInode&>(new_parent);
  abi::HostFileRequest asked = request(abi::HostFileOp::kRename);
  asked.node2 = to.node_;
  asked.flags = how.flags;
  TRY(simple(asked, name, new_name));
  entries_changed();
  if (&to != this) to.entries_changed();
  change.changed();
  if (victim != nullptr && (how.flags & abi::kRENAME_EXCHANGE) == 0) {
    auto& gone = static_cast<HostInode&>(*victim);
    LockGuard guard(gone.lock);
    gone.nlink = gone.is_directory() || gone.nlink == 0 ? 0 : gone.nlink - 1;
    gone.valid_until_.store(0);
  }
  return {};
}

Result<void> HostInode::load_listing() {
  Listing* fresh = TRY(make<Listing>());
  auto fill = [&]() -> Result<void> {
    constexpr u64 kMaxTrips = 1 << 16;
    u64 cursor = 0;
    for (u64 trips = 0; trips < kMaxTrips; trips++) {
      Trip trip;
      abi::HostFileRequest asked = request(abi::HostFileOp::kReadDirectory);
      asked.cursor = cursor;
      TRY(trip.ask_host(asked, {}, {}, Trip::kLarge));
      auto entries = trip.entries();
      while (const abi::ImporterEntry* entry = entries.next()) {
        std::string_view name = entry->name();
        if (name.empty() || name.size() > static_cast<size_t>(abi::kNAME_MAX)) continue;
        TRY(fresh->add(name, entry->inode.number, static_cast<u8>(entry->inode.mode >> 12 & 15)));
      }
      cursor = trip.next();
      if (cursor == 0) return {};
    }
    return Errno::IO;
  };
  if (auto filled = fill(); !filled.ok()) {
    teacup::destroy(fresh);
    return filled;
  }
  Listing* old = nullptr;
  {
    LockGuard guard(lock);
    old = std::exchange(listing_, fresh);
    // The common case costs nothing: the host gives the same names in the same order.
    bool same_start = old != nullptr && old->count <= fresh->count;
    for (u64 i = 0; same_start && i < old->count; i++)
      same_start = old->names[i]->view() == fresh->names[i]->view();
    if (old != nullptr && !same_start) {
      // Old places first: names that are gone leave a gap, new ones go behind.
      for (u64 i = 0; i < old->count; i++) old->names[i]->there = false;
      for (u64 j = 0; j < fresh->count; j++) {
        Listing::Name* name = fresh->names[j];
        bool known = false;
        for (u64 i = 0; i < old->count && !known; i++) {
          // Mostly at the same place or a little before.
          Listing::Name* at = old->names[(j + i) % old->count];
          if (at->view() != name->view()) continue;
          at->there = true;
          at->id = name->id;
          at->type = name->type;
          known = true;
        }
        if (!known && old->add(name).ok()) fresh->names[j] = nullptr;
      }
      std::swap(listing_, old);
    }
  }
  if (old != nullptr) teacup::destroy(old);
  return {};
}

Result<void> HostInode::read_directory(DirSink& sink, u64& position) {
  constexpr u64 kFirst = 2;
  if (!is_directory()) return Errno::NOTDIR;
  bool missing;
  {
    LockGuard guard(lock);
    missing = listing_ == nullptr;
  }
  if (position <= kFirst || missing) TRY(load_listing());
  position = std::max(position, kFirst);
  for (;;) {
    char text[256];
    size_t length;
    u64 id;
    u8 type;
    {
      LockGuard guard(lock);
      if (position - kFirst >= listing_->count) return {};
      Listing::Name& name = *listing_->names[position - kFirst];
      if (!name.there) {
        position++;
        continue;
      }
      length = name.length;
      memcpy(text, name.text(), length);
      id = name.id;
      type = name.type;
    }
    if (!sink.add({text, length}, id, type, position + 1)) return {};
    position++;
  }
}

}  // namespace teacup::fs
