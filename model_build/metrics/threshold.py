"""From which confidence on a prediction needs no second look: chosen on validation photos.

For a precision, which is counted there, or for a risk, which is then guaranteed: at most that share of all accepted
predictions is wrong, on photos like those of validation, unless validation was an unlucky draw (one in twenty).

The guarantee is that of Angelopoulos et al., "Learn then Test" (2021): the k photos with the highest confidences, for
k upwards from the fewest that could prove anything, are accepted as long as so few of them are wrong that this would
happen in at most ``UNLUCKY`` of all draws if the risk were higher (the exact binomial test; its inversion is the bound
of Clopper and Pearson, Biometrika 1934). One early mistake would end that sequence, so others start at twice the
photos, four times, and so on, and share ``UNLUCKY`` equally.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNLUCKY = 0.05
"""The probability that a guaranteed risk is exceeded all the same."""
DEFAULT_PRECISION = 0.95
FEWEST_ACCEPTED = 10
"""A precision counted on fewer accepted photos than this is too uncertain to use, unless there are no more."""
NEVER = -1.0
"""In place of the confidence of a prediction that no threshold accepts."""
_DECIMALS = 4
_CURVE_POINTS = 50
_TRIED_RANKS = 400
_MOST_PHOTOS = 1e6

Curve = tuple[tuple[float, float], ...]
"""Coverage and risk, both in [0, 1]: the share of photos accepted, and the share of those that is wrong."""


@dataclass(frozen=True)
class ReviewThreshold:
    """Predictions under ``value`` are marked for review.

    Attributes:
        target: the precision wanted of those that are not.
        precision: theirs on the validation photos; None where none is left.
        accepted: share of the validation photos that are not marked.
        reached: whether ``precision`` is at least ``target``; where that is guaranteed, whether it could be.
        by_hand: somebody gave the value; it was not chosen for the target.
        guaranteed: ``target`` is a guarantee: 1 less the risk.
        bound: of the share of accepted predictions that is wrong, an upper bound that holds with 95 % confidence.
        needed: where a guarantee could not be given, about how many validation photos it would take; None where no
            number would do.
    """

    value: float
    target: float
    precision: float | None
    accepted: float
    photos: int
    reached: bool
    by_hand: bool = False
    guaranteed: bool = False
    bound: float | None = None
    needed: int | None = None

    @property
    def statement(self) -> str:
        """One line for the reader."""
        if self.by_hand:
            right = "" if self.precision is None else f", {self.precision:.1%} of them correct"
            accepted = f"{self.accepted:.1%} of {self.photos} photos need no review"
            return f"set by hand to {self.value:g}: {accepted}{right}"
        if self.guaranteed:
            return self._guarantee
        if not self.reached:
            return (
                f"no threshold reaches the target precision of {self.target:.1%} on {self.photos} validation photos:"
                " every prediction is marked for review; lower --precision or train a better model"
            )
        told = f"{self.precision or 0:.1%} of them correct on {self.photos} validation photos; target {self.target:.1%}"
        if self.accepted == 1.0:
            return (
                f"every validation photo is accepted without review ({told}); predictions below {self.value:g}, less"
                " confident than any of those, are marked for review"
            )
        return f"at confidence {self.value:g} or more, {self.accepted:.1%} of photos need no review ({told})"

    @property
    def _guarantee(self) -> str:
        risk = 1 - self.target
        sure = f"with {1 - UNLUCKY:.0%} confidence"
        if self.reached:
            return (
                f"at confidence {self.value:g} or more, {self.accepted:.1%} of photos need no review, and at most"
                f" {risk:.2%} of those are wrong, {sure} ({1 - (self.precision or 0):.2%} wrong on"
                f" {self.photos} validation photos, upper bound {self.bound or 0:.2%})"
            )
        would = (
            f"it would take about {self.needed:,} validation photos with answers like these"
            if self.needed
            else "no number of photos with answers like these would do: train a better model, or allow a higher risk"
        )
        return (
            f"that at most {risk:.2%} of the accepted are wrong cannot be guaranteed {sure} on {self.photos} validation"
            f" photos, so every prediction is marked for review; {would} (at least {fewest_accepted(risk):,} accepted"
            " without a mistake)"
        )


def choose_threshold(confidence: ArrayLike, right: ArrayLike, target: float = DEFAULT_PRECISION) -> ReviewThreshold:
    """The lowest threshold that reaches ``target``: the least work for the reviewers.

    Args:
        confidence: (photos,), of the predicted label as it is served (after temperature scaling), in [0, 1], or NEVER.
        right: (photos,), whether that label is the true one.
        target: wanted share of right predictions among those with at least that confidence.
    """
    ranked = _Ranked.of(confidence, right)
    counts = np.arange(1, ranked.photos + 1)
    good = np.flatnonzero(
        ranked.last & ((counts - ranked.wrong) / counts >= target) & (counts >= min(FEWEST_ACCEPTED, ranked.photos))
    )
    return ranked.accepting(int(good[-1]) + 1 if len(good) else 0, target)


def guaranteed_threshold(confidence: ArrayLike, right: ArrayLike, risk: float) -> ReviewThreshold:
    """The lowest threshold above which at most ``risk`` of all predictions is wrong, with 95 % confidence.

    Args:
        confidence, right: as for :func:`choose_threshold`.
        risk: wrong predictions among the accepted, over 0 and under 1.
    """
    ranked = _Ranked.of(confidence, right)
    accepted = _most_accepted(ranked, risk)
    needed = None if accepted else _photos_needed(ranked, risk)
    return replace(ranked.accepting(accepted, 1 - risk), guaranteed=True, needed=needed)


def given_threshold(value: float, confidence: ArrayLike, right: ArrayLike, target: float) -> ReviewThreshold:
    """A threshold somebody set, with what it does on the validation photos; see :func:`choose_threshold`."""
    ranked = _Ranked.of(confidence, right)
    found = ranked.accepting(int((ranked.confidence >= value).sum()), target)
    reached = found.precision is not None and found.precision >= target
    return replace(found, value=value, reached=reached, by_hand=True)


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> Curve:
    """What share of the accepted is wrong when the surest photos are accepted, by the share of photos that they are.

    At most 50 points, coverage rising to 1; arguments as for :func:`choose_threshold`.
    """
    ranked = _Ranked.of(confidence, right)
    return tuple(
        (round(k / ranked.photos, 4), round(int(ranked.wrong[k - 1]) / k, 4)) for k in ranked.spread(_CURVE_POINTS)
    )


def upper_bound(wrong: int, photos: int) -> float:
    """The one-sided 95 % bound of Clopper and Pearson: the highest risk under which so few wrong are no surprise."""
    low, high = wrong / photos, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if at_most(wrong, photos, middle) <= UNLUCKY else (middle, high)
    return high


def at_most(wrong: int, photos: int, risk: float) -> float:
    """The probability of at most ``wrong`` among ``photos`` where each is wrong with probability ``risk``."""
    if wrong >= photos or risk <= 0:
        return 1.0
    if risk >= 1:
        return 0.0
    i = np.arange(1, wrong + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((photos - i + 1) / i))])
    counts = np.arange(wrong + 1)
    return float(np.exp(ways + counts * math.log(risk) + (photos - counts) * math.log1p(-risk)).sum())


def fewest_accepted(risk: float, unlucky: float = UNLUCKY) -> int:
    """How many accepted photos, all right, it takes at least to guarantee a risk."""
    return math.ceil(math.log(unlucky) / math.log1p(-risk))


@dataclass(frozen=True)
class _Ranked:
    """Photos, surest first.

    Attributes:
        confidence: (photos,), falling.
        wrong: (photos,), how many of the first 1, 2, ... are wrong.
        last: (photos,), whether the next one is less confident: a threshold accepts all of equal confidence or none,
            and none at all of those that are never accepted.
    """

    confidence: NDArray[np.float64]
    wrong: NDArray[np.int64]
    last: NDArray[np.bool_]

    @classmethod
    def of(cls, confidence: ArrayLike, right: ArrayLike) -> Self:
        values, hits = np.asarray(confidence, np.float64), np.asarray(right, bool)
        order = np.argsort(-values, kind="stable")
        values, hits = values[order], hits[order]
        last = np.append(values[1:] < values[:-1], True) if len(values) else np.zeros(0, bool)
        return cls(values, np.cumsum(~hits), last & (values > NEVER))

    @property
    def photos(self) -> int:
        return len(self.confidence)

    def spread(self, most: int) -> list[int]:
        """Numbers of photos that a threshold can accept: at most so many, evenly spread, all photos among them."""
        ranks = np.flatnonzero(self.last) + 1
        return [int(k) for k in ranks[np.unique(np.linspace(len(ranks) - 1, 0, min(most, len(ranks))).astype(int))]]

    def accepting(self, accepted: int, target: float) -> ReviewThreshold:
        """The threshold that accepts the first so many, as a short number where there is one; 1 for none of them."""
        if not accepted:
            return ReviewThreshold(1.0, target, None, 0.0, self.photos, reached=False)
        surest, wrong = float(self.confidence[accepted - 1]), int(self.wrong[accepted - 1])
        below = float(self.confidence[accepted]) if accepted < self.photos else -1.0
        short = math.floor(surest * 10**_DECIMALS) / 10**_DECIMALS
        return ReviewThreshold(
            short if short > below else surest,
            target,
            (accepted - wrong) / accepted,
            accepted / self.photos,
            self.photos,
            reached=True,
            bound=upper_bound(wrong, accepted),
        )


def _most_accepted(ranked: _Ranked, risk: float) -> int:
    """The most photos that may be accepted, surest first; 0 where no number of them proves the risk."""
    acceptable = int((ranked.confidence > NEVER).sum())
    starts = max(1, int(math.log2(max(1.0, acceptable / fewest_accepted(risk)))) + 1)
    fewest = fewest_accepted(risk, UNLUCKY / starts)
    most = 0
    for doubling in range(starts):
        ranks = range(fewest << doubling, acceptable, max(1, acceptable // _TRIED_RANKS))
        for rank in (*ranks, acceptable) if fewest << doubling <= acceptable else ():
            tied = rank + int(ranked.last[rank - 1 :].argmax())
            if at_most(int(ranked.wrong[tied - 1]), tied, risk) > UNLUCKY / starts:
                break
            most = max(most, tied)
    return most


def _photos_needed(ranked: _Ranked, risk: float) -> int | None:
    """About how many photos with the same shares of mistakes would prove the risk for some threshold."""
    factors = []
    for accepted in ranked.spread(_CURVE_POINTS):
        wrong = int(ranked.wrong[accepted - 1])
        if wrong / accepted >= risk or accepted < min(FEWEST_ACCEPTED, ranked.photos):
            continue
        factor = fewest_accepted(risk) / accepted
        while accepted * factor <= _MOST_PHOTOS:
            if at_most(math.ceil(wrong * factor), math.ceil(accepted * factor), risk) <= UNLUCKY:
                factors.append(factor)
                break
            factor *= 1.2
    return math.ceil(round(ranked.photos * min(factors), 6)) if factors else None
