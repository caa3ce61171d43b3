"""A training that has not ended: ``RUN.partial`` beside ``RUN``, which it becomes in one step, and the state in it.

A kill at any moment leaves the state of the last completed epoch there; the same command then resumes from it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classifier.errors import UserError
from model_build.files import json_bytes, require_free, write_atomic
from model_build.training.config import without_removed
from model_build.training.observers import Epoch

Arrays = list[NDArray[Any]]
_GROUPS = ("model", "optimizer", "average", "best")
IDENTITY_NAME = "training.json"
CHOICE_NAME = "choice.json"
_STATE_NAME = "state.npz"
_LOCK_NAME = "lock"
_SCRATCH_NAME = "scratch"


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


class PartialRun:
    """An open partial folder; one process has it at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / _SCRATCH_NAME
        self._state = folder / _STATE_NAME

    @property
    def has_state(self) -> bool:
        return self._state.is_file()

    def state(self, identity: Mapping[str, Any]) -> TrainingState | None:
        """Where to go on from; None for a fresh training.

        Args:
            identity: JSON values that decide what the training arrives at: configuration, data, weights.

        Raises:
            UserError: the unfinished training in the folder is another one, or is damaged.
        """
        path = self.folder / IDENTITY_NAME
        if not self.has_state:
            write_atomic(path, json_bytes(identity))
            return None
        try:
            before = without_removed(json.loads(path.read_bytes()), str(path))
        except (OSError, ValueError):
            before = {}
        changed = [
            f"{name} was {before.get(name)!r}, is now {identity.get(name)!r}"
            for name in sorted({*before, *identity})
            if before.get(name) != identity.get(name)
        ]
        if changed:
            raise UserError(
                f"{self.folder} contains an unfinished training that was started with other settings "
                f"({'; '.join(changed[:3])}); use the same ones to resume it, or remove that folder to start over"
            )
        return TrainingState.read(self._state)

    def save(self, state: TrainingState) -> None:
        state.write(self._state)

    def finish(self, out: Path) -> None:
        """Drop what only training needed and give the folder its final name."""
        require_free(out)
        shutil.rmtree(self.scratch, ignore_errors=True)
        for name in (IDENTITY_NAME, _STATE_NAME, _LOCK_NAME):
            (self.folder / name).unlink(missing_ok=True)
        self.folder.rename(out)


def partial_folder(out: Path) -> Path:
    """Where the unfinished training of the run ``out`` lies."""
    return out.with_name(out.name + ".partial")


@contextmanager
def partial_run(out: Path) -> Iterator[PartialRun]:
    """The partial folder of ``out``, removed again when the block fails before an epoch has been completed.

    Raises:
        UserError: ``out`` is taken, cannot be written, or another process is training it.
    """
    require_free(out)
    out = out.absolute()
    folder = partial_folder(out)
    if (folder / CHOICE_NAME).exists():
        raise UserError(
            f"{folder} contains an unfinished training that was started with --backbone auto or --minutes; use the same"
            " settings to resume it, or remove that folder to start over"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK_NAME).open("w")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    partial = PartialRun(folder)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is already training {out}; give another name") from None
        try:
            partial.scratch.mkdir(exist_ok=True)
            yield partial
        except BaseException:
            # What can be had again is not kept; with a completed epoch the rest is worth keeping.
            shutil.rmtree(partial.scratch if partial.has_state else folder, ignore_errors=True)
            raise
