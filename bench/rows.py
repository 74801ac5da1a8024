"""What bench/run measures."""

import dataclasses

# Those that teacup_bench measures itself (bench/*_bench.cc).
MICRO = """
    getpid
    clock_gettime
    stat
    open+close
    lseek+read
    read 512
    read 4k
    read 64k
    write null
    write file
    readdir 1000
    create+write+unlink
    pipe round trip
    futex handoff
    CPU time of a crowd
    tcp round trip
    tcp stream
    unix stream
    fork+wait
    posix_spawn+wait
    mmap+touch+munmap
    page fault
    thread create+join
""".strip().split("\n")
MICRO = [row.strip() for row in MICRO]


@dataclasses.dataclass
class Program:
    """A whole-program row. {bench} is where the data are, {src} the -v directory, {tmp} a place to write."""
    image: str
    command: list
    output: str  # what it must print
    volume: bool = False
    reports: bool = False  # what it prints is its figure, in nanoseconds, instead


def shell(image, script, output="", **settings):
    return Program(image, ["/bin/sh", "-c", script], output, **settings)


def server(name, *arguments):
    return Program("servers", ["/bin/sh", "{bench}/servers/" + name + ".sh", *arguments], "", reports=True)


@dataclasses.dataclass
class Published:
    """A server of the tree, on {port}, and who loads it: always natively, and in teacup's case through -p."""
    image: str
    server: list
    load: list  # prints the figure in nanoseconds; {ms} is for how long


def load(server, *arguments):
    return Published("base", ["/bench/load", server, "{port}"], ["/bench/load", *arguments])


PUBLISHED = {
    "-p request": load("echo", "request", "{port}", "1", "{ms}"),
    "-p 50 connections": load("echo", "request", "{port}", "50", "{ms}"),
    "-p stream": load("source", "fetch", "{port}", "{ms}"),
    "-p redis": Published(
        "servers", ["/usr/bin/redis-server", "--port", "{port}", "--save", "", "--protected-mode", "no", "--loglevel", "warning"],
        ["/bin/sh", "/bench/servers/redis-load.sh", "{port}"]),
    "-p nginx 1k": Published("servers", ["/bin/sh", "/bench/servers/nginx-serve.sh", "{port}"],
                             ["/bin/sh", "/bench/servers/nginx-load.sh", "{port}", "{ms}"]),
}


def again(image, command):
    """The same command a second time in its machine, without what is beside it: its time as it says."""
    return Program(image, ["/bin/sh", "-c", f"{command} >/dev/null; begin=$(date +%s%N); {command} >/dev/null; "
                                            "end=$(date +%s%N); echo $((end - begin))"], "", reports=True)


FIND = "find {bench}/find -type f"
TAR = "tar -C {bench} -cf - tar | cat"  # tar does not read what it writes to /dev/null
# Nothing is written to the index, which would make the sides differ.
GIT = "git -C {bench}/git --no-optional-locks status --porcelain"

