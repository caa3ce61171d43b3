"""The event of a batch: what it says, how large it gets, and that its loss is nobody's."""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.aws import EVENTS_SECONDS
from classifier.aws_calls import NoAnswer
from classifier.batch_event import DETAIL_TYPE, SOURCE, BatchEventPublisher, batch_detail
from classifier.events import ImageRef
from classifier.model import Prediction
from classifier.processor import Outcome, OutcomeStatus
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result, ReviewReason
from tests.conftest import BUCKET, ROOT, TABLE, Aws
from tests.support.bundles import FIXTURES, bundle_files, manifest_for, publish
from tests.support.clients import refusal

SCHEMA = json.loads((ROOT / "docs" / "batch-event.schema.json").read_text(encoding="utf-8"))
MODEL = ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64)


@dataclass
class Bus:
    """Records entries, and answers or raises as it is told."""

    answer: Any = field(default_factory=lambda: {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})
    entries: list[dict[str, Any]] = field(default_factory=list)

    def put_events(self, **request: Any) -> dict[str, Any]:
        self.entries += request["Entries"]
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)


def outcome(key: str, status: OutcomeStatus = OutcomeStatus.CLASSIFIED) -> Outcome:
    image = ImageRef(BUCKET, key)
    if status not in (OutcomeStatus.CLASSIFIED, OutcomeStatus.REJECTED):
        return Outcome(image, status)
    what: dict[str, Any] = {"error": Rejection("image.corrupt", "broken")}
    if status is OutcomeStatus.CLASSIFIED:
        what = {"top": (Prediction("hat", 0.98765), Prediction("shoe", 0.01)), "review_reason": ReviewReason.NOVELTY}
        what |= {"novelty": 0.99}
    return Outcome(image, status, Result(ImageFacts(BUCKET, key), MODEL, "2026-11-21T12:00:00.000Z", "r", **what))


def announced(outcomes: list[Outcome]) -> dict[str, Any]:
    bus = Bus()
    assert BatchEventPublisher("photos", lambda: bus).publish(outcomes, "request-1", 60) is None
    (entry,) = bus.entries
    assert (entry["Source"], entry["DetailType"]) == (SOURCE, DETAIL_TYPE)
    detail: dict[str, Any] = json.loads(entry["Detail"])
    jsonschema.Draft202012Validator(SCHEMA).validate(detail)
    return detail


def test_it_tells_what_was_removed() -> None:
    removed = {"image_uri": f"s3://{BUCKET}/incoming/b.jpg", "status": "removed"}
    both = announced([outcome("incoming/a.jpg"), outcome("incoming/b.jpg", OutcomeStatus.REMOVED)])
    assert both["images"] == {"classified": 1, "removed": 1}
    assert both["results"][1] == removed
    alone = announced([outcome("incoming/b.jpg", OutcomeStatus.REMOVED)])
    assert (alone["results"], "model" in alone) == ([removed], False)


def test_it_tells_what_was_recorded() -> None:
    statuses = [
        OutcomeStatus.CLASSIFIED,
        OutcomeStatus.REJECTED,
        OutcomeStatus.FAILED,
        OutcomeStatus.DUPLICATE,
        OutcomeStatus.DUPLICATE,
    ]
    detail = announced([outcome(f"incoming/{number}.jpg", status) for number, status in enumerate(statuses)])
    assert detail["images"] == {"classified": 1, "rejected": 1, "failed": 1, "duplicate": 2}
    assert detail["model"]["version"] == MODEL.version
    assert detail["results"] == [
        {
            "image_uri": f"s3://{BUCKET}/incoming/0.jpg",
            "status": "classified",
            "label": "hat",
            "confidence": 0.9877,
            "needs_review": True,
            "review_reason": "novelty",
            "novelty": 0.99,
        },
        {"image_uri": f"s3://{BUCKET}/incoming/1.jpg", "status": "rejected", "error_code": "image.corrupt"},
    ]
    assert (detail["stack"], detail["request_id"], detail["results_omitted"]) == ("photos", "request-1", 0)


@settings(max_examples=30)
@given(st.text('aä€😀"\\\u0001', min_size=1, max_size=250), st.integers(1, 1000))
def test_whatever_the_keys_are_it_fits_into_an_event(key: str, count: int) -> None:
    detail = batch_detail([outcome(f"incoming/{key}{number}") for number in range(count)], "photos", "request-1")
    assert detail is not None
    assert len(detail.encode()) <= 250_000
    document = json.loads(detail)
    assert len(document["results"]) + document["results_omitted"] == count
    if document["results_omitted"]:
        assert len(detail.encode()) > 245_000


def test_a_batch_without_results_is_no_event() -> None:
    bus = Bus()
    done = [outcome("incoming/a.jpg", status) for status in (OutcomeStatus.DUPLICATE, OutcomeStatus.FAILED)]
    assert BatchEventPublisher("photos", lambda: bus).publish(done, "r", 60) is None
    assert bus.entries == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal("AccessDeniedException", 403), "AccessDenied"),
        (NoAnswer("events.amazonaws.com did not answer in time"), "did not answer in time"),
        ({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "Throttled", "ErrorMessage": "slow"}]}, "Throttled: slow"),
    ],
)
def test_a_refusal_is_a_reason_and_no_exception(answer: Any, reason: str) -> None:
    told = BatchEventPublisher("photos", lambda: Bus(answer)).publish([outcome("incoming/a.jpg")], "r", 60)
    assert told is not None
    assert reason in told


def test_the_end_of_an_invocation_is_not_spent_on_it() -> None:
    bus = Bus()
    told = BatchEventPublisher("photos", lambda: bus).publish([outcome("incoming/a.jpg")], "r", EVENTS_SECONDS - 0.1)
    assert (told, bus.entries) == ("the invocation's time was up", [])


class Context:
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize("endpoint", ["there", "gone"])
def test_the_function_publishes_and_goes_on_without(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, endpoint: str
) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    aws.put("incoming/red.png", (FIXTURES / "images" / "red.png").read_bytes())
    environment = {
        "MODEL_URI": f"s3://{BUCKET}/models/",
        "TABLE_NAME": TABLE,
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        # This process is larger than the function.
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240",
        "PUBLISH_EVENTS": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bus = Bus(refusal("InternalFailure", 500)) if endpoint == "gone" else Bus()
    sys.modules.pop("classifier.app", None)
    module = importlib.import_module("classifier.app")
    application = module.Application.from_environment(os.environ, events=lambda _: bus)
    body = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]}
    body["Records"][0]["s3"] = {"bucket": {"name": BUCKET}, "object": {"key": "incoming/red.png", "sequencer": "0A"}}
    message = {"eventSource": "aws:sqs", "messageId": "m", "body": json.dumps(body)}
    assert application.handle({"Records": [message]}, Context()) == {"batchItemFailures": []}
    (entry,) = bus.entries
    detail = json.loads(entry["Detail"])
    jsonschema.Draft202012Validator(SCHEMA).validate(detail)
    assert detail["model"]["version"] == manifest_for().version
    assert [one["label"] for one in detail["results"]] == ["red"]
    assert aws.item("incoming/red.png") is not None
    assert ("event not published" in caplog.messages) == (endpoint == "gone")
