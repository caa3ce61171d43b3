"""The classifier itself: images and a fixture model in the bucket, predictions in S3 and DynamoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bucketlens.local.stack import LocalStack
from tests.integration.local_helpers import TEMPLATE, needs_emulator, wait_for
from tests.support.bundles import FIXTURES, publish

pytestmark = [needs_emulator, pytest.mark.slow]

EXPECTED = {
    "red.png": ("classified", "red"),
    "green.jpg": ("classified", "green"),
    "blue.webp": ("classified", "blue"),
    "grüne wiese + himmel.jpg": ("classified", "green"),
    "notes.txt": ("rejected", "image.unsupported_format"),
    "truncated.jpg": ("rejected", "image.corrupt"),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    log_folder = tmp_path_factory.mktemp("logs")
    with LocalStack(TEMPLATE, port=0, retry_after_seconds=1, log_folder=log_folder) as stack:
        yield stack


def items(stack: LocalStack) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for page in stack.aws.dynamodb.get_paginator("scan").paginate(TableName=stack.table):
        found |= {item["image_uri"]["S"].partition("incoming/")[2]: dict(item) for item in page["Items"]}
    return found


def outcome(item: dict[str, Any]) -> tuple[str, str]:
    return item["status"]["S"], (item["label"] if "label" in item else item["error_code"])["S"]


def drop(stack: LocalStack, photo: Path, name: str) -> None:
    stack.aws.s3.put_object(Bucket=stack.bucket, Key=f"incoming/{name}", Body=photo.read_bytes())


def test_images_dropped_before_the_model_are_classified_once_it_is_published(stack: LocalStack) -> None:
    for name in EXPECTED:
        drop(stack, FIXTURES / "images" / name, name)
    assert not stack.model_is_published()
    bundle = FIXTURES / "bundle"
    files = {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    publish(stack.aws.s3, stack.bucket, files)
    assert stack.model_is_published()
    wait_for(stack, lambda: len(items(stack)) == len(EXPECTED))
    assert {name: outcome(item) for name, item in items(stack).items()} == EXPECTED


def test_each_outcome_is_a_document_in_the_bucket(stack: LocalStack) -> None:
    for name, (status, _) in EXPECTED.items():
        key = f"predictions/{name}.json"
        document = json.loads(stack.aws.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read())
        assert document["status"] == status
        assert document["image"]["key"] == f"incoming/{name}"


def test_a_hundred_images_are_all_classified(stack: LocalStack) -> None:
    before = len(items(stack))
    photos = [FIXTURES / "images" / "red.png", FIXTURES / "images" / "truncated.jpg"]
    for n in range(100):
        drop(stack, photos[n % 2], f"many/{n}")
    wait_for(stack, lambda: len(items(stack)) == before + 100)
    outcomes = [outcome(item) for name, item in items(stack).items() if name.startswith("many/")]
    assert outcomes.count(("classified", "red")) == 50
    assert outcomes.count(("rejected", "image.corrupt")) == 50
    attributes: Any = ["ApproximateNumberOfMessages"]
    dead = stack.aws.sqs.get_queue_attributes(QueueUrl=stack.dead_letter_queue_url, AttributeNames=attributes)
    assert dead["Attributes"]["ApproximateNumberOfMessages"] == "0"
