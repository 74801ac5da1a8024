"""tar archives and OCI image layouts as IMAGE: converted once, kept in a cache, run as they say."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import tempfile
import unittest

from harness import IMAGE, TEACUP, TIMEOUT, children, decode, until

BUSYBOX = IMAGE.with_name("busybox.erofs")


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Member(tarfile.TarInfo):
    """An entry of a tar archive, in a line."""

    def __init__(self, name, data=b"", kind=tarfile.REGTYPE, mode=0o644, **fields):
        super().__init__(name)
        self.type, self.mode, self.size, self.data, self.mtime = kind, mode, len(data), data, 1_000_000_000
        for key, value in fields.items():
            setattr(self, key, value)


def tar(*members, format=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(member.data))
    return out.getvalue()


def directory(name, mode=0o755, **fields):
    return Member(name, kind=tarfile.DIRTYPE, mode=mode, **fields)


def link(name, target):
    return Member(name, kind=tarfile.SYMTYPE, linkname=target, mode=0o777)


class Archives(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.programs = tempfile.TemporaryDirectory()
        top = pathlib.Path(cls.programs.name) / "tree"
        subprocess.run(["fsck.erofs", f"--extract={top}", BUSYBOX], check=True, capture_output=True)
        cls.busybox = (top / "bin/busybox").resolve().read_bytes() if not (top / "bin/busybox").is_symlink() else (
            top / os.readlink(top / "bin/busybox").lstrip("/")).read_bytes()
        cls.base = [directory("bin"), Member("bin/busybox", cls.busybox, mode=0o755),
                    *(link(f"bin/{name}", "busybox") for name in ("sh", "ls", "cat", "stat", "find", "env", "id", "pwd", "echo",
                                                                "readlink", "md5sum", "true"))]

    @classmethod
    def tearDownClass(cls):
        cls.programs.cleanup()

    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.top = pathlib.Path(self.scratch.name)
        self.cache = self.top / "cache"

    def tearDown(self):
        self.scratch.cleanup()

    def run_image(self, *words, status=0, err="", **environment):
        settings = dict(os.environ, XDG_CACHE_HOME=str(self.cache), **environment)
        result = subprocess.run([TEACUP, "run", *map(str, words)], capture_output=True, timeout=TIMEOUT, env=settings,
                                stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, status, result.stderr)
        if err:
            self.assertIn(err, decode(result.stderr))
        else:
            self.assertEqual(decode(result.stderr), "")
        return decode(result.stdout)

    def write(self, name, data):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def converted(self):
        return sorted(self.cache.glob("teacup/images/*.erofs"))

    # --- tar

    def reader_of(self, process):
        """The process that reads the archive for `process`, once it is filtered; its /proc folder."""
        def filtered():
            for child in children(process.pid):
                folder = pathlib.Path(f"/proc/{child}")
                if "Seccomp:\t2" in (folder / "status").read_text():
                    return folder
            return None
        return until(filtered, "a filtered process that reads the archive")

    def test_archives_are_read_by_a_process_that_can_do_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [TEACUP, "pack", "-", f"{folder}/out.erofs"]
            for number in (signal.SIGSYS, None):
                with subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pack:
                    reader = self.reader_of(pack)
                    self.assertEqual((reader / "comm").read_text(), "teacup-archive\n")
                    links = {fd.name: os.readlink(fd) for fd in (reader / "fd").iterdir()}
                    self.assertEqual([links.pop(str(fd)) for fd in range(3)], ["/dev/null"] * 3)
                    self.assertEqual([target.split(":")[0] for target in links.values()], ["socket"])
                    if number:
                        os.kill(int(reader.name), number)
                    out, err = pack.communicate("")
                    if number:
                        self.assertEqual(pack.returncode, 125)
                        self.assertIn("killed the process that reads archives", err)
                    self.assertFalse(reader.exists())

    def test_no_program_is_started_for_a_codec(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for name in ("lzop", "lrzip", "grzip", "gzip", "xz"):
                program = folder / name
                program.write_text(f"#!/bin/sh\ntouch {folder}/started\ncat\n")
                program.chmod(0o755)
            for name, magic in (("lzo", b"\x89LZO\x00\r\n\x1a\n"), ("lrz", b"LRZI\x00\x06"), ("grz", b"GRZipII\x00\x02\x04:)")):
                archive = folder / f"a.{name}"
                archive.write_bytes(magic + bytes(1000))
                packed = subprocess.run([str(TEACUP), "pack", str(archive), str(folder / "out.erofs")],
                                        capture_output=True, text=True, env=dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}"))
                self.assertEqual(packed.returncode, 125, packed.stderr)
                self.assertFalse((folder / "started").exists())

    def test_every_compression(self):
        plain = tar(*self.base, Member("etc/note", b"here\n"))
        for name, program in (("plain", None), ("gz", "gzip"), ("xz", "xz"), ("zst", "zstd"), ("bz2", "bzip2")):
            data = plain
            if program:
                try:
                    data = subprocess.run([program, "-1", "-c"], input=plain, capture_output=True, check=True).stdout
                except FileNotFoundError:
                    continue
            with self.subTest(name):
                image = self.write(f"image-{name}", data)
                self.assertEqual(self.run_image(image, "cat", "/etc/note"), "here\n")

    def test_what_a_tar_can_hold(self):
        long = "d/" + "n" * 200
        members = [*self.base, directory("d", 0o1777), Member(long, b"long\n"), Member("one", b"linked", uid=12, gid=34),
                   Member("two", kind=tarfile.LNKTYPE, linkname="one"), link("far", "x" * 300),
                   Member("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3), Member("fifo", kind=tarfile.FIFOTYPE),
                   Member("setuid", b"s", mode=0o4755)]
        for name, format in (("pax", tarfile.PAX_FORMAT), ("gnu", tarfile.GNU_FORMAT)):
            with self.subTest(name):
                image = self.write(name, tar(*members, format=format))
                out = self.run_image(image, "sh", "-c", f"cat /{long}; readlink /far; stat -c '%h %u:%g %a %F' /one /two /d "
                                                        "/null /fifo /setuid; stat -c %i /one /two")
                lines = out.splitlines()
                self.assertEqual(lines[:-2], ["long", "x" * 300, "2 12:34 644 regular file", "2 12:34 644 regular file",
                                              "2 0:0 1777 directory", "1 0:0 644 character special file", "1 0:0 644 fifo",
                                              "1 0:0 4755 regular file"])
                self.assertEqual(lines[-2], lines[-1])

    def test_sparse(self):
        tree = self.top / "tree"
        tree.mkdir()
        with open(tree / "holes", "wb") as file:
            file.seek(5 << 20)
            file.write(b"data")
            file.truncate(100 << 20)
        (tree / "bin").mkdir()
        (tree / "bin/md5sum").write_bytes(self.busybox)
        (tree / "bin/md5sum").chmod(0o755)
        subprocess.run(["tar", "-C", tree, "--sparse", "-cf", self.top / "sparse.tar", "."], check=True)
        with open(tree / "holes", "rb") as file:
            expected = hashlib.file_digest(file, "md5").hexdigest()
        self.assertEqual(self.run_image(self.top / "sparse.tar", "md5sum", "/holes").split()[0], expected)
        self.assertLess(self.converted()[0].stat().st_size, 10 << 20)

    def test_hostile_names(self):
        for name in ("../outside", "a/../../outside", "/../outside"):
            with self.subTest(name):
                image = self.write("bad.tar", tar(*self.base, Member(name, b"x")))
                self.run_image(image, "true", status=125, err="..")
        # Through a link that leads out: out is the image's own root.
        image = self.write("link.tar", tar(*self.base, link("up", "../../.."), Member("up/file", b"inside\n")))
        self.assertEqual(self.run_image(image, "cat", "/file"), "inside\n")

    def test_truncated(self):
        data = gzip.compress(tar(*self.base), 1)
        for size in range(4096, len(data), len(data) // 20):
            self.run_image(self.write("cut", data[:size]), "true", status=125, err="cut")
        # Where an entry ends, too: an archive has an end of its own.
        data = tar(directory("d"), Member("d/one", bytes(512)), Member("d/two", b""))
        end = len(data.rstrip(b"\0")) // 512 * 512 + 512
        for size in (512, 1536, end):
            self.run_image(self.write("cut", data[:size]), "true", status=125, err="cut")
        self.assertEqual(self.converted(), [])

    # --- the cache

    def test_cache(self):
        image = self.write("image", tar(*self.base, Member("note", b"first\n")))
        os.utime(image, (1, 1))
        self.assertEqual(self.run_image(image, "cat", "/note"), "first\n")
        made = self.converted()
        self.assertEqual(len(made), 1)
        before = made[0].stat()
        # Found again, under any name.
        other = self.top / "other"
        os.link(image, other)
        self.assertEqual(self.run_image(other, "cat", "/note"), "first\n")
        self.assertEqual(made[0].stat().st_ino, before.st_ino)
        # Cut off, or written to: made anew.
        for harm in (lambda file: file.truncate(8192), lambda file: (file.seek(5000), file.write(b"x" * 3000))):
            with open(made[0], "r+b") as file:
                harm(file)
            os.utime(made[0], ns=(before.st_atime_ns, before.st_mtime_ns))
            self.assertEqual(self.run_image(image, "cat", "/note"), "first\n")
        # Copied: its bytes are what they were, so it stays.
        copy = made[0].read_bytes()
        made[0].unlink()
        made[0].write_bytes(copy)
        inode = made[0].stat().st_ino
        self.assertEqual(self.run_image(image, "cat", "/note"), "first\n")
        self.assertEqual(made[0].stat().st_ino, inode)
        # Changed in place, with the same size and time.
        status = image.stat()
        data = image.read_bytes().replace(b"first\n", b"other\n")
        image.write_bytes(data)
        os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assertEqual(self.run_image(image, "cat", "/note"), "other\n")

    def test_many_at_once(self):
        image = self.write("image", tar(*self.base, Member("note", b"same\n")))
        settings = dict(os.environ, XDG_CACHE_HOME=str(self.cache))
        machines = [subprocess.Popen([TEACUP, "run", image, "cat", "/note"], stdout=subprocess.PIPE, env=settings)
                    for _ in range(6)]
        self.assertEqual([machine.communicate(timeout=TIMEOUT)[0] for machine in machines], [b"same\n"] * 6)
        self.assertEqual(len(self.converted()), 1)

    def test_cache_of_others_is_refused(self):
        (self.cache / "teacup/images").mkdir(parents=True)
        image = self.write("image", tar(*self.base))
        if os.geteuid() == 0:
            os.chown(self.cache / "teacup/images", 1234, 1234)
            self.run_image(image, "true", status=125, err="can be written by others")

    def test_pins(self):
        data = tar(*self.base)
        image = self.write("image.tar", data)
        self.run_image(f"{image}@sha256:{digest(data)}", "true")
        self.run_image(f"{image}@sha256:{'0' * 64}", "true", status=125, err=f"it has sha256:{digest(data)}")
        erofs = BUSYBOX.read_bytes()
        self.run_image(f"{BUSYBOX}@sha256:{digest(erofs)}", "busybox", "true")
        self.run_image(f"{BUSYBOX}@sha256:{'1' * 64}", "busybox", "true", status=125, err="not the image")
        self.run_image(f"{self.top}@sha256:{'1' * 64}", "true", status=125, err="has no digest")

    # --- OCI

    def layout(self, layers, config=None, top="oci", architectures=("amd64",)):
        """Writes a layout; the digest of its (first) manifest."""
        def blob(data):
            self.write(f"{top}/blobs/sha256/{digest(data)}", data)
            return {"digest": "sha256:" + digest(data), "size": len(data)}

        manifests = []
        for architecture in architectures:
            about = blob(json.dumps({"architecture": architecture, "os": "linux", "config": config or {}}).encode())
            manifest = blob(json.dumps({
                "schemaVersion": 2, "config": about,
                "layers": [blob(gzip.compress(layer, mtime=0)) for layer in layers]}).encode())
            manifests.append(dict(manifest, mediaType="application/vnd.oci.image.manifest.v1+json",
                                  platform={"os": "linux", "architecture": architecture}))
        self.write(f"{top}/oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        self.write(f"{top}/index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
        return manifests[0]["digest"]

    def test_layers(self):
        self.layout([
            tar(*self.base, directory("keep"), Member("keep/a", b"a"), Member("keep/b", b"b"), directory("opaque"),
                Member("opaque/old", b"old"), directory("opaque/sub"), Member("opaque/sub/old", b"old"), Member("gone", b"x"),
                directory("tree"), Member("tree/x", b"x"), Member("file-to-dir", b"x"), directory("dir-to-file"),
                Member("dir-to-file/x", b"x"), link("link-to-dir", "keep"), Member("again", b"old")),
            tar(Member("keep/.wh.a"), Member("opaque/new", b"new"), directory("opaque/sub"), Member("opaque/sub/new", b"new"),
                Member("opaque/.wh..wh..opq"), Member(".wh.gone"), Member(".wh.tree"), directory("file-to-dir"),
                Member("file-to-dir/y", b"y"), Member("dir-to-file", b"file"), directory("link-to-dir"),
                Member("keep/.wh."), Member("keep/.wh.."), Member("keep/.wh..."), Member(".wh.."),  # name no file
                Member("again", b"new"), Member(".wh.again"), Member("hard", kind=tarfile.LNKTYPE, linkname="keep/b")),
        ])
        out = self.run_image(self.top / "oci", "sh", "-c", "cd /; find keep opaque tree gone file-to-dir dir-to-file link-to-dir "
                                                          "again hard 2>/dev/null; cat again hard dir-to-file")
        self.assertEqual(sorted(out.split()), sorted(
            "keep keep/b opaque opaque/new opaque/sub opaque/sub/new file-to-dir file-to-dir/y dir-to-file link-to-dir again hard "
            "newbfile".split()))

    def test_config(self):
        users = [directory("etc"), Member("etc/passwd", b"root:x:0:0::/:/bin/sh\nmaker:x:7:8::/home:/bin/sh\n"), directory("work"),
                 Member("etc/group", b"root:x:0:\nmakers:x:8:\n")]
        self.layout([tar(*self.base, *users)], {
            "Env": ["PATH=/bin", "COLOUR=blue sky"], "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["echo $COLOUR; pwd; id -u; id -g"], "WorkingDir": "/work", "User": "maker"})
        image = self.top / "oci"
        self.assertEqual(self.run_image(image).split("\n"), ["blue sky", "/work", "7", "8", ""])
        self.assertEqual(self.run_image(image, "echo $0", "name"), "name\n")
        self.assertEqual(self.run_image("-w", "/bin", "-u", "3", "-e", "COLOUR=red", image, "echo $COLOUR; pwd; id -u"),
                         "red\n/bin\n3\n")
        self.assertEqual(self.run_image("--entrypoint", "echo", image, "a", "b"), "a b\n")
        self.assertEqual(self.run_image("--entrypoint", "", image, "echo", "c"), "c\n")
        self.assertEqual(self.run_image("--entrypoint", "pwd", image), "/work\n")
        self.run_image("--entrypoint", "", image, status=125, err="no command given")
        # From the cache, where the layout's blobs are not looked at.
        for blob in (image / "blobs/sha256").iterdir():
            if blob.stat().st_size > 100_000:
                blob.unlink()
        self.assertEqual(self.run_image(image, "echo $COLOUR"), "blue sky\n")

    def test_no_command(self):
        self.layout([tar(*self.base)])
        self.run_image(self.top / "oci", status=125, err="no command given")
        self.run_image(self.write("plain.tar", tar(*self.base)), status=125, err="no command given")

    def test_layout_in_a_tar(self):
        self.layout([tar(*self.base)], {"Cmd": ["echo", "from a tar"]})
        subprocess.run(["tar", "-C", self.top / "oci", "-cf", self.top / "oci.tar", "."], check=True)
        self.assertEqual(self.run_image(self.top / "oci.tar"), "from a tar\n")

    def test_docker_save(self):
        layer = tar(*self.base)
        about = json.dumps({"config": {"Cmd": ["echo", "saved"]}}).encode()
        saved = tar(Member("abc/layer.tar", layer), Member("c.json", about), Member("repositories", b"{}"), Member(
            "manifest.json", json.dumps([{"Config": "c.json", "Layers": ["abc/layer.tar"]}]).encode()))
        self.assertEqual(self.run_image(self.write("saved.tar", saved)), "saved\n")

    def test_choice_and_pin_of_a_manifest(self):
        pin = self.layout([tar(*self.base)], {"Cmd": ["echo", "ours"]}, architectures=("amd64", "arm64"))
        self.assertEqual(self.run_image(self.top / "oci"), "ours\n")
        self.assertEqual(self.run_image(f"{self.top}/oci@{pin}"), "ours\n")
        self.run_image(f"{self.top}/oci@sha256:{'2' * 64}", status=125, err="has no image")
        self.layout([tar(*self.base)], architectures=("arm64",), top="foreign")
        self.run_image(self.top / "foreign", "true", status=125, err="no image for linux/amd64")

    def test_damaged_layouts(self):
        self.layout([tar(*self.base)])
        blobs = self.top / "oci/blobs/sha256"
        large = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
        data = large.read_bytes()
        large.write_bytes(data[:9000] + bytes([data[9000] ^ 1]) + data[9001:])
        self.run_image(self.top / "oci", "true", status=125, err="does not have the digest")
        large.unlink()
        self.run_image(self.top / "oci", "true", status=125, err="has no blobs/sha256")
        for text in (b"", b"{", b"[]", b'{"manifests": 1}', b'{"manifests": [{"digest": "sha256:../../etc/passwd"}]}'):
            self.write("oci/index.json", text)
            self.run_image(self.top / "oci", "true", status=125, err="oci")


if __name__ == "__main__":
    unittest.main()
