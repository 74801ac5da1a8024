// Copies of patched text. A guest that reads its own text sees the jumps to trampolines in it. Where it
// copies that text and runs the copy (programs that move their text to huge pages, or a function to a page of
// its own), the jumps, which are relative, would lead astray.
//
// What can be done: make reading give the file's bytes (needs memory that can be executed and not read:
// memory keys, which not all processors have, and then a fault for each constant in text); jumps that are not
// relative (eight bytes: few sites have the room); notice the copying (cannot be seen). So: notice the first
// execution. Memory that is no file's text, anonymous or shared, is given to the host without PROT_EXEC at
// first. The first instruction fetched from it faults; then it is searched for copies, their patches are
// replaced by what the file has there, and it becomes executable. From then on a copy is what it would be on
// Linux, and the net serves its calls. A just-in-time compiler pays one fault for each new mapping (3 us)
// and the reading of it (0.3 us a page).
//
// What is a copy: a long jump whose distance is that of a patch of a text that was mapped here, or a short
// one as in a patch, with the patch's and its neighbours' bytes around it, seven equal in a row at least. By
// chance that happens once in 2^56 places. Once one patch has shown where the copy lies, all others of the
// text that are there word for word are replaced too.
//
// Text that is copied into a mapping that has run code before is found when its jump arrives where nothing
// can be executed: each patch says where that jump would have come from; if a copy of the patch is there, it
// is repaired and the jump taken back. Not found is only what arrives in other code.
#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/base/memory.h"
#include "kernel/mm/address_space.h"
#include "kernel/uaccess/guest.h"

namespace teacup::mm {

namespace {

constexpr u64 kDistance = 4 * MiB, kStackDistance = 64 * KiB;
constexpr size_t kChunk = 1024;
constexpr size_t kLongJump = 5, kShortJump = 2;
constexpr u64 kNeighbours = 8;  // bytes looked at on each side of a patch
constexpr u64 kEvidence = 7;    // bytes that must be equal
constexpr size_t kLargestPatch = 128;

bool is_long(std::span<const u8> patch) {
  return patch.size() >= kLongJump && patch[0] == 0xe9;
}
bool is_short(std::span<const u8> patch) {
  return patch.size() >= kShortJump && patch[0] == 0xeb;
}

// Holds one of the words' bytes 0xe9 or 0xeb? They differ in one bit.
bool may_hold_jump(u64 word) {
  constexpr u64 kOnes = 0x0101010101010101;
  u64 zero_where = (word | kOnes * 2) ^ kOnes * 0xeb;
  return ((zero_where - kOnes) & ~zero_where & kOnes * 0x80) != 0;
}

// Searches [low, high) of guest memory, which is readable, and repairs what it finds.
class CopySearch {
 public:
  CopySearch(std::span<const Ref<Text>> texts, u64 low, u64 high) : texts_(texts), low_(low), high_(high) {}

  void run() {
    u64 words[kChunk / sizeof(u64) + 1];
    auto* bytes = reinterpret_cast<u8*>(words);
    for (u64 at = low_; at < high_; at += kChunk) {
      // Some bytes more, for a jump that begins in this chunk.
      size_t wanted = std::min<u64>(sizeof words, high_ - at);
      words[kChunk / sizeof(u64)] = 0;
      if (!copy_from_guest(bytes, at, wanted).ok()) continue;
      for (size_t i = 0; i < std::min(wanted, kChunk); i += sizeof(u64)) {
        if (!may_hold_jump(words[i / sizeof(u64)])) continue;
        for (size_t k = i; k < i + sizeof(u64) && k + kLongJump <= wanted; k++) {
          if ((bytes[k] | 2) == 0xeb) examine(at + k, bytes + k);
        }
      }
    }
  }

  // A jump has led from a copy of text to `target`: repairs the copy. Where the jump was; 0 if there is none.
  u64 take_back(u64 target) {
    for (const Ref<Text>& text : texts_) {
      for (const abi::PreparedPatch& patch : text->view().patches()) {
        auto bytes = text->view().bytes_of(patch);
        if (!is_long(bytes)) continue;
        s32 distance;
        memcpy(&distance, bytes.data() + 1, sizeof distance);
        u64 at = target - kLongJump - static_cast<u64>(s64{distance});
        if (at < low_ || at >= high_ || at < patch.offset || !is_copy(*text, patch, at)) continue;
        repair(*text, at - patch.offset);
        return at;
      }
    }
    return 0;
  }

