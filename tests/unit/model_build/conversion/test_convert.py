"""The tournament with formats made for it; real conversions are in the integration tests."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from classifier.errors import UserError
from model_build.conversion.convert import Conversion
from model_build.conversion.quantization import QUANTIZATIONS, ConversionFailed
from model_build.tflite.labels_metadata import read_labels
from model_build.training.run import CONVERSION_NAME, SPLIT_NAME, Run
from tests.support.bundles import LABELS, model_bytes
from tests.unit.model_build.ready_runs import colour_photos, converted, ready_run, rewritten

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return ready_run(tmp_path / "run", colour_photos(tmp_path / "photos"))


def refused() -> bytes:
    raise ConversionFailed("cannot be converted: no such operation")


def too_new() -> bytes:
    """A model with an operation of a version that no interpreter has, as tflite-runtime sees FULLY_CONNECTED 12."""

    def newer(model: Any) -> None:
        for code in model.operatorCodes:
            code.version = 99

    return rewritten(model_bytes("float32_logits"), newer)


def test_a_format_that_cannot_be_had_or_run_loses_with_its_reason(run: Run) -> None:
    softmax = lambda: model_bytes("float32_softmax")  # noqa: E731
    (run.folder / "model.int8.tflite").write_bytes(b"of an earlier conversion")
    conversion = converted(run, {"dynamic": refused, "int8": too_new, "float16": softmax})
    by_name = {model.quantization: model for model in conversion.models}
    assert tuple(by_name) == QUANTIZATIONS
    assert by_name["dynamic"].failure == "cannot be converted: no such operation"
    assert "cannot load the model" in (by_name["int8"].failure or "")
    assert "'99'" in (by_name["int8"].failure or "")
    # Read as logits, probabilities are nearly flat: the labels stay, the confidences do not.
    assert by_name["float16"].agreement == 1.0
    assert by_name["float16"].reason.startswith("changes probabilities by 0.")
    assert conversion.chosen == "float32"
    assert not (run.folder / "model.int8.tflite").exists()
    with pytest.raises(UserError, match="this run has no dynamic model: it cannot be converted"):
        conversion.of("dynamic")
    assert Conversion.read(run) == conversion
    assert "dynamic cannot be converted" in conversion.verdict


def test_an_interpreter_that_dies_over_a_model_does_not_take_us_with_it(run: Run, tmp_path: Path) -> None:
    deadly = tmp_path / "python"
    deadly.write_text("#!/bin/sh\nkill -SEGV $$\n")
    deadly.chmod(0o755)
    with pytest.raises(UserError, match=r"no format of .* crashes the interpreter \(SIGSEGV\)"):
        converted(run, python=deadly)
    assert not (run.folder / CONVERSION_NAME).exists()
    assert list(run.folder.glob("*.tflite")) == []


def test_a_python_that_cannot_measure_is_the_users_business(run: Run, tmp_path: Path) -> None:
    useless = tmp_path / "python"
    useless.write_text("#!/bin/sh\necho ModuleNotFoundError: no module named tflite_runtime >&2\nexit 1\n")
    useless.chmod(0o755)
    with pytest.raises(UserError, match="cannot measure models: ModuleNotFoundError: no module named tflite_runtime"):
        converted(run, python=useless)
    with pytest.raises(UserError, match="cannot be started"):
        converted(run, python=tmp_path / "nowhere")


def test_the_labels_are_in_every_file(run: Run) -> None:
    converted(run)
    for quantization in QUANTIZATIONS:
        file = run.folder / f"model.{quantization}.tflite"
        assert zipfile.is_zipfile(file)
        assert read_labels(file.read_bytes()) == list(LABELS)


def test_the_test_photos_decide_nothing(run: Run) -> None:
    """The same conversion whatever the labels of the test photos are."""
    first = converted(run)
    split = json.loads((run.folder / SPLIT_NAME).read_text())
    for photo in split["test"]:
        photo["label"] = "red"
    (run.folder / SPLIT_NAME).write_text(json.dumps(split))
    second = converted(Run.open(run.folder))
    assert first.of("float32").accuracy == 1.0
    assert second.of("float32").accuracy == pytest.approx(1 / 3)
    for one, two in zip(first.models, second.models, strict=True):
        assert one.validation_accuracy == two.validation_accuracy == 1.0
        assert (one.temperature, one.agreement, one.moved) == (two.temperature, two.agreement, two.moved)


def test_a_conversion_of_another_release_is_not_guessed_at(run: Run) -> None:
    (run.folder / CONVERSION_NAME).write_text('{"schema_version": "1", "models": []}')
    with pytest.raises(UserError, match="was written by another release; convert the run again"):
        Conversion.read(run)
