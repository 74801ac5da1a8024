"""A host tree given by -v is all that the guest gets of the host, whatever changes in it meanwhile.

One side swaps directories and symlinks that lead out, in a loop, by renames; the other walks, reads, writes, creates,
renames and deletes through the same names. In the end what lies outside must be what it was, and none of its content may
have been seen. Once the host swaps and the guest works, once both are the guest; for rw, cow and ro.
"""

import ctypes
import os
import pathlib
import tempfile
import threading
import unittest

from harness import TIMEOUT, finish, start

SECRET = "what nobody inside may read"
ROUNDS = int(os.environ.get("TEACUP_ROUNDS", 60))
LIMIT = max(120, TIMEOUT)
RENAME_EXCHANGE = 2
libc = ctypes.CDLL(None, use_errno=True)

# Works through the names that are swapped, until every kind of call asked for has succeeded; says what it could read,
# and how often each did. A name found missing is believed to be so for a while (FileSystem::name_lifetime), so that any
# number of rounds may find nothing there.
WORK = r"""
    use Fcntl;
    my ($rounds, @works) = @ARGV;
    my %done;
    sub look { my ($path) = @_; open(my $f, "<", $path) or return; local $/; my $text = <$f>; $done{read}++; print "seen: $text\n" if $text =~ /nobody/; }
    for (my $round = 1; $round <= $rounds || grep { !$done{$_} } @works; $round++) {
        for my $d ("/v/d", "/v/e", "/v/d/below", "/v/d/..", "/v/d/below/../..", "/v/e/../../outside", "/v/d/../../../outside") {
            look("$d/file"); look("$d/secret"); look("$d/below/secret"); look("$d/outside/secret");
            if (sysopen(my $f, "$d/file", O_WRONLY)) { $done{write}++ if syswrite($f, "round $round"); }
            if (sysopen(my $f, "$d/new$round", O_WRONLY | O_CREAT | O_EXCL)) { $done{create}++; syswrite($f, "new"); }
            if (sysopen(my $f, "$d/secret", O_WRONLY | O_TRUNC)) { $done{truncate}++; syswrite($f, "overwritten"); }
            $done{mkdir}++ if mkdir "$d/directory";
            $done{rename}++ if rename "$d/new$round", "$d/renamed";
            rename "$d/secret", "/v/taken"; look("/v/taken");
            link "$d/secret", "/v/linked"; look("/v/linked"); unlink "/v/linked";
            $done{chmod}++ if chmod 0777, "$d/file"; chmod 0777, "$d/secret"; utime 1, 1, "$d/secret";
            $done{unlink}++ if unlink "$d/renamed";
            unlink "$d/secret", "$d/below/secret";
            rmdir "$d/directory";
            if (opendir(my $h, $d)) { for (readdir $h) { $done{list}++; print "listed: $_\n" if /^secret/; } }
        }
        # From inside a directory that goes elsewhere.
        if (chdir "/v/d/below") { look("../../outside/secret"); look("../secret"); look("secret"); look("../../../outside/secret"); chdir "/"; }
    }
    print join(" ", "done:", map { "$_ $done{$_}" } sort keys %done), "\n";
"""

# Swaps, as the host does in swap().
SWAP = r"""
    my $outside = shift;
    for (my $i = 0; ! -e "/v/stop"; $i++) {
        for my $name ("d", "e") {
            my $target = ("../outside", $outside, "../../../../../../..$outside", "../v/../outside", "/proc/1/root$outside")[$i % 5];
            symlink $target, "/v/link-$name";
            rename "/v/$name", "/v/kept-$name"; rename "/v/link-$name", "/v/$name"; unlink "/v/$name"; rename "/v/kept-$name", "/v/$name";
        }
    }
"""


def exchange(one, other):
    libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), RENAME_EXCHANGE)


