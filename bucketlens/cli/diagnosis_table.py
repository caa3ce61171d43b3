"""A diagnosis for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from model_build import Trained

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def diagnosis_table(trained: Trained) -> RenderableType:
    """A table of the rules that fired, then a line each on the others and on step times."""
    lines = [Text(line) for line in trained.diagnosis]
    return Group(*([_table(trained.findings)] if trained.findings else []), *lines)


def _table(findings: list[dict[str, str]]) -> Table:
    table = Table(title="diagnostics", title_justify="left", show_lines=True)
    table.add_column("rule", no_wrap=True)
    table.add_column("since", no_wrap=True)
    table.add_column("what it saw, what it means, what to do", overflow="fold")
    for finding in findings:
        table.add_row(
            f"[{_STYLES[finding['severity']]}]{escape(finding['severity'])}[/]\n{escape(finding['rule'])}",
            escape(finding["since"]),
            f"[dim]{escape(finding['evidence'])}[/]\n{escape(finding['meaning'])}"
            f"\n[bold]->[/] {escape(finding['advice'])}",
        )
    return table
