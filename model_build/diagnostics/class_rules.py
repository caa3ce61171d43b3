"""Rules about the classes: how many photos each has, and which are taken for which.

Defaults are those of the SageMaker Debugger's built-in rules (:data:`DEBUGGER_RULES`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_build.diagnostics.diagnosis import Finding, Measurements, Rule, Severity
from model_build.diagnostics.facts import History, RunFacts
from model_build.diagnostics.loss_rules import AT_CHANCE_ADVICE
from model_build.metrics.scores import wilson_interval

_LISTED = 5


@dataclass(frozen=True)
class ClassImbalance(Rule, name="class imbalance", anchor="class-imbalance", needs="run"):
    """ClassImbalance: the largest class has over ``threshold_imbalance`` (10) times the photos of the smallest.

    Or, once ``samples`` (500) labels have been trained on, more than ``threshold_misprediction`` (0.7) of a class's
    validation photos are mispredicted. Where rare classes weigh more in the loss, imbalance alone is a note.
    """

    threshold_imbalance: float = 10.0
    threshold_misprediction: float = 0.7
    samples: int = 500

    def check(self, history: History) -> Finding | None:
        run = history.run
        if run is None or not run.photos:
            return None
        least, most = min(run.photos), max(run.photos)
        ratio = most / least if least else float("inf")
        missed = self._mispredicted(history, run)
        if ratio <= self.threshold_imbalance and not missed:
            return None
        evidence: Measurements = {
            "largest to smallest": ratio,
            "smallest class": f"{run.labels[run.photos.index(least)]}, {least} photos",
            "largest class": f"{run.labels[run.photos.index(most)]}, {most} photos",
        }
        if missed:
            named = sorted(missed.items(), key=lambda one: -one[1])[:_LISTED]
            evidence["share mispredicted"] = ", ".join(f"{label} {share:.0%}" for label, share in named)
        return Finding(
            self.name,
            Severity.WARNING if missed or not run.weighted else Severity.NOTE,
            "",
            evidence,
            self._meaning(rare=ratio > self.threshold_imbalance, missed=bool(missed), weighted=run.weighted),
            "Collect more photos of these classes; weight rare classes in the loss; judge the model by recall per "
            "class, not by accuracy.",
        )

    @staticmethod
    def _meaning(*, rare: bool, missed: bool, weighted: bool) -> str:
        if missed and rare:
            return "Some classes have few photos and a low recall, which a high accuracy can hide."
        if missed:
            return "Some classes have a low recall, although they do not have far fewer photos than the others."
        return "The common classes outweigh the rare ones" + (
            ", which the class weights compensate for." if weighted else " in the loss."
        )

    def _mispredicted(self, history: History, run: RunFacts) -> dict[str, float]:
        kept = history.kept()
        if kept is None or kept.confusion is None or sum(step.images for step in history.steps) < self.samples:
            return {}
        counts = np.array(kept.confusion, dtype=float)
        truly = counts.sum(axis=1)
        shares = {
            label: float(1 - counts[index, index] / truly[index])
            for index, label in enumerate(run.labels)
            if truly[index]
        }
        return {label: share for label, share in shares.items() if share > self.threshold_misprediction}


@dataclass(frozen=True)
class Confusion(Rule, name="confusion", anchor="confusion", needs="judged"):
    """Confusion: a diagonal share is under ``min_diag`` (0.9), or one off it over ``max_off_diag`` (0.1).

    The shares are those of the published off-diagonal formula, ``confusion[j][i] / sum_j confusion[j][i]``: of the
    photos called ``i``, how many are truly ``j``. (The formula printed for the diagonal divides by the diagonal's sum,
    which no two equally good classes can satisfy at 0.9.) On few validation photos such shares are coarse: it is a
    warning where the 95 % Wilson interval of an off-diagonal share lies above ``max_off_diag``, or that of a diagonal
    one below ``min_diag``, and a note otherwise.
    """

    min_diag: float = 0.9
    max_off_diag: float = 0.1

    def check(self, history: History) -> Finding | None:
        kept = history.kept()
        if kept is None or kept.confusion is None:
            return None
        counts = np.array(kept.confusion)
        labels = history.run.labels if history.run else tuple(str(index) for index in range(len(counts)))
        mixed, unsure, sure = self._shares(counts)
        if not mixed and not unsure:
            return None
        evidence: Measurements = {
            f"predicted {labels[called]}, is {labels[true]}": f"{counts[true, called]} of {counts[:, called].sum()}"
            for true, called in mixed[:_LISTED]
        }
        if len(mixed) > _LISTED:
            evidence["other pairs"] = len(mixed) - _LISTED
        if unsure:
            evidence["low precision"] = ", ".join(
                f"{labels[index]} {counts[index, index] / counts[:, index].sum():.0%}" for index in unsure[:_LISTED]
            )
        return Finding(
            self.name,
            Severity.WARNING if sure else Severity.NOTE,
            "",
            evidence | {"measured at epoch": kept.number},
            "These classes are confused with each other on the validation photos."
            + ("" if sure else " With so few photos this may be chance."),
            "Look at the photos of both classes side by side: mixed-up labels, two names for the same thing, or a "
            "difference too small for the image size. Then relabel, merge, or enlarge the images.",
        )

    def _shares(self, counts: NDArray[np.int64]) -> tuple[list[tuple[int, int]], list[int], bool]:
        """Pairs (true, called) over the limit, worst first; classes under it; whether any is beyond chance."""
        called = counts.sum(axis=0)
        shares = counts / np.maximum(called, 1)
        off = shares - np.diag(np.diag(shares))
        pairs = [(int(row), int(column)) for row, column in np.argwhere(off > self.max_off_diag)]
        pairs.sort(key=lambda pair: -off[pair])
        low = [int(index) for index in np.flatnonzero((np.diag(shares) < self.min_diag) & (called > 0))]
        sure = any(
            wilson_interval(int(counts[row, column]), int(called[column]))[0] > self.max_off_diag
            for row, column in pairs
        ) or any(wilson_interval(int(counts[index, index]), int(called[index]))[1] < self.min_diag for index in low)
        return pairs, low, sure


@dataclass(frozen=True)
class ChanceLevel(Rule, name="accuracy at chance level", anchor="loss-not-decreasing", needs="judged"):
    """The kept epoch's validation accuracy is not above that of always answering the most frequent class.

    Not one of the Debugger's: its LossNotDecreasing is silent about a network that learns its training photos by heart,
    and says nothing of how good "decreasing" is. Above means that the 95 % Wilson interval begins there: an error where
    the accuracy itself is at most chance, a warning where there are too few validation photos to tell.
    """

    def check(self, history: History) -> Finding | None:
        kept, skill = history.kept(), history.skill()
        if kept is None or kept.confusion is None or skill is None or skill > 0:
            return None
        counts = np.array(kept.confusion)
        photos, right = int(counts.sum()), int(np.trace(counts))
        chance = int(counts.sum(axis=1).max())
        return Finding(
            self.name,
            Severity.ERROR if right <= chance else Severity.WARNING,
            "",
            {
                "validation photos classified correctly": f"{right} of {photos}",
                "by always answering the most frequent class": f"{chance} of {photos}",
                "measured at epoch": kept.number,
            },
            "The model is no better than guessing: what it says of a photo is worth nothing."
            if right <= chance
            else "With so few validation photos the model may be no better than guessing.",
            AT_CHANCE_ADVICE,
        )
