"""Rules about layers: their gradients, weights and updates, and units that have stopped working.

Defaults are those of the SageMaker Debugger's built-in rules (:data:`DEBUGGER_RULES`). Its tensors are saved at
intervals; here too a "step" of such a rule is one of the sampled steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from model_build.diagnostics.diagnosis import Finding, Rule, Severity
from model_build.diagnostics.facts import ActivationFacts, History, LayerSample, Probe, Sample

_LISTED = 3
_OPENING_EPOCHS = 3


@dataclass(frozen=True)
class VanishingGradient(Rule, name="vanishing gradient", anchor="vanishing-gradient", needs="samples", live=True):
    """VanishingGradient: the mean of a gradient's absolute values falls below ``threshold`` (default 0.0000001).

    Two conditions keep a finished training silent, which has no gradient left either: it must hold for ``patience``
    samples in a row, and while the loss is still above ``converged`` times its first value.
    """

    threshold: float = 1e-7
    patience: int = 2
    converged: float = 0.01

    def check(self, history: History) -> Finding | None:
        floor = self.converged * history.samples[0].loss
        learning = [sample for sample in history.samples if not sample.loss < floor]
        runs = _runs(learning, lambda layer: layer.gradient < self.threshold, self.patience)
        if not runs:
            return None
        worst = min((layer for sample in learning for layer in sample.layers if layer.layer in runs), key=_gradient)
        total = len({layer.layer for sample in learning for layer in sample.layers})
        return Finding(
            self.name,
            Severity.ERROR if 2 * len(runs) > total else Severity.WARNING,
            f"step {min(runs.values())}",
            {
                "layers": f"{len(runs)} of {total}: {_names(runs)}",
                "smallest mean gradient": worst.gradient,
                "threshold": self.threshold,
            },
            "These layers receive almost no gradient, so their weights keep their initial values: only the layers "
            "after them learn.",
            "Use ReLU instead of sigmoid or tanh, add batch normalization or skip connections, initialise with He or "
            "Glorot, use a shallower network, or start from pretrained weights.",
        )


@dataclass(frozen=True)
class ExplodingTensor(Rule, name="exploding gradient", anchor="exploding-tensor", needs="steps", live=True):
    """ExplodingTensor: a value is NaN or infinite; ``only_nan`` (default False) lets infinity pass.

    Looks at the loss of every step, and at gradients and weights of the sampled ones.
    """

    only_nan: bool = False

    def check(self, history: History) -> Finding | None:
        found = [(step.number, "loss") for step in history.steps if self._bad(step.loss)]
        found += [
            (sample.step, layer.layer)
            for sample in history.samples
            for layer in sample.layers
            if layer.nan or (layer.infinite and not self.only_nan)
        ]
        if not found:
            return None
        first = min(step for step, _ in found)
        where = list(dict.fromkeys(what for step, what in found if step == first))
        before = [step.loss for step in history.steps if step.number < first and math.isfinite(step.loss)]
        return Finding(
            self.name,
            Severity.ERROR,
            f"step {first}",
            {"not finite": _names(where)} | ({"last finite loss": before[-1]} if before else {}),
            "A value has become infinite or NaN. Every later update spreads it: nothing is learnt from that step on.",
            "Lower the learning rate (try a factor of 10) or warm it up longer; clip the gradient norm; look for "
            "broken photos; with mixed precision check the loss scaling.",
        )

    def _bad(self, value: float) -> bool:
        return math.isnan(value) if self.only_nan else not math.isfinite(value)


@dataclass(frozen=True)
class WeightUpdateRatio(Rule, name="weight update ratio", anchor="weight-update-ratio", needs="samples", live=True):
    """WeightUpdateRatio: update over weight is above ``large_threshold`` (10.0) or below ``small_threshold`` (1e-8).

    ``epsilon`` (1e-9) is added to the mean weight, against division by zero, where the ratio is measured
    (:mod:`model_build.diagnostics.observer`). Too small counts only if it holds for half of a layer's samples: warm-up
    and the end of a cosine schedule make tiny updates on purpose.
    """

    large_threshold: float = 10.0
    small_threshold: float = 1e-8

    def check(self, history: History) -> Finding | None:
        large = [
            (sample.step, layer)
            for sample in history.samples
            for layer in sample.layers
            if layer.update_ratio > self.large_threshold
        ]
        if large:
            worst = max((layer for _, layer in large), key=lambda layer: layer.update_ratio)
            return Finding(
                self.name,
                Severity.WARNING,
                f"step {min(step for step, _ in large)}",
                {
                    "layers": _names(layer.layer for _, layer in large),
                    "largest ratio": worst.update_ratio,
                    "threshold": self.large_threshold,
                },
                "A single step changes these weights by several times their magnitude: what they had learnt is "
                "overwritten.",
                "Lower the learning rate, or lengthen the warm-up.",
            )
        small = {layer: ratios for layer, ratios in _ratios(history.samples).items() if self._mostly_small(ratios)}
        if not small:
            return None
        return Finding(
            self.name,
            Severity.WARNING,
            f"step {history.samples[0].step}",
            {
                "layers": _names(small),
                "median ratio": float(np.median([ratio for ratios in small.values() for ratio in ratios])),
                "threshold": self.small_threshold,
            },
            "The updates are so small that these weights hardly change: these layers learn nothing.",
            "Raise the learning rate; if only some layers are named, check whether they receive a gradient at all.",
        )

    def _mostly_small(self, ratios: list[float]) -> bool:
        return len(ratios) > 1 and 2 * sum(ratio < self.small_threshold for ratio in ratios) >= len(ratios)


@dataclass(frozen=True)
class PoorWeightInitialization(
    Rule, name="poor weight initialisation", anchor="poor-weight-initialization", needs="samples", live=True
):
    """PoorWeightInitialization: at the start, layers are out of proportion and the loss does not fall.

    Published: the ratio of the largest to the smallest variance by layer exceeds ``threshold`` (10.0); the smallest
    distance of a gradient's 5th and 95th percentile is under ``distribution_range`` (0.001); the loss has not fallen
    for ``patience`` (5) steps; over the first ``steps`` (10). Sound networks often show one of the first two (the
    gradients of a pretrained one are small), so here one of them counts only together with the third, judged over the
    first three epochs. The variance is the weights', times their fan-in: that of the activations is in proportion.
    Weights that are all equal need no second sign: their units compute the same for ever. (The output layer alone may
    start at zero: its gradients differ by class.) Weights that an earlier phase has trained are not looked at.
    """

    threshold: float = 10.0
    distribution_range: float = 0.001
    patience: int = 5
    steps: int = 10

    def check(self, history: History) -> Finding | None:
        first = history.samples[0]
        if any(epoch.phase != first.phase for epoch in history.epochs[:1]):
            return None
        equal = [layer.layer for layer in first.layers[:-1] if layer.variance == 0.0]
        variances = [layer.variance for layer in first.layers]
        ratio = max(variances) / min(variances) if min(variances) > 0 else math.inf
        spread = min(
            layer.gradient_range
            for sample in history.samples[: self.steps]
            if sample.phase == first.phase
            for layer in sample.layers
        )
        lopsided = ratio > self.threshold or spread < self.distribution_range
        if not equal and not (lopsided and self._stalled(history)):
            return None
        return Finding(
            self.name,
            Severity.ERROR if equal else Severity.WARNING,
            f"step {first.step}",
            ({"layers of equal weights": _names(equal)} if equal else {})
            | {"variance ratio": ratio, "smallest gradient range": spread},
            "All units of a layer start equal, get the same gradient and stay equal: the layer acts as a single unit."
            if equal
            else "Signals or gradients differ by orders of magnitude between layers, and the first steps do not lower "
            "the loss.",
            "Initialise with He (ReLU) or Glorot (tanh, sigmoid), never with a constant; or start from pretrained "
            "weights.",
        )

    def _stalled(self, history: History) -> bool:
        """No window after the first has a lower loss: an epoch each, or half of the only one; ``patience`` at least."""
        opening = history.steps[0]
        losses = [step.loss for step in history.steps if step.epoch < opening.epoch + _OPENING_EPOCHS]
        if not np.isfinite(losses).all():  # another rule's finding
            return False
        epoch = sum(step.epoch == opening.epoch for step in history.steps)
        size = max(self.patience, min(epoch, len(losses) // 2))
        means = [np.mean(losses[start : start + size]) for start in range(0, len(losses) - size + 1, size)]
        return len(losses) >= self.steps and not any(mean < means[0] for mean in means[1:])


def _gradient(layer: LayerSample) -> float:
    return math.inf if math.isnan(layer.gradient) else layer.gradient


def _ratios(samples: Iterable[Sample]) -> dict[str, list[float]]:
    ratios: dict[str, list[float]] = {}
    for sample in samples:
        for layer in sample.layers:
            ratios.setdefault(layer.layer, []).append(layer.update_ratio)
    return ratios


def _runs(samples: Iterable[Sample], fires: Callable[[LayerSample], bool], patience: int) -> dict[str, int]:
    """Layers that fire in ``patience`` samples in a row, with the step at which the first such run begins."""
    begun: dict[str, list[int]] = {}
    found: dict[str, int] = {}
    for sample in samples:
        for layer in sample.layers:
            run = begun.setdefault(layer.layer, [])
            if not fires(layer):
                run.clear()
                continue
            run.append(sample.step)
            if len(run) >= patience:
                found.setdefault(layer.layer, run[0])
    return found


def _names(layers: Iterable[str]) -> str:
    names = list(dict.fromkeys(layers))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


@dataclass(frozen=True)
class DeadRelu(Rule, name="dead ReLU", anchor="dead-relu", needs="probes", live=True):
    """DeadRelu: more than ``threshold_layer`` (50.0) percent of a layer's ReLUs are dead.

    A ReLU is dead that is active for less than ``threshold_inactivity`` (1.0) percent of its inputs. What counts is the
    last look, on a few training photos.
    """

    threshold_inactivity: float = 1.0
    threshold_layer: float = 50.0

    def check(self, history: History) -> Finding | None:
        last = history.probes[-1]
        dead = {layer.layer: self._dead_percent(layer) for layer in last.layers}
        dead = {layer: percent for layer, percent in dead.items() if percent > self.threshold_layer}
        if not dead:
            return None
        worst = max(dead, key=lambda layer: dead[layer])
        return Finding(
            self.name,
            Severity.ERROR if 2 * len(dead) > len(last.layers) else Severity.WARNING,
            self._since(history.probes, set(dead)),
            {
                "layers": f"{len(dead)} of {len(last.layers)}",
                "worst layer": worst,
                "dead units in it, percent": dead[worst],
                "threshold, percent": self.threshold_layer,
            },
            "Most units of these layers output 0 for every photo. Such a unit gets no gradient and cannot recover: the "
            "effective network is smaller.",
            "Lower the learning rate (one large step can push a layer below 0 for good), start biases at 0 and weights "
            "with He, or use LeakyReLU; batch normalization before the ReLU helps.",
        )

    def _dead_percent(self, layer: ActivationFacts) -> float:
        return 100.0 * sum(percent < self.threshold_inactivity for percent in layer.activity) / len(layer.activity)

    def _since(self, probes: list[Probe], dead: set[str]) -> str:
        """The first look from which on at least one of the layers has always been dead."""
        since = probes[-1].epoch
        for probe in reversed(probes):
            if not any(
                layer.layer in dead and self._dead_percent(layer) > self.threshold_layer for layer in probe.layers
            ):
                break
            since = probe.epoch
        return f"epoch {since}"
