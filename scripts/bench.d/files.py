"""Trees, streams and databases: what programs do with files."""

import json
import os
import time
from pathlib import Path

from contestants import Caskfs, Ceiling, JuiceFS, Plain
from workshop import Failed


class Streams:
    name = "streams"
    title = "One large file"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.scale = scale
        self.contestants = [Ceiling(), Caskfs(), Plain("ext4"), JuiceFS(juicefs)]

    def measure(self, workshop, contestant, place, results):
        output = workshop.run(
            workshop.program("directory"), place, "--stream", self.scale.stream,
            "--operations", "stream-write,stream-read,stream-read-warm",
        )  # fmt: skip
        results.lines(workshop.pinned, lambda m: m["operation"], contestant.name, output)


class Listings:
    name = "listings"
    title = "Listing a directory"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.scale = scale
        # Making so many names takes JuiceFS minutes.
        self.contestants = [
            Ceiling(), Caskfs(), Plain("ext4"), Caskfs("caskfs-root", on_disk=False), Plain("ext4-root", on_disk=False),
        ]  # fmt: skip

    def measure(self, workshop, contestant, place, results):
        output = workshop.run(workshop.program("directory"), place, "--names", self.scale.names, "--operations", "list")
        results.lines(workshop.pinned, lambda m: "list x1", contestant.name, output)


class Trees:
    """A tree of sources, unpacked and copied, until the disk has it."""

    name = "trees"
    title = "A tree of sources"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.scale = scale
        self.contestants = [
            Ceiling(), Ceiling(unchecked=True), Caskfs(options=("--sync", "interval")), Plain("ext4"), JuiceFS(juicefs),
        ]  # fmt: skip
        self.tar = self.tree = None
        self.files = 0

    def measure(self, workshop, contestant, place, results):
        if not self.tar:
            self.prepare(workshop)
        if contestant.name == "juicefs":
            return self.small(workshop, place, results)
        for row, command in (
            ("untar", f"tar -xf '{self.tar}' -C '{place}/untar'"),
            ("rsync", f"rsync -a '{self.tree}/' '{place}/rsync/'"),
        ):
            self.one(workshop, results, row, contestant.name, place / row, command, self.files)

    def one(self, workshop, results, row, name, directory, command, files):
        directory.mkdir()
        began = time.monotonic()
        # fsync of the directory is a barrier for all of a caskfs, syncfs is one for all of an ext4.
        workshop.run("sh", "-c", f"{command} && sync '{directory}' && sync -f '{directory}'")
        seconds = time.monotonic() - began
        found = sum(len(names) for _, _, names in os.walk(directory))
        if found != files:
            raise Failed(f"{row}: {found} of {files} files are there")
        results.add(workshop.pinned, row, name, {"per_second": files / seconds, "p50_us": seconds * 1e6 / files, "seconds": seconds})

    def small(self, workshop, place, results):
        """JuiceFS needs milliseconds a file; a rate can be had with fewer."""
        part = self.tree.parent / "part.tar"
        names = self.names[: self.files // 20]
        if not part.exists():
            (self.tree.parent / "part").write_text("\n".join(names))
            workshop.call("tar", "-cf", part, "-C", self.tree, "-T", self.tree.parent / "part")
        self.one(workshop, results, "untar", "juicefs", place / "untar", f"tar -xf '{part}' -C '{place}/untar'", len(names))

    def prepare(self, workshop):
        """Sources that cargo has unpacked; it had to, to build caskfs."""
        home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry/src"
        files = []
        for directory, directories, names in os.walk(home):
            directories.sort()
            files += [os.path.join(directory, name) for name in sorted(names)]
            if len(files) >= self.scale.tree:
                break
        files = files[: self.scale.tree]
        if not files:
            raise Failed(f"{home} has no sources")
        self.tree = workshop.scratch / "tree"
        self.tree.mkdir()
        listed = workshop.scratch / "tree.list"
        listed.write_text("\n".join(os.path.relpath(name, home) for name in files))
        self.tar = workshop.scratch / "tree.tar"
        workshop.call("tar", "-cf", self.tar, "-C", home, "-T", listed)
        workshop.call("tar", "-xf", self.tar, "-C", self.tree)
        self.names = sorted(str(path.relative_to(self.tree)) for path in self.tree.rglob("*") if not path.is_dir())
        self.files = len(self.names)
        size = sum((self.tree / name).lstat().st_size for name in self.names)
        self.title = f"A tree of sources ({self.files:,} files, {size >> 20} MiB)"


class Sqlite:
    name = "sqlite"
    title = "SQLite"
    unpinned = False

    def __init__(self, scale, juicefs):
        self.scale = scale
        self.contestants = [
            Ceiling(), Caskfs(), Plain("ext4"), JuiceFS(juicefs),
            Caskfs("caskfs-root", on_disk=False), Plain("ext4-root", on_disk=False),
        ]  # fmt: skip

    def measure(self, workshop, contestant, place, results):
        script = Path(__file__).with_name("transactions.py")
        output = workshop.run("python3", script, place / "database", self.scale.transactions)
        results.add(workshop.pinned, "sqlite, WAL", contestant.name, json.loads(output))
