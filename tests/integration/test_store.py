"""Same effect once: whatever the order, the repetition or the moment of death, the newest event's result stands."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifier.errors import ImageNotFound, StorageThrottled, StorageUnavailable
from classifier.events import ImageRef
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelFacts, Result
from classifier.store import Output, Recorded, Request, Store
from tests.conftest import BUCKET, TABLE, Aws
from tests.support.clients import Interposed, client_error, once

KEY = "incoming/cat.jpg"
OUTPUT_KEY = "predictions/cat.jpg.json"
FRESH = itertools.count()


class Died(Exception):
    """The process ends here."""


def result(label: str, request_id: str, key: str = KEY) -> Result:
    return Result(
        image=ImageFacts(BUCKET, key),
        model=ModelFacts("m", "20261120T101500Z-5d313724", "0" * 64),
        classified_at=AT,
        request_id=request_id,
        top=(Prediction(label, 0.9),),
    )


OUTPUT = Output(BUCKET, OUTPUT_KEY)
AT = "2026-11-20T12:00:00.000Z"
LATER = "2026-11-20T12:10:00.000Z"
"""When no attempt made at ``AT`` can still be running."""


def store(aws: Aws, s3: Any = None, dynamodb: Any = None) -> Store:
    return Store(s3 or aws.s3, dynamodb or aws.dynamodb, TABLE)


def record(
    into: Store, label: str, sequencer: str | None, request_id: str | None = None, oldest_running: str = LATER
) -> Recorded:
    made = result(label, request_id or f"request-{label}-{sequencer}")
    seen = into.table.look(made.image_uri) if sequencer is None else None
    request = Request(made.request_id, oldest_running)
    return into.record(made, OUTPUT, sequencer=sequencer, seen=seen, request=request)


def standing(aws: Aws, key: str = KEY, output_key: str = OUTPUT_KEY) -> tuple[str, str]:
    """The label in the table and the label in the JSON."""
    item = aws.item(key)
    assert item is not None
    return item["label"]["S"], json.loads(aws.read(output_key))["prediction"]["label"]


def test_newer_wins_older_loses_same_is_a_duplicate(aws: Aws) -> None:
    s = store(aws)
    assert record(s, "second", "0B") is Recorded.WON
    assert record(s, "first", "0A") is Recorded.SUPERSEDED
    assert record(s, "again", "0B") is Recorded.DUPLICATE
    assert standing(aws) == ("second", "second")
    assert record(s, "third", "0B1") is Recorded.WON
    assert standing(aws) == ("third", "third")


def test_a_death_between_item_and_json_is_completed_by_the_redelivery(aws: Aws) -> None:
    def die() -> None:
        raise Died

    for sequencer, label in (("0A", "first"), ("0B", "second")):
        dying = store(aws, s3=Interposed(aws.s3, "put_object", once(die)))
        with pytest.raises(Died):
            record(dying, label, sequencer, f"died-{label}")
        assert record(store(aws), label, sequencer, f"redelivered-{label}") is Recorded.WON
        assert standing(aws) == (label, label)
        assert aws.item(KEY)["request_id"] == {"S": f"redelivered-{label}"}  # type: ignore[index]


def test_a_slow_winner_never_overwrites_a_newer_ones_json(aws: Aws) -> None:
    overtake = once(lambda: record(store(aws), "newer", "0B"))
    slow = store(aws, s3=Interposed(aws.s3, "put_object", overtake))
    assert record(slow, "older", "0A") is Recorded.SUPERSEDED
    assert standing(aws) == ("newer", "newer")


@pytest.mark.parametrize("operation", ["head_object", "put_object"])
def test_a_slow_winner_over_an_existing_result_never_overwrites_a_newer_ones_json(aws: Aws, operation: str) -> None:
    record(store(aws), "oldest", "01")
    overtake = once(lambda: record(store(aws), "newer", "0B"))
    slow = store(aws, s3=Interposed(aws.s3, operation, overtake))
    assert record(slow, "older", "0A") is Recorded.SUPERSEDED
    assert standing(aws) == ("newer", "newer")


def test_a_json_left_from_an_earlier_table_is_replaced(aws: Aws) -> None:
    aws.put(OUTPUT_KEY, b'{"prediction": {"label": "stale"}}\n')
    assert record(store(aws), "fresh", "0A") is Recorded.WON
    assert standing(aws) == ("fresh", "fresh")


def test_a_request_without_sequencer_replaces_what_it_saw_and_only_that(aws: Aws) -> None:
    s = store(aws)
    assert record(s, "by event", "0A") is Recorded.WON
    assert record(s, "by request", None) is Recorded.WON
    assert aws.item(KEY)["sequencer"] == {"S": "0A"}  # type: ignore[index]
    assert record(s, "older event", "09") is Recorded.SUPERSEDED
    made = result("late request", "late")
    before = s.table.look(made.image_uri)
    assert record(s, "newer event", "0B") is Recorded.WON
    late = s.record(made, OUTPUT, sequencer=None, seen=before, request=Request("late", LATER))
    assert late is Recorded.SUPERSEDED
    assert standing(aws) == ("newer event", "newer event")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=7))
def test_any_history_of_deliveries_ends_with_the_newest_result(aws: Aws, deliveries: list[tuple[int, bool]]) -> None:
    """Every event is delivered again until a delivery lives to its end, as SQS does."""
    name = next(FRESH)
    key, output_key = f"incoming/{name}", f"predictions/{name}.json"

    def die() -> None:
        raise Died

    def deliver(version: int, dies: bool, attempt: int) -> None:
        s3 = Interposed(aws.s3, "put_object", once(die)) if dies else aws.s3
        made = result(f"v{version}", f"{version}-{attempt}", key)
        store(aws, s3=s3).record(
            made,
            Output(BUCKET, output_key),
            sequencer=f"0{version}",
            seen=None,
            request=Request(made.request_id, LATER),
        )

    pending = []
    for attempt, (version, dies) in enumerate(deliveries):
        try:
            deliver(version, dies, attempt)
        except Died:
            pending.append(version)
    for attempt, version in enumerate(pending, start=len(deliveries)):
        deliver(version, False, attempt)
    newest = f"v{max(version for version, _ in deliveries)}"
    assert standing(aws, key, output_key) == (newest, newest)


def test_fetch_reads_an_object_and_its_facts(aws: Aws) -> None:
    aws.put(KEY, b"abc")
    fetched = store(aws).fetch(ImageRef(BUCKET, KEY), 3)
    assert (fetched.data, fetched.size_bytes, fetched.version_id) == (b"abc", 3, None)
    assert fetched.etag == "900150983cd24fb0d6963f7d28e17f72"
    over = store(aws).fetch(ImageRef(BUCKET, KEY), 2)
    assert (over.data, over.size_bytes) == (b"", 3)


def test_a_version_is_fetched_by_its_id(aws: Aws) -> None:
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    old = aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"old")["VersionId"]
    aws.put(KEY, b"new")
    assert store(aws).fetch(ImageRef(BUCKET, KEY, version_id=old), 10).data == b"old"
    with pytest.raises(ImageNotFound):
        store(aws).fetch(ImageRef(BUCKET, KEY, version_id="11111111-2222-3333-4444-555555555555"), 10)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("NoSuchKey", ImageNotFound),
        ("SlowDown", StorageThrottled),
        ("AccessDenied", StorageUnavailable),
        ("InternalError", StorageUnavailable),
        ("NoSuchBucket", StorageUnavailable),
    ],
)
def test_errors_of_s3_are_told_apart(aws: Aws, code: str, error: type[Exception]) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise client_error(code)

    with pytest.raises(error, match=f"s3://{BUCKET}/{KEY}"):
        store(aws, s3=Interposed(aws.s3, "get_object", fail)).fetch(ImageRef(BUCKET, KEY), 10)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ProvisionedThroughputExceededException", StorageThrottled),
        ("ThrottlingException", StorageThrottled),
        ("ResourceNotFoundException", StorageUnavailable),
    ],
)
def test_errors_of_dynamodb_are_told_apart(aws: Aws, code: str, error: type[Exception]) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise client_error(code)

    with pytest.raises(error, match=TABLE):
        record(store(aws, dynamodb=Interposed(aws.dynamodb, "put_item", fail)), "x", "0A")
    assert aws.keys() == []
