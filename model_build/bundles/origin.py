"""Where a bundle's test photos are on this machine: ``.origin.json`` in its folder, which is never published.

The gate compares the bundle with the live version on these photos.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_build.data.dataset import TEST, Photo, scan
from model_build.data.tensors import TensorSet
from model_build.files import json_bytes

ORIGIN_NAME = ".origin.json"


class PhotosMissing(Exception):
    """The test photos are not to be had. ``str`` says why, in one line."""


@dataclass(frozen=True)
class Origin:
    """``test`` is each photo's path relative to ``data``, its label and the sha256 of its content."""

    data: str
    test: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, data: Path, test: TensorSet) -> Origin:
        rows = zip(test.photos, test.sha256, strict=True)
        return cls(str(data.resolve()), tuple((photo.name, photo.label, digest) for photo, digest in rows))

    def to_bytes(self) -> bytes:
        return json_bytes({"data": self.data, "test": [list(one) for one in self.test]})

    @classmethod
    def read(cls, bundle: Path) -> Origin | None:
        """None where the bundle has none: it was imported, or came from another machine."""
        try:
            document = json.loads((bundle / ORIGIN_NAME).read_bytes())
            return cls(str(document["data"]), tuple((str(p), str(c), str(h)) for p, c, h in document["test"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class ComparisonPhotos:
    """Photos to compare on; ``digests`` are what their contents should be, where that is known."""

    photos: tuple[Photo, ...]
    digests: Sequence[str] | None


def find_test_photos(bundle: Path, data: Path | None) -> ComparisonPhotos:
    """The bundle's own test photos, looked for in ``data`` or where they were.

    Without a record of them, ``data`` is taken as it is: its test folder, or all of it.

    Raises:
        PhotosMissing: nothing says where they are, or some have gone.
        UserError: ``data`` is given and is no folder of photos.
    """
    origin = Origin.read(bundle)
    if origin is None:
        if data is None:
            raise PhotosMissing("the bundle does not say where its test photos are; give --data FOLDER")
        photos = scan(data).photos
        return ComparisonPhotos(tuple(photo for photo in photos if photo.split == TEST) or photos, None)
    root = data or Path(origin.data)
    photos = tuple(Photo(root / name, name, label, TEST) for name, label, _ in origin.test)
    gone = [photo for photo in photos if not photo.path.is_file()]
    if gone:
        raise PhotosMissing(
            f"{len(gone)} of the {len(photos)} test photos are no longer in {root}, first {gone[0].name};"
            " say where they are with --data FOLDER"
        )
    return ComparisonPhotos(photos, [digest for *_, digest in origin.test])
