"""Rules about the course of the losses.

Defaults are those of the SageMaker Debugger's built-in rules (:data:`DEBUGGER_RULES`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model_build.diagnostics.diagnosis import Finding, Rule, Severity
from model_build.diagnostics.facts import EpochFacts, History

_SKILLED = 0.5
AT_CHANCE_ADVICE = (
    "Start from a pretrained network (--backbone mobilenet_v2) and at its own image size; check that the labels match "
    "the photos (bucketlens model inspect); add photos; then try a learning rate 10 times higher and 10 times lower."
)


@dataclass(frozen=True)
class LossNotDecreasing(Rule, name="loss not decreasing", anchor="loss-not-decreasing", needs="steps", live=True):
    """LossNotDecreasing: over ``num_steps`` (10) the loss falls by less than ``diff_percent`` (0.1).

    Or it rises by more than ``increase_threshold_percent`` (5). The loss of one batch says little, and the Debugger
    compares losses saved 500 steps apart; here the mean over a window of an epoch's steps (at least ``num_steps``) is
    compared with the window before, phase by phase. An error if a phase ends no lower than it began, a warning if it
    ends that much above its best window, a note if half of its windows did not fall. A loss that does not
    fall is a note where the kept epoch is sure to be half-way from chance to perfection: it knew that before.
    """

    num_steps: int = 10
    diff_percent: float = 0.1
    increase_threshold_percent: float = 5.0

    def check(self, history: History) -> Finding | None:
        for phase in history.phases:
            found = self._check_phase(history, phase)
            if found is not None:
                return found
        return None

    def _check_phase(self, history: History, phase: str) -> Finding | None:
        steps = [step for step in history.steps if step.phase == phase and np.isfinite(step.loss)]
        if not steps:
            return None
        size = max(self.num_steps, sum(step.epoch == steps[0].epoch for step in steps))
        starts = range(0, len(steps) - size + 1, size)
        means = [float(np.mean([step.loss for step in steps[start : start + size]])) for start in starts]
        if len(means) < 3:
            return None
        falls = [100.0 * (before - after) / abs(before or 1.0) for before, after in pairwise(means)]
        failed = [index for index, fall in enumerate(falls, 1) if fall < self.diff_percent]
        best = min(means)
        rise = 100.0 * (means[-1] - best) / abs(best or 1.0)
        if means[-1] >= means[0] * (1 - self.diff_percent / 100):
            severity, meaning = _flat(history.skill())
        elif rise > self.increase_threshold_percent:
            severity, meaning = Severity.WARNING, "The training loss increases again: progress is being lost."
        elif 2 * len(failed) >= len(falls):
            severity, meaning = Severity.NOTE, "The training loss is flat for much of the training."
        else:
            return None
        return Finding(
            self.name,
            severity,
            f"step {steps[starts[failed[0]]].number}",
            {
                "phase": phase,
                "windows without a decrease": f"{len(failed)} of {len(falls)}",
                "steps per window": size,
                "first loss": means[0],
                "last loss": means[-1],
                "increase from the best, percent": rise,
            },
            meaning,
            AT_CHANCE_ADVICE
            if _at_chance(history.skill())
            else "Try a learning rate 10 times higher and 10 times lower; check that the labels match the photos; "
            "unfreeze more layers if the loss has plateaued at a high value.",
        )


def _at_chance(skill: float | None) -> bool:
    return skill is not None and skill <= 0


def _flat(skill: float | None) -> tuple[Severity, str]:
    if skill is not None and skill >= _SKILLED:
        return Severity.NOTE, "The training loss does not decrease; what the network knows, it knew before."
    guessing = " Its validation accuracy is that of guessing." if _at_chance(skill) else ""
    return Severity.ERROR, f"The training loss does not decrease: the network learns nothing.{guessing}"


@dataclass(frozen=True)
class Overfit(Rule, name="overfit", anchor="overfit", needs="validated"):
    """Overfit: (validation loss - training loss) / training loss exceeds ``ratio_threshold`` (0.1).

    From epoch ``start_step`` (0) on; it may be exceeded ``patience`` (1) times in a row before it fires. Such a gap is
    common in fine-tuning and harmless while the validation loss still falls: then this is a note. It becomes a warning
    once the validation loss has risen from its best by the same ratio.
    """

    start_step: int = 0
    patience: int = 1
    ratio_threshold: float = 0.1

    def check(self, history: History) -> Finding | None:
        epochs = [epoch for epoch in _last_phase(history) if epoch.number >= self.start_step]
        run: list[EpochFacts] = []
        for epoch in epochs:
            run = [*run, epoch] if self._ratio(epoch) > self.ratio_threshold else []
        # Only a gap that is still there: one that closed again was noise.
        if len(run) <= self.patience:
            return None
        best, last = min(_validation(epoch) for epoch in epochs), _validation(run[-1])
        risen = (last - best) / best if best > 0 else 0.0
        return Finding(
            self.name,
            Severity.WARNING if risen > self.ratio_threshold else Severity.NOTE,
            f"epoch {run[0].number}",
            {
                "gap, relative to the training loss": self._ratio(run[-1]),
                "threshold": self.ratio_threshold,
                "training loss": run[-1].loss,
                "validation loss": last,
                "best validation loss": best,
            },
            "The network does better on the training photos than on others: it memorizes some of them."
            + (" The validation loss has risen since its best." if risen > self.ratio_threshold else ""),
            "More photos or stronger augmentation first; then more dropout and weight decay, fewer unfrozen layers, a "
            "smaller backbone. Use the weights of the best epoch.",
        )

    @staticmethod
    def _ratio(epoch: EpochFacts) -> float:
        return (_validation(epoch) - epoch.loss) / epoch.loss if epoch.loss > 0 else 0.0


@dataclass(frozen=True)
class Overtraining(Rule, name="overtraining", anchor="overtraining", needs="validated"):
    """Overtraining: a loss has not improved by ``delta`` (0.01) for its patience, in epochs.

    ``patience_validation`` (10) epochs for the validation loss, which is a warning; ``patience_train`` (5) for the
    training loss is a note, and only while the validation loss stands still as long: while that improves nothing is
    overtrained.
    """

    patience_train: int = 5
    patience_validation: int = 10
    delta: float = 0.01

    def check(self, history: History) -> Finding | None:
        epochs = _last_phase(history)
        training = self._last_improvement([epoch.loss for epoch in epochs])
        validation = self._last_improvement([_validation(epoch) for epoch in epochs])
        idle_training, idle_validation = len(epochs) - 1 - training, len(epochs) - 1 - validation
        wasted = idle_validation >= self.patience_validation
        if not wasted and min(idle_training, idle_validation) < self.patience_train:
            return None
        return Finding(
            self.name,
            Severity.WARNING if wasted else Severity.NOTE,
            f"epoch {epochs[validation].number}",
            {
                "epochs without a better validation loss": idle_validation,
                "epochs without a better training loss": idle_training,
                "minimum improvement": self.delta,
                "epochs": len(epochs),
            },
            "Training continued after the loss had stopped improving: that costs time and may cause overfitting.",
            "Use fewer epochs, or early stopping with less patience; if the result is not good enough, change the "
            "learning rate or the data instead.",
        )

    def _last_improvement(self, losses: list[float]) -> int:
        best, last = float("inf"), 0
        for index, loss in enumerate(losses):
            if loss < best - self.delta:
                best, last = loss, index
        return last


def _last_phase(history: History) -> list[EpochFacts]:
    """The epochs the result comes from; what an earlier phase overdid, a later one has changed."""
    return [epoch for epoch in history.validated if epoch.phase == history.validated[-1].phase]


def _validation(epoch: EpochFacts) -> float:
    return float("nan") if epoch.validation_loss is None else epoch.validation_loss
