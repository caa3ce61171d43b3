"""From the bytes of one image to its result, wherever they come from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from classifier.bundle import Manifest
from classifier.errors import ImageRejected
from classifier.imaging import Limits, check_size
from classifier.model import Classified, Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result, ReviewReason, timestamp

if TYPE_CHECKING:
    from classifier.images import Fetched


class Classifier(Protocol):
    """The part of :class:`classifier.serving.ServedModel` and :class:`classifier.pool.WorkerPool` that is used here."""

    @property
    def manifest(self) -> Manifest: ...

    def classify(self, data: bytes, top_k: int, time_left: float) -> Classified: ...


def classify_image(
    image: ImageFacts,
    fetch: Callable[[], Fetched],
    model: Classifier,
    *,
    limits: Limits,
    top_k: int,
    review_threshold: float | None,
    time_left: Callable[[], float],
    clock: Callable[[], datetime],
    request_id: str,
) -> Result:
    """Fetch and classify an image; one that cannot be classified gets its rejection.

    Args:
        image: what is known of it before it is fetched.
        review_threshold: None takes the manifest's.
        time_left: seconds that there are for it.
        clock: the time, aware.

    Raises:
        TransientError, FatalError: nothing speaks against the image.
    """
    timing: dict[str, float] = {}
    top: tuple[Prediction, ...] = ()
    labels: tuple[str, ...] | None = None
    novelty: float | None = None
    error: Rejection | None = None
    facts, manifest = image, model.manifest
    try:
        with _timed(timing, "fetch"):
            fetched = fetch()
        facts = replace(
            facts,
            etag=fetched.etag or None,
            size_bytes=fetched.size_bytes,
            version_id=image.version_id or fetched.version_id,
        )
        check_size(fetched.size_bytes, limits)
        seen = model.classify(fetched.data, top_k, time_left())
        facts = replace(facts, format=seen.format, width=seen.width, height=seen.height)
        top, labels, novelty = seen.top, seen.labels, seen.novelty
        timing |= seen.timing_ms
    except ImageRejected as rejected:
        error = Rejection.of(rejected)
    return Result(
        image=facts,
        model=model_identity(manifest),
        classified_at=timestamp(clock()),
        request_id=request_id,
        top=top,
        labels=labels,
        novelty=novelty,
        review_reason=review_reason(top[0], novelty, manifest, review_threshold) if top else None,
        error=error,
        timing_ms=timing,
    )


def review_reason(
    best: Prediction, novelty: float | None, manifest: Manifest, review_threshold: float | None = None
) -> ReviewReason | None:
    """Why a person should look at a prediction, if so.

    How sure a model is says nothing of an image that it does not know: where both reasons apply, it is the novelty.

    Args:
        review_threshold: None takes the manifest's.
    """
    if novelty is not None and manifest.novelty is not None and novelty > manifest.novelty.limit:
        return ReviewReason.NOVELTY
    threshold = manifest.review_threshold if review_threshold is None else review_threshold
    return ReviewReason.CONFIDENCE if best.confidence < threshold else None


def model_identity(manifest: Manifest) -> ModelIdentity:
    """What a result says of the model that made it."""
    return ModelIdentity(manifest.name, manifest.version, manifest.model.sha256)


@contextmanager
def _timed(timing: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        timing[stage] = (time.perf_counter() - started) * 1000
