"""The gallery on disk: a folder that any web server can serve, or one file that can be sent."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bucketlens.concurrency import as_done
from bucketlens.gallery.data import Chunk, Picture
from bucketlens.gallery.page import ASSETS, Page, asset, render
from bucketlens.gallery.thumbnails import Thumbnails, Unavailable
from classifier.errors import UserError
from model_build.files import staged_folder, write_atomic

_AT_ONCE = 8

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Results:
    """What is written: the attributes are those of :class:`bucketlens.gallery.page.Page`."""

    title: str
    made_at: str
    chunks: list[Chunk]
    limit: int | None = None
    queue: Sequence[int] = ()
    drift: str | None = None


def write_folder(out: Path, results: Results, thumbnails: Thumbnails, progress: Progress) -> Counter[str]:
    """Write ``index.html``, script, style and ``thumbnails/`` to the new folder ``out``.

    Args:
        progress: called with pictures done and all pictures.

    Returns:
        How often each reason left an image without a picture.

    Raises:
        UserError: ``out`` is taken or cannot be written.
        BotoCoreError, ClientError: S3 does not answer.
    """
    with staged_folder(out) as staging:
        folder = staging / "thumbnails"
        folder.mkdir()
        missing = _make(results, thumbnails, progress, lambda name, made: (folder / f"{name}.jpg").write_bytes(made))
        for name in ASSETS:
            (staging / name).write_bytes(asset(name))
        (staging / "index.html").write_text(render(_page(results)), encoding="utf-8")
    return missing


def write_file(out: Path, results: Results, thumbnails: Thumbnails, progress: Progress) -> Counter[str]:
    """Write everything to the one HTML file ``out``, replacing it; otherwise as :func:`write_folder`."""
    embedded: dict[str, str] = {}

    def embed(name: str, made: bytes) -> None:
        embedded[name] = base64.b64encode(made).decode("ascii")

    missing = _make(results, thumbnails, progress, embed)
    html = render(_page(results, embedded), self_contained=True)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out.absolute(), html.encode())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    return missing


def _page(results: Results, thumbnails: dict[str, str] | None = None) -> Page:
    documents = tuple(chunk.document for chunk in results.chunks)
    return Page(
        results.title,
        False,
        documents,
        thumbnails,
        results.made_at,
        results.limit,
        results.queue,
        drift=results.drift,
    )


def _make(
    results: Results, thumbnails: Thumbnails, progress: Progress, keep: Callable[[str, bytes], object]
) -> Counter[str]:
    """Hand each picture's id and JPEG to ``keep``, and take the ids of those that cannot be made out of the results."""
    missing: Counter[str] = Counter()
    absent: set[str] = set()
    for picture, made in _pictures(results.chunks, thumbnails, progress):
        if isinstance(made, Unavailable):
            missing[made.reason] += 1
            absent.add(picture.id)
        else:
            keep(picture.id, made)
    for chunk in results.chunks:
        columns = chunk.document["columns"]
        columns["picture"] = [None if name in absent else name for name in columns["picture"]]
    return missing


def _pictures(
    chunks: list[Chunk], thumbnails: Thumbnails, progress: Progress
) -> Iterator[tuple[Picture, bytes | Unavailable]]:
    """Every picture as it is done, with a bounded number of images in flight."""
    every = {name: picture for chunk in chunks for name, picture in chunk.pictures.items()}
    for done, made in enumerate(as_done(thumbnails.get, every.values(), _AT_ONCE), start=1):
        progress(done, len(every))
        yield made
