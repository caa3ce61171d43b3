from __future__ import annotations

from dataclasses import asdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_build.metrics.answers import judge
from model_build.metrics.scores import wilson_interval


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_wilson_interval_contains_the_share(correct: int, more: int) -> None:
    images = correct + more
    low, high = wilson_interval(correct, images)
    assert 0 <= low <= correct / images <= high <= 1


def test_top_k_and_the_surest_mistakes() -> None:
    said = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.9, 0.06, 0.04], [0.3, 0.3, 0.4]])
    found = judge(said, np.array([0, 2, 1, 0]), ["a", "b", "c"], 1.0)
    assert found.scores.accuracy == 0.25
    assert found.top_k == {2: 1.0}
    assert [(one.row, one.truth, one.predicted) for one in found.worst] == [(2, "b", "a"), (1, "c", "b"), (3, "a", "c")]
    assert "confusion" not in asdict(found.measured())
    assert found.to_document()["confusion"] == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_temperature_changes_confidence_and_no_label() -> None:
    said = np.array([[0.7, 0.3], [0.6, 0.4]])
    cold, warm = (judge(said, np.array([0, 1]), ["a", "b"], temperature) for temperature in (0.5, 3.0))
    assert cold.scores == warm.scores
    assert cold.worst[0].confidence > warm.worst[0].confidence
    assert cold.before == warm.before
