"""All images of a batch, within the deadline, so that none of them takes the others with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from classifier.admission import ByteBudget, Deadline
from classifier.classification import Classifier
from classifier.errors import OutOfTime, TransientError
from classifier.events import ImageRef
from classifier.processor import BatchRun, Lines, Outcome, OutcomeStatus, Processor, request
from classifier.settings import Settings
from classifier.store import Output, Store

# Images in flight at once. Fetching and recording are waiting (some 50 ms an image on Lambda), decoding and predicting
# are work (some 10 ms): eight keep one vCPU busy.
IN_FLIGHT = 8
# A death that comes once may be anyone's. What has come back twice runs by itself, so that a third one has a name.
_ALONE_FROM = 3
# By then, if one of the batch is known to have ended a process, it has spent the others' tries: they get new ones.
_NEW_TRIES_FROM = 4

Settle = Callable[[Sequence[Outcome]], None]


class Pipeline:
    """Classifies batches of images.

    Args:
        clock: the time, aware.
        executor: runs the images of a batch; ``IN_FLIGHT`` threads by default.
        budget: bounds the bytes of files in memory; by default what the settings give them.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        executor: Executor | None = None,
        budget: ByteBudget | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._executor = executor or ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="image")
        budget = budget or ByteBudget(settings.bytes_in_flight)
        self._processor = Processor(store, settings, budget, clock)

    def run(
        self,
        images: Sequence[ImageRef],
        model: Classifier,
        request_id: str,
        deadline: Deadline,
        settle: Settle = lambda _: None,
    ) -> list[Outcome]:
        """Classify and record every image that fits before the deadline.

        Args:
            settle: called with all outcomes so far before anything is begun that may end the process.

        Returns:
            One outcome an image, in order. Several events of one image in a batch are one piece of work: the newest
            is done, the others end as it ends.

        Raises:
            FatalError: nothing in this batch can be right.
        """
        now = self._clock()
        run = BatchRun(model, request(request_id, now, deadline.budget), deadline, self._lines(request_id, 0))
        newest = _newest(images)
        done: dict[str, Outcome] = {}

        def settle_done() -> None:
            settle([_shared(image, done[image.uri]) for image in images if image.uri in done])

        # Whoever comes for the first or second time may end the process, and whoever was begun alone has: before that,
        # those that others have cost two tries get their turn.
        due, begun = self._due_alone([image for image in newest if image.receive_count >= _ALONE_FROM], run, done)
        self._run_alone(due, run, done, settle_done)
        together = [image for image in newest if image.receive_count < _ALONE_FROM]
        if done and together and run.fatal is None:
            settle_done()
        # Those that were begun come last, so they would starve where each batch is more than its time allows.
        deadline.keep(0.5 if begun else 0.0)
        for outcome in self._executor.map(lambda image: self._processor.process(image, run), together):
            done[outcome.image.uri] = outcome
        self._write_lines(run, done)
        deadline.keep(0.0)
        for image in begun:
            self._run_alone([image], run, done, settle_done)
            if done[image.uri].status is OutcomeStatus.DEFERRED:
                # A new message would have new tries, and could go on ending processes for ever.
                error = done[image.uri].error or OutOfTime("no time was left for it")
                done[image.uri] = Outcome(image, OutcomeStatus.FAILED, error=error)
        if run.fatal is not None:
            raise run.fatal
        return [_shared(image, done[image.uri]) for image in images]

    def _due_alone(
        self, images: list[ImageRef], run: BatchRun, done: dict[str, Outcome]
    ) -> tuple[list[ImageRef], list[ImageRef]]:
        """Those with something left to do: never begun alone before, and begun, the one that waited longest first."""
        due: list[ImageRef] = []
        begun: list[tuple[str, ImageRef]] = []
        for image, (known, begun_at) in zip(
            images, self._executor.map(lambda image: self._known(image, run), images), strict=True
        ):
            if known is not None:
                done[image.uri] = known
            elif begun_at:
                begun.append((begun_at, image))
            else:
                due.append(image)
        if begun:
            for image in due[1:]:
                if image.receive_count >= _NEW_TRIES_FROM:
                    done[image.uri] = Outcome(image, OutcomeStatus.DEFERRED)
        waiting = [image for _, image in sorted(begun, key=lambda entry: entry[0])]
        return [image for image in due if image.uri not in done], waiting

    def _run_alone(
        self, images: list[ImageRef], run: BatchRun, done: dict[str, Outcome], settle: Callable[[], None]
    ) -> None:
        for image in images:
            if run.fatal is None:
                settle()
            done[image.uri] = self._processor.process(image, run, alone=True)
            self._write_lines(run, done)

    def _known(self, image: ImageRef, run: BatchRun) -> tuple[Outcome | None, str]:
        """The outcome if there is nothing to do; otherwise when it was begun alone before, or ""."""
        try:
            known, seen = self._processor.known(image, run)
        except TransientError as error:
            return Outcome(image, OutcomeStatus.FAILED, error=error), ""
        begun = seen is not None and seen.unfinished and image.sequencer in (None, seen.sequencer)
        return known, seen.classified_at if seen is not None and begun else ""

    def _lines(self, request_id: str, number: int) -> Lines:
        # The time to the microsecond, as Lambda repeats the request id when it retries an asynchronous event.
        now = self._clock().astimezone(UTC)
        counted = f"-{number}" if number else ""
        key = f"{self._settings.output_prefix}dt={now:%Y-%m-%d}/{now:%H%M%S%f}-{request_id}{counted}.jsonl"
        return Lines(key, number)

    def _write_lines(self, run: BatchRun, done: dict[str, Outcome]) -> None:
        """One object for each output bucket; when that fails, its images are done again on their next delivery."""
        if not run.lines.results:
            return
        lines, run.lines = run.lines, self._lines(run.request.request_id, run.lines.number + 1)
        for bucket, results in sorted(lines.results.items()):
            try:
                self._store.write_lines(Output(bucket, lines.key), b"".join(result.to_line() for result in results))
            except TransientError as error:
                for result in results:
                    image = done[result.image_uri].image
                    done[result.image_uri] = Outcome(image, OutcomeStatus.FAILED, error=error)


def _newest(images: Sequence[ImageRef]) -> list[ImageRef]:
    """One event an image, the newest, with the highest receive count of them all."""
    newest: dict[str, ImageRef] = {}
    for image in images:
        standing = newest.get(image.uri, image)
        newer = image if (image.sequencer or "") > (standing.sequencer or "") else standing
        newest[image.uri] = replace(newer, receive_count=max(image.receive_count, standing.receive_count))
    return list(newest.values())


def _shared(image: ImageRef, outcome: Outcome) -> Outcome:
    """The outcome of an image's newest event, told of one of its events."""
    if (image.message_id, image.sequencer) == (outcome.image.message_id, outcome.image.sequencer):
        return replace(outcome, image=image)
    status = outcome.status if outcome.status.to_be_retried else OutcomeStatus.SUPERSEDED
    if image.sequencer == outcome.image.sequencer and status is OutcomeStatus.SUPERSEDED:
        status = OutcomeStatus.DUPLICATE
    return Outcome(image, status, error=outcome.error, retry_in=outcome.retry_in)
