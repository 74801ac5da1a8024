"""teacup needs no privilege: it runs for an ordinary user to whom user namespaces are not available, with no new
privileges, no capability and no device of the host's."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import IMAGE, TEACUP

USER = 65534


class Unprivileged(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root can take everything away")
        folder = tempfile.TemporaryDirectory(prefix="teacup-unprivileged-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # Copies, since the build's own folder may not be open to all.
        shutil.copy(TEACUP, self.folder / "teacup")
        shutil.copy(IMAGE, self.folder / "image")
        os.chmod(self.folder, 0o755)

    def run_bare(self, script):
        """Runs a script as an ordinary user. The kernel refuses user namespaces to a process in a chroot (clone(2),
        EPERM), and a copy of / mounted elsewhere makes a chroot in which all else is as before."""
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        enter = (f'mount --bind / {root} && mount --bind {self.folder} {root}{self.folder} && '
                 f'mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && '
                 f'exec chroot {root} setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs '
                 f'--bounding-set=-all --inh-caps=-all sh -c "$0"')
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", enter, script],
                              capture_output=True, text=True, timeout=60)

    def test_user_namespaces_are_refused(self):
        self.assertEqual(self.run_bare("id -u").stdout, f"{USER}\n")
        self.assertNotEqual(self.run_bare("unshare --user true").returncode, 0)

    def test_a_pipeline_runs(self):
        result = self.run_bare(f"{self.folder}/teacup run {self.folder}/image -- "
                               "bash -c 'id -u; seq 5 | sort -r | (read x; echo $x); ls /root >/dev/null && echo ok'")
        self.assertEqual((result.returncode, result.stdout), (0, "0\n5\nok\n"), result.stderr)


if __name__ == "__main__":
    unittest.main()
