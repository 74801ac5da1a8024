"""The programs of tests/programs print the same, and end with the same status, in a machine and in a chroot of the same
tree; from an EROFS image, an ext4 image, and the tree as a host directory. They run from a volume, /programs. Where no
chroot can be made (an ordinary user), the first machine's output is what the other two must print."""

import functools
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import IMAGE, ROOT, run

PROGRAMS = ROOT / "tests/programs"
BUILD = IMAGE.parent.parent
FORMS = ("erofs", "ext4", "directory")


def in_chroot():
    """Whether this process may make a chroot with mounts of its own."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def natively(tree, words, volumes, timeout):
    """Runs words in a chroot of `tree`, in a mount namespace of its own; returns status, output and standard error."""
    with tempfile.TemporaryDirectory() as folder:
        # A tmpfs over the tree takes the writes.
        bind = "".join(f"mkdir -p {folder}/root{guest} && mount --bind {host} {folder}/root{guest} && "
                       for host, guest in volumes)
        prepare = (f"mount -t tmpfs tmpfs {folder} && mkdir {folder}/upper {folder}/work {folder}/root && "
                   f"mount -t overlay -o lowerdir={tree},upperdir={folder}/upper,workdir={folder}/work overlay "
                   f"{folder}/root && {bind} cd {folder}/root && "
                   "mount -t proc proc proc && mount --rbind /dev dev && mount -t tmpfs tmpfs tmp && "
                   'exec chroot . "$@"')
        done = subprocess.run(["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", prepare, "sh", *words],
                              capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                   "HOME": "/root"})
    return done.returncode, done.stdout, done.stderr


@functools.cache
def image(name, form):
    """The image's file, or the folder with its files, unpacked once."""
    path = BUILD / "images" / f"{name}.{form if form == 'ext4' else 'erofs'}"
    if not path.exists():
        raise AssertionError(f"there is no {path}: make it with scripts/images --format both {name}")
    if form != "directory":
        return path
    folder = BUILD / "tests" / "trees" / name
    stamp = folder.with_suffix(".stamp")
    state = str(path.stat().st_mtime_ns)
    if not stamp.exists() or stamp.read_text() != state:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["fsck.erofs", f"--extract={folder}", path], check=True, stdout=subprocess.DEVNULL)
        stamp.write_text(state)
    return folder


class Programs(unittest.TestCase):
    maxDiff = None

    def check(self, name, *words, volumes=(), timeout=120):
        volumes = [(PROGRAMS, "/programs"), *volumes]
        options = [word for host, guest in volumes for word in ("-v", f"{host}:{guest}")]
        expected = natively(image(name, "directory"), words, volumes, timeout) if in_chroot() else None
        for form in FORMS:
            with self.subTest(form=form):
                result = run(*words, image=image(name, form), options=options, timeout=timeout)
                if expected is None:
                    expected = (0, result.out, "")
                self.assertEqual(result.out, expected[1], result.err)
                self.assertEqual((result.status, result.err), (expected[0], expected[2]))

    def test_shell(self):
        self.check("base", "bash", "/programs/shell.sh")

    def test_xargs(self):
        self.check("base", "bash", "/programs/xargs.sh")

    def test_archives(self):
        self.check("base", "bash", "/programs/archive.sh")

    def test_perl(self):
        self.check("base", "perl", "/programs/forks.pl")

    def test_compilers(self):
        self.check("toolchain", "bash", "/programs/compile.sh")

    def test_make_of_a_debian_package(self):
        source = BUILD / "tests" / "sources" / "zlib"
        if not source.exists():
            source.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([ROOT / "scripts/debian-source", "zlib", source], check=True)
        script = ("cp -r /source /tmp/zlib && cd /tmp/zlib && ./configure > configured && make -j4 -s > made && "
                  "make -s test && nm libz.a | grep -c ' T ' && tail -n 1 configured")
        self.check("toolchain", "bash", "-c", script, volumes=[(source, "/source")], timeout=300)


def add_python_test(part):
    def test(self):
        self.check("python", "python3", "-c", f"import sys; sys.path.insert(0, '/programs'); "
                   f"import standard_library; standard_library.{part}()")

    setattr(Programs, f"test_python_{part}", test)


for name in ("threads", "processes", "subprocesses", "asynchronous", "databases", "memory", "signals", "selecting",
             "files"):
    add_python_test(name)

if __name__ == "__main__":
    unittest.main()
