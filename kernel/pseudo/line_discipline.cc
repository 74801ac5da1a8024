// Bytes from the line go through receive_byte(): signals and flow control first, then editing of the
// unfinished line, then echo and storing. In canonical mode the buffer is |finished lines|line being edited|,
// and a bit marks the byte that ends each line; ^D ends one with a NUL that the reader does not get. Echo
// goes out at once, through the same processing as output, as far as the line has room; the rest waits in a
// ring of its own and is lost only when that is full, as on Linux.
#include "kernel/pseudo/line_discipline.h"

#include <algorithm>

#include "kernel/abi/signal.h"

namespace teacup::pseudo {

namespace {

bool is_control(u8 c) {
  return c < 0x20 || c == 0x7f;
}
bool is_alphanumeric(u8 c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}
u8 lower(u8 c) {
  return c >= 'A' && c <= 'Z' ? static_cast<u8>(c + 32) : c;
}
u8 upper(u8 c) {
  return c >= 'a' && c <= 'z' ? static_cast<u8>(c - 32) : c;
}

}  // namespace

abi::Termios default_termios() {
  abi::Termios termios{};
  termios.iflag = abi::kICRNL | abi::kIXON;
  termios.oflag = abi::kOPOST | abi::kONLCR;
  termios.cflag = abi::kB38400 | abi::kCS8 | abi::kCREAD | abi::kHUPCL;
  termios.lflag = abi::kISIG | abi::kICANON | abi::kECHO | abi::kECHOE | abi::kECHOK | abi::kECHOCTL |
                  abi::kECHOKE | abi::kIEXTEN;
  constexpr u8 kKeys[] = {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0};
  std::copy(std::begin(kKeys), std::end(kKeys), termios.cc);
  return termios;
}

bool LineDiscipline::ends_line(u64 position) const {
  u64 at = position % kBufferSize;
  return (line_ends_[at / 64] >> (at % 64) & 1) != 0;
}

void LineDiscipline::set_ends_line(u64 position, bool ends) {
  u64 at = position % kBufferSize;
  u64 bit = u64{1} << (at % 64);
  line_ends_[at / 64] = ends ? line_ends_[at / 64] | bit : line_ends_[at / 64] & ~bit;
}

void LineDiscipline::set_termios(const abi::Termios& termios) {
  bool was_canonical = canonical();
  termios_ = termios;
  if (was_canonical != canonical()) {
    line_ends_.fill(0);
    // Bytes that came in raw mode are a finished line for a canonical reader.
    line_start_ = canonical() ? head_ : tail_;
    if (canonical() && head_ != tail_) set_ends_line(head_ - 1, true);
    literal_next_ = erasing_ = false;
  }
  if (stopped_ && !has_input(abi::kIXON)) start();
}

// --- From the line.

size_t LineDiscipline::receive(std::span<const u8> bytes) {
  size_t done = 0;
  for (u8 c : bytes) {
    bool full = free_bytes() < (has_input(abi::kPARMRK) ? 2 : 1);
    // A full buffer makes the line wait, unless it holds nothing but one unfinished line: then only the key
    // that ends it can help, and store() drops others.
    if (full && !(canonical() && line_start_ == tail_)) break;
    receive_byte(c);
    done++;
  }
  return done;
}

void LineDiscipline::receive_byte(u8 c) {
  if (has_input(abi::kISTRIP)) c &= 0x7f;
  if (has_input(abi::kIUCLC) && has_local(abi::kIEXTEN)) c = lower(c);
  if (has_local(abi::kEXTPROC)) {
    store(c);
    return;
  }
  if (literal_next_) {
    literal_next_ = false;
  } else {
    if (receive_control(c)) return;
    if (c == '\r') {
      if (has_input(abi::kIGNCR)) return;
      if (has_input(abi::kICRNL)) c = '\n';
    } else if (c == '\n' && has_input(abi::kINLCR)) {
      c = '\r';
    }
    if (canonical() && receive_edit(c)) return;
  }
  if (has_local(abi::kECHO)) {
    finish_erasing();
    if (c == '\n') {
      echo_raw('\n');
    } else {
      if (line_start_ == head_) line_column_ = column_;
      echo(c);
    }
  }
  if (c == 0xff && has_input(abi::kPARMRK)) store(c);
  store(c);
}

// Flow control and signals, in all modes. True: the byte is spent.
bool LineDiscipline::receive_control(u8 c) {
  if (has_input(abi::kIXON)) {
    if (is_key(c, abi::kVSTART)) {
      start();
      return true;
    }
    if (is_key(c, abi::kVSTOP)) {
      stop();
      return true;
    }
  }
  if (has_local(abi::kISIG)) {
    int signal = 0;
    if (is_key(c, abi::kVINTR)) signal = abi::kSIGINT;
    if (is_key(c, abi::kVQUIT)) signal = abi::kSIGQUIT;
    if (is_key(c, abi::kVSUSP)) signal = abi::kSIGTSTP;
    if (signal != 0) {
      raise(signal, c);
      return true;
    }
  }
  if (stopped_ && has_input(abi::kIXON) && has_input(abi::kIXANY)) start();
  return false;
}

void LineDiscipline::raise(int signal, u8 c) {
  if (!has_local(abi::kNOFLSH)) {
    flush_input();
    echo_tail_ = echo_head_;
    line_.flush_output();
  }
  line_.raise(signal);
  if (has_input(abi::kIXON)) start();
  if (has_local(abi::kECHO)) echo(c);
}

// Keys of canonical mode. True: the byte is spent.
bool LineDiscipline::receive_edit(u8 c) {
  bool extended = has_local(abi::kIEXTEN);
  if (is_key(c, abi::kVERASE) || is_key(c, abi::kVKILL) || (extended && is_key(c, abi::kVWERASE))) {
    erase(c);
    return true;
  }
  if (extended && is_key(c, abi::kVLNEXT)) {
    literal_next_ = true;
    if (has_local(abi::kECHO)) {
      finish_erasing();
      if (has_local(abi::kECHOCTL)) {
        echo_raw('^');
        echo_raw('\b');
      }
    }
    return true;
  }
  if (extended && has_local(abi::kECHO) && is_key(c, abi::kVREPRINT)) {
    reprint();
    return true;
  }
  if (c == '\n') {
    if (has_local(abi::kECHO) || has_local(abi::kECHONL)) echo_raw('\n');
    end_line(c);
    return true;
  }
  if (is_key(c, abi::kVEOF)) {
    end_line(abi::kVDISABLE);
    return true;
  }
  if (is_key(c, abi::kVEOL) || (extended && is_key(c, abi::kVEOL2))) {
    if (has_local(abi::kECHO)) {
      if (line_start_ == head_) line_column_ = column_;
      echo(c);
    }
    end_line(c);
    return true;
  }
  return false;
}

void LineDiscipline::end_line(u8 c) {
  if (head_ - tail_ >= kBufferSize) return;
  set_ends_line(head_, true);
  byte_at(head_++) = c;
  line_start_ = head_;
}

void LineDiscipline::store(u8 c) {
  if (free_bytes() == 0) {
    if (has_input(abi::kIMAXBEL)) put_echo('\a');
    return;
  }
  set_ends_line(head_, false);
  byte_at(head_++) = c;
  if (!canonical()) line_start_ = tail_;
}

void LineDiscipline::flush_input() {
  head_ = line_start_ = tail_ = 0;
  line_ends_.fill(0);
  literal_next_ = erasing_ = false;
  line_.input_flushed();
}

// --- Editing.

void LineDiscipline::erase(u8 key) {
  if (head_ == line_start_) return;
  bool kill = is_key(key, abi::kVKILL);
  bool word = !kill && !is_key(key, abi::kVERASE);
  if (kill) {
    if (!has_local(abi::kECHO)) {
      head_ = line_start_;
      return;
    }
    if (!has_local(abi::kECHOK) || !has_local(abi::kECHOKE) || !has_local(abi::kECHOE)) {
      head_ = line_start_;
      finish_erasing();
      echo(key);
      if (has_local(abi::kECHOK)) echo_raw('\n');
      return;
    }
  }
  bool seen_word = false;
  while (head_ != line_start_) {
    u64 start = head_;
    u8 c;
    do {
      c = byte_at(--start);
    } while (has_input(abi::kIUTF8) && (c & 0xc0) == 0x80 && start != line_start_);
    if (word) {
      bool in_word = is_alphanumeric(c) || c == '_';
      if (!in_word && seen_word) break;
      seen_word = seen_word || in_word;
    }
    head_ = start;
    if (has_local(abi::kECHO)) echo_erased(c, start, !kill && !word);
    if (!kill && !word) break;
  }
  if (head_ == line_start_ && has_local(abi::kECHO)) finish_erasing();
}

void LineDiscipline::echo_erased(u8 c, u64 position, bool single) {
  if (has_local(abi::kECHOPRT)) {
    if (!erasing_) echo_raw('\\');
    erasing_ = true;
    echo(c);
    return;
  }
  if (single && !has_local(abi::kECHOE)) {
    echo(termios_.cc[abi::kVERASE]);
    return;
  }
  bool carets = has_local(abi::kECHOCTL);
  if (c == '\t') {
    // Back to the column before the tab: what stands between it and the previous tab, or the line's start.
    u32 width = 0;
    bool after_tab = false;
    for (u64 at = position; at != line_start_ && !after_tab;) {
      u8 before = byte_at(--at);
      if (before == '\t') {
        after_tab = true;
      } else if (is_control(before)) {
        width += carets ? 2 : 0;
      } else if (!has_input(abi::kIUTF8) || (before & 0xc0) != 0x80) {
        width++;
      }
    }
    if (!after_tab) width += line_column_;
    for (u32 back = 8 - (width & 7); back > 0; back--) echo_raw('\b');
    return;
  }
  int cells = is_control(c) ? (carets ? 2 : 0) : 1;
  for (; cells > 0; cells--) {
    echo_raw('\b');
    echo_raw(' ');
    echo_raw('\b');
  }
}

void LineDiscipline::finish_erasing() {
  if (!erasing_) return;
  echo_raw('/');
  erasing_ = false;
}

void LineDiscipline::reprint() {
  finish_erasing();
  echo(termios_.cc[abi::kVREPRINT]);
  echo_raw('\n');
  for (u64 at = line_start_; at != head_; at++) echo(byte_at(at));
}

// --- Echo and output.

void LineDiscipline::echo(u8 c) {
  if (has_local(abi::kECHOCTL) && is_control(c) && c != '\t') {
    echo_raw('^');
    echo_raw(c ^ 0x40);
    return;
  }
  echo_raw(c);
}

void LineDiscipline::echo_raw(u8 c) {
  u8 out[8];
  size_t size = process(c, out);
  for (size_t i = 0; i < size; i++) put_echo(out[i]);
}

void LineDiscipline::put_echo(u8 c) {
  if (echo_head_ == echo_tail_ && !stopped_ && line_.output_room() > 0) {
    line_.output(&c, 1);
    return;
  }
  if (echo_head_ - echo_tail_ < kEchoSize) echo_buffer_[echo_head_++ % kEchoSize] = c;
}

void LineDiscipline::output_drained() {
  if (stopped_) return;
  while (echo_head_ != echo_tail_) {
    size_t at = echo_tail_ % kEchoSize;
    size_t size = std::min<size_t>({echo_head_ - echo_tail_, kEchoSize - at, line_.output_room()});
    if (size == 0) return;
    line_.output(&echo_buffer_[at], size);
    echo_tail_ += size;
  }
}

size_t LineDiscipline::process(u8 c, std::span<u8, 8> out) {
  out[0] = c;
  if (!has_output(abi::kOPOST)) return 1;
  switch (c) {
    case '\n':
      if (has_output(abi::kONLRET)) column_ = 0;
      if (has_output(abi::kONLCR)) {
        out[0] = '\r';
        out[1] = '\n';
        column_ = line_column_ = 0;
        return 2;
      }
      line_column_ = column_;
      return 1;
    case '\r':
      if (has_output(abi::kONOCR) && column_ == 0) return 0;
      if (has_output(abi::kOCRNL)) {
        out[0] = '\n';
        if (has_output(abi::kONLRET)) column_ = line_column_ = 0;
        return 1;
      }
      column_ = line_column_ = 0;
      return 1;
    case '\t': {
      u32 spaces = 8 - (column_ & 7);
      column_ += spaces;
      if ((termios_.oflag & abi::kTABDLY) != abi::kTAB3) return 1;
      std::fill_n(out.begin(), spaces, u8{' '});
      return spaces;
    }
    case '\b':
      if (column_ > 0) column_--;
      return 1;
    default:
      if (has_output(abi::kOLCUC)) out[0] = upper(c);
      if (!is_control(c) && !(has_input(abi::kIUTF8) && (c & 0xc0) == 0x80)) column_++;
      return 1;
  }
}

bool LineDiscipline::writable() const {
  return !stopped_ && echo_head_ == echo_tail_ && line_.output_room() >= 8;
}

Result<size_t> LineDiscipline::write(IoSource& from) {
  output_drained();
  size_t done = 0;
  while (from.remaining() > 0) {
    size_t room = line_.output_room();
    if (!writable()) break;
    u8 in[256], out[sizeof in + 8];
    size_t widest = !has_output(abi::kOPOST) ? 1 : (termios_.oflag & abi::kTABDLY) == abi::kTAB3 ? 8 : 2;
    size_t most = std::min(room, sizeof in) / widest;
    auto taken = from.take(in, std::min(most, from.remaining()));
    if (!taken.ok() && done == 0) return taken.error();
    if (!taken.ok()) break;
    size_t size = 0;
    for (size_t i = 0; i < taken.value(); i++) size += process(in[i], std::span<u8, 8>(out + size, 8));
    line_.output(out, size);
    done += taken.value();
  }
  if (done == 0 && from.remaining() > 0) return Errno::AGAIN;
  return done;
}

void LineDiscipline::stop() {
  if (stopped_) return;
  stopped_ = true;
  line_.flow_changed(true);
}

void LineDiscipline::start() {
  if (!stopped_) return;
  stopped_ = false;
  output_drained();
  line_.flow_changed(false);
}

// --- To the reader.

bool LineDiscipline::can_read(size_t enough) const {
  if (canonical()) return line_start_ != tail_;
  return head_ - tail_ >= enough;
}

size_t LineDiscipline::input_count() const {
  if (!canonical()) return head_ - tail_;
  size_t count = 0;
  for (u64 at = tail_; at != line_start_; at++) {
    if (!ends_line(at) || buffer_[at % kBufferSize] != abi::kVDISABLE) count++;
  }
  return count;
}

Result<size_t> LineDiscipline::read(IoDest& to, Patience patience) {
  return canonical() ? read_line(to) : read_raw(to, patience);
}

Result<size_t> LineDiscipline::read_line(IoDest& to) {
  if (line_start_ == tail_) return Errno::AGAIN;
  size_t done = 0;
  while (tail_ != line_start_ && to.remaining() > 0) {
    u64 end = tail_;
    u64 limit = std::min<u64>(line_start_, tail_ + std::min<u64>(to.remaining(), kBufferSize));
    limit = std::min(limit, tail_ + kBufferSize - tail_ % kBufferSize);
    while (end != limit && !ends_line(end)) end++;
    bool ended = end != limit;
    bool end_of_file = ended && byte_at(end) == abi::kVDISABLE;
    u64 size = end - tail_ + (ended && !end_of_file ? 1 : 0);
    if (size > 0) done += TRY(to.put(&byte_at(tail_), size));
    tail_ += size + (end_of_file ? 1 : 0);
    if (ended) break;
  }
  return done;
}

Result<size_t> LineDiscipline::read_raw(IoDest& to, Patience patience) {
  u64 available = head_ - tail_;
  bool waits = termios_.cc[abi::kVMIN] > 0 || termios_.cc[abi::kVTIME] > 0;
  if (available == 0) {
    if (waits && patience != Patience::kTimedOut) return Errno::AGAIN;
    return size_t{0};
  }
  size_t enough = termios_.cc[abi::kVMIN] > 0 ? std::min(minimum(), to.remaining()) : 1;
  if (patience == Patience::kWait && available < enough) return Errno::AGAIN;
  size_t done = 0;
  while (tail_ != head_ && to.remaining() > 0) {
    u64 size = std::min<u64>({head_ - tail_, kBufferSize - tail_ % kBufferSize, to.remaining()});
    size_t copied = TRY(to.put(&byte_at(tail_), size));
    tail_ += copied;
    done += copied;
    if (copied < size) break;
  }
  line_start_ = tail_;
  return done;
}

}  // namespace teacup::pseudo
