"""A classifier of scikit-learn's digits in every format that conversion makes, and what LiteRT says of 359 of them.

``python -m tests.support.formats`` (needs TensorFlow) trains it and writes ``tests/fixtures/formats`` anew: the models
and ``expected.npz``. On another machine it is another network.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MODEL_NAME, FileEntry, InputSpec, Manifest, OutputSpec, version_id
from classifier.imaging import ResizePolicy
from classifier.model import Model, inspect

FOLDER = Path(__file__).parent.parent / "fixtures" / "formats"
EXPECTED = FOLDER / "expected.npz"
SIDE = 32


def content_of(quantization: str) -> bytes:
    return (FOLDER / f"{quantization}.tflite").read_bytes()


def load(quantization: str) -> Model:
    """The format behind the manifest that packaging would give it."""
    content = content_of(quantization)
    facts = inspect(content)
    created = datetime(2026, 11, 20, tzinfo=UTC)
    manifest = Manifest(
        name=quantization,
        version=version_id(created, content),
        created_at=created.isoformat(),
        files={MODEL_NAME: FileEntry.of(content)},
        labels=tuple(str(number) for number in range(10)),
        input=InputSpec(facts.height, facts.width, facts.input_dtype, facts.input_quantization),
        resize=ResizePolicy.STRETCH,
        scaling=None,
        output=OutputSpec("logits", facts.output_dtype, facts.output_quantization),
        review_threshold=0.5,
    )
    return Model.load(content, manifest)


def pictures() -> NDArray[np.uint8]:
    """The digits that the network was not trained on; uint8, (359, SIDE, SIDE, 3)."""
    with np.load(EXPECTED) as file:
        return _enlarged(file["digits"])


def expected(quantization: str) -> NDArray[np.float32]:
    """What LiteRT says of the pictures; float32, (359, 10)."""
    with np.load(EXPECTED) as file:
        probabilities: NDArray[np.float32] = file[quantization]
        return probabilities


def _enlarged(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 8, 8) grey to (n, SIDE, SIDE, 3)."""
    return np.repeat(np.kron(digits, np.ones((1, 4, 4), np.uint8))[..., np.newaxis], 3, axis=3)


def write_fixtures() -> None:
    import keras
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from model_build.conversion.quantization import QUANTIZATIONS, Converter

    keras.utils.set_random_seed(7)
    digits, numbers = load_digits(return_X_y=True)
    grey = (digits.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    known, held_out, known_numbers, _ = train_test_split(grey, numbers, test_size=359, random_state=7)
    layers = keras.layers
    network = keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6"),
            layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6"),
            layers.Conv2D(16, 1, activation="hard_swish"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.003), loss)
    network.fit(_enlarged(known).astype(np.float32), known_numbers, batch_size=32, epochs=20, verbose=0)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        network.save(file)
        converter = Converter(file, _enlarged(known[:300]))
        for quantization in QUANTIZATIONS:
            (FOLDER / f"{quantization}.tflite").write_bytes(converter.to_tflite(quantization))
    enlarged = _enlarged(held_out)
    answers: dict[str, Any] = {q: np.stack([load(q).predict(picture) for picture in enlarged]) for q in QUANTIZATIONS}
    np.savez_compressed(EXPECTED, digits=held_out, **answers)


if __name__ == "__main__":
    write_fixtures()
