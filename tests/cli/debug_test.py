"""What teacup does for people with debuggers: --crash-report, --gdb, --perf-map."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from harness import TIMEOUT, children, decode, finish, run, start, until, until_tasks

HERE = pathlib.Path(__file__).resolve().parent
folder = None


def setUpModule():
    global folder
    folder = tempfile.TemporaryDirectory(prefix="teacup-debug-")
    source = HERE / "debug_program.cc"
    for name, options in (("program", ["-g"]), ("stripped", ["-s"]), ("static", ["-static"])):
        subprocess.run(["c++", "-O1", "-pthread", "-static-libstdc++", "-static-libgcc", *options, "-o",
                        f"{folder.name}/{name}", source], check=True)


def tearDownModule():
    folder.cleanup()


def text_of(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def options(*more):
    return ["-v", f"{folder.name}:/d", *more]


def calls(report):
    """The functions of a backtrace, without what libc does before main."""
    names = [re.sub(r"\+0x.*", "", name) for name in re.findall(r"#\d+ +0x[0-9a-f]{16} in (\S+)", report)]
    return names[:names.index("main") + 1] if "main" in names else names


class CrashReports(unittest.TestCase):
    def crash(self, *words, more=()):
        result = run(*words, options=options("--crash-report", *more))
        self.assertGreater(result.status, 128, result.err)
        return result.err

    def test_a_bad_pointer(self):
        for mode in "rewrite", "trap":
            for program in "program", "static":
                with self.subTest(mode=mode, program=program):
                    report = self.crash(f"/d/{program}", more=["--mode", mode])
                    self.assertIn(f"process 1 ({program}) died of SIGSEGV (nothing is mapped at address 0x10)", report)
                    self.assertEqual(calls(report), ["write_to(int*)"] + ["Walker::descend(int,"] * 4 + ["main"])
                    self.assertRegex(report, rf"rip [0-9a-f]{{16}}")
                    self.assertRegex(report, rf"r-xp [0-9a-f]{{8}} /d/{program}")
                    self.assertIn("[stack]", report)

    def test_abort_in_a_handler(self):
        report = self.crash("/d/static", "abort")
        self.assertIn("died of SIGABRT", report)
        names = calls(report)
        self.assertIn("abort_in_handler(int)", names)
        self.assertIn("raise", names[names.index("abort_in_handler(int)"):])
        self.assertEqual(names[-1], "main")

    def test_a_call_of_nothing(self):
        report = self.crash("/d/program", "null")
        self.assertIn("nothing is mapped at address 0)", report)
        self.assertEqual(calls(report), ["?", "main"])

    def test_without_symbols_the_calls_are_still_found(self):
        named = re.findall(r"/d/program\+0x", self.crash("/d/program"))
        unnamed = re.findall(r"/d/stripped\+0x", self.crash("/d/stripped"))
        self.assertEqual(len(named), len(unnamed))

    def test_of_a_child_and_to_a_file(self):
        with tempfile.TemporaryDirectory() as where:
            result = run("sh", "-c", "/d/program; true", options=options(f"--crash-report={where}/report"))
            self.assertEqual((result.status, "backtrace" in result.err), (0, False))
            report = pathlib.Path(where, "report").read_text()
            self.assertIn("main", calls(report))
            self.assertRegex(report, r"process \d+ \(program\) died of SIGSEGV")

    def test_nothing_is_said_of_other_ends(self):
        result = run("sh", "-c", "kill -TERM $$", options=options("--crash-report"))
        self.assertEqual((result.status, result.err), (143, ""))
        result = run("/d/program", options=options())
        self.assertEqual((result.status, result.err), (139, ""))


class Gdb(unittest.TestCase):
    def attach(self, words, *commands, more=(), input=b"x", waiting=("waits for read",), wait_for="libc|static"):
        """Runs gdb's commands on a waiting guest process; gives what gdb said and how the guest ended."""
        process = start(*words, options=options("--gdb", *more))
        line = decode(process.stderr.readline())
        said = re.match(r"teacup: process 1 \((.*)\): gdb -p (\d+) -x (\S+)$", line)
        self.assertTrue(said, line)
        pid, script = said[2], pathlib.Path(said[3])
        until(lambda: re.search(f"add-symbol-file.*({wait_for})", text_of(script)), f"{wait_for} in {script}")
        until_tasks(process, *waiting)
        until(lambda: "\nState:\tS" in text_of(f"/proc/{pid}/status"), "it sleeps")
        arguments = ["gdb", "-batch", "-nx", "-p", pid, "-x", str(script)]
        for command in commands:
            arguments += ["-ex", command]
        gdb = subprocess.run([*arguments, "-ex", "detach"], capture_output=True, text=True, timeout=TIMEOUT)
        result = finish(process, input)
        self.assertFalse(script.parent.exists())
        return gdb.stdout + gdb.stderr, result

    def test_backtrace_across_a_rewritten_call(self):
        for mode in "rewrite", "trap":
            for program in "program", "static":
                with self.subTest(mode=mode, program=program):
                    text, result = self.attach([f"/d/{program}", "wait"], "bt", more=["--mode", mode])
                    frames = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?([\w?]+)", text, re.MULTILINE)
                    self.assertIn("wait_for_input", frames, text)
                    self.assertEqual(frames[frames.index("wait_for_input") + 1], "main", text)
                    self.assertIn("read", frames[1], text)
                    self.assertEqual((result.status, result.out), (0, "waited\n"))

    def test_variables_and_lines(self):
        text, result = self.attach(["/d/program", "wait"], "up 2", "info line", "print counter", "print c")
        self.assertIn("debug_program.cc", text)
        self.assertIn("$1 = 0", text)
        self.assertEqual(result.status, 0)

    def test_all_threads(self):
        text, result = self.attach(["/d/program", "thread"], "thread apply all bt", waiting=("waits for read", "waits for a signal"))
        self.assertIn("wait_for_input", text)
        self.assertIn("wait_for_signal", text)
        self.assertEqual(result.status, 0)

    def test_breakpoint_and_steps(self):
        # `finish` goes over a rewritten call and stops behind it. It counts until gdb kills it.
        process = start("/d/program", "count", str(1 << 62), options=options("--gdb"))
        self.addCleanup(process.kill)
        said = re.search(r"gdb -p (\d+) -x (\S+)", decode(process.stderr.readline()))
        until(lambda: re.search("add-symbol-file.*libc", text_of(said[2])), f"libc in {said[2]}")
        gdb = subprocess.run(["gdb", "-batch", "-nx", "-p", said[1], "-x", said[2], "-ex", "break getppid",
                              "-ex", "continue", "-ex", "bt", "-ex", "finish", "-ex", "bt", "-ex", "kill"],
                             capture_output=True, text=True, timeout=TIMEOUT)
        finish(process, b"")
        text = gdb.stdout + gdb.stderr
        self.assertRegex(text, r"Breakpoint 1, .*getppid")
        self.assertEqual(len(re.findall(r"#\d.* main ", text)), 2, text)
        self.assertRegex(text, r"#0 .* count_calls ")

    def test_the_folder_named_stays(self):
        with tempfile.TemporaryDirectory() as where:
            result = run("true", options=[f"--gdb={where}/made"])
            self.assertEqual(result.status, 0)
            self.assertRegex(result.err, rf"gdb -p \d+ -x {where}/made/\d+\.gdb")
            names = os.listdir(f"{where}/made")
            self.assertTrue(any(name.endswith("-libc.so.6") for name in names), names)


