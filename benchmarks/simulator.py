"""S3, DynamoDB and SQS over HTTP/1.1 in a process of their own: the latency of the real ones at next to no cost.

``python -m benchmarks.simulator`` prints its URL and serves until its standard input ends; :func:`simulator` starts it.

Served are, with path-style URLs and without looking at signatures: S3's GET, HEAD, PUT and DELETE of objects with
their conditional headers, user metadata and ETags; DynamoDB's PutItem, GetItem and DeleteItem with condition
expressions; SQS's SendMessage, SendMessageBatch and DeleteMessageBatch; EventBridge's PutEvents.

An answer takes a time drawn from a lognormal distribution with the median of its operation (:data:`MEDIANS_MS`) and
:data:`SIGMA` for the logarithm's deviation, so that one in a hundred takes 2.3 times the median. A request with the
header ``x-simulator: direct`` is answered at once and not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.soak.expressions import InvalidExpression, holds

MEDIANS_MS = {"GET": 20.0, "HEAD": 20.0, "PUT": 25.0, "DELETE": 25.0, "DynamoDB": 5.0, "AmazonSQS": 10.0}
SIGMA = 0.35

_CONTROL = "/_simulator"


@dataclass(frozen=True)
class Answer:
    """Of a service: status, headers by their names, and body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Served:
    """One request: what for, and when it came and was answered, in seconds by the monotonic clock.

    Attributes:
        key: of the S3 object; of the image, for its item.
    """

    operation: str
    key: str
    arrived: float
    answered: float
    status: int = 200


@dataclass(frozen=True)
class _Object:
    data: bytes
    headers: Mapping[str, str]


class Storage:
    """The services' state, and what their operations do to it at once."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        """By ``/bucket/key``."""
        self.items: dict[str, dict[str, Any]] = {}
        """By table and ``image_uri``."""
        self._contents: dict[str, bytes] = {}

    def s3(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """An operation on an object.

        Args:
            path: ``/bucket/key``, decoded.
            headers: names in lower case.
        """
        found = self.objects.get(path)
        # Of a PUT or DELETE, If-Match is answered with 404 where there is no object (S3 User Guide, "How to prevent
        # object overwrites with conditional writes").
        wanted, unwanted = headers.get("if-match"), headers.get("if-none-match")
        if found is None and (method in ("GET", "HEAD") or wanted):
            return _s3_error(404, "NoSuchKey", method)
        etag = found.headers["ETag"] if found else None
        if wanted not in (None, "*", etag):
            return _s3_error(412, "PreconditionFailed", method)
        if unwanted is not None and found is not None and unwanted in ("*", etag):
            if method in ("GET", "HEAD"):
                return Answer(304, {"ETag": str(etag)})
            return _s3_error(412, "PreconditionFailed", method)
        if method == "PUT":
            found = self._store(body, headers)
            self.objects[path] = found
            return Answer(headers={"ETag": found.headers["ETag"]})
        if method == "DELETE":
            self.objects.pop(path, None)
            return Answer(204)
        assert found is not None  # noqa: S101 - answered above
        return Answer(headers=found.headers, body=found.data)

    def json_service(self, target: str, request: dict[str, Any]) -> Answer:
        """An operation of DynamoDB, SQS or EventBridge, by the value of ``X-Amz-Target``."""
        operation = target.partition(".")[2]
        match operation:
            case "PutItem" | "DeleteItem" | "GetItem":
                return self._item(operation, request)
            case "SendMessageBatch" | "DeleteMessageBatch":
                taken = [{"Id": e["Id"], **_sent(e.get("MessageBody", ""))} for e in request["Entries"]]
                return _json({"Successful": taken, "Failed": []})
            case "SendMessage":
                return _json(_sent(request["MessageBody"]))
            case "PutEvents":
                return _json({"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in request["Entries"]]})
        return _json_error("UnknownOperationException", f"no operation {target}")

    def forget(self, prefix: str) -> None:
        """Forget all items, and the objects of all buckets whose key begins with ``prefix``."""
        self.items.clear()
        for path in [path for path in self.objects if path.split("/", 2)[2].startswith(prefix)]:
            del self.objects[path]

    def _store(self, body: bytes, headers: Mapping[str, str]) -> _Object:
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        kept = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
        kept |= {
            "ETag": f'"{digest}"',
            "Content-Type": headers.get("content-type", "binary/octet-stream"),
            "Last-Modified": formatdate(usegmt=True),
        }
        # Thousands of images are copies of a few.
        return _Object(self._contents.setdefault(digest, body), kept)

    def _item(self, operation: str, request: dict[str, Any]) -> Answer:
        key = request.get("Item", request.get("Key", {}))["image_uri"]["S"]
        where = f"{request['TableName']}/{key}"
        old = self.items.get(where)
        if operation == "GetItem":
            return _json({"Item": old} if old else {})
        condition = request.get("ConditionExpression")
        if condition is not None:
            values = request.get("ExpressionAttributeValues", {})
            try:
                met = holds(condition, old or {}, values, request.get("ExpressionAttributeNames"))
            except InvalidExpression as error:
                return _json_error("ValidationException", str(error))
            if not met:
                shown = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and old
                more = {"Item": old} if shown else {}
                return _json_error("ConditionalCheckFailedException", "The conditional request failed", **more)
        if operation == "PutItem":
            self.items[where] = request["Item"]
        else:
            self.items.pop(where, None)
        return _json({"Attributes": old} if old and request.get("ReturnValues") == "ALL_OLD" else {})


class Latency:
    """Seconds that an operation takes; ``scale`` 0 takes none."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secrets here
        self._scale = scale

    def draw(self, operation: str) -> float:
        if not self._scale:
            return 0.0
        median = MEDIANS_MS.get(operation, MEDIANS_MS["AmazonSQS"]) / 1000
        return self._scale * median * self._random.lognormvariate(0.0, SIGMA)


