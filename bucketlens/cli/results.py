"""``bucketlens results``: what became of the images."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bucketlens import polling, results
from bucketlens.cli import display
from bucketlens.cli.display import Format, TableOrJson, messages, progress_bar
from bucketlens.escaping import json_text, printable
from bucketlens.stack import DEFAULT_STACK, Stack, clients
from classifier.errors import UserError
from classifier.records import ReviewReason

app = typer.Typer(help="Read predictions from the table.", no_args_is_help=True, rich_markup_mode=None)

ALL = "all"
_TABLE_ROWS = 200

StackOption = Annotated[
    str, typer.Option(envvar="BUCKETLENS_STACK", help="CloudFormation stack whose table to read (AWS or local).")
]
PrefixOption = Annotated[
    str | None, typer.Option(help="Only images below this: s3://bucket/prefix, or a prefix below the input prefix.")
]


@app.command()
def get(
    image: Annotated[str, typer.Argument(help="s3://bucket/key, a key, or a key below the input prefix.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Print the result of one image: the document that is in S3, without the times it took.

    Example: bucketlens results get cats/tom.jpg
    """
    deployed = Stack.find(stack)
    _, dynamodb = clients()
    item = results.get(dynamodb, deployed.table, deployed.image_uri(image))
    typer.echo(json_text(results.document(item), indent=2))


