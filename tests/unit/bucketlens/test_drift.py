"""Results against a baseline: which are counted, and what is said where there is nothing to compare."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from bucketlens.drift import drift_note, tally
from bucketlens.stability import Baseline
from classifier.errors import UserError
from model_build.metrics.answers import AnswerMix
from tests.support.bundles import bundle_files
from tests.support.clients import client_error
from tests.support.gallery import item, rejected

TODAY = date(2026, 11, 21)
OLD, NEW = "20261001T101500Z-5d313724", "20261101T101500Z-a1b2c3d4"
EVEN = AnswerMix.of([("hat", 0.95), ("shoes", 0.95)] * 100)


def results(
    first: date, last: date, label: str, confidence: float = 0.95, version: str = NEW, a_day: int = 20
) -> Iterator[dict[str, Any]]:
    for days in range((last - first).days + 1):
        for _ in range(a_day):
            when = f"{first + timedelta(days=days)}T12:00:00.000Z"
            yield item("incoming/a.jpg", label, confidence, model_version=version, classified_at=when)


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_the_last_days_of_the_newest_version_against_the_manifest() -> None:
    counted = tally(
        [
            *results(days_ago(40), days_ago(30), "skirt", 0.3, OLD),
            *results(days_ago(20), days_ago(7), "pants"),
            *results(days_ago(6), TODAY, "hat"),
            rejected("incoming/broken.jpg", classified_at=f"{TODAY}T23:00:00.000Z", model_version=OLD),
        ]
    )
    found = counted.drift({NEW: EVEN}.get, today=TODAY)
    assert (found.model_version, found.expected, found.actual.answers) == (NEW, EVEN, 140)
    assert found.actual.labels == {"hat": 140}
    assert (found.labels.verdict, found.confidence.verdict) == ("large", "stable")
    assert (found.shares[0].expected, found.shares[0].actual) in {(0.5, 1.0), (0.5, 0.0)}
    document = found.to_document()
    assert document["images"] == {"baseline": 200, "results": 140}
    assert document["shares"] == {"hat": [0.5, 1.0], "shoes": [0.5, 0.0]}
    older = counted.drift({OLD: EVEN}.get, days=60, version=OLD, today=TODAY)
    assert older.actual.labels == {"skirt": 220}
    assert older.confidence.verdict == "large"


def test_the_first_week_where_the_manifest_says_nothing() -> None:
    counted = tally(
        [*results(days_ago(30), days_ago(24), "hat"), *results(days_ago(23), TODAY, "hat", confidence=0.45)]
    )
    found = counted.drift(lambda _: None, today=TODAY)
    assert found.baseline == f"the first week of results, from {days_ago(30)}"
    assert (found.expected.answers, found.actual.answers) == (140, 140)
    assert (found.labels.verdict, found.confidence.verdict) == ("stable", "large")
    chosen = counted.drift({NEW: EVEN}.get, baseline=Baseline.FIRST_WEEK, today=TODAY)
    assert chosen == found


class Bucket:
    """Answers each GetObject with the same content, or error."""

    def __init__(self, answer: bytes | Exception) -> None:
        self._answer = answer

    def get_object(self, **_: str) -> dict[str, Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return {"Body": io.BytesIO(self._answer)}


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (client_error("NoSuchKey", 404), None),
        (client_error("AccessDenied", 403), r"Drift unknown: .*AccessDenied"),
        (b"{}", "Drift unknown: manifest.json has schema version None"),
        (
            bundle_files(metrics={"baseline": {"labels": {"hat": 9}, "confidence": [0] * 9 + [9]}})["manifest.json"],
            rf"Drift in the last 7 days against the model's answers to its validation photos, model {NEW}:"
            r" labels stable \(PSI 0\.00\) and confidence stable \(PSI 0\.00\)\.",
        ),
    ],
)
def test_the_gallery_says_it_in_one_sentence(answer: Any, note: str | None) -> None:
    today = datetime.now(UTC).date()
    bucket: Any = Bucket(answer)
    told = drift_note(tally(results(today, today, "hat")), bucket, "s3://models/m/")
    assert told is None if note is None else re.fullmatch(f"{note}.*", told or "")


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ([], {}, "no classified images yet"),
        ([rejected("incoming/a.jpg")], {}, "no classified images yet"),
        (results(days_ago(30), days_ago(10), "hat"), {}, "nothing in the last 7 days"),
        (results(days_ago(12), TODAY, "hat"), {}, "the first week of its results, from 2026-11-09, is not over before"),
        (results(days_ago(30), TODAY, "hat"), {"baseline": Baseline.MODEL}, "holds no baseline; --baseline first-week"),
        (results(days_ago(30), TODAY, "hat"), {"version": OLD}, f"model {OLD} has classified nothing"),
    ],
)
def test_nothing_to_compare_is_said(given: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        tally(given).drift(lambda _: None, today=TODAY, **options)
