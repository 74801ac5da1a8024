"""The testers of tests/stress on a memory layer over an image of each format: in a machine, and through `teacup mount`.

fsx changes one file, against a copy in memory; fsstress many, in several processes, each of which knows its part. TEACUP_SEED repeats a run,
TEACUP_OPERATIONS (default 2000 for each format, and a part of that through a mount) makes it longer; scripts/soak does both.
"""

import contextlib
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

import mount_test
from harness import TEACUP, TIMEOUT, run
from stress import FORMATS, PROGRAMS, make_image

SEED = int(os.environ.get("TEACUP_SEED", random.randrange(1 << 30)))
OPERATIONS = int(os.environ.get("TEACUP_OPERATIONS", 2000))
LIMIT = max(TIMEOUT, OPERATIONS // 100)  # seconds


class OnImages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.top = pathlib.Path(cls.scratch.name)
        cls.saved = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(cls.top / "cache")
        cls.images = {kind: make_image(kind, cls.top) for kind in FORMATS}

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
        subprocess.run([TEACUP, "mount", "-w", *options, self.images[kind], where], check=True, timeout=30)
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


if __name__ == "__main__":
    unittest.main()
