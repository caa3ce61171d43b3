"""Results as they come: waits until they are there, or goes on telling the new ones.

The table has no index by time over all results, so both read it again and again, never more than once a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bucketlens.results import Item
from classifier.records import timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 10.0
_BATCH = 100  # DynamoDB API Reference, BatchGetItem
_MOST_PENDING_LOOKED_AT = 1000
# Of the time a scan takes, how long nothing is asked afterwards: a large table is read a tenth of the time.
_REST = 9
# A result is dated shortly before it is written, so a later one may be seen first.
_OVERLAP = timedelta(seconds=60)


@dataclass(frozen=True)
class Timer:
    """How time passes, in seconds."""

    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep


def wait_until(
    wanted: int, count: Callable[[], int], *, timeout: float, progress: Callable[[int], object], timer: Timer
) -> int:
    """Ask ``count`` until it is ``wanted``, or the time is up: every second at first, every ten after 100 seconds.

    Args:
        timeout: seconds.
        progress: is told every count.

    Returns:
        The last count.
    """
    started = timer.now()
    while True:
        counted = count()
        progress(counted)
        elapsed = timer.now() - started
        if counted >= wanted or elapsed >= timeout:
            return counted
        timer.pause(max(_SHORTEST_PAUSE, min(elapsed / 10, _LONGEST_PAUSE, timeout - elapsed)))


class PolledImages:
    """The images below a prefix, as they are listed now, and how many have a result of what they hold now.

    Args:
        prefix: of object keys.
        now: the time, aware; a result from then on counts whatever the image's content was when it was listed.
    """

    def __init__(
        self, s3: S3Client, dynamodb: DynamoDBClient, *, bucket: str, prefix: str, table: str, now: datetime
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._now = timestamp(now)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        self._pending = [
            (f"s3://{bucket}/{entry['Key']}", entry["ETag"].strip('"'))
            for page in pages
            for entry in page.get("Contents", [])
            if not entry["Key"].endswith("/")
        ]
        self.total = len(self._pending)

    def done(self) -> int:
        """At least so many have their result; each call asks for a thousand of the others at the most."""
        left: list[tuple[str, str]] = []
        position = 0
        while position < len(self._pending) and len(left) < _MOST_PENDING_LOOKED_AT:
            some = self._pending[position : position + _BATCH]
            done = self._look([uri for uri, _ in some])
            left += [(uri, etag) for uri, etag in some if not self._is_of(done.get(uri), etag)]
            position += len(some)
        self._pending = left + self._pending[position:]
        return self.total - len(self._pending)

    def _look(self, uris: list[str]) -> dict[str, dict[str, str]]:
        answer = self._dynamodb.batch_get_item(
            RequestItems={
                self._table: {
                    "Keys": [{"image_uri": {"S": uri}} for uri in uris],
                    "ProjectionExpression": "image_uri, etag, classified_at, unfinished",
                }
            }
        )
        # What DynamoDB leaves unprocessed is asked for again with the next call.
        return {
            item["image_uri"]["S"]: {name: str(next(iter(value.values()))) for name, value in item.items()}
            for item in answer["Responses"].get(self._table, [])
        }

    def _is_of(self, item: dict[str, str] | None, etag: str) -> bool:
        if item is None or "unfinished" in item:
            return False
        return item.get("etag") == etag or item["classified_at"] >= self._now


def new_results(read: Callable[[str | None], Iterator[Item]], *, interval: float, timer: Timer) -> Iterator[Item]:
    """Results that come after the call, oldest first, for ever; an image that is classified again comes again.

    Args:
        read: the results that are later than a ``classified_at``, or all.
        interval: seconds between two readings; at least one, and longer where reading takes long.
    """
    known: set[tuple[str, str]] | None = None
    newest, since = "", None
    while True:
        started = timer.now()
        found: dict[tuple[str, str], Item] = {}
        for item in read(since):
            at = item["classified_at"]
            if at > newest:
                newest = at
                overlap = timestamp(datetime.fromisoformat(at) - _OVERLAP)
            # Of the results that were there before, a large table has more than there is memory for.
            if not item.get("unfinished") and (known is not None or at > overlap):
                found[at, item["image_uri"]] = item
        took = timer.now() - started
        if known is not None:
            yield from (found[one] for one in sorted(found.keys() - known))
        if newest:
            since = overlap
        known = set(found)
        timer.pause(max(_SHORTEST_PAUSE, interval, _REST * took))
