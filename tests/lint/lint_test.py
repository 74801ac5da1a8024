#!/usr/bin/env python3
"""The lints find what they are for: each is given something wrong and something right."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(ROOT, "scripts", name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


includes = load("lint_includes")
runtime = load("lint_runtime")


class Includes(unittest.TestCase):
    def check(self, path, line):
        return includes.check_line(path, line, 1)

    def test_right_edges(self):
        for path, target in (("fs/inode.h", "kernel/base/result.h"), ("kernel/task/exec.cc", "loader/elf.h"),
                             ("kernel/entry/boot.cc", "kernel/abi/fs.h"), ("host/broker/ring.cc", "kernel/task/task.h"),
                             ("kernel/sync/lock.cc", "host/gate/gate.h"), ("net/unix.cc", "fs/file.h")):
            self.assertIsNone(self.check(path, f'#include "{target}"'))

    def test_wrong_edges(self):
        for path, target in (("kernel/base/result.h", "kernel/abi/fs.h"), ("fs/inode.h", "kernel/task/task.h"),
                             ("kernel/abi/fs.h", "fs/inode.h"), ("rewrite/plan.cc", "fs/inode.h"),
                             ("fs/inode.h", "host/broker/ring.h"), ("kernel/mm/map.cc", "net/unix.h"),
                             ("kernel/sync/lock.h", "kernel/frame/frame.h")):
            complaint = self.check(path, f'  #  include "{target}"')
            self.assertIsNotNone(complaint, path + " " + target)
            self.assertIn("may not include", complaint)

    def test_unrooted_include(self):
        self.assertIn("root of the project", self.check("fs/inode.cc", '#include "inode.h"'))

    def test_standard_headers(self):
        self.assertIsNone(self.check("fs/inode.cc", "#include <span>"))
        self.assertIn("libc", self.check("fs/inode.cc", "#include <vector>"))
        self.assertIn("libc", self.check("host/gate/gate.cc", "#include <linux/futex.h>"))
        self.assertIsNone(self.check("host/gate/gate_hosted.cc", "#include <linux/futex.h>"))
        self.assertIsNone(self.check("rewrite/plan.cc", "#include <vector>"))
        self.assertIsNone(self.check("fs/inode.cc", "// #include <vector>"))

    def test_whole_tree(self):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "kernel/base"))
            with open(os.path.join(root, "kernel/base/bad.h"), "w") as f:
                f.write('#include "kernel/task/task.h"\n')
            done = subprocess.run([os.path.join(ROOT, "scripts/lint_includes"), "--root", root], stdout=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("kernel/base/bad.h:1: kernel/base may not include kernel/task", done.stdout)


@unittest.skipUnless(shutil.which("gcc") and shutil.which("objdump"), "needs gcc and objdump")
class Runtime(unittest.TestCase):
    def complaints(self, assembly):
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, "a.S"), os.path.join(folder, "a")
            with open(source, "w") as f:
                f.write(assembly)
            subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noexecstack", "-o", program, source], check=True)
            done = subprocess.run([os.path.join(ROOT, "scripts/lint_runtime"), program], stdout=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1 if "0 complaints" not in done.stdout else 0)
            return done.stdout

    GATE = ".globl _start\n_start: .globl host_gate\nhost_gate: syscall\nret\n"

    def test_clean(self):
        self.assertIn(" 0 complaints", self.complaints(self.GATE + "mov %gs:0, %rax\nrep movsb\nendbr64\nlock xadd %eax, (%rdi)\n"))

    def test_each_fault(self):
        for fault, words in (("mov %fs:0x28, %rax", "uses %fs"), ("movaps %xmm1, %xmm2", "vector"), ("vmovdqu64 %zmm20, (%rax)", "vector"),
                             ("fldz", "x87"), ("kmovq %k1, %rax", "vector"), ("movq %mm0, %rax", "vector"), ("xsave (%rdi)", "vector"),
                             ("syscall", "2 syscall instructions"), ("int $0x80", "2 syscall instructions"),
                             (".data\n.quad 5\n.text", "writable section .data"), (".bss\n.space 8\n.text", "writable section .bss")):
            self.assertIn(words, self.complaints(self.GATE + fault + "\n"), fault)

    def test_no_gate(self):
        self.assertIn("0 syscall instructions", self.complaints(".globl _start\n_start: ret\n"))

    def test_named_routines_may_save_state(self):
        self.assertIn(" 0 complaints", self.complaints(self.GATE + ".globl xstate_save\nxstate_save: xsave64 (%rdi)\nret\n"))


if __name__ == "__main__":
    unittest.main()
