"""The requests that start SageMaker jobs, as data, checked against SageMaker's own description as far as botocore
carries it: nothing here talks to AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from classifier.errors import UserError
from model_build.sagemaker.container import PROGRAM, WEIGHTS_CHANNEL
from model_build.training.config import TrainingConfig
from model_build.tuning.space import Choice, Real, SearchSpace, Value

OBJECTIVE = "validation:accuracy"
METRICS = {
    OBJECTIVE: r"validation_accuracy=([0-9.]+)",
    "validation:loss": r"validation_loss=([0-9.]+)",
    "train:loss": r" loss=([0-9.]+)",
}
"""Metric definitions: what :func:`model_build.sagemaker.entry_point.metric_line` prints."""

# ml.g4dn.xlarge has the cheapest GPU that trains with mixed precision.
DEFAULT_INSTANCE = "ml.g4dn.xlarge"
_INFO = 20
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")


@dataclass(frozen=True)
class JobPlan:
    """What a job needs beside its settings.

    Attributes:
        name: of the job; unique in the account and region.
        role: ARN of the role that the job takes: it reads the data and writes the output.
        image: URI of a TensorFlow training image with the SageMaker training toolkit.
        data: S3 prefix with a folder per class, or with train, validation and test folders of those.
        output: S3 prefix for models, code and checkpoints.
        weights: S3 prefix with files ``<backbone>*.weights.h5``, ``.whl`` or ``.pth``; without it the container
            downloads them.
        hours: the longest a job may run.
        spot: use spare capacity; an interrupted job resumes from its checkpoint.
        region: for the toolkit's own download of the code.
    """

    name: str
    role: str
    image: str
    data: str
    output: str
    weights: str | None = None
    instance_type: str = DEFAULT_INSTANCE
    volume_gb: int = 50
    hours: float = 4.0
    spot: bool = False
    region: str | None = None

    def __post_init__(self) -> None:
        for what, uri in (("the data", self.data), ("--output", self.output), ("--weights", self.weights)):
            if uri is not None and not _S3.fullmatch(uri):
                raise UserError(f"{what} is {uri!r}; a SageMaker job needs an S3 location, s3://bucket/prefix/")
        if not _ROLE.fullmatch(self.role):
            raise UserError(f"--role is {self.role!r}; it must be a role's ARN, arn:aws:iam::123456789012:role/NAME")
        if not 0 < self.hours <= 24 * 28:
            raise UserError(f"--max-hours is {self.hours}; it must be over 0 and at most 672 (28 days)")

    def under_output(self, name: str) -> str:
        return f"{self.output.rstrip('/')}/{name}"


def training_job(plan: JobPlan, settings: Mapping[str, Value], code: str) -> dict[str, Any]:
    """A CreateTrainingJob request. ``settings`` are those of :class:`TrainingConfig` that are not to be the backbone's
    defaults; ``code`` is the S3 URI of :mod:`sourcedir`'s archive."""
    return {
        "TrainingJobName": plan.name,
        "HyperParameters": _hyperparameters(plan, settings, code, package=True),
        **_definition(plan),
    }


def tuning_job(
    plan: JobPlan, settings: Mapping[str, Value], space: SearchSpace, code: str, *, jobs: int, parallel: int
) -> dict[str, Any]:
    """A CreateHyperParameterTuningJob request that searches ``space`` as Optuna does here.

    Raises:
        UserError: the numbers of jobs make no sense.
    """
    if not 1 <= parallel <= jobs:
        raise UserError(f"--max-parallel is {parallel}; it must be from 1 to the number of trials, {jobs}")
    single = {
        name: one.values[0]
        for name, one in space.dimensions.items()
        if isinstance(one, Choice) and len(one.values) == 1
    }
    static = {**{name: value for name, value in settings.items() if name not in space.dimensions}, **single}
    return {
        "HyperParameterTuningJobName": plan.name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": OBJECTIVE},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": parameter_ranges(space),
            "TrainingJobEarlyStoppingType": "Auto",
            "RandomSeed": TrainingConfig.composed(None, settings).seed % 2**31,
        },
        "TrainingJobDefinition": {
            # One of the jobs will be chosen, and only that is worth converting: from its run, afterwards.
            "StaticHyperParameters": _hyperparameters(plan, static, code, package=False),
            **_definition(plan),
        },
    }


