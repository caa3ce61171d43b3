"""Lambda's poller of an SQS queue: receives batches, invokes the function, deletes what succeeded."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from bucketlens.local.batches import RECEIVE_LIMIT, failed_messages, room_for_more, sqs_event, subject
from bucketlens.local.deployment import EventSourceSettings
from bucketlens.local.emulator import FunctionError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_T = TypeVar("_T")
# Lambda polls for 20 s; a second at a time keeps stopping quick.
_LONG_POLL_SECONDS = 1
# Windows and long polls are whole seconds: a rest of less than half of one is none.
_WINDOW_RESOLUTION_SECONDS = 0.5


class Function(Protocol):
    """What runs the batches; ``bucketlens.local.emulator.Emulator`` is one."""

    def start(self) -> None: ...

    def invoke(self, event: object) -> Any: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class BatchReport:
    """How one invocation went.

    Attributes:
        messages: how many there were.
        failed: how many of them stay in the queue.
        given_up: what the failed messages are about that were received for the last time; SQS moves them to the
            dead-letter queue.
        error: the function's error, if the batch failed as a whole.
    """

    messages: int
    failed: int
    seconds: float
    given_up: tuple[str, ...] = ()
    error: FunctionError | None = None


class EventSource:
    """One thread for each function; they take turns at receiving.

    Args:
        functions: each runs one batch at a time. They are started and stopped with the event source.
        retry_after_seconds: when failed messages come back. None is Lambda's rule: when their visibility timeout ends.
        report: called by the threads, after each invocation.
    """

    def __init__(
        self,
        sqs: SQSClient,
        settings: EventSourceSettings,
        functions: Sequence[Function],
        *,
        retry_after_seconds: int | None = None,
        report: Callable[[BatchReport], None] = lambda _: None,
    ) -> None:
        self._sqs = sqs
        self._settings = settings
        self._functions = functions
        self._retry_after_seconds = retry_after_seconds
        self._report = report
        self._receiving = threading.Lock()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start functions and threads; whatever a function raises as it starts is raised here, and all are stopped."""
        started: list[Future[None]] = []
        for number, function in enumerate(self._functions, start=1):
            ready: Future[None] = Future()
            thread = threading.Thread(target=self._work, args=(function, ready), name=f"event-source-{number}")
            thread.daemon = True
            thread.start()
            self._threads.append(thread)
            started.append(ready)
        try:
            for ready in started:
                ready.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End at once; messages of batches that run stay in the queue."""
        self._stopping.set()
        for function in self._functions:
            function.stop()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._ended.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it was stopped. False when the time is over.

        Raises:
            Exception: what ended a thread that should have gone on.
        """
        ended = self._ended.wait(timeout)
        if self._failure is not None:
            raise self._failure
        return ended

    def _work(self, function: Function, ready: Future[None]) -> None:
        try:
            function.start()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            ready.set_exception(error)
            return
        ready.set_result(None)
        try:
            while not self._stopping.is_set():
                with self._receiving:
                    batch = self._collect()
                if batch and not self._stopping.is_set():
                    self._run(function, batch)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            # Endpoints go away as the stack stops; at any other time a poller that dies must not die unnoticed.
            if not (self._stopping.is_set() and isinstance(error, (BotoCoreError, ClientError))):
                self._failure = error
                self._ended.set()
        finally:
            function.stop()

    def _collect(self) -> list[MessageTypeDef]:
        """One batch: full, or as many as came within the window after its first message."""
        batch: list[MessageTypeDef] = []
        deadline = math.inf
        while not self._stopping.is_set() and (room := room_for_more(batch, self._settings.batch_size)) > 0:
            received = self._sqs.receive_message(
                QueueUrl=self._settings.queue_url,
                MaxNumberOfMessages=room,
                WaitTimeSeconds=_LONG_POLL_SECONDS,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if received and not batch:
                deadline = time.monotonic() + self._settings.window_seconds
            batch += received
            if batch and deadline - time.monotonic() < _WINDOW_RESOLUTION_SECONDS:
                break
        return batch

    def _run(self, function: Function, batch: list[MessageTypeDef]) -> None:
        started = time.monotonic()
        ids = [message["MessageId"] for message in batch]
        error = None
        try:
            response = function.invoke(sqs_event(batch, self._settings.queue_arn))
            failed = failed_messages(response, ids) if self._settings.partial_responses else set()
        except FunctionError as raised:
            if self._stopping.is_set():
                return
            failed, error = set(ids), raised
        seconds = time.monotonic() - started
        self._delete([message for message in batch if message["MessageId"] not in failed])
        left = [message for message in batch if message["MessageId"] in failed]
        if self._retry_after_seconds is not None:
            self._show_again(left, self._retry_after_seconds)
        given_up = tuple(subject(message["Body"]) for message in left if self._was_last(message))
        self._report(BatchReport(len(batch), len(left), seconds, given_up, error))

    def _was_last(self, message: MessageTypeDef) -> bool:
        limit = self._settings.max_receive_count
        return limit is not None and int(message["Attributes"]["ApproximateReceiveCount"]) >= limit

    def _delete(self, messages: list[MessageTypeDef]) -> None:
        for chunk in chunks(messages, RECEIVE_LIMIT):
            self._sqs.delete_message_batch(
                QueueUrl=self._settings.queue_url,
                Entries=[{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(chunk)],
            )

    def _show_again(self, messages: list[MessageTypeDef], seconds: int) -> None:
        for chunk in chunks(messages, RECEIVE_LIMIT):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self._settings.queue_url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": seconds}
                    for n, m in enumerate(chunk)
                ],
            )


def chunks(items: Sequence[_T], size: int) -> Iterator[list[_T]]:
    """``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
