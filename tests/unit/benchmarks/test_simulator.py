"""The simulator refuses and grants what moto does, which the rest of the tests run against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from statistics import median
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from benchmarks.simulator import MEDIANS_MS, Latency, Simulator, Storage, simulator

BUCKET = "bucketlens-123456789012-us-east-1"
URI = f"s3://{BUCKET}/incoming/a.jpg"
ETAGS = {b"a": '"0cc175b9c0f1b6a831c399e269772661"', b"b": '"92eb5ffee6ae2fec3ad71c777531578f"'}
PUT = st.tuples(st.just("put"), st.sampled_from([*ETAGS]), st.sampled_from(["", "*", *ETAGS.values()]))
READ = st.tuples(st.sampled_from(["get", "head"]), st.just(b""), st.sampled_from(["", *ETAGS.values()]))
CONDITIONS = [
    "attribute_not_exists(sequencer) OR sequencer < :one",
    "attribute_not_exists(image_uri)",
    "request_id = :one AND attribute_not_exists(unfinished)",
    "request_id = :one AND attribute_exists(unfinished)",
]
ITEM = st.fixed_dictionaries(
    {"image_uri": st.just({"S": URI})},
    optional={
        "sequencer": st.sampled_from([{"S": "0A"}, {"S": "0B"}]),
        "request_id": st.sampled_from([{"S": "0A"}, {"S": "0B"}]),
        "unfinished": st.just({"BOOL": True}),
    },
)
ITEM_OPERATION = st.tuples(
    st.sampled_from(["put_item", "delete_item", "get_item"]),
    ITEM,
    st.sampled_from([None, *CONDITIONS]),
    st.sampled_from(["0A", "0B"]),
)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulator(scale=0.0) as started:
        yield started


@pytest.fixture(scope="module")
def services(running: Simulator) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Clients of the simulator and of moto, by service."""
    with ExitStack() as stack:
        made = (
            (name, [stack.enter_context(client(name, url)) for url in (running.url, None)])
            for name in ("s3", "dynamodb")
        )
        yield {name: (ours, theirs) for name, (ours, theirs) in made}


@contextmanager
def client(service: str, endpoint_url: str | None) -> Iterator[Any]:
    made = boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    with closing(made):
        yield made


def refused(error: ClientError) -> tuple[str, int, Any]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"], _item(error.response)


def _item(response: Any) -> Any:
    return response.get("Item") or response.get("Attributes")


def object_operation(s3: Any, name: str, data: bytes, etag: str) -> Any:
    where = {"Bucket": BUCKET, "Key": "predictions/a b+ü.json"}
    try:
        if name == "put":
            condition = {"IfNoneMatch": etag} if etag == "*" else {"IfMatch": etag} if etag else {}
            answer = s3.put_object(**where, Body=data, Metadata={"request-id": "7"}, **condition)
            return answer["ETag"]
        answer = (s3.get_object if name == "get" else s3.head_object)(
            **where, **({"IfNoneMatch": etag} if etag else {})
        )
    except ClientError as error:
        return refused(error)
    body = answer["Body"].read() if name == "get" else b""
    return answer["ETag"], answer["ContentLength"], answer["Metadata"], body


@settings(max_examples=40)
@given(operations=st.lists(PUT | READ, min_size=1, max_size=8))
def test_objects_and_their_conditions(
    running: Simulator, services: dict[str, tuple[Any, Any]], operations: list[tuple[str, bytes, str]]
) -> None:
    ours, theirs = services["s3"]
    running.forget("predictions/")
    with mock_aws():
        theirs.create_bucket(Bucket=BUCKET)
        expected = [object_operation(theirs, *one) for one in operations]
    assert [object_operation(ours, *one) for one in operations] == expected


def item_operation(dynamodb: Any, name: str, item: dict[str, Any], condition: str | None, value: str) -> Any:
    arguments: dict[str, Any] = {"Item": item} if name == "put_item" else {"Key": {"image_uri": item["image_uri"]}}
    if condition is not None and name != "get_item":
        arguments |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        if ":one" in condition:
            arguments["ExpressionAttributeValues"] = {":one": {"S": value}}
    if name != "get_item":
        arguments["ReturnValues"] = "ALL_OLD"
    try:
        return _item(getattr(dynamodb, name)(TableName="t", **arguments))
    except ClientError as error:
        return refused(error)


@settings(max_examples=40)
@given(operations=st.lists(ITEM_OPERATION, min_size=1, max_size=8))
def test_items_and_their_conditions(
    running: Simulator, services: dict[str, tuple[Any, Any]], operations: list[Any]
) -> None:
    ours, theirs = services["dynamodb"]
    running.forget("predictions/")
    with mock_aws():
        theirs.create_table(
            TableName="t",
            KeySchema=[{"AttributeName": "image_uri", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "image_uri", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        expected = [item_operation(theirs, *one) for one in operations]
    assert [item_operation(ours, *one) for one in operations] == expected


def test_messages_and_events_are_taken(running: Simulator) -> None:
    queue = f"{running.url}/123456789012/images"
    with client("sqs", running.url) as sqs:
        sent = sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "0", "MessageBody": "{}"}])
        deleted = sqs.delete_message_batch(QueueUrl=queue, Entries=[{"Id": "7", "ReceiptHandle": "r"}])
    assert [entry["Id"] for answer in (sent, deleted) for entry in answer["Successful"]] == ["0", "7"]
    with client("events", running.url) as events:
        answer = events.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])
    assert answer["FailedEntryCount"] == 0


def test_it_says_what_it_has_served_and_forgets_results_but_no_images(running: Simulator) -> None:
    running.forget("")
    running.put(BUCKET, "incoming/a.jpg", b"a")
    with client("s3", running.url) as s3, client("dynamodb", running.url) as dynamodb:
        s3.put_object(Bucket=BUCKET, Key="predictions/a.jpg.json", Body=b"b")
        dynamodb.put_item(TableName="t", Item={"image_uri": {"S": URI}})
        told = running.forget("predictions/")
        assert s3.get_object(Bucket=BUCKET, Key="incoming/a.jpg")["Body"].read() == b"a"
        assert object_operation(s3, "head", b"", "")[:2] == ("404", 404)
    assert [(one.operation, one.key) for one in told.served] == [
        ("PUT", "predictions/a.jpg.json"),
        ("PutItem", "incoming/a.jpg"),
    ]
    assert all(one.arrived <= one.answered for one in told.served)
    assert told.items == 0


def test_images_that_are_alike_are_kept_once() -> None:
    storage = Storage()
    for number in range(3):
        storage.s3("PUT", f"/b/{number}", {}, b"the same " + bytes(10))
    assert len({id(kept.data) for kept in storage.objects.values()}) == 1


@pytest.mark.parametrize("operation", ["GET", "PUT", "DynamoDB"])
def test_latency_has_its_median_and_its_tail(operation: str) -> None:
    latency, again = Latency(seed=3), Latency(seed=3)
    drawn = sorted(latency.draw(operation) * 1000 for _ in range(4000))
    assert drawn == sorted(again.draw(operation) * 1000 for _ in range(4000))
    assert median(drawn) == pytest.approx(MEDIANS_MS[operation], rel=0.05)
    assert drawn[3960] == pytest.approx(2.26 * MEDIANS_MS[operation], rel=0.15)
    assert Latency(seed=3, scale=0.0).draw(operation) == 0.0
