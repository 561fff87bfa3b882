"""What each row should reach, beside what it is measured against. All of it is computed from what was measured."""

from dataclasses import dataclass

from engines import DURABLE, PEERS


@dataclass
class Verdict:
    """What one goal came to; `reached` is None if it could not be told."""

    goal: str
    value: str
    reached: bool | None


@dataclass
class AtLeast:
    """The rate is at least `factor` times a contestant's; of several the fastest counts. `row` is the one in which those
    have their figures, if it is another."""

    factor: float
    of: tuple
    row: str | None = None
    subject: str = "caskfs"

    def judge(self, results, row):
        goal = f"≥ {self.factor:g} × {self.of[0] if len(self.of) == 1 else 'the best of the others'}"
        mine = results.median(True, row, self.subject, "per_second")
        theirs = [results.median(True, self.row or row, name, "per_second") for name in self.of]
        theirs = [rate for rate in theirs if rate]
        if not mine or not theirs:
            return Verdict(goal, "not measured", None)
        ratio = mine / max(theirs)
        return Verdict(goal, f"{ratio:.2f}", ratio >= self.factor)


@dataclass
class Latency:
    """The median latency is at most the ceiling's and `factor` times the bare disk's."""

    factor: float
    disk: str = "disk"
    subject: str = "caskfs"

    def judge(self, results, row):
        goal = f"p50 ≤ ceiling + {self.factor:g} × {self.disk}"
        mine = results.median(True, row, self.subject, "p50_us")
        ceiling = results.median(True, row, "ceiling", "p50_us")
        disk = results.median(True, "fdatasync", self.disk, "p50_us")
        if not mine or not ceiling or not disk:
            return Verdict(goal, "not measured", None)
        limit = ceiling + self.factor * disk
        return Verdict(goal, f"{mine:.0f} of {limit:.0f} us", mine <= limit)


@dataclass
class AtMost:
    """A latency is at most `factor` times that of another contestant."""

    factor: float
    of: str
    field: str = "p50_us"

    def judge(self, results, row):
        goal = f"{self.field.removesuffix('_us')} ≤ {self.factor:g} × {self.of}"
        mine = results.median(True, row, "caskfs", self.field)
        theirs = results.median(True, row, self.of, self.field)
        if not mine or not theirs:
            return Verdict(goal, "not measured", None)
        return Verdict(goal, f"{mine / theirs:.2f}", mine <= self.factor * theirs)


@dataclass
class Within:
    """It takes so many seconds or less."""

    seconds: float

    def judge(self, results, row):
        goal = f"≤ {self.seconds:g} s"
        mine = results.median(True, row, "caskfs", "p50_us")
        if not mine:
            return Verdict(goal, "not measured", None)
        return Verdict(goal, f"{mine / 1e6:.2f} s", mine <= self.seconds * 1e6)


def ext4(factor, row=None):
    """On both filesystems, each with itself: one has discard, the other a loop device on its way to the disk."""
    return [AtLeast(factor, ("ext4",), row), AtLeast(factor, ("ext4-root",), row, subject="caskfs-root")]


def ceilings(factor):
    """The kernel checks the modes for the one and not for the other. caskfs, mounted for root alone, is the other's like."""
    return [AtLeast(factor, ("ceiling",)), AtLeast(factor, ("ceiling-unchecked",))]


def put(clients, row=None):
    """`row`: where those have their figures that are durable after an fsync only."""
    redis = AtLeast(1, ("redis",), row)
    if clients == 1:
        return [Latency(1.15), Latency(1.15, "disk-root", "caskfs-root"), *ext4(1, row), redis]
    return [*ceilings(0.8), *ext4(1.5, row), redis]


GOALS = {
    "put, close alone x1": put(1, "put x1"),
    "put, close alone x16": put(16, "put x16"),
    "put x1": put(1),
    "put x16": put(16),
    "replace x1": ext4(1.5),
    "replace x16": ext4(3),
    "get x1": ceilings(0.95),
    "get x16": ceilings(0.95),
    "cat x1": [AtMost(1.5, "ext4")],
    "stat x1": ext4(1),
    "negative x1": ext4(1),
    "list x1": ext4(1),
    "delete x1": ceilings(0.9),
    "delete x16": ceilings(0.9),
    "untar": ceilings(0.8),
    "rsync": ceilings(0.8),
    "stream-write": [AtLeast(0.8, ("ceiling",))],
    "stream-read": [AtLeast(0.8, ("ceiling",))],
    "stream-read-warm": [AtLeast(0.8, ("ext4",))],
    "sqlite, WAL": ext4(1),
    **{
        f"library {operation}": [AtLeast(1, DURABLE if operation.startswith("put") else PEERS)]
        for operation in ("put x1", "put x4", "put x16", "get x1", "get x4", "get x16", "load x1")
    },
    "open": [Within(5.0)],
    "replace x8, p99": [AtMost(2, "no-merges", "p99_us")],
    "get x8, p99": [AtMost(2, "no-merges", "p99_us")],
    **{f"{operation}, grown": [AtMost(1.3, "10,000-keys")] for operation in ("put", "cold-get", "cold-stat")},
}  # fmt: skip
