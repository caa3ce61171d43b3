"""The Lambda function's handler: event in, batch response out.

- SQS: a partial batch response names the messages to deliver again (AWS Lambda Developer Guide, "Reporting batch item
  failures"); everything else in the batch is done with.
- S3 Batch Operations: a result code for each task.
- S3, EventBridge: a summary; what failed for now is raised after all other images are done, and Lambda retries.
- direct: the image's result document, or its status where there is none.
- model query: the model that is served, named as in result documents.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

from aws_lambda_powertools import Logger

from classifier import seed
from classifier.admission import Context, Deadline
from classifier.aws import AwsClients
from classifier.batch_event import BatchEventPublisher
from classifier.batch_operations import task_results
from classifier.errors import BucketlensError, FatalError, OutOfTime, TransientError
from classifier.events import Batch, Source, parse
from classifier.json_api import EventBridge
from classifier.live_model import LiveModel, load_model
from classifier.messages import Messages, Queue
from classifier.metrics import InvocationMetrics
from classifier.pipeline import IN_FLIGHT, Pipeline
from classifier.processor import Outcome, OutcomeStatus
from classifier.serving import ServedModel
from classifier.settings import Settings
from classifier.store import Store

_SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME") or "bucketlens"
logger = Logger(service=_SERVICE)
metrics = InvocationMetrics(os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or "Bucketlens", _SERVICE)


class Application:
    """Everything that lives as long as the process: clients, model, threads.

    Args:
        load: loads the model; called until it succeeds, when there is something to classify.
        queue: feeds the function; None where it is not known.
        publisher: sends an event for each batch; None sends none.
        clients: are told how long an invocation lasts.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], ServedModel],
        pipeline: Pipeline,
        queue: Queue | None = None,
        publisher: BatchEventPublisher | None = None,
        clients: AwsClients | None = None,
    ) -> None:
        self._clients = clients
        self._settings = settings
        self.model = LiveModel(load, logger)
        self._pipeline = pipeline
        self._queue = queue
        self._publisher = publisher

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, events: Callable[[AwsClients], EventBridge] = AwsClients.events
    ) -> Self:
        """Read the settings and make the clients; ``events`` makes EventBridge's.

        Raises:
            ConfigError
        """
        settings = Settings.from_environment(environment)
        logger.setLevel(settings.log_level)
        clients = AwsClients(environment, settings.endpoint_url, connections=IN_FLIGHT)
        s3 = clients.s3()
        queue = Queue(settings.queue_url, clients.sqs) if settings.queue_url else None
        publisher = BatchEventPublisher(_SERVICE, partial(events, clients)) if settings.publish_events else None
        pipeline = Pipeline(Store(s3, clients.dynamodb(), settings.table_name), settings)
        return cls(settings, partial(load_model, settings, s3), pipeline, queue, publisher, clients)

    def handle(self, event: Any, context: Context) -> dict[str, Any]:
        """Classify what the event names and answer in the form its source expects.

        Raises:
            UserError: the event is of no known shape.
            TransientError: images of an S3, EventBridge or direct event are left over, to be retried by who sent it.
            FatalError: nothing in this batch can be right.
        """

        def time_left() -> float:
            return context.get_remaining_time_in_millis() / 1000

        if self._clients is not None:
            self._clients.time_left = time_left
        deadline = Deadline(time_left)
        batch = parse(event, self._settings.input_prefix, removals=self._settings.remove_deleted)
        messages = Messages(batch, self._queue)
        outcomes: list[Outcome] = []
        try:
            # A test event, or what is not for us, is answered without a model: a fresh stack has none.
            if batch.images:
                outcomes = self._pipeline.run(
                    batch.images, self.model.current(), context.aws_request_id, deadline, settle=messages.settle
                )
        except TransientError as error:
            if batch.source is not Source.S3_BATCH:
                raise
            # A function that fails fails the task for good; one that answers is asked again.
            outcomes = [Outcome(image, OutcomeStatus.FAILED, error=error) for image in batch.images]
        _report(batch, outcomes)
        if batch.source is Source.MODEL_QUERY:
            manifest = self.model.current().manifest
            return {"model": {"name": manifest.name, "version": manifest.version, "sha256": manifest.model.sha256}}
        if batch.source is Source.SQS:
            failures = sorted(messages.failures(outcomes))
            self._publish_event(outcomes, context, deadline)
            return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failures]}
        self._publish_event(outcomes, context, deadline)
        if batch.source is Source.S3_BATCH:
            return task_results(event, batch, outcomes)
        return _answer(batch, outcomes)

    def _publish_event(self, outcomes: list[Outcome], context: Context, deadline: Deadline) -> None:
        """Last of all: what is recorded and deferred is safe by then."""
        if self._publisher is None:
            return
        failure = self._publisher.publish(outcomes, context.aws_request_id, deadline.time_left())
        if failure is not None:
            logger.warning("event not published", reason=failure)


