"""The testers of tests/stress on a memory layer over an image of each format: in a machine, and through `teacup mount`.

together reads large files that are not in memory yet; fsx changes one file, against a copy in memory; fsstress many, in several processes, each of which knows its part; fsmodel does the same operations in
a directory of the host's tmpfs and on `fs/`, and every line of what they give must be the same. TEACUP_SEED repeats a run,
TEACUP_OPERATIONS (default 2000 for each format, and a part of that through a mount) makes it longer; scripts/soak does both.
TEACUP_FORMATS names other formats.
"""

import collections
import contextlib
import itertools
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

import mount_test
from harness import TEACUP, TIMEOUT, command, run
from stress import FORMATS, PROGRAMS, make_image, make_tree

SEED = int(os.environ.get("TEACUP_SEED", 1))  # the same for the same verdict; scripts/soak has others
OPERATIONS = int(os.environ.get("TEACUP_OPERATIONS", 2000))
LIMIT = max(TIMEOUT, OPERATIONS // 100)  # seconds


CAPABILITIES = "a80425fb"  # root's in a machine
IS_ROOT = os.geteuid() == 0


class Tmpfs:
    """A directory of the host's on tmpfs: one mounted for us, with these options, or in /dev/shm."""

    def __init__(self, top, options):
        self.where = tempfile.mkdtemp(dir=top)
        self.mounted = IS_ROOT and subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", self.where],
                                                  capture_output=True).returncode == 0
        if not self.mounted:
            os.rmdir(self.where)
            self.where = tempfile.mkdtemp(dir="/dev/shm")

    def __enter__(self):
        return pathlib.Path(self.where)

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", self.where], check=True)
            os.rmdir(self.where)
        else:
            subprocess.run(["chmod", "-R", "u+rwx", self.where])
            shutil.rmtree(self.where)


def lines_of(words):
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield from process.stdout
        said = process.stderr.read().decode(errors="replace")
        if process.wait() != 0 or said:
            yield f"status {process.returncode}: {said}".encode()


def first_difference(ours, theirs):
    """None, or the first lines that differ and those before; else how many were the same."""
    before, count = collections.deque(maxlen=12), 0
    with contextlib.closing(lines_of(ours)) as left, contextlib.closing(lines_of(theirs)) as right:
        for one, other in itertools.zip_longest(left, right, fillvalue=b"(the end)\n"):
            if one != other:
                return b"".join([b"\n", *before, b"here: ", one, b"tmpfs: ", other]).decode(errors="replace"), count
            before.append(one)
            count += 1
    return None, count


