// --trace: signals, their sets and details.
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"

namespace teacup::show {

namespace {

#define N TEACUP_NAME
constexpr Name kSignals[] = {
    N(SIGHUP),  N(SIGINT),    N(SIGQUIT), N(SIGILL),   N(SIGTRAP), N(SIGABRT), N(SIGBUS),  N(SIGFPE),
    N(SIGKILL), N(SIGUSR1),   N(SIGSEGV), N(SIGUSR2),  N(SIGPIPE), N(SIGALRM), N(SIGTERM), N(SIGSTKFLT),
    N(SIGCHLD), N(SIGCONT),   N(SIGSTOP), N(SIGTSTP),  N(SIGTTIN), N(SIGTTOU), N(SIGURG),  N(SIGXCPU),
    N(SIGXFSZ), N(SIGVTALRM), N(SIGPROF), N(SIGWINCH), N(SIGIO),   N(SIGPWR),  N(SIGSYS)};
constexpr Names kSignal{kSignals};

constexpr Name kHows[] = {N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK)};
constexpr Names kHow{kHows, ~u64{0}, {}, "SIG_???"};
constexpr Name kActionBits[] = {N(SA_RESTORER),  N(SA_ONSTACK), N(SA_RESTART),   N(SA_NODEFER),
                                N(SA_RESETHAND), N(SA_SIGINFO), N(SA_NOCLDSTOP), N(SA_NOCLDWAIT)};
constexpr Names kAction{{}, 0, kActionBits, "SA_???"};
constexpr Name kStackBits[] = {N(SS_ONSTACK), N(SS_DISABLE), {0x80000000, "SS_AUTODISARM"}};
constexpr Names kStack{{}, 0, kStackBits, "SS_???"};

// si_code: these for all signals, and those for each of some.
constexpr Name code(s32 value, std::string_view name) {
  return {static_cast<u32>(value), name};
}
constexpr Name kCodes[] = {N(SI_USER),
                           N(SI_KERNEL),
                           code(abi::kSI_QUEUE, "SI_QUEUE"),
                           code(abi::kSI_TIMER, "SI_TIMER"),
                           code(abi::kSI_MESGQ, "SI_MESGQ"),
                           code(abi::kSI_ASYNCIO, "SI_ASYNCIO"),
                           code(abi::kSI_SIGIO, "SI_SIGIO"),
                           code(abi::kSI_TKILL, "SI_TKILL")};
constexpr Names kAnyCode{kCodes, ~u64{0}};
constexpr Name kChildCodes[] = {N(CLD_EXITED),  N(CLD_KILLED),  N(CLD_DUMPED),
                                N(CLD_TRAPPED), N(CLD_STOPPED), N(CLD_CONTINUED)};
constexpr Names kChildCode{kChildCodes, ~u64{0}};
constexpr Name kSegvCodes[] = {N(SEGV_MAPERR), N(SEGV_ACCERR), N(SEGV_BNDERR), N(SEGV_PKUERR)};
constexpr Names kSegvCode{kSegvCodes, ~u64{0}};
constexpr Name kBusCodes[] = {N(BUS_ADRALN), N(BUS_ADRERR), N(BUS_OBJERR), N(BUS_MCEERR_AR),
                              N(BUS_MCEERR_AO)};
constexpr Names kBusCode{kBusCodes, ~u64{0}};
constexpr Name kFpeCodes[] = {N(FPE_INTDIV), N(FPE_INTOVF), N(FPE_FLTDIV), N(FPE_FLTOVF),
                              N(FPE_FLTUND), N(FPE_FLTRES), N(FPE_FLTINV), N(FPE_FLTSUB)};
constexpr Names kFpeCode{kFpeCodes, ~u64{0}};
constexpr Name kIllCodes[] = {N(ILL_ILLOPC), N(ILL_ILLOPN), N(ILL_ILLADR), N(ILL_ILLTRP),
                              N(ILL_PRVOPC), N(ILL_PRVREG), N(ILL_COPROC), N(ILL_BADSTK)};
constexpr Names kIllCode{kIllCodes, ~u64{0}};
constexpr Name kTrapCodes[] = {N(TRAP_BRKPT), N(TRAP_TRACE), N(TRAP_BRANCH), N(TRAP_HWBKPT)};
constexpr Names kTrapCode{kTrapCodes, ~u64{0}};
#undef N

const Names* codes_of(s32 signo) {
  switch (signo) {
    case abi::kSIGCHLD:
      return &kChildCode;
    case abi::kSIGSEGV:
      return &kSegvCode;
    case abi::kSIGBUS:
      return &kBusCode;
    case abi::kSIGFPE:
      return &kFpeCode;
    case abi::kSIGILL:
      return &kIllCode;
    case abi::kSIGTRAP:
      return &kTrapCode;
    default:
      return nullptr;
  }
}

bool is_own_code(const abi::SigInfo& info) {
  return info.code > 0 && info.code < abi::kSI_KERNEL;
}

void code_name(TextBuffer& text, const abi::SigInfo& info) {
  u32 value = static_cast<u32>(info.code);
  const Names* own = is_own_code(info) ? codes_of(info.signo) : nullptr;
  std::string_view name = choice(own != nullptr ? *own : kAnyCode, value);
  if (name.empty()) {
    text.dec(info.code);
  } else {
    text.add(name);
  }
}

void value_of(TextBuffer& text, abi::SigVal value) {
  text.add(", si_value={sival_int=").dec(value.int_value).add(", sival_ptr=");
  pointer(text, value.pointer);
  text.add('}');
}

void child_status(TextBuffer& text, const abi::SigInfo& info) {
  if (info.code == abi::kCLD_EXITED) {
    text.dec(info.child.status);
  } else {
    signal(text, info.child.status);
  }
}

// What si_code says there is.
void details(TextBuffer& text, const abi::SigInfo& info) {
  if (is_own_code(info)) {
    switch (info.signo) {
      case abi::kSIGCHLD:
        text.add(", si_pid=").dec(info.child.pid).add(", si_uid=").udec(info.child.uid).add(", si_status=");
        child_status(text, info);
        text.add(", si_utime=").dec(info.child.utime).add(", si_stime=").dec(info.child.stime);
        return;
      case abi::kSIGSEGV:
      case abi::kSIGBUS:
      case abi::kSIGFPE:
      case abi::kSIGILL:
      case abi::kSIGTRAP:
        text.add(", si_addr=");
        return pointer(text, info.fault.address);
      case abi::kSIGSYS:
        text.add(", si_call_addr=");
        pointer(text, info.sys.call_address);
        text.add(", si_syscall=").dec(info.sys.syscall);
        return;
      default:
        return;
    }
  }
  switch (info.code) {
    case abi::kSI_USER:
    case abi::kSI_TKILL:
      text.add(", si_pid=").dec(info.rt.pid).add(", si_uid=").udec(info.rt.uid);
      return;
    case abi::kSI_QUEUE:
    case abi::kSI_MESGQ:
      text.add(", si_pid=").dec(info.rt.pid).add(", si_uid=").udec(info.rt.uid);
      return value_of(text, info.rt.value);
    case abi::kSI_TIMER:
      text.add(", si_timerid=0x").hex(static_cast<u32>(info.timer.timer_id));
      text.add(", si_overrun=").dec(info.timer.overrun);
      return value_of(text, info.timer.value);
    default:
      return;
  }
}

void print_signal(CallText& call, u32 index, const Printer&) {
  signal(call.text, static_cast<s32>(call.registers[index]));
}
void print_set_in(CallText& call, u32 index, const Printer&) {
  abi::SigSet set = 0;
  if (read_or_pointer(call.text, call.registers[index], &set, sizeof set)) signal_set(call.text, set);
}
void print_set_out(CallText& call, u32 index, const Printer&) {
  abi::SigSet set = 0;
  if (filled_or_pointer(call, index, &set, sizeof set)) signal_set(call.text, set);
}

}  // namespace

