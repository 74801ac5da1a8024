"""The ways into the machine's network and out of it, from the host's side: sockets of this process are the peers."""

import os
import pathlib
import random
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import harness

PYTHON = harness.ROOT / "build" / "images" / "python.erofs"
if "TEACUP_IMAGE" in os.environ:
    PYTHON = harness.IMAGE.parent / "python.erofs"
SERVERS = PYTHON.parent / "servers.erofs"

# What servers in the machine share: a listener on port 7000, and a line when it is there.
SERVER = """
import socket, struct, sys, time
listener = socket.create_server(("127.0.0.1", 7000))
print("ready", flush=True)
def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
"""


def free_port():
    """One that nobody gets by asking for any port, or by connecting, before the test takes it."""
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(1024, lowest) if lowest > 2048 else random.randrange(1024, 1 << 16)
        with socket.socket() as probe, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            try:
                probe.bind(("", port))
                datagrams.bind(("", port))
                return port
            except OSError:
                pass


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


class Guest:
    """A Python script in a machine, started; its output is read by lines."""

    def __init__(self, script, options=()):
        self.process = harness.start("python3", "-c", script, options=options, image=PYTHON)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def line(self):
        text = self.process.stdout.readline().decode().strip()
        if not text:
            raise AssertionError(f"the machine has ended: {self.finish()}")
        return text

    def port(self):
        """The host's, of a machine to which any was given."""
        text = self.process.stderr.readline().decode()
        return int(re.fullmatch(r"teacup run: port 7000 of the machine is 127\.0\.0\.1:(\d+)\n", text).group(1))

    def go_on(self):
        """For a script that waits in sys.stdin.readline()."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def finish(self):
        return harness.finish(self.process)


class Published(unittest.TestCase):
    """-p"""

    def served(self, body):
        guest = Guest(SERVER + body, ["-p", "127.0.0.1::7000"])
        self.addCleanup(guest.__exit__)
        self.assertEqual(guest.line(), "ready")
        return guest, guest.port()

    def connect(self, port, host="127.0.0.1"):
        client = socket.create_connection((host, port), timeout=harness.TIMEOUT)
        self.addCleanup(client.close)
        return client

    def read_all(self, client):
        parts = []
        while part := client.recv(1 << 20):
            parts.append(part)
        return b"".join(parts)

    def test_bytes_both_ways_and_names(self):
        guest, port = self.served("""
connection, peer = listener.accept()
print(peer[0], peer[1], *connection.getsockname(), flush=True)
connection.sendall(connection.recv(100).upper())
""")
        client = self.connect(port)
        client.sendall(b"hello")
        self.assertEqual(self.read_all(client), b"HELLO")
        self.assertEqual(guest.line(), f"127.0.0.1 {client.getsockname()[1]} 127.0.0.1 7000")
        self.assertEqual(guest.finish().status, 0)

    def test_half_close(self):
        _, port = self.served("""
connection, _ = listener.accept()
data = b""
while part := connection.recv(65536): data += part
connection.sendall(str(len(data)).encode())
""")
        client = self.connect(port)
        client.sendall(bytes(3_000_000))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.read_all(client), b"3000000")

    def test_the_same_bytes(self):
        _, port = self.served("""
connection, _ = listener.accept()
while part := connection.recv(100_000): connection.sendall(part)
""")
        client = self.connect(port)
        data = os.urandom(8_000_000)

        def send():
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = self.read_all(client)
        sender.join()
        self.assertTrue(received == data)

    def test_a_reset_comes_out(self):
        _, port = self.served("connection, _ = listener.accept()\nconnection.recv(1)\nreset(connection)\ntime.sleep(1000)")
        client = self.connect(port)
        client.sendall(b"x")
        with self.assertRaises(ConnectionResetError):
            client.recv(1)

    def test_a_reset_comes_in(self):
        guest, port = self.served("""
connection, _ = listener.accept()
try:
    connection.recv(1)
except ConnectionResetError:
    print("reset", flush=True)
""")
        client = self.connect(port)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        self.assertEqual(guest.line(), "reset")

    def test_a_peer_that_dies_mid_stream(self):
        guest, port = self.served("""
connection, _ = listener.accept()
try:
    while True: connection.send(bytes(65536))
