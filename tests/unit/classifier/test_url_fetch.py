"""The usual tricks to reach with a URL what only this machine can reach, and servers that waste its time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from classifier.errors import BucketlensError, ImageTooLarge, InputForbidden, UrlUnavailable, UserError
from classifier.url_fetch import Connect, UrlFetcher
from tests.support.certificates import self_signed
from tests.support.images import png
from tests.unit.classifier.test_url_rules import NOT_PUBLIC, PUBLIC

HOST = "images.example.org"
IMAGE = png()
Reply = Callable[[str, socket.socket], None]


def ok(body: bytes, *headers: str) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(HOST, tmp_path_factory.mktemp("tls"))


class World:
    """A resolver and a network with one TLS server on it.

    Attributes:
        addresses: what each resolution answers, in turn; the last one again and again.
        connected: addresses and ports that were connected to.
        asked: the requests that the server has read.
    """

    def __init__(self, certificate: Path, reply: Reply) -> None:
        self.addresses: list[list[str]] = [[PUBLIC]]
        self.connected: list[tuple[str, int]] = []
        self.asked: list[str] = []
        self._certificate = certificate
        self._reply = reply
        self.listener = socket.create_server(("127.0.0.1", 0))

    def resolve(self, _host: str) -> list[str]:
        return self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(self.listener.getsockname(), timeout)

    def fetcher(self, max_bytes: int = 100_000, seconds: float = 20.0, connect: Connect | None = None) -> UrlFetcher:
        tls = ssl.create_default_context(cafile=str(self._certificate))
        return UrlFetcher(max_bytes, seconds=seconds, resolve=self.resolve, connect=connect or self.connect, tls=tls)

    def serve(self) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self._certificate)
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            try:
                with tls.wrap_socket(plain, server_side=True) as connection:
                    request = b""
                    while b"\r\n\r\n" not in request and (piece := connection.recv(4096)):
                        request += piece
                    self.asked.append(request.decode())
                    self._reply(request.decode(), connection)
            except OSError:
                continue


@pytest.fixture
def world(certificate: Path) -> Iterator[Callable[..., World]]:
    """Starts a server that gives each request the next of some answers."""
    running: list[tuple[World, threading.Thread]] = []

    def start(*answers: bytes | Reply) -> World:
        left = list(answers)

        def reply(request: str, connection: socket.socket) -> None:
            answer = left.pop(0)
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                answer(request, connection)

        made = World(certificate, reply)
        thread = threading.Thread(target=made.serve)
        thread.start()
        running.append((made, thread))
        return made

    yield start
    for one, thread in running:
        one.listener.shutdown(socket.SHUT_RDWR)
        one.listener.close()
        thread.join()


def test_an_image_is_fetched_from_the_address_that_was_checked(world: Callable[..., World]) -> None:
    there = world(ok(IMAGE, "Content-Type: text/html", "Connection: close"))
    assert there.fetcher().fetch(f"https://{HOST}/a%20b.png?size=1", 20) == IMAGE
    assert there.connected == [(PUBLIC, 443)]
    (request,) = there.asked
    assert request.startswith("GET /a%20b.png?size=1 HTTP/1.1\r\n")
    assert f"\r\nHost: {HOST}\r\n" in request


def test_a_chunked_answer(world: Callable[..., World]) -> None:
    there = world(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert there.fetcher().fetch(f"https://{HOST}/", 20) == b"abcde"


@pytest.mark.parametrize("address", [address for address in NOT_PUBLIC if address != "not an address"])
def test_a_name_at_an_address_that_is_not_public_is_refused(world: Callable[..., World], address: str) -> None:
    there = world()
    there.addresses = [[PUBLIC, address]]
    with pytest.raises(InputForbidden):
        there.fetcher().fetch(f"https://{HOST}/", 20)
    assert there.connected == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "[fd00:ec2::254]"])
def test_such_an_address_itself_is_refused(world: Callable[..., World], address: str) -> None:
    there = world()
    with pytest.raises(InputForbidden):
        there.fetcher().fetch(f"https://{address}/latest/meta-data/", 20)
    assert there.connected == []


def test_a_redirect_is_checked_anew(world: Callable[..., World]) -> None:
    there = world(moved("/b"), moved(f"https://{HOST}/c", 308), moved("//" + HOST + "/d", 301), ok(IMAGE))
    assert there.fetcher().fetch(f"https://{HOST}/a", 20) == IMAGE
    assert [request.split()[1] for request in there.asked] == ["/a", "/b", "/c", "/d"]


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("https://169.254.169.254/latest/meta-data/", InputForbidden),
        ("https://2130706433/", InputForbidden),
        (f"https://{HOST}:8080/", InputForbidden),
        (f"https://user:secret@{HOST}/", InputForbidden),
        (f"http://{HOST}/", UserError),
        ("file:///etc/passwd", UserError),
        ("", UrlUnavailable),
    ],
)
def test_a_redirect_to_what_is_refused(
    world: Callable[..., World], location: str, error: type[BucketlensError]
) -> None:
    there = world(moved(location))
    with pytest.raises(error):
        there.fetcher().fetch(f"https://{HOST}/", 20)
    assert len(there.connected) == 1


def test_a_name_that_moves_to_another_address_between_two_looks(world: Callable[..., World]) -> None:
    """DNS rebinding: public when it is checked, private when it is connected to, or at the redirect."""
    there = world(moved("/again"))
    there.addresses = [[PUBLIC], ["127.0.0.1"]]
    with pytest.raises(InputForbidden):
        there.fetcher().fetch(f"https://{HOST}/", 20)
    assert there.connected == [(PUBLIC, 443)]


def test_redirects_end(world: Callable[..., World]) -> None:
    there = world(*[moved("/again")] * 9)
    with pytest.raises(UrlUnavailable, match="3 redirects"):
        there.fetcher().fetch(f"https://{HOST}/", 20)
    assert len(there.asked) == 4


def test_the_certificate_must_be_for_the_name(world: Callable[..., World]) -> None:
    there = world(ok(IMAGE))
    with pytest.raises(UrlUnavailable, match="certificate"):
        there.fetcher().fetch("https://other.example.org/", 20)
    assert there.asked == []


def test_a_certificate_of_nobody_is_refused(world: Callable[..., World]) -> None:
    there = world(ok(IMAGE))
    fetcher = UrlFetcher(1000, resolve=there.resolve, connect=there.connect)
    with pytest.raises(UrlUnavailable, match="certificate"):
        fetcher.fetch(f"https://{HOST}/", 20)


def test_the_next_address_is_tried(world: Callable[..., World]) -> None:
    there = world(ok(IMAGE))
    there.addresses = [["2606:2800:21f:cb07::1", PUBLIC]]
    unreachable: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        if ":" in address[0]:
            unreachable.append(address[0])
            raise OSError("Network is unreachable")
        return there.connect(address, timeout)

    assert there.fetcher(connect=connect).fetch(f"https://{HOST}/", 20) == IMAGE
    assert unreachable == ["2606:2800:21f:cb07::1"]


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500])
def test_other_statuses(world: Callable[..., World], status: int) -> None:
    there = world(f"HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n".encode())
    with pytest.raises(UrlUnavailable, match=str(status)):
        there.fetcher().fetch(f"https://{HOST}/", 20)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_answers_that_break_off_or_make_no_sense(world: Callable[..., World], answer: bytes) -> None:
    with pytest.raises(UrlUnavailable):
        world(answer).fetcher().fetch(f"https://{HOST}/", 20)


def endless(_request: str, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        ok(b"x" * 1001),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
        endless,
    ],
)
def test_a_file_over_the_limit(world: Callable[..., World], answer: bytes | Reply) -> None:
    with pytest.raises(ImageTooLarge):
        world(answer).fetcher(max_bytes=1000).fetch(f"https://{HOST}/", 20)


def test_a_file_of_exactly_the_limit(world: Callable[..., World]) -> None:
    assert len(world(ok(b"x" * 1000)).fetcher(max_bytes=1000).fetch(f"https://{HOST}/", 20)) == 1000


def dripping(start: bytes) -> Reply:
    """Sends a byte often enough for any timeout between two bytes, and never ends."""

    def reply(_request: str, connection: socket.socket) -> None:
        connection.sendall(start)
        connection.settimeout(0.02)
        while True:
            connection.sendall(b"1")
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return reply


def silent(_request: str, connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    "answer",
    [silent, dripping(b""), dripping(b"HTTP/1.1 200 OK\r\nX: "), dripping(b"HTTP/1.1 200 OK\r\n\r\n")],
)
def test_a_slow_server_is_given_up(world: Callable[..., World], answer: Reply) -> None:
    started = time.monotonic()
    with pytest.raises(UrlUnavailable):
        world(answer).fetcher(seconds=0.5).fetch(f"https://{HOST}/", 20)
    assert time.monotonic() - started < 10


def test_the_invocations_own_time_counts_too(world: Callable[..., World]) -> None:
    with pytest.raises(UrlUnavailable):
        world(silent).fetcher(seconds=100).fetch(f"https://{HOST}/", 0.3)


def test_a_slow_resolver_is_given_up() -> None:
    answered = threading.Event()

    def resolve(_host: str) -> list[str]:
        answered.wait(30)
        return []

    with pytest.raises(UrlUnavailable, match="resolved"):
        UrlFetcher(1000, seconds=0.2, resolve=resolve).fetch(f"https://{HOST}/", 20)
    answered.set()


@pytest.mark.parametrize("found", [[], OSError("Name or service not known")])
def test_a_name_without_an_address(found: list[str] | OSError) -> None:
    def resolve(_host: str) -> list[str]:
        if isinstance(found, OSError):
            raise found
        return found

    with pytest.raises(UrlUnavailable):
        UrlFetcher(1000, resolve=resolve).fetch(f"https://{HOST}/", 20)
