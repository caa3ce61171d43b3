"""Random changes of training photos: one affine map a photo, and light. Seeded by the step, so that a training that
goes on after a kill sees what it would have seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from model_build.native import load_tensorflow
from model_build.training.config import TrainingConfig

_LARGEST_ASPECT = 4 / 3

Augment = Callable[[Any, Any], Any]
"""(images uint8 (photos, side, side, 3), seed (2,) int32) -> float32 (photos, size, size, 3) in 0..255."""


def augmentation(config: TrainingConfig, size: int) -> Augment:
    """As ``config`` says, to photos of ``size`` pixels. With ``augmentation = 0`` they are only resized."""

    def augment(images: Any, seed: Any) -> Any:
        x = _placed(images, config, size, seed)
        if config.augmentation and config.colour:
            x = _lit(x, config.colour * config.augmentation, seed + 1)
        return x

    return augment


def _placed(images: Any, config: TrainingConfig, size: int, seed: Any) -> Any:
    """Crop, mirror, rotate, shift and zoom in one bilinear look-up; the border is repeated, so that no black edge is
    learnt. Crops as in Szegedy et al., Going deeper with convolutions (2015)."""
    tf, _ = load_tensorflow()
    count, side = tf.shape(images)[0], images.shape[1]
    strength = config.augmentation
    draw = tf.random.stateless_uniform([8, count], seed)
    smallest = 1 - (1 - config.crop_area) * strength
    area = smallest + (1 - smallest) * draw[0]
    stretch = math.log(_LARGEST_ASPECT) * strength if config.crop_area < 1 else 0.0
    aspect = tf.exp((2 * draw[1] - 1) * stretch)
    wide, high = tf.minimum(1.0, tf.sqrt(area * aspect)), tf.minimum(1.0, tf.sqrt(area / aspect))
    zoom = 1 + (2 * draw[2] - 1) * config.zoom * strength
    angle = (2 * draw[3] - 1) * math.radians(config.rotation_degrees) * strength
    # The centre of the crop, in shares of the side around the middle of the photo.
    right = (draw[4] - 0.5) * (1 - wide) + (2 * draw[5] - 1) * config.shift * strength
    down = (draw[6] - 0.5) * (1 - high) + (tf.reverse(2 * draw[5] - 1, [0])) * config.shift * strength
    mirror = tf.where(draw[7] < 0.5, -1.0, 1.0) if config.flip and strength else tf.ones([count])
    xx, xy = wide * zoom * mirror * tf.cos(angle), -wide * zoom * mirror * tf.sin(angle)
    yx, yy = high * zoom * tf.sin(angle), high * zoom * tf.cos(angle)
    ratio, middle = side / size, 0.5 / size - 0.5
    transforms = tf.stack(
        [
            xx * ratio,
            xy * ratio,
            side * ((xx + xy) * middle + right + 0.5) - 0.5,
            yx * ratio,
            yy * ratio,
            side * ((yx + yy) * middle + down + 0.5) - 0.5,
            tf.zeros([count]),
            tf.zeros([count]),
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=transforms,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _lit(x: Any, strength: float, seed: Any) -> Any:
    """Brightness, contrast and saturation, each by a factor from 1 - strength to 1 + strength."""
    tf, _ = load_tensorflow()
    factors = tf.random.stateless_uniform([3, tf.shape(x)[0], 1, 1, 1], seed, 1 - strength, 1 + strength)
    x = x * factors[0]
    mean = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)
    x = (x - mean) * factors[1] + mean
    grey = tf.reduce_mean(x, axis=3, keepdims=True)
    return tf.clip_by_value((x - grey) * factors[2] + grey, 0.0, 255.0)
