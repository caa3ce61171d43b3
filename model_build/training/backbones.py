"""The networks one can train, by name. Each takes plain RGB 0..255: its scaling is its own first layers."""

from __future__ import annotations

import io
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from classifier.errors import UserError
from model_build.native import load_tensorflow, one_line
from model_build.training import efficientnet_lite
from model_build.training.published import PUBLISHED, obtain, read_published

Build = Callable[[Any, Any, float, str | None], Any]
"""(keras, image, alpha, weights: "imagenet" or None) -> the feature map of ``image``, (batch, rows, columns, channels).

``image`` is a symbolic tensor, (batch, height, width, 3) float32 RGB 0..255.
"""

ALPHAS = (1.0, 0.35, 0.5, 0.75, 1.3, 1.4)
"""Width multipliers of MobileNetV2 with ImageNet weights (https://keras.io/api/applications/mobilenet/)."""

FEATURES_LAYER = "features"
"""What the last layer sees."""

_KERAS_SECONDS = 30.0  # without an answer from where Keras's weights lie; it would wait for ever
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Backbone:
    """A feature extractor: what lies under the last, class-specific layer.

    Attributes:
        name: its name in snake case, Keras's where Keras has it.
        image_size: the input side it is meant for, in pixels; ``minimum_size``: the smallest that it accepts.
        build: makes it.
        freeze_points: for ``quarter``, ``half`` and ``most`` of ``choices.Depth`` how the name of the first layer
            begins that fine-tuning may change.
        pretrained: whether it is meant to start from ImageNet weights, and fine-tuned with BatchNormalization frozen.
        has_alpha: whether it comes in widths.
    """

    name: str
    image_size: int
    build: Build
    freeze_points: Mapping[str, str] = field(default_factory=dict)
    minimum_size: int = 32
    pretrained: bool = True
    has_alpha: bool = False

    def trained_layers(self, layers: list[Any], depth: str) -> list[Any]:
        """Those of the backbone's ``layers``, in their order, that fine-tuning to ``depth`` changes."""
        if depth in ("none", "all"):
            return layers if depth == "all" else []
        begin = self.freeze_points[depth]
        first = next(position for position, layer in enumerate(layers) if layer.name.startswith(begin))
        return layers[first:]


def _small_cnn(keras: Any, image: Any, _alpha: float, _weights: str | None) -> Any:
    """VGG-like, 0.13 M parameters and 7 M multiply-adds at 32 x 32: trains from nothing on a CPU in seconds."""
    layers = keras.layers
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(image)
    # Convolution, normalization, ReLU: the order that conversion folds into a single integer operation.
    for number, (filters, stride) in enumerate(((32, 2), (32, 1), (64, 2), (64, 1), (96, 2)), start=1):
        x = layers.Conv2D(
            filters, 3, strides=stride, padding="same", use_bias=False, name=f"block_{number}_convolution"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"block_{number}_normalization")(x)
        x = layers.ReLU(name=f"block_{number}_relu")(x)
    return x


