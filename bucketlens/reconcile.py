"""Closes the ledger: compares the images under the input prefix with the table and the outputs, and sends those through
the queue again whose outcome is missing or wrong.

1. :func:`gather` reads three listings side by side into the state file (:mod:`bucketlens.ledger`): the objects under
   the prefix, the table's items, and the JSON documents. It resumes where it was interrupted.
2. :func:`audit` joins them.
3. :func:`repair` sends the images of the differences to the queue, as ``{"bucket", "key"}``. The function records an
   outcome only if nothing newer has been recorded, so that sending an image once too often costs its work and no more.
   With the stack's ``RemoveDeleted`` it sends deleted images that have a result, too, which the function then removes.

This is also the backfill: images that were there before the stack are images without a result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from bucketlens import prices, queues
from bucketlens.cost import terms
from bucketlens.ledger import LONGEST_UNCUT, Comparison, Kind, Ledger, ListingPage
from bucketlens.measured import MeasuredUsage
from bucketlens.stack import Stack
from bucketlens.throughput import Forecast, Job
from classifier.errors import ImageNotFound, UserError
from classifier.records import REMOVED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# A listing is one request after the other, some 6,000 keys a second from S3; four segments of a scan keep up with two.
SEGMENTS = 4
SENDERS = 10
CONNECTIONS = 10
_RESUMABLE_SECONDS = 24 * 3600
_USABLE_SECONDS = 3600
_LINES_FOLDER = "dt="
_ATTRIBUTES = ("image_uri", "etag", "classified_at", "output_uri", "model_version", "unfinished", "error_code")
_PIXELS = 2_000_000
_SENT_PER_SECOND = 3000

Progress = Callable[[Mapping[str, int]], None]
"""Called with the rows of each listing so far, by the names ``objects``, ``items`` and ``outputs``."""


@dataclass(frozen=True)
class Scope:
    """What is to be reconciled.

    Attributes:
        prefix: keys that begin so; lies within the stack's input prefix.
        settle_seconds: what changed less than this before the listing began may still be on its way.
        older_than: outcomes of models before this version are to be made anew.
    """

    stack: Stack
    prefix: str
    settle_seconds: int
    older_than: str | None = None

    def __post_init__(self) -> None:
        from classifier.bundle import VERSION_PATTERN  # costs numpy and Pillow, which --help need not wait for

        if not self.prefix.startswith(self.stack.input_prefix):
            raise UserError(f"--prefix {self.prefix} lies outside the input prefix {self.stack.input_prefix}")
        if self.older_than is not None and not VERSION_PATTERN.fullmatch(self.older_than):
            raise UserError(
                f"--model-older-than {self.older_than} is not a model version such as 20261120T101500Z-5d313724;"
                " `bucketlens model versions` lists them"
            )

    @property
    def job(self) -> dict[str, str]:
        """What a state file belongs to."""
        return {"stack": self.stack.identifier, "table": self.stack.table, "prefix": self.prefix}

    @property
    def below(self) -> str:
        """The prefix relative to the input prefix, and so that of its documents to the output prefix."""
        return self.prefix.removeprefix(self.stack.input_prefix)


@dataclass(frozen=True)
class Audit:
    """The ledger's state. Every object is in order or counted under one kind.

    Attributes:
        to_send: images that a repair would send, or has still to send.
    """

    objects: int
    items: int
    counts: Mapping[Kind, int]
    to_send: int

    @property
    def in_order(self) -> int:
        orphans = self.counts[Kind.ORPHANED_ITEM] + self.counts[Kind.ORPHANED_JSON]
        return self.objects - sum(self.counts.values()) + orphans

    @property
    def closes(self) -> bool:
        """Whether every image has the outcome it should have, apart from those that may still be on their way."""
        return not any(count for kind, count in self.counts.items() if kind.repairable)


@dataclass(frozen=True)
class Estimate:
    """What a repair takes on AWS at the stack's settings: list prices, a photo of some two megapixels."""

    dollars: float
    seconds: float

    @classmethod
    def of(cls, images: int, parameters: Mapping[str, str]) -> Estimate:
        mode = parameters.get("OutputMode", "image")
        job = Job(
            images,
            mode=mode,
            memory=int(parameters.get("MemorySize", Job.memory)),
            batch=int(parameters.get("BatchSize", Job.batch)),
            concurrency=int(parameters.get("MaximumConcurrency", Job.concurrency)),
        )
        measured = MeasuredUsage.load()
        forecast = Forecast(job, measured.of(_PIXELS, mode), measured.start_cpu_ms / 1000)
        # Of an image with a result, the item is read before, and it and its JSON once more while that is replaced.
        again = images * (prices.S3_READ + 2 * prices.DYNAMODB_READ)
        return cls(
            sum(one.dollars for one in terms(forecast)) + again, max(forecast.seconds, images / _SENT_PER_SECOND)
        )


