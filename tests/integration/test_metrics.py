"""Every metric that the dashboard or an alarm names is one that is emitted: ours by the function, the others by AWS."""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

import pytest

from bucketlens.drift import Drift
from classifier.errors import ModelIntegrityError
from model_build.metrics.answers import AnswerMix
from tests.conftest import BUCKET, TABLE, Aws
from tests.support.bundles import FIXTURES, bundle_files, publish
from tests.template.checks.dashboard import NAMESPACE, plotted, widgets
from tests.template.document import Template, read_source

Named = tuple[str, str, frozenset[str]]
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html,
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
AWS_METRICS: set[Named] = {
    *(("AWS/Lambda", name, frozenset({"FunctionName"})) for name in ("Duration", "Errors", "Invocations", "Throttles")),
    *(
        ("AWS/SQS", name, frozenset({"QueueName"}))
        for name in ("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible")
    ),
}


class Context:
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def event(*keys: str) -> dict[str, Any]:
    stored = [{"bucket": {"name": BUCKET}, "object": {"key": key, "sequencer": "0A"}} for key in keys]
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": one} for one in stored]}


@pytest.fixture
def emitted(aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The embedded metrics of a batch with classified, rejected and reviewed images, and of one that fails."""
    version = publish(aws.s3, BUCKET, bundle_files())
    for name in ("red.png", "green.jpg", "truncated.jpg", "notes.txt"):
        aws.put(f"incoming/{name}", (FIXTURES / "images" / name).read_bytes())
    for name, value in {
        "MODEL_URI": f"s3://{BUCKET}/models/",
        "TABLE_NAME": TABLE,
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240",
        "REVIEW_THRESHOLD": "1",
        "POWERTOOLS_SERVICE_NAME": "photos",
    }.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("classifier.app", None)
    handler = importlib.import_module("classifier.app").handler
    handler(event(*[f"incoming/{name}" for name in ("red.png", "green.jpg", "truncated.jpg", "notes.txt")]), Context())
    handler(event("elsewhere/a.png"), Context())
    aws.put(f"models/{version}/model.tflite", b"damaged")
    sys.modules.pop("classifier.app", None)
    with pytest.raises(ModelIntegrityError):
        importlib.import_module("classifier.app").handler(event("incoming/red.png"), Context())
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]


def names_of(lines: list[dict[str, Any]]) -> set[Named]:
    return {
        (described["Namespace"], metric["Name"], frozenset(dimensions))
        for line in lines
        for described in line["_aws"]["CloudWatchMetrics"]
        for dimensions in described["Dimensions"]
        for metric in described["Metrics"]
    }


def named_in(template: Template) -> set[Named]:
    """The metrics of all widgets and alarms; a search names a schema of dimensions and a metric."""
    named = set()
    for widget in widgets(template, "metric"):
        metrics, expressions = plotted(widget)
        named |= {(namespace, name, frozenset(dict(dimensions))) for namespace, name, dimensions, _ in metrics}
        for expression in expressions:
            for schema, name in re.findall(r"SEARCH\('\{([\w,/]+)} MetricName=\"(\w+)\"", expression):
                namespace, *dimensions = schema.split(",")
                named.add((namespace, name, frozenset(dimensions)))
    for resource in template.resources().values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            alarm = resource["Properties"]
            dimensions = frozenset(one["Name"] for one in alarm["Dimensions"])
            named.add((alarm["Namespace"], alarm["MetricName"], dimensions))
    return named


def named_by_the_command() -> set[Named]:
    """The metrics of ``results drift --put-metric``."""
    mix = AnswerMix({"red": 1}, (0,) * 9 + (1,))
    sent = Drift("v", "b", 7, mix, mix).metrics("photos")
    return {
        (sent["Namespace"], one["MetricName"], frozenset(dimension["Name"] for dimension in one["Dimensions"]))
        for one in sent["MetricData"]
    }


def test_every_metric_that_is_named_is_emitted(emitted: list[dict[str, Any]]) -> None:
    named = named_in(Template(read_source()))
    ours = {one for one in named if one[0] == NAMESPACE}
    assert {"Results", "Rejections", "ImagesForReview", "ColdStarts", "FatalErrors"} <= {name for _, name, _ in ours}
    assert ours - names_of(emitted) == named_by_the_command()
    assert named - ours == AWS_METRICS


def test_what_is_counted(emitted: list[dict[str, Any]]) -> None:
    counted: dict[tuple[str, str], float] = {}
    for line in emitted:
        assert line["service"] == "photos"
        by = str(line.get("error_code") or line.get("model_version", ""))
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
            value = line[metric["Name"]]
            counted[metric["Name"], by] = counted.get((metric["Name"], by), 0) + sum(value)
    version = next(by for name, by in counted if name == "Results")
    assert counted["Results", version] == 4
    assert counted["Rejections", "image.corrupt"] == counted["Rejections", "image.unsupported_format"] == 1
    assert (counted["ImagesClassified", ""], counted["ImagesForReview", ""], counted["ImagesRejected", ""]) == (2, 2, 2)
    assert counted["EventsSkipped", ""] == 1
    assert counted["ColdStarts", ""] == 2, "two processes, three invocations"
    assert counted["FatalErrors", ""] == 1
