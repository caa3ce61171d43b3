"""What the template promises: limits that depend on each other, names that others rely on, nothing in the clear."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from classifier.errors import ConfigError
from classifier.settings import Settings
from tests.template.conftest import ROOT, TEMPLATE
from tests.template.resolve import Resolver, references

Resolve = Callable[..., dict[str, Any]]

BUCKET = "bucketlens-123456789012-us-east-1"
BATCH_WINDOW_MAXIMUM = 60
# The contract: DESIGN, "Environment of the function", and what Powertools reads.
ENVIRONMENT = {
    *("MODEL_URI", "INPUT_PREFIX", "OUTPUT_BUCKET", "OUTPUT_PREFIX", "TABLE_NAME", "TOP_K", "REVIEW_THRESHOLD"),
    *("MAX_IMAGE_BYTES", "MAX_IMAGE_PIXELS", "OUTPUT_MODE", "GOLDEN_TEST", "LOG_LEVEL", "AWS_ENDPOINT_URL"),
    *("POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"),
}
PREFIXES = ("InputPrefix", "OutputPrefix", "ModelPrefix")


def environment_of(resources: dict[str, Any]) -> dict[str, str]:
    variables = resources["ClassifierFunction"]["Properties"]["Environment"]["Variables"]
    return {name: str(value) for name, value in variables.items()}


def allows(source: dict[str, Any], parameter: str, value: str) -> bool:
    """Whether CloudFormation accepts the value: patterns must match it whole."""
    rules = source["Parameters"][parameter]
    if "AllowedValues" in rules and value not in map(str, rules["AllowedValues"]):
        return False
    return re.fullmatch(rules.get("AllowedPattern", ".*"), value) is not None


@pytest.mark.slow
def test_cfn_lint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(TEMPLATE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.sam
@pytest.mark.slow
def test_sam_validate(sam: Path, sam_environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [str(sam), "validate", "--lint", "--template", str(TEMPLATE)],
        cwd=ROOT,
        env=dict(sam_environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid SAM Template" in done.stdout
    assert not re.search(r"^[WE]\d{4}", done.stdout, re.MULTILINE), done.stdout


def test_every_parameter_has_a_default_and_a_description(source: dict[str, Any]) -> None:
    for name, parameter in source["Parameters"].items():
        assert "Default" in parameter, name
        assert len(parameter.get("Description", "")) > 20, name
        assert allows(source, name, str(parameter["Default"])), name
    groups = source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(source["Parameters"])


def test_outputs_are_what_a_user_needs(template: dict[str, Any]) -> None:
    outputs = Resolver(template, {}).outputs()
    assert outputs == {
        "BucketName": BUCKET,
        "InputUri": f"s3://{BUCKET}/incoming/",
        "OutputUri": f"s3://{BUCKET}/predictions/",
        "ModelUri": f"s3://{BUCKET}/models/",
        "TableName": "<Table>",
        "QueueUrl": "<Queue>",
        "DeadLetterQueueUrl": "<DeadLetterQueue>",
        "FunctionName": "<ClassifierFunction>",
        "FunctionArn": "<ClassifierFunction.Arn>",
    }


def test_no_circular_dependency(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    graph = {name: references(resource) & resources.keys() for name, resource in resources.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("QueuePolicy") < order.index("Bucket"), "S3 tests the queue when the notification is made"


@pytest.mark.parametrize("timeout", ["30", "60", "120", "180", "300", "600", "900"])
def test_visibility_timeout_is_six_times_the_functions(resolved: Resolve, timeout: str) -> None:
    visibility = resolved(Timeout=timeout)["Queue"]["Properties"]["VisibilityTimeout"]
    assert visibility >= 6 * int(timeout) + BATCH_WINDOW_MAXIMUM


def test_every_timeout_has_its_visibility(source: dict[str, Any]) -> None:
    assert source["Parameters"]["Timeout"]["AllowedValues"] == list(source["Mappings"]["VisibilityTimeout"])
    assert source["Parameters"]["BatchWindowSeconds"]["MaxValue"] == BATCH_WINDOW_MAXIMUM


def test_redrive_and_retention(resolved: Resolve) -> None:
    resources = resolved()
    queue, dead = resources["Queue"]["Properties"], resources["DeadLetterQueue"]["Properties"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == "<DeadLetterQueue.Arn>"
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    assert dead["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
    assert resources["ClassifierFunction"]["Properties"]["DeadLetterConfig"] == {"TargetArn": "<DeadLetterQueue.Arn>"}


def test_the_event_source_reports_failures_one_by_one_and_bounds_concurrency(resolved: Resolve) -> None:
    resources = resolved(BatchSize="7", BatchWindowSeconds="3", MaximumConcurrency="9")
    mapping = resources["ClassifierFunctionImages"]["Properties"]
    assert mapping["EventSourceArn"] == "<Queue.Arn>"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert (mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]) == ("7", "3")
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": "9"}
    assert "ReservedConcurrentExecutions" not in resources["ClassifierFunction"]["Properties"]


def test_batches_over_ten_have_a_window(source: dict[str, Any]) -> None:
    # Lambda refuses a larger batch without one.
    assert source["Parameters"]["BatchWindowSeconds"]["MinValue"] >= 1


def test_only_created_objects_under_the_input_prefix_are_announced(resolved: Resolve) -> None:
    properties = resolved(InputPrefix="drop/here/")["Bucket"]["Properties"]
    (configuration,) = properties["NotificationConfiguration"]["QueueConfigurations"]
    assert configuration == {
        "Event": "s3:ObjectCreated:*",
        "Queue": "<Queue.Arn>",
        "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": "drop/here/"}]}},
    }


@pytest.mark.parametrize("name", ["", "my-own-bucket"])
def test_the_queue_admits_this_bucket_of_this_account_alone(resolved: Resolve, name: str) -> None:
    resources = resolved(BucketName=name)
    bucket = resources["Bucket"]["Properties"]["BucketName"]
    assert bucket == (name or BUCKET)
    statements = resources["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (allow,) = (statement for statement in statements if statement["Effect"] == "Allow")
    assert allow["Principal"] == {"Service": "s3.amazonaws.com"}
    assert allow["Action"] == "sqs:SendMessage"
    assert allow["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"},
    }


@pytest.mark.parametrize("policy", ["BucketPolicy", "QueuePolicy", "DeadLetterQueuePolicy", "AlarmTopicPolicy"])
def test_plain_http_is_refused(resolved: Resolve, policy: str) -> None:
    statements = resolved(AlarmEmail="a@example.org")[policy]["Properties"]["PolicyDocument"]["Statement"]
    denials = [statement for statement in statements if statement["Effect"] == "Deny"]
    assert [(denial["Principal"], denial["Condition"]) for denial in denials] == [
        ("*", {"Bool": {"aws:SecureTransport": "false"}})
    ]


def test_everything_is_encrypted_and_nothing_is_public(resolved: Resolve) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/0000"
    for parameters in ({}, {"KmsKeyArn": key}):
        resources = resolved(**parameters)
        bucket = resources["Bucket"]["Properties"]
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        own = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key} if parameters else {"SSEAlgorithm": "AES256"}
        assert rule["ServerSideEncryptionByDefault"] == own
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        table = resources["Table"]["Properties"]["SSESpecification"]
        assert table["SSEEnabled"] is True
        assert table.get("KMSMasterKeyId") == parameters.get("KmsKeyArn")
        for queue in ("Queue", "DeadLetterQueue"):
            assert resources[queue]["Properties"]["SqsManagedSseEnabled"] is True


def test_abandoned_uploads_are_cleaned_up(resolved: Resolve) -> None:
    (rule,) = resolved()["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 7


def test_table_and_its_indexes(resolved: Resolve) -> None:
    table = resolved()["Table"]["Properties"]
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    keys = {
        index["IndexName"]: [
            (key["AttributeName"], key["KeyType"], types[key["AttributeName"]]) for key in index["KeySchema"]
        ]
        for index in table["GlobalSecondaryIndexes"]
    }
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [("image_uri", "HASH")]
    assert types["image_uri"] == "S"
    assert keys == {
        "by-label": [("label", "HASH", "S"), ("confidence", "RANGE", "N")],
        "attention": [("attention", "HASH", "S"), ("classified_at", "RANGE", "S")],
    }
    assert {index["Projection"]["ProjectionType"] for index in table["GlobalSecondaryIndexes"]} == {"ALL"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_what_holds_data_outlives_the_stack(resolved: Resolve) -> None:
    resources = resolved()
    for name in ("Bucket", "Table"):
        assert resources[name]["DeletionPolicy"] == resources[name]["UpdateReplacePolicy"] == "Retain"
    assert resources["Table"]["Properties"]["DeletionProtectionEnabled"] == "true"
    assert resolved(DeletionProtection="false")["Table"]["Properties"]["DeletionProtectionEnabled"] == "false"


def test_the_environment_is_the_contracts(resolved: Resolve) -> None:
    environment = environment_of(resolved())
    assert environment.keys() == ENVIRONMENT
    assert environment["AWS_ENDPOINT_URL"] == ""
    settings = Settings.from_environment(environment)
    assert (str(settings.model_uri), settings.input_prefix, settings.output_prefix, settings.table_name) == (
        f"s3://{BUCKET}/models/",
        "incoming/",
        "predictions/",
        "<Table>",
    )
    assert (settings.top_k, settings.review_threshold, settings.output_mode, settings.golden_test) == (
        5,
        None,
        "image",
        False,
    )
    assert (settings.limits.max_bytes, settings.limits.max_pixels) == (26_214_400, 64_000_000)
    assert (settings.log_level, settings.endpoint_url) == ("INFO", None)


def test_a_pinned_version_is_named_whole(resolved: Resolve) -> None:
    environment = environment_of(resolved(ModelVersion="20261120T101500Z-5d313724", ModelPrefix="a/b/"))
    assert environment["MODEL_URI"] == f"s3://{BUCKET}/a/b/20261120T101500Z-5d313724/"
    assert Settings.from_environment(environment).model_uri.version == "20261120T101500Z-5d313724"


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [(prefix, value) for prefix in PREFIXES for value in ("", "incoming", "/", "/incoming/", "a//b/", "a*/", "a/ ")]
    + [("ReviewThreshold", "1.5"), ("ReviewThreshold", "-1"), ("ModelVersion", "a/b"), ("ModelVersion", "models/")]
    + [
        ("BucketName", "No-Capitals"),
        ("BucketName", "s3://bucket"),
        ("AlarmEmail", "nobody"),
        ("KmsKeyArn", "alias/mine"),
    ]
    + [("Timeout", "121"), ("OutputMode", "csv"), ("Architecture", "arm64"), ("LogLevel", "LOUD")],
)
def test_parameters_refuse_nonsense(source: dict[str, Any], parameter: str, refused: str) -> None:
    assert not allows(source, parameter, refused)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("value", ["incoming/", "team-a/day=2026-11-20/in.v1/"])
def test_prefixes_may_be_deep(source: dict[str, Any], prefix: str, value: str) -> None:
    assert allows(source, prefix, value)


def test_equal_prefixes_are_refused(template: dict[str, Any]) -> None:
    assertions = template["Rules"]["PrefixesDiffer"]["Assertions"]

    def refused(**parameters: str) -> bool:
        resolver = Resolver(template, parameters)
        return not all(resolver.condition(assertion["Assert"]) for assertion in assertions)

    assert not refused()
    assert refused(OutputPrefix="incoming/")
    assert refused(ModelPrefix="incoming/")
    assert refused(ModelPrefix="predictions/")


def test_nested_prefixes_are_refused_by_the_function(resolved: Resolve) -> None:
    with pytest.raises(ConfigError, match="INPUT_PREFIX"):
        Settings.from_environment(environment_of(resolved(OutputPrefix="incoming/results/")))


def test_logs_go_to_a_group_that_forgets(resolved: Resolve) -> None:
    resources = resolved(LogRetentionDays="14")
    assert resources["ClassifierLogGroup"]["Properties"]["RetentionInDays"] == "14"
    logging = resources["ClassifierFunction"]["Properties"]["LoggingConfig"]
    assert logging == {"LogGroup": "<ClassifierLogGroup>"}


def test_alarms_write_to_the_address_that_is_given(resolved: Resolve) -> None:
    silent, loud = resolved(), resolved(AlarmEmail="ops@example.org")
    assert "AlarmTopic" not in silent
    assert loud["AlarmTopic"]["Properties"]["Subscription"] == [{"Protocol": "email", "Endpoint": "ops@example.org"}]
    alarms = {name for name, resource in silent.items() if resource["Type"] == "AWS::CloudWatch::Alarm"}
    assert {"DeadLetterAlarm", "FunctionErrorAlarm"} <= alarms
    for name in alarms:
        assert "AlarmActions" not in silent[name]["Properties"]
        assert loud[name]["Properties"]["AlarmActions"] == ["<AlarmTopic>"]
    assert silent["DeadLetterAlarm"]["Properties"]["Dimensions"][0]["Value"] == "<DeadLetterQueue.QueueName>"


def test_the_function_runs_what_the_makefile_builds(source: dict[str, Any], resolved: Resolve) -> None:
    function = source["Resources"]["ClassifierFunction"]
    assert function["Metadata"]["BuildMethod"] == "makefile"
    assert function["Properties"]["CodeUri"] == "functions/"
    properties = resolved()["ClassifierFunction"]["Properties"]
    assert (properties["Runtime"], properties["Handler"]) == ("python3.13", "classifier.app.handler")
    assert properties["Architectures"] == ["x86_64"]
