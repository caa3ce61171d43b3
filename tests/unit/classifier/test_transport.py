"""Calls over real sockets: what is told of failures, what is made again, and which connections are kept."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from classifier.aws import AwsClients
from classifier.aws_calls import TRIES, AwsError, NoAnswer, sent_until_answered
from classifier.connections import Timeouts
from classifier.credentials import Credentials
from classifier.json_api import DynamoDbClient
from classifier.s3 import S3Client
from classifier.service import Endpoints, Service
from tests.support.certificates import self_signed
from tests.support.scripted_server import Reply, ScriptedServer, Then, http, scripted

OBJECT = http(200, b"abc", ETag='"e"', x_amz_meta_request_id="r", x_amz_version_id="v")
SLOW_DOWN = http(503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
THROTTLED = http(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}')
KEY = {"image_uri": {"S": "s3://photos/a.jpg"}}
ITEM = json.dumps({"Item": KEY}).encode()
CUT = Reply(http(200, b"abc"[:1], ETag='"e"', content_length="3"), Then.CLOSE)
STALL = Reply(http(200, b"abc"[:1], ETag='"e"', content_length="3"), Then.STALL)
FAILURES = {
    "reset": Reply(b"", Then.RESET),
    "closed": Reply(b"", Then.CLOSE),
    "stalled": Reply(b"", Then.STALL),
    "half a status": Reply(b"HTTP/1.1 2", Then.CLOSE),
    "no HTTP": Reply(b"SSH-2.0-OpenSSH\r\n\r\n", Then.CLOSE),
    "unavailable": Reply(http(500, b"<Error><Code>InternalError</Code></Error>")),
    "a gateway's page": Reply(http(502, b"<html>Bad Gateway</html>")),
    "slow down": Reply(SLOW_DOWN),
}


def service_at(server: ScriptedServer, name: str, pauses: list[float] | None = None) -> Service:
    return Service(
        name,
        Endpoints("eu-central-1", server.url),
        lambda: Credentials("AKID", "secret", "token"),
        kept=1,
        timeouts=Timeouts(connect=1, read=0.2),
        sleep=(pauses if pauses is not None else []).append,
    )


def s3(server: ScriptedServer, pauses: list[float] | None = None) -> S3Client:
    return S3Client(service_at(server, "s3", pauses))


def dynamodb(server: ScriptedServer) -> DynamoDbClient:
    return DynamoDbClient(service_at(server, "dynamodb"))


def test_an_objects_facts_come_before_its_body() -> None:
    with scripted([OBJECT]) as server:
        found = s3(server).get_object(Bucket="photos", Key="in/a b+ü.jpg", VersionId="v/1=", IfNoneMatch='"f"')
        body = found.pop("Body")  # type: ignore[misc]
        assert found == {"ETag": '"e"', "ContentLength": 3, "Metadata": {"request-id": "r"}, "VersionId": "v"}
        assert body.read() == b"abc"
        assert server.targets() == ["/photos/in/a%20b%2B%C3%BC.jpg?versionId=v%2F1%3D"]
        assert server.header("if-none-match") == '"f"'
        assert server.header("x-amz-security-token") == "token"


def test_connections_are_kept_and_the_dead_are_not_used() -> None:
    with scripted([OBJECT, OBJECT, Reply(OBJECT, Then.CLOSE), OBJECT, OBJECT]) as server:
        client = s3(server)
        for made in (1, 1, 1, 2):
            client.get_object(Bucket="photos", Key="a")["Body"].read()
            assert server.connections == made
        client.get_object(Bucket="photos", Key="a")["Body"].close()
        assert len(server.requests) == 5


def test_a_body_that_nobody_reads_does_not_end_up_in_the_next_answer() -> None:
    with scripted([OBJECT, http(200, b"xyz!", ETag='"f"')]) as server:
        client = s3(server)
        client.get_object(Bucket="photos", Key="a")["Body"].close()
        assert client.get_object(Bucket="photos", Key="b")["Body"].read() == b"xyz!"
        assert server.connections == 2


@pytest.mark.parametrize(("reply", "told"), [(CUT, "1 of 3 bytes"), (STALL, "did not answer in time")])
def test_a_body_that_breaks_off_is_told(reply: Reply, told: str) -> None:
    with scripted([reply, OBJECT]) as server:
        client = s3(server)
        with pytest.raises(NoAnswer, match=told):
            client.get_object(Bucket="photos", Key="a")["Body"].read()
        assert client.get_object(Bucket="photos", Key="a")["Body"].read() == b"abc"


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_a_call_is_made_again_and_then_given_up(failure: Reply) -> None:
    pauses: list[float] = []
    with scripted([*[failure] * (TRIES - 1), http(200, ETag='"e"')]) as server:
        s3(server, pauses).put_object(Bucket="photos", Key="a", Body=b"{}", ContentType="application/json")
        assert [body for _, body in server.requests] == [b"{}"] * TRIES
    assert len(pauses) == TRIES - 1
    with scripted([failure] * TRIES) as server:
        with pytest.raises(AwsError):
            s3(server).put_object(Bucket="photos", Key="a", Body=b"{}", ContentType="application/json")
        assert len(server.requests) == TRIES


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        (http(403, b"<Error><Code>AccessDenied</Code><Message>No &amp; never</Message></Error>"), "AccessDenied", 403),
        (http(404, b"<Error><Code>NoSuchKey</Code></Error>"), "NoSuchKey", 404),
        (http(405, b"<Error><Code>MethodNotAllowed</Code></Error>"), "MethodNotAllowed", 405),
        (http(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>"), "ConditionalRequestConflict", 409),
        (http(412, b"<Error><Code>PreconditionFailed</Code></Error>"), "PreconditionFailed", 412),
        (http(304, content_length="0"), "304", 304),
        (b"HTTP/1.1 304 Not Modified\r\nETag: e\r\n\r\n", "304", 304),
        (http(412), "412", 412),
    ],
)
def test_refusals_are_told_apart_and_final(answer: bytes, code: str, status: int) -> None:
    with scripted([answer, OBJECT]) as server:
        client = s3(server)
        with pytest.raises(AwsError, match=f"GetObject was answered {code}") as error:
            client.get_object(Bucket="photos", Key="a")
        assert (error.value.code, error.value.status) == (code, status)
        assert client.get_object(Bucket="photos", Key="a")["Body"].read() == b"abc"
        assert server.connections == 1, "the refusal was read to its end"


def test_a_missing_object_has_no_body_to_say_so() -> None:
    missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 243\r\n\r\n"
    with scripted([missing, OBJECT.removesuffix(b"abc")]) as server:
        client = s3(server)
        with pytest.raises(AwsError) as error:
            client.head_object(Bucket="photos", Key="a")
        assert (error.value.code, error.value.status) == ("404", 404)
        assert client.head_object(Bucket="photos", Key="a")["ContentLength"] == 3
        assert server.connections == 1


def test_conditions_and_metadata_go_along() -> None:
    with scripted([http(200, ETag='"e"'), http(200, ETag='"e"'), http(204)]) as server:
        client = s3(server)
        client.put_object(
            Bucket="photos", Key="a", Body=b"", ContentType="text/x", IfNoneMatch="*", Metadata={"request-id": "r"}
        )
        assert (server.header("if-none-match"), server.header("x-amz-meta-request-id")) == ("*", "r")
        assert (server.header("content-length"), server.header("content-type")) == ("0", "text/x")
        client.put_object(Bucket="photos", Key="a", Body=b"x", ContentType="text/x", IfMatch='"e"')
        assert server.header("if-match") == '"e"'
        client.delete_object(Bucket="photos", Key="a", IfMatch='"e"')
        assert server.requests[-1][0].startswith("DELETE /photos/a ")
        assert server.header("if-match") == '"e"'


def test_half_a_head_is_no_answer() -> None:
    half = Reply(b"HTTP/1.1 200 OK\r\nETag: e\r\ncontent-le", Then.CLOSE)
    with scripted([half, OBJECT, half, OBJECT.removesuffix(b"abc")]) as server:
        assert s3(server).get_object(Bucket="photos", Key="a")["Body"].read() == b"abc"
        assert s3(server).head_object(Bucket="photos", Key="a")["ContentLength"] == 3
    with scripted([half, http(200, b"{}")]) as server:
        assert dynamodb(server).get_item(TableName="t", Key=KEY) == {}
        assert len(server.requests) == 2


def test_items_are_read_whole() -> None:
    halved = Reply(http(200, ITEM[:20], content_length=str(len(ITEM))), Then.CLOSE)
    without_length = Reply(b"HTTP/1.1 200 OK\r\n\r\n" + ITEM[:20], Then.CLOSE)
    damaged = http(200, ITEM.replace(b"a.jpg", b"b.jpg"), x_amz_crc32=str(zlib.crc32(ITEM)))
    whole = http(200, ITEM, x_amz_crc32=str(zlib.crc32(ITEM)))
    with scripted([halved, without_length, damaged, whole]) as server:
        assert dynamodb(server).get_item(TableName="t", Key=KEY) == {"Item": KEY}
        assert server.header("x-amz-target") == "DynamoDB_20120810.GetItem"
        assert json.loads(server.requests[-1][1]) == {"TableName": "t", "Key": KEY}
    with scripted([halved] * TRIES) as server, pytest.raises(NoAnswer, match=f"20 of {len(ITEM)} bytes"):
        dynamodb(server).get_item(TableName="t", Key=KEY)


def test_a_refused_item_says_which_one_stands() -> None:
    refusal = {
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "no",
        "Item": KEY,
    }
    with scripted([THROTTLED, http(400, json.dumps(refusal).encode())]) as server:
        with pytest.raises(AwsError, match="PutItem was answered ConditionalCheckFailedException: no") as error:
            dynamodb(server).put_item(TableName="t", Item=KEY)
        assert error.value.answer["Item"] == KEY
        assert len(server.requests) == 2


def test_pauses_grow_and_are_longer_after_throttling() -> None:
    def longest(error: AwsError) -> list[float]:
        found = [0.0] * (TRIES - 1)

        def fail() -> None:
            raise error

        for _ in range(300):
            pauses: list[float] = []
            with pytest.raises(AwsError):
                sent_until_answered(fail, sleep=pauses.append)
            found = [max(pair) for pair in zip(found, pauses, strict=True)]
        return found

    assert longest(NoAnswer("away")) == pytest.approx([0.1, 0.2, 0.4], rel=0.1)
    assert longest(AwsError("slow", code="SlowDown", status=503)) == pytest.approx([1, 2, 4], rel=0.1)


def test_no_pause_outlasts_the_invocation() -> None:
    left = [3.0]
    slept: list[float] = []

    def fail() -> None:
        raise AwsError("slow", code="SlowDown", status=503)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        left[0] -= seconds

    for _ in range(50):
        with pytest.raises(AwsError):
            sent_until_answered(fail, sleep=sleep, time_left=lambda: left[0])
    assert 0 < left[0] < 1
    assert sum(slept) < 3


def test_clients_try_again_within_the_invocation_that_they_are_told_of() -> None:
    environment = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    with scripted([SLOW_DOWN, SLOW_DOWN]) as server:
        clients = AwsClients(environment, server.url)
        s3_client = clients.s3()
        clients.time_left = lambda: 0.0
        for requests in (1, 2):
            with pytest.raises(AwsError, match="503"):
                s3_client.head_object(Bucket="photos", Key="a.jpg")
            assert len(server.requests) == requests


def test_a_bucket_of_another_region_is_found_there() -> None:
    elsewhere = http(301, b"<Error><Code>PermanentRedirect</Code></Error>", x_amz_bucket_region="ap-south-1")
    with scripted([elsewhere, OBJECT, OBJECT]) as server:
        client = s3(server)
        for _ in range(2):
            assert client.get_object(Bucket="models", Key="current.json")["Body"].read() == b"abc"
        scopes = [(server.header("authorization", request) or "").split("/")[2] for request in range(3)]
        assert scopes == ["eu-central-1", "ap-south-1", "ap-south-1"]


def test_addresses_are_those_of_the_sdk() -> None:
    partitions = Loader().load_data("endpoints")["partitions"]
    domains = {region: one["dnsSuffix"] for one in partitions for region in one["regions"]}
    assert len(domains) > 30
    for region, domain in domains.items():
        for name in ("s3", "dynamodb", "sqs", "events"):
            assert Endpoints(region).url(name) == f"https://{name}.{region}.{domain}"


def test_without_a_region_a_call_says_what_to_set() -> None:
    client = S3Client(Service("s3", Endpoints(None), lambda: Credentials("a", "b"), kept=1, timeouts=Timeouts(1, 1)))
    with pytest.raises(AwsError, match="set AWS_REGION"):
        client.head_object(Bucket="photos", Key="a")


@pytest.mark.parametrize(
    ("bucket", "host", "path"),
    [
        ("photos", "photos.s3.eu-central-1.amazonaws.com", "/a"),
        ("my.photos", "s3.eu-central-1.amazonaws.com", "/my.photos/a"),
    ],
)
def test_a_bucket_is_a_host_where_its_name_can_be_one(bucket: str, host: str, path: str) -> None:
    asked: list[tuple[str, str]] = []

    class Asked(Service):
        def call(self, url: str, method: str, path: str, *_: Any, **__: Any) -> Any:
            asked.append((url, path))

    S3Client(
        Asked("s3", Endpoints("eu-central-1"), lambda: Credentials("a", "b"), kept=1, timeouts=Timeouts(1, 1))
    ).put_object(Bucket=bucket, Key="a", Body=b"", ContentType="text/x")
    assert asked == [(f"https://{host}", path)]


@pytest.mark.parametrize("bucket", ["evil/", "evil:80", "user@evil", "a b", "x\r\nhost: evil", "", "ü" * 3])
def test_what_is_no_bucket_is_asked_nowhere(bucket: str) -> None:
    with pytest.raises(AwsError, match="is no bucket's name"):
        S3Client(Service("s3", Endpoints("eu-central-1"), no_credentials, kept=1, timeouts=Timeouts(1, 1))).head_object(
            Bucket=bucket, Key="a"
        )


def no_credentials() -> Credentials:
    raise AssertionError("nothing is signed")


@pytest.mark.parametrize("value", ["a\r\nx-amz-acl: public-read", "a\nb", "a\rb", "ü"])
def test_a_header_holds_no_line_break(value: str) -> None:
    with scripted([]) as server:
        with pytest.raises(AwsError, match="line break"):
            s3(server).put_object(Bucket="photos", Key="a", Body=b"", ContentType="x", Metadata={"sequencer": value})
        assert server.connections == 0


def test_chunks_are_put_together_and_half_of_them_are_no_answer() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    error = b"c\r\n<Error><Code\r\n11;x=y\r\n>AccessDenied</Co\r\n"
    rest = b"b\r\nde></Error>\r\n0\r\nX-Trailer: x\r\n\r\n"
    with scripted([head + error + rest, Reply(head + error, Then.CLOSE), OBJECT]) as server:
        client = s3(server)
        with pytest.raises(AwsError, match="AccessDenied"):
            client.get_object(Bucket="photos", Key="a")
        assert client.get_object(Bucket="photos", Key="a")["Body"].read() == b"abc"
        assert (len(server.requests), server.connections) == (3, 2)


def test_what_comes_after_an_answer_is_not_taken_for_the_next() -> None:
    with scripted([OBJECT + http(408, b"x"), http(200, b"xyz", ETag='"f"')]) as server:
        client = s3(server)
        assert client.get_object(Bucket="photos", Key="a")["Body"].read() == b"abc"
        assert client.get_object(Bucket="photos", Key="b")["Body"].read() == b"xyz"
        assert server.connections == 2


def test_who_answers_must_have_a_certificate_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed("localhost", tmp_path)
    with scripted([OBJECT, OBJECT], certificate) as server:
        with pytest.raises(NoAnswer, match="certificate"):
            s3(server).get_object(Bucket="photos", Key="a")
        assert server.requests == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        client = s3(server)
        for _ in range(2):
            assert client.get_object(Bucket="photos", Key="a")["Body"].read() == b"abc"
        assert server.connections == 1
        server.url = server.url.replace("localhost", "127.0.0.1")
        with pytest.raises(NoAnswer, match="certificate"):
            s3(server).get_object(Bucket="photos", Key="a")
