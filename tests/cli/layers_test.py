"""--layer, and what stands over images: volumes that copy on write, --tmpfs, --read-only."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from harness import IMAGE, TEACUP, run, shell

# Of two layers: what the base image does not have, so that a listing shows just this.
LOWER = {
    "t/": None, "t/low": "low\n", "t/both": "lower\n", "t/gone": "gone\n", "t/linked": "linked\n", "t/again": ("link", "t/linked"),
    "t/d/": None, "t/d/a": "a\n", "t/d/b": "b\n", "t/d/sub/": None, "t/d/sub/x": "x\n",
    "t/opaque/": None, "t/opaque/hidden": "hidden\n", "t/was-dir/": None, "t/was-dir/f": "f\n", "t/was-file": "file\n",
    "t/gone-dir/": None, "t/gone-dir/f": "f\n",
}
UPPER = {
    "t/": None, "t/up": "up\n", "t/both": "upper\n", "t/gone": "whiteout", "t/gone-dir": "whiteout", "t/never-was": "whiteout",
    "t/d/": None, "t/d/a": "whiteout", "t/d/c": "c\n", "t/d/b": "b of upper\n", "t/d/sub/": None, "t/d/sub/y": "y\n",
    "t/opaque/": "opaque", "t/opaque/shown": "shown\n", "t/was-dir": "file now\n", "t/was-file/": None, "t/was-file/g": "g\n",
}
MERGED = """./again linked
./both upper
./d/b b of upper
./d/c c
./d/sub/x x
./d/sub/y y
./linked linked
./low low
./opaque/shown shown
./up up
./was-dir file now
./was-file/g g
"""
SHOW = "cd /t && find . -type f | LC_ALL=C sort | while read f; do echo \"$f $(cat $f)\"; done"


def write_tar(path, tree, oci=False):
    """A layer; its marks as overlayfs has them, or as OCI layers do."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for name, content in tree.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mtime = 1_000_000_000
            data = b""
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                if content == "opaque" and not oci:
                    info.pax_headers = {"SCHILY.xattr.trusted.overlay.opaque": "y"}
            elif isinstance(content, tuple):
                info.type, info.linkname = tarfile.LNKTYPE, content[1]
            elif content == "whiteout" and oci:
                info.name = os.path.join(os.path.dirname(name), ".wh." + os.path.basename(name))
            elif content == "whiteout":
                info.type = tarfile.CHRTYPE
            else:
                data = content.encode()
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
            if content == "opaque" and oci:
                out.addfile(tarfile.TarInfo(name + ".wh..wh..opq"))


def command(*words):
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert result.returncode == 0, (words, result.stdout, result.stderr)


