"""Embedded metrics keep to CloudWatch's format, and none of their values is lost.

The rules are those of the CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from classifier.events import ImageRef
from classifier.metrics import InvocationMetrics
from classifier.processor import Outcome, OutcomeStatus
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result

IMAGE = ImageRef("photos", "incoming/a.jpg")
NOW = 1_795_000_000.1234


def classified(number: int) -> Outcome:
    times = {"fetch": number + 0.126, "decode": 1.5, "predict": 2.25}
    model = ModelIdentity("m", f"version-{number % 2}", "5d" * 32)
    return Outcome(
        IMAGE, OutcomeStatus.CLASSIFIED, Result(ImageFacts(), model, "2026-11-20T12:00:00.000Z", "r", timing_ms=times)
    )


def rejected(code: str) -> Outcome:
    model = ModelIdentity("m", "version-0", "5d" * 32)
    result = Result(ImageFacts(), model, "2026-11-20T12:00:00.000Z", "r", error=Rejection(code, "why"))
    return Outcome(IMAGE, OutcomeStatus.REJECTED, result)


def checked(text: str) -> list[dict[str, Any]]:
    """The lines of ``text``, each held to the format."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert line["_aws"]["Timestamp"] == 1_795_000_000_123
        for directive in line["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == "Ours"
            assert 1 <= len(directive["Metrics"]) <= 100
            for dimensions in directive["Dimensions"]:
                assert len(dimensions) <= 30
                assert all(isinstance(line[name], str) and line[name] for name in dimensions)
            for metric in directive["Metrics"]:
                assert metric["Unit"] in {"Count", "Milliseconds"}
                assert 1 <= len(line[metric["Name"]]) <= 100
                assert all(type(value) in (int, float) for value in line[metric["Name"]])
    return lines


def values_of(lines: list[dict[str, Any]], name: str) -> list[float]:
    return [value for line in lines for value in line.get(name, [])]


@given(
    images=st.integers(0, 350),
    rejections=st.lists(st.sampled_from(["image.corrupt", "image.empty", "image.not_found"]), max_size=110),
)
@example(images=100, rejections=[])
@example(images=101, rejections=[])
@example(images=1_000, rejections=["image.corrupt"] * 101)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_value_is_written_once_and_within_the_limits(
    capsys: pytest.CaptureFixture[str], images: int, rejections: list[str]
) -> None:
    metrics = InvocationMetrics("Ours", "photos", clock=lambda: NOW)
    metrics.count("ColdStarts", 0)
    metrics.add_batch([*map(classified, range(images)), *map(rejected, rejections)], skipped=3)
    metrics.flush()
    lines = checked(capsys.readouterr().out)
    assert values_of(lines, "FetchTime") == [round(number + 0.126, 2) for number in range(images)]
    assert (len(values_of(lines, "DecodeTime")), sum(values_of(lines, "PredictTime"))) == (images, 2.25 * images)
    assert values_of(lines, "ImagesClassified") == [images]
    assert values_of(lines, "ImagesRejected") == [len(rejections)]
    assert (values_of(lines, "ColdStarts"), values_of(lines, "EventsSkipped")) == ([0], [3])
    assert sum(values_of(lines, "Results")) == images + len(rejections)
    assert {line["error_code"]: line["Rejections"] for line in lines if "Rejections" in line} == {
        code: [count] for code, count in Counter(rejections).items()
    }
    metrics.flush()
    assert capsys.readouterr().out == "", "written twice"


def test_lines_of_other_dimensions_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = InvocationMetrics("Ours", "photos", clock=lambda: NOW)
    metrics.add_batch([classified(0), classified(1), classified(3), rejected("image.empty")], skipped=0)
    metrics.flush()
    lines = checked(capsys.readouterr().out)
    directives = [line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for line in lines]
    assert directives == [
        [["service", "error_code"]],
        [["service", "model_version"]],
        [["service", "model_version"]],
        [["service"]],
    ]
    assert {line["model_version"]: line["Results"] for line in lines if "Results" in line} == {
        "version-0": [2],
        "version-1": [2],
    }


def test_what_is_cleared_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = InvocationMetrics("Ours", "photos", clock=lambda: NOW)
    metrics.add_batch([classified(0)], skipped=0)
    metrics.clear()
    metrics.flush()
    assert capsys.readouterr().out == ""
