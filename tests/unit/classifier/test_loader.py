"""Bundles from a folder of this machine: verified like published ones. Those in S3 are in the integration tests."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from classifier.bundle import MANIFEST_NAME, MODEL_NAME, Manifest, ModelUri, Pointer
from classifier.errors import ModelIntegrityError, ModelUnavailable
from classifier.loader import BundleLoader
from tests.support.bundles import FIXTURES, bundle_files

MANIFEST = Manifest.from_bytes((FIXTURES / "bundle" / MANIFEST_NAME).read_bytes())


def loader(folder: Path) -> BundleLoader:
    without_s3: Any = None
    return BundleLoader(ModelUri.parse(f"file://{folder}/", folders=True), without_s3)


def put(folder: Path, files: dict[str, bytes]) -> Manifest:
    """A version into a folder as publishing would, and the pointer to it."""
    manifest = Manifest.from_bytes(files[MANIFEST_NAME])
    for name, data in files.items():
        path = folder / manifest.version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    pointer = Pointer(manifest.version, hashlib.sha256(files[MANIFEST_NAME]).hexdigest())
    (folder / "current.json").write_bytes(pointer.to_bytes())
    return manifest


def test_a_bundle_is_loaded_whatever_its_folder_is_called(tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURES / "bundle", tmp_path / "my model")
    bundle = loader(folder).load()
    assert bundle.manifest == MANIFEST
    assert bundle.model == (folder / MODEL_NAME).read_bytes()
    assert len(bundle.golden().photos) == 2
    assert not loader(folder).changed()


def test_the_pointer_is_followed_and_a_version_is_pinned(tmp_path: Path) -> None:
    first = put(tmp_path, bundle_files())
    following = loader(tmp_path)
    assert following.load().manifest == first
    assert not following.changed()
    second = put(tmp_path, bundle_files("int8_quantized"))
    assert following.changed()
    assert following.load().manifest == second
    assert not following.changed()
    pinned = loader(tmp_path / first.version)
    assert (pinned.pinned, pinned.load().manifest) == (True, first)


@pytest.mark.parametrize("name", [MODEL_NAME, "golden/red.png"])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(FIXTURES / "bundle", tmp_path / "bundle")
    with (folder / name).open("ab") as file:
        file.write(b"!")
    with pytest.raises(ModelIntegrityError, match=rf"{name} is not what the manifest lists: .* Copy the bundle again"):
        loader(folder).load().read(name)


def test_a_manifest_for_another_model_or_version_is_refused(tmp_path: Path) -> None:
    first, second = put(tmp_path, bundle_files()), put(tmp_path, bundle_files("int8_quantized"))
    shutil.copy(tmp_path / first.version / MANIFEST_NAME, tmp_path / second.version)
    with pytest.raises(ModelIntegrityError, match="is not the manifest that was published"):
        loader(tmp_path).load()
    with pytest.raises(ModelIntegrityError, match=f"is the manifest of version {first.version}"):
        loader(tmp_path / second.version).load()
    folder = shutil.copytree(FIXTURES / "bundle", tmp_path / "bundle")
    text = (folder / MANIFEST_NAME).read_text().replace(MANIFEST.version, f"{MANIFEST.version[:-8]}00000000")
    (folder / MANIFEST_NAME).write_text(text)
    with pytest.raises(ModelIntegrityError, match="lists a model with sha256"):
        loader(folder).load()


def test_an_empty_folder_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"current\.json: No such file or directory\. Put a bundle into file://"):
        loader(tmp_path).load()
