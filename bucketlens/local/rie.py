"""Finds and obtains the AWS Lambda Runtime Interface Emulator, one binary out of the wheel of aws-sam-cli."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from bucketlens.local.files import EMULATOR_REQUIREMENTS
from classifier.errors import UserError
from model_build.wheels import download_wheel

ENVIRONMENT_VARIABLE = "BUCKETLENS_RIE"
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def installed_path() -> Path:
    """Where ``obtain`` puts the emulator: beside this environment's Python."""
    return Path(sys.prefix) / "bin" / "aws-lambda-rie"


def find_emulator() -> Path:
    """The emulator's binary.

    Raises:
        UserError: it is not there or cannot run on this system.
    """
    _require_linux()
    override = os.environ.get(ENVIRONMENT_VARIABLE)
    path = Path(override).absolute() if override else installed_path()
    if not (path.is_file() and os.access(path, os.X_OK)):
        named = (
            f" ({ENVIRONMENT_VARIABLE} names it)" if override else "; run: python -m bucketlens.local.fetch_emulator"
        )
        raise UserError(f"the Lambda emulator {path} is missing or not executable{named}")
    return path


def ensure_emulator(say: Callable[[str], None]) -> None:
    """Download the emulator unless it is there, or ``BUCKETLENS_RIE`` names another.

    Args:
        say: told before a download begins.

    Raises:
        UserError: as ``find_emulator`` and ``obtain`` do.
    """
    if not os.environ.get(ENVIRONMENT_VARIABLE) and not installed_path().exists():
        _require_linux()
        say(f"downloading the Lambda Runtime Interface Emulator to {installed_path()} (8 MB, once)")
        obtain(installed_path())
    find_emulator()


def architecture() -> str:
    """This machine's architecture by its name on AWS."""
    machine = platform.machine().lower()
    if machine not in _ARCHITECTURES:
        raise UserError(f"the Lambda emulator exists for x86_64 and arm64, and this machine is {machine}")
    return _ARCHITECTURES[machine]


def obtain(destination: Path, requirements: Path = EMULATOR_REQUIREMENTS) -> bool:
    """Download the pinned wheel, verified by its hash, and put the emulator at ``destination``.

    Returns:
        False if it was there already.

    Raises:
        UserError: this system cannot run it, there is no pip, or it could not be downloaded or written.
    """
    _require_linux()
    if destination.is_file() and os.access(destination, os.X_OK):
        return False
    member = f"samcli/local/rapid/aws-lambda-rie-{architecture()}"
    with tempfile.TemporaryDirectory() as folder:
        wheel = download_wheel(requirements, Path(folder), "the Lambda emulator")
        try:
            extract(wheel, member, destination)
        except OSError as error:
            raise UserError(
                f"cannot write the Lambda emulator to {destination}: {error.strerror or error}; make that folder"
                f" writable, or put the emulator elsewhere and name it in {ENVIRONMENT_VARIABLE}"
            ) from error
    return True


def extract(wheel: Path, member: str, destination: Path) -> None:
    """Write one file of a wheel as an executable: all of it or nothing.

    Raises:
        UserError: the wheel has no such file.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory(dir=destination.parent) as folder:
        partial = Path(folder) / destination.name
        try:
            with archive.open(member) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target)
        except KeyError as error:
            raise UserError(f"{wheel.name} holds no {member}; requirements/rie.txt pins another release") from error
        partial.chmod(0o755)
        partial.replace(destination)


def _require_linux() -> None:
    if sys.platform != "linux":
        raise UserError(
            "the Lambda emulator runs on Linux only; on this system use Docker:"
            " `sam local invoke`, or this command in a Linux container"
        )
