"""What is known of a training, in plain numbers: the only thing the rules look at. No TensorFlow here.

A :class:`History` grows while the training goes and survives a restart (:meth:`History.to_document`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from model_build.metrics.scores import wilson_interval


@dataclass(frozen=True)
class RunFacts:
    """What is being trained on.

    Attributes:
        labels: the classes, in the order of the outputs.
        photos: training photos of each class, in that order.
        weighted: rare classes count more in the loss.
    """

    labels: tuple[str, ...]
    photos: tuple[int, ...]
    weighted: bool = False


@dataclass(frozen=True)
class StepFacts:
    """One optimiser step. ``number`` counts from 1 over all phases; ``loss`` is that of its batch.

    ``wait_seconds`` went by until the batch was there, ``compute_seconds`` until the weights were updated.
    """

    number: int
    epoch: int
    phase: str
    loss: float
    images: int
    wait_seconds: float
    compute_seconds: float


@dataclass(frozen=True)
class LayerSample:
    """One trainable kernel at one step.

    Attributes:
        gradient: mean of the gradient's absolute values.
        gradient_range: 95th less 5th percentile of the gradient's values.
        variance: of the weights before the step, times their fan-in: by how much a layer changes the variance of what
            goes through it, about 1 to 2 after Glorot's or He's initialisation whatever its width.
        update_ratio: mean absolute update over mean absolute weight.
        nan, infinite: there is such a value in the gradient or in the updated weights.
    """

    layer: str
    gradient: float
    gradient_range: float
    variance: float
    update_ratio: float
    nan: bool = False
    infinite: bool = False


@dataclass(frozen=True)
class Sample:
    """The kernels at one step, in the order of the network."""

    step: int
    phase: str
    loss: float
    layers: tuple[LayerSample, ...]


@dataclass(frozen=True)
class ActivationFacts:
    """One ReLU layer on a few photos.

    Attributes:
        activity: for each unit (or a sample of the sorted units) the percentage of its outputs that are above 0.
    """

    layer: str
    activity: tuple[float, ...]


@dataclass(frozen=True)
class Probe:
    """The ReLU layers at the end of ``epoch``."""

    epoch: int
    layers: tuple[ActivationFacts, ...]


@dataclass(frozen=True)
class EpochFacts:
    """One pass over the training photos, and what the validation photos said after it.

    ``validation_loss`` is the loss that is trained, so that the two compare. ``best``: the best epoch so far, whose
    weights are kept. ``confusion[true][predicted]`` counts validation photos.
    """

    number: int
    phase: str
    loss: float
    validation_loss: float | None = None
    best: bool = False
    confusion: tuple[tuple[int, ...], ...] | None = None


@dataclass
class History:
    """Everything seen so far, each list in the order of time."""

    run: RunFacts | None = None
    steps: list[StepFacts] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    epochs: list[EpochFacts] = field(default_factory=list)

    @property
    def validated(self) -> list[EpochFacts]:
        """The epochs with a validation loss."""
        return [epoch for epoch in self.epochs if epoch.validation_loss is not None]

    @property
    def judged(self) -> list[EpochFacts]:
        """The epochs with a confusion matrix of validation photos."""
        return [epoch for epoch in self.epochs if epoch.confusion is not None]

    @property
    def phases(self) -> list[str]:
        """The names of the phases, first seen first."""
        return list(dict.fromkeys([*(step.phase for step in self.steps), *(epoch.phase for epoch in self.epochs)]))

    def kept(self) -> EpochFacts | None:
        """The judged epoch whose weights are kept: the last best one, the last of all if none is marked."""
        judged = self.judged
        return next((epoch for epoch in reversed(judged) if epoch.best), judged[-1] if judged else None)

    def skill(self) -> float | None:
        """How far from chance to perfection the kept epoch's validation accuracy is sure to be: up to 0 where its 95 %
        interval (Wilson) reaches down to the share of the most frequent class, 1 for perfection. None where no epoch is
        judged, or the photos are of one class."""
        kept = self.kept()
        counts = [sum(row) for row in kept.confusion] if kept is not None and kept.confusion is not None else []
        if kept is None or kept.confusion is None or not sum(counts):
            return None
        right = sum(row[index] for index, row in enumerate(kept.confusion))
        chance = max(counts) / sum(counts)
        return (wilson_interval(right, sum(counts))[0] - chance) / (1 - chance) if chance < 1 else None

    def to_document(self) -> dict[str, Any]:
        """JSON's own types; a number that is not finite becomes null."""
        cleaned: dict[str, Any] = _finite(asdict(self))
        return cleaned

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> History:
        run = document["run"]
        return cls(
            run=None if run is None else RunFacts(tuple(run["labels"]), tuple(run["photos"]), run["weighted"]),
            steps=[StepFacts(**_numbers(one)) for one in document["steps"]],
            samples=[
                Sample(one["step"], one["phase"], _number(one["loss"]), _layers(LayerSample, one["layers"]))
                for one in document["samples"]
            ],
            probes=[Probe(one["epoch"], _layers(ActivationFacts, one["layers"])) for one in document["probes"]],
            epochs=[EpochFacts(**{**one, "confusion": _rows(one["confusion"])}) for one in document["epochs"]],
        )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(document: dict[str, Any]) -> dict[str, Any]:
    return {key: _number(value) if value is None else value for key, value in document.items()}


def _layers(kind: type[Any], documents: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    return tuple(
        kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in _numbers(one).items()})
        for one in documents
    )


def _rows(rows: Sequence[Sequence[int]] | None) -> tuple[tuple[int, ...], ...] | None:
    return None if rows is None else tuple(tuple(row) for row in rows)
