"""What people decide about predictions, in a table of its own: classifying an image again leaves it as it is.

A review holds for the content (ETag) that was looked at, and tells which model's answer was judged. Whether that answer
is right then follows for every later model: the label that a person gave is compared with what the model says now.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from bucketlens.escaping import printable
from bucketlens.results import Item, Query, find, get, look, plain
from classifier.errors import UserError
from classifier.records import ReviewReason, timestamp
from model_build.files import known_fields

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

LONGEST_LABEL = 200
"""Characters of a label that a person may give."""


class Decision(StrEnum):
    """What a person says about a prediction."""

    RIGHT = "right"
    WRONG = "wrong"
    CORRECTED = "corrected"


OUTDATED = "outdated"
"""In place of a decision: the image, or the answer that was called wrong, is another one by now."""


class Conflict(UserError):
    """The result is no longer the one that was looked at."""


@dataclass(frozen=True)
class Review:
    """One item of the review table.

    Attributes:
        label: what the image shows; None where only the prediction is known to be wrong.
        decided_at: UTC, as :func:`classifier.records.timestamp` writes it.
        etag: of the content that was looked at.
        predicted_label: the answer that was judged, of ``model_version``. None, as all of the model, where a label was
            given to an image without a prediction.
    """

    image_uri: str
    decision: Decision
    label: str | None
    reviewer: str
    decided_at: str
    etag: str
    version_id: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    predicted_label: str | None = None
    predicted_confidence: float | None = None

    @classmethod
    def of(cls, item: Item, decision: Decision, label: str | None, reviewer: str, decided_at: str) -> Self:
        """A decision on a result. The label that the model gave, given as another one, is a ``right``.

        Raises:
            UserError: the image was rejected, or decision and label do not go together.
        """
        if item["status"] != "classified":
            raise UserError(
                f"{item['image_uri']} has no prediction to review: it was rejected ({item.get('error_code')})"
            )
        label = checked_label(decision, label)
        if label == item["label"]:
            decision = Decision.RIGHT
        if decision is Decision.RIGHT:
            label = item["label"]
        return cls(
            item["image_uri"],
            decision,
            label,
            reviewer,
            decided_at,
            item["etag"],
            item.get("version_id"),
            item.get("model_name"),
            item.get("model_version"),
            item["label"],
            item["confidence"],
        )

    def applies_to(self, item: Item) -> str:
        """What this review says about a result as it is now: a :class:`Decision`, or ``OUTDATED``."""
        if item.get("etag") != self.etag:
            return OUTDATED
        if self.label is not None:
            return Decision.RIGHT if item.get("label") == self.label else Decision.CORRECTED
        return Decision.WRONG if item.get("label") == self.predicted_label else OUTDATED


def checked_label(decision: Decision, label: str | None) -> str | None:
    """The label without surrounding blanks.

    Raises:
        UserError: ``corrected`` without a label, another decision with one, or a label that is empty, too long, or has
            control characters in it.
    """
    if decision is not Decision.CORRECTED:
        if label is not None:
            raise UserError(f"a label goes with {str(Decision.CORRECTED)!r}, not with {str(decision)!r}")
        return None
    label = (label or "").strip()
    if not label:
        raise UserError("a correction needs the label that is right")
    if len(label) > LONGEST_LABEL or printable(label) != label:
        raise UserError(f"the label {label[:LONGEST_LABEL]!r} is too long or has control characters in it")
    return label


def annotated(item: Item, review: Review | None) -> Item:
    """A result with ``decision``, ``decided_label``, ``reviewer`` and ``decided_at``, where there is a review."""
    if review is None:
        return item
    return {
        **item,
        "decision": str(review.applies_to(item)),
        "decided_label": review.label,
        "reviewer": review.reviewer,
        "decided_at": review.decided_at,
    }


class ReviewTable:
    """The review table. Every method raises BotoCoreError or ClientError where AWS does not answer or refuses."""

    def __init__(self, dynamodb: DynamoDBClient, name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def read(self) -> Iterator[Review]:
        """Every review."""
        for page in self._dynamodb.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True):
            yield from map(_review, page["Items"])

    def get(self, image_uri: str) -> Review | None:
        found = self._dynamodb.get_item(
            TableName=self._name, Key={"image_uri": {"S": image_uri}}, ConsistentRead=True
        ).get("Item")
        return _review(found) if found else None

    def put(self, review: Review) -> None:
        """Record a review in the place of the image's last one."""
        self._dynamodb.put_item(TableName=self._name, Item=_item(review))

    def withdraw(self, image_uri: str, decided_at: str) -> None:
        """Delete a review, unless another one has taken its place.

        Raises:
            Conflict: it has, or there is none.
        """
        try:
            self._dynamodb.delete_item(
                TableName=self._name,
                Key={"image_uri": {"S": image_uri}},
                ConditionExpression="decided_at = :decided_at",
                ExpressionAttributeValues={":decided_at": {"S": decided_at}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise Conflict(f"the decision on {image_uri} has been changed or withdrawn meanwhile") from error


class ReviewSession:
    """Where somebody reviews: the results with what was decided about them, and new decisions.

    Args:
        results: name of the table of results.
        reviewer: who decides.
        now: the time of a decision.
    """

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        results: str,
        reviews: ReviewTable,
        reviewer: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._dynamodb = dynamodb
        self._results = results
        self._now = now
        self.reviews = reviews
        self.reviewer = reviewer

    def read(self) -> Iterator[Item]:
        """Every result, annotated."""
        reviews = {review.image_uri: review for review in self.reviews.read()}
        for item in find(self._dynamodb, self._results, Query()):
            yield annotated(item, reviews.get(item["image_uri"]))

    def result(self, image_uri: str) -> Item:
        """The result of one image, as it is now.

        Raises:
            UserError: there is none.
        """
        return get(self._dynamodb, self._results, image_uri)

    def look(self, image_uri: str) -> Item | None:
        """The result of one image, if there is one."""
        return look(self._dynamodb, self._results, image_uri)

    def decide(self, item: Item, decision: Decision, label: str | None = None) -> Review:
        """Record a decision on a result; UserError as :meth:`Review.of`."""
        review = Review.of(item, decision, label, self.reviewer, self.time())
        self.reviews.put(review)
        return review

    def time(self) -> str:
        return timestamp(self._now())


def default_reviewer() -> str:
    """``BUCKETLENS_REVIEWER``, else the name of the environment's user, else the user's number."""
    if name := os.environ.get("BUCKETLENS_REVIEWER"):
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"user {os.getuid()}"


@dataclass(frozen=True)
class Quotas:
    """At most so many of each predicted label, and of each day (UTC); None is no bound."""

    per_label: int | None = None
    per_day: int | None = None


@dataclass(frozen=True, order=True)
class Candidate:
    """A prediction that nobody has decided about, in the order in which to look at them.

    First what needs review, then by the lead of the best label over the second: margin sampling, which needs the fewest
    labels of the simple measures over many data sets (https://arxiv.org/abs/2210.03822). The lead says nothing of what
    the model does not know: what needs review for its novelty goes by that. Quantized models give many the same lead:
    these come in an order that has nothing to do with their names, so that more than the first folder is looked at.

    Attributes:
        lead: 0 to 1; of a novel one how far its novelty is from 1.
        shuffled: a digest of the URI.
        position: of the result among those it was read with.
    """

    needs_no_review: bool
    lead: float
    shuffled: bytes
    position: int
    label: str
    day: str
    novel: bool

    @classmethod
    def of(cls, position: int, item: Item) -> Self | None:
        """None for what was rejected or is decided."""
        if item["status"] != "classified" or item.get("decision", OUTDATED) != OUTDATED:
            return None
        best = item["confidence"]
        # Of a prediction with one label alone it is known how much a second could have.
        # Of a multi-label model the labels are no alternatives: the call is close that is neither yes nor no.
        alternatives = len(item.get("top", [])) > 1 and "labels" not in item
        second = item["top"][1]["confidence"] if alternatives else min(best, 1 - best)
        novel = item.get("review_reason") == ReviewReason.NOVELTY
        return cls(
            not item["needs_review"],
            round(1 - item["novelty"] if novel else best - second, 6),
            hashlib.sha256(item["image_uri"].encode(errors="surrogatepass")).digest(),
            position,
            item["label"],
            item["classified_at"][:10],
            novel,
        )


def queue(candidates: Iterable[Candidate], quotas: Quotas) -> list[Candidate]:
    """The candidates within the quotas, what to look at first at the beginning.

    Those that need review for their confidence and for their novelty come in turn: neither waits for all of the other.
    """
    ordered = sorted(candidates)
    unsure = [one for one in ordered if not (one.needs_no_review or one.novel)]
    novel = [one for one in ordered if one.novel]
    in_turn = [one for pair in zip_longest(unsure, novel) for one in pair if one is not None]
    rest = [one for one in ordered if one.needs_no_review]
    labels: Counter[str] = Counter()
    days: Counter[str] = Counter()
    chosen = []
    for one in (*in_turn, *rest):
        full = (labels[one.label] == quotas.per_label, days[one.day] == quotas.per_day)
        if not any(full):
            labels[one.label] += 1
            days[one.day] += 1
            chosen.append(one)
    return chosen


def collecting(found: list[Candidate], items: Iterable[Item]) -> Iterator[Item]:
    """The annotated items as they are read, with the candidates among them appended to ``found``."""
    for position, item in enumerate(items):
        if candidate := Candidate.of(position, item):
            found.append(candidate)
        yield item


def look_first(items: Iterable[Item], quotas: Quotas) -> list[Item]:
    """The annotated results that :func:`queue` chooses, in its order."""
    found: list[Candidate] = []
    read = list(collecting(found, items))
    return [read[one.position] for one in queue(found, quotas)]


def document(review: Review) -> dict[str, Any]:
    """The review as ``results review --decided`` prints and ``--import`` reads it."""
    return {name: value for name, value in asdict(review).items() if value is not None}


def _review(attributes: Any) -> Review:
    known = known_fields(Review, plain(attributes))
    return Review(**{"label": None, **known, "decision": Decision(known["decision"])})


def _item(review: Review) -> dict[str, AttributeValueTypeDef]:
    return {
        name: {"S": str(value)} if isinstance(value, str) else {"N": str(value)}
        for name, value in document(review).items()
    }
