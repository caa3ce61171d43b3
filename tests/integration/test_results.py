"""Reading results: every question by the right index, in every format, from the table that the template describes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bucketlens.cli.main import app
from bucketlens.local.stack import LocalStack
from bucketlens.polling import PolledImages
from bucketlens.results import COLUMNS, Query, document, find, get, plain, write_csv, write_json
from bucketlens.stack import Stack
from classifier.errors import UserError
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result, ReviewReason
from tests.conftest import ROOT

MODEL = ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64)
CORRUPT = Rejection("image.corrupt", "JPEG cannot be decoded")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("log")
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, log_folder=folder) as running:
        for index, (label, confidence) in enumerate([("cat", 0.95), ("cat", 0.55), ("cat", 0.4), ("dog, hot", 0.3)]):
            reason = ReviewReason.CONFIDENCE if confidence < 0.5 else None
            put(running, f"{index}.jpg", top=(Prediction(label, confidence),), review_reason=reason)
        put(running, "bad.jpg", error=CORRUPT)
        gone = result(running, "gone.jpg", error=Rejection("image.not_found", "deleted"))
        tombstone = gone.to_tombstone(sequencer="0B", output_uri="s3://b/k.json")
        running.aws.dynamodb.put_item(TableName=running.table, Item=tombstone)
        yield running


def result(stack: LocalStack, name: str, **outcome: Any) -> Result:
    image = ImageFacts(stack.bucket, f"incoming/{name}", etag="e", size_bytes=7)
    return Result(image, MODEL, f"2026-11-20T12:00:{len(name) % 60:02}.000Z", "r", **outcome)


def put(stack: LocalStack, name: str, **outcome: Any) -> None:
    made = result(stack, name, **outcome)
    stack.aws.dynamodb.put_item(TableName=stack.table, Item=made.to_item(sequencer="0A", output_uri="s3://b/k"))


def names(stack: LocalStack, query: Query) -> list[str]:
    return [item["image_uri"].rpartition("/")[2] for item in find(stack.aws.dynamodb, stack.table, query)]


def test_by_label_most_confident_first(stack: LocalStack) -> None:
    assert names(stack, Query(label="cat")) == ["0.jpg", "1.jpg", "2.jpg"]
    assert names(stack, Query(label="cat", min_confidence=0.55)) == ["0.jpg", "1.jpg"]
    assert names(stack, Query(label="cat", needs_review=True)) == ["2.jpg"]
    assert names(stack, Query(label="cat", needs_review=True, min_confidence=0.41)) == []
    assert names(stack, Query(label="bird")) == []


def test_by_attention(stack: LocalStack) -> None:
    assert names(stack, Query(rejected=True)) == ["bad.jpg"]
    assert sorted(names(stack, Query(needs_review=True))) == ["2.jpg", "3.jpg"]
    assert names(stack, Query(needs_review=True, min_confidence=0.4)) == ["2.jpg"]


def test_everything(stack: LocalStack) -> None:
    assert sorted(names(stack, Query())) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "bad.jpg"]
    assert sorted(names(stack, Query(min_confidence=0.4))) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_removed_image_has_no_result(stack: LocalStack) -> None:
    with pytest.raises(UserError, match="has it been deleted"):
        get(stack.aws.dynamodb, stack.table, f"s3://{stack.bucket}/incoming/gone.jpg")
    for query in (Query(prefix=f"s3://{stack.bucket}/incoming/gone"), Query(after="2026-01-01T00:00:00.000Z")):
        assert "gone.jpg" not in names(stack, query)


def test_by_prefix_and_time(stack: LocalStack) -> None:
    root = f"s3://{stack.bucket}/incoming/"
    assert names(stack, Query(prefix=f"{root}b")) == ["bad.jpg"]
    assert names(stack, Query(label="cat", min_confidence=0.5, prefix=f"{root}1")) == ["1.jpg"]
    assert names(stack, Query(rejected=True, prefix=f"{root}1")) == []
    assert names(stack, Query(after="2026-11-20T12:00:06.000Z")) == ["bad.jpg"]


def test_images_are_done_when_the_result_is_of_their_content(stack: LocalStack) -> None:
    def images(now: str = "2026-11-21T00:00:00+00:00") -> PolledImages:
        return PolledImages(
            stack.aws.s3,
            stack.aws.dynamodb,
            bucket=stack.bucket,
            prefix="incoming/dropped/",
            table=stack.table,
            now=datetime.fromisoformat(now),
        )

    keys = [f"incoming/dropped/{number:03}.jpg" for number in range(102)]
    for key in (*keys, "incoming/dropped/folder/"):
        stack.aws.s3.put_object(Bucket=stack.bucket, Key=key, Body=b"now")
    waited = images()
    assert (waited.total, waited.done()) == (102, 0)
    etag = stack.aws.s3.head_object(Bucket=stack.bucket, Key=keys[0])["ETag"].strip('"')

    def record(key: str, etag: str, *, unfinished: bool = False) -> None:
        made = Result(ImageFacts(stack.bucket, key, etag=etag), MODEL, "2026-11-20T12:00:00.000Z", "r", error=CORRUPT)
        item = made.to_item(sequencer=None, output_uri=None, unfinished=unfinished)
        stack.aws.dynamodb.put_item(TableName=stack.table, Item=item)

    for key in keys[3:]:
        record(key, etag)
    record(keys[0], "of other content")
    record(keys[1], etag, unfinished=True)
    assert waited.done() == 99
    assert waited.done() == 99, "what is done is not asked for again, and not forgotten"
    for key in keys[:3]:
        record(key, etag)
    assert waited.done() == 102
    record(keys[0], "replaced since it was listed")
    assert images("2026-11-20T11:59:59+00:00").done() == 102
    for key in keys:
        stack.aws.dynamodb.delete_item(TableName=stack.table, Key={"image_uri": {"S": f"s3://{stack.bucket}/{key}"}})


@pytest.fixture
def command(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
    return lambda *words: CliRunner().invoke(app, ["results", *words])


def test_waiting_ends_with_what_was_asked_for(command: Callable[..., Any]) -> None:
    done = command("find", "--label", "cat", "--wait", "3", "--format", "json")
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["image"]["key"] for line in done.stdout.splitlines()] == [
        "incoming/0.jpg",
        "incoming/1.jpg",
        "incoming/2.jpg",
    ]


def test_when_the_time_is_up_what_has_come_is_printed(command: Callable[..., Any]) -> None:
    done = command("find", "--label", "cat", "--wait", "4", "--timeout", "0", "--format", "json")
    assert len(done.stdout.splitlines()) == 3
    assert isinstance(done.exception, UserError)
    assert "after 0 s 3 of 4 match" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--wait", "some"), "neither a number of results, from 1, nor all"),
        (("--wait", "0"), "neither a number of results, from 1, nor all"),
        (("--wait", "all", "--prefix", "nothing/"), "no images at s3://.*/incoming/nothing/ to wait for"),
    ],
)
def test_waiting_for_nothing_is_refused(command: Callable[..., Any], words: tuple[str, ...], message: str) -> None:
    done = command("find", *words)
    assert isinstance(done.exception, UserError)
    assert re.search(message, str(done.exception))


def test_one_document_whoever_prints_it(command: Callable[..., Any], stack: LocalStack) -> None:
    (found,) = command("find", "--label", "dog, hot", "--format", "json").stdout.splitlines()
    assert json.loads(found) == json.loads(command("get", "3.jpg").stdout)


def test_a_piped_table_shows_whole_keys_and_the_model(command: Callable[..., Any], stack: LocalStack) -> None:
    key = "long/" + "k" * 300
    put(stack, key, top=(Prediction("long", 0.5),))
    table = command("find", "--label", "long").stdout
    assert f"│ incoming/{key} │ long " in table
    assert MODEL.version in table


FACTS = st.builds(
    ImageFacts,
    bucket=st.just("photos"),
    key=st.text(min_size=1),
    version_id=st.none() | st.just("v1"),
    etag=st.none() | st.just("e"),
    size_bytes=st.none() | st.integers(0, 2**40),
    format=st.none() | st.sampled_from(["JPEG", "PNG"]),
    width=st.none() | st.integers(1, 65535),
    height=st.none() | st.integers(1, 65535),
)
TOP = st.lists(st.builds(Prediction, st.text(min_size=1), st.floats(0, 1)), min_size=1)


PREDICTED: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    top=TOP.map(tuple),
    novelty=st.none() | st.floats(0, 1),
    review_reason=st.none() | st.sampled_from(ReviewReason),
)


@given(FACTS, PREDICTED | st.just({"error": CORRUPT}))
def test_the_document_of_an_item_is_the_one_in_s3_but_for_the_times_it_took(
    facts: ImageFacts, outcome: dict[str, Any]
) -> None:
    made = Result(facts, MODEL, "2026-11-20T12:00:00.000Z", "r", **outcome)
    assert document(plain(made.to_item(sequencer="0A", output_uri="s3://b/k"))) == made.to_document()


@pytest.mark.parametrize(
    "wrong",
    [
        {"needs_review": True, "rejected": True},
        {"rejected": True, "label": "cat"},
        {"rejected": True, "min_confidence": 0.1},
        {"min_confidence": 1.5},
    ],
)
def test_questions_without_an_answer_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Query(**wrong)


def test_one_image_by_uri_key_or_name(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
    deployed = Stack.find("bucketlens")
    assert deployed == Stack(
        bucket=stack.bucket,
        input_prefix="incoming/",
        table=stack.table,
        output_prefix="predictions/",
        queue_url=stack.queue_url,
        dead_letter_queue_url=stack.dead_letter_queue_url,
        model_uri=f"s3://{stack.bucket}/models/",
        function="bucketlens-ClassifierFunction",
        identifier=deployed.identifier,
        parameters=deployed.parameters,
        review_table=stack.review_table,
    )
    assert deployed.identifier.startswith("arn:aws:cloudformation:us-east-1:123456789012:stack/bucketlens/")
    for image in ("0.jpg", "incoming/0.jpg", f"s3://{stack.bucket}/incoming/0.jpg"):
        item = get(stack.aws.dynamodb, stack.table, deployed.image_uri(image))
        assert (item["label"], item["confidence"], item["size_bytes"]) == ("cat", 0.95, 7)
    with pytest.raises(UserError, match="no result for"):
        get(stack.aws.dynamodb, stack.table, deployed.image_uri("nowhere.jpg"))
    with pytest.raises(UserError, match="there is no stack 'other'"):
        Stack.find("other")


def test_formats_hold_what_was_found(stack: LocalStack) -> None:
    out = io.StringIO()
    assert write_json(map(document, find(stack.aws.dynamodb, stack.table, Query(label="cat"))), out) == 3
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["prediction"]["confidence"] for line in lines] == [0.95, 0.55, 0.4]
    out = io.StringIO()
    assert write_csv(find(stack.aws.dynamodb, stack.table, Query(label="dog, hot")), out) == 1
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["label"], rows[0]["confidence"], rows[0]["needs_review"]) == ("dog, hot", "0.3", "true")


def test_counts_by_model_version_label_and_error_code(command: Callable[..., Any], stack: LocalStack) -> None:
    found = list(find(stack.aws.dynamodb, stack.table, Query()))
    rows = [json.loads(line) for line in command("count", "--format", "json").stdout.splitlines()]
    assert sum(row["images"] for row in rows) == len(found)
    assert sum(row["needs_review"] for row in rows) == sum(bool(one.get("needs_review")) for one in found)
    [cats] = [row for row in rows if row["label"] == "cat"]
    assert cats["images"] == sum(one.get("label") == "cat" for one in found)
    assert {row["error_code"] for row in rows} - {None} == {one["error_code"] for one in found if "error_code" in one}
    assert command("count", "--prefix", "nowhere/").stdout == ""
    assert "cat" in command("count").stdout
    assert command("count", "--format", "csv").stdout.startswith("model_name,model_version,label,error_code,images,")


def test_the_query_is_paged_through(stack: LocalStack, tmp_path: Path) -> None:
    for index in range(60):
        image = ImageFacts(stack.bucket, f"incoming/many/{index}.jpg")
        top = tuple(Prediction("x" * 400, 0.5) for _ in range(60))
        made = Result(image, MODEL, "2026-11-20T13:00:00.000Z", "r", top=(Prediction("many", 0.5), *top))
        item = made.to_item(sequencer=None, output_uri=None)
        stack.aws.dynamodb.put_item(TableName=stack.table, Item=item)
    assert len(names(stack, Query(label="many"))) == 60
