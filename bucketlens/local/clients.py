"""boto3 clients of the local endpoints, whatever AWS configuration this machine has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from bucketlens.local.constants import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient


@dataclass(frozen=True)
class Clients:
    """One client a service; each may be shared by threads."""

    cloudformation: CloudFormationClient
    dynamodb: DynamoDBClient
    s3: S3Client
    sqs: SQSClient


def clients(endpoint_url: str, *, connections: int = 10) -> Clients:
    """Clients of the endpoint.

    They ignore credentials, profiles and proxies of the environment, so that nothing of this can ever reach AWS.
    """
    session = boto3.Session(
        aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION
    )
    config = Config(
        connect_timeout=5,
        # Creating the stack again is refused, so that a slow machine must not have it tried again.
        read_timeout=300,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=connections,
        proxies={},
    )
    return Clients(
        cloudformation=session.client("cloudformation", endpoint_url=endpoint_url, config=config),
        dynamodb=session.client("dynamodb", endpoint_url=endpoint_url, config=config),
        s3=session.client("s3", endpoint_url=endpoint_url, config=config),
        sqs=session.client("sqs", endpoint_url=endpoint_url, config=config),
    )
