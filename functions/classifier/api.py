"""The HTTP API's handler: one image in, its result out. Nothing is written anywhere.

An image goes the way that it goes in a batch (:mod:`classifier.classification`), so the numbers are the same. What
cannot be classified is answered as a problem document (RFC 9457) that has the contract's code as ``code``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from classifier import seed
from classifier.admission import Context, Deadline
from classifier.aws import AwsClients
from classifier.classification import Classifier, classify_image
from classifier.errors import BucketlensError, InputForbidden, TransientError
from classifier.events import ImageRef
from classifier.http_input import (
    ImageSource,
    S3Object,
    UnsupportedMediaType,
    Upload,
    decode_base64,
    parse_body,
    parse_top,
)
from classifier.images import Fetched, ImageReader
from classifier.live_model import LiveModel, load_model
from classifier.records import ImageFacts
from classifier.settings import ApiSettings
from classifier.url_fetch import UrlFetcher

STATUSES: dict[str, HTTPStatus] = {
    "image.empty": HTTPStatus.UNPROCESSABLE_ENTITY,
    "image.too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "image.too_many_pixels": HTTPStatus.UNPROCESSABLE_ENTITY,
    "image.too_costly": HTTPStatus.UNPROCESSABLE_ENTITY,
    "image.unsupported_format": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "image.corrupt": HTTPStatus.UNPROCESSABLE_ENTITY,
    "image.not_found": HTTPStatus.NOT_FOUND,
    "input.invalid": HTTPStatus.BAD_REQUEST,
    "input.forbidden": HTTPStatus.FORBIDDEN,
    "storage.throttled": HTTPStatus.SERVICE_UNAVAILABLE,
    "storage.unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "model.unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "url.unavailable": HTTPStatus.BAD_GATEWAY,
    "deadline": HTTPStatus.SERVICE_UNAVAILABLE,
    "model.integrity": HTTPStatus.INTERNAL_SERVER_ERROR,
    "model.incompatible": HTTPStatus.INTERNAL_SERVER_ERROR,
    "config.invalid": HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Error codes -> the status that they are answered with."""

