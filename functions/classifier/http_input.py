"""What a request asks to classify: bytes, an object in S3, or a URL."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from classifier.errors import UserError

_S3_URI = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)", re.DOTALL)
_FORMS = '{"image": "<base64>"}, {"s3": "s3://bucket/key"} or {"url": "https://..."}'


@dataclass(frozen=True)
class Upload:
    """The image itself."""

    data: bytes


@dataclass(frozen=True)
class S3Object:
    """An image that is in S3."""

    bucket: str
    key: str


@dataclass(frozen=True)
class Url:
    """An image on another server."""

    url: str


ImageSource = Upload | S3Object | Url


class UnsupportedMediaType(UserError):
    """A body that is neither an image nor JSON, by its Content-Type."""


def parse_body(content_type: str, body: bytes) -> ImageSource:
    """Read a request's body.

    Args:
        content_type: the header; ``image/*`` or ``application/octet-stream`` for an image, ``application/json``.

    Raises:
        UserError: it is not JSON, or not one of the three forms.
        UnsupportedMediaType
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("image/") or media_type == "application/octet-stream":
        return Upload(body)
    if media_type == "application/json":
        return _parse_json(body)
    raise UnsupportedMediaType(
        f"the Content-Type is {media_type or 'missing'}; send an image as image/jpeg, image/png or another image type,"
        " or JSON as application/json"
    )


def parse_top(text: str | None, default: int) -> int:
    """How many labels to name: 1 to 100.

    Raises:
        UserError
    """
    if text is None:
        return default
    if not re.fullmatch(r"[1-9][0-9]?|100", text):
        raise UserError(f"top is {text!r}; give a whole number from 1 to 100")
    return int(text)


def _parse_json(body: bytes) -> ImageSource:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict) or len(document) != 1:
        raise UserError(f"the body must be a JSON object with exactly one field: {_FORMS}")
    ((kind, value),) = document.items()
    if not isinstance(value, str):
        raise UserError(f"the value of {kind!r} must be a string: {_FORMS}")
    match kind:
        case "image":
            return Upload(decode_base64(value))
        case "s3":
            return _parse_s3(value)
        case "url":
            return Url(value)
    raise UserError(f"the field {kind!r} is unknown; the body must be one of {_FORMS}")


def decode_base64(text: Any) -> bytes:
    """RFC 4648, section 4.

    Raises:
        UserError
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the image is not base64: {error}") from None


def _parse_s3(text: str) -> S3Object:
    match = _S3_URI.fullmatch(text)
    if match is None:
        raise UserError(f"{text!r} does not name an object; give s3://bucket/key")
    try:
        match["key"].encode()
    except UnicodeEncodeError:
        raise UserError(f"{text!r} does not name an object: its key is not Unicode text") from None
    return S3Object(match["bucket"], match["key"])
