"""A bucket, a table and a queue in memory, with the few calls that reconciling makes of each."""

from __future__ import annotations

import bisect
import json
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bucketlens.stack import Stack
from classifier.events import parse

STACK = Stack(
    bucket="pictures",
    input_prefix="incoming/",
    table="predictions",
    output_prefix="predictions/",
    queue_url="https://sqs/queue",
    dead_letter_queue_url="https://sqs/dead",
    model_uri="s3://pictures/models/",
    function="bucketlens-classifier",
    identifier="arn:aws:cloudformation:us-east-1:123456789012:stack/bucketlens/1",
    parameters={},
)


def time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def image_uri(key: str) -> str:
    return f"s3://{STACK.bucket}/{key}"


@dataclass
class World:
    """What is stored. Objects: key -> (etag, seconds); items: image URI -> plain attributes."""

    objects: dict[str, tuple[str, float]] = field(default_factory=dict)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    page: int = 1000
    before_call: Callable[[str], None] = lambda operation: None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._sorted: list[str] = []
        self._segments: list[list[tuple[int, str]]] = []

    def put(self, key: str, etag: str, seconds: float) -> None:
        self.objects[key] = (etag, seconds)

    def classify(self, key: str, seconds: float, model: str = "20260101T000000Z-00000000", **changes: Any) -> None:
        """What the function leaves behind for the object as it is: item and JSON."""
        output = f"{STACK.output_prefix}{key.removeprefix(STACK.input_prefix)}.json"
        self.items[image_uri(key)] = {
            "etag": self.objects[key][0],
            "classified_at": time_text(seconds),
            "output_uri": image_uri(output),
            "model_version": model,
            **changes,
        }
        self.objects[output] = ("json", float(int(seconds)))

    def consume(self, seconds: float) -> int:
        """Do what the function does with every message of the queue; how many images were classified."""
        bodies, self.messages = self.messages, []
        records = [{"eventSource": "aws:sqs", "messageId": str(n), "body": body} for n, body in enumerate(bodies)]
        batch = parse({"Records": records}, STACK.input_prefix)
        assert not batch.unreadable
        for image in batch.images:
            assert image.bucket == STACK.bucket
            self.classify(image.key, seconds)
        return len(batch.images)

    # ---- S3

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        self.before_call("list_objects_v2")
        assert request["Bucket"] == STACK.bucket
        prefix, after = request["Prefix"], request.get("StartAfter", "")
        with self._lock:
            if len(self._sorted) != len(self.objects):
                self._sorted = sorted(self.objects)
        first = max(bisect.bisect_left(self._sorted, prefix), bisect.bisect_right(self._sorted, after))
        last = bisect.bisect_left(self._sorted, prefix + "\U0010ffff")
        keys = self._sorted[first : min(last, first + self.page + 1)]
        contents = [
            {"Key": key, "ETag": f'"{self.objects[key][0]}"', "LastModified": time_text(int(self.objects[key][1]))}
            for key in keys[: self.page]
        ]
        return {"IsTruncated": len(keys) > self.page, **({"Contents": contents} if contents else {})}

    # ---- DynamoDB

    def scan(self, **request: Any) -> dict[str, Any]:
        self.before_call("scan")
        assert request["TableName"] == STACK.table
        prefix = request["ExpressionAttributeValues"][":prefix"]["S"]
        with self._lock:
            if sum(map(len, self._segments)) != len(self.items):
                hashed = sorted((zlib.crc32(uri.encode()), uri) for uri in self.items)
                total = request["TotalSegments"]
                self._segments = [[one for one in hashed if one[0] % total == n] for n in range(total)]
        segment = self._segments[request["Segment"]] if self._segments else []
        after = request.get("ExclusiveStartKey", {}).get("image_uri", {}).get("S")
        start = bisect.bisect_right(segment, (zlib.crc32(after.encode()), after)) if after else 0
        uris = [uri for _, uri in segment[start : start + self.page]]
        found = [
            {"image_uri": {"S": uri}, **{name: _attribute(value) for name, value in self.items[uri].items()}}
            for uri in uris
            if uri.startswith(prefix)
        ]
        more = start + self.page < len(segment)
        return {"Items": found, **({"LastEvaluatedKey": {"image_uri": {"S": uris[-1]}}} if more else {})}

    # ---- SQS

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        self.before_call("send_message_batch")
        assert request["QueueUrl"] == STACK.queue_url
        entries = request["Entries"]
        assert len({entry["Id"] for entry in entries}) == len(entries) <= 10
        with self._lock:
            self.messages += [entry["MessageBody"] for entry in entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in entries]}

    def sent_keys(self) -> list[str]:
        return [json.loads(body)["key"] for body in self.messages]


def _attribute(value: Any) -> dict[str, Any]:
    return {"BOOL": value} if isinstance(value, bool) else {"S": value}
