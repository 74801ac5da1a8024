"""diff, commit and export: what --upper's file holds, as lines, images, archives and directories."""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from harness import IMAGE, TEACUP, TIMEOUT, command, run

CHANGE = """echo hi > /root/x; mkdir /d; mv /etc/passwd /d/pw; rm /etc/group; ln /root/x /root/y; echo more >> /etc/issue; mv /usr/share/awk /usr/share/AWK
    rm -r /home; mkdir /home; echo s > /home/s; ln -s x /root/l; mkfifo /root/p; chown 12:34 /root/x; chmod 4755 /root/x; touch -d @1000000000.5 /root/x
    truncate -s 100m /root/sparse; printf end >> /root/sparse; chmod 700 /var; perl -e 'mkdir "/root/\\xff"'"""
SHOW = """cd /; cat root/y home/s root/l; tail -n1 etc/issue; ls etc/passwd etc/group usr/share/awk 2>/dev/null; ls d home usr/share/AWK | wc -l; stat -c '%h %u %g %a %s %.9Y' root/x root/y
    stat -c '%F %s' root/p root/sparse; tail -c 4 root/sparse | od -An -c; stat -c %a var; ls -d root/*"""


def teacup(*words, **settings):
    return subprocess.run([str(TEACUP), *map(str, words)], capture_output=True, timeout=TIMEOUT, **settings)


