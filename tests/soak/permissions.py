"""Which permission each call needs: calls recorded in the simulation -> IAM grants."""

from __future__ import annotations

from collections.abc import Iterable

Call = tuple[str, str, str]
Grant = tuple[str, str]

# (service, operation) -> actions. Service Authorization Reference; S3 User Guide, "Required permissions for S3 API
# operations" and "How to prevent object overwrites with conditional writes" (If-Match reads the object).
ACTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("s3", "GetObject"): ("s3:GetObject",),
    ("s3", "GetObjectVersion"): ("s3:GetObjectVersion",),
    ("s3", "HeadObject"): ("s3:GetObject",),
    ("s3", "PutObject"): ("s3:PutObject",),
    ("s3", "PutObjectIfMatch"): ("s3:PutObject", "s3:GetObject"),
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
# DynamoDB Developer Guide, "Using a customer managed key".
KEY_ACTIONS: dict[str, tuple[str, ...]] = {
    "s3": ("kms:Decrypt", "kms:GenerateDataKey"),
    "dynamodb": (
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
    ),
}

_RESOURCES = {"queue": "<Queue.Arn>", "dead letters": "<DeadLetterQueue.Arn>", "log group": "<ClassifierLogGroup.Arn>"}


def grants_needed(calls: Iterable[Call], bucket_arn: str, key_arn: str | None = None) -> set[Grant]:
    """(action, resource) pairs that the calls need, with the resources named as the template's tests name them."""
    needed = set()
    for service, operation, where in calls:
        for action in ACTIONS[service, operation]:
            if service == "s3":
                resource = bucket_arn if action == "s3:ListBucket" else f"{bucket_arn}/{where}*"
            else:
                resource = "<Table.Arn>" if service == "dynamodb" else _RESOURCES[where]
            needed.add((action, resource))
        if key_arn is not None:
            needed |= {(action, key_arn) for action in KEY_ACTIONS.get(service, ())}
    return needed
