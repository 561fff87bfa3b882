"""caskfs's library beside other embedded stores."""

from contextlib import contextmanager

PEERS = ("redb", "fjall", "lmdb", "rocksdb", "sled")
# sled's flush is a sync_file_range, which leaves the disk's write cache and the file's metadata alone: its puts are shown,
# and not held against others that wait for the disk.
DURABLE = tuple(name for name in PEERS if name != "sled")
THREADS = "1,4,16"


class Engine:
    """A fresh directory of an engine."""

    def __init__(self, name):
        self.name = name

    def missing(self, workshop):
        if not workshop.program("peers").exists():
            return "benches/peers was not built"
        return None

    @contextmanager
    def running(self, workshop):
        directory = workshop.fresh(self.name)
        workshop.settle()
        yield directory
        workshop.remove(directory)


class Library:
    name = "library"
    title = "The library"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.scale = scale
        self.contestants = [Engine(name) for name in ("caskfs", *PEERS)]

    def measure(self, workshop, contestant, place, results):
        run = [workshop.program("peers"), contestant.name, place / "store"]
        output = workshop.run(
            *run, "--operations", "load,get,put", "--threads", THREADS, "--keys", self.scale.loaded, "--seconds", self.scale.seconds
        )
        results.lines(workshop.pinned, lambda m: f"library {m['operation']} x{m['clients']}", contestant.name, output)


class Kept(Engine):
    """The directory of an engine that is filled once, and opened in each repetition."""

    def __init__(self, name, keys):
        super().__init__(name)
        self.keys = keys
        self.directory = None

    @contextmanager
    def running(self, workshop):
        if not self.directory:
            # Not on the measured disk: it is too small for all of them, and an open waits for no sync.
            self.directory = workshop.filled(self.name, self.name, self.keys, workshop.scratch)
            workshop.settle()
        yield self.directory


class Opening:
    """A store of many small values, in a process of its own each time; its files are in the page cache."""

    name = "opening"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.title = f"Opening a store with {scale.opened:,} keys"
        self.scale = scale
        self.contestants = [Kept(name, scale.opened) for name in ("caskfs", *PEERS)]

    def measure(self, workshop, contestant, place, results):
        output = workshop.run(
            workshop.program("peers"), contestant.name, place, "--operations", "open", "--keys", self.scale.opened
        )
        results.lines(workshop.pinned, lambda m: "open", contestant.name, output)
