"""``bucketlens predict``: classify files of this machine, without AWS."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bucketlens.cli import display
from bucketlens.cli.model import require_interpreter
from bucketlens.cli.results import print_table
from bucketlens.escaping import json_text, printable
from bucketlens.results import Item, plain, write_csv
from classifier.errors import UserError
from classifier.records import Result

DEMO_BUNDLE = Path(".bucketlens/demo/bundle")


class PredictionFormat(StrEnum):
    """How predictions are printed."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATHS...", help="Image files, folders, or - for one image on standard input."),
    ],
    bundle: Annotated[
        str | None,
        typer.Option(
            envvar="BUCKETLENS_BUNDLE",
            metavar="DIR|s3://...",
            help="Bundle or converted run, or where one is published (default: the bundle of `make demo`).",
        ),
    ] = None,
    output: Annotated[
        PredictionFormat, typer.Option("--format", help="jsonl prints the result document of each image on a line.")
    ] = PredictionFormat.TABLE,
) -> None:
    """Classify files of this machine as the function would, without AWS.

    Results come in the order of the files. A file that cannot be classified is a result, too: rejected, with a code.
    The exit code is 1 where a file could not be read, or the model failed on it.

    Example: bucketlens predict photos/ --bundle bundles/flowers --format jsonl
    """
    require_interpreter()
    from bucketlens.predict import Unclassified, find_files, started_workers
    from bucketlens.predict import predict as classify

    names = find_files(paths)
    counts: Counter[str] = Counter()
    console, out, at_once = display.messages(), sys.stdout, os.cpu_count() or 1
    with started_workers(_bundle(bundle), at_once) as workers:
        # Its threads come after the worker processes. Rows on the same terminal show the progress themselves.
        bar = display.progress_bar(console, shown=output is PredictionFormat.TABLE or not out.isatty())
        with bar:
            task = bar.add_task("classifying", total=len(names))

            def results() -> Iterator[Result]:
                for one in classify(
                    names,
                    workers,
                    at_once=at_once,
                    stdin=sys.stdin.buffer,
                    clock=lambda: datetime.now(UTC),
                ):
                    bar.advance(task)
                    if isinstance(one, Unclassified):
                        counts["failed"] += 1
                        console.print(f"{printable(one.name)}: {printable(one.reason)}", style="red", markup=False)
                    else:
                        counts[one.status] += 1
                        yield one

            if output is PredictionFormat.JSONL:
                for result in results():
                    out.write(json_text(result.to_document()) + "\n")
                    out.flush()
            elif output is PredictionFormat.CSV:
                write_csv(map(_item, results()), out)
            else:
                items = list(map(_item, results()))
        if output is PredictionFormat.TABLE:
            print_table(iter(items), most=None)
    images = "1 image" if len(names) == 1 else f"{len(names)} images"
    console.print(f"{images}: {', '.join(f'{count} {status}' for status, count in sorted(counts.items()))}")
    if counts["failed"]:
        raise typer.Exit(1)


def _bundle(given: str | None) -> str:
    if given is not None:
        return given
    if DEMO_BUNDLE.is_dir():
        return str(DEMO_BUNDLE)
    raise UserError(
        "no model: name a bundle with --bundle or BUCKETLENS_BUNDLE, or run `make demo`, which leaves one in"
        f" {DEMO_BUNDLE}; `bucketlens model import` makes one from a .tflite file"
    )


def _item(result: Result) -> Item:
    return plain(result.to_item(sequencer=None, output_uri=None)) | {"image_uri": result.image.key}


def register(app: typer.Typer) -> None:
    app.command()(predict)
