"""Runs the contestants in turn, again and again, and reports the medians. Started by scripts/bench."""

import argparse
import json
import math
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import machine
import report
from engines import Library, Opening
from files import Listings, Sqlite, Streams, Trees
from keys import Keys
from living import Growth, Merging
from results import Results
from workshop import Failed, Workshop

SUITES = [Keys, Listings, Trees, Streams, Sqlite, Library, Opening, Merging, Growth]


@dataclass
class Scale:
    """How much of everything."""

    repetitions: int = 5
    seconds: float = 1.0
    # What is not measured after so many seconds is left out, and the report says so.
    limit: float = math.inf
    keys: int = 20_000
    redis: int = 4_000
    names: int = 100_000
    tree: int = 20_000
    stream: int = 1024
    transactions: int = 1_000
    loaded: int = 200_000
    opened: int = 10_000_000
    merging: float = 10.0
    image_gib: int = 8


QUICK = Scale(
    limit=300, repetitions=3, seconds=0.4, keys=5_000, redis=1_000, names=20_000, tree=2_000, stream=256, transactions=200,
    loaded=20_000, opened=1_000_000, merging=3.0, image_gib=2,
)  # fmt: skip


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures caskfs and what it is compared with.")
    parser.add_argument("--quick", action="store_true", help="less of everything, within six minutes")
    parser.add_argument("--only", nargs="+", action="extend", choices=[suite.name for suite in SUITES], help="these suites alone", metavar="SUITE")
    parser.add_argument("--contestants", nargs="+", action="extend", help="these contestants alone", metavar="NAME")
    parser.add_argument("--repetitions", type=int, help="instead of 5, or of 3 with --quick")
    parser.add_argument("--seconds", type=float, help="how long each operation is measured")
    parser.add_argument("--limit", type=float, help="what is not measured by then is left out, and the report says so", metavar="MINUTES")
    parser.add_argument("--pinned-only", action="store_true", help="no second pass without pinning")
    parser.add_argument("--no-loop", action="store_true", help="measure in the temporary directory's filesystem itself")
    parser.add_argument("--image", metavar="FILE", help="keep the image file here, and use it again")
    parser.add_argument("--no-report", action="store_true", help="leave docs/PERFORMANCE.md as it is")
    parser.add_argument("--json", metavar="FILE", help="write every single figure into this file")
    parser.add_argument("--programs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--juicefs", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(workshop, suite, contestant, results):
    """One repetition of one contestant."""
    what = f"{suite.name}, {contestant.name}"
    missing = contestant.missing(workshop)
    if missing:
        results.reasons[what] = missing
        return
    results.suite = suite
    began = time.monotonic()
    try:
        with contestant.running(workshop) as place:
            suite.measure(workshop, contestant, place, results)
    except Failed as error:
        results.reasons[what] = " ".join(str(error).split())
    how = "pinned" if workshop.pinned else "not pinned"
    print(f"{what}, {how}: {time.monotonic() - began:.1f} s", file=sys.stderr)


def plan(suites, arguments, scale):
    """What is measured in which order: all contestants of a suite in turn, and again in the next repetition, so that
    whatever disturbs the machine for a while disturbs all of them."""
    for repetition in range(scale.repetitions):
        for pinned in (True,) if arguments.pinned_only else (True, False):
            for suite in suites:
                for contestant in suite.contestants:
                    left_out = arguments.contestants and contestant.name not in arguments.contestants
                    # Without an image all others are in the filesystem that these are in.
                    same = arguments.no_loop and contestant.name.endswith("-root")
                    if (pinned or suite.unpinned) and not left_out and not same:
                        yield repetition, pinned, suite, contestant


def main():
    arguments = parse()
    scale = QUICK if arguments.quick else Scale()
    scale.repetitions = arguments.repetitions or scale.repetitions
    scale.seconds = arguments.seconds or scale.seconds
    scale.limit = arguments.limit * 60 if arguments.limit else scale.limit
    suites = [suite(scale, arguments.juicefs) for suite in SUITES if not arguments.only or suite.name in arguments.only]
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    results = Results()
    left_out = 0
    began = time.monotonic()
    workshop = Workshop(arguments.programs, scale.image_gib, arguments.image, loop=not arguments.no_loop)
    try:
        described = machine.describe(workshop)
        for repetition, workshop.pinned, suite, contestant in plan(suites, arguments, scale):
            if time.monotonic() - began < scale.limit:
                measure(workshop, suite, contestant, results)
            else:
                left_out += 1
                if repetition == 0:
                    what = f"{suite.name}, {contestant.name}, {'pinned' if workshop.pinned else 'not pinned'}"
                    results.reasons[what] = "the time was over"
    finally:
        workshop.close()
    described.append(f"took:    {time.monotonic() - began:.0f} s, medians of {scale.repetitions} repetitions")
    if left_out:
        described.append(f"         but for the last {left_out} single measurements: the time was over")
    print("\n".join(described))
    for pinned in True, False:
        print(report.text(results, pinned, results.suites()))
    for what, why in results.reasons.items():
        print(f"not measured: {what}: {why}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results.as_json(), indent=1))
    partly = arguments.only or arguments.contestants or arguments.pinned_only
    if partly:
        print("docs/PERFORMANCE.md is left as it is: this was not all of it")
    elif not arguments.no_report:
        command = shlex.join(["scripts/bench", *given()])
        report.write(Path("docs/PERFORMANCE.md"), report.markdown(results, results.suites(), described, command))


def given():
    """The arguments of scripts/bench, without what it adds."""
    given, hidden = [], False
    for argument in sys.argv[1:]:
        if argument in ("--programs", "--juicefs"):
            hidden = True
        elif hidden:
            hidden = False
        else:
            given.append(argument)
    return given


if __name__ == "__main__":
    main()
