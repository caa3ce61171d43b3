"""From the SAM template to what is created locally."""

from __future__ import annotations

import gc
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bucketlens.local.template import API_FUNCTION, BUCKETS, EVENT_SOURCE, FUNCTION, read_template, replace_references
from classifier.errors import UserError

ROOT = Path(__file__).parents[4]
TEMPLATE = ROOT / "template.yaml"
ENDPOINT = "http://127.0.0.1:5555"
NAMES = {"Fn": "${AWS::StackName}-Fn", "Fn.Arn": "arn:${AWS::StackName}"}


@pytest.mark.parametrize(
    ("node", "replaced"),
    [
        ({"Ref": "Fn"}, {"Fn::Sub": "${AWS::StackName}-Fn"}),
        ({"Ref": "Bucket"}, {"Ref": "Bucket"}),
        ({"Fn::GetAtt": ["Fn", "Arn"]}, {"Fn::Sub": "arn:${AWS::StackName}"}),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, {"Fn::GetAtt": ["Queue", "Arn"]}),
        ({"Fn::Sub": "x/${Fn}/${Bucket}/${!Fn}"}, {"Fn::Sub": "x/${AWS::StackName}-Fn/${Bucket}/${!Fn}"}),
        (
            {"Fn::Sub": ["${Fn.Arn}${v}", {"v": {"Ref": "Fn"}}]},
            {"Fn::Sub": ["arn:${AWS::StackName}${v}", {"v": {"Fn::Sub": "${AWS::StackName}-Fn"}}]},
        ),
        ([{"a": {"Ref": "Fn"}}, 1], [{"a": {"Fn::Sub": "${AWS::StackName}-Fn"}}, 1]),
    ],
)
def test_references_to_what_is_left_out_become_names(node: Any, replaced: Any) -> None:
    before = json.dumps(node)
    assert replace_references(node, NAMES) == replaced
    assert json.dumps(node) == before


def test_the_template_keeps_its_storage_and_its_outputs() -> None:
    template = read_template(TEMPLATE, {}, ENDPOINT)
    types = {name: resource["Type"] for name, resource in template.body["Resources"].items()}
    assert types == {
        "Bucket": "AWS::S3::Bucket",
        "Queue": "AWS::SQS::Queue",
        "DeadLetterQueue": "AWS::SQS::Queue",
        "Table": "AWS::DynamoDB::Table",
        "ReviewTable": "AWS::DynamoDB::Table",
    }
    assert {"BucketName", "TableName", "QueueUrl", "FunctionName", "FunctionArn"} <= template.body["Outputs"].keys()
    assert template.settings.keys() == {FUNCTION, EVENT_SOURCE, API_FUNCTION, BUCKETS}
    assert template.function_dir == ROOT / "functions"
    assert "ClassifierFunction." not in json.dumps(template.body)


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ({"Colour": "red"}, "has no parameter Colour"),
        ({"TopK": "0"}, "TopK=0 is not allowed: a number from 1 to 100"),
        ({"TopK": "many"}, "TopK=many is not allowed"),
        ({"OutputMode": "xml"}, "one of image, jsonl"),
        ({"InputPrefix": "incoming"}, "must end with a slash"),
    ],
)
def test_parameters_are_checked_as_cloudformation_does(parameter: dict[str, str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_template(TEMPLATE, parameter, ENDPOINT)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not YAML"),
        ("just text", "has no Resources"),
        ("Resources: {B: {Type: AWS::S3::Bucket}}", "has 0 event sources"),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {CodeUri: ., Runtime: python3.13}}}",
            "not a valid SAM template: .*Handler",
        ),
    ],
)
def test_a_wrong_template_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=problem):
        read_template(path, {}, ENDPOINT)


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.yaml.*--template"):
        read_template(tmp_path / "missing.yaml", {}, ENDPOINT)


def test_the_translators_own_metrics_are_no_concern_of_the_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "template.yaml").write_text("Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {}}}")
    for path in (TEMPLATE, tmp_path / "template.yaml", TEMPLATE):
        with suppress(UserError):
            read_template(path, {}, ENDPOINT)
    gc.collect()
    assert caplog.messages == []
