#include "kernel/syscall/table.h"

#include "kernel/abi/nr.h"
#include "kernel/syscall/families.h"
#include "kernel/syscall/show.h"
#include "kernel/syscall/signature.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

s64 not_implemented(Task&, const Frame&) {
  return -static_cast<s64>(Errno::NOSYS);
}
template <Errno error>
s64 denied(Task&, const Frame&) {
  return -static_cast<s64>(error);
}

template <auto handler>
constexpr SyscallEntry implemented(const char* name) {
  using S = Signature<handler>;
  return {name, &S::call, &S::kPrinters, S::kForm, S::kIsControl, true};
}

constexpr ArgumentPrinters kRaw = {&show::raw, &show::raw, &show::raw, &show::raw, &show::raw, &show::raw};
constexpr SyscallEntry unserved(const char* name, s64 (*handler)(Task&, const Frame&), bool is_listed) {
  return {name, handler, &kRaw, ResultForm::kDecimal, false, is_listed};
}

constexpr std::array<SyscallEntry, kSyscallCount + 1> make_table() {
  std::array<SyscallEntry, kSyscallCount + 1> table{};
  for (SyscallEntry& entry : table) entry = unserved(nullptr, &not_implemented, false);
#define NAMED(call) table[abi::kNR_##call].name = #call;
#include "kernel/syscall/names.def"
#undef NAMED
#define IMPLEMENTED(call) table[abi::kNR_##call] = implemented<&sys_##call>(#call);
#define DENIED(call, error) table[abi::kNR_##call] = unserved(#call, &denied<Errno::error>, true);
#include "kernel/syscall/families.def"
#undef IMPLEMENTED
#undef DENIED
  return table;
}

constexpr auto kTable = make_table();

}  // namespace

const SyscallEntry& syscall_entry_of(u64 number) {
  return kTable[number < kSyscallCount ? number : kSyscallCount];
}

}  // namespace teacup
