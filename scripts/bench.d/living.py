"""How a store ages: while it merges, and when it has grown."""

from contextlib import contextmanager

from contestants import Caskfs
from workshop import Failed


class Merging:
    """Keys are replaced and read at the same time, in a log of small segments that are soon dead."""

    name = "merging"
    title = "While the store merges"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.scale = scale
        small = ("--segment-size", "256K")
        self.contestants = [Caskfs(options=small), Caskfs("no-merges", options=(*small, "--merge-window", "never"))]

    def measure(self, workshop, contestant, place, results):
        output = workshop.run(
            workshop.program("directory"), place, "--keys", 500, "--seconds", self.scale.merging, "--clients", 8,
            "--operations", "replace,get", "--together",
        )  # fmt: skip
        merges = int(counter(place, "caskfs_merges_total"))
        if (merges > 0) != (contestant.name == "caskfs"):
            raise Failed(f"{merges} merges were completed while it was measured")
        results.lines(workshop.pinned, lambda m: f"{m['operation']} x{m['clients']}, p99", contestant.name, output)


def counter(place, name):
    """A figure of a mounted store."""
    lines = (place / ".caskfs/stats").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name} "))


class Filled(Caskfs):
    """A store that is filled once, without a mount, and mounted in each repetition."""

    def __init__(self, name, keys):
        super().__init__(name, options=("--merge-window", "never"))
        self.keys = keys
        self.store = None

    def missing(self, workshop):
        return None if workshop.program("peers").exists() else "benches/peers was not built"

    @contextmanager
    def running(self, workshop):
        if not self.store:
            self.store = workshop.filled("caskfs", self.name, self.keys)
        with super().running(workshop) as mountpoint:
            yield mountpoint

    def start(self, workshop, home, mountpoint):
        return workshop.start(workshop.program("caskfs"), "mount", "--foreground", *self.options, self.store, mountpoint)


class Growth:
    """Each key is asked for once after a mount, so that the daemon answers and not the kernel's cache."""

    name = "growth"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.title = f"From ten thousand keys to {scale.opened:,}"
        self.scale = scale
        self.runs = 0
        self.contestants = [Filled("10,000-keys", 10_000), Filled("caskfs", scale.opened)]

    def measure(self, workshop, contestant, place, results):
        self.runs += 1
        run = [workshop.program("directory")]
        output = workshop.run(*run, place, "--operations", "cold-stat,cold-get", "--existing", contestant.keys, "--size", 64)
        output += workshop.run(
            *run, place / f"run-{self.runs}", "--operations", "put", "--seconds", self.scale.seconds, "--size", 64
        )
        results.lines(workshop.pinned, lambda m: f"{m['operation']}, grown", contestant.name, output)