class Escape(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.top = pathlib.Path(self.scratch.name)
        self.shared, self.outside = self.top / "shared", self.top / "outside"
        for name in ("d", "e"):
            (self.shared / name / "below").mkdir(parents=True)
            (self.shared / name / "file").write_text("inside")
            (self.shared / name / "below/file").write_text("inside")
        (self.outside / "below").mkdir(parents=True)
        for name in ("secret", "file", "below/secret", "below/file"):
            (self.outside / name).write_text(SECRET)
        self.before = self.state()

    def state(self):
        """All that lies beside the shared tree."""
        found = {}
        for folder, folders, files in os.walk(self.top):
            if pathlib.Path(folder) == self.top:
                folders.remove("shared")
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                found[path] = (status.st_mode, status.st_ino, status.st_nlink, status.st_uid, status.st_mtime_ns, status.st_size,
                               pathlib.Path(path).read_text() if name in files else "")
        return found

    def swap(self, stop):
        """As fast as it goes: a directory, a link that leads out, the directory again, and the directory moved out and back."""
        targets = ["../outside", str(self.outside), "../shared/../outside", f"/proc/{os.getpid()}/root{self.outside}"]
        number = 0
        while not stop.is_set():
            number += 1
            for name in ("d", "e"):
                link = self.shared / f"link-{name}"
                try:
                    os.symlink(targets[number % len(targets)], link)
                    exchange(link, self.shared / name)
                    exchange(link, self.shared / name)
                    os.unlink(link)
                    # A directory below is somewhere else for a moment: who is in it must not come to what lies around it.
                    os.rename(self.shared / name / "below", self.top / f"moved-{name}")
                    os.rename(self.top / f"moved-{name}", self.shared / name / "below")
                except OSError:
                    pass  # the guest changes the same names
        for name in ("d", "e"):
            if (self.top / f"moved-{name}").exists():
                # What was moved out is put back, for the comparison.
                os.rename(self.top / f"moved-{name}", self.shared / f"was-below-{name}")

    def check(self, result, works):
        self.assertEqual((result.status, result.err), (0, ""), result.out)
        self.assertNotIn("nobody", result.out)
        self.assertNotIn("listed:", result.out)
        for call in works:
            self.assertIn(f"{call} ", result.out.splitlines()[-1])
        self.assertEqual(self.state(), self.before)

    def start(self, script, *arguments, how):
        return start("perl", "-e", script, *arguments, options=["-v", f"{self.shared}:/v:{how}"])

    def test_host_swaps(self):
        for how, works in (("rw", ("create", "list", "read", "rename", "write")), ("cow", ("create", "list", "read", "write")),
                           ("ro", ("list", "read"))):
            with self.subTest(how):
                stop = threading.Event()
                swapping = threading.Thread(target=self.swap, args=[stop])
                swapping.start()
                try:
                    result = finish(self.start(WORK, ROUNDS, *works, how=how), timeout=LIMIT)
                finally:
                    stop.set()
                    swapping.join()
                self.check(result, works)

    def test_guest_swaps(self):
        for how in ("rw", "cow"):
            with self.subTest(how):
                script = (f"if (!fork) {{ {SWAP} exit 0; }}\n my $outside = shift; {WORK}\n open(my $f, '>', '/v/stop'); wait;")
                works = ("create", "list", "read")
                self.check(finish(self.start(script, self.outside, ROUNDS, *works, how=how), timeout=LIMIT), works)
                (self.shared / "stop").unlink(missing_ok=True)

    def test_two_machines(self):
        # One machine swaps on the host's tree, the other works in it.
        works = ("create", "list", "read", "write")
        swapper = self.start(SWAP, self.outside, how="rw")
        try:
            result = finish(self.start(WORK, ROUNDS, *works, how="rw"), timeout=LIMIT)
        finally:
            (self.shared / "stop").touch()
            self.assertEqual(finish(swapper, timeout=LIMIT).status, 0)
        self.check(result, works)


if __name__ == "__main__":
    unittest.main()
