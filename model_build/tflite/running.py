"""A bare ``.tflite`` described so that the function's own ``Model`` can run it, before it is a published bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MODEL_NAME, FileEntry, InputSpec, Manifest, OutputSpec, Scaling, version_id
from classifier.imaging import ResizePolicy
from classifier.model import Model, ModelFacts, inspect, interpreter_facts
from model_build.native import quiet_stderr

if TYPE_CHECKING:
    from model_build.data.tensors import Progress

_WARM_UP, _TIMED = 5, 50


def describe(
    content: bytes,
    facts: ModelFacts,
    *,
    name: str,
    labels: Sequence[str],
    resize: ResizePolicy,
    draft_margin: int,
    output_kind: str,
    created: datetime,
    scaling: Scaling | None,
    review_threshold: float = 0.5,
    temperature: float = 1.0,
) -> Manifest:
    """A manifest that lists the model alone; packaging adds the rest.

    Args:
        content: the model file.
        facts: what :func:`classifier.model.inspect` says of it.
        scaling: None when the graph takes RGB 0..255; of integer inputs, :func:`stored_scaling`.
        created: an aware time; the version's first half.
    """
    return Manifest(
        name=name,
        version=version_id(created, content),
        created_at=created.isoformat(timespec="seconds"),
        files={MODEL_NAME: FileEntry.of(content)},
        labels=tuple(labels),
        input=InputSpec(facts.height, facts.width, facts.input_dtype, facts.input_quantization),
        resize=resize,
        scaling=scaling,
        output=OutputSpec(output_kind, facts.output_dtype, facts.output_quantization, temperature),
        review_threshold=review_threshold,
        embedding=facts.embedding,
        minimum_interpreter=dict([proven_interpreter()]),
        draft_margin=draft_margin,
    )


def stored_scaling(facts: ModelFacts) -> Scaling | None:
    """How a pixel becomes the real value of an input that takes pixels as they are (int8: less 128): by the convention
    of every TensorFlow Lite image model its scale and zero point say which real value each of them stands for.

    None for a float input, and where the real value is the pixel.
    """
    stored = facts.input_quantization
    if facts.input_dtype == "float32" or stored is None:
        return None
    lowest = -128 if facts.input_dtype == "int8" else 0
    mean, std = float(stored.zero_point - lowest), 1 / stored.scale
    return None if (mean, std) == (0.0, 1.0) else Scaling((mean,) * 3, (std,) * 3)


def proven_interpreter() -> tuple[str, str]:
    """Name and version of the interpreter that every figure here was measured with: an older one proves nothing."""
    facts = interpreter_facts()
    return facts.library, facts.version


def load_quietly(content: bytes, manifest: Manifest, novelty: bytes = b"") -> Model:
    """:meth:`Model.load` without the interpreter's announcements. Raises as it does."""
    with quiet_stderr():
        return Model.load(content, manifest, novelty)


def inspect_quietly(content: bytes, labels: int | None = None) -> ModelFacts:
    """:func:`classifier.model.inspect` without the interpreter's announcements. Raises as it does."""
    with quiet_stderr():
        return inspect(content, labels)


def predict_all(model: Model, images: NDArray[np.uint8], progress: Progress = lambda *_: None) -> NDArray[np.float32]:
    """Probabilities of (photos, height, width, 3) images on the serving path; float32, (photos, labels)."""
    return answer_all(model, images, progress)[0]


def answer_all(
    model: Model, images: NDArray[np.uint8], progress: Progress = lambda *_: None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As :func:`predict_all`, and the embeddings: float32, (photos, features), of a model without (photos, 0)."""
    spec = model.manifest.embedding
    probabilities = np.empty((len(images), len(model.manifest.labels)), dtype=np.float32)
    embeddings = np.empty((len(images), 0 if spec is None else spec.features), dtype=np.float32)
    for row, image in enumerate(images):
        answer = model.answer(image)
        probabilities[row] = answer.probabilities
        if answer.embedding is not None:
            embeddings[row] = answer.embedding
        progress(row + 1, len(images))
    return probabilities, embeddings


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one prediction with one thread: median and 90th percentile of :data:`_TIMED` runs."""

    median_ms: float
    p90_ms: float


def measure_latency(model: Model, image: NDArray[np.uint8], clock: Callable[[], float] = time.perf_counter) -> Latency:
    """Time :meth:`Model.predict` on one decoded image, after a few untimed runs."""
    for _ in range(_WARM_UP):
        model.predict(image)
    times: list[float] = []
    for _ in range(_TIMED):
        begin = clock()
        model.predict(image)
        times.append((clock() - begin) * 1000)
    return Latency(float(np.median(times)), float(np.percentile(times, 90)))


def as_document(latency: Latency) -> dict[str, Any]:
    return {"median_ms": round(latency.median_ms, 4), "p90_ms": round(latency.p90_ms, 4)}