@app.command()
def find(
    label: Annotated[str | None, typer.Option(help="Images with this label, most confident first.")] = None,
    min_confidence: Annotated[float | None, typer.Option(help="At least this confidence, 0 to 1.")] = None,
    needs_review: Annotated[bool, typer.Option("--needs-review", help="Predictions for a person to look at.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="Images that could not be classified.")] = False,
    prefix: PrefixOption = None,
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="N|all",
            help="Wait until N results match; all: until every image below --prefix, or in the bucket, has its result.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Of --wait.")] = 300.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Print at most this many.")] = None,
    output: Annotated[
        Format, typer.Option("--format", help="json is JSON Lines: one result document a line.")
    ] = Format.TABLE,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """List results. Without --label, --needs-review or --rejected the whole table is read.

    `--wait all` after an upload lists the results when all are there. When the time is up, what has come by then is
    listed, and the exit code is 1.

    Example: bucketlens results find --label dress --min-confidence 0.9 --format csv
    """
    query = results.Query(label=label, min_confidence=min_confidence, needs_review=needs_review, rejected=rejected)
    wanted = _wanted(wait)
    deployed = Stack.find(stack)
    s3, dynamodb = clients()
    keys = deployed.input_prefix if prefix is None else deployed.prefix(prefix)
    if prefix is not None:
        query = replace(query, prefix=f"s3://{deployed.bucket}/{keys}")
    missing = None
    if wait == ALL:
        images = polling.PolledImages(
            s3, dynamodb, bucket=deployed.bucket, prefix=keys, table=deployed.table, now=datetime.now(UTC)
        )
        if images.total == 0:
            raise UserError(f"there are no images at s3://{deployed.bucket}/{keys} to wait for")
        missing = _wait(images.total, images.done, timeout, "have their result")
    elif wanted is not None:

        def count() -> int:
            return sum(1 for _ in itertools.islice(results.find(dynamodb, deployed.table, query), wanted))

        missing = _wait(wanted, count, timeout, "match")
    items = results.find(dynamodb, deployed.table, query)
    if limit is not None:
        items = itertools.islice(items, limit)
    if output is Format.JSON:
        shown = results.write_json(map(results.document, items), sys.stdout)
    elif output is Format.CSV:
        shown = results.write_csv(items, sys.stdout)
    else:
        shown = print_table(items)
    if shown == 0:
        Console(stderr=True).print("no results match", style="yellow")
    if missing is not None:
        raise UserError(missing)


@app.command()
def count(
    prefix: PrefixOption = None,
    output: Annotated[Format, typer.Option("--format", help="json is JSON Lines: one row a line.")] = Format.TABLE,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Count results by model version and label, and the rejected by error code. Reads the whole table.

    Example: bucketlens results count --prefix 2026/11/
    """
    deployed = Stack.find(stack)
    _, dynamodb = clients()
    below = None if prefix is None else f"s3://{deployed.bucket}/{deployed.prefix(prefix)}"
    rows = results.counts(results.find(dynamodb, deployed.table, results.Query(prefix=below)))
    if output is Format.JSON:
        results.write_json(rows, sys.stdout)
    elif output is Format.CSV:
        results.write_csv(iter(rows), sys.stdout, tuple(rows[0]) if rows else ())
    elif rows:
        table = Table("model", "version", "label or error code")
        for name in ("images", "need review"):
            table.add_column(name, justify="right")
        for row in rows:
            named = (row["model_name"], row["model_version"], row["label"] or row["error_code"])
            table.add_row(*map(printable, named), f"{row['images']:,}", f"{row['needs_review']:,}")
        display.print_table(table)
    if not rows:
        Console(stderr=True).print("there are no results", style="yellow")


@app.command()
def watch(
    prefix: PrefixOption = None,
    interval: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Between two looks at the table.")] = 2.0,
    output: Annotated[
        TableOrJson, typer.Option("--format", help="json is JSON Lines: one result document a line.")
    ] = TableOrJson.TABLE,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Print results as they come, until Ctrl-C.

    Each look reads the whole table; where that takes long, it is done a tenth of the time.

    Example: bucketlens results watch --prefix new/ --format json
    """
    deployed = Stack.find(stack)
    _, dynamodb = clients()
    below = None if prefix is None else f"s3://{deployed.bucket}/{deployed.prefix(prefix)}"

    def read(after: str | None) -> Iterator[results.Item]:
        return results.find(dynamodb, deployed.table, results.Query(prefix=below, after=after))

    with suppress(KeyboardInterrupt):
        Console(stderr=True).print("waiting for results; Ctrl-C ends it", highlight=False)
        for item in polling.new_results(read, interval=interval, timer=polling.Timer()):
            typer.echo(json_text(results.document(item)) if output is TableOrJson.JSON else _line(item))


def print_table(items: Iterator[results.Item], *, title: str | None = None, most: int | None = _TABLE_ROWS) -> int:
    """Print results as a table on standard output; the number of rows.

    A terminal gets the first ``most`` in its width, a pipe or file all of them in full.
    """
    out = Console()
    shown = list(itertools.islice(items, most if out.is_terminal else None))
    table = Table(title=title)
    # Where there is too little room, keys go on in the next line: half a key cannot be looked up.
    for name in ("image", "label", "confidence", "attention", "model version", "classified at"):
        table.add_column(name, overflow="fold")
    for item in shown:
        confidence = item.get("confidence")
        table.add_row(
            _name(item),
            printable(item.get("label", "")),
            "" if confidence is None else f"{confidence:.4f}",
            printable(item.get("error_code", _review(item))),
            printable(item["model_version"]),
            printable(item["classified_at"]),
        )
    if not shown:
        return 0
    display.print_table(table)
    if next(items, None) is not None:
        Console(stderr=True).print(f"the first {most}; --format json or csv prints all", style="yellow")
    return len(shown)


def _line(item: results.Item) -> str:
    if item["status"] == "rejected":
        outcome = item["error_code"]
    else:
        outcome = f"{item['label']} {item['confidence']:.4f} {_review(item)}".rstrip()
    return printable(f"{item['classified_at']}  {_name(item)}  {outcome}  {item['model_version']}")


def _review(item: results.Item) -> str:
    """``review``, and why unless it is for the confidence, which is shown beside it."""
    if not item.get("needs_review"):
        return ""
    return "review: novelty" if item.get("review_reason") == ReviewReason.NOVELTY else "review"


def _name(item: results.Item) -> str:
    """The key of an object, or the name of a file."""
    uri: str = item["image_uri"]
    return printable(uri.split("/", 3)[3] if uri.startswith("s3://") else uri)


def _wanted(wait: str | None) -> int | None:
    if wait is None or wait == ALL:
        return None
    if not wait.isdecimal() or int(wait) == 0:
        raise UserError(f"--wait is {wait}, neither a number of results, from 1, nor {ALL}")
    return int(wait)


def _wait(wanted: int, count: Callable[[], int], timeout: float, what: str) -> str | None:
    """Wait with a bar; what to say if there were too few when the time was up."""
    with progress_bar(messages()) as bar:
        task = bar.add_task("waiting for results", total=wanted)
        counted = polling.wait_until(
            wanted,
            count,
            timeout=timeout,
            progress=lambda done: bar.update(task, completed=done),
            timer=polling.Timer(),
        )
    if counted >= wanted:
        return None
    return (
        f"after {timeout:g} s {counted} of {wanted} {what}; --timeout waits longer, `bucketlens dlq list` shows what"
        " failed, `bucketlens reconcile` what is missing"
    )
