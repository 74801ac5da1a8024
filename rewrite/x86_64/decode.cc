// Decoding of x86-64: lengths, control flow and PC-relative operands, no more.
//
// Why not capstone alone? With details it takes 0.7 to 1 µs an instruction, and finding which bytes are
// branch targets needs every instruction of each function with a site: libc would take 40 ms. This decoder
// takes 10 ns. It knows no mnemonics; its opcode maps hold for each opcode only whether a ModRM byte follows
// and which immediate (Intel SDM volume 2, appendix A). What it does not know is no instruction, and the site
// is left to the net. Each instruction that is going to be moved is confirmed by capstone (confirm.cc), so
// that one wrong entry here cannot corrupt a program.
#include <algorithm>
#include <array>
#include <cstring>

#include "rewrite/isa.h"

namespace teacup::rewrite::isa {
namespace {

enum : u8 {
  kNone = 0,
  kModrm = 1,
  kImm8 = 2,
  kImm16 = 4,
  kImmZ = 8,       // 32 bits, 16 with an operand-size prefix
  kImmV = 16,      // as kImmZ, 64 with REX.W
  kOffset = 32,    // an absolute address: 64 bits, 32 with an address-size prefix
  kRelative = 64,  // 32 bits whatever the prefixes
  kInvalid = 128,
};

constexpr void fill(std::array<u8, 256>& map, unsigned from, unsigned to, u8 what) {
  for (unsigned i = from; i <= to; i++) map[i] = what;
}

constexpr std::array<u8, 256> make_primary_map() {
  std::array<u8, 256> map{};
  for (unsigned row = 0; row < 0x40; row += 8) {
    fill(map, row, row + 3, kModrm);
    map[row + 4] = kImm8;
    map[row + 5] = kImmZ;
    map[row + 6] = map[row + 7] = kInvalid;
  }
  fill(map, 0x60, 0x62, kInvalid);  // 62, EVEX, is decoded apart
  map[0x63] = kModrm;
  map[0x68] = kImmZ;
  map[0x69] = kModrm | kImmZ;
  map[0x6a] = kImm8;
  map[0x6b] = kModrm | kImm8;
  fill(map, 0x70, 0x7f, kImm8);
  map[0x80] = kModrm | kImm8;
  map[0x81] = kModrm | kImmZ;
  map[0x82] = kInvalid;
  map[0x83] = kModrm | kImm8;
  fill(map, 0x84, 0x8f, kModrm);
  map[0x9a] = kInvalid;
  fill(map, 0xa0, 0xa3, kOffset);
  map[0xa8] = kImm8;
  map[0xa9] = kImmZ;
  fill(map, 0xb0, 0xb7, kImm8);
  fill(map, 0xb8, 0xbf, kImmV);
  map[0xc0] = map[0xc1] = kModrm | kImm8;
  map[0xc2] = kImm16;
  map[0xc4] = map[0xc5] = kInvalid;  // VEX, decoded apart
  map[0xc6] = kModrm | kImm8;
  map[0xc7] = kModrm | kImmZ;
  map[0xc8] = kImm16 | kImm8;
  map[0xca] = kImm16;
  map[0xcd] = kImm8;
  map[0xce] = kInvalid;
  fill(map, 0xd0, 0xd3, kModrm);
  fill(map, 0xd4, 0xd6, kInvalid);
  fill(map, 0xd8, 0xdf, kModrm);
  fill(map, 0xe0, 0xe7, kImm8);
  map[0xe8] = map[0xe9] = kRelative;
  map[0xea] = kInvalid;
  map[0xeb] = kImm8;
  map[0xf6] = map[0xf7] = kModrm;  // and an immediate for two of its eight
  map[0xfe] = map[0xff] = kModrm;
  return map;
}

constexpr std::array<u8, 256> make_secondary_map() {  // 0f xx
  std::array<u8, 256> map{};
  fill(map, 0x00, 0xff, kModrm);
  for (unsigned none : {0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0e, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9, 0xaa}) {
    map[none] = kNone;
  }
  fill(map, 0x30, 0x37, kNone);
  fill(map, 0xc8, 0xcf, kNone);
  for (unsigned invalid : {0x04, 0x0a, 0x0c, 0x0f, 0x24, 0x25, 0x26, 0x27, 0x36, 0x38, 0x39, 0x3a,
                           0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x78, 0x79, 0x7a, 0x7b, 0xa6, 0xa7}) {
    map[invalid] = kInvalid;
  }
  for (unsigned imm : {0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6})
    map[imm] = kModrm | kImm8;
  fill(map, 0x80, 0x8f, kRelative);
  return map;
}

constexpr std::array<u8, 256> kPrimaryMap = make_primary_map();
constexpr std::array<u8, 256> kSecondaryMap = make_secondary_map();

// The bytes of one instruction and how far they are read. There are always enough: near the end of what there
// is, decode() works on a copy with zeros behind it.
struct Cursor {
  const u8* bytes;
  size_t at = 0;

