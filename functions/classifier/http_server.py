"""The HTTP API without API Gateway: ``python -m classifier.http_server``, for one machine and for a container.

Each request becomes an event of payload format 2.0, as API Gateway sends it to Lambda, and the handler of
:mod:`classifier.api` answers it in this process, one at a time, as it is in Lambda.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from classifier.admission import Context
from classifier.errors import ConfigError
from classifier.settings import ApiSettings
from classifier.sockets import TimedReader

Handler = Callable[[dict[str, Any], Context], dict[str, Any]]

ANSWER_SECONDS = 30.0
"""API Gateway's limit for an integration (API Gateway Developer Guide, "Quotas for HTTP APIs")."""

_RECEIVE_SECONDS = 20.0
_DRAIN_SECONDS = 2.0
# What Lambda's events hold as text; everything else is base64.
_TEXT = ("text/", "application/json", "application/xml", "application/javascript")


logger = logging.getLogger(__name__)


class _Context:
    """Lambda's context of one request."""

    def __init__(self, seconds: float) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(1000 * (self._ends_at - time.monotonic())))


class Server(ThreadingHTTPServer):
    """Serves a handler on a port.

    Args:
        max_body: bytes; larger requests are answered 413 unread.
        receive_seconds: how long a client may take to send a request.
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: Handler,
        *,
        max_body: int,
        receive_seconds: float = _RECEIVE_SECONDS,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.handler = handler
        self.turn = threading.Lock()
        self.max_body = max_body
        self.receive_seconds = receive_seconds
        super().__init__(address, _Request)


class _Request(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "Bucketlens"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self._timed = TimedReader(self.connection)
        self.rfile = io.BufferedReader(self._timed)
        # Header and body are two writes: with Nagle's algorithm the second waits for a delayed ACK.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def handle_one_request(self) -> None:
        self._timed.allow(self.server.receive_seconds)
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        # A client that asks first is refused before it has sent anything.
        return self._body_length() is not None and super().handle_expect_100()

    def __getattr__(self, name: str) -> Callable[[], None]:
        # Whatever the method is: the handler knows which of them there are.
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        length = self._body_length()
        if length is None:
            return
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        context = _Context(ANSWER_SECONDS)
        try:
            with self.server.turn:
                answer = self.server.handler(self._event(body, context), context)
        except Exception:
            logger.exception("the handler failed")
            # As API Gateway answers then.
            answer = _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "Internal Server Error"})
        self._send(answer)

    def _body_length(self) -> int | None:
        """The length of the body; None where the request has been refused for it."""
        stated = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not stated.isascii() or not stated.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
        elif int(stated) > self.server.max_body:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has {int(stated):,} bytes, over the limit of {self.server.max_body:,}",
            )
        else:
            return int(stated)
        return None

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        self.close_connection = True
        self._send(_json(status, {"message": detail}))
        # Closing with unread bytes would reset the connection, and the answer with it.
        self._timed.allow(_DRAIN_SECONDS)
        while self.rfile.read1(65_536):
            pass

    def _send(self, answer: dict[str, Any]) -> None:
        body = answer.get("body") or ""
        content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        self.send_response(int(answer["statusCode"]))
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.connection.settimeout(self.server.receive_seconds)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _event(self, body: bytes, context: Context) -> dict[str, Any]:
        target = urlsplit(self.path)
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            # A header that comes twice is one with a comma (API Gateway Developer Guide, "Payload format version").
            headers[name.lower()] = f"{headers[name.lower()]},{value}" if name.lower() in headers else value
        query: dict[str, str] = {}
        for name, value in parse_qsl(target.query, keep_blank_values=True):
            query[name] = f"{query[name]},{value}" if name in query else value
        is_text = headers.get("content-type", "").lower().startswith(_TEXT)
        now = datetime.now(UTC)
        return {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": target.path,
            "rawQueryString": target.query,
            "headers": headers,
            **({"queryStringParameters": query} if query else {}),
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "local",
                "domainName": headers.get("host", ""),
                "http": {
                    "method": self.command,
                    "path": target.path,
                    "protocol": self.request_version,
                    "sourceIp": self.client_address[0],
                    "userAgent": headers.get("user-agent", ""),
                },
                "requestId": context.aws_request_id,
                "routeKey": "$default",
                "stage": "$default",
                "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
                "timeEpoch": int(now.timestamp() * 1000),
            },
            **({"body": body.decode(errors="replace") if is_text else base64.b64encode(body).decode()} if body else {}),
            "isBase64Encoded": bool(body) and not is_text,
        }


def _json(status: HTTPStatus, document: dict[str, str]) -> dict[str, Any]:
    return {
        "statusCode": int(status),
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(document),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(prog="python -m classifier.http_server", description="Serve the HTTP API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0 takes a free one")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    try:
        settings = ApiSettings.from_environment(os.environ)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    # Only now: it loads the model, and starts the process that workers are forked from, while there is one thread.
    from classifier.api import handler

    # The largest image in base64, in JSON.
    max_body = settings.limits.max_bytes * 4 // 3 + 1024
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        server = Server((given.host, given.port), handler, max_body=max_body)
    except (OSError, OverflowError) as error:
        sys.exit(f"error: cannot listen on {given.host} port {given.port}: {error}")
    host, port = server.server_address[:2]
    logger.info("listening on http://%s:%s/", host, port)
    with server:
        server.serve_forever()


def _end(_signal: int, _frame: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
