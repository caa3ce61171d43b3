"""The folder of a training that has not ended: ``RUN.partial`` beside ``RUN``, which it becomes in one step.

A kill at any moment leaves the state of the last completed epoch in it; the same command then goes on from there.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from classifier.errors import UserError
from model_build.files import json_bytes, require_free, write_atomic
from model_build.training.checkpoints import TrainingState

_IDENTITY_NAME = "training.json"
_STATE_NAME = "state.npz"
_LOCK_NAME = "lock"
_SCRATCH_NAME = "scratch"


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
        path = self.folder / _IDENTITY_NAME
        if not self.has_state:
            write_atomic(path, json_bytes(identity))
            return None
        try:
            before = json.loads(path.read_bytes())
        except (OSError, ValueError):
            before = {}
        changed = [
            f"{name} was {before.get(name)!r}, is now {identity.get(name)!r}"
            for name in sorted({*before, *identity})
            if before.get(name) != identity.get(name)
        ]
        if changed:
            raise UserError(
                f"{self.folder} holds an unfinished training that was begun otherwise ({'; '.join(changed[:3])});"
                " give the same settings to go on with it, or remove that folder to start over"
            )
        return TrainingState.read(self._state)

    def save(self, state: TrainingState) -> None:
        state.write(self._state)

    def finish(self, out: Path) -> None:
        """Drop what only training needed and give the folder its final name."""
        require_free(out)
        shutil.rmtree(self.scratch, ignore_errors=True)
        for name in (_IDENTITY_NAME, _STATE_NAME, _LOCK_NAME):
            (self.folder / name).unlink(missing_ok=True)
        self.folder.rename(out)


@contextmanager
def partial_run(out: Path) -> Iterator[PartialRun]:
    """The partial folder of ``out``, removed again when the block fails before an epoch has been completed.

    Raises:
        UserError: ``out`` is taken, cannot be written, or another process is training it.
    """
    require_free(out)
    out = out.absolute()
    folder = out.with_name(out.name + ".partial")
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
            raise UserError(f"another process is training {out} at this moment; give another name") from None
        try:
            partial.scratch.mkdir(exist_ok=True)
            yield partial
        except BaseException:
            # What can be had again is not kept; with a completed epoch the rest is worth keeping.
            shutil.rmtree(partial.scratch if partial.has_state else folder, ignore_errors=True)
            raise
