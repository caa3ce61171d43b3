"""The environment: defaults of the contract, and one clear line for everything that is wrong."""

from __future__ import annotations

import pytest

from classifier.errors import ConfigError
from classifier.imaging import Limits
from classifier.settings import ApiSettings, OutputMode, Settings

REQUIRED = {"MODEL_URI": "s3://photos/models/", "TABLE_NAME": "predictions"}


def test_defaults_are_the_contracts() -> None:
    settings = Settings.from_environment(REQUIRED)
    assert (settings.input_prefix, settings.output_prefix, settings.output_bucket) == (
        "incoming/",
        "predictions/",
        None,
    )
    assert (settings.top_k, settings.review_threshold, settings.golden_test) == (5, None, False)
    assert settings.limits == Limits(26_214_400, 64_000_000)
    assert settings.output_mode is OutputMode.IMAGE
    assert (settings.endpoint_url, settings.queue_url) == (None, None)
    assert settings.workers == 1
    assert settings.memory_bytes == 1769 * 2**20
    assert settings.bytes_in_flight == 1769 * 2**20 // 16


def test_everything_can_be_set_and_empty_counts_as_not_set() -> None:
    settings = Settings.from_environment(
        {
            **REQUIRED,
            "INPUT_PREFIX": "in/",
            "OUTPUT_PREFIX": "out/",
            "OUTPUT_BUCKET": "results",
            "TOP_K": "3",
            "REVIEW_THRESHOLD": "0.25",
            "MAX_IMAGE_BYTES": "100",
            "MAX_IMAGE_PIXELS": "200",
            "OUTPUT_MODE": "jsonl",
            "GOLDEN_TEST": "true",
            "LOG_LEVEL": "",
            "AWS_ENDPOINT_URL": "",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538",
        }
    )
    assert (settings.input_prefix, settings.output_prefix, settings.output_bucket) == ("in/", "out/", "results")
    assert (settings.top_k, settings.review_threshold, settings.limits) == (3, 0.25, Limits(100, 200))
    assert (settings.output_mode, settings.golden_test, settings.log_level) == (OutputMode.JSONL, True, "INFO")
    assert settings.endpoint_url is None
    assert settings.workers == 2
    assert settings.bytes_in_flight == 800


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"MODEL_URI": ""}, "MODEL_URI is not set"),
        ({"TABLE_NAME": ""}, "TABLE_NAME is not set"),
        ({"MODEL_URI": "http://example.com"}, "is not a model location"),
        ({"INPUT_PREFIX": "incoming"}, "ends with /"),
        ({"OUTPUT_PREFIX": "/out/"}, "does not begin with it"),
        ({"OUTPUT_PREFIX": "incoming/out/"}, "overlap"),
        ({"OUTPUT_PREFIX": "incoming/"}, "overlap"),
        ({"INPUT_PREFIX": ""}, "overlap"),
        ({"OUTPUT_PREFIX": ""}, "overlap"),
        ({"INPUT_PREFIX": "a/in/", "OUTPUT_PREFIX": "a/"}, "overlap"),
        ({"OUTPUT_BUCKET": "photos", "OUTPUT_PREFIX": "models/"}, "MODEL_URI s3://photos/models/ is inside OUTPUT"),
        ({"TOP_K": "many"}, "TOP_K is 'many', not a whole number"),
        ({"TOP_K": "0"}, "the minimum is 1"),
        ({"REVIEW_THRESHOLD": "1.5"}, "not a number between 0 and 1"),
        ({"REVIEW_THRESHOLD": "nan"}, "not a number between 0 and 1"),
        ({"OUTPUT_MODE": "csv"}, "not one of image, jsonl"),
        ({"GOLDEN_TEST": "yes"}, "not one of true, false"),
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "64"}, "the minimum is 128"),
        ({"MODEL_URI": "s3://photos/models/20261120T101500-5d313724/"}, "which is not a version"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL is 'LOUD'"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        Settings.from_environment({**REQUIRED, **change})
    assert raised.value.code == "config.invalid"
    assert "\n" not in str(raised.value)


def test_results_never_go_back_into_the_input() -> None:
    settings = Settings.from_environment(
        {**REQUIRED, "MODEL_URI": "s3://models/", "INPUT_PREFIX": "", "OUTPUT_PREFIX": "", "OUTPUT_BUCKET": "results"}
    )
    assert settings.output_bucket_for("photos") == "results"
    with pytest.raises(ConfigError, match="overlap"):
        settings.output_bucket_for("results")


@pytest.mark.parametrize(
    ("change", "bucket", "variable"),
    [
        ({"INPUT_PREFIX": "models/", "OUTPUT_BUCKET": "results"}, "photos", "INPUT_PREFIX"),
        ({"INPUT_PREFIX": "", "OUTPUT_BUCKET": "results"}, "photos", "INPUT_PREFIX"),
        ({"MODEL_URI": "s3://photos/incoming/models/"}, "photos", "INPUT_PREFIX"),
        ({"MODEL_URI": "s3://photos/predictions/models/"}, "photos", "OUTPUT_PREFIX"),
        ({"OUTPUT_PREFIX": "models/"}, "photos", "OUTPUT_PREFIX"),
    ],
)
def test_a_bundle_is_neither_an_image_nor_overwritten_by_a_result(
    change: dict[str, str], bucket: str, variable: str
) -> None:
    settings = Settings.from_environment({**REQUIRED, **change})
    with pytest.raises(ConfigError, match=f"is inside {variable}"):
        settings.output_bucket_for(bucket)
    assert settings.output_bucket_for("elsewhere")


def test_the_api_needs_neither_table_nor_output() -> None:
    settings = ApiSettings.from_environment({"MODEL_URI": "s3://photos/models/"})
    assert (settings.input_bucket, settings.allow_url_fetch, settings.input_prefix) == (None, False, "incoming/")
    more = {"MODEL_URI": "s3://photos/models/", "INPUT_BUCKET": "photos", "ALLOW_URL_FETCH": "true", "TOP_K": "3"}
    settings = ApiSettings.from_environment(more)
    assert (settings.input_bucket, settings.allow_url_fetch, settings.top_k) == ("photos", True, 3)


@pytest.mark.parametrize(("name", "value"), [("ALLOW_URL_FETCH", "yes"), ("TOP_K", "0"), ("MODEL_URI", "")])
def test_the_api_refuses_nonsense_as_well(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        ApiSettings.from_environment({"MODEL_URI": "s3://photos/models/", name: value})
