"""Tuning: trials until there are enough, by as many processes as one likes, each free to be killed at any moment."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError
from model_build.training.config import TrainingConfig
from model_build.training.watching import TrainingWatcher
from model_build.tuning import workers
from model_build.tuning.findings import Findings, best_trial, find_out
from model_build.tuning.samplers import Pruning, pruner_of, sampler_of
from model_build.tuning.space import SearchSpace, Value
from model_build.tuning.studies import StudyPlace, create_study, fail_abandoned, requeue
from model_build.tuning.watching import TuningWatcher

if TYPE_CHECKING:
    import optuna

    from model_build.training.fitting import Epoch

Trainer = Callable[[TrainingConfig, Path, TrainingWatcher], float]
"""(configuration, run folder to write, watcher) -> accuracy on the validation photos, 0 to 1."""

STAGES = 10
"""Trials are compared at tenths of their own schedule, for their numbers of epochs differ: after 8 epochs a schedule
of 10 has all but annealed its learning rate, and one of 30 has not."""

_MOST_FAILURES_IN_A_ROW = 3
_POLL_SECONDS = 2.0


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
    pruning: Pruning = Pruning.MEDIAN
    epochs: int = 0
    facts: Mapping[str, Any] | None = None

    def config(self, params: Mapping[str, Value]) -> TrainingConfig:
        """The settings of a trial that was dealt ``params``."""
        return TrainingConfig.composed(None, {**self.fixed, **params})


class _OutOfTimeError(Exception):
    """The time that this process was given is over."""


def tune(
    tuning: Tuning,
    trainer: Trainer,
    *,
    watcher: TuningWatcher | None = None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] | None = None,
) -> Findings:
    """Run trials until the study has ``tuning.trials`` of them, and return what they taught.

    Where other processes are at work on the last ones, wait for them, and run again what they leave if they are killed.

    Raises:
        UserError: the study was begun with other settings, a trial cannot be trained for a reason that all share, or
            several in a row failed.
    """
    watcher = watcher or TuningWatcher()
    wait = wait or threading.Event().wait
    deadline = clock() + tuning.timeout if tuning.timeout is not None else math.inf
    study = create_study(tuning.place, pruner=pruner_of(tuning.pruning, STAGES, tuning.trials))
    with tuning.place.locked():
        order = _begin(study, tuning)
    study.sampler = sampler_of(tuning.config({}).seed + order, tuning.trials)
    with workers.worker(tuning.place.workers) as me:
        objective = _Objective(tuning, trainer, watcher, me, lambda: clock() >= deadline)
        failures = 0
        while True:
            with tuning.place.locked():
                fail_abandoned(study, tuning.place)
            ended, running = _counts(study)
            watcher.counted(ended, tuning.trials)
            if ended + running >= tuning.trials or clock() >= deadline:
                if not running or clock() >= deadline:
                    break
                watcher.waiting(running)
                wait(_POLL_SECONDS)
                continue
            try:
                study.optimize(objective, n_trials=1)
            except _OutOfTimeError:
                requeue(study, objective.number)
            except (KeyboardInterrupt, UserError):
                requeue(study, objective.number)
                raise
            except Exception as error:  # one trial that runs out of memory must not end the study
                if not objective.lost:
                    failures += 1
                    watcher.failed(objective.number, _one_line(error))
                if failures >= _MOST_FAILURES_IN_A_ROW:
                    raise UserError(f"{failures} trials in a row failed, the last by {_one_line(error)}") from error
            else:
                failures = 0
            tidy(study, tuning.place)
    return find_out(study)


def best_run(study: optuna.Study, place: StudyPlace) -> Path | None:
    """The run of the best trial; None if there is none, or it lies on another machine."""
    best = best_trial(study)
    folder = place.runs / str(best.user_attrs["folder"]) if best else None
    return folder if folder and folder.is_dir() else None


def tidy(study: optuna.Study, place: StudyPlace) -> None:
    """Remove what trials wrote, but for the best one and for those that run or are to be run again."""
    with place.locked():
        best = best_trial(study)
        keep = {
            str(trial.user_attrs["folder"])
            for trial in study.get_trials(deepcopy=False)
            if "folder" in trial.user_attrs
            and (not trial.state.is_finished() or (best is not None and trial.number == best.number))
        }
        for path in place.runs.iterdir() if place.runs.is_dir() else ():
            if not any(name in path.name for name in keep):
                shutil.rmtree(path, ignore_errors=True)


class _Objective:
    """One trial: draw the settings, train, answer with the validation accuracy."""

    def __init__(
        self, tuning: Tuning, trainer: Trainer, watcher: TuningWatcher, worker: str, out_of_time: Callable[[], bool]
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
        self._watcher.started(trial.number, params)
        try:
            watcher = _TrialWatcher(trial, config, self._watcher, self._out_of_time)
            accuracy = self._trainer(config, self._tuning.place.runs / folder, watcher)
            trial.set_user_attr("epochs", watcher.epochs)
        except UpdateFinishedTrialError:
            self.lost = True
            raise
        except (TrialPruned, _OutOfTimeError):
            raise
        except Exception as error:
            trial.set_user_attr("failure", _one_line(error))
            raise
        self._watcher.ended(trial.number, accuracy)
        return accuracy

    def _yield_if_surplus(self, trial: optuna.Trial) -> None:
        """Give way when several processes began the last trial at once: the trials numbered first go on."""
        from optuna.trial import TrialState

        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        earlier = [one for one in trial.study.get_trials(deepcopy=False, states=states) if one.number < trial.number]
        if len(earlier) >= self._tuning.trials:
            trial.set_user_attr("surplus", True)
            self.lost = True
            raise RuntimeError("other processes run the last trials")


class _TrialWatcher(TrainingWatcher):
    """Tells Optuna how a trial goes, and ends it when it is hopeless or the time is over."""

    def __init__(
        self, trial: optuna.Trial, config: TrainingConfig, watcher: TuningWatcher, out_of_time: Callable[[], bool]
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
        self._watcher.epoch(self._trial.number, epoch.number, of, epoch.validation_accuracy)
        # The head's epochs take a second each and say little of where fine-tuning arrives.
        stage = STAGES * (epoch.number - self._head) // (of - self._head) if of > self._head else 0
        if stage > self._stage:
            self._stage = stage
            self._compare(epoch, stage)
        if self._out_of_time():
            raise _OutOfTimeError

    def _compare(self, epoch: Epoch, stage: int) -> None:
        from optuna import TrialPruned

        self._trial.set_user_attr("epochs", epoch.number)
        self._trial.report(epoch.validation_accuracy, stage)
        if stage < STAGES and self._trial.should_prune():
            self._watcher.pruned(self._trial.number, epoch.validation_accuracy)
            raise TrialPruned


def _begin(study: optuna.Study, tuning: Tuning) -> int:
    """Write down what the study is about, or compare; how many processes have begun before this one.

    Raises:
        UserError: the study is about something else.
    """
    about = {
        "space": {name: repr(dimension) for name, dimension in tuning.space.dimensions.items()},
        "fixed": {name: value for name, value in tuning.fixed.items() if name not in tuning.space.dimensions},
        "facts": dict(tuning.facts or {}),
    }
    attributes = study.user_attrs
    for part, values in about.items():
        begun = attributes.get(part)
        if begun is None:
            study.set_user_attr(part, values)
        elif begun != values:
            names = sorted(name for name in begun.keys() | values.keys() if begun.get(name) != values.get(name))
            raise UserError(
                f"the study {tuning.place.name!r} was begun with other {_WORDS[part]} ({', '.join(names)}); its trials"
                " would not compare: give the same again, or another --study name"
            )
    order = int(attributes.get("processes", 0))
    study.set_user_attr("processes", order + 1)
    if not order:
        # First what one would have without tuning: the best trial is then never worse.
        for name in tuning.space.backbones or (None,):
            defaults = tuning.config({} if name is None else {"backbone": name})
            if not defaults.epochs:
                defaults = replace(defaults, epochs=tuning.epochs)
            study.enqueue_trial(tuning.space.inside(defaults))
    return order


_WORDS = {"space": "search space", "fixed": "settings", "facts": "photos"}


def _counts(study: optuna.Study) -> tuple[int, int]:
    """Trials that ended with a result, and those being run by any process."""
    from optuna.trial import TrialState

    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    ended = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
    return ended, states.count(TrialState.RUNNING)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
