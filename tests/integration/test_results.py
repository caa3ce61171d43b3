"""Reading results: every question by the right index, in every format, from the table that the template describes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bucketlens.local.stack import LocalStack
from bucketlens.results import COLUMNS, Query, find, get, write_csv, write_json
from bucketlens.stack import Stack
from classifier.errors import UserError
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelFacts, Rejection, Result
from tests.conftest import ROOT

MODEL = ModelFacts("m", "20261120T101500Z-5d313724", "0" * 64)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("log")
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, log_folder=folder) as running:
        for index, (label, confidence) in enumerate([("cat", 0.95), ("cat", 0.55), ("cat", 0.4), ("dog, hot", 0.3)]):
            put(running, f"{index}.jpg", top=(Prediction(label, confidence),), needs_review=confidence < 0.5)
        put(running, "bad.jpg", error=Rejection("image.corrupt", "JPEG cannot be decoded"))
        yield running


def put(stack: LocalStack, name: str, **outcome: Any) -> None:
    image = ImageFacts(stack.bucket, f"incoming/{name}", etag="e", size_bytes=7)
    made = Result(image, MODEL, f"2026-11-20T12:00:0{len(name)}.000Z", "r", **outcome)
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
    assert write_json(find(stack.aws.dynamodb, stack.table, Query(label="cat")), out) == 3
    assert [json.loads(line)["confidence"] for line in out.getvalue().splitlines()] == [0.95, 0.55, 0.4]
    out = io.StringIO()
    assert write_csv(find(stack.aws.dynamodb, stack.table, Query(label="dog, hot")), out) == 1
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["label"], rows[0]["confidence"], rows[0]["needs_review"]) == ("dog, hot", "0.3", "true")


def test_the_query_is_paged_through(stack: LocalStack, tmp_path: Path) -> None:
    for index in range(60):
        image = ImageFacts(stack.bucket, f"incoming/many/{index}.jpg")
        top = tuple(Prediction("x" * 400, 0.5) for _ in range(60))
        made = Result(image, MODEL, "2026-11-20T13:00:00.000Z", "r", top=(Prediction("many", 0.5), *top))
        item = made.to_item(sequencer=None, output_uri=None)
        stack.aws.dynamodb.put_item(TableName=stack.table, Item=item)
    assert len(names(stack, Query(label="many"))) == 60
