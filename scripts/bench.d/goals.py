"""What each row should reach, beside what it is measured against. All of it is computed from what was measured."""

from dataclasses import dataclass

from engines import DURABLE, PEERS


@dataclass
class Verdict:
    """`ratio`: how much there is of what there should be, more than 1 being reached; None: could not be told."""

    goal: str
    value: str
    reached: bool | None


@dataclass
class AtLeast:
    """The rate is at least `factor` times a contestant's; of several the fastest counts."""

    factor: float
    of: tuple
    row: str | None = None

    def judge(self, results, row, subject="caskfs"):
        goal = f"≥ {self.factor:g} × {' or '.join(self.of) if len(self.of) < 3 else 'the best of the others'}"
        mine = results.median(True, row, subject, "per_second")
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

    def judge(self, results, row, subject="caskfs"):
        goal = f"p50 ≤ ceiling + {self.factor:g} × disk"
        mine = results.median(True, row, subject, "p50_us")
        ceiling = results.median(True, row, "ceiling", "p50_us")
        disk = results.median(True, "disk", "disk", "p50_us")
        if not mine or not ceiling or not disk:
            return Verdict(goal, "not measured", None)
        limit = ceiling + self.factor * disk
        return Verdict(goal, f"{mine:.0f} of {limit:.0f} us", mine <= limit)


@dataclass
class AtMost:
    """A figure of the subject is at most `factor` times that of another contestant."""

    factor: float
    of: str
    field: str = "p50_us"

    def judge(self, results, row, subject="caskfs"):
        goal = f"{self.field.removesuffix('_us')} ≤ {self.factor:g} × {self.of}"
        mine = results.median(True, row, subject, self.field)
        theirs = results.median(True, row, self.of, self.field)
        if not mine or not theirs:
            return Verdict(goal, "not measured", None)
        return Verdict(goal, f"{mine / theirs:.2f}", mine <= self.factor * theirs)


@dataclass
class Within:
    """It takes so many seconds or less."""

    seconds: float

    def judge(self, results, row, subject="caskfs"):
        goal = f"≤ {self.seconds:g} s"
        mine = results.median(True, row, subject, "p50_us")
        if not mine:
            return Verdict(goal, "not measured", None)
        return Verdict(goal, f"{mine / 1e6:.2f} s", mine <= self.seconds * 1e6)


EXT4 = ("ext4", "ext4-root")

GOALS = {
    "put, close alone x1": [Latency(1.15), AtLeast(1, EXT4, "put x1"), AtLeast(1, ("redis",), "put x1")],
    "put, close alone x16": [
        AtLeast(0.8, ("ceiling",)), AtLeast(1.5, EXT4, "put x16"), AtLeast(1, ("redis",), "put x16"),
    ],
    "put x1": [Latency(1.15), AtLeast(1, EXT4), AtLeast(1, ("redis",))],
    "put x16": [AtLeast(0.8, ("ceiling",)), AtLeast(1.5, EXT4), AtLeast(1, ("redis",))],
    "replace x1": [AtLeast(1.5, EXT4)],
    "replace x16": [AtLeast(3, EXT4)],
    "get x1": [AtLeast(0.95, ("ceiling",))],
    "get x16": [AtLeast(0.95, ("ceiling",))],
    "cat x1": [AtMost(1.5, "ext4")],
    "stat x1": [AtLeast(1, EXT4)],
    "negative x1": [AtLeast(1, EXT4)],
    "list x1": [AtLeast(1, EXT4)],
    "delete x1": [AtLeast(0.9, ("ceiling",))],
    "delete x16": [AtLeast(0.9, ("ceiling",))],
    "untar": [AtLeast(0.8, ("ceiling",))],
    "rsync": [AtLeast(0.8, ("ceiling",))],
    "stream-write": [AtLeast(0.8, ("ceiling",))],
    "stream-read": [AtLeast(0.8, ("ceiling",))],
    "stream-read-warm": [AtLeast(0.8, ("ext4",))],
    "sqlite, WAL": [AtLeast(1, EXT4)],
    **{
        f"library {operation}": [AtLeast(1, DURABLE if operation.startswith("put") else PEERS)]
        for operation in ("put x1", "put x4", "put x16", "get x1", "get x4", "get x16", "load x1")
    },
    "open": [Within(5.0)],
    "replace x8, p99": [AtMost(2, "no-merges", "p99_us")],
    "get x8, p99": [AtMost(2, "no-merges", "p99_us")],
    **{f"{operation}, grown": [AtMost(1.3, "10,000-keys")] for operation in ("put", "cold-get", "cold-stat")},
}  # fmt: skip