  u8 next() { return bytes[at++]; }
  u8 peek() const { return bytes[at]; }
  void skip(size_t count) { at += count; }
  s32 s32_at(size_t where) const {
    s32 value;
    std::memcpy(&value, bytes + where, sizeof value);
    return value;
  }
};

// What read on a cursor without checks may come to: prefixes up to the limit, then the longest of everything
// else.
constexpr size_t kMostRead = kLongestInstruction + 3 + 2 + 1 + 1 + 4 + 8 + 4;

struct Prefixes {
  bool operand_size = false;
  bool address_size = false;
  bool lock = false;
  bool any = false;  // any legacy prefix at all
  u8 repeat = 0;     // f2 or f3, the last one
  u8 rex = 0;
};

enum class Map : u8 { kPrimary, kSecondary, k38, k3a, kVex1, kVex2, kVex3, kEvex5, kEvex6 };

struct Opcode {
  Map map = Map::kPrimary;
  u8 byte = 0;
  bool extended = false;  // VEX or EVEX
};

Prefixes read_prefixes(Cursor& cursor) {
  Prefixes prefixes;
  for (; cursor.at < kLongestInstruction; cursor.next()) {
    u8 byte = cursor.peek();
    switch (byte) {
      case 0x66:
        prefixes.operand_size = true;
        break;
      case 0x67:
        prefixes.address_size = true;
        break;
      case 0xf0:
        prefixes.lock = true;
        break;
      case 0xf2:
      case 0xf3:
        prefixes.repeat = byte;
        break;
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0x64:
      case 0x65:
        break;
      default:
        if ((byte & 0xf0) == 0x40) prefixes.rex = cursor.next();
        return prefixes;
    }
    prefixes.any = true;
  }
  return prefixes;
}

// Reads VEX (c4, c5) and EVEX (62) headers up to the opcode.
std::optional<Opcode> read_extended(Cursor& cursor, u8 first, const Prefixes& prefixes) {
  if (prefixes.rex || prefixes.operand_size || prefixes.repeat || prefixes.lock) return std::nullopt;
  Opcode opcode{.extended = true};
  u8 map = 1;
  if (first == 0xc5) {
    cursor.next();
  } else if (first == 0xc4) {
    map = cursor.next() & 0x1f;
    cursor.next();
    if (map < 1 || map > 3) return std::nullopt;
  } else {
    u8 p0 = cursor.next();
    u8 p1 = cursor.next();
    cursor.next();
    if ((p0 & 0x08) || !(p1 & 0x04)) return std::nullopt;
    map = p0 & 7;
  }
  switch (map) {
    case 1:
      opcode.map = Map::kVex1;
      break;
    case 2:
      opcode.map = Map::kVex2;
      break;
    case 3:
      opcode.map = Map::kVex3;
      break;
    case 5:
      opcode.map = Map::kEvex5;
      break;
    case 6:
      opcode.map = Map::kEvex6;
      break;
    default:
      return std::nullopt;
  }
  opcode.byte = cursor.next();
  return opcode;
}

std::optional<Opcode> read_opcode(Cursor& cursor, const Prefixes& prefixes) {
  u8 byte = cursor.next();
  if (byte == 0xc4 || byte == 0xc5 || byte == 0x62) return read_extended(cursor, byte, prefixes);
  if (byte != 0x0f) return Opcode{.map = Map::kPrimary, .byte = byte};
  byte = cursor.next();
  if (byte == 0x38) return Opcode{.map = Map::k38, .byte = cursor.next()};
  if (byte == 0x3a) return Opcode{.map = Map::k3a, .byte = cursor.next()};
  return Opcode{.map = Map::kSecondary, .byte = byte};
}

u8 shape_of(const Opcode& opcode) {
  switch (opcode.map) {
    case Map::kPrimary:
      return kPrimaryMap[opcode.byte];
    case Map::kSecondary:
      return kSecondaryMap[opcode.byte];
    case Map::k38:
    case Map::kVex2:
    case Map::kEvex5:
    case Map::kEvex6:
      return kModrm;
    case Map::k3a:
    case Map::kVex3:
      return kModrm | kImm8;
    case Map::kVex1:
      if (opcode.byte == 0x77) return kNone;
      if (opcode.byte < 0x10 || (opcode.byte >= 0x80 && opcode.byte <= 0x8f)) return kInvalid;
      // The others keep the shape of the opcode they extend, apart from the holes that only VEX and EVEX
      // fill.
      if (kSecondaryMap[opcode.byte] == kInvalid || kSecondaryMap[opcode.byte] == kNone) return kModrm;
      return kSecondaryMap[opcode.byte];
  }
  return kInvalid;
}

// Reads ModRM, SIB and displacement. Notes a PC-relative displacement's place in `instruction`.
u8 read_modrm(Cursor& cursor, const Opcode& opcode, Instruction& instruction) {
  u8 modrm = cursor.next();
  u8 mod = modrm >> 6;
  u8 rm = modrm & 7;
  // Moves to and from control and debug registers take registers whatever mod says.
  if (mod == 3 || (opcode.map == Map::kSecondary && opcode.byte >= 0x20 && opcode.byte <= 0x23)) return modrm;
  if (rm == 4) {
    u8 base = cursor.next() & 7;
    if (mod == 0 && base == 5) cursor.skip(4);
  } else if (mod == 0 && rm == 5) {
    instruction.pc_relative = static_cast<u8>(cursor.at);
    cursor.skip(4);
  }
  if (mod == 1) cursor.skip(1);
  if (mod == 2) cursor.skip(4);
  return modrm;
}

void skip_immediates(Cursor& cursor, u8 shape, const Prefixes& prefixes) {
  bool wide = prefixes.rex & 8;
  size_t z = prefixes.operand_size && !wide ? 2 : 4;
  if (shape & kImm16) cursor.skip(2);
  if (shape & kImm8) cursor.skip(1);
  if (shape & kImmZ) cursor.skip(z);
  if (shape & kImmV) cursor.skip(wide ? 8 : z);
  if (shape & kOffset) cursor.skip(prefixes.address_size ? 4 : 8);
  if (shape & kRelative) cursor.skip(4);
}

void set_branch(Instruction& instruction, Flow flow, u8 field) {
  instruction.flow = flow;
  instruction.branch_field = field;
  instruction.movable = flow == Flow::kJump || flow == Flow::kBranch;
}

// What a primary-map opcode does to control flow. False for what is no instruction.
bool classify_primary(u8 opcode, u8 modrm, const Prefixes& prefixes, Instruction& in) {
  u8 reg = (modrm >> 3) & 7;
  if (opcode >= 0x70 && opcode <= 0x7f) {
    set_branch(in, Flow::kBranch, 1);
    return true;
  }
  switch (opcode) {
    case 0x8d:
      return (modrm >> 6) != 3;
    case 0x8f:
      return reg == 0;  // else AMD's XOP
    case 0x90:
      in.no_operation = !(prefixes.rex & 1) && prefixes.repeat == 0;
      return true;
    case 0xc2:
    case 0xc3:
      in.flow = Flow::kReturn;
      return true;
    case 0xc6:
      if (modrm == 0xf8) in.movable = false;  // xabort
      return reg == 0 || modrm == 0xf8;
    case 0xc7:
      if (modrm == 0xf8) set_branch(in, Flow::kShortOnly, 4);  // xbegin
      return reg == 0 || modrm == 0xf8;
    case 0xca:
    case 0xcb:
    case 0xcf:
      in.flow = Flow::kReturn;
      in.movable = false;
      return true;
    case 0xcc:
    case 0xf4:
      in.flow = Flow::kStop;
      return true;
    case 0xcd:
      in.flow = Flow::kSystem;
      in.movable = false;
      if (in.length == 2 && modrm == 0x80) in.site = abi::kSiteInt80;
      return true;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
      set_branch(in, Flow::kShortOnly, 1);
      return true;
    case 0xe8:
      set_branch(in, Flow::kCall, 4);
      return true;
    case 0xe9:
      set_branch(in, Flow::kJump, 4);
      return true;
    case 0xeb:
      set_branch(in, Flow::kJump, 1);
      return true;
    case 0xf1:
      in.movable = false;
      return true;
    case 0xfe:
      return reg <= 1;
    case 0xff:
      if (reg == 2 || reg == 3) {
        in.flow = Flow::kIndirectCall;
        in.movable = false;
      } else if (reg == 4 || reg == 5) {
        in.flow = Flow::kIndirectJump;
        in.movable = reg == 4;
      }
      return reg != 7;
    default:
      return true;
  }
}

void classify_secondary(u8 opcode, u8 modrm, const Prefixes& prefixes, Instruction& in) {
  bool bare = !prefixes.any && prefixes.rex == 0;
  if (opcode >= 0x80 && opcode <= 0x8f) {
    set_branch(in, Flow::kBranch, 4);
    return;
  }
  switch (opcode) {
    case 0x05:
    case 0x34:
      in.flow = Flow::kSystem;
      in.movable = false;
      if (bare) in.site = opcode == 0x05 ? abi::kSiteSyscall : abi::kSiteSysenter;
      break;
    case 0x07:
    case 0x35:
      in.flow = Flow::kStop, in.movable = false;
      break;
    case 0x0b:
    case 0xb9:
    case 0xff:
      in.flow = Flow::kStop;
      break;
    case 0x1e:
      in.landing_mark = prefixes.repeat == 0xf3 && (modrm == 0xfa || modrm == 0xfb);
      break;
    case 0x1f:
      in.no_operation = true;
      break;
    case 0xa2:
      if (bare) in.site = abi::kSiteCpuid;
      break;
    case 0x31:
      if (bare) in.site = abi::kSiteRdtsc;
      break;
    case 0x01:
      if (bare && modrm == 0xf9) in.site = abi::kSiteRdtscp;
      if (modrm >= 0xc0 && modrm != 0xf9 && modrm != 0xd0)
        in.movable = false;  // all kinds of system instructions
      break;
    default:
      break;
  }
}

// Is it `cmp $-4095, %rax`, as code checks a system call's result by, or the like? (dietlibc knows 132
// errors.)
bool compares_with_error(const Opcode& opcode, u32 immediate, const Prefixes& prefixes) {
  constexpr u32 kLowest = 0xfffff000;
  return opcode.map == Map::kPrimary && opcode.byte == 0x3d && !prefixes.any && immediate >= kLowest;
}

// Does it put a value into eax or rax, in one of the ways compilers and people load a system call's number?
// This tells likely sites from data, so arithmetic, which random bytes are full of, does not count.
bool sets_eax(const Opcode& opcode, u8 modrm, u32 immediate, const Prefixes& prefixes) {
  constexpr u32 kMostNumbers = 1024;
  if (opcode.map != Map::kPrimary) return false;
  bool rm_is_eax = (modrm & 0xc7) == 0xc0 && !(prefixes.rex & 1);
  bool reg_is_eax = (modrm & 0x38) == 0 && !(prefixes.rex & 4);
  switch (opcode.byte) {
    case 0xb8:
      return !(prefixes.rex & 1) && immediate < kMostNumbers;
    case 0xc7:
      return rm_is_eax && immediate < kMostNumbers;
    case 0x58:
      return !(prefixes.rex & 1);
    case 0x8b:
    case 0x8d:
    case 0x63:
      return reg_is_eax;
    case 0x89:
      return rm_is_eax;
    case 0x31:
    case 0x33:
      return modrm == 0xc0 && !(prefixes.rex & 5);
    default:
      return false;
  }
}

}  // namespace

bool decode(Bytes bytes, u64 address, Instruction& in) {
  u8 copy[kMostRead];
  Cursor cursor{.bytes = bytes.data()};
  if (bytes.size() < kMostRead) [[unlikely]] {
    std::fill(std::copy(bytes.begin(), bytes.end(), copy), std::end(copy), u8{0});
    cursor.bytes = copy;
  }
  in = Instruction{};
  in.address = address;
  in.movable = true;
  Prefixes prefixes = read_prefixes(cursor);
  std::optional<Opcode> opcode = read_opcode(cursor, prefixes);
  if (!opcode) return false;
  u8 shape = shape_of(*opcode);
  if (shape & kInvalid) return false;

  u8 modrm = 0;
  if (shape & kModrm) {
    modrm = read_modrm(cursor, *opcode, in);
    if (opcode->map == Map::kPrimary && (modrm & 0x30) == 0) {  // test has an immediate, its neighbours none
      if (opcode->byte == 0xf6) shape |= kImm8;
      if (opcode->byte == 0xf7) shape |= kImmZ;
    }
  } else {
    modrm = cursor.peek();  // int's operand
  }
  if (shape & ~kModrm) skip_immediates(cursor, shape, prefixes);
  if (cursor.at > std::min<size_t>(bytes.size(), kLongestInstruction)) return false;
  in.length = static_cast<u8>(cursor.at);

  if (opcode->map == Map::kPrimary && !classify_primary(opcode->byte, modrm, prefixes, in)) return false;
  if (opcode->map == Map::kSecondary) classify_secondary(opcode->byte, modrm, prefixes, in);
  u32 immediate = in.length > 4 ? static_cast<u32>(cursor.s32_at(in.length - 4)) : 0;
  in.sets_number = sets_eax(*opcode, modrm, immediate, prefixes);
  in.checks_result = compares_with_error(*opcode, immediate, prefixes);

  if (in.branch_field == 1)
    in.target = in.end() + static_cast<u64>(static_cast<s8>(cursor.bytes[in.length - 1]));
  if (in.branch_field == 4) in.target = in.end() + static_cast<u64>(s64{cursor.s32_at(in.length - 4)});
  if (in.pc_relative) in.target = in.end() + static_cast<u64>(s64{cursor.s32_at(in.pc_relative)});
  // Prefixes on branches are hints or oddities that processors differ on; a 32-bit PC-relative address wraps.
  if (in.branch_field && (prefixes.any || prefixes.rex)) in.movable = false;
  if (in.pc_relative && prefixes.address_size) in.movable = false;
  return true;
}

}  // namespace teacup::rewrite::isa
