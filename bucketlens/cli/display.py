"""What the model commands show: progress and messages on stderr, results on stdout. Rich only, no work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bucketlens.escaping import printable
from model_build import Watcher

if TYPE_CHECKING:
    from model_build.bundles.releases import PublishedVersion
    from model_build.conversion.convert import Conversion
    from model_build.data.dataset import Split
    from model_build.data.tensors import Unreadable
    from model_build.evaluation.comparison import Difference
    from model_build.evaluation.evaluating import Evaluation
    from model_build.evaluation.gate import Verdict
    from model_build.metrics.scores import Scores
    from model_build.training.observers import Epoch


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class TableOrJson(StrEnum):
    """How what has no rows for a CSV file is printed."""

    TABLE = "table"
    JSON = "json"


_WIDEST_CONFUSION = 12
_WIDEST_COLUMN = 4
_MISTAKES_SHOWN = 10
_CHANGES_SHOWN = 200
_UNREADABLE_SHOWN = 20
_EPOCHS_A_LINE = 5  # where there is no bar, as in a log


def messages() -> Console:
    """The console for progress and messages.

    On a terminal it writes to a copy of stderr, so that the bar keeps moving while native libraries are kept off the
    original (:func:`model_build.native.quiet_stderr`).
    """
    if sys.stderr.isatty():
        copy = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", buffering=1)
        return Console(file=copy, soft_wrap=True, highlight=False)
    return Console(stderr=True, soft_wrap=True, highlight=False)


def results() -> Console:
    return Console(highlight=False)


def print_table(table: Table) -> None:
    """Print a table of data, where "[red]" is no markup, on standard output: in full width to a pipe or file."""
    wide = Console(width=sys.maxsize)
    width = None if Console().is_terminal else Measurement.get(wide, wide.options, table).maximum
    Console(markup=False, highlight=False, width=width).print(table)


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def progress_bar(console: Console, *more: ProgressColumn, shown: bool = True) -> Progress:
    """A bar that says what is being done, gone at the end, and silent where nobody watches."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *more,
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )


class Screen(Watcher):
    """One bar that says what is being done; the watcher of a training and the progress of everything else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = progress_bar(console, TimeRemainingColumn())
        self._task = self._bar.add_task("starting", total=None)
        self._head = 0

    @contextmanager
    def running(self) -> Iterator[Screen]:
        with self._bar:
            yield self

    def step(self, what: str) -> None:
        self._bar.update(self._task, description=what, completed=0, total=None)

    def progress(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def say(self, message: str) -> None:
        self._console.print(message, markup=False)

    def decoded(self, done: int, total: int) -> None:
        self._bar.update(self._task, description="reading photos", completed=done, total=total)

    def left_out(self, unreadable: Sequence[Unreadable]) -> None:
        if not unreadable:
            return
        self.say(f"left out {len(unreadable)} unreadable files:")
        for one in unreadable[:_UNREADABLE_SHOWN]:
            self.say(f"  {one.name}: {one.code}: {one.reason}")
        if len(unreadable) > _UNREADABLE_SHOWN:
            self.say(f"  ... and {len(unreadable) - _UNREADABLE_SHOWN} more, listed in run.json")

    def split(self, split: Split) -> None:
        counts = ", ".join(f"{len(photos)} {name}" for name, photos in split.photos.items())
        self.say(f"{len(split.labels)} classes; photos: {counts}")
        self.step("starting TensorFlow")

    def phases(self, head: int, epochs: int) -> None:  # noqa: ARG002
        self._head = head

    def resumed(self, epochs: int) -> None:
        self.say(f"resuming after epoch {max(0, epochs - self._head)} of an interrupted training")

    def training_step(self, epoch: int, step: int, steps: int) -> None:
        self._bar.update(self._task, completed=epoch - 1 + step / steps)

    def epoch(self, epoch: Epoch, of: int) -> None:
        what = f"validation accuracy {epoch.validation_accuracy:.4f}, loss {epoch.validation_loss:.4f}"
        self._bar.update(self._task, description=what, completed=epoch.number, total=of)
        if not self._console.is_terminal and epoch.number % _EPOCHS_A_LINE == 0:
            self.say(f"{epoch.place(of, self._head)}: {what}")


def accuracy_line(scores: Scores) -> str:
    low, high = scores.interval
    return f"{scores.accuracy:.4f} ({scores.correct} of {scores.images}; 95 % interval {low:.4f} to {high:.4f})"


def confusion_table(scores: Scores) -> Table | None:
    """Rows true, columns predicted; None where a terminal has no room for it."""
    if len(scores.labels) > _WIDEST_CONFUSION:
        return None
    table = Table(title="confusion: rows true, columns predicted", title_justify="left")
    table.add_column("")
    # Long names would be cut to nothing above narrow columns: then rows carry a number and columns only that.
    numbered = max(map(len, scores.labels)) > _WIDEST_COLUMN
    for index, label in enumerate(scores.labels):
        table.add_column(str(index) if numbered else escape(label), justify="right")
    for index, (label, row) in enumerate(zip(scores.labels, scores.confusion, strict=True)):
        cells = [f"[bold]{n}[/]" if column == index else str(n) if n else "." for column, n in enumerate(row)]
        table.add_row(escape(f"{index} {label}" if numbered else label), *cells)
    return table


def class_table(scores: Scores) -> Table:
    table = Table(title="by class", title_justify="left")
    table.add_column("class")
    for name in ("precision", "recall", "F1", "photos"):
        table.add_column(name, justify="right")
    for one in scores.classes:
        if one.support or one.precision is not None:
            table.add_row(
                escape(one.label), *(_share(value) for value in (one.precision, one.recall, one.f1)), str(one.support)
            )
    return table


def conversion_table(conversion: Conversion) -> Table:
    table = Table(title=f"measured in {conversion.interpreter}", title_justify="left")
    table.add_column("format")
    for name in ("validation", "test", "agrees", "median", "p90", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in conversion.models:
        figures = ["-"] * 6
        if one.failure is None:
            figures = [
                f"{one.validation_accuracy:.4f}",
                f"{one.accuracy:.4f}",
                f"{one.agreement:.3f}",
                f"{one.latency_ms['median_ms']:.3f} ms",
                f"{one.latency_ms['p90_ms']:.3f} ms",
                f"{one.size_bytes / 1024:,.0f} KB",
            ]
        table.add_row(one.quantization + (" (chosen)" if one.quantization == conversion.chosen else ""), *figures)
    return table


def conversion_lines(conversion: Conversion) -> list[str]:
    """Why each format was chosen or not; too long for a table's cells."""
    return [f"{one.quantization}: {one.reason}" for one in conversion.models]


