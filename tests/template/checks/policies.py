"""Least privilege: who may do what to what, over TLS only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from classifier.batch_event import DETAIL_TYPE, SOURCE
from tests.template.checks.bucket_and_table import BUCKET, TABLE
from tests.template.checks.parameters import KEY
from tests.template.document import API_FUNCTION, FUNCTION, Template

BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"
TABLE_ARN = f"arn:aws:dynamodb:us-east-1:123456789012:table/{TABLE}"
ROLE = ("IAM::Role", "ClassifierRole")
API_ROLE = ("IAM::Role", "ApiRole")
# Who and what a policy is attached to, and what it says of plain HTTP.
ATTACHED = {
    "BucketPolicy": ("S3::BucketPolicy", "Bucket", BUCKET, "s3:*", [BUCKET_ARN, f"{BUCKET_ARN}/*"]),
    "QueuePolicy": ("SQS::QueuePolicy", "Queues", ["<Queue>"], "sqs:*", "<Queue.Arn>"),
    "DeadLetterQueuePolicy": ("SQS::QueuePolicy", "Queues", ["<DeadLetterQueue>"], "sqs:*", "<DeadLetterQueue.Arn>"),
    "AlarmTopicPolicy": ("SNS::TopicPolicy", "Topics", ["<AlarmTopic>"], "sns:Publish", "<AlarmTopic>"),
}
EVERYTHING = {
    "AlarmEmail": "ops@example.org",
    "KmsKeyArn": KEY,
    "PublishEvents": "true",
    "EnableApi": "true",
    "RemoveDeleted": "true",
}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def role_statements(template: Template, **parameters: str) -> list[dict[str, Any]]:
    """The statements of the classifier's role."""
    return _statements(template, ROLE, parameters)


def _statements(template: Template, role: tuple[str, str], parameters: dict[str, str]) -> list[dict[str, Any]]:
    (policy,) = template.properties(*role, **parameters)["Policies"]
    assert policy["PolicyName"]
    statements: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return statements


