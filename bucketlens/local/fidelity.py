"""Where moto's server differs from AWS in ways this application depends on, and nothing else.

1. S3's notifications carry a ``sequencer`` (and, in a versioned bucket, the ``versionId``) and leave the slashes of a
   URL-encoded key alone; moto's do not. Without sequencer events of one key cannot be ordered. (S3 User Guide, "Event
   message structure")
2. A multipart upload is one event, ``CompleteMultipartUpload``; moto sends a ``Put`` before it.
3. In a versioned bucket each deletion is an event, that of one version and that by a delete marker; moto tells only of
   a key's last version.
4. SQS never loses a message when one is deleted while another arrives, nor hands one out twice at the same instant;
   moto's queue is a list that several threads replace and scan without a lock.
5. DynamoDB pages through a large table in seconds; moto tries each of the members that a value might have, level by
   level, which takes milliseconds an item and minutes for a table of 20,000.

Each is a wrapper around one method of moto; ``test_fidelity.py`` fails when moto's side moves.
Conditional writes, which moto does not make atomic either, are dealt with in ``bucketlens.local.server``.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

from moto.core.serialize import BaseJSONSerializer
from moto.s3 import notifications
from moto.s3.models import FakeKey, S3Backend
from moto.s3.notifications import S3NotificationEvent
from moto.sqs.models import Message, Queue, SQSBackend

_POLL_SECONDS = 1.0


class Sequencer:
    """Hexadecimal numbers of one length, each greater than the one before: over all keys, and across restarts.

    S3 promises the order for one key only; its values have varying lengths, to be padded with zeros on the right.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._numbers = itertools.count(clock_ns())

    def __call__(self) -> str:
        return f"{next(self._numbers):018X}"


def complete_s3_event(
    original: Callable[..., dict[str, Any]], sequencer: Callable[[], str]
) -> Callable[..., dict[str, Any]]:
    """moto's ``_get_s3_event`` with what S3 would have added to ``Records[].s3.object``."""

    @functools.wraps(original)
    def completed(event_name: str, bucket: Any, key: Any, notification_id: str) -> dict[str, Any]:
        event = original(event_name, bucket, key, notification_id)
        for record in event["Records"]:
            described = record["s3"]["object"]
            described["key"] = quote_plus(key.name, safe="/")
            described["sequencer"] = sequencer()
            if bucket.is_versioned:
                described["versionId"] = key.version_id
        return event

    return completed


def one_event_for_a_multipart_upload(original: Callable[..., FakeKey]) -> Callable[..., FakeKey]:
    """moto's ``S3Backend.put_object``, which completes such uploads too, silent when it does."""

    @functools.wraps(original)
    def put_object(*arguments: Any, **named: Any) -> FakeKey:
        if named.get("multipart") is not None:
            named["disable_notification"] = True
        return original(*arguments, **named)

    return put_object


def announce_every_deletion(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto's ``S3Backend.delete_object``, with the event of a delete marker or of a version that was not the last."""

    @functools.wraps(original)
    def delete_object(
        backend: S3Backend, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
    ) -> Any:
        bucket = backend.get_bucket(bucket_name)
        kept = len(bucket.keys.getlist(key_name)) if bucket.is_versioned and key_name in bucket.keys else 0
        deleted, described = original(backend, bucket_name, key_name, version_id=version_id, bypass=bypass)
        left = bucket.keys.getlist(key_name) if key_name in bucket.keys else []
        removed = S3NotificationEvent.OBJECT_REMOVED_DELETE_EVENT
        if version_id is None:
            removed = S3NotificationEvent.OBJECT_REMOVED_DELETE_MARKER_CREATED_EVENT
        if kept and left and len(left) != kept:
            # A delete marker has neither content nor the attributes that an event tells of it.
            version = left[-1].version_id if version_id is None else version_id
            told = SimpleNamespace(name=key_name, version_id=version, size=0, etag='""')
            notifications.send_event(backend.account_id, removed, bucket, told)
        return deleted, described

    return delete_object


def lock_deletion(original: Callable[[Queue, str], None]) -> Callable[[Queue, str], None]:
    """moto's ``Queue.delete_message``, which rebuilds the list, under the lock that ``add_message`` takes."""

    @functools.wraps(original)
    def delete_message(queue: Queue, receipt_handle: str) -> None:
        with queue._messages_lock:
            original(queue, receipt_handle)

    return delete_message


def lock_receiving(original: Callable[..., list[Message]]) -> Callable[..., list[Message]]:
    """moto's ``SQSBackend.receive_message``: the scan under the queue's lock, the long poll outside it."""

    @functools.wraps(original)
    def receive_message(
        backend: SQSBackend,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Message]:
        queue = backend.get_queue(queue_name)
        deadline = time.monotonic() + wait_seconds_timeout
        while True:
            with queue._messages_lock:
                found = original(backend, queue_name, count, 0, visibility_timeout, message_attribute_names)
            remaining = deadline - time.monotonic()
            if found or remaining <= 0:
                return found
            # A message whose visibility timeout ends notifies nobody, so the wait is cut into seconds.
            queue.wait_for_messages(min(_POLL_SECONDS, remaining))  # type: ignore[arg-type]

    return receive_message


def ready_attribute_values(original: Callable[..., None]) -> Callable[..., None]:
    """moto's ``_serialize_type_structure`` for JSON, leaving a table's value alone that is already what is sent."""

    @functools.wraps(original)
    def serialize(serializer: Any, serialized: dict[str, Any], value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and _is_ready(value):
            serialized[key] = value
        else:
            original(serializer, serialized, value, shape, key)

    return serialize


def _is_ready(value: Any) -> bool:
    """Whether it is one member such as ``{"S": "text"}`` without bytes in it, which moto has yet to encode."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((kind, content),) = value.items()
    if kind == "L":
        return all(map(_is_ready, content))
    if kind == "M":
        return all(map(_is_ready, content.values()))
    return kind in ("S", "N", "BOOL", "NULL")


_installed = threading.Event()


def install() -> None:
    """Put the wrappers in place, once a process."""
    if _installed.is_set():
        return
    notifications._get_s3_event = complete_s3_event(notifications._get_s3_event, Sequencer())
    S3Backend.put_object = one_event_for_a_multipart_upload(S3Backend.put_object)  # type: ignore[method-assign]
    S3Backend.delete_object = announce_every_deletion(S3Backend.delete_object)  # type: ignore[method-assign]
    Queue.delete_message = lock_deletion(Queue.delete_message)  # type: ignore[method-assign, assignment]
    SQSBackend.receive_message = lock_receiving(SQSBackend.receive_message)  # type: ignore[method-assign]
    BaseJSONSerializer._serialize_type_structure = ready_attribute_values(  # type: ignore[method-assign]
        BaseJSONSerializer._serialize_type_structure
    )
    _installed.set()
