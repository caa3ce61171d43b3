"""Every rule on a real training built to misbehave in its way, and all of them on one that does not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model_build.diagnostics import Diagnosis, Diagnostics, Finding, Severity
from model_build.native import load_tensorflow
from tests.unit.model_build.diagnostics.trainings import Batch, Data, blobs, dense_network, train

pytestmark = pytest.mark.slow


def diagnose(network: object, data: Data, **settings: object) -> Diagnosis:
    diagnostics = Diagnostics(label_smoothing=float(settings.get("label_smoothing", 0.1)))  # type: ignore[arg-type]
    train(network, data, diagnostics, **settings)  # type: ignore[arg-type]
    return diagnostics.finish()


def found(diagnosis: Diagnosis, rule: str) -> Finding:
    findings = [finding for finding in diagnosis.findings if finding.rule == rule]
    assert findings, f"{rule} is silent; fired: {[finding.rule for finding in diagnosis.findings]}"
    return findings[0]


@pytest.fixture(scope="module")
def healthy() -> Diagnosis:
    return diagnose(dense_network(2, 4), blobs(), epochs=8)


def test_a_healthy_training_is_watched_in_full_and_nothing_is_said(healthy: Diagnosis) -> None:
    assert {verdict.name: verdict.outcome for verdict in healthy.results} == {
        verdict.name: "silent" for verdict in healthy.results
    }


def test_the_step_times_of_a_healthy_training(healthy: Diagnosis) -> None:
    (profile,) = healthy.step_times
    assert profile["verdict"] == "compute-bound"
    assert profile["steps"] == 8 * 20 - 2
    assert profile["images_per_second"] > 100


def test_twenty_sigmoid_layers_vanish() -> None:
    network = dense_network(20, 4, activation="sigmoid", initial="glorot_uniform")
    finding = found(diagnose(network, blobs(), epochs=1), "vanishing gradient")
    assert finding.since == "step 1"
    assert "hidden_0" in str(finding.evidence["layers"])
    assert float(finding.evidence["smallest mean gradient"]) < 1e-7


def test_a_huge_learning_rate_explodes() -> None:
    _, keras = load_tensorflow()
    network = dense_network(3, 4, initial=keras.initializers.RandomNormal(stddev=1.0, seed=1))
    diagnosis = diagnose(network, blobs(), epochs=2, optimizer=keras.optimizers.SGD(1e3))
    finding = found(diagnosis, "exploding gradient")
    assert finding.severity is Severity.ERROR
    assert int(finding.since.removeprefix("step ")) < 20


def test_a_huge_learning_rate_overwrites_the_weights() -> None:
    _, keras = load_tensorflow()
    diagnosis = diagnose(dense_network(2, 4), blobs(), epochs=1, optimizer=keras.optimizers.Adam(1e2))
    assert float(found(diagnosis, "weight update ratio").evidence["largest ratio"]) > 10


def test_large_negative_biases_kill_the_relus() -> None:
    finding = found(diagnose(dense_network(2, 4, bias=-50.0), blobs(), epochs=2), "dead ReLU")
    assert finding.severity is Severity.ERROR
    assert finding.since == "epoch 1"
    assert finding.evidence["dead units in it, percent"] == 100.0


@pytest.mark.parametrize("constant", [0.0, 0.05])
def test_equal_weights_are_a_poor_start(constant: float) -> None:
    _, keras = load_tensorflow()
    network = dense_network(2, 4, initial=keras.initializers.Constant(constant))
    finding = found(diagnose(network, blobs(), epochs=1), "poor weight initialisation")
    assert finding.severity is Severity.ERROR
    assert finding.evidence["layers of equal weights"] == "hidden_0, hidden_1"


def test_weights_out_of_proportion_that_do_not_learn_are_a_poor_start() -> None:
    _, keras = load_tensorflow()
    network = dense_network(4, 4, initial=keras.initializers.RandomNormal(stddev=1e-4, seed=1))
    diagnosis = diagnose(network, blobs(), epochs=1, optimizer=keras.optimizers.SGD(1e-3))
    finding = found(diagnosis, "poor weight initialisation")
    assert finding.severity is Severity.WARNING
    assert float(finding.evidence["smallest gradient range"]) < 0.001


def test_a_tiny_learning_rate_moves_nothing() -> None:
    _, keras = load_tensorflow()
    diagnosis = diagnose(dense_network(2, 4), blobs(), epochs=4, optimizer=keras.optimizers.Adam(1e-10))
    assert float(found(diagnosis, "weight update ratio").evidence["median ratio"]) < 1e-8
    assert found(diagnosis, "loss not decreasing").severity is Severity.ERROR


def test_random_labels_are_learnt_by_heart() -> None:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((60, 12)).astype(np.float32), rng.integers(0, 4, 60)
    data = Data((noise[0][:20], noise[1][:20]), (noise[0][20:], noise[1][20:]), blobs().labels)
    _, keras = load_tensorflow()
    diagnosis = diagnose(
        dense_network(2, 4, width=64), data, epochs=20, batch_size=10, optimizer=keras.optimizers.Adam(1e-2)
    )
    overfit = found(diagnosis, "overfit")
    assert overfit.severity is Severity.WARNING
    assert float(overfit.evidence["gap, relative to the training loss"]) > 0.5
    overtraining = found(diagnosis, "overtraining")
    assert overtraining.severity is Severity.WARNING
    assert int(overtraining.evidence["epochs without a better validation loss"]) >= 10


def test_a_rare_class_is_imbalance_and_goes_unrecognised() -> None:
    data = blobs(classes=2, training=600, spread=3.0)
    points, targets = data.training
    keep = (targets == 0) | (np.arange(len(targets)) < 24)
    data = replace(data, training=(points[keep], targets[keep]), labels=("common", "rare"))
    _, keras = load_tensorflow()
    diagnosis = diagnose(dense_network(1, 2, width=4), data, epochs=2, optimizer=keras.optimizers.Adam(1e-2))
    finding = found(diagnosis, "class imbalance")
    assert finding.severity is Severity.WARNING
    assert finding.evidence["largest to smallest"] == 25.0
    assert finding.evidence["smallest class"] == "rare, 12 photos"
    assert str(finding.evidence["share mispredicted"]).startswith("rare ")


def test_two_classes_of_the_same_photos_are_confused() -> None:
    data = blobs()

    def twins(batch: Batch) -> Batch:
        """Classes 0 and 1 become one cloud with two names."""
        points, targets = batch
        split = np.flatnonzero(targets <= 1)
        renamed = targets.copy()
        renamed[split] = np.arange(len(split)) // 2 % 2
        return np.where(
            (targets == 1)[:, None], points - points[targets == 1].mean(0) + points[targets == 0].mean(0), points
        ).astype(np.float32), renamed

    diagnosis = diagnose(
        dense_network(2, 4), replace(data, training=twins(data.training), validation=twins(data.validation)), epochs=6
    )
    finding = found(diagnosis, "confusion")
    assert finding.severity is Severity.WARNING
    pairs = {what for what in finding.evidence if what.startswith("predicted")}
    assert pairs and pairs <= {"predicted class 0, is class 1", "predicted class 1, is class 0"}


def test_photos_decoded_for_every_step_make_it_input_bound() -> None:
    data = blobs()
    large = io.BytesIO()
    Image.effect_noise((1600, 1200), 60).convert("RGB").save(large, "JPEG")

    def slow(epoch: int) -> Iterator[Batch]:
        for start in range(0, 96, 12):
            for _ in range(2):
                Image.open(large).resize((8, 8))
            yield data.training[0][start : start + 12], data.training[1][start : start + 12]

    diagnosis = diagnose(dense_network(1, 4), data, epochs=1, batches=slow, sample_every=100)
    assert found(diagnosis, "input-bound").severity is Severity.WARNING
    assert diagnosis.step_times[0]["verdict"] == "input-bound"
    assert diagnosis.step_times[0]["wait_ms"] > diagnosis.step_times[0]["compute_ms"]
