"""The clients that a simulated process is given: the interface of the function's own, with a network that fails.

Every call is at least one step. Calls are made again as :mod:`classifier.aws_calls` does it: the same request is sent
after an error of the service or the connection, also when only the answer had been lost.
"""

# ruff: noqa: N803 -- arguments have the names of the services' APIs.

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from classifier.aws_calls import TRIES, AwsError, NoAnswer
from tests.soak.scheduler import Process
from tests.soak.services import Bucket, Queue, StoredObject, Table, refused

if TYPE_CHECKING:
    from tests.soak.world import World

READ_TIMEOUT = 8.0
_THROTTLED = {
    "s3": ("SlowDown", 503),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "sqs": ("RequestThrottled", 403),
}


@dataclass(frozen=True)
class FaultRates:
    """The probability of each fault, per request sent.

    Attributes:
        throttled: the service asks to slow down.
        unavailable: the service answers 500; nothing was done.
        refused: no connection; nothing was done.
        stalled: no answer within the read timeout; nothing was done.
        lost: done, but the connection breaks before the answer.
        lost_late: done, but no answer within the read timeout.
        overdue: no answer within the read timeout, and done up to four seconds after it was sent, whether or not the
            sender still lives.
        conflict: a conditional PUT or DELETE answers 409 because another one is under way.
        body: reading an object's body is cut, reset or stalls.
    """

    throttled: float = 0.0
    unavailable: float = 0.0
    refused: float = 0.0
    stalled: float = 0.0
    lost: float = 0.0
    lost_late: float = 0.0
    overdue: float = 0.0
    conflict: float = 0.0
    body: float = 0.0


class Client:
    """What the clients of all services have in common."""

    service: str

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        rates = world.profile.faults
        self._faults = [
            (name, getattr(rates, name))
            for name in ("throttled", "unavailable", "refused", "stalled", "lost", "lost_late", "overdue")
            if getattr(rates, name)
        ]

    def _call(self, operation: str, what: str, resource: str, effect: Callable[[], Any]) -> Any:
        world, scheduler = self._world, self._world.scheduler
        world.calls.add((self.service, operation, resource))
        attempt = 0
        while True:
            attempt += 1
            self._process.step()
            scheduler.sleep(world.random.expovariate(20.0))
            fault = self._fault()
            if world.trace is not None:
                world.say(f"{self._process.name} {operation} {what}" + (f" [{fault}]" if fault else ""))
            try:
                answer = self._answer(operation, fault, effect)
            except NoAnswer as error:
                failure: AwsError = error
            except AwsError as error:
                if world.trace is not None:
                    world.say(f"{self._process.name}   {operation} {what} answers {error.code}")
                self._arrive()
                if fault is None:
                    raise
                failure = error
            else:
                self._arrive()
                return answer
            if attempt == TRIES:
                world.disturb(self._process, f"{operation} {what} failed: {fault}")
                raise failure
            scheduler.sleep(world.random.random() * 2 ** (attempt - 1))

    def _answer(self, operation: str, fault: str | None, effect: Callable[[], Any]) -> Any:
        match fault:
            case None:
                return effect()
            case "throttled":
                raise refused(*_THROTTLED[self.service], operation)
            case "unavailable":
                raise refused("InternalError" if self.service == "s3" else "InternalServerError", 500, operation)
            case "refused":
                raise NoAnswer(f"no connection to {self.service}")
            case "stalled":
                self._world.scheduler.sleep(READ_TIMEOUT)
                raise NoAnswer(f"{self.service} did not answer in time")
            case "overdue":
                self._world.scheduler.call_later(4 * self._world.random.random(), partial(_unheard, effect))
                self._world.scheduler.sleep(READ_TIMEOUT)
                raise NoAnswer(f"{self.service} did not answer in time")
        _unheard(effect)
        self._process.step()
        if fault == "lost_late":
            self._world.scheduler.sleep(READ_TIMEOUT)
            raise NoAnswer(f"{self.service} did not answer in time")
        raise NoAnswer(f"the connection to {self.service} broke")

    def _arrive(self) -> None:
        """The answer's way back, in which others may act and the process may die."""
        self._process.step()
        if self._world.random.random() < 0.3:
            self._world.scheduler.sleep(self._world.random.expovariate(20.0))

    def _fault(self) -> str | None:
        if not self._faults or self._world.all_is_well:
            return None
        drawn = self._world.random.random()
        for name, rate in self._faults:
            drawn -= rate
            if drawn < 0:
                return name
        return None


