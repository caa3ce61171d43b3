"""Writing so that what has a final name is complete, reading with errors that name the file, and the cache folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def require_free(out: Path) -> None:
    """Raises UserError unless ``out`` is a name not taken, or an empty folder."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        what = "a folder with files in it" if out.is_dir() else "a file"
        raise UserError(f"{out} is already there ({what}); remove it or give another name")


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` that becomes ``out`` if the block ends well, and is removed if it does not.

    A process that is killed leaves the hidden ``.<name>.partial-*`` folder behind, never a half-written ``out``.

    Raises:
        UserError: ``out`` is taken, or cannot be written.
    """
    out = out.absolute()
    require_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.partial-"))
        staging.chmod(0o755)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    try:
        yield staging
        require_free(out)
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def json_bytes(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file the user named.

    Raises:
        UserError: it is not there, empty, or not readable; ``what`` says what it should have been.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {error.strerror}") from None
    if not data:
        raise UserError(f"{what} {path} is empty")
    return data


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object that this program wrote.

    Raises:
        UserError: it is not there or has been damaged.
    """
    try:
        document = json.loads(read_bytes(path, what))
    except ValueError as error:
        raise UserError(f"{what} {path} is damaged: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{what} {path} is damaged: it is not a JSON object")
    return document


def known_fields(cls: type[DataclassInstance], document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that ``document`` holds; what a later release has added to it is left out."""
    return {one.name: document[one.name] for one in fields(cls) if one.name in document}


def cache_folder() -> Path:
    """``BUCKETLENS_CACHE``, else ``bucketlens`` in the user's cache folder; not created.

    https://specifications.freedesktop.org/basedir-spec/latest/ for Linux, ``~/Library/Caches`` on macOS.
    """
    chosen = os.environ.get("BUCKETLENS_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bucketlens"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path is invalid and to be ignored.
    base = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return base / "bucketlens"
