"""The parts of python3's standard library that ask most of a kernel. Prints the same wherever it runs."""

import asyncio
import concurrent.futures
import ctypes
import hashlib
import io
import json
import mmap
import multiprocessing
import os
import pathlib
import queue
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time


def threads():
    work, done = queue.Queue(), queue.Queue()

    def worker():
        while (item := work.get()) is not None:
            done.put(item * item)

    workers = [threading.Thread(target=worker) for _ in range(8)]
    for w in workers:
        w.start()
    for i in range(200):
        work.put(i)
    for w in workers:
        work.put(None)
    for w in workers:
        w.join()
    print("threads", sum(done.get() for _ in range(200)))
    event, barrier = threading.Event(), threading.Barrier(3)
    waiting = [threading.Thread(target=lambda: (barrier.wait(), event.wait())) for _ in range(2)]
    for w in waiting:
        w.start()
    barrier.wait()
    event.set()
    for w in waiting:
        w.join(10)
    print("joined", not any(w.is_alive() for w in waiting))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print("pool", list(pool.map(len, ["a", "bb", "ccc"])))


def square(x):
    return x * x


def child(connection, lock, total):
    with lock:
        total.value += 1
    connection.send(os.getppid() > 0)
    connection.close()


def processes():
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(3) as pool:
            print(method, "pool", sum(pool.map(square, range(50))))
        total, lock = context.Value("i", 0), context.Lock()
        ends = [context.Pipe() for _ in range(4)]
        children = [context.Process(target=child, args=(end[1], lock, total)) for end in ends]
        for c in children:
            c.start()
        answers = [end[0].recv() for end in ends]
        for c in children:
            c.join()
        print(method, answers, total.value, [c.exitcode for c in children])


def subprocesses():
    done = subprocess.run(["sh", "-c", "cat; echo err >&2; exit 3"], input=b"in", capture_output=True)
    print("run", done)
    first = subprocess.Popen(["seq", "1", "1000"], stdout=subprocess.PIPE)
    second = subprocess.Popen(["wc", "-l"], stdin=first.stdout, stdout=subprocess.PIPE)
    first.stdout.close()
    print("pipe", second.communicate()[0].strip(), first.wait())
    sleeper = subprocess.Popen(["sleep", "100"])
    try:
        sleeper.wait(0.05)
    except subprocess.TimeoutExpired:
        sleeper.terminate()
    print("terminated", sleeper.wait())
    try:
        subprocess.run(["/no/such/program"])
    except FileNotFoundError as error:
        print("missing", error.errno)
    big = subprocess.run(["cat"], input=b"x" * 1000000, capture_output=True).stdout
    print("big", len(big))
    print("session", subprocess.run([sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"],
                                    start_new_session=True, capture_output=True).stdout)
    environment = subprocess.run(["env"], env={"ONLY": "this"}, capture_output=True, text=True).stdout
    print("environment", environment.split())


def asynchronous():
    async def ticker(name, count):
        for _ in range(count):
            await asyncio.sleep(0.01)
        return name

    async def main():
        print("gather", await asyncio.gather(ticker("a", 3), ticker("b", 1)))
        process = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=-1, stdout=-1)
        print("subprocess", await process.communicate(b"shout"))
        path = tempfile.mktemp()

        async def serve(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(serve, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"over a socket\n")
        print("server", await reader.readline())
        writer.close()
        server.close()
        try:
            await asyncio.wait_for(asyncio.sleep(10), 0.02)
        except asyncio.TimeoutError:
            print("timeout")
        print("thread", await asyncio.to_thread(square, 12))

    asyncio.run(main())


def databases():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data.db")
        for mode in ("delete", "wal"):
            database = sqlite3.connect(path)
            print("journal", database.execute(f"pragma journal_mode={mode}").fetchone())
            database.execute("create table if not exists t (k integer primary key, v text)")
            with database:
                database.executemany("insert into t(v) values (?)", [(str(i),) for i in range(1000)])
            other = sqlite3.connect(path)
            print("rows", other.execute("select count(*), sum(k) from t").fetchone())
            try:
                with database:
                    database.execute("delete from t")
                    raise ValueError
            except ValueError:
                pass
            print("kept", other.execute("select count(*) from t").fetchone())
            other.close()
            database.close()
    print("ssl", ssl.HAS_TLSv1_3, ssl.create_default_context().check_hostname, hashlib.sha256(b"").hexdigest()[:8])


def memory():
    with tempfile.TemporaryFile() as file:
        file.write(b"a" * 10000)
        file.flush()
        with mmap.mmap(file.fileno(), 10000) as shared, mmap.mmap(file.fileno(), 10000, flags=mmap.MAP_PRIVATE) as own:
            shared[0:5] = b"HELLO"
            own[5:10] = b"mine!"
            file.seek(0)
            print("file", file.read(12), shared[:12], own[:12])
            os.pwrite(file.fileno(), b"later", 5000)
            print("written", shared[5000:5006])
            shared.resize(20000)
            print("resized", os.fstat(file.fileno()).st_size)
    anonymous = mmap.mmap(-1, 4096)
    if os.fork() == 0:
        anonymous[:4] = struct.pack("i", 12345)
        os._exit(0)
    os.wait()
    print("anonymous", struct.unpack("i", anonymous[:4]))
    print("library", ctypes.CDLL(None).abs(-3))


def signals():
    seen = []
    for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, lambda n, frame: seen.append(signal.Signals(n).name))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    while "SIGALRM" not in seen:
        signal.sigtimedwait([signal.SIGUSR2], 0.2)
    if os.fork() == 0:
        os._exit(7)
    pid, status = os.wait()
    print("signals", seen, os.waitstatus_to_exitcode(status))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    os.kill(os.getpid(), signal.SIGUSR2)
    print("pending", signal.sigpending(), signal.sigwait([signal.SIGUSR2]))
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    child_pid = os.fork()
    if child_pid == 0:
        time.sleep(100)
    os.kill(child_pid, signal.SIGSTOP)
    print("stopped", os.WIFSTOPPED(os.waitpid(child_pid, os.WUNTRACED)[1]))
    os.kill(child_pid, signal.SIGKILL)
    print("killed", os.waitstatus_to_exitcode(os.waitpid(child_pid, 0)[1]))