def parameter_ranges(space: SearchSpace) -> dict[str, Any]:
    """The search space in SageMaker's words; all its numbers are strings."""
    categorical: list[dict[str, Any]] = []
    whole: list[dict[str, str]] = []
    real: list[dict[str, str]] = []
    for name, one in space.dimensions.items():
        if isinstance(one, Choice):
            if len(one.values) > 1:
                categorical.append({"Name": name, "Values": [_encoded(value) for value in one.values]})
            continue
        bounds = {
            "Name": name,
            "MinValue": _encoded(one.low),
            "MaxValue": _encoded(one.high),
            "ScalingType": "Logarithmic" if one.log else "Linear",
        }
        (real if isinstance(one, Real) else whole).append(bounds)
    ranges = {
        "CategoricalParameterRanges": categorical,
        "IntegerParameterRanges": whole,
        "ContinuousParameterRanges": real,
    }
    return {name: value for name, value in ranges.items() if value}


def _definition(plan: JobPlan) -> dict[str, Any]:
    """What training jobs and the jobs of a tuning job share."""
    seconds = round(plan.hours * 3600)
    stopping = {"MaxRuntimeInSeconds": seconds}
    if plan.spot:
        stopping["MaxWaitTimeInSeconds"] = 2 * seconds  # with the time spent waiting for capacity
    channels = [_channel("train", plan.data)]
    if plan.weights is not None:
        channels.append(_channel(WEIGHTS_CHANNEL, plan.weights))
    return {
        "AlgorithmSpecification": {
            "TrainingImage": plan.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in METRICS.items()],
        },
        "RoleArn": plan.role,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": plan.under_output("jobs")},
        "ResourceConfig": {"InstanceType": plan.instance_type, "InstanceCount": 1, "VolumeSizeInGB": plan.volume_gb},
        "StoppingCondition": stopping,
        "CheckpointConfig": {"S3Uri": plan.under_output(f"checkpoints/{plan.name}")},
        "EnableManagedSpotTraining": plan.spot,
    }


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _hyperparameters(plan: JobPlan, settings: Mapping[str, Value], code: str, *, package: bool) -> dict[str, str]:
    toolkit: dict[str, Value] = {
        "sagemaker_program": PROGRAM,
        "sagemaker_submit_directory": code,
        "sagemaker_container_log_level": _INFO,
    }
    if plan.region:
        toolkit["sagemaker_region"] = plan.region
    return {name: _encoded(value) for name, value in {**settings, "package": package, **toolkit}.items()}


def _encoded(value: Value) -> str:
    """As the toolkit decodes it: JSON."""
    return json.dumps(value)


def check_request(operation: str, request: dict[str, Any]) -> None:
    """botocore alone leaves enumerations and patterns to the service: here they are checked as well.

    Raises:
        UserError: SageMaker would refuse the request; says where and why.
    """
    shape = _service().operation_model(operation).input_shape
    if shape is None:
        raise ValueError(f"{operation} takes no input")
    report = ParamValidator().validate(request, shape)
    found = [report.generate_report()] if report.has_errors() else list(_problems(request, shape, ""))
    if found:
        raise UserError(f"SageMaker would refuse the request: {'; '.join(' '.join(one.split()) for one in found)}")


@cache
def _service() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")


def _problems(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            yield from _problems(member, shape.members[name], f"{path}.{name}".lstrip("."))
    elif isinstance(shape, ListShape):
        for index, member in enumerate(value):
            yield from _problems(member, shape.member, f"{path}[{index}]")
        yield from _too_long(len(value), shape, path)
    elif isinstance(shape, MapShape):
        for name, member in value.items():
            yield from _problems(name, shape.key, f"{path}, key")
            yield from _problems(member, shape.value, f"{path}.{name}")
        yield from _too_long(len(value), shape, path)
    elif isinstance(shape, StringShape):
        pattern = shape.metadata.get("pattern")
        if shape.enum and value not in shape.enum:
            some = ", ".join(shape.enum[:3])
            yield f"{path} is {value!r}, which is not a value that botocore knows ({some}, ...)"
        elif pattern and not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{path} is {value!r}, which does not match {pattern}"
        yield from _too_long(len(value), shape, path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _too_long(value, shape, path)


def _too_long(size: float, shape: Shape, path: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{path} is over {most}"
