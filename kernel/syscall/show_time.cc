// --trace: clocks and timers, and waiting on many files.
#include "kernel/abi/ipc.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"

namespace teacup::show {

namespace {

#define N TEACUP_NAME
constexpr Name kClocks[] = {N(CLOCK_REALTIME),          N(CLOCK_MONOTONIC),     N(CLOCK_PROCESS_CPUTIME_ID),
                            N(CLOCK_THREAD_CPUTIME_ID), N(CLOCK_MONOTONIC_RAW), N(CLOCK_REALTIME_COARSE),
                            N(CLOCK_MONOTONIC_COARSE),  N(CLOCK_BOOTTIME),      N(CLOCK_REALTIME_ALARM),
                            N(CLOCK_BOOTTIME_ALARM),    N(CLOCK_SGI_CYCLE),     N(CLOCK_TAI)};
constexpr Names kClock{kClocks, ~u64{0}, {}, "CLOCK_???"};
constexpr Name kTimerBits[] = {N(TIMER_ABSTIME)};
constexpr Names kTimerFlags{{}, 0, kTimerBits, "TIMER_???"};
constexpr Name kItimers[] = {N(ITIMER_REAL), N(ITIMER_VIRTUAL), N(ITIMER_PROF)};
constexpr Names kItimer{kItimers, ~u64{0}, {}, "ITIMER_???"};
constexpr Name kTimerfdBits[] = {N(TFD_CLOEXEC), N(TFD_NONBLOCK)};
constexpr Names kTimerfd{{}, 0, kTimerfdBits, "TFD_???"};
constexpr Name kTimerfdSetBits[] = {N(TFD_TIMER_ABSTIME), N(TFD_TIMER_CANCEL_ON_SET)};
constexpr Names kTimerfdSet{{}, 0, kTimerfdSetBits, "TFD_???"};
constexpr Name kNotifies[] = {N(SIGEV_SIGNAL), N(SIGEV_NONE), N(SIGEV_THREAD), N(SIGEV_THREAD_ID)};
constexpr Names kNotify{kNotifies, ~u64{0}, {}, "SIGEV_???"};

constexpr Name kPollBits[] = {N(POLLIN),     N(POLLPRI),    N(POLLOUT),  N(POLLRDNORM), N(POLLWRNORM),
                              N(POLLRDBAND), N(POLLWRBAND), N(POLLERR),  N(POLLHUP),    N(POLLNVAL),
                              N(POLLREMOVE), N(POLLMSG),    N(POLLRDHUP)};
constexpr Names kPoll{{}, 0, kPollBits, "POLL???"};
constexpr Name kEpollBits[] = {N(EPOLLIN),        N(EPOLLPRI),     N(EPOLLOUT),    N(EPOLLRDNORM),
                               N(EPOLLRDBAND),    N(EPOLLWRNORM),  N(EPOLLWRBAND), N(EPOLLMSG),
                               N(EPOLLERR),       N(EPOLLHUP),     N(EPOLLRDHUP),  N(EPOLLWAKEUP),
                               N(EPOLLEXCLUSIVE), N(EPOLLONESHOT), N(EPOLLET)};
constexpr Names kEpoll{{}, 0, kEpollBits, "EPOLL???"};
constexpr Name kEpollOperations[] = {N(EPOLL_CTL_ADD), N(EPOLL_CTL_DEL), N(EPOLL_CTL_MOD)};
constexpr Names kEpollOperation{kEpollOperations, ~u64{0}, {}, "EPOLL_CTL_???"};
constexpr Name kEpollCreateBits[] = {N(EPOLL_CLOEXEC)};
constexpr Names kEpollCreate{{}, 0, kEpollCreateBits, "EPOLL_???"};
#undef N

// What nanosleep(2) fills in when it is interrupted.
void print_remaining(CallText& call, u32 index, const Printer&) {
  abi::Timespec left;
  bool interrupted = call.result == -static_cast<s64>(Errno::INTR) ||
                     call.result == -static_cast<s64>(Errno::RESTART_RESTARTBLOCK);
  if (!interrupted) return pointer(call.text, call.registers[index]);
  if (read_or_pointer(call.text, call.registers[index], &left, sizeof left)) structure(call.text, left);
}

void print_timer_id(CallText& call, u32 index, const Printer&) {
  s32 id = 0;
  if (filled_or_pointer(call, index, &id, sizeof id)) call.text.add('[').dec(id).add(']');
}

void print_poll_files(CallText& call, u32 index, const Printer&) {
  u32 count = static_cast<u32>(call.registers[index + 1]);
  array<abi::PollFd>(call.text, call.registers[index], count, [](TextBuffer& text, const abi::PollFd& file) {
    text.add("{fd=").dec(file.fd);
    if (file.fd >= 0) {
      text.add(", events=");
      names(text, kPoll, static_cast<u16>(file.events));
    }
    text.add('}');
  });
}

// = 1 ([{fd=3, revents=POLLIN}]), = 0 (Timeout)
void note_poll_files(CallText& call, u32 index) {
  TextBuffer& text = call.text;
  if (call.failed()) return;
  if (call.result == 0) {
    text.add(" (Timeout)");
    return;
  }
  u32 count = static_cast<u32>(call.registers[index + 1]);
  text.add(" ([");
  u64 shown = 0;
  for (u32 i = 0; i < count && shown < kLongestShown; i++) {
    abi::PollFd file;
    if (!copy_from_guest(&file, call.registers[index] + i * sizeof file, sizeof file).ok()) break;
    if (file.revents == 0) continue;
    text.add(shown++ == 0 ? "{fd=" : ", {fd=").dec(file.fd).add(", revents=");
    names(text, kPoll, static_cast<u16>(file.revents));
    text.add('}');
  }
  text.add("])");
}

// A descriptor set: only as many as the call's first argument says are looked at. Guest words, so a part that
// cannot be read ends it.
constexpr u32 kSetWords = 16;  // FD_SETSIZE
u32 read_set(const CallText& call, u32 index, u64 (&words)[kSetWords]) {
  u32 count = static_cast<u32>(call.registers[0]);
  if (count > kSetWords * 64) count = kSetWords * 64;
  size_t size = (count + 63) / 64 * sizeof(u64);
  if (call.registers[index] == 0 || !copy_from_guest(words, call.registers[index], size).ok()) return ~u32{0};
  return count;
}
void members(TextBuffer& text, const u64 (&words)[kSetWords], u32 count) {
  text.add('[');
  bool first = true;
  for (u32 fd = 0; fd < count; fd++) {
    if ((words[fd / 64] >> fd % 64 & 1) == 0) continue;
    if (!first) text.add(' ');
    text.udec(fd);
    first = false;
  }
  text.add(']');
}
void print_descriptor_set(CallText& call, u32 index, const Printer&) {
  u64 words[kSetWords];
  u32 count = read_set(call, index, words);
  if (count == ~u32{0}) return pointer(call.text, call.registers[index]);
  members(call.text, words, count);
}
// = 2 (in [3], out [4]), = 0 (Timeout). Opened by the first note that has something to say and closed by the
// timeout's, which comes last.
void begin_select_note(CallText& call) {
  call.text.add(call.remembered == 0 ? " (" : ", ");
  call.remembered = 1;
}
void note_descriptor_set(CallText& call, u32 index) {
  if (call.failed() || call.result == 0) return;
  u64 words[kSetWords];
  u32 count = read_set(call, index, words);
  if (count == ~u32{0}) return;
  bool any = false;
  for (u32 fd = 0; fd < count; fd++) any = any || (words[fd / 64] >> fd % 64 & 1) != 0;
  if (!any) return;
  begin_select_note(call);
  call.text.add(index == 1 ? "in " : index == 2 ? "out " : "except ");
  members(call.text, words, count);
}
template <typename Time>
void print_timeout(CallText& call, u32 index, const Printer&) {
  Time time;
  if (read_or_pointer(call.text, call.registers[index], &time, sizeof time)) structure(call.text, time);
}
template <typename Time>
void note_timeout(CallText& call, u32 index) {
  if (call.failed()) return;
  if (call.result == 0) {
    call.text.add(" (Timeout)");
    return;
  }
  Time left;
  if (call.registers[index] != 0 && copy_from_guest(&left, call.registers[index], sizeof left).ok()) {
    begin_select_note(call);
    call.text.add("left ");
    structure(call.text, left);
  }
  if (call.remembered != 0) call.text.add(')');
}
// ppoll(2): its files have said the rest.
void note_pselect_timeout(CallText& call, u32 index) {
  bool is_ppoll = index == 2;
  if (!is_ppoll) note_timeout<abi::Timespec>(call, index);
}

void print_epoll_events(CallText& call, u32 index, const Printer&) {
  if (call.failed()) return pointer(call.text, call.registers[index]);
  array<abi::EpollEvent>(call.text, call.registers[index], static_cast<u64>(call.result),
                         [](TextBuffer& text, const abi::EpollEvent& event) { structure(text, event); });
}

}  // namespace

void structure(TextBuffer& text, const abi::Timespec& value) {
  text.add("{tv_sec=").dec(value.tv_sec).add(", tv_nsec=").dec(value.tv_nsec).add('}');
}
void structure(TextBuffer& text, const abi::Timeval& value) {
  text.add("{tv_sec=").dec(value.tv_sec).add(", tv_usec=").dec(value.tv_usec).add('}');
}
void structure(TextBuffer& text, const abi::Timezone& value) {
  text.add("{tz_minuteswest=").dec(value.minutes_west).add(", tz_dsttime=").dec(value.dst_time).add('}');
}
void structure(TextBuffer& text, const abi::ITimerspec& value) {
  text.add("{it_interval=");
  structure(text, value.interval);
  text.add(", it_value=");
  structure(text, value.value);
  text.add('}');
}
void structure(TextBuffer& text, const abi::ITimerval& value) {
  text.add("{it_interval=");
  structure(text, value.interval);
  text.add(", it_value=");
  structure(text, value.value);
  text.add('}');
}

void structure(TextBuffer& text, const TimerEvent& value) {
  text.add("{sigev_value={sival_int=").dec(value.value.int_value).add(", sival_ptr=");
  pointer(text, value.value.pointer);
  text.add("}, sigev_signo=");
  signal(text, value.signal);
  text.add(", sigev_notify=");
  names(text, kNotify, static_cast<u32>(value.notify));
  if (value.notify == abi::kSIGEV_THREAD_ID) text.add(", sigev_notify_thread_id=").dec(value.thread_id);
  text.add('}');
}

void structure(TextBuffer& text, const abi::EpollEvent& value) {
  text.add("{events=");
  names(text, kEpoll, value.events);
  text.add(", data=");
  // Programs keep a number or a pointer there.
  u64 data = value.data;
  text.add("{u32=").udec(data & 0xffffffff).add(", u64=").udec(data).add("}}");
}

constinit const Printer clock_id = named(kClock);
constinit const Printer timer_flags = named(kTimerFlags);
constinit const Printer itimer_kind = named(kItimer);
constinit const Printer remaining{&print_remaining, nullptr, true};
constinit const Printer timer_id_out{&print_timer_id, nullptr, true};
constinit const Printer timerfd_flags = named(kTimerfd);
constinit const Printer timerfd_set_flags = named(kTimerfdSet);
constinit const Printer poll_files{&print_poll_files, nullptr, false, nullptr, &note_poll_files};
constinit const Printer descriptor_set{&print_descriptor_set, nullptr, false, nullptr, &note_descriptor_set};
constinit const Printer select_timeout{&print_timeout<abi::Timeval>, nullptr, false, nullptr,
                                       &note_timeout<abi::Timeval>};
constinit const Printer pselect_timeout{&print_timeout<abi::Timespec>, nullptr, false, nullptr,
                                        &note_pselect_timeout};
constinit const Printer epoll_flags = named(kEpollCreate);
constinit const Printer epoll_operation = named(kEpollOperation);
constinit const Printer epoll_events{&print_epoll_events, nullptr, true};

}  // namespace teacup::show
