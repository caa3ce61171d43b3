"""The dashboard: what it plots, by name; and that an alarm leads to what there is to do."""

from __future__ import annotations

import json
import re
from typing import Any

from bucketlens import prices
from tests.template.document import FUNCTION, ROOT, Template

NAMESPACE = "Bucketlens"
_OURS = {"service": "bucketlens"}
_QUEUE, _DEAD = {"QueueName": "<Queue.QueueName>"}, {"QueueName": "<DeadLetterQueue.QueueName>"}
_FUNCTION = {"FunctionName": f"<{FUNCTION}>"}
Metric = tuple[str, str, tuple[tuple[str, str], ...], str]


def _ours(*names: str, stat: str = "Sum") -> list[Metric]:
    return [_metric(NAMESPACE, name, _OURS, stat) for name in names]


def _metric(namespace: str, name: str, dimensions: dict[str, str], stat: str) -> Metric:
    return namespace, name, tuple(dimensions.items()), stat


# Title -> the metrics with their statistic, and the expression.
WIDGETS: dict[str, tuple[list[Metric], str | None]] = {
    "Images by status": (
        _ours(
            "ImagesClassified",
            "ImagesRejected",
            "ImagesFailed",
            "ImagesDeferred",
            "ImagesDuplicate",
            "ImagesSuperseded",
            "ImagesRemoved",
        ),
        None,
    ),
    "Rejected images by reason": (
        [],
        """SEARCH('{Bucketlens,service,error_code} MetricName="Rejections" service="bucketlens"', 'Sum', 300)""",
    ),
    "Share of predictions to review (%)": (
        _ours("ImagesForReview", "ImagesClassified"),
        "100 * review / classified",
    ),
    "Results by model version": (
        [],
        """SEARCH('{Bucketlens,service,model_version} MetricName="Results" service="bucketlens"', 'Sum', 300)""",
    ),
    "Time per image and stage (ms)": (
        [
            one
            for name in ("FetchTime", "DecodeTime", "PredictTime")
            for stat in ("p50", "p95")
            for one in _ours(name, stat=stat)
        ],
        None,
    ),
    "Queue: messages, and age of the oldest (s)": (
        [
            _metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", _QUEUE, "Maximum"),
            _metric("AWS/SQS", "ApproximateAgeOfOldestMessage", _QUEUE, "Maximum"),
        ],
        None,
    ),
    "Dead letters": ([_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", _DEAD, "Maximum")], None),
    "Function: errors, throttles, cold starts": (
        [
            *(_metric("AWS/Lambda", name, _FUNCTION, "Sum") for name in ("Invocations", "Errors", "Throttles")),
            *_ours("FatalErrors", "ColdStarts"),
        ],
        None,
    ),
    "Share of novel images (%)": (_ours("NovelImages", "ImagesClassified"), "100 * novel / classified"),
    "Drift (PSI, from `bucketlens results drift --put-metric`)": (
        _ours("LabelDrift", "ConfidenceDrift", stat="Maximum"),
        None,
    ),
    "Estimated cost per 1,000 images (USD; prices of us-east-1)": (
        [
            *(_metric("AWS/Lambda", name, _FUNCTION, "Sum") for name in ("Duration", "Invocations")),
            *_ours("ImagesClassified", "ImagesRejected"),
        ],
        "1000 * (duration / 1000 * 3538 / 1024 * 0.0000166667 + invocations * 0.0000002) / (classified + rejected)"
        " + 0.00785",
    ),
}


def widgets(template: Template, kind: str, **parameters: str) -> list[dict[str, Any]]:
    """The properties of the widgets of a type."""
    body = json.loads(template.properties("CloudWatch::Dashboard", "Dashboard", **parameters)["DashboardBody"])
    return [widget["properties"] for widget in body["widgets"] if widget["type"] == kind]


def plotted(widget: dict[str, Any]) -> tuple[list[Metric], list[str]]:
    """The metrics and the expressions of a widget; an expression names what it computes from by an id."""
    metrics, expressions, ids = [], [], set()
    for row in widget["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        texts = row[:-1] if options else row
        if not texts:
            expressions.append(options["expression"])
            continue
        namespace, name, *dimensions = texts
        pairs = dict(zip(dimensions[::2], dimensions[1::2], strict=True))
        metrics.append(_metric(namespace, name, pairs, options.get("stat") or widget["stat"]))
        if "id" in options:
            assert options["visible"] is False
            ids.add(options["id"])
    for expression in expressions:
        if not expression.startswith("SEARCH("):
            assert set(re.findall(r"[a-z]+", expression)) == ids
    return metrics, expressions


def check_the_dashboard_shows_what_is_promised(template: Template) -> None:
    dashboard = template.properties("CloudWatch::Dashboard", "Dashboard")
    assert dashboard["DashboardName"] == "bucketlens-us-east-1"
    found = {}
    for widget in widgets(template, "metric", MemorySize="3538"):
        assert widget["region"] == "us-east-1"
        assert widget["period"] % 60 == 0
        metrics, expressions = plotted(widget)
        found[widget["title"]] = (metrics, expressions[0] if expressions else None)
    assert found == WIDGETS


def check_the_dashboard_shows_every_alarm(template: Template) -> None:
    (widget,) = widgets(template, "alarm")
    alarms = {name for name, one in template.resources().items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    assert set(widget["alarms"]) == {f"<{name}.Arn>" for name in alarms}


def check_the_estimated_cost_is_that_of_the_price_list(template: Template) -> None:
    (cost,) = (one for one in widgets(template, "metric") if one["title"].startswith("Estimated cost"))
    expression = plotted(cost)[1][0]
    per_image = prices.S3_READ + prices.S3_WRITE + 2 * prices.DYNAMODB_WRITE + 3 * prices.SQS_REQUEST
    assert float(expression.rpartition("+")[2]) == round(1000 * per_image, 6)
    factors = [float(number) for number in re.findall(r"0\.0000\d+", expression)]
    assert factors == [prices.LAMBDA_GB_SECOND, prices.LAMBDA_REQUEST]


def check_an_alarm_leads_to_what_there_is_to_do(template: Template) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", runbook, re.MULTILINE)}
    for name, one in template.resources().items():
        if one["Type"] == "AWS::CloudWatch::Alarm":
            description = one["Properties"]["AlarmDescription"].rstrip()
            found = re.search(r"What to do: docs/runbook\.md#([a-z-]+)$", description)
            assert found is not None, name
            assert found[1] in sections, name
