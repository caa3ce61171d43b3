"""EfficientNet-Lite in plain Keras: no squeeze-and-excite and ReLU6 throughout, which is what 8 bits keep well.

The networks are those of
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, made of EfficientNet-B0's stages
(Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019); stem and head are never
scaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.errors import UserError

_STEM, _HEAD = 32, 1280
_STAGES = (  # repeats, kernel, stride, expansion and filters of each
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def feature_map(keras: Any, image: Any, depth: float) -> Any:
    """(batch, rows, columns, 1280), float32, of ``image``: symbolic, (batch, side, side, 3) float32 RGB 0..255.

    Args:
        depth: factor of the repeats of all stages but the first and the last, rounded up; 1.0 is Lite0, 1.1 Lite1.
    """
    layers = keras.layers

    def normalized(x: Any, name: str, *, activated: bool = True) -> Any:
        x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_normalization")(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if activated else x

    def convolved(x: Any, filters: int, name: str, kernel: int = 1, stride: int = 1, *, activated: bool = True) -> Any:
        convolution = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)
        return normalized(convolution(x), name, activated=activated)

    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="scaling")(image)
    x = convolved(x, _STEM, "stem", 3, 2)
    for place, (repeats, kernel, stride, expansion, filters) in enumerate(_STAGES, start=1):
        inner = 1 < place < len(_STAGES)
        for block in range(1, (math.ceil(repeats * depth) if inner else repeats) + 1):
            name, before, step = f"stage_{place}_block_{block}", x, stride if block == 1 else 1
            if expansion > 1:
                x = convolved(x, x.shape[-1] * expansion, f"{name}_expand")
            depthwise = layers.DepthwiseConv2D(kernel, step, "same", use_bias=False, name=f"{name}_depthwise")
            x = normalized(depthwise(x), f"{name}_depthwise")
            x = convolved(x, filters, f"{name}_project", activated=False)
            if block > 1:
                x = layers.Add(name=f"{name}_add")([before, x])
    return convolved(x, _HEAD, "head")


def assign_tensors(network: Any, tensors: Mapping[str, NDArray[Any]], what: str) -> None:
    """Give a Keras network that ends in :func:`feature_map` the tensors of the torch network, which has the same
    layers in the same order.

    Raises:
        UserError: they are another network's; ``what`` names where they come from.
    """
    given = [
        tensor
        for name, tensor in tensors.items()
        if not name.startswith("_fc.") and not name.endswith(".num_batches_tracked")
    ]
    values = [_as_keras(tensor) for tensor in given]
    if [value.shape for value in values] != [tuple(weight.shape) for weight in network.weights]:
        raise UserError(f"{what} does not hold weights for the backbone {network.name}")
    network.set_weights(values)


def _as_keras(tensor: NDArray[Any]) -> NDArray[np.float32]:
    """Kernels from (output, input, rows, columns) to (rows, columns, input, output), where the channels of a depthwise
    one are its inputs; other tensors as they are."""
    value = tensor
    if tensor.ndim == 4:
        value = tensor.transpose((2, 3, 0, 1) if tensor.shape[1] == 1 else (2, 3, 1, 0))
    return np.ascontiguousarray(value, dtype=np.float32)
