"""The endpoints: conditional writes one at a time, and clear words when the address cannot be used."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from bucketlens.local.server import AtomicWrites, AwsServer
from classifier.errors import UserError


class Overlap:
    """A WSGI application that sees whether two requests are inside it at once."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self.overlapped = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            self._barrier.wait(0.3)
            self.overlapped = True
        except threading.BrokenBarrierError:
            pass
        return []


def two_at_once(environ: dict[str, Any]) -> bool:
    inner = Overlap()
    application = AtomicWrites(inner)
    threads = [threading.Thread(target=application, args=(environ, None)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return inner.overlapped


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "POST", "HTTP_X_AMZ_TARGET": "DynamoDB_20120810.PutItem"},
        {"REQUEST_METHOD": "PUT", "HTTP_IF_NONE_MATCH": "*"},
        {"REQUEST_METHOD": "PUT", "HTTP_IF_MATCH": '"etag"'},
    ],
)
def test_conditional_writes_go_one_at_a_time(environ: dict[str, Any]) -> None:
    assert not two_at_once(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "PUT"},
        {"REQUEST_METHOD": "GET", "HTTP_IF_NONE_MATCH": "*"},
        {"REQUEST_METHOD": "POST", "HTTP_X_AMZ_TARGET": "AmazonSQS.ReceiveMessage"},
    ],
)
def test_everything_else_is_concurrent(environ: dict[str, Any]) -> None:
    assert two_at_once(environ)


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} on 127.0.0.1 is taken.*--port {port + 1}"):
            AwsServer("127.0.0.1", port).start()


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("127.0.0.1", 70000)])
def test_an_address_that_is_not_ours_or_not_a_port_is_refused(host: str, port: int) -> None:
    with pytest.raises(UserError, match=str(port)):
        AwsServer(host, port).start()


def test_the_port_is_free_again_and_a_second_server_waits_its_turn() -> None:
    server = AwsServer("127.0.0.1", 0)
    server.start()
    try:
        assert server.endpoint_url == f"http://127.0.0.1:{server.port}"
        with pytest.raises(RuntimeError, match="already runs"):
            AwsServer("127.0.0.1", 0).start()
    finally:
        server.stop()
    again = AwsServer("127.0.0.1", server.port)
    again.start()
    again.stop()
    again.stop()


def test_clients_reach_a_server_on_every_address_through_loopback() -> None:
    assert AwsServer("0.0.0.0", 5555).endpoint_url == "http://127.0.0.1:5555"
