"""The suites of scripts/conformance that run in the image `languages`, and the workloads whose calls are counted.

A run is one machine, and natively one chroot: a shell script whose output is taken apart into cases. A case is
(outcome, text, result): the outcome is ok, skipped, failed or hung, the text says more for people, and the result is
what must be the same on both sides where both are ok: what a program of ours prints, the number of tests in a file.
"""

import dataclasses
import json
import re

# The scripts see the sources of Debian packages in /src, this folder in /conformance and tests/programs in /programs,
# read-only. run NAME COMMAND... runs one case.
PRELUDE = r"""
cd /tmp
run() {
  name=$1; shift
  echo "@@ begin $name"
  timeout -k 5 $LIMIT "$@" 2>&1 < /dev/null; status=$?
  echo; echo "@@ end $name $status"
}
"""


@dataclasses.dataclass
class Run:
    """One machine: label names its log and statistics; limit is that of each case, whole that of all, in seconds."""

    label: str
    script: str
    parse: object
    limit: int = 60
    whole: int = 600
    user: str = "0:0"
    image: str = "languages"
    sources: tuple = ()

    def words(self, factor):
        return ["bash", "-c", f"LIMIT={self.limit * factor}\n{PRELUDE}\n{self.script}"]


def programs(text):
    """{name: case} of what run() prints."""
    cases = {}
    pieces = re.split(r"^@@ (begin|end) (\S+)(?: (\d+))?\n", text + "\n", flags=re.M)
    output = ""
    for kind, name, status, after in zip(pieces[1::4], pieces[2::4], pieces[3::4], pieces[4::4]):
        if kind == "begin":
            output = after
            cases[name] = ("hung", output, "")
        else:
            outcome = {"0": "ok", "124": "hung", "137": "hung"}.get(status, f"status {status}")
            cases[name] = (outcome, output, output.strip())
    return cases


def go_tests(text):
    """Of go test -json: PACKAGE.Test, without subtests, which its text has; PACKAGE alone for one that does not end."""
    outcomes, texts, seen = {}, {}, set()
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        package, test = event.get("Package", ""), event.get("Test", "").partition("/")[0]
        seen.add(package)
        name = f"{package}.{test}" if test else package
        if event["Action"] == "output":
            texts[name] = (texts.get(name, "") + event["Output"])[-4000:]
        elif event["Action"] in ("pass", "fail", "skip") and "/" not in event.get("Test", ""):
            outcomes[name] = {"pass": "ok", "fail": "failed", "skip": "skipped"}[event["Action"]]
        elif event["Action"] == "run" and "/" not in event.get("Test", ""):
            outcomes.setdefault(name, "hung")
    for package in seen:
        # That some test of it failed is said by the test.
        if outcomes.pop(package, "hung") == "hung" or not any(n.startswith(package + ".") for n in outcomes):
            outcomes[package] = "hung" if "panic: test timed out" in texts.get(package, "") else "failed"
    return {name: (outcome, texts.get(name, "")[-3000:], "") for name, outcome in outcomes.items()}


def perl_files(text):
    """Of t/TEST, once for each file: skipped, or how many tests it had."""
    cases = {}
    for name, (outcome, output, _) in programs(text).items():
        if outcome == "ok":
            tests = re.search(r"tests=(\d+)", output)
            skipped = re.search(r"^\S+ \.+ skipped", output, re.M) is not None
            outcome, result = ("skipped", "") if skipped else ("ok", f"{tests[1] if tests else '?'} tests")
            cases[name] = (outcome, output, result)
        else:
            cases[name] = (outcome if outcome == "hung" else "failed", output, "")
    return cases


def node_tests(text):
    """Of node FILE, once for each file. What a test prints has ports and times in it, and is no result."""
    return {name: ("skipped" if outcome == "ok" and "1..0 # Skipped" in output else
                   outcome if outcome in ("ok", "hung") else "failed", output[-3000:], "")
            for name, (outcome, output, _) in programs(text).items()}


def ruby_tests(text):
    """Of test/runner.rb -v, once for each file: Class#test; the file's name for one that does not end."""
    cases = {}
    for file, (outcome, output, _) in programs(text).items():
        reports = {m[2]: (m[1], m[0]) for m in re.finditer(
            r"^ +\d+\) (Failure|Error|Skipped):\n(\S+#\S+?)(?: \[.*|:)\n(?:.+\n)*", output, re.M)}
        for name in re.findall(r"^\s*\[ *\d+/\d+\] (\S+#.+?) = (?:.|\n)*?\d+\.\d\d s$", output, re.M):
            kind, message = reports.get(name, ("", ""))
            cases[name] = ({"": "ok", "Skipped": "skipped"}.get(kind, "failed"), message, "")
        if not re.search(r"^\d+ tests, \d+ assertions", output, re.M):
            cases[file] = ("hung" if outcome == "hung" else "failed", output[-3000:], "")
    return cases


