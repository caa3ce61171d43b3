from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from classifier.errors import UserError
from model_build import train
from model_build.report.training_parts import training_parts
from model_build.training.backbones import build_backbone, find_backbone
from model_build.training.checkpoints import CHOICE_NAME
from model_build.training.choice import BackboneChoice
from model_build.training.choosing import are_small, choose
from model_build.training.config import TrainingConfig
from model_build.training.observers import Watcher
from model_build.training.run import Run
from model_build.training.stages import epochs_for
from tests.unit.model_build.photos import photo, write_photos

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

_NARROW = replace(
    TrainingConfig.for_backbone("mobilenet_v2", alpha=0.35), alpha=0.35, image_size=32, batch_size=4, pretrained=True
)
_PLAIN = replace(TrainingConfig.for_backbone("small_cnn"), image_size=32, epochs=6)


class Said(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "narrow.weights.h5"
    build_backbone(find_backbone("mobilenet_v2"), size=32, alpha=0.35).save_weights(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), {"red": 12, "green": 12, "blue": 12})


def test_a_named_network_gets_the_epochs_that_its_photos_are_worth(photos: Path, weights: Path, tmp_path: Path) -> None:
    said = Said()
    choice = choose([(_NARROW, weights)], photos, minutes=10_000, watcher=said, cache=tmp_path)
    (one,) = choice.candidates
    assert one.config is not None
    assert one.config == replace(_NARROW, epochs=epochs_for(24, 0.35)).to_document()
    assert one.weights == str(weights)
    assert one.probe_accuracy is not None
    assert one.minutes is not None
    assert 0 < one.minutes < 10_000
    assert said.lines[-1].startswith("training mobilenet_v2 (40 epochs, about ")
    choice.write(tmp_path / "choice.json")
    assert BackboneChoice.read(tmp_path / "choice.json") == choice


def test_without_time_only_the_last_layer_is_trained(photos: Path, weights: Path, tmp_path: Path) -> None:
    (one,) = choose([(_NARROW, weights)], photos, minutes=1e-4, watcher=Watcher(), cache=tmp_path).candidates
    assert one.config is not None
    assert (one.config["fine_tune"], one.config["epochs"]) == ("none", 0)
    assert "the time is not enough" in one.note


def test_a_run_without_time_for_more_has_passes_of_its_last_layer_alone(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKETLENS_CACHE", str(tmp_path / "cache"))
    trained = train(
        photos,
        tmp_path / "run",
        weights=weights,
        minutes=1e-4,
        backbone="mobilenet_v2",
        image_size=32,
        head_epochs=2,
        batch_size=4,
    )
    run = Run.open(tmp_path / "run")
    assert [(epoch.number, epoch.phase) for epoch in run.history()] == [(1, "head"), (2, "head")]
    assert (run.config.fine_tune, run.config.alpha) == ("none", 0.35)
    (one,) = BackboneChoice.read(run.folder / CHOICE_NAME).candidates
    assert one.validation_accuracy == run.record.validation["accuracy"]
    assert trained.run.folder == run.folder
    assert trained.scores.images == run.record.test["images"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "run"]
    page = "".join(training_parts(run))
    assert "Choice of the network" in page
    assert one.note in page


def test_candidates_are_ranked_and_those_that_cannot_be_had_are_left_out(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    missing = replace(_NARROW, alpha=0.5)
    candidates = [(missing, tmp_path / "gone.weights.h5"), (_PLAIN, None), (_NARROW, weights)]
    said = Said()
    choice = choose(candidates, photos, minutes=10_000, watcher=said, cache=tmp_path)
    *ranked, last = choice.candidates
    assert (last.weights, last.probe_accuracy) == (str(tmp_path / "gone.weights.h5"), None)
    assert "left out" in last.note
    assert any("is left out" in line for line in said.lines)
    accuracies = [one.probe_accuracy or 0.0 for one in ranked]
    assert accuracies == sorted(accuracies, reverse=True)
    # Plain colours: features of random weights are enough, where they are not all but 0 as those of a deep network.
    assert [one.backbone for one in ranked] == ["small_cnn", "mobilenet_v2"]
    assert accuracies[0] >= 0.9
    assert choice.finalists
    assert choice.finalists[0] is ranked[0]
    assert ranked[0].config is not None
    assert ranked[0].config["epochs"] == 6  # asked for
    assert len(list((tmp_path / "features").iterdir())) == 2
    again = choose(candidates, photos, minutes=10_000, watcher=Watcher(), cache=tmp_path)
    assert [one.probe_accuracy for one in again.candidates] == [one.probe_accuracy for one in choice.candidates]
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_a_named_network_without_its_weights_is_an_error(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do not exist"):
        choose([(_NARROW, tmp_path / "gone.weights.h5")], photos, minutes=1, watcher=Watcher(), cache=tmp_path)


@pytest.mark.parametrize(("sizes", "expected"), [((32, 32, 200), True), ((200, 32, 200), False)])
def test_half_of_the_pictures_decide_whether_they_are_small(
    tmp_path: Path, sizes: tuple[int, ...], expected: bool
) -> None:
    for number, size in enumerate(sizes):
        path = tmp_path / "red" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(photo((230, 20, 20), number, size))
    (tmp_path / "red" / "broken.jpg").write_bytes(b"no picture")
    assert are_small(tmp_path) is expected
