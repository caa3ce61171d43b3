"""``bucketlens results``: what became of the images."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bucketlens import results
from bucketlens.cli.display import Format
from bucketlens.escaping import json_text, printable
from bucketlens.stack import DEFAULT_STACK, Stack, clients

app = typer.Typer(help="Read predictions from the table.", no_args_is_help=True, rich_markup_mode=None)

_TABLE_ROWS = 200


StackOption = Annotated[
    str, typer.Option(envvar="BUCKETLENS_STACK", help="CloudFormation stack whose table to read (AWS or local).")
]


@app.command()
def get(
    image: Annotated[str, typer.Argument(help="s3://bucket/key, a key, or a key below the input prefix.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Print the result of one image as JSON.

    Example: bucketlens results get cats/tom.jpg
    """
    deployed = Stack.find(stack)
    _, dynamodb = clients()
    typer.echo(json_text(results.get(dynamodb, deployed.table, deployed.image_uri(image)), indent=2))


@app.command()
def find(
    label: Annotated[str | None, typer.Option(help="Images with this label, most confident first.")] = None,
    min_confidence: Annotated[float | None, typer.Option(help="At least this confidence, 0 to 1.")] = None,
    needs_review: Annotated[bool, typer.Option("--needs-review", help="Predictions below the threshold.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="Images that could not be classified.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Print at most this many.")] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """List results. Without --label, --needs-review or --rejected the whole table is read.

    Example: bucketlens results find --label dress --min-confidence 0.9 --format csv
    """
    query = results.Query(label=label, min_confidence=min_confidence, needs_review=needs_review, rejected=rejected)
    deployed = Stack.find(stack)
    _, dynamodb = clients()
    items = results.find(dynamodb, deployed.table, query)
    if limit is not None:
        items = itertools.islice(items, limit)
    if output is Format.JSON:
        count = results.write_json(items, sys.stdout)
    elif output is Format.CSV:
        count = results.write_csv(items, sys.stdout)
    else:
        count = print_table(items)
    if count == 0:
        Console(stderr=True).print("no results match", style="yellow")


def print_table(items: Iterator[results.Item], *, title: str | None = None) -> int:
    """Print results as a table on standard output; the number of rows."""
    shown = list(itertools.islice(items, _TABLE_ROWS + 1))
    table = Table("image", "label", "confidence", "review", "error", "classified at", title=title)
    for item in shown[:_TABLE_ROWS]:
        confidence = item.get("confidence")
        table.add_row(
            printable(item["image_uri"].split("/", 3)[3]),
            printable(item.get("label", "")),
            "" if confidence is None else f"{confidence:.4f}",
            "review" if item.get("needs_review") else "",
            printable(item.get("error_code", "")),
            printable(item["classified_at"]),
        )
    if shown:
        # Cells are data: a label such as "[red]" is not markup, and a pipe gets whole rows.
        console = Console(markup=False, width=None if sys.stdout.isatty() else 200)
        console.print(table)
    if len(shown) > _TABLE_ROWS:
        Console(stderr=True).print(f"the first {_TABLE_ROWS}; --format json or csv prints all", style="yellow")
    return min(len(shown), _TABLE_ROWS)
