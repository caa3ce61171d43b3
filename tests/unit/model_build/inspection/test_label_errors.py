"""Ranking photos by how doubtful their label is, against a layer that is really fitted without them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_build.inspection.label_errors import PENALTY, HeldOutScores, margins

LABELS = 3


def clusters(seed: int, photos: int = 60, spread: float = 0.6) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features around one centre a class, and the right targets."""
    random = np.random.default_rng(seed)
    targets = random.permutation(np.arange(photos) % LABELS)
    centres = 2 * random.normal(size=(LABELS, 12))
    features = np.abs(centres[targets] + spread * random.normal(size=(photos, 12)))
    return features.astype(np.float32), targets


def alone(photos: int) -> NDArray[np.int64]:
    return np.arange(photos)


def fitted_without(
    features: NDArray[np.float32], targets: NDArray[np.int64], left_out: list[int]
) -> NDArray[np.float64]:
    """Scores of the photos ``left_out`` by ridge regression on all the others."""
    x = np.sqrt(features.astype(np.float64))
    x = (x - x.mean(axis=0)) / x.std(axis=0) / np.sqrt(x.shape[1])
    x = np.hstack([x, np.ones((len(x), 1))])
    others = np.delete(x, left_out, axis=0)
    wanted = np.delete(np.eye(LABELS)[targets], left_out, axis=0)
    weights = np.linalg.solve(others.T @ others + PENALTY * np.eye(x.shape[1]), others.T @ wanted)
    found: NDArray[np.float64] = x[left_out] @ weights
    return found


@pytest.mark.parametrize("photos", [9, 60])
def test_each_photo_is_scored_by_a_layer_fitted_on_the_others(photos: int) -> None:
    """With fewer photos than features, and with more."""
    features, targets = clusters(1, photos)
    scores = HeldOutScores(features, alone(photos)).of(targets, LABELS)
    expected = np.concatenate([fitted_without(features, targets, [row]) for row in range(photos)])
    np.testing.assert_allclose(scores, expected, atol=1e-9)


def test_copies_are_left_out_together() -> None:
    features, targets = clusters(2)
    features = np.vstack([features, features[:2], features[:1]])
    targets = np.concatenate([targets, (targets[:2] + 1) % LABELS, targets[:1]])
    copies = np.concatenate([np.arange(60), [0, 1, 0]])
    scores = HeldOutScores(features, copies).of(targets, LABELS)
    np.testing.assert_allclose(scores[[0, 60, 62]], fitted_without(features, targets, [0, 60, 62]), atol=1e-9)
    np.testing.assert_allclose(scores[[1, 61]], fitted_without(features, targets, [1, 61]), atol=1e-9)


def test_copies_do_not_vouch_for_each_other() -> None:
    """A wrong label stays at the head of the list however many copies share it."""
    features, targets = clusters(3)
    wrong = (targets[0] + 1) % LABELS
    features = np.vstack([features, np.repeat(features[:1], 30, axis=0)])
    targets = np.concatenate([targets, np.full(30, wrong)])
    targets[0] = wrong
    copies = np.concatenate([np.arange(60), np.zeros(30, dtype=np.int64)])
    margin, _ = margins(HeldOutScores(features, copies).of(targets, LABELS), targets)
    assert set(np.argsort(margin)[:31]) == {0, *range(60, 90)}


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, 59), min_size=1, max_size=4))
def test_changed_labels_come_first_and_the_right_ones_are_the_likely_ones(seed: int, rows: set[int]) -> None:
    features, right = clusters(seed, spread=0.05)
    given_targets = right.copy()
    changed = sorted(rows)
    given_targets[changed] = (right[changed] + 1) % LABELS
    margin, likely = margins(HeldOutScores(features, alone(60)).of(given_targets, LABELS), given_targets)
    assert sorted(np.argsort(margin)[: len(changed)]) == changed
    np.testing.assert_array_equal(likely[changed], right[changed])
    assert (margin[changed] < 0).all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_photos_does_not_matter(seed: int) -> None:
    features, targets = clusters(seed)
    copies = np.minimum(np.arange(60), 57)
    features[58:] = features[57]
    order = np.random.default_rng(seed).permutation(60)
    straight = HeldOutScores(features, copies).of(targets, LABELS)
    shuffled = HeldOutScores(features[order], copies[order]).of(targets[order], LABELS)
    np.testing.assert_allclose(shuffled, straight[order], atol=1e-9)


def test_the_trial_finds_most_where_classes_are_apart_and_few_where_features_say_nothing() -> None:
    features, targets = clusters(4, 300, spread=0.05)
    noise = np.random.default_rng(5).random((300, 12)).astype(np.float32)
    apart = HeldOutScores(features, alone(300)).noticed(targets, LABELS)
    nothing = HeldOutScores(noise, alone(300)).noticed(targets, LABELS)
    assert apart is not None
    assert nothing is not None
    assert apart > 0.95
    assert nothing < 0.75  # chance is two in three


def test_too_few_photos_for_a_trial() -> None:
    features, targets = clusters(6, 19)
    assert HeldOutScores(features, alone(19)).noticed(targets, LABELS) is None


def test_a_feature_that_never_changes_does_no_harm() -> None:
    features, targets = clusters(7)
    features[:, 0] = 7
    assert np.isfinite(HeldOutScores(features, alone(60)).of(targets, LABELS)).all()