except OSError as error:
    print(type(error).__name__, flush=True)
""")
        client = self.connect(port)
        client.recv(1000)
        client.close()
        self.assertIn(guest.line(), ("ConnectionResetError", "BrokenPipeError"))

    def test_back_pressure_out_of_the_machine(self):
        guest, port = self.served("""
connection, _ = listener.accept()
connection.setblocking(False)
sent = idle = 0
while idle < 20:
    try:
        sent += connection.send(bytes(65536))
        idle = 0
    except BlockingIOError:
        time.sleep(0.02)
        idle += 1
print(sent, flush=True)
connection.setblocking(True)
connection.close()
""")
        client = self.connect(port)
        sent = int(guest.line())
        self.assertLess(sent, 64 << 20)
        self.assertEqual(len(self.read_all(client)), sent)

    def test_back_pressure_into_the_machine(self):
        guest, port = self.served("""
connection, _ = listener.accept()
sys.stdin.readline()
total = 0
while part := connection.recv(1 << 20): total += len(part)
print(total, flush=True)
""")
        client = self.connect(port)
        client.setblocking(False)
        sent = 0
        try:
            while True:
                sent += client.send(bytes(65536))
        except BlockingIOError:
            pass
        self.assertLess(sent, 64 << 20)
        guest.go_on()
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(int(guest.line()), sent)

    def test_floods_count_against_the_memory(self):
        with Guest(SERVER + """
listener.listen(1000)
connections = []
import threading
def accept():
    while True: connections.append(listener.accept()[0])
threading.Thread(target=accept, daemon=True).start()
sys.stdin.readline()
for connection in connections: connection.close()
connections.clear()
print("closed", flush=True)
time.sleep(1000)
""", ["-p", "127.0.0.1::7000", "--memory", "96M"]) as guest:
            self.assertEqual(guest.line(), "ready")
            port = guest.port()
            clients, refused = [], 0
            for _ in range(400):  # 100 MiB of rings, if all had them
                client = self.connect(port)
                clients.append(client)
                client.setblocking(False)
                try:
                    client.send(bytes(1 << 18))
                except BlockingIOError:
                    pass
                except ConnectionError:
                    refused += 1
            # Whoever had sent all before the machine noticed is told afterwards.
            deadline = time.monotonic() + harness.TIMEOUT
            while refused == 0 and time.monotonic() < deadline:
                for client in clients:
                    try:
                        client.send(b"x")
                    except BlockingIOError:
                        pass
                    except ConnectionError:
                        refused += 1
            self.assertGreater(refused, 0)
            self.assertLess(refused, 400)
            guest.go_on()
            self.assertEqual(guest.line(), "closed")
            for client in clients:
                client.close()
            again = self.connect(port)
            again.sendall(b"still here")
            self.assertIsNone(guest.process.poll())

    def test_refused_while_nobody_listens(self):
        guest, port = self.served("""
listener.close()
print("closed", flush=True)
sys.stdin.readline()
listener = socket.create_server(("", 7000))
print("again", flush=True)
connection, _ = listener.accept()
connection.sendall(b"here")
""")
        self.assertEqual(guest.line(), "closed")
        with self.assertRaises((ConnectionRefusedError, ConnectionResetError)):
            # Refused, or accepted in the last moment and reset.
            self.connect(port).recv(1)
        guest.go_on()
        self.assertEqual(guest.line(), "again")
        self.assertEqual(self.read_all(self.connect(port)), b"here")

    def test_refused_from_the_start(self):
        port = free_port()
        with Guest("import time; print('up', flush=True); time.sleep(1000)", ["-p", f"{port}:7000"]) as guest:
            self.assertEqual(guest.line(), "up")
            with self.assertRaises(ConnectionRefusedError):
                self.connect(port)

    def test_many_connections(self):
        guest, port = self.served("""
import select
poll, known, served = select.epoll(), {}, 0
listener.setblocking(False)
poll.register(listener, select.EPOLLIN)
while served < 300:
    for fd, _ in poll.poll():
        if fd == listener.fileno():
            connection, _ = listener.accept()
            known[connection.fileno()] = connection
            poll.register(connection, select.EPOLLIN)
        elif data := known[fd].recv(100):
            known[fd].sendall(data)
        else:
            known.pop(fd).close()
            served += 1
