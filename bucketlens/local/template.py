"""``template.yaml`` -> the part of it that moto's CloudFormation can create, with everything else resolved around it.

The template stays the one description of every resource. SAM's own translator expands it; buckets, queues and tables
are kept; references to what is left out (the function, its role, log group, alarms) are replaced by the names they
would have. The settings of function, event source and buckets are added as outputs, so that it is CloudFormation that
evaluates their conditions and references.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from bucketlens.local.constants import REGION
from classifier.errors import UserError

FUNCTION = "LocalFunction"
API_FUNCTION = "LocalApiFunction"
EVENT_SOURCE = "LocalEventSource"
BUCKETS = "LocalBuckets"
_CREATED = ("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::DynamoDB::Table")
# The translator demands an uploaded package; it is never fetched.
_UPLOADED = "s3://local/package.zip"


@dataclass(frozen=True)
class LocalTemplate:
    """A CloudFormation template for the local endpoints.

    Attributes:
        body: what to create, with the template's own outputs.
        settings: more outputs, each a JSON text: ``FUNCTION``, ``EVENT_SOURCE``, ``API_FUNCTION`` where there is one
            behind an HTTP API (their resources' properties) and ``BUCKETS`` (logical id -> name and properties).
        function_dir: the function's code (its ``CodeUri``).
        parameters: values that differ from the defaults.
    """

    body: dict[str, Any]
    settings: dict[str, Any]
    function_dir: Path
    parameters: dict[str, str]


def read_template(path: Path, parameters: Mapping[str, str], endpoint_url: str, api_url: str = "") -> LocalTemplate:
    """Read and transform a SAM template.

    Args:
        endpoint_url: where queues will be reachable (their URLs are their references).
        api_url: where the HTTP API will be.

    Raises:
        UserError: the file is missing, is not a SAM template, or has no function fed by a queue; or a parameter is not
            one of the template or has a value that it does not allow.
    """
    sam = _parse(path)
    _check_parameters(path, sam.get("Parameters", {}), parameters)
    code = {}
    for name, resource in sam["Resources"].items():
        if resource.get("Type") == "AWS::Serverless::Function":
            code[name] = path.parent / str(resource["Properties"].get("CodeUri", "."))
            resource["Properties"]["CodeUri"] = _UPLOADED
    cloudformation = _translate(path, sam, parameters)
    resources: dict[str, Any] = cloudformation["Resources"]
    mappings = [r for r in resources.values() if r["Type"] == "AWS::Lambda::EventSourceMapping"]
    if len(mappings) != 1:
        raise UserError(f"{path} has {len(mappings)} event sources; the local stack runs one function fed by one queue")
    event_source = mappings[0]["Properties"]
    function_name = event_source["FunctionName"]["Ref"]

    kept = {name: copy.deepcopy(r) for name, r in resources.items() if r["Type"] in _CREATED}
    for resource in kept.values():
        resource.pop("DependsOn", None)  # moto orders by reference, and fails on what is left out
    names = _names(resources, endpoint_url, api_url)
    body: dict[str, Any] = {
        key: cloudformation[key] for key in ("Parameters", "Mappings", "Conditions") if key in cloudformation
    }
    body["Resources"] = replace_references(kept, names)
    body["Outputs"] = replace_references(cloudformation.get("Outputs", {}), names)
    buckets = {
        name: {"Name": {"Ref": name}, **resource.get("Properties", {})}
        for name, resource in kept.items()
        if resource["Type"] == "AWS::S3::Bucket"
    }
    wanted = {FUNCTION: resources[function_name]["Properties"], EVENT_SOURCE: event_source, BUCKETS: buckets}
    integrations = [r for r in resources.values() if r["Type"] == "AWS::ApiGatewayV2::Integration"]
    if integrations:
        wanted[API_FUNCTION] = resources[integrations[0]["Properties"]["IntegrationUri"]["Fn::GetAtt"][0]]["Properties"]
    settings = {name: {"Value": {"Fn::ToJsonString": replace_references(v, names)}} for name, v in wanted.items()}
    return LocalTemplate(body, settings, code[function_name], dict(parameters))


def replace_references(node: Any, names: Mapping[str, str]) -> Any:
    """A copy of ``node`` in which each reference named in ``names`` is an ``Fn::Sub`` of its text.

    Args:
        names: ``LogicalId`` (what ``Ref`` gives) or ``LogicalId.Attribute`` -> a text for ``Fn::Sub``.
    """
    if isinstance(node, list):
        return [replace_references(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Ref"} and node["Ref"] in names:
        return {"Fn::Sub": names[node["Ref"]]}
    if node.keys() == {"Fn::GetAtt"} and ".".join(node["Fn::GetAtt"]) in names:
        return {"Fn::Sub": names[".".join(node["Fn::GetAtt"])]}
    if node.keys() == {"Fn::Sub"}:
        value = node["Fn::Sub"]
        if isinstance(value, str):
            return {"Fn::Sub": _replace_in_text(value, names)}
        return {"Fn::Sub": [_replace_in_text(value[0], names), replace_references(value[1], names)]}
    return {key: replace_references(value, names) for key, value in node.items()}


def _replace_in_text(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\$\{([^!{}]+)\}", lambda match: names.get(match[1], match[0]), text)


def _names(resources: Mapping[str, Any], endpoint_url: str, api_url: str) -> dict[str, str]:
    names = {}
    for logical_id, resource in resources.items():
        if resource["Type"] == "AWS::SQS::Queue":
            # moto would give the address of AWS.
            names[logical_id] = f"{endpoint_url}/${{AWS::AccountId}}/${{{logical_id}.QueueName}}"
        elif resource["Type"] not in _CREATED:
            if resource["Type"] == "AWS::ApiGatewayV2::Api":
                names[f"{logical_id}.ApiEndpoint"] = api_url.rstrip("/")
            service = resource["Type"].split("::")[1].lower()
            name = f"${{AWS::StackName}}-{logical_id}"
            kind = "function:" if service == "lambda" else ""
            names[logical_id] = name
            names[f"{logical_id}.Arn"] = f"arn:aws:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{kind}{name}"
    return names


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = yaml_parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the template {path}: {error.strerror}; name it with --template") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise UserError(f"{path} is not a SAM template: it has no Resources")
    return document


def _translate(path: Path, sam: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    # The translator would ask the machine's AWS configuration, which need not exist.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    try:
        translated: dict[str, Any] = translator.translate(sam, dict(parameters))
    except InvalidDocumentException as error:
        raise UserError(f"{path} is not a valid SAM template: {'; '.join(c.message for c in error.causes)}") from error
    finally:
        translator.metrics.publish()  # to nobody: it warns of what it has counted and not published
    return translated


def _check_parameters(path: Path, declared: Mapping[str, Any], given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name not in declared:
            raise UserError(f"{path} has no parameter {name}; it has {', '.join(sorted(declared))}")
        rule = declared[name]
        allowed = [str(choice) for choice in rule.get("AllowedValues", [])]
        fits = not allowed or value in allowed
        fits = fits and re.search(rule.get("AllowedPattern", ""), value) is not None
        if rule.get("Type") == "Number":
            fits = fits and re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
            low, high = rule.get("MinValue", float("-inf")), rule.get("MaxValue", float("inf"))
            fits = fits and low <= float(value) <= high
        if not fits:
            raise UserError(f"{name}={value} is not allowed: {_describe(rule)}")


def _describe(rule: Mapping[str, Any]) -> str:
    if "AllowedValues" in rule:
        return "one of " + ", ".join(str(choice) for choice in rule["AllowedValues"])
    if rule.get("Type") == "Number":
        return f"a number from {rule.get('MinValue', '-infinity')} to {rule.get('MaxValue', 'infinity')}"
    return str(rule.get("ConstraintDescription", f"it must match {rule.get('AllowedPattern')}"))
