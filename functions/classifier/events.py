"""Every event shape -> image references.

Understood: S3 notifications, alone or in SQS messages (also by way of SNS or EventBridge), EventBridge "Object
Created" and "Object Deleted", tasks of S3 Batch Operations, and the direct ``{"bucket": ..., "key": ...}``. Formats: S3
User Guide, "Event message structure", "EventBridge event message structure" and "Invoke AWS Lambda function". Event
versions are not pinned; unknown fields are ignored.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

from classifier.errors import UserError

_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SEQUENCER = re.compile(r"[0-9A-Fa-f]+")
# S3 User Guide, "Supported event types for SQS, SNS, and Lambda".
_CREATED, _REMOVED = "ObjectCreated:", ("ObjectRemoved:", "LifecycleExpiration:")
# S3 User Guide, "Creating object key names".
_LONGEST_KEY = 1024
MODEL_QUERY = {"query": "model"}
"""The event that asks which model is served; it names no image."""


class Source(StrEnum):
    """Who invoked the function; it decides what the answer looks like and who retries."""

    SQS = "sqs"
    S3 = "s3"
    EVENTBRIDGE = "eventbridge"
    S3_BATCH = "s3_batch"
    DIRECT = "direct"
    MODEL_QUERY = "model_query"


class Skip(StrEnum):
    """Why an event is not for us."""

    TEST_EVENT = "test_event"
    NOT_CREATED = "not_created"
    OUTSIDE_INPUT_PREFIX = "outside_input_prefix"
    FOLDER_MARKER = "folder_marker"


@dataclass(frozen=True)
class ImageRef:
    """One image to classify, or to find deleted.

    Attributes:
        key: the object key, decoded.
        version_id: None is the current version; always None for deletions, of which only what they left counts.
        sequencer: orders the events of one key, in the form :func:`comparable`; None where the event has none.
        message_id: the SQS message it came in.
        receive_count: how often that message has been received, this time included.
        task_id: the task of S3 Batch Operations that names it.
    """

    bucket: str
    key: str
    version_id: str | None = None
    sequencer: str | None = None
    message_id: str | None = None
    receive_count: int = 1
    task_id: str | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Message:
    """An SQS message as Lambda hands it over."""

    body: str
    receipt_handle: str
    receive_count: int


@dataclass
class Batch:
    """What one invocation brings.

    Attributes:
        skipped: events that are not for us, by reason.
        messages: those of an SQS batch, by id. A message without an id has "" for one: as a batch item failure, that
            makes Lambda deliver the whole batch again, the only way to have such a message again.
        tasks: those of S3 Batch Operations by id, each with the reason if it is skipped.
        unreadable: why a message contains no event, or a task names no object, by its id; such messages belong in the
            dead-letter queue.
    """

    source: Source
    images: list[ImageRef] = field(default_factory=list)
    skipped: Counter[Skip] = field(default_factory=Counter)
    messages: dict[str, Message] = field(default_factory=dict)
    tasks: dict[str, Skip | None] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def parse(event: Any, input_prefix: str, *, removals: bool = False) -> Batch:
    """Read an event of any shape.

    Args:
        removals: deletions are for us, too.

    Raises:
        UserError: it is none of the shapes, or a field of it is not what it must be.
    """
    if not isinstance(event, dict):
        raise UserError(f"the event is {type(event).__name__}, not a JSON object")
    if event == MODEL_QUERY:
        return Batch(Source.MODEL_QUERY)
    records = event.get("Records")
    if isinstance(records, list) and any(_is_from(record, "aws:sqs") for record in records):
        return _parse_messages(records, input_prefix, removals)
    if "invocationSchemaVersion" in event and isinstance(event.get("tasks"), list):
        return _parse_tasks(event["tasks"], input_prefix)
    batch = Batch(_source(event))
    for found in _found(event, input_prefix, removals):
        _add(batch, found)
    return batch


def comparable(sequencer: str | None) -> str | None:
    """A sequencer in a form that string comparison, DynamoDB's too, puts in the order of events.

    Sequencers are hexadecimal, of unequal lengths, upper case in S3 notifications and lower case in EventBridge;
    the rule is to pad the shorter with zeros on the right, then compare. Dropping trailing zeros orders the same.
    """
    return sequencer.upper().rstrip("0") or "0" if sequencer else None


def _source(event: dict[str, Any]) -> Source:
    if "Records" in event or "Event" in event:
        return Source.S3
    return Source.EVENTBRIDGE if "detail" in event else Source.DIRECT


def _parse_messages(records: list[Any], input_prefix: str, removals: bool) -> Batch:
    batch = Batch(Source.SQS)
    for record in records:
        fields = record if isinstance(record, dict) else {}
        message_id, message = _text(fields, "messageId", default=""), _message(fields)
        batch.messages[message_id] = message
        try:
            found = list(_found(json.loads(message.body), input_prefix, removals))
        # RecursionError: JSON nested some thousand levels deep.
        except (UserError, ValueError, RecursionError) as error:
            batch.unreadable[message_id] = f"{type(error).__name__}: {error}"
            continue
        for one in found:
            if isinstance(one, ImageRef):
                one = replace(one, message_id=message_id, receive_count=message.receive_count)  # noqa: PLW2901
            _add(batch, one)
    return batch


def _message(fields: dict[str, Any]) -> Message:
    """What is not there is empty: a body that is no JSON, attributes of a message that comes for the first time."""
    attributes = fields.get("attributes")
    received = _text(attributes, "ApproximateReceiveCount", default="") if isinstance(attributes, dict) else ""
    return Message(
        body=_text(fields, "body", default=""),
        receipt_handle=_text(fields, "receiptHandle", default=""),
        receive_count=int(received) if received.isascii() and received.isdigit() else 1,
    )


def _parse_tasks(tasks: list[Any], input_prefix: str) -> Batch:
    batch = Batch(Source.S3_BATCH)
    for task in tasks:
        if not isinstance(task, dict):
            raise UserError("a task of the event is not a JSON object")
        task_id = _text(task, "taskId")
        try:
            image = replace(_from_task(task), task_id=task_id)
        except (UserError, ValueError) as error:
            batch.tasks[task_id] = None
            batch.unreadable[task_id] = f"{type(error).__name__}: {error}"
            continue
        batch.tasks[task_id] = _skip(image, input_prefix)
        _add(batch, batch.tasks[task_id] or image)
    return batch


def _add(batch: Batch, found: ImageRef | Skip) -> None:
    if isinstance(found, ImageRef):
        batch.images.append(found)
    else:
        batch.skipped[found] += 1


def _found(event: Any, input_prefix: str, removals: bool) -> Iterator[ImageRef | Skip]:
    for found in _references(event, removals):
        yield (isinstance(found, ImageRef) and _skip(found, input_prefix)) or found


def _skip(image: ImageRef, input_prefix: str) -> Skip | None:
    if not image.key.startswith(input_prefix):
        return Skip.OUTSIDE_INPUT_PREFIX
    # Consoles and tools make "folders" by putting an object whose key ends with a slash.
    return Skip.FOLDER_MARKER if image.key.endswith("/") else None


def _references(event: Any, removals: bool) -> Iterator[ImageRef | Skip]:
    if not isinstance(event, dict):
        raise UserError(f"the event is {type(event).__name__}, not a JSON object")
    if event.get("Event") == "s3:TestEvent":
        yield Skip.TEST_EVENT
    elif event.get("Type") == "Notification" and isinstance(event.get("Message"), str):
        yield from _references(json.loads(event["Message"]), removals)
    elif isinstance(event.get("Records"), list):
        yield from (_from_s3_record(record, removals) for record in event["Records"])
    elif event.get("source") == "aws.s3" and isinstance(event.get("detail"), dict):
        yield _from_eventbridge(event, removals)
    elif isinstance(event.get("bucket"), str) and isinstance(event.get("key"), str):
        yield _image(event["bucket"], event["key"], event.get("version_id"), None)
    else:
        raise UserError(
            "the event is not one of: S3 notification, SQS batch of them, EventBridge S3 event, S3 Batch Operations, "
            f'{{"bucket": ..., "key": ...}}, {json.dumps(MODEL_QUERY)}; its fields are {sorted(event)}'
        )


def _from_s3_record(record: Any, removals: bool) -> ImageRef | Skip:
    if not _is_from(record, "aws:s3"):
        raise UserError("a record of the event is not an S3 notification")
    name = _text(record, "eventName").removeprefix("s3:")
    removed = removals and name.startswith(_REMOVED)
    if not removed and not name.startswith(_CREATED):
        return Skip.NOT_CREATED
    described = _object(record, "s3")
    stored = _object(described, "object")
    key = unquote_plus(_text(stored, "key"), errors="strict")
    version_id = None if removed else stored.get("versionId")
    return _image(_text(_object(described, "bucket"), "name"), key, version_id, stored.get("sequencer"))


def _from_eventbridge(event: dict[str, Any], removals: bool) -> ImageRef | Skip:
    removed = removals and event.get("detail-type") == "Object Deleted"
    if not removed and event.get("detail-type") != "Object Created":
        return Skip.NOT_CREATED
    stored = _object(event["detail"], "object")
    bucket = _text(_object(event["detail"], "bucket"), "name")
    version_id = None if removed else stored.get("version-id")
    return _image(bucket, _text(stored, "key"), version_id, stored.get("sequencer"))


def _from_task(task: dict[str, Any]) -> ImageRef:
    """Schema 2.0 has the bucket's name, 1.0 its ARN. The key is URL-encoded in both."""
    bucket = _text(task, "s3Bucket", default="") or _text(task, "s3BucketArn").rpartition(":")[2]
    return _image(bucket, unquote_plus(_text(task, "s3Key"), errors="strict"), task.get("s3VersionId"), None)


