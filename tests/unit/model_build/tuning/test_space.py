"""One search space, said once, for Optuna and for SageMaker."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from classifier.errors import UserError
from model_build.sagemaker.requests import parameter_ranges
from model_build.training.config import TrainingConfig
from model_build.tuning.space import SEARCH_SPACE, Choice, Real, SearchSpace, Whole

WANTED = {
    "backbone",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "dropout",
    "fine_tune",
    "epochs",
    "optimizer",
}


def test_the_space_covers_what_was_asked_for_and_all_of_it_is_valid() -> None:
    assert set(SEARCH_SPACE.dimensions) == WANTED
    SEARCH_SPACE.check()
    for name in ("learning_rate", "weight_decay"):
        dimension = SEARCH_SPACE.dimensions[name]
        assert isinstance(dimension, Real)
        assert dimension.log


def test_what_optuna_draws_is_a_training_configuration() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        drawn = SEARCH_SPACE.suggest(study.ask())
        config = TrainingConfig.composed(None, drawn)
        assert {name: getattr(config, name) for name in WANTED} == drawn
        assert SEARCH_SPACE.inside(config) == drawn


def test_sagemaker_gets_the_same_bounds_as_optuna() -> None:
    study = optuna.create_study()
    trial = study.ask()
    SEARCH_SPACE.suggest(trial)
    ranges = parameter_ranges(SEARCH_SPACE)
    bounds = {
        one["Name"]: (float(one["MinValue"]), float(one["MaxValue"]), one["ScalingType"] == "Logarithmic")
        for kind in ("IntegerParameterRanges", "ContinuousParameterRanges")
        for one in ranges[kind]
    }
    choices = {one["Name"]: len(one["Values"]) for one in ranges["CategoricalParameterRanges"]}
    for name, distribution in trial.distributions.items():
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            assert choices.pop(name) == len(distribution.choices)
        else:
            assert isinstance(
                distribution, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution
            )
            assert bounds.pop(name) == (distribution.low, distribution.high, distribution.log)
    assert not bounds
    assert not choices


def test_values_outside_the_space_are_no_part_of_a_first_trial() -> None:
    space = SearchSpace({"learning_rate": Real(0.1, 0.5), "epochs": Whole(1, 100)})
    assert space.inside(TrainingConfig(learning_rate=0.01, epochs=30)) == {"epochs": 30}


def test_a_file_changes_ranges_choices_and_values(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        'backbone = ["small_cnn", "resnet50"]\nepochs = 3\ncolour = { low = 0, high = 0.5 }\n'
        "batch_size = { low = 8, high = 64, log = true }\n"
    )
    space = SEARCH_SPACE.from_file(file)
    assert space.dimensions["backbone"] == Choice(("small_cnn", "resnet50"))
    assert space.dimensions["epochs"] == Choice((3,))
    assert space.dimensions["colour"] == Real(0, 0.5)
    assert space.dimensions["batch_size"] == Whole(8, 64, log=True)
    assert space.dimensions["learning_rate"] == SEARCH_SPACE.dimensions["learning_rate"]
    assert space.backbones == ("small_cnn", "resnet50")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learning_rat = [1, 2]", "unknown setting 'learning_rat'"),
        ("dropout = { low = 0.1, high = 1.5 }", "dropout is 1.5"),
        ("dropout = { low = 0.5, high = 0.1 }", "dropout: low is 0.5 and high is 0.1"),
        ("dropout = { from = 0.5 }", "dropout: a range is written"),
        ("dropout = { low = 0.0, high = 0.1, log = true }", "starts above 0"),
        ("dropout = []", "dropout: a list of choices is empty"),
        ('batch_size = [16, "32"]', "must be of one type"),
        ("batch_size = [16, 16]", "each given once"),
        ('dropout = { low = "a", high = "b" }', "dropout"),
        ('backbone = ["resnet9000"]', "unknown backbone 'resnet9000'"),
        ("dropout = ", "cannot be read"),
    ],
)
def test_a_wrong_space_is_told_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        SEARCH_SPACE.from_file(file)
    assert told in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_backbones_can_be_narrowed_down() -> None:
    narrow = SEARCH_SPACE.with_backbones(["small_cnn", "small_cnn"])
    assert narrow.dimensions["backbone"] == Choice(("small_cnn",))
    with pytest.raises(UserError, match="unknown backbone 'vgg'"):
        SEARCH_SPACE.with_backbones(["vgg"]).check()


def test_what_is_fixed_is_not_searched_and_something_must_be_left() -> None:
    space = SEARCH_SPACE.without(["epochs", "colour"])
    assert set(space.dimensions) == WANTED - {"epochs"}
    with pytest.raises(UserError, match="leaves nothing to search"):
        SEARCH_SPACE.without(WANTED).check()
    with pytest.raises(UserError, match="leaves nothing to search"):
        SearchSpace({"epochs": Choice((3,))}).check()
