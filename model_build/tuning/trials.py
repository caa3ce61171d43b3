"""What a tuning is, and one trial of it: draw settings, train, answer with the accuracy on the validation photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError
from model_build.choices import Pruner
from model_build.data.dataset import TRAIN, scan
from model_build.training.config import TrainingConfig
from model_build.training.observers import Epoch, Watcher
from model_build.tuning.space import SearchSpace, Value
from model_build.tuning.studies import StudyPlace

if TYPE_CHECKING:
    import optuna

Trainer = Callable[[TrainingConfig, Path, Watcher], float]
"""(configuration, run folder to write, watcher) -> accuracy on the validation photos, 0 to 1."""


STAGES = 10
"""Trials are compared at tenths of their own schedule, for their numbers of epochs differ: after 8 epochs a schedule
of 10 has all but annealed its learning rate, and one of 30 has not."""


class OutOfTimeError(Exception):
    """The time that this process was given is over."""


@dataclass(frozen=True)
class Tuning:
    """What is to be done.

    Attributes:
        fixed: settings that all trials share; what is neither fixed nor searched is the backbone's default.
        trials: in the whole study, complete or pruned, whichever process runs them.
        timeout: seconds after which this process stops; a trial that it interrupts is run by the next one.
        epochs: how many a configuration stands for that leaves them open with 0.
        facts: what makes trials comparable beside settings, such as the classes; a study refuses others.
    """

    place: StudyPlace
    space: SearchSpace
    fixed: Mapping[str, Any]
    trials: int
    timeout: float | None = None
    pruner: Pruner = Pruner.MEDIAN
    epochs: int = 0
    facts: Mapping[str, Any] | None = None

    def config(self, params: Mapping[str, Value]) -> TrainingConfig:
        """The settings of a trial that was dealt ``params``."""
        return TrainingConfig.composed(None, {**self.fixed, **params})


class Objective:
    """One trial: draw the settings, train, answer with the validation accuracy."""

    def __init__(
        self, tuning: Tuning, trainer: Trainer, watcher: Watcher, worker: str, out_of_time: Callable[[], bool]
    ) -> None:
        self._tuning, self._trainer, self._watcher = tuning, trainer, watcher
        self._worker, self._out_of_time = worker, out_of_time
        self.number = -1
        self.lost = False
        """Whether another process took the trial over, because this one had stood still for too long."""

    def __call__(self, trial: optuna.Trial) -> float:
        from optuna import TrialPruned
        from optuna.exceptions import UpdateFinishedTrialError

        self.number, self.lost = trial.number, False
        folder = trial.user_attrs.get("folder", f"trial-{trial.number:04d}")
        for name, value in (("worker", self._worker), ("folder", folder), ("failure", "")):
            trial.set_user_attr(name, value)
        self._yield_if_surplus(trial)
        params = self._tuning.space.suggest(trial)
        config = self._tuning.config(params)
        trial.set_user_attr("config", config.to_document())
        self._watcher.trial_started(trial.number, params)
        try:
            watcher = _TrialWatcher(trial, config, self._watcher, self._out_of_time)
            accuracy = self._trainer(config, self._tuning.place.runs / folder, watcher)
            trial.set_user_attr("epochs", watcher.epochs)
        except UpdateFinishedTrialError:
            self.lost = True
            raise
        except (TrialPruned, OutOfTimeError):
            raise
        except Exception as error:
            trial.set_user_attr("failure", one_line(error))
            raise
        self._watcher.trial_ended(trial.number, accuracy)
        return accuracy

    def _yield_if_surplus(self, trial: optuna.Trial) -> None:
        """Give way when several processes began the last trial at once: the trials numbered first go on."""
        from optuna.trial import TrialState

        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        earlier = [one for one in trial.study.get_trials(deepcopy=False, states=states) if one.number < trial.number]
        if len(earlier) >= self._tuning.trials:
            trial.set_user_attr("surplus", True)
            self.lost = True
            raise RuntimeError("other processes are running the last trials")


class _TrialWatcher(Watcher):
    """Tells Optuna how a trial goes, and ends it when it is hopeless or the time is over."""

    def __init__(
        self, trial: optuna.Trial, config: TrainingConfig, watcher: Watcher, out_of_time: Callable[[], bool]
    ) -> None:
        self._trial, self._watcher, self._out_of_time = trial, watcher, out_of_time
        self._head = config.head_epochs
        self._stage = 0
        self.epochs = 0
        """Epochs that have ended."""

    def decoded(self, done: int, total: int) -> None:
        self._watcher.decoded(done, total)

    def epoch(self, epoch: Epoch, of: int) -> None:
        self.epochs = epoch.number
        self._watcher.trial_epoch(self._trial.number, epoch.number, of, epoch.validation_accuracy)
        # The head's epochs take a second each and say little of where fine-tuning arrives.
        stage = STAGES * (epoch.number - self._head) // (of - self._head) if of > self._head else 0
        if stage > self._stage:
            self._stage = stage
            self._compare(epoch, stage)
        if self._out_of_time():
            raise OutOfTimeError

    def _compare(self, epoch: Epoch, stage: int) -> None:
        from optuna import TrialPruned

        self._trial.set_user_attr("epochs", epoch.number)
        self._trial.report(epoch.validation_accuracy, stage)
        if stage < STAGES and self._trial.should_prune():
            self._watcher.trial_pruned(self._trial.number, epoch.validation_accuracy)
            raise TrialPruned


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def photo_trainer(data: Path, weights: Mapping[str, Path]) -> Trainer:
    """Trains on the photos of ``data``; ``weights`` are files by backbone, for those that have one."""

    def trainer(config: TrainingConfig, out: Path, watcher: Watcher) -> float:
        from model_build.diagnostics.observer import train_diagnosed
        from model_build.native import load_tensorflow
        from model_build.training.run import Run

        if out.exists():  # trained to its end by a process that was killed before it could say so
            run = Run.open(out)
        else:
            load_tensorflow()[1].backend.clear_session()  # the networks of earlier trials
            run = train_diagnosed(config, data, out, weights=weights.get(config.backbone), watcher=watcher).run
        return float(run.record.validation["accuracy"])

    return trainer


def facts(data: Path) -> dict[str, Any]:
    """What makes the accuracies of two trials comparable: the classes, and how many photos there are."""
    found = scan(data)
    return {"labels": list(found.labels), "photos": len(found.photos)}


def usual_epochs(data: Path) -> int:
    """What a configuration with 0 epochs trains on these photos, give or take those that cannot be read."""
    from model_build.training.stages import epochs_for

    photos = scan(data).photos
    split = [photo for photo in photos if photo.split == TRAIN]
    defaults = TrainingConfig()
    share = 1 - defaults.validation_fraction - defaults.test_fraction
    return epochs_for(len(split) or round(share * len(photos)))


def weights_by_backbone(files: Iterable[Path]) -> dict[str, Path]:
    """Whose weights the files are.

    Raises:
        UserError: a file that is no weights file, or fits no backbone; two for one backbone.
    """
    from model_build.training.weights import identify

    found: dict[str, Path] = {}
    for file in files:
        owner = identify(file)
        if owner is None:
            raise UserError(f"{file} fits none of the known backbones")
        if owner[0] in found:
            raise UserError(f"{file} and {found[owner[0]]} both fit {owner[0]}; give one")
        found[owner[0]] = file
    return found
