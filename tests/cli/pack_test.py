"""teacup pack: what it makes of its arguments, and what it says. The images themselves are tests/unit/images' business."""

import hashlib
import json
import os
import pathlib
import pty
import subprocess
import tempfile
import time
import unittest

from harness import TEACUP, TIMEOUT


class Pack(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.top = pathlib.Path(self.scratch.name)
        (self.top / "tree").mkdir()
        (self.top / "tree/hello").write_text("hello\n")
        os.utime(self.top / "tree/hello", (2_000_000_000, 2_000_000_000))

    def tearDown(self):
        self.scratch.cleanup()

    def pack(self, *arguments, status=0, **settings):
        result = subprocess.run([TEACUP, "pack", *arguments], capture_output=True, text=True, timeout=TIMEOUT, cwd=self.top,
                                **settings)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, "")
        if status == 0:
            self.assertEqual(result.stderr, "")
        return result.stderr

    def test_formats(self):
        self.pack("tree", "a.erofs")
        self.pack("tree", "a.ext4")
        self.pack("tree", "b.ext4", "--format", "erofs")
        self.pack("tree", "a.squashfs")
        self.pack("tree", "c", "--format", "squashfs", "--compression", "zstd")
        self.assertEqual((self.top / "a.squashfs").read_bytes(), (self.top / "c").read_bytes())
        self.assertEqual((self.top / "c").read_bytes()[:4], b"hsqs")
        self.assertEqual((self.top / "a.erofs").read_bytes()[1024:1028], b"\xe2\xe1\xf5\xe0")
        self.assertEqual((self.top / "a.ext4").read_bytes()[1080:1082], b"\x53\xef")
        self.assertEqual((self.top / "a.erofs").read_bytes(), (self.top / "b.ext4").read_bytes())

    def test_archives_are_not_what_pack_writes(self):
        self.assertIn("teacup export", self.pack("tree", "a.tar", status=125))
        self.assertFalse((self.top / "a.tar").exists())
        self.pack("tree", "a.tar", "--format", "erofs")

    def test_an_archive_gives_what_its_tree_gives(self):
        options = ["--sort=name", "--owner=0:0", "--group=0:0"]
        subprocess.run(["tar", "-C", "tree", *options, "-czf", "t.tgz", "."], cwd=self.top, check=True)
        self.pack("--root-owned", "tree", "tree.erofs")
        self.pack("t.tgz", "tar.erofs")
        with open(self.top / "t.tgz", "rb") as archive:
            subprocess.run([TEACUP, "pack", "-", "stdin.erofs"], stdin=archive, cwd=self.top, check=True)
        self.assertEqual((self.top / "tar.erofs").read_bytes(), (self.top / "stdin.erofs").read_bytes())

    def test_a_pipe_is_read_once(self):
        os.mkfifo(self.top / "pipe")
        subprocess.run(["tar", "-C", "tree", "-cf", "t.tar", "."], cwd=self.top, check=True)
        self.pack("t.tar", "tree.erofs")
        for source in ("pipe", "/dev/stdin"):
            with subprocess.Popen("cat t.tar > pipe" if source == "pipe" else "cat t.tar", shell=True, cwd=self.top, stdout=subprocess.PIPE) as cat:
                self.pack(source, "a.erofs", stdin=cat.stdout)
            self.assertEqual((self.top / "a.erofs").read_bytes(), (self.top / "tree.erofs").read_bytes())

    def test_source_date_epoch(self):
        environment = dict(os.environ, SOURCE_DATE_EPOCH="1000000000")
        for name in ("a.erofs", "b.erofs"):
            self.pack("tree", name, env=environment)
            os.utime(self.top / "tree/hello")
        self.assertEqual((self.top / "a.erofs").read_bytes(), (self.top / "b.erofs").read_bytes())
        self.assertIn("SOURCE_DATE_EPOCH", self.pack("tree", "c", env=dict(os.environ, SOURCE_DATE_EPOCH="now"),
                                                     status=125))

    def test_images_of_any_format_are_sources(self):
        os.symlink("hello", self.top / "tree/link")
        self.pack("tree", "direct.erofs")
        for name in ("a.squashfs", "a.ext4", "a.erofs"):
            self.pack("tree", name)
            self.pack(name, "again.erofs")
            self.assertEqual((self.top / "again.erofs").read_bytes() == (self.top / "direct.erofs").read_bytes(),
                             name != "a.squashfs", name)  # which has no nanoseconds
        (self.top / "over").mkdir()
        (self.top / "over/hello").write_text("goodbye\n")
        self.pack("over", "over.squashfs")
        self.pack("a.ext4", "over.squashfs", "both.erofs")
        shown = subprocess.run([TEACUP, "cat", "both.erofs", "link"], cwd=self.top, capture_output=True, check=True)
        self.assertEqual(shown.stdout, b"goodbye\n")

    def test_oci_layouts_are_sources(self):
        layer = subprocess.run(["tar", "-C", "tree", "-cf", "-", "."], cwd=self.top, check=True, capture_output=True).stdout
        blobs = self.top / "layout/blobs/sha256"
        blobs.mkdir(parents=True)

        def blob(data):
            digest = hashlib.sha256(data).hexdigest()
            (blobs / digest).write_bytes(data)
            return {"digest": f"sha256:{digest}", "size": len(data)}

        config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
                                  "rootfs": {"type": "layers", "diff_ids": []}}).encode())
        manifest = blob(json.dumps({
            "schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob(layer)}]}).encode())
        (self.top / "layout/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest}]}))
        (self.top / "layout/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        subprocess.run(["tar", "-C", "layout", "-cf", "layout.tar", "."], cwd=self.top, check=True)
        environment = dict(os.environ, XDG_CACHE_HOME=str(self.top / "cache"))
        for source in ("layout", "layout.tar"):
            self.pack(source, "a.erofs", env=environment)
            shown = subprocess.run([TEACUP, "ls", "-1", "a.erofs"], cwd=self.top, capture_output=True, check=True)
            self.assertEqual(shown.stdout, b"hello\n")
        self.assertIn("give it first", self.pack("tree", "layout.tar", "b.erofs", status=125))

    def test_later_sources_lie_over_earlier_ones(self):
        (self.top / "over").mkdir()
        (self.top / "over/hello").write_text("goodbye\n")
        self.pack("tree", "over", "a.erofs")
        self.assertIn(b"goodbye", (self.top / "a.erofs").read_bytes())
        self.assertNotIn(b"hello\n", (self.top / "a.erofs").read_bytes())

    def test_errors_name_what_was_wrong(self):
        self.assertIn("no source", self.pack(status=125))
        self.assertIn("no image", self.pack("tree", status=125))
        self.assertIn("nowhere", self.pack("nowhere", "a.erofs", status=125))
        self.assertIn("inside", self.pack("tree", "tree/a.erofs", status=125))
        self.assertIn("--compression", self.pack("--compression", "xz", "tree", "a.erofs", status=125))
        self.assertIn("lzma", self.pack("--compression", "lzma", "tree", "a.squashfs", status=125))
        self.assertIn("--label", self.pack("--label", "x", "tree", "a.squashfs", status=125))
        self.assertIn("--format 'zip'", self.pack("-f", "zip", "tree", "a", status=125))
        (self.top / "noise").write_bytes(bytes(range(256)) * 40)
        self.assertIn("noise", self.pack("noise", "a.erofs", status=125))
        self.assertIn("cannot write", self.pack("tree", "missing/a.erofs", status=125))
        self.assertEqual(sorted(path.name for path in self.top.iterdir()), ["noise", "tree"])

    def test_nothing_but_a_file_is_replaced(self):
        """Who may rename in /dev must not lose a device to an image, nor /dev/stdout."""
        os.mkfifo(self.top / "pipe")
        (self.top / "null").symlink_to("/dev/null")
        (self.top / "out").symlink_to("/proc/self/fd/1")
        for name in ("pipe", "null", "out"):
            before = os.lstat(self.top / name)
            for command in (["pack", "--format", "erofs", "tree", name], ["pack", "--format", "squashfs", "tree", name],
                            ["pack", "--format", "ext4", "tree", name], ["export", "--directory", "--path", "/hello", "a.erofs", name]):
                if command[0] == "export":
                    self.pack("tree", "a.erofs")
                refused = subprocess.run([TEACUP, *command], capture_output=True, text=True, timeout=TIMEOUT, cwd=self.top)
                self.assertEqual(refused.returncode, 125, command)
                self.assertIn("nothing is put in its place", refused.stderr)
            self.assertEqual(os.lstat(self.top / name).st_ino, before.st_ino)
            os.rename(self.top / name, self.top / f"{name}.tar")
            refused = subprocess.run([TEACUP, "export", "a.erofs", f"{name}.tar"], capture_output=True, text=True, timeout=TIMEOUT, cwd=self.top)
            self.assertIn("nothing is put in its place", refused.stderr)
        self.assertEqual(sorted(os.listdir(self.top)), ["a.erofs", "null.tar", "out.tar", "pipe.tar", "tree"])

    def test_progress_on_a_terminal_only(self):
        (self.top / "tree/large").write_bytes(bytes(4 << 20))
        archive = subprocess.run(["tar", "-C", "tree", "-cf", "-", "."], cwd=self.top, check=True,
                                 capture_output=True).stdout
        ours, its = pty.openpty()
        with subprocess.Popen([TEACUP, "pack", "-", "a.erofs"], stdin=subprocess.PIPE, stderr=its,
                              cwd=self.top) as process:
            os.close(its)
            for at in range(0, len(archive), 1 << 20):
                process.stdin.write(archive[at:at + (1 << 20)])
                process.stdin.flush()
                time.sleep(0.3)  # so slow a source is long work
            process.stdin.close()
            shown = b""
            try:
                while data := os.read(ours, 4096):
                    shown += data
            except OSError:
                pass  # the end of a terminal
        os.close(ours)
        self.assertEqual(process.returncode, 0)
        self.assertIn(b" MB", shown)
        self.assertTrue(shown.endswith(b"\r\033[K"), shown[-40:])


if __name__ == "__main__":
    unittest.main()
