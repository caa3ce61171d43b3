"""Who wants to know how a training goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_build.data.split import Split
    from model_build.data.tensors import Unreadable
    from model_build.training.observers import Epoch


class TrainingWatcher:
    """Told what happens while it happens. This one listens to nothing; override what is of interest."""

    def decoded(self, done: int, total: int) -> None:
        """``done`` of ``total`` files have been read."""

    def left_out(self, unreadable: Sequence[Unreadable]) -> None:
        """These files take no part; called once, with an empty sequence if all do."""

    def split(self, split: Split) -> None:
        """Which photos train, validate and test."""

    def resumed(self, epochs: int) -> None:
        """An unfinished training goes on after ``epochs`` completed ones."""

    def training_step(self, epoch: int, step: int, steps: int) -> None:
        """``step`` of the ``steps`` of fine-tuning epoch ``epoch`` is done."""

    def epoch(self, epoch: Epoch, of: int) -> None:
        """An epoch has ended, of at most ``of``."""
