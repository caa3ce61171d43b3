from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from classifier.errors import UserError
from model_build.training.config import TrainingConfig


def test_what_a_run_saves_can_be_given_back(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=3, learning_rate=0.01, resize="pad", flip=True)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_document()))
    assert TrainingConfig.from_file(path) == config


def test_a_toml_file_overrides_and_options_override_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('epochs = 3\nlearning_rate = 1\nresize = "crop"\n')
    config = TrainingConfig.from_file(path).overridden({"epochs": 5, "seed": None}, "the options")
    assert (config.epochs, config.learning_rate, config.resize, config.seed) == (5, 1.0, "crop", TrainingConfig().seed)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epoch = 3", "unknown setting 'epoch'"),
        ('epochs = "3"', "epochs is '3'; it must be of type int"),
        ("flip = 1", "flip is 1; it must be of type bool"),
        ("epochs = true", "epochs is True; it must be of type int"),
        ("epochs = 0", "epochs is 0; it must be at least 1"),
        ("batch_size = 1", "batch_size is 1; it must be at least 2"),
        ("learning_rate = -0.1", "learning_rate is -0.1"),
        ('resize = "squash"', "must be one of stretch, crop, pad"),
        ("test_fraction = 0.9", "at most 0.5"),
        ("epochs = = 3", "cannot be read"),
    ],
)
def test_a_wrong_setting_names_file_and_setting(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        TrainingConfig.from_file(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "accepted"), [("0.0", True), ("0.25", False)])
def test_a_setting_that_was_removed_is_accepted_only_where_it_was_off(
    tmp_path: Path, value: str, accepted: bool
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TrainingConfig().to_document() | {"mix": float(value)}))
    if accepted:
        assert TrainingConfig.from_file(path) == TrainingConfig()
        return
    with pytest.raises(UserError, match=r"config\.json: mix is 0\.25, and this release no longer has that setting"):
        TrainingConfig.from_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.toml cannot be read"):
        TrainingConfig.from_file(tmp_path / "nothing.toml")


def test_a_pretrained_backbone_brings_its_own_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('backbone = "mobilenet_v2"\nfine_tune = "half"\n')
    config = TrainingConfig.composed(path, {"epochs": 4, "alpha": 0.35, "seed": None})
    assert config == replace(
        TrainingConfig.for_backbone("mobilenet_v2", alpha=0.35), fine_tune="half", epochs=4, alpha=0.35
    )
    assert (config.pretrained, config.head_epochs > 0, config.flip) == (True, True, True)
    scratch = TrainingConfig.composed(None, {"backbone": "resnet50", "pretrained": False})
    assert scratch == TrainingConfig(backbone="resnet50")


def test_every_setting_is_explained() -> None:
    explained = TrainingConfig.__doc__ or ""
    assert [field.name for field in fields(TrainingConfig) if field.name not in explained] == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"optimizer": "lion"}, "must be one of adamw, sgd"),
        ({"fine_tune": "third"}, "must be one of none, quarter, half, most, all"),
        ({"backbone": "vgg"}, "unknown backbone 'vgg'"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
    ],
)
def test_a_wrong_choice_lists_the_right_ones(values: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        TrainingConfig().overridden(values, "the options")
