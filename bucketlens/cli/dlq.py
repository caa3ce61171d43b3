"""``bucketlens dlq``: what could not be classified, and what is done with it."""

from __future__ import annotations

import csv
import sys
import time
from typing import Annotated

import typer
from rich.table import Table

from bucketlens.cli import display
from bucketlens.cli.display import Format
from bucketlens.cli.model import DryRunOption
from bucketlens.cli.reconcile import YesOption
from bucketlens.cli.results import StackOption
from bucketlens.dead_letters import READERS, DeadLetter, DeadLetters, reasons
from bucketlens.escaping import csv_cell, json_text, printable
from bucketlens.stack import DEFAULT_STACK, Stack, bulk_clients
from classifier.errors import UserError

app = typer.Typer(
    help="List, redrive and delete the messages in the dead-letter queue.", no_args_is_help=True, rich_markup_mode=None
)

_SHOWN = 80
_COLUMNS = ("image", "tries", "first seen", "reason")

ImageOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only messages about this image (s3://bucket/key, a key, or one below the input prefix); may be repeated."
    ),
]


@app.command("list")
def list_(
    output: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Show each message's image, how often it was tried, since when, and why it failed. Changes nothing.

    Example: bucketlens dlq list --format json
    """
    deployed = Stack.find(stack)
    s3, dynamodb, sqs = bulk_clients(READERS)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    table = Table(*_COLUMNS)
    count = 0
    with DeadLetters(sqs, deployed) as letters:
        for page in letters.read():
            for letter, image, reason in reasons(page, s3, dynamodb, deployed.table):
                row = (image or letter.body[:_SHOWN], letter.tries, letter.first_seen, reason)
                if output is Format.JSON:
                    sys.stdout.write(json_text(_document(letter, image, reason)) + "\n")
                elif output is Format.CSV:
                    writer.writerows(([_COLUMNS] if not count else []) + [tuple(map(csv_cell, row))])
                else:
                    table.add_row(*("" if value is None else printable(str(value)) for value in row))
                count += 1
    if count and output is Format.TABLE:
        display.print_table(table)
    if not count:
        display.messages().print("the dead-letter queue is empty")


@app.command()
def redrive(
    image: ImageOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every message.")] = False,
    dry_run: DryRunOption = False,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Send messages back to the queue, once the cause of their failure has been fixed. Prints their images.

    Messages without an event stay: they would only fail again.

    Example: bucketlens dlq redrive --all
    """
    if bool(image) == all_:
        raise UserError("give --image IMAGE, or --all")
    deployed = Stack.find(stack)
    wanted = _wanted(image, deployed)
    _, _, sqs = bulk_clients(READERS)
    started = time.time()
    sent = left = 0
    with DeadLetters(sqs, deployed) as letters:
        for page in letters.read():
            # What comes back while this runs has failed again, and is not sent a second time.
            chosen = [one for one in page if _is_wanted(one, wanted) and one.first_sent < started]
            sendable = [one for one in chosen if one.unreadable is None]
            if not dry_run:
                letters.redrive(sendable)
            _print_images(sendable)
            sent += len(sendable)
            left += len(chosen) - len(sendable)
    console = display.messages()
    console.print(f"{'would send' if dry_run else 'sent'} {sent} messages to the queue")
    if left:
        console.print(f"{left} messages contain no event and stay: bucketlens dlq list shows them, purge deletes them")
    _require_found(sent + left, wanted)


@app.command()
def purge(
    image: ImageOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Delete messages permanently: all, or those about an image. Prints their images.

    An image without a result is found again by `bucketlens reconcile`.

    Example: bucketlens dlq purge --image cats/poison.png
    """
    deployed = Stack.find(stack)
    wanted = _wanted(image, deployed)
    _, _, sqs = bulk_clients(READERS)
    console = display.messages()
    with DeadLetters(sqs, deployed) as letters:
        chosen = [one for page in letters.read() for one in page if _is_wanted(one, wanted)]
        _require_found(len(chosen), wanted)
        if chosen and not dry_run and not (yes or typer.confirm(f"delete {len(chosen)} messages?", err=True)):
            raise typer.Exit(1)
        if not dry_run:
            letters.delete(chosen)
    _print_images(chosen)
    console.print(f"{'would delete' if dry_run else 'deleted'} {len(chosen)} messages")


def _wanted(images: list[str] | None, stack: Stack) -> set[str] | None:
    return {stack.image_uri(image) for image in images} if images else None


def _is_wanted(letter: DeadLetter, wanted: set[str] | None) -> bool:
    return wanted is None or not wanted.isdisjoint(letter.images)


def _require_found(count: int, wanted: set[str] | None) -> None:
    if wanted and not count:
        raise UserError(f"the dead-letter queue contains no message about {', '.join(sorted(wanted))}")


def _print_images(letters: list[DeadLetter]) -> None:
    for letter in letters:
        for shown in letter.images or (letter.body[:_SHOWN],):
            typer.echo(printable(shown))


def _document(letter: DeadLetter, image: str | None, reason: str) -> dict[str, object]:
    return {
        "image": image,
        "tries": letter.tries,
        "first_seen": letter.first_seen,
        "reason": reason,
        "message_id": letter.message_id,
        **({} if image else {"body": letter.body}),
    }
