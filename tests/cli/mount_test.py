"""teacup mount: images at a directory of the host's, read-only and on a memory layer; skipped where FUSE cannot be used.

The model test does the same random operations in a mounted image and in a directory of the host's, and compares what each
gives and what is there in the end. SEED repeats one: TEACUP_SEED; TEACUP_OPERATIONS for a longer one.
"""

import ctypes
import errno
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest

import layers_test
from harness import TEACUP, TIMEOUT, until

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """Why FUSE cannot be used here; None if it can."""
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    with tempfile.TemporaryDirectory() as top:
        os.mkdir(f"{top}/tree")
        os.mkdir(f"{top}/at")
        made = subprocess.run([TEACUP, "mount", f"{top}/tree", f"{top}/at"], capture_output=True, text=True, timeout=TIMEOUT)
        if made.returncode != 0:
            return made.stderr.strip()
        unmount(f"{top}/at")
    return None


def unmount(where):
    command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    subprocess.run([*command, where], check=True)


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class Mount(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        reason = why_not()
        if reason:
            raise unittest.SkipTest(f"FUSE cannot be used here: {reason}")
        cls.scratch = tempfile.TemporaryDirectory()
        cls.top = pathlib.Path(cls.scratch.name)
        os.environ["XDG_CACHE_HOME"] = str(cls.top / "cache")
        cls.tree = cls.top / "tree"
        (cls.tree / "a/b").mkdir(parents=True)
        for size in (0, 1, 4095, 4096, 4097, 300_000):
            (cls.tree / f"a/{size}").write_bytes(random.Random(size).randbytes(size))
        (cls.tree / "a/b/link").symlink_to("../1")
        os.link(cls.tree / "a/4096", cls.tree / "a/b/hard")
        with open(cls.tree / "hollow", "wb") as hollow:
            hollow.seek(1 << 20)
            hollow.write(b"end")
        cls.images = {"directory": cls.tree}
        for name in ("a.erofs", "a.ext4", "a.squashfs"):
            cls.images[name] = cls.top / name
            subprocess.run([TEACUP, "pack", "-q", cls.tree, cls.top / name], check=True)
        cls.images["lz4.erofs"] = cls.top / "lz4.erofs"
        subprocess.run(["mkfs.erofs", "-zlz4", cls.images["lz4.erofs"], cls.tree], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def mount(self, *images, options=(), status=0):
        where = pathlib.Path(tempfile.mkdtemp(dir=self.top))
        self.addCleanup(where.rmdir)
        made = subprocess.run([TEACUP, "mount", *options, *images, where], capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(made.returncode, status, made.stderr)
        if status == 0:
            self.addCleanup(unmount, where)
        return where if status == 0 else made.stderr

    def digests(self, top):
        found = {}
        for directory, folders, files in os.walk(top):
            for name in folders + files:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                kind = status.st_mode, status.st_nlink if name not in folders else 0
                content = os.readlink(path) if os.path.islink(path) else ""
                if os.path.isfile(path) and not os.path.islink(path):
                    content = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
                found[os.path.relpath(path, top)] = kind, content
        return found

    def test_each_format_shows_its_tree(self):
        expected = self.digests(self.tree)
        for name, image in self.images.items():
            with self.subTest(name):
                where = self.mount(image)
                self.assertEqual(self.digests(where), expected)
                self.assertEqual(os.stat(where / "a/4096").st_ino, os.stat(where / "a/b/hard").st_ino)
                with self.assertRaises(OSError) as refused:
                    (where / "new").touch()
                self.assertEqual(refused.exception.errno, errno.EROFS)
                self.assertGreater(os.statvfs(where).f_blocks, 0)

    def test_foreground_ends_with_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            where = pathlib.Path(tempfile.mkdtemp(dir=self.top))
            process = subprocess.Popen([TEACUP, "mount", "-f", self.images["a.squashfs"], where])
            until(lambda: os.path.ismount(where), "it is mounted")
            self.assertEqual(len(os.listdir(where)), 2)
            process.send_signal(number)
            self.assertEqual(process.wait(TIMEOUT), 0)
            self.assertFalse(os.path.ismount(where))
            where.rmdir()

    def test_other_users(self):
        """--allow-other lets other users in, with the rights that the image gives them."""
        if os.geteuid() != 0:
            # Who else there is cannot be become; that the option is refused where it may not be used can be seen.
            allowed = pathlib.Path("/etc/fuse.conf")
            if allowed.exists() and re.search(r"^\s*user_allow_other\b", allowed.read_text(), re.MULTILINE):
                self.skipTest("only root can become another user")
            self.assertIn("user_allow_other", self.mount(self.tree, options=["--allow-other"], status=125))
            self.skipTest("/etc/fuse.conf has no user_allow_other")
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            top.chmod(0o755)
            if self.as_nobody("test", "-x", top).returncode != 0:
                self.skipTest(f"another user cannot come to {top}")
            tree = top / "tree"
            tree.mkdir(mode=0o755)
            for name, mode, owner, group in (("open", 0o644, 0, 0), ("closed", 0o600, 0, 0), ("own", 0o600, 65534, 0), ("ours", 0o640, 0, 65534)):
                (tree / name).write_text(name)
                (tree / name).chmod(mode)
                os.chown(tree / name, owner, group)
            (tree / "all").mkdir()
            (tree / "all").chmod(0o1777)
            subprocess.run([TEACUP, "pack", "-q", tree, top / "a.erofs"], check=True)
            where = top / "at"
            where.mkdir()
            for options, expected in ((("-w",), []), (("-w", "--allow-other"), ["all", "open", "ours", "own"])):
                subprocess.run([TEACUP, "mount", *options, top / "a.erofs", where], check=True, timeout=TIMEOUT)
                try:
                    read = [name for name in sorted(os.listdir(tree)) if self.as_nobody("test", "-r", where / name).returncode == 0]
                    self.assertEqual(read, expected, options)
                    if not expected:
                        continue
                    self.assertEqual(self.as_nobody("cat", where / "own", where / "ours", where / "open").stdout, "ownoursopen")
                    self.assertIn("Permission denied", self.as_nobody("cat", where / "closed").stderr)
                    self.assertNotEqual(self.as_nobody("tee", where / "open").returncode, 0)
                    self.assertNotEqual(self.as_nobody("rm", "-f", where / "open").returncode, 0)
                    self.assertEqual(self.as_nobody("cp", where / "own", where / "all/new").returncode, 0)
                    made = os.stat(where / "all/new")
                    self.assertEqual((made.st_uid, made.st_gid), (65534, 65534))
                    (where / "all/root").touch()
                    self.assertNotEqual(self.as_nobody("rm", "-f", where / "all/root").returncode, 0)  # sticky
                finally:
                    unmount(where)

    @staticmethod
    def as_nobody(*words):
        return subprocess.run([*map(str, words)], user=65534, group=65534, extra_groups=[], capture_output=True, text=True,
                              timeout=TIMEOUT)

    def test_nothing_is_left_after_unmount(self):
        where = pathlib.Path(tempfile.mkdtemp(dir=self.top))
        subprocess.run([TEACUP, "mount", self.images["a.ext4"], where], check=True)
        unmount(where)
        until(lambda: subprocess.run(["pgrep", "-f", str(where)], capture_output=True).returncode != 0,
              "the process that served the mount ends")
        where.rmdir()

    def test_errors(self):
        (self.top / "noise").write_bytes(bytes(range(256)) * 100)
        self.assertIn("no image", self.mount(self.top / "noise", status=125))
        for options in ((), ("-f",)):
            made = subprocess.run([TEACUP, "mount", *options, self.images["a.erofs"], self.top / "nowhere"], capture_output=True,
                                  text=True)
            self.assertEqual(made.returncode, 125)
            self.assertIn("nowhere", made.stderr)
        self.assertIn("--memory", self.mount(self.images["a.erofs"], options=["-m", "lots"], status=125))

    def test_a_stack_of_images(self):
        layers = self.top / "layers"
        layers.mkdir()
        for name, tree, oci in ("lower", layers_test.LOWER, False), ("upper", layers_test.UPPER, False), ("oci", layers_test.UPPER, True):
            layers_test.write_tar(layers / f"{name}.tar", tree, oci=oci)
            for kind in ("erofs", "ext4", "squashfs"):
                if not oci:
                    subprocess.run([TEACUP, "pack", "-q", layers / f"{name}.tar", layers / f"{name}.{kind}"], check=True)
        expected = dict(line.split(" ", 1) for line in layers_test.MERGED.splitlines())
        for names in (("lower.erofs", "upper.erofs"), ("lower.ext4", "upper.squashfs"), ("lower.tar", "oci.tar"),
                      ("lower.squashfs", "upper.tar"), ("lower.erofs", self.tree, "upper.ext4")):
            for options in ((), ("-w",)):
                with self.subTest(names=names, options=options):
                    where = self.mount(*(layers / name for name in names), options=options)
                    self.assertEqual(contents(where / "t"), expected)
                    self.assertEqual(sorted(os.listdir(where / "t/d")), ["b", "c", "sub"])
                    self.assertFalse(os.path.lexists(where / "t/gone"))
                    self.assertEqual([key for key in os.listxattr(where / "t/opaque") if "overlay" in key], [])
                    self.assertEqual((where / "a").exists(), self.tree in names)
                    if not options:
                        with self.assertRaises(OSError) as refused:
                            (where / "t/new").touch()
                        self.assertEqual(refused.exception.errno, errno.EROFS)
                        continue
                    # What a layer took away can be made again, and has nothing of the layer below.
                    (where / "t/gone").write_text("new\n")
                    (where / "t/gone-dir").mkdir()
                    (where / "t/both").unlink()
                    shutil.rmtree(where / "t/opaque")
                    (where / "t/opaque").mkdir()
                    os.rename(where / "t/d", where / "t/moved")
                    changed = {name.replace("./d/", "./moved/"): text for name, text in expected.items()
                               if name not in ("./both", "./opaque/shown")}
                    self.assertEqual(contents(where / "t"), {**changed, "./gone": "new"})
                    self.assertEqual(os.listdir(where / "t/gone-dir") + os.listdir(where / "t/opaque"), [])

    def test_stack_errors(self):
        (self.top / "bad").write_bytes(bytes(range(256)) * 100)
        erofs = self.images["a.erofs"]
        self.assertIn("bad is no image", self.mount(erofs, self.top / "bad", status=125))
        self.assertIn("pack", self.mount(*[erofs] * 65, status=125))
        self.assertIn("not the image", self.mount(erofs, f"{erofs}@sha256:{'0' * 64}", status=125))
        for words, text in ((), "no image"), ((erofs,), "no directory"):
            made = subprocess.run([TEACUP, "mount", *words], capture_output=True, text=True)
            self.assertEqual(made.returncode, 125)
            self.assertIn(text, made.stderr)

    def in_namespace(self, script, *words):
        """Runs a script in a mount namespace of its own, where root may change /dev."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        return subprocess.run(["unshare", "-m", "sh", "-ec", script, "sh", *map(str, words)], capture_output=True, text=True,
                              timeout=TIMEOUT)

    def test_host_without_fuse(self):
        where = pathlib.Path(tempfile.mkdtemp(dir=self.top))
        for options in ((), ("-f",)):
            made = self.in_namespace('mount -t tmpfs none /dev; exec "$@"', TEACUP, "mount", *options, self.images["a.erofs"], where)
            self.assertEqual(made.returncode, 125, made.stderr)
            self.assertIn("this host has no FUSE (/dev/fuse)", made.stderr)
            self.assertIn("modprobe fuse", made.stderr)

    def test_by_an_ordinary_user(self):
        if shutil.which("fusermount3") is None or shutil.which("setpriv") is None:
            self.skipTest("no fusermount3 or no setpriv")
        top = pathlib.Path(tempfile.mkdtemp(dir=self.top))
        self.top.chmod(0o755)
        top.chmod(0o755)
        (top / "at").mkdir()
        os.chown(top / "at", 65534, 65534)
        shutil.copy(self.images["a.erofs"], top / "image")
        shutil.copy(TEACUP, top / "teacup")
        script = r"""
            mount -t tmpfs none /mnt
            mknod -m 666 /mnt/fuse c 10 229
            mount --bind /mnt/fuse /dev/fuse
            cd /
            exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/tmp sh -ec '
                "$1/teacup" mount -w "$1/image" "$1/at"
                cat "$1/at/a/4097" | wc -c
                echo written > "$1/at/a/new"
                cat "$1/at/a/new"
                fusermount3 -u "$1/at"
                ls "$1/at"' sh "$1"
        """
        made = self.in_namespace(script, top)
        self.assertEqual((made.returncode, made.stdout), (0, "4097\nwritten\n"), made.stderr)
        # Without fusermount3: what to install.
        empty = top / "bin"
        empty.mkdir()
        for name in ("sh", "env"):
            (empty / name).symlink_to(shutil.which(name))
        script = script.split("exec")[0] + 'exec setpriv --reuid 65534 --regid 65534 --clear-groups env PATH="$2" "$1/teacup" ' \
                                           'mount "$1/image" "$1/at"'
        made = self.in_namespace(script, top, empty)
        self.assertEqual(made.returncode, 125)
        self.assertIn("apt install fuse3", made.stderr)

    def test_memory_is_limited(self):
        where = self.mount(self.images["a.erofs"], options=["-w", "-m", "64m"])
        with self.assertRaises(OSError) as full:
            with open(where / "large", "wb") as large:
                for _ in range(100):
                    large.write(bytes(1 << 20))
        self.assertEqual(full.exception.errno, errno.ENOSPC)
        free = os.statvfs(where).f_bfree
        (where / "large").unlink()
        # The host's kernel tells who serves a mount later that the file is gone for good.
        until(lambda: os.statvfs(where).f_bfree > free + 1024, "its space is free")
        (where / "small").write_bytes(bytes(1 << 20))

    def test_model(self):
        seed = int(os.environ.get("TEACUP_SEED", 1))
        for name, image in self.images.items():
            with self.subTest(name, seed=seed):
                model = pathlib.Path(tempfile.mkdtemp(dir=self.top)) / "model"
                self.addCleanup(shutil.rmtree, model.parent)
                shutil.copytree(self.tree, model, symlinks=True, ignore=shutil.ignore_patterns("hard"))
                where = self.mount(image, options=["-w"])
                (where / "a/b/hard").unlink()
                run_model(random.Random(seed), (model, where), int(os.environ.get("TEACUP_OPERATIONS", 1500)))
                self.assertEqual(self.digests(where), self.digests(model))


def contents(top):
    """Of each file below, by its name as find gives it, without the line's end."""
    return {"./" + str(path.relative_to(top)): path.read_text().rstrip("\n") for path in top.rglob("*") if path.is_file()}


NAMES = [f"{directory}{name}" for directory in ("", "a/", "a/b/", "d0/", "d1/", "d0/d1/")
         for name in ("0", "1", "4095", "4097", "300000", "d0", "d1", "f0", "f1", "f2", "link")]


class Trees:
    """What is done to one tree; each call returns what can be compared."""

    def __init__(self, top):
        self.top = top
        self.open_files = {}

    def path(self, name):
        return os.path.join(self.top, name)

    def open(self, slot, name, flags):
        self.close(slot)
        self.open_files[slot] = os.open(self.path(name), flags | os.O_NOFOLLOW, 0o644)

    def close(self, slot):
        if slot in self.open_files:
            os.close(self.open_files.pop(slot))

    def fd(self, slot):
        if slot not in self.open_files:
            raise OSError(errno.EBADF, "none")
        return self.open_files[slot]

    def write(self, slot, offset, data):
        return os.pwrite(self.fd(slot), data, offset)

    def read(self, slot, offset, size):
        return os.pread(self.fd(slot), size, offset)

    def truncate(self, slot, size):
        os.ftruncate(self.fd(slot), size)

    def allocate(self, slot, mode, offset, length):
        fallocate(self.fd(slot), mode, offset, length)

    def stat(self, name):
        status = os.lstat(self.path(name))
        return status.st_mode, None if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_nlink)

    def fstat(self, slot):
        status = os.fstat(self.fd(slot))
        return None if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_nlink)

    def mkdir(self, name):
        os.mkdir(self.path(name), 0o755)

    def rmdir(self, name):
        os.rmdir(self.path(name))

    def unlink(self, name):
        os.unlink(self.path(name))

    def rename(self, name, new):
        os.rename(self.path(name), self.path(new))

    def link(self, name, new):
        os.link(self.path(name), self.path(new), follow_symlinks=False)

    def symlink(self, target, name):
        os.symlink(target, self.path(name))

    def readlink(self, name):
        return os.readlink(self.path(name))

    def chmod(self, name, mode):
        os.chmod(self.path(name), mode)

    def utime(self, name, time):
        os.utime(self.path(name), (time, time), follow_symlinks=False)
        return os.lstat(self.path(name)).st_mtime

    def list(self, name):
        return sorted(os.listdir(self.path(name)))

    def xattr(self, name, key, value):
        os.setxattr(self.path(name), f"user.{key}", value, follow_symlinks=False)
        return sorted((key, os.getxattr(self.path(name), key)) for key in os.listxattr(self.path(name)))


def random_operation(rng):
    name, other, slot = rng.choice(NAMES), rng.choice(NAMES), rng.randrange(4)
    offset = rng.choice((0, 1, 4095, 4096, rng.randrange(20_000), rng.randrange(400_000)))
    size = rng.choice((1, 100, 4096, rng.randrange(50_000)))
    access = rng.choice((os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_TRUNC,
                         os.O_RDONLY))
    mode = rng.choice((0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
    return rng.choice((
        ("open", slot, name, access), ("open", slot, name, access), ("open", slot, name, access), ("close", slot),
        ("write", slot, offset, rng.randbytes(size)), ("write", slot, offset, rng.randbytes(size)),
        ("read", slot, offset, size), ("read", slot, offset, size), ("truncate", slot, offset), ("allocate", slot, mode, offset, size),
        ("stat", name), ("fstat", slot), ("mkdir", name), ("rmdir", name), ("unlink", name), ("rename", name, other),
        ("link", name, other), ("symlink", other, name), ("readlink", name), ("chmod", name, rng.choice((0o644, 0o600, 0o755))),
        ("utime", name, rng.randrange(2_000_000_000)), ("list", os.path.dirname(name)), ("xattr", name, "k", rng.randbytes(5))))


def run_model(rng, tops, operations):
    trees = [Trees(top) for top in tops]
    for number in range(operations):
        operation, *arguments = random_operation(rng)
        results = []
        for tree in trees:
            try:
                results.append(getattr(tree, operation)(*arguments))
            except OSError as error:
                results.append(errno.errorcode[error.errno])
        if results[0] != results[1]:
            shown = [argument if not isinstance(argument, bytes) else f"{len(argument)} bytes" for argument in arguments]
            raise AssertionError(f"operation {number}, {operation}{shown}: {str(results[0])[:200]} on the host, "
                                 f"{str(results[1])[:200]} in the mount")
    for tree in trees:
        for slot in list(tree.open_files):
            tree.close(slot)


if __name__ == "__main__":
    unittest.main()