@dataclass(frozen=True)
class _Source:
    """A listing that is read one page after the other."""

    part: str
    table: str
    fetch: Callable[[str], ListingPage]


def begin(ledger: Ledger, scope: Scope, now: float, *, repair: bool, restart: bool) -> bool:
    """Make the state file ready for ``scope``; whether it goes on with what it holds.

    An interrupted listing is resumed within a day. A finished one is used by the repair that follows within an hour,
    or that it has begun; else everything is listed anew.

    Raises:
        UserError: the file belongs to another stack or prefix.
    """
    job = ledger.fact("job")
    if job is not None and job != scope.job and not restart:
        raise UserError(f"the state file belongs to {job['prefix']} of {job['stack']}: give another file with --state")
    started, finished = ledger.fact("started"), ledger.fact("finished")
    if job is None or restart or now - started > _RESUMABLE_SECONDS:
        resumed = False
    elif finished is None:
        resumed = True
    else:
        resumed = repair and (now - finished <= _USABLE_SECONDS or bool(ledger.fact("sent_through")))
    if not resumed:
        ledger.clear()
        ledger.note(job=scope.job, started=now)
    return resumed


def gather(ledger: Ledger, scope: Scope, s3: S3Client, dynamodb: DynamoDBClient, progress: Progress) -> None:
    """Read the listings that are not finished, each a page at a time, all side by side."""
    sources = {one.part: one for one in _sources(scope, s3, dynamodb)}
    counts = {table: ledger.count(table) for table in ("objects", "items", "outputs")}
    progress(counts)
    with ThreadPoolExecutor(len(sources)) as pool:
        pages: dict[Future[ListingPage], _Source] = {}
        for source in sources.values():
            position, finished = ledger.cursor(source.part)
            if not finished:
                pages[pool.submit(source.fetch, position)] = source
        while pages:
            done, _ = wait(pages, return_when=FIRST_COMPLETED)
            for future in done:
                source = pages.pop(future)
                page = future.result()
                if not page.finished:  # under way while this one is written
                    pages[pool.submit(source.fetch, page.position)] = source
                ledger.add(source.part, source.table, page)
                counts[source.table] += len(page.rows)
            progress(counts)


def audit(ledger: Ledger, scope: Scope, now: float) -> Audit:
    """Join what was gathered. A repair that has begun keeps its differences unless they are asked for differently."""
    if ledger.fact("finished") is None:
        ledger.note(finished=now)
    removes = scope.stack.removes_deleted
    asked = [scope.settle_seconds, scope.older_than, removes]
    if ledger.fact("asked") != asked:
        settled = int(ledger.fact("started")) - scope.settle_seconds
        ledger.compare(Comparison(settled, scope.older_than, scope.stack.input_prefix, scope.below, removes))
        ledger.note(asked=asked)
    return Audit(ledger.count("objects"), ledger.count("items"), ledger.counts(), ledger.left())


def repair(ledger: Ledger, scope: Scope, sqs: SQSClient, progress: Callable[[int], None]) -> int:
    """Send the images of the differences to the queue, from where an interrupted repair stopped; how many.

    Args:
        progress: called with how many have been sent.

    Raises:
        UserError: the queue refuses messages; the same again goes on.
    """
    sent = 0

    def send(bodies: list[str]) -> None:
        queues.send(sqs, scope.stack.queue_url, bodies)

    with ThreadPoolExecutor(SENDERS) as pool:
        while rows := ledger.next_to_send(SENDERS * queues.BATCH):
            keys = (_image_key(kind, key, scope.stack.input_prefix) for _, kind, key in rows)
            bodies = (json.dumps({"bucket": scope.stack.bucket, "key": key}) for key in keys)
            for _ in pool.map(send, queues.batches(bodies)):
                pass
            ledger.note(sent_through=rows[-1][0])
            sent += len(rows)
            progress(sent)
    return sent


