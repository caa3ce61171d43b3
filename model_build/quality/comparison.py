"""Two models on the same photos: the gate's comparison with the live version, and ``bucketlens model diff``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import ModelUri
from classifier.errors import BucketlensError, UserError
from classifier.loader import BundleLoader
from classifier.model import Model
from model_build.bundles.bundling import load_bundle
from model_build.bundles.origin import PhotosMissing, find_test_photos
from model_build.bundles.releases import Live
from model_build.conversion.candidate import load_quietly, predict_all
from model_build.data.dataset import Photo, scan
from model_build.data.tensors import Progress, Unreadable, decode_photos
from model_build.quality.gate import Check, Limits, live_check
from model_build.quality.opening import Opened

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NAME = "live"


@dataclass(frozen=True)
class Change:
    """A photo on which two models differ. ``truth`` is None where its folder is no label of either."""

    photo: str
    truth: str | None
    a: str
    a_confidence: float
    b: str
    b_confidence: float


@dataclass(frozen=True)
class Difference:
    """``won`` and ``lost`` count photos with a known label that only B, or only A, has right."""

    a: str
    b: str
    photos: int
    changes: tuple[Change, ...]
    won: int
    lost: int
    unreadable: tuple[Unreadable, ...]

    def to_document(self) -> dict[str, Any]:
        return {**asdict(self), "changed": len(self.changes)}


@dataclass(frozen=True)
class _Answers:
    photos: tuple[Photo, ...]
    sha256: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: NDArray[np.float32]
    unreadable: tuple[Unreadable, ...]

    @property
    def right(self) -> list[bool]:
        return [photo.label == said for photo, said in zip(self.photos, self.predicted, strict=True)]


def diff(a: Opened, b: Opened, data: Path, *, progress: Progress = lambda *_: None) -> Difference:
    """Which photos of ``data`` (a folder per class, or just photos) change their label from model A to model B.

    Raises:
        UserError: ``data`` holds no readable photo.
    """
    photos = _photos(data)
    before, after = (_answers(one.model, photos, progress) for one in (a, b))
    if not before.photos:
        raise UserError(f"none of the {len(photos)} files in {data} is a readable photo")
    known = {*before.labels, *after.labels}
    changes = []
    won = lost = 0
    for row, photo in enumerate(before.photos):
        old, new = before.predicted[row], after.predicted[row]
        if old == new:
            continue
        truth = photo.label if photo.label in known else None
        won += truth == new
        lost += truth == old
        changes.append(
            Change(photo.name, truth, old, _rounded(before.confidence[row]), new, _rounded(after.confidence[row]))
        )
    changes.sort(key=lambda change: (-(change.a_confidence + change.b_confidence), change.photo))
    return Difference(a.name, b.name, len(before.photos), tuple(changes), won, lost, before.unreadable)


def compare_with_live(
    bundle: Path,
    live: Live,
    where: ModelUri,
    client: S3Client,
    *,
    data: Path | None = None,
    limits: Limits = Limits(),  # noqa: B008
    progress: Progress = lambda *_: None,
) -> Check:
    """The gate's check against the live version, on the bundle's test photos.

    What stands in the way of a comparison (no live version, no photos, other classes, a live version that cannot be
    loaded) leaves the check not judged, and its detail says so: a broken live version must not block its own repair.

    Raises:
        UserError: ``data`` is given and is no folder of photos.
    """
    manifest, content = load_bundle(bundle)
    if live.version is None:
        return Check(_NAME, None, "nothing is live yet")
    if live.version == manifest.version:
        return Check(_NAME, None, "this is the live version")
    try:
        test = find_test_photos(bundle, data)
    except PhotosMissing as reason:
        return Check(_NAME, None, f"not compared with the live {live.version}: {reason}")
    try:
        fetched = BundleLoader(ModelUri(where.bucket, where.prefix, live.version), client).load()
        theirs = load_quietly(fetched.model, fetched.manifest)
        if set(theirs.manifest.labels) != set(manifest.labels):
            return Check(_NAME, None, f"not compared with the live {live.version}: it has other classes")
        on_live = _answers(theirs, test.photos, progress)
    except BucketlensError as error:
        return Check(_NAME, None, f"not compared with the live {live.version}: it cannot be run: {error}")
    on_new = _answers(load_quietly(content, manifest), test.photos, progress)
    if test.digests is not None and on_new.sha256 != tuple(test.digests):
        return Check(_NAME, None, f"not compared with the live {live.version}: the test photos have changed")
    if not on_new.photos:
        return Check(_NAME, None, f"not compared with the live {live.version}: no test photo can be read")
    other_data = manifest.dataset.get("fingerprint") != fetched.manifest.dataset.get("fingerprint")
    note = "; the live one was made from other photos, among which some of these may have been" if other_data else ""
    return live_check(live.version, on_new.right, on_live.right, limits, note)


def _answers(model: Model, photos: Sequence[Photo], progress: Progress) -> _Answers:
    manifest = model.manifest
    spec = manifest.input
    tensors, unreadable = decode_photos(photos, height=spec.height, width=spec.width, policy=manifest.resize)
    probabilities = predict_all(model, tensors.images, progress)
    predicted = tuple(manifest.labels[index] for index in probabilities.argmax(axis=1)) if len(tensors) else ()
    confidence = probabilities.max(axis=1) if len(tensors) else np.zeros(0, np.float32)
    return _Answers(tensors.photos, tensors.sha256, manifest.labels, predicted, confidence, tuple(unreadable))


def _photos(data: Path) -> tuple[Photo, ...]:
    """A folder per class, or a folder of photos, whose folders are then no labels."""
    try:
        found = scan(data).photos
    except UserError:
        if not data.is_dir():
            raise
        found = ()
    loose = [path for path in sorted(data.iterdir()) if path.is_file() and not path.name.startswith(".")]
    photos = (*found, *(Photo(path, path.name, "") for path in loose))
    if not photos:
        raise UserError(f"{data} holds no photos")
    return photos


def _rounded(confidence: Any) -> float:
    return round(float(confidence), 6)
