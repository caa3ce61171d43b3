"""From a training's records to the facts: what is kept, when findings are told, how a restart goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from model_build.diagnostics import Diagnostics, Finding
from model_build.diagnostics.facts import ActivationFacts
from model_build.diagnostics.observer import activation_facts, layer_samples
from model_build.training.observers import Epoch, EpochSample, StepRecord, TrainingContext, VariableSample

CONTEXT = TrainingContext(
    labels=("cat", "dog"), class_counts=(6, 6), batch_size=4, steps_per_epoch=3, epochs=2, sample_every=20
)


def record(step: int, loss: float = 1.0, samples: Sequence[VariableSample] = ()) -> StepRecord:
    return StepRecord(step, 1, "finetune", loss, 1e-3, 0.01, 0.02, samples)


def variable(name: str, before: np.ndarray, gradient: float = 0.5, update: float = -0.1) -> VariableSample:
    return VariableSample(name, np.full_like(before, gradient), before, before + np.float32(update))


def end_of_epoch(
    diagnostics: Diagnostics, number: int, *, right: int = 8, activity: Sequence[float] = (0.0, 0.5)
) -> None:
    """Eight validation photos, ``right`` of them with logits (0, 2) or (2, 0) for the true class."""
    targets = np.arange(8) % 2
    called = np.where(np.arange(8) < right, targets, 1 - targets)
    logits = np.zeros((8, 2), np.float32)
    logits[np.arange(8), called] = 2.0
    diagnostics.on_epoch(
        Epoch(number, loss=0.13, validation_loss=0.13, validation_accuracy=right / 8, best=True),
        EpochSample({"relu": np.array(activity, np.float32)}, targets, logits),
    )


def test_a_kernel_becomes_its_figures() -> None:
    weights = np.array([[1.0, -1.0], [3.0, -3.0]], np.float32)
    (sample,) = layer_samples([variable("net/conv/kernel", weights), variable("net/conv/bias", np.ones(2, np.float32))])
    assert sample.layer == "conv"
    assert sample.gradient == 0.5
    assert sample.gradient_range == 0.0
    assert sample.variance == 5.0 * 2  # variance 5, two inputs to a unit
    assert sample.update_ratio == pytest.approx(0.1 / 2)
    assert not sample.nan
    assert not sample.infinite


def test_equal_weights_have_no_variance_whatever_the_rounding() -> None:
    (sample,) = layer_samples([variable("conv/kernel", np.full((3, 7), 0.1, np.float32))])
    assert sample.variance == 0.0


def test_the_kernels_of_one_layer_keep_apart() -> None:
    names = ["xception/block2/depthwise_kernel", "xception/block2/pointwise_kernel", "w"]
    samples = layer_samples([variable(name, np.eye(2, dtype=np.float32)) for name in names])
    assert [sample.layer for sample in samples] == ["block2/depthwise_kernel", "block2/pointwise_kernel", "w"]


@pytest.mark.parametrize(("value", "nan", "infinite"), [(np.nan, True, False), (np.inf, False, True)])
def test_one_bad_value_is_found(value: float, nan: bool, infinite: bool) -> None:
    gradient = np.zeros((100, 100), np.float32)
    gradient[57, 3] = value
    zeros = np.zeros_like(gradient)
    (sample,) = layer_samples([VariableSample("conv/kernel", gradient, zeros, zeros)])
    assert (sample.nan, sample.infinite) == (nan, infinite)


def test_the_activity_of_many_units_is_thinned() -> None:
    shares = np.linspace(1, 0, 1001, dtype=np.float32)
    facts = activation_facts("relu", shares)
    assert facts == ActivationFacts("relu", tuple(float(percent) for percent in range(101)))


def test_warnings_are_told_once_while_notes_and_what_judges_the_result_wait_for_the_end() -> None:
    told: list[Finding] = []
    diagnostics = Diagnostics(on_finding=told.append)
    diagnostics.on_train_begin(None, CONTEXT)
    for number in range(1, 4):
        for step in range(10):
            diagnostics.on_step(replace(record(10 * number + step - 10), epoch=number))
        end_of_epoch(diagnostics, number, right=4, activity=(0.0, 0.0, 0.5))
    diagnostics.on_train_end()
    assert [(finding.rule, finding.severity.value) for finding in told] == [
        ("dead ReLU", "error"),
        ("loss not decreasing", "error"),
    ]
    assert {"overfit", "confusion"} <= {finding.rule for finding in diagnostics.finish().findings}


def test_a_loss_that_is_not_a_number_is_told_at_once() -> None:
    told: list[Finding] = []
    diagnostics = Diagnostics(on_finding=told.append)
    diagnostics.on_train_begin(None, CONTEXT)
    diagnostics.on_step(record(0))
    assert told == []
    diagnostics.on_step(record(1, math.nan))
    assert [(finding.rule, finding.since) for finding in told] == [("exploding gradient", "step 2")]
    diagnostics.on_step(record(2, math.nan))
    assert len(told) == 1


def test_the_validation_loss_is_smoothed_like_the_training_loss() -> None:
    """With two labels a smoothing of 0.1 makes the targets 0.95 and 0.05."""
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    for smoothing, expected in ((0.0, right), (0.1, 0.95 * right + 0.05 * wrong)):
        diagnostics = Diagnostics(label_smoothing=smoothing)
        diagnostics.on_train_begin(None, CONTEXT)
        end_of_epoch(diagnostics, 1)
        (epoch,) = diagnostics.state()["history"]["epochs"]
        assert epoch["validation_loss"] == pytest.approx(expected)
        assert epoch["confusion"] == [[4, 0], [0, 4]]


def test_a_restart_goes_on_where_it_was() -> None:
    def whole() -> Diagnostics:
        diagnostics = Diagnostics(clock=lambda: 0.0)
        diagnostics.on_train_begin(None, CONTEXT)
        return diagnostics

    def first_half(diagnostics: Diagnostics) -> None:
        weights = np.eye(3, dtype=np.float32)
        for step in range(3):
            diagnostics.on_step(record(step, 2.0 - step, [variable("conv/kernel", weights)]))
        end_of_epoch(diagnostics, 1)

    def second_half(diagnostics: Diagnostics) -> None:
        for step in range(3, 6):
            diagnostics.on_step(record(step, math.nan))
        end_of_epoch(diagnostics, 2, right=0)

    uninterrupted = whole()
    first_half(uninterrupted)
    second_half(uninterrupted)
    interrupted = whole()
    first_half(interrupted)
    resumed = Diagnostics(clock=lambda: 0.0)
    resumed.restore(json.loads(json.dumps(interrupted.state(), allow_nan=False)))
    resumed.on_train_begin(None, CONTEXT)
    second_half(resumed)
    assert resumed.finish().to_document() == uninterrupted.finish().to_document()


def test_the_cost_of_watching_is_measured() -> None:
    ticks = iter(range(100))
    diagnostics = Diagnostics(clock=lambda: float(next(ticks)))
    diagnostics.on_train_begin(None, CONTEXT)
    diagnostics.on_step(record(0))
    diagnostics.on_step(record(1))
    overhead = diagnostics.finish().overhead
    assert overhead.watching_seconds == 2.0
    assert overhead.training_seconds == pytest.approx(0.06)


def test_a_training_of_biases_alone_has_no_layers_to_sample() -> None:
    diagnostics = Diagnostics()
    diagnostics.on_train_begin(None, CONTEXT)
    diagnostics.on_step(record(0, samples=[variable("conv/bias", np.ones(3, np.float32))]))
    assert diagnostics.finish().curves == {}
