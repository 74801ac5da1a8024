"""teacup rewrite: files, whole images, and its exit status."""

import json
import os
import pathlib
import shutil
import struct
import signal
import subprocess
import tempfile
import time
import unittest

from harness import IMAGE, TEACUP, TIMEOUT, descendants, finish, run, start


def setUpModule():
    # Plans are not kept where the command has changed within two seconds.
    time.sleep(max(0, os.stat(TEACUP).st_ctime + 2.1 - time.time()))


def rewrite(*arguments):
    done = subprocess.run([TEACUP, "rewrite", *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stdout, done.stderr


def program(code):
    """An ELF file of one segment that holds `code`, without symbols."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = 120 + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 4096) + code


# Without tables and symbols a site is believed when decoding from all around agrees, and it loads a number.
PATCHABLE = b"\x90" * 200 + b"\xb8\x27\x00\x00\x00\x0f\x05\xc3" + b"\xcc" * 64
# Calls on both sides, which cannot be moved, and nothing near to jump through.
WITHOUT_ROOM = (b"\x90" * 200 + b"\xb8\x27\x00\x00\x00\xe8\x00\x00\x00\x00\x0f\x05" +
                b"\xe8\x00\x00\x00\x00" * 60 + b"\xc3")


class Rewrite(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.top = pathlib.Path(scratch.name)
        self.tree = self.top / "tree"
        (self.tree / "bin").mkdir(parents=True)
        (self.tree / "bin/good").write_bytes(program(PATCHABLE))
        (self.tree / "bin/text").write_text("no ELF file\n" * 100)
        (self.tree / "bin/short").write_bytes(b"\x7fELF")

    def images(self):
        for name in ("image.erofs", "image.ext4"):
            subprocess.run([TEACUP, "pack", self.tree, self.top / name], check=True)
            yield self.top / name
        yield self.tree

    def test_status_of_files(self):
        (self.tree / "bad").write_bytes(program(WITHOUT_ROOM))
        status, out, _ = rewrite(self.tree / "bin/good")
        self.assertEqual(status, 0)
        self.assertIn("1 of 1 system calls patched", out)
        status, out, _ = rewrite(self.tree / "bad")
        self.assertEqual(status, 1)
        self.assertIn("0 of 1 system calls patched", out)

    def test_image(self):
        for image in self.images():
            status, out, err = rewrite("--image", image)
            self.assertEqual((status, err), (0, ""))
            self.assertIn("/bin/good", out)
            self.assertIn("3 files, 1 of them ELF; 1 of 1 system calls patched", out)

    def test_image_with_a_site_left(self):
        (self.tree / "bin/bad").write_bytes(program(WITHOUT_ROOM))
        for image in self.images():
            status, out, _ = rewrite("-q", "--image", image)
            self.assertEqual(status, 1)
            self.assertIn("/bin/bad", out)
            self.assertNotIn("/bin/good", out)
            self.assertIn("1 of 2 system calls patched", out)

    def test_image_as_json(self):
        status, out, _ = rewrite("--json", "--image", self.tree)
        report = json.loads(out)
        self.assertEqual((status, report["elf_files"], report["calls"], report["left_to_net"]), (0, 1, 1, 0))
        self.assertEqual([f["file"] for f in report["files"]], ["/bin/good"])

    def test_mistakes(self):
        for arguments in ([], ["--image", self.tree, self.tree / "bin/good"], ["--image", self.top / "none"],
                          ["--image", self.tree / "bin/text"], ["--patch", "everything", self.tree / "bin/good"],
                          [self.top / "none"]):
            status, out, err = rewrite(*arguments)
            self.assertEqual((status, out), (125, ""), arguments)
            self.assertTrue(err.startswith("teacup"), err)


def copied_text(pid):
    """Mappings of patched text in a host process, and how many KiB of them are copies of its own."""
    mappings = copied = 0
    ours = False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            ours = words[1][2] == "x" and ("teacup-arena" in line or "/teacup/text/" in line)
            mappings += ours
        elif ours and words[0] == "Anonymous:":
            copied += int(words[1])
    return mappings, copied


class Sharing(unittest.TestCase):
    """A file is patched once for all processes of the machine."""

    # Each says when its exec is behind it.
    SCRIPT = "for i in 1 2 3; do perl -e '$| = 1; print qq(ready\\n); sleep 1000' & done; wait"

    def until_ready(self, machine):
        self.assertEqual([machine.stdout.readline() for _ in range(3)], [b"ready\n"] * 3)

    def test_processes_have_no_copies_of_patched_text(self):
        with start("sh", "-c", self.SCRIPT) as machine:
            self.addCleanup(machine.kill)
            self.until_ready(machine)
            found = [copied_text(pid) for pid in descendants(machine.pid)]
            machine.send_signal(signal.SIGTERM)
        users = [copied for mappings, copied in found if mappings]
        self.assertGreaterEqual(len(users), 2)
        self.assertEqual(set(users), {0})

    def texts(self, caches):
        """The stores of patched text that a machine's programs run from."""
        with start("sh", "-c", self.SCRIPT, env=dict(os.environ, XDG_CACHE_HOME=str(caches))) as machine:
            self.addCleanup(machine.kill)
            self.until_ready(machine)
            lines = [line.split() for pid in descendants(machine.pid)
                     for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()]
            machine.send_signal(signal.SIGTERM)
        return {line[4] for line in lines if line[1] == "r-xp" and "/teacup/text/" in line[-1]}

    def test_machines_share_patched_text(self):
        with tempfile.TemporaryDirectory() as caches:
            first, second = self.texts(caches), self.texts(caches)
            self.assertEqual((len(first), second), (1, first))
            # One that nobody may execute, or keep anything in, is done without.
            (pathlib.Path(caches) / "teacup/text").chmod(0o777)
            self.assertEqual(self.texts(caches), set())

    def test_the_store_may_go_while_a_machine_runs(self):
        with tempfile.TemporaryDirectory() as caches:
            with start("sh", "-c", "echo ready; read go; ls / | head -1", env=dict(os.environ, XDG_CACHE_HOME=caches)) as machine:
                self.addCleanup(machine.kill)
                self.assertEqual(machine.stdout.readline(), b"ready\n")  # what it runs from is in the store
                shutil.rmtree(caches)
                result = finish(machine, b"go\n")
            self.assertEqual((result.status, result.out), (0, "bin\n"), result.err)
            pathlib.Path(caches).mkdir(exist_ok=True)

    @staticmethod
    def prepared(*command, image=None, **settings):
        """How many files were prepared, and how many of them foreseen."""
        with tempfile.NamedTemporaryFile() as stats:
            done = run(*command, image=image, options=[f"--stats={stats.name}"], **settings)
            if done.status != 0:
                raise AssertionError(done.err)
            report = json.load(stats)
            return report["files_prepared"], report["files_foreseen"]

    def test_files_are_prepared_once(self):
        once, _ = self.prepared("sh", "-c", "/bin/true; :")
        self.assertEqual(self.prepared("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do /bin/true & done; wait")[0], once)

    def test_what_the_last_machine_asked_for_is_foreseen(self):
        with tempfile.TemporaryDirectory() as caches:
            environment = dict(os.environ, XDG_CACHE_HOME=caches)
            command = "sh", "-c", "/bin/true; ls / | wc -l"
            files, foreseen = self.prepared(*command, env=environment)
            self.assertGreater(files, 4)
            self.assertEqual(foreseen, 0)
            self.assertEqual(self.prepared(*command, env=environment), (files, files))
            # Another program of the same command's machine is asked for, and kept beside.
            more, foreseen = self.prepared("sh", "-c", "id", env=environment)
            self.assertLess(foreseen, more)
            self.assertEqual(self.prepared("sh", "-c", "id", env=environment), (more, more))
            self.assertEqual(self.prepared(*command, env=environment), (files, files))
            self.assertEqual(self.prepared("ls", env=environment)[1], 0)
            # A list that somebody has damaged is none.
            for entry in pathlib.Path(caches, "teacup/prepared").iterdir():
                content = bytearray(entry.read_bytes())
                content[-9] ^= 1
                entry.write_bytes(content)
            self.assertEqual(self.prepared(*command, env=environment)[1], 0)
            self.assertEqual(self.prepared(*command, env=environment), (files, files))
            # Nor is that of an image that has changed since.
            with tempfile.TemporaryDirectory() as folder:
                copy = pathlib.Path(folder, "copy.erofs")
                shutil.copy(IMAGE, copy)
                os.utime(copy, (1000000000, 1000000000))
                time.sleep(2.1)  # what changed within two seconds is not kept
                self.prepared(*command, image=copy, env=environment)
                self.assertEqual(self.prepared(*command, image=copy, env=environment), (files, files))
                os.utime(copy, (1000000001, 1000000001))
                self.assertEqual(self.prepared(*command, image=copy, env=environment)[1], 0)


if __name__ == "__main__":
    unittest.main()