class S3Client(Client):
    service = "s3"

    def __init__(self, world: World, process: Process, bucket: Bucket) -> None:
        super().__init__(world, process)
        self._bucket = bucket

    def get_object(
        self, *, Bucket: str, Key: str, VersionId: str | None = None, IfNoneMatch: str | None = None
    ) -> dict[str, Any]:
        operation = "GetObject" if VersionId is None else "GetObjectVersion"
        found = self._call(operation, Key, _prefix(Key), lambda: self._read("GetObject", Key, VersionId))
        if IfNoneMatch is not None and found.etag == IfNoneMatch:
            raise refused("304", 304, "GetObject")
        self._world.fetched(self._process, Key)
        return {**_head(found), "Body": _Body(self._world, self._process, Key, found.data)}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return _head(self._call("HeadObject", Key, _prefix(Key), lambda: self._read("HeadObject", Key, None)))

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes,
        ContentType: str = "",
        Metadata: dict[str, str] | None = None,
        IfMatch: str | None = None,
        IfNoneMatch: str | None = None,
    ) -> dict[str, Any]:
        operation = "PutObject" if IfMatch is None else "PutObjectIfMatch"

        def effect() -> StoredObject:
            if IfMatch is not None or IfNoneMatch is not None:
                self._conflict("PutObject")
            return self._bucket.put(Key, Body, Metadata, if_match=IfMatch, if_none_match=IfNoneMatch)

        stored = self._call(operation, Key, _prefix(Key), effect)
        return _head(stored)

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:
        def effect() -> None:
            if IfMatch is not None:
                self._conflict("DeleteObject")
            self._bucket.delete(Key, if_match=IfMatch)

        self._call("DeleteObject" if IfMatch is None else "DeleteObjectIfMatch", Key, _prefix(Key), effect)
        return {}

    def _conflict(self, operation: str) -> None:
        rate = 0.0 if self._world.all_is_well else self._world.profile.faults.conflict
        if self._world.random.random() < rate:
            raise refused("ConditionalRequestConflict", 409, operation)

    def _read(self, operation: str, key: str, version_id: str | None) -> StoredObject:
        try:
            return self._bucket.get(key, operation, version_id)
        except AwsError:
            self._world.calls.add(("s3", "missing object told as 404", _prefix(key)))
            raise


class DynamoDbClient(Client):
    service = "dynamodb"

    def __init__(self, world: World, process: Process, table: Table) -> None:
        super().__init__(world, process)
        self._table = table

    def get_item(self, *, TableName: str, Key: dict[str, Any], ConsistentRead: bool = False) -> dict[str, Any]:
        assert ConsistentRead, "an eventually consistent read is not simulated"
        uri = Key["image_uri"]["S"]
        item = self._call("GetItem", uri, "table", lambda: self._table.items.get(uri))
        return {} if item is None else {"Item": dict(item)}

    def put_item(
        self, *, TableName: str, Item: dict[str, Any], ReturnValues: str = "NONE", **condition: Any
    ) -> dict[str, Any]:
        uri = Item["image_uri"]["S"]
        return self._write("PutItem", uri, ReturnValues, lambda: self._table.put(Item, **condition))

    def delete_item(
        self, *, TableName: str, Key: dict[str, Any], ReturnValues: str = "NONE", **condition: Any
    ) -> dict[str, Any]:
        uri = Key["image_uri"]["S"]
        return self._write("DeleteItem", uri, ReturnValues, lambda: self._table.delete(uri, **condition))

    def _write(self, operation: str, uri: str, wanted: str, effect: Callable[[], Any]) -> dict[str, Any]:
        old = self._call(operation, uri, "table", effect)
        return {"Attributes": dict(old)} if old is not None and wanted == "ALL_OLD" else {}


class SqsClient(Client):
    service = "sqs"

    def __init__(self, world: World, process: Process, queue: Queue) -> None:
        super().__init__(world, process)
        self._queue = queue

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self._check(Entries)

        def effect() -> dict[str, Any]:
            answer: dict[str, Any] = {"Successful": [], "Failed": []}
            for entry in Entries:
                # Part of a batch may fail although the call succeeds.
                rate = 0.0 if self._world.all_is_well else self._world.profile.faults.throttled
                if self._world.random.random() < rate:
                    self._world.disturb(self._process, "an entry of SendMessageBatch failed")
                    answer["Failed"].append({"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"})
                    continue
                delay = float(entry.get("DelaySeconds", 0))
                message_id = self._world.deferred(entry["MessageBody"], delay)
                answer["Successful"].append({"Id": entry["Id"], "MessageId": message_id})
            return {name: entries for name, entries in answer.items() if entries}

        return dict(self._call("SendMessageBatch", f"{len(Entries)} messages", "queue", effect))

    def delete_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self._check(Entries)

        def effect() -> dict[str, Any]:
            for entry in Entries:
                self._queue.delete(entry["ReceiptHandle"].split("/")[0])
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        return dict(self._call("DeleteMessageBatch", f"{len(Entries)} messages", "queue", effect))

    @staticmethod
    def _check(entries: list[dict[str, Any]]) -> None:
        if not 1 <= len(entries) <= 10:
            raise refused("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", 400, "Batch")
        if len({entry["Id"] for entry in entries}) < len(entries):
            raise refused("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400, "Batch")


class _Body:
    """A body that may break off, as :class:`classifier.connections.Answer` tells it."""

    def __init__(self, world: World, process: Process, key: str, data: bytes) -> None:
        self._world = world
        self._process = process
        self._key = key
        self._data = data

    def read(self) -> bytes:
        world = self._world
        self._process.step()
        profile = world.profile
        if profile.faults.body and not world.all_is_well:
            drawn = world.random.random() / profile.faults.body
            if drawn < 1:
                world.say(f"{self._process.name} body of {self._key} breaks")
                world.disturb(self._process, f"body of {self._key}")
                if drawn < 0.5:
                    world.scheduler.sleep(READ_TIMEOUT)
                    raise NoAnswer("s3 did not answer in time")
                raise NoAnswer(f"s3 sent {len(self._data) // 2} of {len(self._data)} bytes of an answer")
        return self._data

    def close(self) -> None:
        """Nothing is held."""


def _unheard(effect: Callable[[], Any]) -> None:
    """Do it; nobody hears whether it was refused."""
    with suppress(AwsError):
        effect()


def _head(found: StoredObject) -> dict[str, Any]:
    version = {} if found.version_id is None else {"VersionId": found.version_id}
    return {
        "ETag": found.etag,
        "ContentLength": len(found.data),
        "Metadata": dict(found.metadata),
        **version,
    }


def _prefix(key: str) -> str:
    return key.partition("/")[0] + "/"
