"""Listens to a training and has all the rules judge it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_build.diagnostics.class_rules import ClassImbalance, Confusion
from model_build.diagnostics.diagnosis import Diagnosis, Finding, Overhead, Rule, Severity, results_of
from model_build.diagnostics.facts import EpochFacts, History, Probe, RunFacts, Sample, StepFacts
from model_build.diagnostics.layer_rules import (
    DeadRelu,
    ExplodingTensor,
    PoorWeightInitialization,
    VanishingGradient,
    WeightUpdateRatio,
)
from model_build.diagnostics.loss_rules import LossNotDecreasing, Overfit, Overtraining
from model_build.diagnostics.step_time import InputBound, step_times
from model_build.diagnostics.tensors import activation_facts, layer_curves, layer_samples
from model_build.metrics.scores import Scores, cross_entropy
from model_build.training.config import TrainingConfig
from model_build.training.observers import Epoch, EpochSample, StepRecord, TrainingContext, TrainingWatcher
from model_build.training.run import Run
from model_build.training.train import train

DEFAULT_RULES: tuple[Rule, ...] = (
    ExplodingTensor(),
    VanishingGradient(),
    DeadRelu(),
    PoorWeightInitialization(),
    WeightUpdateRatio(),
    LossNotDecreasing(),
    Overfit(),
    Overtraining(),
    ClassImbalance(),
    Confusion(),
    InputBound(),
)


class Diagnostics:
    """A :class:`model_build.training.observers.StepObserver` that keeps the few numbers the rules need of each step.

    Args:
        label_smoothing: of the training loss; the validation loss is computed with the same, so that the two compare.
        weighted: the training loss weighs classes by their rarity.
        rules: what to look for.
        on_finding: told of warnings and errors that may be reason to stop: at the end of the epoch in which they come
            up or become worse, at once when the loss is not a number any more. Once each; all is in :meth:`finish`.
        clock: seconds, for what watching costs.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weighted: bool = False,
        rules: Sequence[Rule] = DEFAULT_RULES,
        on_finding: Callable[[Finding], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._label_smoothing = label_smoothing
        self._weighted = weighted
        self._rules = rules
        self._on_finding = on_finding
        self._clock = clock
        self._history = History()
        self._batch_size = 0
        self._watching_seconds = 0.0
        self._told: dict[str, Severity] = {}
        self._exploded = False

    def state(self) -> dict[str, Any]:
        """Everything seen so far, as JSON's types, for a checkpoint."""
        return {"history": self._history.to_document(), "watching_seconds": self._watching_seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the :meth:`state` of an interrupted training."""
        self._history = History.from_document(state["history"])
        self._watching_seconds = state["watching_seconds"]

    def on_train_begin(self, model: Any, context: TrainingContext) -> None:  # noqa: ARG002
        self._batch_size = context.batch_size
        self._history.run = RunFacts(tuple(context.labels), tuple(context.class_counts), self._weighted)

    def on_step(self, record: StepRecord) -> None:
        begun = self._clock()
        number = record.step + 1
        self._history.steps.append(
            StepFacts(
                number=number,
                epoch=record.epoch,
                phase=record.phase,
                loss=record.loss,
                images=self._batch_size,
                wait_seconds=record.data_seconds,
                compute_seconds=record.compute_seconds,
            )
        )
        if record.samples:
            layers = layer_samples(record.samples)
            if layers:
                self._history.samples.append(Sample(number, record.phase, record.loss, layers))
        if not math.isfinite(record.loss) and not self._exploded:
            self._exploded = True
            self._tell()
        self._watching_seconds += self._clock() - begun

    def on_epoch(self, epoch: Epoch, sample: EpochSample) -> None:
        begun = self._clock()
        probed = tuple(activation_facts(name, shares) for name, shares in sample.activity.items() if len(shares))
        if probed:
            self._history.probes.append(Probe(epoch.number, probed))
        labels = sample.validation_logits.shape[-1]
        called = sample.validation_logits.argmax(axis=-1)
        confusion = np.zeros((labels, labels), np.int64)
        np.add.at(confusion, (sample.validation_targets, called), 1)
        self._history.epochs.append(
            EpochFacts(
                number=epoch.number,
                phase=epoch.phase,
                loss=epoch.loss,
                validation_loss=cross_entropy(
                    sample.validation_logits, sample.validation_targets, self._label_smoothing
                ),
                best=epoch.best,
                confusion=tuple(tuple(int(count) for count in row) for row in confusion),
            )
        )
        self._tell()
        self._watching_seconds += self._clock() - begun

    def on_train_end(self) -> None:
        """Nothing is left to do: :meth:`finish` can be called at any time."""

    def finish(self) -> Diagnosis:
        """The verdict on what has been seen, which may be a training that is still going on or has failed."""
        steps = self._history.steps
        return Diagnosis(
            results=results_of(self._rules, self._history),
            step_times=tuple(one.to_document() for one in step_times(self._history)),
            curves=layer_curves(self._history),
            overhead=Overhead(self._watching_seconds, sum(step.wait_seconds + step.compute_seconds for step in steps)),
        )

    def _tell(self) -> None:
        for result in results_of([rule for rule in self._rules if rule.live], self._history):
            finding = result.finding
            if finding is None or finding.severity is Severity.NOTE:
                continue
            if self._told.get(finding.rule) not in (finding.severity, Severity.ERROR):
                self._told[finding.rule] = finding.severity
                self._on_finding(finding)


def train_diagnosed(
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    weights: Path | None = None,
    watcher: TrainingWatcher | None = None,
    on_finding: Callable[[Finding], None] = lambda _: None,
) -> tuple[Run, Scores]:
    """:func:`model_build.training.train.train`, with what the rules found in the run record.

    Args:
        on_finding: told of a finding as soon as it is made.
    """
    watching = Diagnostics(
        label_smoothing=config.label_smoothing, weighted=config.class_weights != "none", on_finding=on_finding
    )
    return train(
        config,
        data,
        out,
        weights=weights,
        watcher=watcher,
        observers=[watching],
        diagnose=lambda: watching.finish().to_document(),
    )
