"""An inspection on a terminal: the verdict, the classes, what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from model_build.inspection.inspection import Inspection

_MOST_CLASSES = 40
_STYLE = {"stop": "bold red", "fix": "yellow", "note": "blue"}


def show(inspection: Inspection, console: Console) -> None:
    """Print it. Names of files and classes are data and never markup."""
    evidence = inspection.evidence
    summary = evidence.summary
    unreadable = f", {len(evidence.unreadable):,} unreadable" if evidence.unreadable else ""
    style = _STYLE[inspection.worst] if inspection.worst else "green"
    console.print(Text(inspection.verdict, style))
    console.print(
        Text(
            f"{len(evidence.photos):,} photos in {len(evidence.labels):,} classes,"
            f" {summary.size_bytes / 1e6:,.1f} MB{unreadable}; suggested input {summary.input_size.pixels} x"
            f" {summary.input_size.pixels}"
        )
    )
    table = Table("class", box=None, padding=(0, 2, 0, 0))
    for split in summary.splits:
        table.add_column("photos" if len(summary.splits) == 1 else split, justify="right")
    for label in summary.labels[:_MOST_CLASSES]:
        table.add_row(Text(label), *(f"{summary.counts[label][split]:,}" for split in summary.splits))
    if len(summary.labels) > _MOST_CLASSES:
        table.add_row(Text(f"and {len(summary.labels) - _MOST_CLASSES} more"))
    console.print(table)
    findings = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in inspection.findings:
        findings.add_row(
            Text(finding.severity, _STYLE[finding.severity]), Group(Text(finding.title), Text(finding.action, "dim"))
        )
    console.print(findings)
