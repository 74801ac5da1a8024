"""Files from all sources, and what is asked of them at the edges: programs run patched, images that shrink, little memory."""

import hashlib
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


class LargeVolumeFiles(unittest.TestCase):
    """A large file of a volume, read in order, comes through a window (fs/host_stream.cc): it is the file all the same."""

    SIZE = 20 << 20

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.content = bytearray(os.urandom(self.SIZE))
        self.file = self.folder / "large"
        self.file.write_bytes(self.content)

    def run_shell(self, script, how="rw"):
        result = shell(script, options=["-v", f"{self.folder}:/v:{how}"])
        self.assertEqual((result.status, result.err), (0, ""))
        return result.out.split()

    def digest(self):
        return hashlib.sha256(self.content).hexdigest()

    def test_all_ways_of_reading(self):
        whole = "sha256sum < /v/large | cut -d' ' -f1; "
        blocks = "".join(f"dd if=/v/large bs={size} status=none | sha256sum | cut -d' ' -f1; " for size in ("4k", "1000001", "8M"))
        tail = "tail -c +12345678 /v/large | sha256sum | cut -d' ' -f1; "
        for how in ("rw", "ro", "cow"):
            with self.subTest(how):
                out = self.run_shell(whole + blocks + whole + tail, how)
                self.assertEqual(out, [self.digest()] * 5 + [hashlib.sha256(self.content[12345677:]).hexdigest()])

    def test_many_readers(self):
        # They begin one after the other, so that they are in different places of the file: in the window and beside it.
        out = self.run_shell("for i in 1 2 3 4; do (sleep 0.0$i; sha256sum < /v/large) & done; wait; dd if=/v/large bs=64k skip=100 "
                             "count=1 status=none | sha256sum")
        middle = hashlib.sha256(self.content[100 << 16:101 << 16]).hexdigest()
        self.assertEqual([word for word in out if word != "-"], [self.digest()] * 4 + [middle])

    def test_what_is_written_between_is_read(self):
        # Written in the window that is being read, behind it, and in front; by another descriptor.
        script = r"""
            open(my $in, "<:raw", "/v/large"); open(my $out, "+<:raw", "/v/large");
            my ($at, $all) = (0, "");
            while (my $count = sysread($in, my $part, 40000)) {
                $all .= $part; $at += $count;
                for my $where ($at + 5, $at + 3000000) {
                    if (int($at / 40000) % 7 == 0 && $where < 20000000) { sysseek($out, $where, 0); syswrite($out, "written at $at"); }
                }
            }
            open(my $again, "<:raw", "/v/large"); local $/; my $now = <$again>;
            print $now eq $all ? "same\n" : "differs\n";
        """
        result = run("perl", "-e", script, options=["-v", f"{self.folder}:/v:rw"])
        self.assertEqual((result.out, result.err), ("same\n", ""))
        self.assertGreater(self.file.read_bytes().count(b"written at"), 20)

    def test_what_the_host_changes(self):
        with start("sh", "-c", "sha256sum < /v/large; read go; sha256sum < /v/large; read go; wc -c < /v/large",
                   options=["-v", f"{self.folder}:/v"]) as machine:
            self.addCleanup(machine.kill)
            self.assertEqual(machine.stdout.readline().split()[0].decode(), self.digest())
            self.content[1000000:1000010] = b"0123456789"
            self.file.write_bytes(self.content)
            machine.stdin.write(b"go\n")
            machine.stdin.flush()
            self.assertEqual(machine.stdout.readline().split()[0].decode(), self.digest())
            os.truncate(self.file, 9 << 20)
            result = finish(machine, b"go\n")
        self.assertEqual((result.status, int(result.out)), (0, 9 << 20))

    def test_memory_is_given_back(self):
        before, after = self.run_shell("cat /v/small >/dev/null 2>&1; awk '/^MemFree/ {print $2}' /proc/meminfo; "
                                       "for i in 1 2 3; do cat /v/large > /dev/null; done; awk '/^MemFree/ {print $2}' /proc/meminfo")
        self.assertLess(int(before) - int(after), 4096)  # KiB; the file is 20 MiB


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
