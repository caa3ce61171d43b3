"""The function's AWS clients, and what their errors mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from classifier.errors import StorageThrottled, StorageUnavailable, TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

AWS_ERRORS = (ClientError, BotoCoreError)
"""What a call of a client raises. Bodies of responses are read through botocore, so theirs are among them."""

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


_RETRIES = 3
_FIRST_PAUSE_SECONDS = 0.025
EVENTS_SECONDS = 8.0
"""The longest that sending an event may take: two tries of 3 s, and the pause between them."""


def clients(endpoint_url: str | None, connections: int) -> tuple[S3Client, DynamoDBClient]:
    """S3 and DynamoDB clients for one process: short timeouts, retries, as many connections as threads."""
    session, config = boto3.session.Session(), _config(endpoint_url, connections)
    dynamodb = session.client("dynamodb", endpoint_url=endpoint_url, config=config)
    needs_retry: Any = _try_again_after_half_an_answer  # the stubs know of no answer
    dynamodb.meta.events.register("needs-retry.dynamodb", needs_retry)
    return session.client("s3", endpoint_url=endpoint_url, config=config), dynamodb


def s3_client(endpoint_url: str | None) -> S3Client:
    """An S3 client for a process that does one thing at a time."""
    return boto3.session.Session().client("s3", endpoint_url=endpoint_url, config=_config(endpoint_url, 1))


def sqs_client(endpoint_url: str | None) -> SQSClient:
    """An SQS client; few invocations need one, so it is no part of a cold start."""
    return boto3.session.Session().client("sqs", endpoint_url=endpoint_url, config=_config(endpoint_url, 1))


def events_client(endpoint_url: str | None) -> Any:
    """An EventBridge client that takes at most :data:`EVENTS_SECONDS`: an event is not worth a batch's time."""
    short = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
    config = _config(endpoint_url, 1).merge(short)
    return boto3.session.Session().client("events", endpoint_url=endpoint_url, config=config)


def error_code(error: Exception) -> str:
    """The service's code for an error; empty when the service did not answer."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def translated(error: Exception, what: str) -> TransientError:
    """``error`` as StorageThrottled or StorageUnavailable, saying ``what`` could not be done."""
    reason = " ".join(str(error).split())
    kind = StorageThrottled if error_code(error) in _THROTTLED else StorageUnavailable
    return kind(f"{what}: {reason}")


def _try_again_after_half_an_answer(response: Any, attempts: int, **_: Any) -> float | None:
    """Seconds until the next try; None where the answer is whole, or there was none.

    botocore switches urllib3's own check off, and parses what is left of an item as an answer without one.
    """
    if response is None:
        return None
    answer, _parsed = response
    length, received = answer.headers.get("content-length"), len(answer.content)
    if length is None or received == int(length):
        return None
    if attempts > _RETRIES:
        raise IncompleteReadError(actual_bytes=received, expected_bytes=int(length))
    return _FIRST_PAUSE_SECONDS * 2.0**attempts


def _config(endpoint_url: str | None, connections: int) -> Config:
    # Declared empty in the template so that `sam local` can set it; the SDK would take "" for an endpoint.
    if not os.environ.get("AWS_ENDPOINT_URL"):
        os.environ.pop("AWS_ENDPOINT_URL", None)
    return Config(
        connect_timeout=2,
        read_timeout=8,
        retries={"mode": "standard", "max_attempts": _RETRIES},
        max_pool_connections=connections,
        parameter_validation=False,
        # Responses are not checksummed a second time above TLS: a fifth of a GetObject's CPU time.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A bucket's name before a local endpoint's host would have to be resolvable.
        s3={"addressing_style": "path"} if endpoint_url else {},
    )