# While this process has one thread.
seed.running()
_application: Application | None = None
_cold_starts = 1
try:
    _application = Application.from_environment(os.environ)
    # At import, because Lambda's initialisation has a whole CPU whatever the function's memory.
    _application.model.current()
except BucketlensError as error:
    logger.warning("not ready at cold start; will retry with the first event", code=error.code, reason=str(error))


def handler(event: Any, context: Context) -> dict[str, Any]:
    """Lambda's entry point."""
    global _application, _cold_starts
    logger.append_keys(request_id=context.aws_request_id)
    metrics.count("ColdStarts", _cold_starts)
    _cold_starts = 0
    try:
        if _application is None:
            _application = Application.from_environment(os.environ)
        return _application.handle(event, context)
    except BucketlensError as error:
        metrics.count("FatalErrors", int(isinstance(error, FatalError)))
        logger.error("batch failed", code=error.code, reason=str(error))
        raise
    finally:
        metrics.flush()


def _answer(batch: Batch, outcomes: list[Outcome]) -> dict[str, Any]:
    left = [outcome for outcome in outcomes if outcome.status.to_be_retried]
    if left:
        first = next((outcome.error for outcome in left if outcome.error), None)
        raise first or OutOfTime(f"{len(left)} of {len(outcomes)} images did not fit before the deadline")
    if batch.source is Source.DIRECT:
        return _document(outcomes[0]) if outcomes else {"status": "skipped", "reason": str(next(iter(batch.skipped)))}
    return {
        "images": [_document(outcome) for outcome in outcomes],
        "skipped": {str(reason): count for reason, count in batch.skipped.items()},
    }


def _document(outcome: Outcome) -> dict[str, Any]:
    if outcome.result is not None:
        return outcome.result.to_document()
    return {"status": str(outcome.status), "image": {"bucket": outcome.image.bucket, "key": outcome.image.key}}


def _report(batch: Batch, outcomes: list[Outcome]) -> None:
    counts = Counter(outcome.status for outcome in outcomes)
    metrics.add_batch(outcomes, batch.skipped.total())
    for outcome in outcomes:
        if outcome.error is not None:
            logger.warning(
                "image failed" if outcome.status is OutcomeStatus.FAILED else "image deferred",
                image=outcome.image.uri,
                code=outcome.error.code,
                reason=str(outcome.error),
                # Of what nobody expected, the whole story.
                exc_info=outcome.error.__cause__ if outcome.error.code == BucketlensError.code else None,
            )
        elif outcome.result is not None and outcome.result.error is not None:
            logger.info("image rejected", image=outcome.image.uri, code=outcome.result.error.code)
    what = "task names no object" if batch.source is Source.S3_BATCH else "message contains no event"
    for unreadable_id, reason in batch.unreadable.items():
        logger.error(what, id=unreadable_id, reason=reason)
    logger.info(
        "batch done",
        source=batch.source,
        images={str(status): count for status, count in counts.items()},
        skipped={str(reason): count for reason, count in batch.skipped.items()},
    )
