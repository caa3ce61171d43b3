"""Everything a report says of a model's answers to labelled photos, from probabilities and truth alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_build.metrics.calibration import Calibration, calibration, scaled
from model_build.metrics.scores import Scores, score
from model_build.metrics.threshold import Curve, risk_coverage

CONFIDENCE_BINS = 10
"""Of equal width over [0, 1], in :class:`AnswerMix`."""
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
class ClassMetrics:
    """One class of :class:`SplitMetrics`; a ratio with nothing to divide by is None."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class SplitMetrics:
    """What a manifest says of the answers to the photos of one split.

    No confusion matrix, which grows with the square of the labels. Calibration errors and losses are before and after
    temperature scaling; ``risk_coverage`` is of the confidences as served.
    """

    accuracy: float
    interval_95: tuple[float, float]
    images: int
    correct: int
    top_k: dict[str, float] = field(default_factory=dict)
    ece_before: float | None = None
    ece: float | None = None
    nll_before: float | None = None
    nll: float | None = None
    risk_coverage: Curve = ()
    classes: dict[str, ClassMetrics] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """``top_k`` maps k to the share of photos with their label among the k best; before and after scaling."""

    scores: Scores
    top_k: dict[int, float]
    temperature: float
    before: Calibration
    after: Calibration
    curve: Curve
    worst: tuple[Mistake, ...]

    def measured(self) -> SplitMetrics:
        scores = self.scores
        return SplitMetrics(
            accuracy=round(scores.accuracy, 6),
            interval_95=(round(scores.interval[0], 6), round(scores.interval[1], 6)),
            images=scores.images,
            correct=scores.correct,
            top_k={str(k): round(share, 6) for k, share in self.top_k.items()},
            ece_before=round(self.before.error, 6),
            ece=round(self.after.error, 6),
            nll_before=round(self.before.nll, 6),
            nll=round(self.after.nll, 6),
            risk_coverage=self.curve,
            classes={one.label: ClassMetrics(one.precision, one.recall, one.f1, one.support) for one in scores.classes},
        )

    def to_document(self) -> dict[str, Any]:
        return {
            **asdict(self.measured()),
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
        curve=risk_coverage(after.max(axis=1), before.argmax(axis=1) == truth),
        worst=mistakes(after, truth, labels),
    )


def served_answers(
    unscaled: ArrayLike, truth: NDArray[np.int64], temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidence of each prediction as the function gives it, and whether the prediction is right; (photos,).

    Arguments as of :func:`judge`.
    """
    probabilities = scaled(unscaled, temperature)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == truth


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


@dataclass(frozen=True)
class AnswerMix:
    """How often each label was predicted, and how confidently.

    Attributes:
        labels: count by predicted label.
        confidence: counts in ``CONFIDENCE_BINS`` bins of equal width over [0, 1].
    """

    labels: Mapping[str, int]
    confidence: tuple[int, ...]

    @property
    def answers(self) -> int:
        return sum(self.confidence)

    @classmethod
    def of(cls, answers: Iterable[tuple[str, float]]) -> Self:
        """Count (label, confidence) pairs."""
        labels: dict[str, int] = {}
        bins = [0] * CONFIDENCE_BINS
        for label, confidence in answers:
            labels[label] = labels.get(label, 0) + 1
            bins[confidence_bin(confidence)] += 1
        return cls(labels, tuple(bins))

    @classmethod
    def of_probabilities(cls, unscaled: ArrayLike, labels: Sequence[str], temperature: float) -> Self:
        """Count the predictions as the function gives them; ``unscaled`` as of :func:`judge`."""
        probabilities = scaled(unscaled, temperature)
        names = [labels[row] for row in probabilities.argmax(axis=1)]
        return cls.of(zip(names, probabilities.max(axis=1).tolist(), strict=True))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for anything else than ``{"labels", "confidence"}``."""
        bins = tuple(int(count) for count in document["confidence"])
        if len(bins) != CONFIDENCE_BINS:
            raise ValueError(f"{len(bins)} bins of confidence, not {CONFIDENCE_BINS}")
        return cls({str(label): int(count) for label, count in document["labels"].items()}, bins)

    def __add__(self, other: AnswerMix) -> AnswerMix:
        labels = {one: self.labels.get(one, 0) + other.labels.get(one, 0) for one in (*self.labels, *other.labels)}
        return AnswerMix(labels, tuple(map(sum, zip(self.confidence, other.confidence, strict=True))))


def confidence_bin(confidence: float) -> int:
    return min(int(confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)
