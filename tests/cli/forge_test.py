"""What a guest that is hostile to its own kernel asks of the broker, by requests of its own on the ring: forge.cc."""

import errno
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import harness

HERE = pathlib.Path(__file__).resolve().parent
EXT4 = harness.IMAGE.parent / "base.ext4"
KICK, GUEST_MEMORY = 1, 10
HEAP = 2 << 20  # an offset in the arena


def children(pid):
    """{pid: what it runs} of the children of a process."""
    found = {}
    for child in harness.children(pid):
        try:
            found[child] = os.readlink(f"/proc/{child}/exe")
        except OSError:
            pass
    return found


class Forger:
    """A machine in which forge runs."""

    def __init__(self, folder, image, options):
        self.process = harness.start("/forge/forge", options=["-v", f"{folder}:/forge", *options], image=image)

    def ask(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().strip()


class ForgeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        subprocess.run(["c++", "-std=c++20", "-O1", "-static", f"-I{harness.ROOT}", "-o", f"{cls.folder.name}/forge", HERE / "forge.cc"],
                       check=True)

    def machine(self, image=None, options=()):
        forger = Forger(self.folder.name, image, options)

        def end():
            forger.process.kill()
            forger.process.communicate()
        self.addCleanup(end)
        return forger

    def test_only_the_machines_own_processes(self):
        # An importer is the broker's child like the machine's processes, but no filter of the guest's confines it.
        forger = self.machine(EXT4)
        self.assertEqual(forger.ask(0), str(-errno.ENOSYS))
        broker = forger.process.pid
        family = children(broker)
        ours = [pid for pid, runs in family.items() if runs.startswith("/memfd:teacup-runtime")]
        others = [pid for pid in family if pid not in ours] + [broker, os.getpid(), 1, 0, 1 << 40]
        self.assertEqual(len(family) - len(ours), 1, family)
        for pid in others:
            for write in (0, 1):
                self.assertEqual(forger.ask(GUEST_MEMORY, pid, 0x600000000000, HEAP, 8, write), str(-errno.ESRCH), pid)
            self.assertEqual(forger.ask(-KICK, pid, pid), "done")
        for pid in ours:
            self.assertEqual(forger.ask(GUEST_MEMORY, pid, 0x600000000000, HEAP, 8, 0), "8")
            self.assertEqual(forger.ask(-KICK, pid, pid), "done")
            # A thread of somebody else's under the number of a process of ours.
            self.assertEqual(forger.ask(-KICK, pid, broker), "done")
        # Outside of the arena.
        self.assertEqual(forger.ask(GUEST_MEMORY, ours[0], 0x600000000000, 1 << 62, 8, 0), str(-errno.ESRCH))
        time.sleep(0.05)  # a signal that kills has done so by then
        self.assertEqual(sorted(set(family) - set(children(broker))), [])
        self.assertIsNone(forger.process.poll())

    def test_nonsense_in_the_gateway(self):
        forger = self.machine(options=["--allow-net", "198.51.100.1:1", "-p", "127.0.0.1::7000"])
        for seed in range(10):
            for slot in (0, 1, 2047, 2048, 4031):
                self.assertEqual(forger.ask("scribble", slot, seed, 100), "done")
        self.assertEqual(forger.ask(0), str(-errno.ENOSYS))
        self.assertIsNone(forger.process.poll())


if __name__ == "__main__":
    unittest.main()
