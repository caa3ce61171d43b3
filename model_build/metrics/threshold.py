"""From which confidence on a prediction needs no second look: chosen on validation photos for a wanted precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

DEFAULT_PRECISION = 0.95
FEWEST_ACCEPTED = 10
"""A precision counted on fewer accepted photos than this is too uncertain to use, unless there are no more."""
_DECIMALS = 4


@dataclass(frozen=True)
class ReviewThreshold:
    """Predictions under ``value`` are marked for review.

    Attributes:
        target: the precision wanted of those that are not.
        precision: theirs on the validation photos; None where none is left.
        accepted: share of the validation photos that are not marked.
        reached: whether ``precision`` is at least ``target``.
        by_hand: somebody gave the value; it was not chosen for the target.
    """

    value: float
    target: float
    precision: float | None
    accepted: float
    photos: int
    reached: bool
    by_hand: bool = False

    @property
    def statement(self) -> str:
        """One line for the reader."""
        if self.by_hand:
            right = "" if self.precision is None else f", {self.precision:.1%} of them correct"
            accepted = f"{self.accepted:.1%} of {self.photos} validation photos need no review"
            return f"set by hand to {self.value:g}: {accepted}{right}"
        if not self.reached:
            return (
                f"no threshold reaches the target precision of {self.target:.1%} on {self.photos} validation photos:"
                " every prediction is marked for review; lower --precision or train a better model"
            )
        told = f"{self.precision or 0:.1%} of them correct on {self.photos} validation photos; target {self.target:.1%}"
        if self.accepted == 1.0:
            return (
                f"every validation photo is accepted without review ({told}); predictions below {self.value:g}, less"
                " confident than any of those, are marked for review"
            )
        return f"at confidence {self.value:g} or more, {self.accepted:.1%} of photos need no review ({told})"


def choose_threshold(confidence: ArrayLike, right: ArrayLike, target: float = DEFAULT_PRECISION) -> ReviewThreshold:
    """The lowest threshold that reaches ``target``: the least work for the reviewers.

    Args:
        confidence: (photos,), of the predicted label as it is served (after temperature scaling), in [0, 1].
        right: (photos,), whether that label is the true one.
        target: wanted share of right predictions among those with at least that confidence.
    """
    values, hits = np.asarray(confidence, np.float64), np.asarray(right, bool)
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], hits[order]
    photos = len(values)
    counts = np.arange(1, photos + 1)
    precision = np.cumsum(hits) / counts if photos else np.zeros(0)
    # A threshold accepts all photos of equal confidence or none: only the last of each counts.
    last = np.append(values[1:] < values[:-1], True) if photos else np.zeros(0, bool)
    good = np.flatnonzero(last & (precision >= target) & (counts >= min(FEWEST_ACCEPTED, photos)))
    if not len(good):
        return ReviewThreshold(1.0, target, None, 0.0, photos, reached=False)
    chosen = int(good[-1])
    below = float(values[chosen + 1]) if chosen + 1 < photos else -1.0
    rounded = math.floor(float(values[chosen]) * 10**_DECIMALS) / 10**_DECIMALS
    value = rounded if rounded > below else float(values[chosen])
    return ReviewThreshold(value, target, float(precision[chosen]), (chosen + 1) / photos, photos, reached=True)


def given_threshold(value: float, confidence: ArrayLike, right: ArrayLike, target: float) -> ReviewThreshold:
    """A threshold somebody set, with what it does on the validation photos; see :func:`choose_threshold`."""
    accepted = np.asarray(confidence, np.float64) >= value
    hits = np.asarray(right, bool)[accepted]
    precision = float(hits.mean()) if len(hits) else None
    share = float(accepted.mean()) if len(accepted) else 0.0
    reached = precision is not None and precision >= target
    return ReviewThreshold(value, target, precision, share, len(accepted), reached, by_hand=True)
