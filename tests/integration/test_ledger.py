"""``reconcile`` and ``dlq`` against endpoints over HTTP; no function runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bucketlens.cli.main import app
from bucketlens.dead_letters import DeadLetters
from bucketlens.local.stack import LocalStack
from bucketlens.stack import Stack
from classifier.errors import UserError
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, timestamp
from classifier.records import Result as Outcome
from tests.conftest import ROOT
from tests.support.clients import Interposed, once

pytestmark = pytest.mark.slow

MODEL = ModelIdentity("m", "20260101T000000Z-00000000", "0" * 64)
HOSTILE = "\x1b[2J\u202egpj.exe"

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def running() -> Iterator[LocalStack]:
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False) as stack:
        # Every event is lost: what lies in the queue was sent by the command.
        stack.aws.s3.put_bucket_notification_configuration(Bucket=stack.bucket, NotificationConfiguration={})
        drain(stack, stack.queue_url)
        yield stack


@pytest.fixture
def stack(running: LocalStack) -> Iterator[LocalStack]:
    yield running
    s3, pages = running.aws.s3, running.aws.s3.get_paginator("list_objects_v2").paginate(Bucket=running.bucket)
    for entry in [entry for page in pages for entry in page.get("Contents", [])]:
        s3.delete_object(Bucket=running.bucket, Key=entry["Key"])
    for item in running.aws.dynamodb.scan(TableName=running.table)["Items"]:
        running.aws.dynamodb.delete_item(TableName=running.table, Key={"image_uri": item["image_uri"]})
    for url in (running.queue_url, running.dead_letter_queue_url):
        drain(running, url)


@pytest.fixture
def command(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
    monkeypatch.setenv("BUCKETLENS_CACHE", str(tmp_path / "cache"))

    def run(*words: str, fails: int = 0) -> Result:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == fails, (result.output, result.exception)
        return result

    return run


def put(stack: LocalStack, name: str) -> str:
    """An image; its ETag."""
    return stack.aws.s3.put_object(Bucket=stack.bucket, Key=f"incoming/{name}", Body=name.encode())["ETag"].strip('"')


def record(stack: LocalStack, name: str, etag: str | None, *, error: Rejection | None = None, **more: Any) -> None:
    """What the function leaves behind."""
    image = ImageFacts(stack.bucket, f"incoming/{name}", etag=etag)
    moment = timestamp(datetime.now(UTC))
    top = () if error else (Prediction("cat", 0.9),)
    key = f"predictions/{name}.json"
    outcome = Outcome(image, MODEL, moment, "r", top=top, error=error)
    item = outcome.to_item(sequencer=None, output_uri=f"s3://{stack.bucket}/{key}")
    stack.aws.dynamodb.put_item(TableName=stack.table, Item={**item, **more})
    stack.aws.s3.put_object(Bucket=stack.bucket, Key=key, Body=outcome.to_line())


def received(stack: LocalStack, url: str) -> list[Any]:
    """Every visible message of a queue, held for a minute."""
    found: list[Any] = []
    while True:
        response = stack.aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60)
        if not response.get("Messages"):
            return found
        found += response["Messages"]


def drain(stack: LocalStack, url: str) -> None:
    for message in received(stack, url):
        stack.aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def bodies(stack: LocalStack, url: str) -> list[str]:
    """What lies visible in a queue; it stays there."""
    found = received(stack, url)
    for message in found:
        stack.aws.sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
    return [message["Body"] for message in found]


def test_reconcile_from_the_dry_run_to_a_ledger_that_closes(stack: LocalStack, command: Command) -> None:
    for n in range(12):
        record(stack, f"good/{n}.jpg", put(stack, f"good/{n}.jpg"))
    put(stack, "folder/")
    etags = {name: put(stack, name) for name in ("stale.jpg", "bare.jpg", "killed.jpg", f"lost {HOSTILE}.jpg")}
    record(stack, "stale.jpg", "of-other-content")
    record(stack, "bare.jpg", etags["bare.jpg"])
    stack.aws.s3.delete_object(Bucket=stack.bucket, Key="predictions/bare.jpg.json")
    record(stack, "killed.jpg", None, error=Rejection("image.too_costly", "started 3 times"), unfinished={"BOOL": True})
    record(stack, "deleted.jpg", "e")
    kinds = ("stale", "without_json", "unfinished", "missing")
    wanted = {f"incoming/{name}": kind for name, kind in zip(etags, kinds, strict=True)}

    shown = command("reconcile", "--settle", "0", fails=1)
    assert "to be sent: 4 images" in shown.stderr
    assert "orphaned item" in shown.stdout
    assert r"lost \x1b[2J\u202egpj.exe.jpg" in shown.stdout
    assert "\x1b" not in shown.output
    assert "\u202e" not in shown.output

    told = json.loads(command("reconcile", "--settle", "0", "--format", "json", fails=1).stdout)
    assert {one["uri"]: one["kind"] for one in told["differences"]} == {
        **{f"s3://{stack.bucket}/{key}": kind for key, kind in wanted.items()},
        f"s3://{stack.bucket}/incoming/deleted.jpg": "orphaned_item",
    }
    rows = list(csv.DictReader(io.StringIO(command("reconcile", "--settle", "0", "--format", "csv", fails=1).stdout)))
    assert [row["kind"] for row in rows] == [one["kind"] for one in told["differences"]]
    summary = told["summary"]
    assert (summary["objects"], summary["in_order"], summary["missing"], summary["to_send"]) == (16, 12, 1, 4)
    assert command("reconcile", "--prefix", "good/", "--settle", "0").exit_code == 0
    assert "probably still queued" in command("reconcile").stdout, "all of it has just been uploaded"

    command("reconcile", "--settle", "0", "--repair", "--dry-run", fails=1)
    assert bodies(stack, stack.queue_url) == []
    declined = CliRunner().invoke(app, ["reconcile", "--settle", "0", "--repair"], input="n\n")
    assert (declined.exit_code, bodies(stack, stack.queue_url)) == (1, [])

    sent = command("reconcile", "--settle", "0", "--repair", "--yes")
    assert "resuming" in sent.stderr, "the audit of a moment ago"
    assert "sent 4 images" in sent.stderr
    assert {json.loads(body)["key"] for body in bodies(stack, stack.queue_url)} == set(wanted)
    for name, etag in etags.items():
        record(stack, name, etag)
    command("reconcile", "--settle", "0")
    outdated = command("reconcile", "--settle", "0", "--model-older-than", "20260301T000000Z-ffffffff", fails=1)
    assert "to be sent: 16 images" in outdated.stderr


def test_a_reconcile_of_nothing_and_wrong_prefixes(stack: LocalStack, command: Command) -> None:
    command("reconcile")
    for prefix in ("s3://other/incoming/", f"s3://{stack.bucket}/models/"):
        failed = command("reconcile", "--prefix", prefix, fails=1)
        assert isinstance(failed.exception, UserError)


def event(stack: LocalStack, name: str) -> str:
    stored = {"bucket": {"name": stack.bucket}, "object": {"key": f"incoming/{name}", "sequencer": "0A"}}
    return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": stored}]})


@pytest.fixture
def dead(stack: LocalStack) -> dict[str, str]:
    """A dead-letter queue with one message of every kind; the reason that is expected, by image."""
    kinds = {
        "corrupt.jpg": "image.corrupt: JPEG cannot be decoded",
        "killed.jpg": "image.too_costly: started 3 times and never finished",
        "gone.jpg": "the image is gone",
        "failed.jpg": "no result: storage or model failure: look in the function's log",
        "since.jpg": "has been classified since",
        "overwritten.jpg": "only other content was classified",
    }
    etags = {name: put(stack, name) for name in kinds if name != "gone.jpg"}
    record(stack, "corrupt.jpg", etags["corrupt.jpg"], error=Rejection("image.corrupt", "JPEG cannot be decoded"))
    killed = Rejection("image.too_costly", "started 3 times and never finished")
    record(stack, "killed.jpg", None, error=killed, unfinished={"BOOL": True})
    record(stack, "since.jpg", etags["since.jpg"])
    record(stack, "overwritten.jpg", "before")
    send = stack.aws.sqs.send_message
    for name in kinds:
        send(QueueUrl=stack.dead_letter_queue_url, MessageBody=event(stack, name))
    put(stack, "direct.jpg")
    send(
        QueueUrl=stack.dead_letter_queue_url,
        MessageBody=json.dumps({"bucket": stack.bucket, "key": "incoming/direct.jpg"}),
        MessageAttributes={
            "RequestID": {"DataType": "String", "StringValue": "1"},
            "ErrorCode": {"DataType": "Number", "StringValue": "200"},
            "ErrorMessage": {"DataType": "String", "StringValue": "no model is published"},
        },
    )
    send(QueueUrl=stack.dead_letter_queue_url, MessageBody="\u202eno event " + "x" * 200)
    return {**kinds, "direct.jpg": "no result: no model is published"}


def test_the_list_says_why_and_takes_nothing_away(stack: LocalStack, command: Command, dead: dict[str, str]) -> None:
    for _ in range(2):
        rows = [json.loads(line) for line in command("dlq", "list", "--format", "json").stdout.splitlines()]
        reasons = {row["image"].rpartition("/")[2]: row["reason"] for row in rows if row["image"]}
        assert set(reasons) == set(dead)
        assert [name for name, reason in dead.items() if not reasons[name].startswith(reason)] == []
        (unreadable,) = (row for row in rows if row["image"] is None)
        assert unreadable["body"].startswith("\u202eno event")
        assert {row["tries"] for row in rows if row["image"] and "direct" not in row["image"]} == {5}
        assert all(row["first_seen"].startswith("20") for row in rows)
    cells = list(csv.DictReader(io.StringIO(command("dlq", "list", "--format", "csv").stdout)))
    assert [row["reason"] for row in cells] == [row["reason"] for row in rows]
    shown = command("dlq", "list").stdout
    assert r"\u202eno event" in shown
    assert "\u202e" not in shown
    assert len(bodies(stack, stack.dead_letter_queue_url)) == 8, "visible at once"


def test_redrive_of_one_image_then_of_all(stack: LocalStack, command: Command, dead: dict[str, str]) -> None:
    assert isinstance(command("dlq", "redrive", fails=1).exception, UserError)
    assert isinstance(command("dlq", "redrive", "--image", "unknown.jpg", fails=1).exception, UserError)
    assert len(command("dlq", "redrive", "--all", "--dry-run").stdout.splitlines()) == 7
    assert bodies(stack, stack.queue_url) == []
    command("dlq", "redrive", "--image", "failed.jpg")
    assert bodies(stack, stack.queue_url) == [event(stack, "failed.jpg")]
    assert len(bodies(stack, stack.dead_letter_queue_url)) == 7
    told = command("dlq", "redrive", "--all")
    assert "sent 6 messages" in told.stderr
    assert "1 messages contain no event and stay" in told.stderr
    assert len(bodies(stack, stack.queue_url)) == 7
    assert len(bodies(stack, stack.dead_letter_queue_url)) == 1


def test_purge_asks_and_can_be_of_one_image(stack: LocalStack, command: Command, dead: dict[str, str]) -> None:
    command("dlq", "purge", "--dry-run")
    assert CliRunner().invoke(app, ["dlq", "purge"], input="n\n").exit_code == 1
    assert len(bodies(stack, stack.dead_letter_queue_url)) == 8
    command("dlq", "purge", "--yes", "--image", "killed.jpg")
    assert event(stack, "killed.jpg") not in bodies(stack, stack.dead_letter_queue_url)
    command("dlq", "purge", "--yes")
    assert bodies(stack, stack.dead_letter_queue_url) == []
    assert "empty" in command("dlq", "list").stderr


def test_a_redrive_that_dies_between_sending_and_deleting_loses_nothing(
    stack: LocalStack, command: Command, dead: dict[str, str]
) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    deployed = Stack.find("bucketlens")
    sqs: Any = Interposed(stack.aws.sqs, "delete_message_batch", once(die))
    with pytest.raises(KeyboardInterrupt), DeadLetters(sqs, deployed) as letters:
        for page in letters.read():
            letters.redrive(one for one in page if one.unreadable is None)
    assert len(bodies(stack, stack.dead_letter_queue_url)) == 8
    command("dlq", "redrive", "--all")
    assert set(bodies(stack, stack.queue_url)) >= {event(stack, name) for name in dead if name != "direct.jpg"}
    assert len(bodies(stack, stack.dead_letter_queue_url)) == 1


def test_a_message_that_the_queue_refuses_stays(stack: LocalStack, command: Command, dead: dict[str, str]) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(stack.aws.sqs, name)

        def send_message_batch(self, **request: Any) -> Any:
            *accepted, last = request["Entries"]
            if accepted:
                stack.aws.sqs.send_message_batch(QueueUrl=request["QueueUrl"], Entries=accepted)
            return {"Failed": [{"Id": last["Id"], "Code": "InternalError", "SenderFault": False}]}

    refusing: Any = Refusing()
    with DeadLetters(refusing, Stack.find("bucketlens")) as letters, pytest.raises(UserError, match="InternalError"):
        for page in letters.read():
            letters.redrive(one for one in page if one.unreadable is None)
    assert len(bodies(stack, stack.dead_letter_queue_url)) == 8
