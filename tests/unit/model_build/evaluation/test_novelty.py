"""Fitting novelty: photos that cover the others, percentiles of photos that took no part, and a file within bounds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.novelty import KnownPhotos, descriptors
from model_build.evaluation.novelty import FittedNovelty, NoveltyMetrics, spread


def clouds(seed: int, photos: int, features: int, centre: int = 7) -> Any:
    """Embeddings around the same few directions for one ``centre``."""
    means = np.random.default_rng(centre).normal(size=(4, features))
    chance = np.random.default_rng(seed)
    return (means[chance.integers(0, 4, photos)] + chance.normal(size=(photos, features)) * 0.5).astype(np.float32)


@pytest.mark.parametrize("features", [8, 96, 1280, 4096])
def test_the_file_stays_within_its_bounds(features: int) -> None:
    fitted = FittedNovelty.fit(clouds(1, 1000, features), clouds(2, 1500, features))
    data = fitted.known.to_bytes()
    assert len(data) <= 300_000
    assert fitted.known.photos == min(1000, 290_000 // features)
    again = KnownPhotos.from_bytes(data)
    other = clouds(3, 1, features)[0]
    assert again.novelty(other) == fitted.known.novelty(other)


def test_new_photos_of_the_same_kind_are_spread_evenly_and_others_are_beyond() -> None:
    fitted = FittedNovelty.fit(clouds(1, 400, 32), clouds(2, 400, 32))
    same = np.array([fitted.known.novelty(one) for one in clouds(3, 400, 32)])
    assert np.quantile(same, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.08)
    other = np.array([fitted.known.novelty(one) for one in clouds(4, 100, 32, centre=8)])
    assert (other > 0.95).mean() > 0.9


@pytest.mark.parametrize("limit", [0.5, 0.9, 0.95, 1.0])
def test_the_limit_accepts_its_share_of_the_validation_photos(limit: float) -> None:
    validation = clouds(2, 240, 32)
    fitted = FittedNovelty.fit(clouds(1, 300, 32), validation)
    accepted = np.mean([fitted.known.novelty(one) <= limit for one in validation])
    assert accepted == pytest.approx(limit, abs=1.5 / 240)
    measured = fitted.measured(limit, validation)
    assert measured.test == pytest.approx(1 - limit, abs=1.5 / 240)
    assert (sum(measured.counts), measured.validation, measured.training) == (240, 240, 300)
    assert measured.edges[0] <= measured.limit_distance <= measured.edges[-1]
    assert NoveltyMetrics.from_document(json.loads(json.dumps(asdict(measured)))) == measured


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 1000))
def test_chosen_photos_are_as_near_to_the_others_as_to_each_other(count: int, photos: int, seed: int) -> None:
    embeddings = np.random.default_rng(seed).normal(size=(photos, 5)).astype(np.float32)
    rows = spread(embeddings, count)
    assert len(rows) == len(set(rows.tolist())) == min(count, photos)
    described = descriptors(embeddings)
    distances = np.linalg.norm(described[:, np.newaxis] - described[rows], axis=2)
    # Gonzalez (1985): nothing lies farther from the chosen than the nearest two of these from each other.
    if len(rows) > 1:
        among = distances[rows][np.triu_indices(len(rows), 1)]
        assert distances.min(axis=1).max() <= among.min() + 1e-4
