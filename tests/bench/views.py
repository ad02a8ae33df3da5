"""Runs the benches of the pure core and prints tests/bench/VIEWS.md. By `make bench-views`."""

import os
import re
import subprocess

HEAD = """# Lists and judged calls, measured

By `make bench-views` (`cargo bench -p mcphub-core`), on a catalogue of 10,000 tools of 100 servers. *Cold* is a caller's first list: what it may know of, what of that
is in its list, and the list's digest. *Cached* is every list after it, with its text.

| target | measured |
|---|---|
"""

TARGETS = [
    ("view over 10,000 tools, cold: < 1 ms", "cold_view_of_10_000", 1e-3),
    ("… with access rules: < 1 ms", "cold_view_of_10_000_with_access_rules", 1e-3),
    ("cached list: < 20 µs", "cached_list", 20e-6),
]

UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}

# `├─ name   fastest │ slowest │ median │ mean │ samples │ iters`, as divan prints it.
LINE = re.compile(r"[├╰]─ (\w+)\s+([\d.]+) (\S+)\s*│ ([\d.]+) (\S+)\s*│ ([\d.]+) (\S+)\s*│ ([\d.]+) (\S+)\s*│ (\d+)\s*│ (\d+)")


def measured(bench):
    """Name, fastest, slowest and median in seconds of each function of a bench."""
    run = subprocess.run(
        ["cargo", "bench", "-q", "-p", "mcphub-core", "--bench", bench], check=True, capture_output=True, text=True
    )
    for line in run.stdout.splitlines():
        if found := LINE.match(line):
            of = lambda at: float(found[at]) * UNITS[found[at + 1]]
            yield found[1], of(2), of(4), of(6)


def said(seconds):
    """A duration as people read it."""
    for unit in ("s", "ms", "µs"):
        if seconds >= UNITS[unit]:
            return f"{seconds / UNITS[unit]:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def main():
    """Prints the report."""
    benches = {bench: list(measured(bench)) for bench in ("sight", "arguments")}
    medians = {name: median for rows in benches.values() for name, _, _, median in rows}
    print(HEAD, end="")
    for target, name, limit in TARGETS:
        print(f"| {target} | {said(medians[name])}, {'met' if medians[name] < limit else '**missed**'} |")
    for bench, rows in benches.items():
        print(f"\n## {bench}\n\n| what | fastest | median | slowest |\n|---|--:|--:|--:|")
        for name, fastest, slowest, median in rows:
            print(f"| {name.replace('_', ' ')} | {said(fastest)} | {said(median)} | {said(slowest)} |")
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    print(f"\nLoad of the machine at the end (1, 5, 15 minutes, {cores} cores): {load}; times are upper bounds where that is above zero.")


main()
