"""Clients that go wrong on purpose, handed in where the real ones go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from classifier.aws_calls import AwsError


class Interposed:
    """A client whose calls of one operation first run ``before(arguments)``, which may raise or change the world."""

    def __init__(self, client: Any, operation: str, before: Callable[[dict[str, Any]], None]) -> None:
        self._client = client
        self._operation = operation
        self._before = before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name != self._operation:
            return method

        def call(**arguments: Any) -> Any:
            self._before(arguments)
            return method(**arguments)

        return call


class Recorder:
    """A client whose calls are written down, by operation."""

    def __init__(self, client: Any, calls: list[str]) -> None:
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            self._calls.append(name)
            return method(**arguments)

        return call


def once(action: Callable[[], object]) -> Callable[[dict[str, Any]], None]:
    """``before`` that acts on the first call alone."""
    remaining = [action]

    def before(_: dict[str, Any]) -> None:
        if remaining:
            remaining.pop()()

    return before


def client_error(code: str, status: int = 400) -> ClientError:
    """What boto3's clients raise."""
    response: Any = {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Injected")


def refusal(code: str, status: int = 400) -> AwsError:
    """What the function's own clients raise."""
    return AwsError(f"answered {code}: injected", code=code, status=status)