""")
        for _ in range(3):
            clients = [self.connect(port) for _ in range(100)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
            for number, client in enumerate(clients):
                self.assertEqual(client.recv(100), b"%d" % number)
                client.close()
        self.assertEqual(guest.finish().status, 0)

    def test_two_machines_with_one_port(self):
        body = "connection, _ = listener.accept()\nconnection.sendall(b'{}')\n"
        ports = [self.served(body.format(name))[1] for name in ("one", "two")]
        self.assertEqual([self.read_all(self.connect(port)) for port in ports], [b"one", b"two"])

    def test_ipv6(self):
        if not has_ipv6():
            self.skipTest("no IPv6 here")
        port = free_port()
        with Guest(SERVER + "connection, peer = listener.accept()\nprint(peer[0], flush=True)\n", ["-p", f"{port}:7000"]) as guest:
            self.assertEqual(guest.line(), "ready")
            self.connect(port, "::1")
            # The server listens on 127.0.0.1 only.
            self.assertEqual(guest.line(), "127.0.0.1")

    def test_what_was_sent_before_the_end_arrives(self):
        _, port = self.served("connection, _ = listener.accept()\nconnection.sendall(bytes(200_000))\n")
        self.assertEqual(len(self.read_all(self.connect(port))), 200_000)

    def test_any_free_port(self):
        with Guest(SERVER + "listener.accept()", ["-p", "127.0.0.1::7000"]) as guest:
            self.assertEqual(guest.line(), "ready")
            self.connect(guest.port())
            self.assertEqual(guest.finish().status, 0)

    def test_busy_ports_are_errors(self):
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            result = harness.run("true", options=["-p", f"127.0.0.1:{port}:80"])
        self.assertEqual(result.status, 125)
        self.assertIn(f"127.0.0.1 port {port} is taken", result.err)
        # By a machine in which nobody listens, too.
        with Guest("import time; print('up', flush=True); time.sleep(1000)", ["-p", f"{port}:80"]) as guest:
            self.assertEqual(guest.line(), "up")
            self.assertEqual(harness.run("true", options=["-p", f"{port}:80"]).status, 125)
        self.assertEqual(harness.run("true", options=["-p", f"{port}:80"]).status, 0)

    def test_datagrams(self):
        port = free_port()
        with Guest("""
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 7000))
print("ready", flush=True)
for _ in range(3):
    data, peer = server.recvfrom(65536)
    server.sendto(data.upper(), peer)
""", ["-p", f"{port}:7000/udp"]) as guest:
            self.assertEqual(guest.line(), "ready")
            six = (socket.AF_INET6, "::1") if has_ipv6() else (socket.AF_INET, "127.0.0.1")
            for family, host in ((socket.AF_INET, "127.0.0.1"), six, (socket.AF_INET, "127.0.0.1")):
                with socket.socket(family, socket.SOCK_DGRAM) as client:
                    client.settimeout(harness.TIMEOUT)
                    client.sendto(b"x" * 9000, (host, port))
                    self.assertEqual(client.recvfrom(65536)[0], b"X" * 9000)
            self.assertEqual(guest.finish().status, 0)

    def test_bad_values(self):
        for value in ("x:80", "80:0", "70000:1", "1-3:1-2", "80/sctp", "1.2.3:80:80", "999.1.1.1:1:1", ""):
            result = harness.run("true", options=["-p", value])
            self.assertEqual((result.status, result.out), (125, ""), value)
            self.assertIn("-p", result.err)


def host_address():
    """An address of this host that is not loopback's, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address


