"""What system calls cost, in what no noise of the machine touches: instructions, counted by single-stepping a guest
from outside, and host calls, as --stats counts them. Fails when one costs 5 % more than costs.json has it;
`cost_test.py --write` writes that file anew (g++ 12's code, an optimised build). What became cheaper is to be written
too, lest it creep back.
"""

import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import unittest

from harness import TIMEOUT, command, decode, run

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = HERE / "cost_calls.c"
RECORD = HERE / "costs.json"
CALLS = ["getpid", "stat", "open+close", "read 512", "futex wake"]  # in the program's order
TIMES = 12
PROCESSES = ["spawn", "fork", "exec"]
WAITING = ["futex", "clock_gettime", "sched_yield"]  # how often one waits is a matter of time
TOLERANCE = 1.05


class Tracer:
    """ptrace(2) of whole threads, as far as it is wanted here."""

    CONT, SINGLESTEP, GETSIGINFO, SEIZE = 7, 9, 0x4202, 0x4206
    WALL = 0x40000000
    SI_KERNEL = 0x80  # the code of a breakpoint's SIGTRAP

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long

    def ask(self, request, task, data=None):
        if self.libc.ptrace(request, task, None, data) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def resume(self, task, signal_number=0, step=False):
        try:
            self.ask(self.SINGLESTEP if step else self.CONT, task, signal_number)
        except ProcessLookupError:
            pass  # it was killed where it stood

    def at_breakpoint(self, task):
        info = (ctypes.c_int * 32)()
        self.ask(self.GETSIGINFO, task, ctypes.byref(info))
        return info[2] == self.SI_KERNEL

    def counts(self):
        """Waits for stops until no task is left; the numbers of instructions from breakpoint to breakpoint."""
        found, steps, stepping = [], 0, False
        while True:
            try:
                task, status = os.waitpid(-1, self.WALL)
            except ChildProcessError:
                return found
            if not os.WIFSTOPPED(status):
                continue
            if status >> 16 or os.WSTOPSIG(status) != signal.SIGTRAP:
                stop = 0 if status >> 16 else os.WSTOPSIG(status)
                self.resume(task, stop, stepping and stop == signal.SIGSYS)
            elif self.at_breakpoint(task):
                if stepping:
                    found.append(steps - 1)  # the breakpoint is not the call's
                stepping, steps = not stepping, 0
                self.resume(task, step=stepping)
            else:
                steps += 1
                self.resume(task, step=stepping)


def tasks_below(pid):
    """All threads of all descendants."""
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from map(int, os.listdir(f"/proc/{child}/task"))
        yield from tasks_below(child)


def count_instructions(image):
    """{call: instructions}, the fewest of the times that each is made: others have a fault or a kick in them."""
    with tempfile.TemporaryFile() as errors:
        found = count_in_machine(image, errors)
    assert len(found) == len(CALLS) * TIMES, found
    return {call: min(found[i * TIMES:(i + 1) * TIMES]) for i, call in enumerate(CALLS)}


def count_in_machine(image, errors):
    """What Tracer.counts() finds in a machine that runs the program."""
    machine = subprocess.Popen(command("/bin/cost/cost_calls", image=image), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=errors, start_new_session=True)
    try:
        if not select.select([machine.stdout], [], [], TIMEOUT)[0] or machine.stdout.readline() != b"ready\n":
            errors.seek(0)
            raise AssertionError(f"the program did not start: {decode(errors.read())}")
        tracer = Tracer()
        for task in set(tasks_below(machine.pid)):
            tracer.ask(Tracer.SEIZE, task)
        signal.alarm(TIMEOUT)
        machine.stdin.write(b"x")
        machine.stdin.close()
        found = tracer.counts()
        signal.alarm(0)
        return found
    finally:
        if machine.poll() is None:
            os.killpg(machine.pid, signal.SIGKILL)
        machine.wait()
        machine.stdout.close()


def host_calls(image, what, times):
    with tempfile.NamedTemporaryFile() as stats:
        done = run("/bin/cost/cost_calls", what, str(times), image=image, options=[f"--stats={stats.name}"])
        assert (done.status, done.err) == (0, ""), done
        return sum(count for name, count in json.load(stats)["host_calls"].items() if name not in WAITING)


def count_host_calls(image):
    """{what: host calls for each, but for those that wait}, the fewest of three: on a busy machine some are interrupted."""
    few, many = 16, 144  # a zygote more or less at the start, some nine calls, is less than the tolerance

    def fewest(what, times):
        return min(host_calls(image, what, times) for _ in range(3))

    return {what: (fewest(what, many) - fewest(what, few)) / (many - few) for what in PROCESSES}


def measure():
    with tempfile.TemporaryDirectory() as scratch:
        tree = pathlib.Path(scratch, "tree")
        folder = tree / "bin/cost"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"teacup" * 1000)
        subprocess.run(["cc", "-w", "-O2", "-static", "-o", folder / "cost_calls", PROGRAM], check=True)
        image = pathlib.Path(scratch, "cost.erofs")
        subprocess.run([command("x")[0], "pack", tree, image], check=True)
        return {"instructions": count_instructions(image), "host calls": count_host_calls(image)}


class Cost(unittest.TestCase):
    def test_nothing_costs_more_than_it_did(self):
        try:
            recorded, found = json.loads(RECORD.read_text()), measure()
        except PermissionError:
            self.skipTest("this host does not let us trace processes of our own")
        for kind, costs in found.items():
            for what, cost in costs.items():
                with self.subTest(kind, what=what):
                    self.assertLessEqual(cost, recorded[kind][what] * TOLERANCE)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        RECORD.write_text(json.dumps(measure(), indent=2) + "\n")
    elif sys.argv[1:] == ["--show"]:
        print(json.dumps(measure(), indent=2))
    else:
        unittest.main()
