"""What runs in Lambda, and in its stand-in, is what was tested here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.template.document import ROOT

PYTHON_OF_LAMBDA = {"python_full_version": "3.13.0", "python_version": "3.13", "sys_platform": "linux"}


def pinned(path: Path) -> dict[str, str]:
    """Names and versions of a requirements file, as they apply to Python 3.13."""
    found = {}
    for line in path.read_text().splitlines():
        if re.match(r"[a-z0-9]", line):
            requirement = Requirement(line.removesuffix("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate(PYTHON_OF_LAMBDA):
                (version,) = requirement.specifier
                found[requirement.name] = version.version
    return found


@pytest.mark.parametrize("name", ["functions/requirements.txt", ".ci/lambda-image/runtime.txt"])
def test_versions_are_those_of_the_tests(name: str) -> None:
    tested = pinned(ROOT / "requirements" / "dev.txt")
    shipped = pinned(ROOT / name)
    assert shipped
    assert shipped == {package: tested[package] for package in shipped}


def test_the_image_has_the_versions_of_the_tests_on_its_interpreter() -> None:
    tested = pinned(ROOT / "requirements" / "tflite.txt")
    shipped = pinned(ROOT / "requirements" / "image.txt")
    assert shipped["tflite-runtime"] == "2.14.0"
    assert shipped == {package: tested[package] for package in shipped}


def test_the_package_is_a_closed_list() -> None:
    assert set(pinned(ROOT / "functions" / "requirements.txt")) == {
        *("ai-edge-litert", "aws-lambda-powertools", "jmespath", "numpy", "pillow", "typing-extensions")
    }


@pytest.mark.parametrize(
    "name",
    [
        "functions/requirements.txt",
        ".ci/lambda-image/runtime.txt",
        "requirements/image.txt",
        "requirements/sam.txt",
        "requirements/checkov.txt",
    ],
)
def test_everything_is_pinned_by_hash(name: str) -> None:
    text = (ROOT / name).read_text()
    blocks = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text
