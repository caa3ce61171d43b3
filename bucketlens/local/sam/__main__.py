"""`python -m bucketlens.local.sam`: build the function or take its image, put every event through, check results."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bucketlens.local.files import CHECKOUT
from bucketlens.local.sam.session import Options, run_image_session, run_session
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
        bool | None,
        typer.Option(
            "--docker/--no-docker",
            help="Fail without Docker, or do without it.",
            show_default="Docker if it runs, else the emulator",
        ),
    ] = None,
    skip_pull_image: Annotated[
        bool, typer.Option("--skip-pull-image", help="Passed to `sam local invoke`: use the image that is there.")
    ] = False,
    invoke_image: Annotated[
        str | None, typer.Option(help="Passed to `sam local invoke`: the image to run the function in.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Run this container image instead, with the events and with `serve`.")
    ] = None,
) -> None:
    """Build the function with SAM, invoke it with every sample event, and check its answer, S3 and DynamoDB.

    Without a Docker daemon the events run under the Runtime Interface Emulator on this machine, with a warning.

    Example: python -m bucketlens.local.sam --event events/s3-put.json
    """
    # Ended from outside (a CI's time limit), it still stops the emulator it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console(stderr=True)
    invoke_options = ["--skip-pull-image"] if skip_pull_image else []
    invoke_options += ["--invoke-image", invoke_image] if invoke_image else []
    options = Options(event, bundle, images, photos, docker, tuple(invoke_options), CHECKOUT / ".bucketlens")
    try:
        problems = run_image_session(options, image, console) if image else run_session(options, console)
    except BucketlensError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
    if problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m bucketlens.local.sam")