NODE = r"""
for program in worker_threads child_process files signals; do run $program node /conformance/node/$program.js; done
run http-unix node /conformance/node/http.js unix
run http-tcp node /conformance/node/http.js tcp
run npm sh /conformance/node/modules.sh
"""

# node's own tests of its network, one process each, with the flags that a test names.
NODE_TESTS = r"""
mkdir node; cd node; mkdir test; cp -r /src/nodejs/test/common /src/nodejs/test/fixtures /src/nodejs/test/parallel test
cp /src/nodejs/*.js* /src/nodejs/*.gypi . 2> /dev/null; chmod -R u+w .
for file in %s; do
  name=${file##*/test-}
  run ${name%%.js} node $(sed -n "s:^// Flags\: ::p" $file) $file
done
"""
NODE_PARTS = {"http": "test/parallel/test-http-*.js",
              "net": "test/parallel/test-net-*.js test/parallel/test-dgram-*.js test/parallel/test-cluster-*.js"}

JAVA = r"""
run javac javac -d /tmp/classes /conformance/java/*.java
run Threads java -cp classes Threads
run FileTree java -cp classes FileTree
for collector in Serial Parallel G1 Z Shenandoah; do
  run Gc-$collector java -Xmx160m -XX:+Use${collector}GC -cp classes Gc
done
run interpreted java -Xint -cp classes Sockets unix
run Sockets-unix java -cp classes Sockets unix
run Sockets-tcp java -cp classes Sockets tcp
run Http java -cp classes Http
run jar sh -c 'jar --create --file t.jar --main-class Threads -C classes . && java -jar t.jar'
run jlink sh -c '$(dirname $(readlink -f /usr/bin/javac))/jlink --add-modules java.base --output own && own/bin/java -cp classes FileTree'
run jshell sh -c 'printf "System.out.println(6 * 7)\n/exit\n" > j && $(dirname $(readlink -f /usr/bin/javac))/jshell --execution local -s j 2> /dev/null'
"""

# The runtime's tests are the short ones, as Go's own all.bash runs them.
GO_PACKAGES = "os os/exec os/signal os/user sync syscall context bufio io io/fs path/filepath internal/poll runtime/debug"
GO_NET = "net net/http net/http/httptest net/http/httputil net/rpc net/smtp net/textproto crypto/tls"
GO_RUNTIME = "-short runtime sync/atomic"
GO = r"""
export GOCACHE=/tmp/gocache
cd /usr/lib/go-1.19/src
go test -json -p 1 -vet=off -timeout ${LIMIT}s %s 2>&1
"""

GO_PROGRAM = r"""
export GOCACHE=/tmp/gocache GOFLAGS=-mod=mod
cp -r /conformance/go go; cd go
run build go build -o program .
run vet go vet .
run program ./program
run race-free sh -c 'GOMAXPROCS=16 ./program'
"""

RUST = r"""
cp -r /conformance/rust rust; cd rust; export CARGO_NET_OFFLINE=true
run build cargo build -q
run program target/debug/app
run test sh -c 'cargo test -q -- --test-threads=1 > out; status=$?; sed "s/; finished in .*//" out; exit $status'  # not how long it took
run release cargo build -q --release
run release-program target/release/app
run again cargo build -q
run doc cargo doc -q --no-deps
run rustc sh -c 'rustc --edition 2021 -O -C codegen-units=4 --crate-type lib count/src/lib.rs -o lib.rlib && ar t lib.rlib | wc -l'
"""

# perl's own tests, by the perl of the image: its library is laid over the source's.
PERL = r"""
cp -r /src/perl perl; cd perl; chmod -R u+w .
for folder in /usr/share/perl/5.36 /usr/lib/x86_64-linux-gnu/perl/5.36 /usr/lib/x86_64-linux-gnu/perl-base; do
  cp -r --remove-destination $folder/. lib/
done
export PERL_SKIP_TTY_TEST=1 PERL_TEST_CHARNAMES_SEED=1  # there is none on either side; a seed for what is left to chance
ln -s /usr/bin/perl perl; ln -s ../perl t/perl; cd t
for file in %s; do run ${file%%.t} ./perl TEST $file; done
"""
PERL_PARTS = {"base": "base/*.t cmd/*.t comp/*.t opbasic/*.t lib/*.t mro/*.t", "io": "io/*.t run/*.t",
              "op": "op/*.t op/*/*.t", "re": "re/*.t uni/*.t", "lib": "../lib/*.t ../lib/*/*.t"}

