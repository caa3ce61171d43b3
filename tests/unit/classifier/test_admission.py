"""No image is begun that the invocation's end would cut off, and no more bytes are held than allowed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.admission import ByteBudget, Deadline


class Invocation:
    """Time that passes when told to."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.deadline = Deadline(lambda: self.left)

    def begin(self, most: int = 8) -> int:
        """How many more of ``most`` are admitted."""
        return sum(self.deadline.begin() is not None for _ in range(most))


@pytest.mark.parametrize("left", [900.0, 1.0, 0.0, -1.0])
def test_the_first_image_is_always_begun_and_known_as_such(left: float) -> None:
    invocation = Invocation(60)
    invocation.left = left
    assert invocation.deadline.begin() == 1


@given(seconds=st.floats(0.5, 10), in_flight=st.integers(1, 8), budget=st.sampled_from([30, 60, 120]))
def test_what_one_core_classifies_is_over_before_the_end(seconds: float, in_flight: int, budget: int) -> None:
    """One worker, ``seconds`` an image; threads begin one as soon as another is over. The first round is unmeasured."""
    invocation = Invocation(budget)
    running, finished = invocation.begin(in_flight), 0
    while running:
        invocation.left -= seconds
        invocation.deadline.finish(worked=True)
        finished += 1
        running += invocation.begin(in_flight - running + 1) - 1
    assert invocation.left >= 4.99 or finished == in_flight
    assert invocation.deadline.time_left() < seconds + 0.01, "one more would have fitted"


def test_three_seconds_an_image_and_eight_in_flight_end_within_thirty() -> None:
    invocation = Invocation(30)
    running = invocation.begin()
    while running:
        invocation.left -= 3
        invocation.deadline.finish(worked=True)
        running += invocation.begin(1) - 1
    assert invocation.left >= 5


def test_what_needed_no_work_says_nothing_of_the_pace() -> None:
    invocation = Invocation(60)
    for _ in range(100):
        assert invocation.deadline.begin() == 1
        invocation.left -= 0.01
        invocation.deadline.finish(worked=False)
    invocation.begin(8)
    invocation.left = 40
    invocation.deadline.finish(worked=True)
    assert invocation.begin(1) == 0


def test_the_reserve_for_recording_is_five_seconds_or_a_sixth_of_a_short_invocation() -> None:
    assert Invocation(120).deadline.time_left() == 115
    assert Invocation(3).deadline.time_left() == pytest.approx(2.5)


def test_no_more_bytes_are_held_than_there_are() -> None:
    budget, held, most = ByteBudget(100), [0], [0]
    lock = threading.Lock()

    def hold(size: int) -> None:
        with budget.reservation() as reserve:
            reserve(size)
            with lock:
                held[0] += min(size, 100)
                most[0] = max(most[0], held[0])
            with lock:
                held[0] -= min(size, 100)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, [7, 60, 100, 250, 33, 1, 0, 99] * 50))
    assert most[0] <= 100


def test_a_reservation_made_again_replaces_the_one_before() -> None:
    budget = ByteBudget(100)
    with budget.reservation() as reserve:
        reserve(80)
        reserve(90)
    with budget.reservation() as reserve:
        reserve(100)


def test_what_is_kept_is_there_afterwards_and_does_not_change_the_pace() -> None:
    invocation = Invocation(60)
    deadline = invocation.deadline
    deadline.keep(0.5)
    assert deadline.time_left() == pytest.approx(27.5)
    running = invocation.begin(1)
    while running:
        invocation.left -= 5
        deadline.finish(worked=True)
        running += invocation.begin(1) - 1
    assert 0 <= deadline.time_left() < 5
    deadline.keep(0)
    assert deadline.time_left() >= 27.5
    assert invocation.begin(1) == 1
