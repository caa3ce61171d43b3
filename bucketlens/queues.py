"""Messages into an SQS queue, so many at once that millions go, and what a queue says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BATCH = 10
"""Most messages of one request (SQS quota)."""
_BATCH_BYTES = 256 * 1024
_ATTEMPTS = 5


def batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    """Bodies in groups that one request can carry, in order."""
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == BATCH or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch


def send(sqs: SQSClient, url: str, bodies: Sequence[str]) -> None:
    """Send one batch whole.

    Raises:
        UserError: some messages were refused, again and again; those may be sent twice when all are sent again.
    """
    left = dict(enumerate(bodies))
    failed: list[Any] = []
    for _ in range(_ATTEMPTS):
        response = sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": body} for number, body in left.items()]
        )
        failed = list(response.get("Failed", []))
        left = {int(one["Id"]): left[int(one["Id"])] for one in failed}
        if not left:
            return
    reason = f"{failed[0]['Code']}: {failed[0].get('Message', '')}"
    raise UserError(f"queue {url} refuses {len(failed)} of {len(bodies)} messages: {reason}")


def waiting(sqs: SQSClient, url: str) -> int:
    """About how many messages a queue holds, those being worked on or sent with a delay included."""
    names: Any = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
    attributes: Any = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def visibility_seconds(sqs: SQSClient, url: str) -> int:
    """How long a message that failed stays away before it is tried again."""
    attributes: Any = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    return int(attributes["VisibilityTimeout"])
