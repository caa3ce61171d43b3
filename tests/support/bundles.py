"""Bundles around the fixture models. ``python -m tests.support.bundles`` writes ``tests/fixtures/bundle`` anew."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from classifier.bundle import (
    MANIFEST_NAME,
    MODEL_NAME,
    NOVELTY_NAME,
    REPORT_NAME,
    FileEntry,
    InputSpec,
    Manifest,
    NoveltySpec,
    OutputSpec,
    Pointer,
    version_id,
)
from classifier.golden import GOLDEN_NAME, GoldenPhoto, GoldenSet
from classifier.imaging import ResizePolicy
from classifier.model import Model, inspect
from classifier.novelty import KnownPhotos

FIXTURES = Path(__file__).parent.parent / "fixtures"
LABELS = ("red", "green", "blue")
CREATED = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
GOLDEN = ("red.png", "green.jpg")


def model_bytes(name: str) -> bytes:
    return (FIXTURES / "models" / f"{name}.tflite").read_bytes()


def manifest_for(name: str = "uint8_quantized", created: datetime = CREATED, **changes: Any) -> Manifest:
    """The manifest of a fixture model."""
    content = model_bytes(name)
    facts = inspect(content, len(LABELS))
    kinds = {"logits": "logits", "embedding": "logits", "sigmoid": "sigmoid", "multi_label": "multi_label"}
    kind = next((kind for part, kind in kinds.items() if part in name), "softmax")
    manifest = Manifest(
        name="colours",
        version=version_id(created, content),
        created_at=created.isoformat(),
        files={MODEL_NAME: FileEntry.of(content)},
        labels=("other", "red") if kind == "sigmoid" else LABELS,
        input=InputSpec(facts.height, facts.width, facts.input_dtype, facts.input_quantization),
        resize=ResizePolicy.STRETCH,
        scaling=None,
        output=OutputSpec(
            kind,
            facts.output_dtype,
            facts.output_quantization,
            thresholds=(0.5,) * len(LABELS) if kind == "multi_label" else None,
        ),
        review_threshold=0.5,
        embedding=facts.embedding,
    )
    return replace(manifest, **changes)


def known_colours() -> KnownPhotos:
    """Of the fixture models with an embedding: plain red and plain green, and photos nearly as plain."""
    plain = np.tile(np.eye(3, dtype=np.float32), 4)[:2]
    return KnownPhotos.of(plain, np.linspace(0.3, 0.9, 20, dtype=np.float32))


def novel_manifest(name: str = "float32_embedding", **changes: Any) -> Manifest:
    """The manifest of a bundle that gives novelty, with a limit of 0.95."""
    files = {MODEL_NAME: FileEntry.of(model_bytes(name)), NOVELTY_NAME: FileEntry.of(known_colours().to_bytes())}
    return manifest_for(name, **{"files": files, "novelty": NoveltySpec(0.95), **changes})


def bundle_files(name: str = "uint8_quantized", created: datetime = CREATED, **changes: Any) -> dict[str, bytes]:
    """Every file of a bundle, by name."""
    manifest = manifest_for(name, created, **changes)
    novelty = b"" if manifest.novelty is None else known_colours().to_bytes()
    model = Model.load(model_bytes(name), manifest, novelty)
    files = {MODEL_NAME: model_bytes(name), REPORT_NAME: b"<!doctype html><title>colours</title>\n"}
    photos = []
    for photo in GOLDEN:
        data = (FIXTURES / "images" / photo).read_bytes()
        tensor = manifest.decode(data).tensor
        files[f"golden/{photo}"] = data
        answer = model.answer(tensor)
        probabilities = tuple(round(float(p), 6) for p in answer.probabilities)
        photos.append(GoldenPhoto(f"golden/{photo}", probabilities, answer.novelty))
    files[GOLDEN_NAME] = GoldenSet(0.02, tuple(photos), novelty_tolerance=0.1).to_bytes()
    if novelty:
        files[NOVELTY_NAME] = novelty
    listed = replace(manifest, files={name: FileEntry.of(data) for name, data in sorted(files.items())})
    return {**files, MANIFEST_NAME: listed.to_bytes()}


def publish(s3: Any, bucket: str, files: dict[str, bytes], prefix: str = "models/", *, promote: bool = True) -> str:
    """Put a bundle's files where the function looks for them."""
    version = Manifest.from_bytes(files[MANIFEST_NAME]).version
    for name, data in files.items():
        s3.put_object(Bucket=bucket, Key=f"{prefix}{version}/{name}", Body=data)
    if promote:
        pointer = Pointer(version, hashlib.sha256(files[MANIFEST_NAME]).hexdigest())
        s3.put_object(Bucket=bucket, Key=f"{prefix}current.json", Body=pointer.to_bytes())
    return version


if __name__ == "__main__":
    folder = FIXTURES / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    for file_name, content in bundle_files().items():
        (folder / file_name).parent.mkdir(parents=True, exist_ok=True)
        (folder / file_name).write_bytes(content)
