#!/usr/bin/env python3
"""Runs the guest test programs natively, then in teacup, with the same expectations.

    tests/run_guest.py [OPTIONS] [PROGRAM[.CASE]…]        names may be shell patterns

A program is run whole, in one machine; its cases are told apart by the lines it prints (tests/guest/check.h). A case
that prints nothing for --limit seconds has hung: teacup is asked for its task dump (SIGUSR1), the dump is printed,
the machine is ended, and a new one goes on with the case after. A machine that ends early counts against the case
that was running, and the next one goes on likewise. So one bad case costs one case.

Linux is the reference: what fails natively is an error of the test and counts as a failure.
The last line is `N passed, N failed`; the exit status is 0 only if nothing failed.
"""

import argparse
import concurrent.futures
import fnmatch
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
print_lock = threading.Lock()


def say(text):
    with print_lock:
        print(text, flush=True)


class Outcome:
    """What one case did: state is pass, fail or skip; lines say why."""

    def __init__(self, state, lines):
        self.state, self.lines = state, lines


class Session:
    """One started program: reads its lines, notices silence."""

    def __init__(self, command, limit, env, in_teacup):
        self.limit, self.in_teacup = limit, in_teacup
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=env, start_new_session=True)
        self.buffers = {self.process.stdout: b"", self.process.stderr: b""}
        self.open = [self.process.stdout, self.process.stderr]
        self.errors = []

    def lines(self):
        """Yields the lines of standard output; ends at its end, or with None after too long a silence."""
        last = time.monotonic()
        while self.open:
            left = last + self.limit - time.monotonic()
            ready, _, _ = select.select(self.open, [], [], max(left, 0))
            if not ready:
                yield None
                return
            for f in ready:
                data = os.read(f.fileno(), 65536)
                if not data:
                    self.open.remove(f)
                    continue
                *whole, self.buffers[f] = (self.buffers[f] + data).split(b"\n")
                for line in whole:
                    text = line.decode(errors="replace")
                    if f is self.process.stdout:
                        last = time.monotonic()
                        yield text
                    else:
                        self.errors.append(text)

    def dump(self):
        """Asks teacup what every task waits for; gives the answer."""
        mark = len(self.errors)
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 3
        while self.process.stderr in self.open and time.monotonic() < end:
            ready, _, _ = select.select([self.process.stderr], [], [], 0.5)
            if not ready:
                if len(self.errors) > mark:
                    break
                continue
            data = os.read(self.process.stderr.fileno(), 65536)
            if not data:
                self.open.remove(self.process.stderr)
                break
            self.errors += data.decode(errors="replace").splitlines()
        return self.errors[mark:] or ["(no task dump)"]

    def end(self):
        """Ends it and all of its session; gives the exit status."""
        for how, patience in ((None, 5), (signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            if how:
                try:
                    os.killpg(self.process.pid, how)
                except ProcessLookupError:
                    pass
            try:
                status = self.process.wait(patience if how or not self.open else 0.1)
                break
            except subprocess.TimeoutExpired:
                status = None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # what of its group blocked SIGTERM
        except ProcessLookupError:
            pass
        rest = b""
        # What is there, not until its end: a process in a session of its own may hold it open.
        while self.process.stderr in self.open and select.select([self.process.stderr], [], [], 0)[0]:
            data = os.read(self.process.stderr.fileno(), 65536)
            if not data:
                break
            rest += data
        self.errors += (self.buffers[self.process.stderr] + rest).decode(errors="replace").splitlines()
        self.process.stdout.close()
        self.process.stderr.close()
        return status


def run_cases(start, names, limit, env, in_teacup, total_limit):
    """Runs the named cases, in as many sessions as it takes; start(arguments) gives a command. Gives {case: Outcome}."""
    outcomes = {}
    left = list(names)
    deadline = time.monotonic() + total_limit
    while left:
        session = Session(start(left), limit, env, in_teacup)
        current, noted, hung = None, [], False
        for line in session.lines():
            if line is None or time.monotonic() > deadline:
                hung = True
                break
            word, _, rest = line.partition(" ")
            if word == "RUN":
                current, noted = rest.strip(), []
            elif current and word in ("PASS", "FAIL", "SKIP"):
                name = re.split(r"[ :]", rest, maxsplit=1)[0]
                if name != current and not name.startswith("@"):
                    noted.append(line)
                elif word == "PASS":
                    outcomes[current] = Outcome("pass", noted)
                elif word == "SKIP":
                    outcomes[current] = Outcome("skip", noted + [rest])
                else:
                    noted = noted + ([line] if ":" in line else [])
                    outcomes[current] = Outcome("fail", noted)
            else:
                noted.append(line)
        dump = session.dump() if hung and in_teacup else []
        status = session.end()
        done = [n for n in left if n in outcomes]
        if hung and current:
            outcomes[current] = Outcome("fail", noted + [f"hung: nothing for {limit} s"] + dump)
            done = left[: left.index(current) + 1] if current in left else done
        elif current and current not in outcomes:
            outcomes[current] = Outcome("fail", noted + [f"the machine ended, status {status}"] + session.errors[-25:])
            done = left[: left.index(current) + 1] if current in left else done
        elif not done:
            outcomes[left[0]] = Outcome("fail", [f"did not start, status {status}"] + session.errors[-25:])
            for name in left[1:]:
                outcomes[name] = Outcome("fail", ["did not start: see the first case"])
            return outcomes
        before = len(left)
        left = [n for n in left if n not in done and n not in outcomes]
        if len(left) == before:
            for name in left:
                outcomes[name] = Outcome("fail", ["was not run"])
            return outcomes
        if time.monotonic() > deadline:
            for name in left:
                outcomes[name] = Outcome("fail", ["the program's time limit had passed"])
            return outcomes
    return outcomes


def list_cases(path):
    out = subprocess.run([path, "--list"], stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    return out.stdout.split()


def manifest():
    """{program: milestone} of the programs that pass whole."""
    listed = {}
    with open(os.path.join(ROOT, "tests/guest/passing.txt")) as f:
        for line in f:
            line = line.split("#")[0].split()
            if line:
                listed[line[1]] = line[0]
    return listed


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", help="programs, or program.case; shell patterns")
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build directory")
    p.add_argument("--teacup", help="the teacup to test (default: BUILD/teacup)")
    p.add_argument("--image", help="the image to run in (default: BUILD/images/base.erofs, else busybox)")
    p.add_argument("--kind", choices=("static", "dynamic"), default="dynamic", help="which form of the programs to run")
    p.add_argument("--native", action="store_true", help="only natively")
    p.add_argument("--guest", action="store_true", help="only in teacup")
    p.add_argument("--all", action="store_true", help="also the programs that passing.txt does not list")
    p.add_argument("--mode", choices=("rewrite", "trap"), default="rewrite")
    p.add_argument("--inline", action="store_true", help="run cases without fork, in one process")
    p.add_argument("--loop", type=int, default=1, metavar="N", help="run the guest part N times")
    p.add_argument("--taskset", metavar="CPUS", help="pin the machines to these CPUs (as taskset -c)")
    p.add_argument("--stress", action="store_true", help="keep every CPU busy meanwhile, so that tasks are preempted everywhere")
    p.add_argument("--limit", type=float, default=150, help="seconds of silence that make a case hung")
    p.add_argument("--total", type=float, default=800, help="seconds for one program")
    p.add_argument("-j", type=int, default=2, help="programs at a time")
    p.add_argument("--inside", action="store_true", help="the image holds the programs itself, in /t (else they are shown by -v)")
    p.add_argument("--option", action="append", default=[], help="a further option for teacup run")
    p.add_argument("--report", metavar="FILE", help="write the failures there, as markdown")
    p.add_argument("-v", "--verbose", action="store_true", help="every case, with its notes")
    return p.parse_args()


def find_image(args):
    if args.image:
        return args.image
    for name in ("base.erofs", "busybox.erofs"):
        path = os.path.join(args.build, "images", name)
        if os.path.exists(path):
            return path
    sys.exit(f"no image in {args.build}/images: run scripts/images first, or say --image")


class Runner:
    def __init__(self, args):
        self.args = args
        self.folder = os.path.join(args.build, "tests/guest")
        self.results = []  # (where, program, case, Outcome)

    def chosen(self):
        """[(program, [cases])] by the names given."""
        programs = sorted(n for n in os.listdir(os.path.join(self.folder, "static")) if "." not in n)
        listed = manifest()
        out, later = [], []
        for program in programs:
            cases = list_cases(os.path.join(self.folder, "static", program))
            if self.args.names:
                wanted = [c for c in cases if any(fnmatch.fnmatch(program, n) or fnmatch.fnmatch(f"{program}.{c}", n)
                                                  for n in self.args.names)]
            else:
                wanted = cases
            if wanted and not self.args.names and not self.args.all and not self.args.native and program not in listed:
                later.append(program)
                continue
            if wanted:
                out.append((program, wanted, len(wanted) == len(cases)))
        if later:
            say(f"not yet in teacup: {' '.join(later)}")
        return out

    def arguments(self, program_cases, whole):
        """What selects the cases still to run: --from when they are the tail of the whole program."""
        def select_cases(left):
            extra = ["--inline"] if self.args.inline else []
            if whole:
                return extra + (["--from", left[0]] if len(left) < len(program_cases) else [])
            return extra + left
        return select_cases

    def native(self, program, cases, whole):
        with tempfile.TemporaryDirectory(prefix="teacup-native-") as tmp:
            path = os.path.join(self.folder, self.args.kind, program)
            choose = self.arguments(cases, whole)
            env = {"PATH": os.environ["PATH"], "TMPDIR": tmp, "HOME": "/root"}
            return run_cases(lambda left: [path] + choose(left), cases, self.args.limit, env, False, self.args.total)

    def guest(self, program, cases, whole):
        args = self.args
        choose = self.arguments(cases, whole)
        prefix = ["taskset", "-c", args.taskset] if args.taskset else []
        teacup = args.teacup or os.path.join(args.build, "teacup")
        base = prefix + [teacup, "run", "--mode", args.mode] + args.option + ([] if args.inside else ["-v", f"{self.folder}:/t"]) + [find_image(args), "--", f"/t/{args.kind}/{program}"]
        return run_cases(lambda left: base + choose(left), cases, args.limit, dict(os.environ), True, args.total)

    def note(self, where, program, cases, outcomes, native):
        counts = {"pass": 0, "fail": 0, "skip": 0}
        lines = []
        for case in cases:
            o = outcomes.get(case) or Outcome("fail", ["was not run"])
            if o.state == "skip" and where != "native" and native.get(case) and native[case].state == "pass":
                o = Outcome("fail", o.lines + ["skipped here, though it passes natively"])
            counts[o.state] += 1
            self.results.append((where, program, case, o))
            if o.state == "fail" or self.args.verbose:
                lines.append(f"{o.state.upper()} {where} {program}.{case}")
                lines += [f"    {line}" for line in o.lines[:60]]
        summary = f"{where:8} {program:12} {counts['pass']} passed, {counts['fail']} failed"
        if counts["skip"]:
            summary += f", {counts['skip']} skipped"
        say("\n".join(lines + [summary]))

    def one(self, program, cases, whole):
        native = {}
        if not self.args.guest:
            native = self.native(program, cases, whole)
            self.note("native", program, cases, native, {})
        if self.args.native:
            return
        where = "trap" if self.args.mode == "trap" else "guest"
        for _ in range(self.args.loop):
            self.note(where, program, cases, self.guest(program, cases, whole), native)

    def run(self):
        chosen = self.chosen()
        if not chosen:
            say("nothing to run")
        hogs = []
        if self.args.stress:
            hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        try:
            with concurrent.futures.ThreadPoolExecutor(self.args.j) as pool:
                for done in [pool.submit(self.one, *each) for each in chosen]:
                    done.result()
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
        failed = [r for r in self.results if r[3].state == "fail"]
        passed = sum(r[3].state == "pass" for r in self.results)
        skipped = sum(r[3].state == "skip" for r in self.results)
        if self.args.report:
            self.report(failed, passed)
        say(f"{passed} passed, {len(failed)} failed" + (f", {skipped} skipped" if skipped else ""))
        return 1 if failed or not self.results else 0

    def report(self, failed, passed):
        with open(self.args.report, "w") as f:
            f.write(f"{passed} passed, {len(failed)} failed\n")
            last = None
            for where, program, case, o in sorted(failed, key=lambda r: r[:3]):
                if (where, program) != last:
                    f.write(f"\n## {program} ({where})\n\n")
                    last = (where, program)
                f.write(f"- {case}\n" + "".join(f"      {line}\n" for line in o.lines[:40]))


def main():
    args = parse()
    if not shutil.which("taskset") and args.taskset:
        sys.exit("taskset is not there: install util-linux")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return Runner(args).run()


if __name__ == "__main__":
    sys.exit(main())
