"""The wheel in an empty environment outside the checkout: what it holds, and that a dropped image is classified."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bucketlens.local.emulator import free_ports
from tests.conftest import ROOT
from tests.integration.local_helpers import DEADLINE, needs_emulator
from tests.integration.test_local_up import read_until
from tests.support.bundles import FIXTURES

pytestmark = [pytest.mark.slow, needs_emulator]

_INSTALL_SECONDS = 280


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, capture_output=True, timeout=DEADLINE, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """This process's environment without what would lead back to the checkout or to an AWS account."""
    return {name: v for name, v in os.environ.items() if not name.startswith(("AWS_", "BUCKETLENS_", "PYTHON"))}


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, home: Path, environment: dict[str, str]) -> Path:
    """The programs of an environment with the wheel, its extra `local`, and the pinned versions of both."""
    pins = re.sub(r" \\\n(    --hash=\S+( \\)?\n)+", "\n", (ROOT / "requirements" / "dev.txt").read_text("utf-8"))
    (home / "pins.txt").write_text(pins, encoding="utf-8")
    folder = home / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", folder.parent], timeout=DEADLINE, check=True)
    wanted: list[str | Path] = ["install", "--quiet", "--constraint", home / "pins.txt", f"{wheel}[local]"]
    # As in the Makefile: uv is quick, and pip reaches indexes that uv does not.
    for command in (
        [Path(sys.executable).with_name("uv"), "pip", *wanted, "--python", folder / "python"],
        [folder / "python", "-m", "pip", *wanted],
    ):
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
        if done.returncode == 0:
            return folder
    pytest.fail(f"the wheel cannot be installed: {done.stderr}")


def test_the_wheel_takes_no_name_that_others_may_want(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"bucketlens", "classifier", "model_build"}
    assert {"bucketlens/local/template.yaml", "bucketlens/local/rie.txt"} <= set(names)


def test_the_installed_program_runs_the_whole_application(
    bin_folder: Path, home: Path, environment: dict[str, str]
) -> None:
    def run(*words: object, env: dict[str, str] = environment) -> str:
        command: list[str | Path] = [bin_folder / str(words[0]), *map(str, words[1:])]
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    assert re.fullmatch(r"bucketlens \d+\.\d+\.\d+\S*\n", run("bucketlens", "--version"))
    (port,) = free_ports(1)
    options = ["--port", str(port), "--workers", "1", "--retry-after", "1"]
    process = subprocess.Popen(
        [bin_folder / "bucketlens", "local", "up", *options],
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = read_until(process, "Ctrl-C stops it")
        assert "downloading the Lambda Runtime Interface Emulator" in said
        exported = run("bucketlens", "local", "env", "--port", port)
        shell = environment | dict(line.removeprefix("export ").split("=", 1) for line in exported.splitlines())
        bucket = shell["BUCKETLENS_BUCKET"]
        run("bucketlens", "model", "publish", FIXTURES / "bundle", "--to", f"s3://{bucket}/models/", env=shell)
        run("aws", "s3", "cp", FIXTURES / "images" / "red.png", f"s3://{bucket}/incoming/red.png", env=shell)
        found = run("bucketlens", "results", "find", "--wait", "1", "--format", "json", env=shell)
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE)
    result = json.loads(found)
    assert (result["status"], result["prediction"]["label"]) == ("classified", "red")
    assert process.returncode == 0
