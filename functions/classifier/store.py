"""Images in, results out, each result with the same effect once.

**What there is.** Of an image: an *item* in the table; a *document*, either a JSON object of its own or a line of a
batch's object. An attempt is named by its request id and time, which item, document's metadata and line all carry; an
event by its sequencer, which orders the events of one key.

**Writing.** First the item, by a conditional put: only over items of older events. Who wins it, and nobody else, writes
the document.

- JSON: where there was no item before, PUT if there is no object (one request, the usual case). Otherwise note the
  object's ETag, make sure that the item is still ours, PUT only if the ETag is unchanged; again from the start when it
  has changed. A newer winner's document is either there before the ETag was read, and then its item is too and we
  stop; or it comes later, and either our PUT fails or it finds ours and replaces it.
- Lines: one object a batch, under a key of its own, when all items of the batch are written.
- A deleted image (``image.not_found``) is owed no document. But where it replaces an item, whose document may be there
  or still be under way, or finds a document, it writes one as any other.

**Reading.** By the item, :meth:`Store.judge` tells of an event: not recorded; *superseded* (the item is of a newer
event); *duplicate* (of this one, and its document is there: that very attempt's, by metadata or by line); *pending* (of
this one, without its document, and so young that who put it may still be running); or left behind, and to be done
again. The same rule serves redelivered messages before the image is fetched, and every put that is refused.

**Deaths.** Before the item: nothing was done. Between item and document: the item is judged left behind once it is
older than an invocation may be, or at once when Lambda itself repeats the request, which it does only with dead ones;
the next delivery replaces exactly that item and goes on. Until then it is deferred, so two deliveries of one event
never both write, and never leave two lines. After the document: duplicate.

**Lost answers.** A call that was not answered is made again, and may meet its own effect. A put refused by an item of
the same attempt is won; what it replaced is then unknown, so the document goes the careful way. A PUT refused by a
document of the same attempt is done. A GET's body that is cut or stalls is fetched again. Where answers stay out, the
image fails, and its next delivery judges by what is there, not by what was believed.

**Overtaking.** An older event's put is refused. A request without sequencer replaces exactly the item it saw before it
fetched the image, and keeps that one's sequencer: whatever was recorded meanwhile saw the image at least as new. When
it dies before its document, the event's redelivery finds another attempt's document, and repairs it.

**Claims.** An image that came back twice is begun alone, after its claim, a rejection marked ``unfinished``, has
replaced exactly the item that was there. A result replaces the claim; a clean failure puts back what was there, in both
cases only if the claim still stands; a death leaves it. To its own event it is never done, to older ones it is newer:
an older event superseded by a claim that is withdrawn is made good by the claim's event, which is then in the queue or
in the dead-letter queue.

**Removing** (``RemoveDeleted``). A deletion's event is as a creation's that finds no image: only what S3 has now
counts, so that the deletion of an old version, or one told after the image was put again, classifies what is there.
Where nothing is, a *tombstone* is put, by the same condition as any item. It keeps the event's sequencer: an older
event that comes late is superseded, a newer one replaces it. Then the document: note its ETag, make sure that the
tombstone still stands, DELETE only if the ETag is unchanged; again from the start when it has changed. A newer
winner's document is either there before the ETag was read, and then its item is too and we stop; or it comes later,
and either our DELETE fails, or its PUT does and is repeated. An older attempt may be between its item and its
document, or sending a PUT again whose answer it has missed. So the event comes again (*unsettled*) until nothing that
the tombstone may have replaced is running, and deletes what it still finds; as any redelivery does. Lines are never
rewritten.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from classifier.aws import translated
from classifier.aws_calls import AwsError
from classifier.errors import StorageUnavailable
from classifier.images import NOT_FOUND, ImageReader
from classifier.json_api import DynamoDb
from classifier.records import Result
from classifier.s3 import S3, Head
from classifier.table import Condition, Item, Put, Standing, Table

_LOST_RACE = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_ATTEMPTS = 5
_KEPT_LINES_OBJECTS = 16


class Recorded(StrEnum):
    """What has become of an event's result."""

    WON = "won"
    DUPLICATE = "duplicate"
    """The same event had been recorded before, completely."""
    SUPERSEDED = "superseded"
    """A newer event of the same image has been recorded."""
    PENDING = "pending"
    """The same event has an item, and who put it may still be about to write the document."""
    REMOVED = "removed"
    """The image is gone: a tombstone stands for its item, and its document is gone for good."""
    UNSETTLED = "unsettled"
    """The image is gone, item and document are, and an older attempt may still be about to write the document."""


