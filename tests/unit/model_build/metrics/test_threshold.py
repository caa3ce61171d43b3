from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_build.metrics.threshold import (
    FEWEST_ACCEPTED,
    NEVER,
    at_most,
    choose_threshold,
    fewest_accepted,
    given_threshold,
    guaranteed_threshold,
    risk_coverage,
    upper_bound,
)

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
    assert by_hand.statement.startswith("set by hand to 0.7: 42.0% of 100 photos need no review, 100.0% of")


@pytest.mark.parametrize(
    ("wrong", "photos", "bound"),
    # Clopper and Pearson's one-sided 95 % bound, from tables and scipy.stats.beta.ppf(0.95, wrong + 1, photos - wrong).
    [(0, 149, 0.01990482), (0, 59, 0.04950761), (1, 236, 0.01994238), (10, 100, 0.16371762), (5, 5, 1.0)],
)
def test_the_upper_bound_is_exact(wrong: int, photos: int, bound: float) -> None:
    assert upper_bound(wrong, photos) == pytest.approx(bound, abs=1e-6)


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.data())
def test_the_probability_is_that_of_the_binomial_distribution(photos: int, risk: float, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, photos))
    expected = sum(math.comb(photos, i) * risk**i * (1 - risk) ** (photos - i) for i in range(wrong + 1))
    assert at_most(wrong, photos, risk) == pytest.approx(expected, rel=1e-9)


@given(photos, st.floats(0.02, 0.5))
def test_a_guarantee_is_backed_by_its_bound_on_its_own_photos(rows: list[tuple[float, bool]], risk: float) -> None:
    confidence, right = np.array([c for c, _ in rows]), np.array([r for _, r in rows], bool)
    found = guaranteed_threshold(confidence, right, risk)
    if not found.reached:
        assert (found.value, found.accepted) == (1.0, 0.0)
        return
    accepted = confidence >= found.value
    assert accepted.mean() == pytest.approx(found.accepted)
    assert accepted.sum() >= fewest_accepted(risk)
    assert found.bound is not None
    assert found.bound == pytest.approx(upper_bound(int((~right[accepted]).sum()), int(accepted.sum())))
    assert found.bound <= risk + 1e-9


def test_a_risk_is_exceeded_in_no_more_draws_than_said() -> None:
    # Answers that are wrong with probability 1 - confidence: the true risk above each threshold is known.
    rng = np.random.default_rng(7)
    risk, kept, given = 0.05, 0, 0
    draws = 150
    for _ in range(draws):
        confidence = rng.beta(6, 1, 1500)
        found = guaranteed_threshold(confidence, rng.random(1500) < confidence, risk)
        if found.reached:
            given += 1
            many = rng.beta(6, 1, 20_000)
            kept += bool((1 - many[many >= found.value]).mean() <= risk)
        else:
            kept += 1
    assert given > 0.9 * draws
    # With 95 % kept on average, under 90 % of 150 draws would be almost three standard errors off.
    assert kept >= 0.9 * draws


def test_one_early_mistake_does_not_cost_the_guarantee() -> None:
    right = np.ones(2000, bool)
    right[3] = False
    found = guaranteed_threshold(np.linspace(1, 0.5, 2000), right, 0.02)
    assert found.reached
    assert found.accepted == 1.0


def test_photos_of_equal_confidence_are_accepted_together() -> None:
    confidence = np.concatenate([np.full(150, 0.996), np.full(60, 0.9), np.linspace(0.5, 0.8, 90)])
    found = guaranteed_threshold(confidence, confidence > 0.85, 0.02)
    assert found.accepted == pytest.approx(0.7)


def test_what_a_guarantee_would_take_is_said() -> None:
    confidence = np.linspace(0.5, 1, 100)
    few = guaranteed_threshold(confidence, np.ones(100, bool), 0.02)
    assert (few.reached, few.value, few.needed) == (False, 1.0, 149)
    assert "it would take about 149 validation photos" in few.statement
    assert (
        "that at most 2.00% of the accepted are wrong cannot be guaranteed with 95% confidence on 100" in few.statement
    )
    half = guaranteed_threshold(confidence, confidence > 0.75, 0.02)
    assert half.needed == pytest.approx(298, rel=0.05)
    hopeless = guaranteed_threshold(confidence, np.arange(100) % 2 == 0, 0.02)
    assert hopeless.needed is None
    assert "no number of photos" in hopeless.statement


@given(photos)
def test_the_curve_of_risk_ends_with_all_photos(rows: list[tuple[float, bool]]) -> None:
    confidence, right = np.array([c for c, _ in rows]), np.array([r for _, r in rows], bool)
    curve = risk_coverage(confidence, right)
    assert len(curve) <= 50
    coverage = [share for share, _ in curve]
    assert coverage == sorted(coverage)
    if rows:
        assert curve[-1][0] == 1.0
        assert curve[-1][1] == pytest.approx((~right).mean(), abs=1e-4)


def test_what_is_never_accepted_counts_as_photos_that_need_review() -> None:
    confidence = np.concatenate([np.linspace(0.6, 0.99, 160), np.full(40, NEVER)])
    right = np.concatenate([np.ones(160, bool), np.zeros(40, bool)])
    for found in (choose_threshold(confidence, right, 0.7), guaranteed_threshold(confidence, right, 0.02)):
        assert (found.reached, found.precision) == (True, 1.0)
        assert found.accepted == pytest.approx(0.8)
        assert found.value == pytest.approx(0.6, abs=1e-4)
    assert not choose_threshold(np.full(30, NEVER), np.ones(30, bool)).reached
    assert given_threshold(0.0, confidence, right, 0.9).accepted == pytest.approx(0.8)
