from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from model_build.data.similarity import CORRELATION, HASH_DISTANCE, is_blank, normalised, signature
from model_build.inspection.facts import Measured
from model_build.inspection.reading import measure
from tests.unit.model_build.inspection.scenes import encoded, scene

Change = Callable[[Image.Image], bytes]
CHANGES: dict[str, Change] = {
    "half the size": lambda image: encoded(image.resize((image.width // 2, image.height // 2))),
    "another shape": lambda image: encoded(image.resize((100, 140))),
    "JPEG": lambda image: encoded(image, "JPEG", quality=40),
    "WebP": lambda image: encoded(image, "WEBP", quality=40),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.15)),
    "less contrast": lambda image: encoded(ImageEnhance.Contrast(image).enhance(0.8)),
}


def facts(data: bytes) -> Measured:
    found = measure(data)
    assert isinstance(found, Measured)
    return found


def distance(one: Measured, other: Measured) -> int:
    return (one.hash ^ other.hash).bit_count()


def correlation(one: Measured, other: Measured) -> float:
    rows = np.frombuffer(one.signature + other.signature, dtype=np.uint8).reshape(2, -1)
    left, right = normalised(rows)
    return float(left @ right)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nearly_every_copy_stays_within_the_thresholds(change: Change) -> None:
    found = 0
    for seed in range(40):
        original = scene(seed)
        one, other = facts(encoded(original)), facts(change(original))
        assert one.sha256 != other.sha256
        found += distance(one, other) <= HASH_DISTANCE and correlation(one, other) >= CORRELATION
    assert found >= 38


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32))
def test_other_scenes_and_mirrored_ones_do_not(seed: int) -> None:
    one = scene(seed)
    for other in (scene(seed + 1), ImageOps.mirror(one)):
        left, right = facts(encoded(one)), facts(encoded(other))
        assert distance(left, right) > HASH_DISTANCE or correlation(left, right) < CORRELATION


def test_what_differs_in_colour_alone_is_another_picture() -> None:
    grey, colour = (np.asarray(scene(seed).convert("L"), dtype=np.float64)[..., None] for seed in (1, 2))
    # Red against blue so that the brightness stays: 0.299 r + 0.114 b.
    chroma = (colour - 128) * np.array([0.114, 0.0, -0.299]) * 1.5
    pictures = [np.clip(128 + (grey - 128) / 4 + sign * chroma, 0, 255).astype(np.uint8) for sign in (1, -1)]
    one, other = (facts(encoded(Image.fromarray(pixels))) for pixels in pictures)
    assert distance(one, other) <= HASH_DISTANCE, "the hash sees no colours"
    assert correlation(one, other) < CORRELATION


def test_a_picture_of_one_colour_is_blank_and_a_faint_one_is_not() -> None:
    plain = np.full((128, 128, 3), (200, 10, 90), dtype=np.uint8)
    assert is_blank(signature(plain))
    faint = plain.copy()
    faint[40:80, 40:80] += 12
    assert not is_blank(signature(faint))


def test_what_is_measured_is_what_a_viewer_shows() -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    turned = facts(encoded(scene(1, (160, 120)), "JPEG", exif=sideways))
    assert (turned.format, turned.mode, turned.width, turned.height) == ("JPEG", "RGB", 120, 160)
    assert facts(encoded(scene(1).convert("P"))).mode == "P"