class Layers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        top = cls.top = pathlib.Path(cls.folder.name)
        os.environ["XDG_CACHE_HOME"] = str(top / "cache")
        for name, tree in ("lower", LOWER), ("upper", UPPER):
            write_tar(top / f"{name}.tar", tree)
            command(TEACUP, "pack", top / f"{name}.tar", top / f"{name}.erofs")
            command(TEACUP, "pack", top / f"{name}.tar", top / f"{name}.ext4")
        write_tar(top / "oci.tar", UPPER, oci=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def shell(self, script, *layers, options=(), **settings):
        if not layers:
            layers = "lower.erofs", "upper.erofs"
        for layer in layers:
            options = [*options, "--layer", self.top / layer]
        result = shell(script, options=options, **settings)
        self.assertEqual((result.status, result.err), (0, ""), result.out)
        return result.out

    def test_merged(self):
        self.assertEqual(self.shell(SHOW), MERGED)

    def test_in_every_format(self):
        self.assertEqual(self.shell(SHOW, "lower.ext4", "upper.ext4"), MERGED)
        self.assertEqual(self.shell(SHOW, "lower.erofs", "upper.ext4"), MERGED)
        self.assertEqual(self.shell(SHOW, "lower.ext4", "upper.tar"), MERGED)
        self.assertEqual(self.shell(SHOW, "lower.tar", "oci.tar"), MERGED)
        if shutil.which("tar2sqfs"):
            for name in "lower", "upper":
                with open(self.top / f"{name}.tar") as tar:
                    subprocess.run(["tar2sqfs", "-q", str(self.top / f"{name}.squashfs")], stdin=tar, check=True, stderr=subprocess.DEVNULL)
            self.assertEqual(self.shell(SHOW, "lower.squashfs", "upper.squashfs"), MERGED)

    def test_a_directory_as_a_layer(self):
        (self.top / "dir/t").mkdir(parents=True)
        (self.top / "dir/t/both").write_text("of the directory\n")
        self.assertEqual(self.shell("cat /t/both; cat /t/low", "lower.erofs", "dir"), "of the directory\nlow\n")

    def test_order(self):
        self.assertEqual(self.shell("cat /t/both", "upper.erofs", "lower.erofs"), "lower\n")

    def test_pinned(self):
        result = shell("true", options=["--layer", f"{self.top}/lower.erofs@sha256:{'0' * 64}"])
        self.assertEqual(result.status, 125)
        self.assertIn("not the image that was asked for", result.err)

    def test_no_duplicates_and_stable_numbers(self):
        script = "cd /t; ls -a d; stat -c %i d/b d/c low both linked again > /tmp/1; ls -lR /t > /tmp/ls; stat -c %i d/b d/c low both linked again | cmp - /tmp/1"
        self.assertEqual(self.shell(script), ".\n..\nb\nc\nsub\n")
        numbers = self.shell("stat -c %i /t/linked /t/again /t/d/c").split()
        self.assertEqual(numbers[0], numbers[1])
        self.assertEqual(self.shell("stat -c %i /t/linked /t/again /t/d/c").split(), numbers)
        self.assertEqual(self.shell("stat -c %h /t/linked; echo more >> /t/linked; cat /t/again"), "2\nlinked\nmore\n")

    def test_rename_of_a_merged_directory(self):
        script = """cd /t; mv d e; ls e e/sub; mkdir d; ls d; echo new > d/a; ls d; mv e/sub sub; ls sub; ls e
            rm -r e; ls -d e 2>&1 | grep -c 'No such'; mv d/a d/z; mv /t /s; ls /s/d; cat /s/both; ls -d /t 2>&1 | grep -c 'No such'"""
        self.assertEqual(self.shell(script), "e:\nb\nc\nsub\n\ne/sub:\nx\ny\na\nx\ny\nb\nc\n1\nz\nupper\n1\n")

    def test_removed_and_made_again(self):
        script = "cd /t; rm both; cat both 2>&1 | grep -c 'No such'; echo x > both; cat both; rm -r d; mkdir d; ls -A d; rmdir d opaque 2>&1 | grep -c 'not empty'"
        self.assertEqual(self.shell(script), "1\nx\n1\n")

    def test_links_are_enough_for_rmdir(self):
        script = "cd /t; mkdir d/n1 d/n2; rmdir d/n1 d/n2; rm -r d/sub; touch d/ok && ls d"
        self.assertEqual(self.shell(script), "b\nc\nok\n")

    def test_links_are_counted(self):
        script = """find /t -type d | while read d; do
            echo "$(stat -c %h $d) $(find $d -maxdepth 1 -type d | wc -l)"; done | awk '$1 != $2 + 1 { print "wrong:", $0 } END { print NR }'
            rmdir /t/was-file 2>/dev/null; rm -r /t/d/sub; mkdir /t/d/one /t/d/two; stat -c %h /t/d"""
        self.assertEqual(self.shell(script), "5\n4\n")
        self.assertEqual(self.shell(script, "lower.ext4", "upper.ext4"), "5\n4\n")

    def test_marks_are_not_seen(self):
        script = "ls /t/gone /t/never-was 2>&1 | grep -c 'No such'; perl -e 'my $p = \"/t/opaque\"; my $b = \"\\0\" x 64; print syscall(194, $p, $b, 64), \"\\n\"'"
        self.assertEqual(self.shell(script), "2\n0\n")  # listxattr

    def test_programs_of_layers(self):
        # A layer's program, patched and mapped from its own image.
        programs = pathlib.Path(os.environ.get("TEACUP_PROGRAMS", TEACUP.parent / "tests/guest"))
        tree = self.top / "prog/opt"
        tree.mkdir(parents=True)
        shutil.copy(programs / "static/hello", tree)
        command(TEACUP, "pack", tree.parent, self.top / "prog.erofs")
        report = self.top / "stats"
        self.shell("exec /opt/hello", "lower.erofs", "prog.erofs", options=[f"--stats={report}"])
        stats = json.loads(report.read_text())
        self.assertLessEqual(stats["trapped"], 1, stats)

    def test_damaged_layer(self):
        (self.top / "bad.erofs").write_bytes((self.top / "lower.erofs").read_bytes()[:2000])
        result = shell("true", options=["--layer", self.top / "bad.erofs"])
        self.assertEqual(result.status, 125)
        self.assertIn("teacup run:", result.err)
        self.assertNotIn("panic", result.err)

    def test_as_many_as_there_may_be(self):
        self.assertEqual(self.shell("cat /t/up", *["lower.erofs"] * 30, "upper.erofs", *["lower.erofs"] * 32), "up\n")
        result = shell("true", options=["--layer", self.top / "lower.erofs"] * 64)
        self.assertEqual(result.status, 125)
        self.assertIn("more than 64 layers", result.err)


class CopyUp(unittest.TestCase):
    def test_a_page_not_the_file(self):
        # One byte of a file of 1 GiB, in a machine of 64 MiB.
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder, "tree")
            tree.mkdir()
            with open(tree / "large", "wb") as out:
                for i in range(0, 1 << 30, 64 << 20):
                    out.seek(i)
                    out.write(b"x" * 4096)
                out.truncate(1 << 30)
            image = os.path.join(folder, "large.erofs")
            command(TEACUP, "pack", tree, image)
            script = """used() { awk '/^MemFree/ { print $2 }' /proc/meminfo; }
                a=$(used); printf y | dd of=/large bs=1 seek=500000000 conv=notrunc 2>/dev/null; b=$(used)
                echo $((a - b < 1024)); dd if=/large bs=1 skip=499999999 count=3 2>/dev/null | od -An -c; stat -c %s /large"""
            result = shell(script, options=["--memory", "64m", "--layer", image])
            self.assertEqual(result.out, "1\n  \\0   y  \\0\n1073741824\n", result.err)


