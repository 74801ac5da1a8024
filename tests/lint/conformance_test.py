"""scripts/conformance itself: how outputs are taken apart and the tables made. It runs no suite."""

import importlib.machinery
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/conformance"))
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("conformance", os.path.join(ROOT, "scripts/conformance"))
conformance = importlib.util.module_from_spec(importlib.util.spec_from_loader("conformance", loader))
loader.exec_module(conformance)
languages, report = conformance.languages, conformance.report


def outcomes(cases):
    return {name: (outcome, result) for name, (outcome, _, result) in cases.items()}


class Parsing(unittest.TestCase):
    def test_programs(self):
        text = "@@ begin a\none\ntwo\n\n@@ end a 0\nnoise\n@@ begin b\n\n@@ end b 3\n@@ begin c\n\n@@ end c 124\n@@ begin d\nstarted"
        self.assertEqual(outcomes(languages.programs(text)),
                         {"a": ("ok", "one\ntwo"), "b": ("status 3", ""), "c": ("hung", ""), "d": ("hung", "")})

    def test_go(self):
        events = [("run", "os", "TestA"), ("run", "os", "TestA/x"), ("fail", "os", "TestA/x"), ("fail", "os", "TestA"),
                  ("run", "os", "TestB"), ("pass", "os", "TestB"), ("fail", "os", ""), ("run", "sync", "TestC"),
                  ("skip", "sync", "TestC"), ("pass", "sync", ""), ("run", "io", "TestD"), ("output", "build", "")]
        lines = [json.dumps({"Action": a, "Package": p, **({"Test": t} if t else {}), "Output": "text\n"}) for a, p, t in events]
        found = {name: outcome for name, (outcome, _, _) in languages.go_tests("\n".join(["not json", *lines])).items()}
        self.assertEqual(found, {"os.TestA": "failed", "os.TestB": "ok", "sync.TestC": "skipped", "io.TestD": "hung",
                                 "io": "failed", "build": "failed"})

    def test_perl(self):
        text = ("@@ begin op/a\nt/op/a .. ok\nAll tests successful.\nu=0 scripts=1  tests=12\n\n@@ end op/a 0\n"
                "@@ begin op/b\nt/op/b .. skipped\nu=0 scripts=1  tests=0\n\n@@ end op/b 0\n"
                "@@ begin op/c\nt/op/c .. FAILED at test 3\n\n@@ end op/c 1\n")
        self.assertEqual(outcomes(languages.perl_files(text)),
                         {"op/a": ("ok", "12 tests"), "op/b": ("skipped", ""), "op/c": ("failed", "")})

    def test_ruby(self):
        text = ("@@ begin ruby/test_a\n[1/3] TestA#test_one = 0.01 s\n[2/3] TestA#test_two = warning\n0.00 s\n"
                "[3/3] TestA#test_x = 0.10 s\n\n  1) Failure:\nTestA#test_x [/t.rb:3]:\nbad\n\n"
                "  2) Skipped:\nTestA#test_two [/t.rb:5]:\nnot here\n\n"
                "3 tests, 4 assertions, 1 failures\n\n@@ end ruby/test_a 1\n@@ begin ruby/test_b\ncrash\n\n@@ end ruby/test_b 134\n")
        cases = languages.ruby_tests(text)
        self.assertEqual({name: case[0] for name, case in cases.items()},
                         {"TestA#test_one": "ok", "TestA#test_two": "skipped", "TestA#test_x": "failed", "ruby/test_b": "failed"})
        self.assertIn("bad", cases["TestA#test_x"][1])


