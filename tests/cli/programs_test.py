"""The programs of tests/programs print the same, and end with the same status, in a machine and in a chroot of the same
tree. They run from a volume, /programs. As an ordinary user there is no chroot; then only the machine's run is judged,
by its status."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import IMAGE, ROOT, run

PROGRAMS = ROOT / "tests/programs"
BUILD = IMAGE.parent.parent


def natively(tree, words, volumes):
    """Runs words in a chroot of `tree`, in a mount namespace of its own; returns status and output."""
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
                              capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                   "HOME": "/root"})
    return done.returncode, done.stdout, done.stderr


class Programs(unittest.TestCase):
    maxDiff = None

    def tree(self, name):
        """The image's files in a folder, unpacked once."""
        image = BUILD / "images" / f"{name}.erofs"
        if not image.exists():
            self.fail(f"there is no {image}: make it with scripts/images {name}")
        folder = BUILD / "tests" / "trees" / name
        stamp = folder.with_suffix(".stamp")
        state = str(image.stat().st_mtime_ns)
        if not stamp.exists() or stamp.read_text() != state:
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["fsck.erofs", f"--extract={folder}", image], check=True, stdout=subprocess.DEVNULL)
            stamp.write_text(state)
        return folder

    def check(self, image, *words, volumes=(), timeout=120):
        volumes = [(PROGRAMS, "/programs"), *volumes]
        options = [word for host, guest in volumes for word in ("-v", f"{host}:{guest}")]
        result = run(*words, image=BUILD / "images" / f"{image}.erofs", options=options, timeout=timeout)
        if os.geteuid() != 0:
            self.assertEqual(result.status, 0, result.err)
            return
        status, out, err = natively(self.tree(image), words, volumes)
        self.assertEqual(result.out, out, result.err)
        self.assertEqual((result.status, result.err), (status, err))

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
