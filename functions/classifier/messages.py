"""The SQS messages of a batch: which are done, which are sent again, which stay in the queue as failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from classifier.aws_calls import AwsError
from classifier.events import Batch, Message
from classifier.json_api import Sqs
from classifier.processor import Outcome, OutcomeStatus

# SQS takes 10 entries a request and, in every region, 256 KiB of bodies.
_ENTRIES = 10
_BYTES = 262_144


class Queue:
    """The queue that feeds the function.

    Args:
        connect: makes the client when it is first needed.
    """

    def __init__(self, url: str, connect: Callable[[], Sqs]) -> None:
        self._url = url
        self._connect = connect
        self._client: Sqs | None = None

    def send_again(self, messages: Mapping[str, tuple[Message, int]]) -> set[str]:
        """Send copies as new messages.

        Args:
            messages: by id, each with the seconds until it may be received.

        Returns:
            The ids of those that SQS has taken. An answer that is lost leaves out some that were: they come twice.
        """
        sent = set()
        for chunk in _chunks(messages):
            # An id of an entry is 80 letters at most, whatever the message's is.
            ids = {str(number): message_id for number, message_id in enumerate(chunk)}
            entries = [
                {"Id": number, "MessageBody": messages[message_id][0].body, "DelaySeconds": messages[message_id][1]}
                for number, message_id in ids.items()
            ]
            try:
                response = self._sqs().send_message_batch(QueueUrl=self._url, Entries=entries)
            except AwsError:
                continue  # they stay in the queue, as if this had not been tried
            sent |= {ids[entry["Id"]] for entry in response.get("Successful", [])}
        return sent

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages, as far as SQS answers; those that remain are delivered again and found to be done."""
        for start in range(0, len(messages), _ENTRIES):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt_handle}
                for number, message in enumerate(messages[start : start + _ENTRIES])
            ]
            try:
                self._sqs().delete_message_batch(QueueUrl=self._url, Entries=entries)
            except AwsError:
                return

    def _sqs(self) -> Sqs:
        if self._client is None:
            self._client = self._connect()
        return self._client


class Messages:
    """What becomes of each message of a batch: done when all of its images are.

    Args:
        queue: None where it is not known: then nothing is sent or deleted, and what is deferred counts as failed.
    """

    def __init__(self, batch: Batch, queue: Queue | None) -> None:
        self._batch = batch
        self._queue = queue
        self._images = Counter(image.message_id for image in batch.images)
        self._sent: set[str] = set()
        self._deleted: set[str] = set()

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take what is decided out of the batch, so that a death of this process does not bring it back: deferred
        messages are sent again, then these and those that are done are deleted.

        Args:
            outcomes: of some of the batch's images; a message counts when all of its images are among them.
        """
        left = self._left(outcomes)
        self._send_deferred(left)
        over = {message_id for message_id, own in left.items() if not own or message_id in self._sent}
        over -= {*self._deleted, ""}
        if self._queue is not None and over:
            self._queue.delete([self._batch.messages[message_id] for message_id in sorted(over)])
            self._deleted |= over

    def failures(self, outcomes: Sequence[Outcome]) -> set[str]:
        """Send deferred messages again, and tell the ids of those that SQS has to deliver again.

        Args:
            outcomes: of all of the batch's images.
        """
        left = self._left(outcomes)
        self._send_deferred(left)
        return {message_id for message_id, own in left.items() if own} - self._sent | self._batch.unreadable.keys()

    def _left(self, outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
        """What is to be retried of each message whose images are all among ``outcomes``."""
        told = Counter(outcome.image.message_id for outcome in outcomes)
        left: dict[str, list[Outcome]] = {
            message_id: []
            for message_id, count in told.items()
            if message_id is not None and count == self._images[message_id]
        }
        for outcome in outcomes:
            if outcome.status.to_be_retried and outcome.image.message_id in left:
                left[outcome.image.message_id].append(outcome)
        return left

    def _send_deferred(self, left: Mapping[str, list[Outcome]]) -> None:
        # A failed image of the message needs the count of its tries, which a copy would start anew.
        deferred = {
            message_id: (self._batch.messages[message_id], max(outcome.retry_in for outcome in own))
            for message_id, own in left.items()
            # A message without an id may be one of several: "" does not say which.
            if own
            and message_id
            and message_id not in self._sent
            and all(o.status is OutcomeStatus.DEFERRED for o in own)
        }
        if self._queue is not None and deferred:
            self._sent |= self._queue.send_again(deferred)


def _chunks(messages: Mapping[str, tuple[Message, int]]) -> Iterator[list[str]]:
    """Ids of as many messages as one request may hold."""
    chunk: list[str] = []
    size = 0
    for message_id, (message, _) in messages.items():
        length = len(message.body.encode())
        if chunk and (len(chunk) == _ENTRIES or size + length > _BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(message_id)
        size += length
    if chunk:
        yield chunk
