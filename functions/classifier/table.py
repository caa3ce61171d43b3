"""The items of the table, one an image, and the conditions under which one takes another's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from classifier.aws import translated
from classifier.aws_calls import AwsError
from classifier.json_api import DynamoDb
from classifier.records import REMOVED, Result

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = Mapping[str, "AttributeValueTypeDef"]


@dataclass(frozen=True)
class Standing:
    """An image's item as it was when we looked.

    A request id and a time name one attempt at one image: what else a batch does with it, it does once.
    """

    item: Item

    @property
    def request_id(self) -> str:
        return self._text("request_id")

    @property
    def classified_at(self) -> str:
        return self._text("classified_at")

    @property
    def sequencer(self) -> str:
        """In comparable form; empty where none is known, which sorts before all."""
        return self._text("sequencer")

    @property
    def output_uri(self) -> str:
        return self._text("output_uri")

    @property
    def unfinished(self) -> bool:
        """Whether this is a claim: an attempt that was begun, and has not ended or never will."""
        return "unfinished" in self.item

    @property
    def removed(self) -> bool:
        """Whether this is a tombstone: the image is gone, and so is its result."""
        return self._text("status") == REMOVED

    def same_attempt(self, other: Standing) -> bool:
        return (self.request_id, self.classified_at, self.unfinished) == (
            other.request_id,
            other.classified_at,
            other.unfinished,
        )

    def _text(self, name: str) -> str:
        return self.item.get(name, {}).get("S", "")


@dataclass(frozen=True)
class Condition:
    """When an item may be put: a DynamoDB condition expression and its values."""

    expression: str
    values: Item

    @classmethod
    def newer(cls, sequencer: str) -> Condition:
        """Only over older events, and over items whose place in the order of events is not known."""
        return cls("attribute_not_exists(sequencer) OR sequencer < :sequencer", {":sequencer": {"S": sequencer}})

    @classmethod
    def unchanged(cls, standing: Standing | None) -> Condition:
        """Only over this one; None: only where there is none."""
        if standing is None:
            return cls("attribute_not_exists(image_uri)", {})
        claim = "attribute_exists(unfinished)" if standing.unfinished else "attribute_not_exists(unfinished)"
        return cls(
            f"request_id = :request_id AND classified_at = :classified_at AND {claim}",
            {":request_id": {"S": standing.request_id}, ":classified_at": {"S": standing.classified_at}},
        )


@dataclass(frozen=True)
class Put:
    """How a conditional PutItem ended.

    Attributes:
        won: whether our item stands.
        standing: what it replaced, or what stands instead; None where there was no item.
    """

    won: bool
    standing: Standing | None


class Table:
    """One table. Every method raises StorageThrottled or StorageUnavailable."""

    def __init__(self, dynamodb: DynamoDb, name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def look(self, image_uri: str) -> Standing | None:
        """The item of an image, if there is one."""
        try:
            response = self._dynamodb.get_item(
                TableName=self._name, Key={"image_uri": {"S": image_uri}}, ConsistentRead=True
            )
        except AwsError as error:
            raise translated(error, f"cannot read table {self._name}") from error
        return Standing(response["Item"]) if "Item" in response else None

    def put(self, item: Item, condition: Condition) -> Put:
        """Put an item under a condition. One of ours that stands in its own way was put by a request whose answer was
        lost and which was then sent again: it is won, and what it replaced is not known (told is the item itself).
        """
        compared: dict[str, Any] = {"ExpressionAttributeValues": condition.values} if condition.values else {}
        try:
            response = self._dynamodb.put_item(
                TableName=self._name,
                Item=item,
                ConditionExpression=condition.expression,
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **compared,
            )
        except AwsError as error:
            if error.code != "ConditionalCheckFailedException":
                raise translated(error, f"cannot write to table {self._name}") from error
            standing = Standing(error.answer["Item"]) if error.answer.get("Item") else None
            return Put(standing is not None and standing.same_attempt(Standing(item)), standing)
        replaced = response.get("Attributes")
        return Put(True, Standing(replaced) if replaced else None)

    def claim(self, result: Result, previous: Standing | None, sequencer: str | None) -> Standing | None:
        """Put a claim in the place of exactly ``previous``; None where that has changed.

        Args:
            result: the rejection that stands if the attempt never ends.
            sequencer: the event's; None keeps the one that ``previous`` has.
        """
        kept = sequencer or (previous.sequencer if previous else None)
        item = result.to_item(sequencer=kept, output_uri=None, unfinished=True)
        return Standing(item) if self.put(item, Condition.unchanged(previous)).won else None

    def withdraw(self, claim: Standing, previous: Standing | None) -> None:
        """Put back what a claim replaced, unless something else has taken its place since."""
        condition = Condition.unchanged(claim)
        if previous is not None:
            self.put(previous.item, condition)
            return
        try:
            self._dynamodb.delete_item(
                TableName=self._name,
                Key={"image_uri": claim.item["image_uri"]},
                ConditionExpression=condition.expression,
                ExpressionAttributeValues=condition.values,
            )
        except AwsError as error:
            if error.code != "ConditionalCheckFailedException":
                raise translated(error, f"cannot write to table {self._name}") from error
