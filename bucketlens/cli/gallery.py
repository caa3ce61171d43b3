"""``bucketlens results gallery``: a page to look at the results, live or on disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bucketlens.cli.results import StackOption
from bucketlens.cli.review import PerDayOption, PerLabelOption, ReviewerOption, open_session
from bucketlens.escaping import printable
from bucketlens.reviews import Candidate, Quotas, ReviewSession, collecting, queue
from bucketlens.stack import DEFAULT_STACK, Stack, clients
from model_build.files import cache_folder, require_free

if TYPE_CHECKING:
    from bucketlens.drift import Tally
    from bucketlens.gallery.server import Gallery
    from bucketlens.gallery.thumbnails import Thumbnails

PORT = 5556


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(gallery)


def gallery(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE.html",
            help="Write a folder for any web server, or one .html file with everything in it, instead of serving.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for any free one.")] = PORT,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many results.")] = 100_000,
    per_label: PerLabelOption = None,
    per_day: PerDayOption = None,
    reviewer: ReviewerOption = None,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Look at the results in a browser and say which are right. Serves on this machine until Ctrl-C.

    What to look at first is the queue of `bucketlens results review`; --per-label and --per-day spread it.

    Thumbnails are kept in the cache folder (BUCKETLENS_CACHE), so that each is made once.

    Example: bucketlens results gallery --out site
    """
    from bucketlens.drift import drift_note
    from bucketlens.gallery.thumbnails import Thumbnails

    deployed = Stack.find(stack)
    s3, dynamodb = clients()
    thumbnails = Thumbnails(s3, cache_folder() / "thumbnails")
    session = open_session(deployed, dynamodb, reviewer)
    quotas = Quotas(per_label, per_day)
    drift = partial(drift_note, s3=s3, model_uri=deployed.model_uri)
    if out is None:
        from bucketlens.gallery.server import Gallery

        _serve(Gallery(deployed.bucket, session.read, thumbnails, limit, session, quotas, drift), port)
    else:
        _write(out, deployed.bucket, session, thumbnails, limit, quotas, drift)


def _serve(application: Gallery, port: int) -> None:
    from bucketlens.gallery.server import serve

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with serve(application, port) as server:
        try:
            console.print(f"gallery  http://127.0.0.1:{server.server_port}/\nCtrl-C stops it.")
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("stopped")


def _write(
    out: Path,
    title: str,
    session: ReviewSession,
    thumbnails: Thumbnails,
    limit: int,
    quotas: Quotas,
    drift: Callable[[Tally], str | None],
) -> None:
    from bucketlens.cli.display import messages, progress_bar
    from bucketlens.drift import Tally
    from bucketlens.gallery.data import chunks
    from bucketlens.gallery.export import Results, write_file, write_folder

    console = messages()
    in_one_file = out.suffix.lower() in (".html", ".htm")
    if not in_one_file:
        require_free(out)  # before thousands of images are fetched
    found: list[Candidate] = []
    counted = Tally()
    with progress_bar(console) as bar:
        task = bar.add_task("reading results", total=None)
        items = counted.counting(session.read())
        chunked = list(chunks(bar.track(collecting(found, itertools.islice(items, limit)), task_id=task)))
        more = next(items, None) is not None
        made_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M UTC}"
        first = [one.position for one in queue(found, quotas)]
        bar.update(task, description="making thumbnails", completed=0)
        missing = (write_file if in_one_file else write_folder)(
            out,
            Results(title, made_at, chunked, limit if more else None, first, None if more else drift(counted)),
            thumbnails,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    for reason, count in missing.most_common(5):
        console.print(f"[yellow]no picture for {count:,}:[/] {escape(printable(reason))}")
    if more:
        console.print(f"[yellow]only the first {limit:,} results; --limit takes more[/]")
    files = [out] if in_one_file else [file for file in out.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    total = sum(chunk.document["count"] for chunk in chunked)
    console.print(f"{total:,} results, {size / 1e6:.1f} MB; open in a browser:")
    typer.echo(out if in_one_file else out / "index.html")
