"""Lambda's rules for batches of SQS messages, as plain functions: the event's shape and what a response means.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Handling errors for an SQS event source".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageAttributeValueOutputTypeDef, MessageTypeDef

RECEIVE_LIMIT = 10
"""Most messages of one ReceiveMessage, DeleteMessageBatch or ChangeMessageVisibilityBatch."""

PAYLOAD_LIMIT = 6 * 1024 * 1024
"""Most bytes of an event (synchronous invocation)."""

_LARGEST_MESSAGE = 256 * 1024


def sqs_event(messages: Iterable[MessageTypeDef], queue_arn: str) -> dict[str, Any]:
    """The event that Lambda makes of received messages."""
    return {"Records": [_record(message, queue_arn) for message in messages]}


def _record(message: MessageTypeDef, queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def _attribute(value: MessageAttributeValueOutputTypeDef) -> dict[str, Any]:
    described: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        described["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        described["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return described


def failed_messages(response: Any, message_ids: Iterable[str]) -> set[str]:
    """Ids of the messages that stay in the queue after a partial batch response.

    All succeeded: the response, or its ``batchItemFailures``, is empty, null or absent. All failed: the response is not
    an object, ``batchItemFailures`` is no list of objects, or an ``itemIdentifier`` is absent, null, empty or not of
    this batch.
    """
    batch = set(message_ids)
    if response is None:
        return set()
    if not isinstance(response, Mapping):
        return batch
    failures = response.get("batchItemFailures")
    if failures is None:
        return set()
    if not isinstance(failures, list):
        return batch
    failed = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        if not isinstance(identifier, str) or identifier not in batch:
            return batch
        failed.add(identifier)
    return failed


def room_for_more(messages: Sequence[MessageTypeDef], batch_size: int) -> int:
    """How many more messages the next receive may ask for; 0 when the batch is full by count or by bytes."""
    used = sum(len(json.dumps(message["Body"])) for message in messages)
    fitting = max(0, PAYLOAD_LIMIT - used) // _LARGEST_MESSAGE
    return min(RECEIVE_LIMIT, batch_size - len(messages), fitting)


def subject(body: str) -> str:
    """What a message is about, for a person to read: the keys in its S3 event, or its beginning."""
    try:
        records = json.loads(body)["Records"]
        return ", ".join(unquote_plus(record["s3"]["object"]["key"]) for record in records)
    except (ValueError, TypeError, KeyError):
        return body[:80]
