"""What a rule is, what it says when it fires, and the diagnosis of a training in the words all pages share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from model_build.diagnostics.facts import History
from model_build.metrics.scores import Scores
from model_build.training.run import Run

Measurements = dict[str, float | int | str]
DEBUGGER_RULES = "https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html"
PROFILER_RULES = "https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-profiler-rules.html"


class Severity(StrEnum):
    """``NOTE``: worth knowing. ``WARNING``: costs quality or time. ``ERROR``: the training cannot have worked."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One rule that fired.

    Attributes:
        since: when it began, such as "step 12"; "" where time has no part in it.
        evidence: the numbers that made it fire, by what they are.
        meaning: what this says about the training.
        advice: what to do about it.
    """

    rule: str
    severity: Severity
    since: str
    evidence: Measurements
    meaning: str
    advice: str

    def to_document(self) -> dict[str, Any]:
        """JSON's types: a number that is not finite, which JSON has not, is written out."""
        evidence = {
            what: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for what, value in self.evidence.items()
        }
        return {**asdict(self), "severity": self.severity.value, "evidence": evidence}


class Rule(ABC):
    """A rule's parameters with their published defaults (each rule is a frozen dataclass), and a look at the history.

    Args:
        name: what people call it.
        anchor: of the rule it follows, on ``page``.
        needs: the attribute of :class:`History` without which there is nothing to look at.
        live: it says something before the training is over; the others judge its result.
    """

    name: ClassVar[str]
    published: ClassVar[str]
    needs: ClassVar[str]
    live: ClassVar[bool]

    def __init_subclass__(
        cls, *, name: str, anchor: str, needs: str, page: str = DEBUGGER_RULES, live: bool = False
    ) -> None:
        cls.name, cls.published, cls.needs, cls.live = name, f"{page}#{anchor}", needs, live

    @abstractmethod
    def check(self, history: History) -> Finding | None: ...


@dataclass(frozen=True)
class RuleResult:
    """A rule and what came of it. ``observed`` is False where there was nothing to look at."""

    name: str
    published: str
    parameters: dict[str, Any]
    observed: bool
    finding: Finding | None = None

    @property
    def outcome(self) -> str:
        if self.finding is not None:
            return self.finding.severity.value
        return "silent" if self.observed else "not observed"

    def to_document(self) -> dict[str, Any]:
        return {
            "rule": self.name,
            "published": self.published,
            "parameters": self.parameters,
            "outcome": self.outcome,
            "finding": None if self.finding is None else self.finding.to_document(),
        }


@dataclass(frozen=True)
class Overhead:
    """What watching cost. ``training_seconds`` is the time of the steps watched: waiting for input and computing."""

    watching_seconds: float = 0.0
    training_seconds: float = 0.0

    @property
    def share(self) -> float:
        return self.watching_seconds / self.training_seconds if self.training_seconds else 0.0

    def to_document(self) -> dict[str, float]:
        return {**asdict(self), "share": self.share}


@dataclass(frozen=True)
class Diagnosis:
    """All results, the worst first; the step times of each phase; the curves of the layers; what watching cost."""

    results: tuple[RuleResult, ...]
    step_times: tuple[dict[str, Any], ...] = ()
    curves: dict[str, Any] = field(default_factory=dict)
    overhead: Overhead = field(default_factory=Overhead)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(result.finding for result in self.results if result.finding is not None)

    def to_document(self) -> dict[str, Any]:
        """What ``run.json`` holds under ``diagnostics``."""
        return {
            "schema_version": "1",
            "rules": [result.to_document() for result in self.results],
            "step_times": list(self.step_times),
            "curves": self.curves,
            "overhead": self.overhead.to_document(),
        }


def results_of(rules: Sequence[Rule], history: History) -> tuple[RuleResult, ...]:
    """What came of every rule: errors first, then warnings, notes, and the silent ones in their order."""
    results = []
    for rule in rules:
        observed = bool(getattr(history, rule.needs))
        finding = rule.check(history) if observed else None
        results.append(RuleResult(rule.name, rule.published, asdict(rule), observed, finding))  # type: ignore[call-overload]
    rank = [Severity.ERROR.value, Severity.WARNING.value, Severity.NOTE.value, "silent", "not observed"]
    return tuple(sorted(results, key=lambda result: rank.index(result.outcome)))


def number(value: float | int | str) -> str:
    """Four significant digits; words and truth values as they are."""
    if isinstance(value, str | bool):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def evidence_line(evidence: dict[str, float | int | str]) -> str:
    return "; ".join(f"{what}: {number(value)}" for what, value in evidence.items())


def summary_line(document: dict[str, Any]) -> str:
    """How many rules fired, which were silent, and which had nothing to look at."""
    rules = document["rules"]
    fired = sum(rule["finding"] is not None for rule in rules)
    silent = [rule["rule"] for rule in rules if rule["outcome"] == "silent"]
    unseen = [rule["rule"] for rule in rules if rule["outcome"] == "not observed"]
    line = f"{fired} of {len(rules)} rules fired" if fired else f"none of {len(rules)} rules fired"
    if silent:
        line += f"; silent: {', '.join(silent)}"
    if unseen:
        line += f"; not observed: {', '.join(unseen)}"
    return line


def step_time_line(one: dict[str, Any]) -> str:
    return (
        f"{one['phase']}: {one['verdict']}, {one['images_per_second']:,.1f} images per second; a step waits "
        f"{one['wait_ms']:,.1f} ms for photos and computes {one['compute_ms']:,.1f} ms"
    )


@dataclass(frozen=True)
class Trained:
    """A run, and the ``scores`` of its Keras network on the test photos."""

    run: Run
    scores: Scores

    @property
    def findings(self) -> list[dict[str, str]]:
        """What the diagnostic rules found: severity, rule, since, evidence, meaning and advice of each, as text."""
        found = [rule["finding"] for rule in self.run.record.diagnostics["rules"]]
        return [{**one, "evidence": evidence_line(one["evidence"])} for one in found if one is not None]

    @property
    def diagnosis(self) -> list[str]:
        """A line on which rules fired and which did not, and one for each phase on where its time went."""
        document = self.run.record.diagnostics
        return [summary_line(document), *map(step_time_line, document["step_times"])]
