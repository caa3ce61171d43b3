"""``bucketlens model doctor``: which labels are probably wrong, and moving the photos as a person decides."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.markup import escape
from rich.table import Table

import model_build
from bucketlens.cli import display
from bucketlens.cli.display import Format
from bucketlens.cli.inspect import CacheOption, DataArgument
from bucketlens.escaping import csv_cell, json_text, printable
from classifier.errors import UserError

if TYPE_CHECKING:
    from model_build.inspection.doctor import LabelCheck
    from model_build.inspection.relabelling import FileMove

_SHOWN = 20


def doctor(
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", help="HTML page to write; an existing one is replaced.")] = Path(
        "doctor.html"
    ),
    limit: Annotated[int, typer.Option("--limit", min=1, help="List at most this many photos.")] = 200,
    backbone: Annotated[
        str | None,
        typer.Option(help="Network whose features are compared (default: efficientnet_lite0, else mobilenet_v2)."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights file, as for train.")] = None,
    decisions: Annotated[
        Path | None,
        typer.Option("--decisions", help="Also write the list as a CSV file to fill in by hand; a new one."),
    ] = None,
    apply: Annotated[
        Path | None, typer.Option("--apply", metavar="FILE.csv", help="Move the photos as this file says.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back what the last --apply moved.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --apply or --undo: move nothing.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="table, json or csv")] = Format.TABLE,
    cache: CacheOption = None,
) -> None:
    """Find photos whose label is probably wrong, decide about them on a page, and move them to the right class.

    The page gives a CSV file of what was decided: keep, move or remove. --apply moves the files between the class
    folders, --undo brings them back. Removed photos are kept in DATA/.bucketlens-doctor/removed/.

    Example: bucketlens model doctor photos --out doctor.html
    """
    if (apply is not None) + undo + (decisions is not None) > 1:
        raise UserError("give one of --apply, --undo and --decisions")
    if apply is not None or undo:
        moves = (
            model_build.undo_decisions(data, dry_run=dry_run)
            if apply is None
            else model_build.apply_decisions(data, apply, dry_run=dry_run)
        )
        _show_moves(moves, format_, dry_run=dry_run)
        return
    if dry_run:
        raise UserError("--dry-run goes with --apply or --undo; without these nothing is moved")
    if decisions is not None and decisions.exists():
        raise UserError(f"{decisions} is already there, perhaps with your decisions; give another name")
    messages = display.messages()
    with display.Screen(messages).running() as screen:
        check = model_build.doctor(
            data, out=out, limit=limit, backbone=backbone, weights=weights, cache=cache, watcher=screen
        )
    if decisions is not None:
        _write_decisions(check, decisions)
    _show(check, format_)
    messages.print(f"page: {out}", markup=False)


def _write_decisions(check: LabelCheck, path: Path) -> None:
    head, *rows = check.undecided()
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            _write_rows(file, head, rows)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def _write_rows(file: TextIO, head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([csv_cell(value) for value in row] for row in rows)


def _show(check: LabelCheck, format_: Format) -> None:
    if format_ is Format.JSON:
        typer.echo(json_text(check.to_document()))
        return
    head = ("photo", "label", "likely", "label_score", "likely_score")
    rows = [one.to_document() for one in check.listed]
    if format_ is Format.CSV:
        _write_rows(sys.stdout, head, ([row[name] for name in head] for row in rows))
        return
    console = display.results()
    if rows:
        table = Table()
        for name in ("photo", "label", "", "likely", ""):
            table.add_column(name, justify="left" if name else "right", overflow="fold")
        for one in check.listed[:_SHOWN]:
            names = [escape(printable(name)) for name in (one.facts.name, one.facts.label, one.likely)]
            table.add_row(names[0], names[1], f"{one.label_score:.2f}", names[2], f"{one.likely_score:.2f}")
        if len(rows) > _SHOWN:
            table.caption = f"the first {_SHOWN} of {len(rows)}; the page, --format json or csv have all"
        console.print(table)
    found = f"; of labels changed as a trial {check.noticed:.0%} are noticed" if check.noticed is not None else ""
    typer.echo(f"{check.doubtful} of {check.photos} photos look more like another class{found}")


def _show_moves(moves: tuple[FileMove, ...], format_: Format, *, dry_run: bool) -> None:
    if format_ is Format.JSON:
        typer.echo(json_text([{"source": one.source, "target": one.target} for one in moves]))
    elif format_ is Format.CSV:
        _write_rows(sys.stdout, ("source", "target"), ((one.source, one.target) for one in moves))
    else:
        for one in moves:
            typer.echo(f"{printable(one.source)} -> {printable(one.target)}")
        typer.echo(f"{len(moves)} photos {'would be moved' if dry_run else 'moved'}")


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command()(doctor)
