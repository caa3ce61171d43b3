"""The course of each layer, thinned to what a picture can show and a JSON file should hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from model_build.diagnostics.facts import History, LayerSample

_MOST_LAYERS = 40
_MOST_SAMPLES = 60

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
