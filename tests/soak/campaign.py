"""Many schedules, on every core."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from tests.soak.permissions import Call
from tests.soak.product import start
from tests.soak.simulation import run

CHUNK = 100


@dataclass
class Totals:
    """What a number of schedules came to."""

    schedules: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    calls: set[Call] = field(default_factory=set)
    failures: list[tuple[int, str]] = field(default_factory=list)
    """Seeds and what was violated first."""

    def add(self, other: Totals) -> None:
        self.schedules += other.schedules
        self.counts += other.counts
        self.calls |= other.calls
        self.failures += other.failures


def play(first: int, count: int, *, keep_going: bool = True) -> Totals:
    """The schedules of ``count`` seeds from ``first`` on, or up to the first that fails."""
    totals = Totals()
    for seed in range(first, first + count):
        report = run(seed, start)
        totals.schedules += 1
        totals.counts.update(report.counts)
        totals.calls |= report.calls
        if report.violations:
            totals.failures.append((seed, report.violations[0]))
            if not keep_going:
                break
    return totals


def soak(first: int, seeds: int | None, seconds: float, jobs: int, *, keep_going: bool) -> Iterator[Totals]:
    """Totals of one chunk of seeds after the other, from ``jobs`` processes, until ``seconds`` are over.

    Args:
        seeds: how many schedules; None for as many as there is time for.
        keep_going: also after one has failed.
    """
    ends_at = time.monotonic() + seconds
    starts = itertools.count(first, CHUNK) if seeds is None else range(first, first + seeds, CHUNK)
    chunks = ((begin, CHUNK if seeds is None else min(CHUNK, first + seeds - begin)) for begin in starts)
    work = partial(play, keep_going=keep_going)
    with _pool(jobs) as pool:
        running: set[Future[Totals]] = {pool.submit(work, *chunk) for chunk in itertools.islice(chunks, jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                totals = future.result()
                if totals.failures and not keep_going:
                    ends_at = 0.0
                yield totals
                if time.monotonic() < ends_at:
                    running |= {pool.submit(work, *chunk) for chunk in itertools.islice(chunks, 1)}


def _pool(jobs: int) -> Executor:
    if jobs == 1:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
