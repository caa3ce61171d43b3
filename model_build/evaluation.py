"""``bucketlens model evaluate``: a run's or a bundle's model on labelled photos, on the serving path."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from classifier.bundle import MANIFEST_NAME
from classifier.errors import UserError
from classifier.loader import open_local_bundle
from classifier.model import Model
from model_build import runs
from model_build.candidate import Latency, describe, inspect_quietly, load_quietly, measure_latency, predict_all
from model_build.conversion import Conversion
from model_build.dataset import TEST, Photo, scan
from model_build.metrics import Scores, score
from model_build.tensors import Progress, Unreadable, decode_photos


@dataclass(frozen=True)
class Evaluation:
    """How a model did.

    Attributes:
        photos_used: in words, for the reader: all, or the test split.
        training_data: the photos are the very set the model was made from, so the figures flatter it.
    """

    model: str
    scores: Scores
    latency: Latency
    unreadable: tuple[Unreadable, ...]
    photos_used: str
    training_data: bool


def evaluate(target: Path, data: Path, *, progress: Progress = lambda *_: None) -> Evaluation:
    """Evaluate the model of ``target`` on ``data``, a folder per class.

    Of a data set with a test folder only that is used; of the data set a run was trained on, only the run's test
    split.

    Raises:
        UserError: ``target`` is neither run nor bundle, ``data`` holds no photos, or a class the model does not know.
        ModelIntegrityError, ModelIncompatibleError: the bundle is not what it says.
    """
    model, run = _open(target)
    labels = model.manifest.labels
    found = scan(data)
    photos, used = _photos(found.photos, data, run)
    unknown = sorted({photo.label for photo in photos} - set(labels))
    if unknown:
        some = ", ".join(repr(label) for label in unknown[:5])
        raise UserError(
            f"{data} has {len(unknown)} classes that the model does not know: {some}; its labels are"
            f" {', '.join(labels[:5])}{', ...' if len(labels) > 5 else ''}"
        )
    spec = model.manifest.input
    tensors, unreadable = decode_photos(
        photos, height=spec.height, width=spec.width, policy=model.manifest.resize, progress=progress
    )
    if not len(tensors):
        raise UserError(f"none of the {len(photos)} files in {data} is a readable photo, first: {unreadable[0].reason}")
    predicted = predict_all(model, tensors.images, progress).argmax(axis=1)
    return Evaluation(
        model=f"{model.manifest.name} {model.manifest.version}",
        scores=score(tensors.targets(labels), predicted, labels),
        latency=measure_latency(model, tensors.images[0]),
        unreadable=tuple(unreadable),
        photos_used=used,
        training_data=tensors.fingerprint == model.manifest.dataset.get("fingerprint"),
    )


def _open(target: Path) -> tuple[Model, runs.Run | None]:
    if (target / MANIFEST_NAME).is_file():
        manifest, path = open_local_bundle(target)
        return load_quietly(path.read_bytes(), manifest), None
    if not (target / runs.RECORD_NAME).is_file():
        what = "is neither a run nor a bundle" if target.exists() else "does not exist"
        raise UserError(f"{target} {what}; give the folder that 'model train' or 'model package' wrote")
    run = runs.Run.open(target)
    conversion = Conversion.read(run)
    content = (target / conversion.of(conversion.chosen).file).read_bytes()
    manifest = describe(
        content,
        inspect_quietly(content),
        name=target.resolve().name,
        labels=run.labels,
        resize=run.policy,
        output_kind="logits",
        created=datetime.fromisoformat(run.record.created_at).astimezone(UTC),
    )
    return load_quietly(content, manifest), run


def _photos(photos: tuple[Photo, ...], data: Path, run: runs.Run | None) -> tuple[tuple[Photo, ...], str]:
    if run is not None and data.resolve() == Path(run.record.data):
        return run.split(data).photos[TEST], "the run's test split"
    test = tuple(photo for photo in photos if photo.split == TEST)
    return (test, "the test folder") if test else (photos, "all photos")
