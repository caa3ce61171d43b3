"""Every event shape -> image references.

Understood: S3 notifications, alone or in SQS messages (also by way of SNS or EventBridge), EventBridge "Object
Created", and the direct ``{"bucket": ..., "key": ...}``. Formats: S3 User Guide, "Event message structure" and
"EventBridge event message structure". Event versions are not pinned; unknown fields are ignored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

from classifier.errors import UserError


class Source(StrEnum):
    """Who invoked the function; it decides what the answer looks like and who retries."""

    SQS = "sqs"
    S3 = "s3"
    EVENTBRIDGE = "eventbridge"
    DIRECT = "direct"


class Skip(StrEnum):
    """Why an event is not for us."""

    TEST_EVENT = "test_event"
    NOT_CREATED = "not_created"
    OUTSIDE_INPUT_PREFIX = "outside_input_prefix"
    FOLDER_MARKER = "folder_marker"


@dataclass(frozen=True)
class ImageRef:
    """One image to classify.

    Attributes:
        key: the object key, decoded.
        sequencer: orders the events of one key, in the form :func:`comparable`; None where the event has none.
        message_id: the SQS message it came in.
    """

    bucket: str
    key: str
    version_id: str | None = None
    sequencer: str | None = None
    message_id: str | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass
class Batch:
    """What one invocation brings.

    Attributes:
        skipped: events that are not for us, by reason.
        unreadable: SQS messages that hold no event; they belong in the dead-letter queue, by message id.
    """

    source: Source
    images: list[ImageRef] = field(default_factory=list)
    skipped: Counter[Skip] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)


def parse(event: Any, input_prefix: str) -> Batch:
    """Read an event of any shape.

    Raises:
        UserError: it is none of the shapes.
    """
    if not isinstance(event, dict):
        raise UserError(f"the event is {type(event).__name__}, not a JSON object")
    records = event.get("Records")
    if isinstance(records, list) and records and all(_is_from(record, "aws:sqs") for record in records):
        return _parse_messages(records, input_prefix)
    batch = Batch(_source(event))
    _add(batch, event, input_prefix, None)
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


def _parse_messages(messages: list[dict[str, Any]], input_prefix: str) -> Batch:
    batch = Batch(Source.SQS)
    for message in messages:
        message_id = str(message["messageId"])
        found = Batch(Source.SQS)
        try:
            _add(found, json.loads(message["body"]), input_prefix, message_id)
        except (UserError, ValueError, KeyError, TypeError) as error:
            batch.unreadable[message_id] = f"{type(error).__name__}: {error}"
        else:
            batch.images += found.images
            batch.skipped += found.skipped
    return batch


def _add(batch: Batch, event: Any, input_prefix: str, message_id: str | None) -> None:
    for found in _references(event):
        skip = _skip(found, input_prefix) if isinstance(found, ImageRef) else found
        if isinstance(found, ImageRef) and skip is None:
            batch.images.append(replace(found, message_id=message_id))
        elif skip is not None:
            batch.skipped[skip] += 1


def _skip(image: ImageRef, input_prefix: str) -> Skip | None:
    if not image.key.startswith(input_prefix):
        return Skip.OUTSIDE_INPUT_PREFIX
    # Consoles and tools make "folders" by putting an object whose key ends with a slash.
    return Skip.FOLDER_MARKER if image.key.endswith("/") else None


def _references(event: Any) -> Iterator[ImageRef | Skip]:
    if not isinstance(event, dict):
        raise UserError(f"the event is {type(event).__name__}, not a JSON object")
    if event.get("Event") == "s3:TestEvent":
        yield Skip.TEST_EVENT
    elif event.get("Type") == "Notification" and isinstance(event.get("Message"), str):
        yield from _references(json.loads(event["Message"]))
    elif isinstance(event.get("Records"), list):
        yield from map(_from_s3_record, event["Records"])
    elif event.get("source") == "aws.s3" and isinstance(event.get("detail"), dict):
        yield _from_eventbridge(event)
    elif isinstance(event.get("bucket"), str) and isinstance(event.get("key"), str):
        yield _from_request(event)
    else:
        raise UserError(
            "the event is none of: S3 notification, SQS batch of them, EventBridge S3 event, "
            f'{{"bucket": ..., "key": ...}}; its fields are {sorted(event)}'
        )


def _from_s3_record(record: Any) -> ImageRef | Skip:
    if not _is_from(record, "aws:s3"):
        raise UserError("a record of the event is not an S3 notification")
    try:
        name, stored = str(record["eventName"]), record["s3"]["object"]
        if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            return Skip.NOT_CREATED
        return ImageRef(
            bucket=str(record["s3"]["bucket"]["name"]),
            key=unquote_plus(stored["key"]),
            version_id=_version(stored.get("versionId")),
            sequencer=comparable(stored.get("sequencer")),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"the S3 notification lacks {error}") from error


def _from_eventbridge(event: dict[str, Any]) -> ImageRef | Skip:
    if event.get("detail-type") != "Object Created":
        return Skip.NOT_CREATED
    try:
        stored = event["detail"]["object"]
        return ImageRef(
            bucket=str(event["detail"]["bucket"]["name"]),
            key=str(stored["key"]),
            version_id=_version(stored.get("version-id")),
            sequencer=comparable(stored.get("sequencer")),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"the EventBridge event lacks {error}") from error


def _from_request(event: dict[str, Any]) -> ImageRef:
    if not event["bucket"] or not event["key"]:
        raise UserError("bucket and key must not be empty")
    return ImageRef(bucket=event["bucket"], key=event["key"], version_id=_version(event.get("version_id")))


def _version(value: Any) -> str | None:
    # "null" is the version of an object put while versioning was off: what a plain GET gives.
    return None if value in (None, "", "null") else str(value)


def _is_from(record: Any, source: str) -> bool:
    return isinstance(record, dict) and record.get("eventSource") == source
