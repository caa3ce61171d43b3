"""``bucketlens model convert``: a run's network in every format, measured in the interpreter that serves, one chosen.

The rule is in :mod:`model_build.conversion.tournament`; the files, with the labels inside, stay in the run beside
``conversion.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import FileEntry
from classifier.errors import UserError
from model_build.conversion.quantization import FLOAT32, QUANTIZATIONS, ConversionFailed, Converter
from model_build.conversion.tournament import DEFAULT_TOLERANCE, Entrant, decide
from model_build.data.dataset import TEST, TRAIN, VALIDATION
from model_build.data.tensors import Progress
from model_build.files import json_bytes, known_fields, read_bytes, read_json, write_atomic
from model_build.metrics.calibration import fit_temperature
from model_build.metrics.scores import score
from model_build.tflite.bench import Bench, Served, ServingFailed, bench
from model_build.tflite.labels_metadata import with_labels
from model_build.training.run import CONVERSION_NAME, KERAS_NAME, Run

_CALIBRATION_PHOTOS = 100  # 10 to 300 agree with float32 alike; docs/training.md


@dataclass(frozen=True)
class Converted:
    """One format of a run: what it is, and how it did on the serving path.

    Attributes:
        accuracy, interval_95, images, correct: on the test photos, for the report; they decide nothing.
        validation_accuracy, agreement, moved: what decides; see :class:`model_build.conversion.tournament.Entrant`.
        temperature: fitted on the validation photos.
        reason: why it was chosen or not.
        failure: why it cannot be used at all; it then has no file and its figures mean nothing.
    """

    quantization: str
    file: str = ""
    size_bytes: int = 0
    sha256: str = ""
    accuracy: float = 0.0
    interval_95: tuple[float, float] = (0.0, 1.0)
    images: int = 0
    correct: int = 0
    latency_ms: dict[str, float] = field(default_factory=dict)
    validation_accuracy: float = 0.0
    agreement: float = 0.0
    moved: float = 0.0
    temperature: float = 1.0
    reason: str = ""
    failure: str | None = None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        low, high = document["interval_95"]
        return cls(**{**known_fields(cls, document), "interval_95": (low, high)})


@dataclass(frozen=True)
class Conversion:
    """``conversion.json``. ``chosen`` is what packaging takes unless told otherwise."""

    models: tuple[Converted, ...]
    chosen: str
    interpreter: str
    tolerance: float = DEFAULT_TOLERANCE
    validation_images: int = 0
    schema_version: str = "2"

    def of(self, quantization: str) -> Converted:
        """Raises UserError when there is no usable model in that format."""
        found = next((model for model in self.models if model.quantization == quantization), None)
        if found is None or found.failure is not None:
            why = f": it {found.failure}" if found else ""
            raise UserError(f"this run has no {quantization} model{why}")
        return found

    @property
    def verdict(self) -> str:
        """One line for the reader: which model packaging takes, and why."""
        winner = self.of(self.chosen)
        told = [f"package takes {self.chosen}, {winner.reason}"]
        told += [f"{m.quantization} {m.reason}" for m in self.models if m.quantization != self.chosen]
        return "; ".join(told)

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, run: Run) -> Self:
        """Raises UserError when the run has not been converted, or its models have changed since."""
        path = run.folder / CONVERSION_NAME
        if not path.is_file():
            raise UserError(f"{run.folder} has not been converted; run: bucketlens model convert {run.folder}")
        document = read_json(path, "the conversion record")
        known = {one.name for one in fields(cls)}
        if document.get("schema_version") != cls.schema_version or not known <= set(document):
            raise UserError(f"{path} was written by another release; convert the run again")
        models = tuple(map(Converted.from_document, document["models"]))
        for model in models:
            if model.failure is None:
                content = read_bytes(run.folder / model.file, "the model")
                if FileEntry.of(content) != FileEntry(model.size_bytes, model.sha256):
                    raise UserError(
                        f"{run.folder / model.file} has changed since it was converted; convert the run again"
                    )
        return cls(**{name: document[name] for name in known - {"models"}}, models=models)


class Formats(Protocol):
    """What makes the files: :class:`model_build.conversion.quantization.Converter`."""

    def to_tflite(self, quantization: str) -> bytes: ...


def convert(
    run: Run,
    *,
    data: Path | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    python: Path | None = None,
    formats: Callable[[Path, NDArray[np.uint8]], Formats] = Converter,
    on_step: Callable[[str], None] = lambda *_: None,
    progress: Progress = lambda *_: None,
) -> Conversion:
    """Convert to every format, run each over validation and test photos, choose, and keep the record beside them.

    int8 is calibrated with training photos. A format that cannot be converted, loaded or run loses with its reason.

    Args:
        tolerance: validation accuracy that a format may lose against float32, as a share.
        python: the Python whose interpreter will serve; this one by default.

    Raises:
        UserError: the run's photos have gone, the network cannot be read, or no format can be served.
    """
    split = run.split(data)
    on_step("reading photos")
    training = split.photos[TRAIN]
    # Evenly spread over the sorted names, so that every class takes part.
    rows = np.unique(np.linspace(0, len(training) - 1, min(_CALIBRATION_PHOTOS, len(training))).astype(int))
    calibration = run.tensors(tuple(training[row] for row in rows), progress)
    validation = run.tensors(split.photos[VALIDATION], progress)
    test = run.tensors(split.photos[TEST], progress)
    on_step("starting TensorFlow")
    converter = formats(run.folder / KERAS_NAME, calibration.images)
    contents: dict[str, bytes] = {}
    served: dict[str, Served] = {}
    failures: dict[str, str] = {}
    with _bench(run, [validation.images, test.images], python) as machine:
        for quantization in QUANTIZATIONS:
            try:
                on_step(f"converting to {quantization}")
                content = with_labels(converter.to_tflite(quantization), run.labels, name=run.folder.resolve().name)
                on_step(f"testing {quantization}")
                served[quantization] = machine.measure(content)
            except (ConversionFailed, ServingFailed) as error:
                failures[quantization] = str(error)
            else:
                contents[quantization] = content
    truth = validation.targets(run.labels), test.targets(run.labels)
    models = _scored(run, contents, served, truth)
    entrants = [_entrant(models[q]) if q in models else Entrant(q, failure=failures[q]) for q in QUANTIZATIONS]
    outcome = decide(entrants, FLOAT32, tolerance)
    if outcome.winner is None:
        raise UserError(
            f"no format of {run.folder} can be served: {'; '.join(f'{q} {why}' for q, why in failures.items())}"
        )
    for one in models.values():
        _write(run.folder / one.file, contents[one.quantization])
    conversion = Conversion(
        tuple(
            replace(models[q], reason=outcome.reasons[q])
            if q in models
            else Converted(q, reason=failures[q], failure=failures[q])
            for q in QUANTIZATIONS
        ),
        outcome.winner,
        served[outcome.winner].interpreter,
        tolerance,
        len(validation),
    )
    _write(run.folder / CONVERSION_NAME, json_bytes(conversion.to_document()))
    for quantization in failures:  # of an earlier conversion
        (run.folder / _file(quantization)).unlink(missing_ok=True)
    return conversion


@contextmanager
def _bench(run: Run, images: list[NDArray[np.uint8]], python: Path | None) -> Iterator[Bench]:
    try:
        with bench(images, run.labels, run.policy, python=python) as machine:
            yield machine
    except OSError as error:
        raise UserError(
            f"the photos cannot be written for measuring: {error.strerror or error};"
            " free some space in the temporary folder, or set TMPDIR to another"
        ) from None


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}; convert the run again") from None


def _scored(
    run: Run,
    contents: Mapping[str, bytes],
    served: Mapping[str, Served],
    truth: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, Converted]:
    """``truth`` is of the validation and of the test photos, in this order in ``served``."""
    on_validation, on_test = truth
    count = len(on_validation)
    reference = served.get(FLOAT32)
    models: dict[str, Converted] = {}
    for quantization, one in served.items():
        validation, test = one.probabilities[:count], one.probabilities[count:]
        scores = score(on_test, test.argmax(axis=1), run.labels)
        expected = validation if reference is None else reference.probabilities[:count]
        entry = FileEntry.of(contents[quantization])
        models[quantization] = Converted(
            quantization=quantization,
            file=_file(quantization),
            size_bytes=entry.size_bytes,
            sha256=entry.sha256,
            accuracy=scores.accuracy,
            interval_95=scores.interval,
            images=scores.images,
            correct=scores.correct,
            latency_ms=one.latency_ms,
            validation_accuracy=float((validation.argmax(axis=1) == on_validation).mean()),
            agreement=float((validation.argmax(axis=1) == expected.argmax(axis=1)).mean()),
            moved=float(np.abs(validation - expected).sum(axis=1).mean() / 2),
            temperature=fit_temperature(validation, on_validation),
        )
    return models


def _entrant(model: Converted) -> Entrant:
    return Entrant(
        name=model.quantization,
        accuracy=model.validation_accuracy,
        agreement=model.agreement,
        moved=model.moved,
        latency_ms=model.latency_ms["median_ms"],
        size_bytes=model.size_bytes,
    )


def _file(quantization: str) -> str:
    return f"model.{quantization}.tflite"
