"""Uploads the code and starts the job. The clients are given, so that nothing here looks for credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from classifier.errors import UserError
from model_build.sagemaker import shapes
from model_build.sagemaker.requests import JobPlan
from model_build.sagemaker.sourcedir import SourceDir, build

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRAIN = "CreateTrainingJob"
TUNE = "CreateHyperParameterTuningJob"
_METHODS = {TRAIN: "create_training_job", TUNE: "create_hyper_parameter_tuning_job"}
_ABSENT = ("404", "NoSuchKey", "NotFound")


def prepare(
    operation: str, plan: JobPlan, request: Callable[[str], dict[str, Any]]
) -> tuple[SourceDir, dict[str, Any]]:
    """The archive of the code, and the checked request that names it; ``request`` takes the archive's S3 URI.

    Raises:
        UserError: SageMaker would refuse the request.
    """
    source = build()
    made = request(plan.under_output(source.key))
    shapes.check(operation, made)
    return source, made


def submit(
    operation: str, plan: JobPlan, source: SourceDir, request: dict[str, Any], *, s3: S3Client, sagemaker: Any
) -> str:
    """Upload the archive unless it is there, start the job, and return its ARN.

    Raises:
        UserError: the bucket does not exist, or a job of that name does.
        ClientError, BotoCoreError: anything else AWS refuses.
    """
    bucket, _, key = plan.under_output(source.key).removeprefix("s3://").partition("/")
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        _upload(s3, bucket, key, source.data)
    try:
        response: dict[str, str] = getattr(sagemaker, _METHODS[operation])(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceInUse":
            raise UserError(f"a SageMaker job named {plan.name!r} is already there; give another name") from None
        raise
    return next(value for name, value in response.items() if name.endswith("Arn"))


def _upload(s3: S3Client, bucket: str, key: str, data: bytes) -> None:
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=data)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            raise UserError(f"the bucket {bucket} does not exist; create it, or give another --output") from None
        raise
