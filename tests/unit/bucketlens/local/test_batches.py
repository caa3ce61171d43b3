"""Lambda's rules for SQS batches, for any response a function can give."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketlens.local.batches import PAYLOAD_LIMIT, failed_messages, room_for_more, sqs_event, subject
from tests.unit.bucketlens.local.fakes import message

IDS = ("m-1", "m-2", "m-3")
ARN = "arn:aws:sqs:eu-west-1:123456789012:images"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(IDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier", "messageId", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(failed=st.lists(st.sampled_from(IDS)))
def test_exactly_the_named_messages_fail(failed: list[str]) -> None:
    response = {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
    assert failed_messages(response, IDS) == set(failed)


@pytest.mark.parametrize("response", [None, {}, {"batchItemFailures": None}, {"batchItemFailures": []}, {"other": 1}])
def test_an_empty_response_is_success(response: Any) -> None:
    assert failed_messages(response, IDS) == set()


@pytest.mark.parametrize("identifier", ["", None, "unknown", 7, ["m-1"]])
def test_one_wrong_identifier_fails_the_whole_batch(identifier: Any) -> None:
    response = {"batchItemFailures": [{"itemIdentifier": "m-1"}, {"itemIdentifier": identifier}]}
    assert failed_messages(response, IDS) == set(IDS)


@pytest.mark.parametrize("failure", [{"messageId": "m-1"}, {}, "m-1", None])
def test_a_failure_without_identifier_fails_the_whole_batch(failure: Any) -> None:
    assert failed_messages({"batchItemFailures": [failure]}, IDS) == set(IDS)


@pytest.mark.parametrize("response", ["done", 3, True, [], ["m-1"], {"batchItemFailures": "m-1"}])
def test_a_response_of_another_shape_fails_the_whole_batch(response: Any) -> None:
    assert failed_messages(response, IDS) == set(IDS)


@given(response=json_values)
def test_any_response_fails_all_none_or_exactly_those_it_names(response: Any) -> None:
    failed = failed_messages(response, IDS)
    named = {identifier for identifier in IDS if json.dumps(identifier) in json.dumps(response)}
    assert failed <= set(IDS)
    assert failed in (set(), set(IDS)) or failed <= named


def test_the_event_has_the_shape_of_lambdas_documentation() -> None:
    received = message("m-1", '{"k": 1}')
    received["MessageAttributes"] = {
        "who": {"DataType": "String", "StringValue": "me"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    (record,) = sqs_event([received], ARN)["Records"]
    assert record == {
        "messageId": "m-1",
        "receiptHandle": received["ReceiptHandle"],
        "body": '{"k": 1}',
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1763629200000",
            "SenderId": "AIDAEXAMPLE",
            "ApproximateFirstReceiveTimestamp": "1763629200001",
        },
        "messageAttributes": {
            "who": {"stringValue": "me", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "raw": {"binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
        },
        "md5OfBody": received["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": ARN,
        "awsRegion": "eu-west-1",
    }


@given(held=st.integers(0, 40), batch_size=st.integers(1, 40))
def test_a_receive_asks_for_at_most_ten_and_never_overfills(held: int, batch_size: int) -> None:
    room = room_for_more([message(str(n)) for n in range(min(held, batch_size))], batch_size)
    assert room == min(10, batch_size - min(held, batch_size))


def test_the_event_stays_under_the_payload_limit() -> None:
    large = [message(str(n), "x" * 256 * 1024) for n in range(24)]
    held = 0
    while (room := room_for_more(large[:held], 1000)) > 0:
        held += room
    assert len(json.dumps(sqs_event(large[:held], ARN))) < PAYLOAD_LIMIT
    assert held > 20


def test_a_message_is_named_by_its_keys() -> None:
    records = [{"s3": {"object": {"key": "incoming/a+b%2Bc/%C3%A4.png"}}}, {"s3": {"object": {"key": "x"}}}]
    assert subject(json.dumps({"Records": records})) == "incoming/a b+c/ä.png, x"
    assert subject('{"Event": "s3:TestEvent"}') == '{"Event": "s3:TestEvent"}'
    assert subject("no json") == "no json"
