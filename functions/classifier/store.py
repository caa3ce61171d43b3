"""The only module that talks to S3 and DynamoDB for images and results.

**Same effect once.** Deliveries repeat and overtake each other. The table's item is the arbiter: a conditional write
lets an event win only over older ones (by sequencer). The winner then writes the JSON, and S3's conditional writes keep
a slow winner from overwriting the JSON of a faster, newer one:

- no item before ours: PUT if the object does not exist yet. One request, the usual case.
- otherwise: note the object's ETag, make sure that the item is still ours, PUT only if the ETag is unchanged; again
  from the start when it has changed. A newer winner's JSON is either there before the ETag was read, and then its item
  is too and we stop, or comes later and makes our PUT fail.

A redelivered event finds its own sequencer in the item. If its JSON is there it is a duplicate and nothing is written;
if it is missing, the first delivery died between the two writes, and the second takes over and completes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from classifier.errors import BucketlensError, ImageNotFound, StorageThrottled, StorageUnavailable
from classifier.events import ImageRef
from classifier.records import Result

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
    from mypy_boto3_s3 import S3Client

_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound", "MethodNotAllowed", "405"})
_THROTTLED = frozenset(
    {
        "SlowDown",
        "503",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "TooManyRequestsException",
    }
)
_LOST_RACE = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_ATTEMPTS = 5


class Recorded(StrEnum):
    """How a result's writing ended."""

    WON = "won"
    DUPLICATE = "duplicate"
    """The same event had been recorded before, completely."""
    SUPERSEDED = "superseded"
    """A newer event of the same image has been recorded."""


@dataclass(frozen=True)
class Fetched:
    """An object as S3 gave it. ``data`` is empty where ``size_bytes`` is over the limit: it was not read."""

    data: bytes
    size_bytes: int
    etag: str
    version_id: str | None


@dataclass(frozen=True)
class Seen:
    """The item of an image as it was when we looked: what a request without an order of its own may replace."""

    request_id: str
    classified_at: str
    sequencer: str | None


@dataclass(frozen=True)
class Output:
    """Where a result document goes.

    Attributes:
        line: the document; None where it is written elsewhere (JSON Lines) or none is owed.
    """

    bucket: str
    key: str
    line: bytes | None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def clients(endpoint_url: str | None, connections: int) -> tuple[S3Client, DynamoDBClient]:
    """S3 and DynamoDB clients for one process: short timeouts, retries, as many connections as threads.

    Responses are not checksummed a second time above TLS, which saves a fifth of a GetObject's CPU time.
    """
    # Declared empty in the template so that `sam local` can set it; the SDK would take "" for an endpoint.
    if not os.environ.get("AWS_ENDPOINT_URL"):
        os.environ.pop("AWS_ENDPOINT_URL", None)
    config = Config(
        connect_timeout=2,
        read_timeout=8,
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=connections,
        parameter_validation=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A bucket's name before a local endpoint's host would have to be resolvable.
        s3={"addressing_style": "path"} if endpoint_url else {},
    )
    session = boto3.session.Session()
    return (
        session.client("s3", endpoint_url=endpoint_url, config=config),
        session.client("dynamodb", endpoint_url=endpoint_url, config=config),
    )


