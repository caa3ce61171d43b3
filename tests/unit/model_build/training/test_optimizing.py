from __future__ import annotations

import numpy as np
import pytest

from model_build.training.config import TrainingConfig
from model_build.training.stages import class_weights, epochs_for, make_optimizer

pytestmark = pytest.mark.slow


def test_rare_classes_weigh_more_and_the_mean_photo_weighs_one() -> None:
    counts = np.array([30, 10, 20])
    weights = class_weights(counts, "auto")
    np.testing.assert_allclose(weights, [60 / 90, 60 / 30, 60 / 60])
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


@pytest.mark.parametrize(("counts", "choice"), [([30, 25], "auto"), ([30, 1], "none")])
def test_balanced_classes_weigh_the_same(counts: list[int], choice: str) -> None:
    assert class_weights(np.array(counts), choice).tolist() == [1, 1]


def test_small_sets_get_more_epochs_and_large_ones_no_more_time() -> None:
    sizes = (10, 400, 800, 2000, 4000, 100_000)
    assert [epochs_for(photos) for photos in sizes] == [40, 40, 21, 10, 10, 10]
    assert [epochs_for(photos, alpha=0.35) for photos in sizes] == [40, 40, 30, 12, 10, 10]
    assert epochs_for(800, alpha=1.0) == epochs_for(800)


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    config = TrainingConfig(learning_rate=0.01, warmup_epochs=1.0)
    rate = make_optimizer(config, steps=40, steps_per_epoch=4)._learning_rate
    values = [float(rate(step)) for step in (0, 4, 22, 40)]
    assert values == pytest.approx([0.001, 0.01, 0.005, 0], abs=1e-6)
    cold = make_optimizer(TrainingConfig(learning_rate=0.01, warmup_epochs=0.0), 40, 4)._learning_rate
    assert float(cold(0)) == pytest.approx(0.01)


def test_sgd_has_momentum_and_decay() -> None:
    made = make_optimizer(TrainingConfig(optimizer="sgd", weight_decay=0.01, momentum=0.8), 4, 2)
    assert (type(made).__name__, made.momentum, made.weight_decay) == ("SGD", 0.8, 0.01)
