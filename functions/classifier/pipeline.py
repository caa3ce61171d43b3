"""fetch -> decode -> predict -> record, for all images of a batch, within the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from classifier.bundle import Manifest
from classifier.errors import FatalError, ImageNotFound, ImageRejected, TransientError
from classifier.events import ImageRef
from classifier.imaging import check_size
from classifier.model import Classified, Prediction
from classifier.records import ImageFacts, ModelFacts, Rejection, Result, timestamp
from classifier.settings import OutputMode, Settings
from classifier.store import Output, Recorded, Store

# Images in flight at once. Fetching and recording are waiting (some 50 ms an image on Lambda), decoding and predicting
# are work (some 10 ms): eight keep one vCPU busy, and hold at most 8 x MAX_IMAGE_BYTES of files.
IN_FLIGHT = 8
_LEAST_RESERVE_SECONDS = 5.0


class Status(StrEnum):
    """What became of an image in this invocation."""

    CLASSIFIED = "classified"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    DEFERRED = "deferred"

    @property
    def to_be_retried(self) -> bool:
        return self in (Status.FAILED, Status.DEFERRED)


@dataclass(frozen=True)
class Outcome:
    """One image's end. ``result`` is there when it was classified or rejected; ``error`` when it failed."""

    image: ImageRef
    status: Status
    result: Result | None = None
    error: TransientError | None = None


class Deadline:
    """When to stop taking images.

    Args:
        remaining_seconds: what the invocation has left, as Lambda's context tells it.
    """

    def __init__(self, remaining_seconds: Callable[[], float]) -> None:
        self.remaining_seconds = remaining_seconds
        self._budget = remaining_seconds()
        self._slowest = 0.0

    def has_room(self) -> bool:
        """Whether one more image fits: twice the slowest so far, at least 5 s, at most half of the whole budget."""
        reserve = min(max(_LEAST_RESERVE_SECONDS, 2 * self._slowest), self._budget / 2)
        return self.remaining_seconds() > reserve

    def took(self, seconds: float) -> None:
        self._slowest = max(self._slowest, seconds)


class Classifier(Protocol):
    """The part of :class:`classifier.serving.ServedModel` that is used."""

    @property
    def manifest(self) -> Manifest: ...

    def classify(self, data: bytes, top_k: int, time_left: float) -> Classified: ...


@dataclass
class _Run:
    """One batch on its way."""

    model: Classifier
    request_id: str
    deadline: Deadline
    lines_key: str
    lines: list[tuple[str, bytes]] = field(default_factory=list)
    fatal: FatalError | None = None


