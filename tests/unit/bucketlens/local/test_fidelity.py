"""What moto leaves out, and that it still does: when these fail, ``local.fidelity`` can shrink or must move."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.loaders import Loader
from moto.core.model import ServiceModel
from moto.core.serialize import BaseJSONSerializer
from moto.s3 import notifications
from moto.s3.models import S3Backend
from moto.sqs.models import Message, Queue, SQSBackend

from bucketlens.local.fidelity import (
    Sequencer,
    complete_s3_event,
    lock_deletion,
    lock_receiving,
    one_event_for_a_multipart_upload,
    ready_attribute_values,
)

ORIGINAL_EVENT: Callable[..., dict[str, Any]] = inspect.unwrap(notifications._get_s3_event)
ORIGINAL_DELETE = inspect.unwrap(Queue.delete_message)
ORIGINAL_RECEIVE = inspect.unwrap(SQSBackend.receive_message)
ORIGINAL_STRUCTURE = inspect.unwrap(BaseJSONSerializer._serialize_type_structure)
NAME = "incoming/a b+c/ä.png"


def arguments(*, versioned: bool) -> tuple[Any, ...]:
    bucket = SimpleNamespace(name="b", arn="arn:aws:s3:::b", region_name="us-east-1", is_versioned=versioned)
    key = SimpleNamespace(name=NAME, size=3, etag='"abc"', version_id="v1")
    return ("s3:ObjectCreated:Put", bucket, key, "id")


def test_motos_event_is_what_the_wrapper_was_written_for() -> None:
    assert list(inspect.signature(ORIGINAL_EVENT).parameters) == ["event_name", "bucket", "key", "notification_id"]
    (record,) = ORIGINAL_EVENT(*arguments(versioned=True))["Records"]
    assert record["s3"]["object"] == {"key": "incoming%2Fa+b%2Bc%2F%C3%A4.png", "size": 3, "eTag": "abc"}


def test_the_completed_event_has_what_s3_sends() -> None:
    completed = complete_s3_event(ORIGINAL_EVENT, Sequencer(lambda: 0x1F))
    (record,) = completed(*arguments(versioned=True))["Records"]
    assert record["s3"]["object"] == {
        "key": "incoming/a+b%2Bc/%C3%A4.png",
        "size": 3,
        "eTag": "abc",
        "sequencer": "00000000000000001F",
        "versionId": "v1",
    }


def test_an_unversioned_bucket_names_no_version() -> None:
    (record,) = complete_s3_event(ORIGINAL_EVENT, Sequencer())(*arguments(versioned=False))["Records"]
    assert "versionId" not in record["s3"]["object"]


def test_sequencers_grow_by_any_comparison() -> None:
    sequencer = Sequencer(lambda: 0xFFFE)
    values = [sequencer() for _ in range(5)]
    assert values == sorted(values)
    assert len(set(values)) == 5
    assert [int(value, 16) for value in values] == list(range(0xFFFE, 0x10003))


@pytest.mark.parametrize(("multipart", "silent"), [(object(), True), (None, False)])
def test_only_the_object_of_a_multipart_upload_is_stored_silently(multipart: Any, *, silent: bool) -> None:
    named: dict[str, Any] = {}
    one_event_for_a_multipart_upload(lambda **given: named.update(given))(key_name="k", multipart=multipart)  # type: ignore[arg-type]
    assert named.get("disable_notification", False) is silent


def test_motos_put_object_still_takes_what_silences_it() -> None:
    parameters = inspect.signature(inspect.unwrap(S3Backend.put_object)).parameters
    assert {"multipart", "disable_notification"} <= parameters.keys()
    assert (
        "disable_notification"
        not in inspect.getsource(S3Backend.complete_multipart_upload).partition("set_metadata")[0]
    )


def queue_with(*bodies: str) -> Queue:
    queue = Queue("images", "us-east-1", "123456789012")  # type: ignore[abstract]
    for body in bodies:
        add(queue, body)
    return queue


def add(queue: Queue, body: str) -> None:
    sent = Message(body, body)
    sent.mark_sent()
    queue.add_message(sent)


def test_deletion_waits_for_whoever_changes_the_queue() -> None:
    queue = queue_with("a")
    queue._messages[0].mark_received(30)
    handle = queue._messages[0].receipt_handle
    assert handle is not None
    deleting = threading.Thread(target=lock_deletion(ORIGINAL_DELETE), args=(queue, handle))
    with queue._messages_lock:
        deleting.start()
        deleting.join(0.2)
        assert deleting.is_alive()
        assert len(queue._messages) == 1
    deleting.join(10)
    assert queue._messages == []


def receiving_thread(queue: Queue, received: list[str]) -> threading.Thread:
    backend = SQSBackend("us-east-1", "123456789012")
    backend.queues["images"] = queue

    def work() -> None:
        received.extend(message.body for message in lock_receiving(ORIGINAL_RECEIVE)(backend, "images", 10, 10, 30))

    return threading.Thread(target=work)


def test_receiving_waits_too() -> None:
    queue, received = queue_with("a"), list[str]()
    receiving = receiving_thread(queue, received)
    with queue._messages_lock:
        receiving.start()
        receiving.join(0.2)
        assert receiving.is_alive()
        assert received == []
    receiving.join(10)
    assert received == ["a"]


def test_a_long_poll_lets_messages_in() -> None:
    queue, received = queue_with(), list[str]()
    receiving = receiving_thread(queue, received)
    receiving.start()
    receiving.join(0.2)
    # Adding needs the lock: it would hang if the poll held it.
    add(queue, "late")
    receiving.join(5)
    assert received == ["late"]


def test_a_short_poll_of_an_empty_queue_returns_at_once() -> None:
    backend = SQSBackend("us-east-1", "123456789012")
    backend.queues["images"] = queue_with()
    assert lock_receiving(ORIGINAL_RECEIVE)(backend, "images", 10, 0, 30) == []


@pytest.mark.parametrize(
    ("value", "asks_moto"),
    [
        ({"S": "text"}, False),
        ({"N": "0.5"}, False),
        ({"L": [{"M": {"label": {"S": "cat"}, "confidence": {"N": "0.5"}}}, {"BOOL": True}, {"NULL": True}]}, False),
        ({"L": []}, False),
        ({"B": b"bytes"}, True),
        ({"M": {"nested": {"L": [{"B": b"bytes"}]}}}, True),
        ({"SS": ["a", "b"]}, True),
    ],
)
def test_a_value_that_is_ready_is_sent_as_moto_would(value: dict[str, Any], asks_moto: bool) -> None:
    model = ServiceModel(Loader().load_service_model("dynamodb", "service-2"), "dynamodb")
    shape = model.shape_for("AttributeValue")
    serializer = BaseJSONSerializer(model.operation_model("Scan"))
    asked = []

    def original(*arguments: Any) -> None:
        asked.append(arguments)
        ORIGINAL_STRUCTURE(*arguments)

    expected: dict[str, Any] = {}
    ORIGINAL_STRUCTURE(serializer, expected, value, shape, "value")
    written: dict[str, Any] = {}
    ready_attribute_values(original)(serializer, written, value, shape, "value")
    assert written == expected
    assert bool(asked) is asks_moto
