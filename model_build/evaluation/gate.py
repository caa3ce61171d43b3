"""What a model must pass before it is published: pure rules over figures, each with a verdict in words.

- **accuracy**: on the test photos, at least the minimum. By default that is half-way between chance (always answering
  the most frequent class) and perfection, and the 95 % interval must be above chance: a model that could be luck is
  none. Where the interval begins below the minimum there are too few photos to judge by, which refuses nothing.
- **recall**: no class of the test photos is found less often than the floor, by default half the time.
- **tensors**: the golden photos become the tensors they were at packaging, byte for byte.
- **classes**: those of the live version. With others its results can no longer be found by the same labels.
- **live**: on the same test photos not worse than the live version. The comparison is paired: only photos that one
  has right and the other wrong count. Worse is a loss of more than the margin (one point by default), or any loss that
  McNemar's exact one-sided test takes for real (p under 0.05; McNemar, Psychometrika 1947).

The golden test and the bundle's own integrity are no rules with limits: what fails them is never published.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from classifier.bundle import Manifest
from classifier.errors import ModelIntegrityError
from model_build.conversion.convert import Converted
from model_build.evaluation.novelty import NoveltyMetrics
from model_build.files import known_fields
from model_build.metrics.answers import AnswerMix, ClassMetrics, SplitMetrics
from model_build.metrics.threshold import ReviewThreshold
from model_build.tflite.running import Latency

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


def accuracy_check(test: SplitMetrics | None, limits: GateLimits) -> Check:
    """``test``: on the test photos; None for a model nobody measured."""
    name = "accuracy"
    if test is None:
        return Check(
            name,
            None,
            "no accuracy is known: the model was imported, not trained here; measure it with 'model evaluate --save'",
        )
    accuracy, (low, _) = test.accuracy, test.interval_95
    supports = [one.support for one in test.classes.values()]
    chance = max(supports) / sum(supports) if supports and sum(supports) else 0.0
    minimum = (1 + chance) / 2 if limits.minimum_accuracy is None else limits.minimum_accuracy
    told = f"{accuracy:.1%} of {test.images} test photos are classified correctly; the minimum is {minimum:.1%}"
    if accuracy < minimum:
        return Check(name, False, told)
    if limits.minimum_accuracy is None and low <= chance:
        return Check(name, False, f"{told}, and its 95 % interval from {low:.1%} must be above chance, {chance:.1%}")
    if low < minimum:
        return Check(name, None, f"{told}, but with so few photos it may be as low as {low:.1%} (95 % interval)")
    return Check(name, True, told)


def recall_check(test: SplitMetrics | None, limits: GateLimits) -> Check:
    name = "recall"
    ranked = by_recall(test)
    if not ranked:
        return Check(name, None, "no recall by class is known")
    worst = [one for one in ranked if one[0] < limits.recall_floor]
    if worst:
        some = ", ".join(f"{label} {recall:.0%} of {support}" for recall, label, support in worst[:5])
        more = f" and {len(worst) - 5} more" if len(worst) > 5 else ""
        return Check(name, False, f"below the minimum of {limits.recall_floor:.0%}: {some}{more}")
    recall, label, _ = ranked[0]
    return Check(name, True, f"the lowest is {recall:.0%}, of {label}; the minimum is {limits.recall_floor:.0%}")


def by_recall(test: SplitMetrics | None) -> list[tuple[float, str, int]]:
    """Recall, label and number of photos of each class that has photos, lowest recall first."""
    classes = test.classes if test is not None else {}
    return sorted((one.recall, label, one.support) for label, one in classes.items() if one.recall is not None)


def tensors_check(recorded: Mapping[str, str], found: Mapping[str, str]) -> Check:
    """``recorded`` and ``found``: sha256 of each golden photo's tensor, at packaging and now."""
    name = "tensors"
    if not found:
        return Check(name, None, "the bundle has no golden photos")
    if not recorded:
        return Check(name, None, "the bundle has no digests of its golden tensors")
    differing = sorted(file for file, digest in found.items() if recorded.get(file) != digest)
    if differing:
        return Check(name, False, f"{differing[0]} decodes to different pixels here than when the bundle was packaged")
    return Check(name, True, f"{len(found)} golden photos decode to the same tensors, byte for byte")


