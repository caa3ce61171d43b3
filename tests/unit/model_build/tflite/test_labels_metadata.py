from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from classifier.bundle import Scaling
from model_build.tflite.inspecting import is_tflite, metadata_scaling
from model_build.tflite.labels_metadata import LABELS_NAME, METADATA_NAME, read_labels, with_labels
from tests.support.bundles import model_bytes

LABELS = ["red", "vert, pâle", "blau"]
MODELS = ("float32_softmax", "float32_logits", "uint8_quantized", "int8_quantized")


@pytest.mark.parametrize("name", MODELS)
def test_the_labels_are_in_the_file_and_the_model_is_the_same(name: str) -> None:
    before = model_bytes(name)
    after = with_labels(before, LABELS, name="colours")
    assert is_tflite(after)
    assert read_labels(after) == LABELS
    with zipfile.ZipFile(io.BytesIO(after)) as archive:
        assert archive.namelist() == [LABELS_NAME]
        assert archive.testzip() is None
    answers = []
    for content in (before, after):
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()[0]
        values = np.random.default_rng(1).integers(0, 127, details["shape"]).astype(details["dtype"])
        interpreter.set_tensor(details["index"], values)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert np.array_equal(*answers)


@pytest.mark.parametrize("name", MODELS)
def test_the_flatbuffer_has_one_more_entry_and_keeps_the_others(name: str) -> None:
    old, new = (
        schema.Model.GetRootAs(one, 0) for one in (model_bytes(name), with_labels(model_bytes(name), LABELS, name="m"))
    )
    names = [[model.Metadata(i).Name().decode() for i in range(model.MetadataLength())] for model in (old, new)]
    assert names[1] == [*names[0], METADATA_NAME]
    assert (new.Version(), new.Description()) == (old.Version(), old.Description())
    assert new.SignatureDefsLength() == old.SignatureDefsLength()
    assert new.BuffersLength() == old.BuffersLength() + 1
    for index in range(old.BuffersLength()):
        assert new.Buffers(index).DataLength() == old.Buffers(index).DataLength()
    data = new.Buffers(new.Metadata(len(names[0])).Buffer()).DataAsNumpy().tobytes()
    assert data[4:8] == b"M001"
    assert LABELS_NAME.encode() in data


def test_weights_keep_their_alignment() -> None:
    before = model_bytes("float32_softmax")
    after = with_labels(before, LABELS, name="m")
    assert after.find(before) % 64 == 0


def test_the_metadata_says_that_pixels_go_in_as_they_are() -> None:
    assert metadata_scaling(with_labels(model_bytes("float32_logits"), LABELS, name="m")) == Scaling(
        (0.0,) * 3, (1.0,) * 3
    )


def test_the_same_labels_give_the_same_bytes() -> None:
    one, two = (with_labels(model_bytes("uint8_quantized"), LABELS, name="m") for _ in range(2))
    assert one == two
