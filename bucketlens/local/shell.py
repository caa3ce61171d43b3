"""The variables with which a shell, the AWS CLI and every SDK talk to the local stack."""

from __future__ import annotations

import shlex

from botocore.exceptions import BotoCoreError, ClientError

from bucketlens.local.clients import clients
from bucketlens.local.constants import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, STACK_NAME
from classifier.errors import UserError


def variables(endpoint_url: str) -> dict[str, str]:
    """The environment for the stack that runs at ``endpoint_url``.

    Raises:
        UserError: none runs there.
    """
    try:
        stacks = clients(endpoint_url).cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise UserError(
            f"no local stack answers at {endpoint_url}; start one with `bucketlens local up`, or name its --port"
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "BUCKETLENS_BUCKET": outputs["BucketName"],
        "BUCKETLENS_TABLE": outputs["TableName"],
        "BUCKETLENS_REVIEW_TABLE": outputs["ReviewTableName"],
        "BUCKETLENS_QUEUE_URL": outputs["QueueUrl"],
        "BUCKETLENS_DEAD_LETTER_QUEUE_URL": outputs["DeadLetterQueueUrl"],
    }


def exports(environment: dict[str, str]) -> str:
    """Lines for ``eval`` in a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
