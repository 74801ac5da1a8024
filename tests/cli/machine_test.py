"""What the options of `teacup run` make of the machine: environment, user, directory, names, volumes, reports."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import IMAGE, TIMEOUT, command, run, shell


class Environment(unittest.TestCase):
    PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def environment(self, **settings):
        return dict(line.split("=", 1) if "=" in line else (line, None)
                    for line in run("env", **settings).out.splitlines())

    def test_defaults(self):
        found = self.environment(env={"PATH": os.environ["PATH"], "SECRET": "x", "LANG": "de_DE"})
        self.assertEqual(found.pop("PATH"), self.PATH)
        self.assertEqual(found.pop("HOME"), "/root")
        self.assertTrue(found.pop("HOSTNAME"))
        self.assertEqual(found, {})

    def test_variables(self):
        found = self.environment(options=["-e", "A=1 2", "-e", "MINE", "-e", "GONE", "-e", "PATH=/bin:/usr/bin"],
                                 env=dict(os.environ, MINE="yes"))
        self.assertNotIn("GONE", found)
        self.assertEqual((found["A"], found["MINE"], found["PATH"]), ("1 2", "yes", "/bin:/usr/bin"))

    def test_home_follows_the_user(self):
        self.assertEqual(self.environment(options=["-u", "nobody"])["HOME"], "/nonexistent")

    def test_user(self):
        self.assertEqual(run("id", "-u").out, "0\n")
        self.assertEqual(shell("id -u; id -g", options=["-u", "1000:1001"]).out, "1000\n1001\n")
        self.assertEqual(shell("id -un; id -gn", options=["-u", "nobody"]).out, "nobody\nnogroup\n")
        self.assertEqual(shell("id -un; id -gn", options=["-u", "nobody:adm"]).out, "nobody\nadm\n")

    def test_user_has_no_rights_of_root(self):
        result = shell("cat /etc/shadow; echo x > /etc/new; echo ok > /tmp/new && cat /tmp/new",
                       options=["-u", "nobody"])
        self.assertEqual(result.out, "ok\n")

    def test_workdir(self):
        self.assertEqual(run("pwd").out, "/\n")
        self.assertEqual(run("pwd", options=["-w", "/usr/bin"]).out, "/usr/bin\n")

    def test_workdir_is_made_if_missing(self):
        self.assertEqual(run("pwd", options=["-w", "/new/folder"]).out, "/new/folder\n")

    def test_hostname(self):
        result = shell("hostname; cat /etc/hostname; uname -n; echo $HOSTNAME", options=["--hostname", "cup.example"])
        self.assertEqual(result.out, "cup.example\n" * 4)
        self.assertRegex(shell("cat /etc/hosts", options=["--hostname", "cup"]).out, r"127\.0\.0\.1\s+localhost")
        self.assertRegex(shell("cat /etc/hosts", options=["--hostname", "cup"]).out, r"\scup\b")


class Hermetic(unittest.TestCase):
    def test_first_process_is_1_and_the_host_is_not_seen(self):
        result = shell("echo $$; echo /proc/[0-9]*")
        self.assertEqual(result.out, "1\n/proc/1\n")

    def test_writes_end_with_the_machine(self):
        self.assertEqual(shell("echo x > /etc/teacup-test; cat /etc/teacup-test").out, "x\n")
        self.assertNotEqual(run("cat", "/etc/teacup-test").status, 0)
        self.assertFalse(pathlib.Path("/etc/teacup-test").exists())

    def test_memory_limit(self):
        result = shell("head -c 200000000 /dev/zero > /tmp/big; echo $?", options=["--memory", "64m"])
        self.assertEqual(result.out, "1\n", result.err)
        self.assertIn("No space left", result.err)


class Killed(unittest.TestCase):
    """teacup killed by SIGKILL, at any moment: nothing of its machine stays."""
    TIMES = int(os.environ.get("TEACUP_KILLS", 40))

    @staticmethod
    def processes_with(path):
        found = []
        for links in pathlib.Path("/proc").glob("[0-9]*/fd"):
            try:
                if any(os.readlink(link) == path for link in links.iterdir()):
                    found.append(int(links.parent.name))
            except OSError:
                pass  # gone meanwhile, or another's
        return found

    def test_nothing_stays(self):
        with tempfile.TemporaryDirectory() as scratch:
            image = pathlib.Path(scratch, "image")  # by which this machine's processes are known
            shutil.copy(IMAGE, image)
            random.seed(1)
            for _ in range(self.TIMES):
                words = command("sh", "-c", "while :; do /bin/true & /bin/true; wait; done", image=image)
                machine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(random.uniform(0, 0.05))
                machine.kill()
                machine.wait()
            until = time.monotonic() + TIMEOUT
            while (left := self.processes_with(str(image))) and time.monotonic() < until:
                time.sleep(0.05)
            for process in left:
                os.kill(process, signal.SIGKILL)
            self.assertEqual(left, [])


class Volumes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "file").write_text("text\n")
        (self.folder / "sub").mkdir()

    def test_read_only_by_default(self):
        result = shell("cat /v/file; echo new > /v/file; echo new > /v/other; rm /v/file; ls /v",
                       options=["-v", f"{self.folder}:/v"])
        self.assertEqual(result.out, "text\nfile\nsub\n")
        self.assertEqual(result.err.count("Read-only file system"), 3, result.err)
        self.assertEqual((self.folder / "file").read_text(), "text\n")

    def test_writes_through(self):
        script = ("echo more >> /v/file; echo new > /v/sub/new; mkdir /v/dir; mv /v/sub/new /v/dir/moved; "
                  "ln -s moved /v/dir/link; chmod 700 /v/dir; cat /v/dir/link")
        result = shell(script, options=["-v", f"{self.folder}:/v:rw"])
        self.assertEqual((result.out, result.err), ("new\n", ""))
        self.assertEqual((self.folder / "file").read_text(), "text\nmore\n")
        self.assertEqual((self.folder / "dir/moved").read_text(), "new\n")
        self.assertEqual(os.readlink(self.folder / "dir/link"), "moved")
        self.assertEqual((self.folder / "dir").stat().st_mode & 0o777, 0o700)
        self.assertEqual(os.listdir(self.folder / "sub"), [])

    def test_owner_is_the_guests_user(self):
        result = shell("stat -c %U /v/file; chown 5 /v/file", options=["-v", f"{self.folder}:/v:rw"])
        self.assertEqual(result.out, "root\n")
        self.assertIn("Operation not permitted", result.err)

    def test_one_file(self):
        result = shell("cat /etc/one; echo x >> /etc/one; cat /etc/one",
                       options=["-v", f"{self.folder}/file:/etc/one:rw"])
        self.assertEqual(result.out, "text\ntext\nx\n", result.err)
        self.assertEqual((self.folder / "file").read_text(), "text\nx\n")

    def test_links_do_not_lead_out(self):
        os.symlink("/etc/hostname", self.folder / "absolute")
        os.symlink("../../../../../../etc/hostname", self.folder / "relative")
        result = shell("cat /v/absolute /v/relative", options=["-v", f"{self.folder}:/v", "--hostname", "inside"])
        self.assertEqual(result.out, "inside\ninside\n", result.err)

    def test_changes_of_the_host_are_seen(self):
        self.assertEqual(run("cat", "/v/file", options=["-v", f"{self.folder}:/v"]).out, "text\n")
        (self.folder / "file").write_text("changed\n")
        self.assertEqual(run("cat", "/v/file", options=["-v", f"{self.folder}:/v"]).out, "changed\n")


class Reports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_trace_on_standard_error(self):
        result = run("cat", "/etc/passwd", options=["--trace"])
        self.assertEqual(result.status, 0)
        self.assertRegex(result.err, r'openat\(AT_FDCWD, "/etc/passwd", .*\) = \d+')
        self.assertRegex(result.err, r"exit_group\(0\)")

    def test_trace_to_a_file(self):
        path = self.folder / "trace"
        result = run("cat", "/no/file", options=[f"--trace={path}"])
        self.assertEqual((result.status, result.err), (1, "cat: /no/file: No such file or directory\n"))
        self.assertRegex(path.read_text(), r'"/no/file".* = -1 ENOENT')

    def test_stats(self):
        path = self.folder / "stats"
        self.assertEqual(run("true", options=[f"--stats={path}"]).status, 0)
        stats = json.loads(path.read_text())
        self.assertGreater(stats["rewritten"], 10)
        # What a libc asks before main(): the loader's are patched and answered by the kernel, unless told otherwise.
        self.assertGreater(stats["cpuid"]["sites"], 10)
        self.assertGreater(stats["cpuid"]["answered"], 10)
        self.assertEqual(run("true", options=[f"--stats={path}", "--patch=none"]).status, 0)
        self.assertEqual(json.loads(path.read_text())["cpuid"], {"sites": 0, "answered": 0})
        self.assertEqual(run("true", options=[f"--stats={path}", "--patch=rdtsc,cpuid"]).status, 0)

    def test_file_that_cannot_be_written_is_said_so(self):
        result = run("true", options=["--trace=/no/dir/file"])
        self.assertEqual(result.status, 125)
        self.assertIn("/no/dir/file", result.err)

    def test_modes_give_the_same(self):
        script = "echo a b c | tr ' ' '\\n' | sort -r | head -n 2; (exit 3); echo $?"
        results = [shell(script, options=["--mode", mode]) for mode in ("rewrite", "trap")]
        self.assertEqual([r.out for r in results], ["c\nb\n3\n"] * 2)


if __name__ == "__main__":
    unittest.main()
