// Pseudo-terminals and their line discipline.
#include "tests/guest/ptys.h"

using namespace tty;

TEST(pty_pairs) {
  Pty p, q;
  CHECK(isatty(p.master) && isatty(p.slave));
  char a[64], b[64];
  ptsname_r(p.master, a, sizeof a);
  ptsname_r(q.master, b, sizeof b);
  CHECK(strncmp(a, "/dev/pts/", 9) == 0);
  CHECK(strcmp(a, b) != 0);
  CHECK_EQ(ttyname(p.slave), a);
  struct stat st;
  NEED_OK(stat(a, &st));
  CHECK(S_ISCHR(st.st_mode));
  CHECK_EQ(st.st_rdev >> 8 & 0xfff, 136);
  int pipe_fds[2];
  NEED_OK(pipe(pipe_fds));
  CHECK_ERR(ioctl(pipe_fds[0], TCGETS, nullptr), ENOTTY);
  CHECK(!isatty(pipe_fds[0]));
}

// As openpty(3) does it.
TEST(the_masters_peer_has_a_name) {
  for (const char* multiplexer : {"/dev/ptmx", "/dev/pts/ptmx"}) {
    int master = open(multiplexer, O_RDWR | O_NOCTTY);
    if (master < 0) continue;  // the one in /dev/pts may be root's alone
    NEED_OK(unlockpt(master));
    char name[64];
    NEED(ptsname_r(master, name, sizeof name) == 0);
    int slave = NEED_OK(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    CHECK_EQ(ttyname(slave), name);
    struct stat by_peer, by_name;
    NEED_OK(fstat(slave, &by_peer));
    NEED_OK(stat(name, &by_name));
    CHECK_EQ(by_peer.st_ino, by_name.st_ino);
    CHECK_EQ(by_peer.st_rdev, by_name.st_rdev);
    CHECK_EQ(by_peer.st_dev, by_name.st_dev);
    close(slave);
    close(master);
  }
}

TEST(locked_pty_does_not_open) {
  int master = NEED_OK(posix_openpt(O_RDWR | O_NOCTTY));
  char name[64];
  NEED(ptsname_r(master, name, sizeof name) == 0);
  CHECK_ERR(open(name, O_RDWR | O_NOCTTY), EIO);
  int zero = 0, locked = -1;
  NEED_OK(ioctl(master, TIOCGPTLCK, &locked));
  CHECK_EQ(locked, 1);
  NEED_OK(ioctl(master, TIOCSPTLCK, &zero));
  int slave = open(name, O_RDWR | O_NOCTTY);
  CHECK_OK(slave);
  close(master);
  CHECK_ERR(open(name, O_RDWR | O_NOCTTY), ENOENT);
  char c;
  CHECK_EQ(read(slave, &c, 1), 0);
  CHECK_ERR(write(slave, "x", 1), EIO);
}

TEST(defaults) {
  Pty p;
  termios t = attributes(p.slave);
  CHECK(t.c_lflag & ICANON);
  CHECK(t.c_lflag & ECHO);
  CHECK(t.c_lflag & ISIG);
  CHECK(t.c_iflag & ICRNL);
  CHECK(t.c_oflag & OPOST);
  CHECK(t.c_oflag & ONLCR);
  CHECK_EQ(t.c_cc[VINTR], 3);
  CHECK_EQ(t.c_cc[VEOF], 4);
  CHECK_EQ(t.c_cc[VERASE], 0x7f);
  CHECK_EQ(t.c_cc[VSUSP], 26);
  termios locked;
  locked.c_iflag = 1;
  CHECK_OK(ioctl(p.slave, TIOCGLCKTRMIOS, &locked));  // no setting is
  CHECK_EQ(locked.c_iflag, 0);
  CHECK_EQ(t.c_cc[VMIN], 1);
  CHECK_EQ(cfgetospeed(&t), B38400);
}

TEST(canonical_line) {
  Pty p;
  type(p.master, "hel");
  CHECK(!readable(p.slave));
  type(p.master, "lo\nnext");
  char b[64];
  CHECK_EQ(read(p.slave, b, sizeof b), 6);
  CHECK_EQ(std::string_view(b, 6), "hello\n");
  CHECK(!readable(p.slave));
  CHECK_EQ(drain(p.master, 11), "hello\r\nnext");  // the echo
}

TEST(canonical_short_reads) {
  Pty p;
  type(p.master, "abcdef\n");
  char b[4];
  CHECK_EQ(read(p.slave, b, 4), 4);
  CHECK_EQ(read(p.slave, b, 4), 3);
  CHECK_EQ(b[2], '\n');
}

TEST(erase_kill_werase) {
  Pty p;
  type(p.master,
       "abx\x7f"
       "c\n");
  char b[64];
  CHECK_EQ(read(p.slave, b, sizeof b), 4);
  CHECK_EQ(std::string_view(b, 4), "abc\n");
  CHECK_EQ(drain(p.master, 9), "abx\b \bc\r\n");
  type(p.master, "junk\x15ok\n");
  CHECK_EQ(read(p.slave, b, sizeof b), 3);
  type(p.master, "one two\x17three\n");
  CHECK_EQ(read(p.slave, b, sizeof b), 10);
  CHECK_EQ(std::string_view(b, 10), "one three\n");
}

TEST(eof_character) {
  Pty p;
  type(p.master, "\x04");
  char b[8];
  CHECK_EQ(read(p.slave, b, sizeof b), 0);
  type(p.master, "ab\x04");
  CHECK_EQ(read(p.slave, b, sizeof b), 2);
  type(p.master, "c\n");
  CHECK_EQ(read(p.slave, b, sizeof b), 2);
}

TEST(literal_next) {
  Pty p;
  type(p.master, "\x16\x03\n");
  char b[8];
  CHECK_EQ(read(p.slave, b, sizeof b), 2);
  CHECK_EQ(b[0], 3);
}

TEST(output_processing) {
  Pty p;
  CHECK_EQ(write(p.slave, "a\nb", 3), 3);
  CHECK_EQ(drain(p.master, 4), "a\r\nb");
  raw(p.slave);
  CHECK_EQ(write(p.slave, "a\nb", 3), 3);
  CHECK_EQ(drain(p.master, 3), "a\nb");
}

TEST(input_mapping) {
  Pty p;
  termios t = attributes(p.slave);
  t.c_lflag &= ~tcflag_t(ICANON | ECHO);
  t.c_iflag = IGNCR | INLCR;
  NEED_OK(tcsetattr(p.slave, TCSANOW, &t));
  type(p.master, "a\rb\nc");
  char b[8];
  CHECK(readable(p.slave, check::kPatience));
  CHECK_EQ(read(p.slave, b, sizeof b), 4);
  CHECK_EQ(std::string_view(b, 4), "ab\rc");
}

TEST(raw_min_and_time) {
  Pty p;
  raw(p.slave);
  termios t = attributes(p.slave);
  t.c_cc[VMIN] = 0;
  t.c_cc[VTIME] = 1;
  NEED_OK(tcsetattr(p.slave, TCSANOW, &t));
  char b[8];
  int64_t start = check::now_ns();
  CHECK_EQ(read(p.slave, b, 8), 0);
  int64_t took = check::now_ns() - start;
  CHECK(took >= 90000000);
  t.c_cc[VTIME] = 0;
  NEED_OK(tcsetattr(p.slave, TCSANOW, &t));
  CHECK_EQ(read(p.slave, b, 8), 0);
  t.c_cc[VMIN] = 3;
  NEED_OK(tcsetattr(p.slave, TCSANOW, &t));
  pid_t writer = fork();
  if (writer == 0) {
    for (int i = 0; i < 3; i++) {
      check::sleep_ms(5);
      type(p.master, "x");
    }
    _exit(0);
  }
  CHECK_EQ(read(p.slave, b, 8), 3);
  status_of(writer);
}

TEST(bytes_waiting_and_nonblock) {
  Pty p;
  raw(p.slave);
  type(p.master, "12345");
  CHECK(readable(p.slave, check::kPatience));
  int n = 0;
  CHECK_OK(ioctl(p.slave, FIONREAD, &n));
  CHECK_EQ(n, 5);
  drain(p.slave, 5);
  fcntl(p.slave, F_SETFL, O_NONBLOCK);
  char c;
  CHECK_ERR(read(p.slave, &c, 1), EAGAIN);
  fcntl(p.master, F_SETFL, O_NONBLOCK);
  CHECK_ERR(read(p.master, &c, 1), EAGAIN);
}

TEST(tcflush) {
  Pty p;
  raw(p.slave);
  type(p.master, "stale");
  CHECK(readable(p.slave, check::kPatience));
  CHECK_OK(tcflush(p.slave, TCIFLUSH));
  CHECK(!readable(p.slave));
  CHECK_EQ(write(p.slave, "out", 3), 3);
  CHECK_OK(tcflush(p.slave, TCIOFLUSH));
  CHECK_ERR(tcflush(p.slave, 77), EINVAL);
  type(p.master, "new");
  CHECK_EQ(drain(p.slave, 3), "new");
  termios t = attributes(p.slave);
  type(p.master, "old");
  CHECK(readable(p.slave, check::kPatience));
  CHECK_OK(tcsetattr(p.slave, TCSAFLUSH, &t));
  CHECK(!readable(p.slave));
}

TEST(window_size) {
  Pty p;
  winsize w{};
  CHECK_OK(ioctl(p.slave, TIOCGWINSZ, &w));
  CHECK_EQ(w.ws_row, 0);
  w.ws_row = 33;
  w.ws_col = 99;
  CHECK_OK(ioctl(p.master, TIOCSWINSZ, &w));
  w = {};
  CHECK_OK(ioctl(p.slave, TIOCGWINSZ, &w));
  CHECK_EQ(w.ws_row, 33);
  CHECK_EQ(w.ws_col, 99);
}

TEST(packet_mode) {
  Pty p;
  int on = 1;
  CHECK_OK(ioctl(p.master, TIOCPKT, &on));
  CHECK_EQ(write(p.slave, "d", 1), 1);
  CHECK_EQ(drain(p.master, 2), std::string("\0d", 2));
}

TEST(tiocsti_is_privileged_or_gone) {
  Pty p;
  raw(p.slave);
  CHECK_EXIT(status_of(session_on(p,
                                  [&] {
                                    int r = ioctl(p.slave, TIOCSTI, "z");
                                    CHECK(r == 0 || errno == EIO || errno == EPERM);
                                  })),
             0);
}