def gate_lines(verdict: Verdict) -> list[str]:
    """The gate's verdict, a line a check."""
    return [f"gate: {one.name} {one.word}: {one.detail}" for one in verdict.checks]


def difference_table(difference: Difference) -> Table:
    table = Table(title=f"A {difference.a}, B {difference.b}", title_justify="left")
    for name in ("photo", "label", "A", "", "B", ""):
        table.add_column(name, justify="left" if name else "right")
    for one in difference.changes[:_CHANGES_SHOWN]:
        table.add_row(
            escape(printable(one.photo)),
            escape(one.truth or "-"),
            escape(printable(one.a)),
            f"{one.a_confidence:.3f}",
            escape(printable(one.b)),
            f"{one.b_confidence:.3f}",
        )
    if len(difference.changes) > _CHANGES_SHOWN:
        table.caption = f"the first {_CHANGES_SHOWN} of {len(difference.changes)}; --format json or csv prints all"
    return table


def show_evaluation(evaluation: Evaluation) -> None:
    console = results()
    quality = evaluation.quality
    console.print(f"model     {evaluation.model}", markup=False)
    flattered = (
        "; the model was trained on these photos, so the figures are too optimistic" if evaluation.training_data else ""
    )
    console.print(f"photos    {evaluation.photos_used}{flattered}", markup=False)
    console.print(f"accuracy  {accuracy_line(evaluation.scores)}", markup=False)
    if quality.top_k:
        best = ", ".join(f"top {k} {share:.4f}" for k, share in quality.top_k.items())
        console.print(f"top-k     {best}", markup=False)
    console.print(
        f"ECE       {quality.after.error:.4f} ({quality.before.error:.4f} before temperature {quality.temperature:.3f};"
        " 15 bins)",
        markup=False,
    )
    latency, size = evaluation.latency, evaluation.manifest.model.size_bytes
    console.print(
        f"latency   {latency.median_ms:.3f} ms median, {latency.p90_ms:.3f} ms p90, one thread; {size / 1024:,.0f} KB",
        markup=False,
    )
    console.print(class_table(evaluation.scores))
    confusion = confusion_table(evaluation.scores)
    if confusion is not None:
        console.print(confusion)
    if quality.worst:
        table = Table(title="worst mistakes", title_justify="left")
        for name in ("photo", "actual", "predicted", "confidence"):
            table.add_column(name, justify="right" if name == "confidence" else "left")
        for one in quality.worst[:_MISTAKES_SHOWN]:
            photo = evaluation.photos[one.row].name
            table.add_row(escape(photo), escape(one.truth), escape(one.predicted), f"{one.confidence:.3f}")
        console.print(table)


def versions_table(versions: Sequence[PublishedVersion]) -> Table:
    table = Table()
    for name in ("version", "live", "name", "accuracy", "size"):
        table.add_column(name, justify="right" if name in ("accuracy", "size") else "left", no_wrap=name == "version")
    for one in versions:
        table.add_row(
            one.version,
            "live" if one.live else "",
            escape(one.name) if one.name is not None else "(incomplete)",
            "-" if one.accuracy is None else f"{one.accuracy:.4f}",
            "-" if one.size_bytes is None else f"{one.size_bytes / 1024:,.0f} KB",
        )
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
