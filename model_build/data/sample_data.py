"""scikit-learn's handwritten digits as a folder of photos: real data that ships inside a package."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier.errors import UserError
from model_build.choices import EXTRAS
from model_build.files import staged_folder

SIDE = 32
_DARKEST = 16  # the digits' pixels count ink from 0 to 16


def write_sample_data(out: Path) -> dict[str, int]:
    """Write the 1,797 digits (UCI "Optical Recognition of Handwritten Digits", test part) as PNG files.

    ``out/<digit>/<digit>-<number>.png``, 32 x 32, dark ink on white as scanned. The originals are 8 x 8; they are
    enlarged so that a person can see what is in them, which adds nothing that the model's own resize would not.

    Returns:
        Photos by class.

    Raises:
        UserError: ``out`` has files in it, or scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError(f"the digits come with scikit-learn, which is not installed; {EXTRAS}") from None
    digits: Any = load_digits()
    counts: Counter[str] = Counter()
    with staged_folder(out) as folder:
        for ink, target in zip(digits.images, digits.target, strict=True):
            label = str(target)
            counts[label] += 1
            path = folder / label / f"{label}-{counts[label]:04d}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_png(ink))
    return dict(sorted(counts.items()))


def _png(ink: NDArray[np.float64]) -> bytes:
    grey = np.rint(255 - ink * (255 / _DARKEST)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
