"""A study: as many trials as asked for, whatever happens to them and to the processes that run them."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from classifier.errors import UserError
from model_build.choices import Pruner
from model_build.training.config import TrainingConfig
from model_build.training.observers import Watcher
from model_build.tuning.space import Choice, Whole
from model_build.tuning.studies import create_study, load_study, worker
from model_build.tuning.study_summary import best_settings, summary_of
from model_build.tuning.tuner import best_run, tune
from tests.unit.model_build.tuning.helpers import SPACE, FakeTrainer, epoch, quality, tuning

pytestmark = pytest.mark.slow

# The tests begin trials by hand, as another process would have.
left_over = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used with:UserWarning")


def test_the_first_trial_is_what_one_has_without_tuning(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    done = tuning(tmp_path, trials=1)
    tune(done, trainer)
    defaults = TrainingConfig.for_backbone("small_cnn")
    assert (trainer.seen[0].learning_rate, trainer.seen[0].dropout) == (defaults.learning_rate, defaults.dropout)
    assert 3 <= trainer.seen[0].epochs <= 12  # the default of 30 lies outside the space


def test_each_backbone_begins_with_its_own_defaults(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    space = SPACE.with_backbones(["small_cnn", "mobilenet_v2"])
    tune(tuning(tmp_path, trials=2, space=space, fixed={}), trainer)
    for config, name in zip(trainer.seen, ("small_cnn", "mobilenet_v2"), strict=True):
        assert config.backbone == name
        assert config.learning_rate == TrainingConfig.for_backbone(name).learning_rate
        assert config.pretrained is (name == "mobilenet_v2")


def test_tuning_finds_the_learning_rate_and_says_that_it_matters(tmp_path: Path) -> None:
    findings = tune(tuning(tmp_path, trials=16), FakeTrainer())
    assert len(findings.trials) == 16
    assert findings.best is not None
    assert 0.003 < float(findings.best.params["learning_rate"]) < 0.03
    assert next(iter(findings.importance)) == "learning_rate"
    assert sum(findings.importance.values()) == pytest.approx(1)
    assert findings.logarithmic == ("learning_rate",)
    assert findings.count("pruned") > 0


def test_the_same_study_again_adds_only_what_is_missing(tmp_path: Path) -> None:
    tune(tuning(tmp_path, trials=3), FakeTrainer())
    again = FakeTrainer()
    findings = tune(tuning(tmp_path, trials=5), again)
    assert (len(again.seen), len(findings.trials)) == (2, 5)
    idle = FakeTrainer()
    assert tune(tuning(tmp_path, trials=5), idle) == findings
    assert not idle.seen


def test_the_gain_is_counted_from_the_trials_with_the_defaults(tmp_path: Path) -> None:
    findings = tune(tuning(tmp_path, trials=6), FakeTrainer())
    assert [row.defaults for row in findings.trials] == [True] + [False] * 5
    assert findings.best is not None
    assert findings.gain == pytest.approx((findings.best.accuracy or 0) - (findings.trials[0].accuracy or 0))


def test_a_first_command_that_could_not_train_binds_nobody(tmp_path: Path) -> None:
    def offline(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        raise UserError("the weights cannot be downloaded")

    with pytest.raises(UserError, match="downloaded"):
        tune(tuning(tmp_path, trials=2), offline)
    trainer = FakeTrainer()
    corrected = tuning(tmp_path, trials=2, fixed={"backbone": "small_cnn", "pretrained": False, "image_size": 24})
    assert len(tune(corrected, trainer).trials) == 2
    assert {config.image_size for config in trainer.seen} == {24}
    with pytest.raises(UserError, match=r"started with other settings \(image_size, pretrained\)"):
        tune(tuning(tmp_path, trials=3), trainer)


def test_the_same_seed_gives_the_same_study(tmp_path: Path) -> None:
    one, two, other = FakeTrainer(), FakeTrainer(), FakeTrainer()
    tune(tuning(tmp_path / "one"), one)
    tune(tuning(tmp_path / "two"), two)
    tune(tuning(tmp_path / "other", fixed={"backbone": "small_cnn", "seed": 8}), other)
    assert one.seen == two.seen
    assert one.seen[1].learning_rate != other.seen[1].learning_rate


def test_only_the_run_of_the_best_trial_is_kept(tmp_path: Path) -> None:
    done = tuning(tmp_path, trials=5)
    findings = tune(done, FakeTrainer())
    study = load_study(done.place)
    assert findings.best is not None
    assert [path.name for path in done.place.runs.iterdir()] == [f"trial-{findings.best.number:04d}"]
    assert best_run(study, done.place) == done.place.runs / f"trial-{findings.best.number:04d}"
    assert list(done.place.workers.iterdir()) == []


def test_the_best_settings_make_the_best_trial_again(tmp_path: Path) -> None:
    done = tuning(tmp_path, trials=5, fixed={"backbone": "small_cnn", "image_size": 24})
    findings = tune(done, FakeTrainer())
    settings = best_settings(load_study(done.place))
    config = TrainingConfig().overridden(settings, "the study")
    assert findings.best is not None
    assert quality(config) == findings.best.accuracy
    assert config.image_size == 24


def test_hopeless_trials_stop_early_by_stages_of_their_own_schedule(tmp_path: Path) -> None:
    """Ten good trials, then one that is bad all the way: the median pruner ends it after the stages all have."""
    lengths: list[int] = []

    def trainer(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        good = len(lengths) < 10
        lengths.append(0)
        for number in range(1, config.epochs + 1):
            lengths[-1] = number
            watcher.epoch(epoch(number, 0.8 if good else 0.1), config.epochs)
        return 0.8

    space = SPACE.overridden({"epochs": [20]}, "the test")
    findings = tune(tuning(tmp_path, trials=11, space=space), trainer)
    assert lengths == [20] * 10 + [4]  # two tenths are waited for
    assert [row.state for row in findings.trials] == ["complete"] * 10 + ["pruned"]
    assert (findings.trials[-1].accuracy, findings.trials[-1].epochs) == (0.1, 4)
    lengths.clear()
    tune(tuning(tmp_path / "all", trials=11, space=space, pruner=Pruner.NONE), trainer)
    assert lengths == [20] * 11


@left_over
def test_a_trial_of_a_killed_process_is_run_again_with_its_settings(tmp_path: Path) -> None:
    tune(tuning(tmp_path, trials=1), FakeTrainer())
    done = tuning(tmp_path, trials=3)
    study = create_study(done.place)
    left = study.ask()
    SPACE.suggest(left)
    (done.place.workers / "gone.lock").touch()  # and nobody holds the lock
    left.set_user_attr("worker", "gone")
    left.set_user_attr("folder", "trial-0001")
    trainer = FakeTrainer()
    findings = tune(done, trainer)
    assert [row.state for row in findings.trials] == ["complete"] * 3
    assert trainer.seen[0].learning_rate == left.params["learning_rate"]
    assert load_study(done.place).trials[left.number].state is TrialState.FAIL


@left_over
def test_a_trial_of_a_living_process_is_waited_for_and_taken_over_when_that_dies(tmp_path: Path) -> None:
    tune(tuning(tmp_path, trials=1), FakeTrainer())
    done = tuning(tmp_path, trials=2)
    study = create_study(done.place)
    watched: list[int] = []

    class Seen(Watcher):
        def waiting(self, running: int) -> None:
            watched.append(running)

    trainer = FakeTrainer()
    alive = worker(done.place.workers)
    name = alive.__enter__()
    other = study.ask()
    SPACE.suggest(other)
    other.set_user_attr("worker", name)

    def wait(_: float) -> None:
        assert not trainer.seen
        if len(watched) == 3:  # killed: the lock is gone, its file is not
            alive.__exit__(None, None, None)
            (done.place.workers / f"{name}.lock").touch()

    findings = tune(done, trainer, watcher=Seen(), wait=wait)
    assert watched == [1, 1, 1]
    assert [row.params for row in findings.trials[1:]] == [other.params]


def test_time_ends_a_process_and_the_next_one_goes_on_with_its_trial(tmp_path: Path) -> None:
    seconds = iter(range(1000))
    trainer = FakeTrainer()
    findings = tune(tuning(tmp_path, trials=50, timeout=30), trainer, clock=lambda: next(seconds))
    ended = len(findings.trials)
    assert 0 < ended < 50
    interrupted = trainer.seen[-1]
    again = FakeTrainer()
    tune(tuning(tmp_path, trials=ended + 1), again)
    assert len(trainer.seen) == ended + 1
    assert again.seen == [interrupted]


def test_an_interrupted_trial_is_not_lost(tmp_path: Path) -> None:
    interrupted: list[TrainingConfig] = []

    def trainer(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        interrupted.append(config)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(tuning(tmp_path, trials=1), trainer)
    again = FakeTrainer()
    findings = tune(tuning(tmp_path, trials=1), again)
    assert again.seen == interrupted
    assert [row.state for row in findings.trials] == ["complete"]


def test_one_failed_trial_does_not_end_a_study_three_in_a_row_do(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    fail = [False, True, True, False, True]

    def sometimes(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        if fail and fail.pop(0):
            raise MemoryError("no room\nfor that batch")
        return trainer(config, out, watcher)

    done = tuning(tmp_path, trials=4)
    findings = tune(done, sometimes)
    assert [row.state for row in findings.trials].count("failed") == 3
    assert findings.count("complete") + findings.count("pruned") == 4
    assert findings.trials[1].note == "MemoryError: no room for that batch"

    def never(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        raise MemoryError

    with pytest.raises(UserError, match="3 trials in a row failed, the last by MemoryError"):
        tune(tuning(tmp_path, trials=9), never)


def test_what_the_user_must_mend_ends_the_study_at_once(tmp_path: Path) -> None:
    asked: list[TrainingConfig] = []

    def trainer(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        asked.append(config)
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="the disk is full"):
        tune(tuning(tmp_path), trainer)
    assert len(asked) == 1
    mended = FakeTrainer()
    tune(tuning(tmp_path, trials=1), mended)
    assert mended.seen == asked


def test_other_settings_photos_or_space_do_not_mix_with_a_study(tmp_path: Path) -> None:
    tune(tuning(tmp_path, trials=1, facts={"photos": 100}), FakeTrainer())
    for changes, told in (
        ({"facts": {"photos": 99}}, r"other photos \(photos\)"),
        ({"facts": {"photos": 100}, "fixed": {"backbone": "small_cnn", "colour": 0.5}}, r"other settings \(colour\)"),
        (
            {"facts": {"photos": 100}, "space": SPACE.overridden({"epochs": [5]}, "")},
            r"other search space \(epochs\)",
        ),
    ):
        with pytest.raises(UserError, match=told):
            tune(tuning(tmp_path, trials=2, **changes), FakeTrainer())


def test_a_trial_taken_over_by_others_is_left_to_them(tmp_path: Path) -> None:
    """A process that stood still, as when a laptop sleeps, finds its trial ended: it goes on with another."""
    done = tuning(tmp_path, trials=1)
    trainer = FakeTrainer()
    taken: list[int] = []

    def slow(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        if not taken:
            study = load_study(done.place)
            taken.append(study.get_trials(states=(TrialState.RUNNING,))[0].number)
            study.tell(taken[0], state=TrialState.FAIL)
        return trainer(config, out, watcher)

    findings = tune(done, slow)
    assert findings.count("complete") == 1
    assert findings.best is not None
    assert findings.best.number != taken[0]


@left_over
def test_a_surplus_trial_gives_way(tmp_path: Path) -> None:
    done = tuning(tmp_path, trials=1)
    study = create_study(done.place)
    began: list[int] = []

    class Late(Watcher):
        """Another process begins and ends the only trial just before this one does."""

        def counted(self, ended: int, of: int) -> None:
            if not began:
                other = study.ask()
                SPACE.suggest(other)
                began.append(other.number)
                study.tell(other, 0.5)

    trainer = FakeTrainer()
    tune(done, trainer, watcher=Late())
    assert not [one for one in summary_of(study).trials if one.state == "failed"]
    assert len(trainer.seen) <= 1


def test_choices_of_one_value_are_fixed(tmp_path: Path) -> None:
    space = SPACE.overridden({"batch_size": 8, "epochs": {"low": 3, "high": 3}}, "the test")
    assert (space.dimensions["batch_size"], space.dimensions["epochs"]) == (Choice((8,)), Whole(3, 3))
    trainer = FakeTrainer()
    findings = tune(tuning(tmp_path, trials=7, space=space), trainer)
    assert {(config.batch_size, config.epochs) for config in trainer.seen} == {(8, 3)}
    assert set(findings.importance) <= {"learning_rate", "dropout"}
