"""What the testers of tests/stress run on: a tree with something of everything, the same one each time, and an image of
it in each format."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import stat
import subprocess
import tarfile

from harness import TEACUP

PROGRAMS = TEACUP.parent / "tests/stress"
# gzip.squashfs and so on say by which compressor; without, as the packer does it.
FORMATS = tuple(os.environ.get("TEACUP_FORMATS", "erofs lz4.erofs squashfs ext4 tar oci directory").split())


def make_tree(top, rich=True):
    """A tree at top/work; with rich also owners, devices and attributes, as far as who makes it may. The same each time."""
    rng = random.Random(5)
    work = pathlib.Path(top) / "work"
    work.mkdir(parents=True)
    for directory in ("a", "a/b", "a/b/c", "d0", "d0/d1", "d1", "d2", "many"):
        (work / directory).mkdir()
    for size in (0, 1, 60, 4095, 4096, 4097, 65536, 200_000):
        (work / f"a/{size}").write_bytes(rng.randbytes(size))
        (work / f"d0/text{size}").write_bytes((b"a line of text, and again. " * (size // 27 + 1))[:size])
    for number in range(150):
        (work / f"many/file{number}").write_bytes(b"%d" % number)
    with open(work / "hollow", "wb") as hollow:
        for at in (0, 70_000, 300_000):
            hollow.seek(at)
            hollow.write(rng.randbytes(5000))
        hollow.truncate(600_000)
    os.link(work / "a/4096", work / "a/b/hard")
    os.link(work / "a/4096", work / "hard")
    for name, target in (("l0", "a/b"), ("l1", "a/60"), ("d1/l0", "../a/4097"), ("loop", "loop"), ("dangling", "none"), ("d2/far", "x" * 300)):
        os.symlink(target, work / name)
    os.chmod(work / "a/1", 0o600)
    os.chmod(work / "d1", 0o2775)
    os.chmod(work / "d2", 0o1770)
    if rich:
        os.mkfifo(work / "d0/fifo")
        for path, name, value in (("a/60", "user.a", b"value"), ("a/60", "user.of the tree", bytes(200)), ("d0", "user.b", b"b")):
            os.setxattr(work / path, name, value)
        if os.geteuid() == 0:
            os.setxattr(work / "a/4095", "trusted.a", b"trusted")
            os.mknod(work / "d0/null", 0o20666, os.makedev(240, 77))
            for path, owner in (("d0", 1000), ("d0/text60", 1000), ("d1", 1001), ("a/0", 1001), ("d2", 1000)):
                os.chown(work / path, owner, 1001)
    paths = [os.path.join(folder, name) for folder, folders, files in os.walk(work) for name in folders + files]
    for number, path in enumerate([*sorted(paths), str(work)]):
        os.utime(path, (10**9 + number, 10**9 + number), follow_symlinks=False)
    return work


def make_image(kind, top):
    """The image of such a tree, with the programs of tests/stress in /t."""
    top = pathlib.Path(top)
    # Directories have neither devices nor attributes nor other owners (docs/files.md).
    folder = top / ("poor" if kind == "directory" else "rich")
    if not folder.exists():
        make_tree(folder, kind != "directory")
        (folder / "t").mkdir()
        for name in ("fsx", "fsstress", "fsmodel"):
            shutil.copy(PROGRAMS / name, folder / "t")
    image = top / f"image.{kind}"
    if kind == "directory":
        return folder
    if kind == "lz4.erofs":
        subprocess.run(["mkfs.erofs", "-zlz4", image, folder], check=True, capture_output=True)
    elif kind.endswith(".squashfs"):
        subprocess.run([TEACUP, "pack", "-q", "--compression", kind.split(".")[0], folder, image], check=True)
    elif kind == "tar":
        image.write_bytes(tar_of(folder))
    elif kind == "oci":
        make_layout(folder, image)
    else:
        subprocess.run([TEACUP, "pack", "-q", folder, image], check=True)
    return image


def gnu_tar_of(folder):
    """By GNU tar, which is quick and keeps holes, but here no attributes."""
    return subprocess.run(["tar", "--format=pax", "-S", "--numeric-owner", "-C", folder, "-c", "."], check=True,
                          capture_output=True).stdout


def tar_of(folder, *more):
    """A tar archive of a tree; tarfile leaves out attributes, so they go in as pax headers, where other tars have them."""
    def with_attributes(member):
        path = folder / member.name
        if not stat.S_ISLNK(path.lstat().st_mode):
            for name in os.listxattr(path):
                member.pax_headers[f"SCHILY.xattr.{name}"] = os.getxattr(path, name).decode("ascii")
        return member
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in more:
            archive.addfile(tarfile.TarInfo(name))
        archive.add(folder, ".", filter=with_attributes)
    return out.getvalue()


def make_layout(folder, image, archive=None):
    """An OCI layout: the tree, or the archive of it, in the upper layer, what it takes away again in the lower one."""
    blobs = image / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data):
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    empty = image.parent / "nothing"
    empty.mkdir(exist_ok=True)
    kind = "application/vnd.oci.image."
    layers = [dict(blob(gzip.compress(data, 1)), mediaType=kind + "layer.v1.tar+gzip")
              for data in (tar_of(empty, "work/gone", "work/d0/gone"),
                           archive or tar_of(folder, "work/.wh.gone", "work/d0/.wh.gone"))]
    config = dict(blob(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()),
                  mediaType=kind + "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "config": config, "layers": layers}
    manifest = dict(blob(json.dumps(manifest).encode()), mediaType=kind + "manifest.v1+json")
    (image / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (image / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
