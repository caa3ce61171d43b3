"""Small S3 objects with their entity tags: what conditional writes are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from classifier.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 412 when the condition does not hold,
# 409 when another write to the key ended first.
_REFUSALS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404", "NotFound")


@dataclass(frozen=True)
class StoredObject:
    """An object's content and its entity tag, quotes and all."""

    data: bytes
    etag: str


def read_object(client: S3Client, bucket: str, key: str) -> StoredObject | None:
    """The object, or None where there is none.

    Raises:
        UserError: there is no such bucket.
        ClientError, BotoCoreError: anything else S3 refuses.
    """
    try:
        response = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _ABSENT:
            return None
        if code == "NoSuchBucket":
            raise UserError(f"the bucket {bucket} does not exist") from None
        raise
    return StoredObject(response["Body"].read(), response["ETag"])


def is_refused(error: ClientError) -> bool:
    """Whether a conditional write was refused for its condition."""
    return error.response["Error"]["Code"] in _REFUSALS
