"""One world of a seed: the services, what happened in them, and what was noticed that must never be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote_plus

from tests.soak.schedule import BUCKET, INPUT_PREFIX, OUTPUT_PREFIX, Image, Profile
from tests.soak.scheduler import Process, Scheduler
from tests.soak.services import Bucket, Message, Queue, StoredObject, Table

EPOCH = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """An object was created, or one or a version of it deleted, as S3 tells it."""

    key: str
    sequencer: str
    version_id: str | None
    name: str = "ObjectCreated:Put"


@dataclass
class Invocation:
    """One run of the handler.

    Attributes:
        images: the events in it, newest of each key, with the fewest receives of the messages that carried it.
        done: keys whose images had been completely dealt with when it began.
        disturbed: what failed or died in it; with none of that, no message of it may come back.
    """

    request_id: str
    messages: list[Message]
    deadline: float
    images: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    disturbed: list[str] = field(default_factory=list)
    killed: bool = False
    overlapped: bool = False
    """Whether another invocation had one of its images at the same time, or may have, for all that it can know."""


class World:
    """State and history.

    Args:
        tracing: keep a readable line for everything that happens.
    """

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.random = Random(seed)
        self.profile = Profile.draw(self.random)
        self.scheduler = Scheduler()
        self.trace: list[str] | None = [] if tracing else None
        self.violations: list[str] = []
        self.calls: set[tuple[str, str, str]] = set()
        """(service, operation, resource) of every call made."""
        self.bucket = Bucket(versioned=self.profile.versioned)
        self.table = Table(self._item_written)
        self.queue = Queue(self.profile.visibility, lambda _: None)
        self.images: dict[bytes, Image] = {}
        self.history: dict[str, list[Image]] = {}
        """Every image that was put under a key."""
        self.events: list[Event] = []
        self.bodies: dict[str, list[Event]] = {}
        """The events of every message that was made of notifications."""
        self.dead_requests: list[Event] = []
        """Events of asynchronous invocations that failed for good."""
        self.invocations: dict[str, Invocation] = {}
        self.running: dict[Process, Invocation] = {}
        self.published: set[str] = set()
        self.requested: dict[str, int] = {}
        """Direct invocations of each key that ran."""
        self.unanswered: set[str] = set()
        """Keys of direct invocations that failed for good, which nobody but their caller could heal."""
        self.repaired = False
        """Whether whatever went wrong has been mended: nothing fails, and no image does harm any more."""
        self.fetches = 0
        self.classifications = 0
        self.deferrals = 0
        self.kills = 0
        self._sequence = 0x0055AED6DCD90281

    @property
    def all_is_well(self) -> bool:
        return self.repaired or self.scheduler.now > self.profile.faults_until

    def clock(self) -> Callable[[], datetime]:
        """The clock of one process."""
        epoch = EPOCH + timedelta(seconds=self.profile.clock_skew * self.random.uniform(-1, 1))
        return lambda: epoch + timedelta(seconds=self.scheduler.now)

    def say(self, line: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.scheduler.now:10.3f}  {line}")

    def violate(self, what: str) -> None:
        self.say(f"VIOLATION {what}")
        self.violations.append(what)

    # ---- what the outside does -----------------------------------------------------------------------------------

    def put(self, key: str, image: Image) -> Event:
        self.images[image.data] = image
        self.history.setdefault(key, []).append(image)
        stored = self.bucket.put(key, image.data)
        event = Event(key, self._sequencer(), stored.version_id)
        self.events.append(event)
        self.say(f"S3 {key} is put: {image.kind} image {image.label}, etag {stored.etag}, sequencer {event.sequencer}")
        return event

    def delete(self, key: str, version: int | None = None) -> Event:
        """Delete the current object, or where there are any the version of this number, counted round."""
        versions = self.bucket.versions(key)
        if version is None or not versions:
            self.bucket.delete(key)
            name = "ObjectRemoved:DeleteMarkerCreated" if self.bucket.versioned else "ObjectRemoved:Delete"
            event = Event(key, self._sequencer(), "marker" if self.bucket.versioned else None, name)
        else:
            deleted = versions[version % len(versions)]
            self.bucket.delete_version(key, version)
            version_id = "marker" if deleted is None else deleted.version_id
            event = Event(key, self._sequencer(), version_id, "ObjectRemoved:Delete")
        if self.profile.removes:
            self.events.append(event)
        self.say(f"S3 {key}: {event.name}, version {event.version_id}, sequencer {event.sequencer}")
        return event

    def _sequencer(self) -> str:
        """Hexadecimal of unequal lengths; padded on the right with zeros, they sort by time."""
        self._sequence += self.random.randint(1, 1000)
        tail = f"{self.random.randrange(16**4):04X}"[: self.random.randrange(5)]
        return f"{self._sequence:016X}{tail}"

    def notify(self, events: list[Event]) -> str:
        """The body of a message that tells of these events."""
        body = json.dumps(notification(events))
        self.bodies[body] = events
        return body

    def deferred(self, body: str, delay: float) -> str:
        """The function sends a message again."""
        self.deferrals += 1
        if body not in self.bodies:
            self.violate(f"the function sent a message that is not one it was given: {body[:200]}")
        return self.queue.send(body, self.scheduler.now, delay)

    # ---- what is noticed on the way ------------------------------------------------------------------------------

    def disturb(self, process: Process, what: str) -> None:
        if (invocation := self.running.get(process)) is not None:
            invocation.disturbed.append(what)

    def fetched(self, process: Process, key: str) -> None:
        if not key.startswith(INPUT_PREFIX):
            return
        self.fetches += 1
        invocation = self.running[process]
        # What another invocation does to the image meanwhile may undo that it was done when this one began.
        if key in invocation.done and not (invocation.disturbed or invocation.overlapped):
            self.violate(f"{key} was fetched again by {invocation.request_id} although it was done with")

    def _item_written(self, uri: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        """Once a newer event is recorded, an older one never is."""
        before, after = ordering(old), ordering(new)
        if old is not None and "unfinished" not in old and before > after:
            self.violate(f"{uri}: the item of sequencer {before!r} was replaced by one of {after!r}")

    # ---- what stands -----------------------------------------------------------------------------------------------

    def item(self, key: str) -> dict[str, Any] | None:
        return self.table.items.get(f"s3://{BUCKET}/{key}")

    def lines_of(self, item: Mapping[str, Any]) -> int:
        """How many documents of an item stand where it says that its document is."""
        uri = item.get("output_uri", {}).get("S", "")
        stored = self.bucket.objects.get(uri.removeprefix(f"s3://{BUCKET}/"))
        return 0 if stored is None else sum(agree(item, line) for line in documents(stored))

    def is_done(self, event: Event) -> bool:
        """Whether the table and the outputs say everything there is to say of an event."""
        item = self.item(event.key)
        if item is None or "unfinished" in item:
            return False
        standing, own = ordering(item), comparable(event.sequencer)
        if standing != own:
            return standing > own
        if owes_document(item) and not removed(item):
            return self.lines_of(item) > 0
        return self.profile.lines or not any(
            document["image"]["key"] == event.key and not agree(item, document) for _, document in self.documents()
        )

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every result document, with the name of the object it is in."""
        for name, stored in self.bucket.objects.items():
            if name.startswith(OUTPUT_PREFIX):
                for document in documents(stored):
                    yield name, document


