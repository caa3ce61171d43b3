"""``python -m tests.soak``: schedules on every core until the time is up or one fails its invariants."""

from __future__ import annotations

import argparse
import os
import sys
import time

# The function's log lines are in the trace of a replay.
os.environ["POWERTOOLS_LOG_LEVEL"] = "CRITICAL"

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.soak.campaign import Totals, soak
from tests.soak.product import start
from tests.soak.simulation import run

_SHOWN = 10


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    if options.replay is not None:
        return _replay(options.replay, Console())
    started = time.monotonic()
    totals = Totals()
    try:
        _soak(options, totals, started, console)
    except KeyboardInterrupt:
        console.print("interrupted")
    _summarize(totals, time.monotonic() - started, Console())
    return 1 if totals.failures or not totals.schedules else 0


def _soak(options: argparse.Namespace, totals: Totals, started: float, console: Console) -> None:
    """Run schedules and add them up in ``totals``; a bar on a terminal, a line a minute elsewhere."""
    known = options.seeds is not None
    seconds = float("inf") if known else options.seconds
    told_at = started
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]:.0f} schedules/s, {task.fields[failed]} failed"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("soak", total=options.seeds if known else seconds, rate=0.0, failed=0)
        for chunk in soak(options.start, options.seeds, seconds, options.jobs, keep_going=options.keep_going):
            totals.add(chunk)
            now = time.monotonic()
            rate = totals.schedules / (now - started)
            completed = totals.schedules if known else min(now - started, seconds)
            progress.update(bar, completed=completed, rate=rate, failed=len(totals.failures))
            if not console.is_terminal and now - told_at > 60:
                told_at = now
                console.print(f"{totals.schedules:,} schedules, {rate:.0f}/s, {len(totals.failures)} failed")


def _summarize(totals: Totals, seconds: float, console: Console) -> None:
    counts = totals.counts
    console.print(f"{totals.schedules:,} schedules in {seconds:.0f} s ({totals.schedules / seconds:.0f}/s)")
    console.print(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    needed = max(1, counts["needed"])
    console.print(
        f"work amplification: {counts['fetches'] / needed:.3f} fetches and {counts['classifications'] / needed:.3f}"
        " classifications for each event that needs one"
    )
    for seed, violation in sorted(totals.failures)[:_SHOWN]:
        console.print(f"seed {seed}: {violation}", markup=False, soft_wrap=True)
    if totals.failures:
        seed = min(totals.failures)[0]
        console.print(f"{len(totals.failures)} schedules failed; replay one: python -m tests.soak --replay {seed}")
    else:
        console.print("no violation")


def _replay(seed: int, console: Console) -> int:
    report = run(seed, start, tracing=True)
    for line in (*report.trace, *(f"violated: {violation}" for violation in report.violations)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 1 if report.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0, help="how long (default: 1200)")
    parser.add_argument("--seeds", type=int, help="how many schedules, instead of how long")
    parser.add_argument("--start", type=int, default=0, metavar="SEED", help="the first seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--keep-going", action="store_true", help="go on after a schedule has failed")
    parser.add_argument("--replay", type=int, metavar="SEED", help="one schedule, with everything that happens in it")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
