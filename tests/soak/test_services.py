"""The simulated services do what moto's do, which are the ones that the rest of the tests run against."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.models.dynamo_type import DynamoType, Item

from classifier.aws_calls import AwsError
from tests.soak.expressions import InvalidExpression, holds
from tests.soak.services import Bucket, Table

pytestmark = pytest.mark.slow

BUCKET = "bucketlens-123456789012-us-east-1"
ETAGS = st.sampled_from([None, '"0cc175b9c0f1b6a831c399e269772661"', '"92eb5ffee6ae2fec3ad71c777531578f"'])
PUT = st.tuples(st.just("put"), st.sampled_from(["k", "l"]), st.sampled_from([b"a", b"b"]), ETAGS, st.booleans())
DELETE = st.tuples(st.just("delete"), st.sampled_from(["k", "l"]), ETAGS)
OTHER = st.tuples(st.sampled_from(["get", "head"]), st.sampled_from(["k", "l"]))
TEXT = st.sampled_from(["0A", "0B", "0B1", "1"])
ITEM = st.dictionaries(st.sampled_from(["image_uri", "sequencer", "request_id"]), TEXT.map(lambda text: {"S": text}))
COMPARISON = st.tuples(
    st.sampled_from(["sequencer", "request_id"]), st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), TEXT
)
SIMPLE = st.one_of(
    st.sampled_from(["attribute_exists(sequencer)", "attribute_not_exists(image_uri)"]),
    COMPARISON.map(lambda parts: f"{parts[0]} {parts[1]} :{parts[2]}"),
    TEXT.map(lambda text: f"begins_with(sequencer, :{text})"),
)
# DynamoDB refuses parentheses that change nothing.
CONDITION = st.one_of(
    SIMPLE,
    st.builds(
        "{} {} {} {} {}".format, SIMPLE, st.sampled_from(["AND", "OR"]), SIMPLE, st.sampled_from(["AND", "OR"]), SIMPLE
    ),
    st.builds("({} OR {}) AND {}".format, SIMPLE, SIMPLE, SIMPLE),
    st.builds("{} AND NOT ({} OR {})".format, SIMPLE, SIMPLE, SIMPLE),
    st.builds("NOT {} OR {}".format, SIMPLE, SIMPLE),
)


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    with mock_aws():
        yield


def answer(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except AwsError as error:
        return error.code, error.status
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("versioned", [False, True])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(PUT | DELETE | OTHER, max_size=12))
def test_objects_and_conditional_writes(account: None, versioned: bool, operations: list[tuple[Any, ...]]) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    if versioned:
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    bucket = Bucket(versioned=versioned)
    versions: dict[str, str] = {}

    def real(operation: str, key: str, *rest: Any) -> Any:
        if operation == "put":
            data, etag, fresh = rest
            conditions = {"IfNoneMatch": "*"} if fresh else {"IfMatch": etag} if etag else {}
            stored = client.put_object(Bucket=BUCKET, Key=key, Body=data, **conditions)
            versions[key] = stored.get("VersionId")
            return stored["ETag"]
        if operation == "delete":
            client.delete_object(Bucket=BUCKET, Key=key, **({"IfMatch": rest[0]} if rest[0] else {}))
            return None
        if operation == "head":
            return client.head_object(Bucket=BUCKET, Key=key)["ETag"]
        return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def simulated(operation: str, key: str, *rest: Any) -> Any:
        if operation == "put":
            data, etag, fresh = rest
            conditions = {"if_none_match": "*"} if fresh else {"if_match": etag} if etag else {}
            return bucket.put(key, data, **conditions).etag
        if operation == "delete":
            return bucket.delete(key, if_match=rest[0])
        return bucket.get(key, "HeadObject").etag if operation == "head" else bucket.get(key, "GetObject").data

    try:
        for operation in operations:
            assert answer(simulated, *operation) == answer(real, *operation), operation
    finally:
        if versioned:
            for version in boto3.resource("s3").Bucket(BUCKET).object_versions.all():
                version.delete()
        else:
            for key in ("k", "l"):
                client.delete_object(Bucket=BUCKET, Key=key)
        client.delete_bucket(Bucket=BUCKET)


@settings(max_examples=300)
@given(condition=CONDITION, item=ITEM)
def test_conditions(condition: str, item: dict[str, dict[str, str]]) -> None:
    values = {name: {"S": name[1:]} for name in re.findall(r":\w+", condition)}
    theirs = get_filter_expression(condition, None, values).expr(Item(DynamoType({"S": "k"}), None, {**item}))
    assert holds(condition, item, values) == theirs


@pytest.mark.parametrize(
    ("condition", "values"),
    [("a = ", {}), ("a = :b", {}), ("attribute_exists(a)", {":b": {"S": "x"}}), ("a ! b", {}), ("(a = b", {})],
)
def test_conditions_that_dynamodb_refuses(condition: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidExpression):
        holds(condition, {}, values)


def test_a_failed_condition_leaves_the_item_and_gives_it_back_on_request() -> None:
    table = Table(lambda *_: None)
    table.put({"image_uri": {"S": "k"}, "n": {"S": "1"}})
    absent = {"ConditionExpression": "attribute_not_exists(image_uri)"}
    other = {"ConditionExpression": "n = :n", "ExpressionAttributeValues": {":n": {"S": "2"}}}
    for on_failure, expected in (("ALL_OLD", {"image_uri": {"S": "k"}, "n": {"S": "1"}}), ("NONE", None)):
        with pytest.raises(AwsError) as refusal:
            table.put({"image_uri": {"S": "k"}}, **absent, ReturnValuesOnConditionCheckFailure=on_failure)
        assert refusal.value.answer.get("Item") == expected
        with pytest.raises(AwsError):
            table.delete("k", **other)
    assert table.items["k"]["n"] == {"S": "1"}
