"""The document at /openapi.json describes the API that there is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from classifier.api import STATUSES, Api
from classifier.images import ImageReader
from classifier.imaging import SUPPORTED_FORMATS, ResizePolicy
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Result, ReviewReason
from classifier.settings import ApiSettings
from tests.support.http_api import Context, answered, in_process, request
from tests.support.images import png

jsonschema = pytest.importorskip("jsonschema")
SETTINGS = ApiSettings.from_environment({"MODEL_URI": "s3://photos/models/"})


@pytest.fixture
def api() -> Api:
    nowhere: Any = None
    return Api(SETTINGS, in_process, ImageReader(nowhere))


@pytest.fixture
def document(api: Api) -> Any:
    return answered(api.handle(request("GET", "/openapi.json"), Context())).json


def test_it_describes_each_route_of_the_api_and_no_other(api: Api, document: Any) -> None:
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == api.operations


def test_codes_statuses_formats_and_policies_are_those_of_the_code(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Problem"]["properties"]["code"]["enum"] == list(STATUSES)
    statuses = {str(int(status)) for status in STATUSES.values()}
    assert set(document["paths"]["/predict"]["post"]["responses"]) == {"200", *statuses}
    assert schemas["Result"]["properties"]["image"]["properties"]["format"]["enum"] == list(SUPPORTED_FORMATS)
    assert schemas["Model"]["properties"]["resize"]["enum"] == [str(policy) for policy in ResizePolicy]


def test_every_field_of_a_prediction_is_described(document: Any) -> None:
    made_by = ModelIdentity("m", "v", "")
    several = Result(ImageFacts(), made_by, "", "", (Prediction("a", 0.5),), ("a",), 0.99, ReviewReason.NOVELTY)
    described = document["components"]["schemas"]["Result"]["properties"]["prediction"]["properties"]
    assert described.keys() == several.to_document()["prediction"].keys()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/predict", png()), ("POST", "/predict", b""), ("GET", "/model", b""), ("GET", "/health", b"")],
)
def test_answers_are_as_described(api: Api, document: Any, method: str, path: str, body: bytes) -> None:
    answer = answered(api.handle(request(method, path, body), Context()))
    response = document["paths"][path][method.lower()]["responses"][str(answer.status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"][answer.headers["Content-Type"]]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(json.loads(answer.body))
