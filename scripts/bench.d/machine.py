"""What the figures were measured on."""

import datetime
import os
import platform
import subprocess


def describe(workshop):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) >> 20 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    lines = [
        f"date:    {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"cpu:     {os.cpu_count()} x {model}, {memory} GiB",
        f"kernel:  {platform.system()} {platform.release()} {platform.machine()}",
        f"disk:    {mount_of(workshop.scratch)}",
        f"load:    {' '.join(f'{load:.2f}' for load in os.getloadavg())} before it began",
    ]
    if workshop.device:
        lines.append(f"store:   {mount_of(workshop.disk)} in an image file on the above, direct I/O")
    return lines


def mount_of(path):
    """The filesystem a path is in, with its options."""
    command = ["findmnt", "-rn", "-o", "SOURCE,FSTYPE,OPTIONS", "-T", str(path)]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