def notification(events: list[Event]) -> dict[str, Any]:
    return {"Records": [_record(event) for event in events]}


def _record(event: Event) -> dict[str, Any]:
    stored = {"key": quote_plus(event.key, safe="/"), "sequencer": event.sequencer}
    if event.version_id is not None:
        stored["versionId"] = event.version_id
    return {
        "eventSource": "aws:s3",
        "eventName": event.name,
        "s3": {"bucket": {"name": BUCKET}, "object": stored},
    }


def comparable(sequencer: str) -> str:
    """S3's rule, on its own terms: padded on the right with zeros, they compare as text."""
    return sequencer.ljust(40, "0")


def ordering(item: Mapping[str, Any] | None) -> str:
    return comparable(item["sequencer"]["S"]) if item is not None and "sequencer" in item else ""


def owes_document(item: Mapping[str, Any]) -> bool:
    return bool(item.get("error_code", {}).get("S") != "image.not_found")


def removed(item: Mapping[str, Any]) -> bool:
    """Whether it is a tombstone."""
    return bool(item["status"]["S"] == "removed")


def documents(stored: StoredObject) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stored.data.decode().splitlines()]


def agree(item: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether a result document and an item tell of the same run for the same image with the same outcome."""
    label = document["prediction"]["label"] if "prediction" in document else None
    code = document["error"]["code"] if "error" in document else None
    image = document["image"]
    return bool(
        item["image_uri"]["S"] == f"s3://{image['bucket']}/{image['key']}"
        and item["request_id"]["S"] == document["request_id"]
        and item["classified_at"]["S"] == document["classified_at"]
        and item["status"]["S"] == document["status"]
        and item.get("label", {}).get("S") == label
        and item.get("error_code", {}).get("S") == code
        and item.get("etag", {}).get("S") == image["etag"]
    )
