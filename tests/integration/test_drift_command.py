"""``results drift`` from the table and the published manifest to the figures, and to CloudWatch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from bucketlens.cli.main import main
from bucketlens.local.stack import LocalStack
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Result, timestamp
from tests.conftest import ROOT
from tests.support.bundles import bundle_files, manifest_for, publish

NOW = datetime.now(UTC)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, log_folder=tmp_path) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint_url)
        yield running


def put(stack: LocalStack, count: int, label: str, days_ago: int) -> None:
    model = ModelIdentity("colours", manifest_for().version, "0" * 64)
    for number in range(count):
        image = ImageFacts(stack.bucket, f"incoming/{label}{number}-{days_ago}.jpg", etag="e", size_bytes=7)
        when = timestamp(NOW - timedelta(days=days_ago))
        made = Result(image, model, when, "r", top=(Prediction(label, 0.97),))
        stack.aws.dynamodb.put_item(TableName=stack.table, Item=made.to_item(sequencer="0A", output_uri="s3://b/k"))


def drift(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["bucketlens", "results", "drift", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_drift_from_manifest_and_table(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(stack, 40, "red", 1)
    put(stack, 5, "green", 2)
    code, _, err = drift(monkeypatch, capsys)
    assert (code, "nothing to compare with yet" in err) == (1, True)
    baseline = {"labels": {"red": 20, "green": 20}, "confidence": [0] * 9 + [40]}
    publish(stack.aws.s3, stack.bucket, bundle_files(metrics={"baseline": baseline}))
    code, out, err = drift(monkeypatch, capsys, "--put-metric", "--format", "json")
    assert code == 0, err
    found = json.loads(out)
    assert found["images"] == {"baseline": 40, "results": 45}
    assert (found["labels"]["verdict"], found["confidence"]["verdict"]) == ("large", "stable")
    listed = boto3.client("cloudwatch", endpoint_url=stack.endpoint_url).list_metrics(Namespace="Bucketlens")["Metrics"]
    dimensions = [{"Name": "service", "Value": "bucketlens"}]
    assert {one["MetricName"] for one in listed if one["Dimensions"] == dimensions} == {"LabelDrift", "ConfidenceDrift"}

    code, out, err = drift(monkeypatch, capsys)
    assert code == 0
    assert "labels      PSI 0." in out
    assert "45 results of model" in err
    assert "against the model's answers to its validation photos (40 images)" in err
    code, _, err = drift(monkeypatch, capsys, "--baseline", "last-year")
    assert (code, "'last-year' is not one of 'auto', 'model', 'first-week'" in err) == (2, True)

    damaged = bundle_files(metrics={"baseline": {"labels": {}, "confidence": [1]}})
    version = manifest_for().version
    stack.aws.s3.put_object(Bucket=stack.bucket, Key=f"models/{version}/manifest.json", Body=damaged["manifest.json"])
    code, _, err = drift(monkeypatch, capsys)
    assert (code, f"the baseline in the manifest of {version} cannot be read" in err) == (1, True)
