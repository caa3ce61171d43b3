"""Resolves the intrinsic functions of a template for given parameters, as far as this template uses them."""

from __future__ import annotations

import re
from typing import Any

ACCOUNT = "123456789012"
REGION = "us-east-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "bucketlens",
    "AWS::URLSuffix": "amazonaws.com",
}
_NO_VALUE = object()
# Resources that are given a name, the property that holds it, and the ARN that follows from it.
_NAMED = {
    "Bucket": ("BucketName", "arn:aws:s3:::{}"),
    "Table": ("TableName", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}"),
    "ReviewTable": ("TableName", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}"),
}


class Resolver:
    """Values of a template's resources.

    A reference to a resource becomes ``<LogicalId>`` and an attribute ``<LogicalId.Attribute>``, except for bucket and
    table, whose names and ARNs are known.
    """

    def __init__(self, template: dict[str, Any], parameters: dict[str, str]) -> None:
        self._template = template
        unknown = parameters.keys() - template["Parameters"].keys()
        assert not unknown, f"no such parameters: {unknown}"
        defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
        self._values = {**PSEUDO, **defaults, **parameters}

    def resources(self) -> dict[str, Any]:
        """Every resource whose condition holds, fully resolved."""
        return {
            name: self.value(resource)
            for name, resource in self._template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def outputs(self) -> dict[str, Any]:
        return {
            name: self.value(output["Value"])
            for name, output in self._template["Outputs"].items()
            if "Condition" not in output or self.condition(output["Condition"])
        }

    def condition(self, expression: Any) -> bool:
        if isinstance(expression, str):
            return self.condition(self._template["Conditions"][expression])
        ((function, arguments),) = expression.items()
        match function:
            case "Fn::Equals":
                left, right = (str(self.value(argument)) for argument in arguments)
                return left == right
            case "Fn::Not":
                return not self.condition(arguments[0])
            case "Fn::And":
                return all(map(self.condition, arguments))
            case "Fn::Or":
                return any(map(self.condition, arguments))
            case "Condition":
                return self.condition(arguments)
        raise AssertionError(f"the template uses {function}, which these tests cannot resolve yet")

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            match function:
                case "Ref":
                    return self._reference(argument)
                case "Fn::GetAtt":
                    return self._attribute(argument if isinstance(argument, str) else ".".join(argument))
                case "Fn::Sub":
                    return re.sub(r"\$\{([^}]+)}", lambda found: str(self._name(found[1])), argument)
                case "Fn::If":
                    condition, yes, no = argument
                    return self.value(yes if self.condition(condition) else no)
                case "Fn::FindInMap":
                    outer, key, inner = (str(self.value(part)) for part in argument)
                    return self._template["Mappings"][outer][key][inner]
            assert not function.startswith("Fn::"), f"{function} is not known here"
        values = {name: self.value(value) for name, value in node.items()}
        return {name: value for name, value in values.items() if value is not _NO_VALUE}

    def _name(self, name: str) -> Any:
        if name.startswith("!"):  # ${!literal}
            return f"${{{name[1:]}}}"
        return self._attribute(name) if "." in name else self._reference(name)

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in _NAMED:
            return self.value(self._template["Resources"][name]["Properties"][_NAMED[name][0]])
        if name in self._values:
            return self._values[name]
        assert name in self._template["Resources"], f"{name} is neither a parameter nor a resource"
        return f"<{name}>"

    def _attribute(self, name: str) -> str:
        resource, _, attribute = name.partition(".")
        if resource in _NAMED and attribute == "Arn":
            return _NAMED[resource][1].format(self._reference(resource))
        assert resource in self._template["Resources"], f"{name}: no such resource"
        return f"<{name}>"


def references(node: Any) -> set[str]:
    """The names that a part of a template refers to, wherever they stand in it."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    found: set[str] = set()
    for function, argument in node.items():
        if function == "Ref":
            found.add(argument)
        elif function == "Fn::GetAtt":
            found.add((argument if isinstance(argument, str) else argument[0]).split(".")[0])
        elif function == "Fn::Sub":
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)}", argument)}
        elif function == "DependsOn":
            found |= {argument} if isinstance(argument, str) else set(argument)
        else:
            found |= references(argument)
    return found
