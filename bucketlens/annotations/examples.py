"""What every format is made of: an image in the bucket, what a model says it is, and what a person says it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from bucketlens.gallery.data import Picture
from bucketlens.results import Item
from bucketlens.reviews import Decision, Review

_LONGEST_STEM = 80


@dataclass(frozen=True)
class Example:
    """An image in the state (ETag) that was classified or decided about.

    Attributes:
        label: what a person says; None for an image that nobody has decided about.
        top: what the model says, ``(label, confidence)``, best first; empty for an image without a prediction.
    """

    image_uri: str
    etag: str
    label: str | None = None
    reviewer: str | None = None
    decided_at: str | None = None
    top: tuple[tuple[str, float], ...] = ()
    model_version: str | None = None

    @classmethod
    def of_review(cls, review: Review) -> Self:
        top = () if review.predicted_label is None else ((review.predicted_label, review.predicted_confidence or 0.0),)
        return cls(
            review.image_uri,
            review.etag,
            review.label,
            review.reviewer,
            review.decided_at,
            top,
            review.model_version,
        )

    @classmethod
    def of_result(cls, item: Item) -> Self:
        top = tuple((one["label"], one["confidence"]) for one in item["top"])
        return cls(item["image_uri"], item["etag"], top=top, model_version=item["model_version"])

    @property
    def picture(self) -> Picture:
        bucket, _, key = self.image_uri.removeprefix("s3://").partition("/")
        return Picture(bucket, key, self.etag)

    @property
    def name(self) -> str:
        """A file name that any system takes, another one for every image and every content of it."""
        path = PurePosixPath(self.picture.key)
        stem = re.sub(r"[^\w-]+", "_", path.stem, flags=re.ASCII)[:_LONGEST_STEM].strip("_-")
        suffix = path.suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", path.suffix) else ""
        return f"{stem or 'image'}-{self.picture.id[:12]}{suffix}"


@dataclass(frozen=True)
class Annotation:
    """What a file of another tool says about an image.

    Attributes:
        where: its place in the file, for messages.
        image: a URI, a key, or the name that an export has given it, with or without suffix.
        labels: one, where it can be taken as a decision.
        etag: of the content that was looked at, where the file tells it.
    """

    where: str
    image: str
    labels: tuple[str, ...]
    etag: str | None = None
    decision: Decision = Decision.CORRECTED
    reviewer: str | None = None


def decided(reviews: Iterable[Review], prefix: str = "") -> list[Example]:
    """Every image below the URI ``prefix`` whose label is known, by URI."""
    known = (one for one in reviews if one.label is not None and one.image_uri.startswith(prefix))
    return sorted(map(Example.of_review, known), key=lambda example: example.image_uri)
