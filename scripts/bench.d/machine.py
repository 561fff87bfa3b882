"""What the figures were measured on."""

import datetime
import os
import platform
import subprocess
import time


def describe(workshop):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) >> 20 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    lines = [
        f"date:    {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"cpu:     {os.cpu_count()} x {model}, {memory} GiB",
        f"kernel:  {platform.system()} {platform.release()} {platform.machine()}",
        f"disk:    {mount_of(workshop.scratch)}",
        f"others:  {others():.0%} of the CPUs' time was taken by something else before it began",
    ]
    if workshop.device:
        lines.append(f"store:   {mount_of(workshop.disk)} in an image file on the above, direct I/O")
    return lines


def others(seconds=2):
    """What part of the CPUs' time is not idle while nothing of this runs. More than a little spoils every figure."""

    def ticks():
        fields = [int(field) for field in open("/proc/stat").readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    all_before, idle_before = ticks()
    time.sleep(seconds)
    all_after, idle_after = ticks()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


def mount_of(path):
    """The filesystem a path is in, with its options."""
    command = ["findmnt", "-rn", "-o", "SOURCE,FSTYPE,OPTIONS", "-T", str(path)]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
