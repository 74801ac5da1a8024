"""Where files come from makes no difference: programs of volumes, of the guest's own making and in memory run patched."""

import json
import os
import pathlib
import shutil
import tempfile
import unittest

from harness import TEACUP, run

PROGRAMS = pathlib.Path(os.environ.get("TEACUP_PROGRAMS", TEACUP.parent / "tests/guest"))  # tests/guest, built


class Patched(unittest.TestCase):
    """By --stats: hardly a call comes through the net, which serves what is not patched."""

    def calls(self, *words, image=None, options=()):
        """(by way of a patch, by the net)"""
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, "stats")
            result = run(*words, image=image, options=[f"--stats={report}", *options])
            self.assertEqual(result.status, 0, result.out + result.err)
            with open(report) as f:
                stats = json.load(f)
            return stats["rewritten"], stats["trapped"]

    def check(self, *words, at_most=0, **settings):
        rewritten, trapped = self.calls(*words, **settings)
        self.assertGreater(rewritten, 20)
        self.assertLessEqual(trapped, at_most)

    def test_image(self):
        self.check("ls", "/")

    def test_programs_of_a_volume(self):
        self.check("/t/dynamic/hello", options=["-v", f"{PROGRAMS}:/t"])
        self.check("/t/static/hello", options=["-v", f"{PROGRAMS}:/t:rw"])

    def test_a_file_as_a_volume(self):
        self.check("/opt/hello", options=["-v", f"{PROGRAMS}/dynamic/hello:/opt/hello"])

    def test_library_of_a_volume(self):
        self.check("/t/forms/dlopen", options=["-v", f"{PROGRAMS}:/t"])

    def test_copied_library(self):
        self.check("sh", "-c", "cp /t/forms/* /tmp && /tmp/dlopen", options=["-v", f"{PROGRAMS}:/t"])

    def test_directory_as_the_image(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(PROGRAMS / "static/hello", folder)
            self.check("/hello", image=folder)

    def test_made_by_the_guest(self):
        # tests/guest/text.cc: files that were written, written anew, in memory, executable by mprotect alone. Three
        # calls come from text that the program had changed by itself.
        self.check("/t/dynamic/text", options=["-v", f"{PROGRAMS}:/t"], at_most=3)


if __name__ == "__main__":
    unittest.main()