class PerfMap(unittest.TestCase):
    def test_functions_and_trampolines(self):
        process = start("/d/program", "wait", options=options("--perf-map"))
        self.addCleanup(process.kill)

        def mapped():
            for child in children(process.pid):
                text = text_of(f"/tmp/perf-{child}.map")
                if "libc_start_main" in text and text.endswith("\n"):
                    return child
            return None

        pid = until(mapped, "a map with libc in it")
        path = pathlib.Path(f"/tmp/perf-{pid}.map")
        try:
            until_tasks(process, "waits for read")  # all of it is in the map
            entries = [line.split(" ", 2) for line in path.read_text().splitlines()]
            names = {name: (int(start, 16), int(size, 16)) for start, size, name in entries}
            self.assertIn("main", names)
            self.assertIn("Walker::descend(int, int*)", names)
            self.assertTrue(any(name.endswith("[trampoline]") for name in names))
            # Where they say: in memory that perf takes for generated code, anonymous and executable.
            maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
            start_of_main = names["main"][0]
            for line in maps.splitlines():
                fields = line.split()
                low, high = (int(x, 16) for x in fields[0].split("-"))
                if low <= start_of_main < high:
                    self.assertEqual((fields[1], len(fields)), ("r-xp", 5), line)
                    break
            else:
                self.fail("main is not mapped")
            self.assertEqual(finish(process, b"x").out, "waited\n")
        finally:
            path.unlink()


if __name__ == "__main__":
    unittest.main()
