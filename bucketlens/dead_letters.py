"""The dead-letter queue: what lies in it and why, back to the queue, or away.

SQS has no way to look without receiving. So what is received is held for as long as the work takes, and made visible
again at its end, whatever that is; after a kill SQS does so by itself, within five minutes. Nothing counts the receives
of a dead-letter queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from bucketlens import queues
from bucketlens.stack import Stack
from classifier.errors import ImageNotFound, UserError
from classifier.events import parse
from classifier.records import REMOVED, Status, timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

READERS = 8
_HOLD_SECONDS = 300
# A short poll asks some of SQS's servers and may see nothing where there is something; a long poll asks all.
_LONG_POLL_SECONDS = 1
_LOOK_IN_THE_LOG = "storage or model failure: look in the function's log"


@dataclass(frozen=True)
class DeadLetter:
    """One message.

    Attributes:
        images: URIs of the images that its event names.
        first_sent: when its event was first queued, in seconds since the epoch.
        tries: how often the function had it; None where SQS does not tell (an asynchronous invocation that failed).
        unreadable: why it holds no event, if it does not.
        error: what Lambda says of an asynchronous invocation that failed.
    """

    message_id: str
    receipt_handle: str
    body: str
    images: tuple[str, ...]
    first_sent: float
    tries: int | None
    unreadable: str | None
    error: str | None

    @property
    def first_seen(self) -> str:
        return timestamp(datetime.fromtimestamp(self.first_sent, UTC))


class DeadLetters:
    """The messages of a stack's dead-letter queue, held while the context lasts."""

    def __init__(self, sqs: SQSClient, stack: Stack) -> None:
        self._sqs = sqs
        self._stack = stack
        self._url = stack.dead_letter_queue_url
        self._held: dict[str, str] = {}
        self._tries = _tries(sqs, stack.queue_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make visible again what was not deleted."""
        handles = list(self._held.values())
        for first in range(0, len(handles), queues.BATCH):
            batch = handles[first : first + queues.BATCH]
            self._sqs.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(n), "ReceiptHandle": one, "VisibilityTimeout": 0} for n, one in enumerate(batch)],
            )

    def read(self) -> Iterator[list[DeadLetter]]:
        """Every message once, by tens at most."""
        while True:
            response = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=queues.BATCH,
                VisibilityTimeout=_HOLD_SECONDS,
                WaitTimeSeconds=_LONG_POLL_SECONDS,
                AttributeNames=["SentTimestamp"],
                MessageAttributeNames=["All"],
            )
            messages: list[Any] = [one for one in response.get("Messages", []) if one["MessageId"] not in self._held]
            if not messages:
                return
            self._held |= {one["MessageId"]: one["ReceiptHandle"] for one in messages}
            yield [self._letter(one) for one in messages]

    def redrive(self, letters: Iterable[DeadLetter]) -> None:
        """Send messages to the queue, and delete each only then: a crash in between leaves it in both.

        Raises:
            UserError: the queue refuses one; what was not sent stays.
        """
        letters = list(letters)
        start = 0
        for bodies in queues.batches(letter.body for letter in letters):
            queues.send(self._sqs, self._stack.queue_url, bodies)
            self.delete(letters[start : start + len(bodies)])
            start += len(bodies)

    def delete(self, letters: Iterable[DeadLetter]) -> None:
        """Delete messages for good.

        Raises:
            UserError: SQS refuses.
        """
        letters = list(letters)
        for first in range(0, len(letters), queues.BATCH):
            batch = letters[first : first + queues.BATCH]
            response = self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(n), "ReceiptHandle": one.receipt_handle} for n, one in enumerate(batch)],
            )
            for one in response.get("Successful", []):
                self._held.pop(batch[int(one["Id"])].message_id, None)
            if failed := response.get("Failed"):
                raise UserError(f"queue {self._url} does not delete {len(failed)} messages: {failed[0]['Code']}")

    def _letter(self, message: Any) -> DeadLetter:
        # The function's own reader says what is an event, and of which images.
        record = {"eventSource": "aws:sqs", "messageId": message["MessageId"], "body": message["Body"]}
        batch = parse({"Records": [record]}, self._stack.input_prefix, removals=self._stack.removes_deleted)
        attributes = {name: value.get("StringValue") for name, value in message.get("MessageAttributes", {}).items()}
        skipped = ", ".join(map(str, batch.skipped))
        return DeadLetter(
            message_id=message["MessageId"],
            receipt_handle=message["ReceiptHandle"],
            body=message["Body"],
            images=tuple(dict.fromkeys(image.uri for image in batch.images)),
            first_sent=int(message["Attributes"]["SentTimestamp"]) / 1000,
            tries=None if "ErrorCode" in attributes else self._tries,
            unreadable=batch.unreadable.get(message["MessageId"]) or (f"not an image: {skipped}" if skipped else None),
            error=attributes.get("ErrorMessage") or attributes.get("ErrorCode"),
        )


def reasons(
    letters: Iterable[DeadLetter], s3: S3Client, dynamodb: DynamoDBClient, table: str
) -> Iterator[tuple[DeadLetter, str | None, str]]:
    """Message, image and why it lies here, a row for each image; the image of a message without one is None."""

    def explained(row: tuple[DeadLetter, str | None]) -> tuple[DeadLetter, str | None, str]:
        letter, image = row
        if image is None:
            return letter, None, letter.unreadable or "its event names no image"
        return letter, image, _reason(letter, image, s3, dynamodb, table)

    rows = [(letter, image) for letter in letters for image in letter.images or (None,)]
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(explained, rows)


def _reason(letter: DeadLetter, image: str, s3: S3Client, dynamodb: DynamoDBClient, table: str) -> str:
    found = dynamodb.get_item(TableName=table, Key={"image_uri": {"S": image}}, ConsistentRead=True).get("Item", {})
    item = {name: value["S"] for name, value in found.items() if "S" in value}
    bucket, _, key = image.removeprefix("s3://").partition("/")
    try:
        etag = s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            return f"the image cannot be read: {error.response['Error']['Code']}"
        gone = not item or item.get("status") == REMOVED or item.get("error_code") == ImageNotFound.code
        return "the image is gone" if gone else "the image is gone, and its result is not"
    failure = letter.error or _LOOK_IN_THE_LOG
    if not item or item.get("status") == REMOVED:
        return f"no result: {failure}"
    if item.get("etag", etag) != etag:
        return f"only other content was classified, at {item.get('classified_at')}: {failure}"
    if item.get("status") == Status.REJECTED:
        return f"{item.get('error_code')}: {item.get('error_message')}"
    return f"has been classified since, at {item.get('classified_at')}"


def _tries(sqs: SQSClient, url: str) -> int | None:
    """How often a message is received before SQS moves it here."""
    attributes: Any = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
    return int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"]) if "RedrivePolicy" in attributes else None
