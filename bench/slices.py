"""Slices of rows: one run of one side, and both sides in turn."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

from estimate import doubt
from rows import BESIDE, COLD, EXTRA_MICRO, EXTRA_WHOLE, MICRO, PUBLISHED, WHOLE
from sides import Failed, Sides, make_memory_ready, turns
from trees import Missing, Tree, mount_into, write_volume

MARKER = "TEACUP_BENCH_UNSHARED"


def enter_namespace():
    """Starts this program again in a mount namespace of its own, if that can be had."""
    if os.geteuid() != 0 or os.environ.get(MARKER):
        return
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        return
    environment = dict(os.environ, **{MARKER: "1"})
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    os.execvpe(command[0], command, environment)


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = options.build
        self.chroot = bool(os.environ.get(MARKER))
        self.trees = {}
        self.volume = self.build / "bench" / "src"
        self.sides = Sides(self.build, self.chroot, self.volume)
        self.peers = []
        self.absent = {}
        self.min_time = 0.03 if options.quick else 0.1
        self.repeat = options.repeat or (3 if options.quick else 9)

    def find_peers(self):
        for side in Sides.NAMES[2:]:
            reason = self.sides.why_not(side, self.tree("base"))
            if reason:
                self.absent[side] = reason
            else:
                self.peers.append(side)

    def tree(self, name):
        """The Tree of an image, made when first asked for."""
        key = "given" if self.options.image else name
        if key not in self.trees:
            image = self.options.image or self.build / "images" / f"{name}.erofs"
            write_volume(self.volume)
            tree = Tree("base" if self.options.image else name, image, self.build)
            if self.chroot:
                mount_into(tree.folder, self.volume)
            self.trees[key] = tree
        return self.trees[key]

    def micro(self, row, side):
        """Nanoseconds of one run of one microbenchmark."""
        tree = self.tree("base")
        program = "/bench/teacup_bench" if self.chroot or side != "native" else str(tree.folder) + "/bench/teacup_bench"
        _, output = self.sides.run(side, tree, [
            program, f"--benchmark_filter=^{row.replace('+', '[+]')}(/iterations:1)?/(real|manual)_time(/threads:[0-9]+)?$",
            "--benchmark_format=json",
            f"--benchmark_min_time={self.min_time}"])
        try:
            runs = json.loads(output)["benchmarks"]
        except (ValueError, KeyError):
            raise Failed("the benchmark printed no result")
        if len(runs) != 1:
            raise Failed("there is no such benchmark")
        if runs[0].get("error_occurred"):
            raise Failed(f"{runs[0]['error_message']} failed")
        return runs[0]["real_time"]

    def command(self, row, side):
        """The tree and the command of a whole program, as `side` is to run it."""
        program = WHOLE.get(row) or EXTRA_WHOLE[row]
        tree = self.tree(program.image)
        places = {"{bench}": "/bench", "{src}": "/src", "{tmp}": "/tmp"}
        if side == "native" and not self.chroot:
            places = {"{bench}": f"{tree.folder}/bench", "{src}": str(self.volume), "{tmp}": str(self.build / "bench")}
        command = program.command
        for name, place in places.items():
            command = [word.replace(name, place) for word in command]
        return tree, command

    def whole(self, row, side):
        """Nanoseconds of one run of one program."""
        program = WHOLE.get(row) or EXTRA_WHOLE[row]
        tree, command = self.command(row, side)
        expected = program.output
        if "{tar_bytes}" in expected:
            expected = expected.replace("{tar_bytes}", tree.tar_bytes())
        nanoseconds, output = self.sides.run(side, tree, command, program.volume)
        if program.reports:
            try:
                return float(output)
            except ValueError:
                raise Failed(f"printed {output[-60:]!r} for a figure")
        if output != expected:
            raise Failed(f"printed {output[-60:]!r} for {expected!r}")
        return nanoseconds

    def published(self, row, side):
        """Nanoseconds of one request to a server on `side`, from the host."""
        program = PUBLISHED[row]
        if side not in ("native", "teacup", "teacup trap"):
            raise Failed("not measured through its ports")
        tree = self.tree(program.image)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        places = {"/bench/": "/bench/" if self.chroot else f"{tree.folder}/bench/", "{port}": str(port),
                  "{ms}": str(round(self.min_time * 5000))}

        def placed(command, side):
            own = places if side == "native" else {**places, "/bench/": "/bench/"}
            for name, place in own.items():
                command = [word.replace(name, place) for word in command]
            return command

        server = self.sides.serve(side, tree, placed(program.server, side), port)
        try:
            _, output = self.sides.run("native", tree, placed(program.load, "native"))
            return float(output)
        except ValueError:
            raise Failed(f"printed {output[-60:]!r} for a figure")
        finally:
            self.sides.end_server(server)

    def row(self, row):
        """The medians of both sides, in nanoseconds, or an error; and what the peers make of it."""
        result = {"name": row, "peers": {}}
        slices, failed = self.until_sure(row)
        if failed:
            side, error = next(iter(failed.items()))
            result["error"] = f"{'guest' if side == 'teacup' else side}: {error}"
            return result
        native, guest = statistics.median(slices["native"]), statistics.median(slices["teacup"])
        result.update(native_ns=round(native, 1), guest_ns=round(guest, 1), ratio=round(guest / native, 3),
                      doubt=round(doubt(slices["native"], slices["teacup"]) * guest / native, 3), slices=len(slices["teacup"]))
        if row in BESIDE and self.options.rows_given:
            self.beside(row, result)
        # Apart from those two, whose figures would be of caches that a peer has just filled.
        slices, failed = self.in_turn(row, ["native", *self.peers], min(self.repeat, 3)) if self.peers else ({}, {})
        for peer in self.peers:
            result["peers"][peer] = ({"error": failed[peer]} if peer in failed else
                                     {"ns": round(statistics.median(slices[peer]), 1),
                                      "ratio": round(statistics.median(slices[peer]) /
                                                     statistics.median(slices["native"]), 3)})
        return result

    def beside(self, row, result):
        """Adds the ratio of the row's counterpart: cold if the row is warm, and the other way round."""
        slices, failed = self.in_turn(BESIDE[row], ["native", "teacup"])
        if failed:
            result["error"] = f"{BESIDE[row]}: {next(iter(failed.values()))}"
            return
        native, guest = statistics.median(slices["native"]), statistics.median(slices["teacup"])
        result.update(beside="cold" if row in COLD else "warm", beside_native_ns=round(native, 1),
                      beside_guest_ns=round(guest, 1), beside_ratio=round(guest / native, 3))

    def until_sure(self, row):
        """in_turn() of both sides, and again while there is doubt and patience."""
        end = time.monotonic() + (self.options.patience or 0)
        slices, failed = self.in_turn(row, ["native", "teacup"])
        while not failed and time.monotonic() < end and doubt(slices["native"], slices["teacup"]) > 0.02:
            more, failed = self.in_turn(row, ["native", "teacup"], 2)
            for side, values in more.items():
                slices[side] += values
        return slices, failed

    def in_turn(self, row, sides, repeat=None):
        """{side: nanoseconds of each slice} and {side: error} of those that failed."""
        measure = self.micro if row in MICRO or row in EXTRA_MICRO else self.published if row in PUBLISHED else self.whole
        slices, failed = {side: [] for side in sides}, {}
        for side in turns(sides, repeat or self.repeat):
            if side in failed:
                continue
            make_memory_ready()
            try:
                slices[side].append(measure(row, side))
            except (Failed, Missing) as error:
                failed[side] = str(error)
        return slices, failed
