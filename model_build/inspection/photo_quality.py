"""Whether a photo shows enough: how bright it is, and how sharp, each independent of the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def brightness(tensor: NDArray[np.uint8]) -> float:
    """How bright the brightest hundredth of an RGB picture (height, width, 3) is at least, 0 to 1.

    A dark scene with one lamp in it is not bright; a black dress on a white wall is (cleanvision's measure of dark).
    """
    return float(np.percentile(tensor @ _LUMA, 99) / 255)


def sharpness(tensor: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of an RGB picture (height, width, 3), as a share of the variance of its luma; 0 for one
    colour all over.

    The first is the usual measure of focus (Pech-Pacheco et al., ICPR 2000), and falls with the square of the contrast.
    Divided by the second it no longer takes a dark or pale photo for a blurred one.
    """
    luma = tensor @ _LUMA
    variance = float(luma.var())
    if variance == 0:
        return 0.0
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    return float(laplacian.var()) / variance
