"""Runs the built teacup command for the tests of this folder: with pipes (run) or on a terminal of its own (Terminal).

Every run has a time limit. Past it teacup is asked, by SIGUSR1, for a dump of its tasks, which goes into the failure's
text, and then it is killed. $TEACUP names the command, $TEACUP_IMAGE the image (default: build/images/base.erofs).
"""

import dataclasses
import errno
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

os.umask(0o022)  # other users run some of what the tests make
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TEACUP = pathlib.Path(os.environ.get("TEACUP", ROOT / "build" / "teacup"))
IMAGE = pathlib.Path(os.environ.get("TEACUP_IMAGE", ROOT / "build" / "images" / "base.erofs"))
TIMEOUT = int(os.environ.get("TEACUP_TIMEOUT", 120))  # seconds for a run or a wait, however busy or slow the host is


@dataclasses.dataclass
class Result:
    status: int  # as a shell shows it: 128+N if a signal ended teacup itself
    out: str
    err: str


def shell_status(returncode):
    return 128 - returncode if returncode < 0 else returncode


def command(*words, options=(), image=None):
    """The argv of `teacup run`."""
    if not TEACUP.exists():
        sys.exit(f"there is no {TEACUP}: build it first")
    if image is None and not IMAGE.exists():
        sys.exit(f"there is no {IMAGE}: make it with scripts/images base")
    return [str(TEACUP), "run", *map(str, options), str(image or IMAGE), "--", *map(str, words)]


def start(*words, options=(), image=None, **popen):
    """`teacup run` as a Popen with pipes, in a session of its own so that all of it can be killed."""
    settings = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    settings.update(popen)
    return subprocess.Popen(command(*words, options=options, image=image), **settings)


def finish(process, input=None, timeout=TIMEOUT):
    """Waits for a started process; a hang is an AssertionError that holds the dump of its tasks."""
    try:
        out, err = process.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout} s; output {out!r}; standard error:\n{decode(err)}") from None
    return Result(shell_status(process.returncode), decode(out), decode(err))


def run(*words, input=b"", options=(), image=None, timeout=TIMEOUT, **popen):
    """Runs `teacup run OPTIONS IMAGE -- WORDS` to its end."""
    return finish(start(*words, options=options, image=image, **popen), input, timeout)


def shell(script, **settings):
    """Runs a script with the image's sh."""
    return run("sh", "-c", script, **settings)


def decode(data):
    return (data or b"").decode(errors="replace")


def until(condition, what, timeout=TIMEOUT):
    """Waits for a state: gives what condition() does once that is true; `what` is for the failure's text."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.01)
    return found


def until_tasks(process, *patterns):
    """Waits until what teacup says of its tasks (on standard error, which it takes) has all of these."""
    def said():
        process.send_signal(signal.SIGUSR1)
        text, ready = b"", [process.stderr]
        while ready and (more := os.read(process.stderr.fileno(), 65536)):
            text += more
            ready = select.select([process.stderr], [], [], 0.1)[0]
        return all(re.search(pattern, decode(text)) for pattern in patterns)
    until(said, f"tasks with {patterns}")


def children(pid):
    """Those of a process, by /proc/PID/stat: not every kernel has a list of them."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(pathlib.Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry))
        except OSError:
            pass  # it has ended meanwhile
    return found


def descendants(pid):
    for child in children(pid):
        yield child
        yield from descendants(child)


class Terminal:
    """A program on a terminal of its own, whose other side the test holds."""

    def __init__(self, argv, rows=24, columns=80, env=None):
        self.text = ""  # printed and not yet expected
        wait, go = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                environment = dict(env or os.environ, TERM="xterm")
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.close(go)
                os.read(wait, 1)
                os.execvpe(argv[0], argv, environment)
            finally:
                os._exit(127)
        self.modes_before = self.modes()
        os.close(wait)
        os.close(go)
        self.status = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def send(self, text):
        os.write(self.fd, text.encode())

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """What is printed within that time, "" at the end or for nothing."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return ""
        try:
            return os.read(self.fd, 65536).decode(errors="replace")
        except OSError as error:
            if error.errno == errno.EIO:  # all other ends are closed
                return ""
            raise

    def expect(self, pattern, timeout=TIMEOUT):
        """Reads until `pattern` matches; forgets the text up to its end and returns the match."""
        end = time.monotonic() + timeout
        while True:
            match = re.search(pattern, self.text, re.DOTALL)
            if match:
                self.text = self.text[match.end():]
                return match
            left = end - time.monotonic()
            more = self.read(left) if left > 0 else ""
            if not more:
                raise AssertionError(f"no {pattern!r} on the terminal, but {self.text[-2000:]!r}; {self.dump()}")
            # Without what bash says of bracketed paste, around each line it reads.
            self.text = re.sub(r"\x1b\[\?2004[hl]\r?", "", self.text + more)

    def dump(self):
        """What teacup says of its tasks, for a failure's text."""
        try:
            os.kill(self.pid, signal.SIGUSR1)
        except ProcessLookupError:
            return "it has ended"
        text, more = "", self.read(1)
        while more:
            text, more = text + more, self.read(0.3)
        return f"tasks: {text[-3000:]}"

    def wait(self, timeout=TIMEOUT):
        """Waits for the end; returns the exit status as a shell shows it."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = shell_status(os.waitstatus_to_exitcode(status))
                return self.status
            self.text += self.read(0.05)  # an unread terminal could keep it from ending
        raise AssertionError(f"no end after {timeout} s; it printed {self.text[-2000:]!r}; {self.dump()}")

    def modes(self):
        return termios.tcgetattr(self.fd)


def teacup_terminal(*words, options=(), **settings):
    """`teacup run` on a terminal."""
    return Terminal(command(*words, options=options), **settings)
