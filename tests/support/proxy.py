"""A proxy before the local endpoints that spoils chosen answers: over real sockets, for the real SDK to cope with."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_S3 = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject"}
_REFUSALS = {
    "S3": (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
    "DynamoDB": (400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}'),
    "SQS": (503, b'{"__type":"com.amazonaws.sqs#ServiceUnavailable"}'),
}


class Fault(StrEnum):
    CUT = "cut"
    """Half of the answer's body, or of its first line where it has no body, then the connection's end."""
    STALL = "stall"
    """As much, and then nothing more."""
    LOSE = "lose"
    """The request is carried out, and the connection reset without an answer."""
    RESET = "reset"
    """The connection is reset before anything is carried out."""
    REFUSE = "refuse"
    """Not carried out: SlowDown, ProvisionedThroughputExceededException or ServiceUnavailable."""


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        service: S3, DynamoDB or SQS.
        operation: such as ``PutItem``.
        subject: bucket and key for S3, otherwise the request's body.
    """

    service: str
    operation: str
    subject: str


@dataclass
class Rule:
    """Spoils the first ``times`` calls of ``operation`` whose subject contains ``about``."""

    operation: str
    about: str
    fault: Fault
    times: int = 1
    used: int = 0


@dataclass
class Rules:
    """A plan made of rules; the first that applies and is not used up decides."""

    rules: Sequence[Rule]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, call: Call) -> Fault | None:
        with self._lock:
            for rule in self.rules:
                if rule.used < rule.times and rule.operation == call.operation and rule.about in call.subject:
                    rule.used += 1
                    return rule.fault
        return None


Plan = Callable[[Call], Fault | None]


def no_faults(call: Call) -> None:
    """The plan that lets everything pass."""


class FaultProxy:
    """A proxy to ``target``, while its ``with`` block lasts.

    Attributes:
        url: where it listens.
        plan: asked with each call; may be replaced at any time.
        carried_out: called with each call that was, before it is answered.
    """

    def __init__(self, target: str, plan: Plan = no_faults, carried_out: Callable[[Call], None] = no_faults) -> None:
        self.target = urlsplit(target).netloc
        self.plan = plan
        self.carried_out = carried_out
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[FaultProxy]:
        thread = threading.Thread(target=self._server.serve_forever, name="fault-proxy")
        thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed leaves its connection; that is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call, proxy = self._call(body), self.server.proxy
        fault = proxy.plan(call)
        if fault is Fault.RESET:
            self._reset()
            return
        if fault is Fault.REFUSE:
            status, text = _REFUSALS[call.service]
            self._answer(_head(status, [("Content-Length", str(len(text)))]), b"" if self.command == "HEAD" else text)
            return
        head, content = self._forward(body)
        proxy.carried_out(call)
        if fault is None:
            self._answer(head, content)
        elif fault is Fault.LOSE:
            self._reset()
        else:
            self.close_connection = True
            self._answer(head if content else b"HTTP/1", content[: len(content) // 2])
            if fault is Fault.STALL:
                self._wait_for_the_client()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, *arguments: object) -> None:
        """No line a request."""

    def _call(self, body: bytes) -> Call:
        target = self.headers.get("X-Amz-Target")
        if target is None:
            return Call("S3", _S3.get(self.command, self.command), unquote(urlsplit(self.path).path))
        family, _, operation = target.partition(".")
        return Call("DynamoDB" if family.startswith("DynamoDB") else "SQS", operation, body.decode())

    def _forward(self, body: bytes) -> tuple[bytes, bytes]:
        upstream = http.client.HTTPConnection(self.server.proxy.target, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            response = upstream.getresponse()
            content = response.read()
        finally:
            upstream.close()
        names = ("connection", "transfer-encoding")
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in names]
        if response.getheader("Content-Length") is None:
            headers.append(("Content-Length", str(len(content))))
        return _head(response.status, headers), content

    def _answer(self, head: bytes, content: bytes) -> None:
        self.wfile.write(head + content)

    def _reset(self) -> None:
        # Closing with nothing to linger for sends a reset instead of an end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _wait_for_the_client(self) -> None:
        self.connection.settimeout(0.5)
        while not self.server.proxy.stopping.is_set():
            try:
                self.connection.recv(1)
            except TimeoutError:
                continue
            return


def _head(status: int, headers: list[tuple[str, str]]) -> bytes:
    reason = http.client.responses.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
