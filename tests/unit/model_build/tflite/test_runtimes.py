"""Which models `tflite-runtime` 2.14.0 can run, and whether the table of its operations is what it says itself."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from classifier.errors import UserError
from model_build.bundles.packaging import package
from model_build.choices import QuantizationChoice, Runtime
from model_build.tflite.inspecting import schema
from model_build.tflite.runtimes import LAST_OPERATION, NEWEST, require_runnable
from tests.conftest import ROOT
from tests.support.bundles import model_bytes
from tests.support.formats import content_of
from tests.unit.model_build.ready_runs import colour_photos, converted, ready_run, rewritten

PYTHON = ROOT / ".venv-tflite" / "bin" / "python"
# Prints which of the models in its folder name an operation that the interpreter does not know.
ASK = """
import sys
from pathlib import Path
from tflite_runtime.interpreter import Interpreter
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        Interpreter(model_content=path.read_bytes())
    except ValueError as error:
        if "Didn't find op" in str(error) or "out of range" in str(error):
            print(path.name)
"""


def newer_fully_connected(model: Any) -> None:
    """As TensorFlow writes it for dynamic range since 2.17; LiteRT runs it."""
    for code in model.operatorCodes:
        if code.builtinCode == schema().BuiltinOperator.FULLY_CONNECTED:
            code.version = 12


def only(operation: int, version: int) -> bytes:
    """A model of one operation."""

    def change(model: Any) -> None:
        parts = schema()
        code = parts.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = operation, min(operation, 127), version
        graph = model.subgraphs[0]
        step = parts.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = 0, list(graph.inputs), list(graph.outputs)
        model.operatorCodes, graph.operators = [code], [step]

    return rewritten(model_bytes("float32_logits"), change)


@pytest.mark.parametrize("quantization", ["float32", "float16", "int8"])
def test_what_runs_in_both_is_accepted(quantization: str) -> None:
    for runtime in Runtime:
        require_runnable(content_of(quantization), runtime, "the model")


def test_dynamic_range_is_refused_with_the_operation_and_its_version() -> None:
    require_runnable(content_of("dynamic"), Runtime.LITERT, "the model")
    with pytest.raises(
        UserError, match=r"cannot run the model: it does not know FULLY_CONNECTED version 12 \(only up to 10\)"
    ):
        require_runnable(content_of("dynamic"), Runtime.TFLITE_RUNTIME, "the model")


@pytest.mark.parametrize(("operation", "name"), [(31, "CALL"), (203, "DILATE"), (32, "the custom operation")])
def test_operations_that_it_never_had_are_refused(operation: int, name: str) -> None:
    with pytest.raises(UserError, match=f"does not know {name}"):
        require_runnable(only(operation, 1), Runtime.TFLITE_RUNTIME, "the model")


def test_packaging_refuses_what_the_runtime_cannot_run(tmp_path: Path) -> None:
    run = ready_run(tmp_path / "run", colour_photos(tmp_path / "photos"))
    converted(run, {"dynamic": lambda: rewritten(model_bytes("float32_logits"), newer_fully_connected)})
    dynamic, float32 = QuantizationChoice.DYNAMIC, QuantizationChoice.FLOAT32
    with pytest.raises(UserError, match=r"cannot run the dynamic model: .* --quantization float32"):
        package(run, tmp_path / "bundle", quantization=dynamic, runtime=Runtime.TFLITE_RUNTIME)
    assert not (tmp_path / "bundle").exists()
    package(run, tmp_path / "bundle", quantization=dynamic)
    package(run, tmp_path / "float32", quantization=float32, runtime=Runtime.TFLITE_RUNTIME)


@pytest.mark.skipif(not PYTHON.exists(), reason="make test makes .venv-tflite, a Python with tflite-runtime")
def test_the_table_is_what_the_interpreter_says_of_itself(tmp_path: Path) -> None:
    operations = {
        name: code for name, code in vars(schema().BuiltinOperator).items() if name.isupper() and name != "CUSTOM"
    }
    unknown = set()
    for name, code in operations.items():
        newest = NEWEST.get(name, 1)
        for version in (newest, newest + 1):
            content = only(code, version)
            (tmp_path / f"{name}-{version}").write_bytes(content)
            try:
                require_runnable(content, Runtime.TFLITE_RUNTIME, name)
            except UserError:
                unknown.add(f"{name}-{version}")
    assert max(operations.values()) > LAST_OPERATION
    done = subprocess.run([PYTHON, "-c", ASK, tmp_path], capture_output=True, text=True, check=True, timeout=120)
    assert set(done.stdout.split()) == unknown
