"""Checks a request against SageMaker's own description, as far as botocore carries it; needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from classifier.errors import UserError


def check(operation: str, request: dict[str, Any]) -> None:
    """botocore alone leaves enumerations and patterns to the service: here they are checked as well.

    Raises:
        UserError: SageMaker would refuse the request; says where and why.
    """
    shape = _service().operation_model(operation).input_shape
    if shape is None:
        raise ValueError(f"{operation} takes no input")
    report = ParamValidator().validate(request, shape)
    found = [report.generate_report()] if report.has_errors() else list(_problems(request, shape, ""))
    if found:
        raise UserError(f"SageMaker would refuse the request: {'; '.join(' '.join(one.split()) for one in found)}")


@cache
def _service() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")


def _problems(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            yield from _problems(member, shape.members[name], f"{path}.{name}".lstrip("."))
    elif isinstance(shape, ListShape):
        for index, member in enumerate(value):
            yield from _problems(member, shape.member, f"{path}[{index}]")
        yield from _too_long(len(value), shape, path)
    elif isinstance(shape, MapShape):
        for name, member in value.items():
            yield from _problems(name, shape.key, f"{path}, key")
            yield from _problems(member, shape.value, f"{path}.{name}")
        yield from _too_long(len(value), shape, path)
    elif isinstance(shape, StringShape):
        pattern = shape.metadata.get("pattern")
        if shape.enum and value not in shape.enum:
            some = ", ".join(shape.enum[:3])
            yield f"{path} is {value!r}, which is none of those botocore knows ({some}, ...)"
        elif pattern and not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{path} is {value!r}, which does not match {pattern}"
        yield from _too_long(len(value), shape, path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _too_long(value, shape, path)


def _too_long(size: float, shape: Shape, path: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{path} is over {most}"
