"""Calls of AWS: what they fail with, and when they are made again.

An SDK costs as much as decoding and classifying an image, and this a tenth of that. A write is sent again when its
answer did not come, so it may meet its own effect (see :mod:`classifier.store`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

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


def sent_until_answered(
    call: Callable[[], T],
    *,
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
    time_left: Callable[[], float] = lambda: math.inf,
) -> T:
    """Make a call, again where that may help, with exponential pauses of full jitter between (AWS Architecture Blog,
    "Exponential Backoff And Jitter").

    Args:
        time_left: seconds; a pause that would take them all is not begun.

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
            pause = random.random() * base * 2**number  # noqa: S311 - jitter
            if pause >= time_left():
                raise
        sleep(pause)
    raise AssertionError("the last try returns or raises")
