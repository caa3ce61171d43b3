"""The rules on plain numbers, those about tensors: where each begins to fire, and what keeps it silent."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from model_build.diagnostics.diagnosis import Severity, results_of
from model_build.diagnostics.facts import ActivationFacts, EpochFacts, History, LayerSample, Probe, RunFacts, Sample
from model_build.diagnostics.layer_rules import (
    DeadRelu,
    ExplodingTensor,
    PoorWeightInitialization,
    VanishingGradient,
    WeightUpdateRatio,
)
from model_build.diagnostics.observer import DEFAULT_RULES
from tests.unit.model_build.diagnostics.histories import LAYER, epochs, samples, steps


def test_published_defaults() -> None:
    """As the pages named in the rules' docstrings have them."""
    parameters = {type(rule).__name__: vars(rule) for rule in DEFAULT_RULES}
    assert parameters["VanishingGradient"]["threshold"] == 0.0000001
    assert parameters["ExplodingTensor"] == {"only_nan": False}
    assert parameters["WeightUpdateRatio"] == {"large_threshold": 10.0, "small_threshold": 0.00000001}
    assert parameters["DeadRelu"] == {"threshold_inactivity": 1.0, "threshold_layer": 50.0}
    assert parameters["PoorWeightInitialization"] == {
        "threshold": 10.0,
        "distribution_range": 0.001,
        "patience": 5,
        "steps": 10,
    }
    assert parameters["LossNotDecreasing"] == {
        "num_steps": 10,
        "diff_percent": 0.1,
        "increase_threshold_percent": 5.0,
    }
    assert parameters["Overfit"] == {"start_step": 0, "patience": 1, "ratio_threshold": 0.1}
    assert parameters["Overtraining"] == {"patience_train": 5, "patience_validation": 10, "delta": 0.01}
    assert parameters["ClassImbalance"] == {
        "threshold_imbalance": 10.0,
        "threshold_misprediction": 0.7,
        "samples": 500,
    }
    assert parameters["Confusion"] == {"min_diag": 0.9, "max_off_diag": 0.1}
    assert parameters["InputBound"] == {"threshold": 50.0}


def test_nothing_seen_is_not_called_silent() -> None:
    assert {verdict.outcome for verdict in results_of(DEFAULT_RULES, History())} == {"not observed"}


class TestVanishingGradient:
    def test_fires_below_the_threshold_and_names_the_layer(self) -> None:
        history = History(samples=samples(replace(LAYER, layer="deep", gradient=9e-8), LAYER, LAYER))
        finding = VanishingGradient().check(history)
        assert finding is not None
        assert (finding.severity, finding.since) == (Severity.WARNING, "step 1")
        assert finding.evidence["layers"] == "1 of 2: deep"

    def test_one_sample_is_not_enough(self) -> None:
        assert VanishingGradient().check(History(samples=samples(replace(LAYER, gradient=0.0), steps=1))) is None

    def test_a_loss_that_is_down_has_no_gradient_left(self) -> None:
        done = replace(LAYER, gradient=1e-9)
        history = History(samples=[*samples(LAYER, steps=1, loss=2.0), *samples(done, loss=0.01)])
        assert VanishingGradient().check(history) is None


class TestExplodingTensor:
    def test_a_loss_that_is_not_a_number(self) -> None:
        finding = ExplodingTensor().check(History(steps=steps(2.0, 40.0, math.nan)))
        assert finding is not None
        assert finding.since == "step 3"
        assert finding.evidence == {"not finite": "loss", "last finite loss": 40.0}

    def test_an_infinite_gradient_unless_only_nan_counts(self) -> None:
        history = History(steps=steps(2.0, 2.0), samples=samples(replace(LAYER, infinite=True), steps=1))
        finding = ExplodingTensor().check(history)
        assert finding is not None
        assert finding.evidence["not finite"] == "conv"
        assert ExplodingTensor(only_nan=True).check(history) is None


