"""Two models on the same photos: ``bucketlens model diff``, and what the gate compares with the live version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MULTI_LABEL
from classifier.errors import UserError
from classifier.model import Model
from model_build.data.dataset import Photo, scan
from model_build.data.tensors import Progress, Unreadable, decode_photos
from model_build.evaluation.opening import OpenBundle
from model_build.tflite.running import predict_all


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
class Answers:
    photos: tuple[Photo, ...]
    sha256: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: NDArray[np.float32]
    unreadable: tuple[Unreadable, ...]

    @property
    def right(self) -> list[bool]:
        return [photo.label == said for photo, said in zip(self.photos, self.predicted, strict=True)]


def diff(a: OpenBundle, b: OpenBundle, data: Path, *, progress: Progress = lambda *_: None) -> Difference:
    """Which photos of ``data`` (a folder per class, or just photos) change their label from model A to model B.

    Raises:
        UserError: ``data`` holds no readable photo, or a model is a multi-label one.
    """
    for one in (a, b):
        if one.manifest.output.kind == MULTI_LABEL:
            raise UserError(f"{one.name} gives a photo any number of labels; diff compares models that give it one")
    photos = _photos(data)
    before, after = (answers_of(one.model, photos, progress) for one in (a, b))
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
    return Difference(a.name, b.name, len(before.photos), in_order(changes), won, lost, before.unreadable)


def in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Those first on which both models are sure: one of them is wrong, and nobody would be asked."""
    return tuple(sorted(changes, key=lambda change: (-(change.a_confidence + change.b_confidence), change.photo)))


def answers_of(model: Model, photos: Sequence[Photo], progress: Progress) -> Answers:
    manifest = model.manifest
    spec = manifest.input
    tensors, unreadable = decode_photos(
        photos,
        height=spec.height,
        width=spec.width,
        policy=manifest.resize,
        draft_margin=manifest.draft_margin,
    )
    probabilities = predict_all(model, tensors.images, progress)
    predicted = tuple(manifest.labels[index] for index in probabilities.argmax(axis=1)) if len(tensors) else ()
    confidence = probabilities.max(axis=1) if len(tensors) else np.zeros(0, np.float32)
    return Answers(tensors.photos, tensors.sha256, manifest.labels, predicted, confidence, tuple(unreadable))


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
        raise UserError(f"{data} contains no photos")
    return photos


def _rounded(confidence: Any) -> float:
    return round(float(confidence), 6)
