"""Many sockets at once and in turn, and peers that misbehave: nothing hangs, and the machine's memory in use returns to
where it was."""

import unittest

import harness

PYTHON = harness.IMAGE.parent / "python.erofs"

# What the scripts share. used(): KiB of the machine's memory in use.
COMMON = """
import errno, os, resource, select, signal, socket, sys, threading, time
def used():
    with open('/proc/meminfo') as f:
        info = {line.split(':')[0]: int(line.split()[1]) for line in f}
    return info['MemTotal'] - info['MemFree']
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
def listener(family):
    s = socket.socket(family)
    s.bind(('127.0.0.1', 0) if family == socket.AF_INET else '\\0load')
    s.listen(4096)
    return s
def connected(family, l):
    c = socket.socket(family)
    c.connect(l.getsockname())
    return c, l.accept()[0]
FAMILIES = (socket.AF_INET, socket.AF_UNIX)
def returns(what, before, slack=256):
    after = used()
    print(what, 'returns' if after <= before + slack else f'leaks: {before} KiB before, {after} after', flush=True)
"""

MANY = """
def many(family, count):
    l, ends, events = listener(family), [], select.epoll()
    for _ in range(count):
        c, s = connected(family, l)
        ends.append((c, s))
        events.register(s, select.EPOLLIN)
    for c, s in ends[::7]:
        c.send(b'x' * 3000)
    left = len(ends[::7])
    while left:
        for fd, _ in events.poll(10):
            assert len(os.read(fd, 4000)) == 3000
            left -= 1
    for pair in ends:
        for end in pair:
            end.close()
for family in FAMILIES:
    many(family, 10000)  # tables grow once
    before = used()
    many(family, 10000)
    returns(family.name, before)
"""

TURNS = """
def turns(family, count):
    l = listener(family)
    for i in range(count):
        c, s = connected(family, l)
        c.send(b'ping')
        assert s.recv(4) == b'ping'
        for end in (c, s) if i % 2 else (s, c):
            end.close()
for family in FAMILIES:
    turns(family, 1000)
    before = used()
    turns(family, 100000)
    returns(family.name, before)
"""

SLOW_READER = """
for family in FAMILIES:
    l = listener(family)
    def round():
        c, s = connected(family, l)
        c.setblocking(False)
        sent = 0
        try:
            while True:
                sent += c.send(b'y' * 65536)
        except BlockingIOError:
            pass
        held = sent
        c.setblocking(True)
        def rest():
            c.sendall(b'y' * (8000000 - sent))
            c.shutdown(socket.SHUT_WR)
        writer = threading.Thread(target=rest)
        writer.start()
        got = 0
        while data := s.recv(100000):
            got += len(data)
        writer.join()
        c.close(); s.close()
        return held, got
    round()
    before = used()
    held, got = round()
    print(family.name, held < 8000000, got)
    returns(family.name, before)
"""

# The far end is killed with data on the way both ways, while this one writes and polls.
PEER_DIES = """
for family in FAMILIES:
    l = listener(family)
    def round():
        child = os.fork()
        if child == 0:
            c = socket.socket(family)
            c.connect(l.getsockname())
            c.send(b'z' * 100000, socket.MSG_DONTWAIT)
            signal.pause()
        s = l.accept()[0]
        events = select.poll()
        events.register(s, select.POLLIN | select.POLLRDHUP)
        s.recv(10)
        killer = threading.Timer(0.05, os.kill, (child, signal.SIGKILL))
        killer.start()
        how = 'sent'
        try:
            while True:
                s.sendall(b'w' * 65536)
        except (BrokenPipeError, ConnectionResetError):
            how = 'noticed'
        killer.join()
        assert events.poll(1000)
        os.waitpid(child, 0)
        s.close()
        return how
    for _ in range(5):
        round()
    before = used()
    print(family.name, {round() for _ in range(20)})
    returns(family.name, before)
"""

NO_MORE_DESCRIPTORS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (50, limit))
for family in FAMILIES:
    l, held = listener(family), []
    client = socket.socket(family)
    try:
        while True:
            held.append(socket.socket(family))
    except OSError as error:
        print(family.name, error.errno == errno.EMFILE)
    client.connect(l.getsockname())
    try:
        l.accept()
    except OSError as error:
        print(error.errno == errno.EMFILE)
    held.pop().close()
    s = l.accept()[0]  # it has waited
    client.send(b'x')
    print(s.recv(1))
    for end in (*held, client, s, l):
        end.close()