# What scripts in the machine share: one line for what each attempt came to.
ATTEMPTS = """
import errno, socket, struct, sys
def attempt(what, action):
    try:
        print(what, action(), flush=True)
    except socket.gaierror as error:
        print(what, "no address", flush=True)
    except OSError as error:
        print(what, errno.errorcode[error.errno] if error.errno else "timeout", flush=True)
def tcp(host, port):
    with socket.create_connection((host, port), 60) as connection:
        return connection.recv(100).decode()
def udp(host, port, connected=True):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        if connected: client.connect((host, port))
        client.send(b"hello") if connected else client.sendto(b"hello", (host, port))
        return client.recv(100).decode()
def addresses(name):
    return sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80)})
def ask(name, kind=1, stream=False):
    query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0)
    query += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + struct.pack(">BHH", 0, kind, 1)
    if stream:
        with socket.create_connection(("127.0.0.53", 53), 60) as server:
            server.sendall(struct.pack(">H", len(query)) + query)
            answer = server.recv(struct.unpack(">H", server.recv(2))[0])
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(60)
            client.connect(("127.0.0.53", 53))
            client.send(query)
            answer = client.recv(512)
    code, count = answer[3] & 15, answer[7]
    return f"code {code}, {count} answers" + (", " + ".".join(map(str, answer[-4:])) if count else "")
"""


def attempts(body, options=()):
    """The lines that a script in a machine prints, by their first word."""
    result = harness.run("python3", "-c", ATTEMPTS + body, options=options, image=PYTHON)
    if result.status != 0:
        raise AssertionError(f"status {result.status}: {result.out} {result.err}")
    return dict(line.split(" ", 1) for line in result.out.splitlines())


class Server:
    """Accepts on the host and says a word to each; counts."""

    def __init__(self, listener, word):
        self.listener, self.word, self.count = listener, word, 0
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            connection.sendall(self.word)
            connection.close()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A thread on its way into accept() would find its descriptor's next socket there, which is another test's, and
        # keep that one's port.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


def tcp_server(word, host="127.0.0.1"):
    return Server(socket.create_server((host, 0)), word)


class Redis:
    """redis-server in a machine of its own, on the port that everybody's has; spoken to from the host."""

    def __init__(self, port):
        self.port = port
        self.process = harness.start("redis-server", "--port", "6379", "--save", "", "--protected-mode", "no",
                                     options=["-p", f"127.0.0.1:{port}:6379"], image=SERVERS, stdin=subprocess.DEVNULL)

    def ask(self, *words):
        """The reply's first line; of a string, the string."""
        deadline = time.monotonic() + harness.TIMEOUT
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", self.port), timeout=harness.TIMEOUT)
                break
            except ConnectionRefusedError:  # it does not listen yet
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.02)
        with client, client.makefile("rb") as answers:
            client.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words)))
            line = answers.readline().decode().strip()
            return answers.readline().decode().strip() if line.startswith("$") and line != "$-1" else line

    def end(self):
        self.process.kill()
        self.process.communicate()


@unittest.skipUnless(SERVERS.exists(), "there is no image of servers: scripts/images servers")
class TwoMachines(unittest.TestCase):
    def test_the_same_server_on_the_same_port(self):
        machines = [Redis(free_port()) for _ in range(2)]
        for machine in machines:
            self.addCleanup(machine.end)
        for number, machine in enumerate(machines):
            self.assertEqual(machine.ask("SET", "name", f"machine {number}"), "+OK")
        self.assertEqual([machine.ask("GET", "name") for machine in machines], ["machine 0", "machine 1"])
        self.assertEqual([machine.ask("INCR", "count") for machine in machines], [":1", ":1"])


