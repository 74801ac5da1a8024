// Structures that calls take and fill in, as --trace shows them.
#pragma once

#include "kernel/syscall/families.h"
#include "kernel/syscall/show.h"

namespace teacup::show {

void structure(TextBuffer& text, const abi::Stat& value);
void structure(TextBuffer& text, const abi::Statx& value);
void structure(TextBuffer& text, const abi::Statfs& value);
void structure(TextBuffer& text, const abi::OpenHow& value);
void structure(TextBuffer& text, const abi::Timespec& value);
void structure(TextBuffer& text, const abi::Timeval& value);
void structure(TextBuffer& text, const abi::Timezone& value);
void structure(TextBuffer& text, const abi::ITimerspec& value);
void structure(TextBuffer& text, const abi::ITimerval& value);
void structure(TextBuffer& text, const TimerEvent& value);
void structure(TextBuffer& text, const abi::Rlimit& value);
void structure(TextBuffer& text, const abi::Rusage& value);
void structure(TextBuffer& text, const abi::Tms& value);
void structure(TextBuffer& text, const abi::Utsname& value);
void structure(TextBuffer& text, const abi::Sysinfo& value);
void structure(TextBuffer& text, const abi::SchedParam& value);
void structure(TextBuffer& text, const abi::SigAction& value);
void structure(TextBuffer& text, const abi::SigAltStack& value);
void structure(TextBuffer& text, const abi::SigInfo& value);
void structure(TextBuffer& text, const abi::EpollEvent& value);
void structure(TextBuffer& text, const SelectMask& value);
void structure(TextBuffer& text, const abi::MsgHdr& value);

}  // namespace teacup::show