class Store:
    """Images in, results out."""

    def __init__(self, s3: S3Client, dynamodb: DynamoDBClient, table: str) -> None:
        self._s3 = s3
        self._dynamodb = dynamodb
        self._table = table

    def fetch(self, image: ImageRef, max_bytes: int) -> Fetched:
        """Read an image, but not one over ``max_bytes``.

        Raises:
            ImageNotFound: it was deleted before we came.
            StorageThrottled, StorageUnavailable
        """
        version: dict[str, Any] = {"VersionId": image.version_id} if image.version_id else {}
        try:
            response = self._s3.get_object(Bucket=image.bucket, Key=image.key, **version)
            with response["Body"] as body:
                size = response["ContentLength"]
                data = body.read() if size <= max_bytes else b""
        except (ClientError, BotoCoreError, OSError) as error:
            if _code(error) in _NOT_FOUND:
                raise ImageNotFound(f"{image.uri} was deleted before it could be classified") from error
            raise _translated(error, f"cannot read {image.uri}") from error
        version_id = response.get("VersionId")
        return Fetched(data, size, response["ETag"].strip('"'), None if version_id == "null" else version_id)

    def look(self, image_uri: str) -> Seen | None:
        """The item of an image, if there is one; what :meth:`record` may replace for an event without sequencer."""
        item = self._item(image_uri)
        return None if item is None else _seen(item)

    def record(self, result: Result, output: Output | None, *, sequencer: str | None, seen: Seen | None) -> Recorded:
        """Record a result, unless a newer event of the same image has been.

        Args:
            output: where the document goes; None where none is owed.
            sequencer: the event's, in comparable form.
            seen: without a sequencer, the item that was there before the image was fetched.

        Raises:
            StorageThrottled, StorageUnavailable
        """
        kept = sequencer or (seen.sequencer if seen else None)
        item = result.to_item(sequencer=kept, output_uri=output.uri if output else None)
        if sequencer is None:
            condition, values = _unchanged(seen)
        else:
            condition = "attribute_not_exists(sequencer) OR sequencer < :sequencer"
            values = {":sequencer": {"S": sequencer}}
        replaced, blocking = self._put_item(item, condition, values)
        if blocking is not None:
            standing = _seen(blocking)
            if sequencer is None or standing.sequencer != sequencer:
                return Recorded.SUPERSEDED
            if output is None or self._is_written(blocking, sequencer):
                return Recorded.DUPLICATE
            condition, values = _unchanged(standing)
            _, blocking = self._put_item(item, condition, values)
            if blocking is not None:
                return Recorded.SUPERSEDED
            replaced = True
        if output is None or output.line is None:
            return Recorded.WON
        return self._write_output(result, output, output.line, kept, replaced)

    def write_lines(self, output: Output) -> None:
        """Write a batch's documents as one JSON Lines object.

        Raises:
            StorageThrottled, StorageUnavailable
        """
        try:
            self._s3.put_object(
                Bucket=output.bucket, Key=output.key, Body=output.line or b"", ContentType="application/x-ndjson"
            )
        except (ClientError, BotoCoreError) as error:
            raise _translated(error, f"cannot write {output.uri}") from error

    def _put_item(
        self, item: dict[str, AttributeValueTypeDef], condition: str, values: dict[str, AttributeValueTypeDef]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Whether an item was replaced, and the item that stood in the way."""
        compared: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        try:
            response = self._dynamodb.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression=condition,
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **compared,
            )
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                standing: Any = error.response.get("Item", {})
                return False, standing
            raise _translated(error, f"cannot write to table {self._table}") from error
        except BotoCoreError as error:
            raise _translated(error, f"cannot write to table {self._table}") from error
        return bool(response.get("Attributes")), None

    def _write_output(
        self, result: Result, output: Output, line: bytes, sequencer: str | None, replaced: bool
    ) -> Recorded:
        if not replaced and self._put_if(output, line, sequencer, etag=None):
            return Recorded.WON
        for _ in range(_ATTEMPTS):
            head = self._head(output.bucket, output.key)
            item = self._item(result.image_uri)
            if item is None or _seen(item) != Seen(result.request_id, result.classified_at, sequencer):
                return Recorded.SUPERSEDED
            if self._put_if(output, line, sequencer, etag=head["ETag"] if head else None):
                return Recorded.WON
        raise StorageUnavailable(f"{output.uri} kept changing while it was written")

    def _put_if(self, output: Output, line: bytes, sequencer: str | None, *, etag: str | None) -> bool:
        """PUT if the object is still the one with ``etag``, or still absent; False if it is not."""
        condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        try:
            self._s3.put_object(
                Bucket=output.bucket,
                Key=output.key,
                Body=line,
                ContentType="application/json",
                Metadata={"sequencer": sequencer} if sequencer else {},
                **condition,
            )
        except ClientError as error:
            # 404 answers If-Match on an object deleted since.
            if _code(error) in _LOST_RACE or (etag and _code(error) in _NOT_FOUND):
                return False
            raise _translated(error, f"cannot write {output.uri}") from error
        except BotoCoreError as error:
            raise _translated(error, f"cannot write {output.uri}") from error
        return True

    def _is_written(self, item: dict[str, Any], sequencer: str) -> bool:
        uri = item.get("output_uri", {}).get("S", "")
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        head = self._head(bucket, key) if key else None
        # A JSON Lines object carries no sequencer: its name is of one batch, so that it exists is enough.
        return head is not None and head["Metadata"].get("sequencer", sequencer) == sequencer

    def _head(self, bucket: str, key: str) -> Any:
        try:
            return self._s3.head_object(Bucket=bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            if _code(error) in _NOT_FOUND:
                return None
            raise _translated(error, f"cannot read s3://{bucket}/{key}") from error

    def _item(self, image_uri: str) -> dict[str, Any] | None:
        try:
            response = self._dynamodb.get_item(
                TableName=self._table, Key={"image_uri": {"S": image_uri}}, ConsistentRead=True
            )
        except (ClientError, BotoCoreError) as error:
            raise _translated(error, f"cannot read table {self._table}") from error
        return dict(response["Item"]) if "Item" in response else None


def _seen(item: dict[str, Any]) -> Seen:
    return Seen(
        request_id=item.get("request_id", {}).get("S", ""),
        classified_at=item.get("classified_at", {}).get("S", ""),
        sequencer=item.get("sequencer", {}).get("S"),
    )


def _unchanged(seen: Seen | None) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    if seen is None:
        return "attribute_not_exists(image_uri)", {}
    return "request_id = :request_id AND classified_at = :classified_at", {
        ":request_id": {"S": seen.request_id},
        ":classified_at": {"S": seen.classified_at},
    }


def _code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _translated(error: Exception, what: str) -> BucketlensError:
    reason = " ".join(str(error).split())
    kind = StorageThrottled if _code(error) in _THROTTLED else StorageUnavailable
    return kind(f"{what}: {reason}")
