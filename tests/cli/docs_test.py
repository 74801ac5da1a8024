"""What is written of the options agrees: help, man page, completion."""

import re
import subprocess
import unittest

from harness import ROOT, TEACUP, TIMEOUT


def teacup(*arguments):
    return subprocess.run([TEACUP, *arguments], capture_output=True, text=True, timeout=TIMEOUT)


def help_options(command="run"):
    """The options of the help's first column."""
    options = set()
    for line in teacup(command, "--help").stdout.splitlines():
        column = re.match(r"  ((?:-\w, )?) *(--[\w-]+)", line)
        if column:
            options.update(word for word in (column[1].strip(", "), column[2]) if word)
    return options


class Docs(unittest.TestCase):
    def test_help_lists_options(self):
        self.assertIn("--env", help_options())
        self.assertIn("-v", help_options())

    def test_man_page_has_the_helps_options(self):
        page = (ROOT / "docs/teacup.1").read_text()
        for command in ("run", "pack", "ls", "cat", "stat", "inspect", "mount", "diff", "commit", "export", "rewrite"):
            text = re.search(rf"^\.SH OPTIONS OF {command.upper()}\n(.*?)^\.SH ", page, re.MULTILINE | re.DOTALL)[1]
            described = "\n".join(re.findall(r"^\.TP\n(.*)$", text, re.MULTILINE)).replace("\\-", "-")
            found = set(re.findall(r"(?<![\w-])--?[a-zA-Z0-9][\w-]*", described))
            self.assertEqual(found - {"-h", "--help"}, help_options(command) - {"-h", "--help"})

    def test_completion_has_the_helps_options(self):
        text = (ROOT / "cli/completion.bash").read_text()
        words = re.search(r"compgen -W '(-e [^']*)'", text)[1].split()
        self.assertEqual(set(words), help_options())

    def test_completion_has_all_commands(self):
        listed = re.search(r"Commands:\n(.*?)\n\n", teacup("help").stdout, re.DOTALL)[1]
        commands = {line.split()[0] for line in listed.splitlines()}
        text = (ROOT / "cli/completion.bash").read_text()
        words = re.search(r"COMP_CWORD == 1.*?compgen -W '([^']*)'", text, re.DOTALL)[1].split()
        self.assertEqual(set(words), commands)

    def test_each_command_has_help(self):
        listed = re.search(r"Commands:\n(.*?)\n\n", teacup("help").stdout, re.DOTALL)[1]
        for line in listed.splitlines():
            result = teacup("help", line.split()[0])
            self.assertEqual(result.returncode, 0, line)
            self.assertIn("Usage: teacup", result.stdout)

    def test_messages_have_no_colour_in_a_pipe(self):
        self.assertNotIn("\033", teacup("run").stderr)


if __name__ == "__main__":
    unittest.main()
