"""All rules, applied: the worst finding first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from model_build.inspection.finding import Evidence, Finding, Severity
from model_build.inspection.rules import balance, copies, files

RULES: tuple[Callable[[Evidence], Iterable[Finding]], ...] = (
    balance.classes,
    copies.leaks,
    copies.conflicts,
    files.unreadable,
    files.blank,
    copies.duplicates,
    files.shortcuts,
    balance.balance,
    balance.splits,
    files.shapes,
    files.suffixes,
)


def find(evidence: Evidence) -> tuple[Finding, ...]:
    """Apply every rule; findings of one severity come in the order of :data:`RULES`."""
    found = [finding for rule in RULES for finding in rule(evidence)]
    order = list(Severity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))
