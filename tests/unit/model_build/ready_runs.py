"""Runs that nobody trained: photos of colours, and the fixture model where a conversion would put its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flatbuffers import Builder  # type: ignore[import-untyped]
from numpy.typing import NDArray

from model_build.conversion.convert import Conversion, convert
from model_build.conversion.quantization import QUANTIZATIONS
from model_build.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, Split, scan
from model_build.files import json_bytes
from model_build.tflite.inspecting import schema
from model_build.training.config import TrainingConfig
from model_build.training.run import SPLIT_NAME, Run, RunRecord
from tests.support.bundles import LABELS, model_bytes
from tests.unit.model_build.photos import write_photos

Make = Callable[[], bytes]
COUNTS = {TRAIN: 2, VALIDATION: 5, TEST: 5}
SIDE = 32


def fixture() -> bytes:
    return model_bytes("float32_logits")


def rewritten(content: bytes, change: Callable[[Any], None]) -> bytes:
    """A model after ``change`` of its schema object, ``ModelT``."""
    model = schema().ModelT.InitFromPackedBuf(content)
    change(model)
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class ReadyFormats:
    """Gives for each format what the test wants of it; the fixture model where it says nothing."""

    def __init__(self, makers: Mapping[str, Make] | None = None) -> None:
        self._makers = makers or {}

    def __call__(self, keras_file: Path, calibration: NDArray[np.uint8]) -> ReadyFormats:
        assert calibration.dtype == np.uint8
        return self

    def to_tflite(self, quantization: str) -> bytes:
        assert quantization in QUANTIZATIONS
        return self._makers.get(quantization, fixture)()


def colour_photos(root: Path) -> Path:
    return write_photos(root, {f"{split}/{label}": n for split, n in COUNTS.items() for label in LABELS})


def ready_run(folder: Path, data: Path, labels: tuple[str, ...] = LABELS, **recorded: Any) -> Run:
    """A run folder over ``data``. ``labels`` in another order than the model's make a bad model of it.

    Args:
        recorded: other fields of :class:`RunRecord`.
    """
    photos = scan(data).photos
    split = Split(labels, {name: tuple(photo for photo in photos if photo.split == name) for name in SPLITS})
    record = RunRecord(
        created_at="2026-11-20T10:15:00+00:00",
        data=str(data.resolve()),
        fingerprint="f" * 64,
        labels=list(labels),
        height=SIDE,
        width=SIDE,
        images={name: len(split.photos[name]) for name in SPLITS},
        unreadable=[],
        validation={"accuracy": 1.0},
        test={"accuracy": 1.0},
        libraries={},
        **recorded,
    )
    folder.mkdir(parents=True)
    documents = {**Run(folder, TrainingConfig(), record).to_files(), SPLIT_NAME: split.to_document()}
    for name, document in documents.items():
        (folder / name).write_bytes(json_bytes(document))
    return Run.open(folder)


def converted(run: Run, makers: Mapping[str, Make] | None = None, python: Path | None = None) -> Conversion:
    return convert(run, formats=ReadyFormats(makers), python=python)