class Out(unittest.TestCase):
    """--connect, --hosts, --allow-net, --network"""

    def test_connect(self):
        with tempfile.TemporaryDirectory() as folder, tcp_server(b"tcp") as server:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(folder + "/socket")
            listener.listen()
            with Server(listener, b"unix"):
                found = attempts("""
attempt("named", lambda: tcp("service", 80))
attempt("local", lambda: tcp("local", 5432))
attempt("nobody", lambda: tcp("nobody", 1))
attempt("other-port", lambda: tcp("service", 81))
attempt("address", lambda: len(addresses("service")))
attempt("dns", lambda: ask("service"))
""", ["--connect", f"service:80=127.0.0.1:{server.port}", "--connect", f"local:5432=unix:{folder}/socket",
      "--connect", f"nobody:1=unix:{folder}/missing"])
        self.assertEqual(found, {"named": "tcp", "local": "unix", "nobody": "ECONNREFUSED", "other-port": "ECONNREFUSED",
                                 "address": "1", "dns": "code 0, 1 answers, 198.18.1.1"})

    def test_connect_to_another_machine(self):
        with Guest(SERVER + "connection, _ = listener.accept()\nconnection.sendall(b'other machine')",
                   ["-p", "127.0.0.1::7000"]) as guest:
            self.assertEqual(guest.line(), "ready")
            found = attempts('attempt("peer", lambda: tcp("peer", 7000))', ["--connect", f"peer:7000=localhost:{guest.port()}"])
        self.assertEqual(found, {"peer": "other machine"})

    def test_names(self):
        found = attempts("""
attempt("file", lambda: addresses("db"))
attempt("upper", lambda: ask("DB"))
attempt("stream", lambda: ask("db", stream=True))
attempt("other-kind", lambda: ask("db", kind=28))
attempt("unknown", lambda: ask("db.example"))
attempt("resolver", lambda: open("/etc/resolv.conf").read().strip())
""", ["--hosts", "db=10.1.2.3"])
        self.assertEqual(found, {"file": "['10.1.2.3']", "upper": "code 0, 1 answers, 10.1.2.3",
                                 "stream": "code 0, 1 answers, 10.1.2.3", "other-kind": "code 0, 0 answers",
                                 "unknown": "code 3, 0 answers", "resolver": "nameserver 127.0.0.53"})

    def test_own_nameserver(self):
        found = attempts("""
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(b"question", ("127.0.0.53", 53))
attempt("asked", lambda: server.recv(100).decode())
""", ["--hosts", "db=10.1.2.3"])
        self.assertEqual(found, {"asked": "question"})

    def test_only_what_is_allowed(self):
        host = host_address()
        if host is None:
            self.skipTest("this host has no address but loopback's")
        with tcp_server(b"yes", host) as server, tcp_server(b"no", host) as other, tempfile.NamedTemporaryFile() as trace:
            ours = f"""
attempt("allowed", lambda: tcp("{host}", {server.port}))
attempt("other-port", lambda: tcp("{host}", {other.port}))
attempt("own", lambda: tcp("127.0.0.1", {server.port}))
"""
            script = ours + f"""
attempt("other-host", lambda: tcp("198.51.100.7", 80))
attempt("datagram", lambda: udp("198.51.100.7", 80))
"""
            denied = {"other-port": "ECONNREFUSED", "other-host": "ENETUNREACH", "datagram": "ENETUNREACH",
                      "own": "ECONNREFUSED"}
            found = attempts(script, ["--allow-net", f"{host}:{server.port}", f"--trace={trace.name}"])
            self.assertEqual(found, {"allowed": "yes", **denied})
            lines = [line for line in trace.read().decode().splitlines() if line.startswith("network: ")]
            self.assertEqual(lines, [f"network: {host}:{other.port} is not let out", "network: 198.51.100.7:80 is not let out",
                                     "network: 198.51.100.7:80/udp is not let out"])
            network = host.rsplit(".", 1)[0] + ".0/24"
            found = attempts(script, ["--allow-net", network])
            self.assertEqual((found["allowed"], found["other-port"], found["other-host"]), ("yes", "no", "ENETUNREACH"))
            found = attempts(ours, ["--network", "host-proxy"])
            self.assertEqual((found["allowed"], found["other-port"], found["own"]), ("yes", "no", "ECONNREFUSED"))

    def test_datagrams_and_their_answers(self):
        host = host_address()
        if host is None:
            self.skipTest("this host has no address but loopback's")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((host, 0))

            def serve():
                for _ in range(2):
                    data, peer = server.recvfrom(100)
                    server.sendto(data + b" yourself", peer)

            threading.Thread(target=serve, daemon=True).start()
            found = attempts(f"""
attempt("connected", lambda: udp("{host}", {server.getsockname()[1]}))
attempt("unconnected", lambda: udp("{host}", {server.getsockname()[1]}, False))
""", ["--allow-net", host])
        self.assertEqual(found, {"connected": "hello yourself", "unconnected": "hello yourself"})

    def test_refused_datagrams(self):
        host = host_address()
        if host is None:
            self.skipTest("this host has no address but loopback's")
        # The port is held at another address, so that nobody has it at this one.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            holder.bind(("127.0.0.1", 0))
            server.bind((host, 0))

            def serve():
                data, peer = server.recvfrom(100)
                server.sendto(data.upper(), peer)

            threading.Thread(target=serve, daemon=True).start()
            found = attempts(f"""
closed, served = ("{host}", {holder.getsockname()[1]}), ("{host}", {server.getsockname()[1]})
attempt("connected", lambda: udp(*closed))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(10)
client.sendto(b"lost", closed)
client.sendto(b"hello", served)  # not in the way of what others get
attempt("unconnected", lambda: client.recv(100).decode())
client.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
client.sendto(b"come back", closed)
attempt("asked", lambda: client.recv(100))
data, records, flags, name = client.recvmsg(100, 512, socket.MSG_ERRQUEUE)
print("queue", data.decode(), name == closed, flags == socket.MSG_ERRQUEUE)
level, kind, record = records[0]
error, origin, type, code = struct.unpack("IBBB", record[:7])
print("record", errno.errorcode[error], level, kind, origin, type, code, socket.inet_ntoa(record[20:24]) == closed[0])
client.setblocking(False)
attempt("empty", lambda: client.recvmsg(100, 512, socket.MSG_ERRQUEUE))
""", ["--allow-net", host])
        self.assertEqual(found, {"connected": "ECONNREFUSED", "unconnected": "HELLO", "asked": "ECONNREFUSED",
                                 "queue": "come back True True", "record": "ECONNREFUSED 0 11 2 3 3 True",
                                 "empty": "EAGAIN"})

    def test_a_refused_connection(self):
        host = host_address()
        if host is None:
            self.skipTest("this host has no address but loopback's")
        with socket.socket() as probe:
            probe.bind((host, 0))  # taken, and nobody listens
            port = probe.getsockname()[1]
            found = attempts(f"""
attempt("refused", lambda: tcp("{host}", {port}))
client = socket.socket()
client.setblocking(False)
attempt("begun", lambda: client.connect(("{host}", {port})))
import select
select.select([], [client], [])
print("later", errno.errorcode[client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
""", ["--allow-net", host])
        self.assertEqual(found, {"refused": "ECONNREFUSED", "begun": "EINPROGRESS", "later": "ECONNREFUSED"})

    def test_many_connections_out(self):
        with tcp_server(b"w") as server:
            found = attempts("""
count = 0
for _ in range(5):
    held = [socket.create_connection(("s", 1)) for _ in range(60)]
    count += sum(len(one.recv(1)) for one in held)
    for one in held: one.close()
print("count", count)
""", ["--connect", f"s:1=127.0.0.1:{server.port}"])
        self.assertEqual(found, {"count": "300"})

    def test_no_network(self):
        found = attempts("""
attempt("bind", lambda: socket.create_server(("127.0.0.1", 0)))
attempt("connect", lambda: tcp("127.0.0.1", 80))
attempt("datagram", lambda: udp("127.0.0.1", 80))
attempt("dns", lambda: addresses("example.com"))
attempt("unix", lambda: len(socket.socketpair()))
""", ["--network", "none"])
        self.assertEqual(found, {"bind": "EADDRNOTAVAIL", "connect": "ENETUNREACH", "datagram": "ENETUNREACH",
                                 "dns": "no address", "unix": "2"})

    def test_bad_values(self):
        for option, value in (("--allow-net", "1.2.3.4/33"), ("--allow-net", "a b"), ("--allow-net", "h:0"),
                              ("--allow-net", "127.0.0.1:80"), ("--hosts", "a"), ("--hosts", "a=b"),
                              ("--connect", "a=b:1"), ("--connect", "a:1=b"), ("--connect", "a:1=unix:x"),
                              ("--connect", f"a:1={'x' * 64}.invalid:1"), ("--network", "bridge")):
            result = harness.run("true", options=[option, value])
            self.assertEqual((result.status, result.out), (125, ""), (option, value))
            self.assertIn(option, result.err)
        self.assertEqual(harness.run("true", options=["--network", "none", "-p", "80"]).status, 125)


