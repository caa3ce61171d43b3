"""The state of a training after its last completed epoch, in one file that is replaced in one step."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classifier.errors import UserError
from model_build.training.observers import Epoch

Arrays = list[NDArray[Any]]


@dataclass
class TrainingState:
    """All that the next epoch depends on, beside configuration and data.

    Attributes:
        history: completed epochs.
        model: variables of the network being trained, its random generators included.
        optimizer: its variables; empty at the beginning of fine-tuning.
        average: moving average of the model's trainable variables, if there is one.
        best: weights of the best epoch so far, ``best_loss`` and ``best_accuracy`` of the validation photos.
        observers: the state of each observer, as JSON's types.
    """

    history: list[Epoch] = field(default_factory=list)
    model: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)
    average: Arrays = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    best_loss: float = float("inf")
    best_accuracy: float = -1.0
    observers: list[dict[str, Any]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Raises OSError when the disk is full; what was there before then still is."""
        arrays: dict[str, Any] = {}
        for group in _GROUPS:
            for position, array in enumerate(getattr(self, group)):
                arrays[f"{group}_{position:05d}"] = array
        told = json.dumps(
            {
                "history": [asdict(epoch) for epoch in self.history],
                "best_loss": self.best_loss,
                "best_accuracy": self.best_accuracy,
                "observers": self.observers,
            }
        )
        unfinished = path.with_name(path.name + ".partial")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, told=np.array(told), **arrays)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises UserError when the file is damaged."""
        try:
            with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
                told = json.loads(str(file["told"]))
                groups = {
                    group: [file[name] for name in sorted(file.files) if name.startswith(f"{group}_")]
                    for group in _GROUPS
                }
            history = [Epoch(**epoch) for epoch in told["history"]]
            return cls(
                history=history,
                best_loss=told["best_loss"],
                best_accuracy=told["best_accuracy"],
                observers=told["observers"],
                **groups,
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"the state of the unfinished training in {path.parent} is damaged ({error}); "
                "remove that folder to start over"
            ) from None


_GROUPS = ("model", "optimizer", "average", "best")
