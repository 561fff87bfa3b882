"""The tables: on the terminal, and in docs/PERFORMANCE.md between its markers."""

from goals import GOALS

BEGIN = "<!-- Written by scripts/bench from here on. -->"
END = "<!-- As far as here. -->"

# Columns in this order; what else was measured follows.
ORDER = [
    "caskfs", "caskfs-others", "ceiling", "ceiling-unchecked", "disk", "ceiling-disk", "ext4", "ext4-nosync", "redis", "juicefs",
    "caskfs-root", "disk-root", "ext4-root",
]  # fmt: skip


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(results, pinned, row, contestant):
    """The rate and the median latency, or what this row is about instead."""
    rate = results.median(pinned, row, contestant, "per_second")
    if rate is None:
        return ""
    if row.startswith("stream"):
        return f"{number(rate / (1 << 20))} MiB/s"
    median = results.median(pinned, row, contestant, "p50_us")
    if row == "open":
        return f"{median / 1e6:.3g} s"
    if row.endswith("p99"):
        return f"{number(rate)}/s, p99 {number(results.median(pinned, row, contestant, 'p99_us'))} us"
    return f"{number(rate)}/s, {number(median)} us"


def columns(results, pinned, rows):
    found = list(dict.fromkeys(name for row in rows for name in results.contestants(pinned, row)))
    # Those that are not listed stand at the end, as they come.
    return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def verdicts(results, row):
    """[(goal, value, whether it is reached)] of the pinned pass."""
    return [goal.judge(results, row) for goal in GOALS.get(row, [])]


def mark(verdict):
    return "-" if verdict.reached is None else "yes" if verdict.reached else "**no**"


def table(results, pinned, rows):
    """Markdown. Goals are told in the pinned pass only."""
    names = columns(results, pinned, rows)
    head = ["work", *names, *(["goal", "measured", "reached"] if pinned else [])]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        line = [row, *(cell(results, pinned, row, name) for name in names)]
        if pinned:
            judged = verdicts(results, row)
            line.append("<br>".join(verdict.goal for verdict in judged))
            line.append("<br>".join(verdict.value for verdict in judged))
            line.append("<br>".join(mark(verdict) for verdict in judged))
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text(results, pinned, suites):
    """For the terminal."""
    out = []
    for title, rows in suites:
        rows = [row for row in rows if results.contestants(pinned, row)]
        if not rows:
            continue
        out.append(f"\n== {title}, {'pinned to one CPU' if pinned else 'not pinned'}")
        for row in rows:
            out.append(row)
            for name in columns(results, pinned, [row]):
                out.append(f"    {name:<12} {cell(results, pinned, row, name)}")
            if pinned:
                for verdict in verdicts(results, row):
                    out.append(f"      goal: {verdict.goal}: {verdict.value} {mark(verdict).strip('*')}")
    return "\n".join(out)


def markdown(results, suites, machine, command):
    out = [BEGIN, "", "```", *machine, f"command: {command}", "```", ""]
    for pinned in True, False:
        tables = [(title, [row for row in rows if results.contestants(pinned, row)]) for title, rows in suites]
        tables = [(title, rows) for title, rows in tables if rows]
        if not tables:
            continue
        out += [f"## {'All pinned to one CPU' if pinned else 'Not pinned'}", ""]
        for title, rows in tables:
            out += [f"### {title}", "", table(results, pinned, rows), ""]
    if results.reasons:
        out += ["Not measured:", "", *(f"- {what}: {why}" for what, why in results.reasons.items()), ""]
    return "\n".join([*out, END])


def write(path, generated):
    """Puts the generated part between the markers, and leaves the rest of the page as it is."""
    page = path.read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"bench: {path} has no markers to write between")
    path.write_text(before + generated + after)