class OwnAddress(unittest.TestCase):
    """eth0: the machine's address besides lo's, the same in every machine"""

    def test_what_is_told_of_it(self):
        script = """
print("name", socket.gethostbyname(socket.gethostname()))
print("interfaces", *sorted(name for _, name in socket.if_nameindex()))
print("routes ", *sorted(line.split()[1] + "/" + line.split()[2] for line in list(open("/proc/net/route"))[1:]))
"""
        found = attempts(script)
        self.assertEqual(found, {"name": "10.116.99.2", "interfaces": "eth0 lo", "routes": " 000000E0/00000000 0063740A/00000000"})
        found = attempts(script, ["--allow-net", "198.51.100.7"])
        self.assertEqual(found["routes"], " 00000000/0163740A 0063740A/00000000")
        self.assertEqual(attempts(script, ["--network", "none"]), {"name": "127.0.1.1", "interfaces": "lo", "routes": ""})

    def test_who_is_reached_by_it(self):
        found = attempts("""
def served(at, by):
    with socket.create_server((at, 0)) as server, socket.create_connection((by, server.getsockname()[1])) as client:
        return " ".join(name[0] for name in (client.getsockname(), client.getpeername(), server.accept()[1]))
attempt("own", lambda: served("10.116.99.2", "10.116.99.2"))
attempt("wildcard", lambda: served("0.0.0.0", "10.116.99.2"))
attempt("lo-by-own", lambda: served("127.0.0.1", "10.116.99.2"))
attempt("own-by-lo", lambda: served("10.116.99.2", "127.0.0.1"))
attempt("neighbour", lambda: tcp("10.116.99.7", 80))
attempt("datagram", lambda: udp("10.116.99.7", 80))
attempt("beyond", lambda: tcp("10.116.98.7", 80))
def told(to, at="0.0.0.0", source=None, device=b""):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind((at, 0))
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        if source: client.bind((source, 0))
        client.sendto(b"x", (to, server.getsockname()[1]))
        _, records, _, peer = server.recvmsg(10, 100)
        info = records[0][2]
        return f"{peer[0]} by {info[0]} for {socket.inet_ntoa(info[4:8])}"
attempt("all", lambda: told("10.116.99.255"))
attempt("all-at-own", lambda: told("10.116.99.255", at="10.116.99.2"))
attempt("everywhere", lambda: told("255.255.255.255"))
attempt("everywhere-by-eth0", lambda: told("255.255.255.255", device=b"eth0"))
attempt("lo-by-eth0", lambda: told("127.0.0.1", device=b"eth0"))
""")
        self.assertEqual(found, {
            "own": "10.116.99.2 10.116.99.2 10.116.99.2", "wildcard": "10.116.99.2 10.116.99.2 10.116.99.2",
            "lo-by-own": "ECONNREFUSED", "own-by-lo": "ECONNREFUSED", "neighbour": "EHOSTUNREACH",
            "datagram": "EHOSTUNREACH", "beyond": "ENETUNREACH", "all": "10.116.99.2 by 2 for 10.116.99.2",
            "all-at-own": "EAGAIN", "everywhere": "ENETUNREACH", "everywhere-by-eth0": "10.116.99.2 by 2 for 10.116.99.2",
            "lo-by-eth0": "EHOSTUNREACH"})

    def test_the_outside_is_reached_from_it(self):
        with tcp_server(b"hello") as server:
            found = attempts("""
def named(source=None):
    with socket.create_connection(("s", 1), 10, source) as connection:
        return connection.getsockname()[0], connection.recv(10)
attempt("name", lambda: named())
attempt("bound", lambda: named(("10.116.99.2", 0)))
attempt("lo", lambda: named(("127.0.0.1", 0)))
def datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("198.51.100.7", 53))
        return client.getsockname()[0]
attempt("datagrams", datagrams)
""", ["--connect", f"s:1=127.0.0.1:{server.port}"])
        reached = "('10.116.99.2', b'hello')"
        self.assertEqual(found, {"name": reached, "bound": reached, "lo": "EINVAL", "datagrams": "10.116.99.2"})

    def test_published_ports_lead_to_it(self):
        port = free_port()
        with Guest("""
import socket
server = socket.create_server(("10.116.99.2", 7000))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("10.116.99.2", 7000))
print("ready", flush=True)
connection, _ = server.accept()
connection.sendall(connection.getsockname()[0].encode())
connection.close()
data, peer = datagrams.recvfrom(100)
datagrams.sendto(data.upper(), peer)
""", ["-p", f"127.0.0.1:{port}:7000", "-p", f"127.0.0.1:{port}:7000/udp"]) as guest:
            self.assertEqual(guest.line(), "ready")
            with socket.create_connection(("127.0.0.1", port), timeout=harness.TIMEOUT) as client:
                self.assertEqual(client.recv(100), b"10.116.99.2")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(harness.TIMEOUT)
                client.sendto(b"hello", ("127.0.0.1", port))
                self.assertEqual(client.recv(100), b"HELLO")
            self.assertEqual(guest.finish().status, 0)


