"""HTTP/1.1 to one host (RFC 9112): connections that are kept, and answers that are whole.

``http.client`` would spend most of a call's time on parsing headers as those of e-mails, and takes a head that is cut
for a whole one.
"""

from __future__ import annotations

import io
import select
import socket
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from os import environ
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from classifier.aws_calls import AwsError, NoAnswer

if TYPE_CHECKING:
    import ssl

    from _typeshed import WriteableBuffer

# A small image comes at once.
_BUFFER = 65_536
_END_OF_HEAD = b"\r\n\r\n"
_LONGEST_LINE = 65_536
# Services keep idle connections for longer, and a call over one that ends all the same is made again.
_TRUSTED_SECONDS = 1.0


@dataclass(frozen=True)
class Timeouts:
    """Seconds: until a connection stands, and until the next bytes of an answer come."""

    connect: float
    read: float


class _Received(io.RawIOBase):
    """What comes from a socket, counted."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        size = self._connection.recv_into(buffer)
        self.count += size
        return size


class _Connection:
    """A connection, for one exchange after the other."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = _Received(connected)
        self._reader = io.BufferedReader(self._received, _BUFFER)
        self._taken = 0
        self.used_at = time.monotonic()
        self._idle = select.poll()
        self._idle.register(connected, select.POLLIN)

    def send(self, head: str, body: bytes) -> None:
        self._socket.sendall(head.encode() + body)

    def head(self) -> list[str]:
        """The lines up to the next empty one, without it.

        Raises:
            _Cut: the connection ends before it, or a line is too long to be a header.
        """
        there = self._reader.peek()
        end = there.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if end >= len(_END_OF_HEAD):
            return self.read(end).decode("latin-1").split("\r\n")[:-2]
        # It did not come in one piece.
        lines = []
        while line := self.line():
            lines.append(line)
        return lines

    def line(self) -> str:
        """The next line, without its end.

        Raises:
            _Cut: the connection ends before it does, or it is too long to be a header.
        """
        line = self._reader.readline(_LONGEST_LINE)
        self._taken += len(line)
        if not line.endswith(b"\n"):
            raise _Cut("the connection ended within an answer's head")
        return line.decode("latin-1").rstrip("\r\n")

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes. Raises _Cut."""
        content = self._reader.read(size)
        self._taken += len(content)
        if len(content) < size:
            raise _Cut(f"{len(content)} of {size} bytes of an answer came")
        return content

    def stands(self) -> bool:
        """Whether it can be used again: all that may wait to be read from an idle one is its end."""
        if self._received.count != self._taken:
            return False
        return time.monotonic() - self.used_at < _TRUSTED_SECONDS or not self._idle.poll(0)

    def close(self) -> None:
        self._socket.close()


class _Cut(Exception):
    """An answer is not whole."""


class HttpAnswer:
    """An answer's status and headers, names in lower case; its body is still to be read, or to be closed."""

    def __init__(self, connection: _Connection, connections: Connections, method: str) -> None:
        self._connection = connection
        self._connections = connections
        status = 100
        while status < 200:  # nothing but the end of what comes before the answer
            status, self.headers = _head(connection)
        self.status = status
        self._chunked = False
        self._length = 0
        if method != "HEAD" and status not in (204, 304):
            self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
            if not self._chunked:
                # An answer that ends where the connection does could have been cut anywhere.
                self._length = _number(self.headers.get("content-length", "none"), 10)

    def read(self) -> bytes:
        """The whole body.

        Raises:
            NoAnswer: it was cut, or did not come in time.
        """
        try:
            content = self._read_chunks() if self._chunked else self._connection.read(self._length)
        except (OSError, _Cut) as error:
            self.close()
            raise self._connections.failure(error) from error
        if self.headers.get("connection", "").lower() == "close":
            self.close()
        else:
            self._connections.give_back(self._connection)
        return content

    def close(self) -> None:
        """Do without the body, and without the connection that it would come over."""
        self._connection.close()

    def _read_chunks(self) -> bytes:
        chunks = []
        while size := _number(self._connection.line().partition(";")[0], 16):
            chunks.append(self._connection.read(size))
            self._connection.line()
        self._connection.head()  # trailers
        return b"".join(chunks)


class Connections:
    """Connections to one host. Safe to use from several threads.

    Args:
        url: scheme, host and port; a path is not used.
        kept: how many that are not in use stay open.
    """

    def __init__(self, url: str, *, kept: int, timeouts: Timeouts) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname or "", parts.port or (443 if self._tls else 80))
        self.host = parts.netloc
        self._kept = kept
        self._timeouts = timeouts
        self._idle: list[_Connection] = []
        weakref.finalize(self, _close_all, self._idle)

    def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> HttpAnswer:
        """Send a request and read the head of its answer.

        Args:
            headers: names in lower case, ``host`` among them.

        Raises:
            NoAnswer
            AwsError: the headers cannot be sent.
        """
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if body or method in ("PUT", "POST"):
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join([*lines, "", ""])
        if head.count("\n") + head.count("\r") != 2 * (len(lines) + 1) or not head.isascii():
            raise AwsError("a header has a line break, or other than ASCII characters")
        connection = None
        try:
            connection = self._take()
            connection.send(head, body)
            return HttpAnswer(connection, self, method)
        except (OSError, _Cut) as error:
            if connection is not None:
                connection.close()
            raise self.failure(error) from error

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection whose answer was read, unless there are enough."""
        connection.used_at = time.monotonic()
        if len(self._idle) < self._kept:
            self._idle.append(connection)
        else:
            connection.close()

    def failure(self, error: Exception) -> NoAnswer:
        """What went wrong on a connection, in one line."""
        if isinstance(error, TimeoutError):
            return NoAnswer(f"{self.host} did not answer in time")
        return NoAnswer(f"no answer from {self.host}: {' '.join(str(error).split()) or type(error).__name__}")

    def _take(self) -> _Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.stands():
                return connection
            connection.close()
        connected = socket.create_connection(self._address, self._timeouts.connect)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connected = _tls(environ.get("AWS_CA_BUNDLE") or None).wrap_socket(
                    connected, server_hostname=self._address[0]
                )
            connected.settimeout(self._timeouts.read)
        except BaseException:
            connected.close()
            raise
        return _Connection(connected)


def _head(connection: _Connection) -> tuple[int, dict[str, str]]:
    """Status and headers. Raises _Cut."""
    first, *lines = connection.head() or [""]
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise _Cut("that was no HTTP")
    status = _number(rest[:3], 10)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return status, headers


def _number(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise _Cut(f"{text[:40]!r} is no number of HTTP's") from None


def _close_all(connections: list[_Connection]) -> None:
    while connections:
        connections.pop().close()


@cache
def _tls(authorities: str | None) -> ssl.SSLContext:
    import ssl  # not for the endpoints of this machine

    return ssl.create_default_context(cafile=authorities)
