"""One image over HTTP: every kind of input, every error as a problem document, and the numbers of the batch."""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from classifier.api import STATUSES, Api
from classifier.errors import BucketlensError, ModelIntegrityError, ModelUnavailable, UrlUnavailable
from classifier.images import ImageReader
from classifier.settings import ApiSettings
from tests.conftest import BUCKET, ROOT, TABLE, Aws
from tests.support.bundles import FIXTURES, LABELS, bundle_files, publish
from tests.support.clients import Interposed, refusal
from tests.support.http_api import Answer, Context, answered, in_process, request
from tests.support.images import png

pytestmark = pytest.mark.slow

Ask = Callable[..., Answer]
RED = FIXTURES / "images" / "red.png"
UNDECIDED = {"image.rejected", "transient", "fatal"}


def settings(**environment: str) -> ApiSettings:
    return ApiSettings.from_environment({"MODEL_URI": f"s3://{BUCKET}/models/", "INPUT_BUCKET": BUCKET, **environment})


@pytest.fixture
def ask(aws: Aws) -> Ask:
    api = Api(settings(), in_process, ImageReader(aws.function_s3))

    def send(method: str, path: str, body: bytes = b"", content_type: str = "image/png", **query: str) -> Answer:
        return answered(api.handle(request(method, path, body, content_type, **query), Context()))

    return send


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    assert answer.json.keys() == {"type", "title", "status", "code", "detail"}
    return answer.status, answer.json["code"]


def as_json(**document: Any) -> bytes:
    return json.dumps(document).encode()


def test_the_bytes_of_an_image(ask: Ask) -> None:
    answer = ask("POST", "/predict", RED.read_bytes())
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    document = answer.json
    assert document["status"] == "classified"
    assert document["prediction"]["label"] == "red"
    assert document["image"] == {
        **dict.fromkeys(("bucket", "key", "version_id", "etag")),
        "size_bytes": RED.stat().st_size,
        "format": "PNG",
        "width": 64,
        "height": 48,
    }
    assert document["request_id"] == "request-1"


@pytest.mark.parametrize("content_type", ["image/jpeg", "Image/X-Whatever; q=1", "application/octet-stream"])
def test_the_content_decides_what_an_image_is(ask: Ask, content_type: str) -> None:
    assert ask("POST", "/predict", png("blue"), content_type).json["image"]["format"] == "PNG"


def test_base64_in_json(ask: Ask) -> None:
    body = as_json(image=base64.b64encode(png("green")).decode())
    assert ask("POST", "/predict", body, "application/json; charset=utf-8").json["prediction"]["label"] == "green"


def test_an_object_under_the_input_prefix(ask: Ask, aws: Aws) -> None:
    aws.put("incoming/a b/grün.png", png("green"))
    document = ask("POST", "/predict", as_json(s3=f"s3://{BUCKET}/incoming/a b/grün.png"), "application/json").json
    assert document["prediction"]["label"] == "green"
    assert (document["image"]["bucket"], document["image"]["key"]) == (BUCKET, "incoming/a b/grün.png")
    assert document["image"]["etag"]


@pytest.mark.parametrize(("top", "named"), [("1", 1), ("2", 2), ("100", 3)])
def test_how_many_labels(ask: Ask, top: str, named: int) -> None:
    assert len(ask("POST", "/predict", png(), top=top).json["prediction"]["top"]) == named


@pytest.mark.parametrize("top", ["0", "-1", "101", "two", "1.5", ""])
def test_nonsense_for_top_is_refused(ask: Ask, top: str) -> None:
    assert problem(ask("POST", "/predict", png(), top=top)) == (400, "input.invalid")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "image.empty"),
        (b"plain text", 415, "image.unsupported_format"),
        ((FIXTURES / "images" / "truncated.jpg").read_bytes(), 422, "image.corrupt"),
    ],
)
def test_what_is_no_image(ask: Ask, body: bytes, status: int, code: str) -> None:
    assert problem(ask("POST", "/predict", body)) == (status, code)


@pytest.mark.parametrize(
    ("environment", "code", "status"),
    [({"MAX_IMAGE_BYTES": "100"}, "image.too_large", 413), ({"MAX_IMAGE_PIXELS": "100"}, "image.too_many_pixels", 422)],
)
def test_limits_are_those_of_a_batch(aws: Aws, environment: dict[str, str], code: str, status: int) -> None:
    limited = settings(**environment)
    api = Api(limited, lambda: in_process(limited.limits), ImageReader(aws.function_s3))
    aws.put("incoming/a.png", png())
    for event in (
        request("POST", "/predict", png()),
        request("POST", "/predict", as_json(s3=f"s3://{BUCKET}/incoming/a.png"), "application/json"),
    ):
        assert problem(answered(api.handle(event, Context()))) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"{}",
        as_json(image="a", url="b"),
        as_json(image=1),
        as_json(image="not base64!"),
        as_json(image="YQ"),
        as_json(image="größe"),
        as_json(video=""),
        as_json(s3="incoming/a.png"),
        as_json(s3="s3://bucket"),
        as_json(s3=f"s3://{BUCKET}/incoming/\ud800"),
    ],
)
def test_json_that_names_no_image(ask: Ask, body: bytes) -> None:
    assert problem(ask("POST", "/predict", body, "application/json")) == (400, "input.invalid")


