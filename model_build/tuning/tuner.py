"""Tuning: trials until there are enough, by as many processes as one likes, each free to be killed at any moment."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError
from model_build.choices import Pruner
from model_build.training.config import without_removed
from model_build.training.observers import SILENT, Watcher
from model_build.tuning.studies import (
    StudyPlace,
    create_study,
    discard_study,
    fail_abandoned,
    requeue,
    require_optuna,
    worker,
)
from model_build.tuning.study_summary import DEFAULTS, StudySummary, best_trial, summary_of
from model_build.tuning.trials import STAGES, Objective, OutOfTimeError, Trainer, Tuning, one_line

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


_WATCHED_STAGES = 2  # before these stages the head has hardly learnt, and who leads means little

_FEWEST_COMPARED = 3  # trials that reached the stage: with few epochs, schedules pass different tenths
_MOST_FAILURES_IN_A_ROW = 3
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Tuned:
    """What a study has learnt, the page that shows it, and the best trial's run if it is on this machine."""

    summary: StudySummary
    page: Path
    best_run: Path | None


def first_trials(trials: int) -> int:
    """A third of the trials, 4 to 10, are drawn at random and run to their end: fewer teach nothing, more are better
    spent on what they have taught."""
    return min(10, max(4, trials // 3))


def pruner_of(pruner: Pruner, stages: int, trials: int) -> BasePruner:
    pruners = require_optuna().pruners
    made: BasePruner
    if pruner is Pruner.MEDIAN:
        made = pruners.MedianPruner(
            n_startup_trials=first_trials(trials), n_warmup_steps=_WATCHED_STAGES, n_min_trials=_FEWEST_COMPARED
        )
    elif pruner is Pruner.HYPERBAND:
        made = pruners.HyperbandPruner(min_resource=_WATCHED_STAGES, max_resource=stages, reduction_factor=3)
    else:
        made = pruners.NopPruner()
    return made


def sampler_of(seed: int, trials: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al., NIPS 2011), over the settings jointly.

    It begins with :func:`first_trials` at random.
    """
    samplers = require_optuna().samplers
    made: BaseSampler = samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=first_trials(trials))
    return made


def tune(
    tuning: Tuning,
    trainer: Trainer,
    *,
    watcher: Watcher = SILENT,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] | None = None,
) -> StudySummary:
    """Run trials until the study has ``tuning.trials`` of them, and return what they taught.

    Where other processes are at work on the last ones, wait for them, and run again what they leave if they are killed.

    Raises:
        UserError: the study was started with other settings, a trial cannot be trained for a reason that all share, or
            several in a row failed.
    """
    wait = wait or threading.Event().wait
    deadline = clock() + tuning.timeout if tuning.timeout is not None else math.inf
    pruner = pruner_of(tuning.pruner, STAGES, tuning.trials)
    study = create_study(tuning.place, pruner=pruner)
    if _differences(study, tuning) and not any(_counts(study)):  # a first command that was wrong binds nobody
        discard_study(tuning.place)
        study = create_study(tuning.place, pruner=pruner)
    with tuning.place.locked():
        order = _begin(study, tuning)
    study.sampler = sampler_of(tuning.config({}).seed + order, tuning.trials)
    with worker(tuning.place.workers) as me:
        objective = Objective(tuning, trainer, watcher, me, lambda: clock() >= deadline)
        failures = 0
        while True:
            with tuning.place.locked():
                fail_abandoned(study, tuning.place)
            ended, running = _counts(study)
            watcher.trials(ended, tuning.trials)
            if ended + running >= tuning.trials or clock() >= deadline:
                if not running or clock() >= deadline:
                    break
                watcher.waiting(running)
                wait(_POLL_SECONDS)
                continue
            try:
                study.optimize(objective, n_trials=1)
            except OutOfTimeError:
                requeue(study, objective.number)
            except (KeyboardInterrupt, UserError):
                requeue(study, objective.number)
                raise
            except Exception as error:  # one trial that runs out of memory must not end the study
                if not objective.lost:
                    failures += 1
                    watcher.trial_failed(objective.number, one_line(error))
                if failures >= _MOST_FAILURES_IN_A_ROW:
                    raise UserError(f"{failures} trials in a row failed, the last by {one_line(error)}") from error
            else:
                failures = 0
            tidy(study, tuning.place)
    return summary_of(study)


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


def _about(tuning: Tuning) -> dict[str, dict[str, Any]]:
    """What makes the trials of a study comparable."""
    return {
        "space": {name: repr(dimension) for name, dimension in tuning.space.dimensions.items()},
        "fixed": {name: value for name, value in tuning.fixed.items() if name not in tuning.space.dimensions},
        "facts": dict(tuning.facts or {}),
    }


def _differences(study: optuna.Study, tuning: Tuning) -> dict[str, list[str]]:
    """In what the study was begun otherwise, by part; nothing for a new one."""
    found: dict[str, list[str]] = {}
    for part, values in _about(tuning).items():
        begun = study.user_attrs.get(part)
        begun = begun and without_removed(begun, f"the study {tuning.place.name}")
        if begun is not None and begun != values:
            names = begun.keys() | values.keys()
            found[part] = sorted(name for name in names if begun.get(name) != values.get(name))
    return found


def _begin(study: optuna.Study, tuning: Tuning) -> int:
    """Write down what the study is about, or compare; how many processes have begun before this one.

    Raises:
        UserError: the study is about something else.
    """
    for part, names in _differences(study, tuning).items():
        raise UserError(
            f"the study {tuning.place.name!r} was started with other {_WORDS[part]} ({', '.join(names)}); its trials"
            " would not compare: give the same again, or another --study name"
        )
    attributes = study.user_attrs
    for part, values in _about(tuning).items():
        if part not in attributes:
            study.set_user_attr(part, values)
    order = int(attributes.get("processes", 0))
    study.set_user_attr("processes", order + 1)
    if not order:
        # First what one would have without tuning: the best trial is then never worse.
        for name in tuning.space.backbones or (None,):
            defaults = tuning.config({} if name is None else {"backbone": name})
            if not defaults.epochs:
                defaults = replace(defaults, epochs=tuning.epochs)
            study.enqueue_trial(tuning.space.inside(defaults), user_attrs={DEFAULTS: True})
    return order


_WORDS = {"space": "search space", "fixed": "settings", "facts": "photos"}


def _counts(study: optuna.Study) -> tuple[int, int]:
    """Trials that ended with a result, and those being run by any process."""
    from optuna.trial import TrialState

    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    ended = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
    return ended, states.count(TrialState.RUNNING)
