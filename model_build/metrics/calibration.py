"""Whether confidences mean what they say: expected calibration error, reliability bins, temperature scaling.

All of it follows Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_build.metrics.scores import log_softmax

BINS = 15
"""Of equal width over [0, 1], as in the paper's experiments."""
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
_TINIEST = 1e-12  # what the serving path takes for the smallest probability as well
_GOLDEN = (math.sqrt(5) - 1) / 2
# Precision of the normal prior of the temperature's logarithm: 95 % of temperatures lie from 1/4 to 4. Simulated
# (docs/experiments.md), it costs nothing on 200 photos and is worth a third of the error that few photos add.
_PRIOR = 2.0
_STEPS = 80  # narrows the search to 1e-16 of its range


@dataclass(frozen=True)
class Bin:
    """Photos whose confidence lies in (low, high]; the two means are None where there are none."""

    low: float
    high: float
    photos: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """``error`` is the expected calibration error: the mean over photos of |accuracy - confidence| of their bin."""

    error: float
    nll: float
    bins: tuple[Bin, ...]

    def to_document(self) -> dict[str, Any]:
        return {"ece": round(self.error, 6), "nll": round(self.nll, 6), "bins": [asdict(one) for one in self.bins]}


def calibration(probabilities: ArrayLike, truth: ArrayLike, bins: int = BINS) -> Calibration:
    """Compare confidence with accuracy.

    Args:
        probabilities: (photos, labels), each row a distribution.
        truth: (photos,), the index of each photo's label.
    """
    values = np.asarray(probabilities, np.float64)
    labels = np.asarray(truth, np.intp)
    if not len(labels):
        return Calibration(0.0, 0.0, tuple(Bin(i / bins, (i + 1) / bins, 0, None, None) for i in range(bins)))
    confidence, right = values.max(axis=1), values.argmax(axis=1) == labels
    # Bins are open below and closed above, as in the paper; 0 itself, which no top label has, would be in the first.
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found: list[Bin] = []
    error = 0.0
    for index in range(bins):
        inside = place == index
        count = int(inside.sum())
        mean, share = (float(confidence[inside].mean()), float(right[inside].mean())) if count else (None, None)
        if mean is not None and share is not None:
            error += count / len(labels) * abs(share - mean)
        found.append(Bin(index / bins, (index + 1) / bins, count, mean, share))
    return Calibration(error, _nll(np.log(np.clip(values, _TINIEST, 1.0)), labels, 1.0), tuple(found))


def scaled(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """softmax(log(p) / temperature): what the function serves of a model whose probabilities at temperature 1 are p."""
    logits = np.log(np.clip(np.asarray(probabilities, np.float64), _TINIEST, 1.0)) / temperature
    return np.exp(log_softmax(logits))


def fit_temperature(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """The likeliest temperature given validation photos; 1 where there are none.

    The likelihood has one peak over the inverse temperature (it is log-concave there). A normal prior of its logarithm,
    which has its peak at 1, keeps a few photos from leading far away. A golden-section search finds where the two
    together are highest. Where no photo is wrong the likelihood has no peak: the sharper, the likelier. Then a photo
    counts as (n + 1) / (n + 2) right and the rest as the runner-up's (Platt's targets, "Probabilistic Outputs for
    Support Vector Machines", 1999), so that n right answers are not taken for certainty.

    Args:
        probabilities: (photos, labels) at temperature 1.
        truth: (photos,), the index of each photo's label.

    Returns:
        A temperature from :data:`LOWEST_TEMPERATURE` to :data:`HIGHEST_TEMPERATURE`.
    """
    values = np.asarray(probabilities, np.float64)
    labels = np.asarray(truth, np.intp)
    if not len(labels) or values.shape[1] < 2:
        return 1.0
    logits = np.log(np.clip(values, _TINIEST, 1.0))
    doubt = 1 / (len(labels) + 2) if bool((values.argmax(axis=1) == labels).all()) else 0.0

    def loss(log_inverse: float) -> float:
        prior = _PRIOR * log_inverse**2 / 2 / len(labels)
        return _nll(logits, labels, math.exp(log_inverse), doubt) + prior

    low, high = -math.log(HIGHEST_TEMPERATURE), -math.log(LOWEST_TEMPERATURE)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return min(HIGHEST_TEMPERATURE, max(LOWEST_TEMPERATURE, math.exp(-(low + high) / 2)))


def _nll(logits: NDArray[np.float64], truth: NDArray[np.intp], inverse: float, doubt: float = 0.0) -> float:
    """Mean negative log likelihood of ``truth``, of which ``doubt`` belongs to the likeliest other label."""
    values = log_softmax(logits * inverse)
    rows = np.arange(len(truth))
    expected = values[rows, truth]
    if doubt:
        values[rows, truth] = -np.inf
        expected = (1 - doubt) * expected + doubt * values.max(axis=1)
    return float(-expected.mean())