@pytest.mark.parametrize("content_type", ["", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
def test_a_body_of_another_type_is_refused_with_advice(ask: Ask, content_type: str) -> None:
    answer = ask("POST", "/predict", png(), content_type)
    assert problem(answer) == (415, "input.invalid")
    assert "image/jpeg" in answer.json["detail"]


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://{BUCKET}/predictions/a.png.json",
        f"s3://{BUCKET}/models/current.json",
        f"s3://{BUCKET}/incomin",
        "s3://somebody-elses/incoming/a.png",
    ],
)
def test_nothing_else_in_s3_can_be_read(aws: Aws, uri: str) -> None:
    def fail(_: Any) -> None:
        raise AssertionError("it was asked for")

    storage: Any = Interposed(aws.function_s3, "get_object", fail)
    api = Api(settings(), in_process, ImageReader(storage))
    answer = api.handle(request("POST", "/predict", as_json(s3=uri), "application/json"), Context())
    assert problem(answered(answer)) == (403, "input.forbidden")


def test_without_a_bucket_no_object_can_be_read(aws: Aws) -> None:
    api = Api(settings(INPUT_BUCKET=""), in_process, ImageReader(aws.function_s3))
    event = request("POST", "/predict", as_json(s3=f"s3://{BUCKET}/incoming/a.png"), "application/json")
    assert problem(answered(api.handle(event, Context()))) == (403, "input.forbidden")


def test_a_url_is_fetched_only_where_that_is_allowed(aws: Aws) -> None:
    asked: list[tuple[str, float]] = []

    def fetch(url: str, time_left: float) -> bytes:
        asked.append((url, time_left))
        return png("blue")

    event = request("POST", "/predict", as_json(url="https://images.example.org/a"), "application/json")
    answer = answered(Api(settings(), in_process, ImageReader(aws.function_s3)).handle(event, Context()))
    assert problem(answer) == (403, "input.forbidden")
    api = Api(settings(), in_process, ImageReader(aws.function_s3), fetch_url=fetch)
    document = answered(api.handle(event, Context())).json
    assert document["prediction"]["label"] == "blue"
    assert document["image"]["size_bytes"] == len(png("blue"))
    ((url, time_left),) = asked
    assert url == "https://images.example.org/a"
    assert 0 < time_left < 30


def test_an_object_that_is_not_there(ask: Ask) -> None:
    answer = ask("POST", "/predict", as_json(s3=f"s3://{BUCKET}/incoming/none.png"), "application/json")
    assert problem(answer) == (404, "image.not_found")


def test_a_server_that_does_not_give_the_image(aws: Aws) -> None:
    def fetch(_url: str, _time_left: float) -> bytes:
        raise UrlUnavailable("images.example.org answered 404")

    event = request("POST", "/predict", as_json(url="https://images.example.org/a"), "application/json")
    answer = answered(
        Api(settings(), in_process, ImageReader(aws.function_s3), fetch_url=fetch).handle(event, Context())
    )
    assert problem(answer) == (502, "url.unavailable")


@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_storage_that_fails_for_now(aws: Aws, code: str) -> None:
    def fail(_: Any) -> None:
        raise refusal(code, 503)

    storage: Any = Interposed(aws.function_s3, "get_object", fail)
    api = Api(settings(), in_process, ImageReader(storage))
    event = request("POST", "/predict", as_json(s3=f"s3://{BUCKET}/incoming/a.png"), "application/json")
    answer = answered(api.handle(event, Context()))
    assert problem(answer)[0] == 503
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ModelUnavailable("none is published"), 503, True),
        (ModelIntegrityError("another sha256"), 500, False),
        (ZeroDivisionError("nobody expected this"), 500, False),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("GET", "/model"), ("GET", "/health")])
def test_without_a_model(aws: Aws, error: Exception, status: int, retry: bool, method: str, path: str) -> None:
    def no_model() -> Any:
        raise error

    answer = answered(
        Api(settings(), no_model, ImageReader(aws.function_s3)).handle(request(method, path, png()), Context())
    )
    assert problem(answer) == (status, getattr(error, "code", "internal"))
    assert ("Retry-After" in answer.headers) == retry
    assert "nobody expected" not in answer.body


