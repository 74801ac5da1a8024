// Patched text in an address space: where an object's text is mapped from its patched frames, its trampolines
// lie at their fixed distance from it, always and only then. The trampolines are a mapping of the kernel's:
// to the guest their addresses are free. A guest that uses them (MAP_FIXED, or an munmap over a wide range)
// gets them: the object goes back to its unpatched text first, and the net serves its sites from then on.
#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/mm/address_space.h"

namespace teacup::mm {

namespace {

bool is_object(const Mapping& mapping, const Text& text, u64 base) {
  return mapping.text == &text && mapping.object_base == base;
}

}  // namespace

// Maps a file range that the text covers from its patched frames, with the object's trampolines. False: it
// cannot be done here, nothing has changed.
bool AddressSpace::attach_text_locked(Mapping& mapping) {
  const Text& text = *mapping.text;
  mapping.object_base = mapping.start - text.object_offset(mapping.offset);
  mapping.backed_end = mapping.end;
  u64 length = text.trampoline_length();
  u64 start = mapping.object_base + text.trampoline_offset();
  if (!is_guest_range(start, length) || start < kGuestLowStart || start + length < start) return false;
  const Mapping* there = mappings_.at(start);
  bool present = there != nullptr && there->kind == MappingKind::kTrampolines &&
                 is_object(*there, text, mapping.object_base);
  bool own = start < mapping.end && mapping.start < start + length;
  if (!present && (own || !mappings_.is_free(start, start + length))) return false;
  constexpr int kReadExecute = abi::kPROT_READ | abi::kPROT_EXEC;
  if (!present) {
    if (!gate::map_file(start, length, kReadExecute, false, text.trampolines().fd, text.trampolines().offset)
             .ok()) {
      return false;
    }
    Mapping trampolines;
    trampolines.start = start;
    trampolines.end = trampolines.backed_end = start + length;
    trampolines.text = mapping.text;
    trampolines.object_base = mapping.object_base;
    trampolines.prot = kReadExecute;
    trampolines.kind = MappingKind::kTrampolines;
    make_anonymous_locked(trampolines);
    mappings_.insert(std::move(trampolines));
  }
  if (map_text_locked(mapping).ok()) {
    remember_text_locked(*mapping.text);
    return true;
  }
  if (!present) drop_unused_trampolines_locked();
  return false;
}

// Patched pages where there are, the file's own pages between.
Result<void> AddressSpace::map_text_locked(const Mapping& mapping) {
  for (u64 at = mapping.start; at < mapping.end;) {
    u64 offset = mapping.offset + (at - mapping.start);
    const Text::Patched* patched = mapping.text->patched_from(offset);
    if (patched != nullptr && patched->low <= offset) {
      u64 length = std::min(mapping.end - at, patched->high - offset);
      TRY(gate::map_file(at, length, static_cast<int>(mapping.prot), false, patched->source.fd,
                         patched->source.offset + (offset - patched->low)));
      at += length;
      continue;
    }
    u64 length = mapping.end - at;
    if (patched != nullptr) length = std::min(length, patched->low - offset);
    Mapping plain = mapping.slice(at, at + length);
    TRY(host_map_file_locked(plain));
    if (plain.backed_end < plain.end) return Errno::IO;
    at = plain.end;
  }
  return {};
}

// Maps the object's text from the file again. What the guest had written to its text is lost with it.
void AddressSpace::detach_text_locked(const Text& text, u64 object_base) {
  for (size_t i = 0; i < mappings_.size(); i++) {
    Mapping& mapping = mappings_[i];
    if (mapping.kind != MappingKind::kNormal || !is_object(mapping, text, object_base)) continue;
    mapping.text = nullptr;
    mapping.object_base = 0;
    if (!host_map_file_locked(mapping).ok()) {
      mapping.backed_end = mapping.start;
      static_cast<void>(gate::unmap(mapping.start, mapping.length()));
    }
  }
  drop_unused_trampolines_locked();
}

// The guest wants [start, end): objects whose trampolines lie there lose their patches.
void AddressSpace::clear_trampolines_locked(u64 start, u64 end) {
  for (size_t i = mappings_.find(start); i < mappings_.size() && mappings_[i].start < end;) {
    const Mapping& mapping = mappings_[i];
    if (mapping.kind != MappingKind::kTrampolines) {
      i++;
      continue;
    }
    Ref<Text> text = mapping.text;
    detach_text_locked(*text, mapping.object_base);
    i = mappings_.find(start);
  }
}

// Trampolines whose object has no patched text left go.
void AddressSpace::drop_unused_trampolines_locked() {
  for (size_t i = 0; i < mappings_.size();) {
    const Mapping& trampolines = mappings_[i];
    if (trampolines.kind != MappingKind::kTrampolines) {
      i++;
      continue;
    }
    bool used = false;
    for (size_t j = mappings_.find(trampolines.object_base); j < mappings_.size() && !used; j++) {
      const Mapping& mapping = mappings_[j];
      if (mapping.start >= trampolines.object_base + trampolines.text->header().object_size) break;
      used = mapping.kind == MappingKind::kNormal &&
             is_object(mapping, *trampolines.text, trampolines.object_base);
    }
    if (used) {
      i++;
      continue;
    }
    static_cast<void>(gate::unmap(trampolines.start, trampolines.length()));
    if (trampolines.end > searched_to_) searched_to_ = 0;
    mappings_.erase(i, 1);
  }
}

u64 AddressSpace::guest_pc(u64 pc) const {
  LockGuard guard(lock_);
  const Mapping* mapping = mappings_.at(pc);
  if (mapping == nullptr || !mapping->text) return pc;
  const abi::PreparedPc* entry = mapping->text->view().guest_for(pc - mapping->object_base);
  return entry == nullptr ? pc : mapping->object_base + entry->guest;
}

u64 AddressSpace::kernel_pc(u64 pc) const {
  LockGuard guard(lock_);
  const Mapping* mapping = mappings_.at(pc);
  if (mapping == nullptr || !mapping->text) return pc;
  const abi::PreparedPc* entry = mapping->text->view().actual_for(pc - mapping->object_base);
  return entry == nullptr ? pc : mapping->object_base + entry->actual;
}

bool AddressSpace::ends_step(u64 pc) const {
  LockGuard guard(lock_);
  const Mapping* mapping = mappings_.at(pc);
  if (mapping == nullptr || !mapping->text) return true;
  u64 offset = pc - mapping->object_base;
  const abi::PreparedPc* entry = mapping->text->view().guest_for(offset);
  if (entry == nullptr) return true;
  if (entry->actual != offset || entry->kind == abi::kPcReturn) return false;
  return offset >= mapping->text->trampoline_offset() && !mapping->text->is_jumped_to(offset);
}

bool AddressSpace::in_trampoline(u64 pc) const {
  LockGuard guard(lock_);
  const Mapping* mapping = mappings_.at(pc);
  return mapping != nullptr && mapping->text &&
         mapping->text->view().guest_for(pc - mapping->object_base) != nullptr;
}

}  // namespace teacup::mm
