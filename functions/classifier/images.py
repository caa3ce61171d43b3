"""Images out of S3: the only reading of them, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from classifier.aws import translated
from classifier.aws_calls import AwsError
from classifier.errors import ImageNotFound
from classifier.events import ImageRef
from classifier.s3 import GetObject, ReadableS3

NOT_FOUND = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound", "MethodNotAllowed", "405"})
"""S3's codes for an object that is not there."""

_FETCHES = 3
# A stalled body takes the client's read timeout until it is given up.
_LEAST_TIME_FOR_A_FETCH = 10.0


@dataclass(frozen=True)
class Fetched:
    """An object as S3 gave it. ``data`` is empty where ``size_bytes`` is over the limit: it was not read."""

    data: bytes
    size_bytes: int
    etag: str
    version_id: str | None


class ImageReader:
    """Reads images. May raise StorageThrottled and StorageUnavailable."""

    def __init__(self, s3: ReadableS3) -> None:
        self._s3 = s3

    def fetch(
        self,
        image: ImageRef,
        max_bytes: int,
        *,
        reserve: Callable[[int], None] = lambda _: None,
        time_left: Callable[[], float] = lambda: 0.0,
    ) -> Fetched:
        """Read an image, but not one over ``max_bytes``.

        Args:
            reserve: called with the size before the body is read; may wait until there is room for it.
            time_left: seconds; a body that breaks off is fetched again while there are enough of them.

        Raises:
            ImageNotFound: it was deleted before we came.
        """
        request: GetObject = {"Bucket": image.bucket, "Key": image.key}
        if image.version_id:
            request["VersionId"] = image.version_id
        for tries_left in reversed(range(_FETCHES)):
            try:
                response = self._s3.get_object(**request)
            except AwsError as error:
                if error.code in NOT_FOUND:
                    raise ImageNotFound(f"{image.uri} was deleted before it could be classified") from error
                raise translated(error, f"cannot read {image.uri}") from error
            body, size = response["Body"], response["ContentLength"]
            version_id = response.get("VersionId")
            known = (size, response["ETag"].strip('"'), None if version_id == "null" else version_id)
            if size > max_bytes:
                body.close()
                return Fetched(b"", *known)
            reserve(size)
            try:
                return Fetched(body.read(), *known)
            except AwsError as error:
                body.close()
                if not tries_left or time_left() < _LEAST_TIME_FOR_A_FETCH:
                    raise translated(error, f"cannot read {image.uri}") from error
        raise AssertionError("the last try returns or raises")
