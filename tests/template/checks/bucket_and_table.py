"""What holds data: encrypted, private, found by its keys, and not lost with the stack."""

from __future__ import annotations

from typing import Any

from classifier.errors import ImageNotFound
from classifier.records import TOMBSTONE_LIFE, ImageFacts, ModelIdentity, Rejection, Result
from tests.template.checks.parameters import KEY, VERSION
from tests.template.document import Template
from tests.template.resolve import references

BUCKET = "bucketlens-123456789012-us-east-1"
TABLE = "bucketlens-predictions"
REVIEW_TABLE = "bucketlens-reviews"
TABLES = ("Table", "ReviewTable")
# DependsOn cannot name a resource that has a condition.
MAY_FAIL_LATER = {"AlarmTopicPolicy"}


def check_the_bucket_is_named_after_the_stack_or_as_one_likes(template: Template) -> None:
    for name in ("", "my-own-bucket"):
        assert template.properties("S3::Bucket", "Bucket", BucketName=name)["BucketName"] == (name or BUCKET)


def check_bucket_and_tables_are_encrypted(template: Template) -> None:
    for parameters in ({}, {"KmsKeyArn": KEY}):
        bucket = template.properties("S3::Bucket", "Bucket", **parameters)
        own = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY} if parameters else {"SSEAlgorithm": "AES256"}
        assert bucket["BucketEncryption"] == {
            # A bucket key spares a request to KMS for each object.
            "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": own, "BucketKeyEnabled": True}]
        }
        of_table = {"KMSMasterKeyId": KEY} if parameters else {}
        for name in TABLES:
            table = template.properties("DynamoDB::Table", name, **parameters)
            assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", **of_table}, name


def check_nothing_in_the_bucket_is_public(template: Template) -> None:
    bucket = template.properties("S3::Bucket", "Bucket")
    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def check_abandoned_uploads_are_removed_and_nothing_else(template: Template) -> None:
    (rule,) = template.properties("S3::Bucket", "Bucket")["LifecycleConfiguration"]["Rules"]
    assert rule.keys() == {"Id", "Status", "AbortIncompleteMultipartUpload"}
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def check_the_table_answers_by_image_by_label_and_by_need_of_attention(template: Template) -> None:
    table = template.properties("DynamoDB::Table", "Table")
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    keys = {
        index["IndexName"]: [(key["AttributeName"], key["KeyType"]) for key in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    assert table["KeySchema"] == [{"AttributeName": "image_uri", "KeyType": "HASH"}]
    assert keys == {
        "by-label": [("label", "HASH"), ("confidence", "RANGE")],
        "attention": [("attention", "HASH"), ("classified_at", "RANGE")],
    }
    assert types == {"image_uri": "S", "label": "S", "confidence": "N", "attention": "S", "classified_at": "S"}
    for index in table["GlobalSecondaryIndexes"]:
        assert index["Projection"] == {"ProjectionType": "ALL"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TableName"] == TABLE


def check_tombstones_and_nothing_else_expire(template: Template) -> None:
    gone = Rejection(ImageNotFound.code, "deleted")
    image, model = ImageFacts(BUCKET, "incoming/a.jpg"), ModelIdentity("m", VERSION, "0" * 64)
    result = Result(image, model, "2026-11-20T12:00:00.000Z", "r", error=gone)
    specification = template.properties("DynamoDB::Table", "Table")["TimeToLiveSpecification"]
    assert specification["Enabled"] is True
    assert specification["AttributeName"] in result.to_tombstone(sequencer="0A", output_uri="s3://b/k.json")
    assert specification["AttributeName"] not in result.to_item(sequencer="0A", output_uri=None)
    queue = template.properties("SQS::Queue", "DeadLetterQueue")["MessageRetentionPeriod"]
    # A message that is redriven on its last day lives as long again.
    assert TOMBSTONE_LIFE.total_seconds() > 3 * queue


def check_the_review_table_has_an_item_an_image_and_nothing_else(template: Template) -> None:
    table = template.properties("DynamoDB::Table", "ReviewTable")
    assert table["AttributeDefinitions"] == [{"AttributeName": "image_uri", "AttributeType": "S"}]
    assert table["KeySchema"] == [{"AttributeName": "image_uri", "KeyType": "HASH"}]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TableName"] == REVIEW_TABLE


def check_the_tables_can_be_restored_and_not_deleted_by_mistake(template: Template) -> None:
    for name in TABLES:
        for value in ("true", "false"):
            table = template.properties("DynamoDB::Table", name, DeletionProtection=value)
            assert table["DeletionProtectionEnabled"] == value, name
            assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name


def check_data_outlives_the_stack_and_a_failed_deployment_leaves_nothing(template: Template) -> None:
    resources = template.resources()
    for name in ("Bucket", *TABLES):
        assert resources[name]["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert resources[name]["UpdateReplacePolicy"] == "Retain", name
    # Its name is fixed as well: were it kept, a new stack of the same name could not be created.
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        assert resources["ClassifierLogGroup"][policy] == "Delete"


def check_the_tables_are_created_last_one_after_the_other(template: Template) -> None:
    """Under deletion protection a rollback could not delete them, and their names would block the next deployment."""
    resources = template.cloudformation["Resources"]
    api = {name for name, resource in resources.items() if resource.get("Condition", "").startswith("HasApi")}
    for place, name in enumerate(TABLES):
        later = resources.keys() - _created_before(name, resources) - api
        assert later == {*TABLES[place:], *MAY_FAIL_LATER}, name


def _created_before(name: str, resources: dict[str, Any]) -> set[str]:
    first: set[str] = set()
    waiting = {name}
    while waiting:
        new = (references(resources[waiting.pop()]) & resources.keys()) - first
        first |= new
        waiting |= new
    return first
