"""The template for the container image is the template: what differs is the function's package, and nothing else."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse

from bucketlens.local.image_template import PARAMETER, image_template
from bucketlens.local.template import read_template
from tests.template.document import ROOT

TEXT = (ROOT / "template.yaml").read_text(encoding="utf-8")
ZIP: dict[str, Any] = json.loads(json.dumps(yaml_parse(TEXT)))
FUNCTIONS = [name for name, resource in ZIP["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"]


def test_functions_run_the_image_with_their_handlers() -> None:
    image = image_template(TEXT)
    assert FUNCTIONS
    for name in FUNCTIONS:
        before, after = ZIP["Resources"][name]["Properties"], image["Resources"][name]["Properties"]
        assert after.keys() - before.keys() == {"PackageType", "ImageUri", "ImageConfig"}
        assert before.keys() - after.keys() == {"CodeUri", "Handler", "Runtime"}
        assert after["PackageType"] == "Image"
        assert after["ImageUri"] == {"Ref": PARAMETER}
        assert after["ImageConfig"] == {"Command": [before["Handler"]]}


def test_everything_else_is_equal() -> None:
    image = image_template(TEXT)
    assert image["Parameters"].pop(PARAMETER)["Type"] == "String"
    assert image["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"].pop()["Parameters"] == [PARAMETER]
    expected = copy.deepcopy(ZIP)
    for resource in expected["Resources"].values():
        assert set(resource.pop("Metadata", {})) <= {"BuildMethod", "checkov"}
    for name in FUNCTIONS:
        before, after = ZIP["Resources"][name], image["Resources"][name]
        for added in ("PackageType", "ImageUri", "ImageConfig"):
            del after["Properties"][added]
        for taken in ("CodeUri", "Handler", "Runtime"):
            after["Properties"][taken] = before["Properties"][taken]
    assert image == expected


@pytest.mark.slow
def test_what_is_written_is_a_template_that_cloudformation_takes_as_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bucketlens.local.image_template"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert yaml.safe_load(done.stdout) == image_template(TEXT)
    # The most that `aws cloudformation deploy` sends without a bucket (CloudFormation quotas, "Template body size").
    assert len(done.stdout.encode()) <= 51_200
    path = tmp_path / "template.yaml"
    path.write_text(done.stdout)
    settings = read_template(
        path, {PARAMETER: "123456789012.dkr.ecr.us-east-1.amazonaws.com/b:1"}, "http://localhost:1"
    )
    function = settings.settings["LocalFunction"]["Value"]["Fn::ToJsonString"]
    assert function["PackageType"] == "Image"
    assert function["Code"] == {"ImageUri": {"Ref": PARAMETER}}
    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--non-zero-exit-code", "error", path], check=False
    )
    assert lint.returncode == 0