def grants(statements: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """(action, resource) pairs."""
    return {
        (action, resource)
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def _documents(node: Any) -> Iterator[dict[str, Any]]:
    """Every policy document of the template, wherever it stands."""
    if isinstance(node, list):
        for item in node:
            yield from _documents(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("PolicyDocument", "AssumeRolePolicyDocument"):
                yield value
            else:
                yield from _documents(value)


def check_the_role_may_do_exactly_this(template: Template) -> None:
    parameters = {"InputPrefix": "in/", "OutputPrefix": "out/", "ModelPrefix": "bundles/"}
    assert grants(role_statements(template, **parameters)) == {
        ("s3:GetObject", f"{BUCKET_ARN}/in/*"),
        ("s3:GetObjectVersion", f"{BUCKET_ARN}/in/*"),
        ("s3:GetObject", f"{BUCKET_ARN}/bundles/*"),
        ("s3:GetObject", f"{BUCKET_ARN}/out/*"),
        ("s3:PutObject", f"{BUCKET_ARN}/out/*"),
        ("s3:ListBucket", BUCKET_ARN),
        ("dynamodb:DeleteItem", TABLE_ARN),
        ("dynamodb:GetItem", TABLE_ARN),
        ("dynamodb:PutItem", TABLE_ARN),
        ("sqs:ReceiveMessage", "<Queue.Arn>"),
        ("sqs:DeleteMessage", "<Queue.Arn>"),
        ("sqs:GetQueueAttributes", "<Queue.Arn>"),
        ("sqs:SendMessage", "<Queue.Arn>"),
        ("sqs:SendMessage", "<DeadLetterQueue.Arn>"),
        ("logs:CreateLogStream", "<ClassifierLogGroup.Arn>"),
        ("logs:PutLogEvents", "<ClassifierLogGroup.Arn>"),
    }


def check_the_api_may_read_and_write_nothing_but_its_log(template: Template) -> None:
    parameters = {"InputPrefix": "in/", "OutputPrefix": "out/", "ModelPrefix": "bundles/", "EnableApi": "true"}
    statements = _statements(template, API_ROLE, parameters)
    assert grants(statements) == {
        ("s3:GetObject", f"{BUCKET_ARN}/in/*"),
        ("s3:GetObject", f"{BUCKET_ARN}/bundles/*"),
        ("s3:ListBucket", BUCKET_ARN),
        ("logs:CreateLogStream", "<ApiLogGroup.Arn>"),
        ("logs:PutLogEvents", "<ApiLogGroup.Arn>"),
    }
    assert [statement["Condition"] for statement in statements if "Condition" in statement] == [
        {"StringLikeIfExists": {"s3:prefix": ["in/*", "bundles/*"]}}
    ]
    (with_a_key,) = (
        statement
        for statement in _statements(template, API_ROLE, {"EnableApi": "true", "KmsKeyArn": KEY})
        if "kms:Decrypt" in as_list(statement["Action"])
    )
    assert with_a_key["Resource"] == KEY
    assert with_a_key["Action"] == "kms:Decrypt"
    assert with_a_key["Condition"] == {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}


def check_the_functions_have_these_roles_and_no_other_rights(template: Template) -> None:
    for function, role in ((FUNCTION, ROLE), (API_FUNCTION, API_ROLE)):
        assert template.properties("Lambda::Function", function, **EVERYTHING)["Role"] == f"<{role[1]}.Arn>"
        # Managed policies, those of SAM among them, allow every resource.
        assert template.properties(*role, **EVERYTHING).keys() == {"AssumeRolePolicyDocument", "Policies"}
    roles = [name for name, one in template.resources(**EVERYTHING).items() if one["Type"] == "AWS::IAM::Role"]
    assert roles == ["ClassifierRole", "ApiRole"]


def check_only_the_right_to_list_and_the_key_have_conditions(template: Template) -> None:
    conditions = {
        as_list(statement["Action"])[0]: statement["Condition"]
        for statement in role_statements(template, KmsKeyArn=KEY)
        if "Condition" in statement
    }
    assert conditions == {
        # IfExists: a GetObject request carries no s3:prefix, and it is there that 404 must not become 403.
        "s3:ListBucket": {"StringLikeIfExists": {"s3:prefix": ["incoming/*", "predictions/*", "models/*"]}},
        "kms:Decrypt": {
            "StringEquals": {"kms:ViaService": ["s3.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com"]}
        },
    }


def check_a_key_of_ones_own_is_used_for_reading_and_writing(template: Template) -> None:
    more = grants(role_statements(template, KmsKeyArn=KEY)) - grants(role_statements(template))
    assert more == {("kms:Decrypt", KEY), ("kms:GenerateDataKey", KEY)}


def check_events_are_the_batches_of_this_application(template: Template) -> None:
    published = role_statements(template, PublishEvents="true")
    more = grants(published) - grants(role_statements(template))
    assert more == {("events:PutEvents", "arn:aws:events:us-east-1:123456789012:event-bus/default")}
    (condition,) = (one["Condition"] for one in published if one["Action"] == "events:PutEvents")
    assert condition == {"StringEquals": {"events:source": SOURCE, "events:detail-type": DETAIL_TYPE}}


def check_documents_are_deleted_only_where_it_is_wanted(template: Template) -> None:
    more = grants(role_statements(template, OutputPrefix="out/", RemoveDeleted="true"))
    assert more - grants(role_statements(template, OutputPrefix="out/")) == {("s3:DeleteObject", f"{BUCKET_ARN}/out/*")}


def check_only_lambda_takes_the_roles(template: Template) -> None:
    for role in (ROLE, API_ROLE):
        (trust,) = template.properties(*role, **EVERYTHING)["AssumeRolePolicyDocument"]["Statement"]
        assert trust == {
            "Sid": "LambdaRuns",
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }


def check_no_policy_allows_everything(template: Template) -> None:
    for document in _documents(template.resources(**EVERYTHING)):
        assert document["Version"] == "2012-10-17"
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow":
                assert not any("*" in action for action in as_list(statement["Action"])), statement
                # A wildcard stands only for the keys below a prefix.
                for resource in as_list(statement.get("Resource", [])):
                    assert "*" not in resource.removesuffix("/*"), statement
                    assert resource != f"{BUCKET_ARN}/*", statement
                if "Principal" in statement:
                    (kind,) = statement["Principal"]
                    assert kind == "Service", statement
            else:
                assert statement["Effect"] == "Deny"
            # One misspelled element, and a statement says something else.
            assert statement.keys() <= {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}


def check_every_statement_says_what_it_is_for(template: Template) -> None:
    for document in _documents(template.resources(**EVERYTHING)):
        statements = document["Statement"]
        assert len({one["Sid"] for one in statements}) == len(statements)


def check_every_role_statement_allows(template: Template) -> None:
    for role in (ROLE, API_ROLE):
        assert {statement["Effect"] for statement in _statements(template, role, EVERYTHING)} == {"Allow"}


def check_plain_http_is_refused(template: Template) -> None:
    resources = template.resources(**EVERYTHING)
    assert {name for name, one in resources.items() if one["Type"].endswith("Policy")} == ATTACHED.keys()
    for name, (kind, attribute, target, action, resource) in ATTACHED.items():
        policy = template.properties(kind, name, **EVERYTHING)
        assert policy[attribute] == target, name
        denials = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
        assert [{key: value for key, value in denial.items() if key != "Sid"} for denial in denials] == [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": action,
                "Resource": resource,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ], name
