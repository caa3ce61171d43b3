"""Requests over a socket become events, and no client can make the server read or wait without end."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from classifier.admission import Context
from classifier.http_server import Handler, Server

Event = dict[str, Any]


def mirror(event: Event, context: Context) -> Event:
    """Answers with the event."""
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(event)}


@contextmanager
def serving(handler: Handler = mirror, max_body: int = 1000, receive_seconds: float = 20.0) -> Iterator[int]:
    with Server(("127.0.0.1", 0), handler, max_body=max_body, receive_seconds=receive_seconds) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as number:
        yield number


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    response = connection.getresponse()
    response.headers["X-Body"] = base64.b64encode(response.read()).decode()
    connection.close()
    return response


def body_of(response: http.client.HTTPResponse) -> Any:
    return json.loads(base64.b64decode(response.headers["X-Body"]))


def test_a_request_is_an_event_of_payload_format_2(port: int) -> None:
    body = bytes(range(256))
    event = body_of(ask(port, "POST", "/predict?top=3&top=4&empty=&a=b%20c", body, content_type="image/png", X_Odd="1"))
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == (
        "2.0",
        "/predict",
        "top=3&top=4&empty=&a=b%20c",
    )
    assert event["queryStringParameters"] == {"top": "3,4", "empty": "", "a": "b c"}
    assert event["headers"]["x-odd"] == "1"
    assert event["isBase64Encoded"]
    assert base64.b64decode(event["body"]) == body
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["requestContext"]["stage"] == "$default"


def test_json_stays_text_and_no_body_is_none(port: int) -> None:
    event = body_of(ask(port, "POST", "/predict", "ü".encode(), content_type="application/json"))
    assert (event["body"], event["isBase64Encoded"]) == ("ü", False)
    event = body_of(ask(port, "GET", "/model"))
    assert not event.keys() & {"body", "queryStringParameters"}
    assert event["isBase64Encoded"] is False


def test_answers_in_base64_are_decoded() -> None:
    def answer(_event: Event, _context: Context) -> Event:
        return {"statusCode": 418, "isBase64Encoded": True, "body": "AAEC", "headers": {"X-Odd": "1"}}

    with serving(answer) as port:
        response = ask(port, "GET", "/")
    assert (response.status, response.headers["X-Odd"]) == (418, "1")
    assert base64.b64decode(response.headers["X-Body"]) == b"\0\1\2"


def test_an_answer_to_head_has_no_body(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("HEAD", "/")
    connection.getresponse().read()
    connection.request("GET", "/next")  # would begin with the body that must not be there
    assert json.loads(connection.getresponse().read())["rawPath"] == "/next"
    connection.close()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
def test_every_method_is_the_handlers_to_judge(port: int, method: str) -> None:
    assert body_of(ask(port, method, "/"))["requestContext"]["http"]["method"] == method


def test_a_connection_is_kept(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(3):
        connection.request("POST", f"/{number}", b"x" * number, {"Content-Type": "image/png"})
        used = connection.sock
        assert json.loads(connection.getresponse().read())["rawPath"] == f"/{number}"
        assert connection.sock is used
    connection.close()


def test_requests_are_answered_one_at_a_time() -> None:
    """As in Lambda, for which the handler is written."""
    inside: list[str] = []
    met = threading.Event()

    def answer(event: Event, _context: Context) -> Event:
        inside.append(event["rawPath"])
        if len(inside) > 1:
            met.set()
        met.wait(0.1)  # for the others to come in
        inside.remove(event["rawPath"])
        return {"statusCode": 200, "body": ""}

    with serving(answer) as port:
        threads = [threading.Thread(target=ask, args=(port, "GET", f"/{number}")) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not met.is_set()


def test_a_body_over_the_limit_is_refused_and_the_refusal_arrives(port: int) -> None:
    response = ask(port, "POST", "/predict", b"x" * 1001)
    assert response.status == 413
    assert "1,001" in body_of(response)["message"]
    assert ask(port, "POST", "/predict", b"x" * 1000).status == 200


def exchange(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "header",
    [b"Transfer-Encoding: chunked", b"Content-Length: -1", b"Content-Length: 1e3", "Content-Length: ²".encode()],
)
def test_a_body_of_unknown_length_is_refused(port: int, header: bytes) -> None:
    answer = exchange(port, b"POST /predict HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")


def test_who_asks_first_is_told_before_the_body_is_sent(port: int) -> None:
    asking = b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
    assert exchange(port, asking + b"1001\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert exchange(port, asking + b"1\r\n\r\nx").startswith(b"HTTP/1.1 100 ")


@pytest.mark.parametrize(
    "sent", [b"", b"POST /pre", b"POST /predict HTTP/1.1\r\nContent-Length: 10\r\n\r\n123", b"\0\0\0\r\n\r\n"]
)
def test_half_a_request_is_no_request(sent: bytes) -> None:
    events: list[Event] = []

    def answer(event: Event, _context: Context) -> Event:
        events.append(event)
        return mirror(event, _context)

    with serving(answer) as port:
        exchange(port, sent)
    assert events == []


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"])
def test_a_slow_client_is_cut_off_however_often_it_sends_a_byte(sent: bytes) -> None:
    with serving(receive_seconds=0.3) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        ended = threading.Event()

        def drip() -> None:
            while not ended.wait(0.05):
                try:
                    connection.send(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            received = connection.recv(1)
        except ConnectionResetError:
            received = b""
        ended.set()
        thread.join()
    assert received == b""


def test_a_handler_that_fails_is_answered_as_api_gateway_does(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_event: Event, _context: Context) -> Event:
        raise ZeroDivisionError("nobody expected this")

    with serving(fail) as port:
        response = ask(port, "GET", "/")
    assert response.status == 500
    assert body_of(response) == {"message": "Internal Server Error"}
    assert "nobody expected this" in caplog.text
