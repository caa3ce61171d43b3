"""Thumbnails: by the function's decoder, once, and a reason where there is none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from bucketlens.gallery.data import Picture
from bucketlens.gallery.thumbnails import THUMBNAIL, Thumbnails, Unavailable, thumbnail
from classifier.imaging import Limits
from tests.conftest import BUCKET, Aws
from tests.support.clients import Interposed, client_error
from tests.support.images import encoded, picture, png


def put(aws: Aws, key: str, data: bytes) -> Picture:
    etag = aws.s3.put_object(Bucket=BUCKET, Key=key, Body=data)["ETag"].strip('"')
    return Picture(BUCKET, key, etag)


class Counted:
    """``before`` of an Interposed client that counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: dict[str, Any]) -> None:
        self.calls += 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((400, 300), (192, 144)),
        ((300, 400), (144, 192)),
        ((32, 20), (32, 20)),
        ((192, 192), (192, 192)),
        ((5000, 3), (192, 1)),
    ],
)
def test_a_thumbnail_fits_and_keeps_the_aspect_ratio(size: tuple[int, int], expected: tuple[int, int]) -> None:
    made = Image.open(io.BytesIO(thumbnail(encoded(picture("red", size)), THUMBNAIL)))
    assert (made.format, made.size) == ("JPEG", expected)
    # No black of the decoder's padding is left at an edge.
    pixels = np.asarray(made, dtype=int)
    assert pixels[..., 0].min() > 150
    assert pixels[..., 1].max() < 110


def test_a_picture_is_made_once_and_kept(aws: Aws, tmp_path: Path) -> None:
    image = put(aws, "incoming/a.png", png())
    counted = Counted()
    s3: Any = Interposed(aws.s3, "get_object", counted)
    thumbnails = Thumbnails(s3, tmp_path / "cache")
    first = thumbnails.get(image)
    assert thumbnails.get(image) == first
    assert Thumbnails(s3, tmp_path / "cache").get(image) == first
    assert counted.calls == 1
    assert isinstance(thumbnails.get(image, 1024), bytes)
    assert counted.calls == 2
    files = [path.relative_to(tmp_path / "cache") for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(files) == sorted(Path(side, image.id[:2], f"{image.id}.jpg") for side in ("192", "1024"))


def test_a_replaced_image_is_not_shown_for_the_one_that_was_classified(aws: Aws, tmp_path: Path) -> None:
    image = put(aws, "incoming/a.png", png("red"))
    put(aws, "incoming/a.png", png("blue"))
    assert Thumbnails(aws.s3, tmp_path).get(image) == Unavailable("the image has been replaced since it was classified")


def test_a_deleted_image_and_one_that_cannot_be_decoded_say_so(aws: Aws, tmp_path: Path) -> None:
    thumbnails = Thumbnails(aws.s3, tmp_path, Limits(max_bytes=5000))
    gone = Picture(BUCKET, "incoming/gone.png", "0" * 32)
    assert thumbnails.get(gone) == Unavailable("the image has been deleted since it was classified")
    broken = thumbnails.get(put(aws, "incoming/broken.jpg", b"\xff\xd8\xff broken"))
    assert isinstance(broken, Unavailable)
    assert broken.reason.startswith("image.corrupt: ")
    large = thumbnails.get(put(aws, "incoming/large.png", png() + bytes(5000)))
    assert isinstance(large, Unavailable)
    assert large.reason.startswith("image.too_large: ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("status", "raises"), [(503, True), (429, True), (403, False)])
def test_storage_that_does_not_answer_is_an_error_and_a_refusal_is_a_reason(
    aws: Aws, status: int, raises: bool
) -> None:
    image = put(aws, "incoming/a.png", png())

    def fail(_: dict[str, Any]) -> None:
        raise client_error("Injected", status)

    s3: Any = Interposed(aws.s3, "get_object", fail)
    thumbnails = Thumbnails(s3, None)
    if raises:
        with pytest.raises(ClientError):
            thumbnails.get(image)
    else:
        assert thumbnails.get(image) == Unavailable("S3 refuses the image: Injected")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(aws: Aws, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    thumbnails = Thumbnails(aws.s3, taken)
    image = put(aws, "incoming/a.png", png())
    assert thumbnails.get(image) == thumbnails.get(image) == thumbnail(png(), THUMBNAIL)
