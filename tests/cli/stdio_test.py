"""Standard input, output and error as pipes and files."""

import hashlib
import os
import signal
import subprocess
import tempfile
import unittest

from harness import TIMEOUT, command, finish, run, shell, start


class Stdio(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w") as file:
                file.write(text)
        return path

    def host(self, script, timeout=TIMEOUT):
        """A script of the host's sh; "$@" in it is a `teacup run IMAGE --`."""
        return subprocess.run(["sh", "-c", script, "sh", *command()], capture_output=True, text=True, timeout=timeout,
                              cwd=self.folder)

    def test_streams_are_apart(self):
        result = shell("echo out; echo err >&2")
        self.assertEqual((result.out, result.err), ("out\n", "err\n"))

    def test_bytes_pass_unchanged_both_ways(self):
        data = bytes(range(256)) * 1000
        process = start("cat")
        out, err = process.communicate(data, TIMEOUT)
        self.assertEqual((process.returncode, out, err), (0, data, b""))

    def test_much_data_passes_unchanged(self):
        data = os.urandom(1 << 20) * 16
        process = start("sh", "-c", "md5sum; head -c 16777216 /dev/zero")
        out, _ = process.communicate(data, TIMEOUT)
        line, _, zeros = out.partition(b"\n")
        self.assertEqual(line.split()[0].decode(), hashlib.md5(data).hexdigest())
        self.assertEqual(zeros, bytes(16777216))

    def test_output_is_seen_while_the_guest_runs(self):
        process = start("sh", "-c", "echo ready; read line; echo got $line")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        process.stdin.write(b"it\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"got it\n")
        self.assertEqual(finish(process).status, 0)

    def test_output_is_written_out_after_the_end(self):
        result = self.host('{ "$@" sh -c "head -c 120000 /dev/zero; exit 7"; echo $? >status; } | { sleep 1; wc -c; }')
        self.assertEqual(result.stdout, "120000\n")
        self.assertEqual(open(self.path("status")).read(), "7\n")

    def test_a_reader_that_does_not_read_can_be_given_up(self):
        process = start("sh", "-c", "echo end >&2; head -c 120000 /dev/zero")
        self.assertEqual(process.stderr.readline(), b"end\n")
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(1)
        process.terminate()
        self.assertEqual(process.wait(TIMEOUT), 128 + signal.SIGTERM)
        process.stdout.close()
        process.stderr.close()

    def test_input_file_is_read_no_further_than_the_guest_reads(self):
        self.path("lines", "one\ntwo\nthree\nfour\n")
        result = self.host('{ "$@" dd bs=4 count=1 2>/dev/null; cat; } < lines')
        self.assertEqual(result.stdout, "one\ntwo\nthree\nfour\n")
        result = self.host('{ "$@" head -c 4 >/dev/null; echo rest:; cat; } < lines')
        self.assertEqual(result.stdout, "rest:\ntwo\nthree\nfour\n")

    def test_unread_input_is_left_to_the_caller(self):
        result = self.host('printf "a\\nb\\nc\\n" | while read x; do "$@" echo "got $x"; done')
        self.assertEqual(result.stdout, "got a\ngot b\ngot c\n", result.stderr)

    def test_seek_on_an_input_file(self):
        self.path("data", "0123456789")
        result = self.host('"$@" sh -c "tail -c 3; :" < data')
        self.assertEqual(result.stdout, "789", result.stderr)

    def test_output_appends(self):
        self.path("log", "before\n")
        result = self.host('"$@" sh -c "echo one; echo two" >> log; echo after >> log; cat log')
        self.assertEqual(result.stdout, "before\none\ntwo\nafter\n", result.stderr)

    def test_output_file_is_shared_with_the_caller(self):
        result = self.host('{ echo before; "$@" echo guest; echo after; } > log; cat log')
        self.assertEqual(result.stdout, "before\nguest\nafter\n", result.stderr)

    def test_reader_that_goes_away_ends_the_writer(self):
        result = self.host('"$@" yes | head -n 1; :')
        self.assertEqual(result.stdout, "y\n", result.stderr)

    def test_broken_pipe_kills_with_sigpipe(self):
        process = start("sh", "-c", "yes; echo status $? >&2")
        process.stdout.readline()
        process.stdout.close()
        process.stdin.close()
        self.assertEqual(process.stderr.read(), b"status 141\n")
        process.stderr.close()
        process.wait(TIMEOUT)

    def test_closed_streams(self):
        result = self.host('"$@" sh -c "cat; echo read \\$? >&2" <&- 2>&1')
        self.assertIn("read 1", result.stdout)
        result = self.host('"$@" sh -c "echo lost; echo wrote \\$? >&2" >&-')
        self.assertIn("wrote 1", result.stderr)

    def test_dev_null(self):
        result = run("cat", stdin=subprocess.DEVNULL, input=None)
        self.assertEqual((result.status, result.out), (0, ""))

    def test_full_device_is_an_error(self):
        # What the host refuses is known by a later write, the next one if it comes late enough.
        with open("/dev/full", "w") as full:
            result = shell("while echo text; do sleep 0.01; done; echo failed >&2", stdout=full)
        self.assertIn("failed", result.err)

    def test_what_could_not_be_written_is_told_at_the_end(self):
        with open("/dev/full", "w") as full:
            result = run("echo", "text", stdout=full)
        self.assertEqual(result.status, 125)
        self.assertIn("cannot write standard output: No space left on device: the last 5 bytes", result.err)

    def test_a_program_that_fails_has_its_own_status(self):
        with open("/dev/full", "w") as full:
            result = shell("echo text; exit 7", stdout=full)
        self.assertEqual(result.status, 7)
        self.assertIn("the last 5 bytes", result.err)

    def test_output_file_at_its_limit(self):
        result = self.host('ulimit -f 1; "$@" sh -c "head -c 100000 /dev/zero" > data; echo $?; wc -c < data')
        self.assertIn("ulimit -f", result.stderr)
        self.assertEqual(result.stdout, "125\n0\n")

    def test_streams_by_their_names(self):
        result = shell("echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin; cat /proc/self/fd/0",
                       input=b"text")
        self.assertEqual((result.out, result.err), ("out\ntext", "err\n"))

    def test_no_terminal_is_said_so(self):
        self.assertEqual(shell("test -t 0; echo $?; test -t 1; echo $?; tty").out, "1\n1\nnot a tty\n")

    def test_arguments_pass_unchanged(self):
        words = ["", " ", "a b", "$HOME", "*", "new\nline", "--", "-e", "\u00e9\u4e2d"]
        result = run("printf", "%s|", *words)
        self.assertEqual(result.out, "".join(word + "|" for word in words))


if __name__ == "__main__":
    unittest.main()