def _image(bucket: str, key: str, version_id: Any, sequencer: Any) -> ImageRef:
    """Nothing that S3 itself could not have sent gets any further: names also go into URIs, items and log lines."""
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"{bucket!r} is not the name of a bucket")
    if not 0 < len(_utf8("key", key)) <= _LONGEST_KEY:
        raise UserError(f"the key has {len(_utf8('key', key)):,} bytes of UTF-8; a key of S3 has 1 to {_LONGEST_KEY:,}")
    # "null" is the version of an object put while versioning was off: what a plain GET gives.
    version = None if version_id in (None, "", "null") else version_id
    if not isinstance(version, str | None):
        raise UserError(f"the version id is {version!r}, not text")
    if sequencer not in (None, "") and not (isinstance(sequencer, str) and _SEQUENCER.fullmatch(sequencer)):
        raise UserError(f"the sequencer is {sequencer!r}, not a hexadecimal number")
    _utf8("version id", version or "")
    return ImageRef(bucket=bucket, key=key, version_id=version, sequencer=comparable(sequencer))


def _utf8(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"the {what} {text!a} is not Unicode text: it holds half of a surrogate pair") from error


def _text(fields: dict[str, Any], name: str, *, default: str | None = None) -> str:
    value = fields.get(name)
    if isinstance(value, str):
        return value
    if default is None:
        raise UserError(f"{name} is {json.dumps(value)[:40]}, not text" if name in fields else f"there is no {name}")
    return default


def _object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise UserError(f"{name} is not a JSON object" if name in fields else f"there is no {name}")
    return value


def _is_from(record: Any, source: str) -> bool:
    return isinstance(record, dict) and record.get("eventSource") == source
