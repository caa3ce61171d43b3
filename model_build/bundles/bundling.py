"""A model and its companions -> a bundle folder that has been proven before it gets its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from classifier.bundle import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME, FileEntry, GoldenPhoto, GoldenSet, Manifest
from classifier.errors import UserError
from classifier.imaging import decode, sniff
from classifier.loader import open_local_bundle
from classifier.model import Model
from model_build.conversion.candidate import load_quietly
from model_build.files import staged_folder

GOLDEN_TOLERANCE = 0.02
"""Two right interpreters differ by up to 0.018 in an int8 model's undecided probabilities (LiteRT 2.3 against
tflite-runtime 2.14, measured on 359 digits), a wrong preprocessing by far more."""
_NAME_LENGTH = 100
_SUFFIX = {"JPEG": "jpg"}


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
    spec, policy = model.manifest.input, model.manifest.resize
    folder = PurePosixPath(GOLDEN_NAME).parent
    files: dict[str, bytes] = {}
    expected: list[GoldenPhoto] = []
    for number, photo in enumerate(photos, start=1):
        tensor = decode(photo.data, height=spec.height, width=spec.width, policy=policy).tensor
        kind = sniff(photo.data) or "image"
        name = f"{folder}/{number:02d}.{_SUFFIX.get(kind, kind.lower())}"
        files[name] = photo.data
        expected.append(GoldenPhoto(name, tuple(round(float(p), 6) for p in model.predict(tensor))))
    files[GOLDEN_NAME] = GoldenSet(GOLDEN_TOLERANCE, tuple(expected)).to_bytes()
    return files


def tensor_digests(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, str]:
    """sha256 of the tensor that each golden photo among ``files`` becomes here, by file name.

    Raises:
        ImageRejected: a photo cannot be decoded.
    """
    spec, policy = manifest.input, manifest.resize
    return {
        name: hashlib.sha256(decode(data, height=spec.height, width=spec.width, policy=policy).tensor).hexdigest()
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
        prove(staging)
    return complete


def prove(bundle: Path) -> Manifest:
    """Open, load and golden-test a bundle folder with the function's own code.

    Raises:
        UserError: no such folder, or one that is no bundle.
        ModelIntegrityError, ModelIncompatibleError: it is not what it says, or does not compute what it says.
    """
    manifest, content = load_bundle(bundle)
    model = load_quietly(content, manifest)
    if GOLDEN_NAME in manifest.files:
        golden = GoldenSet.from_bytes((bundle / GOLDEN_NAME).read_bytes())
        model.check_golden(golden, lambda name: (bundle / name).read_bytes())
    return manifest


def load_bundle(bundle: Path) -> tuple[Manifest, bytes]:
    """A verified bundle's manifest and the content of its model.

    Raises:
        UserError: no such folder, or one that is no bundle.
        ModelIntegrityError, ModelIncompatibleError: it is not what it says.
    """
    if not (bundle / MANIFEST_NAME).is_file():
        what = "is not a bundle: it has no manifest.json" if bundle.is_dir() else "does not exist"
        raise UserError(f"the bundle {bundle} {what}; make one with 'bucketlens model package' or 'model import'")
    manifest, path = open_local_bundle(bundle)
    return manifest, path.read_bytes()
