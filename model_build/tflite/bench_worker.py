"""Runs one ``.tflite`` over decoded photos, in whatever Python :mod:`model_build.tflite.bench` starts it with.

It imports the function's own code, numpy and an interpreter, nothing else: TensorFlow is not there where models serve.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from classifier.errors import BucketlensError
from classifier.imaging import DRAFT_MARGIN, ResizePolicy
from classifier.model import interpreter_facts
from model_build.tflite.running import (
    as_document,
    describe,
    inspect_quietly,
    load_quietly,
    measure_latency,
    predict_all,
    stored_scaling,
)

REQUEST_NAME, MODEL_NAME, IMAGES_NAME = "request.json", "candidate.tflite", "images.npy"
ANSWER_NAME, PROBABILITIES_NAME = "answer.json", "probabilities.npy"


def answer(folder: Path) -> dict[str, Any]:
    """Measure the model of ``folder``; returns what goes into ``answer.json``."""
    request = json.loads((folder / REQUEST_NAME).read_text(encoding="utf-8"))
    facts = interpreter_facts()
    told: dict[str, Any] = {"interpreter": f"{facts.library} {facts.version}"}
    content = (folder / MODEL_NAME).read_bytes()
    images = np.load(folder / IMAGES_NAME, mmap_mode="r")
    try:
        found = inspect_quietly(content, len(request["labels"]))
        manifest = describe(
            content,
            found,
            name="candidate",
            labels=request["labels"],
            resize=ResizePolicy(request["resize"]),
            draft_margin=DRAFT_MARGIN,  # of photos that are decoded already
            output_kind=request["output"],
            created=datetime.now(UTC),
            scaling=stored_scaling(found),
        )
        model = load_quietly(content, manifest)
        probabilities = predict_all(model, images)
        latency = measure_latency(model, np.array(images[0]))
    except BucketlensError as error:
        return {**told, "failure": str(error)}
    if not np.isfinite(probabilities).all():
        return {**told, "failure": f"returns NaN in {told['interpreter']}"}
    np.save(folder / PROBABILITIES_NAME, probabilities)
    return {**told, "latency_ms": as_document(latency)}


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / ANSWER_NAME).write_text(json.dumps(answer(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
