"""Every event shape becomes image references, and nothing else does."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.batch_operations import task_results
from classifier.errors import UserError
from classifier.events import ImageRef, Message, Skip, Source, comparable, parse
from classifier.processor import Outcome, OutcomeStatus

KEYS = st.text(min_size=1, max_size=40).filter(lambda text: not text.endswith("/") and text.isprintable())
HEX = st.text("0123456789ABCDEF", min_size=1, max_size=20)


def s3_event(*keys: str, name: str = "ObjectCreated:Put", **stored: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventVersion": "2.9",
                "eventName": name,
                "s3": {"bucket": {"name": "photos"}, "object": {"key": quote_plus(key), "sequencer": "0A", **stored}},
            }
            for key in keys
        ]
    }


def sqs_event(*bodies: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventSource": "aws:sqs",
                "messageId": f"m{index}",
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for index, body in enumerate(bodies)
        ]
    }


def eventbridge_event(key: str, **changes: Any) -> dict[str, Any]:
    stored = {"key": key, "sequencer": "0a", "version-id": "v1"}
    detail = {"bucket": {"name": "photos"}, "object": stored}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail, **changes}


@pytest.mark.parametrize(
    "event",
    [
        s3_event("in/a b", name="ObjectRemoved:Delete", versionId="v2"),
        s3_event("in/a b", name="s3:ObjectRemoved:DeleteMarkerCreated", versionId="marker"),
        s3_event("in/a b", name="LifecycleExpiration:Delete"),
        eventbridge_event("in/a b", **{"detail-type": "Object Deleted"}),
        sqs_event(s3_event("in/a b", name="LifecycleExpiration:DeleteMarkerCreated")),
    ],
)
def test_deletions_are_told_where_they_are_wanted_and_name_no_version(event: dict[str, Any]) -> None:
    (image,) = parse(event, "in/", removals=True).images
    assert (image.key, image.version_id, image.sequencer) == ("in/a b", None, "0A")
    assert parse(event, "in/").skipped == {Skip.NOT_CREATED: 1}
    outside = parse(event, "elsewhere/", removals=True)
    assert (outside.images, outside.skipped) == ([], {Skip.OUTSIDE_INPUT_PREFIX: 1})


def test_other_changes_of_an_object_are_never_for_us() -> None:
    batch = parse(s3_event("in/a", name="ObjectTagging:Put"), "in/", removals=True)
    assert (batch.images, batch.skipped) == ([], {Skip.NOT_CREATED: 1})


def batch_operations_event(*tasks: Any, schema: str = "2.0") -> dict[str, Any]:
    return {"invocationSchemaVersion": schema, "invocationId": "i", "job": {"id": "j"}, "tasks": list(tasks)}


def task(key: str, **changes: Any) -> dict[str, Any]:
    return {"taskId": f"task {key}", "s3Key": quote_plus(key), "s3VersionId": None, "s3Bucket": "photos", **changes}


@given(key=KEYS)
def test_a_key_survives_every_way_it_can_come(key: str) -> None:
    key = f"in/{key}"
    notification = s3_event(key)
    shapes = [
        (notification, Source.S3),
        (sqs_event(notification), Source.SQS),
        (sqs_event({"Type": "Notification", "Message": json.dumps(notification)}), Source.SQS),
        (eventbridge_event(key), Source.EVENTBRIDGE),
        (sqs_event(eventbridge_event(key)), Source.SQS),
        ({"bucket": "photos", "key": key}, Source.DIRECT),
        (batch_operations_event(task(key)), Source.S3_BATCH),
        (
            batch_operations_event(task(key, s3Bucket=None, s3BucketArn="arn:aws:s3:::photos"), schema="1.0"),
            Source.S3_BATCH,
        ),
    ]
    for event, source in shapes:
        batch = parse(event, "in/")
        assert batch.source is source
        assert [(image.bucket, image.key) for image in batch.images] == [("photos", key)]
        assert not batch.skipped


def test_fields_are_carried() -> None:
    (image,) = parse(s3_event("in/a b+c.jpg", versionId="v2", sequencer="0055AED6DCD90281E500"), "in/").images
    assert image == ImageRef("photos", "in/a b+c.jpg", version_id="v2", sequencer="0055AED6DCD90281E5")
    (image,) = parse(eventbridge_event("in/a%20b.jpg"), "in/").images
    assert image == ImageRef("photos", "in/a%20b.jpg", version_id="v1", sequencer="0A")
    (image,) = parse(s3_event("in/x", versionId="null"), "in/").images
    assert image.version_id is None


def test_a_message_may_carry_several_records_and_each_knows_its_message() -> None:
    batch = parse(sqs_event(s3_event("in/a", "in/b"), s3_event("in/c")), "in/")
    assert [(image.key, image.message_id) for image in batch.images] == [("in/a", "m0"), ("in/b", "m0"), ("in/c", "m1")]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"}, Skip.TEST_EVENT),
        (s3_event("in/a", name="ObjectRemoved:Delete"), Skip.NOT_CREATED),
        (eventbridge_event("in/a", **{"detail-type": "Object Deleted"}), Skip.NOT_CREATED),
        (s3_event("elsewhere/a"), Skip.OUTSIDE_INPUT_PREFIX),
        ({"bucket": "photos", "key": "inside/a"}, Skip.OUTSIDE_INPUT_PREFIX),
        (s3_event("in/folder/"), Skip.FOLDER_MARKER),
    ],
)
def test_events_that_are_not_for_us_are_skipped_and_counted(event: dict[str, Any], reason: Skip) -> None:
    for shape in (event, sqs_event(event)) if "bucket" not in event else (event,):
        batch = parse(shape, "in/")
        assert batch.images == []
        assert batch.skipped == {reason: 1}
        assert batch.unreadable == {}


TASK = st.fixed_dictionaries(
    {"taskId": st.text(max_size=5)},
    optional={
        "s3Key": KEYS.map(lambda key: quote_plus(f"in/{key}"))
        | KEYS
        | st.sampled_from(["", "%ff", "in/%ff", "in/a/"])
        | st.none(),
        "s3Bucket": st.sampled_from(["photos", "a/b", ""]) | st.none() | st.integers(),
        "s3BucketArn": st.sampled_from(
            ["arn:aws:s3:::photos", "arn:aws:s3:eu-west-1:123456789012:accesspoint/x", "", ":"]
        ),
        "s3VersionId": st.none() | st.text(max_size=3) | st.integers(),
    },
)


@given(tasks=st.lists(TASK, max_size=5, unique_by=lambda task: task["taskId"]))
def test_every_task_of_batch_operations_is_one_thing_and_has_one_result(tasks: list[dict[str, Any]]) -> None:
    event = batch_operations_event(*tasks, schema="1.0")
    batch = parse(event, "in/")
    images = {image.task_id: image for image in batch.images}
    skipped = {task_id for task_id, skip in batch.tasks.items() if skip is not None}
    ids = [task["taskId"] for task in tasks]
    assert list(batch.tasks) == ids
    assert sorted([*images, *skipped, *batch.unreadable]) == sorted(ids)  # type: ignore[type-var]
    outcomes = [Outcome(image, OutcomeStatus.DEFERRED) for image in batch.images]
    answer = task_results(event, batch, outcomes)
    assert [result["taskId"] for result in answer["results"]] == ids
    for result in answer["results"]:
        code = "TemporaryFailure" if result["taskId"] in images else "Succeeded"
        assert result["resultCode"] == ("PermanentFailure" if result["taskId"] in batch.unreadable else code)
    json.dumps(answer).encode()


@pytest.mark.parametrize(
    "event",
    [
        *(None, [], "text", {}, {"key": "x"}, {"bucket": "", "key": "a"}, {"Records": [{}]}),
        *(batch_operations_event("x"), batch_operations_event({"s3Key": "in/a", "s3Bucket": "photos"})),
    ],
)
def test_an_event_of_no_known_shape_is_refused_with_one_line(event: Any) -> None:
    with pytest.raises(UserError) as raised:
        parse(event, "in/")
    assert "\n" not in str(raised.value)


@given(body=st.text(max_size=30) | st.recursive(st.none() | st.integers(), st.lists, max_leaves=3).map(json.dumps))
def test_an_unreadable_message_stays_alone(body: str) -> None:
    batch = parse(sqs_event(s3_event("in/a"), body, s3_event("in/b")), "in/")
    assert [image.key for image in batch.images] == ["in/a", "in/b"]
    assert set(batch.unreadable) == {"m1"}


ODD = {
    "key is a number": s3_event("in/a", key=5),
    "key is null": s3_event("in/a", key=None),
    "key is a list": s3_event("in/a", key=["in/a"]),
    "key is empty": s3_event("in/a", key=""),
    "key of 1,025 bytes": s3_event("in/" + "é" * 511),
    "key is half of a surrogate pair": s3_event("in/a", key="in/\ud800"),
    "key is not UTF-8": s3_event("in/a", key="in/%ff"),
    "sequencer is a number": s3_event("in/a", sequencer=10),
    "sequencer is not hexadecimal": s3_event("in/a", sequencer="0x0A"),
    "sequencer in other digits": s3_event("in/a", sequencer="٣"),
    "version is a number": s3_event("in/a", versionId=3),
    "version is half of a surrogate pair": s3_event("in/a", versionId="\udfff"),
    "bucket is a number": eventbridge_event("in/a", detail={"bucket": {"name": 3}, "object": {"key": "in/a"}}),
    "bucket with a slash": eventbridge_event("in/a", detail={"bucket": {"name": "a/b"}, "object": {"key": "in/a"}}),
    "bucket is text": eventbridge_event("in/a", detail={"bucket": "photos", "object": {"key": "in/a"}}),
    "no object": eventbridge_event("in/a", detail={"bucket": {"name": "photos"}}),
    "no name of the event": {"Records": [{"eventSource": "aws:s3", "s3": {}}]},
    "request with a number": {"bucket": "photos", "key": 3},
    "nested 100,000 deep": "[" * 100_000,
    "nested 100,000 deep in a field": '{"Records":' + "[" * 100_000 + "]" * 100_000 + "}",
    "nested notification": {"Type": "Notification", "Message": "[" * 100_000},
    "NaN": "NaN",
    "fields of many kinds": {"\ud800": 1, "x": 2},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_message_fails_alone(odd: Any) -> None:
    batch = parse(sqs_event(s3_event("in/a"), odd, s3_event("in/b")), "in/")
    assert [image.key for image in batch.images] == ["in/a", "in/b"]
    assert set(batch.unreadable) == {"m1"}
    reason = batch.unreadable["m1"]
    assert reason.isprintable()
    assert len(reason) < 300


def test_a_key_of_1024_bytes_is_one() -> None:
    (image,) = parse(s3_event("in/a" + "é" * 510), "in/").images
    assert len(image.key.encode()) == 1024


def test_a_message_tells_how_often_it_was_received_and_is_kept_for_sending_it_again() -> None:
    event = sqs_event(s3_event("in/a"), s3_event("in/b"), s3_event("in/c"))
    event["Records"][0] |= {"attributes": {"ApproximateReceiveCount": "3"}, "receiptHandle": "handle"}
    event["Records"][1] |= {"attributes": {"ApproximateReceiveCount": "²"}}
    batch = parse(event, "in/")
    assert [image.receive_count for image in batch.images] == [3, 1, 1]
    assert batch.messages["m0"] == Message(event["Records"][0]["body"], "handle", 3)
    assert set(batch.messages) == {"m0", "m1", "m2"}


@pytest.mark.parametrize("change", [{"messageId": None}, {"messageId": 7}, {"messageId": ""}])
def test_a_message_without_an_id_is_classified_like_any_other(change: dict[str, Any]) -> None:
    event = sqs_event(s3_event("in/a"), s3_event("in/b"))
    event["Records"][0] |= change
    assert [(image.key, image.message_id) for image in parse(event, "in/").images] == [("in/a", ""), ("in/b", "m1")]


@pytest.mark.parametrize("record", [{"eventSource": "aws:sqs", "messageId": "m1"}, {"messageId": "m1"}])
def test_a_message_without_a_body_fails_alone(record: dict[str, Any]) -> None:
    event = sqs_event(s3_event("in/a"))
    event["Records"].append(record)
    batch = parse(event, "in/")
    assert [image.key for image in batch.images] == ["in/a"]
    assert set(batch.unreadable) == {"m1"}


@given(first=HEX, second=HEX, lower=st.booleans())
def test_comparable_orders_as_s3_says(first: str, second: str, lower: bool) -> None:
    """Pad the shorter with zeros on the right, then compare (S3 User Guide, "Event message structure")."""
    width = max(len(first), len(second))
    stated = (first.ljust(width, "0") > second.ljust(width, "0")) - (first.ljust(width, "0") < second.ljust(width, "0"))
    a, b = comparable(first.lower() if lower else first), comparable(second)
    assert a is not None
    assert b is not None
    assert (a > b) - (a < b) == stated
