"""Observes a training, reduces the tensors it sees to the few numbers the rules need, and runs the rules."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_build.diagnostics.class_rules import ChanceLevel, ClassImbalance, Confusion
from model_build.diagnostics.diagnosis import Diagnosis, Finding, Overhead, Rule, Severity, Trained, results_of
from model_build.diagnostics.facts import (
    ActivationFacts,
    EpochFacts,
    History,
    LayerSample,
    Probe,
    RunFacts,
    Sample,
    StepFacts,
)
from model_build.diagnostics.layer_rules import (
    DeadRelu,
    ExplodingTensor,
    PoorWeightInitialization,
    VanishingGradient,
    WeightUpdateRatio,
)
from model_build.diagnostics.loss_rules import LossNotDecreasing, Overfit, Overtraining
from model_build.diagnostics.step_time import InputBound, step_times
from model_build.metrics.scores import cross_entropy
from model_build.training.config import TrainingConfig
from model_build.training.observers import (
    SILENT,
    Epoch,
    EpochSample,
    StepRecord,
    TrainingContext,
    VariableSample,
    Watcher,
)
from model_build.training.train import train

EPSILON = 1e-9  # WeightUpdateRatio's default ``epsilon``
_RANGE_VALUES = 4096  # percentiles of more values would sort for longer than the rest takes
_UNITS_KEPT = 101
_MOST_LAYERS = 40
_MOST_SAMPLES = 60
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
    ChanceLevel(),
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
    config: TrainingConfig, data: Path, out: Path, *, weights: Path | None = None, watcher: Watcher = SILENT
) -> Trained:
    """:func:`model_build.training.train.train`, with what the rules found in the run record."""
    watching = Diagnostics(
        label_smoothing=config.label_smoothing,
        weighted=config.class_weights != "none",
        on_finding=lambda one: watcher.finding(one.severity.value, one.rule, one.meaning),
    )
    run, scores = train(
        config,
        data,
        out,
        weights=weights,
        watcher=watcher,
        observers=[watching],
        diagnose=lambda: watching.finish().to_document(),
    )
    return Trained(run, scores)


def layer_samples(variables: Iterable[VariableSample]) -> tuple[LayerSample, ...]:
    """One sample for each kernel: a variable of two or more dimensions.

    Biases and normalisation scales are left out: a bias below a normalisation gets no gradient by construction, and
    both rightly start at a constant.
    """
    return tuple(_layer_sample(one) for one in variables if np.ndim(one.before) >= 2)


def activation_facts(layer: str, shares: NDArray[np.float32]) -> ActivationFacts:
    """From the share of its outputs, 0 to 1, at which each unit is above 0; of many units every so many-th, sorted."""
    activity = 100.0 * np.sort(shares)
    if len(activity) > _UNITS_KEPT:
        activity = activity[np.linspace(0, len(activity) - 1, _UNITS_KEPT).round().astype(int)]
    return ActivationFacts(layer, tuple(round(float(one), 3) for one in activity))


def _layer_sample(variable: VariableSample) -> LayerSample:
    weights, updated, values = variable.before, variable.after, variable.gradient.ravel()
    mean = float(np.abs(values).mean())
    update = float(np.abs(updated - weights).mean())
    # One value that is not finite makes its mean so; only then is every value looked at.
    suspect = not (np.isfinite(mean) and np.isfinite(update))
    low, high = (0.0, 0.0) if suspect else np.percentile(values[:: max(1, values.size // _RANGE_VALUES)], (5, 95))
    return LayerSample(
        layer=_layer_name(variable.name),
        gradient=mean,
        gradient_range=float(high - low),
        # Rounding gives equal numbers a variance a little above 0.
        variance=float(weights.var()) * weights.size / weights.shape[-1] if np.ptp(weights) else 0.0,
        update_ratio=update / (float(np.abs(weights).mean()) + EPSILON),
        nan=suspect and bool(np.isnan(values).any() or np.isnan(updated).any()),
        infinite=suspect and bool(np.isinf(values).any() or np.isinf(updated).any()),
    )


def _layer_name(path: str) -> str:
    """``mobilenetv2/block_1_expand/kernel`` -> ``block_1_expand``; a layer's other variables keep their names."""
    *_, layer, variable = ["", *path.split("/")]
    return layer if layer and variable == "kernel" else f"{layer}/{variable}".lstrip("/")


T = TypeVar("T")


def layer_curves(history: History) -> dict[str, Any]:
    """Mean gradient and update ratio by layer (in the order of the network) and sampled step.

    Three significant digits; null where a layer was not trained at a step, or its number was not finite.
    """
    if not history.samples:
        return {}
    widest = max(history.samples, key=lambda sample: len(sample.layers))
    layers = _thin([layer.layer for layer in widest.layers], _MOST_LAYERS)
    samples = _thin(history.samples, _MOST_SAMPLES)
    by_layer = [{layer.layer: layer for layer in sample.layers} for sample in samples]
    return {
        "layers": layers,
        "steps": [sample.step for sample in samples],
        "phases": [sample.phase for sample in samples],
        "gradient": [[_gradient(found.get(layer)) for found in by_layer] for layer in layers],
        "update_ratio": [[_update_ratio(found.get(layer)) for found in by_layer] for layer in layers],
    }


def _gradient(layer: LayerSample | None) -> float | None:
    return None if layer is None else _rounded(layer.gradient)


def _update_ratio(layer: LayerSample | None) -> float | None:
    return None if layer is None else _rounded(layer.update_ratio)


def _rounded(value: float) -> float | None:
    return float(f"{value:.3g}") if math.isfinite(value) else None


def _thin(values: Sequence[T], most: int) -> list[T]:
    """Evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]
