"""The template, the tools that judge it, and the package as `sam build` makes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.template.document import ROOT, TEMPLATE, Template, read_source


@pytest.fixture(scope="session")
def template() -> Template:
    """template.yaml."""
    return Template(read_source())


@pytest.fixture(scope="session")
def sam() -> Path:
    """The SAM CLI: `BUCKETLENS_SAM`, else `.venv-sam`."""
    command = Path(os.environ.get("BUCKETLENS_SAM", ROOT / ".venv-sam" / "bin" / "sam"))
    if not command.is_file():
        pytest.skip(f"the SAM CLI is not at {command}: run `make sam-local` once, or set BUCKETLENS_SAM")
    return command


@pytest.fixture(scope="session")
def sam_environment() -> Mapping[str, str]:
    """No telemetry, no configuration or credentials of anyone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
    kept |= {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    kept |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    if sys.version_info[:2] == (3, 13):
        kept.setdefault("PYTHON313", sys.executable)
    return kept


@pytest.fixture(scope="session")
def package(sam: Path, sam_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function's package, built once a session."""
    folder = tmp_path_factory.mktemp("package")
    done = subprocess.run(
        [str(sam), "build", "--build-dir", str(folder), "--template", str(TEMPLATE)],
        cwd=ROOT,
        env=dict(sam_environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "ClassifierFunction"


@pytest.fixture(scope="session")
def checkov() -> Path:
    """Checkov, in the environment of its own."""
    command = ROOT / ".venv-checkov" / "bin" / "checkov"
    if not command.is_file():
        pytest.skip(f"Checkov is not at {command}: run `make .venv-checkov/.ready` once")
    return command
