"""fallocate.py FILE SEED OPERATIONS LENGTH: random writes, truncates and fallocates, compared with what they mean."""

import ctypes
import errno
import os
import random
import sys

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, offset, length) != 0:
        raise OSError(ctypes.get_errno(), f"fallocate({mode}, {offset}, {length})")


def check(fd, model):
    size = os.fstat(fd).st_size
    assert size == len(model), f"the size is {size} instead of {len(model)}"
    read = os.pread(fd, len(model) + 1, 0)
    assert read == model, f"byte {next(i for i in range(len(model)) if read[i:i + 1] != model[i:i + 1])} is wrong"


def check_holes(fd, model):
    """Whatever is said to be a hole is zeros, and data and holes take turns up to the end."""
    at = 0
    while at < len(model):
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO, error
            data = len(model)
        assert at <= data <= len(model)
        assert not any(model[at:data]), f"{at} to {data} is said to be a hole"
        if data == len(model):
            break
        at = os.lseek(fd, data, os.SEEK_HOLE)
        assert data < at <= len(model), f"the data at {data} ends at {at}"
    for past in (os.SEEK_DATA, os.SEEK_HOLE):
        try:
            os.lseek(fd, len(model), past)
        except OSError as error:
            assert error.errno == errno.ENXIO, error
        else:
            raise AssertionError("there is something behind the end")


def main():
    path, seed, operations, length = sys.argv[1], *map(int, sys.argv[2:])
    chance = random.Random(seed)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    model = b""
    for number in range(operations):
        offset = chance.randrange(length)
        count = chance.randrange(1, length // 4)
        if chance.random() < 0.3:  # whole blocks too
            offset, count = offset & ~4095, max(count & ~4095, 4096)
        end = offset + count
        kind = chance.choice(["write", "write", "truncate", "reserve", "keep", "punch", "zero", "zero_keep", "sync", "open"])
        before = model
        padded = model.ljust(end, b"\0")
        zeroed = padded[:offset] + bytes(count) + padded[end:]
        if kind == "write":
            data = chance.randbytes(count)
            assert os.pwrite(fd, data, offset) == count
            model = padded[:offset] + data + padded[end:]
        elif kind == "truncate":
            os.ftruncate(fd, offset)
            model = model[:offset].ljust(offset, b"\0")
        elif kind == "reserve":
            fallocate(fd, 0, offset, count)
            model = padded
        elif kind == "keep":
            fallocate(fd, KEEP_SIZE, offset, count)
        elif kind == "punch":
            fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, count)
            model = zeroed[: len(model)]
        elif kind == "zero":
            fallocate(fd, ZERO_RANGE, offset, count)
            model = zeroed
        elif kind == "zero_keep":
            fallocate(fd, ZERO_RANGE | KEEP_SIZE, offset, count)
            model = zeroed[: len(model)]
        elif kind == "sync" and number % 8 == 0:
            os.fsync(fd)
        elif kind == "open":
            os.close(fd)
            fd = os.open(path, os.O_RDWR)
        try:
            check(fd, model)
            if number % 16 == 0:
                check_holes(fd, model)
        except AssertionError:
            print(f"operation {number}, {kind} at {offset} of {count}, in a file of {len(before)}", file=sys.stderr)
            raise
    os.close(fd)
    os.unlink(path)


main()