def _image_key(kind: Kind, key: str, input_prefix: str) -> str:
    return input_prefix + key.removesuffix(".json") if kind is Kind.ORPHANED_JSON else key


def _sources(scope: Scope, s3: S3Client, dynamodb: DynamoDBClient) -> Iterator[_Source]:
    stack = scope.stack
    yield _Source("objects", "objects", partial(_objects, s3, stack.bucket, scope.prefix))
    # JSON Lines objects are of batches, not of keys: they lie beside the documents of a part of the images.
    folders = ("",) if scope.below in ("", _LINES_FOLDER) else (_clipped(scope.below, stack), _LINES_FOLDER)
    for folder in folders:
        yield _Source(f"outputs {folder}", "outputs", partial(_outputs, s3, stack, folder))
    for segment in range(SEGMENTS):
        yield _Source(f"items {segment}", "items", partial(_items, dynamodb, scope, segment))


def _clipped(below: str, stack: Stack) -> str:
    """The longest beginning that is a prefix of every document's key: those over S3's 1,024 bytes have been cut."""
    return below.encode()[: LONGEST_UNCUT - len(stack.output_prefix.encode())].decode(errors="ignore")


def _objects(s3: S3Client, bucket: str, prefix: str, after: str) -> ListingPage:
    contents, page = _listed(s3, bucket, prefix, after)
    rows = [
        (one["Key"], one["ETag"].strip('"'), _seconds(one["LastModified"]))
        for one in contents
        if not one["Key"].endswith("/")  # a folder's marker, not an image
    ]
    return ListingPage(rows, *page)


def _outputs(s3: S3Client, stack: Stack, folder: str, after: str) -> ListingPage:
    contents, page = _listed(s3, stack.bucket, stack.output_prefix + folder, after)
    start = len(stack.output_prefix)
    return ListingPage([(one["Key"][start:], _seconds(one["LastModified"])) for one in contents], *page)


def _listed(s3: S3Client, bucket: str, prefix: str, after: str) -> tuple[list[Any], tuple[str, bool]]:
    # StartAfter, not a continuation token: a key is good for as long as a state file may lie about.
    start: Any = {"StartAfter": after} if after else {}
    response = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **start)
    contents = list(response.get("Contents", []))
    return contents, (contents[-1]["Key"] if contents else after, not response["IsTruncated"])


def _items(dynamodb: DynamoDBClient, scope: Scope, segment: int, after: str) -> ListingPage:
    stack = scope.stack
    start: Any = {"ExclusiveStartKey": {"image_uri": {"S": after}}} if after else {}
    response = dynamodb.scan(
        TableName=stack.table,
        Segment=segment,
        TotalSegments=SEGMENTS,
        ProjectionExpression=", ".join(f"#{name}" for name in _ATTRIBUTES),
        FilterExpression="begins_with(#image_uri, :prefix) AND #status <> :removed",
        ExpressionAttributeNames={f"#{name}": name for name in (*_ATTRIBUTES, "status")},
        ExpressionAttributeValues={":prefix": {"S": f"s3://{stack.bucket}/{scope.prefix}"}, ":removed": {"S": REMOVED}},
        **start,
    )
    root, outputs = f"s3://{stack.bucket}/", f"s3://{stack.bucket}/{stack.output_prefix}"
    rows = [_item(item, root, outputs) for item in response["Items"]]
    last: Any = response.get("LastEvaluatedKey")
    return ListingPage(rows, last["image_uri"]["S"] if last else after, last is None)


def _item(item: Mapping[str, Any], root: str, outputs: str) -> tuple[Any, ...]:
    text = {name: value["S"] for name, value in item.items() if "S" in value}
    uri = text.get("output_uri", "")
    here = uri.startswith(outputs)
    return (
        text["image_uri"].removeprefix(root),
        text.get("etag"),
        _seconds(text.get("classified_at", "")),
        uri.removeprefix(outputs) if here else None,
        bool(uri) and not here,
        text.get("model_version", ""),
        "unfinished" in item and bool(item["unfinished"].get("BOOL")),
        text.get("error_code") == ImageNotFound.code,
    )


def _seconds(time: object) -> int:
    """Whole seconds since the epoch; the beginning of time for what is none."""
    try:
        return int(datetime.fromisoformat(str(time)).timestamp())
    except ValueError:
        return 0
