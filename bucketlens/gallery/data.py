"""The table's items as the page's script reads them: one array a column, in chunks of some thousand results."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bucketlens.results import Item

# Columns have the names of the attributes in the table, and those that bucketlens.reviews.annotated adds.
ATTRIBUTES = (
    "image_uri",
    "status",
    "label",
    "confidence",
    "needs_review",
    "review_reason",
    "novelty",
    "error_code",
    "error_message",
    "model_name",
    "model_version",
    "classified_at",
    "size_bytes",
    "decision",
    "decided_label",
    "reviewer",
    "decided_at",
)
CHUNK = 1000
LIMIT = 100_000
"""As many results as a browser holds without trouble; some 250 bytes each."""


@dataclass(frozen=True)
class Picture:
    """The image behind a thumbnail, in exactly the state that was classified."""

    bucket: str
    key: str
    etag: str
    version_id: str | None = None

    @property
    def id(self) -> str:
        """24 hexadecimal digits: a file name that no key can influence, and another one when the content changes."""
        named = "\n".join((self.bucket, self.etag, self.version_id or "", self.key))
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:24]

    @classmethod
    def of(cls, item: Item) -> Picture | None:
        """None for a rejected image: the function's decoder has refused it, so it is not fetched again."""
        if item.get("status") == "rejected" or not item.get("etag"):
            return None
        bucket, _, key = item["image_uri"].removeprefix("s3://").partition("/")
        return cls(bucket, key, item["etag"], item.get("version_id"))


@dataclass(frozen=True)
class Chunk:
    """Some results.

    Attributes:
        document: ``count`` and ``columns``. A column is an array of values, or ``{"values", "codes"}`` where values
            repeat: ``codes`` are indexes into ``values``, -1 for none. ``top`` has ``codes`` of the form
            ``[label, confidence, label, confidence, ...]`` for each result, best first. ``picture`` is the thumbnail's
            id or null. A column without any value is left out.
        pictures: the images of the thumbnails, by id.
    """

    document: dict[str, Any]
    pictures: dict[str, Picture]


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterator[Chunk]:
    """The items in chunks of ``size``; none for no items."""
    remaining = iter(items)
    while some := list(itertools.islice(remaining, size)):
        yield chunk(some)


def chunk(items: list[Item]) -> Chunk:
    """The items as one chunk."""
    pictures = [Picture.of(item) for item in items]
    columns: dict[str, Any] = {
        name: _column([item.get(name) for item in items])
        for name in ATTRIBUTES
        if any(item.get(name) is not None for item in items)
    }
    columns["top"] = _top([item.get("top", []) for item in items])
    columns["picture"] = [picture.id if picture else None for picture in pictures]
    return Chunk({"count": len(items), "columns": columns}, {picture.id: picture for picture in pictures if picture})


def _column(values: list[Any]) -> Any:
    if not all(value is None or isinstance(value, str) for value in values):
        return values
    codes: dict[str, int] = {}
    coded = [-1 if value is None else codes.setdefault(value, len(codes)) for value in values]
    return {"values": list(codes), "codes": coded} if len(codes) <= len(values) // 2 else values


def _top(predictions: list[list[dict[str, Any]]]) -> dict[str, Any]:
    codes: dict[str, int] = {}
    coded = [
        [entry for one in top for entry in (codes.setdefault(one["label"], len(codes)), one["confidence"])]
        for top in predictions
    ]
    return {"values": list(codes), "codes": coded}
