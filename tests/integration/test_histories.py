"""Any history of puts, deletions, events, duplicates, requests, overtaking, deaths and lost answers ends well.

The table's item and the document are of one attempt, and that has seen the newest content. Faults strike at any call of
any client: the process dies before or after its effect; the answer is lost, and the call is made again or given up;
or another delivery runs from beginning to end in between.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifier.admission import Deadline
from classifier.aws_calls import NoAnswer
from classifier.events import ImageRef
from classifier.model import Model
from classifier.pipeline import Pipeline
from classifier.settings import Settings
from classifier.store import Store
from tests.conftest import BUCKET, TABLE, Aws
from tests.support.bundles import manifest_for, model_bytes
from tests.support.classifiers import InProcess, InTurn
from tests.support.images import png

pytestmark = pytest.mark.slow

COLOURS = ("red", "green", "blue")
IMAGES = [png(colour) for colour in COLOURS]
FAULTS = ("die before", "die after", "give up", "repeat", "overtake")
FRESH = itertools.count()
# Longer than an invocation may be: what was begun before is over.
BETWEEN_DELIVERIES = timedelta(seconds=1000)


class Died(BaseException):
    """The process ends here: nothing catches it."""


class Faulty:
    """A client whose n-th call, counted over all clients that share ``calls``, goes wrong."""

    def __init__(self, client: Any, calls: Any, at: int, fault: str, overtake: Callable[[], None]) -> None:
        self._client, self._calls, self._at, self._fault, self._overtake = client, calls, at, fault, overtake

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            if next(self._calls) != self._at:
                return method(**arguments)
            if self._fault == "overtake":
                self._overtake()
                return method(**arguments)
            if self._fault == "die before":
                raise Died
            answer = method(**arguments)
            if answer and "Body" in answer:
                answer["Body"].close()
            if self._fault == "die after":
                raise Died
            if self._fault == "give up":
                raise NoAnswer("S3 did not answer in time")
            return method(**arguments)

        return call


class History:
    """One image, from its first put to a drained queue."""

    def __init__(self, aws: Aws, model: Model, mode: str) -> None:
        self._aws = aws
        self._model = model
        self._name = f"{next(FRESH)}.png"
        self._settings = Settings.from_environment(
            {
                "MODEL_URI": f"s3://{BUCKET}/models/",
                "TABLE_NAME": TABLE,
                "OUTPUT_MODE": mode,
                "OUTPUT_PREFIX": self.prefix,
            }
        )
        self._now = datetime(2026, 11, 20, 12, tzinfo=UTC)
        self._invocations = itertools.count()
        self._puts = 0
        self._exists = False
        self.queue: list[ImageRef] = []

    @property
    def prefix(self) -> str:
        return f"predictions/{self._name}/"

    @property
    def _key(self) -> str:
        return f"incoming/{self._name}"

    def put(self) -> None:
        self._puts += 1
        self._aws.put(self._key, IMAGES[self._puts % len(IMAGES)])
        self._exists = True
        self.queue.append(ImageRef(BUCKET, self._key, sequencer=f"{self._puts:04X}"))

    def delete(self) -> None:
        self._aws.s3.delete_object(Bucket=BUCKET, Key=self._key)
        self._exists = False

    def duplicate(self) -> None:
        self.queue += self.queue[-1:]

    def request(self) -> None:
        self.queue.append(ImageRef(BUCKET, self._key))

    def deliver(self, fault: str | None = None, at: int = 0, depth: int = 0) -> bool:
        """The first message of the queue; what fails or dies is put back at its end, as received once more.

        Returns:
            Whether the fault had a call to strike.
        """
        if not self.queue:
            return False
        image = self.queue.pop(0)
        calls = itertools.count()

        def overtake() -> None:
            if depth < 2:
                self.deliver(depth=depth + 1)

        def faulty(client: object) -> Any:
            return Faulty(client, calls, at if fault else -1, fault or "", overtake)

        s3, dynamodb = faulty(self._aws.function_s3), faulty(self._aws.function_dynamodb)
        try:
            pipeline = Pipeline(Store(s3, dynamodb, TABLE), self._settings, clock=self._tick, executor=InTurn())
            classifier = InProcess(self._model, self._settings.limits)
            request_id = f"{self._name}-{next(self._invocations)}"
            (outcome,) = pipeline.run([image], classifier, request_id, Deadline(lambda: 100.0))
            back = outcome.status.to_be_retried
        except Died:
            back = True
        if back:
            self.queue.append(
                ImageRef(BUCKET, self._key, sequencer=image.sequencer, receive_count=image.receive_count + 1)
            )
        return next(calls) > at

    def drain(self) -> None:
        for _ in range(50):
            if not self.queue:
                return
            self._now += BETWEEN_DELIVERIES
            self.deliver()
        raise AssertionError(f"{self.queue} never ends")

    def _tick(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    def check(self, mode: str) -> None:
        item = self._aws.item(self._key)
        assert (item is None) == (self._puts == 0)
        documents = [
            json.loads(line) for key in self._aws.keys(self.prefix) for line in self._aws.read(key).splitlines()
        ]
        if item is None:
            return
        assert "unfinished" not in item
        attempt = (item["request_id"]["S"], item["classified_at"]["S"])
        of_item = [d for d in documents if (d["request_id"], d["classified_at"]) == attempt]
        if "output_uri" in item:
            assert len(of_item) == 1, "the item's document is there"
            assert item["output_uri"]["S"].startswith(f"s3://{BUCKET}/{self.prefix}")
        if mode == "image":
            assert documents == of_item, "no other attempt's document is left"
        else:
            attempts = Counter((d["request_id"], d["classified_at"]) for d in documents)
            assert max(attempts.values(), default=1) == 1
        if self._exists:
            newest = COLOURS[self._puts % len(IMAGES)]
            assert item["label"]["S"] == newest
            assert of_item[0]["prediction"]["label"] == newest


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(model_bytes("uint8_quantized"), manifest_for())


STEPS = st.one_of(
    st.just(("put",)),
    st.just(("put",)),
    st.just(("delete",)),
    st.just(("duplicate",)),
    st.just(("request",)),
    st.just(("wait",)),
    st.tuples(st.just("deliver"), st.sampled_from(FAULTS), st.integers(0, 7)),
    st.tuples(st.just("deliver"), st.sampled_from(FAULTS), st.integers(0, 7)),
    st.tuples(st.just("deliver"), st.sampled_from(FAULTS), st.integers(0, 7)),
)


@pytest.mark.parametrize("mode", ["image", "jsonl"])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=12))
def test_any_history_ends_with_item_and_document_of_the_newest_content(
    aws: Aws, model: Model, mode: str, steps: list[tuple[Any, ...]]
) -> None:
    history = History(aws, model, mode)
    history.put()
    for step in steps:
        match step:
            case ("deliver", fault, at):
                history.deliver(fault, at)
            case ("wait",):
                history._now += BETWEEN_DELIVERIES
            case (name,):
                getattr(history, name)()
    history.drain()
    history.check(mode)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *itertools.product(["image"], ["first", "overwritten", "deleted", "request", "claimed"]),
        *itertools.product(["jsonl"], ["first", "claimed"]),
    ],
)
def test_a_fault_at_every_call_of_every_kind_of_delivery(
    aws: Aws, model: Model, mode: str, fault: str, kind: str
) -> None:
    for at in range(20):
        history = History(aws, model, mode)
        history.put()
        if kind in ("overwritten", "deleted"):
            history.deliver()
            history.put()
            if kind == "deleted":
                history.delete()
        if kind == "request":
            history.deliver()
            history.request()
        if kind == "claimed":
            for _ in range(2):
                history.deliver("die before", 1)
        if fault == "overtake":
            history.duplicate()
        struck = history.deliver(fault, at)
        history.drain()
        history.check(mode)
        if not struck:
            return
    raise AssertionError("there are more calls than were tried")
