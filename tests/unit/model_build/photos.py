"""Photos drawn for a test: plain colours with noise, so that no two files are the same."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

FIXTURES = Path(__file__).parents[2] / "fixtures" / "models"
COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}


def photo(colour: tuple[int, int, int], seed: int = 0, size: int = 40, kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(seed).integers(-20, 21, (size, size, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_photos(root: Path, counts: Mapping[str, int]) -> Path:
    """``root/<class>/<n>.png``; a class may be a path such as ``train/red``."""
    for number, (name, count) in enumerate(counts.items()):
        colour = COLOURS.get(Path(name).name, (90, 90, 90))
        for index in range(count):
            path = root / name / f"{index:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(colour, seed=1000 * number + index))
    return root
