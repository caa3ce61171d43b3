"""S3, DynamoDB and SQS as state: what an operation does when it arrives. No network, no time of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from classifier.aws_calls import AwsError
from tests.soak.expressions import holds

MAX_RECEIVES = 5


def refused(code: str, status: int, operation: str, **more: Any) -> AwsError:
    """The answer of a service that does not do what it was asked, as the function's clients raise it."""
    return AwsError(f"{operation} was answered {code}: simulated", code=code, status=status, answer=more)


@dataclass(frozen=True)
class StoredObject:
    """One version of an S3 object; ``version_id`` is None where the bucket is not versioned."""

    data: bytes
    etag: str
    version_id: str | None
    metadata: Mapping[str, str]


class Bucket:
    """An S3 bucket. ETags carry their quotes, as S3's do."""

    def __init__(self, *, versioned: bool) -> None:
        self.versioned = versioned
        self.objects: dict[str, StoredObject] = {}
        """The current objects."""
        self._versions: dict[str, list[StoredObject | None]] = {}
        """Of each key where they are kept, oldest first; None is a delete marker."""
        self._count = 0

    def put(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str] | None = None,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> StoredObject:
        if len(key.encode()) > 1024:
            raise refused("KeyTooLongError", 400, "PutObject")
        if if_none_match is not None and key in self.objects:
            raise refused("PreconditionFailed", 412, "PutObject")
        self._check(key, if_match, "PutObject")
        self._count += 1
        version = f"v{self._count}" if self.versioned else None
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        stored = StoredObject(data, etag, version, dict(metadata or {}))
        self.objects[key] = stored
        if self.versioned:
            self._versions.setdefault(key, []).append(stored)
        return stored

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete the current object; where versions are kept, older ones stay readable by their id."""
        self._check(key, if_match, "DeleteObject")
        self.objects.pop(key, None)
        if self.versioned:
            self._versions.setdefault(key, []).append(None)

    def delete_version(self, key: str, place: int) -> None:
        """Delete one version, or a delete marker, for good: what was there before it may be current again."""
        versions = self._versions[key]
        del versions[place % len(versions)]
        self.objects.pop(key, None)
        if versions and versions[-1] is not None:
            self.objects[key] = versions[-1]

    def versions(self, key: str) -> list[StoredObject | None]:
        return self._versions.get(key, [])

    def _check(self, key: str, if_match: str | None, operation: str) -> None:
        if if_match is None:
            return
        if key not in self.objects:
            raise refused("NoSuchKey", 404, operation)
        if if_match != self.objects[key].etag:
            raise refused("PreconditionFailed", 412, operation)

    def get(self, key: str, operation: str, version_id: str | None = None) -> StoredObject:
        found = self.objects.get(key)
        if version_id is not None:
            kept = (version for version in self.versions(key) if version and version.version_id == version_id)
            found = next(kept, None)
        if found is None:
            code = "404" if operation == "HeadObject" else "NoSuchKey" if version_id is None else "NoSuchVersion"
            raise refused(code, 404, operation)
        return found


_CONDITION = (
    "ConditionExpression",
    "ExpressionAttributeValues",
    "ExpressionAttributeNames",
    "ReturnValuesOnConditionCheckFailure",
)


class Table:
    """A DynamoDB table with the key ``image_uri``."""

    def __init__(self, on_write: Callable[[str, Mapping[str, Any] | None, Mapping[str, Any] | None], None]) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self._on_write = on_write

    def put(self, item: dict[str, Any], **condition: Any) -> Any:
        key = item["image_uri"]["S"]
        old = self._check("PutItem", key, **condition)
        self.items[key] = dict(item)
        self._on_write(key, old, item)
        return old

    def delete(self, key: str, **condition: Any) -> Any:
        old = self._check("DeleteItem", key, **condition)
        if self.items.pop(key, None) is not None:
            self._on_write(key, old, None)
        return old

    def _check(self, operation: str, key: str, **condition: Any) -> dict[str, Any] | None:
        assert condition.keys() <= set(_CONDITION)
        old = self.items.get(key)
        expression, values, names, on_failure = map(condition.get, _CONDITION)
        if expression is not None and not holds(expression, old or {}, values or {}, names):
            more = {"Item": old} if old is not None and on_failure == "ALL_OLD" else {}
            raise refused("ConditionalCheckFailedException", 400, operation, **more)
        return old


@dataclass
class Message:
    """An SQS message; ``visible_at`` and ``sent_at`` in seconds of virtual time."""

    message_id: str
    body: str
    sent_at: float
    visible_at: float
    receives: list[Any] = field(default_factory=list)
    """The invocation of every receive."""


class Queue:
    """An SQS queue with a dead-letter queue behind it."""

    def __init__(self, visibility: float, on_message: Callable[[float], None]) -> None:
        self.messages: dict[str, Message] = {}
        self.dead: list[Message] = []
        self._visibility = visibility
        self.on_message = on_message
        self._count = 0

    def send(self, body: str, now: float, delay: float = 0.0) -> str:
        self._count += 1
        message = Message(f"m{self._count}", body, now, now + delay)
        self.messages[message.message_id] = message
        self.on_message(message.visible_at)
        return message.message_id

    def next_visible(self) -> float | None:
        return min((message.visible_at for message in self.messages.values()), default=None)

    def receive(self, most: int, now: float, visibility_of: Callable[[Message], float | None]) -> list[Message]:
        """Up to ``most`` visible messages, oldest first; what was received too often already goes to the dead letters.

        Args:
            visibility_of: how long a received message stays hidden, if not for the queue's visibility timeout. That
                is how one message comes to be delivered twice.
        """
        received: list[Message] = []
        for message in list(self.messages.values()):
            if message.visible_at > now or len(received) == most:
                continue
            if len(message.receives) >= MAX_RECEIVES:
                del self.messages[message.message_id]
                self.dead.append(message)
                continue
            hidden = visibility_of(message)
            message.visible_at = now + (self._visibility if hidden is None else hidden)
            self.on_message(message.visible_at)
            received.append(message)
        return received

    def delete(self, message_id: str) -> None:
        self.messages.pop(message_id, None)