def _minus_one_to_one(keras: Any, image: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(image)


def _as_is(_: Any, image: Any) -> Any:
    return image


def _caffe(keras: Any, image: Any) -> Any:
    """BGR minus the ImageNet mean, as ResNet50's weights were trained (keras.applications.imagenet_utils, "caffe")."""
    swapped = keras.ops.take(image, [2, 1, 0], axis=-1)
    return keras.layers.Rescaling(1.0, offset=[-mean for mean in _CAFFE_MEAN_BGR], name="scaling")(swapped)


def _efficientnet(keras: Any, image: Any) -> Any:
    """What keras.applications adds for its ImageNet weights only: a division by the root of the standard deviation
    behind the network's own (x / 255 - mean) / std; moved in front of that, so that the weights are loadable."""
    means = (0.485, 0.456, 0.406)
    scale = [1 / math.sqrt(std) for std in _IMAGENET_STD]
    offset = [255 * mean * (1 - one) for mean, one in zip(means, scale, strict=True)]
    return keras.layers.Rescaling(scale, offset=offset, name="scaling")(image)


def _application(
    name: str,
    constructor: str,
    prepare: Callable[[Any, Any], Any],
    freeze_points: Sequence[str],
    size: int = 224,
    minimum_size: int = 32,
    *,
    has_alpha: bool = False,
) -> Backbone:
    """A network of keras.applications without its top, behind the scaling that ``prepare`` makes.

    Args:
        freeze_points: those for a quarter, half and most of it.
    """

    def build(keras: Any, image: Any, alpha: float, weights: str | None) -> Any:
        shape = tuple(image.shape[1:])
        width = {"alpha": alpha} if has_alpha else {}
        make = getattr(keras.applications, constructor)
        network = make(include_top=False, weights=None, input_tensor=prepare(keras, image), input_shape=shape, **width)
        if weights is not None:
            # Made apart: with weights some constructors build another graph, and our own must not depend on that.
            before = socket.getdefaulttimeout()
            socket.setdefaulttimeout(_KERAS_SECONDS)
            try:
                with redirect_stdout(io.StringIO()):  # Keras prints what it downloads
                    source = make(include_top=False, weights=weights, input_shape=shape, **width)
            finally:
                socket.setdefaulttimeout(before)
            assign_weights(network, source.get_weights())
        return network.output

    points = dict(zip(("quarter", "half", "most"), freeze_points, strict=True))
    return Backbone(name, size, build, points, minimum_size, pretrained=True, has_alpha=has_alpha)


def _efficientnet_lite(name: str, depth: float, size: int) -> Backbone:
    def build(keras: Any, image: Any, _alpha: float, weights: str | None) -> Any:
        x = efficientnet_lite.feature_map(keras, image, depth)
        if weights is not None:
            path = obtain(next(one for one in PUBLISHED if one.backbone == name))
            tensors = read_published(path)[1]
            efficientnet_lite.assign_tensors(keras.Model(image, x, name=name), tensors, str(path))
        return x

    return Backbone(name, size, build, {"quarter": "stage_6", "half": "stage_4", "most": "stage_2"})


_ALL = (
    Backbone("small_cnn", 32, _small_cnn, {"quarter": "block_5", "half": "block_4", "most": "block_2"}, 8, False),
    _efficientnet_lite("efficientnet_lite0", 1.0, 224),
    _efficientnet_lite("efficientnet_lite1", 1.1, 240),
    _application("mobilenet_v2", "MobileNetV2", _minus_one_to_one, ("block_13", "block_6", "block_3"), has_alpha=True),
    _application(
        "mobilenet_v3_small", "MobileNetV3Small", _as_is, ("expanded_conv_8", "expanded_conv_3", "expanded_conv_1")
    ),
    _application(
        "mobilenet_v3_large", "MobileNetV3Large", _as_is, ("expanded_conv_12", "expanded_conv_6", "expanded_conv_3")
    ),
    _application("efficientnet_b0", "EfficientNetB0", _efficientnet, ("block6a", "block4a", "block2a")),
    _application("efficientnet_v2_b0", "EfficientNetV2B0", _as_is, ("block6a", "block4a", "block2a")),
    _application("resnet50", "ResNet50", _caffe, ("conv5_block1", "conv4_block1", "conv3_block1")),
    _application("xception", "Xception", _minus_one_to_one, ("block13", "block8", "block3"), 299, 71),
)

BACKBONES = {backbone.name: backbone for backbone in _ALL}


def find_backbone(name: str) -> Backbone:
    """Raises UserError, with the names there are, for any other."""
    try:
        return BACKBONES[name]
    except KeyError:
        raise UserError(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}") from None


def build_backbone(backbone: Backbone, *, size: int, alpha: float = 1.0, imagenet: bool = False) -> Any:
    """A Keras model from (batch, size, size, 3) float32 RGB 0..255 to (batch, features), its last layer ``features``.

    Raises:
        UserError: the size is too small, or the ImageNet weights cannot be had.
    """
    if size < backbone.minimum_size:
        raise UserError(
            f"{backbone.name} does not accept images of {size} pixels; the smallest image size is "
            f"{backbone.minimum_size}"
        )
    _, keras = load_tensorflow()
    image = keras.Input((size, size, 3), name="image")
    try:
        x = backbone.build(keras, image, alpha, "imagenet" if imagenet and backbone.pretrained else None)
    except UserError:
        raise
    # A failed download and a width without weights: Keras raises bare Exception and ValueError for them.
    except Exception as error:
        if not imagenet:
            raise
        raise UserError(
            f"the ImageNet weights of {backbone.name} cannot be downloaded ({one_line(error)}); fetch them elsewhere"
            " and give --weights FILE, or train from scratch with --no-pretrained"
        ) from None
    x = keras.layers.GlobalAveragePooling2D(name=FEATURES_LAYER)(x)
    return keras.Model(image, x, name=backbone.name)


def assign_weights(model: Any, weights: list[Any]) -> None:
    """``model.set_weights``, also for Normalization layers, which compute with constants made from theirs."""
    model.set_weights(weights)
    finalize(model)


def finalize(model: Any) -> None:
    """Bring what layers derive from their weights up to date; call it before the model is first traced."""
    _, keras = load_tensorflow()
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def build_classifier(features: Any, *, labels: int, dropout: float) -> Any:
    """A Keras classifier on ``features`` (:func:`build_backbone`), from its image to (batch, labels) float32 logits.

    Logits, because calibrating by a temperature needs them, and because 8 bits of logits keep the order of the
    unlikely labels where 8 bits of probabilities make them all 0.
    """
    _, keras = load_tensorflow()
    x = keras.layers.Dropout(dropout)(features.output)
    logits = keras.layers.Dense(labels, name="logits", dtype="float32")(x)
    return keras.Model(features.input, logits, name=f"{features.name}_classifier")
