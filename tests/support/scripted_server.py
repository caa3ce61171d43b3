"""A server on this machine that answers requests byte for byte as a test says."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Then(Enum):
    """What a server does after it has sent its bytes."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


@dataclass(frozen=True)
class Reply:
    data: bytes
    then: Then = Then.KEEP


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; header names with underscores for their hyphens."""
    lines = [f"HTTP/1.1 {status} Told", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "content_length" not in headers:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class ScriptedServer:
    """Attributes:
    requests: head (request line and headers) and body of each, in order.
    connections: how many were made.
    """

    url: str
    replies: list[Reply]
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    connections: int = 0

    def targets(self) -> list[str]:
        return [head.split(" ", 2)[1] for head, _ in self.requests]

    def header(self, name: str, request: int = -1) -> str | None:
        for line in self.requests[request][0].splitlines()[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return None


@contextmanager
def scripted(replies: Sequence[Reply | bytes], certificate: Path | None = None) -> Iterator[ScriptedServer]:
    """A server that gives these replies, one a request, whatever connections they come over.

    Args:
        certificate: of localhost, with its key: what is served is TLS.
    """
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"https://localhost:{port}" if certificate else f"http://127.0.0.1:{port}"
        made = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]
        server = ScriptedServer(url, made)
        accepting = threading.Thread(target=_accept, args=(listener, server, over, certificate))
        accepting.start()
        try:
            yield server
        finally:
            over.set()
            socket.create_connection(listener.getsockname()).close()
            accepting.join()


def _accept(listener: socket.socket, server: ScriptedServer, over: threading.Event, certificate: Path | None) -> None:
    with ExitStack() as serving:
        while True:
            connection = serving.enter_context(listener.accept()[0])
            if over.is_set():
                break
            if certificate is not None:
                tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                tls.load_cert_chain(certificate)
                try:
                    connection = serving.enter_context(tls.wrap_socket(connection, server_side=True))
                except OSError:  # the client does not trust it
                    continue
            server.connections += 1
            thread = threading.Thread(target=_serve, args=(connection, server, over))
            thread.start()
            serving.callback(thread.join)
            serving.callback(_hang_up, connection)


def _serve(connection: socket.socket, server: ScriptedServer, over: threading.Event) -> None:
    with connection.makefile("rb") as stream:
        while head := _head(stream):
            lengths = [line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length")]
            server.requests.append((head, stream.read(int(lengths[0])) if lengths else b""))
            reply = server.replies.pop(0)
            connection.sendall(reply.data)
            if reply.then is Then.STALL:
                over.wait()
            if reply.then is Then.RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if reply.then is not Then.KEEP:
                break
    connection.close()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


def _head(stream: object) -> str:
    lines: list[str] = []
    try:
        while line := stream.readline().decode("latin-1").rstrip("\r\n"):  # type: ignore[attr-defined]
            lines.append(line)
    except OSError:  # the client is done
        return ""
    return "\n".join(lines)
