"""Decisions over HTTP: recorded from the gallery's own page, refused from anywhere else and in any other form."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bucketlens.gallery.data import Picture
from bucketlens.gallery.server import Gallery
from bucketlens.gallery.thumbnails import Thumbnails
from bucketlens.results import plain
from bucketlens.reviews import ReviewSession, ReviewTable
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Result
from tests.conftest import BUCKET, TABLE, Aws, create_table

HOST = "127.0.0.1:5556"
VERSION = "20261120T101500Z-5d313724"
WHEN = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture
def session(aws: Aws) -> ReviewSession:
    """One classified image, and an empty review table."""
    create_table(aws.dynamodb, "reviews")
    classified(aws, "hat")
    return ReviewSession(aws.dynamodb, TABLE, ReviewTable(aws.dynamodb, "reviews"), "ann", lambda: WHEN)


def classified(aws: Aws, label: str, etag: str = "e", version: str = VERSION) -> None:
    image = ImageFacts(BUCKET, "incoming/a.jpg", etag=etag)
    made = Result(image, ModelIdentity("m", version, "0" * 64), "t", "r", top=(Prediction(label, 0.6),))
    aws.dynamodb.put_item(TableName=TABLE, Item=made.to_item(sequencer="0A", output_uri=None))


def wanted(aws: Aws, **other: Any) -> dict[str, Any]:
    picture = Picture.of(plain(aws.item("incoming/a.jpg")))
    assert picture is not None
    return {
        "image_uri": f"s3://{BUCKET}/incoming/a.jpg",
        "picture": picture.id,
        "model_version": VERSION,
        "decision": "right",
        "label": None,
        **other,
    }


def post(session: ReviewSession | None, body: Any, **environ: Any) -> tuple[int, dict[str, Any]]:
    nothing: Any = None
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/decisions",
        "HTTP_HOST": HOST,
        "HTTP_ORIGIN": f"http://{HOST}",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(sent)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(sent),
        **environ,
    }
    statuses: list[str] = []
    application = Gallery(BUCKET, lambda: iter(()), Thumbnails(nothing, None), session=session)
    answered = b"".join(application(request, lambda status, headers: statuses.append(status)))
    return int(statuses[0].split()[0]), json.loads(answered) if answered.startswith(b"{") else {}


def test_a_decision_is_recorded_and_answered_with_the_columns_of_the_page(aws: Aws, session: ReviewSession) -> None:
    answered = {"decision": "corrected", "decided_label": "dress", "reviewer": "ann"}
    answered["decided_at"] = "2026-11-21T10:00:00.000Z"
    assert post(session, wanted(aws, decision="corrected", label="dress")) == (200, answered)
    (item,) = session.read()
    assert {name: item[name] for name in answered} == answered


def test_undo_withdraws_what_was_seen_and_nothing_newer(aws: Aws, session: ReviewSession) -> None:
    _, made = post(session, wanted(aws))
    withdrawn = wanted(aws, decision="withdrawn", decided_at="2026-11-21T09:00:00.000Z")
    assert post(session, withdrawn)[0] == 409
    assert post(session, {**withdrawn, "decided_at": made["decided_at"]}) == (200, dict.fromkeys(made))
    assert list(session.reviews.read()) == []


@pytest.mark.parametrize("change", [{"etag": "other"}, {"version": "20261121T101500Z-a1b2c3d4"}])
def test_what_was_not_looked_at_is_not_decided_about(aws: Aws, session: ReviewSession, change: dict[str, str]) -> None:
    seen = wanted(aws)
    classified(aws, "dress", **change)
    status, answered = post(session, seen)
    assert status == 409
    assert "refresh" in answered["error"]
    assert list(session.reviews.read()) == []


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"HTTP_ORIGIN": "http://evil.example"}, 403),
        ({"HTTP_ORIGIN": "null"}, 403),
        ({"HTTP_ORIGIN": "http://127.0.0.1:5555"}, 403),
        ({"HTTP_ORIGIN": None}, 403),
        ({"HTTP_HOST": "evil.example", "HTTP_ORIGIN": "http://evil.example"}, 403),
        ({"CONTENT_TYPE": "text/plain"}, 415),
        ({"CONTENT_TYPE": "application/x-www-form-urlencoded"}, 415),
        ({"CONTENT_LENGTH": ""}, 411),
        ({"CONTENT_LENGTH": "-1"}, 411),
        ({"CONTENT_LENGTH": "16385"}, 413),
        ({"REQUEST_METHOD": "PUT"}, 404),
        ({"PATH_INFO": "/decisions/"}, 404),
    ],
)
def test_other_pages_and_other_forms_are_refused(
    aws: Aws, session: ReviewSession, environ: dict[str, Any], status: int
) -> None:
    assert post(session, wanted(aws), **environ)[0] == status
    assert list(session.reviews.read()) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"[" * 10_000, 400),
        (b'{"image_uri": 1}', 400),
        (b'{"image_uri": "s3://b/k", "decision": "withdrawn", "decided_at": 7}', 400),
        (b'{"image_uri": "s3://b/k", "decision": "maybe"}', 400),
        (b"\xff", 400),
        (b'{"image_uri": "s3://b/k", "decision": "right"}', 422),
    ],
)
def test_nonsense_is_refused_with_a_reason(session: ReviewSession, body: bytes, status: int) -> None:
    found, answered = post(session, body)
    assert found == status
    assert answered["error"]


@pytest.mark.parametrize(
    "change", [{"label": 7}, {"label": ""}, {"label": "a\u0007"}, {"decision": "right", "label": "hat"}]
)
def test_a_label_must_be_one(aws: Aws, session: ReviewSession, change: dict[str, Any]) -> None:
    status, answered = post(session, wanted(aws, **{"decision": "corrected", **change}))
    assert status in (400, 422)
    assert answered["error"]
    assert list(session.reviews.read()) == []


def test_without_a_desk_nothing_is_taken(aws: Aws, session: ReviewSession) -> None:
    assert post(None, wanted(aws))[0] == 404
