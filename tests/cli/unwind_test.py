"""Stack walks out of signal handlers are the same, address by address, as the same program's on Linux."""

import subprocess
import unittest

from harness import TEACUP, TIMEOUT, run

PROGRAMS = TEACUP.parent / "tests" / "guest"


class Walks(unittest.TestCase):
    def test_same_as_native(self):
        native = subprocess.run([PROGRAMS / "static" / "unwind", "@print"], stdout=subprocess.PIPE, text=True, timeout=TIMEOUT, check=True)
        self.assertGreater(len(native.stdout.splitlines()), 5)
        for mode in "rewrite", "trap":
            with self.subTest(mode=mode):
                guest = run("/t/static/unwind", "@print", options=["--mode", mode, "-v", f"{PROGRAMS}:/t"])
                self.assertEqual(guest.status, 0, guest.err)
                self.assertEqual(guest.out, native.stdout)


if __name__ == "__main__":
    unittest.main()
