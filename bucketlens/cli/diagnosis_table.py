"""A diagnosis for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from model_build.diagnostics.diagnosis import evidence_line, step_time_line, summary_line

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def diagnosis_table(document: dict[str, Any]) -> RenderableType:
    """``diagnostics`` of ``run.json``: a table of what fired, then a line each on silence and step times."""
    fired = [rule for rule in document["rules"] if rule["finding"] is not None]
    parts: list[RenderableType] = [_table(fired)] if fired else []
    parts += [Text(line) for line in _lines(document)]
    return Group(*parts)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield summary_line(document)
    for one in document["step_times"]:
        yield step_time_line(one)


def _table(fired: list[dict[str, Any]]) -> Table:
    table = Table(title="diagnostics", title_justify="left", show_lines=True)
    table.add_column("rule", no_wrap=True)
    table.add_column("since", no_wrap=True)
    table.add_column("what it saw, what it means, what to do", overflow="fold")
    for rule in fired:
        finding = rule["finding"]
        style = _STYLES[finding["severity"]]
        table.add_row(
            f"[{style}]{escape(finding['severity'])}[/]\n{escape(finding['rule'])}",
            escape(finding["since"]),
            f"[dim]{escape(evidence_line(finding['evidence']))}[/]\n{escape(finding['meaning'])}"
            f"\n[bold]->[/] {escape(finding['advice'])}",
        )
    return table