def test_the_model_is_described(ask: Ask) -> None:
    described = ask("GET", "/model").json
    manifest = in_process().manifest
    assert described == {
        "name": "colours",
        "version": manifest.version,
        "sha256": manifest.model.sha256,
        "created_at": manifest.created_at,
        "labels": list(LABELS),
        "input": {"height": manifest.input.height, "width": manifest.input.width},
        "resize": "stretch",
        "review_threshold": 0.5,
    }


def test_health_is_that_a_model_is_loaded(ask: Ask) -> None:
    assert ask("GET", "/health").json == {"status": "ok", "model_version": in_process().manifest.version}


@pytest.mark.parametrize("path", ["/nothing", "/predict/", "/static/openapi.json", "/../api.py"])
def test_other_paths_are_not_found(ask: Ask, path: str) -> None:
    assert problem(ask("GET", path)) == (404, "input.invalid")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "POST"), ("POST", "/model", "GET"), ("DELETE", "/health", "GET")],
)
def test_other_methods_are_not_allowed(ask: Ask, method: str, path: str, allowed: str) -> None:
    answer = ask(method, path)
    assert problem(answer) == (405, "input.invalid")
    assert answer.headers["Allow"] == allowed


def _leaves(kind: type[BucketlensError]) -> set[type[BucketlensError]]:
    below = kind.__subclasses__()
    return {kind}.union(*map(_leaves, below)) if below else {kind}


def test_every_error_of_the_function_has_a_status() -> None:
    of_the_function = {kind.code for kind in _leaves(BucketlensError) if kind.__module__ == "classifier.errors"}
    assert STATUSES.keys() == of_the_function - UNDECIDED


def test_an_image_has_the_numbers_of_a_batch_to_the_last_digit(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    environment = {
        "MODEL_URI": f"s3://{BUCKET}/models/",
        "TABLE_NAME": TABLE,
        "INPUT_BUCKET": BUCKET,
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240",
        "REVIEW_THRESHOLD": "0.9",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for module in ("classifier.app", "classifier.api"):
        sys.modules.pop(module, None)
    batch = importlib.import_module("classifier.app").handler
    api = importlib.import_module("classifier.api").handler
    before: list[str] = aws.keys("")
    for name in ("red.png", "green.jpg", "blue.webp"):
        data = (FIXTURES / "images" / name).read_bytes()
        aws.put(f"incoming/{name}", data)
        uploaded = answered(api(request("POST", "/predict", data), Context())).json
        named = as_json(s3=f"s3://{BUCKET}/incoming/{name}")
        stored = answered(api(request("POST", "/predict", named, "application/json"), Context())).json
        assert aws.keys("predictions/") == []
        expected = batch({"bucket": BUCKET, "key": f"incoming/{name}"}, Context())
        aws.s3.delete_object(Bucket=BUCKET, Key=f"predictions/{name}.json")
        assert json.dumps(stored["prediction"]) == json.dumps(expected["prediction"])
        assert json.dumps(uploaded["prediction"]) == json.dumps(expected["prediction"])
        assert stored["model"] == uploaded["model"] == expected["model"]
        assert stored["image"] == expected["image"]
        assert list(stored) == list(uploaded) == list(expected)
    assert set(aws.keys("")) - set(before) == {f"incoming/{name}" for name in ("red.png", "green.jpg", "blue.webp")}


def test_the_server_is_the_whole_api_in_one_process(aws: Aws) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        "PYTHONPATH": str(ROOT / "functions"),
        "PATH": os.defpath,
        "MODEL_URI": f"s3://{BUCKET}/models/",
        "AWS_ENDPOINT_URL": aws.endpoint_url,
    }
    command = [sys.executable, "-m", "classifier.http_server", "--port", "0"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = next(line for line in server.stderr if line.startswith("listening")).split()[-1]
        with urllib.request.urlopen(f"{address}health", timeout=60) as health:
            assert json.load(health)["status"] == "ok"
        image = urllib.request.Request(f"{address}predict?top=1", png("green"), {"Content-Type": "image/png"})
        with urllib.request.urlopen(image, timeout=60) as classified:
            assert [best["label"] for best in json.load(classified)["prediction"]["top"]] == ["green"]
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("environment", "arguments", "named"),
    [({}, (), "MODEL_URI"), ({"MODEL_URI": "s3://photos/models/"}, ("--port", "-1"), "port -1")],
)
def test_a_server_that_cannot_start_says_why(
    environment: dict[str, str], arguments: tuple[str, ...], named: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "classifier.http_server", *arguments],
        env={
            "PYTHONPATH": str(ROOT / "functions"),
            "PATH": os.defpath,
            **environment,
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert named in done.stderr
