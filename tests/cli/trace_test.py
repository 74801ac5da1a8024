"""teacup run --trace: lines as strace(1) prints them for the same program, natively."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import TIMEOUT, run, shell

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = HERE / "trace_calls.c"
EXPECTED = HERE / "trace_calls.txt"  # what strace 6.1 prints, normalised; written anew by: trace_test.py --write


def normalised(line):
    """Without what differs from run to run: addresses, process ids, times."""
    line = re.sub(r" /\* (?!\d+ (entries|vars? ))[^*]*\*/(?<!\?\?\? \*/)", "", line)  # strace's remarks, of dates
    line = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", line)
    line = re.sub(r"\b(si_pid|si_uid|si_utime|si_stime)=\d+", r"\1=N", line)
    line = re.sub(r"^(getpid\(\)|fork\(\)|clone\(.*\)) = \d+$", r"\1 = PID", line)
    line = re.sub(r"^kill\(\d+", "kill(PID", line)
    line = re.sub(r"^(getpriority\(PRIO_PROCESS, 0\)) = \d+$", r"\1 = N", line)  # whatever the test was started with
    line = re.sub(r"^waitid\(P_PID, \d+", "waitid(P_PID, PID", line)
    return re.sub(r"^wait4\(\d+(.*) = \d+$", r"wait4(PID\1 = PID", line)


def compared(text, pattern):
    """What the program did from its first marker on: its own lines, then its children's in the order in which they
    appear, without the start of a program. A line that strace has cut in two is one again."""
    lines = text.splitlines()
    tasks, unfinished = {}, {}
    for whole in lines[next(i for i, line in enumerate(lines) if '"begin"' in line):]:
        task, line = re.match(pattern, whole).groups()
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", line)
        if line.endswith(" <unfinished ...>"):
            unfinished[task] = line.removesuffix(" <unfinished ...>")
            continue
        if resumed:
            line = unfinished.pop(task) + resumed[1]
        tasks.setdefault(task, []).append(normalised(line))
    return "\n\n".join("\n".join(without_start(lines)) for lines in tasks.values()) + "\n"


def without_start(lines):
    """What a C library does between execve and main() is not ours to compare."""
    started = [i for i, line in enumerate(lines) if line.startswith("execve(") and line.endswith("= 0")]
    again = [i for i, line in enumerate(lines) if '"again"' in line]
    return lines[:started[0] + 1] + lines[again[0]:] if started and again else lines


def build(folder):
    subprocess.run(["cc", "-w", "-O1", "-static", "-o", folder / "trace_calls", PROGRAM], check=True)


def native(folder):
    """strace's trace of the program; None where there is no strace, or it may not trace."""
    if not shutil.which("strace"):
        return None
    where = folder / "native"
    where.mkdir()
    shutil.copy(folder / "trace_calls", where)
    trace = folder / "native.txt"
    result = subprocess.run(["strace", "-f", "-a1", "-o", trace, "./trace_calls"], cwd=where, umask=0o22,
                            stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    return compared(trace.read_text(), r"(\d+) +(.*)") if result.returncode == 5 else None


class Trace(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.trace = self.folder / "trace"

    def traced(self, script, status=0):
        result = shell(script, options=[f"--trace={self.trace}", "-v", f"{self.folder}:/v"])
        self.assertEqual(result.status, status, result.err)
        return self.trace.read_text()

    def test_lines_are_those_of_strace(self):
        build(self.folder)
        script = "mkdir /tmp/work && cd /tmp/work && cp /v/trace_calls . && exec ./trace_calls"
        trace = compared(self.traced(script, 5), r"\[(\d+)\] (.*)")
        self.assertMultiLineEqual(trace, EXPECTED.read_text())
        with self.subTest("strace here"):
            here = native(self.folder)
            if here is None:
                self.skipTest("no strace that may trace")
            self.assertMultiLineEqual(trace, here)

    def test_modes_trace_the_same(self):
        build(self.folder)
        script = "mkdir /tmp/work && cd /tmp/work && cp /v/trace_calls . && exec ./trace_calls"
        path = self.folder / "trapped"
        result = shell(script, options=[f"--trace={path}", "--mode=trap", "-v", f"{self.folder}:/v"])
        self.assertEqual(result.status, 5, result.err)
        self.assertMultiLineEqual(compared(path.read_text(), r"\[(\d+)\] (.*)"), EXPECTED.read_text())

    def test_programs_are_followed(self):
        trace = self.traced("cat /etc/hostname | tr a b >/dev/null; /bin/true; exit 3", 3)
        self.assertRegex(trace, r'\[\d+\] execve\("/\S*cat", \["cat", "/etc/hostname"\], 0x[0-9a-f]+ /\* \d+ vars \*/\) = 0')
        self.assertRegex(trace, r"pipe2?\(\[3, 4\]")
        self.assertRegex(trace, r'read\(3, "\\177ELF\\2\\1\\1')
        self.assertRegex(trace, r"mmap\(NULL, \d+, PROT_READ, MAP_PRIVATE\|MAP_DENYWRITE, 3, 0\) = 0x")
        self.assertIn("[1] exit_group(3) = ?\n[1] +++ exited with 3 +++\n", trace)
        # Each task's end is told once, and nothing of it after that.
        tasks = {}
        for line in trace.splitlines():
            task, text = re.match(r"\[(\d+)\] (.*)", line).groups()
            tasks.setdefault(task, []).append(text)
        for lines in tasks.values():
            self.assertEqual([i for i, line in enumerate(lines) if line.startswith("+++")], [len(lines) - 1])

    def test_killed(self):
        trace = self.traced("sleep 100 & kill -9 $!; wait $!; kill -TERM $$", 143)
        self.assertRegex(trace, r"\[\d+\] \+\+\+ killed by SIGKILL \+\+\+")
        self.assertRegex(trace, r"\[1\] --- SIGTERM \{si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0\} ---\n"
                                r"\[1\] \+\+\+ killed by SIGTERM \+\+\+\n")

    def test_output_is_that_without_trace(self):
        script = "for i in 1 2 3; do (echo $i; exit $i); echo $?; done; trap 'echo usr1' USR1; kill -USR1 $$; ls -l /proc/self/fd | wc -l"
        self.assertEqual(shell(script, options=[f"--trace={self.trace}"]).out, shell(script).out)

    def test_many_threads_of_lines_do_not_mix(self):
        self.traced("for i in $(seq 8); do seq 50 | sort -n | tail -n 1 & done; wait")
        for line in self.trace.read_text().splitlines():
            self.assertRegex(line, r"^\[\d+\] (\w+\(.*\) = .+|--- .+ ---|\+\+\+ .+ \+\+\+)$")


def write_expected():
    with tempfile.TemporaryDirectory() as folder:
        build(pathlib.Path(folder))
        EXPECTED.write_text(native(pathlib.Path(folder)))


if __name__ == "__main__":
    import sys
    if sys.argv[1:] == ["--write"]:
        write_expected()
    else:
        unittest.main()
