"""The real template at the local endpoints, reached with the plain AWS CLI; no function runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucketlens.local.shell import variables
from bucketlens.local.stack import LocalStack
from classifier.errors import UserError
from tests.integration.local_helpers import TEMPLATE

pytestmark = pytest.mark.slow

AWS = Path(sys.prefix) / "bin" / "aws"
NAMES = ["plain.png", "with space.png", "a+b.png", "ümläut & 100%=.png", "日本/雪.png"]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(TEMPLATE, port=0, event_source=False) as stack:
        yield stack


@pytest.fixture
def shell(stack: LocalStack, tmp_path: Path) -> dict[str, str]:
    """What ``eval "$(bucketlens local env)"`` gives, on a machine without any AWS configuration."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", **variables(stack.endpoint_url)}


def aws(shell: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([AWS, *arguments], env=shell, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def received_keys(stack: LocalStack) -> list[str]:
    keys = []
    while messages := stack.aws.sqs.receive_message(QueueUrl=stack.queue_url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            stack.aws.sqs.delete_message(QueueUrl=stack.queue_url, ReceiptHandle=message["ReceiptHandle"])
            keys += [record["s3"]["object"]["key"] for record in json.loads(message["Body"]).get("Records", [])]
    return keys


def test_the_stack_shows_the_templates_outputs(stack: LocalStack, shell: dict[str, str]) -> None:
    stacks = json.loads(aws(shell, "cloudformation", "describe-stacks", "--stack-name", "bucketlens"))
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks["Stacks"][0]["Outputs"]}
    assert outputs == stack.deployment.outputs
    bucket = "bucketlens-123456789012-us-east-1"
    assert outputs["BucketName"] == stack.bucket == bucket
    assert outputs["InputUri"] == f"s3://{bucket}/incoming/"
    assert outputs["QueueUrl"].startswith(f"{stack.endpoint_url}/123456789012/")
    assert outputs["FunctionName"].startswith("bucketlens-")
    assert outputs["FunctionArn"] == f"arn:aws:lambda:us-east-1:123456789012:function:{outputs['FunctionName']}"
    assert not any(name.startswith("Local") for name in outputs)


def test_settings_are_resolved_from_the_template(stack: LocalStack) -> None:
    assert stack.settings["MODEL_URI"] == f"s3://{stack.bucket}/models/"
    assert stack.settings["TABLE_NAME"] == stack.table
    assert stack.settings["QUEUE_URL"] == stack.queue_url
    assert stack.settings["AWS_ENDPOINT_URL"] == stack.endpoint_url
    assert stack.deployment.function.handler == "classifier.app.handler"
    assert stack.deployment.function.timeout_seconds == 120
    source = stack.deployment.event_source
    assert (source.batch_size, source.window_seconds, source.max_receive_count) == (20, 2.0, 5)
    assert source.partial_responses
    assert source.queue_url == stack.queue_url
    attributes = stack.aws.sqs.get_queue_attributes(QueueUrl=stack.queue_url, AttributeNames=["All"])["Attributes"]
    assert int(attributes["VisibilityTimeout"]) >= 6 * 120
    assert not stack.model_is_published()


def test_uploads_of_the_aws_cli_reach_the_queue_with_their_names(
    stack: LocalStack, shell: dict[str, str], tmp_path: Path
) -> None:
    received_keys(stack)
    photos = tmp_path / "photos"
    for name in NAMES:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(name.encode())
    aws(shell, "s3", "cp", "--recursive", str(photos), f"s3://{stack.bucket}/incoming/set 1/")
    aws(shell, "s3", "cp", str(photos / "plain.png"), f"s3://{stack.bucket}/elsewhere/")
    assert sorted(received_keys(stack)) == sorted(
        [
            "incoming/set+1/plain.png",
            "incoming/set+1/with+space.png",
            "incoming/set+1/a%2Bb.png",
            "incoming/set+1/%C3%BCml%C3%A4ut+%26+100%25%3D.png",
            "incoming/set+1/%E6%97%A5%E6%9C%AC/%E9%9B%AA.png",
        ]
    )
    for name in NAMES:
        assert aws(shell, "s3", "cp", f"s3://{stack.bucket}/incoming/set 1/{name}", "-") == name


def test_a_multipart_upload_is_one_event_and_comes_back_whole(
    stack: LocalStack, shell: dict[str, str], tmp_path: Path
) -> None:
    received_keys(stack)
    (tmp_path / "big.bin").write_bytes(os.urandom(18 * 1024 * 1024))
    aws(shell, "s3", "cp", str(tmp_path / "big.bin"), f"s3://{stack.bucket}/incoming/")
    aws(shell, "s3", "cp", f"s3://{stack.bucket}/incoming/big.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == (tmp_path / "big.bin").read_bytes()
    assert received_keys(stack) == ["incoming/big.bin"]


def test_the_table_is_queried_by_its_indexes(stack: LocalStack, shell: dict[str, str]) -> None:
    item = {"image_uri": {"S": "s3://b/incoming/ä.png"}, "label": {"S": "cat"}, "confidence": {"N": "0.91"}}
    aws(shell, "dynamodb", "put-item", "--table-name", stack.table, "--item", json.dumps(item))
    found = json.loads(
        aws(
            shell,
            *("dynamodb", "query", "--table-name", stack.table, "--index-name", "by-label"),
            *("--key-condition-expression", "label = :l AND confidence >= :c"),
            *("--expression-attribute-values", '{":l": {"S": "cat"}, ":c": {"N": "0.9"}}'),
        )
    )
    assert found["Items"] == [item]


def test_a_conditional_put_fails_for_the_second(stack: LocalStack) -> None:
    stack.aws.s3.put_object(Bucket=stack.bucket, Key="models/x", Body=b"1", IfNoneMatch="*")
    with pytest.raises(stack.aws.s3.exceptions.ClientError, match="PreconditionFailed"):
        stack.aws.s3.put_object(Bucket=stack.bucket, Key="models/x", Body=b"2", IfNoneMatch="*")


def test_an_upload_under_a_versioned_bucket_names_its_version(stack: LocalStack) -> None:
    received_keys(stack)
    stack.aws.s3.put_bucket_versioning(Bucket=stack.bucket, VersioningConfiguration={"Status": "Enabled"})
    put = stack.aws.s3.put_object(Bucket=stack.bucket, Key="incoming/v.png", Body=b"1")
    (message,) = stack.aws.sqs.receive_message(QueueUrl=stack.queue_url)["Messages"]
    (record,) = json.loads(message["Body"])["Records"]
    assert record["s3"]["object"]["versionId"] == put["VersionId"]
    assert int(record["s3"]["object"]["sequencer"], 16) > 0


def test_a_port_in_use_leaves_the_running_stack_alone(stack: LocalStack) -> None:
    port = int(stack.endpoint_url.rpartition(":")[2])
    with pytest.raises((UserError, RuntimeError)):
        LocalStack(TEMPLATE, port=port, event_source=False).start()
    assert variables(stack.endpoint_url)["BUCKETLENS_BUCKET"] == stack.bucket
