"""``bucketlens reconcile``: whether every image has its outcome, and what is done where it has not."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bucketlens import queues
from bucketlens.cli import display
from bucketlens.cli.display import Format
from bucketlens.cli.model import DryRunOption
from bucketlens.cli.results import StackOption
from bucketlens.escaping import csv_cell, json_text, printable
from bucketlens.ledger import Kind, Ledger
from bucketlens.reconcile import CONNECTIONS, Audit, Estimate, Scope, audit, begin, gather, repair
from bucketlens.stack import DEFAULT_STACK, Stack, bulk_clients
from model_build.files import cache_folder

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]

_MEANING = {
    Kind.MISSING: "there is no result",
    Kind.STALE: "the object has changed since its result was made",
    Kind.WITHOUT_JSON: "the JSON is missing, or older than the result in the table",
    Kind.UNFINISHED: "classification was started and never finished: the function was killed or timed out",
    Kind.OLDER_MODEL: "made by an older model",
    Kind.SETTLING: "changed recently: probably still queued",
    Kind.UNCHECKED: "in order, but the JSON lies outside the output prefix and was not looked for",
    Kind.ORPHANED_ITEM: "in the table, but the image has been deleted",
    Kind.ORPHANED_JSON: "a JSON of a deleted image, without an item in the table",
}


def reconcile(
    prefix: Annotated[
        str, typer.Option(help="Only images under it: s3://bucket/key, a key, or one below the input prefix.")
    ] = "",
    model_older_than: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Count results of models before this version, too.")
    ] = None,
    repair_: Annotated[bool, typer.Option("--repair", help="Send the images with differences to the queue.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    settle: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS", min=0, help="How long an image may take (default: the queue's visibility timeout)."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="State file, for resuming (default: in the user's cache folder).")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")] = False,
    output: Annotated[Format, typer.Option("--format", help="table: counts; else every difference.")] = Format.TABLE,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Compare the images in the bucket with their results; with --repair, have the differing ones classified again.

    Finds events that were lost or came while the stack was paused, and images that were there before it. Interrupted,
    the same command resumes. Orphans (results of deleted images) are counted; --repair removes them where the stack's
    RemoveDeleted is true.

    Exit code 0: every image has its result, or was sent. 1: differences were found and not sent.

    Example: bucketlens reconcile --repair --dry-run
    """
    deployed = Stack.find(stack)
    s3, dynamodb, sqs = bulk_clients(CONNECTIONS)
    seconds = queues.visibility_seconds(sqs, deployed.queue_url) if settle is None else settle
    scope = Scope(deployed, deployed.prefix(prefix), seconds, model_older_than)
    console = display.messages()
    with Ledger.open(state or _default_state(scope)) as ledger:
        try:
            if begin(ledger, scope, time.time(), repair=repair_, restart=restart):
                console.print(f"resuming the comparison started {_age(ledger)}; --restart starts over", markup=False)
            with display.Screen(console).running() as screen:
                gather(ledger, scope, s3, dynamodb, lambda counts: screen.step(_listed(counts)))
                screen.step("comparing")
                found = audit(ledger, scope, time.time())
            _show(found, ledger, scope, output)
            if not found.to_send:
                ledger.remove()
                return
            _say_what_it_takes(console, found, deployed)
            _say_what_is_queued(console, sqs, deployed)
            if dry_run or not repair_ or not (yes or typer.confirm(f"send {found.to_send:,} images?", err=True)):
                raise typer.Exit(1)
            with display.Screen(console).running() as screen:
                screen.step("sending")
                sent = repair(ledger, scope, sqs, lambda done: screen.progress(done, found.to_send))
        except KeyboardInterrupt:
            console.print("interrupted; the same command resumes", markup=False)
            raise
        ledger.remove()
        console.print(f"sent {sent:,} images; when the queue is empty, reconcile again", markup=False)


def _default_state(scope: Scope) -> Path:
    name = hashlib.sha256(json.dumps(scope.job, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "reconcile" / f"{name}.sqlite"


def _age(ledger: Ledger) -> str:
    minutes = int(time.time() - ledger.fact("started")) // 60
    return f"{minutes} min ago" if minutes else "just now"


def _listed(counts: Mapping[str, int]) -> str:
    return f"listing: {counts['objects']:,} objects, {counts['items']:,} items, {counts['outputs']:,} JSON documents"


def _show(found: Audit, ledger: Ledger, scope: Scope, output: Format) -> None:
    if output is Format.JSON:
        _print_json(found, ledger, scope)
        return
    if output is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("kind", "uri"))
        writer.writerows((str(kind), csv_cell(_uri(kind, key, scope))) for kind, key in ledger.differences())
        return
    table = Table("", "images", "for example", "meaning")
    table.columns[1].justify = "right"
    table.add_row("in order", f"{found.in_order:,}", "", "")
    for kind, meaning in _MEANING.items():
        if found.counts[kind]:
            (example,) = ledger.examples(kind, 1)
            name = kind.replace("_", " ")
            table.add_row(name, f"{found.counts[kind]:,}", printable(example), meaning)
    display.print_table(table)


def _print_json(found: Audit, ledger: Ledger, scope: Scope) -> None:
    """One document, written as it is read: the differences may be millions."""
    summary = {
        "prefix": f"s3://{scope.stack.bucket}/{scope.prefix}",
        "objects": found.objects,
        "items": found.items,
        "in_order": found.in_order,
        **{str(kind): count for kind, count in found.counts.items()},
        "to_send": found.to_send,
    }
    sys.stdout.write(f'{{"summary":{json_text(summary)},\n"differences":[')
    separator = "\n"
    for kind, key in ledger.differences():
        sys.stdout.write(separator + json_text({"kind": str(kind), "uri": _uri(kind, key, scope)}))
        separator = ",\n"
    sys.stdout.write("]}\n")


def _uri(kind: Kind, key: str, scope: Scope) -> str:
    root = scope.stack.output_prefix if kind is Kind.ORPHANED_JSON else ""
    return f"s3://{scope.stack.bucket}/{root}{key}"


def _say_what_it_takes(console: Console, found: Audit, stack: Stack) -> None:
    estimate = Estimate.of(found.to_send, stack.parameters)
    console.print(
        f"to be sent: {found.to_send:,} images; on AWS about {estimate.dollars:,.2f} USD and"
        f" {display.duration(estimate.seconds)} (list prices, photos of two megapixels)",
        markup=False,
    )


def _say_what_is_queued(console: Console, sqs: SQSClient, stack: Stack) -> None:
    if queued := queues.waiting(sqs, stack.queue_url):
        console.print(f"the queue holds about {queued:,} messages, possibly for these images", markup=False)
    if dead := queues.waiting(sqs, stack.dead_letter_queue_url):
        console.print(f"the dead-letter queue holds about {dead:,}: bucketlens dlq list", markup=False)


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command()(reconcile)
