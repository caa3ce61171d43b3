"""Files -> facts and thumbnails, in parallel, through the function's own decoding; what is known is not read again."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

from classifier.errors import ImageRejected
from classifier.imaging import decode, sniff
from model_build.data.dataset import Photo, PhotoFolder
from model_build.data.similarity import SIDE, perceptual_hash, signature
from model_build.data.tensors import Progress
from model_build.inspection.facts import FactsCache, Measured, PhotoFacts, Refused, Stamp, Thumbnail, UnreadableFile
from model_build.inspection.photo_quality import brightness, sharpness
from model_build.native import quiet_stderr

_BATCH = 256  # files read between two writes to the cache: what a killed inspection loses
_THUMBNAIL = 112
_WEBP_QUALITY = 72

Given = TypeVar("Given")


@dataclass(frozen=True)
class Reading:
    """All files of a data set, by the order of their names; ``cached`` of them were known already."""

    photos: tuple[PhotoFacts, ...]
    unreadable: tuple[UnreadableFile, ...]
    cached: int


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep off the screen what Pillow warns of, and what libtiff prints by itself, over damaged files.

    Whether a file can be used, and why not, is in its facts.
    """
    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")
        yield


def read_photos(folder: PhotoFolder, cache: FactsCache, progress: Progress) -> Reading:
    """Read every file of ``folder``. Memory grows by about a kilobyte a file; pictures are let go at once."""
    known = cache.facts_below(folder.root)
    total = len(folder.photos)
    photos: list[PhotoFacts] = []
    unreadable: list[UnreadableFile] = []
    cached = done = 0
    with quiet_decoders(), ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for batch in _batches(folder.photos, _BATCH):
            fresh: list[tuple[Stamp, Measured | Refused]] = []
            for photo, (stamp, fact, new) in zip(
                batch, pool.map(lambda one: _known_or_read(one, known), batch), strict=True
            ):
                size = stamp.size if stamp else 0
                if isinstance(fact, Measured):
                    photos.append(PhotoFacts(photo, size, fact))
                else:
                    unreadable.append(UnreadableFile(photo, size, fact))
                cached += not new
                if new and stamp and not (isinstance(fact, Refused) and fact.code == _NOT_READ):
                    fresh.append((stamp, fact))
                done += 1
                progress(done, total)
            cache.keep(fresh)
    there = {str(photo.path.absolute()) for photo in folder.photos}
    cache.forget(stamp for stamp in known if stamp.path not in there)
    return Reading(tuple(photos), tuple(unreadable), cached)


_NOT_READ = "file.unreadable"  # an accident of the file system: tried again next time


def _known_or_read(
    photo: Photo, known: dict[Stamp, Measured | Refused]
) -> tuple[Stamp | None, Measured | Refused, bool]:
    try:
        stamp = Stamp.of(photo.path)
        fact = known.get(stamp)
        return (stamp, measure(photo.path.read_bytes()), True) if fact is None else (stamp, fact, False)
    except OSError as error:
        return None, Refused(_NOT_READ, error.strerror or str(error)), True


def measure(data: bytes) -> Measured | Refused:
    """Everything that one decode of a file's content tells."""
    try:
        decoded = decode(data, height=SIDE, width=SIDE)
    except ImageRejected as error:
        return Refused(error.code, str(error))
    return Measured(
        sha256=hashlib.sha256(data).hexdigest(),
        format=decoded.format,
        mode=_mode(data),
        width=decoded.width,
        height=decoded.height,
        hash=perceptual_hash(decoded.tensor),
        signature=signature(decoded.tensor),
        brightness=brightness(decoded.tensor),
        sharpness=sharpness(decoded.tensor),
    )


def thumbnails(wanted: Sequence[PhotoFacts], cache: FactsCache, progress: Progress) -> Iterator[tuple[str, Thumbnail]]:
    """Yield (sha256, thumbnail) for each of ``wanted``, in order; a file that has vanished meanwhile is left out."""
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for batch in _batches(wanted, _BATCH):
            made = {one.measured.sha256: cache.thumbnail(one.measured.sha256) for one in batch}
            missing = [one for one in batch if made[one.measured.sha256] is None]
            fresh = dict(zip((one.measured.sha256 for one in missing), pool.map(_thumbnail, missing), strict=True))
            cache.keep_thumbnails((sha256, one) for sha256, one in fresh.items() if one is not None)
            for one in batch:
                done += 1
                progress(done, len(wanted))
                thumbnail = made[one.measured.sha256] or fresh.get(one.measured.sha256)
                if thumbnail is not None:
                    yield one.measured.sha256, thumbnail


def _thumbnail(facts: PhotoFacts) -> Thumbnail | None:
    try:
        tensor = decode(facts.photo.path.read_bytes(), height=SIDE, width=SIDE).tensor
    except (OSError, ImageRejected):
        return None
    width, height = facts.measured.width, facts.measured.height
    scale = _THUMBNAIL / max(width, height)
    # The tensor shows the whole picture as a square; this gives it its shape back.
    size = max(8, round(width * scale)), max(8, round(height * scale))
    buffer = io.BytesIO()
    Image.fromarray(tensor).resize(size, Image.Resampling.BILINEAR).save(buffer, "WEBP", quality=_WEBP_QUALITY)
    return Thumbnail(buffer.getvalue(), *size)


def _mode(data: bytes) -> str:
    """Pillow's name for how the pixels are stored; of the header alone, once the file is known to decode."""
    with Image.open(io.BytesIO(data), formats=[sniff(data) or ""]) as image:
        return image.mode


def _batches(items: Sequence[Given], size: int) -> Iterable[Sequence[Given]]:
    return (items[start : start + size] for start in range(0, len(items), size))
