"""Everything a report says of a model's answers to labelled photos, from probabilities and truth alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_build.metrics.calibration import Calibration, calibration, scaled
from model_build.metrics.scores import Scores, score

_TOP = (2, 3, 5)
_MOST_MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """A photo whose label is not the predicted one, by its row; ``confidence`` is of the prediction, as served."""

    row: int
    truth: str
    predicted: str
    confidence: float
    truth_confidence: float


@dataclass(frozen=True)
class Quality:
    """``top_k`` maps k to the share of photos with their label among the k best; before and after scaling."""

    scores: Scores
    top_k: dict[int, float]
    temperature: float
    before: Calibration
    after: Calibration
    worst: tuple[Mistake, ...]

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it; no confusion matrix, which grows with the square of the labels."""
        document = self.scores.to_document()
        return {
            **self.scores.summary(),
            "top_k": {str(k): round(share, 6) for k, share in self.top_k.items()},
            "ece_before": round(self.before.error, 6),
            "ece": round(self.after.error, 6),
            "nll_before": round(self.before.nll, 6),
            "nll": round(self.after.nll, 6),
            "classes": document["classes"],
        }

    def to_document(self) -> dict[str, Any]:
        return {
            **self.summary(),
            "labels": list(self.scores.labels),
            "confusion": [list(row) for row in self.scores.confusion],
            "temperature": self.temperature,
            "calibration": {"before": self.before.to_document(), "after": self.after.to_document()},
        }


def judge(unscaled: ArrayLike, truth: NDArray[np.int64], labels: Sequence[str], temperature: float) -> Quality:
    """Measure answers.

    Args:
        unscaled: (photos, labels), probabilities at temperature 1.
        truth: (photos,), the index of each photo's label.
        temperature: what the function will divide the logits by.
    """
    before = np.asarray(unscaled, np.float64)
    after = scaled(before, temperature)
    return Quality(
        scores=score(truth, before.argmax(axis=1), labels),
        top_k=top_k(before, truth),
        temperature=temperature,
        before=calibration(before, truth),
        after=calibration(after, truth),
        worst=mistakes(after, truth, labels),
    )


def top_k(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[int, float]:
    """For every k under the number of labels: with all of them the share says nothing."""
    if not len(truth):
        return {}
    rank = (probabilities > probabilities[np.arange(len(truth)), truth][:, np.newaxis]).sum(axis=1)
    return {k: float((rank < k).mean()) for k in _TOP if k < probabilities.shape[1]}


def mistakes(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], labels: Sequence[str]
) -> tuple[Mistake, ...]:
    """The wrong answers, surest first, at most two dozen."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    order = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:_MOST_MISTAKES]
    return tuple(
        Mistake(
            int(row),
            labels[truth[row]],
            labels[predicted[row]],
            float(probabilities[row, predicted[row]]),
            float(probabilities[row, truth[row]]),
        )
        for row in order
    )
