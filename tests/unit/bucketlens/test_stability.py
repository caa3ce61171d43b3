"""The population stability index, and what of it is chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketlens.stability import label_shift, shift
from model_build.metrics.answers import CONFIDENCE_BINS, AnswerMix

counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=30).filter(any)


@given(counts, st.data())
def test_it_is_symmetric_and_never_negative(expected: list[int], data: st.DataObject) -> None:
    actual = data.draw(st.lists(st.integers(0, 10_000), min_size=len(expected), max_size=len(expected)).filter(any))
    there, back = shift(expected, actual), shift(actual, expected)
    assert there.index >= 0
    assert math.isfinite(there.index)
    assert there.index == pytest.approx(back.index)
    assert shift(expected, expected).index == 0
    assert shift(expected, expected).verdict == "stable"


@pytest.mark.parametrize(
    ("actual", "index", "verdict"),
    # By hand: half and half becomes 0.6 and 0.4, 0.7 and 0.3, 0.8 and 0.2; the sum of (p - q) ln(p / q).
    [((600, 400), 0.0405, "stable"), ((700, 300), 0.1695, "moderate"), ((800, 200), 0.4159, "large")],
)
def test_known_values(actual: tuple[int, int], index: float, verdict: str) -> None:
    found = shift((5000, 5000), (actual[0] * 10, actual[1] * 10))
    assert found.index == pytest.approx(index, abs=0.001)
    assert found.verdict == verdict


def test_a_label_that_is_new_counts() -> None:
    before = AnswerMix.of([("cat", 0.9)] * 50)
    after = AnswerMix.of([("cat", 0.9)] * 25 + [("dog", 0.9)] * 25)
    assert label_shift(before, after).verdict == "large"
    with pytest.raises(ValueError, match="empty histogram"):
        label_shift(before, AnswerMix.of([]))


@pytest.mark.parametrize(("bins", "baseline", "results"), [(2, 200, 300), (10, 180, 400), (40, 1000, 2000)])
def test_chance_exceeds_its_bound_in_one_case_of_twenty(bins: int, baseline: int, results: int) -> None:
    chance = np.random.default_rng(7)
    shares = chance.dirichlet(np.full(bins, 5.0))
    over = 0
    for _ in range(2000):
        found = shift(*(chance.multinomial(size, shares).tolist() for size in (baseline, results)))
        over += found.index > found.chance
    assert 0.03 < over / 2000 < 0.07


def test_few_images_are_no_drift() -> None:
    found = shift((5, 3, 2), (3, 4, 3))
    assert found.index > 0.1
    assert found.verdict == "stable"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=50))
def test_a_mix_survives_its_document(answers: list[tuple[str, float]]) -> None:
    mix = AnswerMix.of(answers)
    assert mix.answers == len(answers) == sum(mix.labels.values())
    assert AnswerMix.from_document({"labels": mix.labels, "confidence": list(mix.confidence)}) == mix
    assert mix + AnswerMix({}, (0,) * CONFIDENCE_BINS) == mix


def test_a_mix_of_other_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bins of confidence, not 10"):
        AnswerMix.from_document({"labels": {}, "confidence": [1, 2, 3]})
