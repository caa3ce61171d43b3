from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from classifier.bundle import OutputSpec
from classifier.model import probabilities as served
from model_build.metrics.calibration import (
    BINS,
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    calibration,
    fit_temperature,
    scaled,
)


def answers(seed: int, photos: int, labels: int, sharpness: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities that are ``sharpness`` times as sure as they should be, and labels drawn by the right ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (photos, labels))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(labels, p=row) for row in right])
    said = np.exp(logits * sharpness)
    return said / said.sum(axis=1, keepdims=True), truth


random_answers = st.builds(
    answers, st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 12), st.floats(0.1, 5, allow_nan=False)
)


@given(random_answers)
def test_the_error_lies_between_0_and_1_and_the_bins_hold_every_photo(
    given: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    found = calibration(*given)
    assert 0 <= found.error <= 1
    assert len(found.bins) == BINS == 15
    assert sum(one.photos for one in found.bins) == len(given[1])
    for one in found.bins:
        if one.confidence is not None:
            assert one.low - 1e-9 <= one.confidence <= one.high + 1e-9


def test_the_error_of_an_example_done_by_hand() -> None:
    # Guo et al., equation 3: two photos in (0.8, 0.867], one right; two in (0.533, 0.6], both right.
    said = [[0.82, 0.18], [0.86, 0.14], [0.55, 0.45], [0.58, 0.42]]
    found = calibration(said, [0, 1, 0, 0])
    assert found.error == pytest.approx(0.5 * abs(0.84 - 0.5) + 0.5 * abs(0.565 - 1.0))


def test_a_bin_is_closed_above() -> None:
    found = calibration([[0.8, 0.2], [1.0, 0.0]], [0, 0])
    assert [index for index, one in enumerate(found.bins) if one.photos] == [11, 14]


@given(random_answers, st.floats(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE))
def test_temperature_keeps_the_answer(given: tuple[NDArray[np.float64], NDArray[np.int64]], temperature: float) -> None:
    said, _ = given
    after = scaled(said, temperature)
    assert after.sum(axis=1) == pytest.approx(1)
    best = said.argmax(axis=1)
    assert (after[np.arange(len(best)), best] == pytest.approx(after.max(axis=1))) is True


@given(random_answers)
def test_the_fitted_temperature_is_no_less_likely_than_others(
    given: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    said, truth = given
    temperature = fit_temperature(said, truth)
    assert LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE
    if (said.argmax(axis=1) == truth).all():
        return  # another likelihood: see below
    best = surprise(said, truth, temperature)
    for factor in (0.5, 0.9, 1.0, 1.1, 2.0):
        other = min(HIGHEST_TEMPERATURE, max(LOWEST_TEMPERATURE, temperature * factor))
        assert best <= surprise(said, truth, other) + 1e-9
    assert best <= surprise(said, truth, 1.0) + 1e-9


def surprise(said: NDArray[np.float64], truth: NDArray[np.int64], temperature: float) -> float:
    """What is least at the likeliest temperature: the answers' loss, and the prior's (a normal one of precision 2)."""
    return len(truth) * calibration(scaled(said, temperature), truth).nll + math.log(temperature) ** 2


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_a_few_photos_lead_less_astray_than_by_their_likelihood_alone(sharpness: float) -> None:
    temperatures = np.exp(np.linspace(-3, 3, 61))
    alone, found = [], []
    for seed in range(40):
        said, truth = answers(seed, 20, 4, sharpness)
        others, labels = answers(1000 + seed, 500, 4, sharpness)
        losses = [calibration(scaled(said, one), truth).nll for one in temperatures]
        alone.append(calibration(scaled(others, temperatures[int(np.argmin(losses))]), labels).nll)
        found.append(calibration(scaled(others, fit_temperature(said, truth)), labels).nll)
    assert np.mean(found) < np.mean(alone)


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_answers_too_sure_or_too_shy(sharpness: float) -> None:
    said, truth = answers(3, 4000, 6, sharpness)
    temperature = fit_temperature(said, truth)
    assert temperature == pytest.approx(sharpness, rel=0.1)
    assert calibration(scaled(said, temperature), truth).error < 0.03


def test_answers_without_a_mistake_are_not_taken_for_certainty() -> None:
    said = np.tile([0.9, 0.05, 0.05], (50, 1))
    temperature = fit_temperature(said, np.zeros(50, np.int64))
    confidence = scaled(said, temperature)[0, 0]
    assert 0.9 < confidence < 0.995


def test_nothing_measured_scales_nothing() -> None:
    empty, none = np.zeros((0, 3)), np.zeros(0, np.int64)
    assert fit_temperature(empty, none) == 1.0
    assert calibration(empty, none).error == 0.0


def test_the_function_serves_what_was_measured() -> None:
    """``classifier.model.probabilities`` divides the logits; here it is done on the probabilities."""
    logits = np.random.default_rng(0).normal(0, 3, (20, 5)).astype(np.float32)
    plain = np.stack([served(row, OutputSpec("logits", "float32")) for row in logits])
    direct = np.stack([served(row, OutputSpec("logits", "float32", temperature=1.7)) for row in logits])
    assert scaled(plain, 1.7) == pytest.approx(direct, abs=1e-5)
