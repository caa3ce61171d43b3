"""``bucketlens model inspect``: is a folder of labelled photos fit to train on?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bucketlens.cli import display
from bucketlens.cli.data import local_data
from bucketlens.cli.model import TableOrJson, s3_client
from classifier.errors import UserError

DataArgument = Annotated[
    str,
    typer.Argument(help="Folder with a folder per class, train/validation/test above is fine; or s3://bucket/data/"),
]
OutOption = Annotated[Path, typer.Option("--out", help="HTML report to write; one that is there is replaced.")]
FormatOption = Annotated[TableOrJson, typer.Option("--format", help="What to print on standard output: table or json.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache", envvar="BUCKETLENS_CACHE", help="Folder for what is kept between runs (default: the user's caches)."
    ),
]


def inspect(
    data: DataArgument,
    out: OutOption = Path("inspection.html"),
    format_: FormatOption = TableOrJson.TABLE,
    cache: CacheOption = None,
) -> None:
    """Find what is wrong with labelled photos before training: leaks, copies, unreadable files, imbalance.

    Writes one HTML page. Findings are no failure: the exit code is 0 once everything has been inspected.

    Example: bucketlens model inspect photos --out report.html
    """
    from bucketlens.cli.inspection_table import show
    from model_build.files import cache_folder, write_atomic
    from model_build.inspection.facts import FactsCache
    from model_build.inspection.inspection import inspect as inspect_data
    from model_build.inspection.inspection import to_document
    from model_build.inspection.inspection_html import render
    from model_build.inspection.sheets import make_sheets

    if out.is_dir():
        raise UserError(f"the report {out} cannot be written: it is a folder")
    if not out.absolute().parent.is_dir():
        raise UserError(f"the report {out} cannot be written: there is no folder {out.parent}")
    kept = cache or cache_folder()
    messages = display.messages()
    with display.Screen(messages).running() as screen:
        folder = local_data(data, s3_client, screen, kept)
        with FactsCache(kept / "inspection.sqlite3") as facts:
            screen.step("reading photos")
            inspection = inspect_data(data, folder, facts, screen.progress)
            screen.step("drawing thumbnails")
            sheets = make_sheets(inspection, facts, screen.progress)
            if facts.trouble:
                screen.say(facts.trouble)
        page = render(inspection, sheets, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
        try:
            write_atomic(out, page.encode())
        except OSError as error:
            raise UserError(f"the report {out} cannot be written: {error.strerror}") from None
    if format_ is TableOrJson.JSON:
        typer.echo(json.dumps(to_document(inspection), ensure_ascii=False))
        messages.print(f"report: {out}", markup=False)
    else:
        console = display.results()
        show(inspection, console)
        console.print(f"report: {out}", markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command()(inspect)
