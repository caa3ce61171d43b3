"""``bucketlens results review``: what to look at first, and what somebody says about it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bucketlens import results
from bucketlens.annotations import importing
from bucketlens.cli import display
from bucketlens.cli.display import Format, Screen, messages
from bucketlens.cli.model import DryRunOption
from bucketlens.cli.results import StackOption, print_table
from bucketlens.concurrency import as_done
from bucketlens.escaping import json_text, printable
from bucketlens.reviews import Decision, Quotas, Review, ReviewSession, default_reviewer, document, look_first
from bucketlens.stack import DEFAULT_STACK, Stack, clients
from classifier.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

_SHOWN = 20
_COLUMNS = ("image_uri", "decision", "label", "predicted_label", "model_version", "reviewer", "decided_at", "etag")

ReviewerOption = Annotated[
    str | None,
    typer.Option(envvar="BUCKETLENS_REVIEWER", help="Who decides; by default the name of this machine's user."),
]
PerLabelOption = Annotated[int | None, typer.Option(min=1, help="At most this many of each predicted label.")]
PerDayOption = Annotated[int | None, typer.Option(min=1, help="At most this many of each day (UTC).")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(review)


def review(
    image: Annotated[
        str | None, typer.Option(help="Decide about this image: s3://bucket/key, a key, or one below the input prefix.")
    ] = None,
    right: Annotated[bool, typer.Option("--right", help="Its prediction is right.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="Its prediction is wrong.")] = False,
    label: Annotated[str | None, typer.Option(help="It is this.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Delete the decision about it.")] = False,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Decide as a file says: CSV with the columns image and label, the output of --decided, an export of"
            " Label Studio, labels.json of COCO or FiftyOne, or a Ground Truth manifest.",
        ),
    ] = None,
    decided: Annotated[bool, typer.Option("--decided", help="Print the decisions, in place of the queue.")] = False,
    per_label: PerLabelOption = None,
    per_day: PerDayOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Print at most this many.")] = _SHOWN,
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    reviewer: ReviewerOption = None,
    dry_run: DryRunOption = False,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Print what to look at first, or decide about images. The live gallery does both with pictures.

    First come predictions that need review, the closest calls of the model and the most novel images in turn, then the
    others, the closest calls at the beginning;
    --per-label and --per-day spread them. What is decided about does not come back, until the image changes.

    Example: bucketlens results review --image cats/tom.jpg --label lynx
    """
    deployed = Stack.find(stack)
    s3, dynamodb = clients()
    session = open_session(deployed, dynamodb, reviewer)
    if sum((image is not None, import_ is not None, decided)) > 1:
        raise UserError("--image, --import and --decided are three different things: give one of them")
    if image is not None:
        choice = _choice(right, wrong, label, withdraw)
        _decide(session, deployed.image_uri(image), choice, label, dry_run)
    elif right or wrong or withdraw or label is not None:
        raise UserError("name the image that is decided about: --image IMAGE")
    elif import_ is not None:
        _import(import_, session, s3, deployed, dry_run)
    elif decided:
        _print_decisions(session.reviews.read(), limit, output)
    else:
        _print_queue(session, Quotas(per_label, per_day), limit, output)


def open_session(deployed: Stack, dynamodb: DynamoDBClient, reviewer: str | None) -> ReviewSession:
    """The session of a stack; UserError for one without a review table."""
    return ReviewSession(dynamodb, deployed.table, deployed.reviews(dynamodb), reviewer or default_reviewer())


def _choice(right: bool, wrong: bool, label: str | None, withdraw: bool) -> Decision | None:
    """None to withdraw."""
    chosen = {Decision.RIGHT: right, Decision.WRONG: wrong, Decision.CORRECTED: label is not None, None: withdraw}
    (choice, *more) = [decision for decision, wanted in chosen.items() if wanted] or [None, None]
    if more:
        raise UserError("say one of --right, --wrong, --label LABEL, --withdraw")
    return choice


def _decide(session: ReviewSession, image_uri: str, choice: Decision | None, label: str | None, dry_run: bool) -> None:
    if choice is None:
        standing = session.reviews.get(image_uri)
        if standing is None:
            raise UserError(f"nothing is decided about {image_uri}")
        if not dry_run:
            session.reviews.withdraw(image_uri, standing.decided_at)
        typer.echo(json_text(document(standing), indent=2))
        return
    item = session.result(image_uri)
    made = Review.of(item, choice, label, session.reviewer, session.time())
    if not dry_run:
        session.reviews.put(made)
    typer.echo(json_text(document(made), indent=2))


def _import(path: Path, session: ReviewSession, s3: S3Client, deployed: Stack, dry_run: bool) -> None:
    found = importing.read(path)
    with Screen(messages()).running() as screen:
        screen.step("looking at the images")
        made = importing.reviews(found, session, s3, deployed.image_uri)
        screen.step("recording")
        for done, _ in enumerate(as_done(session.reviews.put, [] if dry_run else made, importing.AT_ONCE), start=1):
            screen.progress(done, len(made))
    counts = Counter(str(one.decision) for one in made)
    told = ", ".join(f"{count:,} {name}" for name, count in counts.most_common()) or "it holds no label"
    messages().print(f"{'would record' if dry_run else 'recorded'} {len(made):,} decisions: {told}", markup=False)


def _print_queue(session: ReviewSession, quotas: Quotas, limit: int, output: Format) -> None:
    chosen = look_first(session.read(), quotas)
    shown = iter(chosen[:limit])
    if output is Format.JSON:
        results.write_json(map(results.document, shown), sys.stdout)
    elif output is Format.CSV:
        results.write_csv(shown, sys.stdout)
    else:
        print_table(shown)
    say = Console(stderr=True, soft_wrap=True, highlight=False).print
    if chosen:
        say(f"{min(limit, len(chosen)):,} of {len(chosen):,} to look at")
    else:
        say("no prediction is left to decide about", style="yellow")


def _print_decisions(reviews: Iterator[Review], limit: int, output: Format) -> None:
    rows: list[dict[str, Any]] = [document(one) for one in reviews]
    rows.sort(key=lambda row: row["decided_at"], reverse=True)
    if output is Format.JSON:
        results.write_json(rows, sys.stdout)
    elif output is Format.CSV:
        results.write_csv(iter(rows), sys.stdout, _COLUMNS)
    elif rows:
        table = Table("image", "decision", "label", "predicted", "model version", "reviewer", "decided at")
        for row in rows[:limit]:
            cells = (printable(row.get(name, "")) for name in _COLUMNS[1:-1])
            table.add_row(printable(row["image_uri"].split("/", 3)[3]), *cells)
        display.print_table(table)
    if not rows:
        Console(stderr=True).print("nothing is decided yet", style="yellow")
