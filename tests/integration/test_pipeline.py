"""Batches through the pipeline: neighbours, deadline, several events of one image, both output modes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from classifier.admission import Deadline
from classifier.errors import ConfigError, ModelIncompatibleError, OutOfTime, StorageThrottled
from classifier.events import ImageRef
from classifier.imaging import Limits
from classifier.pipeline import IN_FLIGHT, Pipeline, Settle
from classifier.pool import WorkerPool
from classifier.processor import Outcome, OutcomeStatus
from classifier.settings import Settings
from classifier.store import Store
from tests.conftest import BUCKET, TABLE, Aws
from tests.support.classifiers import Preceded
from tests.support.clients import Interposed, Recorder, once, refusal
from tests.support.images import encoded, picture, png
from tests.support.pools import start_pool

ENVIRONMENT = {"MODEL_URI": f"s3://{BUCKET}/models/", "TABLE_NAME": TABLE}


@pytest.fixture(scope="module")
def model() -> WorkerPool:
    return start_pool()


def run(
    aws: Aws,
    model: WorkerPool,
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
        Store(s3 or aws.function_s3, dynamodb or aws.function_dynamodb, TABLE),
        settings,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=after),
    )
    classifier = Preceded(model, classify)
    return pipeline.run(images, classifier, request_id, Deadline(remaining), settle)


def ref(name: str, sequencer: str | None = "0A", message_id: str | None = None, receive_count: int = 1) -> ImageRef:
    return ImageRef(BUCKET, f"incoming/{name}", sequencer=sequencer, message_id=message_id, receive_count=receive_count)


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


def test_a_bad_image_never_fails_its_neighbours(aws: Aws) -> None:
    model = start_pool(limits=Limits(max_pixels=10_000))
    aws.put("incoming/red.png", png("red"))
    aws.put("incoming/broken.png", png("red")[:100])
    aws.put("incoming/empty.png", b"")
    aws.put("incoming/notes.txt", b"hello")
    aws.put("incoming/big.png", encoded(picture("red", (300, 300))))
    aws.put("incoming/wide.png", encoded(picture("blue", (101, 100))))
    aws.put("incoming/deep/blue.png", png("blue"))
    names = ["red.png", "broken.png", "empty.png", "notes.txt", "big.png", "wide.png", "gone.png", "deep/blue.png"]
    outcomes = run(aws, model, [ref(name) for name in names], MAX_IMAGE_BYTES="60000", TOP_K="2")
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


def test_a_transient_failure_is_of_one_image_and_leaves_no_result(aws: Aws, model: WorkerPool) -> None:
    for name in ("a.png", "b.png", "c.png"):
        aws.put(f"incoming/{name}", png("green"))

    def throttle(arguments: dict[str, Any]) -> None:
        if arguments["Key"] == "incoming/b.png":
            raise refusal("SlowDown", 503)

    flaky = Interposed(aws.function_s3, "get_object", throttle)
    outcomes = run(aws, model, [ref(name) for name in ("a.png", "b.png", "c.png")], s3=flaky)
    assert statuses(outcomes) == ["classified", "failed", "classified"]
    assert isinstance(outcomes[1].error, StorageThrottled)
    assert aws.item("incoming/b.png") is None
    assert aws.keys() == ["predictions/a.png.json", "predictions/c.png.json"]


def test_nothing_is_taken_after_the_deadline(aws: Aws, model: WorkerPool) -> None:
    left = [100.0]

    def late(_: bytes) -> None:
        left[0] = 4.0

    for index in range(20):
        aws.put(f"incoming/{index}.png", png("red"))
    outcomes = run(aws, model, [ref(f"{index}.png") for index in range(20)], remaining=lambda: left[0], classify=late)
    done = [outcome for outcome in outcomes if outcome.status is OutcomeStatus.CLASSIFIED]
    assert 1 <= len(done) <= IN_FLIGHT
    # The first may be overtaken by the others' lateness: it has had all the time there is, and fails.
    others = {outcome.status for outcome in outcomes if outcome not in done}
    assert OutcomeStatus.DEFERRED in others <= {OutcomeStatus.DEFERRED, OutcomeStatus.FAILED}
    assert len(aws.keys()) == len(done)


def test_several_events_of_one_image_in_a_batch_are_one_piece_of_work(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    reads: list[str] = []
    counting = Interposed(aws.function_s3, "get_object", lambda arguments: reads.append(arguments["Key"]))
    images = [ref("a.png", "0A", "m0"), ref("a.png", "0C", "m1"), ref("a.png", "0C", "m2"), ref("a.png", "0B", "m3")]
    outcomes = run(aws, model, images, s3=counting)
    assert statuses(outcomes) == ["superseded", "classified", "duplicate", "superseded"]
    assert [outcome.image for outcome in outcomes] == images
    assert reads == ["incoming/a.png"]
    assert aws.item("incoming/a.png")["sequencer"] == {"S": "0C"}  # type: ignore[index]


def test_events_of_one_image_fail_together(aws: Aws, model: WorkerPool) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise refusal("InternalError", 500)

    broken = Interposed(aws.function_s3, "get_object", fail)
    outcomes = run(aws, model, [ref("a.png", "0A", "m0"), ref("a.png", "0B", "m1")], s3=broken)
    assert statuses(outcomes) == ["failed", "failed"]


def test_review_threshold_of_the_environment_comes_before_the_manifests(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    (plain,) = run(aws, model, [ref("a.png", "0A")])
    (strict,) = run(aws, model, [ref("a.png", "0B")], REVIEW_THRESHOLD="0.999")
    assert plain.result is not None
    assert strict.result is not None
    assert (plain.result.needs_review, strict.result.needs_review) == (False, True)
    assert aws.item("incoming/a.png")["attention"] == {"S": "review"}  # type: ignore[index]


def test_another_output_bucket(aws: Aws, model: WorkerPool) -> None:
    aws.s3.create_bucket(Bucket="results")
    aws.put("incoming/a.png", png("red"))
    run(aws, model, [ref("a.png")], OUTPUT_BUCKET="results", OUTPUT_PREFIX="")
    assert aws.keys("", "results") == ["a.png.json"]
    assert aws.item("incoming/a.png")["output_uri"] == {"S": "s3://results/a.png.json"}  # type: ignore[index]


def test_output_inside_the_input_is_fatal_and_writes_nothing(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    with pytest.raises(ConfigError, match="overlap"):
        run(aws, model, [ref("a.png")], OUTPUT_BUCKET=BUCKET, OUTPUT_PREFIX="incoming/out/")
    assert aws.item("incoming/a.png") is None
    assert aws.keys("incoming/") == ["incoming/a.png"]


def test_json_lines_hold_a_batch_in_one_object(aws: Aws, model: WorkerPool) -> None:
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


def test_json_lines_that_could_not_be_written_are_written_by_the_redelivery(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("green"))

    def fail(_: dict[str, Any]) -> None:
        raise refusal("InternalError", 500)

    outcomes = run(aws, model, [ref("a.png")], s3=Interposed(aws.function_s3, "put_object", fail), OUTPUT_MODE="jsonl")
    assert statuses(outcomes) == ["failed"]
    early = run(aws, model, [ref("a.png")], OUTPUT_MODE="jsonl", request_id="early")
    assert statuses(early) == ["deferred"], "the first one might still be about to write it"
    assert early[0].retry_in == 105
    assert aws.keys() == []
    again = run(aws, model, [ref("a.png")], OUTPUT_MODE="jsonl", request_id="again", after=110)
    assert statuses(again) == ["classified"]
    assert len(aws.keys()) == 1


def test_the_ordinary_path_is_one_get_one_item_one_put(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    calls: list[str] = []
    run(
        aws, model, [ref("a.png")], s3=Recorder(aws.function_s3, calls), dynamodb=Recorder(aws.function_dynamodb, calls)
    )
    assert calls == ["get_object", "put_item", "put_object"]


def test_what_a_redelivered_batch_has_done_is_not_fetched_again(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    aws.put("incoming/b.png", png("green"))
    run(aws, model, [ref("a.png", "0B")])
    run(aws, model, [ref("old.png", "0B")])
    calls: list[str] = []
    images = [ref("a.png", "0B", "m0", 2), ref("b.png", "0B", "m1", 2), ref("old.png", "0A", "m2", 5)]
    outcomes = run(
        aws,
        model,
        images,
        request_id="r2",
        s3=Recorder(aws.function_s3, calls),
        dynamodb=Recorder(aws.function_dynamodb, calls),
    )
    assert statuses(outcomes) == ["duplicate", "classified", "superseded"]
    assert calls.count("get_object") == 1


def test_what_nobody_expected_fails_its_image_alone(aws: Aws, model: WorkerPool) -> None:
    for name in ("a.png", "b.png"):
        aws.put(f"incoming/{name}", png("red"))
    aws.put("incoming/odd.png", b"odd")

    def fail(data: bytes) -> None:
        if data == b"odd":
            raise KeyError("nobody expected this")

    outcomes = run(aws, model, [ref("a.png"), ref("odd.png"), ref("b.png")], classify=fail)
    assert statuses(outcomes) == ["classified", "failed", "classified"]
    assert outcomes[1].error is not None
    assert outcomes[1].error.code == "internal"
    assert isinstance(outcomes[1].error.__cause__, KeyError)


def test_lines_are_written_although_the_batch_fails_as_a_whole(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    aws.put("incoming/b.png", b"b")

    def refuse(data: bytes) -> None:
        if data == b"b":
            raise ModelIncompatibleError("no")

    with pytest.raises(ModelIncompatibleError):
        run(aws, model, [ref("a.png"), ref("b.png")], classify=refuse, OUTPUT_MODE="jsonl")
    assert len(aws.keys()) == 1


@pytest.mark.parametrize(("number", "status"), [(0, "failed"), (1, "deferred")])
def test_running_out_of_time_is_a_failure_only_of_the_first_image(
    aws: Aws, model: WorkerPool, number: int, status: str
) -> None:
    contents = [png("red"), png("green")]
    for name, content in zip("ab", contents, strict=True):
        aws.put(f"incoming/{name}.png", content)

    def late(data: bytes) -> None:
        if data == contents[number]:
            raise OutOfTime("late")

    images = [ref("a.png", receive_count=3), ref("b.png", receive_count=3)]
    assert statuses(run(aws, model, images, classify=late))[number] == status
    assert aws.item(images[number].key) is None, "its claim is withdrawn"


def test_concurrent_duplicates_leave_one_line(aws: Aws, model: WorkerPool) -> None:
    aws.put("incoming/a.png", png("red"))
    others: list[Outcome] = []
    meanwhile = once(lambda: others.extend(run(aws, model, [ref("a.png")], OUTPUT_MODE="jsonl", request_id="other")))
    slow = Interposed(aws.function_s3, "put_object", meanwhile)
    outcomes = run(aws, model, [ref("a.png")], s3=slow, OUTPUT_MODE="jsonl")
    assert (statuses(outcomes), statuses(others)) == (["classified"], ["deferred"])
    assert len(aws.keys()) == 1


def test_a_line_whose_item_was_put_without_an_answer_is_written_by_the_redelivery(aws: Aws, model: WorkerPool) -> None:
    for name in "ab":
        aws.put(f"incoming/{name}.png", png("red"))

    def lose(arguments: dict[str, Any]) -> None:
        if "a.png" in arguments["Item"]["image_uri"]["S"]:
            aws.function_dynamodb.put_item(**arguments)
            raise refusal("InternalServerError", 500)

    images = [ref("a.png"), ref("b.png")]
    first = run(aws, model, images, dynamodb=Interposed(aws.function_dynamodb, "put_item", lose), OUTPUT_MODE="jsonl")
    assert statuses(first) == ["failed", "classified"]
    again = [replace(image, receive_count=2) for image in images]
    outcomes = run(aws, model, again, request_id="r2", after=1000, OUTPUT_MODE="jsonl")
    assert statuses(outcomes) == ["classified", "duplicate"]
    objects = aws.keys()
    lines = [json.loads(line)["image"]["key"] for key in objects for line in aws.read(key).splitlines()]
    assert sorted(lines) == ["incoming/a.png", "incoming/b.png"]


@pytest.mark.parametrize("length", [1016, 1017, 1024])
def test_the_longest_keys_have_documents(aws: Aws, model: WorkerPool, length: int) -> None:
    name = "a" * (length - len("incoming/.png")) + ".png"
    aws.put(f"incoming/{name}", png("red"))
    assert statuses(run(aws, model, [ref(name)])) == ["classified"]
    (key,) = aws.keys()
    assert aws.item(f"incoming/{name}")["output_uri"] == {"S": f"s3://{BUCKET}/{key}"}  # type: ignore[index]
