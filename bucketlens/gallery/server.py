"""The live gallery as a WSGI application: page, results as they are now, pictures made when they are looked at.

It serves a person on this machine. Requests that name it by anything but an address or ``localhost`` are refused, so
that a web site whose name is made to point here (DNS rebinding) reads nothing.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from botocore.exceptions import BotoCoreError, ClientError

from bucketlens.drift import Tally
from bucketlens.gallery import decisions
from bucketlens.gallery.data import LIMIT, Picture, chunks
from bucketlens.gallery.page import ASSETS, POLICY, Page, asset, render
from bucketlens.gallery.thumbnails import PREVIEW, THUMBNAIL, Thumbnails, Unavailable
from bucketlens.results import Item
from bucketlens.reviews import Candidate, Quotas, ReviewSession, collecting, queue
from classifier.errors import UserError

MOUNT = "/_bucketlens/gallery"
"""Where the local stack serves it: no bucket's name begins with an underscore, so no object's path does."""

_PICTURE = re.compile(r"/(thumbnails|previews)/([0-9a-f]{24})\.jpg")
_NO_QUOTAS = Quotas()
_SIDES = {"thumbnails": THUMBNAIL, "previews": PREVIEW}
_HEADERS = [
    ("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]

Environ = dict[str, Any]
Start = Callable[..., Any]


class Gallery:
    """The application. Its paths are relative, so it can be mounted anywhere; the address must end in a slash.

    Args:
        title: what the results are of.
        read: reads all results; called for each reading of the page, by several threads.
        thumbnails: makes the pictures.
        limit: results to show at most; more are left out, and the page says so.
        session: takes decisions about predictions; without one, the page shows them alone.
        quotas: of what to look at first.
        drift: what to say of the drift of all results, if anything.
    """

    def __init__(
        self,
        title: str,
        read: Callable[[], Iterable[Item]],
        thumbnails: Thumbnails,
        limit: int = LIMIT,
        session: ReviewSession | None = None,
        quotas: Quotas = _NO_QUOTAS,
        drift: Callable[[Tally], str | None] = lambda _: None,
    ) -> None:
        self._title = title
        self._read = read
        self._thumbnails = thumbnails
        self._limit = limit
        self._session = session
        self._quotas = quotas
        self._drift = drift
        self._pictures: dict[str, Picture] = {}
        self._routes: dict[tuple[str, str], Callable[[Environ, Start], Iterable[bytes]]] = {
            ("GET", ""): self._redirect,
            ("GET", "/"): self._page,
            ("GET", "/results.jsonl"): self._results,
            ("POST", "/decisions"): self._decision,
            **{("GET", f"/{name}"): self._asset for name in ASSETS},
        }

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        if not _is_local(environ.get("HTTP_HOST", "")):
            return _text(start_response, "403 Forbidden", "use this machine's address, such as http://127.0.0.1")
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        picture = _PICTURE.fullmatch(path)
        if method == "GET" and picture:
            return self._picture(start_response, picture[1], picture[2])
        handler = self._routes.get((method, path))
        if handler is None:
            return _text(start_response, "404 Not Found", "there is no such page")
        return handler(environ, start_response)

    def _redirect(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("308 Permanent Redirect", [*_HEADERS, ("Location", f"{environ.get('SCRIPT_NAME', '')}/")])
        return []

    def _page(self, _environ: Environ, start_response: Start) -> Iterable[bytes]:
        reviewer = None if self._session is None else self._session.reviewer
        html = render(Page(self._title, live=True, reviewer=reviewer)).encode()
        return _body(start_response, "200 OK", "text/html; charset=utf-8", html)

    def _asset(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        name = environ["PATH_INFO"].removeprefix("/")
        return _body(start_response, "200 OK", ASSETS[name], asset(name))

    def _results(self, _environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [*_HEADERS, ("Content-Type", "application/jsonl"), ("Cache-Control", "no-store")])
        return self._lines()

    def _lines(self) -> Iterator[bytes]:
        """A chunk a line, as the table is read.

        The last line is ``{"end": true, "limit": null, "queue": [3, 0], "drift": "..."}``, with the limit where results
        were left out, the positions of what to look at first, and drift where there is something to say of it; or
        ``{"error": "..."}``.
        """
        found: list[Candidate] = []
        counted = Tally()
        try:
            items = counted.counting(self._read())
            for chunk in chunks(collecting(found, itertools.islice(items, self._limit))):
                self._pictures.update(chunk.pictures)
                yield _line(chunk.document)
            more = next(items, None) is not None
            last: dict[str, Any] = {"end": True, "limit": self._limit if more else None}
            last["queue"] = [one.position for one in queue(found, self._quotas)]
            if not more and (drift := self._drift(counted)):
                last["drift"] = drift
        except (BotoCoreError, ClientError) as error:
            last = {"error": " ".join(str(error).split())}
        yield _line(last)

    def _decision(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        if self._session is None:
            return _text(start_response, "404 Not Found", "no decisions are taken here")
        status, document = decisions.answer(self._session, environ)
        return _body(start_response, status, "application/json", _line(document))

    def _picture(self, start_response: Start, kind: str, name: str) -> Iterable[bytes]:
        picture = self._pictures.get(name)
        if picture is None:
            return _text(start_response, "404 Not Found", "no such picture: load the page again")
        try:
            made = self._thumbnails.get(picture, _SIDES[kind])
        except (BotoCoreError, ClientError) as error:
            return _text(start_response, "502 Bad Gateway", " ".join(str(error).split()))
        if isinstance(made, Unavailable):
            # Not 404, which a browser reports as an error of the page.
            start_response("204 No Content", [*_HEADERS, ("Cache-Control", "no-store")])
            return []
        return _body(start_response, "200 OK", "image/jpeg", made, cache="private, max-age=31536000, immutable")


def serve(application: Gallery, port: int) -> WSGIServer:
    """A server of ``application`` on 127.0.0.1; port 0 takes a free one. ``serve_forever()`` runs it.

    Raises:
        UserError: the port is taken.
    """
    try:
        return make_server("127.0.0.1", port, application, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise UserError(
            f"cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another port with --port, 0 for any free one"
        ) from error


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # a browser asks for a screen of pictures at once; five may wait by default

    def handle_error(self, *_: Any) -> None:
        """A browser that goes away in the middle of an answer is nothing to report."""


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """No line a request."""


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _line(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, separators=(",", ":")) + "\n").encode()


def _text(start_response: Start, status: str, text: str) -> Iterable[bytes]:
    return _body(start_response, status, "text/plain; charset=utf-8", text.encode("utf-8", "backslashreplace"))


def _body(start_response: Start, status: str, kind: str, body: bytes, *, cache: str = "no-store") -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", cache)]
    start_response(status, [*_HEADERS, *headers])
    return [body]
