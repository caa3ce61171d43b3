"""How good a classifier is, from what it said and what was true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile


@dataclass(frozen=True)
class ClassScore:
    """One class. ``support`` counts its photos; a ratio with nothing to divide by is None, not 0."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Scores:
    """``confusion[true][predicted]`` counts photos, both in the order of ``labels``; ``interval`` is 95 %, Wilson's."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    images: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    classes: tuple[ClassScore, ...]

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "accuracy": round(self.accuracy, 6),
            "interval_95": [round(bound, 6) for bound in self.interval],
            "images": self.images,
            "correct": self.correct,
        }

    def to_document(self) -> dict[str, Any]:
        return {
            **self.summary(),
            "labels": list(self.labels),
            "confusion": [list(row) for row in self.confusion],
            "classes": {
                score.label: {
                    "precision": score.precision,
                    "recall": score.recall,
                    "f1": score.f1,
                    "support": score.support,
                }
                for score in self.classes
            },
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Scores:
        return scores_of_confusion(np.array(document["confusion"]), document["labels"])


def score(truth: ArrayLike, predicted: ArrayLike, labels: Sequence[str]) -> Scores:
    """Compare label indices, one a photo."""
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (np.asarray(truth, np.intp), np.asarray(predicted, np.intp)), 1)
    return scores_of_confusion(confusion, labels)


def scores_of_confusion(confusion: Any, labels: Sequence[str]) -> Scores:
    """Scores from counts of shape (labels, labels), true class first."""
    images, correct = int(confusion.sum()), int(np.trace(confusion))
    classes = []
    for index, label in enumerate(labels):
        hit, true, claimed = (
            int(n) for n in (confusion[index, index], confusion[index].sum(), confusion[:, index].sum())
        )
        classes.append(
            ClassScore(label, _ratio(hit, claimed), _ratio(hit, true), _ratio(2 * hit, true + claimed), support=true)
        )
    return Scores(
        labels=tuple(labels),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        images=images,
        correct=correct,
        accuracy=correct / images if images else 0.0,
        interval=wilson_interval(correct, images),
        classes=tuple(classes),
    )


def wilson_interval(correct: int, images: int, z: float = _Z95) -> tuple[float, float]:
    """Bounds of the true accuracy (Wilson, "Probable inference", JASA 1927); (0, 1) when nothing was measured."""
    if images == 0:
        return 0.0, 1.0
    share, square = correct / images, z * z
    centre = (share + square / (2 * images)) / (1 + square / images)
    half = z / (1 + square / images) * math.sqrt(share * (1 - share) / images + square / (4 * images * images))
    # Kept around the share itself, which rounding may leave by a hair's breadth at 0 and 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def log_softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Natural logarithms of the probabilities, by row; (photos, labels)."""
    values = np.asarray(logits, np.float64)
    values = values - values.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return result


def cross_entropy(logits: NDArray[np.float32], targets: NDArray[np.int64], smoothing: float = 0.0) -> float:
    """Mean over the photos, in nats; NaN where there are none.

    Args:
        logits: (photos, labels). ``targets``: (photos,), the index of each photo's label.
        smoothing: share of each target spread over all labels (Szegedy et al., "Rethinking the Inception
            Architecture", 2016).
    """
    if not len(targets):
        return math.nan
    shares = log_softmax(logits)
    true = shares[np.arange(len(targets)), targets]
    return float(-((1 - smoothing) * true + smoothing * shares.mean(axis=1)).mean())
