"""Pictures with something in them, unlike plain noise: each seed shows another scene."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model_build.inspection.facts import FactsCache
from model_build.inspection.inspection import Inspection, inspect

Size = tuple[int, int]


def scene(seed: int, size: Size = (160, 120)) -> Image.Image:
    """Soft coloured shapes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(root: Path, files: Mapping[str, bytes | Image.Image]) -> Path:
    """Write files below ``root``; pictures as PNG."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encoded(content))
    return root


def scenes(counts: Mapping[str, int], start: int = 0) -> dict[str, bytes | Image.Image]:
    """``counts`` scenes for each folder, no two alike."""
    files: dict[str, bytes | Image.Image] = {}
    for folder, count in counts.items():
        for index in range(count):
            files[f"{folder}/{index:03d}.png"] = scene(start + len(files))
    return files


def inspected(root: Path, files: Mapping[str, bytes | Image.Image] | None = None) -> Inspection:
    """An inspection of ``files``, with nothing cached."""
    if files is not None:
        write(root, files)
    with FactsCache(None) as cache:
        return inspect(str(root), root, cache)


def codes(inspection: Inspection) -> dict[str, str]:
    """What was found: severity by code."""
    return {finding.code: finding.severity.value for finding in inspection.findings}
