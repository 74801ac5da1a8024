"""teacup run --trace-files, and teacup pack --slim: an image of what a run used runs the same command."""

import pathlib
import subprocess
import tempfile
import unittest

from harness import IMAGE, TEACUP, TIMEOUT, run


class Slim(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def pack(self, *arguments, status=0):
        result = subprocess.run([TEACUP, "pack", "-q", *arguments], capture_output=True, text=True, timeout=TIMEOUT, cwd=self.folder)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr

    def names(self, image):
        return subprocess.run([TEACUP, "ls", "-R", "-1", self.folder / image], capture_output=True, check=True).stdout

    def test_the_same_command_runs(self):
        script = ('printf "#!/usr/bin/env bash\\necho from a script\\n" >/tmp/x; chmod +x /tmp/x; /tmp/x; '
                  "perl -e 'use POSIX; print floor(3.5), qq(\\n)'; sed -n '/^root/p' /etc/passwd; readlink -f /bin/sh; false")
        before = run("bash", "-c", script, options=[f"--trace-files={self.folder}/run"])
        self.assertEqual(before.status, 1, before.err)
        used = (self.folder / "run").read_text().splitlines()
        self.assertIn("/usr/bin/env", used)
        self.assertNotIn("/tmp/x", used)
        self.assertNotIn("/usr/bin/tac", used)
        for name in ("slim.erofs", "slim.ext4", "slim.squashfs"):
            with self.subTest(name):
                self.pack("--slim", "--trace", "run", IMAGE, name)
                self.assertLess((self.folder / name).stat().st_size, IMAGE.stat().st_size / 2)
                after = run("bash", "-c", script, image=self.folder / name)
                self.assertEqual((after.out, after.status), (before.out, before.status), after.err)
        self.assertNotIn(b"tac\n", self.names("slim.erofs"))

    def test_several_runs(self):
        for number, command in enumerate((["ls", "/"], ["cat", "/etc/group"])):
            run(*command, options=[f"--trace-files={self.folder}/run{number}"])
        self.pack("--slim", "--trace", "run0", "--trace", "run1", IMAGE, "slim.erofs")
        for command in (["ls", "-d", "/"], ["cat", "/etc/group"]):
            result = run(*command, image=self.folder / "slim.erofs")
            self.assertEqual(result.status, 0, result.err)

    def test_hard_names(self):
        tree = self.folder / "tree"
        tree.mkdir()
        names = ["line\nbreak", "back\\slash", "tab\t", "\udcff\udcfe", "space ", "\\101"]
        for name in names:
            (tree / name).write_text("there")
        (tree / "unused").write_text("")
        self.pack(tree, "names.erofs")
        # Looked up by the kernel itself, which cannot run them.
        for name in names:
            run("/" + name, image=self.folder / "names.erofs", options=[f"--trace-files={self.folder}/run"])
            self.pack("--slim", "--trace", "run", "names.erofs", "slim.erofs")
            self.assertEqual(self.names("slim.erofs"), b"/:\n" + name.encode(errors="surrogateescape") + b"\n")

    def test_errors(self):
        (self.folder / "calls").write_text('[1] brk(NULL) = 0x0\n')
        (self.folder / "other").write_text("/nowhere\n")
        self.assertIn("--trace-files", self.pack("--slim", "--trace", "calls", IMAGE, "a.erofs", status=125))
        # A list that could not be written whole is said to be none.
        full = run("true", options=["--trace-files=/dev/full"])
        self.assertEqual((full.status, full.err), (125, "teacup run: cannot write --trace-files: No space left on device: the list is incomplete\n"))
        self.assertIn("another image", self.pack("--slim", "--trace", "other", IMAGE, "a.erofs", status=125))
        self.assertIn("missing", self.pack("--slim", "--trace", "missing", IMAGE, "a.erofs", status=125))
        self.assertIn("go together", self.pack("--slim", IMAGE, "a.erofs", status=125))
        self.assertIn("go together", self.pack("--trace", "other", IMAGE, "a.erofs", status=125))


if __name__ == "__main__":
    unittest.main()
