"""The live gallery's answers, and what it refuses."""

from __future__ import annotations

import io
import json
import threading
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from bucketlens.drift import Tally
from bucketlens.gallery.server import Gallery, serve
from bucketlens.gallery.thumbnails import Thumbnails
from classifier.errors import UserError
from model_build.metrics.answers import AnswerMix
from tests.conftest import BUCKET, Aws
from tests.support.gallery import HOSTILE, item, many
from tests.support.images import png


class Answer:
    """What the application answers a request with."""

    def __init__(self, application: Gallery, path: str, method: str = "GET", host: str = "127.0.0.1:5556") -> None:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "/mounted", "HTTP_HOST": host}
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b"".join(application(environ, self._start))

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status = int(status.split(maxsplit=1)[0])
        self.headers = dict(headers)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]


def gallery(items: Iterable[dict[str, Any]] = (), s3: Any = None, limit: int = 100_000) -> Gallery:
    found = list(items)
    return Gallery(BUCKET, lambda: iter(found), Thumbnails(s3, None), limit)


def test_the_page_names_no_other_host_and_its_parts_are_there() -> None:
    application = gallery()
    page = Answer(application, "/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert BUCKET.encode() in page.body
    assert b"https:" not in page.body
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for name in ("gallery.js", "gallery.css"):
        assert name.encode() in page.body
        part = Answer(application, f"/{name}")
        assert part.status == 200
        assert part.headers["X-Content-Type-Options"] == "nosniff"
    assert Answer(application, "").headers["Location"] == "/mounted/"


def test_results_come_a_chunk_a_line_and_end() -> None:
    lines = Answer(gallery(many(2500)), "/results.jsonl").lines
    assert [line["count"] for line in lines[:-1]] == [1000, 1000, 500]
    assert {**lines[-1], "queue": None} == {"end": True, "limit": None, "queue": None}
    # The first to look at needs review, and is the closest call.
    first, *_ = sorted((one["confidence"], at) for at, one in enumerate(many(2500)) if one["needs_review"])
    assert lines[-1]["queue"][0] == first[1]


def test_what_the_limit_leaves_out_is_said() -> None:
    lines = Answer(gallery(many(30), limit=29), "/results.jsonl").lines
    assert [line["count"] for line in lines[:-1]] == [29]
    assert (lines[-1]["end"], lines[-1]["limit"]) == (True, 29)
    assert max(lines[-1]["queue"]) <= 28
    assert Answer(gallery(many(29), limit=29), "/results.jsonl").lines[-1]["limit"] is None


def test_drift_is_told_of_all_results_or_not_at_all() -> None:
    nothing: Any = None

    def last(limit: int, found: str | None) -> dict[str, Any]:
        given: list[int] = []

        def drift(counted: Tally) -> str | None:
            mix = counted.drift(lambda _: AnswerMix.of([("hat", 0.9)]), days=10_000)
            given.append(mix.actual.answers)
            return found

        read = Gallery("b", lambda: iter([item()] * 5), Thumbnails(nothing, None), limit, drift=drift)
        lines = Answer(read, "/results.jsonl").lines
        assert given == ([5] if limit == 5 else [])
        return lines[-1]

    assert last(5, "it drifts")["drift"] == "it drifts"
    assert "drift" not in last(5, None)
    assert "drift" not in last(4, "it drifts")


def test_a_table_that_does_not_answer_is_told_in_the_last_line() -> None:
    nothing: Any = None

    def read() -> Iterable[dict[str, Any]]:
        yield item()
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    (last,) = Answer(Gallery("b", read, Thumbnails(nothing, None)), "/results.jsonl").lines
    assert "127.0.0.1:1" in last["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/../page.py",
        "/gallery.html",
        "/thumbnails/../../etc/passwd",
        "/thumbnails/..%2f..%2fsecret.jpg",
        "/thumbnails/" + "0" * 24 + ".jpg",
        "/thumbnails/" + "0" * 24 + ".jpg\n",
        "/thumbnails/" + "0" * 23 + "/.jpg",
        "/previews/",
        "//gallery.js",
        "/\udcff",
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    assert Answer(gallery([item()]), path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_nothing_can_be_changed(method: str) -> None:
    assert Answer(gallery(), "/", method).status == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:5555", "[::1]:5555", "192.168.1.2:5555"])
def test_this_machine_is_reached_by_address(host: str) -> None:
    assert Answer(gallery(), "/", host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:5555", "[::1"])
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    assert Answer(gallery(), "/results.jsonl", host=host).status == 403


def test_pictures_are_those_of_the_results_that_were_read(aws: Aws) -> None:
    keys = [key for key in HOSTILE if "\ud800" not in key and "\u0007" not in key]
    for key in keys:
        aws.put(key, png())
    etags = {key: aws.s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"') for key in keys}
    application = gallery([*(item(key, etag=etags[key]) for key in keys), item("incoming/gone.jpg")], aws.s3)
    *ids, gone = Answer(application, "/results.jsonl").lines[0]["columns"]["picture"]
    for name in ids:
        thumbnail = Answer(application, f"/thumbnails/{name}.jpg")
        assert (thumbnail.status, thumbnail.headers["Content-Type"]) == (200, "image/jpeg")
        assert thumbnail.body.startswith(b"\xff\xd8\xff")
        assert "immutable" in thumbnail.headers["Cache-Control"]
    assert Answer(application, f"/previews/{ids[0]}.jpg").status == 200
    # 204, not 404: a browser reports a 404 as an error of the page.
    absent = Answer(application, f"/thumbnails/{gone}.jpg")
    assert (absent.status, absent.body, absent.headers["Cache-Control"]) == (204, b"", "no-store")


def test_it_runs_on_this_machine_alone() -> None:
    with serve(gallery(many(10)), 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/results.jsonl"
        with urllib.request.urlopen(url, timeout=10) as response:
            assert len(io.BytesIO(response.read()).readlines()) == 2
        with pytest.raises(UserError, match=rf"127.0.0.1:{server.server_port}.*--port"):
            serve(gallery(), server.server_port)
        server.shutdown()
        thread.join()


def test_a_mounted_gallery_does_not_shadow_a_bucket(tmp_path: Path) -> None:
    from bucketlens.gallery.local import mount_gallery
    from bucketlens.local.stack import LocalStack
    from tests.conftest import ROOT

    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, log_folder=tmp_path) as stack:
        address = mount_gallery(stack)
        with urllib.request.urlopen(address, timeout=10) as response:
            assert stack.bucket.encode() in response.read()
        with urllib.request.urlopen(f"{address}results.jsonl", timeout=10) as response:
            assert json.loads(response.read()) == {"end": True, "limit": None, "queue": []}
        stack.aws.s3.put_object(Bucket=stack.bucket, Key="_bucketlens/gallery/", Body=b"an object")
        stored = stack.aws.s3.get_object(Bucket=stack.bucket, Key="_bucketlens/gallery/")
        assert stored["Body"].read() == b"an object"
