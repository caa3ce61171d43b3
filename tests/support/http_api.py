"""Requests to the HTTP API as API Gateway hands them over, and answers as a client sees them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from classifier.bundle import Manifest
from classifier.imaging import Limits
from classifier.model import Model
from tests.support.bundles import manifest_for, model_bytes
from tests.support.classifiers import InProcess


@dataclass
class Context:
    aws_request_id: str = "request-1"
    remaining_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, body: bytes = b"", content_type: str = "image/png", **query: str) -> dict[str, Any]:
    """An event of payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "&".join(f"{name}={value}" for name, value in query.items()),
        "headers": {"content-type": content_type},
        **({"queryStringParameters": query} if query else {}),
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": ""},
            "requestId": "gateway-1",
            "stage": "$default",
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def answered(answer: dict[str, Any]) -> Answer:
    assert not answer["isBase64Encoded"]
    return Answer(answer["statusCode"], answer["headers"], answer["body"])


def in_process(limits: Limits | None = None, manifest: Manifest | None = None) -> InProcess:
    """The fixture model, in this process."""
    manifest = manifest or manifest_for()
    return InProcess(Model.load(model_bytes("uint8_quantized"), manifest), limits or Limits())
