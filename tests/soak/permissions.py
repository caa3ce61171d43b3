"""Which permission each call needs: calls recorded in the simulation -> IAM grants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Call = tuple[str, str, str]
Grant = tuple[str, str]

# (service, operation) -> actions. Service Authorization Reference; S3 User Guide, "Required permissions for S3 API
# operations", "How to prevent object overwrites with conditional writes" and "How to perform conditional deletes"
# (If-Match reads the object).
ACTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("s3", "GetObject"): ("s3:GetObject",),
    ("s3", "GetObjectVersion"): ("s3:GetObjectVersion",),
    ("s3", "HeadObject"): ("s3:GetObject",),
    ("s3", "PutObject"): ("s3:PutObject",),
    ("s3", "PutObjectIfMatch"): ("s3:PutObject", "s3:GetObject"),
    ("s3", "DeleteObject"): ("s3:DeleteObject",),
    ("s3", "DeleteObjectIfMatch"): ("s3:DeleteObject", "s3:GetObject"),
    # Who may not list is told 403 where 404 is the truth.
    ("s3", "missing object told as 404"): ("s3:ListBucket",),
    ("dynamodb", "GetItem"): ("dynamodb:GetItem",),
    ("dynamodb", "PutItem"): ("dynamodb:PutItem",),
    ("dynamodb", "DeleteItem"): ("dynamodb:DeleteItem",),
    ("sqs", "SendMessageBatch"): ("sqs:SendMessage",),
    ("sqs", "DeleteMessageBatch"): ("sqs:DeleteMessage",),
    # What Lambda does with the function's role: its event source, failed asynchronous events, logs.
    ("sqs", "ReceiveMessage"): ("sqs:ReceiveMessage",),
    ("sqs", "DeleteMessage"): ("sqs:DeleteMessage",),
    ("sqs", "GetQueueAttributes"): ("sqs:GetQueueAttributes",),
    ("sqs", "SendMessage"): ("sqs:SendMessage",),
    ("logs", "CreateLogStream"): ("logs:CreateLogStream",),
    ("logs", "PutLogEvents"): ("logs:PutLogEvents",),
}

# What the services do with a customer's key on behalf of the caller. S3 User Guide, "Required permissions for SSE-KMS";
# DynamoDB Developer Guide, "Encryption at rest: usage notes".
KEY_ACTIONS: dict[tuple[str, str], str] = {
    ("s3", "GetObject"): "kms:Decrypt",
    ("s3", "GetObjectVersion"): "kms:Decrypt",
    ("s3", "PutObject"): "kms:GenerateDataKey",
    ("s3", "PutObjectIfMatch"): "kms:GenerateDataKey",
    ("dynamodb", "GetItem"): "kms:Decrypt",
    ("dynamodb", "PutItem"): "kms:Decrypt",
    ("dynamodb", "DeleteItem"): "kms:Decrypt",
}


def grants_needed(calls: Iterable[Call], arns: Mapping[str, str]) -> set[Grant]:
    """(action, resource) pairs that the calls need.

    Args:
        arns: of ``bucket``, ``table``, ``queue``, ``dead letters``, ``log group``, and of ``key`` where there is one.
    """
    needed = set()
    for service, operation, where in calls:
        for action in ACTIONS[service, operation]:
            if service == "s3":
                resource = arns["bucket"] if action == "s3:ListBucket" else f"{arns['bucket']}/{where}*"
            else:
                resource = arns[where]
            needed.add((action, resource))
        if "key" in arns and (service, operation) in KEY_ACTIONS:
            needed.add((KEY_ACTIONS[service, operation], arns["key"]))
    return needed
