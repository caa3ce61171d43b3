"""What the numbers are that a ``.tflite`` classifier gives: by the operation that makes them, and by their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import Quantization
from classifier.errors import UserError
from model_build.choices import OutputChoice
from model_build.tflite.inspecting import last_operation

_SIGMOID, _SOFTMAX = _TELLING = ("LOGISTIC", "SOFTMAX")
_ROUNDING = 1e-5
_SUM_TOLERANCE = 0.02


def choose_output(
    content: bytes,
    values: NDArray[np.float64],
    quantization: Quantization | None,
    choice: OutputChoice,
    source: Path,
    say: Callable[[str], None] = lambda *_: None,
) -> OutputChoice:
    """What the outputs are: by the operation that makes them, and by their values for photos and noise.

    A sigmoid (``LOGISTIC``) of one output is the probability of the second of two labels, and several are a probability
    each. Otherwise probabilities lie in [0, 1] and sum to 1, and logits do not.

    Args:
        values: (images, outputs), dequantized.
        quantization: of the output.
        choice: the user's; it is refused where the model cannot be what it says.
        source: the model's file, for messages.

    Raises:
        UserError: the values are no such thing, or ``choice`` is another.
    """
    outputs, last = values.shape[1], last_operation(content)
    bounded = bool((values >= -_ROUNDING).all() and (values <= 1 + _ROUNDING).all())
    if outputs == 1 and not bounded:
        raise UserError(
            f"{source} has one output that is no probability (it gives {float(values.min()):.3g} to"
            f" {float(values.max()):.3g}); convert it again with a sigmoid as its last step"
        )
    if last == _SIGMOID or (outputs == 1 and last != _SOFTMAX):
        found = OutputChoice.SIGMOID if outputs == 1 else OutputChoice.MULTI_LABEL
    elif last == _SOFTMAX:
        found = OutputChoice.SOFTMAX
    else:
        found = _by_values(values, quantization, bounded=bounded) or choice
    if outputs == 1 and found is OutputChoice.SOFTMAX:
        raise UserError(f"{source} ends in a softmax of one output, which is 1 for every picture; it cannot classify")
    if found is OutputChoice.AUTO:
        sums = values.sum(axis=1)
        raise UserError(
            f"the outputs of {source} lie in [0, 1] but sum to {float(sums.min()):.2f} up to {float(sums.max()):.2f},"
            " so they are not a softmax; set --output multi-label if each is the probability of its label, else"
            " --output softmax or --output logits"
        )
    if choice is OutputChoice.AUTO:
        say(f"output: {found.value}, {f'by the last operation, {last}' if last in _TELLING else 'by its values'}")
        return found
    if not _compatible(choice, found, last, outputs, bounded=bounded):
        why = (
            f"its last operation is {last}"
            if last in _TELLING
            else f"its {outputs} outputs are not that by their values"
        )
        raise UserError(
            f"--output {choice.value} does not fit {source}: {why}; --output auto takes it as {found.value}"
        )
    return choice


def _compatible(choice: OutputChoice, found: OutputChoice, last: str | None, outputs: int, *, bounded: bool) -> bool:
    if choice is found:
        return True
    if choice is OutputChoice.MULTI_LABEL:
        return bounded and last != _SOFTMAX
    return choice is not OutputChoice.SIGMOID and outputs > 1 and last not in _TELLING


def _by_values(values: NDArray[np.float64], quantization: Quantization | None, *, bounded: bool) -> OutputChoice | None:
    """Softmax or logits; None for values in [0, 1] that sum to something else."""
    if not bounded:
        return OutputChoice.LOGITS
    # A quantized softmax rounds each value by up to half a step: 1,001 unlikely labels may all become 0. It rounds
    # both ways, so that the sum never comes far above 1.
    rounded = 0.0 if quantization is None else values.shape[1] * quantization.scale / 2
    sums = values.sum(axis=1)
    if sums.min() >= 1 - max(_SUM_TOLERANCE, rounded) and sums.max() <= 1 + max(_SUM_TOLERANCE, min(rounded, 0.25)):
        return OutputChoice.SOFTMAX
    return None
