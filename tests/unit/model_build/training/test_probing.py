from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_build.training.probing import are_equal, cached_features, classified_rightly


def _ridge(x: NDArray[np.float64], wanted: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    solved: NDArray[np.float64] = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ wanted)
    return solved


def test_each_photo_is_judged_by_a_layer_fitted_on_the_others() -> None:
    random = np.random.default_rng(3)
    targets = random.integers(0, 3, 40)
    features = random.normal(size=(40, 6)).astype(np.float32)
    features[:, :3] += 1.5 * np.eye(3)[targets]
    x = features.astype(np.float64)
    x = np.hstack([(x - x.mean(axis=0)) / x.std(axis=0) / np.sqrt(6), np.ones((40, 1))])
    wanted = np.eye(3)[targets]
    by_penalty = {}
    for penalty in (0.1, 0.3, 1.0, 3.0, 10.0):
        left_out = [_ridge(np.delete(x, row, 0), np.delete(wanted, row, 0), penalty) for row in range(40)]
        said = np.array([row @ weights for row, weights in zip(x, left_out, strict=True)])
        by_penalty[float(((wanted - said) ** 2).mean())] = said.argmax(axis=1) == targets
    found = classified_rightly(features, targets, 3)
    np.testing.assert_array_equal(found, by_penalty[min(by_penalty)])
    assert 0.5 < found.mean() < 1.0


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_labels_that_have_nothing_to_do_with_the_features_are_not_learnt(seed: int) -> None:
    """With more features than photos a layer fits anything it has seen."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(120, 200)).astype(np.float32)
    assert classified_rightly(features, random.permutation(np.arange(120) % 4), 4).mean() < 0.5


def test_a_feature_that_never_changes_does_no_harm() -> None:
    targets = np.arange(20) % 2
    features = np.stack([targets * 2.0, np.full(20, 7.0)], axis=1).astype(np.float32)
    assert classified_rightly(features, targets, 2).all()


def test_features_are_computed_once_and_again_when_damaged(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    asked: list[int] = []

    def compute() -> NDArray[np.float32]:
        asked.append(1)
        return values

    for _ in range(2):
        np.testing.assert_array_equal(cached_features(tmp_path / "kept", ["net", "a"], compute), values)
    assert len(asked) == 1
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    np.testing.assert_array_equal(cached_features(tmp_path / "kept", ["net", "a"], compute), values)
    cached_features(tmp_path / "kept", ["net", "b"], compute)
    assert len(asked) == 3


@pytest.mark.parametrize(("wrong", "expected"), [(0, False), (8, True), (10, True), (12, True), (40, False)])
def test_networks_are_equal_within_the_standard_error_of_their_difference(wrong: int, expected: bool) -> None:
    rows = np.arange(100)
    assert are_equal(rows >= 10, (rows < 10) | (rows >= 10 + wrong)) is expected
