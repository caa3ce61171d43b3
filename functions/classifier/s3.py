"""The calls of S3 that the function makes; requests and answers have the names of S3's API, and boto3's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NotRequired, Protocol, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from classifier.aws_calls import AwsError, NoAnswer
from classifier.connections import HttpAnswer
from classifier.service import Service

T = TypeVar("T")

_METADATA = "x-amz-meta-"
_REGION = "x-amz-bucket-region"
_BUCKET = re.compile(r"[a-zA-Z0-9._-]{3,255}")
_HOST = re.compile(r"[a-z0-9-]+")
_ELSEWHERE = frozenset({301, 307, 400})


class GetObject(TypedDict):
    Bucket: str
    Key: str
    VersionId: NotRequired[str]
    IfNoneMatch: NotRequired[str]


class HeadObject(TypedDict):
    Bucket: str
    Key: str


class PutObject(TypedDict):
    Bucket: str
    Key: str
    Body: bytes
    ContentType: str
    Metadata: NotRequired[dict[str, str]]
    IfMatch: NotRequired[str]
    IfNoneMatch: NotRequired[str]


class DeleteObject(TypedDict):
    Bucket: str
    Key: str
    IfMatch: NotRequired[str]


class Body(Protocol):
    """A body that is still to come."""

    def read(self) -> bytes:
        """All of it. Raises AwsError when it breaks off or stalls."""
        ...

    def close(self) -> None: ...


class Head(TypedDict):
    """An object without its content. ``ETag`` has its quotes; ``VersionId`` is there in versioned buckets."""

    ETag: str
    ContentLength: int
    Metadata: dict[str, str]
    VersionId: NotRequired[str]


class Object(Head):
    Body: Body


class ReadableS3(Protocol):
    """What reading images and models needs."""

    def get_object(self, **request: Unpack[GetObject]) -> Object:
        """Raises AwsError, of status 304 for an ``IfNoneMatch`` that holds."""
        ...


class S3(ReadableS3, Protocol):
    """What the function needs of S3. Every method raises AwsError."""

    def head_object(self, **request: Unpack[HeadObject]) -> Head: ...

    def put_object(self, **request: Unpack[PutObject]) -> object: ...

    def delete_object(self, **request: Unpack[DeleteObject]) -> object: ...


class S3Client:
    """S3 over HTTP (Amazon S3 API Reference)."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._regions: dict[str, str] = {}

    def get_object(self, **request: Unpack[GetObject]) -> Object:
        """An object; its body is read by who wants it. An ``IfNoneMatch`` that holds is an AwsError of status 304."""
        conditions = {"if-none-match": request["IfNoneMatch"]} if "IfNoneMatch" in request else {}
        query = f"versionId={quote(request['VersionId'], safe='')}" if "VersionId" in request else ""

        def finish(answer: HttpAnswer) -> Object:
            _check("GetObject", answer)
            try:
                return {**_head(answer), "Body": answer}
            except AwsError:
                answer.close()
                raise

        return self._call("GET", request, conditions, finish, query=query)

    def head_object(self, **request: Unpack[HeadObject]) -> Head:
        def finish(answer: HttpAnswer) -> Head:
            _check("HeadObject", answer)
            answer.read()
            return _head(answer)

        return self._call("HEAD", request, {}, finish)

    def put_object(self, **request: Unpack[PutObject]) -> None:
        headers = {"content-type": request["ContentType"]}
        if "IfMatch" in request:
            headers["if-match"] = request["IfMatch"]
        if "IfNoneMatch" in request:
            headers["if-none-match"] = request["IfNoneMatch"]
        for name, value in request.get("Metadata", {}).items():
            headers[_METADATA + name] = value

        def finish(answer: HttpAnswer) -> None:
            _check("PutObject", answer)
            answer.read()

        self._call("PUT", request, headers, finish, body=request["Body"])

    def delete_object(self, **request: Unpack[DeleteObject]) -> None:
        conditions = {"if-match": request["IfMatch"]} if "IfMatch" in request else {}

        def finish(answer: HttpAnswer) -> None:
            _check("DeleteObject", answer)
            answer.read()

        self._call("DELETE", request, conditions, finish)

    def _call(
        self,
        method: str,
        request: HeadObject | GetObject | PutObject | DeleteObject,
        headers: dict[str, str],
        finish: Callable[[HttpAnswer], T],
        *,
        query: str = "",
        body: bytes = b"",
    ) -> T:
        bucket, path = request["Bucket"], f"/{quote(request['Key'], safe='/~')}"
        # It comes out of an event, and goes into the name of the host that is given our signature.
        if not _BUCKET.fullmatch(bucket):
            raise AwsError(f"{bucket!r} is no bucket's name")
        region = self._regions.get(bucket)
        # Before a local endpoint's host it would have to be resolvable, and with a dot it is no name of the
        # certificate's.
        in_path = self._service.place.endpoint_url or not _HOST.fullmatch(bucket)
        url = self._service.place.url("s3" if in_path else f"{bucket}.s3", region)
        path = f"/{bucket}{path}" if in_path else path
        try:
            return self._service.call(url, method, path, headers, finish, query=query, body=body, region=region)
        except AwsError as error:
            # A model may be in another region. Whatever the status says, S3 tells where the bucket is.
            home = error.answer.get(_REGION)
            if region or error.status not in _ELSEWHERE or not home or home == self._service.place.region:
                raise
        self._regions[bucket] = home
        return self._call(method, request, headers, finish, query=query, body=body)


def _head(answer: HttpAnswer) -> Head:
    try:
        head: Head = {
            "ETag": answer.headers["etag"],
            "ContentLength": int(answer.headers["content-length"]),
            "Metadata": {
                name.removeprefix(_METADATA): value
                for name, value in answer.headers.items()
                if name.startswith(_METADATA)
            },
        }
    except (KeyError, ValueError):
        raise NoAnswer("S3's answer lacks the object's size or ETag") from None
    if "x-amz-version-id" in answer.headers:
        head["VersionId"] = answer.headers["x-amz-version-id"]
    return head


def _check(operation: str, answer: HttpAnswer) -> None:
    """Raises AwsError unless the answer is what was asked for."""
    if answer.status < 300:
        return
    content = answer.read()
    code = _text(b"Code", content) or str(answer.status)
    message = _text(b"Message", content)
    told = f"{operation} was answered {code}" + (f": {message}" if message else "")
    raise AwsError(told, code=code, status=answer.status, answer=answer.headers)


def _text(name: bytes, document: bytes) -> str:
    """An element's text in an error document; empty where it has none, as a proxy's page."""
    found = re.search(b"<%b>([^<]*)</%b>" % (name, name), document)
    return found[1].decode("utf-8", "replace").strip() if found else ""
