"""Creates the template's resources at the local endpoints, as CloudFormation would, and reads back what it made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bucketlens.local.clients import Clients
from bucketlens.local.constants import STACK_NAME
from bucketlens.local.template import API_FUNCTION, BUCKETS, EVENT_SOURCE, FUNCTION, LocalTemplate
from classifier.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef
    from mypy_boto3_s3.type_defs import QueueConfigurationTypeDef


@dataclass(frozen=True)
class FunctionSettings:
    """The function's part of the template, references resolved."""

    handler: str
    timeout_seconds: int
    memory_mb: int
    environment: dict[str, str]


@dataclass(frozen=True)
class EventSourceSettings:
    """The event source mapping of the template.

    Attributes:
        batch_size: most messages of one invocation.
        window_seconds: how long to wait for a batch to fill, from its first message on.
        maximum_concurrency: most invocations at once.
        partial_responses: the response names the messages that failed (``ReportBatchItemFailures``).
    """

    queue_url: str
    queue_arn: str
    batch_size: int
    window_seconds: float
    maximum_concurrency: int
    partial_responses: bool
    max_receive_count: int | None = None


@dataclass(frozen=True)
class Deployment:
    """What exists at the endpoints: the stack's outputs by name, and how to run its functions.

    Attributes:
        api_function: the one behind the HTTP API; None where the template has none.
    """

    outputs: dict[str, str]
    function: FunctionSettings
    event_source: EventSourceSettings
    api_function: FunctionSettings | None = None


def deploy(template: LocalTemplate, aws: Clients) -> Deployment:
    """Create the stack.

    Raises:
        UserError: the template asks for something that moto refuses.
    """
    parameters: list[ParameterTypeDef] = [
        {"ParameterKey": name, "ParameterValue": value} for name, value in template.parameters.items()
    ]
    outputs = template.body["Outputs"]
    try:
        aws.cloudformation.create_stack(
            StackName=STACK_NAME,
            TemplateBody=json.dumps({**template.body, "Outputs": {**outputs, **template.settings}}),
            Parameters=parameters,
        )
        resolved = _outputs(aws)
        # The settings have served: the stack shows the outputs that it shows on AWS.
        aws.cloudformation.update_stack(
            StackName=STACK_NAME, TemplateBody=json.dumps(template.body), Parameters=parameters
        )
        for bucket in json.loads(resolved[BUCKETS]).values():
            _configure_bucket(bucket, aws)
    except ClientError as error:
        raise UserError(f"the template cannot be created locally: {error}") from error
    function, mapping = json.loads(resolved[FUNCTION]), json.loads(resolved[EVENT_SOURCE])
    return Deployment(
        outputs={name: resolved[name] for name in outputs if name in resolved},
        function=_function(function),
        event_source=_event_source(mapping, aws),
        api_function=_function(json.loads(resolved[API_FUNCTION])) if API_FUNCTION in resolved else None,
    )


def _outputs(aws: Clients) -> dict[str, str]:
    stack = aws.cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _configure_bucket(bucket: dict[str, Any], aws: Clients) -> None:
    """What moto's CloudFormation leaves out and the application needs."""
    name = bucket["Name"]
    if "VersioningConfiguration" in bucket:
        aws.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=bucket["VersioningConfiguration"])
    if "NotificationConfiguration" in bucket:
        queues: list[QueueConfigurationTypeDef] = [
            {
                "QueueArn": configuration["Queue"],
                "Events": [configuration["Event"]],
                "Filter": {"Key": {"FilterRules": configuration.get("Filter", {}).get("S3Key", {}).get("Rules", [])}},
            }
            for configuration in bucket["NotificationConfiguration"].get("QueueConfigurations", [])
            if configuration is not None  # what AWS::NoValue removes from a list, moto leaves as null
        ]
        aws.s3.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration={"QueueConfigurations": queues}
        )


def _function(properties: dict[str, Any]) -> FunctionSettings:
    variables = properties.get("Environment", {}).get("Variables", {})
    return FunctionSettings(
        handler=properties["Handler"],
        # Defaults of AWS::Lambda::Function.
        timeout_seconds=int(properties.get("Timeout", 3)),
        memory_mb=int(properties.get("MemorySize", 128)),
        environment={name: str(value) for name, value in variables.items()},
    )


def _event_source(properties: dict[str, Any], aws: Clients) -> EventSourceSettings:
    arn = properties["EventSourceArn"]
    url = aws.sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    redrive = json.loads(attributes["RedrivePolicy"]) if "RedrivePolicy" in attributes else {}
    # Defaults of AWS::Lambda::EventSourceMapping for a queue; its greatest concurrency is the account's, usually 1000.
    return EventSourceSettings(
        queue_url=url,
        queue_arn=arn,
        batch_size=int(properties.get("BatchSize", 10)),
        window_seconds=float(properties.get("MaximumBatchingWindowInSeconds", 0)),
        maximum_concurrency=int(properties.get("ScalingConfig", {}).get("MaximumConcurrency", 1000)),
        partial_responses="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
        max_receive_count=redrive.get("maxReceiveCount"),
    )
