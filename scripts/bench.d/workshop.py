"""Where everything runs: a scratch directory, an ext4 of its own in an image file, and the processes that were started.
Whatever happens, all of it is stopped, unmounted and removed again."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

CPU = "0"


class Failed(Exception):
    """A contestant could not run; the report says why."""


class Workshop:
    def __init__(self, programs, image_gib, image=None, loop=True):
        self.programs = Path(programs)
        self.scratch = Path(os.path.realpath(tempfile.mkdtemp(prefix="caskfs-bench.")))
        self.pinned = True
        self.processes = []
        self.mounts = []
        self.device = None
        self.number = 0
        self.disk = self.scratch / "disk"
        self.disk.mkdir()
        try:
            if loop:
                self._make_image(Path(image) if image else self.scratch / "image", image_gib << 30)
        except BaseException:
            self.close()
            raise

    def _make_image(self, image, size):
        """An ext4 without `discard`. The image is written, not sparse: its blocks are not allocated while it is measured."""
        if not image.exists() or image.stat().st_size != size:
            self.call("dd", "if=/dev/zero", f"of={image}", "bs=4M", f"count={size >> 22}", "conv=fsync", "status=none")
        self.call("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", image)
        self.device = self.call("losetup", "--find", "--show", "--direct-io=on", image).strip()
        self.call("mount", "-t", "ext4", self.device, self.disk)
        self.mounts.append(self.disk)

    def call(self, *command, **options):
        """Runs a program of the preparation to its end, and returns what it printed."""
        done = subprocess.run([str(part) for part in command], text=True, capture_output=True, **options)
        if done.returncode:
            raise Failed(f"{' '.join(map(str, command[:3]))}: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout

    def command(self, *command):
        """The command, on the one CPU if this pass is pinned."""
        command = [str(part) for part in command]
        return ["taskset", "-c", CPU, *command] if self.pinned else command

    def run(self, *command, **options):
        """Runs what is measured."""
        return self.call(*self.command(*command), **options)

    def program(self, name):
        return self.programs / name

    def start(self, *command):
        """Starts something that stays; taskset becomes it, so that the process is its own."""
        log = open(self.scratch / "log", "ab")
        process = subprocess.Popen(self.command(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.processes.append(process)
        return process

    def log(self):
        """The end of what the processes said."""
        return (self.scratch / "log").read_text(errors="replace").strip()[-500:]

    def stop(self, process, seconds=60):
        """Ends a process, and waits for it."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def end(self, process, seconds=30):
        """Waits until a process ends by itself, and stops it if it does not."""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        self.stop(process)

    def wait_for(self, condition, process, what, seconds=30):
        """Waits until the condition holds, as long as the process lives."""
        end = time.monotonic() + seconds
        while not condition():
            if process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{what} did not start: {self.log()}")
            time.sleep(0.02)

    def fresh(self, name, base=None):
        """An empty directory, on the measured disk unless told otherwise."""
        self.number += 1
        path = (base or self.disk) / f"{name}-{self.number}"
        path.mkdir()
        return path

    def filled(self, engine, name, keys, base=None):
        """A store of an engine with so many small values."""
        path = self.fresh(name, base)
        self.call(self.program("peers"), engine, path, "--operations", "load", "--size", 64, "--keys", keys)
        return path

    def remove(self, path):
        """Removes a directory, and waits until the disk is at rest again."""
        shutil.rmtree(path)
        self.settle()

    def settle(self):
        self.call("sync", "-f", self.disk)
        self.call("sync", "-f", self.scratch)

    def unmount(self, path):
        for _ in range(50):
            # A daemon that was ended has unmounted by itself.
            if not mounted(path) or subprocess.run(["umount", path], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", path], capture_output=True)
        if path in self.mounts:
            self.mounts.remove(path)

    def close(self):
        for process in list(reversed(self.processes)):
            self.stop(process, seconds=10)
        for path in list(reversed(self.mounts)):
            self.unmount(path)
        if self.device:
            subprocess.run(["losetup", "--detach", self.device], capture_output=True)
        # Never into something that is still mounted.
        if not any(path.startswith(f"{self.scratch}/") for path in mounts()):
            shutil.rmtree(self.scratch, ignore_errors=True)
        else:
            print(f"bench: something is still mounted below {self.scratch}")


def mounts():
    """Where something is mounted; a dead FUSE mount too."""
    return [line.split()[1] for line in open("/proc/mounts")]


def mounted(path):
    return str(path) in mounts()
