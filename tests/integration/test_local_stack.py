"""Bucket, queue, event source and a small function under the real emulator, together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bucketlens.local.event_source import BatchReport
from bucketlens.local.stack import LocalStack
from tests.integration.local_helpers import TEMPLATE, function_folder, needs_emulator, wait_for

pytestmark = [needs_emulator, pytest.mark.slow]

# Answers as the names of the images ask it to, and notes what it was given.
CODE = """
    import json, os, uuid
    from urllib.parse import unquote_plus

    def handler(event, context):
        with open(os.path.join({notes!r}, uuid.uuid4().hex), "w") as file:
            json.dump(event, file)
        failed = []
        for record in event["Records"]:
            for s3 in json.loads(record["body"]).get("Records", []):
                key = unquote_plus(s3["s3"]["object"]["key"])
                if "crash" in key:
                    raise RuntimeError("crashed on " + key)
                count = int(record["attributes"]["ApproximateReceiveCount"])
                if "always" in key or ("once" in key and count == 1):
                    failed.append({{"itemIdentifier": record["messageId"]}})
        return {{"batchItemFailures": failed}}
"""


@dataclass
class Running:
    stack: LocalStack
    notes: Path
    reports: list[BatchReport]

    def put(self, *names: str) -> None:
        for name in names:
            self.stack.aws.s3.put_object(Bucket=self.stack.bucket, Key=f"incoming/{name}", Body=b"image")

    def seen(self, name: str) -> list[dict[str, Any]]:
        """The S3 records of a key, one a delivery, in the order of their sequencers."""
        records = []
        for note in self.notes.iterdir():
            for message in json.loads(note.read_text() or '{"Records": []}')["Records"]:
                for record in json.loads(message["body"]).get("Records", []):
                    if record["s3"]["object"]["key"] == f"incoming/{name}":
                        records.append(record["s3"]["object"])
        return sorted(records, key=lambda described: described["sequencer"])

    def depth(self, queue_url: str) -> int:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.stack.aws.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in attributes.values())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stack")
    notes = folder / "notes"
    notes.mkdir()
    reports: list[BatchReport] = []
    with LocalStack(
        TEMPLATE,
        port=0,
        workers=2,
        function_dir=function_folder(folder / "function", CODE.format(notes=str(notes))),
        parameters={"BatchWindowSeconds": "1"},
        retry_after_seconds=0,
        report=reports.append,
        log_folder=folder / "logs",
    ) as stack:
        yield Running(stack, notes, reports)


def test_images_arrive_once_with_names_and_order(running: Running) -> None:
    running.put("ä b+c.png", "twice.png", "twice.png")
    wait_for(running.stack, lambda: len(running.seen("twice.png")) == 2 and running.depth(running.stack.queue_url) == 0)
    first, second = running.seen("twice.png")
    assert int(first["sequencer"], 16) < int(second["sequencer"], 16)
    assert len(running.seen("%C3%A4+b%2Bc.png")) == 1


def test_only_the_failed_message_comes_back(running: Running) -> None:
    running.put("good-1.png", "once.png", "good-2.png")
    wait_for(running.stack, lambda: len(running.seen("once.png")) == 2 and running.depth(running.stack.queue_url) == 0)
    assert [len(running.seen(name)) for name in ("good-1.png", "good-2.png")] == [1, 1]


def test_a_message_that_always_fails_goes_to_the_dead_letter_queue(running: Running) -> None:
    running.put("always.png")
    wait_for(running.stack, lambda: running.depth(running.stack.dead_letter_queue_url) == 1)
    assert len(running.seen("always.png")) == 5
    assert ("incoming/always.png",) in [report.given_up for report in running.reports]
    assert running.depth(running.stack.queue_url) == 0


def test_a_crash_fails_its_batch_and_is_reported(running: Running) -> None:
    running.put("crash.png")
    wait_for(running.stack, lambda: any(report.error is not None for report in running.reports))
    (error, *_) = [report.error for report in running.reports if report.error is not None]
    assert error is not None
    assert (error.type, error.reason) == ("RuntimeError", "crashed on incoming/crash.png")
    wait_for(running.stack, lambda: running.depth(running.stack.dead_letter_queue_url) == 2)


def test_three_hundred_images_all_arrive_once(running: Running) -> None:
    names = [f"many-{n}.png" for n in range(300)]
    running.put(*names)
    wait_for(running.stack, lambda: running.depth(running.stack.queue_url) == 0)
    assert {len(running.seen(name)) for name in names} == {1}
