"""What was measured: for each pass, row and contestant one figure a repetition."""

import json
import statistics
from collections import defaultdict

class Results:
    def __init__(self):
        # {(pinned, row, contestant): [measurement, ...]}, each as the programs print it: per_second, p50_us, p99_us, ...
        self.figures = defaultdict(list)
        # {what could not be measured: why}
        self.reasons = {}
        # {suite: its rows in the order in which they were first measured}
        self.rows = defaultdict(dict)
        self.suite = None

    def add(self, pinned, row, contestant, measurement):
        self.figures[pinned, row, contestant].append(measurement)
        self.rows[self.suite][row] = None

    def lines(self, pinned, row, contestant, output):
        """Adds each line of JSON that a program printed; `row` makes the row's name of it."""
        for line in output.splitlines():
            measurement = json.loads(line)
            self.add(pinned, row(measurement), contestant, measurement)

    def median(self, pinned, row, contestant, field):
        """None if it was not measured."""
        values = [figure[field] for figure in self.figures.get((pinned, row, contestant), []) if field in figure]
        return statistics.median(values) if values else None

    def contestants(self, pinned, row):
        return [name for measured, of, name in self.figures if (measured, of) == (pinned, row)]

    def suites(self):
        return [(suite.title, list(rows)) for suite, rows in self.rows.items()]

    def as_json(self):
        """All single figures, for those who want to look closer."""
        return [
            {"pinned": pinned, "row": row, "contestant": contestant, "figures": figures}
            for (pinned, row, contestant), figures in self.figures.items()
        ]
