"""Gradients and weights of a step, as arrays, become the few numbers the rules need, and curves for the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_build.diagnostics.facts import ActivationFacts, History, LayerSample
from model_build.training.observers import VariableSample

EPSILON = 1e-9  # WeightUpdateRatio's default ``epsilon``
_RANGE_VALUES = 4096  # percentiles of more values would sort for longer than the rest takes
_UNITS_KEPT = 101
_MOST_LAYERS = 40
_MOST_SAMPLES = 60


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
