"""Services of AWS whose requests and answers are JSON: DynamoDB, SQS and EventBridge (AWS JSON protocol 1.0 and 1.1).

Requests and answers have the names of the services' APIs, and boto3's.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Protocol

from classifier.aws_calls import AwsError, NoAnswer
from classifier.connections import HttpAnswer
from classifier.service import Service


class DynamoDb(Protocol):
    """What the function needs of DynamoDB. Every method raises AwsError."""

    def get_item(self, **request: Any) -> dict[str, Any]: ...

    def put_item(self, **request: Any) -> dict[str, Any]: ...

    def delete_item(self, **request: Any) -> dict[str, Any]: ...


class Sqs(Protocol):
    """What the function needs of SQS. Every method raises AwsError."""

    def send_message_batch(self, **request: Any) -> dict[str, Any]: ...

    def delete_message_batch(self, **request: Any) -> dict[str, Any]: ...


class EventBridge(Protocol):
    """What the function needs of EventBridge. Raises AwsError."""

    def put_events(self, **request: Any) -> dict[str, Any]: ...


class JsonApi:
    """A service whose operations are POSTs of JSON.

    Args:
        target: goes before an operation's name.
        version: of the protocol.
    """

    def __init__(self, service: Service, target: str, version: str) -> None:
        self._service = service
        self._target = target
        self._content_type = f"application/x-amz-json-{version}"

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out an operation.

        Raises:
            AwsError: its ``answer`` is the JSON document of the refusal.
        """
        headers = {"content-type": self._content_type, "x-amz-target": f"{self._target}.{operation}"}
        url = self._service.place.url(self._service.name)
        body = json.dumps(request, separators=(",", ":")).encode()
        return self._service.call(url, "POST", "/", headers, lambda answer: _read(operation, answer), body=body)


class DynamoDbClient(JsonApi):
    def __init__(self, service: Service) -> None:
        super().__init__(service, "DynamoDB_20120810", "1.0")

    def get_item(self, **request: Any) -> dict[str, Any]:
        return self.call("GetItem", request)

    def put_item(self, **request: Any) -> dict[str, Any]:
        return self.call("PutItem", request)

    def delete_item(self, **request: Any) -> dict[str, Any]:
        return self.call("DeleteItem", request)


class SqsClient(JsonApi):
    def __init__(self, service: Service) -> None:
        super().__init__(service, "AmazonSQS", "1.0")

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        return self.call("SendMessageBatch", request)

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        return self.call("DeleteMessageBatch", request)


class EventBridgeClient(JsonApi):
    def __init__(self, service: Service) -> None:
        super().__init__(service, "AWSEvents", "1.1")

    def put_events(self, **request: Any) -> dict[str, Any]:
        return self.call("PutEvents", request)


def _read(operation: str, answer: HttpAnswer) -> dict[str, Any]:
    content = answer.read()
    if "x-amz-crc32" in answer.headers and int(answer.headers["x-amz-crc32"]) != zlib.crc32(content):
        raise NoAnswer(f"the answer to {operation} was damaged on its way")
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        # A load balancer's page, or what is left of an answer.
        raise NoAnswer(f"{operation} was answered {answer.status} with what is no JSON", status=answer.status)
    if answer.status < 300:
        return document
    code = _code(answer, document)
    message = document.get("message") or document.get("Message") or ""
    told = f"{operation} was answered {code}" + (f": {message}" if message else "")
    raise AwsError(told, code=code, status=answer.status, answer=document)


def _code(answer: HttpAnswer, document: dict[str, Any]) -> str:
    """The error's name without its namespace (Smithy, "AWS JSON protocol", operation error serialization)."""
    named = str(document.get("__type") or document.get("code") or answer.headers.get("x-amzn-errortype") or "")
    return named.rpartition("#")[2].partition(":")[0] or str(answer.status)
