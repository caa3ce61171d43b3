"""Waiting ends as soon as it can and asks no more often than once a second; watching tells each result once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketlens.polling import Timer, new_results, wait_until


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.timer = Timer(now=lambda: self.now, pause=self.pause)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def result(name: str, at: str, **other: Any) -> dict[str, Any]:
    return {"image_uri": f"s3://b/{name}", "classified_at": f"2026-11-20T12:{at}Z", **other}


def test_what_is_there_already_is_not_waited_for() -> None:
    clock = Clock()
    assert wait_until(3, lambda: 5, timeout=9, progress=lambda _: None, timer=clock.timer) == 5
    assert clock.pauses == []


def test_progress_is_told_until_all_are_there() -> None:
    clock, told = Clock(), list[int]()
    counts = iter([0, 2, 2, 3])
    assert wait_until(3, lambda: next(counts), timeout=60, progress=told.append, timer=clock.timer) == 3
    assert told == [0, 2, 2, 3]
    assert clock.pauses == [1.0, 1.0, 1.0]


@given(st.floats(0, 2000))
def test_it_asks_at_most_once_a_second_and_ends_in_time(timeout: float) -> None:
    clock, asked = Clock(), list[float]()

    def count() -> int:
        asked.append(clock.now)
        return 1

    assert wait_until(2, count, timeout=timeout, progress=lambda _: None, timer=clock.timer) == 1
    assert all(after - before >= 1 for before, after in pairwise(asked))
    assert timeout <= clock.now <= timeout + 1.001
    assert all(pause <= 10 for pause in clock.pauses)


class Growing:
    """A table of which each reading shows one more step; reading takes ``seconds``."""

    def __init__(self, clock: Clock, steps: list[list[dict[str, Any]]], seconds: float = 0.0) -> None:
        self._clock, self._steps, self._seconds = clock, steps, seconds
        self._read = 0
        self.asked: list[str | None] = []

    def read(self, after: str | None) -> Iterator[dict[str, Any]]:
        self._read += 1
        self.asked.append(after)
        self._clock.now += self._seconds
        # As the table has it: an image classified again has one item.
        standing = {item["image_uri"]: item for step in self._steps[: self._read] for item in step}
        yield from (item for item in standing.values() if after is None or item["classified_at"] > after)


def told(steps: list[list[dict[str, Any]]], count: int) -> list[str]:
    clock = Clock()
    table = Growing(clock, steps)
    return [item["image_uri"][7:] for item in islice(new_results(table.read, interval=2, timer=clock.timer), count)]


def test_only_what_comes_after_the_call_is_told_oldest_first() -> None:
    old = [result("old", "00:00.000"), result("older", "00:00.000")]
    assert told([old, [result("b", "00:02.000"), result("a", "00:01.000")], [result("c", "00:03.000")]], 3) == [
        "a",
        "b",
        "c",
    ]


def test_a_result_dated_before_the_newest_but_written_after_it_is_told() -> None:
    assert told([[result("a", "01:00.500")], [result("b", "01:00.400")], [result("c", "05:00.000")]], 2) == ["b", "c"]


def test_an_image_that_is_classified_again_comes_again_and_an_unfinished_one_not_yet() -> None:
    steps = [
        [result("a", "00:01.000")],
        [result("b", "00:02.000", unfinished=True)],
        [result("a", "00:03.000")],
        [result("b", "00:04.000")],
    ]
    assert told(steps, 2) == ["a", "b"]


def test_an_empty_table_is_waited_on() -> None:
    assert told([[], [], [result("a", "00:01.000")]], 1) == ["a"]


def test_only_the_newest_results_are_asked_for_again() -> None:
    clock = Clock()
    table = Growing(clock, [[result("a", "05:00.000")], [], [result("b", "05:01.000")]])
    next(new_results(table.read, interval=2, timer=clock.timer))
    assert table.asked == [None, *["2026-11-20T12:04:00.000Z"] * 2]


@pytest.mark.parametrize(("seconds", "pause"), [(0.0, 2.0), (5.0, 45.0)])
def test_a_table_that_takes_long_to_read_is_read_a_tenth_of_the_time(seconds: float, pause: float) -> None:
    clock = Clock()
    table = Growing(clock, [[], [], [result("a", "00:01.000")]], seconds)
    next(new_results(table.read, interval=2, timer=clock.timer))
    assert clock.pauses == [pause, pause]
