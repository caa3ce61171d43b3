"""The poller: how it fills batches, what it deletes, and how it ends."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bucketlens.local.deployment import EventSourceSettings
from bucketlens.local.emulator import FunctionError
from bucketlens.local.event_source import BatchReport, EventSource, chunks
from tests.unit.bucketlens.local.fakes import CannotStart, FakeFunction, FakeQueue, message

DEADLINE = 20


def settings(**changes: Any) -> EventSourceSettings:
    values: dict[str, Any] = {
        "queue_url": "http://127.0.0.1/1/images",
        "queue_arn": "arn:aws:sqs:us-east-1:123456789012:images",
        "batch_size": 20,
        "window_seconds": 1,
        "maximum_concurrency": 2,
        "partial_responses": True,
        "max_receive_count": 5,
    }
    return EventSourceSettings(**{**values, **changes})


@contextmanager
def running(sqs: Any, functions: list[FakeFunction], **options: Any) -> Iterator[queue.Queue[BatchReport]]:
    reports: queue.Queue[BatchReport] = queue.Queue()
    source = EventSource(sqs, options.pop("settings", settings()), functions, report=reports.put, **options)
    source.start()
    try:
        yield reports
    finally:
        source.stop()


def fail(*identifiers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


def test_a_batch_is_filled_by_several_receives() -> None:
    sqs = FakeQueue([message(str(n)) for n in range(45)])
    sizes = []
    with running(sqs, [FakeFunction(lambda event: sizes.append(len(event["Records"])))]) as reports:
        reported = [reports.get(timeout=DEADLINE) for _ in range(3)]
    assert sizes == [20, 20, 5]
    assert [report.messages for report in reported] == [20, 20, 5]
    assert max(sqs.asked) == 10
    assert sorted(sqs.deleted, key=int) == [str(n) for n in range(45)]


def test_without_a_window_one_receive_is_one_batch() -> None:
    sqs = FakeQueue([message(str(n)) for n in range(3)])
    with running(sqs, [FakeFunction()], settings=settings(window_seconds=0, batch_size=10)) as reports:
        assert reports.get(timeout=DEADLINE).messages == 3


def test_only_messages_that_did_not_fail_are_deleted() -> None:
    sqs = FakeQueue([message(name) for name in "abc"])
    with running(sqs, [FakeFunction(lambda event: fail("b"))]) as reports:
        report = reports.get(timeout=DEADLINE)
    assert sorted(sqs.deleted) == ["a", "c"]
    assert (report.messages, report.failed) == (3, 1)
    assert sqs.shown_again == {}, "Lambda leaves failed messages to their visibility timeout"


def test_failed_messages_come_back_when_asked_for() -> None:
    sqs = FakeQueue([message(str(n)) for n in range(12)])
    with running(sqs, [FakeFunction(lambda event: "wrong")], retry_after_seconds=7) as reports:
        reports.get(timeout=DEADLINE)
    assert sqs.deleted == []
    assert sqs.shown_again == {str(n): 7 for n in range(12)}


def test_an_error_fails_the_whole_batch_and_the_next_one_runs() -> None:
    answers = iter([FunctionError("ModelUnavailable", "no pointer"), None])

    def answer(event: Any) -> None:
        if (error := next(answers)) is not None:
            raise error

    sqs = FakeQueue([message(str(n)) for n in range(25)])
    with running(sqs, [FakeFunction(answer)]) as reports:
        first, second = reports.get(timeout=DEADLINE), reports.get(timeout=DEADLINE)
    assert (first.failed, str(first.error)) == (20, "ModelUnavailable: no pointer")
    assert (second.messages, second.failed, second.error) == (5, 0, None)
    assert sqs.deleted == ["20", "21", "22", "23", "24"]


def test_a_response_counts_only_if_the_template_says_so() -> None:
    sqs = FakeQueue([message("a")])
    with running(sqs, [FakeFunction(lambda event: fail("a"))], settings=settings(partial_responses=False)) as reports:
        assert reports.get(timeout=DEADLINE).failed == 0
    assert sqs.deleted == ["a"]


def test_messages_that_failed_for_the_last_time_are_named() -> None:
    body = '{"Records": [{"s3": {"object": {"key": "incoming/bad+one.jpg"}}}]}'
    sqs = FakeQueue([message("a", body, receive_count=5), message("b", body, receive_count=4)])
    with running(sqs, [FakeFunction(lambda event: fail("a", "b"))]) as reports:
        assert reports.get(timeout=DEADLINE).given_up == ("incoming/bad one.jpg",)


def test_workers_take_turns_at_receiving() -> None:
    sqs = FakeQueue([message(str(n)) for n in range(200)])
    with running(sqs, [FakeFunction() for _ in range(4)]) as reports:
        total = 0
        while total < 200:
            total += reports.get(timeout=DEADLINE).messages
    assert total == 200
    assert len(sqs.deleted) == len(set(sqs.deleted)) == 200
    assert sqs.most_receivers == 1


def test_a_function_that_does_not_start_stops_the_others() -> None:
    good = FakeFunction()
    source = EventSource(FakeQueue([]), settings(), [good, CannotStart()])  # type: ignore[arg-type]
    with pytest.raises(OSError, match="no such emulator"):
        source.start()
    assert good.stopped
    assert source.wait(0)


def test_a_poller_that_dies_is_noticed() -> None:
    def answer(event: Any) -> None:
        raise ZeroDivisionError("a bug")

    source = EventSource(FakeQueue([message("a")]), settings(), [FakeFunction(answer)])  # type: ignore[arg-type]
    source.start()
    with pytest.raises(ZeroDivisionError):
        source.wait(DEADLINE)
    source.stop()


def test_chunks_keep_order_and_size() -> None:
    assert list(chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(chunks([], 2)) == []