@dataclass(frozen=True)
class Request:
    """One invocation, as far as it matters to others.

    Attributes:
        request_id: Lambda repeats it when it invokes again after a failure.
        oldest_running: attempts of invocations that may still be running are no older than this.
        settled_before: what an attempt older than this replaced is not running any more, either: it began before the
            other's item was put, which was within the time of one invocation.
    """

    request_id: str
    oldest_running: str
    settled_before: str

    def settles(self, attempt: Standing) -> bool:
        """Whether neither this attempt nor any before it can still be running."""
        return attempt.classified_at < self.settled_before

    def may_be_running(self, attempt: Standing) -> bool:
        return attempt.request_id != self.request_id and attempt.classified_at >= self.oldest_running


@dataclass(frozen=True)
class Output:
    """Where a result document goes: an object of its own, or JSON Lines."""

    bucket: str
    key: str

    @property
    def is_lines(self) -> bool:
        return self.key.endswith(".jsonl")

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @classmethod
    def of(cls, uri: str) -> Output:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return cls(bucket, key)


class Store(ImageReader):
    """Images in, results out. Every method may raise StorageThrottled and StorageUnavailable."""

    _s3: S3

    def __init__(self, s3: S3, dynamodb: DynamoDb, table: str) -> None:
        super().__init__(s3)
        self.table = Table(dynamodb, table)
        self._lines: dict[str, frozenset[tuple[str, str, str]]] = {}

    def judge(
        self, standing: Standing | None, sequencer: str | None, output: Output, request: Request
    ) -> Recorded | None:
        """What has become of an event, by the item of its image; None where it is (still, or again) to be done."""
        if standing is None or sequencer is None or standing.sequencer < sequencer:
            return None
        if standing.sequencer > sequencer:
            return Recorded.SUPERSEDED
        if standing.unfinished:
            return None
        if standing.removed:
            return self._remove_output(standing, Output.of(standing.output_uri), settled=request.settles(standing))
        may_be_running = request.may_be_running(standing)
        if self._is_written(standing, output, may_be_running):
            return Recorded.DUPLICATE
        return Recorded.PENDING if may_be_running else None

    def record(
        self, result: Result, output: Output, *, sequencer: str | None, seen: Standing | None, request: Request
    ) -> Recorded:
        """Record a result, unless a newer event of the same image has been. A line is left to :meth:`write_lines`.

        Args:
            sequencer: the event's, in comparable form.
            seen: without a sequencer, the item that was there before the image was fetched.
        """
        kept = sequencer or (seen.sequencer if seen else None)
        item = result.to_item(sequencer=kept, output_uri=None if result.is_of_deleted else output.uri)
        put = self._put(item, output, sequencer=sequencer, seen=seen, request=request)
        if isinstance(put, Recorded):
            return put
        if output.is_lines:
            return Recorded.WON
        return self._write_output(result, Standing(item), output, replaced=put.standing is not None)

    def remove(
        self, result: Result, output: Output, *, sequencer: str | None, seen: Standing | None, request: Request
    ) -> Recorded:
        """Remove item and document of an image that is gone, unless a newer event of it has been recorded.

        Args:
            result: says that it is gone.
            output: an object of the image's own.
            sequencer, seen: as for :meth:`record`.
        """
        kept = sequencer or (seen.sequencer if seen else None)
        item = result.to_tombstone(sequencer=kept, output_uri=output.uri)
        put = self._put(item, output, sequencer=sequencer, seen=seen, request=request)
        if isinstance(put, Recorded):
            return put
        # Where an answer was lost, what stands is the tombstone itself, and what it replaced is not known.
        settled = put.standing is None or request.settles(put.standing)
        return self._remove_output(Standing(item), output, settled=settled)

    def _put(
        self, item: Item, output: Output, *, sequencer: str | None, seen: Standing | None, request: Request
    ) -> Put | Recorded:
        """Put an item over those of older events; what has become of its own event where that is refused."""
        condition = Condition.newer(sequencer) if sequencer else Condition.unchanged(seen)
        for _ in range(_ATTEMPTS):
            put = self.table.put(item, condition)
            if put.won:
                return put
            if sequencer is None:
                return Recorded.SUPERSEDED
            recorded = self.judge(put.standing, sequencer, output, request)
            if recorded is not None:
                return recorded
            condition = Condition.unchanged(put.standing)
        raise StorageUnavailable(f"the item of {item['image_uri']['S']} kept changing while it was written")

    def write_lines(self, output: Output, lines: bytes) -> None:
        """Write a batch's documents as one JSON Lines object."""
        try:
            self._s3.put_object(Bucket=output.bucket, Key=output.key, Body=lines, ContentType="application/x-ndjson")
        except AwsError as error:
            raise translated(error, f"cannot write {output.uri}") from error

    def _write_output(self, result: Result, item: Standing, output: Output, *, replaced: bool) -> Recorded:
        line = result.to_line()
        if not replaced:
            if result.is_of_deleted:
                if self._head(output) is None:
                    return Recorded.WON
            elif self._put_if(output, line, item, etag=None):
                return Recorded.WON
        for _ in range(_ATTEMPTS):
            head = self._head(output)
            if head is not None and _is_of(head, item):
                return Recorded.WON
            standing = self.table.look(result.image_uri)
            if standing is None or not standing.same_attempt(item):
                return Recorded.SUPERSEDED
            if self._put_if(output, line, item, etag=head["ETag"] if head else None):
                return Recorded.WON
        raise StorageUnavailable(f"{output.uri} kept changing while it was written")

    def _remove_output(self, tombstone: Standing, output: Output, *, settled: bool) -> Recorded:
        """Delete the document of a deleted image, as long as its tombstone stands.

        Args:
            settled: no older attempt is running any more.
        """
        for _ in range(_ATTEMPTS):
            head = self._head(output)
            if head is None:
                return Recorded.REMOVED if settled else Recorded.UNSETTLED
            standing = self.table.look(str(tombstone.item["image_uri"]["S"]))
            if standing is None or not standing.same_attempt(tombstone):
                return Recorded.SUPERSEDED
            if self._delete_if(output, head["ETag"]):
                return Recorded.REMOVED if settled else Recorded.UNSETTLED
        raise StorageUnavailable(f"{output.uri} kept changing while it was deleted")

    def _delete_if(self, output: Output, etag: str) -> bool:
        """DELETE if the object is still the one with ``etag``; False if it is not, or gone."""
        try:
            self._s3.delete_object(Bucket=output.bucket, Key=output.key, IfMatch=etag)
        except AwsError as error:
            if error.code in _LOST_RACE | NOT_FOUND:
                return False
            raise translated(error, f"cannot delete {output.uri}") from error
        return True

    def _put_if(self, output: Output, line: bytes, item: Standing, *, etag: str | None) -> bool:
        """PUT if the object is still the one with ``etag``, or still absent; False if it is not."""
        condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        metadata = {
            "request-id": item.request_id,
            "classified-at": item.classified_at,
            "sequencer": item.sequencer,
        }
        try:
            self._s3.put_object(
                Bucket=output.bucket,
                Key=output.key,
                Body=line,
                ContentType="application/json",
                Metadata={name: value for name, value in metadata.items() if value},
                **condition,
            )
        except AwsError as error:
            # 404 answers If-Match on an object deleted since.
            if error.code in _LOST_RACE or (etag and error.code in NOT_FOUND):
                return False
            raise translated(error, f"cannot write {output.uri}") from error
        return True

    def _is_written(self, standing: Standing, output: Output, may_be_running: bool) -> bool:
        """Whether the document of an item is where the item says.

        Args:
            output: where a document would be; for an item that owes none, it must not be another's.
        """
        owed = standing.output_uri
        where = Output.of(owed) if owed else output
        if where.is_lines:
            line = (str(standing.item["image_uri"]["S"]), standing.request_id, standing.classified_at)
            return not owed or line in self._read_lines(where)
        head = self._head(where)
        if head is None:
            return not owed and not may_be_running
        return _is_of(head, standing)

    def _read_lines(self, output: Output) -> frozenset[tuple[str, str, str]]:
        """Image URI, request id and time of each line of an object; none where there is no object."""
        if output.uri not in self._lines:
            try:
                content = self._s3.get_object(Bucket=output.bucket, Key=output.key)["Body"].read()
            except AwsError as error:
                if error.code in NOT_FOUND:
                    return frozenset()
                raise translated(error, f"cannot read {output.uri}") from error
            # Such objects never change: kept, because the messages of a batch come back together.
            if len(self._lines) >= _KEPT_LINES_OBJECTS:
                self._lines.clear()
            self._lines[output.uri] = frozenset(map(_attempt_of, content.splitlines()))
        return self._lines[output.uri]

    def _head(self, output: Output) -> Head | None:
        try:
            return self._s3.head_object(Bucket=output.bucket, Key=output.key)
        except AwsError as error:
            if error.code in NOT_FOUND:
                return None
            raise translated(error, f"cannot read {output.uri}") from error


def _is_of(head: Head, item: Standing) -> bool:
    """Whether an object is the document of an item, by the metadata it was written with."""
    metadata = head["Metadata"]
    return (metadata.get("request-id"), metadata.get("classified-at")) == (item.request_id, item.classified_at)


def _attempt_of(line: bytes) -> tuple[str, str, str]:
    document = json.loads(line)
    image = document["image"]
    return f"s3://{image['bucket']}/{image['key']}", document["request_id"], document["classified_at"]
