"""Pictures for tests, made in memory."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 25), "green": (30, 200, 40), "blue": (20, 40, 230)}


def picture(colour: str = "red", size: tuple[int, int] = (64, 48), seed: int = 0) -> Image.Image:
    """A noisy picture in which one of red, green and blue dominates."""
    noise = np.random.default_rng(seed).integers(-12, 13, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png(colour: str = "red", seed: int = 0) -> bytes:
    return encoded(picture(colour, seed=seed))
