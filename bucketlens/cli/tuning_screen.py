"""What ``bucketlens model tune`` shows while it runs, and what it has learnt at the end. Rich only, no work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bucketlens.cli.display import Screen

if TYPE_CHECKING:
    from model_build.tuning.study_summary import StudySummary

_BAR = 30
_FEW = 4


class TuningScreen(Screen):
    """One bar of trials with what is happening in the present one, and a line for each trial that ends."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._params: Mapping[str, object] = {}
        self._waiting = False

    def trials(self, ended: int, of: int) -> None:
        self._bar.update(self._task, completed=min(ended, of), total=of)

    def waiting(self, running: int) -> None:
        if not self._waiting:
            self.say(f"waiting for the last trials, which other processes are running ({running})")
        self._waiting = True
        self._bar.update(self._task, description=f"waiting for {running} trials of other processes")

    def trial_started(self, number: int, params: Mapping[str, object]) -> None:
        self._waiting, self._params = False, params
        self._bar.update(self._task, description=f"trial {number}: starting")

    def decoded(self, done: int, total: int) -> None:
        self._bar.update(self._task, description=f"reading photos, {done} of {total}")

    def trial_epoch(self, number: int, epoch: int, of: int, accuracy: float) -> None:
        self._bar.update(self._task, description=f"trial {number}: epoch {epoch} of {of}, accuracy {accuracy:.4f}")

    def trial_ended(self, number: int, accuracy: float) -> None:
        self.say(f"trial {number}: {accuracy:.4f}  {self._settings()}")

    def trial_pruned(self, number: int, accuracy: float) -> None:
        self.say(f"trial {number}: stopped early at {accuracy:.4f}  {self._settings()}")

    def trial_failed(self, number: int, reason: str) -> None:
        self.say(f"trial {number}: failed: {reason}  {self._settings()}")

    def _settings(self) -> str:
        return " ".join(f"{name}={_short(value)}" for name, value in self._params.items())


def show_summary(console: Console, summary: StudySummary) -> None:
    """The best trial, the leading ones, and which settings matter."""
    best = summary.best
    if best is None:
        console.print("no trial has completed yet", markup=False)
        return
    console.print(f"best validation accuracy  {best.accuracy or 0.0:.4f} (trial {best.number})", markup=False)
    told = ", ".join(f"{summary.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    console.print(f"trials                    {told}", markup=False)
    leading = sorted(
        (row for row in summary.trials if row.state == "complete"), key=lambda row: (-(row.accuracy or 0), row.number)
    )
    leading = leading[:_FEW]
    # Settings downwards: eight columns of them would be cut on a terminal of 80.
    table = Table(title="leading trials", title_justify="left")
    table.add_column("trial")
    for row in leading:
        table.add_column(str(row.number), justify="right", overflow="fold")
    table.add_row("accuracy", *(f"{row.accuracy or 0.0:.4f}" for row in leading), end_section=True)
    for name in best.params:
        table.add_row(name.replace("_", " "), *(escape(_short(row.params.get(name, "-"))) for row in leading))
    console.print(table)
    if summary.importance:
        shares = Table(title="which settings matter", title_justify="left")
        for name in ("setting", "share", ""):
            shares.add_column(name, justify="right" if name == "share" else "left")
        for name, share in summary.importance.items():
            shares.add_row(name.replace("_", " "), f"{share:.0%}", "#" * round(_BAR * share))
        console.print(shares)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
