"""A model and its companions -> a bundle folder that has been proven before it gets its name.

Beside it lies ``.origin.json``, which is never published: where its test photos are on this machine. The gate compares
the bundle with the live version on these photos.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from classifier.bundle import MANIFEST_NAME, MODEL_NAME, FileEntry, Manifest
from classifier.errors import UserError
from classifier.golden import GOLDEN_NAME, GoldenPhoto, GoldenSet
from classifier.imaging import sniff
from classifier.model import Model
from model_build.data.dataset import TEST, Photo, scan
from model_build.evaluation.opening import OpenBundle, open_bundle
from model_build.files import json_bytes, staged_folder

GOLDEN_TOLERANCE = 0.02
"""Two right interpreters differ by up to 0.018 in an int8 model's undecided probabilities (LiteRT 2.3 against
tflite-runtime 2.14, measured on 359 digits), a wrong preprocessing by far more."""
NOVELTY_TOLERANCE = 0.2
"""The same two differ by up to 0.12 in an int8 model's novelty, by 0.06 for 99 % of 360 digits."""
_NAME_LENGTH = 100
_SUFFIX = {"JPEG": "jpg"}
ORIGIN_NAME = ".origin.json"


@dataclass(frozen=True)
class GoldenFile:
    """A photo chosen for the bundle: what it is called in messages, and its content."""

    source: str
    data: bytes


def check_name(name: str) -> str:
    """Raises UserError unless ``name`` fits on one line of every table it will appear in."""
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable():
        raise UserError(f"the name {name!r} cannot be used; give 1 to {_NAME_LENGTH} printable characters")
    return name


def golden_files(model: Model, photos: Sequence[GoldenFile]) -> dict[str, bytes]:
    """``golden/`` of the bundle, by file name: the photos under plain names and what the model says of each.

    Raises:
        ImageRejected: a photo cannot be decoded.
    """
    folder = PurePosixPath(GOLDEN_NAME).parent
    files: dict[str, bytes] = {}
    expected: list[GoldenPhoto] = []
    for number, photo in enumerate(photos, start=1):
        tensor = model.manifest.decode(photo.data).tensor
        kind = sniff(photo.data) or "image"
        name = f"{folder}/{number:02d}.{_SUFFIX.get(kind, kind.lower())}"
        files[name] = photo.data
        answer = model.answer(tensor)
        expected.append(GoldenPhoto(name, tuple(round(float(p), 6) for p in answer.probabilities), answer.novelty))
    files[GOLDEN_NAME] = GoldenSet(GOLDEN_TOLERANCE, tuple(expected), NOVELTY_TOLERANCE).to_bytes()
    return files


def tensor_digests(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, str]:
    """sha256 of the tensor that each golden photo among ``files`` becomes here, by file name.

    Raises:
        ImageRejected: a photo cannot be decoded.
    """
    return {
        name: hashlib.sha256(manifest.decode(data).tensor).hexdigest()
        for name, data in sorted(files.items())
        if name.startswith(f"{PurePosixPath(GOLDEN_NAME).parent}/") and name != GOLDEN_NAME
    }


def write_bundle(
    out: Path,
    manifest: Manifest,
    content: bytes,
    companions: dict[str, bytes],
    unlisted: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write ``out`` in one step, after the folder has been opened, loaded and golden-tested as the function does.

    Args:
        manifest: complete but for ``files``.
        content: the model.
        companions: the other files of the bundle, by name.
        unlisted: files beside them that are no part of the bundle, and stay here when it is published.

    Raises:
        UserError: ``out`` is taken.
        ModelIntegrityError, ModelIncompatibleError: the bundle does not prove itself.
    """
    contents = {MODEL_NAME: content, **companions}
    complete = replace(manifest, files={name: FileEntry.of(data) for name, data in contents.items()})
    with staged_folder(out) as staging:
        for name, data in {**contents, **(unlisted or {}), MANIFEST_NAME: complete.to_bytes()}.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        open_bundle(staging).prove()
    return complete


class PhotosMissing(Exception):
    """The test photos are not to be had. ``str`` says why, in one line."""


@dataclass(frozen=True)
class Origin:
    """``test`` is each photo's path relative to ``data``, its label and the sha256 of its content."""

    data: str
    test: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, data: Path, photos: Sequence[Photo], sha256: Sequence[str]) -> Origin:
        rows = zip(photos, sha256, strict=True)
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


def find_test_photos(bundle: OpenBundle, data: Path | None) -> ComparisonPhotos:
    """The bundle's own test photos, looked for in ``data`` or where they were.

    Without a record of them, ``data`` is taken as it is: its test folder, or all of it.

    Raises:
        PhotosMissing: nothing says where they are, or some have gone.
        UserError: ``data`` is given and is no folder of photos.
    """
    origin = Origin.read(bundle.folder) if bundle.folder else None
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
