"""Listens to a training and has the rules judge it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_build.diagnostics.curves import layer_curves
from model_build.diagnostics.facts import EpochFacts, History, Probe, RunFacts, Sample, StepFacts
from model_build.diagnostics.findings import Diagnosis, Finding, Overhead, Rule, Severity, judge
from model_build.diagnostics.rules import DEFAULT_RULES
from model_build.diagnostics.step_time import step_times
from model_build.diagnostics.tensors import activation_facts, layer_samples
from model_build.training.observers import Epoch, EpochSample, StepRecord, TrainingContext


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
                validation_loss=_cross_entropy(
                    sample.validation_targets, sample.validation_logits, self._label_smoothing
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
            verdicts=judge(self._rules, self._history),
            step_times=tuple(one.to_document() for one in step_times(self._history)),
            curves=layer_curves(self._history),
            overhead=Overhead(self._watching_seconds, sum(step.wait_seconds + step.compute_seconds for step in steps)),
        )

    def _tell(self) -> None:
        for verdict in judge([rule for rule in self._rules if rule.live], self._history):
            finding = verdict.finding
            if finding is None or finding.severity is Severity.NOTE:
                continue
            if self._told.get(finding.rule) not in (finding.severity, Severity.ERROR):
                self._told[finding.rule] = finding.severity
                self._on_finding(finding)


def _cross_entropy(targets: NDArray[np.int64], logits: NDArray[np.float32], smoothing: float) -> float:
    """Mean cross-entropy with label smoothing (Szegedy et al., "Rethinking the Inception Architecture", 2016)."""
    if not len(targets):
        return math.nan
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    log_shares = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    true = np.take_along_axis(log_shares, targets[:, None], axis=-1)[:, 0]
    return float(-((1 - smoothing) * true + smoothing * log_shares.mean(axis=-1)).mean())
