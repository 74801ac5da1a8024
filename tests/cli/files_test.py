"""Files from all sources, and what is asked of them at the edges: programs run patched, images that shrink, little memory."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
from importlib.machinery import SourceFileLoader

from harness import IMAGE, ROOT, TEACUP, finish, run, shell, start

PROGRAMS = pathlib.Path(os.environ.get("TEACUP_PROGRAMS", TEACUP.parent / "tests/guest"))  # tests/guest, built


class InodeMemory(unittest.TestCase):
    def test_an_inode_and_its_dentry(self):
        bench = SourceFileLoader("memory", str(ROOT / "bench/memory")).load_module()
        each = bench.inode_and_dentry(TEACUP, IMAGE, 20_000)
        self.assertLessEqual(each, bench.LIMITS["inode and dentry"])


class Patched(unittest.TestCase):
    """By --stats: hardly a call comes through the net, which serves what is not patched."""

    def calls(self, *words, image=None, options=()):
        """(by way of a patch, by the net)"""
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, "stats")
            result = run(*words, image=image, options=[f"--stats={report}", *options])
            self.assertEqual(result.status, 0, result.out + result.err)
            with open(report) as f:
                stats = json.load(f)
            return stats["rewritten"], stats["trapped"]

    def check(self, *words, at_most=0, **settings):
        rewritten, trapped = self.calls(*words, **settings)
        self.assertGreater(rewritten, 20)
        self.assertLessEqual(trapped, at_most)

    def test_image(self):
        self.check("ls", "/")

    def test_programs_of_a_volume(self):
        self.check("/t/dynamic/hello", options=["-v", f"{PROGRAMS}:/t"])
        self.check("/t/static/hello", options=["-v", f"{PROGRAMS}:/t:rw"])

    def test_a_file_as_a_volume(self):
        self.check("/opt/hello", options=["-v", f"{PROGRAMS}/dynamic/hello:/opt/hello"])

    def test_library_of_a_volume(self):
        self.check("/t/forms/dlopen", options=["-v", f"{PROGRAMS}:/t"])

    def test_copied_library(self):
        self.check("sh", "-c", "cp /t/forms/* /tmp && /tmp/dlopen", options=["-v", f"{PROGRAMS}:/t"])

    def test_directory_as_the_image(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(PROGRAMS / "static/hello", folder)
            self.check("/hello", image=folder)

    def test_made_by_the_guest(self):
        # tests/guest/text.cc: files that were written, written anew, in memory, executable by mprotect alone. Three
        # calls come from text that the program had changed by itself.
        self.check("/t/dynamic/text", options=["-v", f"{PROGRAMS}:/t"], at_most=3)


class CutImage(unittest.TestCase):
    """An image whose file is cut off while the machine runs: EIO to calls, SIGBUS to programs, and the machine goes on."""

    def cut(self, kind, keep):
        """What tests/guest/forms/cut.c says and its end, in a copy of the image that is cut to `keep` bytes."""
        source = IMAGE.with_suffix("." + kind)
        if not source.exists():
            self.skipTest(f"there is no {source}")
        with tempfile.TemporaryDirectory() as folder:
            image = os.path.join(folder, "image")
            shutil.copy(source, image)
            process = start("/t/cut", image=image, options=["-v", f"{PROGRAMS}/forms:/t"])
            try:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                os.truncate(image, keep)
                result = finish(process, b"go\n")
            finally:
                process.kill()
            self.assertNotIn("panic", result.err)
            said = dict(line.split() for line in result.out.splitlines() if " " in line)
            self.assertIn("on", result.out.split(), result.err)
            return said, result.status

    def test_all_is_gone(self):
        for kind in "erofs", "ext4":
            said, status = self.cut(kind, 0)
            self.assertEqual((said["read"], said["pread"], status), ("EIO", "EIO", 135), (kind, said))
        said, _ = self.cut("erofs", 0)
        self.assertEqual((said["stat"], said["readdir"]), ("EIO", "EIO"))

    def test_at_any_length(self):
        size = IMAGE.stat().st_size
        for keep in 4096, size // 5, size // 2 + 77, size - 4096:
            _, status = self.cut("erofs", keep)
            self.assertIn(status, (0, 1, 135))


class Memory(unittest.TestCase):
    """A small --memory: what is cached goes, what is refused is refused with the right error, nothing hangs."""

    def run(self, result=None):
        self.options = ["--memory", "64M"]
        super().run(result)

    def shell(self, script, options=(), **settings):
        return shell(script, options=[*self.options, *options], timeout=120, **settings)

    def test_full_and_free_again(self):
        result = self.shell("dd if=/dev/zero of=/tmp/x bs=1M 2>&1 | grep -o 'No space left'; rm /tmp/x; echo more > /tmp/y && cat /tmp/y;"
                            "dd if=/dev/zero of=/tmp/x bs=1M count=32 2>/dev/null && echo fits")
        self.assertEqual(result.out, "No space left\nmore\nfits\n", result.err)

    def test_written_and_deleted_often(self):
        result = self.shell("i=0; while [ $i -lt 100 ]; do head -c 32M /dev/zero > /tmp/f || break; rm /tmp/f; i=$((i+1)); done; echo $i")
        self.assertEqual(result.out, "100\n", result.err)

    def test_many_names(self):
        # More inodes and names than fit: made, looked at, gone.
        script = """mkdir "/tmp/d"; my ($made, $error); for my $i (1 .. 500000) { if (open(F, ">", "/tmp/d/$i")) { close F; $made++ }
            else { $error = $!{ENOSPC} || $!{ENOMEM}; last } } print $error ? "refused\\n" : "$made\\n";
            unlink "/tmp/d/$_" for 1 .. $made; rmdir "/tmp/d" or print "rmdir: $!\\n";
            open(F, ">", "/tmp/x") and print F "x" and close F and print "on\\n";"""
        result = run("perl", "-MErrno", "-e", script, options=["--memory", "32M"], timeout=120)
        self.assertEqual(result.out, "refused\non\n", result.err)

    def test_find_and_read_much_more_than_fits(self):
        with tempfile.TemporaryDirectory() as folder:
            for d in range(50):
                os.mkdir(f"{folder}/{d}")
                for f in range(100):
                    with open(f"{folder}/{d}/{f}", "wb") as out:
                        out.write(b"%d" % f * 10000)
            with open(f"{folder}/large", "wb") as out:
                for i in range(100):
                    out.write(bytes([i]) * (1 << 20))
            expected = subprocess.run(f"find {folder} -type f | wc -l; cat {folder}/*/* | cksum; cksum < {folder}/large", shell=True,
                                      stdout=subprocess.PIPE, text=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}).stdout
            result = self.shell("find /v -type f | wc -l; cat /v/*/* | cksum; cksum < /v/large", ["-v", f"{folder}:/v", "-e", "LC_ALL=C"])
            self.assertEqual((result.out, result.err), (expected, ""))

    def test_reading_the_whole_image(self):
        for kind in "erofs", "ext4":
            result = self.shell("find / -xdev -type f -size -20M | xargs cat | wc -c", image=IMAGE.with_suffix("." + kind))
            self.assertGreater(int(result.out), 30 << 20, result.err)


if __name__ == "__main__":
    unittest.main()