# Everything a program could try; each line says what became of it.
ESCAPES = """
attempt("tcp", lambda: tcp(HOST, PORT))
attempt("tcp6", lambda: tcp("2001:db8::1", 80))
attempt("own", lambda: tcp("127.0.0.1", PORT))
attempt("udp", lambda: udp(HOST, PORT))
attempt("unconnected", lambda: udp(HOST, PORT, False))
attempt("dns", lambda: addresses("example.com"))
attempt("nameserver", lambda: ask("example.com"))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + NAME))
def opened(*kind):
    with socket.socket(*kind) as made:
        made.sendto(bytes(64), (HOST, 0) if kind[0] == socket.AF_INET else ("eth0", 0x800))
        return "sent"
attempt("raw", lambda: opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("ping", lambda: opened(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
attempt("packet", lambda: opened(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
attempt("vsock", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).connect((2, 1)))
"""


class Hermetic(unittest.TestCase):
    """A machine that nothing was allowed reaches nothing."""

    def check(self, found):
        unreachable = ("ENETUNREACH", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ECONNREFUSED", "EPERM",
                       "EACCES", "ENODEV", "ENXIO", "no address")
        for what, outcome in found.items():
            self.assertIn(outcome, unreachable, what)
        self.assertEqual((found["tcp"], found["udp"], found["own"]), ("ENETUNREACH", "ENETUNREACH", "ECONNREFUSED"))
        self.assertEqual(len(found), 12)

    def test_nothing_is_reached(self):
        host = host_address() or "127.0.0.1"
        name = f"teacup-test-{os.getpid()}"
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0" + name)
        abstract.listen()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("0.0.0.0", 0))
        datagrams.setblocking(False)
        with tcp_server(b"escaped", "0.0.0.0") as server, Server(abstract, b"escaped") as local, datagrams:
            target = host if host != "127.0.0.1" else "192.0.2.1"
            self.check(attempts(f"HOST, PORT, NAME = {target!r}, {server.port}, {name!r}\n" + ESCAPES))
            self.assertEqual((server.count, local.count), (0, 0))
            with self.assertRaises(BlockingIOError):
                datagrams.recv(1)

    def test_no_packet_is_sent(self):
        # In a network namespace of its own every packet is the machine's.
        script = f"HOST, PORT, NAME = '198.51.100.1', 80, 'x'\n" + ESCAPES
        inner = "ip link set lo up 2>/dev/null; \"$@\"; cat /proc/net/dev /proc/net/snmp"
        words = ["unshare", "-rn", "sh", "-c", inner, "sh"] + harness.command("python3", "-c", ATTEMPTS + script, image=PYTHON)
        if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode != 0:
            self.skipTest("no network namespaces here")
        result = subprocess.run(words, capture_output=True, text=True, timeout=harness.TIMEOUT)
        output, counters = result.stdout.split("Inter-|", 1)
        self.check(dict(line.split(" ", 1) for line in output.splitlines() if line))
        loopback = next(line for line in counters.splitlines() if line.strip().startswith("lo:")).split()
        self.assertEqual((loopback[2], loopback[10]), ("0", "0"))
        ip, tcp, datagrams = ([line for line in counters.splitlines() if line.startswith(name)][1].split()
                              for name in ("Ip:", "Tcp:", "Udp:"))
        self.assertEqual((ip[10], tcp[5], datagrams[4]), ("0", "0", "0"))  # OutRequests, ActiveOpens, OutDatagrams


if __name__ == "__main__":
    unittest.main()
