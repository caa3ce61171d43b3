"""One AWS service as the function calls it: its address, who calls, and for how long it is tried."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from classifier.aws_calls import TRIES, AwsError, sent_until_answered
from classifier.connections import Connections, HttpAnswer, Timeouts
from classifier.credentials import Provider
from classifier.signing import signed

T = TypeVar("T")

# By what comes before a region's direction and number (partitions.json of the SDKs).
_DOMAINS = {
    "cn": "amazonaws.com.cn",
    "us-iso": "c2s.ic.gov",
    "us-isob": "sc2s.sgov.gov",
    "eu-isoe": "cloud.adc-e.uk",
    "us-isof": "csp.hci.ic.gov",
    "eusc-de": "amazonaws.eu",
}


@dataclass(frozen=True)
class Endpoints:
    """Where the calls of a process go.

    Attributes:
        region: None where the environment names none; then every call is an AwsError.
        endpoint_url: of all services on this machine; None is AWS.
    """

    region: str | None
    endpoint_url: str | None = None

    def url(self, host: str, region: str | None = None) -> str:
        """The address of ``host``, such as ``dynamodb`` or ``photos.s3``.

        Raises:
            AwsError
        """
        if self.endpoint_url:
            return self.endpoint_url
        region = region or self.known_region
        return f"https://{host}.{region}.{_DOMAINS.get(region.rsplit('-', 2)[0], 'amazonaws.com')}"

    @property
    def known_region(self) -> str:
        if not self.region:
            raise AwsError("there is no region: set AWS_REGION, such as eu-central-1")
        return self.region


class Service:
    """Signs the calls of one service and makes them, again where that may help.

    Args:
        name: that requests are signed for.
        kept: connections to keep open.
        tries: of a call.
        time_left: seconds in which it may be tried again.
        clock: the system's, in seconds.
    """

    def __init__(
        self,
        name: str,
        place: Endpoints,
        credentials: Provider,
        *,
        kept: int,
        timeouts: Timeouts,
        tries: int = TRIES,
        time_left: Callable[[], float] = lambda: math.inf,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.place = place
        self._credentials = credentials
        self._kept = kept
        self._timeouts = timeouts
        self._tries = tries
        self._time_left = time_left
        self._sleep = sleep
        self._clock = clock
        self._connections: dict[str, Connections] = {}

    def call(
        self,
        url: str,
        method: str,
        path: str,
        headers: dict[str, str],
        finish: Callable[[HttpAnswer], T],
        *,
        query: str = "",
        body: bytes = b"",
        region: str | None = None,
    ) -> T:
        """Make a call.

        Args:
            url: scheme and host.
            path, query: percent-encoded.
            headers: names in lower case.
            finish: makes of an answer what is wanted, or raises AwsError.
            region: another one than the place's.

        Raises:
            AwsError
        """
        connections = self._connections.get(url)
        if connections is None:
            made = Connections(url, kept=self._kept, timeouts=self._timeouts)
            connections = self._connections.setdefault(url, made)
        headers["host"] = connections.host
        target = f"{path}?{query}" if query else path

        def once() -> T:
            complete = signed(
                method,
                path,
                query,
                headers,
                body,
                credentials=self._credentials(),
                region=region or self.place.known_region,
                service=self.name,
                now=self._clock(),
            )
            return finish(connections.exchange(method, target, complete, body))

        return sent_until_answered(once, tries=self._tries, sleep=self._sleep, time_left=self._time_left)