class Pipeline:
    """Classifies batches of images.

    Args:
        clock: the time, aware.
    """

    def __init__(
        self, store: Store, settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="image")

    def run(self, images: list[ImageRef], model: Classifier, request_id: str, deadline: Deadline) -> list[Outcome]:
        """Classify and record every image that fits before the deadline.

        Returns:
            One outcome an image, in order. Several events of one image in a batch are one piece of work: the newest
            is done, the others end as it ends.

        Raises:
            FatalError: nothing in this batch can be right.
        """
        run = _Run(model, request_id, deadline, self._lines_key(request_id))
        newest: dict[str, ImageRef] = {}
        for image in images:
            standing = newest.get(image.uri)
            if standing is None or (image.sequencer or "") > (standing.sequencer or ""):
                newest[image.uri] = image
        done = {
            outcome.image.uri: outcome
            for outcome in self._threads.map(lambda image: self._process(image, run), newest.values())
        }
        if run.fatal is not None:
            raise run.fatal
        if run.lines:
            self._write_lines(run, done)
        return [_shared(image, done[image.uri]) for image in images]

    def _process(self, image: ImageRef, run: _Run) -> Outcome:
        if run.fatal is not None or not run.deadline.has_room():
            return Outcome(image, Status.DEFERRED)
        started = time.monotonic()
        try:
            return self._classify(image, run)
        except TransientError as error:
            return Outcome(image, Status.FAILED, error=error)
        except FatalError as error:
            run.fatal = error
            return Outcome(image, Status.DEFERRED)
        finally:
            run.deadline.took(time.monotonic() - started)

    def _classify(self, image: ImageRef, run: _Run) -> Outcome:
        bucket = self._settings.output_bucket_for(image.bucket)
        # Without a sequencer an event has no place in the order of events: it may replace only what it has seen.
        seen = self._store.look(image.uri) if image.sequencer is None else None
        result = self._result(image, run)
        output = None
        if result.error is None or result.error.code != ImageNotFound.code:
            output = self._output(bucket, image, result, run)
        recorded = self._store.record(result, output, sequencer=image.sequencer, seen=seen)
        if recorded is not Recorded.WON:
            return Outcome(image, Status(recorded))
        if output is not None and output.line is None:
            run.lines.append((output.bucket, result.to_line()))
        return Outcome(image, Status(result.status), result)

    def _result(self, image: ImageRef, run: _Run) -> Result:
        settings, manifest = self._settings, run.model.manifest
        timing: dict[str, float] = {}
        facts = ImageFacts(bucket=image.bucket, key=image.key, version_id=image.version_id)
        top: tuple[Prediction, ...] = ()
        error: Rejection | None = None
        try:
            with _timed(timing, "fetch"):
                fetched = self._store.fetch(image, settings.limits.max_bytes)
            facts = replace(
                facts,
                etag=fetched.etag,
                size_bytes=fetched.size_bytes,
                version_id=image.version_id or fetched.version_id,
            )
            check_size(fetched.size_bytes, settings.limits)
            seen = run.model.classify(fetched.data, settings.top_k, run.deadline.remaining_seconds())
            facts = replace(facts, format=seen.format, width=seen.width, height=seen.height)
            top = seen.top
            timing |= seen.timing_ms
        except ImageRejected as rejected:
            error = Rejection(rejected.code, rejected.message)
        threshold = manifest.review_threshold if settings.review_threshold is None else settings.review_threshold
        return Result(
            image=facts,
            model=ModelFacts(manifest.name, manifest.version, manifest.model.sha256),
            classified_at=timestamp(self._clock()),
            request_id=run.request_id,
            top=top,
            needs_review=bool(top) and top[0].confidence < threshold,
            error=error,
            timing_ms=timing,
        )

    def _output(self, bucket: str, image: ImageRef, result: Result, run: _Run) -> Output:
        if self._settings.output_mode is OutputMode.JSONL:
            return Output(bucket, run.lines_key, None)
        relative = image.key.removeprefix(self._settings.input_prefix)
        return Output(bucket, f"{self._settings.output_prefix}{relative}.json", result.to_line())

    def _lines_key(self, request_id: str) -> str:
        # The time to the microsecond, as Lambda repeats the request id when it retries an asynchronous event.
        now = self._clock().astimezone(UTC)
        return f"{self._settings.output_prefix}dt={now:%Y-%m-%d}/{now:%H%M%S%f}-{request_id}.jsonl"

    def _write_lines(self, run: _Run, done: dict[str, Outcome]) -> None:
        """One object for each output bucket; when that fails, its images are done again on their next delivery."""
        for bucket in sorted({bucket for bucket, _ in run.lines}):
            content = b"".join(line for target, line in run.lines if target == bucket)
            try:
                self._store.write_lines(Output(bucket, run.lines_key, content))
            except TransientError as error:
                for uri, outcome in done.items():
                    if outcome.result and self._settings.output_bucket_for(outcome.image.bucket) == bucket:
                        done[uri] = Outcome(outcome.image, Status.FAILED, error=error)


def _shared(image: ImageRef, outcome: Outcome) -> Outcome:
    """The outcome of an image's newest event, told of one of its events."""
    if image == outcome.image:
        return outcome
    status = outcome.status if outcome.status.to_be_retried else Status.SUPERSEDED
    if image.sequencer == outcome.image.sequencer and status is Status.SUPERSEDED:
        status = Status.DUPLICATE
    return Outcome(image, status, error=outcome.error)


@contextmanager
def _timed(timing: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        timing[stage] = (time.perf_counter() - started) * 1000
