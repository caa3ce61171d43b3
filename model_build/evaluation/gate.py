"""What a model must pass before it is published: pure rules over figures, each with a verdict in words.

- **accuracy**: on the test photos, at least the minimum. By default that is half-way between chance (always answering
  the most frequent class) and perfection, and the 95 % interval must lie above chance: a model that could be luck is
  none.
- **recall**: no class of the test photos is found less often than the floor, by default half the time.
- **tensors**: the golden photos become the tensors they were at packaging, byte for byte.
- **live**: on the same test photos not worse than the live version. The comparison is paired: only photos that one
  has right and the other wrong count. Worse is a loss of more than the margin (one point by default), or any loss that
  McNemar's exact one-sided test takes for real (p under 0.05; McNemar, Psychometrika 1947).

The golden test and the bundle's own integrity are no rules with limits: what fails them is never published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class GateLimits:
    """All shares, 0 to 1. ``minimum_accuracy`` None: half-way between chance and perfection."""

    minimum_accuracy: float | None = None
    recall_floor: float = 0.5
    margin: float = 0.01


@dataclass(frozen=True)
class Check:
    """``passed`` is None where it could not be judged; ``detail`` then says why."""

    name: str
    passed: bool | None
    detail: str

    @property
    def word(self) -> str:
        return {True: "passed", False: "failed", None: "not judged"}[self.passed]


@dataclass(frozen=True)
class Verdict:
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed. What could not be judged does not fail."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.passed is False)

    def to_document(self) -> dict[str, Any]:
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Verdict:
        return cls(tuple(Check(**check) for check in document.get("checks", [])))


def accuracy_check(test: dict[str, Any] | None, limits: GateLimits) -> Check:
    """``test`` is ``manifest.metrics["test"]``; None or empty for a model nobody measured."""
    name = "accuracy"
    if not test:
        return Check(name, None, "no accuracy is known: the model was imported, not trained here")
    accuracy, low = float(test["accuracy"]), float(test["interval_95"][0])
    supports = [int(one["support"]) for one in test.get("classes", {}).values()]
    chance = max(supports) / sum(supports) if supports and sum(supports) else 0.0
    minimum = (1 + chance) / 2 if limits.minimum_accuracy is None else limits.minimum_accuracy
    told = f"{accuracy:.1%} of {test['images']} test photos; at least {minimum:.1%} is asked for"
    if accuracy < minimum:
        return Check(name, False, told)
    if limits.minimum_accuracy is None and low <= chance:
        return Check(name, False, f"{told}, and its 95 % interval from {low:.1%} must lie above chance, {chance:.1%}")
    return Check(name, True, told)


def recall_check(test: dict[str, Any] | None, limits: GateLimits) -> Check:
    name = "recall"
    classes = (test or {}).get("classes")
    if not classes:
        return Check(name, None, "no recall by class is known")
    known = {label: one for label, one in classes.items() if one["recall"] is not None}
    under = {label: one for label, one in known.items() if one["recall"] < limits.recall_floor}
    if under:
        worst = sorted(under, key=lambda label: (under[label]["recall"], label))
        some = ", ".join(f"{label} {under[label]['recall']:.0%} of {under[label]['support']}" for label in worst[:5])
        more = f" and {len(worst) - 5} more" if len(worst) > 5 else ""
        return Check(name, False, f"under the floor of {limits.recall_floor:.0%}: {some}{more}")
    lowest = min(known, key=lambda label: (known[label]["recall"], label))
    return Check(
        name, True, f"lowest is {lowest} with {known[lowest]['recall']:.0%}; the floor is {limits.recall_floor:.0%}"
    )


def tensors_check(recorded: dict[str, str] | None, found: dict[str, str]) -> Check:
    """``recorded`` and ``found``: sha256 of each golden photo's tensor, at packaging and now."""
    name = "tensors"
    if not found:
        return Check(name, None, "the bundle has no golden photos")
    if not recorded:
        return Check(name, None, "the bundle holds no digests of its golden tensors")
    differing = sorted(file for file, digest in found.items() if recorded.get(file) != digest)
    if differing:
        return Check(
            name, False, f"{differing[0]} becomes other pixels here than at packaging: this decoder is another one"
        )
    return Check(name, True, f"{len(found)} golden photos become the same tensors, byte for byte")


def own_checks(
    test: dict[str, Any] | None, recorded: dict[str, str] | None, found: dict[str, str], limits: GateLimits
) -> tuple[Check, ...]:
    """The checks that need nothing but a bundle that has proven itself; arguments as those of the single checks."""
    proven = f"{len(found)} photos give the probabilities they gave when packaged" if found else "has no photos"
    return (
        Check("golden", True if found else None, proven),
        tensors_check(recorded, found),
        accuracy_check(test, limits),
        recall_check(test, limits),
    )


def live_check(version: str, ours: Sequence[bool], theirs: Sequence[bool], limits: GateLimits, note: str = "") -> Check:
    """Compare which photos each version has right, photo by photo.

    Args:
        version: the live one.
        ours, theirs: whether the new and the live version have each photo right, in the same order.
        note: what the reader should know of the comparison.
    """
    photos = len(ours)
    lost = sum(live and not new for new, live in zip(ours, theirs, strict=True))
    gained = sum(new and not live for new, live in zip(ours, theirs, strict=True))
    p = mcnemar(lost, gained)
    told = (
        f"{sum(ours) / photos:.1%} against {sum(theirs) / photos:.1%} of the live {version} on the same {photos} photos"
        f" ({gained} won, {lost} lost, McNemar p {p:.3f}){note}"
    )
    worse = round((lost - gained) / photos, 9) > limits.margin or (lost > gained and p < SIGNIFICANT)
    return Check("live", not worse, told)


def mcnemar(lost: int, gained: int) -> float:
    """How likely at least ``lost`` of the photos that differ are lost, if neither version is better (exact)."""
    differing = lost + gained
    return sum(math.comb(differing, k) for k in range(lost, differing + 1)) / float(2**differing)


def refusal(what: str, verdict: Verdict) -> str:
    """One line that names every failed check."""
    told = "; ".join(f"{check.name}: {check.detail}" for check in verdict.failed)
    return f"{what} does not pass the gate: {told}. To publish it all the same: --force 'REASON'"
