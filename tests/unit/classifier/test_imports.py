"""What a cold start pays for: the set of imported packages is a budget, and TensorFlow is never in it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

from tests.conftest import ROOT

FUNCTION = ROOT / "functions" / "classifier"
ALLOWED = {
    "PIL",
    "ai_edge_litert",
    "aws_lambda_powertools",
    # Powertools asks whether it is there; no module of it is imported.
    "botocore",
    "classifier",
    "jmespath",
    "numpy",
    "tflite_runtime",
    "typing_extensions",
}


def test_a_cold_start_imports_what_it_needs_and_nothing_else() -> None:
    script = (
        "import sys, sysconfig, classifier.app\n"
        "site = {sysconfig.get_path('purelib'), sysconfig.get_path('platlib')}\n"
        "for name, module in sorted(sys.modules.items()):\n"
        "    path = getattr(module, '__file__', None) or ''\n"
        "    if path.startswith(tuple(site)): print(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(FUNCTION.parent), "PATH": os.defpath, "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    packages = {name.partition(".")[0] for name in modules if not name.startswith("_")}
    assert packages <= ALLOWED
    assert not [name for name in modules if name.startswith("botocore.")]
    # Each of these is a tenth of a second or more, and has a leaner neighbour that is used instead.
    assert "aws_lambda_powertools.utilities.batch" not in modules
    assert "aws_lambda_powertools.event_handler" not in modules, "batches need no routes"
    assert "PIL.FpxImagePlugin" not in modules, "Pillow has imported every plug-in it has"


def imports(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_layers_hold() -> None:
    """TensorFlow and the SDK nowhere; the interpreter only in model."""
    by_module = {path.stem: imports(path.read_text(encoding="utf-8")) for path in FUNCTION.glob("*.py")}
    assert all("tensorflow" not in found and "keras" not in found for found in by_module.values())
    assert all(not found & {"boto3", "botocore"} for found in by_module.values())
    assert {name for name, found in by_module.items() if found & {"ai_edge_litert", "tflite_runtime"}} == {"model"}
    assert {name for name, found in by_module.items() if "PIL" in found} == {"imaging"}