class Writing(unittest.TestCase):
    def test_net_table(self):
        counted = {suite: {label: {"calls": calls} for label, calls in runs.items()} for suite, runs in {
            "python": {"test_a": [900, 0], "test_b": [1100, 0]},
            "go": {"go-std": [990, 10], "go-runtime": [1000, 0], "go-time": [0, 0], "go-pprof": [0, 0], "go-net": [0, 0]},
            "node": {"node": [10, 10], "node-http": [0, 0], "node-net": [0, 0]}, "rust": {"rust": None},
        }.items()}
        lines = report.net_table(counted, ["| Rust: cargo build and test | 7 | 0 | 0.0000 % |"])
        find = lambda word: next(line for line in lines if word in line)
        self.assertTrue(find("python").endswith("| 2,000 | 0 | 0.0000 % |"))
        self.assertTrue(find("standard library's").endswith("| 2,000 | 10 | 0.5000 % (over 0.1 %) |"))
        self.assertTrue(find("| node").endswith("| 20 | 10 | 50.0000 % |"))
        self.assertTrue(find("Rust").endswith("| 7 | 0 | 0.0000 % |"))  # as it was
        self.assertIn("not counted: git", find("git"))
        self.assertEqual(len(lines), 2 + len(languages.WORKLOADS))

    def test_what_is_not_run_again_stays(self):
        def one(native, guest, seen, differences=(), bad=0):
            return {"seen": seen, "kernel": "6.1", "native": native, "guest": guest, "bad": bad, "calls": None,
                    "differences": list(differences)}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.json")
            results = report.load(path)
            results["servers"] = {"b": one(1, 1, "2030-01-02", bad=["y", ""]), "a": one(3, 2, "2030-01-01", [["servers:x", "ok", "failed", "why"]]),
                                  "gone": one(1, 1, "")}
            report.save(results, path)
            results = report.load(path)
            results["python"] = {"test_a": one(5, 5, "2030-01-03")}
            results["stress"] = {"fork": one("ok", "ok", "2030-01-01"), "swap": one("skipped", "-", "2030-01-03")}
            for name in ("compatibility.md", "rewriting.md"):
                with open(os.path.join(folder, name), "w") as f:
                    f.write("# Page\n\nText.\n")
            report.write_documents(results, ["test_a"], {"servers": ["a", "b"], "go": ["c"]}, folder)
            with open(os.path.join(folder, "compatibility.md")) as f:
                text = f.read()
        self.assertIn("| test_a | 5 | 5 | 0 | 2030-01-03, Linux 6.1 |\n", text)
        self.assertIn("as an ordinary user (2030-01-01, Linux 6.1 to 2030-01-03, Linux 6.1): 1 give the same outcome", text)
        self.assertIn("| a | 3 | 2 | 0 | 1 | 2030-01-01, Linux 6.1 |\n| b | 1 | 1 | 2 | 0 | 2030-01-02, Linux 6.1 |\n", text)
        self.assertIn("| servers:x | ok | failed | why |\n", text)
        self.assertIn("Not ok natively either: y, b as a whole.\n", text)
        self.assertNotIn("gone", text)

    def test_results_are_of_known_runs(self):
        suites = {suite: {run.label for run in runs} for suite, runs in conformance.SUITES.items()}
        results = report.load()
        for suite, runs in results.items():
            if suite != "stress":
                self.assertLessEqual(set(runs), suites.get(suite, set(conformance.MODULES)), suite)
        # What is written is what the pages show.
        with tempfile.TemporaryDirectory() as folder:
            for name in ("compatibility.md", "rewriting.md"):
                shutil.copy(os.path.join(ROOT, "docs", name), folder)
            report.write_documents(results, conformance.MODULES, {s: [r.label for r in runs] for s, runs in conformance.SUITES.items()},
                                   folder)
            for name in ("compatibility.md", "rewriting.md"):
                with open(os.path.join(ROOT, "docs", name)) as a, open(os.path.join(folder, name)) as b:
                    self.assertEqual(a.read(), b.read(), name)

    def test_block_is_replaced_where_it_was(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "page.md")
            report.write_block(path, "<!-- a: begin -->", ["<!-- a: begin -->", "old a"])
            report.write_block(path, "<!-- b: begin -->", ["<!-- b: begin -->", "b"])
            report.write_block(path, "<!-- a: begin -->", ["<!-- a: begin -->", "new a"])
            with open(path) as f:
                self.assertEqual(f.read(), "# Page\n\n<!-- a: begin -->\nnew a\n\n<!-- end -->\n\n<!-- b: begin -->\nb\n\n<!-- end -->\n")

    def test_every_run_has_its_own_name_and_every_workload_its_runs(self):
        labels = [run.label for runs in languages.SUITES.values() for run in runs]
        self.assertEqual(len(labels), len(set(labels)))
        for _, wanted in languages.WORKLOADS:
            self.assertTrue(wanted == "python" or set(wanted) <= set(labels))


if __name__ == "__main__":
    unittest.main()
