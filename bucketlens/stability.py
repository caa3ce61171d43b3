"""Whether a model's answers have changed: the population stability index of its labels and of its confidence.

PSI = sum of (actual - expected) * ln(actual / expected) over the bins' shares (Siddiqi, "Credit Risk Scorecards", 2006:
under 0.1 stable, over 0.25 a large shift). Two samples of one population do not have 0: their index is about chi-square
distributed with (bins - 1) degrees of freedom, times 1/n + 1/m (Yurdakul and Naranjo, "Statistical properties of the
population stability index", Journal of Risk Model Validation, 2020). What stays under the 95 % quantile may be chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_build.metrics.answers import AnswerMix

MODERATE, LARGE = 0.1, 0.25
_Z_95 = 1.6448536269514722


class Baseline(StrEnum):
    """What results are compared with."""

    AUTO = "auto"
    MODEL = "model"
    FIRST_WEEK = "first-week"


@dataclass(frozen=True)
class Shift:
    """A population stability index.

    Attributes:
        chance: what two samples of these sizes from one population exceed in 5 % of cases.
    """

    index: float
    chance: float

    @property
    def verdict(self) -> str:
        """``stable``, ``moderate`` or ``large``; an index that may be chance is stable."""
        if self.index < MODERATE or self.index <= self.chance:
            return "stable"
        return "moderate" if self.index < LARGE else "large"


def shift(expected: Sequence[int], actual: Sequence[int]) -> Shift:
    """The index of two histograms over the same bins. Half a count is added to each bin, so that an empty one counts.

    Raises:
        ValueError: one of them is empty.
    """
    pairs = [(e, a) for e, a in zip(expected, actual, strict=True) if e or a]
    totals = sum(e for e, _ in pairs), sum(a for _, a in pairs)
    if not all(totals):
        raise ValueError("an empty histogram has no shares")
    index = 0.0
    for e, a in pairs:
        before, after = ((count + 0.5) / (total + len(pairs) / 2) for count, total in zip((e, a), totals, strict=True))
        index += (after - before) * math.log(after / before)
    return Shift(index, _chi_square_95(len(pairs) - 1) * (1 / totals[0] + 1 / totals[1]))


def label_shift(expected: AnswerMix, actual: AnswerMix) -> Shift:
    """Raises ValueError where one of them is empty."""
    labels = sorted({*expected.labels, *actual.labels})
    return shift(*([mix.labels.get(label, 0) for label in labels] for mix in (expected, actual)))


def _chi_square_95(degrees: int) -> float:
    """The 95 % quantile, to 1 % (Wilson and Hilferty, 1931)."""
    if degrees == 0:
        return 0.0
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + _Z_95 * math.sqrt(spread)) ** 3)
