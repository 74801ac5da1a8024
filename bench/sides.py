"""The ways to run a command of a tree that bench/run compares: natively, in teacup, and in other sandboxes.

Every side gets the same tree. A peer is run as its users would for a hermetic test: its own processes, no network, the
tree read-only or copy-on-write, a /tmp to write to. Whether it can run here is asked once, by running /bin/true."""

import mmap
import os
import shutil
import signal
import socket
import subprocess
import time

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
TIMEOUT = 120  # seconds, for one slice
READY = 256 << 20  # bytes: more than most slices need
MADV_POPULATE_WRITE = 23


class Failed(Exception):
    """A slice that went wrong; the text says how."""


def make_memory_ready():
    """Touches and gives back as much memory as a slice may want, so that each finds the same.

    A virtual machine that hands free memory back to its host (a balloon's page reporting) pays up to fifty times as much for
    a large page that has been free for two seconds: 5 ms instead of 0.1. Whoever runs first pays that for the next."""
    with mmap.mmap(-1, READY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        memory.madvise(MADV_POPULATE_WRITE)


def turns(sides, count):
    """The sides in turn, `count` times, each time begun by another one."""
    for turn in range(count):
        first = turn % len(sides)
        yield from [*sides[first:], *sides[:first]]


class Sides:
    NAMES = ["native", "teacup", "teacup trap", "bubblewrap", "proot", "gVisor", "podman"]
    PROGRAMS = {"bubblewrap": "bwrap", "proot": "proot", "gVisor": "runsc", "podman": "podman"}

    def __init__(self, build, chroot, volume):
        self.stopwatch = build / "bin" / "stopwatch"
        self.teacup = build / "teacup"
        self.chroot = chroot
        self.volume = volume

    def words(self, side, tree, command, volume, publish=None):
        """The stopwatch's arguments for `command`, in which the tree is / and the volume, if wanted, /src; `publish` is a
        port that the command serves."""
        folder, source = str(tree.folder), str(self.volume)
        if side == "native":
            return ["--chroot", folder, *command] if self.chroot else command
        if side.startswith("teacup"):
            mode = ["--mode", "trap"] if side == "teacup trap" else []
            ports = ["-p", f"127.0.0.1:{publish}:{publish}"] if publish else []
            return [str(self.teacup), "run", *mode, *ports, *(["-v", f"{source}:/src"] if volume else []), str(tree.image), "--",
                    *command]
        if side == "bubblewrap":
            return ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", folder, "/", "--dev", "/dev", "--proc", "/proc",
                    "--tmpfs", "/tmp", *(["--bind", source, "/src"] if volume else []), *command]
        if side == "proot":
            return ["proot", "-r", folder, "-w", "/", "-b", "/dev", "-b", "/proc",
                    *(["-b", f"{source}:/src"] if volume else []), *command]
        if side == "gVisor":
            if volume:
                raise Failed("Debian's runsc has no volumes without a container's bundle")
            return ["runsc", "--network=none", "do", "-quiet", "-root", folder, *command]
        # Without limits it asks for higher ones than may be had everywhere; crun refuses hosts that have cgroups of both versions.
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
        runtime = ["--runtime", "runc"] if shutil.which("runc", path=ENVIRONMENT["PATH"]) else []
        source = ["-v", f"{source}:/src"] if volume else []
        return ["podman", "run", "--rm", "--network", "none", *runtime, *limits, *source, "--rootfs", f"{folder}:O", *command]

    def run(self, side, tree, command, volume=False):
        """Nanoseconds and what it printed; any failure is Failed."""
        reader, writer = os.pipe()
        process = subprocess.Popen([self.stopwatch, str(writer), *self.words(side, tree, command, volume)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[writer],
                                   start_new_session=True, env=ENVIRONMENT)
        os.close(writer)
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Failed(f"no end after {TIMEOUT} s")
        finally:
            with os.fdopen(reader) as result:
                text = result.read()
        if not text:
            raise Failed(f"the stopwatch stopped: {last_line(errors)}")
        nanoseconds, status = map(int, text.split())
        if status != 0:
            raise Failed(f"exit status {status}: {last_line(errors)}")
        return nanoseconds, output.decode(errors="replace")

    def serve(self, side, tree, command, port):
        """A command that serves `port`, started; ended by end_server()."""
        process = subprocess.Popen([self.stopwatch, "2", *self.words(side, tree, command, False, port)], start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return process
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    self.end_server(process)
                    raise Failed("the server does not come up")
                time.sleep(0.02)

    @staticmethod
    def end_server(process):
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def why_not(self, side, tree):
        """What keeps a side from running here, or None."""
        program = self.PROGRAMS.get(side)
        if program and not shutil.which(program, path=ENVIRONMENT["PATH"]):
            return f"{program} is not installed"
        try:
            self.run(side, tree, ["/bin/true"])
        except Failed as error:
            return str(error)
        return None


def last_line(data):
    lines = data.decode(errors="replace").strip().splitlines()
    # teacup says what was wrong first and what to do below; a program's last line says the most.
    lines = [line for line in lines if line.startswith("teacup")][:1] or lines[-1:]
    return lines[0][:160] if lines else "no message"