void signal(TextBuffer& text, s32 number) {
  std::string_view name = number > 0 ? choice(kSignal, static_cast<u32>(number)) : std::string_view();
  if (!name.empty()) {
    text.add(name);
  } else if (number == abi::kSIGRTMIN) {
    text.add("SIGRTMIN");
  } else if (number > abi::kSIGRTMIN && number <= abi::kNSIG) {
    text.add("SIGRT_").dec(number - abi::kSIGRTMIN);
  } else {
    text.dec(number);
  }
}

// More than two thirds of all are shown by what is missing: ~[KILL STOP].
void signal_set(TextBuffer& text, u64 set) {
  if (__builtin_popcountll(set) >= abi::kNSIG * 2 / 3) {
    text.add('~');
    set = ~set;
  }
  text.add('[');
  for (bool first = true; set != 0; set &= set - 1, first = false) {
    if (!first) text.add(' ');
    size_t start = text.length();
    signal(text, __builtin_ctzll(set) + 1);
    // Without the SIG.
    char name[16];
    std::string_view whole = text.text().substr(start);
    size_t length = whole.copy(name, sizeof name, 3);
    text.cut(start);
    text.add({name, length});
  }
  text.add(']');
}

void signal_info(TextBuffer& text, const abi::SigInfo& info) {
  if (info.signo == 0) {
    text.add("{}");
    return;
  }
  text.add("{si_signo=");
  signal(text, info.signo);
  text.add(", si_code=");
  code_name(text, info);
  if (info.error != 0) text.add(", si_errno=").dec(info.error);
  details(text, info);
  text.add('}');
}

void structure(TextBuffer& text, const abi::SigInfo& value) {
  signal_info(text, value);
}

void structure(TextBuffer& text, const abi::SigAction& value) {
  text.add("{sa_handler=");
  if (value.handler == abi::kSIG_DFL) {
    text.add("SIG_DFL");
  } else if (value.handler == abi::kSIG_IGN) {
    text.add("SIG_IGN");
  } else {
    pointer(text, value.handler);
  }
  text.add(", sa_mask=");
  signal_set(text, value.mask);
  text.add(", sa_flags=");
  names(text, kAction, value.flags);
  if ((value.flags & abi::kSA_RESTORER) != 0) {
    text.add(", sa_restorer=");
    pointer(text, value.restorer);
  }
  text.add('}');
}

void structure(TextBuffer& text, const abi::SigAltStack& value) {
  text.add("{ss_sp=");
  pointer(text, value.sp);
  text.add(", ss_flags=");
  names(text, kStack, static_cast<u32>(value.flags));
  text.add(", ss_size=").udec(value.size).add('}');
}

void structure(TextBuffer& text, const SelectMask& value) {
  text.add("{sigmask=");
  abi::SigSet set = 0;
  if (read_or_pointer(text, value.mask, &set, sizeof set)) signal_set(text, set);
  text.add(", sigsetsize=").udec(value.size).add('}');
}

constinit const Printer signal_number{&print_signal};
constinit const Printer signal_set_in{&print_set_in};
constinit const Printer signal_set_out{&print_set_out, nullptr, true};
constinit const Printer mask_how = named(kHow);

}  // namespace teacup::show
