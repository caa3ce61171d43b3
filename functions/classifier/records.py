"""A result as the world sees it: the JSON document (schema version 1) and the DynamoDB item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from classifier.errors import ImageNotFound, ImageRejected

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from classifier.model import Prediction

SCHEMA_VERSION = "1"
REMOVED = "removed"
"""The ``status`` of an item whose image is gone: a tombstone, which is no result."""
_DIGITS = 4
_LONGEST_MESSAGE = 500
# A message lives 14 days, in the queue and the dead-letter queue together, and as long again with each redrive: five.
TOMBSTONE_LIFE = timedelta(days=90)


class Status(StrEnum):
    CLASSIFIED = "classified"
    REJECTED = "rejected"


class ReviewReason(StrEnum):
    """Why a person should look at a prediction."""

    CONFIDENCE = "confidence"
    NOVELTY = "novelty"


@dataclass(frozen=True)
class ImageFacts:
    """The image a result speaks of; what is not known of a rejected one is None.

    Attributes:
        bucket, key: None where it came over HTTP and is no object.
    """

    bucket: str | None = None
    key: str | None = None
    version_id: str | None = None
    etag: str | None = None
    size_bytes: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class ModelIdentity:
    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Rejection:
    """A permanent error: a code of the contract and one line for a person."""

    code: str
    message: str

    @classmethod
    def of(cls, error: ImageRejected) -> Self:
        """A decoder's words may hold anything; here they are one line of at most 500 Unicode characters."""
        text = error.message.encode("utf-8", "backslashreplace").decode()
        return cls(error.code, " ".join(text.split())[:_LONGEST_MESSAGE])


@dataclass(frozen=True)
class Result:
    """What became of one image: ``top`` (best first) of a classified one, or ``error`` of a rejected one.

    Attributes:
        labels: those that apply, best first, where a multi-label model classified it.
        novelty: 0 to 1, the percentile of the image's distance among known photos; None of a model without.
        review_reason: None where nobody needs to look.
    """

    image: ImageFacts
    model: ModelIdentity
    classified_at: str
    request_id: str
    top: tuple[Prediction, ...] = ()
    labels: tuple[str, ...] | None = None
    novelty: float | None = None
    review_reason: ReviewReason | None = None
    error: Rejection | None = None
    timing_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        return Status.CLASSIFIED if self.error is None else Status.REJECTED

    @property
    def needs_review(self) -> bool:
        return self.review_reason is not None

    @property
    def is_of_deleted(self) -> bool:
        """Whether the image was deleted before it could be classified: no document is owed for it."""
        return self.error is not None and self.error.code == ImageNotFound.code

    @property
    def image_uri(self) -> str:
        return f"s3://{self.image.bucket}/{self.image.key}"

    def to_document(self) -> dict[str, Any]:
        """The result document, fields in the contract's order."""
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "status": str(self.status),
            "image": dict(vars(self.image)),
        }
        if self.error is None:
            top = [{"label": p.label, "confidence": round(p.confidence, _DIGITS)} for p in self.top]
            document["prediction"] = {**top[0], "needs_review": self.needs_review, "top": top, **self._optional()}
        else:
            document["error"] = dict(vars(self.error))
        document["model"] = dict(vars(self.model))
        document["timing_ms"] = {stage: round(value, 2) for stage, value in self.timing_ms.items()}
        document["classified_at"] = self.classified_at
        document["request_id"] = self.request_id
        return document

    def _optional(self) -> dict[str, Any]:
        """The prediction's fields that not every model or prediction has."""
        optional: dict[str, Any] = {}
        if self.labels is not None:
            optional["labels"] = list(self.labels)
        if self.review_reason is not None:
            optional["review_reason"] = str(self.review_reason)
        if self.novelty is not None:
            optional["novelty"] = round(self.novelty, _DIGITS)
        return optional

    def to_line(self) -> bytes:
        """The document as one line of UTF-8 JSON with a final newline, as Athena and jq read it."""
        return (json.dumps(self.to_document(), ensure_ascii=False, separators=(",", ":")) + "\n").encode()

    def to_item(
        self, *, sequencer: str | None, output_uri: str | None, unfinished: bool = False
    ) -> dict[str, AttributeValueTypeDef]:
        """The table's item in DynamoDB's attribute-value form; what does not apply is left out.

        Args:
            unfinished: this rejection was put before the image was begun and stands as long as that does not end.
        """
        best = self.top[0] if self.top else None
        attention = "rejected" if self.error else "review" if self.needs_review else None
        attributes: dict[str, AttributeValueTypeDef | None] = {
            "image_uri": _string(self.image_uri),
            "status": _string(self.status),
            "label": _string(best.label if best else None),
            "confidence": _number(best.confidence) if best else None,
            "top": {"L": [_prediction(p) for p in self.top]} if self.top else None,
            "labels": None if self.labels is None else {"L": [{"S": label} for label in self.labels]},
            "needs_review": {"BOOL": self.needs_review},
            "review_reason": _string(self.review_reason),
            "novelty": None if self.novelty is None else _number(self.novelty),
            "attention": _string(attention),
            "error_code": _string(self.error.code if self.error else None),
            "error_message": _string(self.error.message if self.error else None),
            "model_name": _string(self.model.name),
            "model_version": _string(self.model.version),
            "model_sha256": _string(self.model.sha256),
            "etag": _string(self.image.etag),
            "version_id": _string(self.image.version_id),
            "sequencer": _string(sequencer),
            "size_bytes": _whole(self.image.size_bytes),
            "format": _string(self.image.format),
            "width": _whole(self.image.width),
            "height": _whole(self.image.height),
            "classified_at": _string(self.classified_at),
            "output_uri": _string(output_uri),
            "request_id": _string(self.request_id),
            "unfinished": {"BOOL": True} if unfinished else None,
        }
        return {name: value for name, value in attributes.items() if value is not None}

    def to_tombstone(self, *, sequencer: str | None, output_uri: str) -> dict[str, AttributeValueTypeDef]:
        """The item of an image that is gone. It keeps older events from bringing the result back, is in no index, and
        ends with DynamoDB's time to live (``expires_at``, seconds since the epoch), after any message that could.

        Args:
            output_uri: the document that is to go.
        """
        expires_at = datetime.fromisoformat(self.classified_at) + TOMBSTONE_LIFE
        attributes = {
            "image_uri": _string(self.image_uri),
            "status": _string(REMOVED),
            "sequencer": _string(sequencer),
            "classified_at": _string(self.classified_at),
            "request_id": _string(self.request_id),
            "output_uri": _string(output_uri),
            "expires_at": _whole(int(expires_at.timestamp())),
        }
        return {name: value for name, value in attributes.items() if value is not None}


def timestamp(moment: datetime) -> str:
    """``2026-11-20T12:00:00.123Z``: UTC to the millisecond, so that text sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _prediction(prediction: Prediction) -> AttributeValueTypeDef:
    return {"M": {"label": {"S": prediction.label}, "confidence": _number(prediction.confidence)}}


def _number(value: float) -> AttributeValueTypeDef:
    # Decimal from the rounded text: DynamoDB numbers are decimal, and a float's binary tail is no information.
    return {"N": str(Decimal(f"{value:.{_DIGITS}f}"))}


def _whole(value: int | None) -> AttributeValueTypeDef | None:
    return None if value is None else {"N": str(value)}


def _string(value: str | None) -> AttributeValueTypeDef | None:
    return {"S": str(value)} if value else None
