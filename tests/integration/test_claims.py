"""What is begun alone, in which order, and what two deliveries of one event make of each other's claims."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from classifier.pool import WorkerPool
from tests.conftest import Aws
from tests.integration.test_pipeline import model, ref, run, statuses
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