class Mounts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.top = pathlib.Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def shell(self, script, *options, **settings):
        result = shell(script, options=options, **settings)
        self.assertEqual((result.status, result.err), (0, ""), result.out)
        return result.out

    def snapshot(self):
        return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
                      for path in self.top.rglob("*"))

    def test_cow_keeps_what_is_written_in_the_machine(self):
        (self.top / "sub").mkdir()
        (self.top / "f").write_text("host\n")
        (self.top / "sub/g").write_text("host too\n")
        os.symlink("f", self.top / "l")
        before = self.snapshot()
        out = self.shell("cd /v && echo more >> f && cat f l && rm -r sub && mkdir sub && ls sub && mv f h && ls && echo x > new && chmod 600 h && ln h i && stat -c %h i",
                         "-v", f"{self.top}:/v:cow")
        self.assertEqual(out, "host\nmore\nhost\nmore\nh\nl\nsub\n2\n")
        self.assertEqual(self.snapshot(), before)

    def test_cow_is_the_users(self):
        (self.top / "f").write_text("x")
        self.assertEqual(self.shell("stat -c %u /v /v/f; echo y > /v/f; cat /v/f", "-v", f"{self.top}:/v:cow", "-u", "1234"), "1234\n1234\ny\n")

    def test_cow_of_a_file(self):
        file = self.top / "f"
        file.write_text("host\n")
        self.assertEqual(self.shell("echo more >> /opt/f; cat /opt/f", "-v", f"{file}:/opt/f:cow"), "host\nmore\n")
        self.assertEqual(file.read_text(), "host\n")

    def test_read_only(self):
        out = self.shell("touch /x 2>&1; (echo y > /etc/passwd) 2>&1; touch /tmp/x 2>&1; touch /dev/shm/x /run/x && echo both", "--read-only", "--tmpfs", "/run")
        self.assertEqual(out.count("Read-only file system"), 3, out)
        self.assertTrue(out.endswith("both\n"), out)

    def test_tmpfs(self):
        out = self.shell("cd /t/s && df -k . | awk 'END { print $2, $4 }'; dd if=/dev/zero of=x bs=4k 2>&1 | grep -o 'No space left'; stat -c %s x; "
                         "df -k . | awk 'END { print $4 }'; rm x; df -k . | awk 'END { print $4 }'; stat -c %a .; cp /bin/true . && ./true && echo runs",
                         "--tmpfs", "/t/s:size=1m,mode=750,exec")
        self.assertEqual(out, "1024 1024\nNo space left\n1048576\n0\n1024\n750\nruns\n")
        self.assertIn("Permission denied", self.shell("cp /bin/true /x; /x/true 2>&1; true", "--tmpfs", "/x"))

    def test_free_and_df_tell_the_truth(self):
        script = """free() { awk '/^MemFree/ { print $2 }' /proc/meminfo; }; left() { df -k / | awk 'END { print $4 }'; }
            awk '/^MemTotal/ { print $2 }' /proc/meminfo
            a=$(free) c=$(left); head -c 20m /dev/zero > /x; b=$(free) d=$(left); echo $(((a - b) / 1024)) $(((c - d) / 1024))
            # As much as df says fits, no more.
            head -c $((d - 1024))k /dev/zero > /y && echo fits; head -c 8m /dev/zero 2>&1 > /z | grep -o 'No space left'; left; rm /x /y /z
            e=$(left); echo $(((c - e) < 1024))"""
        out = self.shell(script, "--memory", "128m").splitlines()
        self.assertEqual((out[0], out[2], out[3], out[5]), (str(128 * 1024), "fits", "No space left", "1"), out)
        for taken in out[1].split():
            self.assertIn(int(taken), (19, 20, 21), out)
        self.assertLess(int(out[4]), 1024)


if __name__ == "__main__":
    unittest.main()