class Results(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.top = pathlib.Path(cls.folder.name)
        cls.upper = cls.top / "upper"
        result = run("sh", "-c", f"{CHANGE}\n{SHOW}", options=["--upper", cls.upper])
        assert (result.status, result.err) == (0, ""), result
        cls.shown = result.out

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def teacup(self, *words, status=0):
        result = teacup(*words)
        self.assertEqual(result.returncode, status, result.stderr)
        return (result.stderr if status else result.stdout).decode(errors="surrogateescape")

    def test_diff(self):
        lines = self.teacup("diff", self.upper).splitlines()
        self.assertEqual([line for line in lines if "/AWK/" not in line],
                         ["A /d", "A /d/pw", "C /etc", "D /etc/group", "C /etc/issue", "D /etc/passwd", "C /home", "A /home/s", "C /root", "A /root/l", "A /root/p",
                          "A /root/sparse", "A /root/x", "A /root/y", "A /root/\udcff", "C /usr", "C /usr/share", "A /usr/share/AWK", "D /usr/share/awk", "C /var"])
        self.assertGreater(len(lines), 30)
        listed = json.loads(self.teacup("diff", "--json", self.upper))
        self.assertEqual(len(listed), len(lines))
        self.assertIn({"kind": "D", "path": "/etc/group"}, listed)

    def test_what_is_no_file(self):
        """A FIFO is not waited for."""
        os.mkfifo(self.top / "pipe")
        for words in ("diff", self.top / "pipe"), ("commit", "--upper", self.top / "pipe", self.top / "x"), ("diff", "/dev/null"), ("diff", self.top):
            self.assertIn("it is not a file", self.teacup(*words, status=125))

    def test_nothing_changed(self):
        upper = self.top / "nothing"
        self.assertEqual(run("true", options=["--upper", upper]).status, 0)
        self.assertEqual(self.teacup("diff", upper), "")

    def test_commit(self):
        for option, options, image in (None, [], self.top / "all.erofs"), ("--changes", ["--layer", self.top / "layer.erofs"], None):
            out = self.top / ("layer.erofs" if option else "all.erofs")
            self.teacup("commit", *([option] if option else []), "--upper", self.upper, out)
            result = run("sh", "-c", SHOW, options=options, image=image)
            self.assertEqual((result.out, result.err), (self.shown, ""))
            # The same again, byte for byte.
            again = self.top / "again.erofs"
            self.teacup("commit", *([option] if option else []), "--upper", self.upper, again)
            self.assertEqual(out.read_bytes(), again.read_bytes())
            self.assertLess((self.top / "layer.erofs").stat().st_size if option else 0, 1 << 20)

    def test_commit_goes_on(self):
        # A layer committed, laid under the next run, committed again over both.
        layer = self.top / "first.erofs"
        self.teacup("commit", "--changes", "--upper", self.upper, layer)
        second = self.top / "second"
        run("sh", "-c", "echo more >> /root/x; rm -r /d; mkdir /d; echo n > /d/n", options=["--layer", layer, "--upper", second])
        self.assertEqual(self.teacup("diff", second).splitlines(), ["C /d", "A /d/n", "C /root", "C /root/x", "C /root/y"])
        self.teacup("commit", "--upper", second, self.top / "both.erofs")
        self.assertEqual(run("sh", "-c", "cat /root/y; ls /d; stat -c %h /root/y", image=self.top / "both.erofs").out, "hi\nmore\nn\n2\n")

    def test_export(self):
        out = self.top / "out"
        self.teacup("export", "--upper", self.upper, "--path", "/root", out)
        self.assertEqual((out / "y").read_text(), "hi\n")
        self.assertEqual((out / "x").stat().st_ino, (out / "y").stat().st_ino)
        self.assertEqual(os.readlink(out / "l"), "x")
        self.assertEqual((out / "sparse").stat().st_size, (100 << 20) + 3)
        self.assertLess((out / "sparse").stat().st_blocks, 1000)
        self.assertIn("is there already", self.teacup("export", "--upper", self.upper, out, status=125))
        self.assertEqual([p.name for p in self.top.glob("out*")], ["out"])

    def test_export_to_an_archive(self):
        tar = self.top / "all.tar"
        self.teacup("export", "--upper", self.upper, tar)
        with tarfile.open(tar) as archive:
            names = archive.getnames()
            self.assertIn("./home/s", names)
            self.assertNotIn("./etc/group", names)
            x, y = archive.getmember("./root/x"), archive.getmember("./root/y")
            self.assertEqual((x.uid, x.gid, x.mode, x.mtime, y.islnk(), y.linkname), (12, 34, 0o4755, 1000000000.5, True, "./root/x"))
        # What was exported runs as it did.
        self.assertEqual(run("sh", "-c", SHOW, image=tar, env=dict(os.environ, XDG_CACHE_HOME=str(self.top / "cache"))).out, self.shown)
        self.assertEqual(self.teacup("export", "--upper", self.upper, "--path", "/root/x", "-")[:8], "./\0\0\0\0\0\0")
        self.assertIn("there is no '/none'", self.teacup("export", "--upper", self.upper, "--path", "/none", "-", status=125))

    def test_images_alone(self):
        out = self.top / "etc"
        self.teacup("export", "--path", "etc", IMAGE, out)
        self.assertTrue((out / "passwd").exists())

    def test_links_lead_nowhere(self):
        # What the guest leaves is written where it was told to, whatever its links say.
        victim = self.top / "victim"
        victim.mkdir()
        upper = self.top / "hostile"
        run("sh", "-c", f"mkdir -p /e; ln -s {victim} /e/dir; ln -s ../../../../../..{victim}/f /e/f; ln -s /e/dir /e/dir2", options=["--upper", upper])
        self.teacup("export", "--upper", upper, "--path", "/e", self.top / "links")
        self.assertEqual(list(victim.iterdir()), [])
        self.assertTrue((self.top / "links/dir").is_symlink())
        self.assertIn("refused", self.teacup("export", "--upper", upper, "--path", "/e/../../etc/shadow-", self.top / "up", status=125))

    def test_images_that_moved(self):
        image, upper = self.top / "moving.erofs", self.top / "moved"
        shutil.copy(IMAGE, image)
        run("sh", "-c", "echo x > /x", options=["--upper", upper], image=image)
        image.rename(self.top / "elsewhere.erofs")
        self.teacup("diff", upper, status=125)
        self.assertEqual(self.teacup("diff", self.top / "elsewhere.erofs", upper), "A /x\n")
        self.assertIn("is not the image", self.teacup("diff", IMAGE.with_suffix(".ext4"), upper, status=125))

    def test_in_use(self):
        from harness import finish, start
        process = start("sh", "-c", "echo on; read x", options=["--upper", self.top / "used"])
        try:
            process.stdout.readline()
            self.assertIn("another machine has it", self.teacup("diff", self.top / "used", status=125))
        finally:
            finish(process, b"\n")


class RunExport(unittest.TestCase):
    """run --export GUEST:HOST."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = pathlib.Path(folder.name)

    def export(self, script, *pairs, status=0, options=()):
        for guest, host in pairs:
            options = [*options, "--export", f"{guest}:{host}"]
        result = run("sh", "-c", script, options=options, env=dict(os.environ, TMPDIR=str(self.top)), cwd=self.top)
        self.assertEqual(result.status, status, result.err)
        # Nothing temporary is left.
        self.assertEqual([p.name for p in self.top.iterdir() if p.name.startswith("teacup-") or "." in p.name.removesuffix(".tar")], [])
        return result

    def test_directories_and_files(self):
        self.export("mkdir -p /out/sub; echo a > /out/a; ln /out/a /out/sub/b; echo bin > /app; chmod 755 /app; exit 3", ("/out", "out"), ("/app", self.top / "app"),
                    ("/etc/passwd", "p.tar"), status=3)
        self.assertEqual((self.top / "out/sub/b").read_text(), "a\n")
        self.assertEqual((self.top / "out/a").stat().st_nlink, 2)
        self.assertEqual((self.top / "app").stat().st_mode & 0o777, 0o755)
        self.assertIn("root:", (self.top / "p.tar").read_text())
        # A file is replaced; what was there is there until then.
        self.export("echo new > /app", ("/app", "app"))
        self.assertEqual((self.top / "app").read_text(), "new\n")

    def test_kept_too(self):
        upper = self.top / "upper"
        self.export("echo 1 > /app", ("/app", "app"), options=["--upper", upper])
        self.export("echo 2 >> /app", ("/app", "app"), options=["--upper", upper])
        self.assertEqual((self.top / "app").read_text(), "1\n2\n")

    def test_refused_before_anything_runs(self):
        (self.top / "there").mkdir()
        os.mkfifo(self.top / "pipe")
        for pair in ("/x", "there"), ("/x", "no/such/x"), ("x", "y"), ("/x", ""), ("/x", "pipe"):
            self.assertEqual(self.export("echo ran", pair, status=125).out, "")

    def test_what_is_not_there(self):
        self.assertIn("there is no '/none'", self.export("true", ("/none", "none"), status=125).err)
        self.assertFalse((self.top / "none").exists())

    def test_the_guest_cannot_say_where(self):
        victim = self.top / "victim"
        victim.mkdir()
        self.export(f"mkdir /out; ln -s {victim} /out/link; ln -s {victim} /real; mkdir -p /out/..; echo x > /out/f; ln -sfn {victim} /out2", ("/out", "out"), ("/out2", "out2"))
        self.assertEqual(list(victim.iterdir()), [])
        self.assertTrue((self.top / "out/link").is_symlink())
        self.assertTrue((self.top / "out2").is_symlink())

    def test_a_machine_that_is_killed_leaves_nothing(self):
        words = command("sh", "-c", "mkdir /out; echo x > /out/x; sync; echo on; read x", options=["--export", f"/out:{self.top}/out"])
        before = sorted(os.listdir(self.top))
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, TMPDIR=str(self.top)))
        process.stdout.readline()
        process.kill()
        process.communicate()
        self.assertEqual(sorted(os.listdir(self.top)), before)


if __name__ == "__main__":
    unittest.main()
