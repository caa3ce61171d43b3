"""Least privilege: the function's role, as a list of what it may do to what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Resolve = Callable[..., dict[str, Any]]

BUCKET = "arn:aws:s3:::bucketlens-123456789012-us-east-1"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0000"


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements_of(resources: dict[str, Any]) -> list[dict[str, Any]]:
    properties = resources["ClassifierRole"]["Properties"]
    assert "ManagedPolicyArns" not in properties, "managed policies allow every resource"
    return [statement for policy in properties["Policies"] for statement in policy["PolicyDocument"]["Statement"]]


def grants_of(resources: dict[str, Any]) -> set[tuple[str, str]]:
    """(action, resource) pairs."""
    return {
        (action, resource)
        for statement in statements_of(resources)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def test_the_role_may_do_exactly_this(resolved: Resolve) -> None:
    parameters = {"InputPrefix": "in/", "OutputPrefix": "out/", "ModelPrefix": "bundles/"}
    assert grants_of(resolved(**parameters)) == {
        ("s3:GetObject", f"{BUCKET}/in/*"),
        ("s3:GetObjectVersion", f"{BUCKET}/in/*"),
        ("s3:GetObject", f"{BUCKET}/bundles/*"),
        ("s3:GetObjectVersion", f"{BUCKET}/bundles/*"),
        ("s3:GetObject", f"{BUCKET}/out/*"),
        ("s3:PutObject", f"{BUCKET}/out/*"),
        ("s3:ListBucket", BUCKET),
        ("dynamodb:GetItem", "<Table.Arn>"),
        ("dynamodb:PutItem", "<Table.Arn>"),
        ("sqs:ReceiveMessage", "<Queue.Arn>"),
        ("sqs:DeleteMessage", "<Queue.Arn>"),
        ("sqs:GetQueueAttributes", "<Queue.Arn>"),
        ("sqs:SendMessage", "<DeadLetterQueue.Arn>"),
        ("logs:CreateLogStream", "<ClassifierLogGroup.Arn>"),
        ("logs:PutLogEvents", "<ClassifierLogGroup.Arn>"),
    }


def test_nothing_is_granted_on_everything(resolved: Resolve) -> None:
    for parameters in ({}, {"KmsKeyArn": KEY}):
        for action, resource in grants_of(resolved(**parameters)):
            assert "*" not in action
            assert resource != "*"
            # A wildcard stands only for the keys below a prefix.
            assert "*" not in resource.removesuffix("/*")


def test_models_and_images_are_never_writable(resolved: Resolve) -> None:
    writable = {resource for action, resource in grants_of(resolved()) if action == "s3:PutObject"}
    assert writable == {f"{BUCKET}/predictions/*"}


def test_listing_is_for_telling_missing_from_forbidden(resolved: Resolve) -> None:
    (statement,) = (one for one in statements_of(resolved()) if one["Action"] == "s3:ListBucket")
    # IfExists: a GetObject request carries no s3:prefix, and it is there that 404 must not become 403.
    assert statement["Condition"] == {
        "StringLikeIfExists": {"s3:prefix": ["incoming/*", "predictions/*", "models/*"]},
    }


def test_a_key_is_usable_only_through_bucket_and_table(resolved: Resolve) -> None:
    (statement,) = (one for one in statements_of(resolved(KmsKeyArn=KEY)) if "kms:Decrypt" in as_list(one["Action"]))
    assert statement["Resource"] == KEY
    assert statement["Condition"] == {
        "StringEquals": {"kms:ViaService": ["s3.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com"]}
    }


def test_only_lambda_takes_the_role(resolved: Resolve) -> None:
    (trust,) = resolved()["ClassifierRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
