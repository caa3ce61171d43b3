"""What is begun alone, in which order, and what two deliveries of one event make of each other's claims."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from classifier.errors import OutOfTime
from classifier.pool import WorkerPool
from classifier.processor import Outcome, OutcomeStatus
from tests.conftest import Aws
from tests.integration.test_pipeline import model, ref, run, statuses
from tests.support.clients import Interposed, refusal
from tests.support.images import png

__all__ = ["model"]
IMAGE = "incoming/a.png"


class Unexpected(Exception):
    pass


def test_a_delivery_steps_back_before_a_claim_whose_attempt_may_still_be_running(aws: Aws, model: WorkerPool) -> None:
    """Otherwise the second would put the first's claim back after the first has failed and gone."""
    aws.put(IMAGE, png("red"))
    claimed, let_go = Event(), Event()

    def fail_when_told(_: bytes) -> None:
        claimed.set()
        assert let_go.wait(60)
        raise Unexpected

    def fail_after_the_first(_: bytes) -> None:
        let_go.set()
        first.result(60)
        raise Unexpected

    with ThreadPoolExecutor(1) as thread:
        images = [ref("a.png", "0A", "m1", 3)]
        first = thread.submit(run, aws, model, images, request_id="first", classify=fail_when_told)
        assert claimed.wait(60)
        images = [ref("a.png", "0A", "m2", 3)]
        second = run(aws, model, images, request_id="second", classify=fail_after_the_first)
        let_go.set()
        assert statuses(first.result(60)) == ["failed"]
    assert [outcome.status.to_be_retried for outcome in second] == [True]
    # Nobody died, so nothing may say that somebody did.
    assert aws.item(IMAGE) is None


def test_a_claim_of_the_dead_is_taken_over(aws: Aws, model: WorkerPool) -> None:
    aws.put(IMAGE, png("red"))

    class Died(BaseException):
        pass

    def die(_: bytes) -> None:
        raise Died

    with pytest.raises(Died):
        run(aws, model, [ref("a.png", receive_count=3)], request_id="first", classify=die)
    assert "unfinished" in (aws.item(IMAGE) or {})
    outcomes = run(aws, model, [ref("a.png", receive_count=4)], request_id="second", after=200)
    assert statuses(outcomes) == ["classified"]
    assert "unfinished" not in (aws.item(IMAGE) or {})


def test_who_has_lost_two_tries_is_done_before_newcomers_that_may_end_the_process(aws: Aws, model: WorkerPool) -> None:
    aws.put(IMAGE, png("red"))
    aws.put("incoming/poison.png", png("blue"))
    settled: list[list[str]] = []

    class Died(BaseException):
        pass

    def die_of_the_newcomer(data: bytes) -> None:
        if data == png("blue"):
            raise Died

    with pytest.raises(Died):
        run(
            aws,
            model,
            [ref("poison.png", "0A", "m1", 1), ref("a.png", "0A", "m2", 3)],
            classify=die_of_the_newcomer,
            settle=lambda outcomes: settled.append(statuses(list(outcomes))),
        )
    assert (aws.item(IMAGE) or {})["status"] == {"S": "classified"}
    assert settled[-1] == ["classified"]


class Died(BaseException):
    """The process ends here."""


def poisonous(data: bytes) -> None:
    if data == b"poison":
        raise Died


def test_an_image_that_ends_the_process_takes_no_other_with_it(aws: Aws, model: WorkerPool) -> None:
    """Five receives of one batch, as SQS gives them, with messages deleted as the function asks."""
    names = ["a.png", "poison.png", "b.png", "c.png"]
    for name in names:
        aws.put(f"incoming/{name}", b"poison" if name == "poison.png" else png("red"))
    queue = list(names)
    lives: list[bool] = []
    for receive in range(1, 6):
        images = [ref(name, message_id=name, receive_count=receive) for name in queue]
        settled: list[str] = []

        def settle(outcomes: list[Outcome], settled: list[str] = settled) -> None:
            settled += [str(o.image.message_id) for o in outcomes if o.status is not OutcomeStatus.FAILED]

        try:
            run(aws, model, images, classify=poisonous, settle=settle, request_id=f"r{receive}", after=1000.0 * receive)  # type: ignore[arg-type]
            lives.append(True)
        except Died:
            lives.append(False)
        queue = [name for name in queue if name not in settled]
    assert queue == ["poison.png"], "the others are done and deleted"
    assert lives == [False] * 5
    for name in ("a.png", "b.png", "c.png"):
        assert aws.item(f"incoming/{name}")["status"] == {"S": "classified"}  # type: ignore[index]
    item = aws.item("incoming/poison.png")
    assert item is not None
    assert (item["status"]["S"], item["error_code"]["S"]) == ("rejected", "image.too_costly")
    assert "started 5 times" in item["error_message"]["S"]
    assert item["attention"] == {"S": "rejected"}


