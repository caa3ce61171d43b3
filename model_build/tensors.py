"""Photos on disk -> uint8 tensors in memory, in parallel, through the function's own ``imaging`` and nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifier.errors import ImageRejected
from classifier.imaging import ResizePolicy, decode
from model_build.dataset import Photo

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Unreadable:
    """A file that the function would reject, and why."""

    name: str
    code: str
    reason: str


@dataclass(frozen=True)
class TensorSet:
    """Decoded photos.

    Attributes:
        photos: in the order of the rows.
        images: uint8, (photos, height, width, 3), RGB.
        sha256: hexadecimal digest of each file's content.
    """

    photos: tuple[Photo, ...]
    images: NDArray[np.uint8]
    sha256: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.photos)

    def subset(self, rows: Sequence[int]) -> TensorSet:
        return TensorSet(
            tuple(self.photos[row] for row in rows),
            self.images[np.asarray(rows, dtype=np.intp)],
            tuple(self.sha256[row] for row in rows),
        )

    def targets(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """The index of each photo's label in ``labels``."""
        index = {label: position for position, label in enumerate(labels)}
        return np.array([index[photo.label] for photo in self.photos], dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """sha256 over the names and contents of all photos: the same for the same data, wherever it lies."""
        lines = sorted(f"{photo.name}\0{digest}\n" for photo, digest in zip(self.photos, self.sha256, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def decode_photos(
    photos: Iterable[Photo],
    *,
    height: int,
    width: int,
    policy: ResizePolicy,
    progress: Progress = lambda *_: None,
) -> tuple[TensorSet, list[Unreadable]]:
    """Decode ``photos`` with one thread a core (Pillow releases the interpreter lock while it decodes and resizes).

    Returns:
        What could be decoded, in the order given, and what could not with the reason.
    """
    everything = list(photos)

    def one(photo: Photo) -> tuple[NDArray[np.uint8], str] | Unreadable:
        try:
            data = photo.path.read_bytes()
            tensor = decode(data, height=height, width=width, policy=policy).tensor
        except ImageRejected as error:
            return Unreadable(photo.name, error.code, str(error))
        except OSError as error:
            return Unreadable(photo.name, "file.unreadable", error.strerror or str(error))
        return tensor, hashlib.sha256(data).hexdigest()

    images = np.empty((len(everything), height, width, 3), dtype=np.uint8)
    kept: list[Photo] = []
    digests: list[str] = []
    unreadable: list[Unreadable] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, (photo, result) in enumerate(zip(everything, pool.map(one, everything), strict=True), start=1):
            if isinstance(result, Unreadable):
                unreadable.append(result)
            else:
                images[len(kept)], digest = result
                kept.append(photo)
                digests.append(digest)
            progress(done, len(everything))
    return TensorSet(tuple(kept), images[: len(kept)], tuple(digests)), unreadable