WHOLE = {
    "machine start": Program("base", ["/bin/true"], ""),
    "sh 300 true": shell("base", "i=0; while [ $i -lt 300 ]; do /bin/true || exit 1; i=$((i+1)); done; echo $i", "300\n"),
    "gcc compile": Program(
        "toolchain", ["/usr/bin/gcc", "-O1", "-o", "{tmp}/compiled", "{bench}/src/main.c", "{bench}/src/work.c",
                      "-lm"], ""),
    "gcc -O0": Program("toolchain", ["/usr/bin/gcc", "-O0", "-c", "-o", "{tmp}/large.o", "{bench}/src/large.c"], ""),
    "gcc -O2": Program("toolchain", ["/usr/bin/gcc", "-O2", "-c", "-o", "{tmp}/large.o", "{bench}/src/large.c"], ""),
    "make zlib": shell("toolchain", "rm -rf {tmp}/zlib; cp -a {bench}/zlib {tmp}/zlib && make -j2 -C {tmp}/zlib >/dev/null"),
    # Often enough that the machine's start, which has a row of its own, does not count: 2 % of it.
    "make no-op": shell("toolchain", "i=0; while [ $i -lt 100 ]; do make -C {bench}/zlib-built >/dev/null || exit 1; "
                                     "i=$((i+1)); done"),
    "python imports": Program(
        "python", ["/usr/bin/python3", "-c", "import json,asyncio,ssl; print(json.dumps([1]))"], "[1]\n"),
    "python loop": Program(
        "python", ["/usr/bin/python3", "-c", "n = 0\nfor i in range(10000000): n += i & 3\nprint(n)"], "15000000\n"),
    "find 50k files": shell("base", f"{FIND} | wc -l", "50000\n"),
    "git status 20k": shell("servers", f"{GIT} | wc -l", "0\n"),
    "tar 20k files": shell("base", "tar -C {bench} -cf - tar | wc -c", "{tar_bytes}\n"),
    "seq|sort|uniq": shell("base", "seq 1000000 | sort -n | uniq | wc -l", "1000000\n"),
    "sha256sum 1G": shell("base", "sha256sum {src}/zeros | cut -c 1-8", "49bc20df\n", volume=True),
    "gcc compile -v": Program(
        "toolchain", ["/usr/bin/gcc", "-O1", "-o", "{tmp}/compiled", "{src}/main.c", "{src}/work.c", "-lm"], "",
        volume=True),
    "redis get/set": server("redis", "-n", "100000"),
    "redis pipelined": server("redis", "-n", "1000000", "-P", "16"),
    "pgbench select": server("pgbench"),
    "pgbench by tcp": server("pgbench", "tcp"),
    "nginx 1k": server("nginx"),
}

# What is not measured unless it is asked for, or beside another row.
EXTRA_MICRO = [f"{row} cold" for row in ("stat", "open+close", "readdir 1000", "read 4k", "create+write+unlink")] + [
    f"{row} x{tasks}" for row in ("read 512", "read 4k", "stat", "open+close") for tasks in (2, 4, 8)]
EXTRA_WHOLE = {"find 50k files warm": again("base", FIND), "git status 20k warm": again("servers", GIT),
               "tar 20k files warm": again("base", TAR)}

# Of rows about files, what a file's first use costs in the machine and what the next ones do: the row itself is one of
# the two, this the other; and what the row may cost warm, of what the host's kernel takes (twice that cold).
COLD = {"stat": 0.15, "open+close": 0.15, "readdir 1000": 0.3, "read 4k": 0.35, "create+write+unlink": 0.3}
WARM = {"find 50k files": 0.5, "git status 20k": 0.5, "tar 20k files": 0.6}
BESIDE = {**{row: f"{row} cold" for row in COLD}, **{row: f"{row} warm" for row in WARM}}

# What a row's ratio is to be at most; of rows about files, warm.
GOALS = {
    **COLD,
    **WARM,
    "getpid": 0.10,
    "stat": 0.12,
    "open+close": 0.12,
    "read 512": 0.15,
    "pipe round trip": 0.02,
    "futex handoff": 0.05,
    "CPU time of a crowd": 1.10,
    "posix_spawn+wait": 0.60,
    "fork+wait": 1.10,
    "sh 300 true": 0.70,
    "gcc -O0": 0.95,
    "gcc -O2": 1.00,
    "make zlib": 0.95,
    "make no-op": 0.50,
    "python imports": 0.90,
    "python loop": 1.03,
    "seq|sort|uniq": 0.95,
    "sha256sum 1G": 1.03,
    "gcc compile -v": 1.00,
    "tcp round trip": 0.05,
    "tcp stream": 0.50,
    "unix stream": 0.60,
    "redis get/set": 0.50,
    "redis pipelined": 0.90,
    "pgbench select": 0.80,
    "pgbench by tcp": 0.80,
    "nginx 1k": 0.60,
    "-p 50 connections": 1.50,
}

GROUPS = {"files": [*COLD, *WARM], "concurrency": [row for row in EXTRA_MICRO if not row.endswith("cold")]}


def limits(row):
    """The most that a row's two ratios may be: (warm, cold)."""
    warm = {**COLD, **WARM}[row]
    return warm, 2 * warm
