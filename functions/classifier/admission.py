"""What may be begun: within the invocation's time, and within the bytes that may be held at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

# Left for recording what was classified: some 50 ms an image, and as much again as a throttled table makes of it.
_RESERVE_SECONDS = 5.0
_LARGEST_RESERVE = 1 / 6


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


class Deadline:
    """Admits images while they fit before the invocation's end. Safe to call from several threads.

    The estimate is the pace so far: what is in flight and one more at the time that each finished one took, waiting for
    a worker and for the network included. An image that turns out slower than the pace is bounded by :meth:`time_left`.

    Args:
        remaining_seconds: what the invocation has left, as Lambda's context tells it.
    """

    def __init__(self, remaining_seconds: Callable[[], float]) -> None:
        self._remaining_seconds = remaining_seconds
        self.budget = remaining_seconds()
        self._reserve = min(_RESERVE_SECONDS, self.budget * _LARGEST_RESERVE)
        self._kept = 0.0
        self._lock = threading.Lock()
        self._started_at: float | None = None
        self._begun = 0
        self._finished = 0

    def begin(self) -> int | None:
        """Take one more image: its number, from 1, or None where it does not fit. The first always does."""
        time_left = self.time_left()
        with self._lock:
            if self._started_at is None:
                self._started_at = time_left + self._kept
            elif self._needed(time_left + self._kept) > time_left:
                return None
            self._begun += 1
            return self._begun

    def finish(self, *, worked: bool) -> None:
        """One that was begun is at its end. Where there was no work to do, it says nothing of the pace."""
        with self._lock:
            if worked:
                self._finished += 1
            else:
                self._begun -= 1

    def keep(self, share: float) -> None:
        """Keep a share of the time that is left for what comes afterwards; 0 gives it free."""
        self._kept = 0.0
        self._kept = share * max(0.0, self.time_left())

    def time_left(self) -> float:
        """Seconds until what is classified must be recorded; negative when that time has passed."""
        return self._remaining_seconds() - self._reserve - self._kept

    def _needed(self, time_left: float) -> float:
        if not self._finished or self._started_at is None:
            return 0.0
        pace = (self._started_at - time_left) / self._finished
        return pace * (self._begun - self._finished + 1)


class ByteBudget:
    """Bounds the bytes of image files that are in memory at once; who asks for more than is free waits.

    Args:
        total: bytes. One file of any size is let in alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def reservation(self) -> Iterator[Callable[[int], None]]:
        """Gives ``reserve(size)``; what it took last is free again when the block ends, or when it is called again."""
        held = 0

        def reserve(size: int) -> None:
            nonlocal held
            with self._changed:
                self._free += held
                held = 0
                self._changed.notify_all()
                wanted = min(size, self._total)
                self._changed.wait_for(lambda: self._free >= wanted)
                self._free -= wanted
                held = wanted

        try:
            yield reserve
        finally:
            reserve(0)
