"""What S3 tells the queue of deletions on the local stack, where the results of deleted images are removed."""

from __future__ import annotations

import json

import pytest

from bucketlens.local.stack import LocalStack
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_deletions_reach_the_queue_where_they_are_wanted() -> None:
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, parameters={"RemoveDeleted": "true"}) as stack:
        assert stack.settings["REMOVE_DELETED"] == "true"
        s3, sqs, key = stack.aws.s3, stack.aws.sqs, "incoming/a.png"

        def told() -> list[tuple[str, str | None]]:
            """Event and version of every message that has come since."""
            found = []
            while messages := sqs.receive_message(QueueUrl=stack.queue_url, MaxNumberOfMessages=10).get("Messages"):
                for message in messages:
                    for record in json.loads(message["Body"]).get("Records", []):
                        assert record["s3"]["object"]["key"] == key
                        found.append((record["eventName"], record["s3"]["object"].get("versionId")))
                    sqs.delete_message(QueueUrl=stack.queue_url, ReceiptHandle=message["ReceiptHandle"])
            return found

        s3.put_object(Bucket=stack.bucket, Key=key, Body=b"1")
        s3.delete_object(Bucket=stack.bucket, Key=key)
        s3.put_object(Bucket=stack.bucket, Key="predictions/a.png.json", Body=b"{}")
        s3.delete_object(Bucket=stack.bucket, Key="predictions/a.png.json")
        assert told() == [("ObjectCreated:Put", None), ("ObjectRemoved:Delete", None)]
        s3.put_bucket_versioning(Bucket=stack.bucket, VersioningConfiguration={"Status": "Enabled"})
        old, new = (s3.put_object(Bucket=stack.bucket, Key=key, Body=body)["VersionId"] for body in (b"2", b"3"))
        s3.delete_object(Bucket=stack.bucket, Key=key, VersionId=old)
        marker = s3.delete_object(Bucket=stack.bucket, Key=key)["VersionId"]
        s3.delete_object(Bucket=stack.bucket, Key=key, VersionId=marker)
        s3.delete_object(Bucket=stack.bucket, Key=key, VersionId=new)
        assert told() == [
            ("ObjectCreated:Put", old),
            ("ObjectCreated:Put", new),
            ("ObjectRemoved:Delete", old),
            ("ObjectRemoved:DeleteMarkerCreated", marker),
            ("ObjectRemoved:Delete", marker),
            ("ObjectRemoved:Delete", new),
        ]
