"""`python -m bucketlens.local.sam`: build the function with SAM, put every sample event through it, check results."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bucketlens.local.files import CHECKOUT
from bucketlens.local.sam.session import Options, run_session
from classifier.errors import BucketlensError

_FIXTURES = CHECKOUT / "tests" / "fixtures"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    *,
    event: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="An event file; may be repeated.", show_default="events/*.json"),
    ] = None,
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Model bundle.")] = _FIXTURES / "bundle",
    images: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Files for the keys that the events name.")
    ] = _FIXTURES / "images",
    photos: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Also classify every file of this folder.")
    ] = None,
    docker: Annotated[
        bool, typer.Option(help="--no-docker runs the events in the emulator on this machine instead.")
    ] = True,
    require_docker: Annotated[
        bool, typer.Option("--require-docker", help="Fail without Docker, rather than fall back on the emulator.")
    ] = False,
    cache: Annotated[
        Path, typer.Option(file_okay=False, help="Keeps the images of a private Docker daemon.")
    ] = CHECKOUT / ".bucketlens",
) -> None:
    """Build the function with SAM, invoke it with every sample event, and check its answer, S3 and DynamoDB.

    Uses the Docker daemon that runs. Where none does, root on Debian gets a private one for the duration; otherwise
    the events run in the Runtime Interface Emulator, which is said loudly.

    Example: python -m bucketlens.local.sam --event events/s3-put.json
    """
    # Ended from outside (a CI's time limit), it still stops the daemon it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console(stderr=True)
    options = Options(event, bundle, images, photos, docker, require_docker, cache.resolve())
    try:
        problems = run_session(options, console)
    except BucketlensError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
    if problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m bucketlens.local.sam")
