"""--cpu: programs see a processor of that level, and nothing of the host's."""

import os
import re
import subprocess
import tempfile
import unittest

from harness import run

LEVELS = ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"]
# In flags of /proc/cpuinfo: what each level adds.
FLAGS = [{"sse2", "syscall", "lm"}, {"ssse3", "sse4_2", "popcnt", "cx16", "lahf_lm"},
         {"avx", "avx2", "bmi1", "bmi2", "fma", "movbe", "abm"}, {"avx512f", "avx512bw", "avx512vl"}]
# Which of glibc's strlen a program gets.
STRLEN = ["__strlen_sse2", "__strlen_sse2", "__strlen_avx2", "__strlen_evex"]

# Prints how far glibc's choice of strlen lies from main, and every answer of cpuid.
PROGRAM = r"""
#include <cpuid.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
int main(int argc, char** argv, char** environment) {
  size_t (*volatile chosen)(const char*) = strlen;
  printf("strlen %ld\n", (long)((char*)chosen - (char*)main));
  for (unsigned base = 0; base <= 0x80000000; base += 0x80000000) {
    for (unsigned leaf = base; leaf <= base + 0x20; leaf++) {
      for (unsigned sub = 0; sub < 4; sub++) {
        unsigned a, b, c, d;
        __cpuid_count(leaf, sub, a, b, c, d);
        if (leaf != 0xd) printf("%x.%u %x %x %x %x\n", leaf, sub, a, b, c, d);
      }
    }
    if (base) break;
  }
  // glibc's getauxval(AT_HWCAP) gives a value of its own.
  while (*environment++) continue;
  for (unsigned long* pair = (unsigned long*)environment; pair[0]; pair += 2) {
    if (pair[0] == AT_HWCAP) printf("hwcap %lx\n", pair[1]);
  }
}
"""


def host_level():
    out = subprocess.run(["/lib64/ld-linux-x86-64.so.2", "--help"], stdout=subprocess.PIPE, text=True).stdout
    supported = set(re.findall(r"(x86-64-v\d) \(supported", out))
    return max([0] + [i for i, name in enumerate(LEVELS) if name in supported])


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="teacup-cpu-")
        cls.program = f"{cls.folder.name}/program"
        subprocess.run(["cc", "-O1", "-fno-builtin", "-static-pie", "-fPIE", "-x", "c", "-", "-o", cls.program], input=PROGRAM,
                       text=True, check=True)
        symbols = subprocess.run(["nm", cls.program], stdout=subprocess.PIPE, text=True, check=True).stdout
        cls.symbols = {name: int(value, 16) for value, name in re.findall(r"^([0-9a-f]+) \w (\S+)$", symbols, re.M)}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_program(self, *options, **popen):
        result = run("/d/program", options=["-v", f"{self.folder.name}:/d", *options], **popen)
        self.assertEqual(result.status, 0, result.err)
        return result.out

    def test_levels(self):
        for i, level in enumerate(LEVELS[:host_level() + 1]):
            with self.subTest(level=level):
                out = self.run_program("--cpu", level)
                offset = int(re.search(r"strlen (-?\d+)", out)[1])
                chosen = {name for name, value in self.symbols.items() if value - self.symbols["main"] == offset}
                self.assertIn(STRLEN[i], chosen)
                info = run("cat", "/proc/cpuinfo", options=["--cpu", level]).out
                flags = set(re.search(r"^flags\s*: (.*)$", info, re.M)[1].split())
                for j, wanted in enumerate(FLAGS):
                    self.assertEqual(wanted & flags, wanted if j <= i else set(), level)
                self.assertIn(f"model name\t: {level}\n", info)
                leaf1 = re.search(r"^1\.0 (\S+) (\S+) (\S+) (\S+)$", out, re.M)
                self.assertEqual(re.search(r"^hwcap (.*)$", out, re.M)[1], leaf1[4])

    def test_the_dynamic_loader_agrees(self):
        for i, level in enumerate(LEVELS[:host_level() + 1]):
            out = run("/lib64/ld-linux-x86-64.so.2", "--help", options=["--cpu", level]).out
            supported = set(re.findall(r"(x86-64-v\d) \(supported", out))
            self.assertEqual(supported, set(LEVELS[1:i + 1]), level)

    def test_the_same_again(self):
        self.assertEqual(self.run_program("--cpu", "x86-64-v2"), self.run_program("--cpu", "x86-64-v2"))

    def test_kept_answers_are_the_processors(self):
        without = self.run_program(env=dict(os.environ, TEACUP_NO_CACHE="1"))
        with tempfile.TemporaryDirectory() as caches:
            for _ in range(2):
                self.assertEqual(self.run_program(env=dict(os.environ, XDG_CACHE_HOME=caches)), without)

    def test_host_is_the_default(self):
        self.assertEqual(self.run_program(), self.run_program("--cpu", "host"))

    def test_refusals(self):
        for options, message in ((["--cpu", "i486"], "not known"), (["--cpu", "x86-64", "--mode", "trap"], "cpuid")):
            result = run("true", options=options)
            self.assertEqual(result.status, 125)
            self.assertIn(message, result.err)


if __name__ == "__main__":
    unittest.main()
