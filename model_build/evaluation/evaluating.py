"""``bucketlens model evaluate``: a run's or a bundle's model on labelled photos, on the serving path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MULTI_LABEL, Manifest
from classifier.errors import UserError
from model_build.data.dataset import TEST, Photo, scan
from model_build.data.tensors import Progress, Unreadable, decode_photos
from model_build.evaluation.opening import OpenBundle, open_model
from model_build.metrics.answers import Quality, judge
from model_build.metrics.scores import Scores
from model_build.tflite.running import Latency, as_document, measure_latency, predict_all
from model_build.training.run import Run


@dataclass(frozen=True)
class Evaluation:
    """How a model did.

    Attributes:
        data: the folder that the photos' names are relative to.
        unscaled: (photos, labels), probabilities at temperature 1.
        truth: (photos,), the index of each photo's label.
        photos: in the order of the rows that ``quality`` speaks of; ``sha256``: of each file's content.
        photos_used: in words, for the reader: all, or the test split.
        training_data: the photos are the very set the model was made from, so the figures flatter it.
    """

    opened: OpenBundle
    data: Path
    quality: Quality
    unscaled: NDArray[np.float32]
    truth: NDArray[np.int64]
    latency: Latency
    photos: tuple[Photo, ...]
    sha256: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    photos_used: str
    training_data: bool

    @property
    def model(self) -> str:
        return self.opened.name

    @property
    def manifest(self) -> Manifest:
        return self.opened.manifest

    @property
    def scores(self) -> Scores:
        return self.quality.scores

    def to_document(self) -> dict[str, Any]:
        """What ``evaluate --format json`` prints."""
        return {
            "model": self.model,
            "photos_used": self.photos_used,
            "training_data": self.training_data,
            **self.quality.to_document(),
            "latency_ms": as_document(self.latency),
            "size_bytes": self.manifest.model.size_bytes,
            "review_threshold": self.manifest.review_threshold,
            "unreadable": [one.name for one in self.unreadable],
            "worst": [
                {
                    "photo": self.photos[one.row].name,
                    "label": one.truth,
                    "predicted": one.predicted,
                    "confidence": round(one.confidence, 6),
                }
                for one in self.quality.worst
            ],
        }


def evaluate(target: Path, data: Path, *, progress: Progress = lambda *_: None) -> Evaluation:
    """Evaluate the model of ``target`` on ``data``, a folder per class.

    Of a data set with a test folder only that is used; of the data set a run was trained on, only the run's test
    split.

    Raises:
        UserError: ``target`` is neither run nor bundle, ``data`` holds no photos, or a class the model does not know.
        ModelIntegrityError, ModelIncompatibleError: the bundle is not what it says.
    """
    opened = open_model(target)
    manifest = opened.manifest
    if manifest.output.kind == MULTI_LABEL:
        raise UserError(
            f"{opened.name} says for every label whether it applies, and a folder per class gives each photo one label:"
            " such a model cannot be measured here"
        )
    model = opened.uncalibrated()
    found = scan(data)
    photos, used = _photos(found.photos, data, opened.run)
    unknown = sorted({photo.label for photo in photos} - set(manifest.labels))
    if unknown:
        some = ", ".join(repr(label) for label in unknown[:5])
        raise UserError(
            f"{data} has {len(unknown)} classes that the model does not know: {some}; its labels are"
            f" {', '.join(manifest.labels[:5])}{', ...' if len(manifest.labels) > 5 else ''}"
        )
    spec = manifest.input
    tensors, unreadable = decode_photos(
        photos,
        height=spec.height,
        width=spec.width,
        policy=manifest.resize,
        draft_margin=manifest.draft_margin,
        progress=progress,
    )
    if not len(tensors):
        raise UserError(f"none of the {len(photos)} files in {data} is a readable photo, first: {unreadable[0].reason}")
    unscaled = predict_all(model, tensors.images, progress)
    truth = tensors.targets(manifest.labels)
    return Evaluation(
        opened=opened,
        data=data,
        quality=judge(unscaled, truth, manifest.labels, manifest.output.temperature),
        unscaled=unscaled,
        truth=truth,
        latency=measure_latency(model, tensors.images[0]),
        photos=tensors.photos,
        sha256=tensors.sha256,
        unreadable=tuple(unreadable),
        photos_used=used,
        training_data=tensors.fingerprint == manifest.dataset.get("fingerprint"),
    )


def _photos(photos: tuple[Photo, ...], data: Path, run: Run | None) -> tuple[tuple[Photo, ...], str]:
    if run is not None and data.resolve() == Path(run.record.data):
        return run.split(data).photos[TEST], "the run's test split"
    test = tuple(photo for photo in photos if photo.split == TEST)
    return (test, "the test folder") if test else (photos, "all photos")
