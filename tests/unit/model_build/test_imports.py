"""The layers of model_build: an import runs down or stays inside its package, wherever in a file it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import model_build
from tests.conftest import ROOT

PACKAGE = ROOT / "model_build"

LAYERS = (
    "choices",
    "native",
    "files",
    "wheels",
    "metrics",
    "html",
    "data",
    "tflite",
    "training",
    "inspection",
    "diagnostics",
    "conversion",
    "evaluation",
    "report",
    "bundles",
    "tuning",
    "sagemaker",
    "bundle_api",
    "api",
    "entry_point",
)
"""From the ground up. Each may import those named before it, and so no two can import each other. ``api`` stands for
the names that the package itself exports too; ``entry_point`` is what starts in a SageMaker container."""


def imported(source: str) -> Iterator[str]:
    """Dotted names that a file imports: at its top, in functions, and for type checking alike."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f".{node.module or ''}"


def layer_of(path: Path) -> str:
    return "entry_point" if path.stem == "entry_point" else path.relative_to(PACKAGE).with_suffix("").parts[0]


def wrong(layer: str, source: str) -> list[str]:
    """What ``source``, a file of ``layer``, may not import."""
    below = LAYERS[: LAYERS.index(layer) + 1]
    return [name for name in imported(source) if not _allowed(name.split("."), below)]


def _allowed(name: list[str], below: tuple[str, ...]) -> bool:
    if name[0] == "model_build":
        return len(name) == 1 or ("api" if name[1] in model_build.__all__ else name[1]) in below
    return name[0] not in ("", "benchmarks", "bucketlens", "local", "tests")


def test_every_file_belongs_to_a_layer() -> None:
    assert {layer_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"} == set(LAYERS)


def test_no_import_runs_up() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if layer_of(path) != "__init__"]
    up = {
        str(path.relative_to(PACKAGE)): names
        for path in files
        if (names := wrong(layer_of(path), path.read_text(encoding="utf-8")))
    }
    assert not up


def test_lazy_typing_and_relative_imports_count() -> None:
    lazy = "def f():\n    from model_build.bundles.publish import publish\n"
    typing = "if TYPE_CHECKING:\n    import model_build.tuning.space\n"
    screen = "from bucketlens.cli import display\n"
    assert wrong("training", lazy) == ["model_build.bundles.publish.publish"]
    assert wrong("training", typing) == ["model_build.tuning.space"]
    assert wrong("training", screen) == ["bucketlens.cli.display"]
    assert wrong("training", "from . import run\n") == ["."]
    assert wrong("training", "from model_build import bundles\n") == ["model_build.bundles"]
    assert wrong("sagemaker", "from model_build import train\n") == ["model_build.train"]
    assert not wrong("sagemaker", lazy + typing + "import model_build\nimport numpy\n")
    assert not wrong("entry_point", "from model_build import train\n")


def test_the_ground_is_pure() -> None:
    """Measurement knows numpy and nothing of this project; nothing draws on a screen; TensorFlow is imported once."""
    for path in PACKAGE.rglob("*.py"):
        found = {name.partition(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
        assert not found & {"rich", "typer", "tensorflow", "keras", "matplotlib"}, path
        if layer_of(path) == "metrics":
            assert "classifier" not in found
            assert found & {"PIL", "boto3", "botocore"} == set()