_RETRY_AFTER_SECONDS = 5
_STATIC = Path(__file__).with_name("static")
_FILES = {
    "/": ("try-it.html", "text/html; charset=utf-8"),
    "/try-it.css": ("try-it.css", "text/css; charset=utf-8"),
    "/try-it.js": ("try-it.js", "text/javascript; charset=utf-8"),
    "/openapi.json": ("openapi.json", "application/json"),
}
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
# The page loads its own files, talks to this API, and shows pictures that it has been given.
_PAGE_HEADERS = {
    **_HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

logger = Logger(service=os.environ.get("POWERTOOLS_SERVICE_NAME") or "bucketlens")


class Api:
    """Answers requests, one at a time.

    Args:
        model: what to classify with, now.
        images: reads the input prefix.
        fetch_url: the content of a URL, within seconds; None refuses all.
        clock: the time, aware.
    """

    def __init__(
        self,
        settings: ApiSettings,
        model: Callable[[], Classifier],
        images: ImageReader,
        *,
        fetch_url: Callable[[str, float], bytes] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._model = model
        self._images = images
        self._fetch_url = fetch_url
        self._clock = clock
        self._resolver = APIGatewayHttpResolver()
        routes = {
            "/predict": ("POST", self._predict),
            "/model": ("GET", self._model_facts),
            "/health": ("GET", self._health),
        }
        routes |= {path: ("GET", _file_route(path)) for path in _FILES}
        for path, (method, answer) in routes.items():
            self._resolver.route(path, method)(answer)
        self._methods = {path: method for path, (method, _) in routes.items()}
        self._resolver.not_found(self._no_route)
        self._resolver.exception_handler(Exception)(_failure)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings and make the clients.

        Raises:
            ConfigError
        """
        settings = ApiSettings.from_environment(environment)
        logger.setLevel(settings.log_level)
        s3 = AwsClients(environment, settings.endpoint_url).s3()
        model = LiveModel(partial(load_model, settings, s3), logger)
        fetch_url = UrlFetcher(settings.limits.max_bytes).fetch if settings.allow_url_fetch else None
        return cls(settings, model.current, ImageReader(s3), fetch_url=fetch_url)

    def handle(self, event: dict[str, Any], context: Context) -> dict[str, Any]:
        """Answer an event of payload format 2.0 (API Gateway Developer Guide, "Lambda proxy integrations")."""
        answer: dict[str, Any] = self._resolver.resolve(event, context)  # type: ignore[arg-type]  # of which little is used
        return answer

    @property
    def operations(self) -> set[tuple[str, str]]:
        """Path and method of everything that is answered."""
        return set(self._methods.items())

    def prepare(self) -> None:
        """Load the model before the first request comes.

        Raises:
            TransientError, FatalError
        """
        self._model()

    def _predict(self) -> Response[str]:
        event = self._resolver.current_event
        context = self._resolver.lambda_context
        deadline = Deadline(lambda: context.get_remaining_time_in_millis() / 1000)
        top_k = parse_top(event.query_string_parameters.get("top"), self._settings.top_k)
        body = decode_base64(event.body or "") if event.is_base64_encoded else (event.body or "").encode()
        source = parse_body(event.headers.get("content-type", ""), body)
        settings = self._settings
        image, fetch = self._source(source, deadline)
        result = classify_image(
            image,
            fetch,
            self._model(),
            limits=settings.limits,
            top_k=top_k,
            review_threshold=settings.review_threshold,
            time_left=deadline.time_left,
            clock=self._clock,
            request_id=context.aws_request_id,
        )
        if result.error is not None:
            return _problem(result.error.code, result.error.message)
        logger.info("image classified", source=type(source).__name__, label=result.top[0].label)
        return _json(result.to_document())

    def _source(self, source: ImageSource, deadline: Deadline) -> tuple[ImageFacts, Callable[[], Fetched]]:
        """What is known of the image beforehand, and how to get it."""
        if isinstance(source, S3Object):
            image, most = self._image(source), self._settings.limits.max_bytes
            known = ImageFacts(bucket=image.bucket, key=image.key)
            return known, lambda: self._images.fetch(image, most, time_left=deadline.time_left)
        if isinstance(source, Upload):
            return ImageFacts(), lambda: _received(source.data)
        fetch_url = self._fetch_url
        if fetch_url is None:
            raise InputForbidden("this API fetches no URLs (AllowUrlFetch); send the image itself")
        return ImageFacts(), lambda: _received(fetch_url(source.url, deadline.time_left()))

    def _image(self, source: S3Object) -> ImageRef:
        settings = self._settings
        if source.bucket != settings.input_bucket or not source.key.startswith(settings.input_prefix):
            allowed = f"s3://{settings.input_bucket}/{settings.input_prefix}" if settings.input_bucket else "no bucket"
            raise InputForbidden(f"s3://{source.bucket}/{source.key} may not be read; this API reads {allowed}")
        return ImageRef(source.bucket, source.key)

    def _model_facts(self) -> Response[str]:
        manifest = self._model().manifest
        threshold = self._settings.review_threshold
        return _json(
            {
                "name": manifest.name,
                "version": manifest.version,
                "sha256": manifest.model.sha256,
                "created_at": manifest.created_at,
                "labels": list(manifest.labels),
                "input": {"height": manifest.input.height, "width": manifest.input.width},
                "resize": str(manifest.resize),
                "review_threshold": manifest.review_threshold if threshold is None else threshold,
            }
        )

    def _health(self) -> Response[str]:
        return _json({"status": "ok", "model_version": self._model().manifest.version})

    def _no_route(self, _error: NotFoundError) -> Response[str]:
        event = self._resolver.current_event
        allowed = self._methods.get(event.path)
        if allowed is None:
            what = f"there is nothing at {event.path}; the API is described at /openapi.json"
            return _problem("input.invalid", what, HTTPStatus.NOT_FOUND)
        what = f"{event.path} answers {allowed} only"
        return _problem("input.invalid", what, HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": allowed})


def _received(data: bytes) -> Fetched:
    return Fetched(data, len(data), etag="", version_id=None)


def _failure(error: Exception) -> Response[str]:
    if isinstance(error, UnsupportedMediaType):
        return _problem(error.code, str(error), HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if not isinstance(error, BucketlensError):
        logger.error("request failed", exc_info=error)
        return _problem(BucketlensError.code, "the request failed for a reason that is in the function's log")
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if isinstance(error, TransientError) else {}
    return _problem(error.code, str(error), headers=headers)


def _problem(
    code: str, detail: str, status: HTTPStatus | None = None, headers: Mapping[str, str] | None = None
) -> Response[str]:
    status = status or STATUSES.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    log = logger.error if status is HTTPStatus.INTERNAL_SERVER_ERROR else logger.info
    log("request refused", status=int(status), code=code, reason=detail)
    problem = {"type": "about:blank", "title": status.phrase, "status": int(status), "code": code, "detail": detail}
    return Response(int(status), "application/problem+json", _dumps(problem), {**_HEADERS, **(headers or {})})


def _json(document: Mapping[str, Any]) -> Response[str]:
    return Response(int(HTTPStatus.OK), "application/json", _dumps(document), dict(_HEADERS))


def _dumps(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _file_route(path: str) -> Callable[[], Response[str]]:
    name, content_type = _FILES[path]

    def answer() -> Response[str]:
        return Response(int(HTTPStatus.OK), content_type, _read(name), dict(_PAGE_HEADERS))

    return answer


@cache
def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


# While this process has one thread.
seed.running()
_api: Api | None = None
try:
    _api = Api.from_environment(os.environ)
    # At import, because Lambda's initialisation has a whole CPU whatever the function's memory.
    _api.prepare()
except BucketlensError as error:
    logger.warning("not ready at cold start; tried again with the first request", code=error.code, reason=str(error))


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Lambda's entry point.

    Raises:
        ConfigError: the environment cannot be right; API Gateway answers 500.
    """
    global _api
    logger.append_keys(request_id=context.aws_request_id)
    if _api is None:
        _api = Api.from_environment(os.environ)
    return _api.handle(event, context)