RUBY = r"""
mkdir ruby; cd ruby; cp -r /src/ruby3.1/test /src/ruby3.1/tool /src/ruby3.1/debian .; chmod -R u+w .
export OPENSSL_CONF=$PWD/debian/openssl.cnf
for file in %s; do
  name=${file#test/}
  run ${name%%.rb} ruby3.1 test/runner.rb -v --seed=1 --excludes-dir=test/excludes --excludes-dir=debian/tests/excludes/any \
    --excludes-dir=debian/tests/excludes/amd64 --excludes-dir=debian/tests/excludes/autopkgtest --name='!/memory_leak/' $file
done
"""
RUBY_PARTS = {"core-a": "test/ruby/test_[a-h]*.rb", "core-i": "test/ruby/test_[i-q]*.rb", "core-r": "test/ruby/test_[r-z]*.rb",
              "lib": "test/test_*.rb test/fileutils/test_*.rb test/io/*/test_*.rb test/monitor/test_*.rb test/socket/test_unix.rb "
                     "test/socket/test_basicsocket.rb test/etc/test_*.rb test/fiber/test_*.rb test/zlib/test_*.rb test/pathname/test_*.rb"}

NOBODY = "65534:65534"
SUITES = {
    "node": [Run("node", NODE, programs, whole=900)] +
            [Run(f"node-{part}", NODE_TESTS % files, node_tests, limit=60, whole=2400, user=NOBODY, sources=("nodejs",))
             for part, files in NODE_PARTS.items()],
    "java": [Run("java", JAVA, programs, limit=120, whole=900)],
    "go": [Run("go-program", GO_PROGRAM, programs),
           Run("go-std", GO % GO_PACKAGES, go_tests, limit=600, whole=1800, user=NOBODY),
           Run("go-net", GO % GO_NET, go_tests, limit=600, whole=2400, user=NOBODY),
           Run("go-time", GO % "-tags=timetzdata time", go_tests, limit=200, user=NOBODY),  # Debian leaves Go's own copy out
           Run("go-pprof", GO % "-short runtime/pprof", go_tests, limit=90, user=NOBODY),
           Run("go-runtime", GO % GO_RUNTIME, go_tests, limit=900, whole=2400, user=NOBODY)],
    "rust": [Run("rust", RUST, programs, limit=120, whole=900)],
    "perl": [Run(f"perl-{part}", PERL % files, perl_files, limit=200, whole=1800, user=NOBODY, sources=("perl",))
             for part, files in PERL_PARTS.items()],
    "ruby": [Run(f"ruby-{part}", RUBY % files, ruby_tests, limit=200, whole=1800, user=NOBODY, sources=("ruby3.1",))
             for part, files in RUBY_PARTS.items()],
    "workloads": [
        Run("bash", "run shell bash /programs/shell.sh\nrun xargs bash /programs/xargs.sh\nrun archive bash /programs/archive.sh\n"
            "run scripts bash /conformance/workloads/scripts.sh", programs, image="base"),
        Run("build", "run zlib sh /conformance/workloads/build.sh\nrun compile bash /programs/compile.sh", programs, limit=200,
            image="toolchain", sources=("zlib",)),
        Run("git", "run git sh /conformance/workloads/git.sh", programs, limit=120),
    ],
}

# The table of calls served by the net: a workload, and the labels of the runs that are it.
WORKLOADS = [
    ("python: its regression tests, as above", "python"),
    ("gcc and make: zlib built and tested, programs in C and C++", ["build"]),
    ("bash scripts", ["bash"]),
    ("git: a repository made, changed, packed, cloned", ["git"]),
    ("perl: its core tests", [run.label for run in SUITES["perl"]]),
    ("ruby: its core tests", [run.label for run in SUITES["ruby"]]),
    ("Go: a program built and run", ["go-program"]),
    ("Go: its standard library's tests", ["go-std", "go-net", "go-time", "go-pprof", "go-runtime"]),
    ("Rust: cargo build and test", ["rust"]),
    ("node", [run.label for run in SUITES["node"]]),
    ("Java", ["java"]),
]
JITS = ("node", "Java")  # reported, without a limit
