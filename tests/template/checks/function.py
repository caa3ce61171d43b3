"""The function: what it runs, what it is told, where it logs, and what the stack tells its user."""

from __future__ import annotations

from classifier.errors import ConfigError
from classifier.settings import Settings
from tests.template.checks.bucket_and_table import BUCKET, REVIEW_TABLE, TABLE
from tests.template.checks.parameters import VERSION
from tests.template.document import FUNCTION, FUNCTIONS, Template

# An environment variable, the parameter that sets it, and a value that is not the default.
SET_BY_PARAMETERS = (
    ("INPUT_PREFIX", "InputPrefix", "drop/here/"),
    ("OUTPUT_PREFIX", "OutputPrefix", "answers/"),
    ("TOP_K", "TopK", "9"),
    ("REVIEW_THRESHOLD", "ReviewThreshold", "0.7"),
    ("MAX_IMAGE_BYTES", "MaxImageBytes", "1000"),
    ("MAX_IMAGE_PIXELS", "MaxImagePixels", "2000"),
    ("OUTPUT_MODE", "OutputMode", "jsonl"),
    ("GOLDEN_TEST", "GoldenTest", "true"),
    ("LOG_LEVEL", "LogLevel", "ERROR"),
    ("PUBLISH_EVENTS", "PublishEvents", "true"),
    ("REMOVE_DELETED", "RemoveDeleted", "true"),
)


def environment_of(template: Template, **parameters: str) -> dict[str, str]:
    variables = template.properties("Lambda::Function", FUNCTION, **parameters)["Environment"]["Variables"]
    return {name: str(value) for name, value in variables.items()}


def check_the_function_runs_what_the_makefile_builds(template: Template) -> None:
    for name in FUNCTIONS:
        function = template.source["Resources"][name]
        assert function["Metadata"]["BuildMethod"] == "makefile"
        assert function["Properties"]["CodeUri"] == "functions/"
    properties = template.properties("Lambda::Function", FUNCTION)
    assert (properties["Runtime"], properties["Handler"]) == ("python3.13", "classifier.app.handler")
    assert properties["Architectures"] == ["x86_64"]
    assert properties["Description"]


def check_the_function_has_the_memory_and_time_that_are_asked_for(template: Template) -> None:
    properties = template.properties("Lambda::Function", FUNCTION, MemorySize="3538", Timeout="300")
    assert (properties["MemorySize"], properties["Timeout"]) == ("3538", "300")


def check_the_environment_is_what_the_function_reads(template: Template) -> None:
    assert environment_of(template) == {
        "MODEL_URI": f"s3://{BUCKET}/models/",
        "INPUT_PREFIX": "incoming/",
        # The image's own bucket, which lets the function check the prefixes when it starts.
        "OUTPUT_BUCKET": "",
        "OUTPUT_PREFIX": "predictions/",
        "TABLE_NAME": TABLE,
        "QUEUE_URL": "<Queue>",
        "TOP_K": "5",
        "REVIEW_THRESHOLD": "",
        "MAX_IMAGE_BYTES": "26214400",
        "MAX_IMAGE_PIXELS": "64000000",
        "OUTPUT_MODE": "image",
        "GOLDEN_TEST": "false",
        "LOG_LEVEL": "INFO",
        "PUBLISH_EVENTS": "false",
        "REMOVE_DELETED": "false",
        "POWERTOOLS_SERVICE_NAME": "bucketlens",
        "POWERTOOLS_METRICS_NAMESPACE": "Bucketlens",
        # `sam local` can only set variables that are declared.
        "AWS_ENDPOINT_URL": "",
    }
    settings = Settings.from_environment(environment_of(template))
    assert (str(settings.model_uri), settings.table_name) == (f"s3://{BUCKET}/models/", TABLE)


def check_parameters_reach_the_function(template: Template) -> None:
    for variable, parameter, value in SET_BY_PARAMETERS:
        environment = environment_of(template, **{parameter: value})
        assert environment[variable] == value
        Settings.from_environment(environment)


def check_a_version_can_be_pinned(template: Template) -> None:
    environment = environment_of(template, ModelVersion=VERSION, ModelPrefix="a/b/")
    assert environment["MODEL_URI"] == f"s3://{BUCKET}/a/b/{VERSION}/"
    assert Settings.from_environment(environment).model_uri.version == VERSION


def check_nested_prefixes_are_refused_by_the_function(template: Template) -> None:
    """A rule of CloudFormation cannot search inside a string."""
    try:
        Settings.from_environment(environment_of(template, OutputPrefix="incoming/results/"))
    except ConfigError as error:
        assert "INPUT_PREFIX" in str(error)
    else:
        raise AssertionError("results under the input prefix would be classified again")


def check_logs_go_to_a_group_that_forgets(template: Template) -> None:
    group = template.properties("Logs::LogGroup", "ClassifierLogGroup", LogRetentionDays="14")
    assert group == {"LogGroupName": "/aws/lambda/bucketlens-classifier", "RetentionInDays": "14"}
    function = template.properties("Lambda::Function", FUNCTION)
    assert function["LoggingConfig"] == {"LogGroup": "<ClassifierLogGroup>"}


def check_events_without_a_queue_have_a_dead_letter_queue_too(template: Template) -> None:
    function = template.properties("Lambda::Function", FUNCTION)
    assert function["DeadLetterConfig"] == {"TargetArn": "<DeadLetterQueue.Arn>"}


def check_outputs_are_what_a_user_needs(template: Template) -> None:
    assert template.outputs() == {
        "BucketName": BUCKET,
        "InputUri": f"s3://{BUCKET}/incoming/",
        "OutputUri": f"s3://{BUCKET}/predictions/",
        "ModelUri": f"s3://{BUCKET}/models/",
        "TableName": TABLE,
        "ReviewTableName": REVIEW_TABLE,
        "QueueUrl": "<Queue>",
        "DeadLetterQueueUrl": "<DeadLetterQueue>",
        "FunctionName": "<ClassifierFunction>",
        "FunctionArn": "<ClassifierFunction.Arn>",
    }
    more = template.outputs(EnableApi="true").items() - template.outputs().items()
    assert more == {("ApiUrl", "<Api.ApiEndpoint>")}
    assert all(output["Description"] for output in template.source["Outputs"].values())