def selecting():
    reader, writer = os.pipe()
    print("select", select.select([reader], [writer], [], 0)[0], bool(select.select([], [writer], [], 0)[1]))
    os.write(writer, b"x")
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    poller.register(writer, select.POLLOUT)
    print("poll", sorted(event for _, event in poller.poll(0)))
    with select.epoll() as epoll:
        epoll.register(reader, select.EPOLLIN | select.EPOLLET)
        print("epoll", [event for _, event in epoll.poll(1)], epoll.poll(0.01))
    left, right = socket.socketpair()
    left.sendall(b"abc")
    print("socket", right.recv(10), select.select([right], [], [], 0.01)[0])
    socket.send_fds(left, [b"fd"], [reader])
    data, fds, _, _ = socket.recv_fds(right, 10, 1)
    print("passed", data, os.read(fds[0], 1))
    left.close()
    print("closed", right.recv(1))


def files():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "a/b").mkdir(parents=True)
        for i in range(300):
            (root / "a/b" / f"{i:03}").write_text("x" * i)
        shutil.copytree(root / "a", root / "copy")
        print("tree", len(list((root / "copy").rglob("*"))), sum(p.stat().st_size for p in (root / "copy/b").iterdir()))
        shutil.make_archive(str(root / "archive"), "gztar", root / "a")
        shutil.unpack_archive(root / "archive.tar.gz", root / "unpacked")
        print("archive", len(list((root / "unpacked/b").iterdir())))
        shutil.rmtree(root / "copy")
        print("left", sorted(p.name for p in root.iterdir()))
        with open(root / "sparse", "wb") as file:
            file.seek(5 << 30)
            file.write(b"end")
        status = os.stat(root / "sparse")
        print("sparse", status.st_size, status.st_blocks < 100)
        os.symlink("loop", root / "loop")
        for wrong in (root / "loop", root / ("n" * 256), root / "sparse/x"):
            try:
                open(wrong)
            except OSError as error:
                print("error", error.errno)
        with open(root / "locked", "w") as file:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.lockf(file, fcntl.LOCK_EX)
            print("locked", subprocess.run(["flock", "-n", root / "locked", "true"]).returncode)
        os.utime(root / "locked", ns=(10**18, 10**18 + 123456789))
        print("times", os.stat(root / "locked").st_mtime_ns)
        buffer = io.BytesIO(b"text")
        print("json", json.load(io.StringIO('{"a": [1, 2.5, null]}')), buffer.read())
        print("names", sorted(os.listdir(os.fsencode(root)))[:2], os.path.exists("/proc/self/exe"))


if __name__ == "__main__":
    for part in (threads, processes, subprocesses, asynchronous, databases, memory, signals, selecting, files):
        print("--", part.__name__, flush=True)
        part()
        sys.stdout.flush()
