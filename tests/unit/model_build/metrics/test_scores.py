from __future__ import annotations

import pytest

from model_build.metrics.scores import Scores, score, wilson_interval


# Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
@pytest.mark.parametrize(
    ("correct", "images", "bounds"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_interval_agrees_with_the_published_table(
    correct: int, images: int, bounds: tuple[float, float]
) -> None:
    assert wilson_interval(correct, images) == pytest.approx(bounds, abs=5e-5)


def test_nothing_measured_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_scores_by_class() -> None:
    scores = score([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], ["a", "b", "never"])
    assert scores.confusion == ((2, 1, 0), (1, 1, 0), (0, 0, 0))
    assert (scores.correct, scores.images, scores.accuracy) == (3, 5, 0.6)
    a, b, never = scores.classes
    assert (a.precision, a.recall, a.f1, a.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    assert (b.precision, b.recall, b.f1, b.support) == pytest.approx((0.5, 0.5, 0.5, 2))
    assert (never.precision, never.recall, never.f1, never.support) == (None, None, None, 0)


def test_scores_survive_their_document() -> None:
    scores = score([0, 1, 1], [0, 1, 0], ["a", "b"])
    assert Scores.from_document(scores.to_document()) == scores
