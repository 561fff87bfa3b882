"""directories.py CASE DIRECTORY NAMES: directories as readdir(3), telldir(3) and seekdir(3) show them."""

import ctypes
import errno
import os
import random
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = libc.closedir.argtypes = libc.rewinddir.argtypes = libc.readdir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


class Entry(ctypes.Structure):
    _fields_ = [("inode", ctypes.c_uint64), ("offset", ctypes.c_int64), ("length", ctypes.c_uint16),
                ("kind", ctypes.c_uint8), ("name", ctypes.c_char * 256)]


libc.readdir.restype = ctypes.POINTER(Entry)


class Directory:
    """An open directory stream."""

    def __init__(self, path):
        self.stream = libc.opendir(os.fsencode(path))
        assert self.stream, os.strerror(ctypes.get_errno())

    def read(self):
        entry = libc.readdir(self.stream)
        return entry.contents.name if entry else None

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, place):
        libc.seekdir(self.stream, place)

    def rest(self):
        return list(iter(self.read, None))

    def close(self):
        libc.closedir(self.stream)


def make(path, names):
    os.mkdir(path)
    for name in names:
        os.close(os.open(os.path.join(os.fsencode(path), name), os.O_WRONLY | os.O_CREAT))


def clear(path):
    for name in os.listdir(os.fsencode(path)):
        os.unlink(os.path.join(os.fsencode(path), name))
    os.rmdir(path)


def numbered(count, prefix=b"key"):
    return [prefix + b"%d" % number for number in range(count)]


def listed(path, count):
    """Each name once, with its inode, also through a stream that is rewound."""
    names = numbered(count)
    make(path, names)
    stream = Directory(path)
    for _ in range(2):
        found = stream.rest()
        assert sorted(found) == sorted(names + [b".", b".."]), f"{len(found)} names"
        libc.rewinddir(stream.stream)
    stream.close()
    with os.scandir(path) as entries:
        assert all(entry.inode() == entry.stat().st_ino for entry in entries)
    clear(path)


def seekdir(path, count):
    """From each place that telldir gave the listing goes on as it did then."""
    make(path, numbered(count))
    stream = Directory(path)
    places, found = [stream.tell()], []
    while (name := stream.read()) is not None:
        found.append(name)
        places.append(stream.tell())
    chance = random.Random(5)
    for index in [0, len(found) - 1, *chance.sample(range(len(found)), 500)]:
        stream.seek(places[index])
        assert stream.read() == found[index]
        assert stream.read() == (found[index + 1] if index + 1 < len(found) else None)
    # When its neighbours go, a place stays what it is: in this stream, which may still show them, and in a new one.
    middle = len(found) // 2
    gone = {name for name in found[middle - 50 : middle + 50] if name not in (b".", b"..", found[middle])}
    for name in gone:
        os.unlink(os.path.join(os.fsencode(path), name))
    left = [name for name in found[middle:] if name not in gone]
    stream.seek(places[middle])
    assert [name for name in stream.rest() if name not in gone] == left
    stream.close()
    stream = Directory(path)
    assert stream.rest() == [name for name in found if name not in gone]
    stream.seek(places[middle])
    assert stream.rest() == left
    stream.close()
    clear(path)


