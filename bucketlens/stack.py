"""The deployed application as the command line sees it: names read from the stack's outputs, AWS or local alike."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import boto3
from botocore.exceptions import ClientError

from classifier.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

DEFAULT_STACK = "bucketlens"


@dataclass(frozen=True)
class Stack:
    """Where a deployment keeps its images and its results. Prefixes end with a slash, or are empty."""

    bucket: str
    input_prefix: str
    table: str

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
            bucket, table, input_uri = outputs["BucketName"], outputs["TableName"], outputs["InputUri"]
        except KeyError as missing:
            raise UserError(f"stack {name!r} has no output {missing}: it is not a Bucketlens stack") from None
        return cls(bucket, input_uri.removeprefix(f"s3://{bucket}/"), table)

    def image_uri(self, image: str) -> str:
        """The URI of an image given as a URI, as a key, or as a key below the input prefix."""
        if image.startswith("s3://"):
            return image
        key = image if image.startswith(self.input_prefix) else f"{self.input_prefix}{image}"
        return f"s3://{self.bucket}/{key}"


def endpoint_url() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL") or None


def clients() -> tuple[S3Client, DynamoDBClient]:
    """S3 and DynamoDB clients of the environment's account or local stack."""
    return boto3.client("s3", endpoint_url=endpoint_url()), boto3.client("dynamodb", endpoint_url=endpoint_url())