class OnImages(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.top = pathlib.Path(cls.scratch.name)
        cls.saved = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(cls.top / "cache")
        cls.images = {kind: make_image(kind, cls.top) for kind in FORMATS}

    def compare(self, kind, words, features, operations, *more):
        """fsmodel by `words`, which name a place on a memory layer, and natively on tmpfs."""
        arguments = ["-S", SEED, "-N", operations, "-o", features, *more]
        with Tmpfs(self.top, "dev" if "d" in features else "nodev") as native:
            work = make_tree(native, rich=kind != "directory")
            difference, count = first_difference([*words[:-1], *arguments, words[-1]], [PROGRAMS / "fsmodel", *arguments, work])
        if difference:
            self.fail(f"fsmodel {' '.join(map(str, arguments))}, {kind}: {difference}")
        self.assertGreater(count, operations)

    @classmethod
    def tearDownClass(cls):
        if cls.saved is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = cls.saved


class InMachines(OnImages):
    def check(self, *words, kind, expected="all right"):
        result = run(*words, image=self.images[kind], options=["--tmpfs", "/tmp:exec"], timeout=LIMIT)
        self.assertEqual((result.status, result.err), (0, ""), result.out)
        self.assertIn(expected, result.out)

    def test_fsx(self):
        for kind in FORMATS:
            name = random.Random(SEED + len(kind)).choice(("hollow", "a/200000", "d0/text65536"))
            with self.subTest(kind, name=name, seed=SEED):
                self.check("/t/fsx", "-k", "-S", SEED, "-N", OPERATIONS, f"/work/{name}", kind=kind)
        self.check("/t/fsx", "-S", SEED, "-N", OPERATIONS, "-l", 8 << 20, "/tmp/new", kind="erofs")

    def test_fsstress(self):
        for kind in FORMATS:
            with self.subTest(kind, seed=SEED):
                self.check("/t/fsstress", "-S", SEED, "-N", OPERATIONS, "/work/d1", kind=kind)


    def test_model(self):
        features = "adxohnk" + ("c" if IS_ROOT else "")
        # A host directory shows its files as root's; natively that takes root.
        for kind in FORMATS if IS_ROOT else [kind for kind in FORMATS if kind != "directory"]:
            with self.subTest(kind, seed=SEED):
                user = ["-u", f"{os.geteuid()}:{os.getegid()}"]
                self.compare(kind, command("/t/fsmodel", "/work", image=self.images[kind], options=user), features, OPERATIONS,
                             *(["-C", CAPABILITIES] if IS_ROOT else []))


class Together(unittest.TestCase):
    """Large compressed files, read by several processes in every way, while others of them are changed."""

    def test_together(self):
        with tempfile.TemporaryDirectory() as scratch:
            top = pathlib.Path(scratch)
            (top / "tree/w").mkdir(parents=True)
            shutil.copy(PROGRAMS / "together", top / "tree")
            for name, size in (("still1", 6_040_000), ("still2", 3_000_008), ("changed1", 5_048_000), ("changed2", 2_000_000)):
                subprocess.run([PROGRAMS / "together", "-m", str(size), top / "tree/w" / name], check=True)
            for name, *words in (("gzip", "mksquashfs"), ("zstd", "mksquashfs", "-b", "1M"), ("lz4hc", "mkfs.erofs", "-C65536")):
                if words[0] == "mksquashfs":
                    made = ["mksquashfs", top / "tree", top / name, "-comp", name, "-quiet", "-no-progress", *words[1:]]
                else:
                    made = ["mkfs.erofs", "--quiet", f"-z{name}", *words[1:], top / name, top / "tree"]
                subprocess.run(made, check=True, capture_output=True)
                # The second has no room for both the files and what is asked for ahead.
                for memory in ("1G", "36M"):
                    with self.subTest(name, memory=memory, seed=SEED):
                        result = run("/together", "-S", SEED, "-N", OPERATIONS // 10, "/w", image=top / name,
                                     options=["--memory", memory], timeout=LIMIT)
                        self.assertEqual((result.status, result.out, result.err), (0, "all right\n", ""))


class ThroughMounts(OnImages):
    @classmethod
    def setUpClass(cls):
        reason = mount_test.why_not()
        if reason:
            raise unittest.SkipTest(f"FUSE cannot be used here: {reason}")
        super().setUpClass()

    @contextlib.contextmanager
    def mounted(self, kind, *options):
        where = tempfile.mkdtemp(dir=self.top)
        subprocess.run([TEACUP, "mount", "-w", *options, self.images[kind], where], check=True, timeout=TIMEOUT)
        try:
            yield pathlib.Path(where)
        finally:
            mount_test.unmount(where)
            os.rmdir(where)

    def check(self, *words):
        result = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        self.assertIn("all right", result.stdout)

    def test_fsx(self):
        for kind in FORMATS:
            with self.subTest(kind, seed=SEED), self.mounted(kind) as where:
                self.check(PROGRAMS / "fsx", "-k", "-S", SEED, "-N", OPERATIONS // 4, where / "work/hollow")

    def test_fsstress(self):
        for kind in FORMATS:
            with self.subTest(kind, seed=SEED), self.mounted(kind) as where:
                self.check(PROGRAMS / "fsstress", "-S", SEED, "-N", OPERATIONS // 10, where / "work/d1")

    def test_model(self):
        # FUSE keeps no access times; files without names and holes are not offered through it.
        features = "xn"
        for kind in FORMATS:
            with self.subTest(kind, seed=SEED), self.mounted(kind) as where:
                self.compare(kind, [PROGRAMS / "fsmodel", where / "work"], features, OPERATIONS // 4)


if __name__ == "__main__":
    unittest.main()