class _Connection(asyncio.Protocol):
    """One client's connection: one request after the other, as HTTP/1.1 clients send them."""

    def __init__(self, storage: Storage, latency: Latency, served: list[Served]) -> None:
        self._storage = storage
        self._latency = latency
        self._served = served
        self._received = bytearray()
        self._head: tuple[str, str, dict[str, str], int] | None = None
        self._busy = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's, by create_server's contract

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._busy:
            self._next()

    def _next(self) -> None:
        if self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            lines = self._received[:end].decode("latin-1").split("\r\n")
            del self._received[: end + 4]
            method, target, _ = lines[0].split(" ", 2)
            headers = {name.strip().lower(): value.strip() for name, _, value in (s.partition(":") for s in lines[1:])}
            self._head = method, target, headers, int(headers.get("content-length", 0))
            if "transfer-encoding" in headers:
                self._write(b"HTTP/1.1 411 Length Required\r\nConnection: close\r\n\r\n")
                self._close()
                return
            if headers.get("expect") == "100-continue":
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        method, target, headers, length = self._head
        if len(self._received) < length:
            return
        body = bytes(self._received[:length])
        del self._received[:length]
        self._head = None
        self._busy = True
        self._serve(method, target, headers, body)

    def _serve(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        arrived = time.monotonic()
        path = unquote(target.partition("?")[0])
        service = headers.get("x-amz-target", "")
        delay, key, operation = 0.0, path.split("/", 2)[-1], method
        if path == _CONTROL:
            answer = self._control(json.loads(body or b"{}"))
        elif service:
            request = json.loads(body)
            answer = self._storage.json_service(service, request)
            operation = service.partition(".")[2]
            uri = request.get("Item", request.get("Key", {})).get("image_uri", {}).get("S", "")
            key = uri.removeprefix("s3://").partition("/")[2]
            delay = self._latency.draw(service.partition("_")[0].partition(".")[0])
        else:
            answer = self._storage.s3(method, path, headers, body)
            delay = self._latency.draw(method)
        if headers.get("x-simulator") == "direct":
            delay = 0.0
        elif path != _CONTROL:
            self._served.append(Served(operation, key, arrived, arrived + delay, answer.status))
        head = {**answer.headers, "x-amz-request-id": "simulated"}
        if answer.status not in (204, 304):  # which have no body (RFC 9110, 8.6)
            head["Content-Length"] = str(len(answer.body))
        text = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        raw = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{text}\r\n".encode("latin-1")
        raw = raw if method == "HEAD" else raw + answer.body
        if delay:
            asyncio.get_running_loop().call_later(delay, self._answer, raw)
        else:
            self._answer(raw)

    def _control(self, request: dict[str, Any]) -> Answer:
        if "forget" in request:
            self._storage.forget(request["forget"])
        rows = [astuple(one) for one in self._served]
        self._served.clear()
        return _json({"served": rows, "cpu_seconds": time.process_time(), "items": len(self._storage.items)})

    def _answer(self, raw: bytes) -> None:
        self._write(raw)
        self._busy = False
        if self._received:
            self._next()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _write(self, raw: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(raw)


@dataclass(frozen=True)
class Statement:
    """What the simulator has done since it was last asked, and its processor time since it was started."""

    served: list[Served]
    cpu_seconds: float
    items: int


class Simulator:
    """A simulator that runs, seen from outside."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = HTTPConnection(str(urlsplit(url).hostname), urlsplit(url).port)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Put an object, at once."""
        self._ask("PUT", f"/{bucket}/{quote(key)}", data)

    def statement(self) -> Statement:
        """What was served since the last statement."""
        return self._control({})

    def forget(self, prefix: str) -> Statement:
        """Forget all items and the objects below ``prefix``."""
        return self._control({"forget": prefix})

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _control(self, request: dict[str, str]) -> Statement:
        told = json.loads(self._ask("POST", _CONTROL, json.dumps(request).encode()))
        return Statement([Served(*row) for row in told["served"]], told["cpu_seconds"], told["items"])

    def _ask(self, method: str, path: str, body: bytes) -> bytes:
        self._connection.request(method, path, body, {"x-simulator": "direct"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"the simulator answers {response.status} to {method} {path}: {answer.decode()}")
        return answer


@contextmanager
def simulator(*, seed: int = 0, scale: float = 1.0, core: int | None = None) -> Iterator[Simulator]:
    """Start a simulator, on a processor core of its own if one is given, and end it afterwards."""
    command = [sys.executable, "-m", "benchmarks.simulator", f"--seed={seed}", f"--scale={scale}"]
    if core is not None:
        command.append(f"--core={core}")
    root = Path(__file__).parent.parent
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # A session of its own: a Ctrl-C is for who measures, and who measures ends it.
    with subprocess.Popen(command, cwd=root, start_new_session=True, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes, as asked for
        try:
            with closing(Simulator(process.stdout.readline().strip())) as started:
                yield started
        finally:
            process.stdin.close()
            process.wait()


def _sent(body: str) -> dict[str, str]:
    return {"MessageId": "simulated", "MD5OfMessageBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()}


def _json(document: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(document).encode())


def _json_error(code: str, message: str, **more: Any) -> Answer:
    return _json({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}, 400)


def _s3_error(status: int, code: str, method: str) -> Answer:
    text = f"<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>{code}</Code><Message>simulated</Message></Error>"
    return Answer(status, {"Content-Type": "application/xml"}, b"" if method == "HEAD" else text.encode())


async def serve(storage: Storage, latency: Latency, until: Callable[[], Any], say: Callable[[str], object]) -> None:
    """Serve on a free port of 127.0.0.1, told to ``say`` as a URL, until ``until`` returns (in a thread)."""
    served: list[Served] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(storage, latency, served), "127.0.0.1", 0)
    say(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await loop.run_in_executor(None, until)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="S3, DynamoDB and SQS with simulated latency")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="of all latencies; 0 answers at once")
    parser.add_argument("--core", type=int, help="run on this processor core alone")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})

    def say(url: str) -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    asyncio.run(serve(Storage(), Latency(options.seed, options.scale), sys.stdin.read, say))


if __name__ == "__main__":
    main()
