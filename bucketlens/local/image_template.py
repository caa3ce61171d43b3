"""``template.yaml`` with a container image in place of the zip package: ``python -m bucketlens.local.image_template``.

A resource's ``PackageType`` cannot be a parameter, because what else it must have depends on it. So the template stays
the one description, and this writes its other form: each function gets ``PackageType: Image``, the image of the
parameter ``ImageUri``, and its handler as the image's command. Nothing else differs but notation and comments, to which
the reasons for Checkov belong: without them CloudFormation takes the text without a bucket to upload it to.
"""

from __future__ import annotations

import json
from typing import Any

import typer
import yaml
from samtranslator.yaml_helper import yaml_parse

from bucketlens.local.files import TEMPLATE

PARAMETER = "ImageUri"
_OF_THE_ZIP_PACKAGE = ("CodeUri", "Handler", "Runtime")


def image_template(text: str) -> dict[str, Any]:
    """The SAM template ``text`` for an image; intrinsic functions in their long form."""
    template: dict[str, Any] = json.loads(json.dumps(yaml_parse(text)))
    template["Parameters"][PARAMETER] = {
        "Type": "String",
        "Description": "The container image in Amazon ECR, with its tag or digest.",
    }
    template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"].append(
        {"Label": {"default": "Container image"}, "Parameters": [PARAMETER]}
    )
    for resource in template["Resources"].values():
        resource.pop("Metadata", None)  # how SAM builds the zip package, and Checkov's
        if resource["Type"] == "AWS::Serverless::Function":
            properties = resource["Properties"]
            handler = properties["Handler"]
            for name in _OF_THE_ZIP_PACKAGE:
                del properties[name]
            properties |= {
                "PackageType": "Image",
                PARAMETER: {"Ref": PARAMETER},
                "ImageConfig": {"Command": [handler]},
            }
    return template


if __name__ == "__main__":
    typer.echo(
        yaml.safe_dump(image_template(TEMPLATE.read_text(encoding="utf-8")), sort_keys=False, width=120), nl=False
    )
