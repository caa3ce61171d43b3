"""What a picture looks like, in few bytes: a 64-bit perceptual hash to find candidates, a small signature to be sure.

The hash is pHash: the signs of the lowest 8 x 8 frequencies of the grey picture, against their median (N. Krawetz,
"Looks Like It", hackerfactor.com, 2011; C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010). Copies that were resized, re-encoded, brightened or cropped by 2 % a side differ in at most 10 of its
bits, but so do some pictures that merely share an outline: among the 805,815 pairs of 1,270 photos of clothing, 76.
So every candidate is confirmed by the correlation of 16 x 16 colour signatures, which left none of those and keeps
apart what differs in colour alone. Measured on copies of 159 of these photos: correlation at least 0.98 for any
re-encoding, resizing by 4 and brightening by a fifth, 0.94 for a crop of 2 %; a copy in grey or mirrored is another
picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128
"""Side of the square tensor that hashes are computed from."""

HASH_DISTANCE = 10
"""Near duplicates differ in at most this many of the 64 bits."""

CORRELATION = 0.95
"""And their signatures correlate at least this much."""

SIGNATURE_BYTES = 16 * 16 * 3

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # luma, ITU-R BT.601
_DCT_INPUT, _DCT_KEPT = 32, 8
# DCT-II (Ahmed, Natarajan and Rao, 1974), the rows that are kept.
_COSINES = np.cos(np.pi * np.outer(np.arange(_DCT_KEPT), 2 * np.arange(_DCT_INPUT) + 1) / (2 * _DCT_INPUT)).astype(
    np.float32
)
_BLANK = 2.0


def perceptual_hash(tensor: NDArray[np.uint8]) -> int:
    """64-bit pHash of a (SIDE, SIDE, 3) RGB tensor, as an unsigned integer."""
    grey = tensor.astype(np.float32) @ _GREY
    step = SIDE // _DCT_INPUT
    small = grey.reshape(_DCT_INPUT, step, _DCT_INPUT, step).mean(axis=(1, 3))
    low = (_COSINES @ small @ _COSINES.T).ravel()
    # The first coefficient is the mean brightness: far larger than the others, it takes no part in the median.
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def signature(tensor: NDArray[np.uint8]) -> bytes:
    """The picture in 16 x 16 RGB pixels, row by row: SIGNATURE_BYTES bytes."""
    return Image.fromarray(tensor).resize((16, 16), Image.Resampling.BOX).tobytes()


def normalised(signatures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Signatures (n, SIGNATURE_BYTES) without mean and of length 1: their dot products are correlations."""
    values = signatures.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(values).sum(axis=1, keepdims=True))
    values /= np.maximum(length, 1e-6)
    return values


def is_blank(one: bytes) -> bool:
    """Whether a signature is of one colour all over: such a picture shows nothing, and its hash is noise."""
    channels = np.frombuffer(one, dtype=np.uint8).reshape(-1, 3)
    return bool(channels.std(axis=0).max() < _BLANK)
