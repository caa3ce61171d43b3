"""``bucketlens model inspect``: is a folder of labelled photos fit to train on?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import model_build
from bucketlens.cli import display
from bucketlens.cli.display import TableOrJson
from bucketlens.cli.inspection_table import show

DataArgument = Annotated[
    str,
    typer.Argument(help="Folder with a folder per class, train/validation/test above is fine; or s3://bucket/data/"),
]
OutOption = Annotated[Path, typer.Option("--out", help="HTML report to write; an existing one is replaced.")]
FormatOption = Annotated[TableOrJson, typer.Option("--format", help="What to print on standard output: table or json.")]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", envvar="BUCKETLENS_CACHE", help="Cache folder (default: in the user's cache folder)."),
]


def inspect(
    data: DataArgument,
    out: OutOption = Path("inspection.html"),
    format_: FormatOption = TableOrJson.TABLE,
    cache: CacheOption = None,
) -> None:
    """Find what is wrong with labelled photos before training: leaks, copies, unreadable files, imbalance.

    Writes one HTML page. Findings do not make the command fail: the exit code is 0 once everything has been inspected.

    Example: bucketlens model inspect photos --out report.html
    """
    messages = display.messages()
    with display.Screen(messages).running() as screen:
        inspection = model_build.inspect(data, out=out, cache=cache, watcher=screen)
    if format_ is TableOrJson.JSON:
        typer.echo(json.dumps(inspection.to_document(), ensure_ascii=False))
        messages.print(f"report: {out}", markup=False)
    else:
        console = display.results()
        show(inspection, console)
        console.print(f"report: {out}", markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command()(inspect)