def own_checks(
    test: SplitMetrics | None, recorded: Mapping[str, str], found: Mapping[str, str], limits: GateLimits
) -> tuple[Check, ...]:
    """The checks that need nothing but a bundle that has proven itself; arguments as those of the single checks."""
    proven = f"{len(found)} photos get the same probabilities as when packaged" if found else "has no photos"
    return (
        Check("golden", True if found else None, proven),
        tensors_check(recorded, found),
        accuracy_check(test, limits),
        recall_check(test, limits),
    )


def classes_check(version: str, ours: Sequence[str], theirs: Sequence[str]) -> Check:
    """``theirs``: the labels of the live ``version``; in which order they are does not matter."""
    name = "classes"
    lost, new = sorted({*theirs} - {*ours}), sorted({*ours} - {*theirs})
    if not (lost or new):
        return Check(name, True, f"the {len(theirs)} classes of the live {version}")
    told = [f"it lacks {_some(lost)}"] if lost else []
    told += [f"it adds {_some(new)}"] if new else []
    return Check(name, False, f"not those of the live {version}: {', '.join(told)}")


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    return ", ".join(map(repr, labels[:5])) + more


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
    return f"{what} does not pass the gate: {told}. To publish it anyway: --force 'REASON'"


@dataclass(frozen=True)
class TestedThreshold(ReviewThreshold):
    """The review threshold with what it does on the test photos: the share accepted, and how much of that is right."""

    test_accepted: float | None = None
    test_precision: float | None = None


@dataclass(frozen=True)
class Evidence:
    """``metrics`` of a manifest: what packaging measured, which gate, report and list of versions read.

    Attributes:
        test, validation: None for a model nobody measured, which was imported.
        quantization: the format of the model.
        golden_tensors: sha256 of each golden photo's tensor, by file name.
        gate: the verdict at packaging; publishing asks again.
        tolerance: share of validation accuracy a format could lose against float32.
        candidates: every format that was measured.
        baseline: the answers to the validation photos, which later results are compared with.
        novelty: None for a bundle without.
    """

    test: SplitMetrics | None = None
    validation: SplitMetrics | None = None
    quantization: str = ""
    latency_ms: Latency | None = None
    review: TestedThreshold | None = None
    golden_tensors: Mapping[str, str] = field(default_factory=dict)
    gate: Verdict = Verdict(())
    tolerance: float = 0.0
    candidates: tuple[Converted, ...] = ()
    baseline: AnswerMix | None = None
    novelty: NoveltyMetrics | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Evidence:
        """Read a manifest's metrics; parts that it does not have are left at their defaults.

        Raises:
            ModelIntegrityError: they are not of the form that packaging writes.
        """
        metrics = manifest.metrics
        try:
            return cls(
                test=_measured(metrics.get("test")),
                validation=_measured(metrics.get("validation")),
                quantization=str(metrics.get("quantization", "")),
                latency_ms=Latency(**metrics["latency_ms"]) if metrics.get("latency_ms") else None,
                review=TestedThreshold(**known_fields(TestedThreshold, metrics["review"]))
                if metrics.get("review")
                else None,
                golden_tensors=dict(metrics.get("golden_tensors", {})),
                gate=Verdict.from_document(metrics.get("gate", {})),
                tolerance=float(metrics.get("tolerance", 0.0)),
                candidates=tuple(map(Converted.from_document, metrics.get("candidates", []))),
                baseline=AnswerMix.from_document(metrics["baseline"]) if metrics.get("baseline") else None,
                novelty=NoveltyMetrics.from_document(metrics["novelty"]) if metrics.get("novelty") else None,
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelIntegrityError(
                f"the metrics in the manifest of {manifest.version} cannot be read: {error}"
            ) from error

    def to_metrics(self) -> dict[str, Any]:
        """What :meth:`of` reads."""
        document = asdict(self) | {"gate": self.gate.to_document()}
        if self.review is not None:
            document["review"]["statement"] = self.review.statement
        return document


def _measured(document: dict[str, Any] | None) -> SplitMetrics | None:
    if not document:
        return None
    classes = {str(label): ClassMetrics(**one) for label, one in document.get("classes", {}).items()}
    low, high = document["interval_95"]
    curve = tuple((float(coverage), float(risk)) for coverage, risk in document.get("risk_coverage", []))
    typed = {"interval_95": (low, high), "classes": classes, "risk_coverage": curve}
    return SplitMetrics(**{**known_fields(SplitMetrics, document), **typed})
