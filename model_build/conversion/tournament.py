"""Which of a network's ``.tflite`` formats is to serve: the cheapest of those that are as good as float32.

As good: on the validation photos it loses at most ``tolerance`` of float32's accuracy (half a point by default).
Accuracy is a whole number of photos, and on few of them half a point is less than one photo: losing one is too much
then. A loss of nothing may still be luck, so two measures that need no labels stand beside it, both against float32 on
the same photos and both steady on small sets: the share of photos with the same label, and how far the
probabilities moved (mean total variation distance). Each has a limit that a faithful copy keeps with ease: int8 of the
touchiest network measured (MobileNetV2 of width 0.35, right on 86 %) agrees on 96 % and moves 0.047.

Cheapest: by median latency in the interpreter that will serve; latencies within a tenth of the fastest count as equal
(repeated measurements differ by about that much), and of those the smallest file wins.

The test photos are measured too, for the report. They decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_TOLERANCE = 0.005
LEAST_AGREEMENT = 0.92
MOST_MOVED = 0.10
SAME_LATENCY = 1.10


@dataclass(frozen=True)
class Entrant:
    """A format and what was measured of it.

    Attributes:
        failure: why it cannot be converted, loaded or run in the target interpreter; the figures then mean nothing.
        accuracy: on the validation photos, as served.
        agreement: share of those photos with float32's label.
        moved: mean total variation distance from float32's probabilities, 0 to 1.
        latency_ms: median of one prediction.
    """

    name: str
    accuracy: float = 0.0
    agreement: float = 1.0
    moved: float = 0.0
    latency_ms: float = 0.0
    size_bytes: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class TournamentResult:
    """``reasons`` holds, for every entrant, why it won or lost, in words. ``winner`` is None if none can run."""

    winner: str | None
    reasons: dict[str, str]


def decide(entrants: Sequence[Entrant], reference: str, tolerance: float = DEFAULT_TOLERANCE) -> TournamentResult:
    """Choose. ``reference`` names the entrant the others are compared with.

    If the reference itself cannot run, nothing is known to be as good as it: the most accurate of the rest is taken
    for the reference of accuracy, and closeness to the reference is not asked for.
    """
    running = [one for one in entrants if one.failure is None]
    reasons = {one.name: one.failure for one in entrants if one.failure is not None}
    if not running:
        return TournamentResult(None, reasons)
    best = next((one for one in running if one.name == reference), None)
    against = best or max(running, key=lambda one: one.accuracy)
    eligible: list[Entrant] = []
    for one in running:
        problem = None if one is against else _difference(one, against, tolerance, compare=best is not None)
        if problem is None:
            eligible.append(one)
        else:
            reasons[one.name] = problem
    fastest = min(one.latency_ms for one in eligible)
    quick = [one for one in eligible if one.latency_ms <= fastest * SAME_LATENCY]
    winner = min(quick, key=lambda one: (one.size_bytes, one.latency_ms))
    for one in eligible:
        if one is winner:
            reasons[one.name] = f"chosen: the cheapest of {len(eligible)} that match {against.name}"
        elif one in quick:
            reasons[one.name] = f"as fast as {winner.name}, but larger"
        else:
            reasons[one.name] = f"as accurate, but slower than {winner.name}"
    return TournamentResult(winner.name, reasons)


def _difference(one: Entrant, against: Entrant, tolerance: float, *, compare: bool) -> str | None:
    """Why ``one`` is not as good, or None."""
    loss = against.accuracy - one.accuracy
    # Rounded, because 0.995 - 0.99 is over 0.005 in binary.
    if round(loss, 9) > tolerance:
        return f"loses {loss * 100:.2f} points of validation accuracy, more than the allowed {tolerance * 100:g}"
    if compare and one.agreement < LEAST_AGREEMENT:
        return (
            f"agrees with {against.name} on {one.agreement:.1%} of validation photos, "
            f"less than the required {LEAST_AGREEMENT:.0%}"
        )
    if compare and one.moved > MOST_MOVED:
        return f"changes probabilities by {one.moved:.3f} on average, more than the allowed {MOST_MOVED:g}"
    return None
