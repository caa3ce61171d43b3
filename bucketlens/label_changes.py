"""Which images of a bucket change their label between two models, with the function's own decoding and bounds."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bucketlens.concurrency import as_done
from bucketlens.gallery.data import Picture
from bucketlens.predict import workers_of
from classifier.classification import review_reason
from classifier.errors import ImageRejected, UserError
from classifier.events import ImageRef
from classifier.images import ImageReader
from classifier.imaging import Limits, check_size
from classifier.model import Prediction
from classifier.pool import WorkerPool
from model_build.data.boto_s3 import BotoS3
from model_build.data.remote import DataUri, s3_client
from model_build.data.tensors import Progress, Unreadable
from model_build.evaluation.comparison import Change, Difference, in_order
from model_build.evaluation.opening import open_model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LIMITS = Limits()
_IMAGE_SECONDS = 120.0


@dataclass(frozen=True)
class LabelChanges:
    """What was compared, and how it ended.

    Attributes:
        source: the images' place.
        difference: ``photo`` of a change is the object's key; nobody knows the truth.
        pictures: of the images that change, by key.
        for_review: whether each of the two models marks its prediction for review, of the images that change, by key.
        listed: how many images there were, of which a sample may have been compared.
    """

    source: DataUri
    difference: Difference
    pictures: dict[str, Picture]
    for_review: dict[str, tuple[bool, bool]]
    listed: int

    @property
    def flows(self) -> list[tuple[tuple[str, str], int]]:
        """How many images change from which label to which, most first."""
        return Counter((change.a, change.b) for change in self.difference.changes).most_common()

    @property
    def sampled(self) -> bool:
        return self.difference.photos + len(self.difference.unreadable) < self.listed

    @property
    def rejected(self) -> Counter[str]:
        """How many images neither model can classify, by error code."""
        return Counter(one.code for one in self.difference.unreadable)


@dataclass(frozen=True)
class _Stored:
    key: str
    etag: str
    size_bytes: int


def find_label_changes(
    a: str,
    b: str,
    prefix: str,
    *,
    at: str | None = None,
    limit: int | None = None,
    step: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
    connect: Callable[[], S3Client] = s3_client,
) -> LabelChanges:
    """Classify the images below ``prefix`` with two models. Holds no more files in memory than are decoded at once.

    Args:
        a, b: bundle or run folders, versions, or places in S3, as :func:`model_build.evaluation.opening.open_model`
            takes them.
        prefix: ``s3://bucket/incoming/...``.
        at: the model location that bare versions belong to.
        limit: compare only this many images: a sample of all keys, the same one each time.

    Raises:
        UserError: no such model, or no image that can be classified.
        ModelUnavailable, ModelIntegrityError, ModelIncompatibleError: as the function would raise them.
        StorageUnavailable, StorageThrottled, ClientError, BotoCoreError: S3 does not answer or refuses.
    """
    source = DataUri.parse(prefix)
    s3 = connect()
    first, second = (open_model(one, at=at, client=lambda: s3) for one in (a, b))
    step("listing images")
    images = list(_listed(s3, source))
    listed = len(images)
    if limit is not None:
        images = sorted(sorted(images, key=_shuffled)[:limit], key=lambda image: image.key)
    step("classifying")
    changes: list[Change] = []
    rejected: list[Unreadable] = []
    etags: dict[str, str] = {}
    for_review: dict[str, tuple[bool, bool]] = {}
    at_once = os.cpu_count() or 1
    with workers_of(first, at_once) as before, workers_of(second, at_once) as after:
        work = _Work(ImageReader(BotoS3(s3)), source.bucket, (before, after))
        # While some are decoded, others are fetched.
        for done, (image, answer) in enumerate(as_done(work.classify, images, 2 * at_once), start=1):
            if isinstance(answer, Unreadable):
                rejected.append(answer)
            elif answer[0].best.label != answer[1].best.label:
                changes.append(_change(image.key, answer[0].best, answer[1].best))
                for_review[image.key] = (answer[0].for_review, answer[1].for_review)
                etags[image.key] = image.etag
            progress(done, len(images))
    rejected.sort(key=lambda one: one.name)
    if len(rejected) == len(images):
        why = f"the first is rejected: {rejected[0].code}: {rejected[0].reason}" if rejected else "there are none"
        raise UserError(f"no image below {source} can be classified; {why}")
    compared = len(images) - len(rejected)
    return LabelChanges(
        source,
        Difference(first.name, second.name, compared, in_order(changes), 0, 0, tuple(rejected)),
        {key: Picture(source.bucket, key, etag) for key, etag in etags.items()},
        for_review,
        listed,
    )


def _shuffled(image: _Stored) -> bytes:
    return hashlib.sha256(image.key.encode(errors="surrogatepass")).digest()


@dataclass(frozen=True)
class _Answer:
    best: Prediction
    for_review: bool

    @classmethod
    def of(cls, pool: WorkerPool, data: bytes) -> Self:
        seen = pool.classify(data, 1, _IMAGE_SECONDS)
        return cls(seen.top[0], review_reason(seen.top[0], seen.novelty, pool.manifest) is not None)


@dataclass(frozen=True)
class _Work:
    images: ImageReader
    bucket: str
    pools: tuple[WorkerPool, WorkerPool]

    def classify(self, image: _Stored) -> tuple[_Answer, _Answer] | Unreadable:
        """What each model says, or why there is nothing to say."""
        try:
            check_size(image.size_bytes, _LIMITS)
            reference = ImageRef(self.bucket, image.key)
            fetched = self.images.fetch(reference, _LIMITS.max_bytes, time_left=lambda: _IMAGE_SECONDS)
            check_size(fetched.size_bytes, _LIMITS)  # it may have been replaced since it was listed
            before, after = (_Answer.of(pool, fetched.data) for pool in self.pools)
        except ImageRejected as error:
            return Unreadable(image.key, error.code, error.message)
        return before, after


def _change(key: str, before: Prediction, after: Prediction) -> Change:
    return Change(key, None, before.label, round(before.confidence, 4), after.label, round(after.confidence, 4))


def _listed(s3: S3Client, source: DataUri) -> Iterator[_Stored]:
    """Every object below the place but markers of folders."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=source.bucket, Prefix=source.prefix):
        for found in page.get("Contents", []):
            if not found["Key"].endswith("/"):
                yield _Stored(found["Key"], found["ETag"].strip('"'), found["Size"])
