// The second opinion: capstone. See the essay in decode.cc.
#include <capstone/capstone.h>

#include "rewrite/isa.h"

namespace teacup::rewrite {

Disassembler::Disassembler() {
  csh handle = 0;
  if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK) return;
  cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
  cs_option(handle, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
  handle_ = handle;
  instruction_ = cs_malloc(handle);
}

Disassembler::~Disassembler() {
  if (instruction_) cs_free(static_cast<cs_insn*>(instruction_), 1);
  csh handle = handle_;
  if (handle) cs_close(&handle);
}

namespace {

bool same_flow(Flow flow, csh handle, const cs_insn* insn) {
  bool jumps = cs_insn_group(handle, insn, CS_GRP_JUMP);
  bool calls = cs_insn_group(handle, insn, CS_GRP_CALL);
  bool returns = cs_insn_group(handle, insn, CS_GRP_RET);
  switch (flow) {
    case Flow::kJump:
    case Flow::kBranch:
    case Flow::kShortOnly:
    case Flow::kIndirectJump:
      return jumps && !calls;
    case Flow::kCall:
    case Flow::kIndirectCall:
      return calls;
    case Flow::kReturn:
      return returns;
    case Flow::kNext:
      return !jumps && !calls && !returns;
    case Flow::kStop:
    case Flow::kSystem:
      return !jumps && !calls;
  }
  return false;
}

}  // namespace

bool Disassembler::confirms(const Instruction& in, Bytes bytes) {
  if (!instruction_) return false;
  auto* insn = static_cast<cs_insn*>(instruction_);
  const u8* code = bytes.data();
  size_t size = bytes.size();
  u64 address = in.address;
  if (!cs_disasm_iter(handle_, &code, &size, &address, insn)) return false;
  if (insn->size != in.length || !same_flow(in.flow, handle_, insn)) return false;
  const cs_x86& detail = insn->detail->x86;
  bool pc_relative = false;
  for (u8 i = 0; i < detail.op_count; i++) {
    const cs_x86_op& operand = detail.operands[i];
    pc_relative |=
        operand.type == X86_OP_MEM && (operand.mem.base == X86_REG_RIP || operand.mem.base == X86_REG_EIP);
    bool direct = operand.type == X86_OP_IMM && in.branch_field;
    if (direct && static_cast<u64>(operand.imm) != in.target) return false;
  }
  return pc_relative == (in.pc_relative != 0);
}

std::string Disassembler::text(Bytes bytes, u64 address, size_t* length) {
  auto* insn = static_cast<cs_insn*>(instruction_);
  const u8* code = bytes.data();
  size_t size = bytes.size();
  if (!insn || !cs_disasm_iter(handle_, &code, &size, &address, insn)) {
    if (length) *length = 1;
    return "(bad)";
  }
  if (length) *length = insn->size;
  std::string text = insn->mnemonic;
  if (insn->op_str[0]) text += std::string(" ") + insn->op_str;
  return text;
}

}  // namespace teacup::rewrite