def changed(path, count):
    """While half of the names go and others come, those that stay are shown exactly once in each listing."""
    stay, go = numbered(count // 2, b"stay"), numbered(count // 2, b"go")
    mixed = stay + go
    random.Random(6).shuffle(mixed)
    make(path, mixed)
    at = lambda name: os.path.join(os.fsencode(path), name)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for number, name in enumerate(go):
                os.close(os.open(at(b"come%d" % number), os.O_WRONLY | os.O_CREAT))
                if number % 3 == 0:
                    os.rename(at(name), at(b"renamed%d" % number))
                else:
                    os.unlink(at(name))
            status = 0
        finally:
            os._exit(status)
    listings = 0
    ended = 0
    while ended == 0:
        ended, status = os.waitpid(pid, os.WNOHANG)
        stream = Directory(path)
        found = stream.rest()
        stream.close()
        listings += 1
        kept = [name for name in found if name.startswith(b"stay")]
        assert len(kept) == len(stay) and set(kept) == set(stay), f"listing {listings}: {len(kept)} of {len(stay)} names"
        assert len(found) == len(set(found)), f"listing {listings} repeats names"
    assert status == 0
    print(f"{listings} listings meanwhile")
    assert sum(name.startswith((b"come", b"renamed")) for name in found) == len(go) + (len(go) + 2) // 3
    clear(path)


def removed(path, count):
    """Whoever removes what a listing shows, while it goes on, removes everything."""
    make(path, numbered(count))
    with os.scandir(path) as entries:
        for entry in entries:
            os.unlink(entry.path)
    os.rmdir(path)


def any_bytes(path, _):
    chance = random.Random(7)
    names = {bytes([byte]) for byte in range(1, 256)} - {b"/", b"."}
    names |= {b"...", b".hidden", b" ", b"\n", b"-rf", b"\xff\xfe", "käse".encode(), b"a" * 255, b"\xf0" * 255}
    for length in (2, 3, 100, 254, 255):
        names |= {bytes(chance.choice([b for b in range(1, 256) if b != 47]) for _ in range(length)) for _ in range(50)}
    names -= {b".."}
    make(path, names)
    assert set(os.listdir(os.fsencode(path))) == names
    for name in names:
        full = os.path.join(os.fsencode(path), name)
        with open(full, "wb") as file:
            file.write(name)
    for name in names:
        with open(os.path.join(os.fsencode(path), name), "rb") as file:
            assert file.read() == name
    for name, wrong in ((b"a" * 256, errno.ENAMETOOLONG), (b"none", errno.ENOENT)):
        try:
            os.stat(os.path.join(os.fsencode(path), name))
        except OSError as error:
            assert error.errno == wrong
        else:
            raise AssertionError(name)
    clear(path)


def long_paths(path, _):
    """A tree deeper than PATH_MAX, and symbolic links as long as they may be."""
    os.mkdir(path)
    start = os.open(path, os.O_DIRECTORY)
    here = os.dup(start)
    name = "d" * 200
    for _ in range(40):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("key", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    assert os.listdir(here) == ["key"]
    target = "../" * 1364 + "abc"  # 4095 bytes
    os.symlink(target, "link", dir_fd=here)
    assert os.readlink("link", dir_fd=here) == target
    assert os.stat("link", dir_fd=here, follow_symlinks=False).st_size == 4095
    try:
        os.symlink(target + "d", "longer", dir_fd=here)
    except OSError as error:
        assert error.errno == errno.ENAMETOOLONG
    else:
        raise AssertionError("a target of 4,096 bytes was taken")
    try:
        os.stat(path + ("/" + name) * 40)
    except OSError as error:
        assert error.errno == errno.ENAMETOOLONG
    else:
        raise AssertionError("a path of 8,000 bytes was taken")
    os.unlink("link", dir_fd=here)
    os.unlink("key", dir_fd=here)
    for _ in range(40):
        above = os.open("..", os.O_DIRECTORY, dir_fd=here)
        os.rmdir(name, dir_fd=above)
        os.close(here)
        here = above
    assert os.listdir(here) == []
    os.rmdir(path)


def statfs(path, _):
    """What df shows makes sense, and adds up with what is put in."""
    def look():
        said = os.statvfs(os.path.dirname(path))
        assert said.f_namemax == 255 and said.f_frsize > 0 and said.f_bsize > 0
        assert said.f_blocks >= said.f_bfree >= said.f_bavail > 0
        assert said.f_files >= said.f_ffree >= said.f_favail
        return said

    before = look()
    used = before.f_files - before.f_ffree
    make(path, numbered(100))
    after = look()
    if before.f_files:  # some filesystems do not count inodes
        # Others of the machine may use the same disk, but only we use a store of our own.
        assert after.f_files - after.f_ffree >= used + 101, (used, after.f_files - after.f_ffree)
    with open(path + "/big", "wb") as file:
        file.write(os.urandom(32 << 20))
        os.fsync(file.fileno())
        blocks = os.fstat(file.fileno()).st_blocks
    assert 32 << 20 <= blocks * 512 < 40 << 20, blocks
    look()
    clear(path)


CASES = [listed, seekdir, changed, removed, any_bytes, long_paths, statfs]
{case.__name__: case for case in CASES}[sys.argv[1]](os.path.join(sys.argv[2], sys.argv[1]), int(sys.argv[3]))
