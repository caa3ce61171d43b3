"""A study that trains nothing: accuracy is a formula of the settings, so that a trial takes milliseconds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from model_build.training.config import TrainingConfig
from model_build.training.fitting import Epoch
from model_build.training.observers import Watcher
from model_build.tuning.space import Choice, Real, SearchSpace, Whole
from model_build.tuning.studies import StudyPlace
from model_build.tuning.trials import Tuning

SPACE = SearchSpace(
    {
        "learning_rate": Real(0.0001, 0.1, log=True),
        "dropout": Real(0.0, 0.5),
        "batch_size": Choice((16, 32, 64)),
        "epochs": Whole(3, 12),
    }
)


def quality(config: TrainingConfig) -> float:
    """Best at a learning rate of 0.01; dropout hardly matters."""
    return 0.95 - 0.2 * abs(math.log10(config.learning_rate) + 2) - 0.02 * config.dropout


class FakeTrainer:
    """Writes a run folder and reports epochs as training does. ``seen`` are the configurations it was given."""

    def __init__(self) -> None:
        self.seen: list[TrainingConfig] = []

    def __call__(self, config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        self.seen.append(config)
        accuracy = quality(config)
        for number in range(1, config.epochs + 1):
            reached = accuracy * number / config.epochs
            watcher.epoch(epoch(number, reached), config.epochs)
        out.mkdir(parents=True)
        (out / "run.json").write_text("{}")
        return accuracy


def epoch(number: int, accuracy: float) -> Epoch:
    return Epoch(number, 1.0, 1.0, accuracy, True)


def tuning(folder: Path, trials: int = 4, **changes: Any) -> Tuning:
    place = StudyPlace.of("study", studies=folder)
    values: dict[str, Any] = {"space": SPACE, "fixed": {"backbone": "small_cnn"}, **changes}
    return Tuning(place=place, trials=trials, **values)