class TestWeightUpdateRatio:
    def test_large(self) -> None:
        history = History(samples=[*samples(LAYER), Sample(99, "finetune", 1.0, (replace(LAYER, update_ratio=11.0),))])
        finding = WeightUpdateRatio().check(history)
        assert finding is not None
        assert (finding.since, finding.evidence["largest ratio"]) == ("step 99", 11.0)

    def test_small_for_most_of_the_time(self) -> None:
        assert WeightUpdateRatio().check(History(samples=samples(replace(LAYER, update_ratio=5e-9)))) is not None

    def test_small_at_the_end_of_a_schedule_only(self) -> None:
        history = History(samples=[*samples(LAYER), *samples(replace(LAYER, update_ratio=0.0), steps=2)])
        assert WeightUpdateRatio().check(history) is None


class TestPoorWeightInitialization:
    FALLING = tuple(2.0 - 0.01 * step for step in range(20))
    FLAT = (2.0,) * 20

    def test_equal_weights_of_a_hidden_layer(self) -> None:
        history = History(samples=samples(replace(LAYER, variance=0.0), LAYER), steps=steps(*self.FALLING))
        finding = PoorWeightInitialization().check(history)
        assert finding is not None
        assert finding.severity is Severity.ERROR

    def test_an_output_layer_may_start_at_zero(self) -> None:
        history = History(samples=samples(LAYER, replace(LAYER, variance=0.0)), steps=steps(*self.FALLING))
        assert PoorWeightInitialization().check(history) is None

    @pytest.mark.parametrize("odd", [replace(LAYER, variance=21.0), replace(LAYER, gradient_range=0.0009)])
    def test_out_of_proportion_counts_while_the_loss_stands(self, odd: LayerSample) -> None:
        assert PoorWeightInitialization().check(History(samples=samples(LAYER, odd), steps=steps(*self.FLAT)))
        assert (
            PoorWeightInitialization().check(History(samples=samples(LAYER, odd), steps=steps(*self.FALLING))) is None
        )
        assert PoorWeightInitialization().check(History(samples=samples(LAYER), steps=steps(*self.FLAT))) is None

    def test_a_warm_up_of_one_epoch_is_no_standstill(self) -> None:
        history = History(
            samples=samples(LAYER, replace(LAYER, variance=21.0)), steps=steps(*self.FLAT[:10], *(1.0,) * 10)
        )
        assert PoorWeightInitialization().check(history) is None

    def test_weights_that_another_phase_has_trained(self) -> None:
        history = History(
            samples=samples(replace(LAYER, variance=0.0), LAYER),
            steps=steps(*self.FLAT),
            epochs=[EpochFacts(1, "head", 1.0, 1.0)],
        )
        assert PoorWeightInitialization().check(history) is None


class TestDeadRelu:
    def test_more_than_half_of_a_layer(self) -> None:
        alive, dead = ActivationFacts("a", (50.0,) * 4), ActivationFacts("b", (0.0, 0.5, 0.9, 50.0))
        history = History(probes=[Probe(1, (alive, replace(dead, activity=(50.0,) * 4))), Probe(2, (alive, dead))])
        finding = DeadRelu().check(history)
        assert finding is not None
        assert (finding.since, finding.evidence["worst layer"]) == ("epoch 2", "b")
        assert finding.evidence["dead units in it, percent"] == 75.0

    def test_half_is_not_more_than_half(self) -> None:
        assert DeadRelu().check(History(probes=[Probe(1, (ActivationFacts("a", (0.0, 1.0)),))])) is None


def test_a_history_survives_json() -> None:
    history = History(
        run=RunFacts(("a", "b"), (3, 4), weighted=True),
        steps=steps(1.0, math.nan),
        samples=samples(replace(LAYER, gradient=math.nan, nan=True)),
        probes=[Probe(1, (ActivationFacts("relu", (1.0, 2.0)),))],
        epochs=[EpochFacts(1, "finetune", 1.0, 2.0, best=True, confusion=((1, 2), (3, 4))), *epochs((0.5, 0.6))],
    )
    document = json.loads(json.dumps(history.to_document(), allow_nan=False))
    assert repr(History.from_document(document)) == repr(history)
