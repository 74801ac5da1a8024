#include "host/debug/call_frame.h"

#include <vector>

#include "rewrite/dwarf_reader.h"

namespace teacup::host {

namespace {

using rewrite::Bytes;
using rewrite::DwarfReader;

// DW_CFA_*: what the two high bits say, then the rest.
enum : u8 {
  kAdvanceLoc = 1,
  kOffset = 2,
  kRestore = 3,
  kNop = 0x00,
  kSetLoc = 0x01,
  kAdvanceLoc1 = 0x02,
  kAdvanceLoc2 = 0x03,
  kAdvanceLoc4 = 0x04,
  kOffsetExtended = 0x05,
  kRestoreExtended = 0x06,
  kUndefined = 0x07,
  kSameValue = 0x08,
  kRegister = 0x09,
  kRememberState = 0x0a,
  kRestoreState = 0x0b,
  kDefCfa = 0x0c,
  kDefCfaRegister = 0x0d,
  kDefCfaOffset = 0x0e,
  kDefCfaExpression = 0x0f,
  kExpression = 0x10,
  kOffsetExtendedSf = 0x11,
  kDefCfaSf = 0x12,
  kDefCfaOffsetSf = 0x13,
  kValOffset = 0x14,
  kValOffsetSf = 0x15,
  kValExpression = 0x16,
  kGnuArgsSize = 0x2e,
};

struct Rule {
  enum Kind : u8 {
    kSame,
    kUndefined,
    kAtCfa,
    kIsCfa,
    kInRegister,
    kAtExpression,
    kIsExpression
  } kind = kSame;
  s64 offset = 0;  // or the register's number
  Bytes expression;
};

struct Row {
  std::array<Rule, std::tuple_size_v<Registers>> rules;
  u64 cfa_register = 0;
  s64 cfa_offset = 0;
  Bytes cfa_expression;
};

struct Cie {
  u64 code_alignment = 1;
  s64 data_alignment = 1;
  u64 return_register = kRegisterPc;
  u8 pointer_encoding = 0;
  bool augmented = false;
  Bytes program;
};

constexpr unsigned kLongestExpression = 256;

// A DWARF expression on a small stack. Nothing for operations that unwind tables do not use.
class Expression {
 public:
  Expression(const Registers& registers, const ReadMemory& read) : registers_(registers), read_(read) {}

  std::optional<u64> evaluate(Bytes bytes, std::optional<u64> start = std::nullopt) {
    stack_.clear();
    if (start) stack_.push_back(*start);
    DwarfReader in(bytes, 0);
    for (unsigned steps = 0; in.at() < bytes.size(); steps++) {
      if (steps == kLongestExpression || !operation(in) || in.failed || stack_.size() > 64)
        return std::nullopt;
    }
    return pop();
  }

 private:
  std::optional<u64> pop() {
    if (stack_.empty()) return std::nullopt;
    u64 value = stack_.back();
    stack_.pop_back();
    return value;
  }

  bool binary(u64 (*f)(u64, u64)) {
    auto b = pop(), a = pop();
    if (!a || !b) return false;
    stack_.push_back(f(*a, *b));
    return true;
  }

  bool push_register(u64 number, s64 offset) {
    if (number >= registers_.size()) return false;
    stack_.push_back(registers_[number] + static_cast<u64>(offset));
    return true;
  }

  bool operation(DwarfReader& in) {
    u8 op = in.get<u8>();
    if (op >= 0x30 && op <= 0x4f) {  // lit
      stack_.push_back(op - 0x30u);
      return true;
    }
    if (op >= 0x70 && op <= 0x8f) return push_register(op - 0x70u, in.sleb());  // breg
    switch (op) {
      case 0x06: {  // deref
        auto address = pop();
        auto value = address ? read_(*address) : std::nullopt;
        if (value) stack_.push_back(*value);
        return value.has_value();
      }
      case 0x08:
        stack_.push_back(in.get<u8>());
        return true;
      case 0x09:
        stack_.push_back(static_cast<u64>(s64{in.get<s8>()}));
        return true;
      case 0x0a:
        stack_.push_back(in.get<u16>());
        return true;
      case 0x0b:
        stack_.push_back(static_cast<u64>(s64{in.get<s16>()}));
        return true;
      case 0x0c:
        stack_.push_back(in.get<u32>());
        return true;
      case 0x0d:
        stack_.push_back(static_cast<u64>(s64{in.get<s32>()}));
        return true;
      case 0x10:
        stack_.push_back(in.uleb());
        return true;
      case 0x11:
        stack_.push_back(static_cast<u64>(in.sleb()));
        return true;
      case 0x12:  // dup
        if (stack_.empty()) return false;
        stack_.push_back(stack_.back());
        return true;
      case 0x13:  // drop
        return pop().has_value();
      case 0x1a:
        return binary([](u64 a, u64 b) { return a & b; });
      case 0x1c:
        return binary([](u64 a, u64 b) { return a - b; });
      case 0x1e:
        return binary([](u64 a, u64 b) { return a * b; });
      case 0x22:
        return binary([](u64 a, u64 b) { return a + b; });
      case 0x23: {  // plus_uconst
        auto a = pop();
        if (a) stack_.push_back(*a + in.uleb());
        return a.has_value();
      }
      case 0x24:
        return binary([](u64 a, u64 b) { return b < 64 ? a << b : 0; });
      case 0x2a:
        return binary([](u64 a, u64 b) { return u64{static_cast<s64>(a) >= static_cast<s64>(b)}; });
      case 0x92: {  // bregx
        u64 number = in.uleb();
        return push_register(number, in.sleb());
      }
      default:
        return false;
    }
  }

