"""Two interpreters, one answer: what LiteRT said of 359 digits is what this interpreter says, in every format.

`make test` runs this in both, LiteRT and tflite-runtime. The tolerances, and what was measured (tflite-runtime 2.14.0
against LiteRT 2.3.0, x86-64):

- float32 and float16, 1e-4: both compute in float32 with XNNPACK, and differ in the order of additions at most;
  measured 0 here, 1.4e-5 in another network.
- int8, half a step of the logits between two classes: LiteRT runs int8 in XNNPACK, tflite-runtime in kernels of its
  own, which round elsewhere. Measured, logits differ by one step of the output's quantization, of 3,590 one by two. A
  difference d between two logits moves a probability by at most d / 4 (the sigmoid's steepest slope), so two logits
  that are a step off in opposite directions move it by half a step: 0.126 here; measured 0.062. It takes a picture that
  the model is undecided about: where it is sure (0.9 and over) it stays within 0.02, the tolerance of golden photos.

A label may change where the lead of the best over the second is within the tolerance, and nowhere else.
"""

from __future__ import annotations

import numpy as np
import pytest

from classifier.errors import ModelIncompatibleError
from classifier.model import interpreter_facts
from tests.support.formats import expected, load, pictures

_STEP = 0.2519  # of the int8 model's logits


@pytest.mark.parametrize(
    ("quantization", "tolerance", "when_sure"),
    [("float32", 1e-4, 1e-4), ("float16", 1e-4, 1e-4), ("int8", _STEP / 2, 0.02)],
)
def test_both_interpreters_give_the_same_answers(quantization: str, tolerance: float, when_sure: float) -> None:
    model, by_litert = load(quantization), expected(quantization)
    predicted = np.stack([model.predict(picture) for picture in pictures()])
    differences = np.abs(predicted - by_litert).max(axis=1)
    assert differences.max() <= tolerance
    assert differences[by_litert.max(axis=1) >= 0.9].max() <= when_sure
    second, best = np.sort(by_litert, axis=1)[:, -2:].T
    clear = best - second > tolerance
    assert clear.mean() > 0.97, "these pictures tell nothing about labels"
    assert (predicted.argmax(axis=1) == by_litert.argmax(axis=1))[clear].all()


def test_dynamic_range_runs_in_litert_alone() -> None:
    if interpreter_facts().library == "tflite-runtime":
        with pytest.raises(ModelIncompatibleError, match="'FULLY_CONNECTED' version '12'"):
            load("dynamic")
    else:
        assert np.abs(load("dynamic").predict(pictures()[0]) - expected("dynamic")[0]).max() < 1e-4
