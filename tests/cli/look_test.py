"""teacup ls, cat, stat and inspect: what they show of images of every format is what the host shows of their tree."""

import json
import os
import pathlib
import stat
import subprocess
import tempfile
import unittest

from harness import TEACUP, TIMEOUT, Terminal


def teacup(*arguments, status=0, text=True):
    result = subprocess.run([TEACUP, *map(str, arguments)], capture_output=True, text=text, timeout=TIMEOUT)
    if result.returncode != status:
        raise AssertionError(f"{arguments}: exit status {result.returncode}: {result.stderr}")
    return result


class Look(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.top = pathlib.Path(cls.scratch.name)
        cls.tree = cls.top / "tree"
        (cls.tree / "etc").mkdir(parents=True)
        (cls.tree / "bin").mkdir()
        (cls.tree / "etc/passwd").write_text(f"keeper:x:{os.getuid()}:{os.getgid()}::/:/bin/sh\nbroken\n")
        (cls.tree / "etc/group").write_text(f"keepers:x:{os.getgid()}:\n")
        (cls.tree / "bin/tool").write_bytes(bytes(range(256)) * 2000)
        (cls.tree / "bin/tool").chmod(0o4755)
        (cls.tree / "link").symlink_to("bin/tool")
        os.link(cls.tree / "bin/tool", cls.tree / "bin/other")
        os.mkfifo(cls.tree / "fifo", 0o600)
        with open(cls.tree / "hollow", "wb") as hollow:
            hollow.write(b"start")
            hollow.seek(1 << 20)
            hollow.write(b"end")
        with open(os.fsencode(cls.tree) + b"/not\xffutf8", "wb"):
            pass
        subprocess.run(["find", cls.tree, "-exec", "touch", "-h", "-d", "@1000000000", "{}", "+"], check=True)
        cls.images = {}
        for name in ("a.erofs", "a.ext4"):
            cls.images[name] = cls.top / name
            teacup("pack", "-q", cls.tree, cls.top / name)
        cls.images["a.squashfs"] = cls.top / "a.squashfs"
        subprocess.run(["mksquashfs", cls.tree, cls.top / "a.squashfs", "-quiet", "-no-progress"], check=True,
                       stdout=subprocess.DEVNULL)
        cls.images["lz4.erofs"] = cls.top / "lz4.erofs"
        subprocess.run(["mkfs.erofs", "-zlz4", cls.top / "lz4.erofs", cls.tree], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        cls.images["a.tar"] = cls.top / "a.tar"
        subprocess.run(["tar", "-C", cls.tree, "-cf", cls.top / "a.tar", "."], check=True)
        os.environ["XDG_CACHE_HOME"] = str(cls.top / "cache")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def each(self):
        for name, image in self.images.items():
            with self.subTest(name):
                yield image

    def test_ls_lists_what_is_there(self):
        for image in self.each():
            rows = json.loads(teacup("ls", "-R", "--json", image).stdout)
            found = {bytes.fromhex(row["name_hex"]) if "name_hex" in row else os.fsencode(row["name"]): row for row in rows}
            expected = {}
            for directory, folders, files in os.walk(os.fsencode(self.tree)):
                for name in folders + files:
                    path = os.path.join(directory, name)
                    expected[path.removeprefix(os.fsencode(self.tree))] = os.lstat(path)
            self.assertEqual(found.keys(), expected.keys())
            for path, status in expected.items():
                row = found[path]
                self.assertEqual(int(row["mode"], 8), stat.S_IMODE(status.st_mode), path)
                self.assertEqual((row["uid"], row["gid"]), (status.st_uid, status.st_gid), path)
                self.assertEqual(row["mtime"], 1000000000, path)
                if not stat.S_ISDIR(status.st_mode):
                    self.assertEqual((row["size"], row["links"]), (status.st_size, status.st_nlink), path)

    def test_ls_looks_like_ls(self):
        environment = dict(os.environ, TZ="UTC")
        for image in self.each():
            shown = subprocess.run([TEACUP, "ls", image, "/bin/tool", "/link"], capture_output=True, text=True, env=environment)
            lines = shown.stdout.splitlines()
            self.assertEqual(lines[0], "-rwsr-xr-x 2 keeper keepers 512000 2001-09-09 01:46 /bin/tool")
            self.assertRegex(lines[1], r"^lrwxrwxrwx 1 keeper keepers 8 2001-09-09 01:46 /link -> bin/tool$")
            self.assertEqual(teacup("ls", "-1", image, "bin").stdout, "other\ntool\n")
            self.assertEqual(len(teacup("ls", "-n", image, "-d", "bin").stdout.splitlines()), 1)
            both = teacup("ls", "-1", image, "bin", "etc").stdout
            self.assertEqual(both, "bin:\nother\ntool\n\netc:\ngroup\npasswd\n")

    def test_cat(self):
        for image in self.each():
            both = teacup("cat", image, "link", "hollow", text=False).stdout
            self.assertEqual(both, (self.tree / "bin/tool").read_bytes() + (self.tree / "hollow").read_bytes())
            with open("/dev/full", "w") as full:
                result = subprocess.run([TEACUP, "cat", image, "link"], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, 125)
            self.assertIn("cannot be written", result.stderr)

    def test_stat(self):
        for image in self.each():
            text = teacup("stat", image, "/bin/tool").stdout
            self.assertIn("Access: (4755/-rwsr-xr-x)", text)
            self.assertIn("/  keeper)", text)
            row, = json.loads(teacup("stat", "--json", "-L", image, "link").stdout)
            self.assertEqual((row["size"], row["links"], row["type"]), (512000, 2, "regular file"))
            self.assertEqual(sum(row["data"].values()), 512000)
        row, = json.loads(teacup("stat", "--json", self.images["a.erofs"], "hollow").stdout)
        self.assertGreater(row["data"]["holes"], 900_000)
        self.assertEqual(row["data"]["decoded"], 0)

    def test_exit_status(self):
        for image in self.each():
            for command in ("ls", "cat", "stat"):
                result = teacup(command, image, "nosuch", "etc/passwd", status=1)
                self.assertIn("no such file", result.stderr)
                self.assertIn("passwd" if command != "cat" else "keeper", result.stdout)
            self.assertIn("is a directory", teacup("cat", image, "/etc", status=1).stderr)
            self.assertIn("not a directory", teacup("ls", image, "/etc/passwd/x", status=1).stderr)
        for command in ("ls", "cat", "stat", "inspect"):
            teacup(command, self.top / "nosuch", *(["x"] if command == "cat" else []), status=125)
            teacup(command, TEACUP, *(["x"] if command == "cat" else []), status=125)
            teacup(command, status=125)

    def test_inspect(self):
        formats = {"a.erofs": "erofs", "a.ext4": "ext4", "a.squashfs": "squashfs", "lz4.erofs": "erofs", "a.tar": "tar"}
        for image in self.each():
            facts = json.loads(teacup("inspect", "--json", "--digest", image).stdout)
            self.assertEqual(facts["format"], formats[image.name])
            self.assertEqual(facts["size"], image.stat().st_size)
            pinned = f"{image}@{facts['digest']}"
            self.assertIn("Format ", teacup("inspect", pinned).stdout)
            self.assertEqual(teacup("ls", "-1", pinned, "bin").stdout, "other\ntool\n")
            teacup("ls", f"{image}@sha256:{'0' * 64}", status=125)
        self.assertEqual(json.loads(teacup("inspect", "--json", self.images["lz4.erofs"]).stdout)["compression"], "lz4")
        self.assertEqual(json.loads(teacup("inspect", "--json", self.images["a.squashfs"]).stdout)["compression"], "gzip")
        self.assertEqual(json.loads(teacup("inspect", "--json", self.tree).stdout)["format"], "directory")

    def test_directories(self):
        self.assertEqual(teacup("ls", "-1", self.tree, "bin").stdout, "other\ntool\n")
        self.assertEqual(teacup("cat", self.tree, "/bin/tool", text=False).stdout, (self.tree / "bin/tool").read_bytes())

    def test_rewrite_takes_every_format(self):
        counts = {json.loads(teacup("rewrite", "--json", "--image", image).stdout)["regular_files"] for image in self.each()}
        self.assertEqual(len(counts), 1)

    def test_colour_on_terminals_only(self):
        image = str(self.images["a.erofs"])
        self.assertNotIn(b"\033", teacup("ls", image, text=False).stdout)
        with Terminal([str(TEACUP), "ls", image]) as terminal:
            terminal.expect("\033\\[34mbin\033\\[0m")
            self.assertEqual(terminal.wait(), 0)


if __name__ == "__main__":
    unittest.main()