  const Registers& registers_;
  const ReadMemory& read_;
  std::vector<u64> stack_;
};

std::optional<Cie> parse_cie(const rewrite::ElfObject& object, u64 address) {
  DwarfReader in(object.from(address), address);
  u32 length = in.get<u32>();
  u64 begin = in.at();
  in.get<u32>();
  u8 version = in.get<u8>();
  std::string augmentation;
  for (char c; augmentation.size() < 16 && (c = static_cast<char>(in.get<u8>())) != 0;) augmentation += c;
  Cie cie;
  cie.code_alignment = in.uleb();
  cie.data_alignment = in.sleb();
  cie.return_register = version == 1 ? in.get<u8>() : in.uleb();
  if (!augmentation.empty() && augmentation[0] == 'z') {
    cie.augmented = true;
    u64 size = in.uleb();
    u64 end = in.at() + size;
    for (char c : augmentation.substr(1)) {
      if (c == 'L') in.get<u8>();
      if (c == 'R') cie.pointer_encoding = in.get<u8>();
      if (c == 'P') in.pointer(in.get<u8>() & static_cast<u8>(~rewrite::kIndirect));
    }
    if (in.at() < end) in.skip(end - in.at());
  }
  if (in.failed || in.at() > begin + length) return std::nullopt;
  cie.program = object.at(address + in.at(), begin + length - in.at());
  return cie;
}

// Runs call frame instructions up to where the row for `target` is known.
class Program {
 public:
  Program(const Cie& cie, u64 location, u64 target) : cie_(cie), location_(location), target_(target) {}

  bool run(Bytes program, u64 address, const Row* initial) {
    DwarfReader in(program, address);
    while (in.at() < program.size() && location_ <= target_) {
      if (!instruction(in, program, initial) || in.failed) return false;
    }
    return true;
  }

  Row row;

 private:
  Rule* rule(u64 number) { return number < row.rules.size() ? &row.rules[number] : &ignored_; }

  void set(u64 number, Rule::Kind kind, s64 offset) { *rule(number) = {kind, offset, {}}; }

  Bytes block(DwarfReader& in, Bytes program) {
    u64 size = in.uleb();
    u64 at = in.at();
    in.skip(size);
    return in.failed || at > program.size() || size > program.size() - at ? Bytes{}
                                                                          : program.subspan(at, size);
  }

  bool advance(u64 delta) {
    location_ += delta * cie_.code_alignment;
    return true;
  }

  s64 factored(u64 value) const { return static_cast<s64>(value) * cie_.data_alignment; }

  bool instruction(DwarfReader& in, Bytes program, const Row* initial) {
    u8 op = in.get<u8>();
    u8 low = op & 0x3f;
    switch (op >> 6) {
      case kAdvanceLoc:
        return advance(low);
      case kOffset:
        set(low, Rule::kAtCfa, factored(in.uleb()));
        return true;
      case kRestore:
        if (initial && low < row.rules.size()) row.rules[low] = initial->rules[low];
        return true;
      default:
        return extended(low, in, program, initial);
    }
  }

  bool extended(u8 op, DwarfReader& in, Bytes program, const Row* initial) {
    u64 number = 0;
    switch (op) {
      case kNop:
        return true;
      case kSetLoc:
        location_ = in.pointer(cie_.pointer_encoding);
        return true;
      case kAdvanceLoc1:
        return advance(in.get<u8>());
      case kAdvanceLoc2:
        return advance(in.get<u16>());
      case kAdvanceLoc4:
        return advance(in.get<u32>());
      case kRestoreExtended:
        number = in.uleb();
        if (initial && number < row.rules.size()) row.rules[number] = initial->rules[number];
        return true;
      case kOffsetExtended:
        number = in.uleb();
        set(number, Rule::kAtCfa, factored(in.uleb()));
        return true;
      case kOffsetExtendedSf:
        number = in.uleb();
        set(number, Rule::kAtCfa, in.sleb() * cie_.data_alignment);
        return true;
      case kValOffset:
        number = in.uleb();
        set(number, Rule::kIsCfa, factored(in.uleb()));
        return true;
      case kValOffsetSf:
        number = in.uleb();
        set(number, Rule::kIsCfa, in.sleb() * cie_.data_alignment);
        return true;
      case kUndefined:
        set(in.uleb(), Rule::kUndefined, 0);
        return true;
      case kSameValue:
        set(in.uleb(), Rule::kSame, 0);
        return true;
      case kRegister:
        number = in.uleb();
        set(number, Rule::kInRegister, static_cast<s64>(in.uleb()));
        return true;
      case kExpression:
      case kValExpression:
        number = in.uleb();
        *rule(number) = {op == kExpression ? Rule::kAtExpression : Rule::kIsExpression, 0,
                         block(in, program)};
        return true;
      case kRememberState:
        if (remembered_.size() > 64) return false;
        remembered_.push_back(row);
        return true;
      case kRestoreState:
        if (remembered_.empty()) return false;
        row = remembered_.back();
        remembered_.pop_back();
        return true;
      case kGnuArgsSize:
        in.uleb();
        return true;
      default:
        return cfa(op, in, program);
    }
  }

