"""Same effect once: whatever the order, the repetition or the moment of death, the newest event's result stands."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from classifier.aws_calls import AwsError
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result
from classifier.store import Output, Recorded, Request, Store
from classifier.table import Standing
from tests.conftest import BUCKET, TABLE, Aws
from tests.support.clients import Interposed, once

FRESH = itertools.count()
KEY = "incoming/cat.jpg"
OUTPUT_KEY = "predictions/cat.jpg.json"


class Died(Exception):
    """The process ends here."""


def result(label: str, request_id: str, key: str = KEY) -> Result:
    return Result(
        image=ImageFacts(BUCKET, key),
        model=ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64),
        classified_at=AT,
        request_id=request_id,
        top=(Prediction(label, 0.9),),
    )


OUTPUT = Output(BUCKET, OUTPUT_KEY)
AT = "2026-11-20T12:00:00.000Z"
LATER = "2026-11-20T12:10:00.000Z"
"""When no attempt made at ``AT`` can still be running."""


def store(aws: Aws, s3: Any = None, dynamodb: Any = None) -> Store:
    return Store(s3 or aws.function_s3, dynamodb or aws.function_dynamodb, TABLE)


def record(
    into: Store, label: str, sequencer: str | None, request_id: str | None = None, oldest_running: str = LATER
) -> Recorded:
    made = result(label, request_id or f"request-{label}-{sequencer}")
    seen = into.table.look(made.image_uri) if sequencer is None else None
    request = Request(made.request_id, oldest_running, AT)
    return into.record(made, OUTPUT, sequencer=sequencer, seen=seen, request=request)


def standing(aws: Aws, key: str = KEY, output_key: str = OUTPUT_KEY) -> tuple[str, str]:
    """The label in the table and the label in the JSON."""
    item = aws.item(key)
    assert item is not None
    return item["label"]["S"], json.loads(aws.read(output_key))["prediction"]["label"]


def test_newer_wins_older_loses_same_is_a_duplicate(aws: Aws) -> None:
    s = store(aws)
    assert record(s, "second", "0B") is Recorded.WON
    assert record(s, "first", "0A") is Recorded.SUPERSEDED
    assert record(s, "again", "0B") is Recorded.DUPLICATE
    assert standing(aws) == ("second", "second")
    assert record(s, "third", "0B1") is Recorded.WON
    assert standing(aws) == ("third", "third")


def test_a_death_between_item_and_json_is_completed_by_the_redelivery(aws: Aws) -> None:
    def die() -> None:
        raise Died

    for sequencer, label in (("0A", "first"), ("0B", "second")):
        dying = store(aws, s3=Interposed(aws.function_s3, "put_object", once(die)))
        with pytest.raises(Died):
            record(dying, label, sequencer, f"died-{label}")
        assert record(store(aws), label, sequencer, f"redelivered-{label}") is Recorded.WON
        assert standing(aws) == (label, label)
        assert aws.item(KEY)["request_id"] == {"S": f"redelivered-{label}"}  # type: ignore[index]


def test_a_slow_winner_never_overwrites_a_newer_ones_json(aws: Aws) -> None:
    overtake = once(lambda: record(store(aws), "newer", "0B"))
    slow = store(aws, s3=Interposed(aws.function_s3, "put_object", overtake))
    assert record(slow, "older", "0A") is Recorded.SUPERSEDED
    assert standing(aws) == ("newer", "newer")


@pytest.mark.parametrize("operation", ["head_object", "put_object"])
def test_a_slow_winner_over_an_existing_result_never_overwrites_a_newer_ones_json(aws: Aws, operation: str) -> None:
    record(store(aws), "oldest", "01")
    overtake = once(lambda: record(store(aws), "newer", "0B"))
    slow = store(aws, s3=Interposed(aws.function_s3, operation, overtake))
    assert record(slow, "older", "0A") is Recorded.SUPERSEDED
    assert standing(aws) == ("newer", "newer")


def test_a_json_left_from_an_earlier_table_is_replaced(aws: Aws) -> None:
    aws.put(OUTPUT_KEY, b'{"prediction": {"label": "stale"}}\n')
    assert record(store(aws), "fresh", "0A") is Recorded.WON
    assert standing(aws) == ("fresh", "fresh")


def test_a_request_without_sequencer_replaces_what_it_saw_and_only_that(aws: Aws) -> None:
    s = store(aws)
    assert record(s, "by event", "0A") is Recorded.WON
    assert record(s, "by request", None) is Recorded.WON
    assert aws.item(KEY)["sequencer"] == {"S": "0A"}  # type: ignore[index]
    assert record(s, "older event", "09") is Recorded.SUPERSEDED
    made = result("late request", "late")
    before = s.table.look(made.image_uri)
    assert record(s, "newer event", "0B") is Recorded.WON
    late = s.record(made, OUTPUT, sequencer=None, seen=before, request=Request("late", LATER, AT))
    assert late is Recorded.SUPERSEDED
    assert standing(aws) == ("newer event", "newer event")


def repeated(client: Any, operation: str) -> Any:
    """A client that answers an operation as to a second try, the first of which had its effect."""
    return Interposed(client, operation, lambda arguments: acted(client, operation, arguments))


def acted(client: Any, operation: str, arguments: dict[str, Any]) -> None:
    with suppress(AwsError):  # refused like any other; the call that follows tells
        getattr(client, operation)(**arguments)


@pytest.mark.parametrize("sequencer", ["0B", None])
@pytest.mark.parametrize("before", ["nothing", "an older result"])
def test_an_item_of_our_own_in_our_way_is_a_lost_answer(aws: Aws, sequencer: str | None, before: str) -> None:
    if before == "an older result":
        record(store(aws), "older", "0A")
    made = store(aws, dynamodb=repeated(aws.function_dynamodb, "put_item"))
    assert record(made, "ours", sequencer) is Recorded.WON
    assert standing(aws) == ("ours", "ours")


@pytest.mark.parametrize("before", ["nothing", "an older result"])
def test_a_document_of_our_own_in_our_way_is_a_lost_answer(aws: Aws, before: str) -> None:
    if before == "an older result":
        record(store(aws), "older", "0A")
    puts: list[str] = []

    def again(arguments: dict[str, Any]) -> None:
        puts.append(arguments["Key"])
        acted(aws.function_s3, "put_object", arguments)

    assert record(store(aws, s3=Interposed(aws.function_s3, "put_object", again)), "ours", "0B") is Recorded.WON
    assert puts == [OUTPUT_KEY]
    assert standing(aws) == ("ours", "ours")


def test_a_request_that_dies_before_its_document_is_completed_by_the_redelivered_event(aws: Aws) -> None:
    def die() -> None:
        raise Died

    record(store(aws), "by event", "0A")
    with pytest.raises(Died):
        record(store(aws, s3=Interposed(aws.function_s3, "put_object", once(die))), "by request", None)
    assert standing(aws) == ("by request", "by event")
    assert record(store(aws), "by event again", "0A") is Recorded.WON
    assert standing(aws) == ("by event again", "by event again")


def test_an_item_without_its_document_is_left_alone_while_who_put_it_may_be_running(aws: Aws) -> None:
    def die() -> None:
        raise Died

    with pytest.raises(Died):
        record(store(aws, s3=Interposed(aws.function_s3, "put_object", once(die))), "first", "0A", "r1")
    assert record(store(aws), "second", "0A", "r2", oldest_running=AT) is Recorded.PENDING
    assert aws.keys() == []
    assert record(store(aws), "third", "0A", "r2", oldest_running=LATER) is Recorded.WON


def test_a_repeated_request_id_says_that_the_attempt_before_is_over(aws: Aws) -> None:
    def die() -> None:
        raise Died

    with pytest.raises(Died):
        record(store(aws, s3=Interposed(aws.function_s3, "put_object", once(die))), "first", "0A", "r1")
    made = replace(result("second", "r1"), classified_at=LATER)
    again = store(aws).record(made, OUTPUT, sequencer="0A", seen=None, request=Request("r1", AT, AT))
    assert again is Recorded.WON
    assert standing(aws) == ("second", "second")


def deleted(request_id: str) -> Result:
    return replace(result("x", request_id), top=(), error=Rejection("image.not_found", "deleted"))


def record_deleted(into: Store, sequencer: str) -> Recorded:
    made = deleted(f"deleted-{next(FRESH)}")
    return into.record(made, OUTPUT, sequencer=sequencer, seen=None, request=Request(made.request_id, LATER, AT))


def test_overwritten_then_deleted_leaves_no_older_prediction(aws: Aws) -> None:
    assert record_deleted(store(aws), "0A") is Recorded.WON
    assert aws.keys() == [], "no document is owed for what was never there"
    assert record_deleted(store(aws), "0A") is Recorded.DUPLICATE
    record(store(aws), "there", "0B")
    assert record_deleted(store(aws), "0C") is Recorded.WON
    assert json.loads(aws.read(OUTPUT_KEY))["error"]["code"] == "image.not_found"
    assert aws.item(KEY)["error_code"] == {"S": "image.not_found"}  # type: ignore[index]


def test_a_deletion_that_died_before_its_document_is_completed_by_the_redelivery(aws: Aws) -> None:
    def die() -> None:
        raise Died

    record(store(aws), "there", "0B")
    with pytest.raises(Died):
        record_deleted(store(aws, s3=Interposed(aws.function_s3, "put_object", once(die))), "0C")
    assert record_deleted(store(aws), "0C") is Recorded.WON
    assert json.loads(aws.read(OUTPUT_KEY))["error"]["code"] == "image.not_found"


def test_a_slow_winner_cannot_write_after_the_deletion_that_overtook_it(aws: Aws) -> None:
    overtake = once(lambda: record_deleted(store(aws), "0C"))
    slow = store(aws, s3=Interposed(aws.function_s3, "put_object", overtake))
    assert record(slow, "there", "0B") is Recorded.SUPERSEDED
    assert json.loads(aws.read(OUTPUT_KEY))["error"]["code"] == "image.not_found"


def test_a_line_counts_as_written_only_if_the_object_holds_it(aws: Aws) -> None:
    lines = Output(BUCKET, "predictions/dt=2026-11-20/1-r1.jsonl")

    def put(label: str, request_id: str, key: str, oldest_running: str = LATER) -> tuple[Recorded, Result]:
        made = result(label, request_id, key)
        request = Request(request_id, oldest_running, AT)
        return store(aws).record(made, lines, sequencer="0A", seen=None, request=request), made

    (_, first), (_, second) = put("red", "r1", "incoming/1"), put("red", "r1", "incoming/2")
    store(aws).write_lines(lines, first.to_line())
    assert put("red", "r2", "incoming/1")[0] is Recorded.DUPLICATE
    assert put("red", "r2", "incoming/2", oldest_running=AT)[0] is Recorded.PENDING
    assert put("red", "r2", "incoming/2")[0] is Recorded.WON
    assert second.request_id == "r1"


def test_the_lines_of_a_batch_are_read_once(aws: Aws) -> None:
    lines = Output(BUCKET, "predictions/dt=2026-11-20/1-r1.jsonl")
    reads: list[str] = []
    s = store(aws, s3=Interposed(aws.function_s3, "get_object", lambda arguments: reads.append(arguments["Key"])))
    made = [result("red", "r1", f"incoming/{number}") for number in range(5)]
    for one in made:
        s.record(one, lines, sequencer="0A", seen=None, request=Request("r1", LATER, AT))
    s.write_lines(lines, b"".join(one.to_line() for one in made))
    for one in made:
        assert s.judge(s.table.look(one.image_uri), "0A", lines, Request("r2", LATER, AT)) is Recorded.DUPLICATE
    assert reads == [lines.key]


def claimed(
    aws: Aws, previous: Standing | None, sequencer: str | None = "0B", request_id: str = "claiming"
) -> Standing | None:
    made = replace(result("x", request_id), top=(), error=Rejection("image.too_costly", "never finished"))
    return store(aws).table.claim(made, previous, sequencer)


@pytest.mark.parametrize("before", ["nothing", "an older result"])
def test_a_claim_stands_until_a_result_replaces_it_or_it_is_withdrawn(aws: Aws, before: str) -> None:
    if before == "an older result":
        record(store(aws), "older", "0A")
    previous = store(aws).table.look(result("x", "r").image_uri)
    claim = claimed(aws, previous)
    assert claim is not None
    item = aws.item(KEY)
    assert item is not None
    assert (item["attention"]["S"], item["error_code"]["S"]) == ("rejected", "image.too_costly")
    assert record(store(aws), "older still", "09") is Recorded.SUPERSEDED
    assert claimed(aws, previous, request_id="late") is None, "something else stands there now"
    store(aws).table.withdraw(claim, previous)
    assert aws.item(KEY) == (dict(previous.item) if previous else None)
    claim = claimed(aws, previous)
    assert record(store(aws), "ours", "0B") is Recorded.WON
    assert standing(aws) == ("ours", "ours")
    assert claim is not None
    store(aws).table.withdraw(claim, previous)
    assert standing(aws) == ("ours", "ours"), "what has been replaced cannot be withdrawn"


def test_a_result_of_the_same_moment_is_not_taken_for_its_claim(aws: Aws) -> None:
    assert claimed(aws, None) is not None
    assert record(store(aws), "ours", "0B", "claiming") is Recorded.WON
    assert standing(aws) == ("ours", "ours")


def test_a_claim_of_a_request_without_sequencer_is_replaced_by_its_result(aws: Aws) -> None:
    claim = claimed(aws, None, sequencer=None)
    made = result("ours", "r")
    won = store(aws).record(made, OUTPUT, sequencer=None, seen=claim, request=Request("r", LATER, AT))
    assert won is Recorded.WON
    assert standing(aws) == ("ours", "ours")
