"""The exit status of `teacup run` is docker's."""

import unittest

from harness import run, shell


class ExitStatus(unittest.TestCase):
    def check(self, expected, result):
        self.assertEqual(result.status, expected, result.err)
        return result

    def test_guests_own(self):
        self.check(0, run("true"))
        self.check(1, run("false"))
        self.check(7, shell("exit 7"))
        self.check(255, shell("exit 255"))

    def test_signal_is_128_and_its_number(self):
        for number in (1, 2, 6, 9, 11, 13, 15):
            self.check(128 + number, shell(f"exec sh -c 'kill -{number} $$'"))

    def test_child_killed_is_seen_by_its_parent(self):
        self.assertEqual(self.check(0, shell("sh -c 'kill -9 $$'; echo $?")).out, "137\n")

    def test_not_found_is_127(self):
        for name in ("no-such-program", "/no/such/program", "./no-such-program"):
            result = self.check(127, run(name))
            self.assertIn("no-such" if "/no/" not in name else name, result.err)

    def test_not_executable_is_126(self):
        for name in ("/etc/passwd", "/etc"):
            result = self.check(126, run(name))
            self.assertIn(name, result.err)

    def test_missing_interpreter_is_127(self):
        # execve says ENOENT; the message must not leave it at that.
        result = run("sh", "-c", "printf '#!/no/interpreter\\n' > /tmp/s; chmod +x /tmp/s; exec /tmp/s")
        self.check(127, result)

    def test_own_failure_is_125(self):
        for image in ("/no/image.erofs", "debian:12", "/dev/null", "/etc/passwd"):
            result = self.check(125, run("true", image=image))
            self.assertIn(image, result.err)
            self.assertEqual(result.out, "")
        self.check(125, run("true", options=["--bogus"]))

    def test_impossible_workdir_and_user_are_named(self):
        self.assertIn("/etc/passwd", self.check(125, run("true", options=["-w", "/etc/passwd"])).err)
        self.assertIn("nosuchuser", self.check(125, run("true", options=["-u", "nosuchuser"])).err)

    def test_machine_ends_with_its_first_process(self):
        result = self.check(3, shell("sleep 1000 & sleep 1000 & exit 3"))
        self.assertEqual(result.out, "")


if __name__ == "__main__":
    unittest.main()
