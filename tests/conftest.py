"""Fixtures that suites share: AWS endpoints over HTTP, and the folder of real data."""

from __future__ import annotations

import logging
import os
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import settings
from moto.server import ThreadedMotoServer

from classifier.aws import AwsClients
from classifier.json_api import DynamoDbClient
from classifier.s3 import S3Client

ROOT = Path(__file__).parent.parent
BUCKET = "bucketlens-123456789012-us-east-1"
TABLE = "bucketlens-predictions"

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)
for variable in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
    os.environ.pop(variable, None)


# A shell that starts the tests in the background has them ignore Ctrl-C, and with them all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine with other work is no failure.
settings.register_profile("bucketlens", deadline=None)
settings.load_profile("bucketlens")

# One line a request would bury what a failed test says.
logging.getLogger("werkzeug").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Aws:
    """A fresh account behind HTTP endpoints, with a bucket and a table as the template describes them.

    Attributes:
        s3, dynamodb: boto3's clients, for what happens around the function.
        function_s3, function_dynamodb: the function's own.
    """

    endpoint_url: str
    s3: Any
    dynamodb: Any
    function_s3: S3Client
    function_dynamodb: DynamoDbClient

    def item(self, key: str, bucket: str = BUCKET) -> dict[str, Any] | None:
        found = self.dynamodb.get_item(TableName=TABLE, Key={"image_uri": {"S": f"s3://{bucket}/{key}"}})
        item: dict[str, Any] | None = found.get("Item")
        return item

    def keys(self, prefix: str = "predictions/", bucket: str = BUCKET) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def read(self, key: str, bucket: str = BUCKET) -> bytes:
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def put(self, key: str, data: bytes, bucket: str = BUCKET) -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=data)


def create_table(dynamodb: Any, name: str) -> None:
    """A table of images, as the template's two are: results and reviews."""
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "image_uri", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "image_uri", "AttributeType": "S"}],
    )


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str) -> Iterator[Aws]:
    session = boto3.session.Session()
    s3 = session.client("s3", endpoint_url=moto_url)
    dynamodb = session.client("dynamodb", endpoint_url=moto_url)
    s3.create_bucket(Bucket=BUCKET)
    create_table(dynamodb, TABLE)
    clients = AwsClients(os.environ, moto_url, connections=2)
    yield Aws(moto_url, s3, dynamodb, clients.s3(), clients.dynamodb())
    request = urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    s3.close()
    dynamodb.close()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos, models and broken files; never part of the repository."""
    folder = os.environ.get("BUCKETLENS_DATA")
    if not folder:
        pytest.skip("BUCKETLENS_DATA is not set: it names the folder of real photos and models")
    return Path(folder).resolve()
