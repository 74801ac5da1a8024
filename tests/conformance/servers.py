"""The suite `servers` of scripts/conformance: Debian's servers and their clients, in the image of that name.

Programs of ours (tests/conformance/servers) start them, use them and print what must be the same on both sides. The
tests of redis and PostgreSQL are their own, from Debian's sources, run on the packaged servers.
"""

import re

from languages import Run, programs


def redis_tests(text):
    """{test: case} of what test_helper.tcl prints. Tests of one name are one case."""
    cases = {}
    for kind, name in re.findall(r"^(?:\*\*\* )?\[(ok|err|exception|ignore|skip)\]: (.+?)(?: \(\d+ ms\))?$", text, re.M):
        name = re.sub(r" in tests/\S+$", "", name)
        if name.startswith("PSYNC2"):  # which server does what is left to chance, and in the names
            name = re.sub(r"\d+", "N", name)
        outcome = {"ok": "ok", "ignore": "skipped", "skip": "skipped"}.get(kind, "failed")
        if cases.get(name, ("",))[0] != "failed":
            cases[name] = (outcome, "" if outcome == "ok" else text[-3000:], "")
    if "All tests passed without errors" not in text and "The following tests failed" not in text:
        cases["the end"] = ("hung", text[-3000:], "")
    return cases


def regress_tests(text):
    """{test: case} of what pg_regress prints; the differences of a test from what it should print are its text, and
    must be the same where it fails natively too."""
    differences = dict(re.findall(r"^diff -U3 \S+/expected/(\S+)\.out \S+\n((?:(?!^diff -U3).*\n)*)", text, re.M))
    cases = {}
    for name, how in re.findall(r"^(?:test|    ) +(\S+) +\.\.\. (ok|FAILED)", text, re.M):
        shown = "\n".join(line for line in differences.get(name, "").splitlines() if not re.match(r"\+\+\+ |--- |@@", line))
        # Not as the source has it, for the server is newer; but as natively.
        cases[name] = ("ok", shown, "" if how == "ok" else shown)
    return cases


SERVERS = "\n".join(f"run {name} bash /conformance/servers/{name}.sh"
                    for name in "redis nginx memcached dnsmasq files looking pgbench ssh".split())

# redis' own tests, in parts of some minutes each, and what a part takes.
REDIS = {
    "types": "unit/type/*",
    "units": "unit/*",
    "cluster": "unit/cluster/*",
    "integration": "integration/[!r]* integration/r[!e]* integration/redis-*",
    "replication": "integration/replication*",
}


SUITES = {
    "servers": [
        Run("servers-programs", SERVERS, programs, limit=120, whole=900, image="servers"),
        Run("servers-postgresql", "bash /conformance/servers/postgresql.sh 2>&1", regress_tests, whole=900, image="servers",
            sources=("postgresql-15",)),
    ] + [
        Run(f"servers-redis-{part}", f"bash /conformance/servers/redis-tests.sh {files}", redis_tests, whole=900, image="servers",
            sources=("redis",)) for part, files in REDIS.items()
    ],
}
