"""Measures ``.tflite`` files in the interpreter that will serve them, each in a process of its own.

A process of its own, because a model that the interpreter cannot take may end it instead of raising, because the
interpreter that serves may live in another Python (``tflite-runtime`` has no release for 3.12 and later), and because
TensorFlow's threads beside it would be in its figures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

import classifier
from classifier.errors import UserError
from classifier.imaging import ResizePolicy
from model_build.tflite import bench_worker as worker

_SECONDS, _SECONDS_A_PHOTO = 120.0, 3.0


class ServingFailed(Exception):
    """The interpreter cannot load or run a model. ``str`` is the reason, in one line."""


@dataclass(frozen=True)
class Served:
    """``probabilities``: float32, (photos, labels), at temperature 1. ``interpreter``: name and version."""

    probabilities: NDArray[np.float32]
    latency_ms: dict[str, float]
    interpreter: str


class Bench:
    """Photos laid out for the processes; made by :func:`bench`."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder = folder
        self._python = python

    def measure(self, content: bytes) -> Served:
        """Run a model over the photos.

        Raises:
            ServingFailed: the interpreter cannot load it, cannot run it, or ends over it.
            UserError: this Python cannot measure any model.
        """
        (self._folder / worker.MODEL_NAME).write_bytes(content)
        answer_file = self._folder / worker.ANSWER_NAME
        answer_file.unlink(missing_ok=True)
        photos = len(np.load(self._folder / worker.IMAGES_NAME, mmap_mode="r"))
        timeout = _SECONDS + _SECONDS_A_PHOTO * photos
        command = [str(self._python), "-m", worker.__name__, str(self._folder)]
        try:
            done = subprocess.run(command, env=_environment(), capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise ServingFailed(f"did not finish {photos} photos within {timeout:.0f} s") from None
        except OSError as error:
            raise UserError(f"{self._python} cannot be started: {error.strerror}") from None
        if done.returncode < 0:
            raise ServingFailed(f"crashes the interpreter ({signal.Signals(-done.returncode).name})")
        if done.returncode or not answer_file.is_file():
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise UserError(f"{self._python} cannot measure models: {lines[-1][:200]}")
        told = json.loads(answer_file.read_text(encoding="utf-8"))
        if "failure" in told:
            raise ServingFailed(told["failure"])
        return Served(np.load(self._folder / worker.PROBABILITIES_NAME), told["latency_ms"], told["interpreter"])


@contextmanager
def bench(
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[str],
    policy: ResizePolicy,
    *,
    python: Path | None = None,
    output_kind: str = "logits",
) -> Iterator[Bench]:
    """Where models are measured.

    Args:
        images: one or more arrays, each uint8, (photos, height, width, 3), which may lie on disk; at least one photo.
        python: a Python with numpy, Pillow and the interpreter that will serve; this one by default.
    """
    with TemporaryDirectory(prefix="bucketlens-bench-") as name:
        folder = Path(name)
        shape = (sum(len(part) for part in images), *images[0].shape[1:])
        # Not through a mapping: a full disk would end the process instead of raising.
        with (folder / worker.IMAGES_NAME).open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for image in (image for part in images for image in part):
                file.write(image.tobytes())
        request = {"labels": list(labels), "resize": policy.value, "output": output_kind}
        (folder / worker.REQUEST_NAME).write_text(json.dumps(request), encoding="utf-8")
        yield Bench(folder, python or Path(sys.executable))


def _environment() -> dict[str, str]:
    """This one, with the sources of the two packages in front: another Python has not installed them."""
    roots = [str(Path(str(classifier.__file__)).parents[1]), str(Path(__file__).parents[2])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(roots)), "PYTHONDONTWRITEBYTECODE": "1"}
