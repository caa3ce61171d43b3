"""Messages: what is sent again, deleted, failed; whatever SQS answers."""

from __future__ import annotations

from typing import Any

import pytest

from classifier.aws_calls import NoAnswer
from classifier.events import Batch, ImageRef, Message, Source
from classifier.messages import Messages, Queue
from classifier.processor import Outcome, OutcomeStatus

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/images"


class Sqs:
    """Takes what it is given, but for bodies in ``refused``; ``silent`` answers nothing."""

    def __init__(self, refused: tuple[str, ...] = (), *, silent: bool = False) -> None:
        self.sent: list[tuple[str, int]] = []
        self.deleted: list[str] = []
        self.requests: list[list[dict[str, Any]]] = []
        self._refused = refused
        self._silent = silent

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl == URL
        self._answer(Entries)
        taken = [entry for entry in Entries if entry["MessageBody"] not in self._refused]
        self.sent += [(entry["MessageBody"], entry["DelaySeconds"]) for entry in taken]
        failed = [{"Id": entry["Id"]} for entry in Entries if entry not in taken]
        return {"Successful": [{"Id": entry["Id"]} for entry in taken], **({"Failed": failed} if failed else {})}

    def delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl == URL
        self._answer(Entries)
        self.deleted += [entry["ReceiptHandle"] for entry in Entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def _answer(self, entries: list[dict[str, Any]]) -> None:
        self.requests.append(entries)
        if self._silent:
            raise NoAnswer("no connection to SQS")


def batch(*message_ids: str, body: str = "body {}") -> Batch:
    """One image a message; the same id twice is one message with two images."""
    made = Batch(Source.SQS)
    for number, message_id in enumerate(message_ids):
        made.images.append(ImageRef("photos", f"in/{number}", message_id=message_id))
        made.messages[message_id] = Message(body.format(message_id), f"handle {message_id}", 1)
    return made


def outcomes(of: Batch, *statuses: OutcomeStatus, retry_in: int = 0) -> list[Outcome]:
    return [
        Outcome(image, status, retry_in=retry_in if status is OutcomeStatus.DEFERRED else 0)
        for image, status in zip(of.images, statuses, strict=False)
    ]


def fed_by(client: Any) -> Queue:
    return Queue(URL, lambda: client)


def never() -> Any:
    raise AssertionError("the client is made only when it is needed")


def test_deferred_messages_are_sent_again_and_failed_ones_stay() -> None:
    made, sqs = batch("a", "b", "c", "d"), Sqs()
    ended = outcomes(
        made,
        OutcomeStatus.DEFERRED,
        OutcomeStatus.FAILED,
        OutcomeStatus.CLASSIFIED,
        OutcomeStatus.DUPLICATE,
        retry_in=7,
    )
    assert Messages(made, fed_by(sqs)).failures(ended) == {"b"}
    assert sqs.sent == [("body a", 7)]
    assert sqs.deleted == []


def test_a_message_with_a_failed_and_a_deferred_image_stays_and_so_keeps_the_count_of_its_tries() -> None:
    made = batch("a", "a")
    ended = outcomes(made, OutcomeStatus.DEFERRED, OutcomeStatus.FAILED)
    assert Messages(made, Queue(URL, never)).failures(ended) == {"a"}


def test_no_client_is_made_when_nothing_is_deferred() -> None:
    made = batch("a", "b")
    assert Messages(made, Queue(URL, never)).failures(
        outcomes(made, OutcomeStatus.CLASSIFIED, OutcomeStatus.FAILED)
    ) == {"b"}


def test_without_a_queue_deferred_messages_fail() -> None:
    made = batch("a")
    messages = Messages(made, None)
    messages.settle(outcomes(made, OutcomeStatus.DEFERRED))
    assert messages.failures(outcomes(made, OutcomeStatus.DEFERRED)) == {"a"}


@pytest.mark.parametrize("sqs", [Sqs(silent=True), Sqs(refused=("body a",))])
def test_what_sqs_does_not_take_fails(sqs: Sqs) -> None:
    made = batch("a")
    assert Messages(made, fed_by(sqs)).failures(outcomes(made, OutcomeStatus.DEFERRED)) == {"a"}


def test_a_message_is_settled_once_and_only_when_all_of_its_images_are_told() -> None:
    made, sqs = batch("a", "b", "b", "c", "d"), Sqs()
    messages = Messages(made, fed_by(sqs))
    ended = outcomes(
        made,
        OutcomeStatus.CLASSIFIED,
        OutcomeStatus.CLASSIFIED,
        OutcomeStatus.REJECTED,
        OutcomeStatus.DEFERRED,
        OutcomeStatus.FAILED,
    )
    messages.settle(ended[:2])
    assert (sqs.deleted, sqs.sent) == (["handle a"], [])
    messages.settle(ended)
    assert (sqs.deleted, sqs.sent) == (["handle a", "handle b", "handle c"], [("body c", 0)])
    assert messages.failures(ended) == {"d"}
    assert len(sqs.sent) == 1


def test_a_deferred_message_that_could_not_be_sent_is_not_deleted() -> None:
    made, sqs = batch("a"), Sqs(refused=("body a",))
    Messages(made, fed_by(sqs)).settle(outcomes(made, OutcomeStatus.DEFERRED))
    assert sqs.deleted == []


def test_unreadable_messages_fail_and_one_without_an_id_is_neither_sent_nor_deleted() -> None:
    made, sqs = batch("", "a"), Sqs()
    made.unreadable["x"] = "not JSON"
    messages = Messages(made, fed_by(sqs))
    ended = outcomes(made, OutcomeStatus.DEFERRED, OutcomeStatus.DEFERRED)
    assert messages.failures(ended) == {"", "x"}
    assert [body for body, _ in sqs.sent] == ["body a"]
    messages.settle(outcomes(made, OutcomeStatus.CLASSIFIED, OutcomeStatus.CLASSIFIED))
    assert "handle " not in sqs.deleted


@pytest.mark.parametrize(("size", "most"), [(10, 10), (60_000, 4), (262_144, 1)])
def test_requests_stay_within_the_limits_of_sqs(size: int, most: int) -> None:
    ids = [f"m{number:02}" for number in range(25)]
    made, sqs = batch(*ids, body="{}" + "ä" * (size // 2 - 2)), Sqs()
    messages = Messages(made, fed_by(sqs))
    assert messages.failures(outcomes(made, *[OutcomeStatus.DEFERRED] * 25)) == set()
    assert len(sqs.sent) == 25
    for entries in sqs.requests:
        assert 1 <= len(entries) <= most
        assert sum(len(entry["MessageBody"].encode()) for entry in entries) <= 262_144
        assert len({entry["Id"] for entry in entries}) == len(entries)
    messages.settle(outcomes(made, *[OutcomeStatus.DEFERRED] * 25))
    assert len(sqs.deleted) == 25
