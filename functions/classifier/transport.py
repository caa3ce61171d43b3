"""HTTP to AWS: connections that are kept, answers that are whole, calls that are made again.

The SDK costs as much as decoding and classifying an image; Python's own HTTP client costs a tenth of that. A write is
sent again when its answer did not come, so it may meet its own effect (see :mod:`classifier.store`).
"""

from __future__ import annotations

import http.client
import random
import select
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from os import environ
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

TRIES = 4
"""Of a call: the first and three more."""

# AWS SDKs and Tools Reference Guide, "Retry behavior": what is worth another try, and full jitter between tries.
_UNAVAILABLE = frozenset({500, 502, 503, 504})
_TRANSIENT = frozenset({"InternalError", "InternalServerError", "RequestTimeout", "RequestTimeoutException"})
THROTTLED = frozenset(
    {
        "SlowDown",
        "503",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
    }
)
"""Codes of services that are asked too often."""

_PAUSE_SECONDS = 0.1
LONGEST_FIRST_PAUSE = 1.0
"""Seconds; after a call that was throttled. Each further pause may be twice as long."""


class AwsError(Exception):
    """A call that AWS refused, or did not answer.

    Attributes:
        code: the service's; empty where it did not answer. Where an answer without a body named none, the status.
        status: of HTTP; 0 where there was no answer.
        answer: what came with the refusal.
    """

    def __init__(self, message: str, *, code: str = "", status: int = 0, answer: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.code = code
        self.status = status
        self.answer: Mapping[str, Any] = answer or {}

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed when it is made again."""
        return self.status in _UNAVAILABLE or self.code in _TRANSIENT or self.code in THROTTLED


class NoAnswer(AwsError):
    """The connection failed, or what came over it is no whole answer."""

    @property
    def may_pass(self) -> bool:
        return True


@dataclass(frozen=True)
class Timeouts:
    """Seconds: until a connection stands, and until the next bytes of an answer come."""

    connect: float
    read: float


class Answer:
    """An answer's status and headers, names in lower case; its body is still to be read, or to be closed."""

    def __init__(
        self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection, connections: Connections
    ) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._connection = connection
        self._connections = connections

    def read(self) -> bytes:
        """The whole body.

        Raises:
            NoAnswer: it was cut, or did not come in time.
        """
        try:
            content = self._response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._connections.failure(error) from error
        self._connections.give_back(self._connection)
        return content

    def close(self) -> None:
        """Do without the body, and without the connection that it would come over."""
        self._response.close()
        self._connection.close()


class Connections:
    """Connections to one host. Safe to use from several threads.

    Args:
        url: scheme, host and port; a path is not used.
        kept: how many that are not in use stay open.
    """

    def __init__(self, url: str, *, kept: int, timeouts: Timeouts) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self.host = parts.netloc
        self._kept = kept
        self._timeouts = timeouts
        self._idle: list[http.client.HTTPConnection] = []
        weakref.finalize(self, _close_all, self._idle)

    def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send a request and read the head of its answer.

        Raises:
            NoAnswer
        """
        connection = self._take()
        try:
            if connection.sock is None:
                connection.connect()
                connection.sock.settimeout(self._timeouts.read)  # type: ignore[attr-defined]  # connected
            connection.request(method, target, body=body or None, headers=headers)
            return Answer(connection.getresponse(), connection, self)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.failure(error) from error

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read, unless the other side closes it or there are enough."""
        if connection.sock is not None and len(self._idle) < self._kept:
            self._idle.append(connection)
        else:
            connection.close()

    def failure(self, error: Exception) -> NoAnswer:
        """What went wrong on a connection, in one line."""
        if isinstance(error, TimeoutError):
            return NoAnswer(f"{self.host} did not answer in time")
        if isinstance(error, http.client.IncompleteRead):
            expected = "" if error.expected is None else f" of {len(error.partial) + error.expected}"
            return NoAnswer(f"{self.host} sent {len(error.partial)}{expected} bytes of an answer")
        return NoAnswer(f"the connection to {self.host} failed: {' '.join(str(error).split()) or type(error).__name__}")

    def _take(self) -> http.client.HTTPConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if _is_silent(connection):
                return connection
            connection.close()
        if self._tls:
            return http.client.HTTPSConnection(self.host, timeout=self._timeouts.connect, context=_tls())
        return http.client.HTTPConnection(self.host, timeout=self._timeouts.connect)


def sent_until_answered(call: Callable[[], T], *, tries: int = TRIES, sleep: Callable[[float], None] = time.sleep) -> T:
    """Make a call, again where that may help, with exponential pauses of full jitter between (AWS Architecture Blog,
    "Exponential Backoff And Jitter").

    Raises:
        AwsError: the last try's.
    """
    for number in range(tries):
        try:
            return call()
        except AwsError as error:
            if number + 1 == tries or not error.may_pass:
                raise
            base = LONGEST_FIRST_PAUSE if error.code in THROTTLED else _PAUSE_SECONDS
        sleep(random.random() * base * 2**number)  # noqa: S311 - jitter
    raise AssertionError("the last try returns or raises")


def _is_silent(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection stands: all that can wait to be read from one is its end."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


def _close_all(connections: list[http.client.HTTPConnection]) -> None:
    while connections:
        connections.pop().close()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=environ.get("AWS_CA_BUNDLE") or None)