  bool cfa(u8 op, DwarfReader& in, Bytes program) {
    switch (op) {
      case kDefCfa:
        row.cfa_register = in.uleb();
        row.cfa_offset = static_cast<s64>(in.uleb());
        break;
      case kDefCfaSf:
        row.cfa_register = in.uleb();
        row.cfa_offset = in.sleb() * cie_.data_alignment;
        break;
      case kDefCfaRegister:
        row.cfa_register = in.uleb();
        break;
      case kDefCfaOffset:
        row.cfa_offset = static_cast<s64>(in.uleb());
        break;
      case kDefCfaOffsetSf:
        row.cfa_offset = in.sleb() * cie_.data_alignment;
        break;
      case kDefCfaExpression:
        row.cfa_expression = block(in, program);
        return true;
      default:
        return false;
    }
    row.cfa_expression = {};
    return true;
  }

  const Cie& cie_;
  u64 location_;
  u64 target_;
  Rule ignored_;
  std::vector<Row> remembered_;
};

std::optional<u64> value_of(const Rule& rule, u64 old, u64 cfa, const Registers& registers,
                            const ReadMemory& read) {
  switch (rule.kind) {
    case Rule::kSame:
      return old;
    case Rule::kUndefined:
      return 0;
    case Rule::kAtCfa:
      return read(cfa + static_cast<u64>(rule.offset));
    case Rule::kIsCfa:
      return cfa + static_cast<u64>(rule.offset);
    case Rule::kInRegister:
      if (static_cast<u64>(rule.offset) >= registers.size()) return std::nullopt;
      return registers[static_cast<size_t>(rule.offset)];
    default: {
      auto value = Expression(registers, read).evaluate(rule.expression, cfa);
      return value && rule.kind == Rule::kAtExpression ? read(*value) : value;
    }
  }
}

}  // namespace

std::optional<Registers> caller_registers(const rewrite::ElfObject& object, const rewrite::Frame& frame,
                                          u64 pc, const Registers& registers, const ReadMemory& read) {
  DwarfReader in(object.from(frame.fde), frame.fde);
  u32 length = in.get<u32>();
  u64 begin = in.at();
  u64 here = in.address();
  auto cie = parse_cie(object, here - in.get<u32>());
  if (!cie) return std::nullopt;
  in.pointer(cie->pointer_encoding);
  in.pointer(cie->pointer_encoding & rewrite::kFormatMask);
  if (cie->augmented) {
    u64 size = in.uleb();
    in.skip(size);
  }
  if (in.failed || in.at() > begin + length) return std::nullopt;

  Program start(*cie, 0, ~u64{0});
  if (!start.run(cie->program, 0, nullptr)) return std::nullopt;
  Program program(*cie, frame.begin, pc);
  program.row = start.row;
  u64 at = frame.fde + in.at();
  if (!program.run(object.at(at, begin + length - in.at()), at, &start.row)) return std::nullopt;

  const Row& row = program.row;
  std::optional<u64> cfa;
  if (!row.cfa_expression.empty()) {
    cfa = Expression(registers, read).evaluate(row.cfa_expression);
  } else if (row.cfa_register < registers.size()) {
    cfa = registers[row.cfa_register] + static_cast<u64>(row.cfa_offset);
  }
  if (!cfa || cie->return_register >= registers.size()) return std::nullopt;
  Registers caller;
  for (size_t i = 0; i < caller.size(); i++) {
    Rule rule = row.rules[i];
    if (i == kRegisterRsp && rule.kind == Rule::kSame) rule = {Rule::kIsCfa, 0, {}};
    auto value = value_of(rule, registers[i], *cfa, registers, read);
    if (!value && i == kRegisterPc) return std::nullopt;
    caller[i] = value.value_or(0);
  }
  caller[kRegisterPc] = caller[cie->return_register];
  return caller;
}

}  // namespace teacup::host