 private:
  void examine(u64 at, const u8* jump) {
    s32 distance;
    memcpy(&distance, jump + 1, sizeof distance);
    for (const Ref<Text>& text : texts_) {
      bool is_near = jump[0] == 0xeb;
      if (!is_near && (distance < text->nearest_jump() || distance > text->furthest_jump())) continue;
      for (const abi::PreparedPatch& patch : text->view().patches()) {
        auto bytes = text->view().bytes_of(patch);
        bool alike = is_near ? is_short(bytes) && bytes[1] == jump[1]
                             : is_long(bytes) && memcmp(bytes.data(), jump, kLongJump) == 0;
        if (!alike || patch.offset > at || !is_copy(*text, patch, at)) continue;
        repair(*text, at - patch.offset);
        return;
      }
    }
  }

  bool is_copy(const Text& text, const abi::PreparedPatch& patch, u64 at) const {
    u64 before = 0;
    std::span<const u8> there = text.around(patch, kNeighbours, before);
    u8 here[kLargestPatch + 2 * kNeighbours];
    if (there.empty() || there.size() > sizeof here || patch.length > high_ - at) return false;
    // What lies beyond the memory that is searched counts as different.
    u64 skip = before - std::min(before, at - low_);
    u64 from = at - before + skip;
    u64 size = std::min(there.size() - skip, high_ - from);
    if (!copy_from_guest(here + skip, from, size).ok()) return false;
    u64 end = skip + size;
    if (memcmp(here + before, there.data() + before, patch.length) != 0) return false;
    u64 equal = patch.length;
    for (u64 i = before + patch.length; i < end && here[i] == there[i]; i++) equal++;
    for (u64 i = before; i > skip && here[i - 1] == there[i - 1]; i--) equal++;
    return equal >= kEvidence;
  }

  // Puts the file's bytes where patches lie in the copy of `text` at `base`.
  void repair(const Text& text, u64 base) {
    constexpr int kReadWrite = abi::kPROT_READ | abi::kPROT_WRITE;
    if (!writable_ && !gate::protect(low_, high_ - low_, kReadWrite).ok()) return;
    writable_ = true;
    for (const abi::PreparedPatch& patch : text.view().patches()) {
      u64 at = base + patch.offset;
      auto bytes = text.view().bytes_of(patch);
      u8 here[kLargestPatch];
      if (at < low_ || at >= high_ || patch.length > high_ - at || patch.length > sizeof here) continue;
      if (!copy_from_guest(here, at, patch.length).ok()) continue;
      if (memcmp(here, bytes.data(), patch.length) != 0) continue;
      static_cast<void>(copy_to_guest(at, text.original(patch), patch.length));
    }
  }

  std::span<const Ref<Text>> texts_;
  u64 low_;
  u64 high_;
  bool writable_ = false;
};

}  // namespace

void AddressSpace::remember_text_locked(Text& text) {
  for (u32 i = 0; i < text_count_; i++) {
    if (texts_[i] == &text) return;
  }
  if (text_count_ < kMaxTexts) texts_[text_count_++] = Ref<Text>::share(&text);
}

void AddressSpace::forget_texts_locked() {
  while (text_count_ > 0) texts_[--text_count_] = nullptr;
}

bool AddressSpace::awaits_search_locked(const Mapping& mapping, u32 prot) const {
  if (mapping.searched || (prot & abi::kPROT_EXEC) == 0 || text_count_ == 0 || mapping.text) return false;
  if (mapping.kind != MappingKind::kNormal && mapping.kind != MappingKind::kStack) return false;
  return mapping.is_anonymous() || mapping.shared;
}

// Code at `address` of the mapping is about to run for the first time.
void AddressSpace::search_locked(Mapping& mapping, u64 address) {
  u64 distance = mapping.kind == MappingKind::kStack ? kStackDistance : kDistance;
  u64 page = page_down(address);
  u64 low = page - std::min(distance, page - mapping.start);
  u64 high = page + std::min(distance, mapping.backed_end - page);
  bool readable =
      (mapping.prot & abi::kPROT_READ) != 0 || gate::protect(low, high - low, abi::kPROT_READ).ok();
  if (readable) CopySearch({texts_, text_count_}, low, high).run();
  mapping.searched = true;
  u64 start = mapping.start, end = mapping.end;
  static_cast<void>(gate::protect(start, mapping.backed_end - start, static_cast<int>(mapping.prot)));
  mappings_.join(start, end);
}

u64 AddressSpace::take_back_jump(u64 target) {
  LockGuard guard(lock_);
  for (size_t i = 0; i < mappings_.size() && text_count_ > 0; i++) {
    const Mapping& mapping = mappings_[i];
    if (!mapping.searched || (mapping.prot & abi::kPROT_EXEC) == 0) continue;
    u64 at = CopySearch({texts_, text_count_}, mapping.start, mapping.backed_end).take_back(target);
    if (at == 0) continue;
    static_cast<void>(
        gate::protect(mapping.start, mapping.backed_end - mapping.start, static_cast<int>(mapping.prot)));
    return at;
  }
  return 0;
}

}  // namespace teacup::mm
