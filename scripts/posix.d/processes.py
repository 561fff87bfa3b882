"""processes.py CASE DIRECTORY: several processes, one file."""

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct
import sys
import time

OFD_SETLK, OFD_SETLKW = 37, 38  # fcntl(2); not in every Python


def child(work):
    """Runs `work` in a process of its own and returns its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def wait_for(*pids):
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"a child ended with status {status}"


def lock(fd, command, kind):
    """struct flock: type, whence, start, length, pid."""
    fcntl.fcntl(fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0))


def is_locked(take):
    try:
        take()
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.EACCES), error
        return True
    return False


def excludes(path, take, blocking, release):
    """A lock keeps another process out; 4 that count under it lose no step."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    take(fd)

    def other():
        own = os.open(path, os.O_RDWR)
        assert is_locked(lambda: take(own))

    wait_for(child(other))
    release(fd)

    def count():
        own = os.open(path, os.O_RDWR)
        for _ in range(300):
            blocking(own)
            value = int(os.pread(own, 8, 0) or b"0")
            os.pwrite(own, b"%8d" % (value + 1), 0)
            release(own)

    wait_for(*[child(count) for _ in range(4)])
    assert int(os.pread(fd, 8, 0)) == 1200, os.pread(fd, 8, 0)
    os.close(fd)


def flock(path):
    excludes(
        path,
        lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
        lambda fd: fcntl.flock(fd, fcntl.LOCK_EX),
        lambda fd: fcntl.flock(fd, fcntl.LOCK_UN),
    )


def posix_locks(path):
    excludes(
        path,
        lambda fd: lock(fd, fcntl.F_SETLK, fcntl.F_WRLCK),
        lambda fd: lock(fd, fcntl.F_SETLKW, fcntl.F_WRLCK),
        lambda fd: lock(fd, fcntl.F_SETLK, fcntl.F_UNLCK),
    )


def ofd_locks(path):
    excludes(
        path,
        lambda fd: lock(fd, OFD_SETLK, fcntl.F_WRLCK),
        lambda fd: lock(fd, OFD_SETLKW, fcntl.F_WRLCK),
        lambda fd: lock(fd, OFD_SETLK, fcntl.F_UNLCK),
    )
    # They belong to the open file: another one in the same process is kept out too, and a duplicate is not.
    first, second = (os.open(path, os.O_RDWR) for _ in range(2))
    lock(first, OFD_SETLK, fcntl.F_WRLCK)
    assert is_locked(lambda: lock(second, OFD_SETLK, fcntl.F_WRLCK))
    lock(os.dup(first), OFD_SETLK, fcntl.F_WRLCK)


def killed_while_blocked(path):
    """kill -9 ends who waits for a lock, and frees what was held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(fd, fcntl.LOCK_EX)
    blocked = child(lambda: fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX))
    # Until it sleeps in the call.
    while True:
        with open(f"/proc/{blocked}/wchan") as where, open(f"/proc/{blocked}/stat") as stat:
            state = stat.read().rsplit(")", 1)[1].split()[0]
            assert state != "Z", "it did not wait for the lock"
            if state == "S" and "lock" in where.read():
                break
        time.sleep(0.01)
    os.kill(blocked, signal.SIGKILL)
    assert os.waitpid(blocked, 0)[1] == signal.SIGKILL
    fcntl.flock(fd, fcntl.LOCK_UN)
    reader, writer = os.pipe()

    def hold():
        fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
        os.write(writer, b"held")
        signal.pause()

    holder = child(hold)
    assert os.read(reader, 4) == b"held"
    assert is_locked(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def shared_mapping(path):
    """Four processes count in one mapped page."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, 8192)

    def count():
        own = os.open(path, os.O_RDWR)
        with mmap.mmap(own, 8192) as pages:
            for _ in range(500):
                fcntl.flock(own, fcntl.LOCK_EX)
                value = struct.unpack_from("q", pages, 4096)[0]
                struct.pack_into("q", pages, 4096, value + 1)
                fcntl.flock(own, fcntl.LOCK_UN)

    wait_for(*[child(count) for _ in range(4)])
    assert struct.unpack("q", os.pread(fd, 8, 4096))[0] == 2000
    os.close(fd)
    with open(path, "rb") as file:
        assert struct.unpack_from("q", file.read(), 4096)[0] == 2000


def mapping_and_read(path):
    """What one process writes another has mapped, and the other way round, without a sync."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, 1 << 20)
    with mmap.mmap(fd, 1 << 20) as pages:
        for step in range(0, 1 << 20, 5003):
            def write():
                os.pwrite(os.open(path, os.O_WRONLY), b"written", step)

            def look():
                assert os.pread(os.open(path, os.O_RDONLY), 6, step) == b"mapped"

            if step + 7 < 1 << 20:
                wait_for(child(write))
                assert pages[step : step + 7] == b"written"
                pages[step : step + 6] = b"mapped"
                wait_for(child(look))
    # A mapping outlives its descriptor and its name.
    pages = mmap.mmap(fd, 1 << 20)
    os.close(fd)
    os.rename(path, path + "2")
    pages[:4] = b"late"
    pages.flush()
    with open(path + "2", "rb") as file:
        assert file.read(4) == b"late"


def private_mapping(path):
    """A private mapping keeps its changes to itself; one behind the end is SIGBUS."""
    with open(path, "wb") as file:
        file.write(b"a" * 4096)
    fd = os.open(path, os.O_RDWR)
    pages = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE)
    pages[:4] = b"mine"
    assert os.pread(fd, 4, 0) == b"aaaa"

    def behind():
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        shared = mmap.mmap(fd, 4096)
        os.ftruncate(fd, 0)
        shared[0]

    pid = child(behind)
    assert os.waitpid(pid, 0)[1] & 0x7F == signal.SIGBUS


def fork_and_write(path):
    """Parent and child write through one description, whose offset they share: nothing is overwritten."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, b"before\n")

    def write(who):
        for number in range(500):
            os.write(fd, b"%s %04d\n" % (who, number))

    pid = child(lambda: write(b"child"))
    write(b"again")
    wait_for(pid)
    os.close(fd)
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    wanted = [b"before", b""] + [b"%s %04d" % (who, n) for who in (b"child", b"again") for n in range(500)]
    assert sorted(lines) == sorted(wanted), f"{len(lines)} lines"


