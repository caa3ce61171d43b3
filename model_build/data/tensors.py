"""Photos -> uint8 tensors, in parallel, through the function's own ``imaging`` and nothing else.

They are kept in memory, or, in a training, in a file that is read a batch at a time: then the data may be larger than
memory.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier.errors import ImageRejected
from classifier.imaging import ResizePolicy, decode
from model_build.data.dataset import Photo
from model_build.data.similarity import SIDE, copies_among, perceptual_hash, signature

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

_AHEAD = 64  # photos decoded before they are asked for: enough to keep the cores busy, little memory


@dataclass(frozen=True)
class Unreadable:
    """A file that the function would reject, and why."""

    name: str
    code: str
    reason: str


class Images(Protocol):
    """Decoded photos by row, wherever they lie."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(photos, height, width, 3)."""

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Those rows, in that order; uint8, (rows, height, width, 3)."""


@dataclass(frozen=True)
class ArrayImages:
    """In memory."""

    array: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        return self.array[rows]


@dataclass(frozen=True)
class FileImages:
    """In a file of nothing but pixels. Read row by row with ``pread``: mapped pages would count as memory of ours."""

    path: Path
    shape: tuple[int, ...]

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Raises OSError when the file has gone or has been cut."""
        result = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        size = result[0].nbytes if len(rows) else 0
        with self.path.open("rb", buffering=0) as file:
            for target, row in zip(result, rows, strict=True):
                data = os.pread(file.fileno(), size, int(row) * size)
                if len(data) < size:
                    raise OSError(f"{self.path} is truncated")
                target[...] = np.frombuffer(data, dtype=np.uint8).reshape(target.shape)
        return result


@dataclass(frozen=True)
class SelectedImages:
    """Some rows of others, in the order of ``rows``."""

    source: Images
    rows: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.source.shape[1:])

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        return self.source.take(self.rows[rows])


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

    def targets(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """The index of each photo's label in ``labels``."""
        return targets_of(self.photos, labels)

    @property
    def fingerprint(self) -> str:
        """:func:`fingerprint_of` these photos."""
        return fingerprint_of(self.photos, self.sha256)


def targets_of(photos: Sequence[Photo], labels: Sequence[str]) -> NDArray[np.int64]:
    index = {label: position for position, label in enumerate(labels)}
    return np.array([index[photo.label] for photo in photos], dtype=np.int64)


def fingerprint_of(photos: Sequence[Photo], digests: Sequence[str]) -> str:
    """sha256 over the names and contents of all photos: the same for the same data, wherever it lies."""
    lines = sorted(f"{photo.name}\0{digest}\n" for photo, digest in zip(photos, digests, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def decode_photos(
    photos: Iterable[Photo],
    *,
    height: int,
    width: int,
    policy: ResizePolicy,
    draft_margin: int,
    progress: Progress = lambda *_: None,
) -> tuple[TensorSet, list[Unreadable]]:
    """Decode ``photos`` into memory, as :func:`classifier.imaging.decode` does with these arguments.

    Returns:
        What could be decoded, in the order given, and what could not with the reason.
    """
    everything = list(photos)
    images = np.empty((len(everything), height, width, 3), dtype=np.uint8)
    kept: list[Photo] = []
    digests: list[str] = []
    unreadable: list[Unreadable] = []
    for photo, result in _decoded(everything, height, width, policy, draft_margin, progress):
        if isinstance(result, Unreadable):
            unreadable.append(result)
        else:
            images[len(kept)], digest = result
            kept.append(photo)
            digests.append(digest)
    return TensorSet(tuple(kept), images[: len(kept)], tuple(digests)), unreadable


@dataclass(frozen=True)
class StoredPhotos:
    """Decoded photos in a file; :attr:`sha256` as in :class:`TensorSet`."""

    photos: tuple[Photo, ...]
    images: FileImages
    sha256: tuple[str, ...]

    def copies(self, policy: ResizePolicy) -> list[list[int]]:
        """Groups of rows of photos that are copies of each other, as :func:`model_build.data.similarity.copies_among`
        says.

        Args:
            policy: by which they were decoded. Where it did not keep the whole picture and nothing else, the files are
                read again: equal borders would make different pictures alike.
        """

        def look(row: int) -> tuple[int, bytes]:
            if policy is ResizePolicy.STRETCH:
                whole = self.images.take(np.array([row]))[0]
                size = (SIDE, SIDE)
                tensor = np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BILINEAR))
            else:
                tensor = decode(self.photos[row].path.read_bytes(), height=SIDE, width=SIDE).tensor
            return perceptual_hash(tensor), signature(tensor)

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            return copies_among(self.sha256, list(pool.map(look, range(len(self.photos)))))


def store_photos(
    photos: Iterable[Photo],
    path: Path,
    *,
    size: int,
    policy: ResizePolicy,
    draft_margin: int,
    progress: Progress = lambda *_: None,
) -> tuple[StoredPhotos, list[Unreadable]]:
    """Decode ``photos`` to squares of ``size`` pixels into ``path``, holding a few of them in memory at a time.

    Raises:
        OSError: the file cannot be written.
    """
    everything = list(photos)
    kept: list[Photo] = []
    digests: list[str] = []
    unreadable: list[Unreadable] = []
    with path.open("wb") as file:
        for photo, result in _decoded(everything, size, size, policy, draft_margin, progress):
            if isinstance(result, Unreadable):
                unreadable.append(result)
            else:
                pixels, digest = result
                file.write(pixels.tobytes())
                kept.append(photo)
                digests.append(digest)
    images = FileImages(path, (len(kept), size, size, 3))
    return StoredPhotos(tuple(kept), images, tuple(digests)), unreadable


def _decoded(
    photos: Sequence[Photo], height: int, width: int, policy: ResizePolicy, draft_margin: int, progress: Progress
) -> Iterator[tuple[Photo, tuple[NDArray[np.uint8], str] | Unreadable]]:
    """Each photo with its pixels and digest or what is wrong, in order, by one thread a core (Pillow releases the
    interpreter lock while it decodes and resizes) and never more than a few ahead of the caller."""

    def one(photo: Photo) -> tuple[NDArray[np.uint8], str] | Unreadable:
        try:
            data = photo.path.read_bytes()
            tensor = decode(data, height=height, width=width, policy=policy, draft_margin=draft_margin).tensor
        except ImageRejected as error:
            return Unreadable(photo.name, error.code, str(error))
        except OSError as error:
            return Unreadable(photo.name, "file.unreadable", error.strerror or str(error))
        return tensor, hashlib.sha256(data).hexdigest()

    waiting: deque[Future[tuple[NDArray[np.uint8], str] | Unreadable]] = deque()
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        following = iter(photos)
        for done, photo in enumerate(photos, start=1):
            while len(waiting) < _AHEAD and (upcoming := next(following, None)) is not None:
                waiting.append(pool.submit(one, upcoming))
            yield photo, waiting.popleft().result()
            progress(done, len(photos))


@dataclass(frozen=True)
class Material:
    """What is learnt from.

    Attributes:
        training: photos a little larger than the model's input where crops are cut from them.
        validation: photos as the model will be served them.
        training_targets, validation_targets: int64, positions in ``labels``.
    """

    labels: tuple[str, ...]
    training: Images
    training_targets: NDArray[np.int64]
    validation: Images
    validation_targets: NDArray[np.int64]
