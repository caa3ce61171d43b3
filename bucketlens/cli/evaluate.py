"""``bucketlens model evaluate`` and ``diff``: how good a model is, and in what two differ."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import model_build
from bucketlens.cli import display
from bucketlens.cli.display import Format, TableOrJson
from bucketlens.cli.model import require_interpreter


def evaluate(
    target: Annotated[Path, typer.Argument(help="Run folder or bundle folder.")],
    data: Annotated[Path, typer.Argument(help="Folder with a folder per class, named as the model's labels.")],
    format_: Annotated[TableOrJson, typer.Option("--format", help="table or json")] = TableOrJson.TABLE,
) -> None:
    """Measure a model on labelled photos, with the decoding and the interpreter of the function.

    Example: bucketlens model evaluate bundles/digits digits
    """
    require_interpreter()
    with display.Screen(display.messages()).running() as screen:
        evaluation = model_build.evaluate(target, data, watcher=screen)
    if format_ is TableOrJson.JSON:
        typer.echo(json.dumps(evaluation.to_document(), ensure_ascii=False))
    else:
        display.show_evaluation(evaluation)


def diff(
    a: Annotated[str, typer.Argument(help="Run or bundle folder, version, or s3://bucket/models/ for the live one.")],
    b: Annotated[str, typer.Argument(help="The same, to compare with.")],
    data: Annotated[Path, typer.Argument(help="Photos: a folder per class, or one folder of them.")],
    at: Annotated[str | None, typer.Option("--at", help="Model location that bare versions belong to.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="table, json or csv")] = Format.TABLE,
) -> None:
    """Show which photos change their label from model A to model B.

    Example: bucketlens model diff runs/old runs/new photos
    """
    require_interpreter()
    with display.Screen(display.messages()).running() as screen:
        found = model_build.diff(a, b, data, at=at, watcher=screen)
    if format_ is Format.JSON:
        typer.echo(json.dumps(found.to_document(), ensure_ascii=False))
    elif format_ is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["photo", "label", "a", "a_confidence", "b", "b_confidence"])
        writer.writerows([c.photo, c.truth or "", c.a, c.a_confidence, c.b, c.b_confidence] for c in found.changes)
    else:
        if found.changes:
            display.results().print(display.difference_table(found))
        typer.echo(
            f"{len(found.changes)} of {found.photos} photos change their label from {found.a} to {found.b}"
            f" ({found.won} become right, {found.lost} become wrong)"
        )


def register(app: typer.Typer) -> None:
    for command in (evaluate, diff):
        app.command()(command)
