from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_build.native import load_tensorflow
from model_build.training.augmentation import augmentation
from model_build.training.config import TrainingConfig

pytestmark = pytest.mark.slow

_PHOTOS = np.random.default_rng(5).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
_STILL = TrainingConfig(shift=0.0, zoom=0.0, rotation_degrees=0.0)


def _apply(config: TrainingConfig, size: int = 16, seed: int = 1) -> NDArray[Any]:
    tf, _ = load_tensorflow()
    return np.asarray(augmentation(config, size)(tf.constant(_PHOTOS), tf.constant([seed, 0], tf.int32)))


def test_nothing_asked_changes_nothing() -> None:
    everything = replace(TrainingConfig.for_backbone("mobilenet_v2"), augmentation=0.0)
    for config in (_STILL, everything):
        np.testing.assert_allclose(_apply(config), _PHOTOS, atol=1e-3)


def test_a_mirrored_photo_is_mirrored_exactly() -> None:
    images = _apply(replace(_STILL, flip=True))
    mirrored = 0
    for image, photo in zip(images, _PHOTOS, strict=True):
        if not np.allclose(image, photo, atol=1e-2):
            np.testing.assert_allclose(image, photo[:, ::-1], atol=1e-2)
            mirrored += 1
    assert 0 < mirrored < 6


def test_the_seed_alone_decides_and_pixels_stay_pixels() -> None:
    config = replace(TrainingConfig.for_backbone("mobilenet_v2"), rotation_degrees=20.0)
    first, again, other = (_apply(config, 12, seed) for seed in (3, 3, 4))
    assert first.shape == (6, 12, 12, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert first.min() >= 0
    assert first.max() <= 255
