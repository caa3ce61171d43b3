"""The SAM CLI in an environment of its own, `.venv-sam`: its pins fight with the project's."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bucketlens.local.sam.process import attempt, run
from classifier.errors import UserError


@dataclass(frozen=True)
class SamTool:
    """The command and a Python with pip (for the function's Makefile and for the stand-in image)."""

    command: Path
    pip_python: Path


def ensure_sam(root: Path, environment: Mapping[str, str], console: Console) -> SamTool:
    """Return the SAM CLI of `BUCKETLENS_SAM`, else the one in `.venv-sam`, installed if need be.

    Raises:
        UserError: the installation failed.
    """
    if chosen := environment.get("BUCKETLENS_SAM"):
        command = Path(chosen)
        if not command.is_file():
            raise UserError(f"BUCKETLENS_SAM names {chosen}, which is not a file")
        return SamTool(command, Path(sys.executable))
    folder, lock = root / ".venv-sam", root / "requirements" / "sam.txt"
    tool = SamTool(folder / "bin" / "sam", folder / "bin" / "python")
    # The stamp and the rule are those of the Makefile, which installs it first when it is the one to start this.
    stamp = folder / ".ready"
    if (
        stamp.is_file()
        and stamp.stat().st_mtime >= lock.stat().st_mtime
        and attempt([tool.pip_python, "-c", ""]).returncode == 0
    ):
        return tool
    console.print("Installing the SAM CLI into .venv-sam (about a minute, once) ...")
    # An earlier version is replaced as a whole, and a half-made one is not trusted.
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", folder], purpose="making .venv-sam")
    run(
        [tool.pip_python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", lock],
        purpose="installing the SAM CLI",
    )
    stamp.touch()
    return tool


def sam_environment(environment: Mapping[str, str], tool: SamTool) -> dict[str, str]:
    """The environment for `sam`: no telemetry, nobody's credentials, and the Makefile's two Pythons.

    With credentials of any kind SAM asks STS whose they are, and waits for an answer where there is no network;
    without, it gives the function made-up ones at once.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith(("AWS_", "SAM_"))}
    kept |= {
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # Debian's docker.io comes without BuildKit.
        "DOCKER_BUILDKIT": "0",
    }
    if sys.version_info[:2] == (3, 13):
        kept.setdefault("PYTHON313", sys.executable)
    kept.setdefault("PIP_PYTHON", str(tool.pip_python))
    return kept
