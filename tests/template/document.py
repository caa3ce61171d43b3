"""A SAM template, and what CloudFormation would make of it: ``template.yaml`` itself, or a changed copy of it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtranslator.metrics.method_decorator import MetricsMethodWrapperSingleton
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from tests.template.resolve import Resolver

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
FUNCTION = "ClassifierFunction"
API_FUNCTION = "ApiFunction"
FUNCTIONS = (FUNCTION, API_FUNCTION)


class _NoManagedPolicies:
    """SAM looks policy names up in IAM; this template names none."""

    def load(self) -> dict[str, str]:
        return {}


def read_source() -> dict[str, Any]:
    """template.yaml as written."""
    source: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return source


def transformed(source: Mapping[str, Any]) -> dict[str, Any]:
    """The template with its SAM resources turned into CloudFormation's."""
    copy: dict[str, Any] = json.loads(json.dumps(source))
    for name in FUNCTIONS:
        copy["Resources"][name]["Properties"]["CodeUri"] = "s3://packaged/function.zip"
    done: dict[str, Any] = transform(copy, {}, _NoManagedPolicies())
    MetricsMethodWrapperSingleton.get_instance().publish()  # to nobody: it warns of what has not been published
    return done


@functools.lru_cache(maxsize=1)
def _from_functions(source: str) -> dict[str, Any]:
    done: dict[str, Any] = transformed(json.loads(source))["Resources"]
    return done


class Template:
    """A template that checks can question.

    Only the functions are SAM resources, so they are transformed by themselves, and once for all templates that have
    the same ones. ``test_template.py`` compares this with a transformation of the whole.
    """

    def __init__(self, source: dict[str, Any]) -> None:
        self.source = source
        self._resolvers: dict[tuple[tuple[str, str], ...], Resolver] = {}

    @functools.cached_property
    def cloudformation(self) -> dict[str, Any]:
        """The template with the SAM resources turned into CloudFormation's."""
        alone = {key: value for key, value in self.source.items() if key in ("Transform", "Parameters")}
        alone["Resources"] = {name: self.source["Resources"][name] for name in FUNCTIONS}
        generated = _from_functions(json.dumps(alone))
        return {**self.source, "Resources": {**self.source["Resources"], **generated}}

    def resources(self, **parameters: str) -> dict[str, Any]:
        """The resources that CloudFormation would create with these parameter values."""
        return self._resolver(parameters).resources()

    def properties(self, kind: str, name: str, **parameters: str) -> dict[str, Any]:
        """The properties of a resource that must exist and be of the type ``AWS::<kind>``."""
        resource, resolver = self.cloudformation["Resources"][name], self._resolver(parameters)
        assert resource["Type"] == f"AWS::{kind}", name
        assert "Condition" not in resource or resolver.condition(resource["Condition"]), name
        properties: dict[str, Any] = resolver.value(resource["Properties"])
        return properties

    def outputs(self, **parameters: str) -> dict[str, Any]:
        return self._resolver(parameters).outputs()

    def allows(self, parameter: str, value: str) -> bool:
        """Whether CloudFormation accepts a parameter's value."""
        rules = self.source["Parameters"][parameter]
        if "AllowedValues" in rules and value not in map(str, rules["AllowedValues"]):
            return False
        if rules["Type"] == "Number":
            low, high = rules.get("MinValue", float("-inf")), rules.get("MaxValue", float("inf"))
            return re.fullmatch(r"-?\d+(\.\d+)?", value) is not None and low <= float(value) <= high
        assert rules["Type"] == "String", parameter
        # CloudFormation anchors a pattern at both ends.
        return re.fullmatch(rules.get("AllowedPattern", ".*"), value) is not None

    def refused_by_rules(self, **parameters: str) -> list[str]:
        """What CloudFormation says of the rules that the values break."""
        resolver = self._resolver(parameters)
        return [
            assertion["AssertDescription"]
            for rule in self.source["Rules"].values()
            for assertion in rule["Assertions"]
            if not resolver.condition(assertion["Assert"])
        ]

    def _resolver(self, parameters: Mapping[str, str]) -> Resolver:
        key = tuple(sorted(parameters.items()))
        if key not in self._resolvers:
            self._resolvers[key] = Resolver(self.cloudformation, dict(parameters))
        return self._resolvers[key]
