"""The command line, the demo and SageMaker's entry point call the use cases of model_build and nothing below them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import model_build
from tests.conftest import ROOT

ENTRANCES = [
    *sorted((ROOT / "bucketlens/cli").glob("*.py")),
    ROOT / "bucketlens/demo.py",
    ROOT / "model_build/sagemaker/entry_point.py",
]

FACE = ast.parse((ROOT / "model_build/__init__.py").read_text(encoding="utf-8"))
DEFINITIONS = {
    f"{node.module}.{alias.name}" for node in ast.walk(FACE) if isinstance(node, ast.ImportFrom) for alias in node.names
}
"""The public names of model_build where they are defined: SageMaker's part of it cannot import its face, above it."""


def imported(node: ast.AST) -> Iterator[str]:
    """Dotted names that are imported while the code runs: not those for type checking."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imported(child)


def below_the_api(source: str) -> list[str]:
    allowed = {"model_build", *(f"model_build.{name}" for name in model_build.__all__), *DEFINITIONS}
    own = ("model_build.choices.", "model_build.files.", "model_build.sagemaker.container.")
    return [
        name
        for name in imported(ast.parse(source))
        if name.partition(".")[0] == "model_build" and name not in allowed and not name.startswith(own)
    ]


@pytest.mark.parametrize("path", ENTRANCES, ids=lambda path: path.stem)
def test_an_entrance_calls_use_cases_and_nothing_below_them(path: Path) -> None:
    assert not below_the_api(path.read_text(encoding="utf-8"))


def test_an_import_below_the_api_is_found_wherever_it_stands() -> None:
    assert below_the_api("def f():\n    from model_build.training.train import train\n")
    assert below_the_api("import model_build.training.train\n")
    assert not below_the_api("from model_build.api import train\n")
    assert not below_the_api("import model_build\nfrom model_build import train\n")
    assert not below_the_api("if TYPE_CHECKING:\n    from model_build.training.run import Run\n")


@pytest.mark.parametrize("code", ["import model_build", "from model_build import train", "import bucketlens.cli.main"])
def test_what_is_imported_early_is_cheap(code: str) -> None:
    heavy = ("tensorflow", "keras", "PIL", "numpy", "optuna")
    program = f"{code}; import sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
