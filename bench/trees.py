"""The files that both sides of bench/run work on: an image's tree, with the benchmarks and their data in /bench."""

import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA_VERSION = 5  # of what is put into /bench: count up to have it made anew
BIG_FILE = 1 << 30  # bytes of zeros in the volume's file


class Missing(Exception):
    """Something that bench/run needs is not there; the text says what to do."""


def c_functions(count):
    functions = []
    for i in range(count):
        functions.append(f"""
int work_{i}(int n, char *text, size_t size) {{
  struct record r = {{.id = n + {i}, .weight = n * {i % 7}.5, .name = "record {i}"}};
  for (int k = 0; k < n % {i % 13 + 2}; k++) {{
    r.id = r.id * 31 + k;
    if (r.id % {i % 5 + 2} == 0) r.weight += sqrt((double)k);
    else r.weight -= (double)(r.id >> 3);
  }}
  if (snprintf(text, size, "%s %d %.3f", r.name, r.id, r.weight) < 0) return -1;
  return (int)strlen(text) + r.id % {i + 1};
}}
""")
    return "".join(functions)


def c_sources():
    """A C program of the size of a small real one, 100 functions over the usual headers; and a file of 2000 lines."""
    header = ("#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n"
              "struct record { int id; double weight; const char *name; };\n")
    declarations = "".join(f"int work_{i}(int n, char *text, size_t size);\n" for i in range(100))
    calls = "".join(f"  sum += work_{i}(argc + {i}, text, sizeof text);\n" for i in range(100))
    return {
        "work.h": header + declarations,
        "work.c": '#include "work.h"\n' + c_functions(100),
        "large.c": header + c_functions(181),
        "main.c": '#include "work.h"\nint main(int argc, char **argv) {\n  char text[128];\n  int sum = argv[0] == '
                  'NULL;\n' + calls + '  printf("%d\\n", sum);\n  return 0;\n}\n',
    }


