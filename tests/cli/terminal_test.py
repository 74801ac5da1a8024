"""The terminal: an interactive bash with line editing, job control, ^C, ^Z and window size, and the host's terminal as
it was afterwards, however the machine ends."""

import os
import signal
import unittest

from harness import teacup_terminal

PROMPT = r"ready\$ "

# A job that says whether the terminal is its own: what is typed before that goes to the shell.
JOB = (r"perl -MPOSIX -e '$| = 1; $was = -1; for (;;) { $now = tcgetpgrp(0) == getpgrp; print $now ? qq(in front\n) : qq(behind\n) "
       r"if $now != $was; $was = $now; select undef, undef, undef, 0.01 }'")
IN_FRONT = r"\nin front\r\n"


class Interactive(unittest.TestCase):
    def bash(self, **settings):
        terminal = teacup_terminal("bash", "--norc", "-i", options=["-it", "-e", "PS1=ready$ "], **settings)
        self.addCleanup(terminal.__exit__)
        terminal.expect(PROMPT)
        return terminal

    def leave(self, terminal, status=0):
        terminal.send(f"exit {status}\n")
        self.assertEqual(terminal.wait(), status)

    def line(self, terminal, text, pattern):
        """Types a line; returns the match of `pattern` in what it prints, up to the next prompt."""
        terminal.send(text + "\n")
        match = terminal.expect(pattern)
        terminal.expect(PROMPT)
        return match

    def test_standard_files_are_a_terminal(self):
        terminal = self.bash()
        self.line(terminal, "tty; test -t 0 && test -t 1 && test -t 2 && echo all three", r"/dev/\S+\r\nall three\r\n")
        self.line(terminal, "echo T=$TERM", "T=xterm\r\n")
        self.leave(terminal, 4)

    def test_line_editing_and_history(self):
        terminal = self.bash()
        self.line(terminal, "echo on\x7f\x7fnone\x01\x0b" + "echo edited", r"\nedited\r\n")  # DEL DEL, ^A, ^K
        self.line(terminal, "\x1b[A", r"\nedited\r\n")  # up
        self.line(terminal, "echo abc\x1b[D\x1b[DX", r"\naXbc\r\n")  # left, left
        self.line(terminal, "cat /etc/passw\t | head -n 1", r"\nroot:")
        self.leave(terminal)

    def test_interrupt_ends_the_foreground_job_only(self):
        terminal = self.bash()
        terminal.send(JOB + "\n")
        terminal.expect(IN_FRONT)
        terminal.send("\x03")
        terminal.expect(PROMPT)
        self.line(terminal, "echo s=$?", "s=130\r\n")
        self.leave(terminal)

    def test_interrupt_stops_a_busy_loop(self):
        terminal = self.bash()
        terminal.send("echo busy; while :; do :; done\n")
        terminal.expect(r"\nbusy\r\n")
        terminal.send("\x03")
        terminal.expect(PROMPT)
        self.leave(terminal)

    def test_stop_and_continue(self):
        terminal = self.bash()
        terminal.send(JOB + "\n")
        terminal.expect(IN_FRONT)
        terminal.send("\x1a")
        terminal.expect("Stopped")
        terminal.expect(PROMPT)
        self.line(terminal, "jobs", r"\[1\]\+\s+Stopped\s+perl")
        terminal.send("bg\n")
        terminal.expect(r"\[1\]\+ perl [^\n]* &\r\n")
        terminal.expect(r"behind\r\n")  # the prompt may be before that
        self.line(terminal, "jobs", r"\[1\]\+\s+Running\s+perl")
        terminal.send("fg\n")
        terminal.expect(IN_FRONT)
        terminal.send("\x03")
        terminal.expect(PROMPT)
        self.leave(terminal)

    def test_end_of_file_ends_the_shell(self):
        terminal = self.bash()
        self.line(terminal, "(exit 9)", r"\(exit 9\)\r\n")
        terminal.send("\x04")
        self.assertEqual(terminal.wait(), 9)

    def test_window_size(self):
        terminal = self.bash(rows=30, columns=100)
        self.line(terminal, "stty size", "30 100\r\n")
        self.line(terminal, "trap 'echo resized' WINCH; set +m", "\n")
        terminal.resize(40, 132)
        # The new size comes by a signal, which what is typed may overtake.
        self.line(terminal, "until stty size | grep '40 132'; do :; done", "\n40 132\r\n")
        terminal.send("sh -c 'trap \"stty size; exit\" WINCH; echo waiting; while :; do sleep 0.05; done'\n")
        terminal.expect("waiting\r\n")
        terminal.resize(50, 90)
        terminal.expect("50 90\r\n")
        self.leave(terminal)

    def test_cooked_reads_wait_for_a_line(self):
        terminal = self.bash()
        # Readline ends its line before it restores the terminal's modes; the command runs after.
        terminal.send("echo now; read x; echo \"<$x>\"\n")
        terminal.expect("now\r\n")
        terminal.send("ab\x7fc\n")
        terminal.expect("<ac>\r\n")
        self.leave(terminal)

    def test_typing_ahead_is_kept(self):
        terminal = self.bash()
        terminal.send("sleep 0.5\necho typed ahead\n")
        terminal.expect(r"\ntyped ahead\r\n")
        self.leave(terminal)


class Restored(unittest.TestCase):
    """A machine in raw mode that ends; the terminal's modes afterwards are those before."""

    def check(self, end, status):
        script = "stty raw -echo; echo ready; " + ("exit 3" if end is None else "sleep 1000")
        terminal = teacup_terminal("sh", "-c", script, options=["-it"])
        self.addCleanup(terminal.__exit__)
        terminal.expect("ready")
        if end is not None:
            end(terminal)
        self.assertEqual(terminal.wait(), status)
        self.assertEqual(terminal.modes(), terminal.modes_before)

    def test_after_an_exit(self):
        self.check(None, 3)

    def test_after_a_signal(self):
        self.check(lambda terminal: os.kill(terminal.pid, signal.SIGTERM), 143)

    def test_after_a_hangup(self):
        self.check(lambda terminal: os.kill(terminal.pid, signal.SIGHUP), 129)

    def test_interrupt_key_ends_process_1(self):
        terminal = teacup_terminal("sh", "-c", "echo ready; exec sleep 1000")
        self.addCleanup(terminal.__exit__)
        terminal.expect("ready")
        terminal.send("\x03")
        self.assertEqual(terminal.wait(), 130)


if __name__ == "__main__":
    unittest.main()
