"""``bucketlens model evaluate`` and ``diff``: how good a model is, and in what two differ."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import model_build
from bucketlens.cli import display
from bucketlens.cli.display import Format, TableOrJson
from bucketlens.cli.model import require_interpreter
from bucketlens.escaping import csv_cell, json_text
from bucketlens.stack import clients
from classifier.errors import UserError
from model_build.files import cache_folder, require_free

if TYPE_CHECKING:
    from bucketlens.label_changes import LabelChanges
    from model_build.evaluation.comparison import Difference


def evaluate(
    target: Annotated[Path, typer.Argument(help="Run folder or bundle folder.")],
    data: Annotated[Path, typer.Argument(help="Folder with a folder per class, named as the model's labels.")],
    save: Annotated[
        Path | None, typer.Option(help="Of an imported bundle: folder for a new version of it with these figures.")
    ] = None,
    format_: Annotated[TableOrJson, typer.Option("--format", help="table or json")] = TableOrJson.TABLE,
) -> None:
    """Measure a model on labelled photos, with the decoding and the interpreter of the function.

    With --save an imported bundle becomes one that is measured: its manifest, report and gate have the figures.

    Example: bucketlens model evaluate bundles/digits digits
    """
    require_interpreter()
    if save is not None:
        require_free(save)
    with display.Screen(display.messages()).running() as screen:
        evaluation = model_build.evaluate(target, data, watcher=screen)
        saved = model_build.save_evaluation(evaluation, save) if save is not None else None
    if format_ is TableOrJson.JSON:
        typer.echo(json.dumps(evaluation.to_document(), ensure_ascii=False))
    else:
        display.show_evaluation(evaluation)
    if saved is not None:
        for line in display.gate_lines(saved.evidence.gate):
            display.messages().print(line, markup=False)
        display.messages().print(f"written and verified: {save}, version {saved.manifest.version}", markup=False)


def diff(
    a: Annotated[str, typer.Argument(help="Run or bundle folder, version, or s3://bucket/models/ for the live one.")],
    b: Annotated[str, typer.Argument(help="The same, to compare with.")],
    data: Annotated[
        Path | None, typer.Argument(help="Photos: a folder per class, or one folder of them. Or give --prefix.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Images of a bucket in place of photos: s3://bucket/incoming/")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.html", help="With --prefix: page with the pictures to write.")
    ] = Path("label-changes.html"),
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="With --prefix: compare a sample of this many images.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help="Model location that bare versions belong to.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="table, json or csv")] = Format.TABLE,
) -> None:
    """Show which photos, or which images of a bucket, change their label from model A to model B.

    With --prefix each image is fetched and classified as the function does it, but nothing is recorded; a page shows
    the pictures. The images on which both models are sure come first.

    Example: bucketlens model diff runs/old runs/new photos
    """
    require_interpreter()
    if (data is None) == (prefix is None):
        raise UserError("give either a folder of photos, or --prefix s3://bucket/incoming/")
    if data is not None:
        with display.Screen(display.messages()).running() as screen:
            local = model_build.diff(a, b, data, at=at, watcher=screen)
        _show(local, format_, truth_known=True)
        return
    found = _diff_bucket(a, b, str(prefix), at, limit, out)
    _show(found.difference, format_, truth_known=False)
    for code, count in found.rejected.most_common():
        display.messages().print(f"rejected by both: {count} {code}", markup=False)
    if found.sampled:
        told = f"a sample, spread over all {found.listed:,} images; --limit takes more"
        display.messages().print(told, markup=False)
    display.messages().print(f"written: {out}", markup=False)


def _diff_bucket(a: str, b: str, prefix: str, at: str | None, limit: int | None, out: Path) -> LabelChanges:
    from bucketlens.gallery.thumbnails import Thumbnails
    from bucketlens.label_changes import find_label_changes
    from bucketlens.label_changes_html import write_page

    if not out.absolute().parent.is_dir() or out.is_dir():
        raise UserError(f"the page {out} cannot be written: it is a folder, or lies in none")
    with display.Screen(display.messages()).running() as screen:
        found = find_label_changes(a, b, prefix, at=at, limit=limit, step=screen.step, progress=screen.progress)
        screen.step("making thumbnails")
        write_page(out, found, Thumbnails(clients()[0], cache_folder() / "thumbnails"), screen.progress)
    return found


def _show(found: Difference, format_: Format, *, truth_known: bool) -> None:
    if format_ is Format.JSON:
        typer.echo(json_text(found.to_document()))
    elif format_ is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["photo", "label", "a", "a_confidence", "b", "b_confidence"])
        for c in found.changes:
            writer.writerow(map(csv_cell, (c.photo, c.truth, c.a, c.a_confidence, c.b, c.b_confidence)))
    else:
        if found.changes:
            display.results().print(display.difference_table(found))
        what = "photos" if truth_known else "images"
        judged = f" ({found.won} become right, {found.lost} become wrong)" if truth_known else ""
        typer.echo(
            f"{len(found.changes)} of {found.photos} {what} change their label from {found.a} to {found.b}{judged}"
        )


def register(app: typer.Typer) -> None:
    for command in (evaluate, diff):
        app.command()(command)
