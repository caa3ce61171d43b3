"""The function's AWS clients, and what their errors mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from classifier.aws_calls import LONGEST_FIRST_PAUSE, THROTTLED, TRIES, AwsError
from classifier.connections import Timeouts
from classifier.credentials import provider
from classifier.errors import StorageThrottled, StorageUnavailable, TransientError
from classifier.json_api import DynamoDbClient, EventBridgeClient, SqsClient
from classifier.s3 import S3Client
from classifier.service import Endpoints, Service

_TIMEOUTS = Timeouts(connect=2, read=8)
# An event is not worth a batch's time.
_EVENTS_TIMEOUTS, _EVENTS_TRIES = Timeouts(connect=1, read=2), 2
EVENTS_SECONDS = _EVENTS_TRIES * (_EVENTS_TIMEOUTS.connect + _EVENTS_TIMEOUTS.read) + LONGEST_FIRST_PAUSE
"""The longest that sending an event may take."""


class AwsClients:
    """Makes the clients of one process, which share its credentials and its time.

    Attributes:
        time_left: seconds that calls may be tried again in.

    Args:
        environment: names the region and holds the credentials, or says where they are.
        endpoint_url: of all services on this machine; None is AWS.
        connections: that a client keeps open: as many as threads use it.
    """

    def __init__(self, environment: Mapping[str, str], endpoint_url: str | None, connections: int = 1) -> None:
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        self._place = Endpoints(region, endpoint_url)
        self._credentials = provider(environment)
        self._connections = connections
        self.time_left: Callable[[], float] = lambda: math.inf

    def s3(self) -> S3Client:
        return S3Client(self._service("s3"))

    def dynamodb(self) -> DynamoDbClient:
        return DynamoDbClient(self._service("dynamodb"))

    def sqs(self) -> SqsClient:
        return SqsClient(self._service("sqs", kept=1))

    def events(self) -> EventBridgeClient:
        """A client that takes at most :data:`EVENTS_SECONDS`."""
        return EventBridgeClient(self._service("events", kept=1, timeouts=_EVENTS_TIMEOUTS, tries=_EVENTS_TRIES))

    def _service(
        self, name: str, kept: int | None = None, timeouts: Timeouts = _TIMEOUTS, tries: int = TRIES
    ) -> Service:
        kept = self._connections if kept is None else kept
        return Service(
            name,
            self._place,
            self._credentials,
            kept=kept,
            timeouts=timeouts,
            tries=tries,
            time_left=self._time_left_now,
        )

    def _time_left_now(self) -> float:
        return self.time_left()


def translated(error: AwsError, what: str) -> TransientError:
    """``error`` as StorageThrottled or StorageUnavailable, saying ``what`` could not be done."""
    kind = StorageThrottled if error.code in THROTTLED else StorageUnavailable
    return kind(f"{what}: {error}")
