"""The programs of tests/programs print the same, and end with the same status, in a machine and in a chroot of the same
tree. They run from a volume, /programs. As an ordinary user there is no chroot; then only the machine's run is judged,
by its status."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import IMAGE, ROOT, run

PROGRAMS = ROOT / "tests/programs"
BUILD = IMAGE.parent.parent


def natively(tree, words):
    """Runs words in a chroot of `tree`, in a mount namespace of its own; returns status and output."""
    with tempfile.TemporaryDirectory() as folder:
        # A tmpfs over the tree takes the writes.
        prepare = (f"mount -t tmpfs tmpfs {folder} && mkdir {folder}/upper {folder}/work {folder}/root && "
                   f"mount -t overlay -o lowerdir={tree},upperdir={folder}/upper,workdir={folder}/work overlay "
                   f"{folder}/root && cd {folder}/root && mkdir -p programs && mount --bind {PROGRAMS} programs && "
                   "mount -t proc proc proc && mount --rbind /dev dev && mount -t tmpfs tmpfs tmp && "
                   'exec chroot . "$@"')
        done = subprocess.run(["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", prepare, "sh", *words],
                              capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                   "HOME": "/root"})
    return done.returncode, done.stdout, done.stderr


class Programs(unittest.TestCase):
    maxDiff = None

    def tree(self, name):
        """The image's files in a folder, unpacked once."""
        image = BUILD / "images" / f"{name}.erofs"
        if not image.exists():
            self.fail(f"there is no {image}: make it with scripts/images {name}")
        folder = BUILD / "tests" / "trees" / name
        stamp = folder.with_suffix(".stamp")
        state = str(image.stat().st_mtime_ns)
        if not stamp.exists() or stamp.read_text() != state:
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["fsck.erofs", f"--extract={folder}", image], check=True, stdout=subprocess.DEVNULL)
            stamp.write_text(state)
        return folder

    def check(self, image, *words, timeout=120):
        result = run(*words, image=BUILD / "images" / f"{image}.erofs", options=["-v", f"{PROGRAMS}:/programs"],
                     timeout=timeout)
        if os.geteuid() != 0:
            self.assertEqual(result.status, 0, result.err)
            return
        status, out, err = natively(self.tree(image), words)
        self.assertEqual(result.out, out, result.err)
        self.assertEqual((result.status, result.err), (status, err))

    def test_shell(self):
        self.check("base", "bash", "/programs/shell.sh")

    def test_xargs(self):
        self.check("base", "bash", "/programs/xargs.sh")

    def test_archives(self):
        self.check("base", "bash", "/programs/archive.sh")

    def test_perl(self):
        self.check("base", "perl", "/programs/forks.pl")

    def test_compilers(self):
        self.check("toolchain", "bash", "/programs/compile.sh")


def add_python_test(part):
    def test(self):
        self.check("python", "python3", "-c", f"import sys; sys.path.insert(0, '/programs'); "
                   f"import standard_library; standard_library.{part}()")

    setattr(Programs, f"test_python_{part}", test)


for name in ("threads", "processes", "subprocesses", "asynchronous", "databases", "memory", "signals", "selecting",
             "files"):
    add_python_test(name)

if __name__ == "__main__":
    unittest.main()
