"""What each sample event ought to lead to, worked out on this machine with the function's own decoder and model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from classifier.bundle import Manifest
from classifier.errors import ImageRejected, UserError
from classifier.events import Batch, parse
from model_build.evaluation.opening import open_bundle

INPUT_PREFIX = "incoming/"


@dataclass(frozen=True)
class Expected:
    """What must be recorded of one image.

    Attributes:
        source: the file to upload for it; None where the event names an object that does not exist.
        code: the error code of an image that must be rejected.
        confidences: of a classified image, its probability for every label.
    """

    bucket: str
    key: str
    source: Path | None
    code: str | None = None
    confidences: dict[str, float] | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Case:
    """One event and what must come of it.

    Attributes:
        path: the event's file, as `sam local invoke --event` takes it.
        batch: what the function will read in the event.
    """

    name: str
    path: Path
    event: Any
    batch: Batch
    expected: tuple[Expected, ...]


class Oracle:
    """Predicts with a bundle, in this process.

    Raises:
        ModelIntegrityError, ModelIncompatibleError: the bundle is not usable.
    """

    def __init__(self, bundle: Path) -> None:
        opened = open_bundle(bundle)
        self.manifest: Manifest = opened.manifest
        self._model = opened.model

    def expect(self, bucket: str, key: str, source: Path | None) -> Expected:
        if source is None:
            return Expected(bucket, key, None)
        try:
            image = self.manifest.decode(source.read_bytes())
        except ImageRejected as error:
            return Expected(bucket, key, source, code=error.code)
        probabilities = self._model.predict(image.tensor).tolist()
        confidences = dict(zip(self.manifest.labels, probabilities, strict=True))
        return Expected(bucket, key, source, confidences=confidences)


def read_cases(events: list[Path], images: Path, oracle: Oracle) -> list[Case]:
    """Read sample events; a key whose file name exists in ``images`` stands for that file.

    Raises:
        UserError: a file is not an event.
    """
    return [_case(path, images, oracle) for path in events]


def photos_case(photos: Path, bucket: str, folder: Path, oracle: Oracle) -> Case:
    """Write an event into ``folder`` that brings every file of ``photos`` in one SQS batch, and read it back.

    Raises:
        UserError: there are no files in ``photos``.
    """
    names = sorted(path.name for path in photos.iterdir() if path.is_file())
    if not names:
        raise UserError(f"{photos} contains no files")
    path = folder / f"{photos.name}.json"
    path.write_text(json.dumps({"Records": list(_messages(bucket, names))}, indent=2), encoding="utf-8")
    return _case(path, photos, oracle)


def _case(path: Path, images: Path, oracle: Oracle) -> Case:
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
        batch = parse(event, INPUT_PREFIX)
    except (ValueError, UserError) as error:
        raise UserError(f"{path} is not an event: {error}") from error
    expected = []
    # One outcome an image, however often the event names it.
    for bucket, key in dict.fromkeys((image.bucket, image.key) for image in batch.images):
        source = images / key.rsplit("/", 1)[-1]
        expected.append(oracle.expect(bucket, key, source if source.is_file() else None))
    return Case(path.stem, path.resolve(), event, batch, tuple(expected))


def _messages(bucket: str, names: list[str]) -> Iterator[dict[str, Any]]:
    for number, name in enumerate(names):
        stored = {"key": quote_plus(f"{INPUT_PREFIX}{name}", safe="/"), "sequencer": f"{number:016X}"}
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": bucket}, "object": stored},
        }
        yield {"messageId": f"photo-{number}", "eventSource": "aws:sqs", "body": json.dumps({"Records": [record]})}
