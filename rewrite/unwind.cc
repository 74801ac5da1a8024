#include "rewrite/unwind.h"

#include <algorithm>

#include "rewrite/dwarf_reader.h"

namespace teacup::rewrite {
namespace {

struct Cie {
  u8 pointer_encoding = 0;
  u8 lsda_encoding = kOmit;
  bool augmented = false;
  bool signal_frame = false;
};

std::optional<Cie> parse_cie(const ElfObject& object, u64 address) {
  DwarfReader in(object.from(address), address);
  in.get<u32>();
  if (in.get<u32>() != 0) return std::nullopt;
  u8 version = in.get<u8>();
  if (version != 1 && version != 3) return std::nullopt;
  char augmentation[8] = {};
  for (size_t i = 0;; i++) {
    char c = static_cast<char>(in.get<u8>());
    if (c == 0) break;
    if (in.failed || i + 1 >= sizeof augmentation) return std::nullopt;
    augmentation[i] = c;
  }
  in.uleb();                                // code alignment
  in.uleb();                                // data alignment
  version == 1 ? in.get<u8>() : in.uleb();  // return address register
  Cie cie;
  if (augmentation[0] == 'z') {
    cie.augmented = true;
    in.uleb();
    for (const char* c = augmentation + 1; *c; c++) {
      switch (*c) {
        case 'L':
          cie.lsda_encoding = in.get<u8>();
          break;
        case 'R':
          cie.pointer_encoding = in.get<u8>();
          break;
        case 'P':
          in.pointer(in.get<u8>() & ~kIndirect);
          break;
        case 'S':
          cie.signal_frame = true;
          break;
        case 'B':
          break;
        default:
          return std::nullopt;
      }
    }
  } else if (augmentation[0] != 0) {
    return std::nullopt;
  }
  if (in.failed) return std::nullopt;
  return cie;
}

}  // namespace

UnwindTable::UnwindTable(const ElfObject& object) : object_(object) {
  if (read_header()) return;
  read_all();
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
}

// .eh_frame_hdr: the sorted table that linkers make for binary search, in the one encoding they all use.
bool UnwindTable::read_header() {
  u64 header = object_.eh_frame_header();
  Bytes bytes = object_.from(header);
  if (header == 0 || bytes.size() < 12) return false;
  constexpr u8 kTableEncoding = kDataRelative | 0x0b;
  DwarfReader in(bytes, header);
  u8 version = in.get<u8>();
  u8 frame_encoding = in.get<u8>();
  u8 count_encoding = in.get<u8>();
  u8 table_encoding = in.get<u8>();
  if (version != 1 || table_encoding != kTableEncoding || count_encoding == kOmit) return false;
  in.pointer(frame_encoding, header);
  u64 count = in.pointer(count_encoding, header);
  if (in.failed || count > (bytes.size() - in.at()) / 8) return false;
  header_ = header;
  table_ = bytes.subspan(in.at(), count * 8);
  return count > 0;
}

// Without the table, all of .eh_frame.
void UnwindTable::read_all() {
  u64 address = 0;
  Bytes bytes = object_.section(".eh_frame", &address);
  for (u64 at = 0; at + 8 <= bytes.size();) {
    u32 length = *load<u32>(bytes, at);
    if (length == 0 || length >= 0xfffffff0) break;
    if (*load<u32>(bytes, at + 4) != 0) {
      if (std::optional<Frame> frame = parse(address + at)) {
        entries_.push_back({frame->begin, address + at});
      }
    }
    at += u64{length} + 4;
  }
}

std::optional<Frame> UnwindTable::parse(u64 fde) const {
  DwarfReader in(object_.from(fde), fde);
  u32 length = in.get<u32>();
  u64 here = in.address();
  u32 back = in.get<u32>();
  if (in.failed || length == 0 || length >= 0xfffffff0 || back == 0) return std::nullopt;
  std::optional<Cie> cie = parse_cie(object_, here - back);
  if (!cie) return std::nullopt;
  Frame frame{.begin = 0, .end = 0, .lsda = 0, .fde = fde, .signal_frame = cie->signal_frame};
  frame.begin = in.pointer(cie->pointer_encoding);
  u64 size = in.pointer(cie->pointer_encoding & kFormatMask);
  frame.end = frame.begin + size;
  if (cie->augmented && in.uleb() > 0) frame.lsda = in.pointer(cie->lsda_encoding);
  if (in.failed || frame.end <= frame.begin) return std::nullopt;
  return frame;
}

// How many entries begin at or before an address. (Of an unsorted table, anything: what comes of it is
// checked.)
size_t UnwindTable::index_after(u64 address) const {
  size_t low = 0, high = size();
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (begin(middle) <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::optional<Frame> UnwindTable::find(u64 address) const {
  size_t after = index_after(address);
  if (after == 0) return std::nullopt;
  std::optional<Frame> found = frame(after - 1);
  if (!found || address < found->begin || address >= found->end) return std::nullopt;
  return found;
}

u64 UnwindTable::end_before(u64 address) const {
  size_t after = index_after(address);
  if (after == 0) return 0;
  std::optional<Frame> found = frame(after - 1);
  return found && found->end <= address ? found->end : 0;
}

u64 UnwindTable::begin_after(u64 address) const {
  size_t after = index_after(address);
  return after < size() ? begin(after) : ~u64{0};
}

std::vector<u64> UnwindTable::landing_pads(const Frame& frame) const {
  std::vector<u64> pads;
  if (frame.lsda == 0) return pads;
  DwarfReader in(object_.from(frame.lsda), frame.lsda);
  u8 start_encoding = in.get<u8>();
  u64 start = start_encoding == kOmit ? frame.begin : in.pointer(start_encoding);
  if (in.get<u8>() != kOmit) in.uleb();  // the type table
  u8 encoding = in.get<u8>();
  u64 size = in.uleb();
  u64 end = in.at() + size;
  while (!in.failed && in.at() < end) {
    in.pointer(encoding);  // start of the call sites
    in.pointer(encoding);  // their length
    u64 pad = in.pointer(encoding);
    in.uleb();  // action
    if (pad) pads.push_back(start + pad);
  }
  return pads;
}

}  // namespace teacup::rewrite