def append(path):
    """Eight processes append: each record is there once and whole, and each process's in order."""
    def write(who):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for number in range(300):
            record = b"%d %04d " % (who, number)
            assert os.write(fd, record.ljust(100 + who * 77, b".") + b"\n") == 101 + who * 77

    wait_for(*[child(lambda who=who: write(who)) for who in range(8)])
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    assert len(lines) == 2400, len(lines)
    for who in range(8):
        own = [line for line in lines if line.startswith(b"%d " % who)]
        wanted = [(b"%d %04d " % (who, number)).ljust(100 + who * 77, b".") for number in range(300)]
        assert own == wanted


def direct(path):
    """O_DIRECT and the page cache show the same bytes."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    cached = os.open(path, os.O_RDWR)
    pages = mmap.mmap(-1, 65536)  # aligned to a page
    for number in range(64):
        pages[:] = bytes([number]) * 65536
        assert os.pwritev(fd, [pages], number * 65536) == 65536
        assert os.pread(cached, 65536, number * 65536) == bytes([number]) * 65536
        os.pwrite(cached, b"cached" + bytes([number]), number * 65536 + 4096)
        assert os.preadv(fd, [pages], number * 65536) == 65536
        assert pages[4096:4103] == b"cached" + bytes([number])
    assert os.fstat(fd).st_size == 64 * 65536


def synced(path):
    for flag in (os.O_SYNC, os.O_DSYNC):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | flag, 0o644)
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & flag == flag
        for number in range(50):
            assert os.write(fd, b"%04d" % number) == 4
        assert os.pread(fd, 1000, 0) == b"".join(b"%04d" % number for number in range(50))
        os.close(fd)


def unlinked(path):
    """A file without a name is whole for who has it open, in a child too, and can be reopened through /proc."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"kept")
    os.unlink(path)
    assert os.fstat(fd).st_nlink == 0
    os.pwrite(fd, b"more", 4)

    def look():
        assert os.pread(fd, 8, 0) == b"keptmore"
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        assert os.pread(again, 8, 0) == b"keptmore"

    wait_for(child(look))
    os.ftruncate(fd, 2)
    os.fchmod(fd, 0o600)
    assert os.fstat(fd).st_size == 2 and os.fstat(fd).st_mode & 0o777 == 0o600


def tmpfile(path):
    """A file without a name is made, or refused in the way that programs know."""
    try:
        fd = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP, error
        return
    os.write(fd, b"value")
    # Python's own link() does not pass AT_SYMLINK_FOLLOW.
    assert ctypes.CDLL(None).linkat(-100, b"/proc/self/fd/%d" % fd, -100, path.encode(), 0x400) == 0
    with open(path, "rb") as file:
        assert file.read() == b"value"


def privileges(path):
    """What an ordinary user does to a set-user-ID file takes the bit away; what root does leaves it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

    def fallocate(mode):
        def change(fd):
            assert libc.fallocate(fd, mode, 0, 8192) == 0, os.strerror(ctypes.get_errno())
        return change

    changes = {
        "write": lambda fd: os.write(fd, b"value"),
        "truncate": lambda fd: os.ftruncate(fd, 10),
        "extend": lambda fd: os.ftruncate(fd, 100_000),
        "O_TRUNC": lambda fd: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
        "reserve": fallocate(0),
        "punch": fallocate(3),
        "zero": fallocate(16),
        "copy": lambda fd: os.copy_file_range(fd, fd, 4096, 0, 8192),
    }
    wrong = []
    for user in (65534, 0):
        for name, change in changes.items():
            with open(path, "wb") as file:
                file.write(b"x" * 20_000)
            os.chown(path, 65534, 65534)
            os.chmod(path, 0o6777)

            def act():
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                change(os.open(path, os.O_RDWR))

            wait_for(child(act))
            mode = os.stat(path).st_mode & 0o7777
            if mode != (0o6777 if user == 0 else 0o777):
                wrong.append(f"{name} by {user}: {mode:o}")
            os.unlink(path)
    assert not wrong, wrong


CASES = [flock, posix_locks, ofd_locks, killed_while_blocked, shared_mapping, mapping_and_read, private_mapping,
         fork_and_write, append, direct, synced, unlinked, tmpfile, privileges]
{case.__name__: case for case in CASES}[sys.argv[1]](os.path.join(sys.argv[2], sys.argv[1]))
