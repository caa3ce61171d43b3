"""Reading from a socket until a point in time, however slowly the other side sends."""

from __future__ import annotations

import io
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class TimedReader(io.RawIOBase):
    """The bytes that arrive before a deadline.

    A socket's own timeout is for each piece: who sends a byte now and then is never late.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = 0.0

    def allow(self, seconds: float) -> None:
        """Read for so long from now on."""
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Raises TimeoutError once the time is up."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the other side sends too slowly")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
