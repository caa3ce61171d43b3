"""Reads predictions back from the table: one image, or all that match, by the index that answers the question.

- by label: ``by-label``, most confident first.
- needing a person: ``attention``, newest first.
- everything else: a scan, which reads the whole table.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

from boto3.dynamodb.types import TypeDeserializer

from bucketlens.escaping import csv_cell, json_text
from classifier.errors import UserError
from classifier.records import REMOVED, SCHEMA_VERSION, Status

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

COLUMNS = (
    "image_uri",
    "status",
    "label",
    "confidence",
    "needs_review",
    "review_reason",
    "novelty",
    "error_code",
    "model_version",
    "classified_at",
    "error_message",
)

Item = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """Which results are wanted. ``needs_review`` and ``rejected`` exclude each other, and a label excludes rejected.

    Attributes:
        prefix: what the images' URIs begin with.
        after: a ``classified_at`` that theirs are later than.
    """

    label: str | None = None
    min_confidence: float | None = None
    needs_review: bool = False
    rejected: bool = False
    prefix: str | None = None
    after: str | None = None

    def __post_init__(self) -> None:
        if self.needs_review and self.rejected:
            raise UserError("--needs-review and --rejected cannot be combined: a rejected image has no prediction")
        if self.rejected and (self.label is not None or self.min_confidence is not None):
            raise UserError(
                "--rejected cannot be combined with --label or --min-confidence: a rejected image has neither"
            )
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise UserError(f"--min-confidence is {self.min_confidence}, not a number between 0 and 1")


def look(dynamodb: DynamoDBClient, table: str, image_uri: str) -> Item | None:
    """The result of one image, if there is one."""
    response = dynamodb.get_item(TableName=table, Key={"image_uri": {"S": image_uri}}, ConsistentRead=True)
    item = plain(response.get("Item", {}))
    return item if item and item["status"] != REMOVED else None


def get(dynamodb: DynamoDBClient, table: str, image_uri: str) -> Item:
    """The result of one image.

    Raises:
        UserError: there is none.
    """
    item = look(dynamodb, table, image_uri)
    if item is None:
        raise UserError(
            f"there is no result for {image_uri} in table {table}: was it uploaded, is it still in the queue, or has it"
            " been deleted?"
        )
    return item


def find(dynamodb: DynamoDBClient, table: str, query: Query) -> Iterator[Item]:
    """Every result that matches, a page at a time, in the order of the index that serves the query."""
    request = _request(query)
    operation = "query" if "KeyConditionExpression" in request else "scan"
    for page in dynamodb.get_paginator(operation).paginate(TableName=table, **request):  # type: ignore[call-overload]
        yield from map(plain, page["Items"])


def _request(query: Query) -> dict[str, Any]:
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    filters: list[str] = []
    request: dict[str, Any] = {}
    if query.label is not None:
        request |= {"IndexName": "by-label", "ScanIndexForward": False}
        key = "#label = :label"
        names["#label"], values[":label"] = "label", {"S": query.label}
        if query.min_confidence is not None:
            key += " AND #confidence >= :confidence"
        if query.needs_review:
            filters.append("#attention = :attention")
        request["KeyConditionExpression"] = key
    elif query.needs_review or query.rejected:
        request |= {"IndexName": "attention", "ScanIndexForward": False}
        request["KeyConditionExpression"] = "#attention = :attention"
        if query.min_confidence is not None:
            filters.append("#confidence >= :confidence")
    elif query.min_confidence is not None:
        filters.append("#confidence >= :confidence")
    if query.min_confidence is not None:
        names["#confidence"], values[":confidence"] = "confidence", {"N": str(Decimal(str(query.min_confidence)))}
    if query.needs_review or query.rejected:
        names["#attention"] = "attention"
        values[":attention"] = {"S": "rejected" if query.rejected else "review"}
    if query.prefix is not None:
        filters.append("begins_with(#image_uri, :prefix)")
        names["#image_uri"], values[":prefix"] = "image_uri", {"S": query.prefix}
    if query.after is not None:
        filters.append("#classified_at > :after")
        names["#classified_at"], values[":after"] = "classified_at", {"S": query.after}
    if "IndexName" not in request:
        # Tombstones are in no index.
        filters.append("#status <> :removed")
        names["#status"], values[":removed"] = "status", {"S": REMOVED}
    if filters:
        request["FilterExpression"] = " AND ".join(filters)
    return request | {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}


def counts(items: Iterable[Item]) -> list[Item]:
    """How many results there are of each label and error code, by the version of the model that made them.

    Returns:
        ``model_name``, ``model_version``, ``label`` or ``error_code``, ``images``, and those that ``needs_review``
        counts; the newest version first, of each the most frequent first.
    """
    images: Counter[tuple[str, str, str | None, str | None]] = Counter()
    unsure: Counter[tuple[str, str, str | None, str | None]] = Counter()
    for item in items:
        key = (item["model_version"], item["model_name"], item.get("label"), item.get("error_code"))
        images[key] += 1
        unsure[key] += bool(item.get("needs_review"))
    rows = [
        {
            "model_name": key[1],
            "model_version": key[0],
            "label": key[2],
            "error_code": key[3],
            "images": count,
            "needs_review": unsure[key],
        }
        for key, count in sorted(images.items(), key=lambda one: (-one[1], one[0][2] or "", one[0][3] or ""))
    ]
    return sorted(rows, key=lambda row: str(row["model_version"]), reverse=True)


def document(item: Item) -> dict[str, Any]:
    """The result document (schema version 1) of an item, as it is in S3, but without the times that it took."""
    bucket, _, key = item["image_uri"].removeprefix("s3://").partition("/")
    facts = ("version_id", "etag", "size_bytes", "format", "width", "height")
    made: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "status": item["status"],
        "image": {"bucket": bucket, "key": key, **{name: item.get(name) for name in facts}},
    }
    if item["status"] == Status.CLASSIFIED:
        made["prediction"] = {name: item[name] for name in ("label", "confidence", "needs_review", "top")} | {
            name: item[name] for name in ("labels", "review_reason", "novelty") if name in item
        }
    else:
        made["error"] = {"code": item["error_code"], "message": item["error_message"]}
    return made | {
        "model": {name: item[f"model_{name}"] for name in ("name", "version", "sha256")},
        "timing_ms": {},
        "classified_at": item["classified_at"],
        "request_id": item["request_id"],
    }


def write_json(rows: Iterable[dict[str, Any]], out: TextIO) -> int:
    """JSON Lines; the number of lines."""
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - the count of what was written
        out.write(json_text(row) + "\n")
    return count


def write_csv(items: Iterator[Item], out: TextIO, columns: Sequence[str] = COLUMNS) -> int:
    """The columns a spreadsheet can hold, with a header, none of them a formula; the number of rows."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for count, item in enumerate(items, start=1):  # noqa: B007 - the count of what was written
        writer.writerow([csv_cell(item.get(column)) for column in columns])
    return count


def plain(attributes: Any) -> Item:
    """An item in DynamoDB's attribute-value form as plain values."""
    deserialize = TypeDeserializer().deserialize
    return {name: _number(deserialize(value)) for name, value in sorted(attributes.items())}


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, list):
        return [_number(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _number(entry) for name, entry in value.items()}
    return value
