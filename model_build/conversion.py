"""``bucketlens model convert``: a run's network as float32 and int8 ``.tflite``, each proven in the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from classifier.bundle import FileEntry
from classifier.errors import UserError
from model_build import runs
from model_build.candidate import (
    as_document,
    describe,
    inspect_quietly,
    load_quietly,
    measure_latency,
    predict_all,
    proven_interpreter,
)
from model_build.dataset import TEST, TRAIN
from model_build.files import json_bytes, read_bytes, read_json, write_atomic
from model_build.metrics import Scores, score
from model_build.quantization import FLOAT32, INT8, QUANTIZATIONS, to_tflite
from model_build.tensors import Progress, TensorSet

INT8_TOLERANCE = 0.005
"""Accuracy int8 may lose against float32 on the test photos: half a point."""
_CALIBRATION_PHOTOS = 300


@dataclass(frozen=True)
class Converted:
    """One ``.tflite`` of a run and how it did on the test photos, on the serving path."""

    quantization: str
    file: str
    size_bytes: int
    sha256: str
    accuracy: float
    interval_95: tuple[float, float]
    images: int
    correct: int
    latency_ms: dict[str, float]


@dataclass(frozen=True)
class Conversion:
    """``conversion.json``. ``chosen`` is what packaging takes unless told otherwise."""

    models: tuple[Converted, ...]
    chosen: str
    interpreter: str
    schema_version: str = "1"

    def of(self, quantization: str) -> Converted:
        return next(model for model in self.models if model.quantization == quantization)

    @property
    def int8_loss(self) -> float:
        """Accuracy that int8 loses against float32, as a share; negative when it gains."""
        return self.of(FLOAT32).accuracy - self.of(INT8).accuracy

    @property
    def verdict(self) -> str:
        """One line for the reader: which model packaging takes, and why."""
        points = abs(self.int8_loss) * 100
        if self.chosen == FLOAT32:
            return f"int8 loses {points:.2f} points of accuracy, over {INT8_TOLERANCE * 100:g}: package takes float32"
        change = f"loses {points:.2f}" if self.int8_loss > 0 else f"gains {points:.2f}"
        return f"int8 {change} points of accuracy (may lose {INT8_TOLERANCE * 100:g}): package takes int8"

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, run: runs.Run) -> Self:
        """Raises UserError when the run has not been converted, or its models have changed since."""
        path = run.folder / runs.CONVERSION_NAME
        if not path.is_file():
            raise UserError(f"{run.folder} has not been converted; run: bucketlens model convert {run.folder}")
        document = read_json(path, "the conversion record")
        models = tuple(Converted(**{**m, "interval_95": tuple(m["interval_95"])}) for m in document["models"])
        for model in models:
            content = read_bytes(run.folder / model.file, "the model")
            if FileEntry.of(content) != FileEntry(model.size_bytes, model.sha256):
                raise UserError(f"{run.folder / model.file} has changed since it was converted; convert the run again")
        return cls(models, document["chosen"], document["interpreter"])


def convert(
    run: runs.Run,
    *,
    data: Path | None = None,
    on_step: Callable[[str], None] = lambda *_: None,
    progress: Progress = lambda *_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Conversion:
    """Convert, run both models over the test photos in the interpreter, and keep the record beside them.

    int8 is calibrated with training photos. It is chosen when it loses at most :data:`INT8_TOLERANCE`: the test
    photos only confirm that the two are the same model, no accuracy is picked by them.

    Raises:
        UserError: the run's photos have gone, or the network cannot be converted.
        ModelIncompatibleError: the interpreter refuses a result.
    """
    split = run.split(data)
    on_step("reading photos")
    training = split.photos[TRAIN]
    # Evenly spread over the sorted names, so that every class takes part.
    rows = np.unique(np.linspace(0, len(training) - 1, min(_CALIBRATION_PHOTOS, len(training))).astype(int))
    calibration = run.tensors(tuple(training[row] for row in rows), progress)
    test = run.tensors(split.photos[TEST], progress)
    models: list[Converted] = []
    for quantization in QUANTIZATIONS:
        on_step(f"converting to {quantization}")
        images = calibration.images if quantization == INT8 else None
        content = to_tflite(run.folder / runs.KERAS_NAME, calibration=images)
        on_step(f"testing {quantization}")
        scores, latency = _measured(content, run, test, now(), progress)
        file = f"model.{quantization}.tflite"
        write_atomic(run.folder / file, content)
        entry = FileEntry.of(content)
        models.append(
            Converted(
                quantization=quantization,
                file=file,
                size_bytes=entry.size_bytes,
                sha256=entry.sha256,
                accuracy=scores.accuracy,
                interval_95=scores.interval,
                images=scores.images,
                correct=scores.correct,
                latency_ms=latency,
            )
        )
    loss = models[0].accuracy - models[1].accuracy
    # Rounded, because 0.995 - 0.99 is over 0.005 in binary.
    chosen = INT8 if round(loss, 9) <= INT8_TOLERANCE else FLOAT32
    conversion = Conversion(tuple(models), chosen, " ".join(proven_interpreter()))
    write_atomic(run.folder / runs.CONVERSION_NAME, json_bytes(conversion.to_document()))
    return conversion


def _measured(
    content: bytes, run: runs.Run, test: TensorSet, created: datetime, progress: Progress
) -> tuple[Scores, dict[str, float]]:
    manifest = describe(
        content,
        inspect_quietly(content),
        name=run.folder.name,
        labels=run.labels,
        resize=run.policy,
        output_kind="logits",
        created=created,
    )
    model = load_quietly(content, manifest)
    predicted = predict_all(model, test.images, progress).argmax(axis=1)
    latency = as_document(measure_latency(model, test.images[0]))
    return score(test.targets(run.labels), predicted, run.labels), latency