"""

NO_MORE_MEMORY = """
for family in FAMILIES:
    l, ends, how = listener(family), [], set()
    before = used()
    try:
        for _ in range(20000):
            c, s = connected(family, l)
            ends.append((c, s))
            c.setblocking(False)
            try:
                while True:
                    c.send(b'v' * 65536)
            except BlockingIOError:
                pass
    except OSError as error:
        how.add(error.errno)
    print(family.name, how <= {errno.ENOBUFS, errno.ENOMEM} and len(how) == 1)
    ends.clear()
    try:
        del c, s
    except NameError:
        pass
    returns(family.name, before, 2048)
    c, s = connected(family, l)
    c.send(b'again')
    print(s.recv(5))
    c.close(); s.close(); l.close()
"""


# A flood of datagrams: each receiver takes what its buffer holds, and more receivers are made until there is no memory.
# Of UDP what exceeds a buffer is dropped.
DATAGRAM_FLOOD = """
def pair(family):
    if family == socket.AF_UNIX:
        return socket.socketpair(family, socket.SOCK_DGRAM)
    s, c = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', 0))
    c.connect(s.getsockname())
    return c, s
DATA = b'v' * 8000
def fill(c, most):
    for sent in range(most):
        try:
            c.send(DATA, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return sent
    return most
for family in (socket.AF_INET, socket.AF_UNIX):
    def flood():
        ends, how, sent = [], set(), []
        try:
            for _ in range(20000):
                ends.append(pair(family))
                sent.append(fill(ends[-1][0], 40))
        except OSError as error:
            how.add(error.errno)
        ends.pop()  # room for the interpreter
        # What was sent is there, also now; and what it held can be sent anew.
        first = ends[0]
        assert first[1].recv(10000) == DATA
        got = 1
        try:
            while first[1].recv(10000, socket.MSG_DONTWAIT):
                got += 1
        except BlockingIOError:
            pass
        first[0].send(b'once more')
        assert first[1].recv(100) == b'once more'
        return how, got, sent[0]
    warm = [pair(family) for _ in range(1000)]  # more than there will be: Python has its memory before it is short
    del warm
    before = used()
    how, got, sent = flood()
    print(family.name, how <= {errno.ENOBUFS, errno.ENOMEM} and len(how) == 1, 10 < got <= sent <= 40)
    returns(family.name, before, 2048)
    c, s = pair(family)
    c.send(b'again')
    print(s.recv(5))
    c.close(); s.close()
"""


@unittest.skipUnless(PYTHON.exists(), f"there is no {PYTHON}: make it with scripts/images python")
class Sockets(unittest.TestCase):
    def prints(self, script, expected, *options):
        result = harness.run("python3", "-c", COMMON + script, image=PYTHON, options=options, timeout=120)
        self.assertEqual((result.status, result.out.splitlines(), result.err), (0, expected, ""))

    def test_ten_thousand_at_once(self):
        self.prints(MANY, ["AF_INET returns", "AF_UNIX returns"])

    def test_two_hundred_thousand_in_turn(self):
        self.prints(TURNS, ["AF_INET returns", "AF_UNIX returns"])

    def test_a_slow_reader_holds_its_writer(self):
        self.prints(SLOW_READER, ["AF_INET True 8000000", "AF_INET returns", "AF_UNIX True 8000000", "AF_UNIX returns"])

    def test_a_peer_that_is_killed(self):
        self.prints(PEER_DIES, ["AF_INET {'noticed'}", "AF_INET returns", "AF_UNIX {'noticed'}", "AF_UNIX returns"])

    def test_no_more_descriptors(self):
        self.prints(NO_MORE_DESCRIPTORS, ["AF_INET True", "True", "b'x'", "AF_UNIX True", "True", "b'x'"])

    def test_no_more_memory(self):
        self.prints(NO_MORE_MEMORY, ["AF_INET True", "AF_INET returns", "b'again'", "AF_UNIX True", "AF_UNIX returns", "b'again'"],
                    "-m", "256m")

    def test_a_flood_of_datagrams(self):
        self.prints(DATAGRAM_FLOOD, ["AF_INET True True", "AF_INET returns", "b'again'",
                                     "AF_UNIX True True", "AF_UNIX returns", "b'again'"], "-m", "96m")


if __name__ == "__main__":
    unittest.main()
