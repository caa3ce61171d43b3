"""Batches through the pipeline: neighbours, deadline, several events of one image, both output modes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from classifier.admission import Deadline
from classifier.errors import ConfigError, StorageThrottled
from classifier.events import ImageRef
from classifier.model import Model
from classifier.pipeline import IN_FLIGHT, Pipeline, Settle
from classifier.processor import Outcome, Status
from classifier.settings import Settings
from classifier.store import Store
from tests.conftest import BUCKET, TABLE, Aws
from tests.support.bundles import manifest_for, model_bytes
from tests.support.classifiers import InProcess
from tests.support.clients import Interposed, client_error
from tests.support.images import encoded, picture, png

ENVIRONMENT = {"MODEL_URI": f"s3://{BUCKET}/models/", "TABLE_NAME": TABLE}


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(model_bytes("uint8_quantized"), manifest_for())


def run(
    aws: Aws,
    model: Model,
    images: list[ImageRef],
    *,
    s3: Any = None,
    dynamodb: Any = None,
    remaining: Callable[[], float] = lambda: 100.0,
    request_id: str = "r",
    after: float = 0.0,
    classify: Callable[[bytes], None] = lambda _: None,
    settle: Settle = lambda _: None,
    **environment: str,
) -> list[Outcome]:
    """One invocation, ``after`` seconds from now; ``classify`` runs before each image is classified."""
    settings = Settings.from_environment({**ENVIRONMENT, **environment})
    pipeline = Pipeline(
        Store(s3 or aws.s3, dynamodb or aws.dynamodb, TABLE),
        settings,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=after),
    )
    classifier = InProcess(model, settings.limits, before=classify)
    return pipeline.run(images, classifier, request_id, Deadline(remaining), settle)


def ref(name: str, sequencer: str | None = "0A", message_id: str | None = None, receive_count: int = 1) -> ImageRef:
    return ImageRef(BUCKET, f"incoming/{name}", sequencer=sequencer, message_id=message_id, receive_count=receive_count)


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


def test_a_bad_image_never_fails_its_neighbours(aws: Aws, model: Model) -> None:
    aws.put("incoming/red.png", png("red"))
    aws.put("incoming/broken.png", png("red")[:100])
    aws.put("incoming/empty.png", b"")
    aws.put("incoming/notes.txt", b"hello")
    aws.put("incoming/big.png", encoded(picture("red", (300, 300))))
    aws.put("incoming/wide.png", encoded(picture("blue", (101, 100))))
    aws.put("incoming/deep/blue.png", png("blue"))
    names = ["red.png", "broken.png", "empty.png", "notes.txt", "big.png", "wide.png", "gone.png", "deep/blue.png"]
    outcomes = run(
        aws, model, [ref(name) for name in names], MAX_IMAGE_PIXELS="10000", MAX_IMAGE_BYTES="60000", TOP_K="2"
    )
    assert statuses(outcomes) == ["classified", *["rejected"] * 6, "classified"]
    codes = [outcome.result.error.code for outcome in outcomes if outcome.result and outcome.result.error]
    assert codes == [
        "image.corrupt",
        "image.empty",
        "image.unsupported_format",
        "image.too_large",
        "image.too_many_pixels",
        "image.not_found",
    ]
    assert len(aws.keys()) == 7, "no JSON is owed for an image that is gone"
    assert aws.item("incoming/gone.png")["error_code"] == {"S": "image.not_found"}  # type: ignore[index]
    document = json.loads(aws.read("predictions/deep/blue.png.json"))
    assert document["prediction"]["top"][0]["label"] == "blue"
    assert len(document["prediction"]["top"]) == 2
    assert set(document["timing_ms"]) == {"fetch", "decode", "predict"}
    large = json.loads(aws.read("predictions/big.png.json"))
    assert large["image"]["size_bytes"] > 60000


def test_a_transient_failure_is_of_one_image_and_leaves_no_result(aws: Aws, model: Model) -> None:
    for name in ("a.png", "b.png", "c.png"):
        aws.put(f"incoming/{name}", png("green"))

    def throttle(arguments: dict[str, Any]) -> None:
        if arguments["Key"] == "incoming/b.png":
            raise client_error("SlowDown", 503)

    flaky = Interposed(aws.s3, "get_object", throttle)
    outcomes = run(aws, model, [ref(name) for name in ("a.png", "b.png", "c.png")], s3=flaky)
    assert statuses(outcomes) == ["classified", "failed", "classified"]
    assert isinstance(outcomes[1].error, StorageThrottled)
    assert aws.item("incoming/b.png") is None
    assert aws.keys() == ["predictions/a.png.json", "predictions/c.png.json"]


def test_nothing_is_taken_after_the_deadline(aws: Aws, model: Model) -> None:
    left = [100.0]

    def late(_: bytes) -> None:
        left[0] = 4.0

    for index in range(20):
        aws.put(f"incoming/{index}.png", png("red"))
    outcomes = run(aws, model, [ref(f"{index}.png") for index in range(20)], remaining=lambda: left[0], classify=late)
    done = [outcome for outcome in outcomes if outcome.status is Status.CLASSIFIED]
    assert 1 <= len(done) <= IN_FLIGHT
    assert {outcome.status for outcome in outcomes} == {Status.CLASSIFIED, Status.DEFERRED}
    assert len(aws.keys()) == len(done)


def test_several_events_of_one_image_in_a_batch_are_one_piece_of_work(aws: Aws, model: Model) -> None:
    aws.put("incoming/a.png", png("red"))
    reads: list[str] = []
    counting = Interposed(aws.s3, "get_object", lambda arguments: reads.append(arguments["Key"]))
    images = [ref("a.png", "0A", "m0"), ref("a.png", "0C", "m1"), ref("a.png", "0C", "m2"), ref("a.png", "0B", "m3")]
    outcomes = run(aws, model, images, s3=counting)
    assert statuses(outcomes) == ["superseded", "classified", "duplicate", "superseded"]
    assert [outcome.image for outcome in outcomes] == images
    assert reads == ["incoming/a.png"]
    assert aws.item("incoming/a.png")["sequencer"] == {"S": "0C"}  # type: ignore[index]


def test_events_of_one_image_fail_together(aws: Aws, model: Model) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise client_error("InternalError", 500)

    broken = Interposed(aws.s3, "get_object", fail)
    outcomes = run(aws, model, [ref("a.png", "0A", "m0"), ref("a.png", "0B", "m1")], s3=broken)
    assert statuses(outcomes) == ["failed", "failed"]


def test_review_threshold_of_the_environment_comes_before_the_manifests(aws: Aws, model: Model) -> None:
    aws.put("incoming/a.png", png("red"))
    (plain,) = run(aws, model, [ref("a.png", "0A")])
    (strict,) = run(aws, model, [ref("a.png", "0B")], REVIEW_THRESHOLD="0.999")
    assert plain.result is not None
    assert strict.result is not None
    assert (plain.result.needs_review, strict.result.needs_review) == (False, True)
    assert aws.item("incoming/a.png")["attention"] == {"S": "review"}  # type: ignore[index]


def test_another_output_bucket(aws: Aws, model: Model) -> None:
    aws.s3.create_bucket(Bucket="results")
    aws.put("incoming/a.png", png("red"))
    run(aws, model, [ref("a.png")], OUTPUT_BUCKET="results", OUTPUT_PREFIX="")
    assert aws.keys("", "results") == ["a.png.json"]
    assert aws.item("incoming/a.png")["output_uri"] == {"S": "s3://results/a.png.json"}  # type: ignore[index]


def test_output_inside_the_input_is_fatal_and_writes_nothing(aws: Aws, model: Model) -> None:
    aws.put("incoming/a.png", png("red"))
    with pytest.raises(ConfigError, match="lie one inside the other"):
        run(aws, model, [ref("a.png")], OUTPUT_BUCKET=BUCKET, OUTPUT_PREFIX="incoming/out/")
    assert aws.item("incoming/a.png") is None
    assert aws.keys("incoming/") == ["incoming/a.png"]


def test_json_lines_hold_a_batch_in_one_object(aws: Aws, model: Model) -> None:
    for name in ("a.png", "b.png"):
        aws.put(f"incoming/{name}", png("green"))
    aws.put("incoming/c.txt", b"text")
    images = [ref("a.png"), ref("b.png"), ref("c.txt"), ref("gone.png")]
    outcomes = run(aws, model, images, OUTPUT_MODE="jsonl")
    assert statuses(outcomes) == ["classified", "classified", "rejected", "rejected"]
    (key,) = aws.keys()
    assert key.startswith("predictions/dt=")
    lines = [json.loads(line) for line in aws.read(key).splitlines()]
    assert {line["image"]["key"] for line in lines} == {"incoming/a.png", "incoming/b.png", "incoming/c.txt"}
    assert aws.item("incoming/a.png")["output_uri"] == {"S": f"s3://{BUCKET}/{key}"}  # type: ignore[index]
    again = run(aws, model, images, OUTPUT_MODE="jsonl", request_id="again")
    assert statuses(again) == ["duplicate"] * 4
    assert aws.keys() == [key]


def test_json_lines_that_could_not_be_written_are_written_by_the_redelivery(aws: Aws, model: Model) -> None:
    aws.put("incoming/a.png", png("green"))

    def fail(_: dict[str, Any]) -> None:
        raise client_error("InternalError", 500)

    outcomes = run(aws, model, [ref("a.png")], s3=Interposed(aws.s3, "put_object", fail), OUTPUT_MODE="jsonl")
    assert statuses(outcomes) == ["failed"]
    early = run(aws, model, [ref("a.png")], OUTPUT_MODE="jsonl", request_id="early")
    assert statuses(early) == ["deferred"], "the first one might still be about to write it"
    assert early[0].retry_in == 105
    assert aws.keys() == []
    again = run(aws, model, [ref("a.png")], OUTPUT_MODE="jsonl", request_id="again", after=110)
    assert statuses(again) == ["classified"]
    assert len(aws.keys()) == 1
