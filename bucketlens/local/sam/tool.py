"""The SAM CLI in an environment of its own, `.venv-sam`: its pins fight with the project's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from classifier.errors import UserError


@dataclass(frozen=True)
class SamTool:
    """The command, and a Python with pip for the function's Makefile."""

    command: Path
    pip_python: Path


def find_sam(root: Path, environment: Mapping[str, str]) -> SamTool:
    """Return the SAM CLI of `BUCKETLENS_SAM`, else the one in the checkout's `.venv-sam`.

    Raises:
        UserError: it is not there.
    """
    if chosen := environment.get("BUCKETLENS_SAM"):
        tool = SamTool(Path(chosen), Path(sys.executable))
        hint = "which BUCKETLENS_SAM names"
    else:
        folder = root / ".venv-sam" / "bin"
        tool = SamTool(folder / "sam", folder / "python")
        hint = "run `make sam-local`, which installs it"
    if not tool.command.is_file():
        raise UserError(f"there is no SAM CLI at {tool.command}; {hint}")
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
    }
    if sys.version_info[:2] == (3, 13):
        kept.setdefault("PYTHON313", sys.executable)
    kept.setdefault("PIP_PYTHON", str(tool.pip_python))
    return kept
