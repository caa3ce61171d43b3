"""What becomes of a failed call: bodies that break off, and the errors of S3 and DynamoDB by their kind."""

from __future__ import annotations

from typing import Any

import pytest

from classifier.aws_calls import NoAnswer
from classifier.errors import ImageNotFound, StorageThrottled, StorageUnavailable
from classifier.events import ImageRef
from tests.conftest import BUCKET, TABLE, Aws
from tests.integration.test_store import KEY, record, store
from tests.support.clients import Interposed, refusal


def broken_body(*failures: Exception) -> tuple[Any, list[str]]:
    """What to do to a client so that its first bodies break off with these, and the calls it was given."""
    left, calls = list(failures), []

    class Body:
        def __init__(self, body: Any) -> None:
            self._body = body

        def read(self) -> bytes:
            if left:
                raise left.pop(0)
            data: bytes = self._body.read()
            return data

        def close(self) -> None:
            self._body.close()

    class Client:
        def __init__(self, s3: Any) -> None:
            self._s3 = s3

        def get_object(self, **arguments: Any) -> Any:
            calls.append(arguments["Key"])
            response = self._s3.get_object(**arguments)
            return {**response, "Body": Body(response["Body"])}

    return Client, calls


def test_a_body_that_breaks_off_is_fetched_again_while_there_is_time(aws: Aws) -> None:
    aws.put(KEY, b"abc")
    error = NoAnswer("S3 sent 1 of 3 bytes of an answer")
    broken, calls = broken_body(error, error)
    fetched = store(aws, s3=broken(aws.function_s3)).fetch(ImageRef(BUCKET, KEY), 10, time_left=lambda: 60.0)
    assert fetched.data == b"abc"
    assert len(calls) == 3
    for left, tries in ((60.0, 3), (5.0, 1)):
        broken, calls = broken_body(error, error, error)
        reader = store(aws, s3=broken(aws.function_s3))
        with pytest.raises(StorageUnavailable, match=f"s3://{BUCKET}/{KEY}: S3 sent 1 of 3 bytes"):
            reader.fetch(ImageRef(BUCKET, KEY), 10, time_left=lambda left=left: left)  # type: ignore[misc]
        assert len(calls) == tries


def test_room_for_a_body_is_reserved_before_it_is_read_and_not_for_one_over_the_limit(aws: Aws) -> None:
    aws.put(KEY, b"abc")
    reserved: list[int] = []
    store(aws).fetch(ImageRef(BUCKET, KEY), 3, reserve=reserved.append)
    store(aws).fetch(ImageRef(BUCKET, KEY), 2, reserve=reserved.append)
    assert reserved == [3]


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
        raise refusal(code)

    with pytest.raises(error, match=f"s3://{BUCKET}/{KEY}"):
        store(aws, s3=Interposed(aws.function_s3, "get_object", fail)).fetch(ImageRef(BUCKET, KEY), 10)


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
        raise refusal(code)

    with pytest.raises(error, match=TABLE):
        record(store(aws, dynamodb=Interposed(aws.function_dynamodb, "put_item", fail)), "x", "0A")
    assert aws.keys() == []
