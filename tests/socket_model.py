#!/usr/bin/env python3
"""Compares random socket operations in teacup with the same on Linux (tests/model/socket_model.cc).

    tests/socket_model.py [--operations N] [--seeds A:B] [--length N]

Each seed gives one sequence of --length operations (default 4000), run natively and in a machine. The two texts must be
the same; else the first line that differs is printed, with what went before it on the same sockets, and how to run it
again. Linux is asked twice about such a seed: where it does not agree with itself there is nothing to compare, which is
counted. With --operations, seeds go on until so many operations were compared.
"""

import argparse
import concurrent.futures
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="the build directory")
    parser.add_argument("--image", type=pathlib.Path, help="default: BUILD/images/base.erofs")
    parser.add_argument("--seeds", default="1:11", metavar="A:B", help="from A to before B (default 1:11)")
    parser.add_argument("--operations", type=int, help="in all; B does not count then")
    parser.add_argument("--length", type=int, default=4000, help="operations of one seed")
    parser.add_argument("--jobs", "-j", type=int, default=1)
    parser.add_argument("--context", type=int, default=12, help="lines to print before a difference")
    return parser.parse_args()


class NoNetwork(Exception):
    """There is no network namespace to be had."""


class Comparison:
    def __init__(self, options):
        self.options = options
        self.folder = options.build / "tests" / "model"
        self.image = options.image or options.build / "images" / "base.erofs"

    def run(self, command, seed, *more):
        done = subprocess.run([*map(str, command), str(seed), str(self.options.length), *more], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=600)
        lines = done.stdout.splitlines()
        if done.returncode == 4:
            raise NoNetwork
        if done.returncode != 0:
            lines.append(f"exit status {done.returncode}: {done.stderr.strip()[-300:]}")
        return lines

    def native(self, seed):
        return self.run([self.folder / "socket_model"], seed, "own-network")

    def guest(self, seed):
        return self.run([self.options.build / "teacup", "run", "-v", f"{self.folder}:/model", self.image, "--",
                         "/model/socket_model"], seed)

    def seed(self, seed):
        """(operations compared, message or None, whether Linux disagrees with itself)"""
        native, guest = self.native(seed), self.guest(seed)
        if native == guest:
            return len(native), None, False
        at = next((i for i, (a, b) in enumerate(zip(native, guest)) if a != b), min(len(native), len(guest)))
        again = self.native(seed)
        if again[:at + 1] != native[:at + 1]:
            return at, None, True
        return at, self.describe(seed, at, native, guest), False

    def describe(self, seed, at, native, guest):
        def line(lines):
            return lines[at] if at < len(lines) else "(nothing)"
        before = native[max(0, at - self.options.context):at]
        return "\n".join([f"seed {seed}:", *(f"    {text}" for text in before), f"  - {line(native)}",
                          f"  + {line(guest)}", f"  again: tests/socket_model.py --seeds {seed}:{seed + 1}"])


def main():
    options = parse()
    first, last = map(int, options.seeds.split(":"))
    if options.operations:
        last = first + -(-options.operations // options.length)
    comparison = Comparison(options)
    total = failed = 0
    unsure = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for seed, (count, message, is_unsure) in zip(range(first, last), pool.map(comparison.seed, range(first, last))):
            total += count
            if is_unsure:
                unsure.append(seed)
            if message:
                failed += 1
                print(message, flush=True)
    print(f"{total} operations compared, {failed} of {last - first} seeds differ"
          + (f"; in {len(unsure)} Linux differs from itself: {' '.join(map(str, unsure))}" if unsure else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoNetwork:
        print("skipped: no network namespace for the native side")
