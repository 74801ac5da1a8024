"""--upper FILE: what a machine wrote is there in the next, up to the last fsync, however it ended."""

import hashlib
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from harness import IMAGE, ROOT, TEACUP, command, finish, run, start

SEED = int(os.environ.get("UPPER_SEED", 1))
KILLS = int(os.environ.get("UPPER_KILLS", 25))
HEAD, RECORD = struct.Struct("<8sIIII"), struct.Struct("<IIQII")


class Upper(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = pathlib.Path(folder.name)
        self.file = self.top / "upper"

    def run_in(self, script, *, file=None, status=0, options=(), image=None, err=""):
        result = run("sh", "-c", script, options=["--upper", file or self.file, *options], image=image, timeout=120)
        self.assertEqual(result.status, status, result.out + result.err)
        if err is not None:
            self.assertEqual(result.err, err)
        return result.out

    def records(self, file=None):
        """(offset, length of the whole record, whether it commits)"""
        data = (file or self.file).read_bytes()
        at = HEAD.size + HEAD.unpack_from(data)[2]
        found = []
        while at < len(data):
            magic, _, number, length, flags = RECORD.unpack_from(data, at)
            self.assertEqual((magic, number), (0x43455255, len(found)))
            found.append((at, RECORD.size + length, flags & 1))
            at += RECORD.size + length
        return found


class Kept(Upper):
    def test_all_that_a_tree_has(self):
        make = """mkdir -p /d/e /d/empty; echo a > /d/f; ln /d/f /d/e/g; ln -s ../f /d/e/l; mkfifo /d/p; chmod 4751 /d/f; chown 12:34 /d/f
            touch -d @1000000000.123456789 /d/f; chmod 1777 /d/e; truncate -s 5G /d/sparse; printf x | dd of=/d/sparse bs=1 seek=4000000000 conv=notrunc 2>/dev/null
            rm /etc/issue; mv /etc/passwd /etc/passwd2; mv /usr/share /usr/share2; mkdir /usr/share; echo s > /usr/share/s; echo more >> /etc/fstab
            rm -r /usr/share2/terminfo; perl -e 'syscall(188, my $p = "/d/f", my $n = "user.k", my $v = "value", 5, 0) and die'
            truncate -s 10 /etc/passwd2; truncate -s 20 /etc/passwd2; rmdir /home; touch /home; seq 100000 > /d/seq; truncate -s 100 /d/seq; truncate -s 100k /d/seq"""
        show = """cd /; ls -la --time-style=full-iso /d /d/e /etc /usr /usr/share /usr/share2 /home | grep -v ' \\.\\.*$' | grep -v ' hostname$\\| hosts$\\| resolv.conf$'
            cat /d/e/g /d/e/l /etc/passwd2 /usr/share/s /etc/fstab; cksum /d/seq; stat -c '%i %h %b' /d/f /d/e/g; perl -e 'syscall(191, my $p = "/d/f", my $n = "user.k", my $b = "\\0" x 9, 9); print $b, "\\n"'
            dd if=/d/sparse bs=1 skip=3999999999 count=3 2>/dev/null | od -c"""
        expected = self.run_in(f"({make}) && ({show})")
        self.assertIn("value", expected)
        self.assertEqual(self.run_in(show), expected)
        # Written anew as a whole it says the same.
        self.assertEqual(self.run_in(show), expected)

    def test_one_run_goes_on_from_the_other(self):
        for i in range(5):
            self.assertEqual(self.run_in(f"cat /n 2>/dev/null; echo {i} >> /n; mkdir /m{i}; ls -d /m[0-9]*; rm -f /t; echo {i} > /t"),
                             "".join(f"{j}\n" for j in range(i)) + "".join(f"/m{j}\n" for j in range(i + 1)))

    def test_over_layers(self):
        (self.top / "t/a").mkdir(parents=True)
        (self.top / "t/a/f").write_text("of the layer\n")
        subprocess.run([TEACUP, "pack", self.top / "t", self.top / "layer.erofs"], check=True)
        options = ["--layer", self.top / "layer.erofs"]
        self.run_in("mv /a /b; echo more >> /b/f", options=options)
        self.assertEqual(self.run_in("cat /b/f; ls /a 2>&1 | grep -c 'No such'", options=options), "of the layer\nmore\n1\n")
        self.run_in("true", status=125, err=None)

    def test_over_ext4(self):
        image = IMAGE.with_suffix(".ext4")
        self.run_in("echo more >> /etc/issue; mv /etc/passwd /p", image=image)
        self.assertEqual(self.run_in("tail -n1 /etc/issue; wc -l < /p; ls /etc/passwd 2>&1 | grep -c 'No such'", image=image).split()[::2], ["more", "1"])

    def test_shared_mappings(self):
        program = """import mmap, os
fd = os.open("/m", os.O_RDWR | os.O_CREAT); os.truncate("/m", 40960)
m = mmap.mmap(fd, 40960)
m[0] = 65; m.flush(); m[8192] = 66; os.fsync(fd); m[20000] = 67
"""
        python = TEACUP.parent / "images/python.erofs"
        if not python.exists():
            self.skipTest("no python image")
        options = ["--upper", str(self.file)]
        self.assertEqual(run("python3", "-c", program, options=options, image=python).status, 0)
        result = run("python3", "-c", "d = open('/m', 'rb').read(); print(len(d), d[0], d[8192], d[20000], sum(d))", options=options, image=python)
        self.assertEqual(result.out, "40960 65 66 67 198\n", result.err)

    def test_unlinked_and_unnamed_files_leave_nothing(self):
        self.run_in("exec 3<>/gone; head -c 3m /dev/urandom >&3; rm /gone; sync; echo x >&3; sync")
        self.assertLess(self.file.stat().st_size, 200_000)
        self.assertEqual(self.run_in("ls /gone 2>&1 | grep -c 'No such'"), "1\n")

    def test_many_files(self):
        # More names than are kept in memory before they are written.
        self.run_in("mkdir /many; cd /many; perl -e 'for (1..40000) { open F, \">\", $_; print F $_ if $_ % 7 == 0 } unlink grep { $_ % 3 == 0 } 1..40000; rename 1, \"one\"'")
        self.assertEqual(self.run_in("cd /many; ls | wc -l; ls -d one 1 2>/dev/null; cat 7 14 39998 2>/dev/null; rm -r /many"), "26667\none\n714" + "39998" * (39998 % 7 == 0) + "\n" * 0)
        self.assertEqual(self.run_in("ls -d /many 2>/dev/null | wc -l"), "0\n")


class Refused(Upper):
    def test_another_machine_has_it(self):
        process = start("sh", "-c", "echo on; read x", options=["--upper", self.file])
        try:
            self.assertEqual(process.stdout.readline(), b"on\n")
            result = run("true", options=["--upper", self.file])
            self.assertEqual(result.status, 125)
            self.assertIn("another machine has it", result.err)
        finally:
            self.assertEqual(finish(process, b"\n").status, 0)
        self.run_in("true")

    def test_other_images(self):
        self.run_in("echo x > /x")
        before = self.file.read_bytes()
        result = run("true", options=["--upper", self.file], image=IMAGE.with_suffix(".ext4"))
        self.assertEqual(result.status, 125)
        self.assertIn("made over other images", result.err)
        self.assertEqual(self.file.read_bytes(), before)

    def test_other_files(self):
        for content in b"something else", b"teacupUP", bytes(100), b"teacupUP" + bytes(100):
            self.file.write_bytes(content)
            result = run("true", options=["--upper", self.file])
            self.assertEqual(result.status, 125, content)
            self.assertEqual(self.file.read_bytes(), content)
        self.file.write_bytes(b"")
        self.run_in("echo x > /x")
        self.assertEqual(self.run_in("cat /x"), "x\n")

    def test_directories(self):
        result = run("true", options=["--upper", self.file], image=self.top)
        self.assertEqual(result.status, 125)
        self.assertIn("is a directory", result.err)

    def test_more_than_fits(self):
        self.run_in("head -c 100m /dev/urandom > /large")
        result = run("true", options=["--upper", self.file, "--memory", "64m"])
        self.assertEqual(result.status, 125)
        self.assertIn("--memory", result.err)
        self.assertEqual(self.run_in("stat -c %s /large"), f"{100 << 20}\n")


class Damaged(Upper):
    """Whatever is behind the last whole commit, or damaged, does not count, and is said."""

    def setUp(self):
        super().setUp()
        # A commit a step, whose number every file of the step has.
        self.run_in("for i in 1 2 3 4 5 6; do rm -f /a$((i - 2)); echo $i > /a$i; mv /a$i /b$i; echo $i > /n; dd if=/dev/zero bs=50000 count=1 2>/dev/null | tr '\\0' $i > /big; sync; done")
        self.all = self.records()
        self.assertGreater(len(self.all), 10)
        self.states = [self.state(keep=at + length) for at, length, commits in self.all if commits]

    def state(self, keep=None, flip=None):
        """What the next machine has of a copy that is cut off, or has a bit flipped."""
        copy = self.top / "copy"
        data = bytearray(self.file.read_bytes()[:keep])
        if flip is not None:
            data[flip // 8] ^= 1 << flip % 8
        copy.write_bytes(data)
        result = run("sh", "-c", "cat /n; ls / | grep '^[ab][0-9]'; cksum < /big; true", options=["--upper", copy])
        self.assertEqual(result.status, 0, result.err)
        self.said = result.err.replace("cat: /n: No such file or directory\n", "").replace("sh: 1: cannot open /big: No such file\n", "")
        return result.out

    def expected(self, at):
        """The state of the last commit before byte `at`."""
        before = [i for i, end in enumerate(a + n for a, n, commits in self.all if commits) if end <= at]
        return self.states[before[-1]] if before else self.empty

    def test_all(self):
        self.empty = self.state(keep=self.all[0][0])
        self.assertEqual(len(set(self.states)), len([s for s in self.states]) - self.states.count(self.states[-1]) + 1)
        self.assertIn("6\n", self.states[-1])
        for at, length, commits in self.all:
            for cut in at, at + 1, at + 24, at + length // 2, at + length - 1:
                self.assertEqual(self.state(keep=cut), self.expected(cut), cut)
                whole = cut in [self.all[0][0]] + [a + n for a, n, c in self.all if c]
                self.assertEqual("not completed" in self.said, not whole, (cut, self.said))
        random.seed(SEED)
        for at, length, _ in self.all[:-1]:
            bit = random.randrange(at * 8, (at + length) * 8)
            self.assertEqual(self.state(flip=bit), self.expected(at), (bit, f"UPPER_SEED={SEED}"))
            self.assertRegex(self.said, "is damaged|not completed")
            if "is damaged" in self.said:
                self.assertTrue((self.top / "copy.dropped").exists())
                self.assertIn(f"byte {at} ", self.said)


class Killed(Upper):
    """kill -9, at any point: what had been fsynced is there."""

    PROGRAM = r"""
use strict; $| = 1; my $i = -e "/n" ? `cat /n` + 0 : 0; print "start $i\n";
sub synced { my ($name, $text) = @_; open my $f, ">", "$name.new" or die; print $f $text; $f->flush; syscall(74, fileno $f) == 0 or die; close $f; rename "$name.new", $name or die }
while (1) { $i++;
    open my $l, ">>", "/log" or die; print $l "$i\n"; close $l;
    unlink "/f" . ($i - 5); open my $f, ">", "/f$i" or die; print $f $i x 3000; close $f;
    synced("/n", $i);
    print "$i\n" }
"""

    def test_at_any_point(self):
        generator = random.Random(SEED)
        promised = 0
        for turn in range(KILLS):
            process = start("perl", "-e", self.PROGRAM, options=["--upper", self.file])
            line = process.stdout.readline()
            self.assertTrue(line.startswith(b"start "), process.stderr.read() if not line else line)
            # A rename that was not synced may be there or not; nothing before it is lost.
            begun = int(line.split()[1])
            self.assertGreaterEqual(begun, promised - 1, f"UPPER_SEED={SEED}, turn {turn}")
            # Two numbers at least, however slow the disk is.
            numbers = [int(process.stdout.readline()) for _ in range(2)]
            time.sleep(generator.random() * 0.1)
            process.kill()
            numbers += [int(n) for n in process.stdout.read().split(b"\n")[:-1]]
            process.communicate()
            promised = max([promised, begun, *numbers])
            # The counter's own rename came after its fsync.
            result = run("perl", "-e", "print -e '/n' ? `cat /n` : 0, ' '; open L, '/log'; my @l = <L>; my $k = @l; chomp @l; my %h = map { $_ => 1 } @l; $k = 0; $k++ while $h{$k + 1}; print $k == keys %h ? $k : 'bad', ' ';"
                         "for my $i ($k-3..$k) { next if $i < 1; open F, \"/f$i\"; local $/; my $t = <F>; print $t eq $i x 3000 ? 'ok' : 'bad' }", options=["--upper", self.file])
            self.assertEqual(result.status, 0, result.err)
            n, log, files = (result.out.split() + [""])[:3]
            # At the fsync for number N all that was written before it is there: N in the log, the file, N - 1 in /n.
            self.assertGreaterEqual(int(n), promised - 1, f"UPPER_SEED={SEED}, turn {turn}: {result.out}")
            self.assertGreaterEqual(int(log), promised, f"UPPER_SEED={SEED}, turn {turn}: {result.out}")
            self.assertNotIn("bad", files, f"UPPER_SEED={SEED}, turn {turn}: {result.out}")
        self.assertGreater(promised, 30)

    def test_while_it_is_written_anew(self):
        # 8 MiB, written and synced so often that the file is replaced now and then.
        generator = random.Random(SEED)
        program = r"""$| = 1; open my $f, "+>", "/big" or die; for my $i (1 .. 200) { seek $f, 0, 0; print $f sprintf("%08d", $i) x (1 << 20); $f->flush; syscall(74, fileno $f) == 0 or die; print "$i\n" }"""
        for turn in range(4):
            process = start("perl", "-e", program, options=["--upper", self.file])
            time.sleep(0.3 + generator.random() * 1.5)
            process.kill()
            out, _ = process.communicate()
            done = [int(n) for n in out.split(b"\n")[:-1]]
            self.assertLess(self.file.stat().st_size, 120 << 20)
            result = run("perl", "-e", "open F, '/big'; local $/; my $t = <F>; print length $t, ' ', substr($t, 0, 8), ' ', $t eq substr($t, 0, 8) x (1 << 20) ? 1 : 0", options=["--upper", self.file])
            self.assertEqual(result.status, 0, result.err)
            if done:
                size, first, same = result.out.split()
                self.assertEqual(size, str(8 << 20))
                # Of the last that was synced, a later one whose number had not come out yet, or pages of two.
                if same == "1":
                    self.assertGreaterEqual(int(first), done[-1], f"UPPER_SEED={SEED}")
            self.assertFalse((self.top / "upper.rewrite").exists())

    def test_ended_by_a_signal(self):
        process = start("sh", "-c", "echo x > /x; echo on; sleep 100", options=["--upper", self.file])
        self.assertEqual(process.stdout.readline(), b"on\n")
        process.send_signal(signal.SIGTERM)
        finish(process)
        process = start("sh", "-c", "trap 'exit 3' TERM; echo y > /y; echo on; sleep 100 & wait", options=["--upper", self.file])
        self.assertEqual(process.stdout.readline(), b"on\n")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(finish(process).status, 3)
        self.assertIn("y\n", self.run_in("cat /y"))


@unittest.skipUnless(os.geteuid() == 0, "a small disk has to be mounted")
class FullDisk(Upper):
    def test_full_disk(self):
        disk = self.top / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("tmpfs cannot be mounted here")
        try:
            file = disk / "upper"
            self.assertEqual(self.run_in("echo kept > /kept; sync; head -c 8m /dev/urandom > /large; sync /large 2>&1 | grep -o 'No space left on device'; rm /large; echo also > /also; sync /also && echo synced",
                                         file=file), "No space left on device\nsynced\n")
            self.assertEqual(self.run_in("cat /kept /also; ls /large 2>/dev/null", file=file, status=2, err=None), "kept\nalso\n")
            result = run("sh", "-c", "head -c 8m /dev/urandom > /large", options=["--upper", file])
            self.assertEqual(result.status, 125)
            self.assertIn("is not in --upper's file", result.err)
            self.assertEqual(self.run_in("cat /kept /also", file=file), "kept\nalso\n")
        finally:
            subprocess.run(["umount", disk], check=True)


if __name__ == "__main__":
    unittest.main()
