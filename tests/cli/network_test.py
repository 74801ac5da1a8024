"""The ways into the machine's network and out of it, from the host's side: sockets of this process are the peers."""

import os
import re
import socket
import struct
import subprocess
import threading
import unittest

import harness

PYTHON = harness.ROOT / "build" / "images" / "python.erofs"
if "TEACUP_IMAGE" in os.environ:
    PYTHON = harness.IMAGE.parent / "python.erofs"

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Guest:
    """A Python script in a machine, started; its output is read by lines."""

    def __init__(self, script, options=()):
        self.process = harness.start("python3", "-c", script, options=options, image=PYTHON, stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def line(self):
        return self.process.stdout.readline().decode().strip()

    def finish(self):
        return harness.finish(self.process)


class Published(unittest.TestCase):
    """-p"""

    def served(self, body, port=None, publish="127.0.0.1:{}:7000"):
        port = port or free_port()
        guest = Guest(SERVER + body, ["-p", publish.format(port)])
        self.addCleanup(guest.__exit__)
        self.assertEqual(guest.line(), "ready")
        return guest, port

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
        _, port = self.served("connection, _ = listener.accept()\nconnection.recv(1)\nreset(connection)\ntime.sleep(30)")
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
time.sleep(0.5)
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
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(int(guest.line()), sent)

    def test_refused_while_nobody_listens(self):
        guest, port = self.served("""
time.sleep(0.1)
listener.close()
print("closed", flush=True)
time.sleep(0.1)
listener = socket.create_server(("", 7000))
print("again", flush=True)
connection, _ = listener.accept()
connection.sendall(b"here")
""")
        self.assertEqual(guest.line(), "closed")
        with self.assertRaises((ConnectionRefusedError, ConnectionResetError)):
            # Refused, or accepted in the last moment and reset.
            self.connect(port).recv(1)
        self.assertEqual(guest.line(), "again")
        self.assertEqual(self.read_all(self.connect(port)), b"here")

    def test_refused_from_the_start(self):
        port = free_port()
        with Guest("import time; print('up', flush=True); time.sleep(30)", ["-p", f"{port}:7000"]) as guest:
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
        if not socket.has_ipv6:
            self.skipTest("no IPv6 here")
        guest, port = self.served("connection, peer = listener.accept()\nprint(peer[0], flush=True)\n", publish="{}:7000")
        self.connect(port, "::1")
        # The server listens on 127.0.0.1 only.
        self.assertEqual(guest.line(), "127.0.0.1")

    def test_what_was_sent_before_the_end_arrives(self):
        _, port = self.served("connection, _ = listener.accept()\nconnection.sendall(bytes(200_000))\n")
        self.assertEqual(len(self.read_all(self.connect(port))), 200_000)

    def test_any_free_port(self):
        with Guest(SERVER + "listener.accept()", ["-p", "127.0.0.1::7000"]) as guest:
            self.assertEqual(guest.line(), "ready")
            text = guest.process.stderr.readline().decode()
            port = int(re.fullmatch(r"teacup run: port 7000 of the machine is 127\.0\.0\.1:(\d+)\n", text).group(1))
            self.connect(port)
            self.assertEqual(guest.finish().status, 0)

    def test_busy_ports_are_errors(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = harness.run("true", options=["-p", f"127.0.0.1:{port}:80"])
        self.assertEqual(result.status, 125)
        self.assertIn(f"127.0.0.1 port {port} is taken", result.err)
        # By a machine in which nobody listens, too.
        with Guest("import time; print('up', flush=True); time.sleep(30)", ["-p", f"{port}:80"]) as guest:
            self.assertEqual(guest.line(), "up")
            self.assertEqual(harness.run("true", options=["-p", f"{port}:80"]).status, 125)
        self.assertEqual(harness.run("true", options=["-p", f"{port}:80"]).status, 0)

    def test_bad_values(self):
        for value in ("x:80", "80:0", "70000:1", "1-3:1-2", "80/sctp", "80:80/udp", "1.2.3:80:80", "999.1.1.1:1:1", ""):
            result = harness.run("true", options=["-p", value])
            self.assertEqual((result.status, result.out), (125, ""), value)
            self.assertIn("-p", result.err)


if __name__ == "__main__":
    unittest.main()
