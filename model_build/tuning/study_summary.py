"""What a study has learnt, as plain data: for the screen, the pictures, ``tuning.json`` and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from classifier.errors import UserError
from model_build.files import json_bytes, write_atomic
from model_build.training.config import TrainingConfig, without_removed
from model_build.training.run import TUNING_NAME
from model_build.tuning.space import Value
from model_build.tuning.studies import DEFAULT_FOLDER, StudyPlace, load_study

if TYPE_CHECKING:
    import optuna

DEFAULTS = "defaults"
"""User attribute of the trials that are trained without tuning's changes, one a backbone."""

_FEWEST_FOR_IMPORTANCE = 6
_IMPORTANCE_SEED = 7


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        state: ``complete``, ``pruned`` (stopped early: it did worse than half of the others at the same epoch), or
            ``failed``.
        accuracy: on the validation photos, 0 to 1; of a pruned trial the best it had reached; None if it failed.
        epochs: epochs it trained.
        seconds: how long it took.
        note: why it failed.
        defaults: whether its settings are what training takes without tuning, as far as the search space holds them.
    """

    number: int
    state: str
    accuracy: float | None
    params: dict[str, Value]
    epochs: int
    seconds: float | None
    note: str = ""
    defaults: bool = False


@dataclass(frozen=True)
class StudySummary:
    """What is known of a study.

    Attributes:
        best: the trial with the highest validation accuracy of those that ran to their end; the first of equals.
        importance: by setting, the share of the differences in accuracy that it explains (functional ANOVA, Hutter,
            Hoos and Leyton-Brown, ICML 2014), adding up to 1, highest first; empty where too few trials ended.
        trials: those that ended, in order; a killed trial that was run again appears once.
        logarithmic: settings that were searched by their logarithm.
    """

    study: str
    best: TrialRow | None
    importance: dict[str, float]
    trials: tuple[TrialRow, ...]
    logarithmic: tuple[str, ...] = ()

    @property
    def gain(self) -> float | None:
        """How far the best accuracy is above that of the best defaults, 0 to 1; None where none ran to their end."""
        reached = [row.accuracy for row in self.trials if row.defaults and row.state == "complete" and row.accuracy]
        return self.best.accuracy - max(reached) if reached and self.best and self.best.accuracy else None

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The reverse of :meth:`to_document`, also after JSON."""
        best = document["best"]
        return cls(
            document["study"],
            TrialRow(**best) if best else None,
            dict(document["importance"]),
            tuple(TrialRow(**row) for row in document["trials"]),
            tuple(document["logarithmic"]),
        )


def summary_of(study: optuna.Study) -> StudySummary:
    """Read a study."""
    from optuna.trial import TrialState

    ended = _ended(study)
    complete = [trial for trial in ended if trial.state is TrialState.COMPLETE]
    logarithmic = {name for trial in ended for name, one in trial.distributions.items() if getattr(one, "log", False)}
    best = best_trial(study)
    return StudySummary(
        study.study_name,
        _row(best) if best else None,
        _importance(study, complete),
        tuple(_row(trial) for trial in ended),
        tuple(sorted(logarithmic)),
    )


def best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """The complete trial with the highest accuracy, the first of equals; None if there is none yet."""
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def best_settings(study: optuna.Study) -> dict[str, Value]:
    """Every setting that the best trial was trained with, to be given to :meth:`TrainingConfig.overridden`.

    Raises:
        UserError: no trial has ended yet.
    """
    best = best_trial(study)
    if best is None:
        raise UserError(f"the study {study.study_name!r} has no finished trial yet")
    return without_removed(best.user_attrs["config"], f"the study {study.study_name}")


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that are over, without those that were run again or gave way to others."""
    trials = study.get_trials(deepcopy=False)
    again = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    return [
        trial
        for trial in trials
        if trial.state.is_finished() and trial.number not in again and not trial.user_attrs.get("surplus")
    ]


def _row(trial: optuna.trial.FrozenTrial) -> TrialRow:
    from optuna.trial import TrialState

    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    accuracy = trial.value
    if trial.state is TrialState.PRUNED:
        accuracy = max(trial.intermediate_values.values(), default=None)
    return TrialRow(
        number=trial.number,
        state=names[trial.state],
        accuracy=accuracy,
        params=dict(trial.params),
        epochs=int(trial.user_attrs.get("epochs", 0)),
        seconds=None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        note=str(trial.user_attrs.get("failure", "")),
        defaults=bool(trial.user_attrs.get(DEFAULTS)),
    )


def _importance(study: optuna.Study, complete: list[optuna.trial.FrozenTrial]) -> dict[str, float]:
    """Empty where there is nothing to compare: too few trials, all alike, or one setting only."""
    import optuna

    searched = {name for trial in complete for name in trial.params}
    varied = [name for name in searched if len({trial.params.get(name) for trial in complete}) > 1]
    if len(complete) < _FEWEST_FOR_IMPORTANCE or len({trial.value for trial in complete}) < 2 or not varied:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=_IMPORTANCE_SEED)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=sorted(varied))
    return {name: float(share) for name, share in sorted(shares.items(), key=lambda item: -item[1])}


@dataclass(frozen=True)
class BestOf:
    """The settings of a study's best trial, and what the study is to say about itself in the run's report."""

    config: TrainingConfig
    findings: StudySummary

    def note(self, run: Path) -> None:
        """Leave the findings in a run folder, where its report looks for them."""
        write_atomic(run / TUNING_NAME, json_bytes(self.findings.to_document()))


def best_of(name: str, storage: str | None = None, studies: Path = DEFAULT_FOLDER) -> BestOf:
    """Look into a study.

    Raises:
        UserError: no such study (the message lists those there are), or no trial has ended yet.
    """
    study = load_study(StudyPlace.of(name, storage, studies))
    config = TrainingConfig().overridden(best_settings(study), f"the study {name}")
    return BestOf(config, summary_of(study))


def start_from(
    config: Path | None, study: str | None, storage: str | None, studies: Path
) -> tuple[Path | dict[str, Any] | None, BestOf | None]:
    """The settings to start from, a file's or those of a study's best trial, and that study.

    Raises:
        UserError: both are given, or as :func:`best_of`.
    """
    if study is None:
        return config, None
    if config:
        raise UserError("--config and --best-of both give the settings; leave one out")
    found = best_of(study, storage, studies)
    return found.config.to_document(), found
