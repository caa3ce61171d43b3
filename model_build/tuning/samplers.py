"""Which trial comes next, and which is given up."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from model_build.tuning.studies import require_optuna

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

_WATCHED_STAGES = 2  # before these stages the head has hardly learnt, and who leads means little

_FEWEST_COMPARED = 3  # trials that reached the stage: with few epochs, schedules pass different tenths


class Pruning(StrEnum):
    """``median``: stop a trial that does worse than half of the others at its stage. ``hyperband``: give most trials
    little, and more to those that lead (Li et al., JMLR 2018). ``none``: let all run."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"


def first_trials(trials: int) -> int:
    """A third of the trials, 4 to 10, are drawn at random and run to their end: fewer teach nothing, more are better
    spent on what they have taught."""
    return min(10, max(4, trials // 3))


def pruner_of(pruning: Pruning, stages: int, trials: int) -> BasePruner:
    pruners = require_optuna().pruners
    made: BasePruner
    if pruning is Pruning.MEDIAN:
        made = pruners.MedianPruner(
            n_startup_trials=first_trials(trials), n_warmup_steps=_WATCHED_STAGES, n_min_trials=_FEWEST_COMPARED
        )
    elif pruning is Pruning.HYPERBAND:
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
