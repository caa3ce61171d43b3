from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.bundle import Quantization
from classifier.imaging import DRAFT_MARGIN, ResizePolicy
from classifier.model import Model, input_table
from model_build.conversion.quantization import FLOAT32, INT8, Converter
from model_build.native import load_tensorflow
from model_build.tflite.running import describe, inspect_quietly, load_quietly, predict_all, stored_scaling

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

_IMAGES: NDArray[np.uint8] = np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def converter(tmp_path: Path) -> Callable[..., Converter]:
    def make(*first: Any) -> Converter:
        """Of a little network behind these layers."""
        _, keras = load_tensorflow()
        keras.utils.set_random_seed(1)
        image = keras.Input((16, 16, 3))
        x = image
        for layer in first:
            x = layer(x)
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
        logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
        keras.Model(image, logits).save(tmp_path / "model.keras")
        return Converter(tmp_path / "model.keras", _IMAGES)

    return make


def _loaded(content: bytes) -> Model:
    facts = inspect_quietly(content, 3)
    manifest = describe(
        content,
        facts,
        name="little",
        labels=("a", "b", "c"),
        resize=ResizePolicy.STRETCH,
        output_kind="logits",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        scaling=stored_scaling(facts),
        draft_margin=DRAFT_MARGIN,
    )
    return load_quietly(content, manifest)


@pytest.mark.parametrize(
    ("scale", "offset", "stored"),
    [
        (1 / 128, -127 / 128, Quantization(1 / 128, 127)),
        (1 / 127.5, -1.0, Quantization(1 / 127.5, 128)),
        (1 / 255, 0.0, Quantization(1 / 255, 0)),
    ],
)
def test_a_scaling_becomes_the_input_s_own(
    converter: Callable[..., Converter], scale: float, offset: float, stored: Quantization
) -> None:
    _, keras = load_tensorflow()
    made = converter(keras.layers.Rescaling(scale, offset=offset))
    exact, integer = _loaded(made.to_tflite(FLOAT32)), _loaded(made.to_tflite(INT8))
    assert integer.manifest.embedding is None, "the network does not say which layer has its features"
    found = integer.manifest.input
    assert found.dtype == "uint8"
    assert found.quantization is not None
    assert found.quantization.zero_point == stored.zero_point
    assert found.quantization.scale == pytest.approx(stored.scale, rel=1e-6)
    np.testing.assert_array_equal(input_table(integer.manifest), np.repeat(np.arange(256)[:, np.newaxis], 3, axis=1))
    np.testing.assert_allclose(predict_all(integer, _IMAGES), predict_all(exact, _IMAGES), atol=0.02)


def test_a_scaling_by_channel_stays_in_the_graph(converter: Callable[..., Converter]) -> None:
    _, keras = load_tensorflow()
    made = converter(keras.layers.Rescaling([1 / 128, 1 / 64, 1 / 32], offset=[-1.0, -2.0, -4.0]))
    exact, integer = _loaded(made.to_tflite(FLOAT32)), _loaded(made.to_tflite(INT8))
    assert (integer.manifest.input.quantization, integer.manifest.scaling) == (Quantization(1.0, 0), None)
    np.testing.assert_allclose(predict_all(integer, _IMAGES), predict_all(exact, _IMAGES), atol=0.05)


@pytest.mark.parametrize("first", [(), (1 / 128, 1.0)], ids=["none", "one that leaves no pixel at 0"])
def test_other_networks_take_pixels(converter: Callable[..., Converter], first: tuple[float, ...]) -> None:
    _, keras = load_tensorflow()
    layers = [keras.layers.Rescaling(first[0], offset=first[1])] if first else []
    integer = _loaded(converter(*layers).to_tflite(INT8))
    assert (integer.manifest.input.quantization, integer.manifest.scaling) == (Quantization(1.0, 0), None)
