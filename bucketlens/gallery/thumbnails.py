"""JPEG pictures of classified images: decoded by the function's own decoder and kept, so that each is made once.

Only what the function has decoded already, in its bounded processes, is fetched and decoded again here: rejected images
never, and classified ones only in the state (ETag) that was classified.
"""

from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from PIL import Image

from bucketlens.gallery.data import Picture
from classifier import imaging
from classifier.errors import ImageRejected
from classifier.imaging import Limits, ResizePolicy
from model_build.files import write_atomic

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

THUMBNAIL = 192
PREVIEW = 1024
_QUALITY = 80
_LIMITS = Limits()


@dataclass(frozen=True)
class Unavailable:
    """Why there is no picture: one line."""

    reason: str


class Thumbnails:
    """Makes pictures and keeps them in a folder; may be used by several threads.

    Args:
        s3: fetches the images.
        folder: where pictures are kept; safe to delete. None, or a folder that cannot be written, keeps nothing.
        limits: what one image may cost.
    """

    def __init__(self, s3: S3Client, folder: Path | None, limits: Limits = _LIMITS) -> None:
        self._s3 = s3
        self._folder = folder
        self._limits = limits
        # A decode may take hundreds of megabytes: as many at once as there are processors, however many threads ask.
        self._decoding = threading.BoundedSemaphore(os.cpu_count() or 1)

    def get(self, picture: Picture, side: int = THUMBNAIL) -> bytes | Unavailable:
        """A JPEG that fits into ``side`` x ``side`` pixels, or why there is none.

        Raises:
            BotoCoreError, ClientError: S3 does not answer.
        """
        kept = None if self._folder is None else self._folder / f"{side}" / picture.id[:2] / f"{picture.id}.jpg"
        if kept is not None and kept.is_file():
            return kept.read_bytes()
        data = self._fetch(picture)
        if isinstance(data, Unavailable):
            return data
        try:
            with self._decoding:
                made = thumbnail(data, side, self._limits)
        except ImageRejected as error:
            return Unavailable(f"{error.code}: {error}")
        if kept is not None:
            self._keep(kept, made)
        return made

    def _fetch(self, picture: Picture) -> bytes | Unavailable:
        request: GetObjectRequestTypeDef = {"Bucket": picture.bucket, "Key": picture.key, "IfMatch": picture.etag}
        if picture.version_id is not None:
            request["VersionId"] = picture.version_id
        try:
            response = self._s3.get_object(**request)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status >= 500 or status == 429:
                raise
            if status == 412:
                return Unavailable("the image has been replaced since it was classified")
            if status == 404:
                return Unavailable("the image has been deleted since it was classified")
            return Unavailable(f"S3 refuses the image: {error.response['Error']['Code']}")
        try:
            imaging.check_size(response["ContentLength"], self._limits)
        except ImageRejected as error:
            response["Body"].close()
            return Unavailable(f"{error.code}: {error}")
        return response["Body"].read()

    def _keep(self, path: Path, made: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, made)
        except OSError:  # a full disk or a read-only home costs time, not the picture
            self._folder = None


def thumbnail(data: bytes, side: int, limits: Limits = _LIMITS) -> bytes:
    """``data`` as a JPEG of at most ``side`` x ``side`` pixels, in the aspect ratio of the original.

    Raises:
        ImageRejected
    """
    decoded = imaging.decode(data, height=side, width=side, policy=ResizePolicy.PAD, limits=limits)
    tensor = decoded.tensor
    scale = side / max(decoded.width, decoded.height)
    if scale > 1:  # what is smaller than its thumbnail keeps its own pixels
        tensor = imaging.decode(data, height=decoded.height, width=decoded.width, limits=limits).tensor
    else:  # the padding is cut off again
        width, height = max(1, round(decoded.width * scale)), max(1, round(decoded.height * scale))
        left, top = (side - width) // 2, (side - height) // 2
        tensor = tensor[top : top + height, left : left + width]
    out = io.BytesIO()
    Image.fromarray(tensor).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
