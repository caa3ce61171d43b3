from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_build.metrics.threshold import FEWEST_ACCEPTED, choose_threshold, given_threshold

photos = st.lists(st.tuples(st.floats(0, 1, allow_nan=False), st.booleans()), max_size=80)


@given(photos, st.floats(0.5, 1))
def test_a_threshold_achieves_its_precision_on_its_own_photos(rows: list[tuple[float, bool]], target: float) -> None:
    confidence, right = np.array([c for c, _ in rows]), np.array([r for _, r in rows], bool)
    found = choose_threshold(confidence, right, target)
    assert 0 <= found.value <= 1
    if not found.reached:
        assert found.value == 1.0
        return
    # The function marks what is under the threshold.
    accepted = confidence >= found.value
    assert accepted.sum() >= min(FEWEST_ACCEPTED, len(rows))
    assert found.precision is not None
    assert right[accepted].mean() == found.precision >= target
    assert accepted.mean() == pytest.approx(found.accepted)


@given(photos, st.floats(0.5, 1))
def test_no_lower_threshold_would_do(rows: list[tuple[float, bool]], target: float) -> None:
    confidence, right = np.array([c for c, _ in rows]), np.array([r for _, r in rows], bool)
    found = choose_threshold(confidence, right, target)
    for value in confidence[confidence < found.value]:
        accepted = confidence >= value
        assert right[accepted].mean() < target or accepted.sum() < FEWEST_ACCEPTED


def test_an_unreachable_precision_is_said() -> None:
    found = choose_threshold(np.linspace(0.5, 1, 40), np.arange(40) % 2 == 0, 0.9)
    assert (found.value, found.reached, found.accepted) == (1.0, False, 0.0)
    assert "no threshold reaches the target precision of 90.0% on 40 validation photos" in found.statement


def test_few_sure_photos_are_no_precision() -> None:
    confidence = np.concatenate([np.full(9, 0.99), np.full(30, 0.5)])
    right = np.concatenate([np.ones(9, bool), np.zeros(30, bool)])
    assert not choose_threshold(confidence, right, 0.9).reached


def test_statements_tell_what_happens() -> None:
    confidence = np.linspace(0.3, 0.99, 100)
    some = choose_threshold(confidence, confidence > 0.6, 0.95)
    assert "at confidence 0.5" in some.statement
    everything = choose_threshold(confidence, np.ones(100, bool), 0.95)
    assert everything.value == 0.3
    assert "every validation photo is accepted without review" in everything.statement
    by_hand = given_threshold(0.7, confidence, confidence > 0.6, 0.95)
    assert by_hand.statement.startswith("set by hand to 0.7: 42.0% of 100 validation photos need no review, 100.0% of")