def write_sources(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in c_sources().items():
        (folder / name).write_text(text)


def write_volume(folder):
    """What a row's -v directory holds."""
    write_sources(folder)
    with open(folder / "zeros", "wb") as zeros:
        zeros.truncate(BIG_FILE)


def write_files(folder, folders, files_each, size_of):
    for i in range(folders):
        directory = folder / f"d{i:03}"
        directory.mkdir(parents=True)
        for k in range(files_each):
            (directory / f"file-{k:04}.txt").write_bytes(b"teacup " * (size_of(i, k) // 7 + 1) if size_of(i, k) else b"")


def write_git(folder):
    """A repository of 20 000 files, whose index holds for copies too: it says size and time of a file, not its inode."""
    write_files(folder, 200, 100, lambda i, k: (i * 131 + k * 17) % 2000)
    old = 1_600_000_000
    for path in folder.rglob("*"):
        os.utime(path, (old, old))
    run_tool(["git", "init", "-q", folder])
    for name in ("core.checkStat=minimal", "core.trustctime=false", "user.name=bench", "user.email=bench@localhost"):
        run_tool(["git", "-C", folder, "config", *name.split("=")])
    run_tool(["git", "-C", folder, "add", "."])
    run_tool(["git", "-C", folder, "commit", "-qm", "20 000 files"])


def write_benchmarks(folder, build):
    """The microbenchmarks and the libraries an image need not have."""
    library = folder / "lib"
    library.mkdir(parents=True)
    binary = build / "bin" / "teacup_bench"
    shutil.copy(binary, folder / "teacup_bench")
    shutil.copy(build / "bin" / "load", folder / "load")
    linked = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    for line in linked.splitlines():
        name, _, path = line.strip().partition(" => ")
        if name.startswith(("libbenchmark", "libstdc++", "libgcc_s")):
            shutil.copy(path.split(" ")[0], library / name)


def write_zlib(folder, build):
    """A real project of C from a Debian source package: configured in zlib, built too in zlib-built."""
    source = build / "bench" / "zlib-source"
    if not source.exists():
        run_tool([ROOT / "scripts" / "debian-source", "zlib", source])
    shutil.copytree(source, folder / "zlib", symlinks=True)
    run_tool(["./configure"], cwd=folder / "zlib")
    shutil.copytree(folder / "zlib", folder / "zlib-built", symlinks=True)
    run_tool(["make", "-j2"], cwd=folder / "zlib-built")


def run_tool(command, **settings):
    done = subprocess.run(command, capture_output=True, text=True, **settings)
    if done.returncode != 0:
        raise Missing(f"{' '.join(map(str, command))} failed: {(done.stderr or done.stdout).strip()[-400:]}")


def read(path):
    return path.read_text() if path.exists() else ""


class Tree:
    """An image's files with /bench added: as a folder, and as the EROFS image that is made of it."""

    def __init__(self, name, image, build):
        self.name = name
        base = build / "bench" / name
        self.folder = base / "tree"
        self.image = base / "image.erofs"
        binary = build / "bin" / "teacup_bench"
        if not image.exists():
            raise Missing(f"there is no image {image}: make it with scripts/images {name}, or give --image FILE")
        if not binary.exists():
            raise Missing(f"there is no {binary}: install libbenchmark-dev and build (ninja -C {build})")
        # Unpacking takes longest and is done again only for another image.
        unpacked = f"{image} {os.stat(image).st_mtime_ns}"
        programs = binary.read_bytes() + (build / "bin" / "load").read_bytes()
        complete = f"{unpacked} {DATA_VERSION} {hashlib.sha256(programs).hexdigest()}"
        if read(base / "complete") == complete:
            return
        print(f"preparing {name} ...", file=sys.stderr)
        if read(base / "unpacked") != unpacked:
            shutil.rmtree(base, ignore_errors=True)
            base.mkdir(parents=True)
            if image.is_dir():
                run_tool(["cp", "-a", image, self.folder])
            else:
                run_tool(["fsck.erofs", f"--extract={self.folder}", image])
            (base / "unpacked").write_text(unpacked)
        bench = self.folder / "bench"
        shutil.rmtree(bench, ignore_errors=True)
        write_benchmarks(bench, build)
        write_sources(bench / "src")
        if name == "servers":
            shutil.copytree(ROOT / "bench" / "servers", bench / "servers")
            write_git(bench / "git")
        if name == "toolchain":
            write_zlib(bench, build)
        if name == "base":
            write_files(bench / "find", 50, 1000, lambda i, k: 0)
            write_files(bench / "tar", 20, 1000, lambda i, k: (i * 131 + k * 17) % 4000)
            (bench / "data").write_bytes(random.Random(1).randbytes(16 << 20))
        # With the tree's own times: python does not believe bytecode that is not as old as its source says.
        self.image.unlink(missing_ok=True)
        run_tool([build / "teacup", "pack", self.folder, self.image])
        # Plans for the programs of an image that changed within the last two seconds are not kept, and each machine would
        # make its own: what is measured is an image that has been there for a while.
        time.sleep(2.5)
        (base / "complete").write_text(complete)

    def tar_bytes(self):
        """The length of the archive that 'tar 20k files' makes, from the host's own tar."""
        command = f"tar -C {self.folder}/bench -cf - tar | wc -c"
        return subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout.strip()


def mount_into(folder, source):
    """What a program expects around a tree, and the volume's folder as /src."""
    for name in ("dev", "proc", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    run_tool(["mount", "--rbind", "/dev", folder / "dev"])
    run_tool(["mount", "-t", "proc", "proc", folder / "proc"])
    run_tool(["mount", "-t", "tmpfs", "tmpfs", folder / "tmp"])
    (folder / "src").mkdir(exist_ok=True)
    run_tool(["mount", "--bind", source, folder / "src"])
