"""``bucketlens results export``: labelled images, to train on or for another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bucketlens.annotations.examples import decided
from bucketlens.annotations.export import Format, write
from bucketlens.cli.display import Screen, messages
from bucketlens.cli.results import StackOption
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
        Format, typer.Option("--format", help="folders: a folder per class, as `model train` takes.")
    ] = Format.FOLDERS,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Write the images whose label a person has decided about, with their original files.

    Images that were deleted or replaced since are left out. Interrupted, the same command goes on where it was.

    Example: bucketlens results export --corrected --out corrections
    """
    if not corrected:
        raise UserError("folders hold labels that people have decided about: add --corrected")
    require_free(out)
    deployed = Stack.find(stack)
    s3, dynamodb = clients()
    examples = decided(
        deployed.reviews(dynamodb).read(), f"s3://{deployed.bucket}/{deployed.prefix(prefix)}" if prefix else ""
    )
    if not examples:
        raise UserError("no label has been decided about: `bucketlens results review` and the gallery take decisions")
    console = messages()
    with Screen(console).running() as screen:
        screen.step("fetching images")
        missing = write(out, examples, format_, s3, screen.progress)
    for reason, count in missing.most_common():
        console.print(f"[yellow]left out {count:,}:[/] {escape(reason)}")
    console.print(f"{len(examples) - missing.total():,} images")
    typer.echo(out)
