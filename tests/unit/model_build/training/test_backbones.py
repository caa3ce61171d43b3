from __future__ import annotations

import numpy as np
import pytest

from classifier.errors import UserError
from model_build import choices
from model_build.choices import Depth
from model_build.native import load_tensorflow
from model_build.training.backbones import (
    BACKBONES,
    Backbone,
    assign_weights,
    build_backbone,
    build_classifier,
    find_backbone,
)

# Keras 3.15 with NumPy 2: its own business, and Python shows it to nobody.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

_SPREAD = {"resnet50": 255.0}
"""Of what the first convolution sees between black and white; about 2 to 5 where not told."""


def test_the_registry_has_what_is_promised() -> None:
    assert tuple(BACKBONES) == choices.BACKBONES
    assert set(BACKBONES) == {
        "small_cnn",
        "efficientnet_lite0",
        "efficientnet_lite1",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "efficientnet_v2_b0",
        "resnet50",
        "xception",
    }


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES.keys())
def test_a_backbone_takes_plain_pixels_and_freezes_at_its_points(backbone: Backbone) -> None:
    _, keras = load_tensorflow()
    size = max(backbone.minimum_size, 32)
    features = build_backbone(backbone, size=size)
    assert features.input_shape == (None, size, size, 3)
    convolution = next(one for one in features.layers if isinstance(one, keras.layers.Conv2D))
    seen = keras.Model(features.input, convolution.input)
    black, white = (np.asarray(seen(np.full((1, size, size, 3), value, np.float32))) for value in (0, 255))
    middle = black.shape[1] // 2
    spread = white[0, middle, middle] - black[0, middle, middle]
    assert (
        (spread == pytest.approx(_SPREAD[backbone.name])) if backbone.name in _SPREAD else (1.9 <= spread.min() <= 10)
    )
    trained = [len(backbone.trained_layers(features.layers, depth)) for depth in Depth]
    assert trained[0] == 0
    assert trained == sorted(set(trained))
    assert trained[-1] == len(features.layers)


def test_resnet_sees_blue_first() -> None:
    _, keras = load_tensorflow()
    features = build_backbone(find_backbone("resnet50"), size=32)
    scaled = keras.Model(features.input, features.get_layer("scaling").output)
    red = np.zeros((1, 32, 32, 3), np.float32)
    red[..., 0] = 255
    np.testing.assert_allclose(np.asarray(scaled(red))[0, 0, 0], [-103.939, -116.779, 255 - 123.68], rtol=1e-4)


def test_efficientnet_scales_as_its_imagenet_weights_expect() -> None:
    """keras.applications divides by the root of the deviation once more, behind (x / 255 - mean) / sqrt(variance)."""
    _, keras = load_tensorflow()
    features = build_backbone(find_backbone("efficientnet_b0"), size=32)
    normalization = next(one for one in features.layers if isinstance(one, keras.layers.Normalization))
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    values = {"mean": mean, "variance": std**2}
    weights = [values.get(weight.name, np.asarray(weight)) for weight in normalization.weights]
    at = [id(weight) for weight in features.weights].index(id(normalization.weights[0]))
    everything = features.get_weights()
    everything[at : at + len(weights)] = weights
    assign_weights(features, everything)
    seen = np.asarray(keras.Model(features.input, normalization.output)(np.full((1, 32, 32, 3), 100, np.float32)))
    np.testing.assert_allclose(seen[0, 0, 0], (100 / 255 - mean) / std / np.sqrt(std), rtol=1e-3)


def test_a_classifier_gives_logits_for_every_label() -> None:
    model = build_classifier(build_backbone(find_backbone("small_cnn"), size=16), labels=5, dropout=0.5)
    assert model.output_shape == (None, 5)
    assert model.layers[-1].activation.__name__ == "linear"


def test_what_cannot_be_built_is_told() -> None:
    with pytest.raises(UserError, match="unknown backbone 'vgg'; choose one of small_cnn, efficientnet_lite0"):
        find_backbone("vgg")
    with pytest.raises(UserError, match="xception does not accept images of 64 pixels; the smallest image size is 71"):
        build_backbone(find_backbone("xception"), size=64)
