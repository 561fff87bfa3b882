"""Keys of 1 KiB: through the mounts, beside Redis and the bare disk."""

import csv
import io

from contestants import Caskfs, Ceiling, JuiceFS, Plain, Redis

CLIENTS = "1,16"
# What is measured with fsync before each close; what is not listed has nothing to sync.
ALL = "put,replace,get,cat,stat,negative,delete"
UNPINNED = "put,get"


class Keys:
    name = "keys"
    title = "Keys of 1 KiB"
    unpinned = True

    def __init__(self, scale, juicefs):
        self.scale = scale
        self.contestants = [
            Plain("disk"), Ceiling(), Ceiling(unchecked=True), Ceiling(unchecked=True, disk=True), Caskfs(),
            Caskfs("caskfs-others", ["--allow-other"]), Plain("ext4"), Plain("ext4-nosync"), Redis(), JuiceFS(juicefs),
            Plain("disk-root", on_disk=False), Caskfs("caskfs-root", on_disk=False), Plain("ext4-root", on_disk=False),
        ]  # fmt: skip

    def measure(self, workshop, contestant, place, results):
        name = contestant.name
        if name.startswith("disk"):
            output = workshop.run(workshop.program("disk"), place, "--seconds", self.scale.seconds)
            results.lines(workshop.pinned, lambda m: m["operation"], name, output)
        elif name == "redis":
            self.redis(workshop, place, results)
        else:
            self.directory(workshop, name, place, results)

    def directory(self, workshop, name, place, results):
        # A create of JuiceFS takes milliseconds.
        keys = self.scale.keys // 20 if name == "juicefs" else self.scale.keys
        operations = ALL if workshop.pinned else UNPINNED
        syncs = name != "ext4-nosync"
        # Who syncs one after the other serves one client.
        clients = "1" if name == "ceiling-disk" else CLIENTS
        run = [workshop.program("directory"), place, "--keys", keys, "--seconds", self.scale.seconds, "--clients", clients]
        if name == "ceiling-disk":
            operations = "put,replace" if workshop.pinned else "put"
        elif name.startswith(("caskfs", "ceiling")):
            output = workshop.run(*run, "--operations", "put")
            results.lines(workshop.pinned, lambda m: f"put, close alone x{m['clients']}", name, output)
        elif not syncs:
            operations = "put,replace,delete" if workshop.pinned else "put"
        output = workshop.run(*run, "--operations", operations, *(["--fsync"] if syncs else []))
        results.lines(workshop.pinned, lambda m: f"{m['operation']} x{m['clients']}", name, output)

    def redis(self, workshop, socket, results):
        for clients, sets in (1, self.scale.redis), (16, self.scale.redis * 5):
            for test, count in ("set", sets), ("get", self.scale.redis * 10):
                output = workshop.run(
                    "redis-benchmark", "-s", socket, "-t", test, "-d", 1024, "-c", clients, "-n", count, "-r", self.scale.keys, "--csv"
                )
                (line,) = csv.DictReader(io.StringIO(output))
                row = f"{'put' if test == 'set' else 'get'} x{clients}"
                measurement = {
                    "per_second": float(line["rps"]),
                    "p50_us": float(line["p50_latency_ms"]) * 1000,
                    "p99_us": float(line["p99_latency_ms"]) * 1000,
                }
                results.add(workshop.pinned, row, "redis", measurement)
