"""Holds what an invocation answered and recorded against what it ought to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bucketlens.local.sam.cases import INPUT_PREFIX, Case, Expected
from classifier.events import Source

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

# Between this process and the container: the same wheel on another C library.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Records:
    """The places where the function leaves its results, and where its images come from."""

    s3: S3Client
    dynamodb: DynamoDBClient
    table: str
    output_prefix: str

    def prepare(self, case: Case) -> None:
        """Put the images in place, and remove what earlier events of the same images left."""
        for expected in case.expected:
            self.dynamodb.delete_item(TableName=self.table, Key={"image_uri": {"S": expected.uri}})
            self.s3.delete_object(Bucket=expected.bucket, Key=self.output_key(expected))
            if expected.source is None:
                self.s3.delete_object(Bucket=expected.bucket, Key=expected.key)
            else:
                self.s3.put_object(Bucket=expected.bucket, Key=expected.key, Body=expected.source.read_bytes())

    def output_key(self, expected: Expected) -> str:
        return f"{self.output_prefix}{expected.key.removeprefix(INPUT_PREFIX)}.json"

    def document(self, expected: Expected) -> dict[str, Any] | None:
        """The image's result document, or None."""
        try:
            body = self.s3.get_object(Bucket=expected.bucket, Key=self.output_key(expected))["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        document: dict[str, Any] = json.loads(body)
        return document

    def item(self, expected: Expected) -> dict[str, Any] | None:
        """The image's item, attribute values without their types (numbers as text), or None."""
        answer = self.dynamodb.get_item(TableName=self.table, Key={"image_uri": {"S": expected.uri}})
        if "Item" not in answer:
            return None
        return {name: next(iter(value.values())) for name, value in answer["Item"].items()}


@dataclass(frozen=True)
class Line:
    """One image's outcome, for the table that is shown."""

    image: str
    outcome: str
    confidence: str


def problems_of(case: Case, answer: Any, records: Records) -> list[str]:
    """Everything that is wrong with an invocation; empty when all is as it should be."""
    if isinstance(answer, dict) and "errorMessage" in answer:
        return [f"the function failed: {answer.get('errorType', 'error')}: {answer['errorMessage']}"]
    if not isinstance(answer, dict):
        return [f"the function answered {answer!r}, not a JSON object"]
    problems = []
    if case.batch.source is Source.SQS:
        failed = {entry.get("itemIdentifier") for entry in answer.get("batchItemFailures", [{}])}
        if failed != set(case.batch.unreadable):
            problems.append(f"batchItemFailures names {sorted(map(str, failed))}, not {sorted(case.batch.unreadable)}")
    elif case.batch.source is Source.S3_BATCH:
        codes = [result.get("resultCode") for result in answer.get("results", [])]
        right = ["Succeeded" if expected.confidences is not None else "PermanentFailure" for expected in case.expected]
        if codes != right:
            problems.append(f"results are {codes}, not {right}")
    for expected in case.expected:
        problems += [f"{expected.key}: {problem}" for problem in _image_problems(expected, records)]
    return problems


def lines_of(case: Case, records: Records) -> Iterator[Line]:
    """What is recorded of each image of an event, for a person."""
    for expected in case.expected:
        item = records.item(expected)
        if item is None:
            yield Line(expected.key, "no result" if expected.source else "no result (no such object)", "")
        elif item.get("status") == "classified":
            yield Line(expected.key, str(item.get("label")), str(item.get("confidence")))
        else:
            yield Line(expected.key, f"{item.get('status')} ({item.get('error_code')})", "")


def _image_problems(expected: Expected, records: Records) -> Iterator[str]:
    document, item = records.document(expected), records.item(expected)
    if expected.source is None:
        if document is not None:
            yield "has a result document, although the object does not exist"
        return
    if document is None:
        yield f"has no result document s3://{expected.bucket}/{records.output_key(expected)}"
    if item is None:
        yield f"has no item in the table {records.table}"
    if document is None or item is None:
        return
    if document.get("status") != item.get("status"):
        yield f"is {document.get('status')} in S3 and {item.get('status')} in DynamoDB"
    elif expected.confidences is None:
        codes = (document.get("error", {}).get("code"), item.get("error_code"))
        if codes != (expected.code, expected.code):
            yield f"should be rejected with {expected.code}; S3 and DynamoDB say {codes[0]} and {codes[1]}"
    elif document["status"] != "classified":
        yield f"should be classified, and is {document['status']} ({document.get('error')})"
    else:
        yield from _prediction_problems(expected.confidences, document["prediction"], item)


def _prediction_problems(
    confidences: dict[str, float], prediction: dict[str, Any], item: dict[str, Any]
) -> Iterator[str]:
    best = max(confidences, key=confidences.__getitem__)
    for place, label, confidence in (
        ("S3", prediction.get("label"), prediction.get("confidence")),
        ("DynamoDB", item.get("label"), item.get("confidence")),
    ):
        if label != best or abs(float(confidence or 0) - confidences[best]) > _TOLERANCE:
            yield f"should be {best} ({confidences[best]:.4f}); {place} says {label} ({confidence})"
    for entry in prediction.get("top", []):
        if abs(entry["confidence"] - confidences.get(entry["label"], -1.0)) > _TOLERANCE:
            yield f"top names {entry['label']} ({entry['confidence']}), not {confidences.get(entry['label'])}"
