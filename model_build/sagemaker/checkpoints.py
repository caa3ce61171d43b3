"""Keeps the state of a training where SageMaker keeps files through an interruption."""

from __future__ import annotations

import shutil
from pathlib import Path

_KEPT = ("*.json", "*.npz")  # not the decoded photos beside them, which can be had again


class Checkpoints:
    """Copies between ``kept``, which SageMaker mirrors to S3 (None: the job has no such folder), and ``work``, the
    folder of the unfinished training (:mod:`model_build.training.partial`)."""

    def __init__(self, kept: Path | None, work: Path) -> None:
        self._kept, self._work = kept, work

    def restore(self) -> None:
        """Give an interrupted training back."""
        if self._kept is not None and self._kept.is_dir():
            _copy(self._kept, self._work)

    def save(self) -> None:
        if self._kept is not None:
            _copy(self._work, self._kept)

    def clear_work(self) -> None:
        """Remove an unfinished training from among the results."""
        shutil.rmtree(self._work, ignore_errors=True)

    def remove(self) -> None:
        """The training has ended: nothing is left to go on with."""
        if self._kept is not None:
            shutil.rmtree(self._kept, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Each file in one step, as the machine may vanish at any moment."""
    target.mkdir(parents=True, exist_ok=True)
    for pattern in _KEPT:
        for path in source.glob(pattern):
            unfinished = target / f".{path.name}.copying"
            shutil.copyfile(path, unfinished)
            unfinished.replace(target / path.name)
