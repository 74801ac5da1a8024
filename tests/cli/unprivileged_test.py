"""teacup needs no privilege: it runs for an ordinary user, without user namespaces, ptrace, KVM or FUSE. What takes them
away is tests/unprivileged, which checks that they are gone."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import IMAGE, TEACUP, TIMEOUT

CONFINE = pathlib.Path(os.environ.get("UNPRIVILEGED", TEACUP.parent / "bin" / "unprivileged"))


class Unprivileged(unittest.TestCase):
    def test_a_pipeline_runs(self):
        # Copies, since the build's own folder may not be open to all.
        with tempfile.TemporaryDirectory(prefix="teacup-unprivileged-") as folder:
            os.chmod(folder, 0o755)
            for path in (TEACUP, IMAGE, CONFINE):
                shutil.copy(path, folder)
            script = "id -u; seq 5 | sort -r | (read x; echo $x); ls /root > /dev/null && echo x > /etc/new && cat /etc/new"
            result = subprocess.run([f"{folder}/{CONFINE.name}", f"{folder}/{TEACUP.name}", "run",
                                     f"{folder}/{IMAGE.name}", "--", "bash", "-c", script],
                                    capture_output=True, text=True, timeout=TIMEOUT, cwd=folder)
        self.assertEqual((result.returncode, result.stdout), (0, "0\n5\nx\n"), result.stderr)


if __name__ == "__main__":
    unittest.main()
