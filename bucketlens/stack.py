"""The deployed application as the command line sees it: names read from the stack's outputs, AWS or local alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from bucketlens.reviews import ReviewTable
from classifier.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

DEFAULT_STACK = "bucketlens"


@dataclass(frozen=True)
class Stack:
    """Where a deployment keeps its images and its results. Prefixes end with a slash, or are empty.

    Attributes:
        identifier: the stack's ARN, which no other stack ever has.
        parameters: of the template, by name.
        review_table: None for a stack that was deployed by a release without it.
    """

    bucket: str
    input_prefix: str
    table: str
    output_prefix: str
    queue_url: str
    dead_letter_queue_url: str
    model_uri: str
    function: str
    identifier: str
    parameters: Mapping[str, str]
    review_table: str | None = None

    @classmethod
    def find(cls, name: str) -> Self:
        """Read the outputs of CloudFormation stack ``name``.

        Raises:
            UserError: there is no such stack, or it is not one of ours.
            BotoCoreError, ClientError: AWS does not answer or refuses.
        """
        client = boto3.client("cloudformation", endpoint_url=endpoint_url())
        try:
            (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise UserError(
                f"there is no stack {name!r} in {client.meta.region_name}: name yours with --stack or BUCKETLENS_STACK,"
                " deploy it with `sam deploy`, or start the local one with `bucketlens local up`"
            ) from error
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        try:
            root = f"s3://{outputs['BucketName']}/"
            return cls(
                bucket=outputs["BucketName"],
                input_prefix=outputs["InputUri"].removeprefix(root),
                table=outputs["TableName"],
                output_prefix=outputs["OutputUri"].removeprefix(root),
                queue_url=outputs["QueueUrl"],
                dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
                model_uri=outputs["ModelUri"],
                function=outputs["FunctionName"],
                identifier=stack["StackId"],
                parameters={one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])},
                review_table=outputs.get("ReviewTableName"),
            )
        except KeyError as missing:
            raise UserError(f"stack {name!r} has no output {missing}: it is not a Bucketlens stack") from None

    def reviews(self, dynamodb: DynamoDBClient) -> ReviewTable:
        """The table of decisions.

        Raises:
            UserError: the stack was deployed by a release without it.
        """
        if self.review_table is None:
            raise UserError("the stack has no table for reviews: deploy it again with this release's template")
        return ReviewTable(dynamodb, self.review_table)

    @property
    def removes_deleted(self) -> bool:
        """Whether the results of deleted images are removed."""
        return self.parameters.get("RemoveDeleted") == "true"

    def image_uri(self, image: str) -> str:
        """The URI of an image given as a URI, as a key, or as a key below the input prefix."""
        if image.startswith("s3://"):
            return image
        key = image if image.startswith(self.input_prefix) else f"{self.input_prefix}{image}"
        return f"s3://{self.bucket}/{key}"

    def prefix(self, text: str) -> str:
        """A prefix of image keys given as a URI, as a prefix of keys, or as one below the input prefix.

        Raises:
            UserError: it lies in another bucket.
        """
        if text.startswith("s3://"):
            bucket, _, key = text.removeprefix("s3://").partition("/")
            if bucket != self.bucket:
                raise UserError(f"{text} is not in the stack's bucket {self.bucket}")
            return key
        if f"{text}/" == self.input_prefix:
            return self.input_prefix
        return text if text.startswith(self.input_prefix) else f"{self.input_prefix}{text}"


def endpoint_url() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL") or None


def clients() -> tuple[S3Client, DynamoDBClient]:
    """S3 and DynamoDB clients of the environment's account or local stack."""
    return boto3.client("s3", endpoint_url=endpoint_url()), boto3.client("dynamodb", endpoint_url=endpoint_url())


def bulk_clients(connections: int) -> tuple[S3Client, DynamoDBClient, SQSClient]:
    """S3, DynamoDB and SQS clients for millions of rows: patient with throttling, and times stay text.

    botocore takes two thirds of a listing's CPU time to make each LastModified a datetime.
    """
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=lambda value: value)
    config = Config(retries={"mode": "standard", "total_max_attempts": 10}, max_pool_connections=connections)
    make = partial(boto3.Session(botocore_session=session).client, endpoint_url=endpoint_url(), config=config)
    return make("s3"), make("dynamodb"), make("sqs")
