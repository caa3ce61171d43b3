"""The history for TensorBoard, an event file a split, written as the epochs end.

The files are TFRecords of Event messages (https://www.tensorflow.org/api_docs/python/tf/compat/v1/Event), written so
that TensorBoard is needed only where they are looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from model_build.native import load_tensorflow
from model_build.training.observers import Epoch

FOLDER_NAME = "tensorboard"


class TensorBoardLog:
    """Scalars ``loss``, ``accuracy``, ``learning_rate`` and ``images_per_second`` by epoch; splits as runs."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Files are added to ``folder``; TensorBoard joins those of a training that was resumed."""
        self._tf, _ = load_tensorflow()
        self._clock = clock
        self._training = self._writer(folder / "training")
        self._validation = self._writer(folder / "validation")

    def epoch(self, epoch: Epoch) -> None:
        self._write(
            self._training,
            epoch.number,
            loss=epoch.loss,
            accuracy=epoch.training_accuracy,
            learning_rate=epoch.learning_rate,
            images_per_second=epoch.images_per_second,
        )
        self._write(self._validation, epoch.number, loss=epoch.validation_loss, accuracy=epoch.validation_accuracy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._training.close()
        self._validation.close()

    def _writer(self, folder: Path) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        begun = self._clock()
        path = folder / f"events.out.tfevents.{begun:017.6f}"
        writer = self._tf.io.TFRecordWriter(str(path))
        event = self._tf.compat.v1.Event(wall_time=begun, file_version="brain.Event:2")
        writer.write(event.SerializeToString())
        return writer

    def _write(self, writer: Any, step: int, **scalars: float) -> None:
        summary = self._tf.compat.v1.Summary
        values = [summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        event = self._tf.compat.v1.Event(wall_time=self._clock(), step=step, summary=summary(value=values))
        writer.write(event.SerializeToString())
        writer.flush()
