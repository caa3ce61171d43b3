"""Who wants to know how a tuning goes."""

from __future__ import annotations

from collections.abc import Mapping

from model_build.tuning.space import Value


class TuningWatcher:
    """Told what happens while it happens. This one listens to nothing; override what is of interest."""

    def counted(self, ended: int, of: int) -> None:
        """``ended`` of the wanted trials have a result."""

    def waiting(self, running: int) -> None:
        """Nothing is left to begin; other processes run the last trials."""

    def started(self, number: int, params: Mapping[str, Value]) -> None:
        """A trial begins with these settings."""

    def decoded(self, done: int, total: int) -> None:
        """``done`` of ``total`` photos have been read for the trial."""

    def epoch(self, number: int, epoch: int, of: int, accuracy: float) -> None:
        """An epoch of a trial has ended, of at most ``of``; ``accuracy`` is on the validation photos."""

    def ended(self, number: int, accuracy: float) -> None:
        """A trial ran to its end."""

    def pruned(self, number: int, accuracy: float) -> None:
        """A trial was stopped because it did worse than others had at that stage."""

    def failed(self, number: int, reason: str) -> None:
        """A trial failed; the study goes on."""
