"""The zip package, with and without bytecode, and the container image: size, and what a cold start costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "tests" / "fixtures" / "bundle"
IMAGE = os.environ.get("IMAGE", "bucketlens")
_ROUNDS = 5
# The import makes the clients and loads the model, as Lambda's initialisation does. Workers are processes of their own.
_START = "import time, classifier.app; print(time.process_time())"


@dataclass(frozen=True)
class Package:
    """``megabytes`` unpacked; ``start`` gives the CPU seconds of one cold start."""

    name: str
    megabytes: float
    start: Callable[[], float]


def measured(packages: list[Package]) -> Iterator[tuple[str, float, float]]:
    """Name, MB and median milliseconds of CPU of a cold start; the packages take turns."""
    times = [[package.start() for package in packages] for _ in range(_ROUNDS + 1)][1:]
    for number, package in enumerate(packages):
        yield package.name, package.megabytes, median(row[number] for row in times) * 1000


def container_image() -> Package | str:
    """The image named by IMAGE; or why it cannot be measured."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        return "no Docker daemon answers: the container image is not measured"
    asked = ["docker", "image", "inspect", "--format", "{{.Size}}", IMAGE]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode:
        return f"there is no image {IMAGE}: run make image, or name another with IMAGE"
    variables = [f"--env={name}={value}" for name, value in _environment("/model").items()]
    command = ["docker", "run", "--rm", f"--volume={BUNDLE}:/model:ro", *variables, "--entrypoint=python3", IMAGE]
    return Package("container image, with Debian and Python", int(found.stdout) / 1e6, _starter(command, None))


@contextmanager
def zip_packages() -> Iterator[list[Package] | str]:
    """The package as `sam build` makes it, and the same without the bytecode; or why neither can be measured."""
    if sys.version_info[:2] != (3, 13):
        yield "the zip package is for Python 3.13, and this is another: it is not measured"
        return
    with tempfile.TemporaryDirectory() as name:
        built, stripped = Path(name, "built"), Path(name, "stripped")
        built.mkdir()
        target = [f"ARTIFACTS_DIR={built}", f"PYTHON313={sys.executable}", f"PIP_PYTHON={sys.executable}"]
        subprocess.run(
            ["make", "-C", ROOT / "functions", "build-ClassifierFunction", *target],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        shutil.copytree(built, stripped, ignore=shutil.ignore_patterns("__pycache__"))
        yield [_zip("zip package", built), _zip("zip package without its bytecode", stripped)]


def _zip(name: str, folder: Path) -> Package:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    environment = {**_environment(str(BUNDLE)), "PATH": os.defpath, "PYTHONPATH": str(folder)}
    # -B: Lambda's code folder is read-only, nothing that is compiled there is kept.
    return Package(name, size / 1e6, _starter([sys.executable, "-B"], environment))


def _environment(bundle: str) -> dict[str, str]:
    return {"MODEL_URI": f"file://{bundle}/", "TABLE_NAME": "none", "AWS_DEFAULT_REGION": "us-east-1"}


def _starter(command: list[str], environment: dict[str, str] | None) -> Callable[[], float]:
    def start() -> float:
        done = subprocess.run([*command, "-c", _START], env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    return start
