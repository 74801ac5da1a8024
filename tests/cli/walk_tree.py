"""Prints what a file tree looks like from inside, one line a name, so that two views of the same tree can be compared.

    walk_tree.py ROOT [--whole-seconds]

Each line: path, type and mode, owner, times, then what the type has: a file's size, digest and the first name of the
same inode, a link's target, a device's number; last the extended attributes. Content is read twice: first at a few
offsets far from each other, with nothing cached, through mmap for some, then from start to end.
"""

import errno
import hashlib
import mmap
import os
import stat
import sys

PIECE = 1 << 20
MACHINES_OWN = (b"proc", b"dev", b"sys", b"tmp", b"run", b"etc")  # at the top, and not or not only of the image


def offsets(path, size):
    """Some places in a file, the same in every run."""
    seed = hashlib.sha256(path).digest()
    return [int.from_bytes(seed[i:i + 8], "little") % size for i in range(0, 24, 8)] + [size - 1]


def digest(path, status):
    scattered = hashlib.sha256()
    whole = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        if status.st_size > 0:
            for offset in offsets(path, status.st_size):
                scattered.update(os.pread(file.fileno(), 5000, offset))
            if status.st_ino % 3 == 0:
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
                    scattered.update(memory[status.st_size // 2:status.st_size // 2 + 5000])
        while piece := file.read(PIECE):
            whole.update(piece)
    return f"{whole.hexdigest()[:32]}"


def attributes(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        return "-" if error.errno == errno.ENOTSUP else f"errno {error.errno}"
    return ",".join(f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in sorted(names)
                    if name.startswith("user."))


def line(path, shown, status, first_names, whole_seconds):
    time = status.st_mtime_ns // 1_000_000_000 if whole_seconds else status.st_mtime_ns
    parts = [shown.hex(), oct(status.st_mode), f"{status.st_uid}:{status.st_gid}", str(time)]
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFDIR:
        parts.append(f"links {status.st_nlink}")
        parts.append("as " + first_names.setdefault((status.st_dev, status.st_ino), shown).hex())
    if kind == stat.S_IFREG:
        parts += [str(status.st_size), digest(path, status)]
    elif kind == stat.S_IFLNK:
        parts.append(os.readlink(path).hex())
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        parts.append(f"{os.major(status.st_rdev)},{os.minor(status.st_rdev)}")
    parts.append(attributes(path))
    return " ".join(parts)


def walk(root, out, whole_seconds):
    first_names = {}
    pending = [b""]
    while pending:
        directory = pending.pop()
        names = os.listdir(root + b"/" + directory)
        if directory == b"":
            names = [name for name in names if name not in MACHINES_OWN]
        if len(names) != len(set(names)):
            out.write(f"{directory.hex()} has names twice\n")
        with os.scandir(root + b"/" + directory) as entries:
            types = {entry.name: (entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries}
        for name in sorted(names):
            shown = directory + b"/" + name
            path = root + shown
            status = os.lstat(path)
            if types[name] != (stat.S_ISDIR(status.st_mode), stat.S_ISLNK(status.st_mode)):
                out.write(f"{shown.hex()} has one type when listed and another when looked at\n")
            out.write(line(path, shown, status, first_names, whole_seconds) + "\n")
            if stat.S_ISDIR(status.st_mode):
                pending.append(shown)


walk(os.fsencode(sys.argv[1]).rstrip(b"/"), sys.stdout, "--whole-seconds" in sys.argv)
