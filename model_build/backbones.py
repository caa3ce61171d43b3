"""The networks one can train, by name. Each takes plain RGB 0..255: its scaling is its own first layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier.errors import UserError
from model_build.tf_runtime import load_tensorflow

Build = Callable[[Any, int, int], Any]
"""(keras, height, width) -> a Keras model from (batch, height, width, 3) float32 RGB 0..255 to (batch, features)."""


@dataclass(frozen=True)
class Backbone:
    """A feature extractor: what lies under the last, class-specific layer.

    Attributes:
        name: its Keras name in snake case.
        image_size: the input side it is meant for, in pixels.
        build: makes it, with random weights.
    """

    name: str
    image_size: int
    build: Build


def _small_cnn(keras: Any, height: int, width: int) -> Any:
    """VGG-like, 0.13 M parameters and 7 M multiply-adds at 32 x 32: trains from nothing on a CPU in seconds."""
    layers = keras.layers
    image = keras.Input((height, width, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(image)
    # Convolution, normalization, ReLU: the order that conversion folds into a single integer operation.
    for filters, stride in ((32, 2), (32, 1), (64, 2), (64, 1), (96, 2)):
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    return keras.Model(image, layers.GlobalAveragePooling2D(name="features")(x), name="small_cnn")


BACKBONES = {backbone.name: backbone for backbone in (Backbone("small_cnn", 32, _small_cnn),)}


def find_backbone(name: str) -> Backbone:
    """Raises UserError, with the names there are, for any other."""
    try:
        return BACKBONES[name]
    except KeyError:
        raise UserError(f"unknown backbone {name!r}; there is {', '.join(BACKBONES)}") from None


def build_classifier(
    backbone: Backbone, *, height: int, width: int, labels: int, dropout: float, weights: Path | None = None
) -> Any:
    """A Keras classifier from (batch, height, width, 3) float32 RGB 0..255 to (batch, labels) logits.

    Logits, because calibrating by a temperature needs them, and because 8 bits of logits keep the order of the
    unlikely labels where 8 bits of probabilities make them all 0.

    Args:
        weights: a ``.weights.h5`` file for the backbone, such as ``backbone.weights.h5`` of an earlier run.

    Raises:
        UserError: the weights are not there, or are not this backbone's.
    """
    _, keras = load_tensorflow()
    features = backbone.build(keras, height, width)
    if weights is not None:
        load_weights(features, weights, backbone.name)
    x = keras.layers.Dropout(dropout)(features.output)
    return keras.Model(features.input, keras.layers.Dense(labels, name="logits")(x), name=f"{backbone.name}_classifier")


def load_weights(model: Any, path: Path, name: str) -> None:
    """Raises UserError, naming the file, when ``path`` holds no weights or those of another network."""
    if not path.is_file():
        raise UserError(f"the weights {path} do not exist")
    if not path.name.endswith(".weights.h5"):
        raise UserError(f"{path} is not a .weights.h5 file, as Keras writes them")
    try:
        model.load_weights(path)
    # h5py and Keras raise most of the built-in exceptions on a damaged or foreign file.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not hold weights for the backbone {name}: {reason}") from None
