"""A deleted image's item and JSON go, whatever the order, the repetition or the moment of death; nothing else does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from classifier.admission import Deadline
from classifier.events import parse
from classifier.model import Prediction
from classifier.pipeline import Pipeline
from classifier.pool import WorkerPool
from classifier.processor import Outcome
from classifier.records import TOMBSTONE_LIFE, ImageFacts, ModelIdentity, Rejection, Result
from classifier.settings import Settings
from classifier.store import Output, Recorded, Request, Store
from tests.conftest import BUCKET, TABLE, Aws
from tests.support.clients import Interposed, once, refusal
from tests.support.images import png
from tests.support.pools import start_pool

KEY, OUTPUT_KEY = "incoming/cat.jpg", "predictions/cat.jpg.json"
OUTPUT = Output(BUCKET, OUTPUT_KEY)
AT = "2026-11-20T12:00:00.000Z"
LATER = "2026-11-20T12:10:00.000Z"
"""When nothing that was begun at ``AT``, or that was replaced then, can still be running."""


class Died(Exception):
    """The process ends here."""


def die() -> None:
    raise Died


def store(aws: Aws, s3: Any = None, dynamodb: Any = None) -> Store:
    return Store(s3 or aws.function_s3, dynamodb or aws.function_dynamodb, TABLE)


def made(request_id: str, label: str | None, at: str = AT) -> Result:
    error = None if label else Rejection("image.not_found", "deleted")
    top = (Prediction(label, 0.9),) if label else ()
    model = ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64)
    return Result(ImageFacts(BUCKET, KEY), model, at, request_id, top=top, error=error)


def record(into: Store, label: str, sequencer: str) -> Recorded:
    result = made(f"made-{label}", label)
    request = Request(result.request_id, LATER, LATER)
    return into.record(result, OUTPUT, sequencer=sequencer, seen=None, request=request)


def remove(
    into: Store, sequencer: str | None, request_id: str = "remover", *, at: str = LATER, settled_before: str = LATER
) -> Recorded:
    result = made(request_id, None, at)
    seen = into.table.look(result.image_uri) if sequencer is None else None
    request = Request(request_id, settled_before, settled_before)
    return into.remove(result, OUTPUT, sequencer=sequencer, seen=seen, request=request)


def label_of(aws: Aws) -> str:
    item = aws.item(KEY)
    assert item is not None
    assert item["label"]["S"] == json.loads(aws.read(OUTPUT_KEY))["prediction"]["label"]
    return str(item["label"]["S"])


def assert_removed(aws: Aws, sequencer: str | None = "0B") -> None:
    """A tombstone that no index holds, and no JSON."""
    item = aws.item(KEY)
    assert item is not None
    assert item["status"] == {"S": "removed"}
    assert item.get("sequencer") == ({"S": sequencer} if sequencer else None)
    assert {"label", "attention", "confidence", "error_code"}.isdisjoint(item)
    assert aws.keys() == []


def test_item_and_json_go_and_a_tombstone_ends_by_itself(aws: Aws) -> None:
    record(store(aws), "cat", "0A")
    assert remove(store(aws), "0B") is Recorded.REMOVED
    assert_removed(aws)
    expires_at = int(aws.item(KEY)["expires_at"]["N"])  # type: ignore[index]
    assert expires_at == (datetime.fromisoformat(LATER) + TOMBSTONE_LIFE).timestamp()


def test_an_older_event_that_comes_late_brings_nothing_back(aws: Aws) -> None:
    assert remove(store(aws), "0B") is Recorded.REMOVED
    assert record(store(aws), "cat", "0A") is Recorded.SUPERSEDED
    assert_removed(aws)


def test_a_newer_image_takes_the_tombstones_place_and_a_late_deletion_removes_nothing(aws: Aws) -> None:
    record(store(aws), "old", "0A")
    remove(store(aws), "0B")
    assert record(store(aws), "new", "0C") is Recorded.WON
    assert label_of(aws) == "new"
    assert remove(store(aws), "0B", "again") is Recorded.SUPERSEDED
    assert remove(store(aws), "0B5", "late") is Recorded.SUPERSEDED
    assert label_of(aws) == "new"
    assert "expires_at" not in aws.item(KEY)  # type: ignore[operator]


@pytest.mark.parametrize("operation", ["head_object", "delete_object"])
def test_a_death_before_the_json_is_deleted_is_completed_by_the_redelivery(aws: Aws, operation: str) -> None:
    record(store(aws), "cat", "0A")
    dying = store(aws, s3=Interposed(aws.function_s3, operation, once(die)))
    with pytest.raises(Died):
        remove(dying, "0B", at=AT)
    assert aws.keys() == [OUTPUT_KEY]
    assert remove(store(aws), "0B", "redelivered") is Recorded.REMOVED
    assert_removed(aws)
    seen = store(aws).table.look(f"s3://{BUCKET}/{KEY}")
    assert store(aws).judge(seen, "0B", OUTPUT, Request("third", LATER, LATER)) is Recorded.REMOVED
    assert store(aws).judge(seen, "0A", OUTPUT, Request("older", LATER, LATER)) is Recorded.SUPERSEDED


@pytest.mark.parametrize(("client", "operation"), [("dynamodb", "put_item"), ("s3", "delete_object")])
def test_a_lost_answer_meets_its_own_effect(aws: Aws, client: str, operation: str) -> None:
    record(store(aws), "cat", "0A")
    original = getattr(aws, f"function_{client}")

    def act(arguments: dict[str, Any]) -> None:
        getattr(original, operation)(**arguments)

    # What the tombstone has replaced is not known then, so that it is looked at again later.
    expected = Recorded.UNSETTLED if client == "dynamodb" else Recorded.REMOVED
    repeating = store(aws, **{client: Interposed(original, operation, act)})
    assert remove(repeating, "0B", settled_before=LATER) is expected
    assert_removed(aws)


def test_the_json_of_a_newer_image_is_never_deleted(aws: Aws) -> None:
    record(store(aws), "old", "0A")
    overtake = once(lambda: record(store(aws), "new", "0C"))
    slow = store(aws, s3=Interposed(aws.function_s3, "delete_object", overtake))
    assert remove(slow, "0B") is Recorded.SUPERSEDED
    assert label_of(aws) == "new"


def test_a_json_that_was_under_way_when_its_image_went_is_deleted_later(aws: Aws) -> None:
    """The older attempt puts its item, stands still before its JSON, and goes on when everything seems removed."""
    outcomes: list[Recorded] = []

    def deletion() -> None:
        outcomes.append(remove(store(aws), "0B", "first", at=AT, settled_before=AT))

    slow = store(aws, s3=Interposed(aws.function_s3, "put_object", once(deletion)))
    assert record(slow, "cat", "0A") is Recorded.WON
    assert outcomes == [Recorded.UNSETTLED]
    assert aws.keys() == [OUTPUT_KEY]
    assert remove(store(aws), "0B", "second", settled_before=AT) is Recorded.UNSETTLED
    assert aws.keys() == []
    assert remove(store(aws), "0B", "third") is Recorded.REMOVED


def test_a_request_removes_what_it_saw_and_only_that(aws: Aws) -> None:
    record(store(aws), "cat", "0A")
    overtaken = store(
        aws, dynamodb=Interposed(aws.function_dynamodb, "put_item", once(lambda: record(store(aws), "new", "0C")))
    )
    assert remove(overtaken, None) is Recorded.SUPERSEDED
    assert label_of(aws) == "new"
    assert remove(store(aws), None) is Recorded.REMOVED
    assert_removed(aws, "0C")
    aws.dynamodb.delete_item(TableName=TABLE, Key={"image_uri": {"S": f"s3://{BUCKET}/{KEY}"}})
    aws.put(OUTPUT_KEY, b"a JSON without an item\n")
    assert remove(store(aws), None) is Recorded.REMOVED
    assert_removed(aws, None)


def test_a_claim_does_not_keep_the_item(aws: Aws) -> None:
    s = store(aws)
    record(s, "cat", "0A")
    before = s.table.look(f"s3://{BUCKET}/{KEY}")
    claim = s.table.claim(made("claimer", None), before, "0B")
    assert claim is not None
    assert remove(s, "0B") is Recorded.REMOVED
    assert_removed(aws)
    s.table.withdraw(claim, before)
    assert_removed(aws)


def test_a_json_that_cannot_be_deleted_is_deleted_by_the_next_try(aws: Aws) -> None:
    record(store(aws), "cat", "0A")

    def refuse(_: dict[str, Any]) -> None:
        raise refusal("ServiceUnavailable", 503)

    with pytest.raises(Exception, match=f"cannot delete s3://{BUCKET}/{OUTPUT_KEY}"):
        remove(store(aws, s3=Interposed(aws.function_s3, "delete_object", refuse)), "0B", at=AT)
    assert remove(store(aws), "0B", "redelivered") is Recorded.REMOVED
    assert_removed(aws)


@pytest.fixture(scope="module")
def model() -> WorkerPool:
    return start_pool()


def told(name: str, sequencer: str, version_id: str | None = None, key: str = KEY) -> dict[str, Any]:
    """An S3 notification."""
    stored = {"key": key, "sequencer": sequencer, **({"versionId": version_id} if version_id else {})}
    s3 = {"bucket": {"name": BUCKET}, "object": stored}
    return {"Records": [{"eventSource": "aws:s3", "eventName": name, "s3": s3}]}


CREATED, DELETED = "ObjectCreated:Put", "ObjectRemoved:Delete"


def run(aws: Aws, model: WorkerPool, *events: dict[str, Any], after: float = 0.0, **environment: str) -> list[Outcome]:
    """A batch, ``after`` seconds from now, of a function that removes."""
    given = {"MODEL_URI": f"s3://{BUCKET}/models/", "TABLE_NAME": TABLE, "REMOVE_DELETED": "true", **environment}
    settings = Settings.from_environment(given)

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=after)

    pipeline = Pipeline(Store(aws.function_s3, aws.function_dynamodb, TABLE), settings, clock=clock)
    images = [image for event in events for image in parse(event, "incoming/", removals=settings.remove_deleted).images]
    return pipeline.run(images, model, f"request-{after}", Deadline(lambda: 100.0))


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


@pytest.mark.parametrize("mode", ["image", "jsonl"])
@pytest.mark.parametrize("name", [DELETED, "LifecycleExpiration:Delete"])
def test_a_deletion_removes_the_result(aws: Aws, model: WorkerPool, name: str, mode: str) -> None:
    aws.put(KEY, png("red"))
    assert statuses(run(aws, model, told(CREATED, "0A"), OUTPUT_MODE=mode)) == ["classified"]
    written = aws.keys()
    lines = [key for key in written if key.endswith(".jsonl")]
    aws.s3.delete_object(Bucket=BUCKET, Key=KEY)
    outcomes = run(aws, model, told(name, "0B"), after=1000, OUTPUT_MODE=mode)
    assert (statuses(outcomes), outcomes[0].result) == (["removed"], None)
    assert aws.item(KEY)["status"] == {"S": "removed"}  # type: ignore[index]
    # Lines are never rewritten.
    assert aws.keys() == lines
    assert len(lines) == (mode == "jsonl")


def test_a_deletion_soon_after_is_looked_at_again(aws: Aws, model: WorkerPool) -> None:
    aws.put(KEY, png("red"))
    run(aws, model, told(CREATED, "0A"))
    aws.s3.delete_object(Bucket=BUCKET, Key=KEY)
    (outcome,) = run(aws, model, told(DELETED, "0B"))
    assert_removed(aws)
    # Twice the time of an invocation and its margin.
    assert (str(outcome.status), outcome.retry_in) == ("deferred", 210)
    assert "an older event may still be writing it" in str(outcome.error)
    assert statuses(run(aws, model, told(DELETED, "0B"), after=outcome.retry_in + 1)) == ["removed"]


def test_an_image_that_is_there_is_classified_and_not_removed(aws: Aws, model: WorkerPool) -> None:
    """Put again before its deletion was told: by the deletion, or by what comes with it in one batch."""
    aws.put(KEY, png("red"))
    assert statuses(run(aws, model, told(CREATED, "0A"), told(DELETED, "0B"))) == ["superseded", "classified"]
    assert label_of(aws) == "red"


def test_a_version_that_is_deleted_is_not_the_image(aws: Aws, model: WorkerPool) -> None:
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    old = aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=png("red"))["VersionId"]
    new = aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=png("green"))["VersionId"]
    aws.s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId=old)
    # The event of the old one comes after its deletion, then the deletion's own.
    for event in (told(CREATED, "0A", old), told(CREATED, "0B", new), told(DELETED, "0C", old)):
        assert statuses(run(aws, model, event)) == ["classified"]
        assert label_of(aws) == "green"
    marker = aws.s3.delete_object(Bucket=BUCKET, Key=KEY)["VersionId"]
    run(aws, model, told("ObjectRemoved:DeleteMarkerCreated", "0D", marker), after=1000)
    assert_removed(aws, "0D")
    # The older image can still be read by its version, and is not what counts.
    assert statuses(run(aws, model, told(CREATED, "0B", new))) == ["superseded"]
    aws.s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId=marker)
    assert statuses(run(aws, model, told(DELETED, "0E", marker))) == ["classified"]
    assert label_of(aws) == "green"


def test_a_request_for_a_deleted_image_brings_no_item_back(aws: Aws, model: WorkerPool) -> None:
    assert statuses(run(aws, model, {"bucket": BUCKET, "key": KEY})) == ["removed"]
    assert_removed(aws, None)


def test_without_the_parameter_deletions_are_not_for_us(aws: Aws, model: WorkerPool) -> None:
    aws.put(KEY, png("red"))
    run(aws, model, told(CREATED, "0A"), REMOVE_DELETED="false")
    aws.s3.delete_object(Bucket=BUCKET, Key=KEY)
    assert run(aws, model, told(DELETED, "0B"), REMOVE_DELETED="false") == []
    assert label_of(aws) == "red"
    (gone,) = run(aws, model, {"bucket": BUCKET, "key": KEY}, REMOVE_DELETED="false")
    assert gone.result is not None
    assert aws.item(KEY)["error_code"] == {"S": "image.not_found"}  # type: ignore[index]
