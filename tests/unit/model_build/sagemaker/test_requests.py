"""What is sent to SageMaker, against SageMaker's own description in botocore."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from botocore.validate import ParamValidator

from classifier.errors import UserError
from model_build.sagemaker.entry_point import metric_line, parse
from model_build.sagemaker.requests import METRICS, OBJECTIVE, JobPlan, check_request, training_job, tuning_job
from model_build.sagemaker.submitting import TRAIN, TUNE, prepare, submit
from model_build.training.config import TrainingConfig
from model_build.tuning.space import SEARCH_SPACE

PLAN = JobPlan(
    name="flowers",
    role="arn:aws:iam::123456789012:role/service-role/Trainer",
    image="763104351884.dkr.ecr.eu-west-1.amazonaws.com/tensorflow-training:2.19-gpu-py312",
    data="s3://photos/flowers/",
    output="s3://models/sagemaker/",
    weights="s3://models/weights/",
    spot=True,
    region="eu-west-1",
)
CODE = "s3://models/sagemaker/code/0123/sourcedir.tar.gz"
SETTINGS: dict[str, Any] = {"image_size": 160, "flip": False, "colour": 0.5, "seed": 11}


def _changed(**changes: Any) -> JobPlan:
    return JobPlan(**{**PLAN.__dict__, **changes})


def _tuning(**changes: Any) -> dict[str, Any]:
    return tuning_job(_changed(**changes), SETTINGS, SEARCH_SPACE, CODE, jobs=12, parallel=3)


def _validate(operation: str, request: dict[str, Any]) -> None:
    service = boto3.client("sagemaker").meta.service_model
    report = ParamValidator().validate(request, service.operation_model(operation).input_shape)
    assert not report.has_errors(), report.generate_report()
    check_request(operation, request)


def test_both_requests_are_what_the_service_describes() -> None:
    _validate(TUNE, json.loads(json.dumps(_tuning())))
    _validate(TRAIN, json.loads(json.dumps(training_job(PLAN, SETTINGS, CODE))))


def test_a_tuning_job_searches_what_optuna_searches_and_fixes_the_rest() -> None:
    request = _tuning()
    config = request["HyperParameterTuningJobConfig"]
    ranges = config["ParameterRanges"]
    searched = {one["Name"] for kind in ranges.values() for one in kind}
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert searched == set(SEARCH_SPACE.dimensions)
    assert not searched & static.keys()
    assert {name: json.loads(static[name]) for name in SETTINGS} == SETTINGS
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": OBJECTIVE}
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 3}
    assert config["RandomSeed"] == 11


def test_what_has_one_value_only_is_no_range() -> None:
    space = SEARCH_SPACE.overridden({"epochs": 3, "backbone": ["small_cnn"]}, "the test")
    request = tuning_job(PLAN, SETTINGS, space, CODE, jobs=2, parallel=1)
    _validate(TUNE, request)
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert (static["epochs"], static["backbone"]) == ("3", '"small_cnn"')
    assert "IntegerParameterRanges" not in request["HyperParameterTuningJobConfig"]["ParameterRanges"]


def test_the_container_reads_the_settings_that_were_sent() -> None:
    """Through the toolkit: values from JSON, then flags in the order of their names, ``str`` of each value."""
    sent = training_job(PLAN, SETTINGS, CODE)["HyperParameters"]
    decoded = {name: json.loads(value) for name, value in sent.items() if not name.startswith("sagemaker_")}
    flags = [word for name in sorted(decoded) for word in (f"--{name}", str(decoded[name]))]
    given = parse(flags)
    assert given.settings == SETTINGS
    assert given.package is True
    assert TrainingConfig.composed(None, given.settings).image_size == 160


def test_script_mode_finds_its_code() -> None:
    parameters = training_job(PLAN, SETTINGS, CODE)["HyperParameters"]
    assert json.loads(parameters["sagemaker_program"]) == "train.py"
    assert json.loads(parameters["sagemaker_submit_directory"]) == CODE
    assert json.loads(parameters["sagemaker_region"]) == "eu-west-1"
    assert all(isinstance(value, str) for value in parameters.values())


def test_spot_capacity_comes_with_checkpoints_and_a_time_to_wait() -> None:
    request = training_job(PLAN, SETTINGS, CODE)
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 14400, "MaxWaitTimeInSeconds": 28800}
    assert request["CheckpointConfig"] == {"S3Uri": "s3://models/sagemaker/checkpoints/flowers"}
    own = training_job(_changed(spot=False, weights=None), SETTINGS, CODE)
    assert "MaxWaitTimeInSeconds" not in own["StoppingCondition"]
    assert [channel["ChannelName"] for channel in own["InputDataConfig"]] == ["train"]


def test_metrics_are_found_in_what_the_container_prints() -> None:
    line = "epoch 3 of 9: " + metric_line(loss=1.25, validation_loss=0.5, validation_accuracy=0.9375)
    found = {name: [float(value) for value in re.findall(regex, line)] for name, regex in METRICS.items()}
    assert found == {"validation:accuracy": [0.9375], "validation:loss": [0.5], "train:loss": [1.25]}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"role": "Trainer"}, "--role is 'Trainer'; it must be a role's ARN"),
        ({"data": "photos"}, "the data is 'photos'; a SageMaker job needs an S3 location"),
        ({"output": "models/"}, "--output is 'models/'"),
        ({"weights": "file.weights.h5"}, "--weights is 'file.weights.h5'"),
        ({"hours": 0}, "--max-hours is 0"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        _changed(**changes)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "my_flowers"}, "HyperParameterTuningJobName is 'my_flowers', which does not match"),
        ({"instance_type": "ml.huge"}, "InstanceType is 'ml.huge', which is not a value that botocore knows"),
        ({"image": "x" * 300}, "TrainingImage is over 255"),
        ({"volume_gb": "50"}, "Invalid type for parameter TrainingJobDefinition.ResourceConfig.VolumeSizeInGB"),
    ],
)
def test_what_the_service_would_refuse_is_refused_before(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        check_request(TUNE, _tuning(**changes))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_the_number_of_jobs_at_once_is_checked() -> None:
    with pytest.raises(UserError, match="--max-parallel is 3; it must be from 1 to the number of trials, 2"):
        tuning_job(PLAN, SETTINGS, SEARCH_SPACE, CODE, jobs=2, parallel=3)


@pytest.mark.parametrize(("present", "operation"), [(False, TUNE), (True, TRAIN)])
def test_submitting_uploads_the_code_once_and_sends_the_request(present: bool, operation: str) -> None:
    def request(code: str) -> dict[str, Any]:
        if operation == TRAIN:
            return training_job(PLAN, SETTINGS, code)
        return tuning_job(PLAN, SETTINGS, SEARCH_SPACE, code, jobs=2, parallel=1)

    source, made = prepare(operation, PLAN, request)
    where = {"Bucket": "models", "Key": f"sagemaker/{source.key}"}
    assert f"s3://models/{where['Key']}" in json.dumps(made)
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    with Stubber(s3) as storage, Stubber(sagemaker) as service:
        if present:
            storage.add_response("head_object", {}, where)
            arn = {"TrainingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/flowers"}
            service.add_response("create_training_job", arn, made)
        else:
            storage.add_client_error("head_object", "404", http_status_code=404, expected_params=where)
            storage.add_response("put_object", {}, {**where, "Body": source.data})
            name = "arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/flowers"
            arn = {"HyperParameterTuningJobArn": name}
            service.add_response("create_hyper_parameter_tuning_job", arn, made)
        assert submit(operation, PLAN, source, made, s3=s3, sagemaker=sagemaker) in arn.values()
        storage.assert_no_pending_responses()
        service.assert_no_pending_responses()
    s3.close()
    sagemaker.close()


def test_a_name_that_is_taken_and_a_bucket_that_is_missing_are_told() -> None:
    source, made = prepare(TRAIN, PLAN, lambda code: training_job(PLAN, SETTINGS, code))
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    with Stubber(s3) as storage, Stubber(sagemaker) as service:
        storage.add_response("head_object", {}, {"Bucket": "models", "Key": ANY})
        service.add_client_error("create_training_job", "ResourceInUse")
        with pytest.raises(UserError, match="a SageMaker job named 'flowers' is already there"):
            submit(TRAIN, PLAN, source, made, s3=s3, sagemaker=sagemaker)
        storage.add_client_error("head_object", "404")
        storage.add_client_error("put_object", "NoSuchBucket")
        with pytest.raises(UserError, match="the bucket models does not exist"):
            submit(TRAIN, PLAN, source, made, s3=s3, sagemaker=sagemaker)
    s3.close()
    sagemaker.close()
