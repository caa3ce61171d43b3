"""Fits the novelty of a bundle (:mod:`classifier.novelty`) to embeddings, and says how it does.

The nearest of some 230 training photos was chosen over the Mahalanobis distance with shared covariance (Lee et al.,
"A Simple Unified Framework for Detecting Out-of-Distribution Samples", 2018), by what each finds at 95 % of the known
photos accepted; docs/your-photos.md has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classifier.novelty import KnownPhotos, descriptors
from model_build.files import known_fields

DEFAULT_LIMIT = 0.95
MOST_PHOTOS = 1000
"""More training photos than this add time to fitting, and nothing that was measured."""
FEWEST_PHOTOS = 20
"""Fewer validation photos than this do not tell 95 % from all."""
_MOST_VALUES = 290_000  # of one byte each: with the distances the file stays under 300 KB, and a search under 0.3 ms
_MOST_DISTANCES = 1000
_BINS = 20


@dataclass(frozen=True)
class NoveltyMetrics:
    """What packaging measured of a bundle's novelty.

    Attributes:
        known: how many training photos the bundle keeps, of ``training`` that they were chosen from.
        validation: how many validation photos there are to compare with.
        edges, counts: histogram of their distances to the nearest known photo; one edge more than counts.
        limit_distance: the distance beyond which a photo is over the limit.
        test: share of the test photos that are over the limit.
    """

    known: int
    training: int
    validation: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    limit_distance: float
    test: float

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises TypeError, ValueError or KeyError for anything else than ``asdict`` makes of one."""
        lists = {"edges": tuple(map(float, document["edges"])), "counts": tuple(map(int, document["counts"]))}
        return cls(**{**known_fields(cls, document), **lists})


@dataclass(frozen=True)
class FittedNovelty:
    """``known`` for the bundle; ``distances``: float32, (validation photos,), ascending."""

    known: KnownPhotos
    training: int
    distances: NDArray[np.float32]

    @classmethod
    def fit(cls, training: NDArray[np.float32], validation: NDArray[np.float32]) -> Self:
        """Keep the training photos that cover the others best, and how far from them the validation photos are.

        Args:
            training, validation: embeddings, (photos, features), of at least one photo each.
        """
        chosen = training[spread(training, max(1, _MOST_VALUES // training.shape[1]))]
        known = KnownPhotos.of(chosen, np.zeros(1, np.float32))
        distances = np.sort(np.array([known.distance(embedding) for embedding in validation], np.float32))
        kept = np.linspace(0, len(distances) - 1, min(len(distances), _MOST_DISTANCES)).astype(int)
        return cls(KnownPhotos.of(chosen, distances[kept]), len(training), distances)

    def measured(self, limit: float, test: NDArray[np.float32]) -> NoveltyMetrics:
        """``test``: embeddings of the test photos, (photos, features)."""
        counts, edges = np.histogram(self.distances, bins=_BINS)
        over = [self.known.novelty(embedding) > limit for embedding in test]
        return NoveltyMetrics(
            known=self.known.photos,
            training=self.training,
            validation=len(self.distances),
            edges=tuple(round(float(edge), 6) for edge in edges),
            counts=tuple(int(count) for count in counts),
            limit_distance=round(float(np.quantile(self.distances, limit)), 6),
            test=round(float(np.mean(over)), 6),
        )


def spread(embeddings: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Rows of at most ``count`` embeddings, each the farthest from those before it: every other one is near to one of
    them (k-center greedy; Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance", 1985).
    """
    described = descriptors(embeddings)
    chosen = [0]
    squares = ((described - described[0]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(described)):
        chosen.append(int(squares.argmax()))
        squares = np.minimum(squares, ((described - described[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen, np.intp)
