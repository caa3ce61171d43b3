"""One image: ask the table, claim, fetch, classify, record."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from classifier.admission import ByteBudget, Deadline
from classifier.classification import Classifier, classify_image, model_identity
from classifier.errors import (
    BucketlensError,
    FatalError,
    ImageTooCostly,
    OutOfTime,
    StorageUnavailable,
    TransientError,
)
from classifier.events import ImageRef
from classifier.records import ImageFacts, Rejection, Result, timestamp
from classifier.settings import OutputMode, Settings
from classifier.store import Output, Recorded, Request, Store
from classifier.table import Standing

_LONGEST_KEY = 1024  # S3 User Guide, "Creating object key names"
# Beyond an invocation's own time: clocks that differ, and a last request that is on its way when the process ends.
_MARGIN_SECONDS = 5.0
# SQS delays a message by at most this.
_LONGEST_DELAY_SECONDS = 900


class OutcomeStatus(StrEnum):
    """What became of an image in this invocation."""

    CLASSIFIED = "classified"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    REMOVED = "removed"
    FAILED = "failed"
    DEFERRED = "deferred"

    @property
    def to_be_retried(self) -> bool:
        return self in (OutcomeStatus.FAILED, OutcomeStatus.DEFERRED)


@dataclass(frozen=True)
class Outcome:
    """One image's end.

    Attributes:
        result: when it was classified or rejected.
        error: when it failed, or was deferred for a reason of its own.
        retry_in: when it was deferred, the seconds until there is a point in trying again.
    """

    image: ImageRef
    status: OutcomeStatus
    result: Result | None = None
    error: BucketlensError | None = None
    retry_in: int = 0


class Lines:
    """The documents of a JSON Lines object that is still to be written, by output bucket.

    Args:
        key: of the object; it is in the table's items before the object is there.
        number: how many objects the invocation has written before.
    """

    def __init__(self, key: str, number: int) -> None:
        self.key = key
        self.number = number
        self.results: dict[str, list[Result]] = {}

    def add(self, bucket: str, result: Result) -> None:
        self.results.setdefault(bucket, []).append(result)


@dataclass
class BatchRun:
    """One batch on its way.

    Attributes:
        request: of this invocation, for telling its attempts from others'.
        lines: what goes into the next JSON Lines object.
        fatal: set once anything shows that nothing in this batch can be right.
    """

    model: Classifier
    request: Request
    deadline: Deadline
    lines: Lines
    fatal: FatalError | None = None


def request(request_id: str, now: datetime, budget_seconds: float) -> Request:
    """An invocation that begins at ``now`` and may take ``budget_seconds``, as may those before it."""
    longest = timedelta(seconds=budget_seconds + _MARGIN_SECONDS)
    return Request(request_id, timestamp(now - longest), timestamp(now - 2 * longest))


class Processor:
    """Takes images from reference to recorded result. Safe to call from several threads.

    Args:
        budget: bounds the bytes of files in memory.
        clock: the time, aware.
    """

    def __init__(self, store: Store, settings: Settings, budget: ByteBudget, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._budget = budget
        self._clock = clock

    def process(self, image: ImageRef, run: BatchRun, *, alone: bool = False) -> Outcome:
        """Classify an image, unless the table says that it is done, and record the result.

        Args:
            alone: claim the image first, so that an attempt which ends the process is known for it afterwards.
        """
        number = None if run.fatal is not None else run.deadline.begin()
        if number is None:
            return Outcome(image, OutcomeStatus.DEFERRED)
        known: Outcome | None = None
        try:
            known, seen = self.known(image, run)
            return known or self._attempt(image, seen, run, alone)
        except OutOfTime as error:
            # The first had all the time there is: sent again for nothing, it would go round for ever.
            return Outcome(image, OutcomeStatus.FAILED if number == 1 else OutcomeStatus.DEFERRED, error=error)
        except TransientError as error:
            return Outcome(image, OutcomeStatus.FAILED, error=error)
        except FatalError as error:
            run.fatal = error
            return Outcome(image, OutcomeStatus.DEFERRED)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this image's and not its neighbours'
            unexpected = BucketlensError(f"unexpected {type(error).__name__}: {error}")
            unexpected.__cause__ = error
            return Outcome(image, OutcomeStatus.FAILED, error=unexpected)
        finally:
            run.deadline.finish(worked=known is None)

    def known(self, image: ImageRef, run: BatchRun) -> tuple[Outcome | None, Standing | None]:
        """The outcome if an earlier delivery has had it, and the image's item where it had to be looked at: for
        redelivered events, and for those without a sequencer, which may replace only what they have seen.

        Raises:
            TransientError, ConfigError
        """
        output = self._output(image, run)
        if image.sequencer is not None and image.receive_count == 1:
            return None, None
        seen = self._store.table.look(image.uri)
        recorded = self._store.judge(seen, image.sequencer, output, run.request)
        return (None if recorded is None else self._ended(image, recorded, run)), seen

    def _attempt(self, image: ImageRef, seen: Standing | None, run: BatchRun, alone: bool) -> Outcome:
        if not alone:
            return self._classify(image, seen, run)
        # Two that take each other's claim for what was there before would put it back when they fail.
        if seen is not None and seen.unfinished and run.request.may_be_running(seen):
            return self._ended(image, Recorded.PENDING, run)
        claim = self._store.table.claim(self._unfinished(image, run), seen, image.sequencer)
        if claim is None:
            raise StorageUnavailable(f"the item of {image.uri} changed while it was claimed")
        try:
            return self._classify(image, claim, run)
        except Exception:
            with suppress(TransientError):  # it then stands, and the next delivery takes it for a death
                self._store.table.withdraw(claim, seen)
            raise

    def _classify(self, image: ImageRef, seen: Standing | None, run: BatchRun) -> Outcome:
        output = self._output(image, run)
        result = self._result(image, run)
        if result.is_of_deleted and self._settings.remove_deleted:
            return self._remove(image, result, seen, run)
        recorded = self._store.record(result, output, sequencer=image.sequencer, seen=seen, request=run.request)
        if recorded is not Recorded.WON:
            return self._ended(image, recorded, run)
        if output.is_lines and not result.is_of_deleted:
            run.lines.add(output.bucket, result)
        return Outcome(image, OutcomeStatus(result.status), result)

    def _remove(self, image: ImageRef, result: Result, seen: Standing | None, run: BatchRun) -> Outcome:
        if image.version_id is not None:  # a version that is gone, of an image which may have another
            return self._classify(replace(image, version_id=None), seen, run)
        # Whatever the output mode is: lines stay, an object of its own was written under another mode.
        output = self._document(image)
        recorded = self._store.remove(result, output, sequencer=image.sequencer, seen=seen, request=run.request)
        return self._ended(image, recorded, run)

    def _result(self, image: ImageRef, run: BatchRun) -> Result:
        settings = self._settings
        with self._budget.reservation() as reserve:
            return classify_image(
                ImageFacts(bucket=image.bucket, key=image.key, version_id=image.version_id),
                lambda: self._store.fetch(
                    image, settings.limits.max_bytes, reserve=reserve, time_left=run.deadline.time_left
                ),
                run.model,
                limits=settings.limits,
                top_k=settings.top_k,
                review_threshold=settings.review_threshold,
                time_left=run.deadline.time_left,
                clock=self._clock,
                request_id=run.request.request_id,
            )

    def _unfinished(self, image: ImageRef, run: BatchRun) -> Result:
        return Result(
            image=ImageFacts(bucket=image.bucket, key=image.key, version_id=image.version_id),
            model=model_identity(run.model.manifest),
            classified_at=timestamp(self._clock()),
            request_id=run.request.request_id,
            error=Rejection(
                ImageTooCostly.code,
                f"classification was started {image.receive_count} times and never finished: the function crashed, or"
                " ran out of memory or time. See its log; lower MAX_IMAGE_PIXELS, or give the function more memory",
            ),
        )

    def _ended(self, image: ImageRef, recorded: Recorded, run: BatchRun) -> Outcome:
        if recorded not in (Recorded.PENDING, Recorded.UNSETTLED):
            return Outcome(image, OutcomeStatus(recorded))
        wait = run.deadline.budget + _MARGIN_SECONDS
        what = f"another delivery of the same event of {image.uri} may still be writing its result"
        if recorded is Recorded.UNSETTLED:
            wait *= 2
            what = (
                f"the result of {image.uri} is removed, but an older event may still be writing it: looking again later"
            )
        retry_in = min(math.ceil(wait), _LONGEST_DELAY_SECONDS)
        return Outcome(image, OutcomeStatus.DEFERRED, error=StorageUnavailable(what), retry_in=retry_in)

    def _output(self, image: ImageRef, run: BatchRun) -> Output:
        document = self._document(image)
        return Output(document.bucket, run.lines.key) if self._settings.output_mode is OutputMode.JSONL else document

    def _document(self, image: ImageRef) -> Output:
        """Where the object of the image's own is or would be."""
        bucket = self._settings.output_bucket_for(image.bucket)
        return Output(bucket, output_key(image.key, self._settings.input_prefix, self._settings.output_prefix))


def output_key(key: str, input_prefix: str, output_prefix: str) -> str:
    """Where an image's document goes: ``incoming/a/cat.jpg`` to ``predictions/a/cat.jpg.json``.

    Where that would be over the 1,024 bytes that S3 allows, it is cut between two characters and ends in ``~``, the
    first 16 hexadecimal digits of the SHA-256 of the image's key, and ``.json``.
    """
    name = output_prefix + key.removeprefix(input_prefix)
    if len(name.encode()) + len(".json") <= _LONGEST_KEY:
        return f"{name}.json"
    end = f"~{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    return name.encode()[: _LONGEST_KEY - len(end)].decode(errors="ignore") + end
