"""What the function's clients make of answers."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from classifier.aws import clients
from classifier.errors import StorageUnavailable
from classifier.table import Table

ANSWER = b'{"Item": {"image_uri": {"S": "s3://photos/a.jpg"}}}'


class Raw(io.BytesIO):
    """A connection's end, as botocore reads it."""

    def stream(self, **_: Any) -> Any:
        yield self.read()


def answering(body: bytes, length: int, monkeypatch: pytest.MonkeyPatch) -> Table:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    _, dynamodb = clients("http://127.0.0.1:1", connections=1)
    headers: Any = {"content-length": str(length)}

    def answer(**_: Any) -> Any:
        return AWSResponse("http://127.0.0.1:1", 200, headers, Raw(body))

    dynamodb.meta.events.register("before-send.dynamodb.GetItem", answer)
    return Table(dynamodb, "predictions")


def test_half_an_answer_is_not_an_answer_without_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    table = answering(ANSWER[:20], len(ANSWER), monkeypatch)
    with pytest.raises(StorageUnavailable, match="cannot read table predictions: 20 read, but total bytes expected"):
        table.look("s3://photos/a.jpg")


def test_a_whole_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answering(ANSWER, len(ANSWER), monkeypatch).look("s3://photos/a.jpg") is not None
    assert answering(b"{}", 2, monkeypatch).look("s3://photos/a.jpg") is None
