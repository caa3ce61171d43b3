"""Writes docs/commands.md, the reference of every command, from the command line itself: `make docs`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from bucketlens.cli.main import app

HEADER = """# Commands

Generated from the command line by `make docs`; a test fails when this page is stale. Every command has `--help`, exits
with 0 only on success, and prints data on stdout and messages on stderr.
"""


def reference() -> str:
    """The whole page, in Markdown."""
    group = typer.main.get_command(app)
    return HEADER + "".join(_sections(group, typer.Context(group, info_name="bucketlens")))


def _sections(command: Any, context: typer.Context) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, sub in command.commands.items():
            yield from _sections(sub, typer.Context(sub, info_name=name, parent=context))
        return
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    yield f"\n## {context.command_path}\n\n{text.strip()}\n\n```\n{example.strip()}\n```\n"
    records = [parameter.get_help_record(context) for parameter in command.params if parameter.name != "help"]
    rows = [f"| `{_cell(name)}` | {_cell(help_)} |\n" for name, help_ in filter(None, records)]
    if rows:
        yield "\n| Parameter | Meaning |\n|---|---|\n" + "".join(rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
