"""Trainings that are killed, that run out of disk, and that are larger than memory: each in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.errors import UserError
from model_build.training.backbones import build_backbone, find_backbone
from model_build.training.config import TrainingConfig
from model_build.training.observers import Epoch, EpochSample, StepRecord, TrainingContext, Watcher
from model_build.training.run import BACKBONE_NAME, Run
from model_build.training.train import train
from model_build.training.weights import load_weights
from tests.unit.model_build.photos import write_photos

# Keras 3.15 with NumPy 2: its own business, and Python shows it to nobody.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

_CONFIG = replace(
    TrainingConfig.for_backbone("mobilenet_v2"),
    alpha=0.35,
    image_size=64,
    batch_size=8,
    head_epochs=2,
    epochs=4,
    small_epochs=0.5,
    learning_rate=0.001,
)

_KILLED = """
import os, signal, sys
from pathlib import Path
from model_build.training.config import TrainingConfig
from model_build.training.train import train
from model_build.training.observers import Watcher

class Killer(Watcher):
    def epoch(self, epoch, of):
        if epoch.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)

config, data, out, weights = map(Path, sys.argv[1:])
train(TrainingConfig.from_file(config), data, out, weights=weights, watcher=Killer())
"""

_FULL = """
import resource, sys
from bucketlens.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.argv = ["bucketlens", "model", "train", sys.argv[1], "--out", sys.argv[2], "--epochs", "1"]
main()
"""

_LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from classifier.imaging import ResizePolicy
from model_build.data.dataset import scan
from model_build.data.tensors import store_photos

photos = scan(Path(sys.argv[1])).photos * 150
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored, _ = store_photos(photos, Path(sys.argv[2]), size=128, policy=ResizePolicy.STRETCH, draft_margin=1)
order = np.random.default_rng(1).permutation(len(photos))
total = sum(int(stored.images.take(order[at : at + 32]).shape[0]) for at in range(0, len(order), 32))
assert total == len(photos) == stored.images.shape[0]
print(Path(sys.argv[2]).stat().st_size // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "colours", {"red": 14, "green": 14, "blue": 14})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "narrow.weights.h5"
    build_backbone(find_backbone("mobilenet_v2"), size=32, alpha=0.35).save_weights(path)
    return path


class Recorder:
    """A StepObserver that counts."""

    def __init__(self) -> None:
        self.contexts: list[TrainingContext] = []
        self.steps: list[StepRecord] = []
        self.epochs: list[Epoch] = []
        self.samples: list[EpochSample] = []
        self.ended = 0

    def on_train_begin(self, model: Any, context: TrainingContext) -> None:
        assert model.output_shape == (None, len(context.labels))
        self.contexts.append(context)

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def on_epoch(self, epoch: Epoch, sample: EpochSample) -> None:
        self.epochs.append(epoch)
        self.samples.append(sample)

    def on_train_end(self) -> None:
        self.ended += 1

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        assert state == {}


@pytest.fixture(scope="module")
def whole(colours: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Recorder]:
    """A training that was never interrupted, and what its observer saw."""
    seen = Recorder()
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(_CONFIG, colours, out, weights=weights, observers=[seen])[0], seen


def _figures(run: Run) -> list[tuple[Any, ...]]:
    return [(one.number, one.phase, one.image_size, one.best) for one in run.history()]


def test_a_killed_training_goes_on_and_ends_the_same(
    colours: Path, weights: Path, whole: tuple[Run, Recorder], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(_CONFIG.to_document()))
    out = tmp_path / "run"
    arguments = [tmp_path / "config.json", colours, out, weights]
    killed = subprocess.run([sys.executable, "-c", _KILLED, *map(str, arguments)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not out.exists()
    assert (tmp_path / "run.partial").is_dir()

    with pytest.raises(UserError, match=r"learning_rate was 0\.001, is now 0\.01") as refused:
        train(replace(_CONFIG, learning_rate=0.01), colours, out, weights=weights)
    assert "remove that folder to start over" in str(refused.value)

    class Seen(Watcher):
        def __init__(self) -> None:
            self.resumed_after: list[int] = []

        def resumed(self, epochs: int) -> None:
            self.resumed_after.append(epochs)

    watcher = Seen()
    run, _ = train(_CONFIG, colours, out, weights=weights, watcher=watcher)
    assert watcher.resumed_after == [4]
    assert not (tmp_path / "run.partial").exists()
    uninterrupted, _ = whole
    assert _figures(run) == _figures(uninterrupted)
    for one, other in zip(run.history(), uninterrupted.history(), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-3)
    assert run.record.test == uninterrupted.record.test


def test_phases_train_what_they_should(whole: tuple[Run, Recorder], weights: Path) -> None:
    run, seen = whole
    assert [(epoch.phase, epoch.image_size) for epoch in seen.epochs] == [("head", 64)] * 2 + [
        ("finetune", 32),
        ("finetune", 32),
        ("finetune", 64),
        ("finetune", 64),
    ]
    before, after = (build_backbone(find_backbone("mobilenet_v2"), size=64, alpha=0.35) for _ in range(2))
    load_weights(before, weights, "before")
    load_weights(after, run.folder / BACKBONE_NAME, "after")
    for layer, trained in zip(before.layers, after.layers, strict=True):
        same = [np.array_equal(one, two) for one, two in zip(layer.get_weights(), trained.get_weights(), strict=True)]
        if "BatchNormalization" in type(layer).__name__:
            assert all(same), f"{layer.name} was trained"
    assert not np.array_equal(before.get_layer("Conv1").get_weights()[0], after.get_layer("Conv1").get_weights()[0])


def test_an_observer_sees_steps_variables_and_activity(whole: tuple[Run, Recorder]) -> None:
    run, seen = whole
    context = seen.contexts[0]
    assert (context.labels, context.class_counts, context.epochs) == (("blue", "green", "red"), (9, 9, 9), 6)
    assert seen.ended == 1
    assert len(seen.steps) == 4 * context.steps_per_epoch
    sampled = [record for record in seen.steps if record.samples]
    assert [record.step for record in sampled] == [record.step for record in seen.steps][:: context.sample_every]
    head = next(one for one in sampled[-2].samples if one.name.endswith("logits/kernel"))
    assert head.gradient.shape == head.before.shape == head.after.shape == (1280, 3)
    names = {one.name for one in sampled[0].samples}
    assert not any(name.endswith(("gamma", "beta")) for name in names)
    activity = seen.samples[-1].activity
    assert activity["Conv1_relu"].shape == (16,)
    assert all(0 <= share.min() <= share.max() <= 1 for share in activity.values())
    assert [epoch.number for epoch in run.history()] == [1, 2, 3, 4, 5, 6]
    events = sorted(path.parent.name for path in (run.folder / "tensorboard").rglob("events.out.tfevents.*"))
    assert events == ["training", "validation"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "data", {"red": 60, "green": 60, "blue": 60})
    (tmp_path / "runs").mkdir()
    out = tmp_path / "runs" / "run"
    full = subprocess.run(
        [sys.executable, "-c", _FULL, str(data), str(out)], capture_output=True, check=False, text=True
    )
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith(f"error: {out} cannot be written: File too large")
    assert "Traceback" not in full.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_more_photos_than_memory_take_little_of_it(colours: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(colours), str(tmp_path / "tensors")], capture_output=True, check=True
    )
    pixels, grown = map(int, done.stdout.split())
    assert pixels > 280 * 1024  # KiB
    assert grown < 80 * 1024
