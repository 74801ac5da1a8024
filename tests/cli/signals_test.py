"""Signals sent to teacup reach the guest, and no ending leaves anything behind."""

import os
import select
import signal
import time
import unittest

from harness import TIMEOUT, children, finish, start

TRAPS = "trap 'echo got TERM; exit 5' TERM; trap 'echo got INT; exit 6' INT; trap 'echo got HUP; exit 7' HUP; " \
        "trap 'echo got QUIT; exit 8' QUIT; echo ready; while :; do sleep 0.05; done"


def processes_of(session):
    """The host processes of a session that are not zombies."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[3] == str(session) and fields[0] not in "ZX":
            found.append(int(name))
    return found


class Signals(unittest.TestCase):
    def started(self, script, **settings):
        """A machine that has printed its first line."""
        process = start("bash", "-c", script, **settings)
        self.addCleanup(self.kill, process)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    @staticmethod
    def kill(process):
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()

    def test_handlers_of_process_1_run(self):
        for name, status in (("TERM", 5), ("INT", 6), ("HUP", 7), ("QUIT", 8)):
            process = self.started(TRAPS)
            process.send_signal(getattr(signal, "SIG" + name))
            result = finish(process)
            self.assertEqual((result.status, result.out), (status, f"got {name}\n"), result.err)

    def test_default_actions_end_process_1(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.started("echo ready; exec sleep 1000")
            process.send_signal(number)
            self.assertEqual(finish(process).status, 128 + number)

    def test_signal_sent_at_once(self):
        # Whether the machine has started or not, TERM ends it.
        for delay in (0, 0.002, 0.01):
            process = start("sleep", "1000")
            self.addCleanup(self.kill, process)
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(finish(process).status, 143)

    def test_usr1_prints_the_tasks(self):
        process = self.started("sleep 1000 & echo ready; wait")
        process.send_signal(signal.SIGUSR1)
        # The child may not have got as far as its exec: it is known by its number.
        text, end = b"", time.monotonic() + TIMEOUT
        while b"task 1 " not in text or b"task 2 " not in text:
            ready, _, _ = select.select([process.stderr], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"no dump of both tasks, but {text!r}")
            more = os.read(process.stderr.fileno(), 4096)
            self.assertTrue(more, f"no dump of both tasks, but {text!r}")
            text += more
        process.send_signal(signal.SIGTERM)
        self.assertEqual(finish(process).status, 143)

    def check_nothing_is_left(self, process):
        end = time.monotonic() + TIMEOUT
        while processes_of(process.pid) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(processes_of(process.pid), [])

    def test_no_host_process_outlives_the_machine(self):
        process = self.started("sleep 1000 & (sleep 1000 & sleep 1000) & echo ready; exit 0")
        self.assertEqual(finish(process).status, 0)
        self.check_nothing_is_left(process)

    def test_no_host_process_outlives_a_killed_teacup(self):
        process = self.started("sleep 1000 & while :; do :; done & echo ready; wait")
        guests = children(process.pid)
        self.assertTrue(guests)
        process.kill()
        process.wait(TIMEOUT)
        end = time.monotonic() + TIMEOUT
        while any(self.is_alive(pid) for pid in guests) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertFalse([pid for pid in guests if self.is_alive(pid)])

    @staticmethod
    def is_alive(pid):
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False


if __name__ == "__main__":
    unittest.main()
