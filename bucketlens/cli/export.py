"""``bucketlens results export``: labelled images, to train on or for another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bucketlens.annotations.examples import Example, decided
from bucketlens.annotations.export import ExportFormat, write
from bucketlens.cli.display import Screen, messages
from bucketlens.cli.results import StackOption
from bucketlens.cli.review import PerDayOption, PerLabelOption, open_session
from bucketlens.reviews import Quotas, look_first
from bucketlens.stack import DEFAULT_STACK, Stack, clients
from classifier.errors import UserError
from model_build.files import require_free


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(export)


def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; it must not be there yet.")],
    corrected: Annotated[
        bool, typer.Option("--corrected", help="The images whose label a person has decided about.")
    ] = False,
    prefix: Annotated[
        str, typer.Option(help="Only images under it: s3://bucket/key, a key, or one below the input prefix.")
    ] = "",
    format_: Annotated[
        ExportFormat, typer.Option("--format", help="folders: a folder per class, as `model train` takes.")
    ] = ExportFormat.FOLDERS,
    per_label: PerLabelOption = None,
    per_day: PerDayOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many images.")] = None,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Write labelled images: with their original files, or for label-studio and ground-truth as addresses in S3.

    Images that were deleted or replaced since are left out. Interrupted, the same command goes on where it was.
    Without --corrected: what to look at first, as tasks for Label Studio with the model's predictions.

    Example: bucketlens results export --corrected --out corrections
    """
    if not corrected and format_ is not ExportFormat.LABEL_STUDIO:
        raise UserError(f"{format_} holds labels that people have decided about: add --corrected")
    require_free(out)
    deployed = Stack.find(stack)
    s3, dynamodb = clients()
    root = f"s3://{deployed.bucket}/{deployed.prefix(prefix)}" if prefix else ""
    session = open_session(deployed, dynamodb, None)
    if corrected:
        examples = decided(session.reviews.read(), root)
    else:
        below = (item for item in session.read() if item["image_uri"].startswith(root))
        examples = [Example.of_result(item) for item in look_first(below, Quotas(per_label, per_day))]
    examples = examples[:limit]
    if not examples:
        raise UserError(f"there is {'no label that a person has decided about' if corrected else 'nothing to look at'}")
    console = messages()
    with Screen(console).running() as screen:
        screen.step("writing")
        missing = write(out, examples, format_, s3, screen.progress)
    for reason, count in missing.most_common():
        console.print(f"[yellow]left out {count:,}:[/] {escape(reason)}")
    console.print(f"{len(examples) - missing.total():,} images")
    typer.echo(out)
