"""TensorFlow Lite files that load well and yet are no image classifier with a fixed input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from classifier.errors import BucketlensError
from model_build.bundles.importing import ImportRequest, import_model
from model_build.native import load_tensorflow, quiet_stderr
from tests.unit.model_build.photos import FIXTURES

pytestmark = pytest.mark.slow

SHAPES: dict[str, tuple[int | None, ...]] = {
    "three outputs": (1, 32, 32, 3),
    "open size": (1, None, None, 3),
    "grey": (1, 32, 32, 1),
    "a grid of outputs": (1, 32, 32, 3),
}


def tflite(case: str) -> bytes:
    tf, _ = load_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec(SHAPES[case], tf.float32)])  # type: ignore[untyped-decorator]
    def answer(image: Any) -> Any:
        mean = tf.reduce_mean(image, axis=[1, 2])
        if case == "three outputs":
            return mean, mean * 2, mean * 3
        return tf.nn.avg_pool2d(image, 8, 8, "VALID") if case == "a grid of outputs" else mean

    with quiet_stderr():
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([answer.get_concrete_function()]).convert()
    return content


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("three outputs", "1 inputs and 3 outputs"),
        ("open size", "has no fixed input size"),
        ("grey", "not (1, height, width, 3)"),
        ("a grid of outputs", "not (1, labels)"),
    ],
)
def test_a_model_of_another_kind_is_refused_in_one_line(tmp_path: Path, case: str, told: str) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(tflite(case))
    with pytest.raises(BucketlensError) as caught:
        import_model(ImportRequest(path, FIXTURES / "labels.txt"), tmp_path / "bundle")
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["other.tflite"]
