"""Every image format and compressor: a tree packed by the tools that made the format reads back in a machine as it
lies on the host. The tree is that of the python image (build/images/python.erofs, extracted by fsck.erofs) and one
that is as awkward as file systems allow.

TREE_ENTRIES: how many names the largest directory of that has (default 8000; 100000 takes minutes more); a tree of its own
with a directory of 100 000 names is listed in each format; TREE_FILES of them are files (default 4), the rest further names
of a few. TREE_SPARSE: the size of a file with holes that is packed and read in each format (default: not at all;
scripts/soak says 100000 files and 8 GiB).

Images that are cut off at every block, in each format: what is still read must be right, all else EIO or EUCLEAN.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness import ROOT, TEACUP, run
from stress import PROGRAMS, gnu_tar_of, make_layout, tar_of

PYTHON = TEACUP.parent / "images" / "python.erofs"
WALK = pathlib.Path(__file__).with_name("walk_tree.py")
ENTRIES = int(os.environ.get("TREE_ENTRIES", 8000))
FILES = int(os.environ.get("TREE_FILES", 4))
IS_ROOT = os.geteuid() == 0


def command(*words, **settings):
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, **settings)
    assert result.returncode == 0, (words, result.stdout, result.stderr)
    return result.stdout


def make_awkward(top):
    """All that a tree can have, but sockets, which no format's own tool reads the same way."""
    random.seed(4)
    top.mkdir()
    base = os.fsencode(top)
    many = top / "many"
    many.mkdir()
    for i in range(ENTRIES):
        (many / f"entry-{i}").touch()
    for name, length in (("long", 254), ("longest", 255)):
        (top / name).mkdir()
        for i in range(40):
            (top / name / (f"{i:03}" + "n" * (length - 3))).write_text("long")
    os.mkdir(base + b"/bytes")
    for name in (b"\xff\xfe", b"\x80", b"caf\xe9", b" ", b"new\nline", b"tab\t", b"-rf", b"*", b"\\", b'"', b"...", b"\x01"):
        with open(base + b"/bytes/" + name, "wb") as file:
            file.write(name)
    sizes = [0, 1, 59, 60, 61, 511, 512, 4095, 4096, 4097, 12288, 65535, 65536, 131071, 131072, 131073, 1 << 20]
    (top / "sizes").mkdir()
    for size in sizes:
        (top / "sizes" / f"random-{size}").write_bytes(random.randbytes(size))
        (top / "sizes" / f"text-{size}").write_bytes((b"some words that go on and on. " * (size // 30 + 1))[:size])
        (top / "sizes" / f"zeros-{size}").write_bytes(bytes(size))
    # Matches that reach far back, runs, and stretches that do not compress, by turns.
    block = random.randbytes(3000)
    mixed = b"".join(random.choice((block, bytes(random.randrange(5000)), random.randbytes(random.randrange(9000)),
                                    b"x" * random.randrange(300), block[:random.randrange(3000)]))
                     for _ in range(2000))
    (top / "mixed").write_bytes(mixed)
    with open(top / "holes", "wb") as file:
        for offset in (1 << 20, 5 << 20, (40 << 20) + 123):
            file.seek(offset)
            file.write(b"data between holes" * 50)
        file.truncate(64 << 20)
    (top / "links").mkdir()
    (top / "links/one").write_text("linked")
    for name in ("links/two", "three"):
        os.link(top / "links/one", top / name)
    for name, target in (("loop", "loop"), ("a", "b"), ("b", "a"), ("up", "../../../../etc/passwd"), ("dangling", "no/such"),
                         ("far", "x/" * 500 + "y"), ("self", ".")):
        os.symlink(target, top / "links" / name)
    deep = top / "deep"
    for i in range(60):
        deep = deep / f"level{i}"
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("bottom")
    (top / "empty").mkdir()
    os.mkfifo(top / "fifo")
    for i, mode in enumerate((0o4755, 0o2755, 0o1777, 0o000, 0o777)):
        (top / f"mode{i}").write_text("mode")
        os.chmod(top / f"mode{i}", mode)
    for name, value in (("user.one", b"1"), ("user.binary", bytes(range(256))), ("user.empty", b"")):
        os.setxattr(top / "mode0", name, value)
        os.setxattr(top / "mode4", name, value)
    os.setxattr(top / "links", "user.of.a.directory", b"v" * 900)
    if IS_ROOT:
        os.mknod(top / "null", 0o20666, os.makedev(1, 3))
        os.mknod(top / "disk", 0o60660, os.makedev(259, 70000))
        for i, owner in enumerate(((1, 2), (65534, 65534), (70000, 100000))):
            (top / f"owner{i}").write_text("owner")
            os.chown(top / f"owner{i}", *owner)
    for name, seconds in (("mode2", 0), ("mode3", 1), ("mode4", 2**31 + 5)):
        os.utime(top / name, (seconds, seconds))
    os.utime(top / "empty", ns=(10**18 + 1, 10**18 + 123456789))


class Formats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        top = pathlib.Path(cls.scratch.name)
        cls.tree = top / "tree"
        command("fsck.erofs", f"--extract={cls.tree}", *(["--preserve"] if IS_ROOT else []), PYTHON)
        make_awkward(cls.tree / "awkward")
        shutil.copy(WALK, cls.tree / "walk.py")
        cls.expected = {}

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def setUp(self):
        self.image = pathlib.Path(self.scratch.name) / "image"

    def tearDown(self):
        self.image.unlink(missing_ok=True)

    def native(self, tree, *options):
        if (tree, options) not in self.expected:
            self.expected[tree, options] = command(sys.executable, WALK, tree, *options).splitlines()
        return self.expected[tree, options]

    def check(self, tree, *options, without=()):
        result = run("python3", "/walk.py", "/", *options, image=self.image, timeout=300,
                     options=["-e", "PYTHONDONTWRITEBYTECODE=1"])
        self.assertEqual(result.err, "")
        self.assertEqual(result.status, 0)
        seen, expected = result.out.splitlines(), self.native(tree, *options)
        if without:
            left_out = tuple(path.hex() for path in without)
            expected = [line for line in expected if not line.startswith(left_out)]
            seen = [line for line in seen if not line.startswith(left_out)]
        if seen != expected:
            there, wanted = set(seen), set(expected)
            self.fail("\n".join(["differs; missing:", *[line for line in expected if line not in there][:10],
                                 "too much:", *[line for line in seen if line not in wanted][:10]]))
        self.assertGreater(len(seen), ENTRIES + 1000)

    def squashfs(self, tree, *options):
        command("mksquashfs", tree, self.image, "-quiet", "-no-progress", *options)
        self.check(tree, "--whole-seconds")

    def test_squashfs_gzip(self):
        self.squashfs(self.tree, "-comp", "gzip", "-Xcompression-level", "1")

    def test_squashfs_lz4(self):
        self.squashfs(self.tree, "-comp", "lz4", "-b", "4096")

    def test_squashfs_lz4hc(self):
        self.squashfs(self.tree, "-comp", "lz4", "-Xhc", "-b", "1M", "-no-exports")

    def test_squashfs_xz(self):
        self.squashfs(self.tree, "-comp", "xz", "-b", "64K")

    def test_squashfs_zstd(self):
        self.squashfs(self.tree, "-comp", "zstd", "-Xcompression-level", "1", "-always-use-fragments")

    def test_squashfs_uncompressed(self):
        self.squashfs(self.tree, "-noI", "-noD", "-noF", "-noX", "-no-fragments")

    def erofs(self, tree, *options):
        # mkfs.erofs 1.5 cuts names of 255 bytes.
        command("mkfs.erofs", "--quiet", "--exclude-path=awkward/longest", *options, self.image, tree)
        self.check(tree, without=[b"/awkward/longest"])

    def test_erofs_uncompressed(self):
        self.erofs(self.tree, "-Eforce-inode-extended")

    def test_erofs_chunks(self):
        self.erofs(self.tree, "--chunksize=16384")

    def test_erofs_lz4(self):
        self.erofs(self.tree, "-zlz4")

    def test_erofs_lz4_full_index(self):
        self.erofs(self.tree, "-zlz4", "-Elegacy-compress")

    def test_erofs_lz4_big_clusters(self):
        self.erofs(self.tree, "-zlz4", "-C65536")

    def test_erofs_lz4hc_largest_clusters(self):
        self.erofs(self.tree, "-zlz4hc", "-C1048576")

    def test_erofs_lz4_tail_packing(self):
        self.erofs(self.tree, "-zlz4hc,9", "-C16384", "-Eztailpacking")

    def test_ext4(self):
        command("mke2fs", "-q", "-t", "ext4", "-d", self.tree, "-N", ENTRIES + 10000, self.image, "400M")
        # mke2fs 1.47 stores whole seconds, and of those after 2038 not the upper bits.
        self.check(self.tree, "--whole-seconds", without=[b"/lost+found", b"/awkward/mode4"])

    def test_own_erofs(self):
        command(TEACUP, "pack", self.tree, self.image)
        self.check(self.tree)

    def test_own_ext4(self):
        command(TEACUP, "pack", "--format", "ext4", self.tree, self.image)
        self.check(self.tree)


def why_no_mount(kind):
    """None if this host's kernel can mount an image of this format for us."""
    if not IS_ROOT:
        return "not root"
    if not pathlib.Path("/dev/loop-control").exists():
        return "no loop devices"
    if kind not in pathlib.Path("/proc/filesystems").read_text().split():
        return f"the kernel has no {kind}"
    with tempfile.TemporaryDirectory() as scratch:
        image = pathlib.Path(scratch) / "image"
        command(TEACUP, "pack", "-q", "--format", kind, ROOT / "scripts", image)
        tried = subprocess.run(["mount", "-o", "loop,ro", image, scratch], capture_output=True, text=True)
        if tried.returncode == 0:
            command("umount", scratch)
            return None
        return tried.stderr.strip() or "mount failed"


class Packed(unittest.TestCase):
    """Trees that are packed in each format, by our own packer and by the tools that made the format."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.top = pathlib.Path(scratch.name)
        self.tree = self.top / "tree"
        self.cache = {"env": dict(os.environ, XDG_CACHE_HOME=str(self.top / "cache"))}
        self.tree.mkdir()
        self.simple = False  # neither attributes nor devices: archives are GNU tar's

    def image(self, name):
        image = self.top / f"image.{name.split()[0]}"
        tool = name.split()[1:]
        if tool == ["mkfs"]:
            command("mkfs.erofs", "--quiet", "-zlz4", image, self.tree)
        elif tool == ["mksquashfs"]:
            command("mksquashfs", self.tree, image, "-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "1")
        elif tool == ["mke2fs"]:
            command("mke2fs", "-q", "-t", "ext4", "-d", self.tree, "-N", FILES + 20000, image, f"{60 + FILES // 200}M")
        elif name == "tar":
            image.write_bytes(gnu_tar_of(self.tree) if self.simple else tar_of(self.tree))
        elif name == "oci":
            make_layout(self.tree, image, gnu_tar_of(self.tree) if self.simple else None)
        elif name == "directory":
            return self.tree
        else:
            command(TEACUP, "pack", "-q", self.tree, image)
        return image

    def inside(self, image, *words, timeout=120):
        return run(*words, image=image, options=["-v", f"{PROGRAMS}:/mnt"], timeout=timeout, **self.cache)

    def remove(self, image):
        if image != self.tree:
            command("rm", "-r", image)

    def compare(self, kinds, *words, without=(), timeout=120):
        def lines(text):
            return [line for line in text.splitlines() if not any(f" {name} " in line or f" {name}/" in line for name in without)]
        native = lines(command(*words, self.tree / "top"))
        for kind in kinds:
            with self.subTest(kind):
                image = self.image(kind)
                result = self.inside(image, f"/mnt/{words[0].name}", *words[1:], "/top", timeout=timeout)
                self.assertEqual((result.status, result.err), (0, ""))
                seen = lines(result.out)
                differing = next((pair for pair in zip(seen, native) if pair[0] != pair[1]), (len(seen), len(native)))
                self.assertEqual(*differing)
                self.remove(image)

    def test_a_directory_of_100_000_names(self):
        # By default the names of few files: it is names that are to be many. Listed twice, by large and by small pieces.
        many = self.tree / "top/many"
        many.mkdir(parents=True)
        for i in range(100_000):
            name = many / (f"{i:06}" + "-and-more" * (i % 3))
            if i < FILES:
                name.write_text("linked")
                os.utime(name, (10**9, 10**9))
                first = name
            else:
                if i % 25_000 == 0:
                    first = many / f"file-{i}"
                    first.write_text("linked")
                    os.utime(first, (10**9, 10**9))
                os.link(first, name)
        os.utime(many, (10**9, 10**9))
        os.utime(self.tree / "top", (10**9, 10**9))
        self.simple = True
        kinds = ["erofs", "erofs.lz4 mkfs", "squashfs", "squashfs mksquashfs", "ext4", "tar", "oci", "directory"]
        if FILES >= 100_000:
            kinds.append("ext4 mke2fs")  # many names of one file take it minutes
        self.compare(kinds, PROGRAMS / "fsmodel", "-S", "1", "-N", "0", "-o", "n", timeout=900 if FILES > 4 else 120)

    @unittest.skipUnless("TREE_SPARSE" in os.environ, "TREE_SPARSE is not set")
    def test_a_large_file_with_holes(self):
        size = int(os.environ["TREE_SPARSE"])
        (self.tree / "top").mkdir()
        with open(self.tree / "top/sparse", "wb") as file:
            for i in range(9):
                file.seek(size // 9 * i + i * 1000)
                file.write(random.Random(i).randbytes(300_000))
            file.truncate(size)
        os.utime(self.tree / "top/sparse", (10**9, 10**9))
        os.utime(self.tree / "top", (10**9, 10**9))
        self.simple = True
        self.compare(("erofs", "erofs.lz4 mkfs", "squashfs", "squashfs mksquashfs", "ext4", "ext4 mke2fs", "tar", "oci", "directory"),
                     PROGRAMS / "readall", timeout=300)

    def test_as_the_hosts_kernel_sees_it(self):
        top = self.tree / "top"
        make_awkward(top)
        for name in ("many", "longest"):  # many are listed elsewhere; mkfs.erofs 1.5 cuts names of 255 bytes
            shutil.rmtree(top / name)
        if IS_ROOT:
            os.mknod(top / "device", 0o20640, os.makedev(240, 300))
        for kind in ("erofs", "erofs.lz4 mkfs", "squashfs", "squashfs mksquashfs", "ext4", "ext4 mke2fs"):
            with self.subTest(kind):
                if reason := why_no_mount(kind.split()[0].split(".")[0]):
                    self.skipTest(f"no mounts of the host's kernel to compare with: {reason}")
                image = self.image(kind)
                where = self.top / "mount"
                where.mkdir(exist_ok=True)
                command("mount", "-o", "loop,ro", image, where)
                try:
                    for words in ((PROGRAMS / "fsmodel", "-S", "1", "-N", "0", "-o", "n"), (PROGRAMS / "readall",)):
                        native = command(*words, where / "top", errors="replace").splitlines()
                        result = self.inside(image, f"/mnt/{words[0].name}", *words[1:], "/top")
                        self.assertEqual((result.status, result.err), (0, ""))
                        self.assertEqual(result.out.splitlines(), native)
                        self.assertGreater(len(native), 200)
                finally:
                    command("umount", where)
                self.remove(image)

    def test_cut_off_at_every_block(self):
        top = self.tree / "top"
        (top / "deep/deeper").mkdir(parents=True)
        (top / "many").mkdir()
        rng = random.Random(7)
        for number in range(12):
            (top / f"many/{number}").write_bytes(rng.randbytes(number * 500))
        for size in (1, 4096, 20_000):
            (top / f"deep/random{size}").write_bytes(rng.randbytes(size))
            (top / f"deep/deeper/text{size}").write_bytes((b"some text again. " * (size // 17 + 1))[:size])
        os.symlink("deep/random1", top / "link")
        os.symlink("x" * 700, top / "far")
        os.setxattr(top / "deep", "user.a", b"v" * 300)
        for kind in ("erofs", "erofs.lz4 mkfs", "squashfs", "squashfs mksquashfs", "ext4 mke2fs", "tar", "oci"):
            with self.subTest(kind):
                self.check_cuts(kind)

    def check_cuts(self, kind):
        image = self.image(kind)
        expected = set(self.inside(image, "/mnt/readall", "/top").out.splitlines())
        self.assertEqual(len([line for line in expected if ": content " in line]), 18)
        whole = image
        if image.is_dir():  # of a layout, the layer with the tree
            whole = max((image / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        data = whole.read_bytes()
        # ext4 is mostly empty: what lies in use, and a few places behind it.
        used = len(data.rstrip(b"\0"))
        cuts = [*range(0, min(used, 400_000) + 4096, 4096)] if kind.startswith("ext4") else [*range(0, len(data), 4096)]
        refused = partly = 0
        for cut in cuts:
            whole.write_bytes(data[:cut])
            result = self.inside(image, "/mnt/readall", "/top")
            if result.status == 125:
                self.assertNotEqual(result.err, "")
                refused += 1
                continue
            self.assertEqual((result.status, result.err), (0, ""), f"cut at {cut}")
            wrong = [line for line in result.out.splitlines() if line not in expected and not line.endswith((": EIO", ": EUCLEAN"))]
            self.assertEqual(wrong, [], f"cut at {cut}")
            partly += 1
        self.assertEqual(refused + partly, len(cuts))
        self.remove(image)


if __name__ == "__main__":
    unittest.main()