def test_those_whose_tries_another_has_spent_get_new_ones(aws: Aws, model: WorkerPool) -> None:
    for name in "abc":
        aws.put(f"incoming/{name}.png", png("red"))
    aws.put("incoming/poison.png", b"poison")
    with pytest.raises(Died):
        run(aws, model, [ref("poison.png", receive_count=3)], classify=poisonous)
    told: list[list[str]] = []
    images = [ref(f"{name}.png", message_id=name, receive_count=4) for name in ("poison", "a", "b", "c")]
    with pytest.raises(Died):
        run(
            aws,
            model,
            images,
            classify=poisonous,
            settle=lambda outcomes: told.append(statuses(list(outcomes))),
            request_id="r2",
            after=1000.0,
        )
    assert told == [["deferred", "deferred"], ["classified", "deferred", "deferred"]]


def test_those_that_fail_by_themselves_get_no_new_tries(aws: Aws, model: WorkerPool) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise refusal("AccessDenied", 403)

    images = [ref(f"{name}.png", message_id=name, receive_count=5) for name in "abc"]
    outcomes = run(aws, model, images, s3=Interposed(aws.function_s3, "get_object", fail))
    assert statuses(outcomes) == ["failed"] * 3


def test_one_that_ended_a_process_before_runs_last_and_keeps_its_tries(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", b"poison")
    aws.put("incoming/b.png", png("red"))
    with pytest.raises(Died):
        run(aws, model, [ref("a.png", receive_count=3)], classify=poisonous)
    begun: list[bytes] = []
    left = [100.0]

    def late(data: bytes) -> None:
        begun.append(data)
        left[0] = 1.0

    images = [ref("a.png", receive_count=4), ref("b.png", receive_count=4)]
    outcomes = run(aws, model, images, classify=late, remaining=lambda: left[0], request_id="r2")
    assert statuses(outcomes) == ["failed", "classified"]
    assert begun == [png("red")]
    assert isinstance(outcomes[0].error, OutOfTime)


def test_a_claim_is_no_result_to_a_redriven_message(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", b"poison")
    with pytest.raises(Died):
        run(aws, model, [ref("a.png", receive_count=5)], classify=poisonous)
    aws.put("incoming/a.png", png("red"))
    outcomes = run(aws, model, [ref("a.png")], request_id="redriven")
    assert statuses(outcomes) == ["classified"]
    item = aws.item("incoming/a.png")
    assert item is not None
    assert "unfinished" not in item
    assert item["output_uri"]["S"].endswith("predictions/a.png.json")


def test_a_clean_failure_withdraws_the_claim(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    run(aws, model, [ref("a.png", "0A")])
    before = aws.item("incoming/a.png")

    def fail(_: dict[str, Any]) -> None:
        raise refusal("InternalError", 500)

    broken = Interposed(aws.function_s3, "get_object", fail)
    assert statuses(run(aws, model, [ref("a.png", "0B", receive_count=3)], s3=broken)) == ["failed"]
    assert aws.item("incoming/a.png") == before


def test_json_lines_of_images_that_run_alone_are_written_before_the_next_is_begun(aws: Aws, model: WorkerPool) -> None:
    for name in "ab":
        aws.put(f"incoming/{name}.png", png("red"))
    aws.put("incoming/c.png", b"poison")
    images = [ref(f"{name}.png", message_id=name, receive_count=3) for name in "abc"]
    with pytest.raises(Died):
        run(aws, model, images, classify=poisonous, OUTPUT_MODE="jsonl")
    objects = aws.keys()
    written = [json.loads(aws.read(key))["image"]["key"] for key in objects]
    assert sorted(written) == ["incoming/a.png", "incoming/b.png"]
